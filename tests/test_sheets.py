"""Contact sheets, pixel by pixel."""

import numpy as np
import pytest
from PIL import Image

from cgan_jax import sheets


def plain(height, width, level):
    return np.full((height, width, 3), level, np.uint8)


def test_grid_puts_a_gap_around_each_picture():
    sheet = sheets.grid([[plain(2, 1, 10), plain(2, 3, 20)]], gap=1)
    by_hand = np.full((4, 7), 255)
    by_hand[1:3, 1] = 10
    by_hand[1:3, 3:6] = 20
    np.testing.assert_array_equal(sheet, np.repeat(by_hand[..., None], 3, axis=-1))
    assert sheet.dtype == np.uint8


def test_grid_keeps_colours_and_rows_in_order():
    red = np.zeros((1, 1, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
    blue = red[..., ::-1]
    sheet = sheets.grid([[red], [blue]], gap=2)
    assert sheet.shape == (8, 5, 3)
    assert sheet[2, 2].tolist() == [255, 0, 0]
    assert sheet[5, 2].tolist() == [0, 0, 255]
    assert (
        np.delete(sheet.reshape(-1, 3), [2 * 5 + 2, 5 * 5 + 2], axis=0) == 255
    ).all()


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_a_ragged_row_is_filled_up_with_white(order):
    rows = [[plain(2, 2, 0), plain(2, 2, 0)], [plain(2, 2, 0)]]
    sheet = sheets.grid([rows[i] for i in order], gap=1)
    assert sheet.shape == (7, 7, 3)
    ragged = order.index(1)
    assert (sheet[3 * ragged : 3 * ragged + 4, 4:] == 255).all()
    assert (sheet == 0).sum() == 3 * (3 * 4)


def test_a_completion_row_is_drawing_input_and_candidates_of_one_height():
    original, shown = plain(5, 5, 0), plain(4, 4, 255)
    shown[0, 0] = 128
    joint = np.stack([plain(4, 8, 1), plain(4, 8, 2)])
    row = sheets.completion_row(original, shown, joint, scale=3)
    assert [picture.shape for picture in row] == [(12, 12, 3)] * 2 + [(12, 24, 3)] * 2
    assert (row[0] == 0).all()
    # Pixels of the model are repeated, never blended.
    assert (row[1][:3, :3] == 128).all()
    assert (row[1] == 255).sum() == 3 * (144 - 9)
    assert [np.unique(picture).tolist() for picture in row[2:]] == [[1], [2]]


def test_a_completion_sheet_has_one_line_of_captions_above_the_rows():
    row = [plain(60, 100, 7)] * 4
    sheet = sheets.completion_sheet([row, row])
    pictures = sheets.grid([row, row])
    caption_height = sheet.shape[0] - pictures.shape[0]
    assert 8 < caption_height < 60
    np.testing.assert_array_equal(sheet[caption_height:], pictures)
    dark = (sheet[:caption_height] < 128).all(axis=-1)
    # Something is written above each of the columns, and the four texts differ.
    texts = [dark[:, 4 + 104 * i : 104 * (i + 1)] for i in range(4)]
    assert all(text.any() for text in texts)
    assert len({text.tobytes() for text in texts}) == 4


def test_a_saved_picture_is_read_back_as_it_was(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    sheets.save(picture, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image), picture)
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]


def test_a_save_that_breaks_off_leaves_the_old_picture(tmp_path, monkeypatch):
    path = tmp_path / "sheet.png"
    sheets.save(plain(2, 2, 9), path)
    before = path.read_bytes()

    def break_off(self, file, **_):
        with open(file, "wb") as half:
            half.write(b"half a pict")
        raise OSError("no space left on device")

    monkeypatch.setattr(Image.Image, "save", break_off)
    with pytest.raises(OSError, match="no space left"):
        sheets.save(plain(2, 2, 5), path)
    assert path.read_bytes() == before
