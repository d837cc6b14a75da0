"""Losses against hand numbers and SciPy, and the traps of the released code."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special
from scipy import stats as scipy_stats
from scipy.spatial import distance as scipy_distance

from cgan_jax import losses, projection
from cgan_jax.configs import default
from cgan_jax.losses import kl_divergence, perceptual_loss
from cgan_jax.models import make_models
from cgan_jax.search import Search

MASSES = ("ink", "intensity")
DIRECTIONS = ("y||G", "G||y")
FORMS = ("log(1-D)", "-log(D)")

kl = jax.jit(kl_divergence, static_argnames=("mass", "epsilon"))


@pytest.fixture
def without_type_checks():
    """As outside the tests, where nothing checks a Literal before the function does."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def pictures(*shape, seed=0):
    """Grey values in [0, 1], some exactly black, some exactly white."""
    values = np.random.default_rng(seed).uniform(-0.3, 1.3, shape)
    return values.clip(0, 1).astype(np.float32)


def joints(*shape, seed=0):
    return 2 * pictures(*shape, seed=seed) - 1


def scipy_kl(p, q, mask, mass="ink", epsilon=1e-3):
    """D_KL(p || q) of the known pixels of two pictures."""
    weights = [(1 - x if mass == "ink" else x)[mask > 0] + epsilon for x in (p, q)]
    return scipy_stats.entropy(*np.asarray(weights, np.float64))


# -------------------------------------------------------------- adversarial losses


def test_an_undecided_discriminator_loses_2_log_2():
    zeros = jnp.zeros(3)
    np.testing.assert_allclose(losses.discriminator_loss(zeros, zeros), 2 * np.log(2))
    np.testing.assert_allclose(losses.generator_loss(zeros), np.log(2))


def test_adversarial_losses_of_logits_worked_out_by_hand():
    # D is 3/4 and 1/2 on real images; 1/4 and 4/5 on generated ones.
    real = jnp.array([np.log(3), 0.0], np.float32)
    fake = jnp.array([-np.log(3), np.log(4)], np.float32)
    np.testing.assert_allclose(
        losses.discriminator_loss(real, fake),
        -(np.log(3 / 4) + np.log(1 / 2)) / 2 - (np.log(3 / 4) + np.log(1 / 5)) / 2,
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        losses.generator_loss(fake), -(np.log(1 / 4) + np.log(4 / 5)) / 2, rtol=1e-6
    )


def test_the_generators_gradient_does_not_vanish_where_it_is_found_out():
    grad = jax.grad(losses.generator_loss)(jnp.array([-20.0]))
    np.testing.assert_allclose(grad, [-1.0], rtol=1e-6)


def test_a_smoothed_label_is_reached_at_its_own_logit():
    # The loss against 0.9 is least where D says 0.9, log 9, and is its entropy there.
    fake = jnp.full(2, -100.0)

    def loss(logit):
        real = jnp.full(2, logit)
        return losses.discriminator_loss(real, fake, real_label=0.9)

    least, slope = jax.value_and_grad(loss)(jnp.log(9.0))
    np.testing.assert_allclose(slope, 0.0, atol=1e-6)
    np.testing.assert_allclose(least, scipy_stats.entropy([0.9, 0.1]), rtol=1e-5)


def test_r1_is_the_mean_squared_slope_of_each_picture():
    slope = np.random.default_rng(0).normal(size=(4, 4, 3)).astype(np.float32)

    def logits_fn(x):  # slopes of w and of 2 w
        return jnp.array([1.0, 2.0]) * jnp.tensordot(x, jnp.asarray(slope), 3)

    got = losses.r1_penalty(logits_fn, jnp.asarray(joints(2, 4, 4, 3)))
    np.testing.assert_allclose(got, (1 + 4) / 2 * np.sum(slope**2), rtol=1e-5)


@pytest.mark.parametrize(
    ("form", "values", "slopes"),
    [
        ("log(1-D)", [np.log(1 / 2), np.log(1 / 4)], [-1 / 2, -3 / 4]),
        ("-log(D)", [-np.log(1 / 2), -np.log(3 / 4)], [-1 / 2, -1 / 4]),
    ],
)
def test_perceptual_values_and_gradients_by_hand(form, values, slopes):
    logits = jnp.array([0.0, np.log(3)], np.float32)  # D is 1/2 and 3/4
    np.testing.assert_allclose(perceptual_loss(logits, form), values, rtol=1e-6)
    grad = jax.grad(lambda x: perceptual_loss(x, form).sum())(logits)
    np.testing.assert_allclose(grad, slopes, rtol=1e-6)


