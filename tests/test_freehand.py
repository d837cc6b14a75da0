"""Drawings by hand, answered side by side: what is scored, shown, left out and resumed."""

import csv
import functools
import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from commands import run_command
from PIL import Image, ImageDraw
from tiny_models import random_conditional, random_model, save_random_model

from cgan_jax import (
    answers,
    dataset,
    faces,
    freehand,
    intervals,
    results,
    scores,
)
from cgan_jax.answers import Means
from cgan_jax.configs import default
from cgan_jax.evaluation import Plan
from cgan_jax.input_files import InputFile
from cgan_jax.projection import Search
from cgan_jax.sources import Example

pytestmark = pytest.mark.usefixtures("quick_compilation")
BUDGET = {"num_starts": 64, "num_candidates": 2, "num_steps": 2}
BUDGET |= {"inner_steps": 2, "inner_layers": 2}
SEARCH = Search(**dict(default.get_config().projection) | BUDGET)
METHODS = ("model", "conditional", "nearest_kl", "mean")
READING = {"invert": "auto", "fit": "letterbox", "frame": "keep", "match_lines": True}
HOG = "kernel_distance/HOG and colour histograms"
FACES = "kernel_distance/dlib face descriptors"
NUM_DRAWINGS = 8


def draw(path, i):
    image = Image.new("L", (40, 40), "white")
    ImageDraw.Draw(image).ellipse((4 + i, 4, 34, 34 - i), outline="black", width=2)
    image.save(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawings")
    found = []
    for i in range(NUM_DRAWINGS):
        found.append(InputFile(folder / f"{i}.png", f"{i}"))
        draw(found[-1].path, i)
    return found


@pytest.fixture(scope="module", autouse=True)
def few_draws_and_no_dlib():
    """Enough to see that there are intervals; faces are what is red rather than blue."""

    def describe(photo):
        means = photo.mean((0, 1)) / 255
        return means if has_face(photo) else np.full(3, np.nan)

    patch = pytest.MonkeyPatch()
    patch.setattr(intervals, "NUM_RESAMPLES", 50)
    patch.setattr(intervals, "NUM_SUBSETS", 8)
    patch.setattr(faces, "is_installed", lambda: True)
    patch.setattr(faces, "describe", describe)
    yield
    patch.undo()


def has_face(photo):
    return photo[..., 0].mean() > photo[..., 2].mean()


def plan(**changes):
    settings = {
        "directions": ("sketch2photo",),
        "methods": METHODS,
        "num_examples": 1,
        "num_answers": 1,
        "compare_to": "model",
        "seed": 0,
        "block_size": 8,
        "use_faces": True,
    }
    return Plan(**settings | changes)


def read(files):
    means = Means(random_model())
    found, unusable = freehand.read_drawings(files, means, "xdog", READING)
    assert not unusable
    return found


def compare(discs, files, output, layout="halves", **changes):
    pairs, training = (dataset.open_pairs(discs, x) for x in ("validation", "train"))
    model = random_model(layout=layout)
    means = Means(model, SEARCH, training, random_conditional())
    return freehand.compare(
        means, read(files), pairs, output, plan(**changes), reading=READING
    )


@pytest.fixture(scope="module")
def output(discs, files, tmp_path_factory):
    output = tmp_path_factory.mktemp("results") / "new" / "drawn"
    compare(discs, files, output)
    return output


@pytest.fixture
def report(output):
    return json.loads((output / "freehand.json").read_text())


def test_a_run_leaves_tables_rows_and_sheets(output):
    assert sorted(path.name for path in output.iterdir()) == [
        "cache",
        "examples.csv",
        "freehand.json",
        "freehand.md",
        "freehand_generated.png",
        "freehand_sheet.png",
    ]


def test_what_needs_a_true_photograph_is_not_scored(report):
    (table,) = report["tables"]
    shown = {"sketch_kl", "sketch_f", "face_found", HOG, FACES}
    for found in table["methods"].values():
        assert set(found["scores"]) <= shown
        assert set(found["scores"]) >= shown - {FACES}  # too few faces for some
    assert list(table["methods"]) == list(METHODS)
    assert set(table["differences"]) == set(METHODS) - {"model"}
    assert report["settings"]["drawings"] == [str(i) for i in range(NUM_DRAWINGS)]
    assert report["settings"]["num_examples"] == NUM_DRAWINGS
    assert report["settings"]["reading"] == READING
    assert report["settings"]["num_references"] == 20  # none is an example
    assert report["notes"][0].startswith("no photograph belongs to a drawing")


def rows_of(output, method):
    with (output / "examples.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["method"] == method]


def test_scores_are_those_of_the_answers(report, output, discs, files):
    """Recomputed for answers that are known without the module."""
    task = freehand._task(read(files), "xdog")
    training = dataset.open_pairs(discs, "train")
    means = Means(training=training, conditional=random_conditional())
    (table,) = report["tables"]
    found = {}
    for method in ("conditional", "nearest_kl"):
        answer = functools.partial(answers.answer, method, task, means)
        pictures = answer(cache=output, count=1, seed=0, block_size=1).pictures[:, 0]
        found[method] = [has_face(x) for x in pictures]
        shown = table["methods"][method]["scores"]["face_found"]["value"]
        assert shown == np.mean(found[method])
        again = [
            dataset.draw_pair(Example(photo, None), 16, ("xdog",))[1]["xdog"]
            for photo in pictures
        ]
        for row, sketch, drawn in zip(
            rows_of(output, method), task.sketches, again, strict=True
        ):
            y, g = (jnp.asarray(x[None] / 255, jnp.float32) for x in (sketch, drawn))
            assert float(row["sketch_kl"]) == pytest.approx(
                float(scores.sketch_kl(y, g)[0]), rel=1e-4
            )
    every = found["conditional"] + found["nearest_kl"]
    assert any(every) and not all(every)


def test_the_figure_holds_what_was_generated_and_no_more(output, files):
    with Image.open(output / "freehand_generated.png") as image:
        sheet = np.asarray(image)[16:]  # below the captions
    task = freehand._task(read(files), "xdog")
    kept = answers.completions(
        random_model(), task, SEARCH, output / "cache", seed=0, block_size=8
    )
    drawn = answers.conditional_answers(random_conditional(), task).pictures[:, 0]
    assert sheet.shape == (4 + 3 * 36, 4 + 3 * (68 + 36), 3)  # three drawings in a row
    for i in range(NUM_DRAWINGS):
        top, left = 4 + i // 3 * 36, 4 + i % 3 * (68 + 36)
        joint = sheet[top : top + 32 : 2, left : left + 64 : 2]
        photo = sheet[top : top + 32 : 2, left + 68 : left + 100 : 2]
        np.testing.assert_array_equal(joint, kept.joint[i])
        np.testing.assert_array_equal(photo, drawn[i])


def test_a_second_run_completes_nothing_anew(
    discs, files, output, report, tmp_path, monkeypatch
):
    def fail(*args, **kwargs):
        raise AssertionError("completed anew")

    shutil.copytree(output / "cache", tmp_path / "cache")
    monkeypatch.setattr(answers.block_search, "search_targets", fail)
    again = compare(discs, files[::-1], tmp_path)
    (table,), (before,) = again["tables"], report["tables"]
    one, other = (x["methods"]["model"]["scores"]["sketch_kl"] for x in (table, before))
    assert one["value"] == pytest.approx(other["value"])


def test_more_drawings_than_a_sheet_holds_are_all_scored(
    discs, files, tmp_path, monkeypatch
):
    monkeypatch.setattr(results, "FREEHAND_SHOWN", 4)
    methods = ("conditional", "mean")
    compare(discs, files, tmp_path, methods=methods, compare_to="mean", use_faces=False)
    assert len(rows_of(tmp_path, "mean")) == NUM_DRAWINGS
    with Image.open(tmp_path / "freehand_generated.png") as image:
        assert image.size == (4 + 3 * 36, 16 + 4 + 2 * 36)
    with Image.open(tmp_path / "freehand_sheet.png") as image:
        assert image.size == (4 + 4 * 36, 16 + 4 + 4 * 36)


def test_few_drawings_have_no_realism_and_say_so(discs, files, tmp_path):
    methods = {"methods": ("mean",), "compare_to": "mean", "use_faces": False}
    (tmp_path / "freehand_generated.png").write_bytes(b"of an earlier run")
    report = compare(discs, files[:2], tmp_path, **methods)
    (table,) = report["tables"]
    assert set(table["methods"]["mean"]["scores"]) == {"sketch_kl", "sketch_f"}
    assert report["notes"][1].startswith("realism is not scored: it takes 8 drawings")
    assert not (tmp_path / "freehand_generated.png").exists()


def test_the_document_has_a_section_with_the_sheet(output, tmp_path):
    document = tmp_path / "docs" / "results.md"
    results.write_document([output / "freehand.json"], document)
    text = document.read_text()
    assert "## random: 8 drawings by hand" in text
    assert "](figures/results_drawn_freehand.png)" in text
    assert "read with invert auto, fit letterbox, frame keep, match_lines True" in text
    assert "`0`, `1`, `2`, `3`, `4`, `5`, `6`, `7`" in text
    assert "- against *conditional GAN*: " in text
    figures = [x.name for x in (tmp_path / "docs" / "figures").iterdir()]
    assert figures == ["results_drawn_freehand.png"]


@pytest.mark.parametrize("layout", ["halves", "planes"])
def test_the_model_answers_at_several_closenesses(discs, files, layout, tmp_path):
    methods = ("model@0", "model@auto", "model@1", "conditional")
    changes = {"methods": methods, "compare_to": "model@0", "use_faces": False}
    report = compare(discs, files[:2], tmp_path, layout, **changes)
    (table,) = report["tables"]
    labels = [of["label"] for of in table["methods"].values()]
    told = [f"contextual GAN, closeness {x}" for x in ("0", "auto", "1")]
    assert labels == [*told, "conditional GAN"]
    assert len(list((tmp_path / "cache").glob("completion_*"))) == 3 * 2
    with Image.open(tmp_path / "freehand_generated.png") as image:
        sheet = np.asarray(image)
    # Of both drawings three joint images, of sketch and photograph, and one photograph.
    assert sheet.shape == (16 + 4 + 36, 4 + 2 * (3 * 68 + 36), 3)
    first, _, last = (sheet[20:52, 4 + i * 68 :][:, :64] for i in range(3))
    assert (first != last).any()


def test_drawings_become_the_sketches_that_they_stand_for(files):
    means = Means(random_model(layout="planes"))
    styles = ("xdog", "photocopy")
    found = [freehand.read_drawings(files, means, x, READING)[0] for x in styles]
    lines, toned = (np.stack([x.sketch for x in drawings]) for drawings in found)
    assert (lines != toned).any((1, 2)).all()
    alone = Means(conditional=random_conditional())
    same, _ = freehand.read_drawings(files, alone, "xdog", READING)
    np.testing.assert_array_equal(np.stack([x.sketch for x in same]), lines)
    for nothing, style, message in (
        (means, "xdog_solid", "no sketches in the style 'xdog_solid': choose one of"),
        (Means(), "xdog", "what a model has seen: give one"),
    ):
        with pytest.raises(ValueError, match=message):
            freehand.read_drawings(files, nothing, style, READING)


def test_the_true_photographs_cannot_be_asked_for(discs, files, tmp_path):
    with pytest.raises(ValueError, match="leave true out of --methods"):
        compare(discs, files, tmp_path, methods=("model", "true"))


run = functools.partial(run_command, "freehand")


def test_a_drawing_that_cannot_be_used_is_named_and_the_others_answered(
    discs, tmp_path
):
    save_random_model(tmp_path / "model")
    (tmp_path / "in" / "sub").mkdir(parents=True)
    draw(tmp_path / "in" / "sub" / "good.png", 0)
    Image.new("L", (40, 40), "white").save(tmp_path / "in" / "blank.png")
    flags = ["--model=model", "--input=in", f"--data={discs}", "--nofaces"]
    result = run(tmp_path, *flags, "--methods=mean", "--output=out")
    assert result.returncode == 1
    assert "blank.png: the drawing is blank" in result.stderr
    assert "1 of the drawings could not be used" in result.stderr
    assert "| mean training photograph |" in result.stdout
    report = json.loads((tmp_path / "out" / "freehand.json").read_text())
    assert report["settings"]["drawings"] == ["sub/good"]
    assert "1 could not be used: blank" in report["notes"]


def test_no_usable_drawing_is_an_error(discs, tmp_path):
    save_random_model(tmp_path / "model")
    Image.new("L", (40, 40), "white").save(tmp_path / "blank.png")
    flags = ["--model=model", "--input=blank.png", f"--data={discs}", "--nofaces"]
    result = run(tmp_path, *flags, "--methods=mean", "--output=out")
    assert result.returncode == 1
    assert "error: none of the drawings can be used" in result.stderr
    assert "Traceback" not in result.stderr
