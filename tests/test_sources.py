"""Photographs from folders and archives, in every mode, and what is said of bad ones."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from cgan_jax.sources import BrokenPictureError, centre_square, open_source, read_photo


def _colours(height: int = 6, width: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def _encode(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _write(folder, files: dict[str, bytes]):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def _zip(path, files: dict[str, bytes]):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def _photo_of(tmp_path, image: Image.Image, kind: str = "PNG", **options) -> np.ndarray:
    """The image written to a folder and read back."""
    name = f"picture.{kind.lower()}"
    folder = _write(tmp_path / "one", {name: _encode(image, kind, **options)})
    return read_photo(open_source(folder), name)


@pytest.fixture
def files() -> dict[str, bytes]:
    """Four pictures in nested folders, with the junk that surrounds them in practice."""
    pictures = {
        name: _encode(Image.fromarray(_colours(seed=seed)))
        for seed, name in enumerate(["b.png", "a/z.PNG", "a/b/c.png", "a.png"])
    }
    junk = {
        "__MACOSX/a/._z.PNG": b"junk",
        "a/.hidden.png": b"junk",
        ".thumbnails/a.png": b"junk",
        "readme.txt": b"text",
    }
    return pictures | junk


def test_folder_and_archive_give_the_same(tmp_path, files):
    folder = open_source(_write(tmp_path / "folder", files))
    archive = open_source(str(_zip(tmp_path / "archive.zip", files)))
    assert folder.names == archive.names == ("a.png", "a/b/c.png", "a/z.PNG", "b.png")
    for seed, name in enumerate(["b.png", "a/z.PNG", "a/b/c.png", "a.png"]):
        np.testing.assert_array_equal(read_photo(folder, name), _colours(seed=seed))
        np.testing.assert_array_equal(read_photo(archive, name), _colours(seed=seed))
        assert folder.checksum(name) == archive.checksum(name)


def test_folders_in_an_archive_are_not_pictures(tmp_path):
    picture = _encode(Image.fromarray(_colours()))
    path = _zip(
        tmp_path / "archive.zip", {"album.png/": b"", "album.png/a.png": picture}
    )
    assert open_source(path).names == ("album.png/a.png",)


def test_the_centre_square_is_cut_out(tmp_path):
    wide, high = _colours(4, 9), _colours(8, 5)
    np.testing.assert_array_equal(
        _photo_of(tmp_path, Image.fromarray(wide)), wide[:, 2:6]
    )
    np.testing.assert_array_equal(_photo_of(tmp_path, Image.fromarray(high)), high[1:6])
    np.testing.assert_array_equal(centre_square(wide[:, :4]), wide[:, :4])


@pytest.mark.parametrize("bits", [8, 16])
def test_grey(tmp_path, bits):
    grey = np.arange(36, dtype=np.uint8).reshape(6, 6) * 7
    stored = grey if bits == 8 else grey.astype(np.uint16) * 257
    photo = _photo_of(tmp_path, Image.fromarray(stored))
    np.testing.assert_array_equal(photo, np.repeat(grey[:, :, None], 3, axis=2))


def test_palette_and_black_and_white(tmp_path):
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 200, 100, 50])
    assert (_photo_of(tmp_path, palette) == (200, 100, 50)).all()
    assert (_photo_of(tmp_path, Image.new("1", (4, 4), 1)) == 255).all()


def test_cmyk(tmp_path):
    magenta = Image.new("CMYK", (8, 8), (0, 255, 0, 0))
    photo = _photo_of(tmp_path, magenta, "JPEG", quality=95).astype(int)
    assert np.abs(photo - (255, 0, 255)).max() <= 4


def test_transparency_shows_white(tmp_path):
    image = np.zeros((2, 2, 4), np.uint8)
    image[0, 0] = 200, 100, 50, 255
    image[0, 1] = 200, 100, 50, 0
    image[1, 0] = 0, 0, 0, 51  # a fifth of black
    photo = _photo_of(tmp_path, Image.fromarray(image))
    expected = [[(200, 100, 50), (255, 255, 255)], [(204, 204, 204), (255, 255, 255)]]
    np.testing.assert_array_equal(photo, expected)


@pytest.mark.parametrize("transparency", [1, b"\xff\x00"])
def test_transparent_palette_shows_white(tmp_path, transparency):
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 200, 100, 50])
    assert (_photo_of(tmp_path, palette, transparency=transparency) == 255).all()


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (2, lambda photo: photo[:, ::-1]),
        (3, lambda photo: np.rot90(photo, 2)),
        (6, lambda photo: np.rot90(photo, -1)),
        (8, lambda photo: np.rot90(photo)),
    ],
)
def test_exif_orientation_is_honoured(tmp_path, orientation, turn):
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = _photo_of(tmp_path, Image.fromarray(_colours()), exif=exif)
    np.testing.assert_array_equal(photo, turn(_colours()))


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {"quality": 95}), ("WEBP", {"lossless": True})]
)
def test_other_formats(tmp_path, kind, options):
    flat = Image.new("RGB", (16, 16), (200, 100, 50))
    photo = _photo_of(tmp_path, flat, kind, **options).astype(int)
    assert np.abs(photo - (200, 100, 50)).max() <= 3


@pytest.mark.parametrize("content", [b"", b"no picture", "truncated"])
@pytest.mark.parametrize("archived", [False, True])
def test_a_broken_picture_is_named(tmp_path, content, archived):
    if content == "truncated":
        content = _encode(Image.fromarray(_colours(64, 64)))[:2000]
    files = {"sub/bad.png": content}
    path = (
        _zip(tmp_path / "a.zip", files) if archived else _write(tmp_path / "f", files)
    )
    with pytest.raises(BrokenPictureError, match=r"sub/bad\.png in .* is broken: ."):
        read_photo(open_source(path), "sub/bad.png")


def test_damage_inside_an_archive_is_found(tmp_path):
    picture = _encode(Image.fromarray(_colours(16, 16)))
    path = _zip(tmp_path / "a.zip", {"a.png": picture})
    content = bytearray(path.read_bytes())
    content[200] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(BrokenPictureError, match="a.png.*CRC"):
        read_photo(open_source(path), "a.png")


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="nowhere does not exist: give a folder or a ZIP"
    ):
        open_source(tmp_path / "nowhere")


def test_a_file_that_is_no_archive_is_named(tmp_path):
    _write(tmp_path, {"a.png": _encode(Image.fromarray(_colours()))})
    with pytest.raises(ValueError, match=r"a\.png is neither a folder nor a ZIP"):
        open_source(tmp_path / "a.png")


@pytest.mark.parametrize("archived", [False, True])
def test_no_pictures(tmp_path, archived):
    files = {"readme.txt": b"text", "__MACOSX/a.png": b"junk"}
    path = (
        _zip(tmp_path / "a.zip", files) if archived else _write(tmp_path / "f", files)
    )
    with pytest.raises(ValueError, match=r"holds no picture: give .*\.jpg.*\.webp"):
        open_source(path)