def test_the_perceptual_loss_is_the_papers_unless_told_otherwise():
    logits = jnp.array([[0.5, -2.0]])
    assert perceptual_loss(logits).shape == (1, 2)
    np.testing.assert_array_equal(
        perceptual_loss(logits), perceptual_loss(logits, "log(1-D)")
    )


@pytest.mark.parametrize("form", FORMS)
def test_extreme_logits_have_finite_values_and_gradients(form):
    logits = jnp.array([-1e4, 1e4])
    value = perceptual_loss(logits, form)
    grad = jax.grad(lambda x: perceptual_loss(x, form).sum())(logits)
    want = {"log(1-D)": ([0, -1e4], [0, -1]), "-log(D)": ([1e4, 0], [-1, 0])}[form]
    np.testing.assert_allclose(value, want[0])
    np.testing.assert_allclose(grad, want[1])
    np.testing.assert_allclose(losses.discriminator_loss(logits, -logits), 1e4)


# ------------------------------------------------------------------ KL divergence


def test_kl_of_two_pixels_by_hand():
    one_black, other_black = jnp.array([[0.0, 1.0]]), jnp.array([[1.0, 0.0]])
    # Ink 1 and 0, so weights 1.001 and 0.001 of 1.002: trap 1.
    want = (1.001 - 0.001) / 1.002 * np.log(1.001 / 0.001)
    np.testing.assert_allclose(kl(one_black, other_black), want, rtol=1e-5)
    # With epsilon 1: weights 2 and 1 of 3.
    np.testing.assert_allclose(
        kl(one_black, other_black, epsilon=1.0), np.log(2) / 3, rtol=1e-5
    )


@pytest.mark.parametrize("mass", MASSES)
@pytest.mark.parametrize("known", [None, "some"])
def test_kl_is_that_of_scipy_in_either_order(mass, known):
    p, q = pictures(2, 6, 5), pictures(2, 6, 5, seed=1)
    mask = np.ones((6, 5), np.float32)
    if known:
        mask = (np.random.default_rng(2).random((6, 5)) < 0.6).astype(np.float32)
    got = [kl(p, q, mask, mass=mass), kl(q, p, mask, mass=mass)]
    if known is None:
        np.testing.assert_array_equal(kl(p, q, mass=mass), got[0])
    want = [
        [scipy_kl(a, b, mask, mass) for a, b in zip(*pair, strict=True)]
        for pair in ((p, q), (q, p))
    ]
    np.testing.assert_allclose(got, want, rtol=2e-5)
    assert np.abs(got[0] - got[1]).min() > 1e-3


def test_kl_is_the_sum_of_scipys_kl_div():
    p, q = pictures(6, 5), pictures(6, 5, seed=1)
    a, b = (1 - p + 1e-3) / np.sum(1 - p + 1e-3), (1 - q + 1e-3) / np.sum(1 - q + 1e-3)
    np.testing.assert_allclose(kl(p, q), special.kl_div(a, b).sum(), rtol=2e-5)


def strokes(column):
    """A 64x64 sheet of white paper with one black line."""
    sheet = np.ones((64, 64), np.float32)
    sheet[8:56, column : column + 2] = 0.0
    return sheet


def test_epsilon_is_added_before_normalising():
    """Trap 1: after normalising, the same epsilon would flatten the loss."""
    p, q = strokes(20), strokes(40)
    a, b = ((1 - x) / (1 - x).sum() + 1e-3 for x in (p, q))
    flattened = scipy_stats.entropy(a.ravel(), b.ravel())
    assert kl(p, q) > 3 * flattened
    np.testing.assert_allclose(kl(p, q), scipy_kl(p, q, np.ones_like(p)), rtol=1e-4)


def test_ink_sees_the_strokes_and_intensity_the_paper():
    """Trap 2: under intensity a moved line is a small change of a big white sheet."""
    assert kl(strokes(20), strokes(40), mass="ink") > 5.0
    assert kl(strokes(20), strokes(40), mass="intensity") < 0.2


finite_pictures = hnp.arrays(
    np.float32, (2, 3, 4), elements=st.floats(0, 1, width=32, allow_subnormal=False)
)
masks = hnp.arrays(np.float32, (3, 4), elements=st.sampled_from([0.0, 1.0]))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(finite_pictures, masks, st.sampled_from(MASSES))
def test_kl_is_never_negative_and_0_between_equals(pair, mask, mass):
    p, q = pair
    assert kl(p, q, mask, mass=mass) >= -1e-6
    assert kl(p, p, mask, mass=mass) == 0.0


# ---------------------------------------------------------------- contextual loss

