"""Ablations of the training: a run for each setting, resumed, recognised, compared."""

import csv
import json

import numpy as np
import pytest
from tiny_archives import encode
from tiny_models import ARGUMENTS

from cgan_jax import ablation_report, finite, plots, train, train_ablation
from cgan_jax.configs import tiny

pytestmark = pytest.mark.usefixtures("compiled_once")
SWEEPS = ["seed=0,1", "train.stroke_noise=0"]
NAMES = ["seed=0,stroke_noise=0", "seed=1,stroke_noise=0"]


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """The tiny experiment, tinier still, on a few pictures of noise."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("validation", 2)):
        (folder / split).mkdir()
        for i in range(count):
            picture = (
                rng.integers(0, 256, (4, 4, 3), np.uint8).repeat(8, 0).repeat(8, 1)
            )
            (folder / split / f"{i}.png").write_bytes(encode(picture))
    config = tiny.get_config()
    config.model.update(ARGUMENTS)
    config.data.source = str(folder)
    config.data.cache_dir = str(tmp_path_factory.mktemp("pairs"))
    config.train.batch_size, config.train.num_epochs = 4, 2.0
    config.report.log_every_steps = config.report.checkpoint_every_steps = 2
    config.report.validate_every_steps = 2
    config.report.num_validation, config.report.num_samples = 2, 2
    config.report.validation_starts, config.report.validation_steps = 4, 1
    return config


@pytest.fixture(scope="module")
def output(config, tmp_path_factory):
    output = tmp_path_factory.mktemp("out") / "recipes"
    train_ablation.ablate(config, "tiny", SWEEPS, output)
    return output


def read_report(output):
    return json.loads((output / "ablation.json").read_text())


def files(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


def test_every_setting_has_its_run_and_its_row(output):
    assert sorted(path.name for path in (output / "runs").iterdir()) == NAMES
    assert sorted(files(output)) == [
        "ablation.csv",
        "ablation.json",
        "ablation.md",
        "curves.png",
    ]
    report = read_report(output)
    assert report["kind"] == ablation_report.RUNS
    assert report["settings"]["fields"]["train.batch_size"] == 4
    assert [row["run"] for row in report["rows"]] == NAMES
    for row in report["rows"]:
        metrics = plots.read_curves(output / "runs" / row["run"])
        assert row["summary"]["steps"] == 4
        steps, ssim = metrics["validation_ssim"]
        assert steps.tolist() == [2, 4]
        assert row["summary"]["last_ssim"] == ssim[-1]
        assert row["summary"]["best_ssim"] == ssim.max()
        assert row["summary"]["best_step"] == steps[ssim.argmax()]
    first, second = (row["summary"]["last_kl"] for row in report["rows"])
    assert first != second  # the setting reached the run
    with (output / "ablation.csv").open(newline="") as file:
        assert [r["seed"] for r in csv.DictReader(file)] == ["0", "1"]
    assert "| `1` | `0` | 4 |" in (output / "ablation.md").read_text()


def test_finished_runs_are_recognised(config, output, monkeypatch):
    before = files(output)
    monkeypatch.setattr(train, "train", None)
    train_ablation.ablate(config, "tiny", SWEEPS, output)
    assert files(output) == before


def test_a_run_that_was_cut_off_goes_on(config, tmp_path, monkeypatch):
    trained = []

    def until_killed(config, workdir, *, num_devices):
        trained.append(workdir.name)
        workdir.mkdir(parents=True, exist_ok=True)
        (workdir / "metrics.jsonl").write_text('{"step": 4, "disc_loss": 1.0}\n')
        if len(trained) == 2:
            raise train.Terminated("SIGTERM")

    monkeypatch.setattr(train, "train", until_killed)
    with pytest.raises(train.Terminated):
        train_ablation.ablate(config, "tiny", SWEEPS, tmp_path)
    assert not (tmp_path / "ablation.json").exists()
    report = train_ablation.ablate(config, "tiny", SWEEPS, tmp_path)
    assert trained == [*NAMES, NAMES[1]]
    # Nothing was completed on the way.
    assert report["rows"][0]["summary"]["best_ssim"] is None
    assert "| `0` | `0` | 4 | – |" in (tmp_path / "ablation.md").read_text()


def test_a_run_that_diverges_is_noted_and_the_others_go_on(
    config, tmp_path, monkeypatch
):
    def diverge(config, workdir, *, num_devices):
        workdir.mkdir(parents=True)
        (workdir / "metrics.jsonl").write_text('{"step": 2, "disc_loss": 1.0}\n')
        if config.train.stroke_noise:
            raise finite.NonFiniteError("disc_loss is nan at step 3")

    monkeypatch.setattr(train, "train", diverge)
    sweeps = ["train.stroke_noise=0.5,0"]
    report = train_ablation.ablate(config, "tiny", sweeps, tmp_path)
    assert [row["failed"] for row in report["rows"]] == [
        "disc_loss is nan at step 3",
        "",
    ]
    text = (tmp_path / "ablation.md").read_text()
    assert "Note: stroke_noise=0.5: disc_loss is nan at step 3" in text


def test_a_run_that_cannot_be_trained_is_named(config, tmp_path):
    sweeps = ["train.batch_size=4000"]
    with pytest.raises(ValueError, match="^batch_size=4000: "):
        train_ablation.ablate(config, "tiny", sweeps, tmp_path)


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        (
            "train.gen_updates=1,0",
            "--sweep: with gen_updates=0, config.train.gen_updates",
        ),
        ("model.height=16,17", "--sweep: with height=17, image height must be 8"),
        ("projection.mass=inc", "--sweep: with mass=inc, "),
        (
            "train.batchsize=1",
            "no field 'train.batchsize', did you mean 'train.batch_s",
        ),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_before_the_first_run(
    config, tmp_path, sweep, message
):
    with pytest.raises(ValueError, match=message):
        train_ablation.ablate(config, "tiny", [sweep], tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_closeness_may_be_a_word_in_some_runs(config, tmp_path):
    runs = train_ablation.make_runs(config, ["projection.closeness=auto,0.5"], tmp_path)
    assert [run.label for run in runs] == ["closeness=auto", "closeness=0.5"]
    assert [run.config.projection.closeness for run in runs] == ["auto", 0.5]


def test_a_folder_of_other_runs_is_left_alone(config, output):
    other = config.copy_and_resolve_references()
    other.train.learning_rate = 0.5
    before = files(output)
    with pytest.raises(ValueError, match=r"another train\.learning_rate: .*--output"):
        train_ablation.ablate(other, "tiny", SWEEPS, output)
    assert files(output) == before


def test_labels_become_names_of_folders_each_its_own():
    labels = ["style=xdog,fdog", "source=/a/b", "source=/a_b", "x=" + "y" * 300]
    names = [train_ablation._folder_name(label) for label in labels]
    assert names[0] == labels[0]
    assert len(set(names)) == 4
    assert not any("/" in name or len(name) > 140 for name in names)


def test_a_swept_style_has_the_learning_rate_of_that_style(config, tmp_path):
    runs = train_ablation.make_runs(config, ["data.style=xdog,fdog"], tmp_path)
    assert [run.config.train.learning_rate for run in runs] == [2e-4, 1e-5]
