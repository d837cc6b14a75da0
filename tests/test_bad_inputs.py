"""Whatever lies among the pictures: it completes, or is named with the reason and a way out."""

import errno
import functools
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps
from tiny_models import random_model

from cgan_jax import complete, inputs
from cgan_jax.configs import default
from cgan_jax.drawings import DrawingError, Prepared, Seen, read_drawing
from cgan_jax.input_files import find_inputs
from cgan_jax.projection import Search
from cgan_jax.result_files import read_report

BUDGET = {"num_starts": 64, "num_candidates": 2, "num_steps": 1, "inner_steps": 0}
SEARCH = Search(**dict(default.get_config().projection) | BUDGET)
JOINT = random_model().joint
DRAWING = functools.partial(
    inputs.drawing_known,
    joint=JOINT,
    prepare=Seen.by(JOINT, random_model().config).prepare,
)
PHOTO = functools.partial(inputs.photo_known, joint=JOINT, sketches=JOINT.sketches)

pytestmark = pytest.mark.usefixtures("quick_compilation")


def drawing():
    image = Image.new("L", (48, 40), 255)
    pen = ImageDraw.Draw(image)
    pen.ellipse([10, 6, 38, 34], outline=0, width=3)
    pen.line([14, 20, 30, 28], fill=0, width=3)
    return image