SIZE = 8
COMMON = {"base_filters": 2, "z_dim": 3, "height": SIZE}
MODELS = {
    "halves": make_models(**COMMON, styles=["xdog"]),
    "planes": make_models(**COMMON, layout="planes", styles=["xdog", "fdog"]),
}
SEARCH = Search(**dict(default.get_config().projection) | {"photo_distance": "kl"})

every_layout = pytest.mark.parametrize("layout", MODELS)


@functools.partial(jax.jit, static_argnames=("layout", "known", "direction", "mass"))
def loss_of_known(generated, target, mask, *, layout, known, direction, mass):
    """What the search minimizes of one joint image."""
    search = dataclasses.replace(SEARCH, direction=direction, mass=mass)
    plan = projection._Plan(MODELS[layout], search.structure, known)
    views = (plan.views(x) for x in (generated, target))
    return projection._contextual(*views, mask, search.numbers, plan)


def contextual(generated, target, mask, layout, direction="y||G", mass="ink"):
    """L_contextual of one joint image in [-1, 1]; its parts of which something is known."""
    options = {"direction": direction, "mass": mass, "layout": layout}
    known = MODELS[layout].gen.joint.known(mask)
    return loss_of_known(generated, target, mask, known=known, **options)


def described(layout):
    """What joint images hold, and two of them."""
    joint = MODELS[layout].gen.joint
    return joint, *(joints(*joint.shape, seed=seed) for seed in (0, 1))


def by_channel(generated, target, mask, joint, name):
    """KL(y || G) of what is known of a part: of each of its colours, or of its grey."""
    y, g = (joint.view(x, name) for x in (target, generated))
    known = joint.mask_of(mask, name)
    return [scipy_kl(p, q, known) for p, q in zip(y, g, strict=True)]


@every_layout
@pytest.mark.parametrize("mass", MASSES)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_each_direction_is_the_one_it_names(layout, direction, mass):
    """Trap 3: the first argument is the generated image, whatever the direction."""
    joint, generated, target = described(layout)
    for name in joint.sketches:
        y, g = (joint.view(x, name)[0] for x in (target, generated))
        p, q = (y, g) if direction == "y||G" else (g, y)
        got = contextual(generated, target, joint.mask([name]), layout, direction, mass)
        want = scipy_kl(p, q, np.ones((SIZE, SIZE)), mass)
        np.testing.assert_allclose(got, want, rtol=2e-5)


def test_the_default_ranks_as_the_released_code_does():
    pair, mask = [pictures(6, 6, seed=seed) for seed in (0, 1)], np.ones((6, 6), "f4")
    np.testing.assert_array_equal(
        distance(*pair, mask, distance="kl"),
        distance(*pair, mask, distance="kl", direction="y||G", mass="ink"),
    )


@every_layout
def test_the_mask_of_the_photo_compares_it_by_colour(layout):
    """Trap 5: there the loss always reads the left half."""
    joint, generated, target = described(layout)
    mask = joint.mask(["photo"])
    got = contextual(generated, target, mask, layout)
    separate = by_channel(generated, target, mask, joint, "photo")
    assert np.ptp(separate) > 0.01
    np.testing.assert_allclose(got, np.mean(separate), rtol=2e-5)

    where = joint.where("photo")
    generated[..., : where.start], target[..., : where.start] = 0.3, -0.4
    np.testing.assert_array_equal(contextual(generated, target, mask, layout), got)
    target[..., where] = target[::-1, :, where]
    assert abs(contextual(generated, target, mask, layout) - got) > 0.01


@every_layout
def test_any_mask_across_all_parts_is_served(layout):
    """Each part is a distribution of its own: their losses add up."""
    joint, generated, target = described(layout)
    rng = np.random.default_rng(3)
    mask = (rng.random(joint.mask_shape) < 0.5).astype(np.float32)
    assert joint.known(mask) == joint.names
    got = contextual(generated, target, mask, layout)
    want = sum(
        np.mean(by_channel(generated, target, mask, joint, name))
        for name in joint.names
    )
    np.testing.assert_allclose(got, want, rtol=2e-5)


@every_layout
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("known", ["sketch", "photo"])
def test_what_is_unknown_is_never_read(layout, known, direction):
    joint, generated, target = described(layout)
    name = "photo" if known == "photo" else joint.sketches[-1]
    mask = joint.mask([name])
    shown = joint.per_plane(mask)
    grad = jax.jit(
        jax.value_and_grad(
            lambda g, y: contextual(g, y, mask, layout, direction=direction)
        )
    )
    value, slope = grad(generated, target)
    assert np.abs(slope[shown > 0]).min() > 0
    np.testing.assert_array_equal(slope[shown == 0], 0.0)

    target[shown == 0] = np.nan
    again = grad(generated, target)
    np.testing.assert_array_equal(again[0], value)
    np.testing.assert_array_equal(again[1], slope)
    generated[shown == 0] = np.nan
    again = grad(generated, target)
    np.testing.assert_array_equal(again[0], value)
    np.testing.assert_array_equal(again[1][shown == 0], 0.0)


