"""The training loop, end to end: trains, saves, is interrupted, resumes, completes."""

import itertools
import json
import re
import shutil
import time
import types
import zipfile

import chex
import jax
import numpy as np
import pytest
from PIL import Image, ImageDraw
from tiny_models import ARGUMENTS, CONFIGS, save_random_model

from cgan_jax import (
    answers,
    checkpoints,
    complete,
    images,
    model_files,
    publish,
    validation,
)
from cgan_jax.configs import tiny
from cgan_jax.dataset import open_pairs, prepare_pairs
from cgan_jax.finite import NonFiniteError
from cgan_jax.launch import complete as command
from cgan_jax.model_files import ModelError
from cgan_jax.train import train
from cgan_jax.workdir import (
    ConfigChangedError,
    WorkdirInUseError,
    changed_fields,
    held,
)

NUM_PICTURES = 12
STEPS_PER_EPOCH = 3


# Most runs here differ in their data alone.
pytestmark = pytest.mark.usefixtures("compiled_once")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photographs of coloured discs."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "train").mkdir()
    rng = np.random.default_rng(0)
    for i in range(NUM_PICTURES):
        paper, colour = (tuple(rng.integers(0, 256, 3).tolist()) for _ in range(2))
        image = Image.new("RGB", (40, 32), paper)
        left, top = rng.integers(4, 16, 2).tolist()
        ImageDraw.Draw(image).ellipse([left, top, left + 14, top + 14], fill=colour)
        image.save(folder / "train" / f"disc_{i}.png")
    return folder


@pytest.fixture(scope="module")
def archive(folder):
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as file:
        for photo in folder.rglob("*.png"):
            file.write(photo, photo.relative_to(folder))
    return path


@pytest.fixture(scope="module")
def make_config(folder, tmp_path_factory):
    """The tiny experiment, tinier still, on the discs."""
    cache_dir = tmp_path_factory.mktemp("pairs")

    def make(epochs, source=folder, cache_dir=cache_dir, layout="halves", **report):
        config = tiny.get_config(CONFIGS[layout]["style"])
        config.model.update(ARGUMENTS | {"layout": layout})
        config.train.learning_rate = 2e-4
        config.data.source, config.data.cache_dir = str(source), str(cache_dir)
        config.train.batch_size, config.train.num_epochs = 4, epochs
        config.report.log_every_steps = 1
        config.report.checkpoint_every_steps = 2
        config.report.sample_every_steps = 3
        config.report.num_samples = 5
        config.report.update(report)
        return config

    return make


@pytest.fixture(scope="module")
def whole(make_config, tmp_path_factory):
    """Six steps at once: the workdir and the last state."""
    workdir = tmp_path_factory.mktemp("runs") / "new" / "whole"
    return workdir, jax.device_get(train(make_config(2), workdir))


@pytest.fixture(scope="module")
def half(make_config, tmp_path_factory):
    """The first three steps alone."""
    workdir = tmp_path_factory.mktemp("runs") / "half"
    return workdir, jax.device_get(train(make_config(1), workdir))


def read_metrics(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def without_rate(metrics):
    return [
        {
            name: x
            for name, x in line.items()
            if name not in ("images_per_second", "input_wait_seconds")
        }
        for line in metrics
    ]


def steps_saved(workdir):
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())


def snapshot_of_files(workdir):
    return {
        path.relative_to(workdir): path.read_bytes()
        for path in workdir.rglob("*")
        if path.is_file()
    }


def test_training_moves_every_parameter_and_counts_its_steps(whole, half):
    (_, at_six), (_, at_three) = whole, half
    assert (at_six.step, at_three.step) == (6, 3)
    chex.assert_tree_all_finite(at_six)
    for tree in ("params", "batch_stats", "ema_params"):
        pairs = zip(
            *(jax.tree.leaves(getattr(s, tree)) for s in (at_six, at_three)),
            strict=True,
        )
        assert all(not np.array_equal(a, b) for a, b in pairs)


def test_metrics_of_each_step_are_numbers_of_the_whole_batch(whole):
    metrics = read_metrics(whole[0])
    assert [line["step"] for line in metrics] == [1, 2, 3, 4, 5, 6]
    for line in metrics:
        assert set(line) >= {"gen_loss", "disc_loss", "images_per_second"}
        assert all(np.isfinite(x) for x in line.values())
        assert line["images_per_second"] > 0
        assert 0 <= line["input_wait_seconds"] < 4 / line["images_per_second"]


