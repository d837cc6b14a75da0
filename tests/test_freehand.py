"""Drawings by hand, answered side by side: what is scored, shown, left out and resumed."""

import csv
import functools
import json

import numpy as np
import pytest
from commands import run_command
from PIL import Image, ImageDraw
from tiny_archives import disc, encode
from tiny_models import random_conditional, random_model, save_random_model

from cgan_jax import answers, dataset, faces, freehand, intervals, results
from cgan_jax.answers import Means
from cgan_jax.configs import default
from cgan_jax.evaluation import Plan
from cgan_jax.input_files import InputFile
from cgan_jax.projection import Search

pytestmark = pytest.mark.usefixtures("quick_compilation")
BUDGET = {"num_starts": 64, "num_candidates": 2, "num_steps": 2}
SEARCH = Search(**dict(default.get_config().projection) | BUDGET)
METHODS = ("model", "conditional", "nearest_kl", "mean")
READING = {"invert": "auto", "fit": "letterbox", "frame": "keep", "match_lines": True}
HOG = "kernel_distance/HOG and colour histograms"
FACES = "kernel_distance/dlib face descriptors"
NUM_DRAWINGS = 8


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A prepared data set: 10 training and 12 validation pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    for split, seeds in (("train", range(10)), ("validation", range(20, 32))):
        (folder / split).mkdir()
        for seed in seeds:
            (folder / split / f"{seed:02}.png").write_bytes(encode(disc(seed)))
    output = tmp_path_factory.mktemp("data") / "discs"
    dataset.prepare_pairs(str(folder), output, size=16)
    return output


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
    """Enough to see that there are intervals; a face is found in what is bright."""

    def describe(photo):
        found = photo.mean() > 60
        return photo.mean((0, 1)) / 255 if found else np.full(3, np.nan)

    patch = pytest.MonkeyPatch()
    patch.setattr(intervals, "NUM_RESAMPLES", 50)
    patch.setattr(intervals, "NUM_SUBSETS", 8)
    patch.setattr(faces, "is_installed", lambda: True)
    patch.setattr(faces, "describe", describe)
    yield
    patch.undo()


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
    prepare = functools.partial(freehand.prepare_drawing, size=16, **READING)
    return freehand.read_drawings(files, prepare)


def compare(data, files, output, **changes):
    pairs, training = (dataset.open_pairs(data, x) for x in ("validation", "train"))
    means = Means(random_model(), SEARCH, training, random_conditional())
    return freehand.compare(
        means, read(files), pairs, "xdog", output, plan(**changes), reading=READING
    )


@pytest.fixture(scope="module")
def output(data, files, tmp_path_factory):
    output = tmp_path_factory.mktemp("results") / "new" / "drawn"
    compare(data, files, output)
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
    assert set(table["methods"]["nearest_kl"]["scores"]) == shown
    assert list(table["methods"]) == list(METHODS)
    assert set(table["differences"]) == set(METHODS) - {"model"}
    assert report["settings"]["drawings"] == [str(i) for i in range(NUM_DRAWINGS)]
    assert report["settings"]["num_examples"] == NUM_DRAWINGS
    assert report["settings"]["reading"] == READING
    assert report["settings"]["num_references"] == 12  # none is an example
    assert report["notes"][0].startswith("no photograph belongs to a drawing")


def test_scores_are_those_of_the_answers(report, output, data, files):
    """Recomputed for a method whose answer is known: the mean training photograph."""
    photos = [pair["photo"] for pair in dataset.open_pairs(data, "train")]
    mean = np.mean(photos, axis=0)
    (table,) = report["tables"]
    found = table["methods"]["mean"]["scores"]["face_found"]
    assert found["value"] == float(mean.mean() > 60)
    assert found["num_examples"] == NUM_DRAWINGS
    with (output / "examples.csv").open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["method"] == "mean"]
    scores = [float(row["sketch_kl"]) for row in rows]
    # One photograph for all, against drawings that differ.
    assert len(rows) == NUM_DRAWINGS and len(set(scores)) > 1
    expected = table["methods"]["mean"]["scores"]["sketch_kl"]["value"]
    assert np.mean(scores) == pytest.approx(expected, rel=1e-4)


