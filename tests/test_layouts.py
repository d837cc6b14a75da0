"""How the networks fold joint images, and what that makes of their weights."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgan_jax.models import GanPair, generate, make_models
from cgan_jax.networks import layouts
from cgan_jax.networks.layouts import Halves, Planes, make_layout

STYLES = ("xdog", "fdog", "photocopy")

pytestmark = pytest.mark.usefixtures("quick_compilation")


def random(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


# ------------------------------------------------------------------------ layouts


def test_halves_have_one_sketch_of_three_planes_whatever_it_shows():
    one, mixed = make_layout("halves", 8, ["fdog"]), make_layout("halves", 8, STYLES)
    assert one.joint.names == ("fdog", "photo")
    assert mixed.joint.names == ("sketch", "photo")
    for layout in (one, mixed):
        assert isinstance(layout, Halves)
        assert layout.joint.shape == (8, 8, 6)
        assert (layout.grid, layout.channels) == ((4, 8), 3)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_planes_have_a_channel_for_each_style_and_three_of_the_photograph(count):
    layout = make_layout("planes", 8, STYLES[:count])
    assert isinstance(layout, Planes)
    assert layout.joint.names == (*STYLES[:count], "photo")
    assert layout.joint.shape == (8, 8, count + 3)
    assert (layout.grid, layout.channels) == ((4, 4), count + 3)


def test_halves_put_the_sketch_left_and_the_photograph_right():
    layout, planes = make_layout("halves", 8, ["xdog"]), random(2, 8, 8, 6)
    image = layout.to_image(jnp.asarray(planes))
    assert image.shape == (2, 8, 16, 3)
    np.testing.assert_array_equal(image[:, :, :8], planes[..., :3])
    np.testing.assert_array_equal(image[:, :, 8:], planes[..., 3:])


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    st.sampled_from(layouts.NAMES),
    st.sampled_from([8, 16, 32]),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(0, 2**16),
)
def test_folding_and_unfolding_undo_each_other_to_the_bit(name, size, count, n, seed):
    layout = make_layout(name, size, STYLES[:count])
    planes = jnp.asarray(random(n, *layout.joint.shape, seed=seed))
    image = layout.to_image(planes)
    rows, columns = layout.grid
    assert image.shape == (n, size, size * columns // rows, layout.channels)
    np.testing.assert_array_equal(layout.to_planes(image), planes)
    image = jnp.asarray(random(*image.shape, seed=seed + 1))
    np.testing.assert_array_equal(layout.to_image(layout.to_planes(image)), image)


def test_a_layout_that_there_is_not_is_refused_with_the_choices():
    with pytest.raises(
        ValueError, match="config.model.layout .*halves.*planes.*'tall'"
    ):
        make_layout("tall", 8, ["xdog"])
    with pytest.raises(ValueError, match="layout must be one of"):
        make_models(base_filters=2, z_dim=3, height=8, layout="tall")


@pytest.mark.parametrize("name", layouts.NAMES)
def test_without_a_style_there_is_no_layout(name):
    with pytest.raises(ValueError, match="no sketch style"):
        make_layout(name, 8, [])


def test_a_style_cannot_be_called_as_the_photograph_or_another():
    for styles in (["photo"], ["xdog", "xdog"]):
        with pytest.raises(ValueError, match="different names"):
            make_layout("planes", 8, styles)


# ----------------------------------------------------------------------- networks

FILTERS, Z_DIM = 4, 6


@functools.cache
def networks(layout, size, count=2, kernel_size=5):
    """G and D, and the shapes of their variables."""
    models = make_models(
        base_filters=FILTERS,
        z_dim=Z_DIM,
        height=size,
        layout=layout,
        styles=STYLES[:count],
        kernel_size=kernel_size,
    )

    def init(key):
        return GanPair(
            *(
                model.init(key, jnp.zeros((1, *model.input_shape)), train=False)
                for model in models
            )
        )

    return models, init


def count_parameters(params):
    return sum(math.prod(x.shape) for x in jax.tree.leaves(params))


def by_hand(layout, size, count, k):
    """Parameters of G and of D, from the numbers of Figure 2."""
    cells, colours = {"halves": (4 * 8, 3), "planes": (4 * 4, count + 3)}[layout]
    depth = {8: 1, 16: 2, 32: 3, 64: 4}[size]
    widths = [FILTERS * 2**i for i in range(depth)]  # next to the image first
    between = sum(k * k * a * b for a, b in itertools.pairwise(widths))
    outer = k * k * colours * widths[0]
    gen = Z_DIM * cells * widths[-1]  # linear, no bias
    gen += 2 * sum(widths)  # a scale and a bias of each batch norm
    gen += between + outer + colours  # the last layer has a bias
    disc = outer + widths[0] + between  # the first layer has a bias
    disc += 2 * sum(widths[1:])  # batch norm of the others
    disc += cells * widths[-1] + 1  # the logit
    return gen, disc


@pytest.mark.parametrize("k", [3, 5])
@pytest.mark.parametrize("size", [8, 16, 32, 64])
@pytest.mark.parametrize(
    ("layout", "count"), [("halves", 1), ("halves", 3), ("planes", 1), ("planes", 3)]
)
def test_parameters_are_as_many_as_counted_by_hand(layout, count, size, k):
    _, init = networks(layout, size, count, k)
    shapes = jax.eval_shape(init, jax.random.key(0))
    found = tuple(count_parameters(x["params"]) for x in shapes)
    assert found == by_hand(layout, size, count, k)


def test_the_parameters_of_the_papers_networks():
    """At 64 pixels, 64 filters and a z of 100."""
    models = make_models(base_filters=64, z_dim=100, height=64)
    z, joint = jnp.zeros((1, 100)), jnp.zeros((1, 64, 64, 6))
    for model, x in zip(models, (z, joint), strict=True):
        found = jax.eval_shape(
            functools.partial(model.init, train=False), jax.random.key(0), x
        )["params"]
        # 25 pairs of channels: 512 x 256, 256 x 128, 128 x 64, 64 x 3.
        convolutions = 25 * (512 * 256 + 256 * 128 + 128 * 64 + 64 * 3)
        if model is models.gen:
            assert found["linear"]["kernel"].shape == (100, 4 * 8 * 512)
            want = 100 * 4 * 8 * 512 + 2 * (512 + 256 + 128 + 64) + convolutions + 3
        else:
            assert found["linear"]["kernel"].shape == (4 * 8 * 512, 1)
            want = convolutions + 64 + 2 * (128 + 256 + 512) + 4 * 8 * 512 + 1
        assert count_parameters(found) == want


@pytest.mark.parametrize("size", [8, 16])
@pytest.mark.parametrize(
    ("layout", "count"), [("halves", 1), ("halves", 2), ("planes", 1), ("planes", 3)]
)
def test_g_draws_joint_images_and_d_reads_them(layout, count, size):
    models, init = networks(layout, size, count)
    variables = jax.jit(init)(jax.random.key(0))
    z = jax.random.uniform(jax.random.key(1), (3, Z_DIM), minval=-1, maxval=1)
    joint = jax.jit(generate, static_argnums=0)(models.gen, variables.gen, z)
    assert joint.shape == (3, *models.gen.joint.shape) == (3, *models.disc.input_shape)
    assert np.abs(joint).max() <= 1 and np.ptp(joint, axis=0).max() > 0
    logits = models.disc.apply(variables.disc, joint, train=False)
    assert logits.shape == (3,) and np.ptp(logits) > 0


@pytest.mark.parametrize(
    ("layout", "inner"),
    [
        ("halves", ((4, 8, 16), (8, 16, 8), (16, 32, 4))),
        ("planes", ((4, 4, 16), (8, 8, 8), (16, 16, 4))),
    ],
)
def test_inner_layers_have_the_shapes_that_they_are_said_to_have(layout, inner):
    models, init = networks(layout, 32)
    assert models.gen.inner_shapes == inner
    variables = jax.eval_shape(init, jax.random.key(0)).gen
    spread = {f"std_{i}": jnp.ones(shape[-1]) for i, shape in enumerate(inner)}

    def moved(variables, z, offsets):
        return generate(models.gen, variables | {"spread": spread}, z, offsets)

    offsets = [jax.ShapeDtypeStruct((2, *shape), jnp.float32) for shape in inner]
    z = jax.ShapeDtypeStruct((2, Z_DIM), jnp.float32)
    image = jax.eval_shape(moved, variables, z, offsets)
    assert image.shape == (2, *models.gen.joint.shape)


@pytest.mark.parametrize(("layout", "reaches"), [("halves", False), ("planes", True)])
def test_sketch_and_photograph_share_feature_maps_in_planes_alone(layout, reaches):
    """A change of the finest map under one corner changes the photograph there, or not."""
    models, init = networks(layout, 32)
    gen = models.gen
    variables = jax.jit(init)(jax.random.key(0)).gen
    ones = {f"std_{i}": jnp.ones(x[-1]) for i, x in enumerate(gen.inner_shapes)}
    offsets = [jnp.zeros((1, *shape)) for shape in gen.inner_shapes]
    z = jnp.full((1, Z_DIM), 0.3)
    draw = functools.partial(generate, gen, variables | {"spread": ones}, z)
    moved = draw([*offsets[:-1], offsets[-1].at[:, 4, 4].set(10.0)])
    changed = np.abs(moved - draw(offsets)).max((0, 1, 2))
    assert changed[gen.joint.where(gen.joint.sketches[0])].min() > 0
    assert (changed[gen.joint.where("photo")] > 0).all() == reaches
    assert (changed[gen.joint.where("photo")] > 0).any() == reaches
