"""Scores as tables: numbers, units, intervals, and who wins by them."""

import copy
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cgan_jax import results
from cgan_jax.intervals import Estimate

ROOT = Path(__file__).resolve().parents[1]


def estimate(value, low, high):
    return results.to_json(Estimate(value, low, high, 9))


KERNEL = "kernel_distance/HOG"
EVALUATION = {
    "format_version": 1,
    "settings": {
        "model": "tiny",
        "model_digest": "0123456789abcdef",
        "data": "birds",
        "split": "validation",
        "num_examples": 9,
        "seed": 3,
        "num_references": 40,
        "num_people": 7,
        "compare_to": "model",
        "search": {
            "num_starts": 64,
            "num_candidates": 2,
            "num_steps": 4,
            "perceptual_weight": 0.0,
        },
    },
    "versions": {"jax": "1.2"},
    "wall_time_seconds": {"total": 3725.0, "scoring": 61.0, "answers": {"model": 90.0}},
    "notes": ["no Frechet distance"],
    "tables": [
        {
            "direction": "sketch2photo",
            "style": "xdog",
            "ceilings": {},  # there are attributes
            "methods": {
                "model": {
                    "label": "contextual GAN",
                    "scores": {
                        "ssim": estimate(0.3, 0.25, 0.35),
                        "face_found": estimate(0.5, 0.25, 0.75),
                        KERNEL: estimate(0.0123, 0.01, 0.015),
                        "diversity": estimate(0.2, 0.1, 0.3),
                    },
                },
                "true": {
                    "label": "true photograph",
                    "scores": {
                        "ssim": estimate(1.0, 1.0, 1.0),
                        "psnr": estimate(math.inf, math.inf, math.inf),
                        "diversity": estimate(math.nan, math.nan, math.nan),
                    },
                },
            },
            "differences": {
                "true": {
                    "ssim": estimate(0.7, 0.65, 0.75),
                    "sketch_kl": estimate(0.5, 0.4, 0.6),
                    "face_found": estimate(0.1, -0.1, 0.3),
                }
            },
        }
    ],
}


@pytest.fixture
def evaluation(tmp_path):
    """A folder as `cgan-evaluate` leaves it."""
    folder = tmp_path / "out" / "tiny_run"
    folder.mkdir(parents=True)
    (folder / "scores.json").write_text(json.dumps(EVALUATION))
    picture = Image.fromarray(np.full((2, 2, 3), 7, np.uint8))
    stem = "sketch2photo_xdog"
    for kind in ("generated", "sheet", "attributes_generated", "attributes_sheet"):
        name = f"{stem}_{kind}.png"
        picture.save(folder / name)
    return folder / "scores.json"


def row(markdown, start):
    """The cells of the first row that starts so."""
    (line, *_) = [x for x in markdown.splitlines() if x.startswith(f"| {start}")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_numbers_have_their_units_and_intervals():
    text = results.evaluation_markdown(EVALUATION, {})
    assert row(text, "contextual GAN")[1:] == ["0.300 [0.250, 0.350]", "–"]
    assert row(text, "true photograph")[1:] == ["1.000", "∞"]
    assert "| contextual GAN | 50.0 % [25.0, 75.0] |" in text
    assert "| contextual GAN | 12.30 [10.00, 15.00] | 0.200 [0.100, 0.300] |" in text
    assert "kernel distance x 1000, HOG ↓" in text
    assert "Wall time 1 h 2 min, of it 1 min 1 s for the scores" in text
    assert "computed: model 1 min 30 s." in text
    assert "40 other photographs; 7 people are in the gallery" in text
    assert "Note: no Frechet distance" in text


def test_the_reading_says_who_wins_by_the_intervals():
    text = results.evaluation_markdown(EVALUATION, {})
    (line,) = [x for x in text.splitlines() if x.startswith("- against")]
    # The true photograph's KL is said to be higher, which is worse, to tell the cases apart.
    assert (
        "*true photograph*: better in KL; worse in SSIM; undecided in face found"
        in line
    )


def test_differences_carry_their_sign():
    text = results.evaluation_markdown(EVALUATION, {})
    assert "+0.700 [+0.650, +0.750]" in text
    assert "+10.0 % [-10.0, +30.0]" in text


def test_a_definition_stands_once_for_each_score():
    names = results.score_names(EVALUATION)
    assert names == ["ssim", "psnr", "face_found", KERNEL, "diversity"]
    text = results.definitions_markdown([*names, "kernel_distance/dlib"])
    assert text.count("**kernel distance x 1000**") == 1
    assert "window of 11x11 pixels, sigma 1.5, data range 1" in text


def test_json_has_no_infinity_and_no_nan():
    assert estimate(math.nan, -math.inf, math.inf) == {
        "value": None,
        "low": "-inf",
        "high": "inf",
        "num_examples": 9,
    }


def test_the_document_holds_every_evaluation_and_its_generated_pictures(
    evaluation, tmp_path
):
    document = tmp_path / "docs" / "results.md"
    results.write_document([evaluation], document)
    text = document.read_text()
    assert text.startswith("# Results")
    assert "](figures/results_tiny_run_sketch2photo_xdog.png)" in text
    assert "by the luma SSIM of the contextual GAN](figures/" in text
    assert "the answers of the contextual GAN that miss it most](figures/" in text
    files = [p.relative_to(tmp_path / "docs") for p in (tmp_path / "docs").rglob("*.*")]
    assert sorted(map(str, files)) == [
        "figures/results_tiny_run_sketch2photo_xdog.png",
        "figures/results_tiny_run_sketch2photo_xdog_attributes.png",
        "results.md",
    ]


def test_folders_of_one_name_would_share_their_pictures(evaluation, tmp_path):
    other = tmp_path / "other" / "tiny_run" / "scores.json"
    other.parent.mkdir(parents=True)
    other.write_text(evaluation.read_text())
    with pytest.raises(ValueError, match="tiny_run, tiny_run have one name"):
        results.write_document([evaluation, other], tmp_path / "results.md")


@pytest.mark.parametrize(
    ("change", "message"),
    [("cut", "is damaged"), ("version", "has format version 99, this package reads 1")],
)
def test_files_that_cannot_be_read_are_named(evaluation, change, message):
    text = evaluation.read_text()
    later = copy.deepcopy(EVALUATION) | {"format_version": 99}
    evaluation.write_text(text[:50] if change == "cut" else json.dumps(later))
    with pytest.raises(ValueError, match=message) as caught:
        results.read(evaluation)
    assert str(evaluation) in str(caught.value)


def run(*flags):
    # A process, since two commands may define a flag of the same name.
    return subprocess.run(
        [sys.executable, ROOT / "launch" / "results.py", *flags],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_writes_the_document_of_all_that_fits_its_patterns(
    evaluation, tmp_path
):
    pattern = evaluation.parents[1] / "*" / "scores.json"
    document = tmp_path / "docs" / "results.md"
    flags = [f"--scores={pattern}", f"--scores={evaluation}", f"--output={document}"]
    result = run(*flags)
    assert result.returncode == 0, result.stderr
    assert document.read_text().count("## tiny: 9 validation examples") == 1


def test_the_command_names_a_pattern_that_fits_nothing(tmp_path):
    result = run(f"--scores={tmp_path}/*.json", f"--output={tmp_path}/results.md")
    assert result.returncode == 1
    assert f"error: --scores={tmp_path}/*.json fits no file" in result.stderr
    assert not list(tmp_path.iterdir())
