"""Drawings in, photographs out: files, names, errors, and answers that depend on nothing else."""

import dataclasses
import functools
import hashlib
import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from commands import run_command
from PIL import Image, ImageDraw, ImageOps
from tiny_models import random_model, save_random_model

import cgan_jax
from cgan_jax import array_cache, complete, inputs, model_files, result_files
from cgan_jax.configs import default, presets
from cgan_jax.drawings import FACE_BOXES, STYLE_FACTS, Seen
from cgan_jax.images import from_uint8, luma
from cgan_jax.input_files import find_inputs
from cgan_jax.launch import complete as command
from cgan_jax.model_files import ModelError
from cgan_jax.models import generate
from cgan_jax.projection import Search, count_passes
from cgan_jax.sketches import area_resize

BUDGET = {"num_starts": 64, "num_candidates": 3, "num_steps": 4, "inner_steps": 0}
SEARCH = Search(**dict(default.get_config().projection) | BUDGET)
INNER = dataclasses.replace(SEARCH, inner_steps=2, inner_layers=2)


pytestmark = pytest.mark.usefixtures("quick_compilation")


def reader(layout="halves"):
    """Drawings as a random model gets them."""
    model = random_model(layout=layout)
    prepare = Seen.by(model.joint, model.config).prepare
    return functools.partial(inputs.drawing_known, joint=model.joint, prepare=prepare)


READ = reader()


def draw(path, kind):
    """Black strokes on white, without grey ones."""
    image = Image.new("L", (60, 48), 255)
    pen = ImageDraw.Draw(image)
    if kind == "disc":
        pen.ellipse([14, 8, 44, 40], outline=0, width=3)
    elif kind == "cross":
        pen.line([12, 10, 46, 38], fill=0, width=3)
        pen.line([46, 10, 12, 38], fill=0, width=3)
    elif kind == "box":
        pen.rectangle([10, 12, 50, 36], outline=0, width=3)
    elif kind == "shaded":
        image = Image.linear_gradient("L").resize((60, 48))
        image.paste(255, (0, 0, 12, 48))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def run(paths, output, layout="halves", **options):
    """Completes; returns the joint image and the report of each result by its name."""
    complete_all(paths, output, layout, **options)
    return read_results(output)


def complete_all(paths, output, layout="halves", search=SEARCH, **options):
    files = find_inputs([str(path) for path in paths], output)
    request = complete.Request(reader(layout), {}, search, **options)
    model = random_model(layout=layout)
    return complete.complete(model, files, output, request, max_parallel=1)


def read_results(output):
    return {
        path.parent.relative_to(output).as_posix(): (
            read_picture(path.parent / "joint.png"),
            json.loads(path.read_text()),
        )
        for path in output.rglob("report.json")
    }


def read_picture(path):
    with Image.open(path) as image:
        return np.asarray(image)


def assert_same_answer(one, other):
    np.testing.assert_array_equal(one[0], other[0])
    assert one[1]["candidates"] == other[1]["candidates"]


@pytest.fixture(scope="module")
def drawings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawings")
    return {
        "disc": draw(folder / "disc.png", "disc"),
        "cross": draw(folder / "cross.bmp", "cross"),
        "box": draw(folder / "box.jpg", "box"),
    }


@pytest.fixture(scope="module")
def output(drawings, tmp_path_factory):
    output = tmp_path_factory.mktemp("results") / "new" / "folder"
    run(list(drawings.values()), output)
    return output


@pytest.fixture
def broken(tmp_path):
    """Drawings of which none can be used, and what is said of each."""
    folder = tmp_path / "broken"
    draw(folder / "blank.png", "nothing")
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("no picture")
    return {
        folder / "blank.png": "the drawing is blank",
        folder / "empty.png": "it is not a picture",
        folder / "text.png": "it is not a picture",
    }


