"""Drawings in, photographs out: files, names, errors, and answers that depend on nothing else."""

import dataclasses
import functools
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps
from tiny_models import random_model, save_random_model

from cgan_jax import complete
from cgan_jax.configs import default
from cgan_jax.drawings import FACE_BOXES, prepare_drawing
from cgan_jax.launch import complete as command
from cgan_jax.model_files import ModelError
from cgan_jax.projection import Search

ROOT = Path(__file__).resolve().parents[1]
PREPARE = functools.partial(prepare_drawing, size=16)
BUDGET = {"num_starts": 64, "num_candidates": 3, "num_steps": 4}
SEARCH = Search(**dict(default.get_config().projection) | BUDGET)


pytestmark = pytest.mark.usefixtures("quick_compilation")


def draw(path, kind):
    """Black strokes on white, without grey ones."""
    image = Image.new("L", (60, 48), 255)
    pen = ImageDraw.Draw(image)
    if kind == "disc":
        pen.ellipse([14, 8, 44, 40], outline=0, width=3)
    elif kind == "cross":
        pen.line([12, 10, 46, 38], fill=0, width=3)
        pen.line([46, 10, 12, 38], fill=0, width=3)
    elif kind == "box":
        pen.rectangle([10, 12, 50, 36], outline=0, width=3)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def run(paths, output, *, seed=0, block_size=1):
    """Completes; returns the joint image and the report of each result by its name."""
    complete.complete(
        random_model(), paths, output, PREPARE, SEARCH, seed=seed, block_size=block_size
    )
    return read_results(output)


def read_results(output):
    return {
        folder.name: (
            read_picture(folder / "joint.png"),
            json.loads((folder / "report.json").read_text()),
        )
        for folder in output.iterdir()
        if folder.is_dir()
    }


def read_picture(path):
    with Image.open(path) as image:
        return np.asarray(image)


def assert_same_answer(one, other):
    np.testing.assert_array_equal(one[0], other[0])
    assert one[1]["candidates"] == other[1]["candidates"]


@pytest.fixture(scope="module")
def drawings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawings")
    return {
        "disc": draw(folder / "disc.png", "disc"),
        "cross": draw(folder / "cross.bmp", "cross"),
        "box": draw(folder / "box.jpg", "box"),
    }


@pytest.fixture(scope="module")
def output(drawings, tmp_path_factory):
    output = tmp_path_factory.mktemp("results") / "new" / "folder"
    run(list(drawings.values()), output)
    return output


@pytest.fixture
def broken(tmp_path):
    """Drawings of which none can be used, and what is said of each."""
    folder = tmp_path / "broken"
    draw(folder / "blank.png", "nothing")
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("no picture")
    return {
        folder / "blank.png": "the drawing is blank",
        folder / "empty.png": "it is not a picture",
        folder / "text.png": "it is not a picture",
    }


def test_each_drawing_has_a_folder_and_all_share_a_sheet(output):
    names = sorted(path.relative_to(output).as_posix() for path in output.rglob("*"))
    assert names == ["box", "box/joint.png", "box/photo.png", "box/report.json"] + [
        "contact_sheet.png"
    ] + [
        f"{name}{file}"
        for name in ("cross", "disc")
        for file in ("", "/joint.png", "/photo.png", "/report.json")
    ]


def test_the_photo_is_the_right_half_of_the_joint_image(output):
    for name in ("disc", "cross", "box"):
        joint = read_picture(output / name / "joint.png")
        photo = read_picture(output / name / "photo.png")
        assert (joint.shape, photo.shape) == ((16, 32, 3), (16, 16, 3))
        np.testing.assert_array_equal(photo, joint[:, 16:])
        assert joint.std() > 10


def test_the_report_says_what_was_done(output, drawings):
    report = json.loads((output / "disc" / "report.json").read_text())
    candidates = report.pop("candidates")
    assert report == {
        "input": str(drawings["disc"]),
        "model": "random",
        "seed": 0,
        "search": dataclasses.asdict(SEARCH),
    }
    assert len(candidates) == 3
    assert all(set(c) == {"kl", "perceptual"} for c in candidates)
    losses = [c["kl"] for c in candidates]
    assert losses == sorted(losses)
    assert losses[0] > 0


