"""The real job during training: the same held-out sketches, completed again and again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, UInt8

from cgan_jax import scores, sheets
from cgan_jax.dataset import Pairs
from cgan_jax.input_pipeline import joint_from_pair
from cgan_jax.joint import PHOTO, Joint
from cgan_jax.models import GanPair
from cgan_jax.projection import Search, draw_starts, project

_BLOCK = 16  # sketches that are searched for at once


class Completions(NamedTuple):
    """What became of the held-out sketches.

    Attributes:
      joint: the best answer to each, in [-1, 1].
      scores: `validation_kl`, the mean contextual loss in nats, and `validation_ssim`,
        the mean structural similarity of the photographs to the true ones, at most 1.
    """

    joint: Float[np.ndarray, "n s s c"]
    scores: dict[str, float]


def choose(
    pairs: Pairs | list[dict[str, np.ndarray]], joint: Joint, count: int
) -> Float[np.ndarray, "n s s c"]:
    """At most `count` joint images in [-1, 1], spread evenly over the pairs.

    Of styles that one sketch mixes, the first.
    """
    rows = np.linspace(0, len(pairs) - 1, min(count, len(pairs))).astype(int).tolist()
    chosen = [pairs[row] for row in rows]
    sketches = np.stack([pair["sketches"][: len(joint.sketches)] for pair in chosen])
    photo = np.stack([pair["photo"] for pair in chosen])
    return joint_from_pair({"sketches": sketches, "photo": photo}, joint)


def complete(
    variables: GanPair,
    planes: Float[np.ndarray, "n s s c"],
    *,
    models: GanPair,
    search: Search,
) -> Completions:
    """Completes the first sketch of each joint image; the rest is only compared with.

    Args:
      variables: of G, with its `spread` if the search is an inner one, and of D.
      planes: held-out joint images, in [-1, 1].
      models: G and D.
      search: the loss and the budget; the starts are always the same.
    """
    joint = models.gen.joint
    mask = jnp.asarray(joint.mask(joint.sketches[:1]))
    starts = draw_starts(variables, jax.random.key(0), models=models, search=search)
    best, losses = [], []
    for rows in _blocks(len(planes)):
        target = jnp.asarray(planes[rows])
        found = project(variables, target, mask, starts, models=models, search=search)
        best.append(jax.device_get(found.joint[:, 0]))
        losses.append(jax.device_get(found.contextual[:, 0]))
    # The last block may show some twice.
    answers, kl = (np.concatenate(x)[: len(planes)] for x in (best, losses))
    ssim = photo_ssim(answers, planes, joint)
    return Completions(
        answers, {"validation_kl": float(kl.mean()), "validation_ssim": ssim}
    )


def _blocks(count: int) -> list[Int[np.ndarray, " b"]]:
    """Rows in blocks of one size; the last is filled up with the last row."""
    size = min(count, _BLOCK)
    firsts = range(0, count, max(size, 1))
    return [np.minimum(np.arange(i, i + size), count - 1) for i in firsts]


def photo_ssim(
    found: Float[np.ndarray, "n s s c"],
    true: Float[np.ndarray, "n s s c"],
    joint: Joint,
) -> float:
    """Mean structural similarity of the photographs of joint images, at most 1."""
    photos = (jnp.asarray((joint.part(x, PHOTO) + 1) / 2) for x in (found, true))
    return float(scores.ssim(*photos).mean())


def sheet(
    true: Float[np.ndarray, "n s s c"],
    found: Float[np.ndarray, "n s s c"],
    joint: Joint,
) -> sheets.Picture:
    """A row for each sketch: the photograph, its sketch, and what was found."""
    given = joint.sketches[0]
    captions = "photograph", f"its {given}", *(f"{x} found" for x in joint.names)
    columns = [joint.panel(true, PHOTO), joint.panel(true, given)]
    columns += [joint.panel(found, name) for name in joint.names]
    return captioned(columns, captions)


def captioned(
    columns: Sequence[UInt8[np.ndarray, "n s s 3"]], captions: Sequence[str]
) -> sheets.Picture:
    """Columns of pictures, enlarged, below their captions."""
    rows = [[sheets.enlarge(x) for x in row] for row in zip(*columns, strict=True)]
    return sheets.captioned_grid(rows, captions)
