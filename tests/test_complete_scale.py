"""Many pictures: the same answers however they are dealt out, kills, restarts, hosts."""

import functools
import hashlib
import json
import os
import random
import re
import signal
import socket
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image, ImageDraw
from tiny_models import random_model, save_random_model

from cgan_jax import block_search, complete, gallery, inputs, result_files, sheets
from cgan_jax.configs import default
from cgan_jax.drawings import Seen
from cgan_jax.input_files import find_inputs
from cgan_jax.projection import Candidates, Search

ROOT = Path(__file__).resolve().parents[1]
JOINT = random_model().joint
READ = functools.partial(
    inputs.drawing_known,
    joint=JOINT,
    prepare=Seen.by(JOINT, random_model().config).prepare,
)
MASK = JOINT.mask(["xdog"])
# With both stages. One search and one size of blocks for all tests: what a device has
# compiled serves the next ones.
BUDGET = {"num_starts": 64, "num_candidates": 2, "num_steps": 2}
INNER = {"inner_steps": 1, "inner_layers": 2}
SEARCH = Search(**dict(default.get_config().projection) | BUDGET | INNER)
BLOCK = 2
CODE = "from cgan_jax.launch import complete as command; command.run()"

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module", autouse=True)
def compiled_alike(quick_compilation):
    """What an earlier test compiled, fully optimized, would serve one device of many."""
    jax.clear_caches()


