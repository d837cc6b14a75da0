"""Samples without a condition, and their sheet."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_models import LAYOUTS, random_model, save_random_model

from cgan_jax import sample

ROOT = Path(__file__).resolve().parents[1]


pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module", params=LAYOUTS)
def layout(request):
    return request.param


@pytest.fixture(scope="module")
def width(layout):
    """Of all parts, side by side."""
    return 16 * len(random_model(0, layout).joint.names)


@pytest.fixture(scope="module")
def many(layout):
    return sample.sample_pairs(random_model(0, layout), 70, seed=3)


@pytest.mark.parametrize("n", [1, 5, 64, 65])
def test_the_first_samples_do_not_depend_on_their_number(layout, width, many, n):
    few = sample.sample_pairs(random_model(0, layout), n, seed=3)
    assert few.shape == (n, 16, width, 3)
    np.testing.assert_array_equal(few, many[:n])


def test_samples_differ(many):
    assert len({pair.tobytes() for pair in many}) == 70


def test_the_seed_draws_them(layout, many):
    other = sample.sample_pairs(random_model(0, layout), 3, seed=4)
    assert not any(np.array_equal(a, b) for a, b in zip(other, many, strict=False))


@pytest.mark.parametrize(("n", "columns", "rows"), [(3, 3, 1), (4, 4, 1), (9, 4, 3)])
def test_the_sheet_has_rows_of_four_enlarged_twice(many, width, n, columns, rows):
    sheet = sample.pair_sheet(many[:n])
    assert sheet.shape == (rows * (32 + 4) + 4, columns * (2 * width + 4) + 4, 3)
    last_row, last_column = divmod(n - 1, 4)
    top, left = 4 + last_row * 36, 4 + last_column * (2 * width + 4)
    last = sheet[top : top + 32, left : left + 2 * width]
    np.testing.assert_array_equal(last[::2, ::2], many[n - 1])
    np.testing.assert_array_equal(last[1::2, 1::2], many[n - 1])


def test_the_command_writes_the_sheet_where_it_is_told(layout, width, many, tmp_path):
    save_random_model(tmp_path / "model", 0, layout)
    output = tmp_path / "new" / "folder" / "sheet.png"
    command = [sys.executable, "launch/sample.py", f"--model={tmp_path / 'model'}"]
    result = subprocess.run(
        [*command, f"--output={output}", "--num_samples=6", "--seed=3"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert str(output) in result.stdout
    with Image.open(output) as image:
        sheet = np.asarray(image, np.float32)
    assert sheet.shape == (2 * 36 + 4, 4 * (2 * width + 4) + 4, 3)
    # The stored model's kernels are rounded, its images differ a little.
    expected = sample.pair_sheet(many[:6]).astype(np.float32)
    assert np.abs(sheet - expected).mean() < 2