@every_layout
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_unknown_pixels_of_known_parts_are_never_read(layout, direction):
    joint, generated, target = described(layout)
    rng = np.random.default_rng(3)
    mask = (rng.random(joint.mask_shape) < 0.5).astype(np.float32)
    unknown = joint.per_plane(mask) == 0
    grad = jax.jit(
        jax.value_and_grad(
            lambda g, y: contextual(g, y, mask, layout, direction=direction)
        )
    )
    value, slope = grad(generated, target)
    np.testing.assert_array_equal(slope[unknown], 0.0)
    target[unknown] = np.nan
    again = grad(generated, target)
    np.testing.assert_array_equal(again[0], value)
    np.testing.assert_array_equal(again[1], slope)


@every_layout
@pytest.mark.parametrize("mass", MASSES)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_black_white_and_empty_pictures_are_finite(layout, direction, mass):
    """Trap 1: there one exactly black pixel makes the loss infinite or NaN."""
    joint, some, _ = described(layout)
    sheets = np.stack([-np.ones_like(some), np.ones_like(some), np.sign(some), some])
    generated, target = np.repeat(sheets, 4, 0), np.tile(sheets, (4, 1, 1, 1))
    options = {"layout": layout, "direction": direction, "mass": mass}

    @jax.jit
    def evaluate(generated, target, mask):
        def loss(generated):
            each = jax.vmap(
                lambda g, y: loss_of_known(g, y, mask, known=joint.names, **options)
            )(generated, target)
            return each.sum(), each

        return jax.grad(loss, has_aux=True)(generated)

    for mask in (*(joint.mask([x]) for x in joint.names), joint.mask(joint.names)):
        slopes, values = evaluate(generated, target, mask)
        assert np.isfinite(values).all() and np.isfinite(slopes).all()
        np.testing.assert_allclose(values[::5], 0.0, atol=1e-6)  # equal pairs
        assert values.max() > 0.1
    _, values = evaluate(generated, target, joint.mask([]))
    np.testing.assert_array_equal(values, 0.0)


@pytest.mark.parametrize("leading", [(), (2,), (2, 3)])
def test_leading_axes_are_kept(leading):
    generated, target = (pictures(*leading, 4, 5, seed=seed) for seed in (0, 1))
    mask = np.ones((4, 5), np.float32)
    got = distance(generated, target, mask, distance="kl")
    assert got.shape == leading
    assert kl(generated, target).shape == leading
    flat = (x.reshape(-1, 4, 5) for x in (generated, target))
    each = [distance(g, y, mask, distance="kl") for g, y in zip(*flat, strict=True)]
    np.testing.assert_allclose(np.ravel(got), each, rtol=1e-6)


# --------------------------------------------------------------- other distances

DISTANCES = ("kl", "js", "l1", "l2", "cross-entropy")
distance = jax.jit(
    losses.image_distance, static_argnames=("distance", "direction", "mass")
)


def by_numpy(generated, target, mask, kind):
    """Distances of one pair in float64, from SciPy or their definitions."""
    g, y = (x[mask > 0].astype(np.float64) for x in (generated, target))
    ink = [(1 - x + 1e-3) / (1 - x + 1e-3).sum() for x in (y, g)]
    if kind == "kl":
        return scipy_stats.entropy(*ink)
    if kind == "js":
        return scipy_distance.jensenshannon(*ink) ** 2
    if kind == "cross-entropy":
        coins = [np.stack([x + 1e-3, 1 - x + 1e-3]) / 1.002 for x in (y, g)]
        return special.rel_entr(*coins).sum(0).mean()
    return np.abs(g - y).mean() if kind == "l1" else np.square(g - y).mean()


@pytest.mark.parametrize("kind", DISTANCES)
def test_each_distance_is_what_its_name_says(kind):
    generated, target = pictures(6, 6, seed=0), pictures(6, 6, seed=1)
    mask = (np.random.default_rng(2).random((6, 6)) < 0.6).astype(np.float32)
    got = distance(generated, target, mask, distance=kind)
    want = by_numpy(generated, target, mask, kind)
    np.testing.assert_allclose(got, want, rtol=1e-4)
    assert want > 0.05
    assert abs(distance(target, target, mask, distance=kind)) < 1e-6


