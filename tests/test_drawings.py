"""Drawings of every kind of file, and each step that brings them to the model's world."""

import dataclasses
import json
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from scipy import ndimage

from cgan_jax import drawings
from cgan_jax.drawings import FACE_BOXES, STYLE_FACTS, DrawingError, Seen, StyleFacts
from cgan_jax.networks.layouts import make_layout
from cgan_jax.sketches import area_resize, fdog, photocopy, xdog, xdog_solid

XDOG, TONE = STYLE_FACTS["xdog"], STYLE_FACTS["photocopy"]

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


def portrait():
    """A painted photograph that fills the frame."""

    def paint(canvas):
        canvas.rectangle([0, 0, 512, 512], fill=190)
        canvas.ellipse([60, 20, 452, 700], fill=105)
        canvas.ellipse([-100, 440, 612, 900], fill=90)
        canvas.ellipse([110, 70, 400, 480], fill=215)
        for x in (150, 290):
            canvas.ellipse([x, 210, x + 70, 230], fill=90)
        canvas.line([250, 240, 240, 320, 270, 322], fill=150, width=12)
        canvas.ellipse([195, 370, 320, 385], fill=110)

    return ndimage.gaussian_filter(draw(paint, 128), 0.8)


def xdog_face():
    """A sketch of the training style: the lines of the portrait."""
    return xdog(portrait())


def pencil_face(paper=0.9, hair=0.6, skin=0.12, strokes=0.5):
    """Soft pencil on grainy paper: shaded hair, faint skin, grey strokes.

    Returns:
      The drawing, and where its hair, its skin and bare paper are.
    """
    y, x = np.mgrid[:256, :256]
    head_at = np.hypot((x - 128) / 88, (y - 128) / 108)
    face_at = np.hypot((x - 128) / 62, (y - 148) / 78)
    grain = np.random.default_rng(0).normal(size=(256, 256))
    texture = ndimage.gaussian_filter(grain, (0.7, 4))
    hair_ink = hair * (1 + 0.25 * texture / texture.std()) * (head_at < 1)
    ink = np.where(face_at < 1, skin * (0.6 + x / 320), hair_ink)
    ink = ndimage.gaussian_filter(ink, 2) + strokes * (1 - head(66, 70, 190, 226, 3))
    grey = paper * (1 - ink.clip(0, 0.95)) + 0.006 * grain
    places = (head_at < 0.9) & (face_at > 1.15), face_at < 0.8, head_at > 1.15
    return grey.clip(0, 1).astype(np.float32), *places


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

    @pytest.mark.parametrize("paper", [0.95, 0.7])
    @pytest.mark.parametrize("hair", [0.3, 0.45, 0.6])
    def test_sees_both_of_a_shaded_drawing(self, hair, paper):
        grey, *_ = pencil_face(paper, hair)
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

    def test_a_strip_without_paper_beside_its_strokes_is_blank(self):
        strip = np.ones((400, 3), np.float32)
        strip[100:300] = 0
        assert drawings.is_blank(strip)
        assert not drawings.is_blank(np.pad(strip, ((0, 0), (3, 3)), mode="edge"))

    def test_a_small_drawing_on_a_large_page_is_not_blank(self):
        page = np.ones((800, 600), np.float32)
        assert drawings.is_blank(page)
        page[100:180, 100:102] = 0.4
        assert not drawings.is_blank(page)

    @pytest.mark.parametrize("paper", [1.0, 0.7])
    @pytest.mark.parametrize("share", [0.3, 0.6, 0.74])
    def test_a_page_that_is_mostly_shaded_is_not_blank(self, share, paper):
        grain = np.random.default_rng(0).normal(0, 0.05, (200, 200))
        rows = np.arange(200)[:, None] / 200
        ink = np.where(rows < share, 0.5 * rows / share + grain, 0)
        page = (paper * (1 - ink.clip(0, 1))).astype(np.float32)
        flat = drawings.normalise_ink(page / paper)
        assert not drawings.is_blank(flat)
        bare, light, dark = (flat[int(200 * x)] for x in (0.9, share / 2, share - 0.02))
        assert bare.mean() > light.mean() + 0.1 > dark.mean() + 0.2

    def test_sketches_with_solid_blacks_are_not_blank(self):
        solid = xdog_solid(0.75 * portrait())
        assert np.median(solid) < 0.5
        assert not drawings.is_blank(solid)


