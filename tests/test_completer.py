"""Completing from Python: arrays of promised shapes, progress, warm starts, the manual."""

import dataclasses
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from tiny_models import random_model, save_random_model

import cgan_jax
from cgan_jax import images
from cgan_jax.complete import search_targets
from cgan_jax.completer import Completer
from cgan_jax.configs import default
from cgan_jax.models import Encoder, TrainedEncoder
from cgan_jax.projection import Search

ROOT = Path(__file__).resolve().parents[1]
SEARCH = Search(
    **dict(default.get_config().projection) | {"num_starts": 64, "num_steps": 4}
)
STAGED = Search(
    **dict(default.get_config().projection)
    | {"num_starts": 64, "stages": ((6, 2),), "num_steps": 4}
)

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def completer():
    return Completer(random_model())


def picture(*shape, seed=0):
    return np.random.default_rng(seed).random(shape).astype(np.float32)


@pytest.fixture(scope="module")
def found(completer):
    return completer.complete(picture(16, 16), num_candidates=3, search=SEARCH)


def test_answers_have_the_shapes_and_ranges_they_promise(completer, found):
    assert completer.size == 16
    assert found.photo.shape == (3, 16, 16, 3)
    assert found.sketch.shape == (3, 16, 16)
    assert found.photo.dtype == found.sketch.dtype == np.uint8
    assert found.z.shape == (3, 8) and np.abs(found.z).max() <= 1
    assert found.contextual.shape == found.perceptual.shape == (3,)
    assert (np.diff(found.contextual) >= 0).all() and found.contextual[0] > 0
    assert all(isinstance(x, np.ndarray) for x in found)


def test_it_is_the_search_of_the_command(completer, found):
    target = images.target_from_sketch(picture(16, 16))[None]
    mask = images.half_mask(16, "sketch")
    search = Search(**vars(SEARCH) | {"num_candidates": 3})
    (same,) = search_targets(
        completer.model, target, mask, search, seed=0, block_size=1
    )
    np.testing.assert_array_equal(found.z, same.z)
    sketch, photo = images.split(images.to_uint8(same.joint))
    np.testing.assert_array_equal(found.photo, photo)
    np.testing.assert_allclose(
        found.sketch, images.luma(sketch.astype(float)), atol=1.01
    )


def test_the_key_draws_the_starts(completer, found):
    sketch = picture(16, 16)
    options = {"num_candidates": 3, "search": SEARCH}
    other = completer.complete(sketch, key=jax.random.key(1), **options)
    again = completer.complete(sketch, key=jax.random.key(0), **options)
    assert np.abs(other.z - found.z).max() > 0.01
    np.testing.assert_array_equal(again.z, found.z)


def test_a_photograph_and_a_part_of_both_are_completed_too(completer):
    options = {"num_candidates": 2, "search": SEARCH}
    sketch, photo = picture(16, 16), picture(16, 16, 3, seed=1)
    to_sketch = completer.complete(photo=photo, **options)
    mask = np.zeros((16, 32), np.float32)
    mask[4:12] = 1
    of_both = completer.complete(sketch, photo=photo, mask=mask, **options)
    answers = [to_sketch, of_both, completer.complete(sketch, **options)]
    for i, one in enumerate(answers):
        for other in answers[:i]:
            assert np.abs(one.z - other.z).max() > 0.01
    # A mask shows no more than is given.
    half = completer.complete(photo=photo, mask=np.ones((16, 32)), **options)
    np.testing.assert_array_equal(half.z, to_sketch.z)


def test_progress_can_be_shown_and_ends_where_the_whole_search_does(completer):
    sketch = picture(16, 16)
    whole = completer.complete(sketch, num_candidates=3, search=STAGED)
    search = completer.begin(sketch, num_candidates=3, search=STAGED)
    counts, best = [], []
    for _ in range(3):
        shown = completer.answers(search)
        counts.append(len(shown.z))
        best.append(shown.contextual[0])
        search = completer.advance(search, 2)
    assert counts == [6, 3, 3]
    assert len({*best, whole.contextual[0]}) == 4
    np.testing.assert_array_equal(completer.answers(search).z, whole.z)


def test_a_search_in_pieces_stalls_as_the_whole_does(completer):
    sketch = picture(16, 16)
    chunked = {"num_steps": 8, "chunk_steps": 2, "stall_tolerance": 0.999}
    chunked = dataclasses.replace(SEARCH, **chunked)
    whole = completer.complete(sketch, search=chunked)
    assert len(whole.z) == chunked.num_candidates
    search = completer.begin(sketch, search=chunked)
    for _ in range(3):
        search = completer.advance(search, 3)
    assert search.state.step.tolist() == [4]  # the second look found it
    np.testing.assert_array_equal(completer.answers(search).z, whole.z)