def test_each_drawing_has_a_folder_and_all_share_a_sheet(output):
    names = {path.relative_to(output).as_posix() for path in output.rglob("*")}
    files = ("joint.png", "photo.png", "overview.png", "report.json")
    assert names == {
        "contact_sheet.png",
        "index.html",
        "timings_0.jsonl",
        *("box", "cross", "disc"),
        *(f"{name}/{file}" for name in ("box", "cross", "disc") for file in files),
    }


def test_the_photo_is_the_right_half_of_the_joint_image(output):
    for name in ("disc", "cross", "box"):
        joint = read_picture(output / name / "joint.png")
        photo = read_picture(output / name / "photo.png")
        assert (joint.shape, photo.shape) == ((16, 32, 3), (16, 16, 3))
        np.testing.assert_array_equal(photo, joint[:, 16:])
        assert joint.std() > 10


def test_the_report_says_what_was_done(output, drawings):
    report = json.loads((output / "disc" / "report.json").read_text())
    candidates = report.pop("candidates")
    content = drawings["disc"].read_bytes()
    assert report == {
        "input": str(drawings["disc"]),
        "input_sha256": hashlib.sha256(content).hexdigest(),
        "model": "random",
        "model_digest": model_files.digest(random_model()),
        "version": cgan_jax.__version__,
        "reading": {},
        "style": "xdog",
        "seed": 0,
        "block_size": 1,
        "top_k": 1,
        "save_z": False,
        "trajectory": False,
        "search": json.loads(json.dumps(dataclasses.asdict(SEARCH))),
        "passes": count_passes(SEARCH)._asdict(),
        "steps": 4,
        "answers": {"joint.png": 0},
        "files": ["joint.png", "overview.png", "photo.png"],
    }
    assert len(candidates) == 3
    losses = [c["contextual"] for c in candidates]
    assert losses == sorted(losses)
    assert losses[0] > 0
    for terms in candidates:
        assert terms["terms"] == {"xdog": terms["contextual"]}
        assert terms["contextual"] == terms["total"]
        assert terms["perceptual"] < 0
        assert terms["closeness"] == terms["offset_size"] == 0
        assert 0.1 < terms["mean_square_z"] <= 1 / 3 + 1e-6


def test_the_sheet_has_a_row_for_each_drawing(output):
    sheet = read_picture(output / "contact_sheet.png")
    height, width, _ = sheet.shape
    # The drawing, the input and three photographs, twice as large as the model's.
    assert width == 5 * 32 + 6 * 4
    caption = height - (3 * (32 + 4) + 4)
    assert 8 < caption < 40
    for row, name in enumerate(["disc", "cross", "box"]):
        top = caption + 4 + row * 36
        best = sheet[top : top + 32, 4 + 2 * 36 :][:, :32]
        photo = read_picture(output / name / "photo.png")
        np.testing.assert_array_equal(best[::2, ::2], photo)


def test_what_cannot_be_used_is_named_with_the_reason_and_the_rest_completes(
    broken, drawings, tmp_path, caplog
):
    paths = [*broken, drawings["disc"]]
    output = tmp_path / "out"
    assert complete_all(paths, output) == 3
    assert set(read_results(output)) == {"disc"}
    errors = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert len(errors) == 3
    for line, (path, reason) in zip(errors, broken.items(), strict=True):
        assert line.count(str(path)) == 1
        assert reason in line


def test_nothing_usable_leaves_no_sheet(broken, tmp_path):
    output = tmp_path / "out"
    assert run(list(broken), output) == {}
    assert not list(output.iterdir())


def test_white_strokes_on_black_are_the_same_drawing(drawings, tmp_path):
    with Image.open(drawings["disc"]) as image:
        ImageOps.invert(image).save(tmp_path / "white.png")
    results = run([drawings["disc"], tmp_path / "white.png"], tmp_path / "out")
    assert_same_answer(results["disc"], results["white"])


