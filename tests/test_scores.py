"""Scores against hand numbers and the implementations that everybody uses."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from cgan_jax import scores

pytestmark = pytest.mark.usefixtures("quick_compilation")
BORDER = 5  # half of the window


def smooth_photos(count, seed, size=24):
    """Random pictures with structure of several widths."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 1, (count, size // 4, size // 4, 3)).repeat(4, 1)
    noise = rng.uniform(-0.1, 0.1, (count, size, size, 3))
    return np.clip(coarse.repeat(4, 2) + noise, 0, 1).astype(np.float32)


def test_ssim_is_that_of_scikit_image_where_the_window_lies_within():
    x, y = smooth_photos(3, 0), smooth_photos(3, 1)
    mixed = 0.7 * x + 0.3 * y
    found = scores.ssim(jnp.asarray(mixed), jnp.asarray(x))
    for i in range(3):
        _, local = structural_similarity(
            mixed[i],
            x[i],
            channel_axis=2,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1,
            full=True,
        )
        inner = local[BORDER:-BORDER, BORDER:-BORDER]
        np.testing.assert_allclose(found[i], inner.mean(), atol=2e-5)
    assert 0.2 < float(found[0]) < 0.95


def test_ssim_of_equal_pictures_is_1_and_of_black_and_white_is_hand_made():
    x = jnp.asarray(smooth_photos(2, 0))
    np.testing.assert_allclose(scores.ssim(x, x), 1, atol=1e-6)
    black, white = jnp.zeros((1, 16, 16, 1)), jnp.ones((1, 16, 16, 1))
    # Means 0 and 1, no variance: C1 / (1 + C1).
    np.testing.assert_allclose(scores.ssim(black, white), 1e-4 / (1 + 1e-4), rtol=1e-2)


def test_more_pictures_than_a_block_are_compared_one_by_one():
    x = jnp.asarray(smooth_photos(70, 0, 12))
    y = jnp.asarray(smooth_photos(70, 1, 12))
    found = scores.ssim(x, y)
    assert found.shape == (70,)
    np.testing.assert_allclose(found[65:66], scores.ssim(x[65:66], y[65:66]), atol=1e-6)