def test_a_changed_sketch_begins_at_the_last_answers(completer, found):
    changed = picture(16, 16)
    changed[:4] = 1
    search = completer.begin(changed, z=found.z, search=STAGED)
    np.testing.assert_array_equal(
        np.sort(completer.answers(search).z, 0), np.sort(found.z, 0)
    )
    before = completer.answers(search).contextual[0]
    after = completer.answers(completer.advance(search, 4)).contextual[0]
    assert after < before


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give a sketch or a photo"),
        ({"sketch": (16, 16), "photo": (16, 16, 3)}, "or both and a mask"),
        ({"sketch": (8, 16)}, r"the sketch has shape \(8, 16\), not \(16, 16\)"),
        ({"photo": (16, 8, 3)}, r"the photo has shape \(16, 8, 3\)"),
        ({"sketch": (16, 16), "mask": (16, 16)}, r"the mask has shape \(16, 16\), not"),
    ],
)
def test_what_cannot_be_completed_is_refused(completer, given, message):
    arrays = {name: np.zeros(shape, np.float32) for name, shape in given.items()}
    with pytest.raises(ValueError, match=message):
        completer.begin(**arrays)


def test_a_sketch_of_another_range_is_refused(completer):
    with pytest.raises(ValueError, match="the sketch has values outside of"):
        completer.begin(255 * picture(16, 16))


def test_the_package_loads_a_model_by_its_folder(tmp_path):
    save_random_model(tmp_path / "mine")
    model = cgan_jax.load(str(tmp_path / "mine"))
    assert isinstance(model, Completer)
    assert model.model.name == "mine"


def test_a_drawing_of_any_size_is_prepared(completer):
    drawing = np.ones((60, 50), np.float32)
    drawing[20:40, 24:27] = 0
    sketch = completer.prepare(drawing, frame="keep")
    assert sketch.shape == (16, 16)
    assert sketch.std() > 0.02 and sketch.max() == 1
    with pytest.raises(ValueError, match="blank"):
        completer.prepare(np.ones((9, 9), np.float32))


def test_the_manual_can_be_typed_in(completer, tmp_path, monkeypatch):
    """Every example of docs/python.md, one after another, on a model that is quick."""
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 5
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cgan_jax, "load", lambda name: {"faces": completer}[name])
    exec("\n".join(blocks), {})  # noqa: S102
    with Image.open(tmp_path / "photo.png") as image:
        assert image.size == (16, 16)


def test_an_encoder_of_the_model_gives_starts(completer):
    module = Encoder(4, 8, 16)
    params = module.init(jax.random.key(0), jnp.ones((1, 16, 16)))["params"]
    params["linear"]["bias"] = np.linspace(-0.9, 0.9, 8, dtype=np.float32)
    model = dataclasses.replace(completer.model, encoder=TrainedEncoder(module, params))
    fields = vars(SEARCH) | {"num_starts": 0, "encoder_starts": 2, "num_steps": 0}
    asking = Search(**fields | {"num_candidates": 2, "keep_spread": False})
    found = Completer(model).complete(picture(16, 16), num_candidates=2, search=asking)
    want = np.tanh(params["linear"]["bias"])
    np.testing.assert_allclose(found.z, np.stack([want, want]), atol=1e-5)
    target = images.target_from_sketch(picture(16, 16))[None]
    mask = images.half_mask(16, "sketch")
    (same,) = search_targets(model, target, mask, asking, seed=0, block_size=1)
    np.testing.assert_array_equal(same.z, found.z)
    with pytest.raises(ValueError, match="what is known here is not the sketch half"):
        Completer(model).begin(photo=picture(16, 16, 3), search=asking)


def test_a_model_without_an_encoder_says_where_to_get_one(completer):
    asking = Search(**vars(SEARCH) | {"encoder_starts": 2})
    with pytest.raises(ValueError, match="the model has no encoder: .*cgan-encode"):
        completer.begin(picture(16, 16), search=asking)
    target = images.target_from_sketch(picture(16, 16))[None]
    mask = images.half_mask(16, "sketch")
    with pytest.raises(ValueError, match="the model has no encoder"):
        next(
            search_targets(completer.model, target, mask, asking, seed=0, block_size=1)
        )