@pytest.mark.parametrize("block_size", [1, 3])
def test_an_answer_depends_on_no_other_drawing_and_on_no_order(
    drawings, tmp_path, block_size
):
    lists = [["disc"], ["cross", "disc"], ["box", "cross", "disc"], ["disc", "box"]]
    answers = [
        run(
            [drawings[name] for name in names],
            tmp_path / "_".join(names),
            block_size=block_size,
        )
        for names in lists
    ]
    for answer in answers[1:]:
        assert_same_answer(answer["disc"], answers[0]["disc"])
    assert_same_answer(answers[1]["cross"], answers[2]["cross"])
    assert not np.array_equal(answers[1]["cross"][0], answers[1]["disc"][0])


def test_a_seed_gives_the_same_answer_each_time_and_another_one_another(
    output, drawings, tmp_path
):
    again = run([drawings["disc"]], tmp_path / "again")["disc"]
    other = run([drawings["disc"]], tmp_path / "other", seed=1)["disc"]
    assert_same_answer(again, read_results(output)["disc"])
    assert other[1]["seed"] == 1
    assert other[1]["candidates"] != again[1]["candidates"]
    assert not np.array_equal(other[0], again[0])


def test_loading_prefers_neither_workdir_nor_model_where_there_is_none(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=f"no model '{tmp_path}'"):
        complete.load_model(str(tmp_path))


@pytest.fixture
def main(monkeypatch, tmp_path, drawings):
    """The command, with flags as given; returns what it leaves with.

    `model` has halves; `planes` knows three styles of sketches.
    """
    save_random_model(tmp_path / "model")
    save_random_model(tmp_path / "planes", layout="planes")
    flags = {name: command.FLAGS[name].default for name in command.FLAGS}
    flags |= {
        "model": str(tmp_path / "model"),
        "input": [str(drawings["disc"])],
        "output": str(tmp_path / "out"),
        "num_starts": SEARCH.num_starts,
        "num_candidates": SEARCH.num_candidates,
        "steps": SEARCH.num_steps,
        "inner_steps": 0,
    }

    def call(**changes):
        given = types.SimpleNamespace(**flags | changes)
        monkeypatch.setattr(command, "FLAGS", given)
        monkeypatch.setattr(command.searches, "FLAGS", given)
        monkeypatch.setattr(command.drawn, "FLAGS", given)
        monkeypatch.setattr(command.hosts, "join", lambda: None)
        try:
            command.main(["complete"])
        except SystemExit as leaving:
            return leaving.code
        return 0

    return call


def test_the_command_completes_with_the_search_that_its_flags_say(main, tmp_path):
    assert main() == 0
    ((_, report),) = read_results(tmp_path / "out").values()
    assert report["model"] == "model"
    assert Search(**report["search"]) == SEARCH


def test_a_preset_is_what_is_searched_by_but_for_what_flags_say(main, tmp_path):
    assert main(preset="released_code", steps=2, num_candidates=None) == 0
    ((_, report),) = read_results(tmp_path / "out").values()
    asked = {"num_starts": SEARCH.num_starts, "num_steps": 2}
    expected = Search(**dict(presets.get_projection("released_code")) | asked)
    assert Search(**report["search"]) == expected
    assert len(report["candidates"]) == expected.num_candidates == 1


@pytest.mark.parametrize("value", ["0.25", "auto"])
def test_the_closeness_that_is_asked_for_is_searched_by(main, tmp_path, value):
    assert main(closeness=value, inner_steps=1) == 0
    ((_, report),) = read_results(tmp_path / "out").values()
    asked = dataclasses.replace(SEARCH, closeness=value, inner_steps=1)
    assert Search(**report["search"]) == asked