def png_header(side):
    """A PNG that says it is so large, and holds nothing."""

    def chunk(kind, data):
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0"))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def save_the_same(folder):
    """One drawing in many guises, without loss."""
    plain = drawing()
    grey = np.asarray(plain)
    transparent = np.zeros((*grey.shape, 4), np.uint8)
    transparent[..., 3] = 255 - grey
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    turned = plain.transpose(Image.Transpose.ROTATE_90)
    others = [Image.new("L", plain.size, level) for level in (0, 128)]
    plain.save(folder / "plain.png")
    ImageOps.invert(plain).save(folder / "inverted.png")
    plain.convert("RGB").save(folder / "colour.bmp")
    plain.convert("1").save(folder / "one_bit.tif")
    plain.convert("P").save(folder / "palette.png")
    Image.fromarray(transparent).save(folder / "transparent.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(folder / "sixteen_bits.png")
    turned.save(folder / "turned.png", exif=exif)
    for name, options in (
        ("animated.gif", {}),
        ("animated_too.png", {}),
        ("animated_again.webp", {"lossless": True}),
    ):
        plain.save(folder / name, save_all=True, append_images=others, **options)


def save_the_bad(folder):
    """What cannot be used; returns the reason and the way out for each."""
    Image.new("L", (40, 40), 255).save(folder / "blank.png")
    Image.new("RGBA", (40, 40), (0, 0, 0, 0)).save(folder / "nothing.png")
    Image.new("L", (1, 1), 0).save(folder / "point.png")
    line = Image.new("L", (1, 5000), 255)
    line.paste(0, (0, 1000, 1, 4000))
    line.save(folder / "line.png")
    content = (folder / "plain.png").read_bytes()
    (folder / "truncated.png").write_bytes(content[: len(content) // 2])
    (folder / "huge.png").write_bytes(png_header(20000))
    (folder / "text.jpg").write_text("no picture")
    (folder / "empty.webp").touch()
    (folder / "lost.png").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "pipe.png")
    return {
        "blank.png": ("is blank", "no stroke stands out"),
        "nothing.png": ("is blank", "no stroke stands out"),
        "point.png": ("is blank", "no stroke stands out"),
        "line.png": ("is blank", "no stroke stands out"),
        "truncated.png": ("damaged", "save it anew"),
        "huge.png": ("400000000 pixels", "reduce it to at most 64 million"),
        "text.jpg": ("not a picture", "give a PNG"),
        "empty.webp": ("not a picture", "give a PNG"),
        "lost.png": ("No such file", "lost.png"),
        "pipe.png": ("no ordinary file", "name pictures"),
    }


def run(folder, output, read):
    request = complete.Request(read, {}, SEARCH)
    files = find_inputs([str(folder)], output)
    return complete.complete(random_model(), files, output, request, max_parallel=1)


def errors(caplog):
    return [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


def test_good_drawings_complete_beside_bad_ones_that_are_named(
    folder, tmp_path, caplog
):
    save_the_same(folder)
    same = sorted(path.stem for path in folder.iterdir())
    bad = save_the_bad(folder)
    output = tmp_path / "out"
    count = run(folder, output, DRAWING)
    said = errors(caplog)
    assert count == len(said) == len(bad) == 10
    for name, parts in bad.items():
        (line,) = (x for x in said if str(folder / name) in x)
        assert all(part in line for part in parts), line
    assert len(same) == 11
    wanted = read_report(output / "plain")["candidates"]
    for name in same:
        assert read_report(output / name)["candidates"] == wanted, name
    assert {x.name for x in output.iterdir() if x.is_dir()} == set(same)


def test_photographs_complete_beside_bad_ones_that_are_named(folder, tmp_path, caplog):
    save_the_same(folder)
    bad = {x: y for x, y in save_the_bad(folder).items() if "blank" not in y[0]}
    output = tmp_path / "out"
    count = run(folder, output, PHOTO)
    said = errors(caplog)
    assert count == len(said) == len(bad) == 6
    for name in bad:
        (line,) = (x for x in said if str(folder / name) in x)
        assert any(way in line for way in ("save it anew", "name pictures", "No such"))
    wanted = read_report(output / "plain")["candidates"]
    for name in ("palette", "transparent", "sixteen_bits", "turned", "animated"):
        assert read_report(output / name)["candidates"] == wanted, name
    for name in ("blank", "nothing", "point", "line"):  # photographs may be so
        assert read_report(output / name)["candidates"] != wanted, name


def test_a_long_strip_is_never_a_square_of_its_length(folder):
    """50 x 500,000 pixels; as a square, 250,000 million."""
    strip = np.full((50, 500_000), 255, np.uint8)
    strip[:, 100_000:400_000] = 0
    Image.fromarray(strip).save(folder / "strip.png", compress_level=1)
    known = inputs.drawing_known(
        folder / "strip.png",
        JOINT,
        lambda grey: Prepared("xdog", np.zeros((16, 16), np.float32)),
    )
    assert known.original.shape == (1024, 1024, 3)
    assert known.original.min() == 0 and known.original.max() == 255


@pytest.mark.parametrize(
    "name", ["a.png", "a.jpg", "a.webp", "a.gif", "a.tif", "a.bmp"]
)
def test_a_drawing_cut_anywhere_is_read_or_refused(folder, name):
    """No decoder's error gets through: one such file would end a run of thousands."""
    path = folder / name
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {} if name.endswith(("gif", "bmp")) else {"exif": exif}
    drawing().save(path, **options)
    content = path.read_bytes()
    refused = 0
    for end in range(0, len(content), max(1, len(content) // 60)):
        path.write_bytes(content[:end])
        try:
            grey = read_drawing(path)
        except DrawingError as error:
            assert str(path) in str(error)
            refused += 1
        else:
            assert grey.min() >= 0 and grey.max() <= 1
    assert refused > 10


def test_a_full_disk_ends_the_run_and_the_same_command_goes_on(
    folder, tmp_path, monkeypatch
):
    drawing().save(folder / "a.png")
    ImageOps.mirror(drawing()).save(folder / "b.png")
    output, left = tmp_path / "out", 4
    save = Image.Image.save

    def fill(self, *args, **kwargs):
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(self, *args, **kwargs)

    ask = functools.partial(run, folder, output, DRAWING)
    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", fill)
        with pytest.raises(OSError, match="No space left on device: '.*b.tmp/.*png'.*"):
            ask()
        with pytest.raises(OSError, match="same command again, what is finished stays"):
            ask()
    assert read_report(output / "a") and not (output / "b").exists()
    before = (output / "a" / "report.json").stat().st_mtime_ns
    assert ask() == 0
    assert (output / "a" / "report.json").stat().st_mtime_ns == before
    names = {path.name for path in output.iterdir()}
    assert names == {"a", "b", "contact_sheet.png", "index.html", "timings_0.jsonl"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_named(folder, tmp_path, caplog):
    drawing().save(folder / "a.png")
    (folder / "a.png").chmod(0)
    assert run(folder, tmp_path / "out", DRAWING) == 1
    (line,) = errors(caplog)
    assert "Permission denied" in line and str(folder / "a.png") in line
