"""The benchmarks' own workings; their peer, PyTorch, is not needed."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_models import LAYOUTS, random_model, save_random_model

from cgan_jax import block_search
from cgan_jax.answers import Task
from cgan_jax.configs import default, presets
from cgan_jax.projection import Search, count_passes

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(FOLDER))

import _growth
import _kinds
import _machine
import _quality
import _records
import _settings
import _turns
import _worker_ours

SCRIPTS = (
    "train_step",
    "step_profile",
    "projection",
    "cold_start",
    "input_pipeline",
    "check_peer",
)
# Writes down when it works; its seconds are the number of the turn times `factor`.
WORKER = """
import sys
sys.path.insert(0, {folder!r})
import _turns

def prepare():
    turns = iter(range(1, 100))
    def turn():
        print("a library that prints")
        with open({log!r}, "a") as log:
            log.write({name!r})
        return {{"seconds": {factor} * next(turns)}}
    return {{"loss": {factor}}}, turn

_turns.serve(prepare)
"""


def start(tmp_path, name, factor=1.0):
    script = tmp_path / f"{name}.py"
    log = str(tmp_path / "log")
    script.write_text(
        WORKER.format(folder=str(FOLDER), log=log, name=name, factor=factor)
    )
    return _turns.Worker(name, [sys.executable, str(script)])


def replies(*seconds, peak_mb=100.0):
    return [{"seconds": x, "peak_mb": peak_mb, "cores": 1.5} for x in seconds]


def test_workers_take_turns_and_the_first_is_discarded(tmp_path):
    with start(tmp_path, "a") as a, start(tmp_path, "b", 2.0) as b:
        assert (a.ready, b.ready) == ({"loss": 1.0}, {"loss": 2.0})
        ours, theirs = _turns.take_turns([a, b], 2)
    assert (tmp_path / "log").read_text() == "ababab"
    assert [reply["seconds"] for reply in ours] == [2.0, 3.0]
    assert [reply["seconds"] for reply in theirs] == [4.0, 6.0]
    assert all(1 < reply["peak_mb"] < 1000 for reply in ours + theirs)
    assert all(reply["cores"] >= 0 for reply in ours + theirs)


@pytest.mark.parametrize("code", ["sys.exit(3)", "os.kill(os.getpid(), 9)"])
def test_a_worker_that_dies_while_it_prepares_is_named(code):
    command = [sys.executable, "-c", f"import os, sys; {code}"]
    with pytest.raises(
        _turns.WorkerError, match=r"the peer worker .* exit code (3|-9)"
    ):
        _turns.Worker("peer", command)


def test_a_worker_that_dies_in_its_turn_is_named():
    code = "print('{}', flush=True); input(); raise SystemExit(5)"
    with _turns.Worker("ours", [sys.executable, "-c", code]) as worker:
        with pytest.raises(_turns.WorkerError, match="the ours worker .* exit code 5"):
            worker.turn()
        with pytest.raises(_turns.WorkerError, match="exit code 5"):
            worker.turn()


def test_a_comparison_by_hand():
    record = _records.compare(
        replies(1.0, 2.0, 4.0, peak_mb=300.0), replies(3.0, 3.0, 2.0, peak_mb=200.0)
    )
    assert record == {
        "ours_s": 2.0,
        "ours_spread": [1.0, 4.0],
        "ours_cores": 1.5,
        "ours_peak_mb": 300.0,
        "torch_s": 3.0,
        "torch_spread": [2.0, 3.0],
        "torch_cores": 1.5,
        "torch_peak_mb": 200.0,
        "ratio_to_torch": 1.5,
        "ratio_spread": [0.5, 3.0],
        "memory_ratio": 1.5,
    }


def test_without_a_peer_nothing_is_said_of_it():
    record = _records.compare(replies(1.0, 3.0), [])
    assert set(record) == {"ours_s", "ours_spread", "ours_cores", "ours_peak_mb"}


@pytest.mark.parametrize(
    ("ours", "torch"),
    [([0.5], [0.50009]), ([200.0, 1.0], [200.019, 1.0])],
)
def test_results_agree_relatively_above_one_and_absolutely_below(ours, torch):
    assert 0.5e-4 < _records.check_same("loss", ours, torch) < 1e-4


@pytest.mark.parametrize(
    ("ours", "torch"),
    [(0.5, 0.50011), (200.0, 200.021), (float("nan"), 1.0), (1.0, float("inf"))],
)
def test_results_that_differ_are_an_error_with_both_numbers(ours, torch):
    with pytest.raises(_records.Disagreement) as error:
        _records.check_same("gen_loss", [1.0, ours], [1.0, torch])
    assert f"gen_loss: {ours!r} in cgan_jax, {torch!r}" in str(error.value)


def test_a_report_is_json_and_a_table(monkeypatch, capsys):
    monkeypatch.setattr(_machine, "machine", lambda: {"cpu": "some"})
    record = {"benchmark": "x", "filters": 8, "ours_spread": [0.5, 1.25]}
    _records.report([record], ["filters", "ours_spread", "torch_s"])
    first, *table = capsys.readouterr().out.splitlines()
    assert set(json.loads(first)) == {*record, "machine", "versions"}
    assert [row.split() for row in table] == [
        ["filters", "ours_spread", "torch_s"],
        ["8", "0.5..1.25", "-"],
    ]


def test_a_disagreement_ends_the_report_with_an_error(monkeypatch, capsys):
    monkeypatch.setattr(_machine, "machine", dict)

    def records():
        yield {"benchmark": "x"}
        raise _records.Disagreement("disc_loss: 1.0 in cgan_jax, 2.0 in PyTorch")

    with pytest.raises(SystemExit, match=r"^error: disc_loss: 1\.0 .* 2\.0"):
        _records.report(records(), ["benchmark"])
    assert json.loads(capsys.readouterr().out)["benchmark"] == "x"


def test_versions_name_every_package():
    found = _machine.versions()
    assert set(found) == {"python", "jax", "jaxlib", "flax", "numpy", "torch"}
    assert found["python"] and found["jax"]
    assert (found["torch"] is None) == (importlib.util.find_spec("torch") is None)


def test_the_processor_has_a_name(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2: fast\nflags\t: x\n")
    assert _machine.cpu_model(cpuinfo) == "Some CPU @ 2: fast"
    cpuinfo.write_text("processor\t: 0\n")
    assert _machine.cpu_model(cpuinfo)


def test_a_missing_torch_is_an_error_that_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SystemExit, match=r"pip install torch==.*--nopeer"):
        _machine.require_torch()


def test_a_line_is_found_with_its_largest_deviation():
    exact = _growth.fit([1, 2, 4, 8], [2.5, 3.0, 4.0, 6.0])
    assert (exact.fixed, exact.each) == pytest.approx((2.0, 0.5))
    assert exact.largest_deviation < 1e-9
    bent = _growth.fit([1, 2, 4, 8], [2.5, 3.0, 4.0, 7.0])
    worst = max(
        abs(seconds / bent.at(count) - 1)
        for count, seconds in zip(bent.counts, bent.seconds, strict=True)
    )
    assert bent.largest_deviation == pytest.approx(worst)
    assert 0.01 < worst < 0.2


def test_a_record_of_growth_is_json():
    line = _growth.fit([1, 2, 4], [1.0, 2.0, 4.1])
    record = json.loads(json.dumps(_growth.record("sketches", line, {"model": "m"})))
    assert record["benchmark"] == "growth_with_sketches"
    assert record["counts"] == [1, 2, 4]
    assert record["seconds"] == [1.0, 2.0, 4.1]
    assert {"seconds_each", "seconds_fixed", "largest_deviation"} < set(record)


def curve(preset, passes, kl):
    kl = np.asarray(kl, float)
    scores = {"sketch_kl": kl, "photo_mse": kl / 10, "ssim_luma": 1 - kl / 10}
    return _quality.Curve(preset, [0, 5, 9], passes, scores, 0.5)


def test_passes_to_a_level_by_hand():
    ours = curve("default", [10, 20, 40], [[4, 6], [2, 2], [1, 3.2]])
    other = curve("other", [7, 100, 400], [[9, 9], [1, 1], [2, 2.5]])
    found = _quality.passes_to_level(ours, other)
    assert (found["preset"], found["level_of"]) == ("default", "other")
    assert found["passes_there"] == 400
    assert [found[f"passes_{name}"] for name in _quality.YARDSTICKS] == [20, 20, 20]
    assert found["ratio_ssim_luma"] == 20
    found = _quality.passes_to_level(other, curve("best", [1, 2, 3], [[0]] * 3))
    assert found["passes_sketch_kl"] is None and found["ratio_photo_mse"] is None


def small_search(**changes):
    """Of both stages, for `tiny_models`."""
    search = dict(default.get_config().projection)
    search |= {"num_starts": 64, "num_candidates": 2, "inner_layers": 2}
    return search | {"num_steps": 4, "inner_steps": 2} | changes


@pytest.mark.usefixtures("quick_compilation")
@pytest.mark.parametrize(
    ("layout", "closeness", "levels"), [("halves", 0.5, 1), ("planes", "auto", 4)]
)
def test_a_curve_ends_at_the_answers_of_the_search(layout, closeness, levels):
    model = random_model(layout=layout)
    search = Search(**small_search(closeness=closeness))
    rng = np.random.default_rng(0)
    size = model.models.gen.joint.size
    sketches = rng.integers(0, 256, (3, size, size), np.uint8)
    photos = rng.integers(0, 256, (3, size, size, 3), np.uint8)
    task = Task("xdog", ("a", "b", "c"), sketches, photos)
    found = _quality._follow("mine", model, task, search, block_size=2, seed=0)
    assert found.steps == [0, 1, 2, 3, 4, 5, 6]
    passes = count_passes(search)
    assert found.passes[0] == 64 + 2 and found.passes[-1] == passes.alone
    assert found.passes[4] == 64 + 2 * 2 * 4 + 2
    # Each of the two once for each level.
    assert found.passes[5] == 64 + 2 * (2 * 4 + 2 * levels) + 2 * levels
    targets, mask = task.targets(model.models.gen.joint)
    answers = list(
        block_search.search_targets(model, targets, mask, search, seed=0, block_size=2)
    )
    joint = np.stack([answer.joint[0] for answer in answers])
    want = _quality._scores(joint, task, model)
    for name, values in found.scores.items():
        assert values.shape == (7, 3)
        np.testing.assert_allclose(values[-1], want[name], rtol=1e-3)
    (*_, last) = _quality.records(found, {"model": "tiny"}, seed=0)
    assert last["sketch_kl"] == pytest.approx(
        found.scores["sketch_kl"][-1].mean(), 1e-3
    )
    assert "seconds_each" in last


def test_a_search_of_the_quality_is_a_preset_or_one_at_another_closeness():
    for name in presets.NAMES:
        assert _quality.search_of(name) == Search(**presets.get_projection(name))
    assert _quality.search_of("default@0").closeness == 0
    assert _quality.search_of("default@auto").closeness == "auto"
    with pytest.raises(ValueError, match="no preset 'mine'"):
        _quality.search_of("mine@1")
    with pytest.raises(ValueError, match="closeness is '2'"):
        _quality.search_of("default@2")


def start_of(folder):
    with np.load(folder / "start.npz") as arrays:
        return dict(arrays)


@pytest.mark.usefixtures("quick_compilation")
@pytest.mark.parametrize("stage", ["z", "inner"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_search_step_is_timed_and_its_start_handed_over(layout, stage, tmp_path):
    steps = {"z": (2, 0), "inner": (0, 2)}[stage]
    search = small_search(num_steps=steps[0], inner_steps=steps[1], closeness=1.0)
    search |= {"num_starts": 3, "num_candidates": 3}
    settings = {"model": LAYOUTS[layout], "search": search, "more_steps": 1}
    settings |= {"seed": 0, "folder": str(tmp_path)}
    ready, turn = _worker_ours.prepare_search(settings)
    assert len(ready["first"]) == 3 and ready["later"] == sorted(ready["later"])
    assert sum(ready["later"]) < sum(ready["first"])
    assert isinstance(turn()["seconds"], float)
    start = start_of(tmp_path)
    assert start["z"].shape == (3, 8)
    shapes = {"halves": (1, 16, 32, 3), "planes": (1, 16, 16, 6)}
    assert start["target"].shape == shapes[layout]
    assert {"gen/spread/std_0", "disc/params/linear/kernel"} < set(start)


@pytest.mark.usefixtures("quick_compilation")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_drawings_are_completed_from_what_is_handed_over(layout, tmp_path):
    save_random_model(tmp_path / "model", layout=layout)
    settings = {"name": str(tmp_path / "model"), "search": small_search(), "seed": 0}
    settings |= {"sketches": 3, "block_size": 2, "folder": str(tmp_path)}
    _, turn = _worker_ours.prepare_completion(settings)
    reply = turn()
    assert len(reply["best"]) == 3 and min(reply["best"]) > 0 < reply["seconds"]
    start = start_of(tmp_path)
    assert len(start["target"]) == 3 and start["z"].shape == (64, 8)


def python(*arguments):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=FOLDER,
        env=os.environ | {"PYTHONPATH": str(FOLDER.parent)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_is_quick_and_says_what_is_printed(name):
    result = python("-X", "importtime", f"{name}.py", "--help")
    assert result.returncode in (0, 1)  # absl leaves with 1 after --help
    assert "JSON line" in result.stdout
    imported = set(re.findall(r"\| +(\w+)$", result.stderr, re.MULTILINE))
    assert "absl" in imported
    assert not imported & {"jax", "flax", "torch", "matplotlib"}


@pytest.mark.parametrize("flag", ["--filters=64,many", "--layout=planes,quarters"])
def test_filters_that_are_no_numbers_and_unknown_layouts_are_usage_errors(flag):
    result = python("train_step.py", flag)
    assert result.returncode == 1
    assert flag.partition("=")[0] in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is not installed"
)
def test_the_peer_computes_what_ours_does():
    result = python("check_peer.py", "--layout=planes,halves", "--filters=4")
    assert result.returncode == 0, result.stderr
    records = [json.loads(line) for line in result.stdout.splitlines()[:2]]
    assert [record["layout"] for record in records] == ["planes", "halves"]


def test_blocks_are_as_large_as_those_of_the_command():
    code = "import sys; from absl import flags; import {}; print(flags.FLAGS['{}'].default)"
    ours = python("-c", code.format("cgan_jax.launch.complete", "block_size"))
    assert ours.stdout == python("-c", code.format("projection", "block_size")).stdout
    assert int(ours.stdout) >= 1


@pytest.mark.parametrize("layout", _settings.LAYOUTS)
def test_a_training_step_is_taken_apart_by_kinds(layout, tmp_path):
    settings = _settings.train_step(layout, filters=8, batch=4)
    settings["model"] |= {"height": 16, "z_dim": 8}
    argument = json.dumps(settings | {"folder": str(tmp_path)})
    script = str(FOLDER / "_worker_ours.py")
    command = [sys.executable, script, "profile", argument]
    with _turns.Worker("ours", command) as worker:
        reply = worker.turn()
    assert set(reply["kinds"]) == set(_kinds.KINDS)
    for kind in (_kinds.PRODUCTS, _kinds.TRANSFORMS, _kinds.BATCH_NORM, _kinds.ADAM):
        assert 0 < reply["kinds"][kind] < 10


def test_the_input_pipeline_is_measured_beside_a_step():
    small = ["--pictures=16", "--size=16", "--batch=8", "--batches=4", "--filters=4"]
    result = python("input_pipeline.py", *small, "--turns=1", "--style=xdog,xdog_solid")
    assert result.returncode == 0, result.stderr
    line, *table = result.stdout.splitlines()
    record = json.loads(line)
    assert len(table) == 2
    assert (record["benchmark"], record["pictures"]) == ("input_pipeline", 16)
    assert (record["styles"], record["size"]) == (2, 16)
    assert min(record["prepared_per_s"], record["read_per_s"]) > 0
    assert record["ratio_to_step"] == pytest.approx(
        record["read_per_s"] / record["step_per_s"], rel=1e-3
    )


def test_quality_needs_data(tmp_path):
    result = python("projection.py", "--quality")
    assert result.returncode == 1 and "--quality needs --data" in result.stderr
    result = python("projection.py", "--quality", f"--data={tmp_path}")
    assert result.returncode == 1
    assert f"error: {tmp_path} holds no prepared data set" in result.stderr


def test_the_input_pipeline_names_data_that_is_not_prepared(tmp_path):
    result = python("input_pipeline.py", f"--data={tmp_path}")
    assert result.returncode == 1
    assert f"error: {tmp_path} holds no prepared data set" in result.stderr


def test_cold_start_sums_up_its_rounds():
    code = (
        "import json; from cold_start import Used, summary, _KINDS;"
        "rounds = [{k: Used(x, 2 * x) for k in _KINDS} for x in (1., 5., 2.)];"
        "print(json.dumps(summary(rounds)))"
    )
    record = json.loads(python("-c", code).stdout)
    kinds = ("no_cache", "filling_cache", "filled_cache", "help")
    parts = ("s", "spread", "cpu_s")
    assert set(record) == {f"{kind}_{part}" for kind in kinds for part in parts}
    assert record["filled_cache_s"] == 2.0
    assert record["filled_cache_spread"] == [1.0, 5.0]
    assert record["filled_cache_cpu_s"] == 4.0


def test_cold_start_shows_what_a_failed_command_said():
    code = (
        "import sys; from cold_start import *\n"
        "try: run([sys.executable, '-c', 'print(6 * 7); exit(4)'])\n"
        "except CommandError as error: print(error)\n"
        "print(run([sys.executable, '-c', 'sum(range(10**6))']).cpu > 0)"
    )
    result = python("-c", code)
    assert re.search(r"exit code 4:\n42\n\nTrue\n$", result.stdout), result.stderr


HLO = """
  %ynn_fusion.3 = f32[9,8]{1,0} fusion(%a, %b), metadata={op_name="jit(f)/jvp(D)/conv_1/dot_general"}
  %dot.1 = f32[9,8]{1,0} dot(%a, %b), metadata={op_name="jit(f)/transpose(jvp(G))/deconv_2/dot"}
  ROOT %add_fusion = f32[9]{0} fusion(%c), metadata={op_name="jit(f)/jvp(D)/conv_1/stack"}
  %r.7 = f32[9]{0} fusion(%c), metadata={op_name="jit(f)/jvp(Generator)/bn_1/rsqrt"}
  %s = f32[9]{0} fusion(%c), metadata={op_name="jit(f)/jvp(Generator)/jit(relu)/max"}
  %d = f32[9]{0} dot(%c, %c), metadata={op_name="jit(f)/jvp(Generator)/linear/dot_general"}
  %m = f32[9]{0} fusion(%c), metadata={op_name="jit(f)/sqrt"}
  %e = f32[9]{0} copy(%c), metadata={op_name="jit(f)/reshape"}
