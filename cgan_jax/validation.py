"""The real job during training: the same held-out sketches, completed again and again."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from cgan_jax import images, scores, sheets
from cgan_jax.dataset import Pairs
from cgan_jax.input_pipeline import joint_from_pair
from cgan_jax.models import GanPair
from cgan_jax.projection import Search, draw_starts, project

_CAPTIONS = ("photograph", "its sketch", "sketch found", "photo found")


class Completions(NamedTuple):
    """What became of the held-out sketches.

    Attributes:
      joint: the best answer to each, in [-1, 1].
      scores: `validation_kl`, the mean contextual loss in nats, and `validation_ssim`,
        the mean structural similarity of the photo halves to the true ones, at most 1.
    """

    joint: Float[np.ndarray, "n h w 3"]
    scores: dict[str, float]


def choose(
    pairs: Pairs | list[dict[str, np.ndarray]], count: int
) -> Float[np.ndarray, "n h w 3"]:
    """At most `count` joint images in [-1, 1], spread evenly over the pairs.

    Of several styles, the first.
    """
    rows = np.linspace(0, len(pairs) - 1, min(count, len(pairs))).astype(int).tolist()
    read = [pairs[row] for row in rows]
    return np.stack(
        [
            joint_from_pair({"sketch": pair["sketches"][0], "photo": pair["photo"]})
            for pair in read
        ]
    )


def complete(
    variables: GanPair,
    joint: Float[np.ndarray, "n h w 3"],
    *,
    models: GanPair,
    search: Search,
) -> Completions:
    """Completes the sketch half of each joint image; the photo half is only compared with.

    Args:
      variables: parameters and batch statistics of G and D.
      joint: held-out joint images, in [-1, 1].
      models: G and D.
      search: the loss and the budget; the starts are always the same.
    """
    mask = jnp.asarray(images.half_mask(joint.shape[1], "sketch"))
    starts = draw_starts(variables, jax.random.key(0), models=models, search=search)
    found = project(
        variables, jnp.asarray(joint), mask, starts, models=models, search=search
    )
    best = jax.device_get(found.joint[:, 0])
    return Completions(
        best,
        {
            "validation_kl": float(found.contextual[:, 0].mean()),
            "validation_ssim": photo_ssim(best, joint),
        },
    )


def photo_ssim(
    found: Float[np.ndarray, "n h w 3"], joint: Float[np.ndarray, "n h w 3"]
) -> float:
    """Mean structural similarity of the photo halves of joint images, at most 1."""
    photos = (jnp.asarray((images.split(x)[1] + 1) / 2) for x in (found, joint))
    return float(scores.ssim(*photos).mean())


def sheet(
    joint: Float[np.ndarray, "n h w 3"], found: Float[np.ndarray, "n h w 3"]
) -> sheets.Picture:
    """A row for each sketch: the photograph, its sketch, and what was found."""
    rows = []
    for true, answer in zip(
        images.to_uint8(joint), images.to_uint8(found), strict=True
    ):
        sketch, photo = images.split(true)
        pictures = [photo, sketch, *images.split(answer)]
        rows.append([sheets.enlarge(picture) for picture in pictures])
    return sheets.captioned_grid(rows, _CAPTIONS)
