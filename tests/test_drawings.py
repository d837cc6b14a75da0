"""Drawings of every kind of file, and each step that brings them to the model's world."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from scipy import ndimage

from cgan_jax import drawings
from cgan_jax.drawings import DrawingError
from cgan_jax.sketches import area_resize, xdog

quick = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


def draw(paint, width=256, height=None):
    """Black strokes on white, smooth: painted at four times the size, then averaged."""
    height = height or width
    image = Image.new("L", (4 * width, 4 * height), 255)
    paint(ImageDraw.Draw(image))
    pixels = np.asarray(image, np.float32) / np.float32(255)
    return pixels.reshape(height, 4, width, 4).mean(axis=(1, 3))


def head(left=40, top=20, right=216, bottom=236, pen=6, width=256, height=None):
    """A face with its outline: closed above and clear of the edges."""

    def paint(canvas):
        w, h, p = 4 * (right - left), 4 * (bottom - top), 4 * pen
        x, y = 4 * left, 4 * top
        canvas.ellipse([x, y, x + w, y + h], outline=0, width=p)
        for eye in (0.3, 0.7):
            dot = [
                x + (eye - 0.06) * w,
                y + 0.4 * h,
                x + (eye + 0.06) * w,
                y + 0.46 * h,
            ]
            canvas.ellipse(dot, outline=0, width=p)
        mouth = [x + 0.3 * w, y + 0.55 * h, x + 0.7 * w, y + 0.8 * h]
        canvas.arc(mouth, 20, 160, fill=0, width=p)

    return draw(paint, width, height)


def brows_to_chin(pen=8):
    """A face without forehead or hair, as the middle of a head."""

    def paint(canvas):
        canvas.arc([40, -700, 980, 980], 0, 180, fill=0, width=4 * pen)
        for x in (170, 600):
            canvas.arc([x, 40, x + 240, 200], 190, 350, fill=0, width=4 * pen)
            canvas.ellipse([x + 60, 150, x + 180, 220], outline=0, width=4 * pen)
        canvas.line([520, 300, 460, 560, 560, 570], fill=0, width=4 * pen)
        canvas.arc([340, 600, 680, 800], 20, 160, fill=0, width=4 * pen)

    return draw(paint)


def with_neck():
    """A head whose neck and hair run out of the picture."""
    neck = draw(
        lambda canvas: [canvas.line([x, 850, x, 1024], 0, 24) for x in (400, 620)]
    )
    return np.minimum(head(60, 30, 200, 220), neck)


def bars(width, angle=0, side=256):
    """Three parallel strokes of a width in pixels."""

    def paint(canvas):
        for y in (0.3, 0.5, 0.7):
            canvas.line([side, 4 * y * side, 3 * side, 4 * y * side], 0, 4 * width)

    turned = ndimage.rotate(draw(paint, side), angle, reshape=False, order=1, cval=1)
    return turned.clip(0, 1)


def xdog_face():
    """A sketch of the training style: lines of a painted portrait that fills the frame."""

    def paint(canvas):
        canvas.rectangle([0, 0, 512, 512], fill=190)
        canvas.ellipse([60, 20, 452, 700], fill=105)
        canvas.ellipse([-100, 440, 612, 900], fill=90)
        canvas.ellipse([110, 70, 400, 480], fill=215)
        for x in (150, 290):
            canvas.ellipse([x, 210, x + 70, 230], fill=90)
        canvas.line([250, 240, 240, 320, 270, 322], fill=150, width=12)
        canvas.ellipse([195, 370, 320, 385], fill=110)

    return xdog(ndimage.gaussian_filter(draw(paint, 128), 0.8))


def ink_bounds(grey):
    """(left, top, right, bottom) of what is darker than half, in parts of the side."""
    rows, columns = (np.flatnonzero((grey < 0.5).any(axis=axis)) for axis in (1, 0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / len(grey)


def shadowed(grey, noise=0.015):
    """A photograph: grey pencil, noise, and light that falls to less than half."""
    y, x = np.mgrid[: grey.shape[0], : grey.shape[1]] / max(grey.shape)
    light = 0.85 - 0.3 * x - 0.2 * y
    grain = np.random.default_rng(0).normal(0, noise, grey.shape)
    return ((1 - 0.6 * (1 - grey)) * light + grain).clip(0, 1).astype(np.float32)


class TestReadDrawing:
    @pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "bmp", "tiff"])
    @pytest.mark.parametrize("mode", ["1", "L", "RGB"])
    def test_formats_and_modes(self, tmp_path, mode, suffix):
        path = tmp_path / f"drawing.{suffix}"
        picture = Image.new("L", (48, 32), 255)
        picture.paste(0, (0, 0, 24, 32))
        picture.convert(mode).save(path)
        grey = drawings.read_drawing(path)
        assert grey.shape == (32, 48)
        assert grey.dtype == np.float32
        np.testing.assert_allclose(grey[:, :16], 0, atol=0.02)
        np.testing.assert_allclose(grey[:, 32:], 1, atol=0.02)

    def test_cmyk(self, tmp_path):
        path = tmp_path / "drawing.jpg"
        Image.new("CMYK", (8, 8), (0, 0, 0, 255)).save(path, quality=95)
        np.testing.assert_allclose(drawings.read_drawing(path), 0, atol=0.02)

    def test_sixteen_bits_keep_their_levels(self, tmp_path):
        levels = np.array([[0, 20000, 40000, 65535]], np.uint16)
        Image.fromarray(levels).save(tmp_path / "drawing.png")
        grey = drawings.read_drawing(tmp_path / "drawing.png")
        np.testing.assert_allclose(grey, levels / 65535, atol=1e-6)

    def test_grey_is_luma(self, tmp_path):
        Image.new("RGB", (2, 2), (255, 0, 0)).save(tmp_path / "red.png")
        np.testing.assert_allclose(
            drawings.read_drawing(tmp_path / "red.png"), 0.299, atol=2e-3
        )

    @pytest.mark.parametrize("mode", ["LA", "RGBA", "P", "RGB"])
    def test_transparency_is_paper(self, tmp_path, mode):
        path = tmp_path / "drawing.png"
        ink = np.zeros((4, 6, 4), np.uint8)
        ink[:, :3] = (10, 0, 0, 0)
        ink[:, 3:] = (0, 0, 0, 255)
        picture = Image.fromarray(ink)
        if mode == "P":
            indexed = Image.fromarray((ink[..., 3] // 255).astype(np.uint8), "L")
            indexed = indexed.convert("P")
            indexed.putpalette([10, 0, 0, 0, 0, 0])
            indexed.save(path, transparency=0)
        elif mode == "RGB":
            picture.convert("RGB").save(path, transparency=(10, 0, 0))
        else:
            picture.convert(mode).save(path)
        grey = drawings.read_drawing(path)
        np.testing.assert_array_equal(grey[:, :3], 1)
        np.testing.assert_array_equal(grey[:, 3:], 0)

    def test_half_transparent_ink_is_grey(self, tmp_path):
        Image.new("RGBA", (2, 2), (0, 0, 0, 51)).save(tmp_path / "drawing.png")
        grey = drawings.read_drawing(tmp_path / "drawing.png")
        np.testing.assert_allclose(grey, 0.8, atol=1e-6)

    def test_exif_orientation(self, tmp_path):
        picture = Image.new("L", (48, 32), 255)
        picture.paste(0, (0, 0, 24, 32))
        exif = Image.Exif()
        exif[0x0112] = 6  # turn a quarter clockwise
        picture.save(tmp_path / "drawing.jpg", exif=exif)
        grey = drawings.read_drawing(tmp_path / "drawing.jpg")
        assert grey.shape == (48, 32)
        assert grey[:16].max() < 0.05
        assert grey[32:].min() > 0.95

    @staticmethod
    def png_header(width, height):
        def chunk(kind, data):
            check = zlib.crc32(kind + data)
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

        header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
        body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0"))
        return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "not a picture"),
            (b"just some text", "not a picture"),
            (png_header(0, 5), "not a picture"),
            (png_header(9000, 9000), "9000 x 9000 pixels are too many"),
            (png_header(12000, 12000), "decompression bomb"),
            (png_header(60000, 60000), "decompression bomb"),
            (png_header(64, 64), "truncated|broken|incomplete"),
        ],
        ids=["empty", "text", "zero", "large", "larger", "bomb", "damaged"],
    )
    def test_unusable_file_is_named_with_the_reason(self, tmp_path, content, reason):
        path = tmp_path / "mine.png"
        path.write_bytes(content)
        with pytest.raises(DrawingError, match=rf"mine\.png: .*({reason})"):
            drawings.read_drawing(path)

    @pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff"])
    def test_truncated(self, tmp_path, suffix):
        path = tmp_path / f"mine.{suffix}"
        noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(DrawingError, match=rf"mine\.{suffix}"):
            drawings.read_drawing(path)

    def test_missing_file_and_folder(self, tmp_path):
        with pytest.raises(DrawingError, match="No such file"):
            drawings.read_drawing(tmp_path / "none.png")
        with pytest.raises(DrawingError, match=tmp_path.name):
            drawings.read_drawing(tmp_path)


class TestPolarity:
    @pytest.mark.parametrize(
        "grey",
        [head(), brows_to_chin(), with_neck(), bars(20), shadowed(head())],
        ids=["head", "face", "neck", "bars", "shadow"],
    )
    def test_sees_both(self, grey):
        assert not drawings.is_white_on_black(grey)
        assert drawings.is_white_on_black(1 - grey)

    def test_flat_picture_is_not_inverted(self):
        for level in (0, 0.3, 1):
            assert not drawings.is_white_on_black(np.full((9, 9), level, np.float32))

    def test_choice(self):
        grey = head()
        np.testing.assert_array_equal(drawings.set_polarity(grey), grey)
        np.testing.assert_array_equal(drawings.set_polarity(1 - grey, "no"), 1 - grey)
        np.testing.assert_array_equal(drawings.set_polarity(grey, "yes"), 1 - grey)


class TestPaperAndInk:
    @pytest.mark.parametrize("width", [64, 100, 256])
    def test_white_paper_stays_as_it_is(self, width):
        grey = area_resize(head(), width)
        np.testing.assert_allclose(drawings.flatten_paper(grey), grey, atol=1e-3)
        np.testing.assert_allclose(drawings.normalise_ink(grey), grey, atol=0.02)

    def test_training_style_stays_as_it_is(self):
        grey = xdog_face()
        flat = drawings.flatten_paper(grey)
        np.testing.assert_allclose(flat, grey, atol=1e-3)
        np.testing.assert_allclose(drawings.normalise_ink(flat), grey, atol=0.05)

    def test_filled_hair_stays_black(self):
        grey = head()
        grey[20:90, 60:200] = 0
        assert drawings.flatten_paper(grey)[20:90, 60:200].max() < 0.01

    def test_shadow_goes_up_to_the_corners(self):
        y, x = np.mgrid[:200, :300] / 300
        light = (0.9 - 0.3 * x - 0.2 * y).astype(np.float32)
        np.testing.assert_allclose(drawings.flatten_paper(light), 1, atol=0.07)

    def test_photograph_becomes_black_on_white(self):
        grey = head()
        flat = drawings.normalise_ink(drawings.flatten_paper(shadowed(grey)))
        assert np.median(flat[grey == 0]) < 0.1
        assert flat[grey == 1].mean() > 0.995

    def test_faint_stroke_becomes_black(self):
        faint = drawings.normalise_ink(1 - 0.2 * (1 - head()))
        np.testing.assert_allclose(faint, head(), atol=0.01)

    @pytest.mark.parametrize("level", [0, 0.5, 1])
    def test_page_without_ink(self, level):
        page = np.full((40, 60), level, np.float32)
        np.testing.assert_array_equal(drawings.normalise_ink(page), page)
        assert drawings.is_blank(page)

    def test_noise_is_no_ink(self):
        page = shadowed(np.ones((200, 200), np.float32), noise=0.008)
        assert drawings.is_blank(drawings.flatten_paper(page))

    def test_a_small_drawing_on_a_large_page_is_not_blank(self):
        page = np.ones((800, 600), np.float32)
        assert drawings.is_blank(page)
        page[100:180, 100:102] = 0.4
        assert not drawings.is_blank(page)


class TestFitSquare:
    @pytest.mark.parametrize("shape", [(3, 7), (7, 3), (5, 5), (1, 4)])
    def test_letterbox(self, shape):
        grey = np.random.default_rng(0).random(shape, np.float32)
        square = drawings.fit_square(grey, fill=0.5)
        top, left = ((max(shape) - length) // 2 for length in shape)
        assert square.shape == (max(shape), max(shape))
        inside = square[top : top + shape[0], left : left + shape[1]]
        np.testing.assert_array_equal(inside, grey)
        assert np.sum(square == 0.5) == square.size - grey.size

    def test_crop(self):
        grey = np.arange(12, dtype=np.float32).reshape(2, 6)
        np.testing.assert_array_equal(
            drawings.fit_square(grey, fit="crop"), [[2, 3], [8, 9]]
        )


class TestFrame:
    def test_auto(self):
        assert drawings.choose_frame(head()) == "head"
        assert drawings.choose_frame(brows_to_chin()) == "face"
        assert drawings.choose_frame(with_neck()) == "keep"
        assert drawings.choose_frame(xdog_face()) == "keep"

    def test_drawing_cut_to_its_outline_is_whole(self):
        assert drawings.choose_frame(head()[20:236, 32:248]) == "head"
        assert drawings.choose_frame(head()[21:235, 41:215][:174]) == "keep"

    def test_face_on_a_larger_page_is_still_a_face(self):
        page = np.pad(brows_to_chin(), 100, constant_values=1)
        assert drawings.choose_frame(page) == "face"

    def test_one_box_takes_whatever_is_clear_of_the_edges(self):
        boxes = {"whole": (0.1, 0.1, 0.9, 0.9)}
        page = np.pad(brows_to_chin(), 20, constant_values=1)
        assert drawings.choose_frame(page, boxes) == "whole"
        assert drawings.choose_frame(with_neck(), boxes) == "keep"

    def test_keep_returns_the_same(self):
        grey = head()
        assert drawings.frame_drawing(grey, "keep") is grey
        blank = np.ones((8, 8), np.float32)
        assert drawings.frame_drawing(blank, "head") is blank

    @pytest.mark.parametrize("name", ["head", "face"])
    @pytest.mark.parametrize("place", [(40, 20, 216, 236), (10, 180, 60, 241)])
    def test_ink_takes_the_area_and_the_centre_of_the_box(self, name, place):
        placed = drawings.frame_drawing(head(*place, pen=3), name)
        left, top, right, bottom = ink_bounds(placed)
        x0, y0, x1, y1 = drawings.FACE_BOXES[name]
        assert placed.shape == (512, 512)
        area = (right - left) * (bottom - top)
        assert area == pytest.approx((x1 - x0) * (y1 - y0), rel=0.06)
        assert (left + right, top + bottom) == pytest.approx(
            (x0 + x1, y0 + y1), abs=0.03
        )

    def test_shape_is_kept_and_nothing_is_cut(self):
        wide = drawings.frame_drawing(head(10, 100, 246, 150), "face")
        left, top, right, bottom = ink_bounds(wide)
        assert (right - left) / (bottom - top) == pytest.approx(236 / 50, rel=0.05)
        assert left > 0.02
        assert right < 0.98

    def test_specks_do_not_count(self):
        specked = head()
        specked[3, 250] = 0
        expected = ink_bounds(drawings.frame_drawing(head(), "head"))
        placed = drawings.frame_drawing(specked, "head")
        np.testing.assert_allclose(
            ink_bounds(placed)[[0, 3]], expected[[0, 3]], atol=0.02
        )

    def test_large_drawings_keep_their_resolution(self):
        assert drawings.frame_drawing(head(width=600), "head").shape == (600, 600)


class TestLineWidth:
    @pytest.mark.parametrize("angle", [0, 20, 45])
    @pytest.mark.parametrize("width", [2, 4, 7, 12])
    def test_measured(self, width, angle):
        measured = drawings.measure_line_width(bars(width, angle))
        assert measured == pytest.approx(width, abs=0.9)

    def test_follows_the_resolution(self):
        small = drawings.measure_line_width(area_resize(bars(8), 64))
        assert small == pytest.approx(2, abs=0.4)

    def test_no_ink_has_no_width(self):
        assert drawings.measure_line_width(np.ones((20, 30), np.float32)) == 0

    @pytest.mark.parametrize("target", [4.0, 8.0, 14.0])
    @pytest.mark.parametrize("width", [1, 3, 6, 20])
    def test_matched(self, width, target):
        matched = drawings.match_line_width(bars(width, 20), target)
        assert matched.shape == (256, 256)
        assert 0 <= matched.min() < 0.05
        assert matched.max() == 1
        measured = drawings.measure_line_width(matched)
        assert measured == pytest.approx(target, rel=0.3)

    def test_matching_strokes_stay_as_they_are(self):
        grey = bars(6)
        assert drawings.match_line_width(grey, 6.5) is grey

    def test_blank_stays_blank(self):
        grey = np.ones((20, 20), np.float32)
        assert drawings.match_line_width(grey, 3.0) is grey

    def test_thinning_breaks_no_stroke_and_keeps_hairlines(self):
        grey = np.minimum(head(pen=24), bars(1))
        thin = drawings.match_line_width(grey, 5.0)
        assert ((thin > 0.5) & (bars(1) < 0.5) & (head(pen=24) > 0.9)).sum() < 20
        outline = ndimage.label(drawings.match_line_width(head(pen=24), 5.0) < 0.5)[1]
        assert outline == ndimage.label(head(pen=24) < 0.5)[1]

    def test_thick_strokes_stay_thicker_than_thin_ones(self):
        grey = np.minimum(
            bars(4), 1 - np.pad(np.ones((12, 100)), ((20, 224), (78, 78)))
        )
        matched = drawings.match_line_width(grey.astype(np.float32), 6.0)
        assert np.sum(matched[:50, 128] < 0.5) > np.sum(matched[65:90, 128] < 0.5) + 5


class TestPrepareDrawing:
    def test_training_style_comes_back_nearly_unchanged(self):
        sketch = xdog_face()
        prepared = drawings.prepare_drawing(sketch, 64)
        assert np.abs(prepared - area_resize(sketch, 64)).mean() < 0.005

    def test_dense_thin_strokes_are_not_thickened_to_black(self):
        grey = np.ones((128, 128), np.float32)
        grey[8:120:8, 8:120] = grey[8:120, 8:120:8] = 0  # a net of lines one pixel wide
        thin = drawings.prepare_drawing(grey, 64, frame="keep")
        thick = drawings.prepare_drawing(grey, 64, frame="keep", max_ink=1.0)
        assert np.mean(1 - thin) < 1.2 * np.mean(1 - grey)
        assert np.mean(1 - thick) > 1.8 * np.mean(1 - grey)

    @pytest.mark.parametrize("grey", [head(), brows_to_chin()], ids=["head", "face"])
    def test_again_changes_little(self, grey):
        once = drawings.prepare_drawing(grey, 64)
        again = drawings.prepare_drawing(once, 64, frame="keep")
        assert np.abs(again - once).mean() < 0.01

    @pytest.mark.parametrize(
        "grey",
        [
            1 - head(),
            shadowed(head()),
            1 - 0.15 * (1 - head()),
            np.pad(head(), ((20, 200), (300, 44)), constant_values=1),
            head(pen=2),
            head(160, 80, 864, 944, pen=24, width=1024),
            head(400, 200, 2160, 2360, pen=60, width=2560),
        ],
        ids=["inverted", "photo", "faint", "off centre", "thin", "large", "huge"],
    )
    def test_the_same_head_however_it_comes(self, grey):
        plain = drawings.prepare_drawing(head(), 64)
        other = drawings.prepare_drawing(grey, 64)
        near = ndimage.minimum_filter(plain, 3) < 0.5
        assert other[~near].mean() > 0.97
        assert (1 - other).mean() == pytest.approx((1 - plain).mean(), rel=0.25)
        bounds = ink_bounds(other), ink_bounds(plain)
        np.testing.assert_allclose(*bounds, atol=0.04)

    def test_width_is_the_models(self):
        target = 64 * drawings.LINE_WIDTH
        for pen in (2, 5, 16, 24):
            prepared = drawings.prepare_drawing(head(pen=pen), 64)
            width = drawings.measure_line_width(prepared)
            assert width == pytest.approx(target, rel=0.35)

    def test_each_step_can_be_left_out(self):
        grey = head()
        prepared = drawings.prepare_drawing(
            grey, 64, invert="no", flatten=False, frame="keep", match_lines=False
        )
        np.testing.assert_array_equal(prepared, area_resize(grey, 64))

    @pytest.mark.parametrize("level", [0, 0.4, 1])
    def test_blank(self, level):
        with pytest.raises(DrawingError, match="blank"):
            drawings.prepare_drawing(np.full((30, 40), level, np.float32), 64)

    def test_tiny(self):
        with pytest.raises(DrawingError, match="blank"):
            drawings.prepare_drawing(np.ones((1, 1), np.float32), 64)

    @pytest.mark.parametrize(
        ("option", "known"),
        [("invert", "auto, yes, no"), ("fit", "crop"), ("frame", "keep, head, face")],
    )
    def test_unknown_choice_lists_the_known_ones(self, option, known):
        with pytest.raises(ValueError, match=f"{option} 'maybe'.*{known}"):
            drawings.prepare_drawing(head(), 64, **{option: "maybe"})

    @quick
    @given(
        shape=st.tuples(st.integers(20, 90), st.integers(20, 90)),
        size=st.sampled_from([16, 64]),
        fit=st.sampled_from(["letterbox", "crop"]),
        frame=st.sampled_from(["auto", "keep", "head", "face"]),
        seed=st.integers(0, 1000),
    )
    def test_any_strokes_give_a_sketch(self, shape, size, fit, frame, seed):
        prepared = drawings.prepare_drawing(
            scribble(shape, seed), size, fit=fit, frame=frame
        )
        assert prepared.shape == (size, size)
        assert prepared.dtype == np.float32
        assert prepared.min() >= 0
        assert prepared.max() <= 1
        assert prepared.min() < 0.9

    @quick
    @given(side=st.integers(40, 120), seed=st.integers(0, 1000))
    def test_polarity_does_not_matter(self, side, seed):
        grey = scribble((side, side), seed)
        prepared = [drawings.prepare_drawing(g, 64) for g in (grey, 1 - grey)]
        np.testing.assert_allclose(*prepared, atol=1e-4)


def scribble(shape, seed):
    """Five strokes between random points around the middle; levels exact in binary."""
    random = np.random.default_rng(seed)
    image = Image.new("L", shape[::-1], 255)
    canvas = ImageDraw.Draw(image)
    for _ in range(5):
        points = random.uniform(0.3, 0.7, (3, 2)) * shape[::-1]
        canvas.line([tuple(point) for point in points], fill=0, width=2)
    return (np.asarray(image) > 127).astype(np.float32)