def test_checkpoints_are_written_on_time_and_at_the_end(whole, half):
    assert steps_saved(whole[0]) == [2, 4, 6]
    assert steps_saved(half[0]) == [2, 3]


def test_sample_sheets_are_written_on_time(whole):
    names = sorted(path.name for path in (whole[0] / "samples").iterdir())
    assert names == ["step_000003.png", "step_000006.png"]
    sheets = []
    for name in names:
        with Image.open(whole[0] / "samples" / name) as image:
            sheets.append(np.asarray(image))
    # Five pairs in rows of four, twice as large as the model's.
    assert sheets[0].shape == (2 * (32 + 4) + 4, 4 * (64 + 4) + 4, 3)
    assert not np.array_equal(*sheets)


def test_the_workdir_tells_its_configuration(whole, make_config):
    config = json.loads((whole[0] / "config.json").read_text())
    assert config == json.loads(json.dumps(make_config(2).to_dict()))  # tuples: lists


def test_a_resumed_run_equals_an_uninterrupted_one(whole, half, make_config, tmp_path):
    workdir = shutil.copytree(half[0], tmp_path / "resumed")
    state = train(make_config(2), workdir)
    chex.assert_trees_all_equal(jax.device_get(state), whole[1])
    metrics = read_metrics(workdir)
    assert without_rate(metrics) == without_rate(read_metrics(whole[0]))


