"""Scores against the strength of a distortion: paired, from files, read again, resumed."""

import csv
import functools
import json
import re

import numpy as np
import pytest
from commands import run_command
from PIL import Image
from tiny_models import random_conditional, random_model, save_random_model

from cgan_jax import (
    answers,
    array_cache,
    dataset,
    evaluation,
    faces,
    intervals,
    results,
    robustness,
)
from cgan_jax.answers import Means
from cgan_jax.configs import default
from cgan_jax.evaluation import Files, Plan
from cgan_jax.projection import Search
from cgan_jax.robustness import Point

pytestmark = pytest.mark.usefixtures("quick_compilation")
BUDGET = {"num_starts": 64, "num_candidates": 2, "num_steps": 2}
BUDGET |= {"inner_steps": 2, "inner_layers": 2}
SEARCH = Search(**dict(default.get_config().projection) | BUDGET)
METHODS = ("model", "conditional", "nearest_kl", "mean")
STRENGTHS = {"warp": [1.0, 4.0], "drop": [], "thicken": [2.0]}
HOG = "kernel_distance/HOG and colour histograms"
POINTS = [("none", 0.0), ("warp", 1.0), ("warp", 4.0), ("thicken", 2.0)]


@pytest.fixture(scope="module", autouse=True)
def few_draws_and_no_dlib():
    """Enough to see that there are intervals; descriptors are mean colours."""
    patch = pytest.MonkeyPatch()
    patch.setattr(intervals, "NUM_RESAMPLES", 50)
    patch.setattr(intervals, "NUM_SUBSETS", 8)
    patch.setattr(faces, "is_installed", lambda: True)
    patch.setattr(faces, "describe", lambda photo: photo.mean((0, 1)) / 255)
    yield
    patch.undo()


def plan(**changes):
    settings = {
        "directions": ("sketch2photo",),
        "methods": METHODS,
        "num_examples": 8,
        "num_answers": 1,
        "compare_to": "mean",
        "seed": 0,
        "block_size": 8,
        "use_faces": True,
    }
    return Plan(**settings | changes)


def measure(discs, output, strengths=STRENGTHS, layout="halves", **changes):
    pairs, training = (dataset.open_pairs(discs, x) for x in ("validation", "train"))
    model = random_model(layout=layout)
    means = Means(model, SEARCH, training, random_conditional())
    return robustness.measure(means, pairs, output, plan(**changes), strengths)


@pytest.fixture(scope="module")
def output(discs, tmp_path_factory):
    output = tmp_path_factory.mktemp("results") / "new" / "distorted"
    measure(discs, output)
    return output


@pytest.fixture
def report(output):
    return json.loads((output / "distortion.json").read_text())


def row(report, kind, strength, method):
    (found,) = [
        r
        for r in report["rows"]
        if (r["kind"], r["strength"], r["method"]) == (kind, strength, method)
    ]
    return found


def test_a_run_leaves_curves_tables_and_sheets(output):
    assert sorted(path.name for path in output.iterdir()) == [
        "cache",
        "distortion.csv",
        "distortion.json",
        "distortion.md",
        "distortion_conditional_generated.png",
        "distortion_curves.png",
        "distortion_model_generated.png",
        "realism_likeness.png",
        "sketches_sheet.png",
    ]


def test_every_method_is_scored_at_every_strength(report):
    found = [(r["kind"], r["strength"], r["method"]) for r in report["rows"]]
    assert found == [(*point, method) for point in POINTS for method in METHODS]
    shown = {"ssim_luma", "face_distance", "verified", "face_found", "sketch_f", HOG}
    assert shown | {"kernel_distance/dlib face descriptors"} == set(
        report["rows"][0]["scores"]
    )
    assert report["settings"]["strengths"] == {"warp": [1, 4], "thicken": [2]}
    assert report["settings"]["style"] == "xdog"
    (note,) = report["notes"]
    assert note.startswith("the F-score is against the sketch that was given")


def test_the_photograph_asked_for_is_the_one_of_the_sketch_as_it_was(discs):
    pairs = dataset.open_pairs(discs, "validation")
    task = answers.read_task(pairs, np.arange(3), "xdog")
    given = robustness.distorted(task, Point("thicken", 2.0), 0)
    np.testing.assert_array_equal(given.truth, task.truth)
    assert (given.sketches <= task.sketches).all()
    assert (given.sketches < task.sketches).any((1, 2)).all()


def test_differences_are_to_the_same_method_without_distortion(report):
    start, strong = (
        row(report, *point, "nearest_kl") for point in (POINTS[0], POINTS[2])
    )
    assert start["differences"] == {}
    for name in ("ssim_luma", "sketch_f", HOG):
        expected = strong["scores"][name]["value"] - start["scores"][name]["value"]
        assert strong["differences"][name]["value"] == pytest.approx(expected)
    assert strong["differences"]["ssim_luma"]["value"] != 0


