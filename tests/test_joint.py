"""Joint images: which planes are which part, and what people see of them."""

import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cgan_jax import images
from cgan_jax.joint import PHOTO, Joint, Part
from cgan_jax.networks.layouts import make_layout

SIZE = 4
HALVES = make_layout("halves", SIZE, ["xdog"]).joint
PLANES = make_layout("planes", SIZE, ["xdog", "fdog"]).joint
JOINTS = {"halves": HALVES, "planes": PLANES}
LEADING = [(), (2,), (2, 3)]

every_joint = pytest.mark.parametrize("joint", JOINTS.values(), ids=JOINTS)
every_leading = pytest.mark.parametrize("leading", LEADING)
each_library = pytest.mark.parametrize("asarray", [np.asarray, jnp.asarray])


@pytest.fixture
def without_type_checks():
    """As outside the tests, where nothing checks a shape before the function does."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def pictures(joint, *leading, seed=0):
    """Every part of joint images, in [-1, 1]."""
    rng = np.random.default_rng(seed)
    shapes = {"sketch": (SIZE, SIZE), "photo": (SIZE, SIZE, 3)}
    return {
        name: rng.uniform(-1, 1, (*leading, *shapes[joint.kind(name)])).astype("f4")
        for name in joint.names
    }


def planes_of(joint, *leading, seed=0):
    """Joint images of no two planes alike."""
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (*leading, *joint.shape)).astype(np.float32)


# ------------------------------------------------------------------- description


def test_the_parts_of_each_layout():
    assert HALVES.names == ("xdog", PHOTO) and HALVES.sketches == ("xdog",)
    assert HALVES.shape == (4, 4, 6) and HALVES.mask_shape == (4, 4, 2)
    assert (HALVES.where("xdog"), HALVES.where(PHOTO)) == (slice(0, 3), slice(3, 6))
    assert PLANES.names == ("xdog", "fdog", PHOTO)
    assert PLANES.sketches == ("xdog", "fdog")
    assert PLANES.shape == (4, 4, 5) and PLANES.mask_shape == (4, 4, 3)
    wheres = [PLANES.where(name) for name in PLANES.names]
    assert wheres == [slice(0, 1), slice(1, 2), slice(2, 5)]
    for joint in JOINTS.values():
        assert joint.channels == joint.shape[-1]
        assert [joint.kind(x) for x in joint.sketches] == ["sketch"] * len(
            joint.sketches
        )
        assert joint.kind(PHOTO) == "photo"


def test_a_description_is_a_value():
    """Fit for a static argument: equal ones are one."""
    again = make_layout("planes", SIZE, ["xdog", "fdog"]).joint
    assert again == PLANES and hash(again) == hash(PLANES)
    assert PLANES != make_layout("planes", 2 * SIZE, ["xdog", "fdog"]).joint
    assert PLANES != make_layout("planes", SIZE, ["fdog", "xdog"]).joint


@every_joint
def test_the_planes_of_the_parts_are_all_planes_in_turn(joint):
    covered = [i for x in joint.names for i in range(joint.channels)[joint.where(x)]]
    assert covered == [*range(joint.channels)]


def test_two_parts_of_one_name_are_refused():
    parts = Part("xdog", "sketch", 1), Part("xdog", "sketch", 1)
    with pytest.raises(ValueError, match="different names: .*'xdog', 'xdog'"):
        Joint(SIZE, parts)
    with pytest.raises(ValueError, match="different names"):
        make_layout("planes", SIZE, ["photo"])


def test_a_sketch_is_looked_up_by_its_name():
    assert PLANES.check_sketch("fdog") == "fdog"
    for name in ("photo", "photocopy"):
        with pytest.raises(ValueError, match=f"'{name}': choose one of xdog, fdog"):
            PLANES.check_sketch(name)


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: PLANES.where("oil"),
        lambda x: PLANES.kind("oil"),
        lambda x: PLANES.part(x, "oil"),
        lambda x: PLANES.view(x, "oil"),
        lambda x: PLANES.panel(x, "oil"),
        lambda x: PLANES.mask(["oil"]),
        lambda x: PLANES.mask({"oil": np.ones((SIZE, SIZE), np.float32)}),
        lambda x: PLANES.mask_of(PLANES.mask([]), "oil"),
        lambda x: PLANES.stack({"oil": x[..., 0]}),
    ],
)
def test_a_part_that_there_is_not_is_refused(ask):
    with pytest.raises(ValueError, match="no part 'oil': they hold xdog, fdog, photo"):
        ask(planes_of(PLANES))


# ------------------------------------------------------------------------- parts


@every_joint
@every_leading
@each_library
def test_unstack_undoes_stack(joint, leading, asarray):
    given = {name: asarray(x) for name, x in pictures(joint, *leading).items()}
    planes = joint.stack(given)
    assert isinstance(planes, type(asarray(0.0)[None]))
    assert planes.shape == (*leading, *joint.shape) and planes.dtype == np.float32
    again = joint.unstack(planes)
    assert tuple(again) == joint.names
    for name, picture in given.items():
        np.testing.assert_allclose(again[name], picture, atol=1e-6)
        np.testing.assert_array_equal(again[name], joint.part(planes, name))


@every_leading
def test_planes_are_stacked_to_the_bit(leading):
    """Where each sketch is one plane, nothing is computed."""
    planes = planes_of(PLANES, *leading)
    np.testing.assert_array_equal(PLANES.stack(PLANES.unstack(planes)), planes)


@every_leading
def test_a_sketch_of_three_planes_is_grey_in_each(leading):
    given = pictures(HALVES, *leading)
    planes = HALVES.stack(given)
    for plane in range(3):
        np.testing.assert_array_equal(planes[..., plane], given["xdog"])
    np.testing.assert_array_equal(planes[..., 3:], given["photo"])


@every_joint
@each_library
def test_parts_that_are_not_given_are_0(joint, asarray):
    for name, picture in pictures(joint, 2).items():
        planes = joint.stack({name: asarray(picture)})
        assert planes.shape == (2, *joint.shape)
        np.testing.assert_allclose(joint.part(planes, name), picture, atol=1e-6)
        for other in set(joint.names) - {name}:
            assert not np.any(joint.part(planes, other))


@every_joint
@every_leading
@each_library
def test_what_is_compared_is_in_0_to_1(joint, leading, asarray):
    planes = planes_of(joint, *leading)
    planes[..., 0, 0, :], planes[..., 0, 1, :] = -1, 1
    for name in joint.names:
        view = joint.view(asarray(planes), name)
        colours = 3 if name == PHOTO else 1
        assert view.shape == (*leading, colours, SIZE, SIZE)
        np.testing.assert_allclose(view[..., 0, 0], 0, atol=1e-6)
        np.testing.assert_allclose(view[..., 0, 1], 1, atol=1e-6)
        own = planes[..., joint.where(name)]
        grey = own[..., :1] if own.shape[-1] == 1 else images.luma(own)[..., None]
        want = np.moveaxis(own if name == PHOTO else grey, -1, -3)
        np.testing.assert_allclose(view, want / 2 + 0.5, atol=1e-6)


def test_a_sketch_in_colours_is_compared_by_its_luma():
    planes = planes_of(HALVES)
    red, green, blue = np.moveaxis(planes[..., :3].astype(np.float64), -1, 0)
    grey = (0.299 * red + 0.587 * green + 0.114 * blue + 1) / 2
    np.testing.assert_allclose(HALVES.view(planes, "xdog")[0], grey, atol=1e-6)


# ------------------------------------------------------------------------- masks


@every_joint
def test_a_mask_shows_the_parts_that_are_named(joint):
    for name in joint.names:
        mask = joint.mask([name])
        assert mask.shape == joint.mask_shape and mask.dtype == np.float32
        assert joint.known(mask) == (name,)
        for other in joint.names:
            want = np.full((SIZE, SIZE), other == name)
            np.testing.assert_array_equal(joint.mask_of(mask, other), want)
    assert joint.known(joint.mask(joint.names)) == joint.names
    assert joint.known(joint.mask([])) == ()


pixels = hnp.arrays(np.float32, (SIZE, SIZE), elements=st.sampled_from([0.0, 1.0]))


@every_joint
@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    pixels=st.lists(pixels, min_size=3, max_size=3), known=st.sets(st.integers(0, 2))
)
def test_masks_of_parts_come_back_and_reach_the_planes_of_theirs(joint, pixels, known):
    given = {x: pixels[i] for i, x in enumerate(joint.names) if i in known}
    mask = joint.mask(given)
    zeros = np.zeros((SIZE, SIZE), np.float32)
    per_plane = joint.per_plane(mask)
    assert per_plane.shape == joint.shape
    for name in joint.names:
        want = given.get(name, zeros)
        np.testing.assert_array_equal(joint.mask_of(mask, name), want)
        for plane in np.moveaxis(per_plane[..., joint.where(name)], -1, 0):
            np.testing.assert_array_equal(plane, want)
    shown = tuple(x for x in joint.names if x in given and given[x].any())
    assert joint.known(mask) == shown


# -------------------------------------------------------------------- for people


@every_leading
def test_panels_lie_side_by_side_in_the_order_of_the_parts(leading):
    planes = planes_of(PLANES, *leading)
    panels = PLANES.panels(planes)
    assert panels.shape == (*leading, SIZE, 3 * SIZE, 3) and panels.dtype == np.uint8
    pixels = images.to_uint8(planes)
    for colour in range(3):
        np.testing.assert_array_equal(panels[..., :4, colour], pixels[..., 0])
        np.testing.assert_array_equal(panels[..., 4:8, colour], pixels[..., 1])
    np.testing.assert_array_equal(panels[..., 8:, :], pixels[..., 2:])
    some = PLANES.panels(planes, ["photo", "xdog"])
    np.testing.assert_array_equal(some[..., :4, :], panels[..., 8:, :])
    np.testing.assert_array_equal(some[..., 4:, :], panels[..., :4, :])


@every_leading
def test_panels_of_halves_are_the_joint_image_of_the_paper(leading):
    """With the colours that the network drew the sketch in."""
    planes = planes_of(HALVES, *leading)
    wide = np.concatenate([planes[..., :3], planes[..., 3:]], -2)
    np.testing.assert_array_equal(HALVES.panels(planes), images.to_uint8(wide))
    sketch = HALVES.panel(planes, "xdog")
    np.testing.assert_array_equal(sketch, images.to_uint8(planes[..., :3]))
    assert sketch.flags.c_contiguous


@pytest.mark.parametrize("asarray", [np.asarray, jnp.asarray])
def test_panels_take_what_either_library_holds(asarray):
    planes = planes_of(PLANES)
    np.testing.assert_array_equal(PLANES.panels(asarray(planes)), PLANES.panels(planes))


@every_joint
def test_from_panels_undoes_panels(joint):
    """But for the rounding of bytes; bytes themselves come back."""
    planes = joint.stack(pictures(joint))
    panels = joint.panels(planes)
    again = joint.from_panels(panels)
    assert again.dtype == np.float32
    np.testing.assert_allclose(again, planes, atol=1.01 / 255)
    np.testing.assert_array_equal(joint.panels(again), panels)


@every_joint
def test_panels_of_floats_are_read_as_they_are(joint):
    given = pictures(joint)
    grey = [np.stack([given[x]] * 3, -1) for x in joint.sketches]
    planes = joint.from_panels(np.concatenate([*grey, given["photo"]], 1))
    np.testing.assert_allclose(planes, joint.stack(given), atol=1e-6)


@every_joint
@pytest.mark.parametrize("change", ["narrow", "high", "grey"])
def test_panels_of_another_shape_are_refused_with_what_is_expected(
    joint, change, without_type_checks
):
    count = len(joint.parts)
    shape = {
        "narrow": (SIZE, SIZE * (count - 1), 3),
        "high": (SIZE + 1, SIZE * count, 3),
        "grey": (SIZE, SIZE * count, 1),
    }[change]
    names = ", ".join(joint.names)
    message = f"expected {names} side by side, {SIZE} x {SIZE * count} pixels, got "
    with pytest.raises(ValueError, match=message):
        joint.from_panels(np.zeros(shape, np.uint8))