def test_steps_after_the_newest_checkpoint_are_done_again_and_counted_once(
    whole, half, make_config, tmp_path
):
    """As after a kill: three steps are in the metrics, two in the checkpoint."""
    workdir = shutil.copytree(half[0], tmp_path / "killed")
    shutil.rmtree(workdir / "checkpoints" / "3")
    with (workdir / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "gen_lo')
    state = train(make_config(2), workdir)
    chex.assert_trees_all_equal(jax.device_get(state), whole[1])
    metrics = read_metrics(workdir)
    assert without_rate(metrics) == without_rate(read_metrics(whole[0]))


def test_a_finished_run_started_again_changes_nothing_and_says_where_it_is(
    half, make_config, tmp_path, caplog
):
    workdir = shutil.copytree(half[0], tmp_path / "finished")
    before = snapshot_of_files(workdir)
    with caplog.at_level("INFO", logger="absl"):
        state = train(make_config(1), workdir)
    chex.assert_trees_all_equal(jax.device_get(state), half[1])
    assert snapshot_of_files(workdir) == before
    assert "resumed at step 3" in caplog.text


def test_an_archive_trains_as_its_folder_does(half, make_config, archive, tmp_path):
    config = make_config(1, source=archive, cache_dir=tmp_path / "cache")
    state = train(config, tmp_path / "run")
    chex.assert_trees_all_equal(jax.device_get(state), half[1])


def test_a_prepared_data_set_trains_as_its_folder_does(
    half, make_config, folder, tmp_path
):
    prepare_pairs(str(folder), tmp_path / "prepared", size=16)
    config = make_config(1, source=tmp_path / "prepared", cache_dir=tmp_path / "none")
    state = train(config, tmp_path / "run")
    chex.assert_trees_all_equal(jax.device_get(state), half[1])
    assert not (tmp_path / "none").exists()


def test_styles_may_be_mixed(half, make_config, tmp_path):
    config = make_config(1)
    config.data.style = "xdog,xdog_solid"
    train(config, tmp_path / "run")
    first, other = (read_metrics(path)[0] for path in (half[0], tmp_path / "run"))
    assert first["disc_loss"] != other["disc_loss"]


@pytest.fixture(scope="module")
def make_planes(make_config, with_held_out):
    """Three styles as planes, with random offsets, and held-out sketches."""

    def make(epochs, **report):
        config = make_config(
            epochs,
            source=with_held_out,
            layout="planes",
            validate_every_steps=3,
            validation_inner_steps=2,
            **report,
        )
        config.train.inner_noise = 0.2
        return config

    return make


@pytest.fixture(scope="module")
def planes_half(make_planes, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "planes"
    return workdir, jax.device_get(train(make_planes(1), workdir))


def test_several_styles_as_planes_are_resumed_exactly(
    planes_half, make_planes, tmp_path
):
    half, at_three = planes_half
    whole = jax.device_get(train(make_planes(2), tmp_path / "whole"))
    resumed = train(make_planes(2), shutil.copytree(half, tmp_path / "resumed"))
    chex.assert_trees_all_equal(jax.device_get(resumed), whole)
    assert (at_three.step, whole.step) == (3, 6)
    lines = [read_metrics(tmp_path / name) for name in ("whole", "resumed")]
    assert without_rate(lines[0]) == without_rate(lines[1])
    for step in (3, 6):
        assert -1 <= lines[0][step - 1]["validation_ssim"] <= 1
        name = f"step_00000{step}.png"
        with Image.open(tmp_path / "whole" / "samples" / name) as image:
            assert image.size == (4 * (4 * 32 + 4) + 4, 2 * (32 + 4) + 4)
        with Image.open(tmp_path / "whole" / "validation" / name) as image:
            assert image.size == (6 * (32 + 4) + 4, 16 + 2 * (32 + 4) + 4)


def test_planes_are_trained_by_four_devices_as_by_one(
    planes_half, make_planes, tmp_path
):
    train(make_planes(1), tmp_path / "run", num_devices=4)
    one, four = (read_metrics(path) for path in (planes_half[0], tmp_path / "run"))
    for name in ("gen_loss", "disc_loss", "gen_grad_norm", "disc_grad_norm"):
        np.testing.assert_allclose(four[0][name], one[0][name], rtol=1e-4)
        np.testing.assert_allclose(four[2][name], one[2][name], rtol=0.2)


def test_planes_are_published_with_their_styles(planes_half, tmp_path):
    workdir, state = planes_half
    model = publish.publish(workdir, tmp_path / "model", "best")
    assert model.joint.names == ("xdog", "fdog", "photocopy", "photo")
    assert model.config["training"]["inner_noise"] == 0.2
    exact = complete.load_model(str(workdir))
    chex.assert_trees_all_equal(exact.variables.gen["params"], state.ema_params)


def test_a_run_of_before_there_were_layouts_goes_on(whole, half, make_config, tmp_path):
    """Its checkpoints and its config.json know nothing of them."""
    workdir = shutil.copytree(half[0], tmp_path / "older")
    manager = checkpoints.open_reader(workdir)
    snapshot = checkpoints.restore_newest(manager, half[1])
    manager.close()
    shutil.rmtree(workdir / "checkpoints")
    added = {"model": ["layout", "kernel_size"], "train": ["inner_noise"]}
    added["train"].append("inner_layers")
    older = {
        name: {k: x for k, x in value.items() if k not in added.get(name, ())}
        if isinstance(value, dict)
        else value
        for name, value in snapshot.config.items()
    }
    manager = checkpoints.open_manager(workdir, keep=3)
    checkpoints.save(manager, snapshot._replace(config=older), {})
    checkpoints.finish(manager)
    (workdir / "config.json").write_text(json.dumps(older))
    assert complete.load_model(str(workdir)).joint.sketches == ("xdog",)
    state = train(make_config(2), workdir)
    chex.assert_trees_all_equal(jax.device_get(state), whole[1])
    changed = make_config(2)
    changed.train.inner_noise = 0.5
    with pytest.raises(ConfigChangedError, match="inner_noise was 0.0, is 0.5"):
        train(changed, workdir)


def test_another_seed_is_another_run(half, make_config, tmp_path):
    config = make_config(1)
    config.seed = 1
    train(config, tmp_path / "run")
    first, other = (read_metrics(path)[0] for path in (half[0], tmp_path / "run"))
    assert first["gen_loss"] != other["gen_loss"]


def test_two_devices_share_each_batch(half, make_config, tmp_path):
    state = jax.device_get(train(make_config(1), tmp_path / "run", num_devices=2))
    assert state.step == 3
    chex.assert_tree_all_finite(state)
    # The losses of the global batch, whichever way it was divided. Later steps drift
    # apart: Adam turns the rounding of small gradients into steps of full length.
    one, two = (read_metrics(path) for path in (half[0], tmp_path / "run"))
    for name in ("gen_loss", "disc_loss", "gen_grad_norm", "disc_grad_norm"):
        np.testing.assert_allclose(two[0][name], one[0][name], rtol=1e-4)
        np.testing.assert_allclose(two[2][name], one[2][name], rtol=0.2)


def test_a_run_may_go_on_with_another_number_of_devices(
    whole, half, make_config, tmp_path
):
    workdir = shutil.copytree(half[0], tmp_path / "resumed")
    state = train(make_config(2), workdir, num_devices=2)
    assert int(state.step) == 6
    one, two = (read_metrics(path) for path in (whole[0], workdir))
    np.testing.assert_allclose(two[3]["gen_loss"], one[3]["gen_loss"], rtol=1e-4)


@pytest.mark.parametrize(
    ("num_devices", "message"),
    [(3, "config.train.batch_size or --num_devices"), (5, "--num_devices=5.*has 4")],
)
def test_devices_that_cannot_share_a_batch_are_refused(
    make_config, tmp_path, num_devices, message
):
    with pytest.raises(ValueError, match=message):
        train(make_config(1), tmp_path, num_devices=num_devices)


def test_fewer_pictures_than_one_batch_names_the_field(make_config, tmp_path):
    config = make_config(1)
    config.train.batch_size = NUM_PICTURES + 1
    message = r"12 pictures to train on, fewer than one batch of 13.*config\.train\.batch_size"
    with pytest.raises(ValueError, match=message):
        train(config, tmp_path)


def test_a_missing_source_is_named(make_config, tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{tmp_path / 'none'} does not exist"):
        train(make_config(1, source=tmp_path / "none"), tmp_path / "run")


def test_a_new_run_may_start_from_a_published_model(make_config, tmp_path):
    save_random_model(tmp_path / "model")
    published = model_files.load(tmp_path / "model").variables
    init_from = str(tmp_path / "model")
    start = jax.device_get(train(make_config(0), tmp_path / "a", init_from=init_from))
    assert start.step == 0
    for tree in (start.params.gen, start.ema_params):
        chex.assert_trees_all_equal(tree, published.gen["params"])
    chex.assert_trees_all_equal(start.params.disc, published.disc["params"])
    chex.assert_trees_all_equal(start.batch_stats.gen, published.gen["batch_stats"])
    chex.assert_trees_all_equal(start.batch_stats.disc, published.disc["batch_stats"])

    trained = jax.device_get(train(make_config(1), tmp_path / "b", init_from=init_from))
    assert trained.step == 3
    changes = jax.tree.map(
        lambda a, b: np.abs(a - b).max(), trained.params, start.params
    )
    # Adam moves a parameter by about the learning rate a step, 2e-4.
    assert 0 < max(jax.tree.leaves(changes)) < 10 * 3 * 2e-4


@pytest.mark.parametrize(
    "field", ["base_filters", "z_dim", "height", "layout", "kernel_size"]
)
def test_a_model_of_another_shape_is_no_start(make_config, tmp_path, field):
    save_random_model(tmp_path / "model")
    config = make_config(1)
    if field == "layout":
        config.model.layout = "planes"
    else:
        config.model[field] *= 2
    with pytest.raises(
        ValueError, match=f"--init_from.* {field} .*config.model.{field}"
    ):
        train(config, tmp_path / "run", init_from=str(tmp_path / "model"))


def test_a_model_of_more_sketches_is_no_start_but_one_of_others_is(
    make_config, tmp_path
):
    save_random_model(tmp_path / "model", 0, "planes")
    init_from = str(tmp_path / "model")
    config = make_config(0, layout="planes")
    config.data.style = "xdog,fdog"
    message = "has the sketches xdog, fdog, photocopy, but config.data.style is xdog,fd"
    with pytest.raises(ValueError, match=message):
        train(config, tmp_path / "run", init_from=init_from)
    config.data.style = "fdog,xdog,xdog_solid"
    assert train(config, tmp_path / "run", init_from=init_from).step == 0


def test_a_resumed_run_keeps_its_own_weights(half, make_config, tmp_path):
    workdir = shutil.copytree(half[0], tmp_path / "resumed")
    save_random_model(tmp_path / "model")
    state = train(make_config(1), workdir, init_from=str(tmp_path / "model"))
    chex.assert_trees_all_equal(jax.device_get(state), half[1])


def test_a_second_run_on_a_workdir_in_use_is_refused(half, make_config, tmp_path):
    workdir = shutil.copytree(half[0], tmp_path / "run")
    before = snapshot_of_files(workdir)
    with held(workdir), pytest.raises(WorkdirInUseError, match=f"{workdir} is in use"):
        train(make_config(2), workdir)
    assert snapshot_of_files(workdir) == before
    assert train(make_config(1), workdir).step == 3


def test_a_changed_config_is_refused_unless_allowed(half, make_config, tmp_path):
    workdir = shutil.copytree(half[0], tmp_path / "run")
    before = snapshot_of_files(workdir)
    config = make_config(2)
    config.train.learning_rate, config.seed = 1e-3, 1
    message = "seed was 0, is 1; train.learning_rate was 0.0002, is 0.001"
    with pytest.raises(ConfigChangedError, match=message):
        train(config, workdir)
    assert snapshot_of_files(workdir) == before
    assert train(config, workdir, allow_config_change=True).step == 6
    written = json.loads((workdir / "config.json").read_text())
    assert written["train"]["learning_rate"] == 1e-3
    train(config, workdir)  # its newest checkpoint knows the change
    with pytest.raises(ConfigChangedError, match="seed was 1, is 0"):
        train(make_config(2), workdir)


def test_changed_pictures_are_refused(half, folder, make_config, tmp_path):
    workdir = shutil.copytree(half[0], tmp_path / "run")
    config = make_config(2)
    other = shutil.copytree(folder, tmp_path / "photos") / "train" / "disc_0.png"
    Image.new("RGB", (40, 32), "red").save(other)
    prepare_pairs(str(tmp_path / "photos"), tmp_path / "prepared", size=16)
    config.data.source = str(tmp_path / "prepared")
    with pytest.raises(ConfigChangedError, match="data.source was .*; pictures was"):
        train(config, workdir)


def test_reports_may_change_when_a_run_goes_on(whole, half, make_config, tmp_path):
    workdir = shutil.copytree(half[0], tmp_path / "run")
    every = {"checkpoint_every_steps": 5, "sample_every_steps": 9, "num_samples": 4}
    state = train(make_config(2, log_every_steps=2, **every), workdir)
    chex.assert_trees_all_equal(jax.device_get(state), whole[1])
    assert [line["step"] for line in read_metrics(workdir)] == [1, 2, 3, 4, 6]
    assert steps_saved(workdir) == [3, 5, 6]


def test_checkpoints_by_the_clock_are_written_with_the_log(
    half, make_config, tmp_path, monkeypatch
):
    times = itertools.count(0.0, 25.0)  # half a minute at each look, and more
    clock = types.SimpleNamespace(
        monotonic=lambda: next(times), perf_counter=time.perf_counter
    )
    monkeypatch.setattr("cgan_jax.train.time", clock)  # of the loop, not of all threads
    config = make_config(3, checkpoint_every_steps=100, checkpoint_every_minutes=0.8)
    state = train(config, tmp_path / "run")
    assert state.step == 9
    # Looked at after 25 s and 50 s of each interval, which begins with a save: of
    # 2, 4, 6, 8 and the last step three are kept.
    assert steps_saved(tmp_path / "run") == [6, 8, 9]


def test_a_run_stops_at_the_first_step_that_is_not_finite(make_config, tmp_path):
    config = make_config(4, log_every_steps=4, checkpoint_every_steps=2)
    train(make_config(1), tmp_path)
    config.train.learning_rate = 1e38
    with pytest.raises(NonFiniteError) as caught:
        train(config, tmp_path, allow_config_change=True)
    message = str(caught.value)
    assert "step 4 is not finite: " in message
    assert re.search(r"the first bad tensor is params\.(disc|gen)\.", message)
    assert "checkpoint, of step 3, is finite and kept" in message
    assert steps_saved(tmp_path) == [2, 3]
    resumed = train(make_config(1), tmp_path)
    chex.assert_tree_all_finite(jax.device_get(resumed))


@pytest.fixture(scope="module")
def with_held_out(folder, tmp_path_factory):
    """The discs, and two more that are held out."""
    photos = shutil.copytree(folder, tmp_path_factory.mktemp("more") / "photos")
    (photos / "validation").mkdir()
    for i in range(2):
        shutil.copy(
            photos / "train" / f"disc_{i}.png", photos / "validation" / f"held_{i}.png"
        )
    return photos


def test_held_out_sketches_are_completed_and_the_best_checkpoint_stays(
    make_config, with_held_out, tmp_path, monkeypatch
):
    real, found_ssim = validation.complete, iter([0.1, 0.3, 0.2, -0.1, 0.0])

    def complete(*args, **kwargs):
        found = real(*args, **kwargs)
        assert np.isfinite(list(found.scores.values())).all()
        scores = found.scores | {"validation_ssim": next(found_ssim)}
        return found._replace(scores=scores)

    monkeypatch.setattr(validation, "complete", complete)
    config = make_config(
        3,
        source=with_held_out,
        validate_every_steps=2,
        checkpoint_every_steps=3,
        checkpoints_kept=1,
        log_every_steps=3,
    )
    train(config, tmp_path)
    lines = {line["step"]: line for line in read_metrics(tmp_path)}
    assert list(lines) == [2, 3, 4, 6, 8, 9]
    ssim = {step: line.get("validation_ssim") for step, line in lines.items()}
    assert ssim == {2: 0.1, 3: None, 4: 0.3, 6: 0.2, 8: -0.1, 9: 0.0}
    assert all(lines[step]["validation_kl"] >= 0 for step in (2, 4, 6, 8))
    assert steps_saved(tmp_path) == [4, 9]
    names = sorted(path.name for path in (tmp_path / "validation").iterdir())
    assert names == [f"step_00000{step}.png" for step in (2, 4, 6, 8, 9)]


@pytest.fixture(scope="module")
def make_conditional(make_config, with_held_out):
    """The same experiment by the conditional GAN."""

    def make(epochs, layout="halves", **report):
        more = {"source": with_held_out, "validate_every_steps": 3} | report
        config = make_config(epochs, layout=layout, **more)
        config.kind, config.model.base_filters = "conditional", 2
        return config

    return make


@pytest.fixture(scope="module")
def conditional_half(make_conditional, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "conditional"
    return workdir, jax.device_get(train(make_conditional(1), workdir))


def test_the_conditional_gan_is_trained_by_the_same_loop(
    conditional_half, make_conditional, tmp_path
):
    half, at_three = conditional_half
    whole = jax.device_get(train(make_conditional(2), tmp_path / "whole"))
    resumed = train(make_conditional(2), shutil.copytree(half, tmp_path / "resumed"))
    chex.assert_trees_all_equal(jax.device_get(resumed), whole)
    assert (at_three.step, whole.step) == (3, 6)
    lines = [read_metrics(tmp_path / name) for name in ("whole", "resumed")]
    assert without_rate(lines[0]) == without_rate(lines[1])
    assert all(line["gen_l1"] > 0 for line in lines[0])
    for step in (3, 6):
        scores = lines[0][step - 1]
        assert -1 <= scores["validation_ssim"] <= 1 and 0 < scores["validation_l1"] < 2
        with Image.open(
            tmp_path / "whole" / "samples" / f"step_00000{step}.png"
        ) as image:
            assert image.size == (2 * (64 + 4) + 4, 32 + 8)  # the two held-out sketches
        with Image.open(
            tmp_path / "whole" / "validation" / f"step_00000{step}.png"
        ) as image:
            assert image.size == (3 * (32 + 4) + 4, 16 + 2 * (32 + 4) + 4)


def test_the_conditional_gan_draws_from_one_sketch_in_any_of_the_styles(
    make_conditional, tmp_path
):
    config = make_conditional(1, layout="planes")
    state = jax.device_get(train(config, tmp_path / "run"))
    chex.assert_tree_all_finite(state)
    (line,) = (x for x in read_metrics(tmp_path / "run") if x["step"] == 3)
    assert -1 <= line["validation_ssim"] <= 1 and 0 < line["validation_l1"] < 2
    model = publish.publish(tmp_path / "run", tmp_path / "pix")
    assert model.joint.names == ("sketch", "photo")
    assert model.models.gen.input_shape == (16, 16, 1)
    assert model.config["style"] == "xdog,fdog,photocopy"


def test_the_validation_of_the_conditional_gan_is_its_published_answer(
    conditional_half, with_held_out, tmp_path
):
    workdir, state = conditional_half
    model = publish.publish(workdir, tmp_path / "pix", "best")
    assert model.config["kind"] == "conditional" and model.config["steps"] == 3
    card = (tmp_path / "pix" / "MODEL_CARD.md").read_text()
    assert "in the manner of pix2pix" in card and "L1 weighs 100" in card
    loaded = complete.load_conditional(str(tmp_path / "pix"))
    unrounded = complete.load_conditional(str(workdir))
    chex.assert_trees_all_equal(unrounded.variables.gen["params"], state.ema_params)
    chex.assert_trees_all_equal(
        unrounded.variables.gen["batch_stats"], state.batch_stats.gen
    )
    folder = tmp_path / "prepared"
    prepare_pairs(str(with_held_out), folder, size=16)
    pairs = open_pairs(folder, "validation")
    task = answers.read_task(pairs, np.arange(2), "xdog")
    first, again, exact = (
        answers.conditional_answers(m, task).pictures
        for m in (model, loaded, unrounded)
    )
    np.testing.assert_array_equal(first, again)
    found = model.joint.stack({"photo": images.from_uint8(exact[:, 0])})
    true = validation.choose(pairs, model.joint, 2)
    ssim = validation.photo_ssim(found, true, model.joint)
    (line,) = (line for line in read_metrics(workdir) if line["step"] == 3)
    np.testing.assert_allclose(line["validation_ssim"], ssim, atol=0.02)
    with pytest.raises(ModelError, match="holds a conditional GAN"):
        complete.load_model(str(workdir))


def test_a_conditional_run_may_start_from_a_published_model(
    conditional_half, make_conditional, tmp_path
):
    model = publish.publish(conditional_half[0], tmp_path / "pix")
    init_from = str(tmp_path / "pix")
    start = train(make_conditional(0), tmp_path / "a", init_from=init_from)
    chex.assert_trees_all_equal(
        jax.device_get(start.ema_params), model.variables.gen["params"]
    )
    larger = make_conditional(0)
    larger.model.base_filters = 4
    message = "--init_from=.* has base_filters 2, but config.model.base_filters is 4"
    with pytest.raises(ValueError, match=message):
        train(larger, tmp_path / "b", init_from=init_from)
    save_random_model(tmp_path / "joint")
    with pytest.raises(ModelError, match="holds a contextual GAN"):
        train(make_conditional(0), tmp_path / "b", init_from=str(tmp_path / "joint"))


def test_a_run_goes_on_with_its_own_kind(conditional_half, make_config, tmp_path):
    workdir = shutil.copytree(conditional_half[0], tmp_path / "run")
    with pytest.raises(ConfigChangedError, match="kind was 'conditional', is 'contex"):
        train(make_config(2), workdir)
    older = {"seed": 0}  # of before there were kinds
    assert not changed_fields(older, older | {"kind": "contextual"})
    assert changed_fields(older, older | {"kind": "conditional"})


@pytest.mark.parametrize(
    ("section", "field", "value", "message"),
    [
        (None, "kind", "other", "config.kind is 'other': choose contextual or cond"),
        ("model", "disc_norm", "spectral", "conditional GAN has 'batch' alone"),
        ("model", "kernel_size", 4, "config.model.kernel_size is 4: a cond.* 5 alone"),
        ("train", "gen_updates", 2, "config.train.gen_updates is 2: a cond.* 1 alone"),
        ("train", "inner_noise", 0.1, "train.inner_noise is 0.1: a cond.* 0.0 alone"),
    ],
)
def test_what_no_kind_can_do_is_refused(
    make_conditional, tmp_path, section, field, value, message
):
    config = make_conditional(1)
    (config[section] if section else config)[field] = value
    with pytest.raises(ValueError, match=message):
        train(config, tmp_path / "run")


def test_the_command_completes_a_sketch_with_the_newest_weights(
    whole, tmp_path, monkeypatch
):
    image = Image.new("L", (40, 40), 255)
    ImageDraw.Draw(image).ellipse([8, 8, 30, 30], outline=0, width=2)
    image.save(tmp_path / "sketch.png")
    flags = {name: command.FLAGS[name].default for name in command.FLAGS}
    flags |= {
        "model": str(whole[0]),
        "input": [str(tmp_path / "sketch.png")],
        "output": str(tmp_path / "out"),
        "num_starts": 64,
        "num_candidates": 2,
        "steps": 2,
        "inner_steps": 0,  # so small a G has fewer inner layers
    }
    given = types.SimpleNamespace(**flags)
    monkeypatch.setattr(command, "FLAGS", given)
    monkeypatch.setattr(command.searches, "FLAGS", given)
    monkeypatch.setattr(command.hosts, "join", lambda: None)
    command.main(["complete"])
    report = json.loads((tmp_path / "out" / "sketch" / "report.json").read_text())
    assert report["model"] == "whole"
    with Image.open(tmp_path / "out" / "sketch" / "photo.png") as photo:
        assert photo.size == (16, 16)
    assert (tmp_path / "out" / "contact_sheet.png").is_file()