def test_an_answer_that_no_sketch_decides_does_not_change(report):
    for kind, strength in POINTS[1:]:
        found = row(report, kind, strength, "mean")["differences"]
        for name in ("ssim_luma", "face_distance", HOG):
            assert (found[name]["low"], found[name]["high"]) == (0, 0)


def test_the_csv_says_the_same(report, output):
    with (output / "distortion.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(POINTS) * len(METHODS) * 7
    one = [x for x in lines if (x["kind"], x["strength"]) == ("warp", "4.0")]
    (line,) = [x for x in one if (x["method"], x["score"]) == ("model", "ssim_luma")]
    expected = row(report, "warp", 4.0, "model")
    assert float(line["low"]) == expected["scores"]["ssim_luma"]["low"]
    assert (
        float(line["difference_high"]) == expected["differences"]["ssim_luma"]["high"]
    )


def test_the_tables_have_a_line_for_each_method_and_strength(output):
    text = (output / "distortion.md").read_text()
    warp = text[
        text.index("### warp: longest displacement") : text.index("### thicken")
    ]
    labels = [
        line.split(" |")[0] for line in warp.splitlines() if "| contextual" in line
    ]
    strengths = ["0", "1", "4", "1", "4"]  # then the differences
    assert labels == [f"| contextual GAN, {strength}" for strength in strengths]
    assert "Plainly, at strength 4 instead of 0:" in warp
    assert re.search(
        r"^- \*mean training photograph\* is .*undecided in SSIM, luma",
        warp,
        re.MULTILINE,
    )


def test_curves_begin_at_no_distortion_and_have_the_tables_units(report):
    panels = robustness.draw(report).axes
    assert len(panels) == 7 * 2
    labelled = [axes.get_ylabel() for axes in panels if axes.get_ylabel()]
    assert "face found ↑ (%)" in labelled and "SSIM, luma ↑" in labelled
    axes = panels[2 * labelled.index("face found ↑ (%)")]
    assert axes.get_lines()[0].get_label() == "contextual GAN"
    line = axes.get_lines()[0]
    assert line.get_xdata().tolist() == [0, 1, 4]
    assert line.get_ydata().tolist() == [100, 100, 100]  # percent


def test_realism_is_drawn_against_likeness_along_the_strengths(report):
    paths = robustness.realism_paths(report)
    figure = evaluation.draw_realism(paths)
    assert len(figure.axes) == 3 * 2  # faces and two kernel distances; warp and thicken
    found = figure.axes[0]
    assert found.get_title() == "warp: longest displacement, in pixels"
    assert found.get_ylabel() == "face found ↑ (%)"
    assert figure.axes[-1].get_xlabel() == "SSIM, luma ↑"
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == [answers.LABELS["photo"][method] for method in METHODS]
    (line,) = [x for x in figure.axes[2].get_lines() if x.get_label() == labels[2]]
    rows = [row(report, *point, "nearest_kl")["scores"] for point in POINTS[:3]]
    first, *_ = (n for n in report["rows"][0]["scores"] if n.startswith("kernel"))
    likeness = [scores["ssim_luma"]["value"] for scores in rows]
    realism = [1000 * scores[first]["value"] for scores in rows]
    assert line.get_xdata().tolist() == likeness
    assert line.get_ydata().tolist() == realism


def test_the_published_sheet_holds_what_was_generated_and_no_more(output, discs):
    with Image.open(output / "distortion_model_generated.png") as image:
        sheet = np.asarray(image)
    found = sorted((output / "cache").glob("completion_*"))
    planes = np.stack([x["planes"] for x in array_cache.load_each(found)])
    known = {planes[i, 0, ..., 3:].tobytes() for i in range(len(planes))}
    side = 32  # 16 pixels, enlarged twice
    shown = [
        sheet[4 + row * 36 :, 4 + column * 36 :][:side:2, :side:2]
        for row in range(len(POINTS))
        for column in range(1, 9)
    ]
    assert sheet.shape == (4 + 36 * len(POINTS), 4 + 36 * 9, 3)
    pairs = dataset.open_pairs(discs, "validation")
    chosen = evaluation.choose_examples(len(pairs), 8, 0)
    task = answers.read_task(pairs, chosen, "xdog")
    tasks = [robustness.distorted(task, Point(*point), 0) for point in POINTS]
    # A sketch of 16 pixels that a warp does not change has one answer for both.
    different = {x.tobytes() for task in tasks for x in task.sketches}
    assert {p.tobytes() for p in shown} <= known and len(known) == len(different)


def test_a_second_run_completes_nothing_anew(discs, output, report, monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("completed anew")

    monkeypatch.setattr(answers.block_search, "search_targets", fail)
    fewer = {"warp": [4.0], "drop": [], "thicken": []}
    again = measure(discs, output.parent / "distorted", fewer)
    assert row(again, "warp", 4.0, "model") == row(report, "warp", 4.0, "model")


def test_small_sets_have_no_realism_and_say_so(discs, tmp_path):
    true = {"methods": ("true",), "compare_to": "true", "use_faces": False}
    report = measure(discs, tmp_path, num_examples=4, **true)
    assert set(report["rows"][0]["scores"]) == {"ssim_luma", "sketch_f"}
    note, _ = report["notes"]
    assert note.startswith("realism is not scored: it takes 8 examples and as many")
    assert not list(tmp_path.glob("*_generated.png"))


def test_the_document_has_a_section_with_the_curves(output, tmp_path):
    document = tmp_path / "docs" / "results.md"
    results.write_document([output / "distortion.json"], document)
    text = document.read_text()
    assert "## random: distorted sketches, 8 validation examples" in text
    assert "](figures/results_distorted_distortion_curves.png)" in text
    assert "](figures/results_distorted_distortion_model.png)" in text
    assert "- **F-score**:" in text and "in the gallery" not in text
    assert "](figures/results_distorted_realism_likeness.png)" in text
    assert len(list((tmp_path / "docs" / "figures").iterdir())) == 4


@pytest.mark.parametrize("layout", ["halves", "planes"])
def test_the_model_answers_at_several_closenesses(discs, layout, tmp_path):
    methods = ("model@0", "model@auto", "model@1", "conditional")
    changes = {"methods": methods, "compare_to": "conditional", "use_faces": False}
    report = measure(discs, tmp_path, {"warp": [4.0]}, layout, **changes)
    found = [(r["strength"], r["method"]) for r in report["rows"]]
    assert found == [(strength, m) for strength in (0, 4) for m in methods]
    curves = robustness.draw(report).axes[0].get_lines()
    labels = [line.get_label() for line in curves]
    told = [f"contextual GAN, closeness {x}" for x in ("0", "auto", "1")]
    assert labels == [*told, "conditional GAN"]
    sheets = {path.name for path in tmp_path.glob("distortion_*_generated.png")}
    assert sheets == {f"distortion_{method}_generated.png" for method in methods}
    one, other = (row(report, "warp", 4.0, f"model@{x}")["scores"] for x in (0, 1))
    assert one["ssim_luma"]["value"] != other["ssim_luma"]["value"]


@pytest.mark.parametrize(
    ("strengths", "message"),
    [
        ({"warp": [2.0, 1.0], "drop": []}, "--warp=2,1 must ascend, and begin above 0"),
        ({"warp": [], "drop": [0.0, 0.5]}, "--drop=0,0.5 must ascend"),
        ({"warp": [], "drop": []}, "give one of --warp, --drop"),
    ],
)
def test_strengths_that_cannot_be_are_explained(strengths, message):
    with pytest.raises(ValueError, match=message):
        robustness.points(strengths)


run = functools.partial(run_command, "distort")


def test_the_command_prints_the_tables(discs, tmp_path):
    save_random_model(tmp_path / "model")
    flags = ["--model=model", f"--data={discs}", "--nofaces", "--num_examples=2"]
    flags += ["--methods=mean", "--warp=", "--drop=0.5", "--thicken=", "--soften="]
    result = run(tmp_path, *flags)
    assert result.returncode == 0, result.stderr
    assert "| mean training photograph, 0.5 |" in result.stdout
    assert "### warp" not in result.stdout


def test_the_command_names_a_flag_that_is_no_list_of_numbers(discs, tmp_path):
    result = run(tmp_path, f"--data={discs}", "--warp=1,two")
    assert result.returncode == 1
    assert "error: --warp=1,two is no list of numbers" in result.stderr
    assert "Traceback" not in result.stderr


def test_files_are_read_in_the_models_style(discs, tmp_path):
    save_random_model(tmp_path / "model")
    search = dict(default.get_config().projection) | BUDGET
    files = Files(
        str(tmp_path / "model"), str(discs), "validation", search, tmp_path / "cache"
    )
    wanted = plan(methods=("mean",), num_examples=2)
    means, pairs = evaluation.open_files(files, wanted)
    report = robustness.measure(means, pairs, tmp_path / "out", wanted, {"drop": [0.5]})
    assert report["settings"]["style"] == "xdog"
    assert report["settings"]["num_training"] == 12
