"""The harness: the same examples for all methods, ceilings, floors, files, resuming."""

import csv
import dataclasses
import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import run_command
from PIL import Image
from tiny_archives import disc, encode
from tiny_models import random_conditional, random_model, save_random_model

from cgan_jax import answers, dataset, evaluation, faces, intervals, model_files
from cgan_jax.answers import Means
from cgan_jax.baselines import conditional_files
from cgan_jax.configs import default
from cgan_jax.evaluation import FACES, Files, Plan
from cgan_jax.model_files import ModelError
from cgan_jax.projection import Search
from cgan_jax.sources import Example

pytestmark = pytest.mark.usefixtures("quick_compilation")
BUDGET = {"num_starts": 64, "num_candidates": 2, "num_steps": 2}
BUDGET |= {"inner_steps": 2, "inner_layers": 2}
SEARCH = Search(**dict(default.get_config().projection) | BUDGET)
ROOT = Path(__file__).resolve().parents[1]
ALL = tuple(answers.METHODS)


def plan(**changes):
    settings = {
        "directions": ("sketch2photo",),
        "methods": ALL,
        "num_examples": 6,
        "num_answers": 2,
        "compare_to": "model",
        "seed": 0,
        "block_size": 2,
        "use_faces": False,
    }
    return Plan(**settings | changes)


def evaluate(pairs, training, output, layout="halves", **changes):
    """By all methods, of models that are random."""
    model, drawing = random_model(layout=layout), random_conditional(layout=layout)
    return evaluation.evaluate(
        Means(model, SEARCH, training, drawing),
        pairs,
        output,
        plan(**changes),
    )


@pytest.fixture(scope="module")
def pairs(discs):
    return dataset.open_pairs(discs, "validation")


@pytest.fixture(scope="module")
def training(discs):
    return dataset.open_pairs(discs, "train")


@pytest.fixture(scope="module", autouse=True)
def few_draws():
    """Enough to see that there are intervals."""
    patch = pytest.MonkeyPatch()
    patch.setattr(intervals, "NUM_RESAMPLES", 50)
    patch.setattr(intervals, "NUM_SUBSETS", 8)
    yield
    patch.undo()


@pytest.fixture(scope="module", params=["halves", "planes"])
def layout(request):
    return request.param


@pytest.fixture(scope="module")
def output(pairs, training, layout, tmp_path_factory):
    output = tmp_path_factory.mktemp("results") / "new" / "scores"
    evaluate(pairs, training, output, layout)
    return output


def read_scores(output):
    return json.loads((output / "scores.json").read_text())


