"""Pictures of every mode become right RGB; squares keep the object in."""

import numpy as np
import pytest
from PIL import Image
from tiny_archives import colours, encode

from cgan_jax.decoding import (
    BrokenPictureError,
    centre_square,
    cut_square,
    read_photo,
    read_sketch,
    square_around,
)


def _photo_of(pixels, kind: str = "PNG", **options) -> np.ndarray:
    """The picture encoded and decoded again."""
    content = encode(pixels, kind, **options)
    return read_photo(lambda: content, "a picture")


@pytest.mark.parametrize("bits", [8, 16])
def test_grey(bits):
    grey = np.arange(36, dtype=np.uint8).reshape(6, 6) * 7
    photo = _photo_of(grey if bits == 8 else grey.astype(np.uint16) * 257)
    np.testing.assert_array_equal(photo, np.repeat(grey[:, :, None], 3, axis=2))


def test_palette_and_black_and_white():
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 200, 100, 50])
    assert (_photo_of(palette) == (200, 100, 50)).all()
    assert (_photo_of(Image.new("1", (4, 4), 1)) == 255).all()


def test_cmyk_as_adobe_writes_it():
    """Adobe's JPEGs hold inverted inks, and say so in a marker."""
    content = encode(Image.new("CMYK", (8, 8), (0, 255, 0, 0)), "JPEG", quality=95)
    assert b"Adobe" in content
    photo = read_photo(lambda: content, "a picture").astype(int)
    assert np.abs(photo - (255, 0, 255)).max() <= 4


def test_transparency_shows_white():
    image = np.zeros((2, 2, 4), np.uint8)
    image[0, 0] = 200, 100, 50, 255
    image[0, 1] = 200, 100, 50, 0
    image[1, 0] = 0, 0, 0, 51  # a fifth of black
    expected = [[(200, 100, 50), (255, 255, 255)], [(204, 204, 204), (255, 255, 255)]]
    np.testing.assert_array_equal(_photo_of(image), expected)


@pytest.mark.parametrize("transparency", [1, b"\xff\x00"])
def test_transparent_palette_shows_white(transparency):
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 200, 100, 50])
    assert (_photo_of(palette, transparency=transparency) == 255).all()


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (2, lambda photo: photo[:, ::-1]),
        (3, lambda photo: np.rot90(photo, 2)),
        (6, lambda photo: np.rot90(photo, -1)),
        (8, lambda photo: np.rot90(photo)),
    ],
)
def test_exif_orientation_is_honoured_if_wanted(orientation, turn):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode(colours(4, 9), exif=exif)
    turned = read_photo(lambda: content, "a picture")
    np.testing.assert_array_equal(turned, turn(colours(4, 9)))
    stored = read_photo(lambda: content, "a picture", upright=False)
    np.testing.assert_array_equal(stored, colours(4, 9))


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {"quality": 95}), ("WEBP", {"lossless": True})]
)
def test_other_formats(kind, options):
    flat = Image.new("RGB", (16, 16), (200, 100, 50))
    photo = _photo_of(flat, kind, **options).astype(int)
    assert np.abs(photo - (200, 100, 50)).max() <= 3


def test_a_sketch_is_brightness_on_white_paper():
    image = np.zeros((1, 4, 4), np.uint8)
    image[0, 0] = 255, 0, 0, 255
    image[0, 1] = 0, 255, 0, 255
    image[0, 2] = 0, 0, 0, 255
    content = encode(image)  # the last pixel is transparent
    sketch = read_sketch(lambda: content, "a sketch")
    np.testing.assert_array_equal(sketch, [[76, 150, 0, 255]])  # 0.299 R + 0.587 G


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_truncated_pictures_are_broken(kind):
    content = encode(colours(64, 64), kind)
    with pytest.raises(BrokenPictureError, match="a picture is broken: ."):
        read_photo(lambda: content[: len(content) // 2], "a picture")


@pytest.mark.parametrize("content", [b"", b"no picture", b"GIF89a" + b"\0" * 9])
def test_what_is_no_picture_is_broken(content):
    with pytest.raises(BrokenPictureError, match="a picture is broken: [^<]*$"):
        read_photo(lambda: content, "a picture")


@pytest.mark.parametrize("error", [KeyError("gone"), NotImplementedError(), OSError(5)])
def test_what_cannot_be_read_is_broken(error):
    def fail():
        raise error

    with pytest.raises(BrokenPictureError, match=r"a picture is broken: \S"):
        read_sketch(fail, "a picture")


def test_centre_square():
    assert centre_square(9, 4) == (2, 0, 4)
    assert centre_square(5, 8) == (0, 1, 5)


@pytest.mark.parametrize(
    ("box", "margin", "expected"),
    [
        ((40, 30, 60, 50), 0.0, (40, 30, 20)),  # as it is
        ((40, 30, 60, 40), 0.0, (40, 25, 20)),  # the longer side
        ((40, 30, 60, 40), 0.25, (35, 20, 30)),  # and a quarter of it on either side
        ((2, 30, 22, 40), 0.25, (0, 20, 30)),  # shifted to the right
        ((90, 55, 100, 60), 0.5, (80, 40, 20)),  # shifted to the left and up
        ((-20, 30, 20, 40), 0.0, (0, 25, 20)),  # what lies outside does not count
        ((10, 5, 60, 55), 0.5, (5, 0, 60)),  # the margin gives way
        ((10, 5, 90, 55), 0.1, (10, -10, 80)),  # longer than the picture is high
        ((-10, -10, 200, 200), 0.1, (0, -20, 100)),
    ],
)
def test_the_square_around_a_box(box, margin, expected):
    """In a picture of 100 x 60 pixels."""
    assert square_around(tuple(map(float, box)), margin, 100, 60) == expected


@pytest.mark.parametrize("seed", range(20))
def test_the_square_holds_the_box(seed):
    rng = np.random.default_rng(seed)
    width, height = rng.integers(20, 200, 2).tolist()
    left, right = sorted(rng.integers(0, width + 1, 2).tolist())
    top, bottom = sorted(rng.integers(0, height + 1, 2).tolist())
    box = (float(left), float(top), right + 1.0, bottom + 1.0)
    x, y, side = square_around(box, 0.1, width, height)
    assert x <= left and y <= top
    assert x + side >= min(right + 1, width) and y + side >= min(bottom + 1, height)
    if side <= min(width, height):
        assert x >= 0 and y >= 0 and x + side <= width and y + side <= height


@pytest.mark.parametrize("box", [(100, 0, 120, 20), (5, 5, 5, 9), (-9, -9, -1, -1)])
def test_a_box_outside_of_the_picture_is_refused(box):
    with pytest.raises(ValueError, match="lies outside of its 100x60 pixels"):
        square_around(tuple(map(float, box)), 0.1, 100, 60)


def test_beyond_the_edge_its_pixels_are_repeated():
    photo = colours(4, 6)
    np.testing.assert_array_equal(cut_square(photo, (1, 0, 4)), photo[:, 1:5])
    over = cut_square(photo, (0, -1, 6))
    np.testing.assert_array_equal(over, photo[[0, 0, 1, 2, 3, 3]])
    over = cut_square(photo[:, :, 0], (-2, 1, 3))
    np.testing.assert_array_equal(over, photo[1:4, [0, 0, 0], 0])