def test_the_sheet_has_a_row_for_each_drawing(output):
    sheet = read_picture(output / "contact_sheet.png")
    height, width, _ = sheet.shape
    # The drawing, the input and three joint images, twice as large as the model's.
    assert width == 2 * 32 + 3 * 64 + 6 * 4
    caption = height - (3 * (32 + 4) + 4)
    assert 8 < caption < 40
    for row, name in enumerate(["disc", "cross", "box"]):
        top = caption + 4 + row * 36
        best = sheet[top : top + 32, 4 + 2 * 36 :][:, :64]
        joint = read_picture(output / name / "joint.png")
        np.testing.assert_array_equal(best[::2, ::2], joint)


def test_what_cannot_be_used_is_named_with_the_reason_and_the_rest_completes(
    broken, drawings, tmp_path, caplog
):
    paths = [*broken, drawings["disc"]]
    output = tmp_path / "out"
    count = complete.complete(
        random_model(), paths, output, PREPARE, SEARCH, seed=0, block_size=1
    )
    assert count == 3
    assert set(read_results(output)) == {"disc"}
    errors = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert len(errors) == 3
    for line, (path, reason) in zip(errors, broken.items(), strict=True):
        assert line.count(str(path)) == 1
        assert reason in line


def test_nothing_usable_leaves_no_sheet(broken, tmp_path):
    output = tmp_path / "out"
    assert run(list(broken), output) == {}
    assert not list(output.iterdir())


def test_white_strokes_on_black_are_the_same_drawing(drawings, tmp_path):
    with Image.open(drawings["disc"]) as image:
        ImageOps.invert(image).save(tmp_path / "white.png")
    results = run([drawings["disc"], tmp_path / "white.png"], tmp_path / "out")
    assert_same_answer(results["disc"], results["white"])


@pytest.mark.parametrize("block_size", [1, 3])
def test_an_answer_depends_on_no_other_drawing_and_on_no_order(
    drawings, tmp_path, block_size
):
    lists = [["disc"], ["cross", "disc"], ["box", "cross", "disc"], ["disc", "box"]]
    answers = [
        run(
            [drawings[name] for name in names],
            tmp_path / "_".join(names),
            block_size=block_size,
        )
        for names in lists
    ]
    for answer in answers[1:]:
        assert_same_answer(answer["disc"], answers[0]["disc"])
    assert_same_answer(answers[1]["cross"], answers[2]["cross"])
    assert not np.array_equal(answers[1]["cross"][0], answers[1]["disc"][0])


def test_a_seed_gives_the_same_answer_each_time_and_another_one_another(
    output, drawings, tmp_path
):
    again = run([drawings["disc"]], tmp_path / "again")["disc"]
    other = run([drawings["disc"]], tmp_path / "other", seed=1)["disc"]
    assert_same_answer(again, read_results(output)["disc"])
    assert other[1]["seed"] == 1
    assert other[1]["candidates"] != again[1]["candidates"]
    assert not np.array_equal(other[0], again[0])


def test_files_of_one_name_do_not_overwrite_each_other(tmp_path):
    paths = [
        draw(tmp_path / name, kind)
        for name, kind in (
            ("a/x.png", "disc"),
            ("b/x.png", "cross"),
            ("x.jpg", "box"),
            ("x.png", "disc"),
        )
    ]
    results = run(paths, tmp_path / "out")
    assert sorted(report["input"] for _, report in results.values()) == sorted(
        map(str, paths)
    )


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/x.png"], ["x"]),
        (["a/x.png", "b/y.png"], ["x", "y"]),
        (["a/x.png", "b/x.png"], ["a_x_png", "b_x_png"]),
        (["x.jpg", "x.png", "y.png"], ["x_jpg", "x_png", "y"]),
    ],
)
def test_a_result_is_named_like_its_file_with_more_only_where_names_clash(paths, names):
    assert complete.result_names([Path(path) for path in paths]) == names


@pytest.mark.parametrize(
    "paths",
    [
        ["a/x.png", "b/x.png", "a_x_png.png"],
        ["a_x_png.png", "a/x.png", "b/x.png"],
        ["p/a/x.png", "q/a/x.png", "r/a/x.png"],
        ["/x.png", "/x.jpg"],
        ["../x.png", "../../x.png"],
        ["..png", "a/...png", "y.png"],
    ],
)
def test_result_names_are_unique_folders_below_the_output(paths):
    names = complete.result_names([Path(path) for path in paths])
    assert len(set(names)) == len(paths)
    for name in names:
        assert Path("/out") / name == Path("/out", name.replace("/", "_"))
        assert name not in ("", ".", "..")