def read_rows(output):
    with (output / "examples.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def value(report, method, score):
    (table,) = report["tables"]
    return table["methods"][method]["scores"][score]["value"]


def test_an_evaluation_leaves_scores_tables_rows_and_sheets(output):
    assert sorted(path.name for path in output.iterdir()) == [
        "cache",
        "examples.csv",
        "scores.json",
        "scores.md",
        "sketch2photo_xdog_generated.png",
        "sketch2photo_xdog_sheet.png",
    ]
    assert "| contextual GAN |" in (output / "scores.md").read_text()


def test_the_report_says_what_was_done(output, discs):
    report = read_scores(output)
    settings = report["settings"]
    assert settings["data"] == discs.name
    assert (settings["split"], settings["seed"]) == ("validation", 0)
    assert settings["search"]["num_starts"] == 64
    assert {"jax", "numpy", "dm-pix", "Python"} <= set(report["versions"])
    wall = report["wall_time_seconds"]
    assert list(wall["answers"]) == list(ALL)
    assert 0 < wall["answers"]["model"] < wall["total"]
    (table,) = report["tables"]
    assert (table["style"], table["direction"]) == ("xdog", "sketch2photo")
    assert list(table["methods"]) == list(ALL)
    assert set(table["differences"]) == set(ALL) - {"model"}


def test_the_true_photograph_is_the_ceiling(output):
    report = read_scores(output)
    assert value(report, "true", "ssim") == pytest.approx(1, abs=1e-5)
    assert value(report, "true", "psnr") == "inf"
    for other in set(ALL) - {"true"}:
        assert value(report, other, "ssim_luma") < 0.999


def test_every_method_answers_the_same_examples(output, pairs):
    rows = read_rows(output)
    by_method = {m: [r["name"] for r in rows if r["method"] == m] for m in ALL}
    assert all(names == by_method["model"] for names in by_method.values())
    chosen = evaluation.choose_examples(len(pairs), 6, 0)
    assert by_method["model"] == [pairs.names[i] for i in chosen]


def test_the_rows_have_the_means_and_paired_differences_of_the_report(output):
    rows, report = read_rows(output), read_scores(output)
    ssim = {
        m: np.array([float(r["ssim"]) for r in rows if r["method"] == m]) for m in ALL
    }
    (table,) = report["tables"]
    for method in ALL[1:]:
        assert value(report, method, "ssim") == pytest.approx(
            ssim[method].mean(), rel=1e-4
        )
        difference = table["differences"][method]["ssim"]
        paired = ssim[method] - ssim["model"]
        assert difference["value"] == pytest.approx(paired.mean(), abs=1e-5)
        assert paired.min() <= difference["low"] <= difference["high"] <= paired.max()


def test_the_photograph_is_drawn_again_in_the_style_of_the_task():
    photos = np.stack(
        [np.kron(disc(seed), np.ones((2, 2, 1), np.uint8)) for seed in (3, 4)]
    )
    drawn = [
        dataset.draw_pair(Example(p, None), 64, ["fdog"])[1]["fdog"] for p in photos
    ]
    task = answers.Task("fdog", ("a", "b"), np.stack(drawn), photos)
    same = evaluation.sketch_scores(photos, task)
    np.testing.assert_allclose(same["sketch_kl"], 0, atol=1e-6)
    np.testing.assert_allclose(same["sketch_f"], 1)
    swapped = evaluation.sketch_scores(photos[::-1], task)
    assert (swapped["sketch_kl"] > 0.1).all() and (swapped["sketch_f"] < 0.9).all()
    assert evaluation.sketch_scores(photos, task._replace(style="given")) == {}


def test_diversity_is_of_methods_with_several_answers(output):
    report = read_scores(output)
    assert value(report, "model", "diversity") > 0
    assert value(report, "random", "diversity") > 0
    assert value(report, "mean", "diversity") is None


def test_the_mean_and_the_nearest_come_from_the_training_split(output, training, pairs):
    chosen = evaluation.choose_examples(len(pairs), 6, 0)
    task = answers.read_task(pairs, chosen, "xdog")
    photos = np.stack([training[i]["photo"] for i in range(len(training))])
    mean = answers.baseline("mean", task, training, 2, seed=0).pictures
    np.testing.assert_allclose(mean[3, 0], photos.mean(0), atol=0.5)
    for method in ("nearest_kl", "nearest_l2", "random"):
        found = answers.baseline(method, task, training, 2, seed=0).pictures
        assert found.shape == (6, 2, 16, 16, 3)
        assert (found[:, :, None] == photos).all((3, 4, 5)).any(2).all()


def test_a_second_run_reads_completions_and_changes_no_score(
    output, pairs, training, layout, tmp_path, monkeypatch
):
    again = tmp_path / "again"
    shutil.copytree(output / "cache", again / "cache")

    def fail(*args, **kwargs):
        raise AssertionError("completed anew")

    monkeypatch.setattr(answers.block_search, "search_targets", fail)
    evaluate(pairs, training, again, layout)
    assert read_scores(again)["tables"] == read_scores(output)["tables"]
    assert read_rows(again) == read_rows(output)


def test_an_interrupted_run_completes_what_is_missing(
    output, pairs, training, layout, tmp_path, monkeypatch
):
    again = tmp_path / "again"
    shutil.copytree(output / "cache", again / "cache")
    completed = sorted((again / "cache").glob("completion_*"))
    assert len(completed) == 6
    for path in completed[:2]:
        path.unlink()
    search, asked = answers.block_search.search_targets, []

    def count(model, targets, *args, **kwargs):
        asked.append(len(targets))
        return search(model, targets, *args, **kwargs)

    monkeypatch.setattr(answers.block_search, "search_targets", count)
    evaluate(pairs, training, again, layout)
    assert asked == [2]
    assert read_rows(again) == read_rows(output)


def test_another_search_or_model_is_completed_anew(pairs, tmp_path):
    chosen = evaluation.choose_examples(len(pairs), 1, 0)
    task = answers.read_task(pairs, chosen, "xdog")
    longer = Search(**dict(default.get_config().projection) | BUDGET | {"num_steps": 1})
    for model, search, seed in (
        (random_model(), SEARCH, 0),
        (random_model(), longer, 0),
        (random_model(1), SEARCH, 0),
        (random_model(), SEARCH, 1),
    ):
        answers.completions(model, task, search, tmp_path, seed=seed, block_size=1)
    assert len(list(tmp_path.iterdir())) == 4


@pytest.fixture
def fake_faces(monkeypatch):
    """Descriptors without dlib: the mean colour; none of dark photographs."""

    def describe(photo):
        mean = photo.mean((0, 1)) / 255
        return mean if mean.mean() > 0.5 else np.full(3, np.nan)

    def landmarks(photo):
        right, left = [11.0, 6.0], [5.0, 6.0]
        nose = [8 + photo[0].mean() / 255, 9]  # who knows why
        found = np.array([right, right, left, left, nose])
        return found if photo.mean() / 255 > 0.5 else np.full((5, 2), np.nan)

    monkeypatch.setattr(faces, "is_installed", lambda: True)
    monkeypatch.setattr(faces, "describe", describe)
    monkeypatch.setattr(faces, "landmarks", landmarks)


def test_faces_are_verified_and_identified(fake_faces, pairs, tmp_path):
    who = {f"{seed:02}": str(seed // 2) for seed in range(20, 40)}
    methods = plan(
        methods=("true",), compare_to="true", use_faces=True, num_examples=10
    )
    report = evaluation.evaluate(Means(), pairs, tmp_path, methods, identities=who)
    rows = read_rows(tmp_path)
    assert report["settings"]["num_people"] == 10
    assert 0 < value(report, "true", "face_found") < 1
    # True photographs without a face are left out of verification, not of detection.
    assert value(report, "true", "verified") == 1
    assert {r["verified"] for r in rows if r["face_found"] == "0"} == {""}
    assert {r["rank_1"] for r in rows if r["face_found"] == "0"} == {"0"}
    assert value(report, "true", "rank_10") >= value(report, "true", "rank_1")


def test_attributes_are_correlated_with_the_truth(
    fake_faces, pairs, training, tmp_path
):
    methods = plan(methods=("model", "nearest_l2", "true"), use_faces=True)
    methods = dataclasses.replace(methods, num_examples=10, num_answers=1)
    report = evaluation.evaluate(
        Means(random_model(), SEARCH, training), pairs, tmp_path, methods
    )
    yaw = "attribute/yaw"
    assert value(report, "true", yaw) == pytest.approx(1)
    assert value(report, "nearest_l2", yaw) != pytest.approx(1)
    (table,) = report["tables"]
    halved = table["ceilings"]["true photograph, half as large"][yaw]
    assert halved["num_examples"] == value(report, "true", "face_found") * 10
    assert halved["value"] > 0.9
    text = (tmp_path / "scores.md").read_text()
    assert "| true photograph, mirrored |" in text
    assert "| **Attributes that are kept** | yaw ↑ |" in text
    sheets = {p.name for p in tmp_path.glob("*_attributes_*")}
    stem = "sketch2photo_xdog_attributes"
    assert sheets == {f"{stem}_generated.png", f"{stem}_sheet.png"}


def test_an_answer_without_a_face_is_not_verified():
    truth = np.array([[0.0], [0.0], [np.nan]])
    found = evaluation.face_scores(np.array([[0.1], [np.nan], [0.0]]), truth)
    assert found["face_found"].tolist() == [1, 0, 1]
    np.testing.assert_array_equal(found["verified"], [1, 0, np.nan])
    np.testing.assert_allclose(found["face_distance"], [0.1, np.nan, np.nan])


def test_a_gallery_holds_one_other_photograph_of_each_person_with_two():
    identities = ["a", "b", "a", "", "b", "c", "a"]
    chosen = np.arange(7)
    for seed in range(5):
        rows, correct = evaluation.galleries(identities, chosen, seed)
        assert rows.shape == (7, 2)
        assert correct.tolist() == [0, 1, 0, -1, 1, -1, 0]
        for i, row in enumerate(rows):
            assert [identities[j] for j in row] == ["a", "b"]
            assert i not in row


def test_nobody_known_twice_means_no_identification(fake_faces, pairs, tmp_path):
    methods = plan(methods=("true",), compare_to="true", use_faces=True)
    report = evaluation.evaluate(Means(), pairs, tmp_path, methods)
    assert "rank_1" not in report["tables"][0]["methods"]["true"]["scores"]
    assert any("no identification" in note for note in report["notes"])


def test_realism_is_compared_with_photographs_that_are_no_examples(pairs):
    chosen = evaluation.choose_examples(len(pairs), 6, 0)
    for direction in answers.DIRECTIONS:
        task = answers.read_task(pairs, chosen, "xdog", direction)
        around = evaluation.surroundings(pairs, chosen, task, plan(), None, {})
        assert len(around.references) == 14
        for picture in task.truth:
            assert not (around.references == picture).all((1, 2, 3)).any()


def test_photographs_are_turned_into_sketches(pairs, training, layout, tmp_path):
    both = {"directions": answers.DIRECTIONS, "num_examples": 8}
    report = evaluate(pairs, training, tmp_path, layout, **both)
    _, table = report["tables"]
    assert (table["style"], table["direction"]) == ("xdog", "photo2sketch")
    found = {m: method["scores"] for m, method in table["methods"].items()}
    assert "ssim" not in found["model"] and "face_found" not in found["model"]
    assert found["true"]["sketch_kl"]["value"] == pytest.approx(0, abs=1e-6)
    assert found["true"]["sketch_f"]["value"] == 1
    assert found["model"]["sketch_kl"]["value"] > 0.01
    assert "kernel_distance/HOG and colour histograms" in found["mean"]
    assert table["methods"]["mean"]["label"] == "mean training sketch"
    rows = [row for row in read_rows(tmp_path) if row["direction"] == "photo2sketch"]
    assert len(rows) == 8 * (len(ALL) - 1)
    # One draws photographs alone: it is left out, and this is said.
    assert "conditional" not in found
    assert any("no answers to photo2sketch" in note for note in report["notes"])
    assert (tmp_path / "photo2sketch_xdog_generated.png").is_file()


@pytest.fixture(scope="module")
def two_styles(pairs, tmp_path_factory):
    """The validation pairs in two styles, drawn of their small photographs."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "validation").mkdir()
    for i in range(len(pairs)):
        (folder / "validation" / f"{i}.png").write_bytes(encode(pairs[i]["photo"]))
    output = tmp_path_factory.mktemp("data") / "two_styles"
    dataset.prepare_pairs(str(folder), output, size=16, styles=["xdog", "fdog"])
    return dataset.open_pairs(output, "validation", ["fdog", "xdog"])


def test_a_model_of_several_styles_answers_each_and_is_asked_for_each(
    two_styles, tmp_path
):
    model, methods = random_model(layout="planes"), ("model", "true")
    both = plan(directions=answers.DIRECTIONS, methods=methods, num_examples=2)
    report = evaluation.evaluate(Means(model, SEARCH), two_styles, tmp_path, both)
    tables = [(table["direction"], table["style"]) for table in report["tables"]]
    first, second = answers.DIRECTIONS
    assert tables == [(d, s) for d in (first, second) for s in ("fdog", "xdog")]
    for table in report["tables"][:2]:
        assert table["methods"]["true"]["scores"]["ssim"]["value"] > 0.99
    chosen = evaluation.choose_examples(len(two_styles), 2, 0)
    given, found = set(), {}
    for style in ("fdog", "xdog"):
        task = answers.read_task(two_styles, chosen, style)
        given |= {(style, sketch.tobytes()) for sketch in task.sketches}
        task = answers.read_task(two_styles, chosen, style, "photo2sketch")
        options = {"seed": 0, "block_size": 2}
        answer = answers.completions(model, task, SEARCH, tmp_path / "cache", **options)
        # The sketch that is asked for on the left, the same photograph on the right.
        np.testing.assert_array_equal(answer.joint[:, :, :16], answer.pictures[:, 0])
        assert answer.joint.shape == (2, 16, 32, 3)
        found[style] = answer.joint
    # What is asked of a photograph does not change the search.
    completed = list((tmp_path / "cache").glob("completion_*"))
    assert len(completed) == len(given) + len(chosen)
    fdog, xdog = found.values()
    np.testing.assert_array_equal(fdog[:, :, 16:], xdog[:, :, 16:])
    assert (fdog[:, :, :16] != xdog[:, :, :16]).any()


@pytest.mark.parametrize("layout", ["halves", "planes"])
@pytest.mark.parametrize("direction", answers.DIRECTIONS)
def test_a_target_holds_what_is_given_and_nothing_else(pairs, layout, direction):
    joint = random_model(layout=layout).joint
    task = answers.read_task(pairs, np.arange(3), "xdog", direction)
    targets, mask = task.targets(joint)
    assert targets.shape == (3, *joint.shape)
    assert joint.known(mask) == (task.given,) != (task.asked,)
    for name in joint.names:
        shown = joint.part(targets, name)
        if name != task.given:
            assert not shown.any() and not joint.mask_of(mask, name).any()
            continue
        assert joint.mask_of(mask, name).all()
        given = task.photos if name == "photo" else task.sketches
        np.testing.assert_allclose(shown, given / 127.5 - 1, atol=1e-6)


def test_a_style_finds_the_part_of_a_model_that_shows_it():
    halves, planes = (random_model(layout=x).joint for x in ("halves", "planes"))
    mixture, ready = (
        dataclasses.replace(
            halves,
            parts=(dataclasses.replace(halves.parts[0], name=name), halves.parts[1]),
        )
        for name in ("sketch", "given")
    )
    assert answers.part_of(planes, "fdog") == "fdog"
    assert answers.part_of(planes, "photo") == answers.part_of(halves, "photo")
    assert answers.part_of(mixture, "fdog") == "sketch"
    assert answers.part_of(halves, "given") == "xdog"  # ready pairs do not say
    assert answers.part_of(ready, "xdog") == "given"
    for joint, style, choices in (
        (halves, "fdog", "xdog"),
        (planes, "given", "xdog, fdog, photocopy"),
    ):
        message = f"no sketches in the style '{style}': choose one of {choices}$"
        with pytest.raises(ValueError, match=message):
            answers.part_of(joint, style)


def test_the_model_answers_at_several_closenesses_side_by_side(pairs, layout, tmp_path):
    methods = ("model@0", "model@auto", "model@1", "model", "mean")
    training = dataset.open_pairs(pairs.folder, "train")
    model = random_model(layout=layout)
    settings = plan(methods=methods, compare_to="model@auto", num_examples=8)
    means = Means(model, SEARCH, training)
    report = evaluation.evaluate(means, pairs, tmp_path, settings)
    (table,) = report["tables"]
    assert [of["label"] for of in table["methods"].values()] == [
        "contextual GAN, closeness 0",
        "contextual GAN, closeness auto",
        "contextual GAN, closeness 1",
        "contextual GAN",
        "mean training photograph",
    ]
    assert set(table["differences"]) == set(methods) - {"model@auto"}
    assert len(list((tmp_path / "cache").glob("completion_*"))) == 4 * 8
    options = {"cache": tmp_path / "cache", "count": 2, "seed": 0, "block_size": 2}
    chosen = evaluation.choose_examples(len(pairs), 8, 0)
    task = answers.read_task(pairs, chosen, "xdog")
    closest = dataclasses.replace(SEARCH, closeness=1)
    one, same, other = (
        answers.answer(method, task, means._replace(search=search), **options)
        for method, search in (
            ("model@1", SEARCH),
            ("model", closest),
            ("model", SEARCH),
        )
    )
    np.testing.assert_array_equal(one.pictures, same.pictures)
    assert (one.pictures != other.pictures).any()
    with Image.open(tmp_path / "sketch2photo_xdog_generated.png") as image:
        # A row for the best, median and worst: two examples of four answers each.
        assert image.size == (4 + 2 * 4 * 68, 16 + 4 + 3 * 36)


def test_realism_is_drawn_against_likeness(pairs, training, fake_faces, tmp_path):
    methods = ("conditional", "nearest_l2", "mean")
    changes = {"methods": methods, "compare_to": "mean", "use_faces": True}
    means = Means(None, None, training, random_conditional())
    report = evaluation.evaluate(
        means, pairs, tmp_path, plan(**changes, num_examples=8)
    )
    assert (tmp_path / "realism_likeness.png").is_file()
    figure = evaluation.draw_realism(evaluation._realism_points(report["tables"]))
    (found, kernel) = figure.axes
    assert found.get_ylabel() == "face found ↑ (%)"
    assert kernel.get_ylabel().startswith("kernel distance x 1000")
    assert found.get_title() == "sketch2photo, xdog"
    assert kernel.get_xlabel() == "SSIM, luma ↑"
    (legend,) = figure.legends
    labels = [answers.LABELS["photo"][method] for method in methods]
    assert [text.get_text() for text in legend.get_texts()] == labels
    for axes, score, factor in (
        (found, "face_found", 100),
        (kernel, "kernel_distance/HOG and colour histograms", 1000),
    ):
        lines = [x for x in axes.get_lines() if x.get_label() in labels]
        for line, method in zip(lines, methods, strict=True):
            assert line.get_xdata() == [value(report, method, "ssim_luma")]
            assert line.get_ydata() == [factor * value(report, method, score)]
    few = plan(methods=("mean",), compare_to="mean", num_examples=1)
    evaluation.evaluate(means, pairs, tmp_path, few)
    assert not (tmp_path / "realism_likeness.png").exists()  # nothing to show


def test_a_photograph_of_the_training_set_finds_its_sketch(training):
    chosen = np.array([7, 2])
    task = answers.read_task(training, chosen, "xdog", "photo2sketch")
    for method in ("nearest_kl", "nearest_l2"):
        found = answers.baseline(method, task, training, 2, seed=0).pictures
        np.testing.assert_array_equal(found[:, 0], task.truth)


def test_small_sets_have_no_distances_and_large_ones_have_both(monkeypatch):
    rng = np.random.default_rng(0)
    small, large = rng.normal(size=(7, 3)), rng.normal(size=(20, 3))
    distances = evaluation.set_distances
    assert distances({"f": small}, {"f": large}, 0) == {}
    assert list(distances({"f": large}, {"f": large}, 0)) == ["kernel_distance/f"]
    monkeypatch.setattr(evaluation, "MIN_FRECHET", 20)
    found = distances({"f": large}, {"f": large + 1}, 0)
    assert list(found) == ["kernel_distance/f", "frechet_distance/f"]
    faceless = large.copy()
    faceless[:9] = np.nan
    assert distances({FACES: faceless}, {FACES: large}, 0) == {}


def test_more_examples_than_pictures_names_both(pairs, training, tmp_path):
    with pytest.raises(ValueError, match="num_examples is 21, but the split holds 20"):
        evaluate(pairs, training, tmp_path, num_examples=21)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ("model", "best")}, "unknown method best: choose of model, "),
        ({"methods": ()}, "unknown method none"),
        (
            {"methods": ("model@2",)},
            "method model@2: a closeness is a number from 0 to",
        ),
        (
            {"methods": ("model@",)},
            "method model@: a closeness is a number from 0 to 1",
        ),
        ({"methods": ("mean@1",)}, "unknown method mean@1: choose of model, "),
        ({"methods": ("model@1", "model@1.0")}, "named twice: model@1, model@1.0"),
        ({"compare_to": "other"}, "compare_to is 'other'"),
        ({"directions": ("photo2photo",)}, "unknown direction photo2photo: choose of"),
        (
            {"compare_to": "conditional", "directions": answers.DIRECTIONS},
            "compare_to is 'conditional', which has no answers to photo2sketch",
        ),
    ],
)
def test_a_plan_that_cannot_be_is_explained(changes, message):
    with pytest.raises(ValueError, match=message):
        plan(**changes)


def test_a_search_without_inner_steps_has_no_closeness(pairs, tmp_path):
    search = dataclasses.replace(SEARCH, inner_steps=0)
    means, settings = Means(random_model(), search), plan(methods=("model", "model@1"))
    with pytest.raises(
        ValueError, match="'model@1' asks for a closeness, but the search"
    ):
        evaluation.evaluate(means, pairs, tmp_path / "out", settings)
    assert not list(tmp_path.iterdir())


def test_a_style_that_a_model_does_not_have_is_refused_before_the_first_answer(
    two_styles, tmp_path
):
    means = Means(random_model(), SEARCH, None, random_conditional())
    for method, message in (
        ("model", "the model has no sketches in the style 'fdog': choose one of xdog"),
        (
            "conditional",
            "the conditional GAN random takes xdog sketches, and these are",
        ),
    ):
        settings = plan(methods=(method,), compare_to=method)
        with pytest.raises(ValueError, match=message):
            evaluation.evaluate(means, two_styles, tmp_path / "out", settings)
    assert not list(tmp_path.iterdir())


def test_identities_are_read_by_the_name_of_the_picture(tmp_path):
    table = tmp_path / "who.tsv"
    table.write_text("split\tname\tidentity\ntest\tfaces/a.jpg\t7\ntest\tb\t8\n")
    assert evaluation.read_identities(table) == {"a": "7", "b": "8"}
    table.write_text("name\tidentity\na\t7\nx/a.png\t8\n")
    with pytest.raises(ValueError, match="gives a two identities"):
        evaluation.read_identities(table)
    table.write_text("name,identity\na,7\n")
    with pytest.raises(ValueError, match="has no header"):
        evaluation.read_identities(table)


def test_features_of_users_are_imported_and_scored(pairs, tmp_path):
    fn = evaluation.import_features("numpy:ravel")
    assert fn is np.ravel
    report = evaluation.evaluate(
        Means(),
        pairs,
        tmp_path,
        plan(methods=("true",), compare_to="true", num_examples=8),
        features={"numpy:ravel": fn},
    )
    assert value(report, "true", "kernel_distance/numpy:ravel") is not None
    for name in ("numpy", "numpy:nothing", "no_such_module:f", ":f"):
        with pytest.raises(ValueError, match=f"--features={name} is no"):
            evaluation.import_features(name)


@pytest.fixture
def evaluate_files(tmp_path, discs):
    """`evaluation.evaluate` of a published model, with changes."""
    save_random_model(tmp_path / "model")

    def call(
        *, split="validation", source=discs, train=None, conditional=None, **changes
    ):
        files = Files(
            str(tmp_path / "model"),
            str(source),
            split,
            dict(default.get_config().projection) | BUDGET,
            tmp_path / "cache",
            train and str(train),
            conditional,
        )
        wanted = plan(**{"num_examples": 1} | changes)
        means, found = evaluation.open_files(files, wanted)
        return evaluation.evaluate(means, found, tmp_path / "out", wanted)

    return call


def test_files_are_evaluated_in_the_models_style(evaluate_files):
    report = evaluate_files(methods=("model", "mean"))
    assert [table["style"] for table in report["tables"]] == ["xdog"]
    assert report["settings"]["num_training"] == 12
    assert report["settings"]["search"]["num_steps"] == 2


def test_a_split_that_is_missing_is_named(evaluate_files):
    with pytest.raises(ValueError, match="has no test pictures: it holds"):
        evaluate_files(split="test")


def test_a_conditional_gan_is_scored_beside_the_others(
    evaluate_files, discs, pairs, tmp_path
):
    model = random_conditional()
    model_files.save(tmp_path / "pix", model.variables, model.config)
    methods = {"methods": ("conditional", "mean", "true"), "compare_to": "mean"}
    folder = str(tmp_path / "pix")
    report = evaluate_files(**methods, conditional=folder, num_examples=3)
    (table,) = report["tables"]
    assert table["methods"]["conditional"]["label"] == "conditional GAN"
    stored = conditional_files.load(folder)
    assert report["settings"]["conditional"] == "pix"
    assert report["settings"]["conditional_digest"] == conditional_files.digest(stored)
    chosen = evaluation.choose_examples(len(pairs), 3, 0)
    task = answers.read_task(pairs, chosen, "xdog")
    found = answers.conditional_answers(stored, task).pictures[:, 0]
    ssim = evaluation.pixel_scores(found, task)["ssim"].mean()
    assert value(report, "conditional", "ssim") == pytest.approx(ssim, rel=1e-6)
    text = (tmp_path / "out" / "scores.md").read_text()
    digest = report["settings"]["conditional_digest"]
    assert text.startswith("## pix: 3 validation examples\n\n")
    assert f"conditional GAN pix (weights {digest[:12]}), data" in text
    assert "No model was asked." in text
    with pytest.raises(ValueError, match="'conditional' needs .* give --conditional"):
        evaluate_files(**methods)
    with pytest.raises(ModelError, match="model holds a contextual GAN"):
        evaluate_files(**methods, conditional=str(tmp_path / "model"))
    both = {"methods": ("model", "conditional"), "compare_to": "model"}
    settings = evaluate_files(**both, conditional=folder)["settings"]
    assert (settings["model"], settings["conditional"]) == ("model", "pix")


def test_any_method_answers_by_one_function(pairs, training, tmp_path):
    chosen = evaluation.choose_examples(len(pairs), 2, 0)
    task = answers.read_task(pairs, chosen, "xdog")
    means = Means(random_model(), SEARCH, training, random_conditional())
    options = {"cache": tmp_path, "count": 2, "seed": 0, "block_size": 2}
    found = {m: answers.answer(m, task, means, **options).pictures for m in ALL}
    counts = {method: len(pictures[0]) for method, pictures in found.items()}
    assert counts == dict.fromkeys(ALL, 2) | {"conditional": 1, "mean": 1, "true": 1}
    with pytest.raises(ValueError, match="'conditional' needs"):
        answers.answer("conditional", task, means._replace(conditional=None), **options)
    with pytest.raises(ValueError, match="unknown method 'best'"):
        answers.answer("best", task, means, **options)


def test_baselines_without_a_training_split_name_the_way_out(
    evaluate_files, discs, tmp_path
):
    pictures = tmp_path / "pictures" / "validation"
    pictures.mkdir(parents=True)
    (pictures / "0.png").write_bytes(encode(disc(0)))
    source = tmp_path / "pictures"
    mean = {"methods": ("mean",), "compare_to": "mean", "source": source}
    with pytest.raises(ValueError, match="has no train pictures.*--train_data"):
        evaluate_files(**mean)
    assert evaluate_files(**mean, train=discs)["settings"]["num_training"] == 12
    true = {"methods": ("true",), "compare_to": "true", "source": source}
    assert evaluate_files(**true)["settings"]["num_training"] == 0


def test_missing_dlib_names_the_extra(evaluate_files, monkeypatch):
    monkeypatch.setattr(faces, "is_installed", lambda: False)
    with pytest.raises(faces.FacesError, match=r"cgan_jax\[faces\].*--nofaces"):
        evaluate_files(use_faces=True)


run = functools.partial(run_command, "evaluate")


def test_the_command_prints_the_table(discs, tmp_path):
    save_random_model(tmp_path / "model")
    flags = ["--model=model", f"--data={discs}", "--nofaces", "--num_examples=2"]
    result = run(tmp_path, *flags, "--methods=mean,true", "--compare_to=mean")
    assert result.returncode == 0, result.stderr
    assert "| mean training photograph |" in result.stdout
    assert "final tables" not in result.stderr
    assert read_scores(tmp_path / "out")["settings"]["num_examples"] == 2


def test_a_conditional_gan_that_no_method_asks_is_noticed(tmp_path):
    result = run(tmp_path, "--data=x", "--conditional=pix")
    assert result.returncode == 1
    assert "error: --conditional is given: add conditional to" in result.stderr


def test_the_test_split_prints_a_reminder(discs, tmp_path):
    save_random_model(tmp_path / "model")
    flags = ["--model=model", f"--data={discs}", "--nofaces", "--split=test"]
    result = run(tmp_path, *flags)
    assert result.returncode == 1
    assert "The test split is for final tables" in result.stderr
    assert f"error: {discs} has no test pictures" in result.stderr
    assert "Traceback" not in result.stderr


def test_evaluation_does_not_import_dlib():
    code = "import sys, cgan_jax.evaluation; print('dlib' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split() == ["False"]