def test_psnr_is_that_of_scikit_image():
    x, y = smooth_photos(2, 0), smooth_photos(2, 1)
    found = scores.psnr(jnp.asarray(x), jnp.asarray(y))
    expected = [peak_signal_noise_ratio(b, a, data_range=1) for a, b in zip(x, y)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_psnr_of_a_tenth_everywhere_is_20_decibels_and_of_equals_infinite():
    x = jnp.full((1, 12, 12, 3), 0.5)
    np.testing.assert_allclose(scores.psnr(x, x + 0.1), 20, rtol=1e-5)
    assert np.isposinf(scores.psnr(x, x)).all()


def test_luma_has_no_colour():
    red, grey = (
        jnp.zeros((1, 12, 12, 3)).at[..., 0].set(1),
        jnp.full((1, 12, 12, 3), 0.299),
    )
    assert scores.grey(red).shape == (1, 12, 12, 1)
    np.testing.assert_allclose(scores.grey(red), scores.grey(grey), atol=1e-6)


def test_sketch_kl_is_of_the_input_to_the_generated_one():
    y, g = jnp.ones((1, 1, 2)), jnp.array([[[1.0, 0.0]]])
    ink_y, ink_g = np.array([1e-3, 1e-3]), np.array([1e-3, 1 + 1e-3])
    p, q = ink_y / ink_y.sum(), ink_g / ink_g.sum()
    np.testing.assert_allclose(
        scores.sketch_kl(y, g), np.sum(p * np.log(p / q)), rtol=1e-4
    )
    assert float(scores.sketch_kl(g, g)[0]) == 0


def line(column, size=8):
    sketch = np.ones((size, size))
    sketch[:, column] = 0
    return sketch


def test_strokes_within_a_pixel_count_and_two_pixels_away_do_not():
    assert scores.stroke_f_score(line(3), line(3)) == 1
    assert scores.stroke_f_score(line(4), line(3)) == 1
    assert scores.stroke_f_score(line(5), line(3)) == 0


def test_f_score_is_the_harmonic_mean_of_precision_and_recall():
    both = np.minimum(line(1), line(6))
    # All of the reference's 8 pixels are found, half of the sketch's 16 are right.
    assert scores.stroke_f_score(both, line(1)) == pytest.approx(2 * 0.5 / 1.5)
    assert scores.stroke_f_score(line(1), both) == pytest.approx(2 * 0.5 / 1.5)


def test_diagonal_neighbours_are_too_far():
    a, b = np.ones((4, 4)), np.ones((4, 4))
    a[1, 1], b[2, 2] = 0, 0
    assert scores.stroke_f_score(a, b) == 0


def test_faint_strokes_are_none_and_no_strokes_fit_only_none():
    faint, blank = np.where(line(3) == 0, 0.6, 1), np.ones((8, 8))
    assert scores.stroke_f_score(faint, blank) == 1
    assert scores.stroke_f_score(line(3), blank) == 0
    assert scores.stroke_f_score(blank, line(3)) == 0


def test_a_missing_face_is_not_the_same_person():
    descriptors = np.array([[0.0, 0.0], [0.6, 0.0], [0.61, 0.0], [np.nan, np.nan]])
    distances = scores.descriptor_distances(descriptors, np.zeros((4, 2)))
    np.testing.assert_allclose(distances, [0, 0.6, 0.61, np.nan])
    assert scores.is_same_person(distances).tolist() == [True, True, False, False]


def test_ranks_count_ties_and_missing_faces_against_the_probe():
    gallery = np.array([[0.0], [1.0], [3.0], [3.0]])[None].repeat(4, 0)
    probes = np.array([[0.1], [0.4], [2.9], [np.nan]])
    correct = np.array([0, 1, 2, 0])
    ranks = scores.identification_ranks(probes, gallery, correct)
    assert ranks.tolist() == [1, 2, 2, 4]
    gallery[0, 0] = np.nan  # the right person's photograph has no face
    assert scores.identification_ranks(probes, gallery, correct)[0] == 4


def test_spread_is_the_mean_over_pairs():
    flat = [np.full((2, 2, 3), level) for level in (0.0, 0.1, 0.4)]
    assert scores.spread(np.stack(flat)) == pytest.approx((0.1 + 0.4 + 0.3) / 3)
    assert np.isnan(scores.spread(np.stack(flat[:1])))


def test_kernel_distance_of_a_hand_made_pair_of_sets():
    x, y = np.array([[0.0], [1.0]]), np.array([[1.0], [1.0]])
    # Kernels (ab + 1)^3: within x 1, within y 8, across 1 and 8.
    assert scores.kernel_distance(x, y) == pytest.approx(1 + 8 - 2 * (1 + 8) / 2)


def test_kernel_distance_is_unbiased():
    rng = np.random.default_rng(0)
    sets = rng.normal(size=(300, 2, 12, 3))
    found = np.array([scores.kernel_distance(x, y) for x, y in sets])
    assert abs(found.mean()) < 4 * found.std() / np.sqrt(len(found))
    assert (found < 0).any()


def test_kernel_distance_tells_sets_apart():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 200, 4))
    assert scores.kernel_distance(x, y + 1) > 20 * abs(scores.kernel_distance(x, y))


def test_frechet_distance_is_that_by_a_matrix_square_root():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 5)) @ rng.normal(size=(5, 5))
    y = rng.normal(size=(60, 5)) @ rng.normal(size=(5, 5)) + 1
    cx, cy = np.cov(x.T), np.cov(y.T)
    expected = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(
        cx + cy - 2 * linalg.sqrtm(cx @ cy).real
    )
    assert scores.frechet_distance(x, y) == pytest.approx(expected, rel=1e-8)
    assert scores.frechet_distance(x, x) == pytest.approx(0, abs=1e-8)


def test_frechet_distance_of_a_shift_is_its_square():
    x = np.random.default_rng(0).normal(size=(30, 3))
    assert scores.frechet_distance(x, x + [3, 0, 4]) == pytest.approx(25)


def test_appearance_is_two_unit_vectors_that_see_shape_and_colour():
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[:, ::4] = 200
    found = scores.appearance(stripes)
    assert found.shape == (168,)
    shape, colour = found[:144], found[144:]
    assert np.sum(shape**2) == pytest.approx(1)
    assert np.sum(colour**2) == pytest.approx(1)
    turned = scores.appearance(stripes.transpose(1, 0, 2))
    assert np.abs(turned[:144] - shape).max() > 0.1
    np.testing.assert_allclose(turned[144:], colour)
    red = stripes * np.array([1, 0, 0], np.uint8)
    assert np.abs(scores.appearance(red)[144:] - colour).max() > 0.1


def test_appearance_of_a_flat_picture_is_finite():
    assert np.isfinite(scores.appearance(np.zeros((16, 16, 3), np.uint8))).all()