@pytest.mark.parametrize("kind", DISTANCES)
def test_distances_read_nothing_unknown_and_have_finite_gradients(kind):
    generated, target = pictures(6, 6, seed=0), pictures(6, 6, seed=1)
    mask = np.ones((6, 6), np.float32)
    mask[:, 3:] = 0
    grad = jax.jit(jax.value_and_grad(losses.image_distance), static_argnums=3)
    value, slope = grad(generated, target, mask, kind)
    assert np.isfinite(slope).all() and np.abs(slope[:, :3]).max() > 0
    np.testing.assert_array_equal(slope[:, 3:], 0)
    target[:, 3:] = np.nan
    np.testing.assert_array_equal(grad(generated, target, mask, kind)[0], value)
    nothing = grad(generated, target, np.zeros((6, 6), np.float32), kind)
    np.testing.assert_array_equal(nothing[0], 0)
    assert np.isfinite(nothing[1]).all()


@pytest.mark.parametrize(
    ("kind", "turns"), [("kl", True), ("cross-entropy", True), ("js", False)]
)
def test_the_direction_counts_where_a_distance_has_one(kind, turns):
    generated, target = pictures(6, 6, seed=0), pictures(6, 6, seed=1)
    mask = np.ones((6, 6), np.float32)
    there, back = (
        distance(generated, target, mask, distance=kind, direction=x)
        for x in DIRECTIONS
    )
    swapped = distance(target, generated, mask, distance=kind, direction="y||G")
    np.testing.assert_allclose(back, swapped, rtol=1e-5)
    assert (abs(there - back) > 1e-3) == turns


# --------------------------------------------------------------------------- blur


blur = jax.jit(losses.blur, static_argnums=2)


def test_a_blur_is_a_gaussian_mean_of_what_is_known():
    image = pictures(2, 9, 12)
    mask = (np.random.default_rng(4).random((9, 12)) < 0.7).astype(np.float32)
    got = blur(image, mask, (0.0, 1.0, 3.0))
    assert got.shape == (3, 2, 9, 12)
    rows, columns = np.mgrid[:9, :12]
    for i, width in enumerate((1.0, 3.0)):
        for row, column in ((0, 0), (4, 7), (8, 11)):
            apart = (rows - row) ** 2 + (columns - column) ** 2
            weight = mask * np.exp(-apart / (2 * width**2))
            want = (weight * image).sum((1, 2)) / weight.sum()
            np.testing.assert_allclose(got[i + 1, :, row, column], want, rtol=1e-4)
    np.testing.assert_array_equal(got[0], np.where(mask > 0, image, 0))


def test_a_blur_sees_nothing_unknown():
    image = pictures(8, 8)
    mask = np.ones((8, 8), np.float32)
    mask[3:5] = 0
    known = blur(image, mask, (2.0,))
    image[3:5] = np.nan
    np.testing.assert_array_equal(blur(image, mask, (2.0,)), known)
    assert np.isfinite(known).all()
    flat = blur(np.full((8, 8), 0.3, np.float32), mask, (2.0,))
    np.testing.assert_allclose(flat[0][mask > 0], 0.3, rtol=1e-5)


def test_a_misplaced_stroke_pulls_only_where_it_is_blurred():
    """Why coarse to fine: the plain distance does not tell near from far."""
    target, near, far = (np.ones((16, 16), np.float32) for _ in range(3))
    target[:, 2], near[:, 5], far[:, 12] = 0, 0, 0
    mask = np.ones((16, 16), np.float32)

    def lost(stroke, width):
        g, y = (blur(x, mask, (width,)) for x in (stroke, target))
        return distance(g, y, mask, distance="kl")[0]

    assert abs(lost(far, 0.0) - lost(near, 0.0)) < 1e-3
    assert lost(far, 4.0) > 2 * lost(near, 4.0)


# ------------------------------------------------------------------------- errors


def test_unknown_names_are_refused(without_type_checks):
    grey, mask = jnp.zeros((4, 4)), jnp.ones((4, 4))
    with pytest.raises(ValueError, match="'y||G' or 'G||y', got 'G'"):
        losses.image_distance(grey, grey, mask, "kl", direction="G")
    with pytest.raises(ValueError, match="'ink' or 'intensity', got 'paper'"):
        kl_divergence(grey, grey, mass="paper")
    with pytest.raises(ValueError, match="'l2' or 'cross-entropy', got 'l3'"):
        losses.image_distance(grey, grey, mask, "l3")
    with pytest.raises(ValueError, match="got 'log D'"):
        perceptual_loss(jnp.zeros(2), "log D")
