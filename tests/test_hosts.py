"""Two processes of two fake devices each train as one process with four."""

import json
import os
import signal
import socket
import sys
import time

import jax
import numpy as np
import optax
import pytest
from PIL import Image
from tiny_models import ARGUMENTS, CONFIGS, tiny_models

from cgan_jax import checkpoints, train
from cgan_jax.configs import tiny
from cgan_jax.models import GanPair
from cgan_jax.train_state import create_state

NUM_STEPS = 4
ENDLESS = {"train.num_epochs": 100000}
SGD = optax.sgd(0.01, momentum=0.0)
# The command, with plain descent: Adam turns the rounding of small gradients into steps
# of full length.
CODE = """
import optax
from cgan_jax import train
from cgan_jax.launch import train as command
from cgan_jax.models import GanPair
sgd = optax.sgd(0.01, momentum=0.0)
train.make_tx = lambda *_: GanPair(sgd, sgd)
command.run()
"""


pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    """What the config has in common, by name."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for split in ("train", "validation"):
        (folder / split).mkdir()
        for i in range(8):
            noise = rng.integers(0, 256, (16, 16, 3), np.uint8)
            Image.fromarray(noise).save(folder / split / f"{split}_{i}.png")
    model = {f"model.{name}": value for name, value in ARGUMENTS.items()}
    return model | {
        "data.source": str(folder),
        "data.cache_dir": str(tmp_path_factory.mktemp("kept")),
        "train.batch_size": 8,
        # Drawn for each row: were the rows in another order, the losses would differ.
        "train.stroke_noise": 0.5,
        "train.inner_noise": 0.2,
        "train.diffaugment": "translation",
        "train.num_epochs": NUM_STEPS,
        "report.log_every_steps": 1,
        "report.checkpoint_every_steps": 2,
        "report.num_validation": 0,
        "report.validation_inner_steps": 2,
    }


@pytest.fixture(scope="module")
def start(launched, fields):
    """Starts the command as one of the processes."""

    def start(workdir, *flags, num_devices, changed):
        settings = [f"--config.{name}={x}" for name, x in (fields | changed).items()]
        environment = {
            "XLA_FLAGS": "",  # --num_devices makes the devices
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
            "JAX_LOG_COMPILES": "1",
        }
        return launched(
            [sys.executable, "-c", CODE, "--config=tiny", f"--workdir={workdir}"]
            + [f"--num_devices={num_devices}", "--compilation_cache=", *flags]
            + settings,
            env=os.environ | environment,
        )

    return start


def start_two(start, workdir, num_devices=2, changed=ENDLESS):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = [f"--coordinator=127.0.0.1:{port}", "--num_processes=2"]
    common += ["--host_timeout=20"]
    return [
        start(
            workdir,
            *common,
            f"--process_id={i}",
            num_devices=num_devices,
            changed=changed,
        )
        for i in range(2)
    ]


def finish(process, code=0):
    try:
        output, _ = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == code, output
    return output


def lines(workdir):
    path = workdir / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines()]


def wait_for_lines(workdir, count, processes):
    while len(lines(workdir)) < count:
        if any(process.poll() is not None for process in processes):
            for process in processes:
                process.kill()
            pytest.fail("\n".join(process.communicate()[0] for process in processes))
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("layout", "num_validation"),
    [
        ("halves", 0),
        ("planes", 0),
        pytest.param("halves", 2, marks=pytest.mark.slow),
        pytest.param("planes", 2, marks=pytest.mark.slow),
    ],
)
def test_two_hosts_train_as_one(
    start, fields, tmp_path, monkeypatch, layout, num_validation
):
    changed = {
        "model.layout": layout,
        "data.style": CONFIGS[layout]["style"],
        "report.num_validation": num_validation,
    }
    processes = start_two(start, tmp_path / "two", changed=changed)
    config = tiny.get_config()
    config.update_from_flattened_dict(fields | changed)
    monkeypatch.setattr(train, "make_tx", lambda *_: GanPair(SGD, SGD))
    train.train(config, tmp_path / "one", num_devices=4)
    first, _ = [finish(process) for process in processes]
    one, two = lines(tmp_path / "one"), lines(tmp_path / "two")
    assert [line["step"] for line in two] == [1, 2, 3, 4]
    for want, got, rtol in zip(one, two, [1e-5, 1e-4, 1e-4, 1e-4], strict=True):
        assert want.keys() == got.keys()
        for name in want.keys() - {"images_per_second", "input_wait_seconds"}:
            np.testing.assert_allclose(got[name], want[name], rtol=rtol, err_msg=name)
    assert ("validation_kl" in two[-1]) == (num_validation > 0)
    for want, got in zip(
        *(jax.tree.leaves(params(tmp_path / x, layout)) for x in ("one", "two"))
    ):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * np.abs(want).max())
    between = first[first.index("step 1/4") : first.index("step 2/4")]
    assert "Compiling" in first and "Compiling" not in between


def params(workdir, layout):
    """The last ones, as one process reads them, whoever wrote them."""
    like = create_state(tiny_models(layout), GanPair(SGD, SGD), jax.random.key(0))
    manager = checkpoints.open_reader(workdir)
    state = checkpoints.restore_newest(manager, like).state
    manager.close()
    assert state.step == NUM_STEPS
    return state.params


def test_all_hosts_stop_at_the_same_step(start, tmp_path):
    processes = start_two(start, tmp_path, num_devices=1)
    wait_for_lines(tmp_path, 3, processes)
    processes[1].send_signal(signal.SIGTERM)
    outputs = [finish(process, 128 + signal.SIGTERM) for process in processes]
    step = max(int(path.name) for path in (tmp_path / "checkpoints").iterdir())
    assert step == lines(tmp_path)[-1]["step"]
    assert all(f"SIGTERM: saved step {step} of" in output for output in outputs)


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_host_ends_the_others_with_an_error(start, tmp_path, lost):
    processes = start_two(start, tmp_path, num_devices=1)
    wait_for_lines(tmp_path, 3, processes)
    processes[lost].kill()
    output, _ = processes[1 - lost].communicate(timeout=100)
    assert processes[1 - lost].returncode not in (0, 128 + signal.SIGTERM)
    assert "rror" in output
    processes[lost].communicate()
