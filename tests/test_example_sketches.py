"""The example sketches are what their program draws, and look like line drawings."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "sketches"
FILES = sorted(FOLDER.glob("*.png"))


def load() -> ModuleType:
    """Import ``draw.py``, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("draw_sketches", FOLDER / "draw.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


draw = load()


def pixels(file: Path) -> np.ndarray:
    """Return a stored sketch, which must be a grey picture."""
    with Image.open(file) as image:
        assert image.mode == "L"
        return np.asarray(image)


def test_every_picture_is_there() -> None:
    """The folder holds the pictures of the program, and no others."""
    assert [file.stem for file in FILES] == sorted(draw.PICTURES)
    assert len(FILES) >= 10


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_drawing_again_gives_the_same_pixels(file: Path) -> None:
    """A sketch depends on nothing but its program."""
    again = np.asarray(draw.PICTURES[file.stem].draw())
    np.testing.assert_array_equal(pixels(file), again)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_sketch_is_thin_lines_on_empty_paper(file: Path) -> None:
    """Between 3 % and 25 % is ink, nearly all of it fully black or white."""
    image = pixels(file) / 255
    ink = image if "inverted" in file.stem else 1 - image
    assert 0.03 <= ink.mean() <= 0.25
    assert np.mean((ink > 0.05) & (ink < 0.95)) < 0.2


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_size(file: Path) -> None:
    """All sketches are square but the scan."""
    assert pixels(file).shape == ((640, 500) if "scan" in file.stem else (256, 256))


def test_inverted_is_the_negative() -> None:
    """White on black is the same drawing."""
    plain, inverted = (FOLDER / f"face_09{end}.png" for end in ("", "_inverted"))
    np.testing.assert_array_equal(pixels(inverted), 255 - pixels(plain))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_pupils_are_where_the_model_expects_them(file: Path) -> None:
    """There is much ink about both pupils."""
    if "scan" in file.stem:
        pytest.skip("not in the frame of the model")
    image = pixels(file) / 255
    ink = image if "inverted" in file.stem else 1 - image
    for x in (93, 162):
        assert ink[104:120, x - 8 : x + 9].mean() > 0.25