def test_a_drawing_is_one_of_many_sketches_and_the_others_are_asked_too(main, tmp_path):
    assert main(model=str(tmp_path / "planes")) == 0
    folder = tmp_path / "out" / "disc"
    names = {"joint.png", "photo.png", "overview.png", "report.json"}
    assert {x.name for x in folder.iterdir()} == names
    joint = read_picture(folder / "joint.png")
    assert joint.shape == (16, 64, 3)
    np.testing.assert_array_equal(read_picture(folder / "photo.png"), joint[:, 48:])
    sketches = np.split(joint[:, :48], 3, axis=1)
    assert all(x.std() > 5 and np.ptp(x, -1).max() == 0 for x in sketches)
    ((_, report),) = read_results(tmp_path / "out").values()
    assert report["style"] == "xdog" and report["reading"]["style"] == "auto"
    assert list(report["candidates"][0]["terms"]) == ["xdog"]
    facts = report["reading"]["style_facts"]
    assert facts["photocopy"] == dataclasses.asdict(STYLE_FACTS["photocopy"])


def test_each_drawing_is_compared_with_the_sketch_that_it_is_like(tmp_path):
    folder = tmp_path / "in"
    kinds = {"a": "disc", "b": "shaded", "c": "cross", "d": "shaded"}
    paths = [draw(folder / f"{name}.png", kind) for name, kind in kinds.items()]
    results = run(paths, tmp_path / "out", "planes")
    styles = {name: report["style"] for name, (_, report) in results.items()}
    assert styles == {"a": "xdog", "b": "photocopy", "c": "xdog", "d": "photocopy"}
    for name, (_, report) in results.items():
        assert list(report["candidates"][0]["terms"]) == [styles[name]]
    for path in paths[:2]:
        ((name, alone),) = run([path], tmp_path / path.stem, "planes").items()
        assert_same_answer(alone, results[name])
    page = (tmp_path / "out" / "index.html").read_text()
    assert "<th>xdog term</th>" in page and "<th>photocopy term</th>" in page
    assert [page.index(f"<h2>{name}</h2>") for name in "abcd"] == sorted(
        page.index(f"<h2>{name}</h2>") for name in "abcd"
    )


def test_a_style_can_be_asked_for(main, tmp_path):
    assert main(model=str(tmp_path / "planes"), style="fdog") == 0
    ((_, report),) = read_results(tmp_path / "out").values()
    assert report["style"] == "fdog"
    assert list(report["candidates"][0]["terms"]) == ["fdog"]


def test_a_style_that_the_model_has_not_is_an_error_with_the_choices(main, tmp_path):
    message = main(model=str(tmp_path / "planes"), style="pen")
    assert message.startswith("error: the model has no sketches in the style 'pen'")
    assert message.endswith("choose one of xdog, fdog, photocopy")
    assert not (tmp_path / "out").exists()


def test_photographs_become_sketches_of_every_style_or_of_one(main, tmp_path):
    photo = save_picture(tmp_path / "face.png", noise(20, 32, 3))
    asked = {"input": [str(photo)], "direction": "photo2sketch"}
    asked |= {"model": str(tmp_path / "planes"), "top_k": 2}
    assert main(**asked) == 0
    folder = tmp_path / "out" / "face"
    for end in ("", "_2"):
        joint = read_picture(folder / f"joint{end}.png")
        for i, style in enumerate(("xdog", "fdog", "photocopy")):
            sketch = read_picture(folder / f"sketch_{style}{end}.png")
            np.testing.assert_array_equal(sketch, joint[:, 16 * i : 16 * (i + 1)])
    assert not (folder / "photo.png").exists()
    sheet = read_picture(folder / "overview.png")
    assert sheet.shape[1] == 2 * 32 + 3 * 96 + 6 * 4  # three sketches a candidate
    ((_, report),) = read_results(tmp_path / "out").values()
    assert list(report["candidates"][0]["terms"]) == ["photo"]
    assert main(**asked, style="fdog", output=str(tmp_path / "one")) == 0
    names = {x.name for x in (tmp_path / "one" / "face").glob("sketch*")}
    assert names == {"sketch_fdog.png", "sketch_fdog_2.png"}