def lines():
    """Drawings that live by their strokes, as `clean_drawing` gives them."""
    filled = head()
    filled[20:90, 60:200] = 0
    grey = 1 - 0.5 * (1 - bars(5))
    given = {
        "head": head(),
        "face": brows_to_chin(),
        "neck": with_neck(),
        "marker": head(pen=14),
        "thin": head(pen=1),
        "small": area_resize(head(), 64),
        "photo": shadowed(head()),
        "faint": 1 - 0.15 * (1 - head()),
        "filled": filled,
        "grey bars": np.minimum(grey, head()),
        "xdog": xdog_face(),
        "fdog": fdog(portrait()),
    }
    return {name: drawings.clean_drawing(x) for name, x in given.items()}


class TestTone:
    @pytest.mark.parametrize(("name", "grey"), lines().items(), ids=lines())
    def test_strokes_are_no_tone(self, name, grey):
        assert not drawings.is_shaded(grey)
        assert drawings.measure_tone(grey).deep < 0.06

    @pytest.mark.parametrize("strokes", [0.2, 0.8])
    @pytest.mark.parametrize("hair", [0.3, 0.45, 0.6])
    def test_shaded_hair_is_tone(self, hair, strokes):
        for grey in (pencil_face(0.9, hair, strokes=strokes)[0], 1 - pencil_face()[0]):
            assert drawings.is_shaded(drawings.clean_drawing(grey))

    def test_the_tone_style_itself_is_tone(self):
        assert drawings.is_shaded(drawings.clean_drawing(photocopy(portrait())))

    @pytest.mark.parametrize(
        ("level", "tone"), [(0.6, (1, 1)), (0.95, (1, 0)), (0.05, (0, 0))]
    )
    def test_measured_on_a_square(self, level, tone):
        """Grey of a wide square, none of what is nearly paper, none of a black one."""
        page = np.ones((128, 128), np.float32)
        page[30:90, 30:90] = level
        if level > 0.9:  # beside the only ink, a thin grey line
            page[100:102, 10:118] = 0.5
        found = drawings.measure_tone(page)
        assert found == pytest.approx(tone, abs=0.12)

    def test_a_page_without_ink_has_none(self):
        assert drawings.measure_tone(np.ones((9, 30), np.float32)) == (0, 0)

    @pytest.mark.parametrize("hair", [0.3, 0.45, 0.6])
    def test_tone_is_kept_where_the_style_keeps_it(self, hair):
        grey, *places = pencil_face(hair=hair)
        prepared = drawings.prepare_drawing(grey, 64, frame="keep", facts=TONE)
        levels = [prepared[area_resize(x.astype(float), 64) == 1] for x in places]
        assert [x.mean() for x in levels] == sorted(x.mean() for x in levels)
        dark, _, bare = levels
        assert 0.1 < dark.mean() < 0.7 and bare.mean() > 0.97
        assert 0.06 < np.mean(1 - prepared) <= TONE.max_ink + 0.01

    @pytest.mark.parametrize("hair", [0.3, 0.45, 0.6])
    @pytest.mark.parametrize("style", ["xdog", "fdog"])
    def test_in_a_style_of_lines_shading_is_no_black_mass(self, style, hair):
        grey, dark, *_ = pencil_face(hair=hair)
        facts = STYLE_FACTS[style]
        prepared = drawings.prepare_drawing(grey, 64, frame="keep", facts=facts)
        assert prepared[area_resize(dark.astype(float), 64) == 1].mean() > 0.6
        assert 0.02 < np.mean(1 - prepared) < facts.max_ink
        strokes = area_resize(head(66, 70, 190, 226, 3), 64) < 0.7
        near = ndimage.minimum_filter(prepared, 3)
        assert np.mean(near[strokes] < 0.6) > 0.9

    @pytest.mark.parametrize(("name", "grey"), lines().items(), ids=lines())
    def test_strokes_survive_in_a_style_of_tone(self, name, grey):
        square = drawings.fit_square(grey)
        soft = drawings.match_tone(square, TONE)
        assert soft.dtype == square.dtype and 0 <= soft.min() <= soft.max() <= 1
        depth, centre = drawings._strokes(square)
        ink = 1 - drawings._resample(soft, depth.shape)[centre]
        assert np.mean(ink > 0.25) > 0.97
        assert np.mean(1 - soft) < TONE.max_ink + 0.01

    def test_tone_is_softer_than_the_strokes_were(self):
        steepest = [
            np.abs(np.diff(x, axis=0)).max()
            for x in (head(), drawings.match_tone(head(), TONE))
        ]
        assert steepest[1] < 0.5 * steepest[0]

    def test_more_ink_than_the_style_has_fades_inside_large_areas(self):
        page = np.ones((256, 256), np.float32)
        page[20:236, 20:236] = 0
        soft = drawings.match_tone(page, TONE)
        few = drawings.match_tone(page, dataclasses.replace(TONE, max_ink=1.0))
        assert soft[128, 128] > 0.9 and few[128, 128] < 0.1
        assert soft[24, 128] < 0.5 and few[24, 128] < 0.2


