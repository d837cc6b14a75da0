"""Ablations of the search: the same search, compiled once, resumed, measured, written."""

import csv
import dataclasses
import functools
import json
import math

import chex
import jax
import numpy as np
import pytest
from commands import run_command
from PIL import Image
from tiny_archives import encode
from tiny_models import random_model, save_random_model

from cgan_jax import (
    ablation,
    ablation_curves,
    ablation_report,
    answers,
    block_search,
    dataset,
    images,
    intervals,
    results,
)
from cgan_jax.ablation import Plan
from cgan_jax.configs import default

pytestmark = pytest.mark.usefixtures("compiled_once")
BUDGET = {"num_starts": 16, "num_candidates": 2, "num_steps": 2}
BUDGET |= {"inner_steps": 0, "inner_layers": 2}
BASE = dict(default.get_config().projection) | BUDGET
PLAN = Plan("sketch2photo", num_examples=3, reference="", seed=0, block_size=3)
SWEEPS = ["projection.perceptual_weight=0,0.5,5", "projection.mass=ink"]


def picture(seed):
    """Stripes of some colours."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 256, (4, 1, 3)).repeat(8, 0)
    return np.broadcast_to(colours, (32, 32, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A prepared data set of 5 validation pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "validation").mkdir()
    for seed in range(5):
        (folder / "validation" / f"{seed}.png").write_bytes(encode(picture(seed)))
    output = tmp_path_factory.mktemp("data") / "stripes"
    dataset.prepare_pairs(str(folder), output, size=16)
    return output


@pytest.fixture(scope="module")
def pairs(data):
    return dataset.open_pairs(data, "validation")


@pytest.fixture(scope="module", autouse=True)
def few_draws():
    patch = pytest.MonkeyPatch()
    patch.setattr(intervals, "NUM_RESAMPLES", 50)
    yield
    patch.undo()


def ablate(pairs, output, texts=SWEEPS, layout="halves", **changes):
    model, settings = random_model(layout=layout), ablation.make_settings(texts, BASE)
    facts = {"sweeps": list(texts), "search": BASE}
    plan = dataclasses.replace(PLAN, **changes)
    return ablation.ablate(model, pairs, "xdog", settings, output, plan, facts)


@pytest.fixture(scope="module")
def output(pairs, tmp_path_factory):
    output = tmp_path_factory.mktemp("results") / "new" / "lambda"
    ablate(pairs, output)
    return output


def read_rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def read_report(output):
    return json.loads((output / "ablation.json").read_text())


def without_seconds(report):
    rows = [{k: x for k, x in row.items() if k != "seconds"} for row in report["rows"]]
    return report | {"rows": rows}


def files(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


# ------------------------------------------------------------------------ search


@pytest.mark.parametrize("layout", ["halves", "planes"])
@pytest.mark.parametrize(
    ("direction", "sweep", "inner_steps", "block_size"),
    [
        ("sketch2photo", "projection.perceptual_weight=0.5,5000", 0, 3),
        ("photo2sketch", "projection.learning_rate=0.05,0.2", 0, 2),
        ("sketch2photo", "projection.closeness=0.1,1", 2, 3),
    ],
)
def test_a_setting_finds_what_its_search_alone_finds(
    pairs, tmp_path, layout, direction, sweep, inner_steps, block_size
):
    base = BASE | {"inner_steps": inner_steps}
    settings, model = ablation.make_settings([sweep], base), random_model(layout=layout)
    task = answers.read_task(pairs, np.array([0, 2, 3]), "xdog", direction)
    plan = dataclasses.replace(PLAN, direction=direction, block_size=block_size)
    found = ablation.find_all(model, task, settings, tmp_path, plan)
    targets, mask = task.targets(model.joint)
    for setting, got in zip(settings, found, strict=True):
        search, block = setting.search, {"seed": 0, "block_size": block_size}
        alone = list(block_search.search_targets(model, targets, mask, search, **block))
        z = np.stack([x.z[0] for x in alone])
        # The rounding of another program, amplified by two steps.
        np.testing.assert_allclose(got.z, z, atol=1e-4, err_msg=setting.label)
        joint = images.to_uint8(np.stack([x.joint[0] for x in alone]))
        assert np.abs(got.joint.astype(int) - joint).max() <= 1
    one, other = (x.offset_size if inner_steps else x.z for x in found[-2:])
    assert np.abs(one - other).max() > 0.01


@pytest.mark.parametrize(
    ("sweep", "inner_steps"),
    [
        ("projection.perceptual_weight=0.01,0.1,1,2,3", 0),
        ("projection.closeness=0.1,0.3,0.5,0.9,1", 2),
        ("projection.inner_weight=1,2,4,8,16", 2),
        ("projection.inner_learning_rate=0.01,0.05,0.1,0.2,0.4", 2),
    ],
)
def test_a_sweep_over_a_number_traces_the_search_once(
    pairs, monkeypatch, sweep, inner_steps
):
    base = BASE | {"inner_steps": inner_steps}
    searches = [x.search for x in ablation.make_settings([sweep], base)]
    chex.clear_trace_counter()
    once = chex.assert_max_traces(block_search.project, n=1)
    monkeypatch.setattr(block_search, "project", once)
    task = answers.read_task(pairs, np.arange(3), "xdog")
    found = list(
        block_search.search_settings(
            random_model(),
            *task.targets(random_model().joint),
            searches,
            seed=0,
            block_size=1,
            max_parallel=1,
        )
    )
    assert [x.z.shape for x in found] == [(5, 2, 8)] * 3
    joint = found[0].joint.reshape(5, -1)  # offsets move it, where z is the same
    assert len(np.unique(joint.round(5), axis=0)) == 5


def test_settings_of_different_structure_are_no_one_program(pairs):
    texts = ["projection.mass=ink,intensity"]
    searches = [x.search for x in ablation.make_settings(texts, BASE)]
    task = answers.read_task(pairs, np.arange(1), "xdog")
    target, model = task.targets(random_model().joint), random_model()
    with pytest.raises(ValueError, match="2 structures"):
        block_search.search_settings(model, *target, searches, seed=0, block_size=1)


# ------------------------------------------------------------------------- files


def test_an_ablation_leaves_tables_curves_and_a_sheet(output):
    assert sorted(path.name for path in output.iterdir()) == [
        "ablation.csv",
        "ablation.json",
        "ablation.md",
        "cache",
        "curves.png",
        "examples.csv",
        "generated.png",
    ]
    report = read_report(output)
    assert report["settings"]["reference"] == "perceptual_weight=0, mass=ink"
    assert report["settings"]["data"] == "stripes"
    assert {"cgan_jax", "jax", "Python"} <= set(report["versions"])
    assert [
        row["values"]["projection.perceptual_weight"] for row in report["rows"]
    ] == [
        0.0,
        0.5,
        5.0,
    ]
    assert [row["passes"]["alone"] for row in report["rows"]] == [16 + 6 + 4] * 3
    assert all(row["seconds"] > 0 for row in report["rows"])


def test_means_and_paired_differences_are_those_of_the_examples(output):
    examples = read_rows(output / "examples.csv")
    assert len(examples) == 9
    values = {}
    for row in examples:
        values.setdefault(row["perceptual_weight"], []).append(float(row["photo_mse"]))
    assert {name: len(x) for name, x in values.items()} == {"0": 3, "0.5": 3, "5": 3}
    first, _, last = read_report(output)["rows"]
    assert first["differences"] == {}
    assert first["scores"]["photo_mse"]["value"] == pytest.approx(np.mean(values["0"]))
    difference = last["differences"]["photo_mse"]
    paired = np.subtract(values["5"], values["0"])
    assert difference["value"] == pytest.approx(paired.mean(), abs=1e-6)
    assert paired.min() - 1e-6 <= difference["low"] <= difference["high"]
    (row,) = [
        r
        for r in read_rows(output / "ablation.csv")
        if r["mass"] and r["perceptual_weight"] == "5"
    ]
    assert float(row["photo_mse_difference"]) == difference["value"]


def test_the_sheet_has_a_row_a_setting_and_nothing_but_answers(output, pairs):
    with Image.open(output / "generated.png") as image:
        sheet = np.asarray(image)
    # A caption, then rows of a square label and three answers, twice as large.
    assert sheet.shape == (16 + 3 * 36 + 4, 4 + 36 + 3 * 68, 3)
    settings = ablation.make_settings(SWEEPS, BASE)
    task = answers.read_task(pairs, np.array([0, 2, 3]), "xdog")
    chosen = np.sort(np.random.default_rng(0).choice(5, 3, replace=False))
    task = answers.read_task(pairs, chosen, "xdog")
    found = ablation.find_all(random_model(), task, settings, output / "cache", PLAN)
    for i, answer in enumerate(found):
        for j in range(3):
            top, left = 16 + 4 + i * 36, 40 + j * 68
            shown = sheet[top : top + 32 : 2, left : left + 64 : 2]
            want = random_model().joint.panels(images.from_uint8(answer.joint[j]))
            np.testing.assert_array_equal(shown, want)


def test_the_same_call_again_computes_nothing_and_leaves_the_same(
    output, pairs, monkeypatch
):
    before = files(output)
    monkeypatch.setattr(ablation, "search_settings", None)
    ablate(pairs, output)
    assert files(output) == before


def test_what_a_kill_left_undone_is_done(output, pairs, tmp_path, monkeypatch):
    asked = []

    def counted(model, targets, *arguments, **options):
        asked.append(len(targets))
        stream = block_search.search_settings(model, targets, *arguments, **options)
        yield next(stream)
        yield next(stream)
        if len(asked) == 1:
            raise KeyboardInterrupt
        yield from stream

    monkeypatch.setattr(ablation, "search_settings", counted)
    with pytest.raises(KeyboardInterrupt):
        ablate(pairs, tmp_path, num_examples=3)
    assert not (tmp_path / "ablation.json").exists()
    monkeypatch.setattr(ablation, "search_settings", block_search.search_settings)
    ablate(pairs, tmp_path)
    assert asked == [3]
    assert without_seconds(read_report(tmp_path)) == without_seconds(
        read_report(output)
    )
    for name in ("examples.csv", "generated.png", "curves.png"):
        assert (tmp_path / name).read_bytes() == (output / name).read_bytes()


def test_another_search_is_found_anew(pairs, tmp_path):
    task = answers.read_task(pairs, np.arange(1), "xdog")
    for texts, seed in (
        (["projection.momentum=0.1"], 0),
        (["projection.momentum=0.2"], 0),
        (["projection.momentum=0.2"], 1),
    ):
        settings = ablation.make_settings(texts, BASE)
        plan = dataclasses.replace(PLAN, seed=seed)
        ablation.find_all(random_model(), task, settings, tmp_path, plan)
    assert len(list(tmp_path.iterdir())) == 3


# -------------------------------------------------------------------- yardsticks


@pytest.mark.parametrize("layout", ["halves", "planes"])
def test_the_truth_itself_is_the_best_answer(pairs, layout):
    task, model = (
        answers.read_task(pairs, np.arange(5), "xdog"),
        random_model(layout=layout),
    )
    parts = {"xdog": task.sketches, "photo": task.photos}
    truth = model.joint.stack({k: images.from_uint8(x) for k, x in parts.items()})
    z = np.linspace(-1, 1, 40, dtype=np.float32).reshape(5, 8)
    answer = ablation.Found(images.to_uint8(truth), z, None, 0.1)
    found = ablation.measure(model, task, answer)
    np.testing.assert_allclose(found["sketch_kl"], 0, atol=1e-5)
    np.testing.assert_allclose(found["photo_mse"], 0, atol=1e-9)
    np.testing.assert_allclose(found["ssim_luma"], 1, atol=1e-5)
    np.testing.assert_allclose(found["mean_z2"], (z**2).mean(1), rtol=1e-5)
    assert "offset_size" not in found
    logits = jax.jit(
        lambda x: model.models.disc.apply(model.variables.disc, x, train=False)
    )
    # As it would be saved, in 8 bits, the planes that were not given, too.
    judged = logits(images.from_uint8(answer.joint))
    sigmoid = 1 / (1 + np.exp(-np.asarray(judged, np.float64)))
    np.testing.assert_allclose(found["perceptual"], np.log(1 - sigmoid), rtol=1e-3)
    answer = answer._replace(joint=255 - answer.joint, offset_size=np.ones(5))
    worse = ablation.measure(model, task, answer)
    assert (worse["sketch_kl"] > 0.1).all() and (worse["photo_mse"] > 0.01).all()
    assert worse["offset_size"].tolist() == [1] * 5


@pytest.mark.parametrize("layout", ["halves", "planes"])
def test_offsets_are_measured_where_a_search_has_some(pairs, tmp_path, layout):
    texts = ["projection.inner_steps=0,2", "projection.closeness=0.1,1"]
    report = ablate(pairs, tmp_path, texts, layout)
    assert len(list((tmp_path / "cache").iterdir())) == 2 * 3  # two programs
    names = [set(row["scores"]) for row in report["rows"]]
    plain = set(ablation_report.YARDSTICKS) - {"offset_size"}
    assert names == [plain, plain, *[plain | {"offset_size"}] * 2]
    assert set(report["rows"][2]["differences"]) == plain
    weak, close = (row["scores"]["offset_size"]["value"] for row in report["rows"][2:])
    assert 0 < weak < close
    assert [row["passes"]["alone"] for row in report["rows"]] == [26, 26, 34, 34]
    text = (tmp_path / "ablation.md").read_text()
    assert "| mean z² | offsets |" in text and "- **offsets**:" in text
    assert "`0` | `0.1` |" in text and " – | 26 |" in text
    with Image.open(tmp_path / "generated.png") as image:  # its sketch, its photograph
        assert image.size == (4 + 36 + 3 * 68, 16 + 4 * 36 + 4)


def test_auto_is_a_closeness_among_others(pairs, tmp_path):
    texts = ["projection.inner_steps=1", "projection.closeness=0,auto,0.5"]
    report = ablate(pairs, tmp_path, texts, num_examples=1)
    told = [row["texts"]["closeness"] for row in report["rows"]]
    assert told == ["0", "auto", "0.5"]
    assert not (tmp_path / "curves.png").exists()  # a word has no place on an axis


# --------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["train.beta1=0.5"], "no field 'train.beta1'"),
        (
            ["projection.num_candidates=2,99", "projection.momentum=0.1"],
            "with num_candidates=99, momentum=0.1, num_candidates is 99",
        ),
        (
            ["projection.closeness=0,2"],
            "--sweep: with closeness=2, closeness is 2.0: give a number from 0 to 1",
        ),
    ],
)
def test_a_setting_that_cannot_be_is_named(texts, message):
    with pytest.raises(ValueError, match=message):
        ablation.make_settings(texts, BASE)


@pytest.mark.parametrize(
    ("texts", "changes", "message"),
    [
        (SWEEPS, {"reference": "mass=ink"}, "--reference=mass=ink: choose one of perc"),
        (SWEEPS, {"num_examples": 6}, "num_examples is 6, but the split holds 5"),
        (
            ["projection.encoder_starts=1"],
            {},
            "encoder_starts is 1, but the model has no",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_written(
    pairs, tmp_path, texts, changes, message
):
    with pytest.raises(ValueError, match=message):
        ablate(pairs, tmp_path / "out", texts, **changes)
    assert not list(tmp_path.iterdir())


def test_the_reference_may_be_another_setting(pairs, output):
    label = "perceptual_weight=5, mass=ink"
    report = ablate(pairs, output, reference=label)
    assert [bool(row["differences"]) for row in report["rows"]] == [True, True, False]
    assert f"differences from *{label}*" in (output / "ablation.md").read_text()
    ablate(pairs, output)  # as it was


# ------------------------------------------------------------- tables and curves


def estimate(value, half):
    return {
        "value": value,
        "low": value - half,
        "high": value + half,
        "num_examples": 9,
    }


# Of searches without offsets.
SCORED = [name for name in ablation_report.YARDSTICKS if name != "offset_size"]


def made_up(texts, means):
    """A report of settings whose every score is made up."""
    settings = ablation.make_settings(texts, BASE)
    rows = [
        {
            "label": s.label,
            "values": s.values,
            "texts": ablation._texts(s),
            "scores": dict.fromkeys(SCORED, estimate(mean, 0.1)),
            "differences": dict.fromkeys(
                SCORED if i else [], estimate(mean - means[0], 0.1)
            ),
            "passes": {"alone": 1750},
            "seconds": 0.25,
        }
        for i, (s, mean) in enumerate(zip(settings, means, strict=True))
    ]
    facts = {
        "model": "tiny",
        "model_digest": "0" * 20,
        "data": "d",
        "split": "validation",
    }
    facts |= {"style": "xdog", "num_examples": 9, "seed": 0, "block_size": 1}
    facts |= {"sweeps": texts, "search": BASE, "direction": "sketch2photo"}
    facts |= {"reference": settings[0].label}
    kind, version = ablation_report.SEARCHES, ablation_report.FORMAT_VERSION
    report = {"kind": kind, "format_version": version, "settings": facts}
    return report | {"versions": {"jax": "1"}, "rows": rows}


def test_the_table_says_what_is_sure_and_escapes_its_bars():
    report = made_up(["projection.direction=y||G,G||y"], [1.0, 1.5])
    text = ablation_report.markdown(report, {"curves": "figures/x.png"})
    assert "| `y\\|\\|G` | 1.000 [0.900, 1.100] | 1.0000 [0.9000" in text
    assert "| 1,750 | 0.25 |" in text
    assert "| `G\\|\\|y` | **+0.500** [+0.400, +0.600] |" in text
    assert "](figures/x.png)" in text
    level = made_up(["projection.direction=y||G,G||y"], [1.0, 1.05])
    assert "| `G\\|\\|y` | +0.050 [-0.050, +0.150] |" in ablation_report.markdown(
        level, {}
    )


def test_a_curve_for_each_number_and_a_line_for_each_of_the_rest():
    texts = [
        "projection.perceptual_weight=1,0,0.01",
        "projection.num_steps=2,4",
        "projection.mass=ink,intensity",
    ]
    means = [float(i) for i in range(12)]
    report = made_up(texts, means)
    names = ablation_curves.swept_numbers(report)
    assert names == ["projection.perceptual_weight", "projection.num_steps"]
    found = ablation_curves.lines(report, names[0])
    assert list(found)[:2] == ["num_steps=2, mass=ink", "num_steps=2, mass=intensity"]
    assert [len(rows) for rows in found.values()] == [3] * 4
    figure = ablation_curves.draw(report)
    assert len(figure.axes) == 2 * len(SCORED)
    first = figure.axes[0]
    line = first.get_lines()[0]
    assert line.get_xdata().tolist() == [0, 0.01, 1]
    assert line.get_ydata().tolist() == [4, 8, 0]
    assert first.get_xscale() == "symlog"
    assert [x.get_text() for x in first.get_xticklabels()] == ["0", "0.01", "1"]
    assert figure.axes[-1].get_xscale() == "linear"
    # 0 stands apart from what is above it, and the decades are even.
    at = first.transData.transform([(x, 0) for x in (0, 0.01, 0.1, 1)])[:, 0]
    steps = np.diff(at)
    assert steps[0] > 0 and steps[1] == pytest.approx(steps[2], rel=0.01)


@pytest.mark.parametrize(
    ("values", "scale"),
    [("0.1,1,10", "log"), ("0.1,0.2", "linear"), ("-1,0.1,10", "linear")],
)
def test_decades_are_drawn_on_a_logarithmic_axis(values, scale):
    count = values.count(",") + 1
    report = made_up([f"projection.photo_weight={values}"], [1.0] * count)
    assert ablation_curves.draw(report).axes[0].get_xscale() == scale


def test_without_a_number_there_are_no_curves():
    report = made_up(
        ["projection.mass=ink,intensity", "projection.momentum=0"], [1.0, 2.0]
    )
    assert ablation_curves.draw(report) is None


def test_the_document_of_results_holds_ablations(output, tmp_path):
    document = tmp_path / "docs" / "results.md"
    results.write_document([output / "ablation.json"], document)
    text = document.read_text()
    assert (
        "## Ablation of the search by perceptual_weight, mass: random, 3 validation examples"
        in text
    )
    assert "](figures/results_lambda_generated.png)" in text
    assert "What the scores are" not in text
    names = sorted(path.name for path in (tmp_path / "docs" / "figures").iterdir())
    assert names == ["results_lambda_curves.png", "results_lambda_generated.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is damaged"), ('{"format_version": 9}', "has format version 9, this")],
)
def test_a_file_of_another_kind_is_named(tmp_path, text, message):
    path = tmp_path / "ablation.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        results.write_document([path], tmp_path / "results.md")
    assert str(path) in str(caught.value)


def test_scores_that_are_not_defined_are_told_as_such():
    report = made_up(["projection.momentum=0,1"], [1.0, 2.0])
    none = results.to_json(intervals.Estimate(math.nan, math.nan, math.nan, 0))
    report["rows"][1]["scores"]["sketch_kl"] = none
    assert "| `1` | – | 2.0000" in ablation_report.markdown(report, {})
    curve = ablation_curves.draw(report).axes[0].get_lines()[0].get_ydata()
    np.testing.assert_array_equal(np.isnan(curve), [False, True])


# ----------------------------------------------------------------------- command


run = functools.partial(run_command, "ablate")


def test_the_command_prints_the_table(data, tmp_path):
    save_random_model(tmp_path / "model")
    result = run(
        tmp_path,
        "--model=model",
        f"--data={data}",
        "--num_examples=2",
        "--config=tiny",
        "--config.projection.num_candidates=1",
        "--preset=paper",
        "--num_starts=8",
        "--steps=1",
        "--sweep=projection.perceptual_weight=0",
        "--sweep=projection.direction=y||G,G||y",
    )
    assert result.returncode == 0, result.stderr
    assert "| `0` | `G\\|\\|y` |" in result.stdout
    search = read_report(tmp_path / "out")["settings"]["search"]
    assert (search["num_candidates"], search["num_starts"]) == (1, 8)  # config, flag
    assert search["mass"] == "intensity"  # preset


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "error: --data is missing"),
        (["--data=nowhere"], "error: nowhere does not exist"),
        (
            ["--data=nowhere", "--sweep=projection.mass=inc"],
            "error: --sweep: with momentum=0, mass=inc, mass is 'inc': choose one of ink",
        ),
        (["--train"], "error: --config is missing"),
        (["--train", "--config=tiny", "--seed=1"], "error: --seed: of searches"),
    ],
)
def test_the_command_explains_what_is_missing(tmp_path, flags, message):
    result = run(tmp_path, "--sweep=projection.momentum=0", *flags)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