def test_a_mask_of_many_parts_is_as_wide_as_they_are(main, tmp_path):
    joint = save_picture(tmp_path / "pair.png", noise(16, 64, 3))
    shown = np.zeros((16, 64))
    shown[4:12, 20:60] = 255  # parts of fdog, photocopy and photo
    mask = save_picture(tmp_path / "mask.png", shown)
    model = str(tmp_path / "planes")
    assert main(input=[str(joint)], mask=str(mask), model=model) == 0
    folder = tmp_path / "out" / "pair"
    completed = read_picture(folder / "completed.png")
    answer = read_picture(folder / "joint.png")
    np.testing.assert_array_equal(completed[shown == 0], answer[shown == 0])
    target = random_model(layout="planes").joint.from_panels(
        from_uint8(noise(16, 64, 3).astype(np.uint8))
    )
    given = random_model(layout="planes").joint.panels(target)
    assert np.abs(completed[shown > 0].astype(int) - given[shown > 0]).max() <= 1
    ((_, report),) = read_results(tmp_path / "out").values()
    assert list(report["candidates"][0]["terms"]) == ["fdog", "photo", "photocopy"]
    assert "style" not in report


@pytest.mark.parametrize(
    ("known", "asked"),
    [
        (["xdog"], ["photo"]),
        (["photo"], ["sketch_fdog", "sketch_photocopy", "sketch_xdog"]),
        (["photo", "xdog"], ["sketch_fdog", "sketch_photocopy"]),
    ],
)
def test_a_mask_of_whole_parts_asks_for_the_others(tmp_path, known, asked):
    joint = random_model(layout="planes").joint
    pair = save_picture(tmp_path / "pair.png", noise(16, 64, 3))
    given = inputs.joint_known(pair, joint, joint.mask(known))
    planes = np.zeros((1, *joint.shape), np.float32)
    pictures = result_files.answer_pictures(
        planes, given.target, given.mask, joint, given.asked
    )
    assert sorted(pictures) == sorted(["joint", *asked])


def test_a_mask_is_known_by_its_pixels(main, tmp_path):
    """What another mask has finished is done anew."""
    joint = save_picture(tmp_path / "pair.png", noise(16, 32, 3))
    shown = np.zeros((16, 32))
    digests = []
    for right in (20, 30):
        shown[4:12, 8:right] = 255
        mask = save_picture(tmp_path / "mask.png", shown)
        assert main(input=[str(joint)], mask=str(mask)) == 0
        ((_, report),) = read_results(tmp_path / "out").values()
        digests.append(report["reading"]["mask"])
    assert digests[0] != digests[1]
    panels = np.stack(np.split((shown > 0).astype(np.float32), 2, axis=1), -1)
    assert digests[1] == array_cache.content_key(panels)


def save_picture(path, values):
    Image.fromarray(values.astype(np.uint8)).save(path)
    return path


def noise(*shape):
    return np.random.default_rng(5).integers(0, 256, shape)


def test_photographs_become_sketches(main, tmp_path):
    photo = save_picture(tmp_path / "face.png", noise(20, 32, 3))
    assert main(input=[str(photo)], direction="photo2sketch") == 0
    folder = tmp_path / "out" / "face"
    joint = read_picture(folder / "joint.png")
    np.testing.assert_array_equal(read_picture(folder / "sketch.png"), joint[:, :16])
    assert not (folder / "photo.png").exists()
    ((_, report),) = read_results(tmp_path / "out").values()
    best = report["candidates"][0]
    assert list(best["terms"]) == ["photo"]
    # The loss is that of the picture's centre, as the model was given it.
    centre = noise(20, 32, 3)[:, 6:26] / 255
    wanted = area_resize(centre.astype(np.float32), 16)
    given = (joint[:, 16:] / 255 - wanted) ** 2
    assert best["terms"]["photo"] == pytest.approx(given.mean(), rel=0.05)


