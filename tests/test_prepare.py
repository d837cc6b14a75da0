"""The command that prepares pairs, from outside: no TensorFlow, killed runs, messages."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cgan_jax.dataset import open_pairs

ROOT = Path(__file__).resolve().parents[1]
NUM_PICTURES = 6


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos" / "train"
    folder.mkdir(parents=True)
    for seed in range(NUM_PICTURES):
        pixels = np.random.default_rng(seed).integers(0, 256, (20, 20, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}.png")
    return folder.parent


def run(arguments, *path):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [ROOT, *path]))},
        capture_output=True,
        text=True,
        check=False,
    )


def prepare(photos, output, *flags, path=()):
    arguments = [f"--source={photos}", f"--output={output}", "--size=8", *flags]
    return run(["launch/prepare.py", *arguments], *path)


def files(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def trap(tmp_path):
    """A folder whose tensorflow ends whoever imports it."""
    folder = tmp_path / "trap" / "tensorflow"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("import os; os._exit(42)")
    return folder.parent


_READ = """
import sys
from absl import flags
from cgan_jax.dataset import open_pairs
from cgan_jax.input_pipeline import make_train_iterator
from cgan_jax.joint import Joint, Part

flags.FLAGS.mark_as_parsed()
pairs = open_pairs(sys.argv[1], "train")
joint = Joint(8, (Part("xdog", "sketch", 1), Part("photo", "photo", 3)))
batch = next(make_train_iterator(pairs, joint, batch_size=2, seed=0))
print(batch["joint"].shape, pairs.names)
"""


def test_neither_preparing_nor_reading_imports_tensorflow(photos, tmp_path, trap):
    assert run(["-c", "import tensorflow"], trap).returncode == 42
    result = prepare(photos, tmp_path / "pairs", path=[trap])
    assert result.returncode == 0, result.stderr
    assert f"{tmp_path / 'pairs'}: {NUM_PICTURES} train\n" == result.stdout
    result = run(["-c", _READ, tmp_path / "pairs"], trap)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("(2, 8, 8, 4) ('train/0.png', ")


def test_the_same_again_says_so_and_ends_well(photos, tmp_path):
    flags = ("--style=xdog,xdog_solid",)
    prepare(photos, tmp_path / "pairs", *flags)
    before = files(tmp_path / "pairs")
    result = prepare(photos, tmp_path / "pairs", *flags)
    assert result.returncode == 0
    assert result.stdout.endswith(", these very pairs were there already\n")
    assert files(tmp_path / "pairs") == before
    assert open_pairs(tmp_path / "pairs", "train").styles == ("xdog", "xdog_solid")


_SLOW = """
import sys, time
from cgan_jax import dataset
from cgan_jax.launch import prepare

reading = dataset._pair_or_reason

def read(source, name, *others):
    if name == "train/3.png":
        time.sleep(60)
    return reading(source, name, *others)

dataset._CHUNK = 1
dataset.os.cpu_count = lambda: {workers}
dataset._pair_or_reason = read
if __name__ == "__main__":
    prepare.run()
"""


def is_alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_run_leaves_nothing_finished_and_no_process(photos, tmp_path, workers):
    (tmp_path / "slow.py").write_text(_SLOW.format(workers=workers))
    new = tmp_path / "new"
    flags = [f"--source={photos}", f"--output={new / 'pairs'}", "--size=8"]
    command = [sys.executable, str(tmp_path / "slow.py"), *flags]
    with subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, start_new_session=True
    ) as process:
        # Half of the records are on their way when the fourth picture takes its time.
        wait_until(lambda: list(new.rglob("*.array_record*")))
        os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(process.pid))
    (left,) = new.iterdir()
    assert left.name.startswith(".unfinished-")
    with pytest.raises(FileNotFoundError, match="holds no prepared data set"):
        open_pairs(new / "pairs", "train")

    assert prepare(photos, new / "pairs").returncode == 0
    assert prepare(photos, tmp_path / "undisturbed").returncode == 0
    assert files(new / "pairs") == files(tmp_path / "undisturbed")


def test_broken_pictures_are_named_and_counted_up_to_the_allowed_part(photos, tmp_path):
    (photos / "train" / "2.png").write_bytes(b"no picture")
    result = prepare(photos, tmp_path / "pairs")
    assert result.returncode == 1
    assert re.search(
        r"^error: 1 of 6 pictures in .* 0\.01: .* max_broken\. .*2\.png",
        result.stderr,
        re.MULTILINE,
    )
    assert not (tmp_path / "pairs").exists()
    result = prepare(photos, tmp_path / "pairs", "--max_broken=0.2")
    assert result.stdout == f"{tmp_path / 'pairs'}: 5 train, 1 left out\n"
    assert "left out: train/2.png" in result.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--style=pencil"], "error: unknown sketch style 'pencil'"),
        (["--size=0"], "--size"),
        (["--max_broken=2"], "--max_broken"),
        (["--source=nowhere"], "error: nowhere does not exist"),
        (["--output=docs"], "error: docs exists and is no prepared data set"),
    ],
)
def test_unusable_flags_are_named(photos, tmp_path, flags, message):
    result = prepare(photos, tmp_path / "pairs", *flags)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "pairs").exists()


def test_a_data_set_may_be_moved(photos, tmp_path):
    prepare(photos, tmp_path / "pairs")
    shutil.move(tmp_path / "pairs", tmp_path / "moved")
    assert len(open_pairs(tmp_path / "moved", "train")) == NUM_PICTURES
