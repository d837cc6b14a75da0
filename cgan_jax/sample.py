"""Pairs drawn from a model without any condition."""

from __future__ import annotations

import functools
from pathlib import Path

import jax
import numpy as np
from jaxtyping import UInt8

from cgan_jax import sheets
from cgan_jax.model_files import Model
from cgan_jax.models import generate, sample_z

_COLUMNS = 4
_SCALE = 2
_BLOCK = 64


def sample_pairs(model: Model, n: int, *, seed: int) -> UInt8[np.ndarray, "n s w 3"]:
    """`n` joint images of latents drawn from `seed`, their parts side by side.

    The first ones do not depend on n.
    """
    gen = model.models.gen
    draw = jax.jit(functools.partial(generate, gen))
    key = jax.random.key(seed)
    blocks = []
    for i in range(-(-n // _BLOCK)):
        z = sample_z(jax.random.fold_in(key, i), _BLOCK, gen.z_dim)
        blocks.append(draw(model.variables.gen, z))
    return model.joint.panels(np.concatenate(blocks)[:n])


def write_sheet(model: Model, path: Path, n: int, *, seed: int) -> None:
    """Writes a contact sheet of `n` pairs, enlarged twice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sheets.save(pair_sheet(sample_pairs(model, n, seed=seed)), path)


def pair_sheet(panels: UInt8[np.ndarray, "n s w 3"]) -> sheets.Picture:
    """Joint images, their parts side by side, in rows of four."""
    pictures = list(panels.repeat(_SCALE, axis=1).repeat(_SCALE, axis=2))
    rows = [pictures[i : i + _COLUMNS] for i in range(0, len(pictures), _COLUMNS)]
    return sheets.grid(rows)
