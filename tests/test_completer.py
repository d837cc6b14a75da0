"""Completing from Python: arrays of promised shapes, progress, warm starts, the manual."""

import dataclasses
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from tiny_models import (
    CONFIGS,
    LAYOUTS,
    filled,
    random_model,
    random_spread,
    save_random_model,
)

import cgan_jax
from cgan_jax.complete import search_targets
from cgan_jax.completer import Completer
from cgan_jax.configs import default
from cgan_jax.drawings import STYLE_FACTS, prepare_drawing
from cgan_jax.images import to_uint8
from cgan_jax.model_files import Model
from cgan_jax.models import Encoder, GanPair, TrainedEncoder, make_models
from cgan_jax.projection import Search

ROOT = Path(__file__).resolve().parents[1]
BUDGET = {"num_starts": 64, "num_steps": 4, "inner_steps": 0}
SEARCH = Search(**dict(default.get_config().projection) | BUDGET)
INNER = dataclasses.replace(SEARCH, inner_steps=4, inner_layers=2)

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module", params=["halves", "planes"])
def completer(request):
    return Completer(random_model(layout=request.param))


@pytest.fixture(scope="module")
def planes():
    """One that knows three styles: xdog, fdog and photocopy."""
    return Completer(random_model(layout="planes"))


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
    assert all(isinstance(x, np.ndarray) for x in jax.tree.leaves(found))
    assert tuple(found.sketches) == completer.joint.sketches
    for sketches in found.sketches.values():
        assert sketches.shape == (3, 16, 16) and sketches.dtype == np.uint8
    np.testing.assert_array_equal(found.sketch, found.sketches["xdog"])
    assert found.offsets == () and found.closeness.tolist() == [0, 0, 0]


def test_it_is_the_search_of_the_command(completer, found):
    joint = completer.joint
    target = joint.stack({"xdog": picture(16, 16) * 2 - 1})[None]
    mask = joint.mask(["xdog"])
    search = Search(**vars(SEARCH) | {"num_candidates": 3})
    (same,) = search_targets(
        completer.model, target, mask, search, seed=0, block_size=1
    )
    np.testing.assert_array_equal(found.z, same.z)
    for name, drawn in (found.sketches | {"photo": found.photo}).items():
        wanted = to_uint8(joint.part(np.asarray(same.joint), name))
        np.testing.assert_array_equal(drawn, wanted)


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
    mask = np.zeros(completer.joint.mask_shape, np.float32)
    mask[4:12] = 1
    of_both = completer.complete(sketch, photo=photo, mask=mask, **options)
    answers = [to_sketch, of_both, completer.complete(sketch, **options)]
    for i, one in enumerate(answers):
        for other in answers[:i]:
            assert np.abs(one.z - other.z).max() > 0.01
    # A mask shows no more than is given.
    every = np.ones(completer.joint.mask_shape)
    half = completer.complete(photo=photo, mask=every, **options)
    np.testing.assert_array_equal(half.z, to_sketch.z)


def test_progress_can_be_shown_and_ends_where_the_whole_search_does(completer):
    sketch = picture(16, 16)
    whole = completer.complete(sketch, num_candidates=3, search=INNER)
    search = completer.begin(sketch, num_candidates=3, search=INNER)
    layers, best = [], []
    for _ in range(4):
        shown = completer.answers(search)
        layers.append(len(shown.offsets))
        best.append(shown.contextual[0])
        search = completer.advance(search, 2)
    assert layers == [0, 0, 0, 2]
    assert len({*best, whole.contextual[0]}) == 5
    jax.tree.map(np.testing.assert_array_equal, completer.answers(search), whole)


def test_a_changed_sketch_begins_at_the_last_answers(completer, found):
    changed = picture(16, 16)
    changed[:4] = 1
    search = completer.begin(changed, z=found.z, search=SEARCH)
    np.testing.assert_array_equal(
        np.sort(completer.answers(search).z, 0), np.sort(found.z, 0)
    )
    before = completer.answers(search).contextual[0]
    after = completer.answers(completer.advance(search, 4)).contextual[0]
    assert after < before


def test_the_inner_search_goes_on_from_the_last_answers(completer):
    sketch = picture(16, 16)
    options = {"num_candidates": 3, "search": INNER}
    found = completer.complete(sketch, **options)
    shapes = completer.model.models.gen.inner_shapes
    assert [x.shape for x in found.offsets] == [(3, *shape) for shape in shapes]
    np.testing.assert_allclose(found.closeness, INNER.closeness, atol=1e-4)
    again = completer.begin(sketch, z=found.z, offsets=found.offsets, search=INNER)
    jax.tree.map(np.testing.assert_array_equal, completer.answers(again), found)
    changed = sketch.copy()
    changed[:4] = 1
    search = completer.begin(changed, z=found.z, offsets=found.offsets, search=INNER)
    before = completer.answers(search).contextual[0]
    after = completer.answers(completer.advance(search, 4)).contextual[0]
    assert after < before
    alone = completer.begin(sketch, z=found.z, offsets=found.offsets, search=SEARCH)
    assert completer.answers(alone).offsets == ()


