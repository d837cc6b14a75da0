"""Held-out sketches, completed on the way."""

import dataclasses

import jax
import numpy as np
import pytest
from tiny_models import ARGUMENTS, LAYOUTS, random_model, tiny_models

from cgan_jax import images, kinds, validation
from cgan_jax.configs import default, presets, tiny
from cgan_jax.joint import PHOTO
from cgan_jax.models import generate, sample_z
from cgan_jax.search import Search

SEARCH = dataclasses.replace(
    Search(**default.get_config().projection),
    num_starts=64,
    num_candidates=1,
    num_steps=2,
    inner_steps=2,
    inner_layers=2,
)


def pairs(count):
    """Told apart by the value of the sketch in the first style."""
    return [
        {
            "sketches": np.stack(
                [np.full((16, 16), value, np.uint8) for value in (i, 99, 100)]
            ),
            "photo": np.full((16, 16, 3), 2 * i, np.uint8),
        }
        for i in range(count)
    ]


pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module", params=LAYOUTS)
def layout(request):
    return request.param


@pytest.fixture(scope="module")
def joint(layout):
    return random_model(0, layout).joint


@pytest.fixture(scope="module")
def planes(layout):
    """What the model itself draws."""
    model = random_model(0, layout)
    z = sample_z(jax.random.key(5), 3, ARGUMENTS["z_dim"])
    draw = jax.jit(generate, static_argnums=0)
    return np.asarray(draw(model.models.gen, model.variables.gen, z))


def complete(layout, planes, search=SEARCH):
    model = random_model(0, layout)
    return validation.complete(
        model.variables, planes, models=model.models, search=search
    )


@pytest.fixture(scope="module")
def found(layout, planes):
    return complete(layout, planes)


@pytest.mark.parametrize(
    ("total", "count", "rows"), [(9, 3, [0, 4, 8]), (2, 16, [0, 1]), (5, 1, [0])]
)
def test_the_same_rows_are_chosen_evenly_in_the_first_style(joint, total, count, rows):
    planes = validation.choose(pairs(total), joint, count)
    assert planes.shape == (len(rows), *joint.shape)
    pixels = images.to_uint8(planes)[:, 0, 0]
    assert pixels[:, 0].tolist() == rows
    assert pixels[:, -1].tolist() == [2 * row for row in rows]
    if len(joint.sketches) > 1:
        assert (pixels[:, 1:3] == [99, 100]).all()


def test_only_the_first_sketch_is_looked_at(layout, joint, planes, found):
    known = joint.where(joint.sketches[0])
    mirrored = planes[:, ::-1].copy()
    mirrored[..., known] = planes[..., known]
    other = complete(layout, mirrored)
    np.testing.assert_array_equal(other.joint, found.joint)
    assert other.scores["validation_kl"] == found.scores["validation_kl"]
    assert other.scores["validation_ssim"] != found.scores["validation_ssim"]


def test_the_whole_search_is_made(layout, planes, found):
    """Offsets of inner layers included."""
    by_z = complete(layout, planes, dataclasses.replace(SEARCH, inner_steps=0))
    assert np.abs(found.joint - by_z.joint).max() > 1e-3


def test_more_sketches_than_a_block_are_searched_for_block_by_block(
    layout, planes, monkeypatch
):
    sizes, real = [], validation.project

    def project(variables, target, *args, **kwargs):
        sizes.append(len(target))
        return real(variables, target, *args, **kwargs)

    monkeypatch.setattr(validation, "project", project)
    monkeypatch.setattr(validation, "_BLOCK", 2)
    blocks = complete(layout, np.concatenate([planes, planes[:2]]))
    assert sizes == [2, 2, 2]
    assert blocks.joint.shape == (5, *planes.shape[1:])
    np.testing.assert_array_equal(blocks.joint[3:], blocks.joint[:2])
    one = complete(layout, planes[2:])
    np.testing.assert_allclose(blocks.joint[2], one.joint[0], atol=0.02)
    assert sizes == [2, 2, 2, 1]


def test_the_scores_are_those_of_the_photos_and_sketches(joint, planes, found):
    by_hand = [
        ssim(*pair)
        for pair in zip(photos(joint, found.joint), photos(joint, planes), strict=True)
    ]
    np.testing.assert_allclose(
        found.scores["validation_ssim"], np.mean(by_hand), atol=1e-5
    )
    assert 0 < found.scores["validation_kl"] < 10
    assert found.joint.shape == planes.shape


def photos(joint, planes):
    return (np.asarray(planes[..., joint.where(PHOTO)], np.float64) + 1) / 2


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


def test_the_sheet_shows_truth_and_answer_side_by_side(joint, planes, found):
    sheet = validation.sheet(planes, found.joint, joint)
    columns = 2 + len(joint.names)
    assert sheet.shape == (16 + 3 * (32 + 4) + 4, columns * (32 + 4) + 4, 3)
    row = sheet[16 + 4 : 16 + 4 + 32]
    true, answer = images.to_uint8(planes[0]), images.to_uint8(found.joint[0])
    shown = [row[::2, 4 + 36 * i : 4 + 36 * i + 32 : 2] for i in range(columns)]
    first = joint.where(joint.sketches[0])
    wanted = [true[..., joint.where(PHOTO)], true[..., first]]
    wanted += [answer[..., joint.where(name)] for name in joint.names]
    for got, want in zip(shown, wanted, strict=True):
        np.testing.assert_array_equal(got, np.broadcast_to(want, got.shape))


@pytest.mark.parametrize(
    ("projection", "inner_steps"),
    [
        (default.get_config().projection, 7),
        (presets.get_projection("paper"), 0),
        (presets.get_projection("released_code"), 0),
    ],
)
def test_runs_are_judged_by_the_whole_search_of_their_config(projection, inner_steps):
    config = tiny.get_config()
    config.projection = projection
    config.report.validation_inner_steps = 7
    config.model.update(ARGUMENTS)
    search = kinds._validation_search(config, tiny_models().gen)
    assert search.inner_steps == inner_steps
    assert (search.num_starts, search.num_steps) == (64, 5)
    assert (search.encoder_starts, search.num_candidates) == (0, 1)
    assert search.inner_layers == 2  # as many as there are
    assert search.distance == projection.distance