def test_a_mask_completes_what_it_does_not_show(main, tmp_path):
    joint = save_picture(tmp_path / "pair.png", noise(16, 32, 3))
    shown = np.zeros((16, 32))
    shown[4:12, 8:30] = 255
    mask = save_picture(tmp_path / "mask.png", shown)
    assert main(input=[str(joint)], mask=str(mask)) == 0
    folder = tmp_path / "out" / "pair"
    completed = read_picture(folder / "completed.png")
    answer = read_picture(folder / "joint.png")
    np.testing.assert_array_equal(completed[shown == 0], answer[shown == 0])
    given = noise(16, 32, 3).astype(float)
    given[:, :16] = luma(given[:, :16])[..., None]  # sketches are grey
    assert np.abs(completed[shown > 0] - given[shown > 0]).max() <= 1
    assert np.abs(completed[shown > 0] - answer[shown > 0].astype(int)).max() > 10
    ((_, report),) = read_results(tmp_path / "out").values()
    best = report["candidates"][0]
    terms = best["terms"]
    assert set(terms) == {"xdog", "photo"} and min(terms.values()) > 0
    total = terms["xdog"] + SEARCH.photo_weight * terms["photo"]
    assert best["contextual"] == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize(
    ("level", "reason"), [(0, "all black: it leaves nothing to go by"), (255, "find")]
)
def test_a_mask_without_two_parts_is_an_error(main, tmp_path, level, reason):
    mask = save_picture(tmp_path / "mask.png", np.full((16, 32), level))
    message = main(mask=str(mask))
    assert message.startswith(f"error: the mask {mask} is all ")
    assert message.endswith(reason)


def test_under_a_mask_pictures_are_joint_images(main, tmp_path, drawings, caplog):
    shown = np.repeat([[0, 255]], 16, 1).repeat(16, 0)
    mask = save_picture(tmp_path / "mask.png", shown)
    assert main(mask=str(mask)) == "1 of the pictures could not be used, see above"
    (error,) = (r.getMessage() for r in caplog.records if r.levelname == "ERROR")
    assert str(drawings["disc"]) in error
    assert "60 x 48 pixels: a joint image is 2 times as wide as high" in error
    assert error.endswith("from the left it shows xdog, photo")


def test_several_answers_are_written_best_first_with_their_latents(main, tmp_path):
    assert main(top_k=2, save_z=True) == 0
    folder = tmp_path / "out" / "disc"
    names = {"joint.png", "joint_2.png", "photo.png", "photo_2.png"}
    others = {"overview.png", "report.json", "z.npy"}
    assert {p.name for p in folder.iterdir()} == names | others
    report = json.loads((folder / "report.json").read_text())
    z = np.load(folder / "z.npy")
    assert z.shape == (SEARCH.num_candidates, 8)
    model = random_model().models.gen
    variables = jax.tree.map(jnp.asarray, random_model().variables.gen)
    planes = generate(model, variables, jnp.asarray(z))
    joint = model.joint.panels(np.asarray(planes))
    first, second = (report["answers"][f"joint{n}.png"] for n in ("", "_2"))
    assert first == 0 < second
    for name, i in (("joint.png", first), ("joint_2.png", second)):
        written = read_picture(folder / name)
        assert np.abs(written.astype(int) - joint[i]).max() <= 1
        photo = read_picture(folder / name.replace("joint", "photo"))
        np.testing.assert_array_equal(photo, written[:, 16:])


def test_what_the_inner_search_found_is_written_beside_the_latents(tmp_path, drawings):
    ((joint, report),) = run(
        [drawings["disc"]], tmp_path, search=INNER, save_z=True
    ).values()
    z = jnp.asarray(np.load(tmp_path / "disc" / "z.npy"))
    with np.load(tmp_path / "disc" / "offsets.npz") as file:
        assert file.files == [f"layer_{i}" for i in range(INNER.inner_layers)]
        offsets = [jnp.asarray(file[name]) for name in file.files]
    gen = random_model().models.gen
    assert [x.shape[1:] for x in offsets] == [*gen.inner_shapes]
    variables = jax.tree.map(jnp.asarray, random_model().variables.gen)
    planes = np.asarray(generate(gen, variables, z, offsets))
    best = gen.joint.panels(planes[0]).astype(int)
    assert np.abs(best - joint).max() <= 1
    first = report["candidates"][0]
    assert first["closeness"] == pytest.approx(INNER.closeness, abs=1e-4)
    assert first["offset_size"] > 0
    assert "offsets.npz" in report["files"]
    assert report["steps"] == INNER.num_steps + INNER.inner_steps