"""


def test_the_kinds_of_a_compiled_step():
    kinds = _kinds.of_instructions(HLO)
    assert kinds == {
        "ynn_fusion.3": _kinds.PRODUCTS,
        "dot.1": _kinds.PRODUCTS,
        "add_fusion": _kinds.TRANSFORMS,
        "r.7": _kinds.BATCH_NORM,
        "s": _kinds.ACTIVATIONS,
        "d": _kinds.OTHER,
        "m": _kinds.ADAM,
        "e": _kinds.LAYOUT,
    }
    spent = _kinds.summed({"dot.1": 1.0, "ynn_fusion.3": 2.0, "unnamed": 4.0}, kinds)
    assert spent[_kinds.PRODUCTS] == 3.0 and spent[_kinds.OTHER] == 4.0
    assert set(spent) == set(_kinds.KINDS) and sum(spent.values()) == 7.0


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("aten::convolution_backward", _kinds.PRODUCTS),
        ("aten::native_batch_norm", _kinds.BATCH_NORM),
        ("aten::leaky_relu_backward", _kinds.ACTIVATIONS),
        ("aten::_fused_adam_", _kinds.ADAM),
        ("aten::copy_", _kinds.LAYOUT),
        ("aten::mm", _kinds.OTHER),
    ],
)
def test_the_kinds_of_pytorch(name, kind):
    assert _kinds.of_operator(name) == kind
