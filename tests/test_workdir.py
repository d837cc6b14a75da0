"""The folder of a run: who may use it, and with which config."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cgan_jax.configs import default
from cgan_jax.sweeps import flatten
from cgan_jax.workdir import (
    ConfigChangedError,
    WorkdirInUseError,
    changed_fields,
    check_unchanged,
    held,
    naming,
    with_missing,
    write_config,
)

CONFIG = {
    "seed": 0,
    "data": {"style": "xdog", "cache_dir": "a"},
    "train": {"num_epochs": 3, "learning_rate": 1e-3},
    "report": {"log_every_steps": 5},
    "projection": {"num_steps": 60},
}
# What decided a run of before there were layouts and offsets.
OLDER = {
    "seed": 0,
    "kind": "contextual",
    "data": {
        "source": "data/faces_train.zip",
        "style": "xdog",
        "frame": "wide",
        "max_broken": 0.01,
        "flip": True,
    },
    "model": {
        "base_filters": 64,
        "z_dim": 100,
        "height": 64,
        "dtype": "float32",
        "disc_norm": "batch",
    },
    "train": {
        "batch_size": 64,
        "learning_rate": 2e-4,
        "beta1": 0.5,
        "ema_decay": 0.999,
        "gen_updates": 1,
        "real_label": 1.0,
        "r1_gamma": 0.0,
        "r1_every_steps": 1,
        "diffaugment": "",
        "stroke_blur": 0.0,
        "stroke_noise": 0.0,
    },
    "conditional": {"l1_weight": 100.0},
}
HOLD = """
import sys
from pathlib import Path
from cgan_jax.workdir import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def with_fields(**changed):
    config = {name: dict(x) if name != "seed" else x for name, x in CONFIG.items()}
    for name, value in changed.items():
        section, _, field = name.partition("__")
        if field:
            config[section][field] = value
        else:
            config[section] = value
    return config


def test_a_folder_in_use_names_its_user_until_that_process_is_killed(tmp_path):
    workdir = tmp_path / "new" / "run"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, workdir],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout.readline() == b"held\n"
    message = f"{workdir} is in use by process {holder.pid} on .*--workdir"
    with pytest.raises(WorkdirInUseError, match=message), held(workdir):
        pass
    holder.kill()
    holder.communicate()
    with held(workdir):
        assert str(os.getpid()) in (workdir / "lock").read_text()


def test_a_folder_is_free_after_the_block_even_if_that_failed(tmp_path):
    with pytest.raises(KeyError), held(tmp_path):
        raise KeyError
    with held(tmp_path), pytest.raises(WorkdirInUseError), held(tmp_path):
        pass
    assert (tmp_path / "lock").read_text() == ""


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, caplog):
    def flock(file, operation):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", flock)
    with held(tmp_path):
        assert f"{tmp_path} cannot be locked" in caplog.text


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, {}),
        ({"seed": 1}, {"seed": (0, 1)}),
        ({"data__style": "fdog"}, {"data.style": ("xdog", "fdog")}),
        ({"train__learning_rate": 2.0}, {"train.learning_rate": (1e-3, 2.0)}),
        ({"train__new": 1}, {"train.new": (None, 1)}),
        ({"train__num_epochs": 9, "report__log_every_steps": 1}, {}),
        ({"data__cache_dir": "b", "projection__num_steps": 1, "report__new": 2}, {}),
    ],
)
def test_what_decides_the_run_is_compared_and_nothing_else(changed, found):
    assert changed_fields(CONFIG, with_fields(**changed)) == found
    reverse = {name: pair[::-1] for name, pair in found.items()}
    assert changed_fields(with_fields(**changed), CONFIG) == reverse


def test_a_run_of_before_goes_on_as_it_began():
    """With every field that decides a run and that it lacks."""
    now = default.get_config().to_dict()
    assert changed_fields(OLDER, now) == {}
    known, missing = flatten(OLDER), flatten(with_missing(OLDER))
    assert known == {name: missing[name] for name in known}
    added = {name: x for name, x in missing.items() if name not in known}
    assert added == {
        "model.layout": "halves",
        "model.kernel_size": 5,
        "train.inner_noise": 0.0,
        "train.inner_layers": 3,
    }
    for name, once in added.items():
        section, field = name.split(".")
        changed = now | {section: now[section] | {field: "other"}}
        assert changed_fields(OLDER, changed) == {name: (once, "other")}


def test_the_very_first_runs_trained_a_contextual_gan():
    once = with_missing({"seed": 3, "train": {"inner_layers": 2}})
    assert once["kind"] == "contextual" and once["conditional"] == {"l1_weight": 100.0}
    assert once["seed"] == 3 and once["train"] == {"inner_layers": 2, "inner_noise": 0}


def test_what_is_filled_in_leaves_the_config_itself_alone():
    before = repr(OLDER)
    with_missing(OLDER)
    assert repr(OLDER) == before


def test_a_changed_config_is_refused_field_by_field():
    new = with_fields(seed=1, train__learning_rate=2.0)
    message = (
        "seed was 0, is 1; train.learning_rate was 0.001, is 2.0.*--allow_config_change"
    )
    with pytest.raises(ConfigChangedError, match=message):
        check_unchanged(CONFIG, new, allow_change=False)
    check_unchanged(CONFIG, with_fields(train__num_epochs=9), allow_change=False)


def test_an_allowed_change_is_said(caplog):
    check_unchanged(CONFIG, with_fields(seed=1), allow_change=True)
    assert "config changed: seed was 0, is 1" in caplog.text


def test_errors_get_the_name_of_their_file(tmp_path):
    with (
        pytest.raises(OSError, match="No space left.*metrics"),
        naming(Path("metrics")),
    ):
        raise OSError(28, "No space left on device")
    with pytest.raises(OSError, match="other$"), naming(Path("metrics")):
        raise OSError("other")


def test_a_config_that_cannot_be_written_leaves_the_old_one(tmp_path):
    write_config(tmp_path, {"seed": 1})
    with pytest.raises(TypeError):
        write_config(tmp_path, {"seed": object()})
    assert (tmp_path / "config.json").read_text() == '{\n  "seed": 1\n}'