def test_more_answers_than_candidates_is_an_error(main, tmp_path):
    message = main(top_k=4)
    assert message.startswith("error: top_k is 4: ")
    assert message.endswith("num_candidates, 3: raise --num_candidates")
    assert not (tmp_path / "out").exists()


def test_answers_that_differ_are_chosen_best_first_then_the_farthest():
    """Pictures of one unknown value each; what is known is not compared."""
    planes = np.zeros((5, 2, 2, 6), np.float32)
    planes[..., 3:] = np.array([0.0, 0.1, 0.5, 0.55, -0.3])[:, None, None, None]
    planes[..., :3] = np.random.default_rng(0).uniform(-1, 1, (5, 2, 2, 3))
    known = np.concatenate([np.ones((2, 2, 3)), np.zeros((2, 2, 3))], axis=-1)
    choose = functools.partial(result_files.choose_different, planes, known, least=0.2)
    assert choose(1) == [0]
    assert choose(2) == [0, 2]
    assert choose(3) == [0, 2, 4]
    assert choose(4) == [0, 1, 2, 4]  # none is left that differs: the farthest
    assert choose(5) == [0, 1, 2, 3, 4]


def test_more_candidates_than_starts_is_an_error_that_names_both(main, tmp_path):
    message = main(num_candidates=9, num_starts=8)
    assert message.startswith("error: num_candidates is 9")
    assert "num_starts, 8" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("below", ["", "below"])
def test_an_output_that_cannot_be_written_is_named(main, tmp_path, below):
    (tmp_path / "file").touch()
    message = main(output=str(tmp_path / "file" / below))
    assert message.startswith("error: ")
    assert str(tmp_path / "file" / below) in message


def test_a_pattern_that_fits_nothing_is_an_error(main, tmp_path):
    message = main(input=[str(tmp_path / "*.png")])
    assert message.startswith(f"error: --input={tmp_path}/*.png fits no picture: give")


def test_a_missing_model_is_an_error(main):
    message = main(model="no_such_model")
    assert message.startswith("error: no model 'no_such_model': give one of [")


def test_a_frame_that_there_is_not_is_an_error_with_the_choices(main):
    message = main(frame="tight")
    assert message.startswith("error: unknown frame 'tight': choose one of auto, keep")


def test_help_knows_the_frames_that_there_are():
    text = command.FLAGS["frame"].help
    for frame in ("auto", "keep", *FACE_BOXES):
        assert frame in text


def test_started_from_a_shell_it_completes_what_it_can_and_leaves_with_1(
    broken, drawings, tmp_path
):
    save_random_model(tmp_path / "model")
    flags = ["--model=model", "--input=broken/*", f"--input={drawings['disc']}"]
    flags += ["--num_starts=64", "--num_candidates=2", "--steps=2", "--inner_steps=0"]
    result = run_command("complete", tmp_path, *flags)
    assert result.returncode == 1, result.stderr
    for path, reason in broken.items():
        (line,) = (x for x in result.stderr.splitlines() if path.name in x)
        assert f"broken/{path.name}" in line
        assert reason in line
    assert result.stderr.splitlines()[-1].startswith("3 of the pictures")
    assert "Traceback" not in result.stderr
    assert set(read_results(tmp_path / "out")) == {"disc"}
    assert (tmp_path / "out" / "contact_sheet.png").is_file()