class TestChooseStyle:
    def test_lines_take_the_first_of_lines_and_shading_the_tone(self):
        clean = drawings.clean_drawing(pencil_face()[0])
        facts = {name: STYLE_FACTS[name] for name in ("photocopy", "fdog", "xdog")}
        assert drawings.choose_style(clean, facts) == "photocopy"
        assert drawings.choose_style(head(), facts) == "fdog"

    def test_a_line_style_goes_before_solid_and_simplified_ones(self):
        names = ("xdog_solid", "fdog_simplified", "xdog")
        facts = {name: STYLE_FACTS[name] for name in names}
        assert drawings.choose_style(head(), facts) == "xdog"
        del facts["xdog"]
        assert drawings.choose_style(head(), facts) == "xdog_solid"

    def test_where_there_is_no_such_style_another_is_taken(self):
        clean = drawings.clean_drawing(pencil_face()[0])
        assert drawings.choose_style(clean, {"xdog": XDOG}) == "xdog"
        assert drawings.choose_style(head(), {"photocopy": TONE}) == "photocopy"


class TestSeen:
    @staticmethod
    def of(*styles, layout="planes", **config):
        joint = make_layout(layout, 32, styles).joint
        return Seen.by(joint, {"style": ",".join(styles)} | config)

    def test_a_model_that_tells_nothing_has_the_facts_of_the_table(self):
        seen = self.of("xdog", "photocopy")
        assert seen == Seen(32, {"xdog": XDOG, "photocopy": TONE}, dict(FACE_BOXES))
        assert self.of("given").facts == {"given": XDOG}

    def test_a_mixture_has_the_facts_of_its_first_style(self):
        seen = self.of("fdog", "photocopy", layout="halves")
        assert seen.facts == {"sketch": STYLE_FACTS["fdog"]}

    def test_what_a_model_tells_goes_first(self):
        own = StyleFacts(0.03, 0.2, keeps_tone=True)
        boxes = {"whole": [0.1, 0.2, 0.9, 0.8]}
        told = {"xdog": dataclasses.asdict(own)}
        seen = self.of("xdog", "fdog", style_facts=told, frame_boxes=boxes)
        assert seen.facts == {"xdog": own, "fdog": STYLE_FACTS["fdog"]}
        assert seen.boxes == {"whole": (0.1, 0.2, 0.9, 0.8)}
        with pytest.raises(ValueError, match="frame 'head'.*keep, whole"):
            seen.prepare(head(), frame="head")

    def test_it_can_be_told_in_json(self):
        told = json.loads(json.dumps(self.of("xdog", "fdog").describe()))
        assert self.of("xdog", "fdog", **told) == self.of("xdog", "fdog")

    def test_a_model_without_boxes_keeps_drawings_where_they_are(self):
        seen = self.of("xdog", frame_boxes={})
        style, sketch = seen.prepare(head(), match_lines=False)
        assert style == "xdog"
        np.testing.assert_allclose(sketch, area_resize(head(), 32), atol=0.02)

    @pytest.mark.parametrize(
        ("grey", "style"), [(head(), "xdog"), (pencil_face()[0], "photocopy")]
    )
    def test_a_drawing_becomes_the_sketch_that_it_is_like(self, grey, style):
        seen = self.of("xdog", "photocopy")
        found = seen.prepare(grey)
        assert found.style == style
        wanted = drawings.prepare_drawing(grey, 32, facts=STYLE_FACTS[style])
        np.testing.assert_array_equal(found.sketch, wanted)
        for name in seen.facts:
            assert seen.prepare(grey, name).style == name

    def test_a_style_that_there_is_not_lists_those_there_are(self):
        with pytest.raises(ValueError, match="style 'pen': choose one of auto, xdog"):
            self.of("xdog").prepare(head(), "pen")


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
        facts = dataclasses.replace(XDOG, max_ink=1.0)
        thick = drawings.prepare_drawing(grey, 64, frame="keep", facts=facts)
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

    @pytest.mark.parametrize("style", ["xdog", "fdog", "xdog_solid"])
    def test_width_is_the_styles(self, style):
        facts = STYLE_FACTS[style]
        target = 64 * facts.line_width
        for pen in (2, 5, 16, 24):
            prepared = drawings.prepare_drawing(head(pen=pen), 64, facts=facts)
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
        style=st.sampled_from(["xdog", "photocopy"]),
        seed=st.integers(0, 1000),
    )
    def test_any_strokes_give_a_sketch(self, shape, size, fit, frame, style, seed):
        facts = STYLE_FACTS[style]
        prepared = drawings.prepare_drawing(
            scribble(shape, seed), size, fit=fit, frame=frame, facts=facts
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