def test_a_folder_gives_its_pictures_and_nothing_else(tmp_path):
    for name in ("b.PNG", "a.jpeg", "notes.txt", "c.svg", "._a.jpeg", "sub/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    expected = [tmp_path / "a.jpeg", tmp_path / "b.PNG"]
    assert complete.find_inputs([str(tmp_path)]) == expected


def test_patterns_files_and_folders_add_up_without_doubles(tmp_path):
    for name in ("b.png", "a.png", "c.gif", "sub/d.png", "e[1].png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    a, b, d, e = (tmp_path / n for n in ("a.png", "b.png", "sub/d.png", "e[1].png"))
    find = complete.find_inputs
    assert find([f"{tmp_path}/[ab].png"]) == [a, b]
    assert find([str(b), f"{tmp_path}/?.png"]) == [b, a]
    assert find([f"{tmp_path}/**/*.png"]) == [a, b, e, d]
    assert find([str(e), str(tmp_path / "sub")]) == [e, d]


@pytest.mark.parametrize("pattern", ["*.png", "missing.png", "folder"])
def test_an_input_that_fits_nothing_is_named(tmp_path, pattern):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").touch()
    given = [str(tmp_path / "folder" / "notes.txt"), str(tmp_path / pattern)]
    with pytest.raises(FileNotFoundError) as caught:
        complete.find_inputs(given)
    assert str(caught.value) == f"--input={tmp_path / pattern} fits no picture"


def test_loading_prefers_neither_workdir_nor_model_where_there_is_none(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=f"no model '{tmp_path}'"):
        complete.load_model(str(tmp_path))


@pytest.fixture
def main(monkeypatch, tmp_path, drawings):
    """The command, with flags as given; returns what it leaves with."""
    save_random_model(tmp_path / "model")
    flags = {name: command.FLAGS[name].default for name in command.FLAGS}
    flags |= {
        "model": str(tmp_path / "model"),
        "input": [str(drawings["disc"])],
        "output": str(tmp_path / "out"),
        "num_starts": SEARCH.num_starts,
        "num_candidates": SEARCH.num_candidates,
        "steps": SEARCH.num_steps,
    }

    def call(**changes):
        monkeypatch.setattr(command, "FLAGS", types.SimpleNamespace(**flags | changes))
        try:
            command.main(["complete"])
        except SystemExit as leaving:
            return leaving.code
        return 0

    return call


def test_the_command_completes_with_the_search_that_its_flags_say(main, tmp_path):
    assert main() == 0
    ((_, report),) = read_results(tmp_path / "out").values()
    assert report["model"] == "model"
    assert report["search"] == dataclasses.asdict(SEARCH)


def test_more_candidates_than_starts_is_an_error_that_names_both(main, tmp_path):
    message = main(num_candidates=9, num_starts=8)
    assert message.startswith("error: num_candidates is 9")
    assert "num_starts, 8" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("below", ["", "below"])
def test_an_output_that_cannot_be_written_is_named(main, tmp_path, below):
    (tmp_path / "file").touch()
    message = main(output=str(tmp_path / "file" / below))
    assert message.startswith("error: ")
    assert str(tmp_path / "file" / below) in message


def test_a_pattern_that_fits_nothing_is_an_error(main, tmp_path):
    message = main(input=[str(tmp_path / "*.png")])
    assert message == f"error: --input={tmp_path}/*.png fits no picture"


def test_a_missing_model_is_an_error(main):
    message = main(model="no_such_model")
    assert message.startswith("error: no model 'no_such_model': give one of [")


def test_a_frame_that_there_is_not_is_an_error_with_the_choices(main):
    message = main(frame="tight")
    assert message.startswith("error: unknown frame 'tight': choose one of auto, keep")


def test_help_knows_the_frames_that_there_are():
    text = command.FLAGS["frame"].help
    for frame in ("auto", "keep", *FACE_BOXES):
        assert frame in text


def test_started_from_a_shell_it_completes_what_it_can_and_leaves_with_1(
    broken, drawings, tmp_path
):
    save_random_model(tmp_path / "model")
    flags = ["--model=model", "--input=broken/*", f"--input={drawings['disc']}"]
    flags += ["--output=out", "--num_starts=64", "--num_candidates=2", "--steps=2"]
    result = subprocess.run(
        [sys.executable, ROOT / "launch" / "complete.py", *flags],
        cwd=tmp_path,
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1, result.stderr
    for path, reason in broken.items():
        (line,) = (x for x in result.stderr.splitlines() if path.name in x)
        assert f"broken/{path.name}" in line
        assert reason in line
    assert result.stderr.splitlines()[-1].startswith("3 of the drawings")
    assert "Traceback" not in result.stderr
    assert set(read_results(tmp_path / "out")) == {"disc"}
    assert (tmp_path / "out" / "contact_sheet.png").is_file()
