"""Many sketches through one model: what `cgan_jax.complete` does between its files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from cgan_jax import drawings, images
from cgan_jax.model_files import Model
from cgan_jax.projection import Candidates, Search, draw_starts, project

SKETCHES = Path(__file__).resolve().parents[1] / "docs" / "sketches"


def example_sketches(count: int, size: int) -> np.ndarray:
    """The example drawings as a model sees them, over and again: `(count, size, size)`."""
    files = sorted(SKETCHES.glob("*.png"))[:count]
    prepared = [drawings.prepare_drawing(drawings.read_drawing(f), size) for f in files]
    return np.resize(np.stack(prepared), (count, size, size))


def complete_blocks(
    model: Model, sketches: np.ndarray, search: Search, key: jax.Array, block_size: int
) -> Iterator[Candidates]:
    """Candidates of sketches `(n, h, h)`, `block_size` at a time, on the host.

    The starts are drawn once. Lazy, so that one block is held at a time; the last one is
    filled up to the one compiled shape, and cut again.
    """
    mask = images.half_mask(model.models.gen.height, "sketch")
    starts = draw_starts(model.variables, key, models=model.models, search=search)
    for first in range(0, len(sketches), block_size):
        block = sketches[first : first + block_size]
        filling = ((0, block_size - len(block)), (0, 0), (0, 0))
        target = images.target_from_sketch(np.pad(block, filling, "edge"))
        candidates = project(
            model.variables, target, mask, starts, models=model.models, search=search
        )
        kept = (x[: len(block)] for x in jax.device_get(candidates))
        yield Candidates(*kept)
