"""The searches of before joint images had an owner, to rounding.

`golden/halves` is a model of random weights as it was published then, whose
`config.json` knows no layout; `golden/halves.npz` holds what its `Completer` answered: to
a sketch, to a photograph, and to parts of both, `z`, `contextual`, `perceptual` and the
joint image, sketch left and photograph right, under each preset with fewer starts and
steps than it has. Both were written by the code at fccf135, the last in which a joint image
was that picture everywhere, on x86 CPUs with JAX 0.10.
"""

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgan_jax import images, model_files, projection
from cgan_jax.configs import presets
from cgan_jax.search import Search

FOLDER = Path(__file__).parent / "golden"
SIZE = 16
FEW = {"num_starts": 24, "num_candidates": 3, "num_steps": 6, "inner_steps": 0}
CHANGES = {
    "default": FEW,
    "paper": FEW,
    "released_code": {"num_starts": 8, "num_candidates": 1, "num_steps": 12},
}
TASKS = ("sketch2photo", "photo2sketch", "mask")


@pytest.fixture(scope="module")
def model():
    return model_files.load(FOLDER / "halves")


@pytest.fixture(scope="module")
def golden():
    with np.load(FOLDER / "halves.npz") as file:
        return dict(file)


def ring():
    """A sketch and a photograph of a ring, in [0, 1]."""
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE / 2 + 0.5
    radius = np.hypot(y, x)
    sketch = np.clip(np.abs(radius - SIZE * 0.3) / (SIZE / 16), 0, 1)
    red, green = np.clip(1 - radius / SIZE, 0, 1), np.clip(radius / SIZE, 0, 1)
    photo = np.stack([red, green, np.full_like(radius, 0.4)], -1)
    return sketch.astype(np.float32), photo.astype(np.float32)


def masks(joint):
    """What is known in each task."""
    sketch, photo = np.zeros((2, SIZE, SIZE), np.float32)
    sketch[:8], photo[4:, :8] = 1, 1
    return {
        "sketch2photo": joint.mask(["xdog"]),
        "photo2sketch": joint.mask(["photo"]),
        "mask": joint.mask({"xdog": sketch, "photo": photo}),
    }


@pytest.fixture(scope="module")
def answers(model):
    """The answers of a preset, by task; computed once."""
    joint = model.models.gen.joint
    sketch, photo = ring()
    target = joint.stack({"xdog": sketch * 2 - 1, "photo": photo * 2 - 1})

    @functools.cache
    def of(preset, task):
        search = Search(**presets.get_projection(preset))
        search = dataclasses.replace(search, **CHANGES[preset])
        options = {"models": model.models, "search": search}
        starts = projection.draw_starts(model.variables, jax.random.key(3), **options)
        found = projection.project(
            model.variables,
            jnp.asarray(target[None]),
            jnp.asarray(masks(joint)[task]),
            starts,
            **options,
        )
        return jax.tree.map(lambda x: np.asarray(x[0]), found)

    return of


def test_an_old_model_is_one_of_halves_in_its_style(model):
    assert model.models.gen.joint.names == ("xdog", "photo")
    assert model.models.gen.joint.shape == (SIZE, SIZE, 6)
    assert model.models.gen.layout.grid == (4, 8)
    linear = model.variables.gen["params"]["linear"]["kernel"]
    assert linear.shape == (8, 4 * 8 * 8)
    assert model.variables.disc["params"]["conv_0"]["kernel"].shape == (5, 5, 3, 4)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("preset", CHANGES)
def test_answers_are_those_of_before(answers, golden, preset, task):
    found = answers(preset, task)
    for name, atol in (("z", 2e-4), ("contextual", 1e-5), ("perceptual", 2e-4)):
        got, want = getattr(found, name), golden[f"{preset}/{task}/{name}"]
        np.testing.assert_allclose(got, want, atol=atol, err_msg=name)
    assert found.offsets == () and not found.closeness.any()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("preset", CHANGES)
def test_pictures_are_those_of_before(model, answers, golden, preset, task):
    planes, want = answers(preset, task).joint, golden[f"{preset}/{task}/joint"]
    sketch, photo = planes[..., :3], planes[..., 3:]
    got = np.concatenate([sketch, photo], -2)
    np.testing.assert_allclose(got, want, atol=2e-4)
    shown = model.models.gen.joint.panels(planes).astype(int)
    assert np.abs(shown - images.to_uint8(want)).max() <= 1


def test_the_tasks_and_presets_have_answers_of_their_own(answers):
    """Or all of the above would compare one search with itself."""
    found = [answers(preset, task).z[0] for preset in CHANGES for task in TASKS]
    apart = [np.abs(a - b).max() for i, a in enumerate(found) for b in found[:i]]
    assert min(apart) > 1e-3
