"""Held-out sketches, completed on the way."""

import dataclasses

import jax
import numpy as np
import pytest
from tiny_models import ARGUMENTS, random_model

from cgan_jax import images, validation
from cgan_jax.configs import default
from cgan_jax.models import generate, sample_z
from cgan_jax.projection import Search

SEARCH = dataclasses.replace(
    Search(**default.get_config().projection),
    num_starts=64,
    num_candidates=1,
    num_steps=2,
)


def pairs(count):
    """Told apart by the value of the sketch in the first style."""
    return [
        {
            "sketches": np.stack(
                [np.full((16, 16), value, np.uint8) for value in (i, 99)]
            ),
            "photo": np.full((16, 16, 3), 2 * i, np.uint8),
        }
        for i in range(count)
    ]


pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def joint():
    """What the model itself draws."""
    model = random_model()
    z = sample_z(jax.random.key(5), 3, ARGUMENTS["z_dim"])
    draw = jax.jit(generate, static_argnums=0)
    return np.asarray(draw(model.models.gen, model.variables.gen, z))


def complete(joint):
    model = random_model()
    return validation.complete(
        model.variables, joint, models=model.models, search=SEARCH
    )


@pytest.fixture(scope="module")
def found(joint):
    return complete(joint)


@pytest.mark.parametrize(
    ("total", "count", "rows"), [(9, 3, [0, 4, 8]), (2, 16, [0, 1]), (5, 1, [0])]
)
def test_the_same_rows_are_chosen_evenly_in_the_first_style(total, count, rows):
    joint = validation.choose(pairs(total), count)
    sketch, photo = images.split(images.to_uint8(joint))
    assert sketch[:, 0, 0, 0].tolist() == rows
    assert photo[:, 0, 0, 0].tolist() == [2 * row for row in rows]


def test_only_the_sketch_is_looked_at(joint, found):
    sketch, photo = images.split(joint)
    other = complete(images.join(sketch, photo[:, ::-1]))
    np.testing.assert_array_equal(other.joint, found.joint)
    assert other.scores["validation_kl"] == found.scores["validation_kl"]
    assert other.scores["validation_ssim"] != found.scores["validation_ssim"]


def test_the_scores_are_those_of_the_photos_and_sketches(joint, found):
    by_hand = [
        ssim(*pair) for pair in zip(photos(found.joint), photos(joint), strict=True)
    ]
    np.testing.assert_allclose(
        found.scores["validation_ssim"], np.mean(by_hand), atol=1e-5
    )
    assert 0 < found.scores["validation_kl"] < 10
    assert found.joint.shape == joint.shape


def photos(joint):
    return (images.split(np.asarray(joint, np.float64))[1] + 1) / 2


def ssim(a, b):
    """Wang et al. 2004 by hand: windows of 11, Gaussian of 1.5, channels apart."""
    x = np.arange(11) - 5.0
    g = np.exp(-(x**2) / (2 * 1.5**2))
    window = np.outer(g, g)[..., None] / g.sum() ** 2

    def mean(image):
        windows = np.lib.stride_tricks.sliding_window_view(image, (11, 11), (0, 1))
        return (np.moveaxis(windows, 2, -1) * window).sum((2, 3))

    mu_a, mu_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mu_a**2, mean(b * b) - mu_b**2
    covariance = mean(a * b) - mu_a * mu_b
    c1, c2 = 0.01**2, 0.03**2
    return np.mean(
        (2 * mu_a * mu_b + c1)
        * (2 * covariance + c2)
        / ((mu_a**2 + mu_b**2 + c1) * (var_a + var_b + c2))
    )


def test_the_sheet_shows_truth_and_answer_side_by_side(joint, found):
    sheet = validation.sheet(joint, found.joint)
    assert sheet.shape == (16 + 3 * (32 + 4) + 4, 4 * (32 + 4) + 4, 3)
    row = sheet[16 + 4 : 16 + 4 + 32]
    true, answer = images.to_uint8(joint[0]), images.to_uint8(found.joint[0])
    shown = [row[::2, 4 + 36 * i : 4 + 36 * i + 32 : 2] for i in range(4)]
    for got, want in zip(
        shown, [*images.split(true)[::-1], *images.split(answer)], strict=True
    ):
        np.testing.assert_array_equal(got, want)
