"""What D sees in place of a joint image: DiffAugment, and sketches less sharp than drawn.

DiffAugment is that of Zhao et al. 2020 (*Differentiable Augmentation for Data-Efficient
GAN Training*; ranges and names as in its released code), with one change: a joint image
stays one. All its parts are shifted, and cut out, alike; only the photograph has colour.
Real and generated images are treated alike, in the updates of D and of G, so that G never
learns the augmentation.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float
from scipy import ndimage

from cgan_jax.joint import PHOTO, Joint

_SHIFT = 0.125  # of the height, to either side
_CUTOUT = 0.5  # side of the square, in heights

Planes = Float[Array, "s s c"]


def augment(
    planes: Float[Array, "n s s c"],
    keys: Array,
    *,
    joint: Joint,
    policy: Sequence[str] = (),
    stroke_blur: float = 0.0,
    stroke_noise: float = 0.0,
) -> Float[Array, "n s s c"]:
    """Joint images as D sees them; each depends on its own key alone.

    Args:
      planes: joint images in [-1, 1].
      keys: one for each image.
      joint: what they hold.
      policy: names of `AUGMENTATIONS`, applied in this order.
      stroke_blur: standard deviation of the sketches' Gaussian blur, in pixels.
      stroke_noise: standard deviation of the noise added to sketches.

    Returns:
      Images of the same shape; values may leave [-1, 1]. The very array if all is off.
    """
    if stroke_blur:
        planes = blur_strokes(planes, stroke_blur, joint)
    if stroke_noise:
        noisy = functools.partial(add_stroke_noise, std=stroke_noise, joint=joint)
        planes = jax.vmap(noisy)(planes, _fold_in(keys, len(policy)))
    for i, name in enumerate(policy):
        change = functools.partial(AUGMENTATIONS[name], joint=joint)
        planes = jax.vmap(change)(planes, _fold_in(keys, i))
    return planes


def _fold_in(keys: Array, i: int) -> Array:
    return jax.vmap(jax.random.fold_in, (0, None))(keys, i)


def blur_strokes(
    planes: Float[Array, "n s s c"], sigma: float, joint: Joint
) -> Float[Array, "n s s c"]:
    """Gaussian blur of the sketches, in pixels; paper goes on beyond the edges."""
    identity = np.eye(joint.size, dtype=np.float32)
    blur = ndimage.gaussian_filter1d(identity, sigma, axis=0, mode="nearest")
    for name in joint.sketches:
        where = joint.where(name)
        blurred = jnp.einsum("ij,kl,njlc->nikc", blur, blur, planes[..., where])
        planes = planes.at[..., where].set(blurred)
    return planes


def add_stroke_noise(planes: Planes, key: Array, std: float, joint: Joint) -> Planes:
    """Adds normal noise to every value of the sketches."""
    for name in joint.sketches:
        where = joint.where(name)
        own = jax.random.fold_in(key, where.start) if where.start else key
        noise = jax.random.normal(own, planes[..., where].shape)
        planes = planes.at[..., where].add(std * noise)
    return planes


def color(planes: Planes, key: Array, joint: Joint) -> Planes:
    """Changes brightness, saturation and contrast of the photograph."""
    where = joint.where(PHOTO)
    photo = planes[..., where]
    brightness, saturation, contrast = jax.random.uniform(key, (3,))
    photo += brightness - 0.5
    grey = photo.mean(-1, keepdims=True)
    photo = grey + 2.0 * saturation * (photo - grey)
    mean = photo.mean()
    photo = mean + (contrast + 0.5) * (photo - mean)
    return planes.at[..., where].set(photo)


def translation(planes: Planes, key: Array, joint: Joint) -> Planes:
    """Shifts all parts alike; zeros come in."""
    reach = math.floor(_SHIFT * joint.size + 0.5)
    down, right = jax.random.randint(key, (2,), 0, 2 * reach + 1)
    padded = jnp.pad(planes, ((reach, reach), (reach, reach), (0, 0)))
    return lax.dynamic_slice(padded, (down, right, 0), planes.shape)


def cutout(planes: Planes, key: Array, joint: Joint) -> Planes:
    """Sets one square of all parts to zero; it may cross an edge."""
    side = math.floor(_CUTOUT * joint.size + 0.5)
    centre = jax.random.randint(key, (2, 1), 0, joint.size + 1 - side % 2)
    first = centre - side // 2
    pixels = jnp.arange(joint.size)
    down, across = (first <= pixels) & (pixels < first + side)
    kept = ~(down[:, None] & across)
    return planes * kept[..., None]


AUGMENTATIONS: dict[str, Callable[..., Planes]] = {
    "color": color,
    "translation": translation,
    "cutout": cutout,
}