def test_the_closer_the_farther_from_what_a_latent_reaches(completer):
    sketch = picture(16, 16)
    options = {"num_candidates": 2, "search": INNER}
    sizes = []
    for closeness in (0, 0.2, 0.9):
        found = completer.complete(sketch, closeness=closeness, **options)
        np.testing.assert_allclose(found.closeness, closeness, atol=1e-4)
        sizes.append(sum(np.square(x).mean() for x in found.offsets))
    assert sizes[0] == 0 < sizes[1] < sizes[2]
    chosen = completer.complete(sketch, closeness="auto", **options).closeness
    assert all(
        min(abs(x - level) for level in (0.2, 0.4, 0.6, 0.8)) < 1e-4 for x in chosen
    )
    with pytest.raises(ValueError, match="closeness is 2: give a number from 0 to 1"):
        completer.begin(sketch, closeness=2, **options)
    shallow = dataclasses.replace(INNER, inner_steps=0)
    with pytest.raises(ValueError, match="closeness is 0.9, but .* no inner_steps"):
        completer.begin(sketch, closeness=0.9, search=shallow)
    assert completer.complete(sketch, closeness=0, search=shallow).offsets == ()


def test_a_sketch_is_of_the_style_that_is_named(planes):
    options = {"num_candidates": 2, "search": SEARCH}
    sketch = picture(16, 16)
    first = planes.complete(sketch, **options)
    same = planes.complete(sketch, style="xdog", **options)
    other = planes.complete(sketch, style="photocopy", **options)
    np.testing.assert_array_equal(first.z, same.z)
    assert np.abs(first.z - other.z).max() > 0.01
    np.testing.assert_array_equal(other.sketch, other.sketches["photocopy"])
    # What is known of another style is not given: its mask shows nothing.
    mask = planes.joint.mask(["fdog"])
    with pytest.raises(ValueError, match="the mask shows nothing"):
        planes.complete(sketch, style="xdog", mask=mask, **options)


@pytest.mark.parametrize("method", ["begin", "prepare"])
def test_a_style_that_the_model_has_not_is_refused(planes, method):
    with pytest.raises(
        ValueError, match="no sketches in the style 'pen': .*xdog, fdog"
    ):
        getattr(planes, method)(picture(16, 16), style="pen")


def test_a_drawing_is_prepared_for_its_style(planes):
    drawing = np.ones((60, 50), np.float32)
    drawing[20:40, 24:27] = drawing[30:33, 10:40] = 0
    for style in planes.joint.sketches:
        facts = STYLE_FACTS[style]
        wanted = prepare_drawing(drawing, 16, frame="keep", facts=facts)
        found = planes.prepare(drawing, style, frame="keep")
        np.testing.assert_array_equal(found, wanted)
    first = planes.prepare(drawing, frame="keep")
    np.testing.assert_array_equal(first, planes.prepare(drawing, "xdog", frame="keep"))
    assert planes.choose_style(drawing) == "xdog"
    shaded = drawing.copy()
    shaded[5:20] = np.linspace(0.4, 0.8, 50)
    assert planes.choose_style(shaded) == "photocopy"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give a sketch or a photo"),
        ({"sketch": (16, 16), "photo": (16, 16, 3)}, "or both and a mask"),
        ({"sketch": (8, 16)}, r"the sketch has shape \(8, 16\), not \(16, 16\)"),
        ({"photo": (16, 8, 3)}, r"the photo has shape \(16, 8, 3\)"),
        ({"sketch": (16, 16), "mask": (16, 32)}, r"the mask has shape \(16, 32\), not"),
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


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_manual_can_be_typed_in(layout, tmp_path, monkeypatch):
    """Every example of docs/python.md, one after another, on a model that is quick."""
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 5
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    completer = Completer(three_layers(layout))
    monkeypatch.setattr(cgan_jax, "load", lambda name: {"faces": completer}[name])
    exec("\n".join(blocks), {})  # noqa: S102
    for name in ("photo.png", "sketch.png"):
        with Image.open(tmp_path / name) as image:
            assert image.size == (32, 32)


def three_layers(layout):
    """A random model with as many inner layers as a search moves."""
    models = make_models(**LAYOUTS[layout] | {"height": 32})
    gen, disc = filled(models, 0)
    variables = GanPair(gen | {"spread": random_spread(models.gen, 0)}, disc)
    return Model("random", models, variables, CONFIGS[layout])


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
    target = model.joint.stack({"xdog": picture(16, 16) * 2 - 1})[None]
    mask = model.joint.mask(["xdog"])
    (same,) = search_targets(model, target, mask, asking, seed=0, block_size=1)
    np.testing.assert_array_equal(same.z, found.z)
    with pytest.raises(ValueError, match="what is known here is not one whole sketch"):
        Completer(model).begin(photo=picture(16, 16, 3), search=asking)


def test_a_model_without_an_encoder_says_where_to_get_one(completer):
    asking = Search(**vars(SEARCH) | {"encoder_starts": 2})
    with pytest.raises(ValueError, match="the model has no encoder: .*cgan-encode"):
        completer.begin(picture(16, 16), search=asking)
    target = completer.joint.stack({"xdog": picture(16, 16) * 2 - 1})[None]
    mask = completer.joint.mask(["xdog"])
    with pytest.raises(ValueError, match="the model has no encoder"):
        next(
            search_targets(completer.model, target, mask, asking, seed=0, block_size=1)
        )
