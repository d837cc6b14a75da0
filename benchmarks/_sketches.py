"""Sketches to measure with."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cgan_jax import drawings
from cgan_jax.joint import Joint

SKETCHES = Path(__file__).resolve().parents[1] / "docs" / "sketches"


def example_sketches(count: int, size: int) -> np.ndarray:
    """The example drawings as a model sees them, over and again: `(count, size, size)`."""
    files = sorted(SKETCHES.glob("*.png"))[:count]
    prepared = [drawings.prepare_drawing(drawings.read_drawing(f), size) for f in files]
    return np.resize(np.stack(prepared), (count, size, size))


def example_targets(count: int, joint: Joint) -> tuple[np.ndarray, np.ndarray]:
    """Joint images of these as the first sketch, and the mask that shows it alone."""
    name = joint.sketches[0]
    sketches = example_sketches(count, joint.size).astype(np.float32)
    return joint.stack({name: sketches * 2 - 1}), joint.mask([name])
