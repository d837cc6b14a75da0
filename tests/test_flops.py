"""Nothing is computed twice: XLA's count of a compiled step against one from shapes."""

import functools
import itertools

import jax
import jax.numpy as jnp
import optax
import pytest

from cgan_jax import images, projection, strided_conv, train_state
from cgan_jax.configs import default
from cgan_jax.models import GanPair, make_models
from cgan_jax.train_step import Recipe, train_step

pytestmark = pytest.mark.usefixtures("quick_compilation")

BATCH = 32
FILTERS, Z_DIM, HEIGHT = 32, 100, 64
# Pictures of the narrow side of each layer, next to the image first: 32x64, ..., 4x8.
SIZES = [(HEIGHT >> i, 2 * HEIGHT >> i) for i in range(1, 5)]
CHANNELS = [3] + [FILTERS << i for i in range(4)]


def taps(side):
    """Pairs of an output and a tap of 5 that meet a pixel inside, along one axis."""
    meet = itertools.product(range(side), range(5))
    return sum(0 <= 2 * i + a - 1 < 2 * side for i, a in meet)


def layers(winograd):
    """Least floating-point operations of each layer for a batch, one map of it."""
    found = []
    for (h, w), (wide, narrow) in zip(SIZES, itertools.pairwise(CHANNELS), strict=True):
        direct = taps(h) * taps(w)
        tiles = (h // 2) * (w // 2) * 49  # F(2, 3), with the zero tap of the odd pixels
        products = tiles if winograd and wide > 3 else direct
        found.append(2 * BATCH * products * wide * narrow)
    return found


def linear():
    """Least operations of G's linear layer, one map of it."""
    return 2 * BATCH * Z_DIM * CHANNELS[-1] * SIZES[-1][0] * SIZES[-1][1]


def least_of_train_step(winograd):
    """G: forward, to the inputs, to the weights. D: forward on three batches, to the
    weights on two, to the inputs on three, of which two need not reach the image."""
    convolutions = layers(winograd)
    return 2 * linear() + 11 * sum(convolutions) - 2 * convolutions[0]


def least_of_search_step(winograd):
    """G and D: forward, and back to z."""
    return 2 * linear() + 4 * sum(layers(winograd))


def models():
    return make_models(base_filters=FILTERS, z_dim=Z_DIM, height=HEIGHT)


def shapes_of_state(tx):
    create = functools.partial(train_state.create_state, models(), tx)
    return jax.eval_shape(create, jax.random.key(0))


def counted(fn, *args):
    """Operations of the compiled function, by XLA."""
    return jax.jit(fn).lower(*args).compile().cost_analysis()["flops"]


def train_step_flops():
    tx = GanPair(optax.adam(1e-3), optax.adam(1e-3))
    recipe = Recipe.of(default.get_config().train)
    step = functools.partial(train_step, models=models(), tx=tx, recipe=recipe)
    joint = jax.ShapeDtypeStruct((BATCH, HEIGHT, 2 * HEIGHT, 3), jnp.float32)
    return counted(lambda *args: step(*args), shapes_of_state(tx), joint, KEY)


def search_step_flops():
    """A scan of one step is no loop."""
    settings = dict(default.get_config().projection)
    settings |= {"num_candidates": BATCH, "num_steps": 1, "perceptual_weight": 0.01}
    search = projection.Search(**settings)
    tx = GanPair(optax.sgd(1.0), optax.sgd(1.0))
    state = shapes_of_state(tx)
    variables = GanPair(
        *(
            {"params": p, "batch_stats": s}
            for p, s in zip(state.params, state.batch_stats, strict=True)
        )
    )
    target = jax.ShapeDtypeStruct((1, HEIGHT, 2 * HEIGHT, 3), jnp.float32)
    mask = jnp.asarray(images.half_mask(HEIGHT, "sketch"))
    z = jax.ShapeDtypeStruct((1, BATCH, Z_DIM), jnp.float32)
    begin = functools.partial(projection.begin_from, search=search)
    state = jax.eval_shape(begin, z, target, mask, KEY)
    advance = functools.partial(
        projection.advance, models=models(), search=search, num_steps=1
    )
    return counted(
        lambda variables, target, state: advance(variables, target, mask, state),
        variables,
        target,
        state,
    )


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
    ("flops", "least"),
    [
        (train_step_flops, least_of_train_step),
        (search_step_flops, least_of_search_step),
    ],
)
def test_a_step_computes_nothing_twice(flops, least, winograd):
    ratio = flops() / least(winograd)
    assert 1 <= ratio <= 1.1