def test_the_sheet_to_show_holds_what_was_generated_and_no_more(output, files):
    with Image.open(output / "freehand_generated.png") as image:
        sheet = np.asarray(image)[16:]  # below the captions
    (folder,) = {path.parent for path in (output / "cache").glob("completion_*")}
    kept = answers._read_completions(sorted(folder.glob("completion_*")), "photo")
    task = freehand._task(read(files), "xdog")
    drawn = answers.conditional_answers(random_conditional(), task).pictures[:, 0]
    known = {p.tobytes() for p in kept.joint} | {p.tobytes() for p in drawn}
    assert sheet.shape == (4 + 3 * 36, 4 + 3 * (68 + 36), 3)  # three drawings in a row
    for i in range(NUM_DRAWINGS):
        top, left = 4 + i // 3 * 36, 4 + i % 3 * (68 + 36)
        joint = sheet[top : top + 32 : 2, left : left + 64 : 2]
        photo = sheet[top : top + 32 : 2, left + 68 : left + 100 : 2]
        assert joint.tobytes() in known
        np.testing.assert_array_equal(photo, drawn[i])


def test_a_second_run_completes_nothing_anew(data, files, output, report, monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("completed anew")

    monkeypatch.setattr(answers.complete, "search_targets", fail)
    again = compare(data, files[::-1], output.parent / "drawn")
    (table,), (before,) = again["tables"], report["tables"]
    one, other = (x["methods"]["model"]["scores"]["sketch_kl"] for x in (table, before))
    assert one["value"] == pytest.approx(other["value"])


def test_few_drawings_have_no_realism_and_say_so(data, files, tmp_path):
    methods = {"methods": ("mean",), "compare_to": "mean", "use_faces": False}
    report = compare(data, files[:2], tmp_path, **methods)
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
    assert "- against *conditional GAN*: " in text
    figures = [x.name for x in (tmp_path / "docs" / "figures").iterdir()]
    assert figures == ["results_drawn_freehand.png"]


def test_the_true_photographs_cannot_be_asked_for(data, files, tmp_path):
    with pytest.raises(ValueError, match="leave true out of --methods"):
        compare(data, files, tmp_path, methods=("model", "true"))


run = functools.partial(run_command, "freehand")


def test_a_drawing_that_cannot_be_used_is_named_and_the_others_answered(data, tmp_path):
    save_random_model(tmp_path / "model")
    (tmp_path / "in").mkdir()
    draw(tmp_path / "in" / "good.png", 0)
    Image.new("L", (40, 40), "white").save(tmp_path / "in" / "blank.png")
    flags = ["--model=model", "--input=in", f"--data={data}", "--nofaces"]
    result = run(tmp_path, *flags, "--methods=mean", "--output=out")
    assert result.returncode == 1
    assert "blank.png: the drawing is blank" in result.stderr
    assert "1 of the drawings could not be used" in result.stderr
    assert "| mean training photograph |" in result.stdout
    report = json.loads((tmp_path / "out" / "freehand.json").read_text())
    assert report["settings"]["drawings"] == ["good"]


def test_no_usable_drawing_is_an_error(data, tmp_path):
    save_random_model(tmp_path / "model")
    Image.new("L", (40, 40), "white").save(tmp_path / "blank.png")
    flags = ["--model=model", "--input=blank.png", f"--data={data}", "--nofaces"]
    result = run(tmp_path, *flags, "--methods=mean", "--output=out")
    assert result.returncode == 1
    assert "error: none of the drawings can be used" in result.stderr
    assert "Traceback" not in result.stderr