def draw(path, seed):
    """A few strokes of its own."""
    rng = random.Random(seed)
    image = Image.new("L", (40, 40), 255)
    pen = ImageDraw.Draw(image)
    for _ in range(3):
        pen.line([rng.randrange(4, 36) for _ in range(4)], fill=0, width=3)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Nine drawings in two folders."""
    folder = tmp_path_factory.mktemp("drawings")
    for i in range(9):
        draw(folder / ("few" if i < 3 else "") / f"{i}.png", i)
    return folder


def run(folder, output, read=READ, max_parallel=1, **options):
    files = find_inputs([str(folder)], output)
    request = complete.Request(read, {}, SEARCH, block_size=BLOCK, **options)
    return complete.complete(
        random_model(), files, output, request, max_parallel=max_parallel
    )


def content(output):
    """Digests of all files but those that hold times."""
    return {
        path.relative_to(output).as_posix(): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in output.rglob("*")
        if path.is_file() and not path.name.startswith("timings_")
    }


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    """The results of a run that nothing disturbed."""
    output = tmp_path_factory.mktemp("whole")
    assert run(folder, output) == 0
    return output


# ------------------------------------------------------------------ the same answers


SKETCHES = np.random.default_rng(0).random((101, 16, 16)).astype(np.float32)
TARGETS = JOINT.stack({"xdog": SKETCHES * 2 - 1})


def stream(items, max_parallel, block_size=BLOCK, num_frames=0, asked=SEARCH):
    return block_search.search_stream(
        random_model(),
        items,
        MASK,
        asked,
        seed=0,
        block_size=block_size,
        max_parallel=max_parallel,
        num_frames=num_frames,
    )


def search(rows, max_parallel, **options):
    """Answers by row."""
    return dict(stream(((i, TARGETS[i]) for i in rows), max_parallel, **options))


def assert_same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one.candidates, other.candidates)


def test_an_answer_is_the_same_alone_among_a_hundred_and_on_any_device():
    alone = search([7], 1)
    rows = list(range(101))
    random.Random(0).shuffle(rows)
    among = search(rows, 1)
    assert list(among) == rows
    assert_same(among[7], alone[7])
    some = rows[:9]
    elsewhere = search(some, 4)
    assert list(elsewhere) == some
    for row in some:
        assert_same(elsewhere[row], among[row])
    assert np.abs(among[7].candidates.z - among[8].candidates.z).max() > 0.01


def test_what_a_thread_compiles_is_not_compiled_again(caplog):
    jax.clear_caches()
    with jax.log_compiles():  # of this thread
        search([1], 1)
    done = [x.getMessage() for x in caplog.records if "Finished XLA" in x.getMessage()]
    assert any("jit(generate_each)" in message for message in done)
    steps = r"jit\((_advance|_advance_inner|_score|_rank)\)"
    again = [x for x in done if re.search(steps, x)]
    assert again == []


def test_the_way_is_shown_and_changes_no_answer():
    alone = search([1, 2], 1)
    watched = search([1, 2], 1, num_frames=2)
    for row in (1, 2):
        assert_same(watched[row], alone[row])
        assert alone[row].frames is None
        frames = watched[row].frames
        assert frames.shape == (3, *JOINT.shape)  # at the start, after 2 and 3 steps
        np.testing.assert_array_equal(frames[-1], alone[row].candidates.joint[0])
        assert all(np.abs(np.diff(frames, axis=0)).max(axis=(1, 2, 3)) > 1e-3)


@pytest.mark.parametrize(("max_parallel", "block_size"), [(1, 1), (2, 3), (6, 2)])
def test_no_more_than_a_few_blocks_are_held(max_parallel, block_size, monkeypatch):
    """The search itself is left out; each block tells which device it came to."""
    read, held, places, blocks = 0, [], [], []

    def items():
        nonlocal read
        for row in range(40):
            read += 1
            yield row, TARGETS[row]

    def open_place(*args):
        places.append(args[-1])
        return args[-1]

    def search_block(place, targets, num_frames):
        blocks.append(place)
        return Candidates(*[targets] * len(Candidates._fields)), []

    monkeypatch.setattr(block_search, "_open", open_place)
    monkeypatch.setattr(block_search, "_search_block", search_block)
    for done, (row, found) in enumerate(stream(items(), max_parallel, block_size)):
        assert row == done
        np.testing.assert_array_equal(found.candidates.joint, TARGETS[row])
        held.append(read - done)
    assert read == 40 and done == 39
    assert block_size <= max(held) <= (max_parallel + 2) * block_size
    assert places == list(range(min(max_parallel, 4)))  # as many as there are
    assert blocks[:5] == [i % len(places) for i in range(5)]


def test_without_targets_nothing_is_searched_for(monkeypatch):
    def fail(*args):
        raise AssertionError("compiled")

    monkeypatch.setattr(block_search, "_open", fail)
    assert search([], 2) == {}


# --------------------------------------------------------------- the output folder


def test_many_devices_write_the_same_folder(folder, whole, tmp_path):
    assert run(folder, tmp_path, max_parallel=4) == 0
    assert content(tmp_path) == content(whole)
    assert "few/1/photo.png" in content(whole)


def test_what_is_finished_is_not_done_again(folder, whole, tmp_path):
    output = tmp_path / "out"
    run(folder, output)
    (output / "4" / "photo.png").unlink()
    (output / "few" / "1" / "report.json").write_text("{")
    (output / "few" / "1" / "joint.png").unlink()
    asked = []

    def read(path):
        asked.append(path.stem)
        return READ(path)

    assert run(folder, output, read) == 1  # `few/1` might be anything
    assert asked == ["4"]
    for path in (output / "few" / "1").iterdir():
        path.unlink()
    assert run(folder, output, read) == 0
    assert asked == ["4", "1"]
    assert content(output) == content(whole)
    lines = (output / "timings_0.jsonl").read_text().splitlines()
    names = [json.loads(line)["name"] for line in lines]
    assert len(names) == 11 and set(names[9:]) == {"4", "few/1"}


def test_another_picture_or_request_is_done_anew_and_leaves_nothing_behind(
    folder, tmp_path
):
    drawings, output = tmp_path / "in", tmp_path / "out"
    draw(drawings / "a.png", 1)
    draw(drawings / "b.png", 2)
    run(drawings, output, top_k=2, save_z=True)
    assert (output / "a" / "photo_2.png").exists()
    draw(drawings / "a.png", 3)
    asked = []

    def read(path):
        asked.append(path.stem)
        return READ(path)

    run(drawings, output, read, top_k=2, save_z=True)
    assert asked == ["a"]
    run(drawings, output, read, seed=1)
    assert asked == ["a", "a", "b"]
    fresh = tmp_path / "fresh"
    run(drawings, fresh, seed=1)
    assert content(output) == content(fresh)


def test_what_is_not_ours_is_never_replaced(folder, tmp_path, caplog):
    note = tmp_path / "4" / "note.txt"
    note.parent.mkdir()
    note.write_text("mine")
    (tmp_path / "5").write_text("mine too")
    assert run(folder, tmp_path) == 2
    assert note.read_text() == "mine" and (tmp_path / "5").read_text() == "mine too"
    errors = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert len(errors) == 2
    for error, name in zip(errors, ("4", "5"), strict=True):
        assert str(tmp_path / name) in error and f"{name}.png" in error
        assert "choose another --output" in error
    names = [name for name in content(tmp_path) if name.endswith("report.json")]
    assert len(names) == 7


class Killed(BaseException):
    """As a kill: no handler of an ordinary error sees it."""


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_write_and_restarted_it_ends_as_if_undisturbed(
    folder, whole, tmp_path, monkeypatch, seed
):
    """Every replacing, renaming and removing of a file may be the last thing it does."""
    rng, left = random.Random(seed), 0

    def perhaps_killed(real):
        def call(*args, **kwargs):
            nonlocal left
            left -= 1
            if left == 0:
                raise Killed
            return real(*args, **kwargs)

        return call

    for name in ("replace", "rename", "unlink", "mkdir", "write_text"):
        monkeypatch.setattr(Path, name, perhaps_killed(getattr(Path, name)))
    kills = 0
    while True:
        left = rng.randrange(2, 60)
        try:
            run(folder, tmp_path)
        except Killed:
            kills += 1
        else:
            break
    assert kills > 0
    assert content(tmp_path) == content(whole)


# ------------------------------------------------------------------------- pages


def test_sheets_and_gallery_have_pages_that_need_no_network(
    folder, whole, tmp_path, monkeypatch
):
    monkeypatch.setattr(gallery, "PAGE", 4)
    output = tmp_path / "out"
    run(folder, output)
    names = ["", "_2", "_3"]
    heights = [len(sheets.read(output / f"contact_sheet{n}.png")) for n in names]
    row = 36  # twice the model's 16 pixels and a gap
    assert [height - heights[2] for height in heights] == [3 * row, 3 * row, 0]
    pages = [(output / f"index{n}.html").read_text() for n in names]
    assert [page.count("<h2>") for page in pages] == [4, 4, 1]
    for page in pages:
        assert "http" not in page and "//" not in page
        for target in set(re.findall(r'(?:href|src)="([^"]+)"', page)):
            assert (output / target).is_file(), target
    assert "few/1" in pages[1] or "few/1" in pages[2]
    assert len(sheets.read(whole / "contact_sheet.png")) == heights[2] + 8 * row


def test_names_in_the_gallery_are_text_not_markup(tmp_path):
    drawings, output = tmp_path / "in", tmp_path / "out"
    draw(drawings / "<b> & 100% #1?.png", 1)
    run(drawings, output, trajectory=True)
    page = (output / "index.html").read_text()
    assert "<h2>&lt;b&gt; &amp; 100% #1?</h2>" in page
    assert 'src="%3Cb%3E%20%26%20100%25%20%231%3F/search.webp"' in page
    report = json.loads((output / "<b> & 100% #1?" / "report.json").read_text())
    assert f"{report['candidates'][0]['contextual']:.4f}" in page
    with Image.open(output / "<b> & 100% #1?" / "search.webp") as animation:
        assert animation.size == (64, 32)
        assert 2 <= animation.n_frames <= 4


# --------------------------------------------------------------- processes of its own


@pytest.fixture(scope="module")
def start(launched, folder, tmp_path_factory):
    """Starts the command with a search of a few steps."""
    model = tmp_path_factory.mktemp("model") / "tiny"
    save_random_model(model)
    compiled = tmp_path_factory.mktemp("compiled")

    def start(output, *flags, pictures=folder):
        given = [f"--model={model}", f"--input={pictures}", f"--output={output}"]
        given += [
            "--num_starts=64",
            "--num_candidates=2",
            "--steps=3",
            "--inner_steps=0",
        ]
        given += flags
        environment = {
            "XLA_FLAGS": "",
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
            "PYTHONPATH": str(ROOT),
        }
        return launched(
            [sys.executable, "-c", CODE, f"--compilation_cache={compiled}", *given],
            env=os.environ | environment,
        )

    return start


def finish(process, code=0):
    try:
        output, _ = process.communicate(timeout=200)
    finally:
        process.kill()
    assert process.returncode == code, output
    return output


@pytest.fixture(scope="module")
def undisturbed(start, tmp_path_factory):
    output = tmp_path_factory.mktemp("undisturbed")
    finish(start(output))
    return output


def finished(output):
    # Not rglob: it raises when a folder is renamed while it looks.
    return sum(result_files.REPORT in files for _, _, files in os.walk(output))


@pytest.mark.parametrize("kills", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_a_killed_command_goes_on_where_it_was(start, undisturbed, tmp_path, kills):
    rng = random.Random(kills)
    for done in range(1, kills + 1):
        process = start(tmp_path)
        while finished(tmp_path) < done and process.poll() is None:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.01))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert finished(tmp_path) >= 1
    finish(start(tmp_path))
    assert content(tmp_path) == content(undisturbed)
    assert len(content(tmp_path)) == 9 * 4 + 2


def test_two_hosts_share_the_files_without_doubles_and_gaps(
    start, undisturbed, tmp_path
):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = [f"--coordinator=127.0.0.1:{port}", "--num_processes=2"]
    processes = [start(tmp_path, *common, f"--process_id={i}") for i in range(2)]
    for process in processes:
        finish(process)
    assert content(tmp_path) == content(undisturbed)
    names = [
        [json.loads(line)["name"] for line in path.read_text().splitlines()]
        for path in sorted(tmp_path.glob("timings_*.jsonl"))
    ]
    assert [len(some) for some in names] == [5, 4]
    reports = [x.parent for x in tmp_path.rglob(result_files.REPORT)]
    every = [x.relative_to(tmp_path).as_posix() for x in reports]
    assert sorted([*names[0], *names[1]]) == sorted(every)
