"""Sketches of files: what is read, what is written where, and what is left out."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cgan_jax import sheets, sketch_files, sketches
from cgan_jax.images import luma
from cgan_jax.simplify import simplify

ROOT = Path(__file__).resolve().parents[1]


def save_photo(path, seed=0, size=(32, 32)):
    """Writes a random photograph; returns its brightness, as it is computed from RGB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = np.random.default_rng(seed).integers(0, 256, (4, 4), np.uint8)
    image = Image.fromarray(levels).resize(size, Image.Resampling.BICUBIC)
    image.save(path)
    return luma(np.asarray(image.convert("RGB"), np.float32) / 255)


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def run_command(*arguments):
    return subprocess.run(
        [sys.executable, "launch/sketch.py", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "JAX_COMPILATION_CACHE_DIR": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_sketches_what_it_can_and_names_what_it_cannot(tmp_path):
    grey = save_photo(tmp_path / "in" / "a.png")
    save_photo(tmp_path / "in" / "c.png", seed=1, size=(40, 24))
    (tmp_path / "in" / "b.jpg").write_bytes(b"no picture")
    (tmp_path / "in" / "notes.txt").write_text("no picture either")
    output = tmp_path / "out"
    result = run_command("--style=xdog,photocopy", tmp_path / "in", output)
    assert result.returncode == 1
    assert f"{tmp_path / 'in' / 'b.jpg'} is broken: its content" in result.stderr
    assert "1 of the photos could not be read" in result.stderr
    assert "Traceback" not in result.stderr
    written = sorted(str(p.relative_to(output)) for p in output.rglob("*.png"))
    pictures = [f"{s}/{n}.png" for s in ("photocopy", "xdog") for n in "ac"]
    assert written == ["comparison_001.png", *pictures]
    expected = sheets.grey_picture(sketches.xdog(grey))
    np.testing.assert_array_equal(read(output / "xdog" / "a.png"), expected)
    assert read(output / "photocopy" / "c.png").shape == (24, 40, 3)


def test_the_command_simplifies(tmp_path):
    grey = save_photo(tmp_path / "a.png", size=(64, 64))
    result = run_command("--simplify", "--style=fdog", tmp_path / "a.png", tmp_path)
    assert result.returncode == 0, result.stderr
    expected = sheets.grey_picture(simplify(sketches.fdog(grey)))
    np.testing.assert_array_equal(
        read(tmp_path / "fdog_simplified" / "a.png"), expected
    )


def test_an_unknown_style_lists_the_known_ones_and_writes_nothing(tmp_path):
    save_photo(tmp_path / "a.png")
    result = run_command("--style=xdog,pen", tmp_path / "a.png", tmp_path / "out")
    assert result.returncode == 1
    known = ", ".join(sketches.style_names())
    assert f"unknown sketch style 'pen': choose one of {known}" in result.stderr
    assert not (tmp_path / "out").exists()


def test_one_argument_is_a_usage_error(tmp_path):
    result = run_command(tmp_path)
    assert result.returncode == 1
    assert "name photos or folders of them, and last the output" in result.stderr


def test_no_style_is_an_error():
    with pytest.raises(ValueError, match="no style is named: .*xdog"):
        sketch_files.find_styles([])


def test_the_output_must_not_be_a_photo(tmp_path):
    save_photo(tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    styles = sketch_files.find_styles(["xdog"])
    with pytest.raises(NotADirectoryError, match=r"a\.png is a file"):
        sketch_files.sketch_photos([tmp_path / "a.png"], styles, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == before


def test_folders_stand_for_the_pictures_in_them(tmp_path):
    for name in ("b.png", "a.JPG", "._a.jpg", "sub/c.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    expected = [tmp_path / "b.png", tmp_path / "a.JPG"]
    assert sketch_files.find_photos([tmp_path / "b.png", tmp_path]) == expected


def test_a_missing_photo_and_an_empty_folder_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.png does not exist"):
        sketch_files.find_photos([tmp_path / "nothing.png"])
    with pytest.raises(FileNotFoundError, match=f"{tmp_path} holds no picture"):
        sketch_files.find_photos([tmp_path])


def test_photos_of_one_name_do_not_overwrite_each_other(tmp_path):
    photos = [tmp_path / name for name in ("a.png", "a.jpg", "a_2.png", "x/a.png")]
    for seed, photo in enumerate(photos):
        save_photo(photo, seed)
    styles = sketch_files.find_styles(["xdog"])
    assert sketch_files.sketch_photos(photos, styles, tmp_path / "out") == 0
    names = [p.stem for p in sorted((tmp_path / "out" / "xdog").iterdir())]
    assert names == ["a", "a_2", "a_2_2", "a_3"]


def test_sheets_have_sixteen_rows_of_photo_and_sketches(tmp_path):
    photos = [tmp_path / f"{i:02d}.png" for i in range(17)]
    greys = [save_photo(photo, i, (256, 256)) for i, photo in enumerate(photos)]
    styles = {"darker": lambda grey: grey / 2, "white": np.ones_like}
    assert sketch_files.sketch_photos(photos, styles, tmp_path / "out") == 0
    pages = [read(tmp_path / "out" / f"comparison_00{i}.png") for i in (1, 2)]
    assert pages[0].shape[0] - pages[1].shape[0] == 15 * 260
    last = pages[1][-260:-4]
    cells = [last[:, 4 + 260 * i : 260 * (i + 1)] for i in range(3)]
    expected = [greys[16], greys[16] / 2, np.ones((256, 256))]
    for cell, grey in zip(cells, expected, strict=True):
        np.testing.assert_array_equal(cell, sheets.grey_picture(grey))


def test_large_photos_are_reduced(tmp_path):
    save_photo(tmp_path / "a.png", size=(2048, 100))
    styles = sketch_files.find_styles(["photocopy"])
    sketch_files.sketch_photos([tmp_path / "a.png"], styles, tmp_path / "out")
    assert read(tmp_path / "out" / "photocopy" / "a.png").shape == (50, 1024, 3)
