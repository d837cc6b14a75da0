"""Nothing is computed twice: XLA's count of a compiled step against one from shapes."""

import functools
import itertools

import jax
import jax.numpy as jnp
import optax
import pytest

from cgan_jax import projection, strided_conv, train_state
from cgan_jax.configs import default
from cgan_jax.models import GanPair, make_models
from cgan_jax.train_step import Recipe, train_step

pytestmark = pytest.mark.usefixtures("quick_compilation")

BATCH = 32
FILTERS, Z_DIM, HEIGHT = 32, 100, 64
# Of each layout: pictures of the narrow side of each layer, next to the image first,
# 32x64, ..., 4x8 or 32x32, ..., 4x4; and the channels of the image.
SIZES = {
    "halves": [(HEIGHT >> i, 2 * HEIGHT >> i) for i in range(1, 5)],
    "planes": [(HEIGHT >> i, HEIGHT >> i) for i in range(1, 5)],
}
COLOURS = {"halves": 3, "planes": 4}
CHANNELS = [FILTERS << i for i in range(4)]
INNER_LAYERS = 3


def taps(side):
    """Pairs of an output and a tap of 5 that meet a pixel inside, along one axis."""
    meet = itertools.product(range(side), range(5))
    return sum(0 <= 2 * i + a - 1 < 2 * side for i, a in meet)


def layers(layout, winograd):
    """Least floating-point operations of each layer for a batch, one map of it."""
    found = []
    channels = itertools.pairwise([COLOURS[layout], *CHANNELS])
    for (h, w), (wide, narrow) in zip(SIZES[layout], channels, strict=True):
        direct = taps(h) * taps(w)
        tiles = (h // 2) * (w // 2) * 49  # F(2, 3), with the zero tap of the odd pixels
        products = tiles if winograd and wide >= FILTERS else direct
        found.append(2 * BATCH * products * wide * narrow)
    return found


def linear(layout):
    """Least operations of G's linear layer, one map of it."""
    h, w = SIZES[layout][-1]
    return 2 * BATCH * Z_DIM * CHANNELS[-1] * h * w


def least_of_train_step(layout, winograd):
    """G: forward, to the inputs, to the weights. D: forward on three batches, to the
    weights on two, to the inputs on three, of which two need not reach the image."""
    convolutions = layers(layout, winograd)
    return 2 * linear(layout) + 11 * sum(convolutions) - 2 * convolutions[0]


def least_of_search_step(layout, winograd):
    """G and D: forward, and back to z."""
    return 2 * linear(layout) + 4 * sum(layers(layout, winograd))


def least_of_inner_step(layout, winograd):
    """G: forward, and back to z; the offsets lie on the way."""
    return 2 * linear(layout) + 2 * sum(layers(layout, winograd))


def models(layout):
    return make_models(
        base_filters=FILTERS, z_dim=Z_DIM, height=HEIGHT, layout=layout, styles=["xdog"]
    )


def shapes_of_state(layout, tx):
    create = functools.partial(train_state.create_state, models(layout), tx)
    return jax.eval_shape(create, jax.random.key(0))


def counted(fn, *args):
    """Operations of the compiled function, by XLA."""
    return jax.jit(fn).lower(*args).compile().cost_analysis()["flops"]


def train_step_flops(layout):
    tx = GanPair(optax.adam(1e-3), optax.adam(1e-3))
    recipe = Recipe.of(default.get_config().train)
    step = functools.partial(train_step, models=models(layout), tx=tx, recipe=recipe)
    shape = BATCH, *models(layout).gen.joint.shape
    joint = jax.ShapeDtypeStruct(shape, jnp.float32)
    return counted(lambda *args: step(*args), shapes_of_state(layout, tx), joint, KEY)


def search_step_flops(layout):
    return flops_of_step(layout, inner_steps=0)


def inner_step_flops(layout):
    return flops_of_step(layout, inner_steps=1)


def flops_of_step(layout, inner_steps):
    """A scan of one step is no loop."""
    settings = dict(default.get_config().projection)
    settings |= {"num_candidates": BATCH, "num_steps": 1, "perceptual_weight": 0.01}
    settings |= {"inner_steps": inner_steps, "inner_layers": INNER_LAYERS}
    search = projection.Search(**settings)
    gen = models(layout).gen
    inner = gen.inner_shapes[: INNER_LAYERS if inner_steps else 0]
    z, *offsets = (
        jax.ShapeDtypeStruct((1, BATCH, *shape), jnp.float32)
        for shape in ((Z_DIM,), *inner)
    )
    target = jax.ShapeDtypeStruct((1, *gen.joint.shape), jnp.float32)
    mask = jnp.asarray(gen.joint.mask(["xdog"]))
    begin = functools.partial(projection.begin_from, search=search)
    advance = functools.partial(
        projection.advance,
        models=models(layout),
        search=search,
        first=1 if inner_steps else 0,
        num_steps=1,
    )
    return counted(
        lambda variables, target, state: advance(variables, target, mask, state),
        shapes_of_variables(layout),
        target,
        jax.eval_shape(begin, z, offsets),
    )


def shapes_of_variables(layout):
    tx = GanPair(optax.sgd(1.0), optax.sgd(1.0))
    state, shapes = shapes_of_state(layout, tx), models(layout).gen.inner_shapes
    gen, disc = (
        {"params": params, "batch_stats": stats}
        for params, stats in zip(state.params, state.batch_stats, strict=True)
    )
    spread = {
        f"std_{i}": jax.ShapeDtypeStruct(shape[-1:], jnp.float32)
        for i, shape in enumerate(shapes)
    }
    return GanPair(gen | {"spread": spread}, disc)


KEY = jax.eval_shape(lambda: jax.random.key(0))


@pytest.fixture(params=[True, False], ids=["winograd", "plain"])
def winograd(request, monkeypatch):
    """Whether CPUs get their own forms, or the plain ones that accelerators get.

    In one chunk, since XLA counts the body of a loop once.
    """
    jax.clear_caches()  # of the other form
    monkeypatch.setattr(strided_conv, "_CHUNK_BYTES", 2**40)
    if not request.param:
        plain = {
            "_conv": strided_conv.plain_conv,
            "_conv_transpose": strided_conv.plain_conv_transpose,
            "_weight_gradient_of_size": lambda k: functools.partial(
                strided_conv.plain_weight_gradient, k=k
            ),
        }
        for name, fn in plain.items():
            monkeypatch.setattr(strided_conv, name, fn)
    return request.param


@pytest.mark.parametrize(
    ("flops", "least", "layout"),
    [
        (train_step_flops, least_of_train_step, "halves"),
        (train_step_flops, least_of_train_step, "planes"),
        (search_step_flops, least_of_search_step, "halves"),
        (inner_step_flops, least_of_inner_step, "halves"),
    ],
)
def test_a_step_computes_nothing_twice(flops, least, layout, winograd):
    ratio = flops(layout) / least(layout, winograd)
    assert 1 <= ratio <= 1.1
