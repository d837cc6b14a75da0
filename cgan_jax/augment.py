"""What D sees in place of a joint image: DiffAugment, and sketches less sharp than drawn.

DiffAugment is that of Zhao et al. 2020 (*Differentiable Augmentation for Data-Efficient
GAN Training*; ranges and names as in its released code), with one change: a joint image is
a pair, and stays one. Both halves are shifted, and cut out, alike; only the photograph has
colour. Real and generated images are treated alike, in the updates of D and of G, so that G
never learns the augmentation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float
from scipy import ndimage

from cgan_jax import images

_SHIFT = 0.125  # of the height, to either side
_CUTOUT = 0.5  # side of the square, in heights

Joint = Float[Array, "h w2 3"]


def augment(
    joint: Float[Array, "n h w2 3"],
    keys: Array,
    *,
    policy: Sequence[str] = (),
    stroke_blur: float = 0.0,
    stroke_noise: float = 0.0,
) -> Float[Array, "n h w2 3"]:
    """Joint images as D sees them; each depends on its own key alone.

    Args:
      joint: in [-1, 1].
      keys: one for each image.
      policy: names of `AUGMENTATIONS`, applied in this order.
      stroke_blur: standard deviation of the sketches' Gaussian blur, in pixels.
      stroke_noise: standard deviation of the noise added to sketches.

    Returns:
      Images of the same shape; values may leave [-1, 1]. The very array if all is off.
    """
    if stroke_blur:
        joint = blur_strokes(joint, stroke_blur)
    if stroke_noise:
        joint = jax.vmap(add_stroke_noise, (0, 0, None))(
            joint, _fold_in(keys, len(policy)), stroke_noise
        )
    for i, name in enumerate(policy):
        joint = jax.vmap(AUGMENTATIONS[name])(joint, _fold_in(keys, i))
    return joint


def _fold_in(keys: Array, i: int) -> Array:
    return jax.vmap(jax.random.fold_in, (0, None))(keys, i)


def blur_strokes(
    joint: Float[Array, "n h w2 3"], sigma: float
) -> Float[Array, "n h w2 3"]:
    """Gaussian blur of the sketch halves, in pixels; paper goes on beyond the edges."""
    sketch, photo = images.split(joint)
    identity = np.eye(joint.shape[1], dtype=np.float32)
    blur = ndimage.gaussian_filter1d(identity, sigma, axis=0, mode="nearest")
    return images.join(jnp.einsum("ij,kl,njlc->nikc", blur, blur, sketch), photo)


def add_stroke_noise(joint: Joint, key: Array, std: float) -> Joint:
    """Adds normal noise to every value of the sketch half."""
    sketch, photo = images.split(joint)
    return images.join(sketch + std * jax.random.normal(key, sketch.shape), photo)


def color(joint: Joint, key: Array) -> Joint:
    """Changes brightness, saturation and contrast of the photo half."""
    sketch, photo = images.split(joint)
    brightness, saturation, contrast = jax.random.uniform(key, (3,))
    photo += brightness - 0.5
    grey = photo.mean(-1, keepdims=True)
    photo = grey + 2.0 * saturation * (photo - grey)
    mean = photo.mean()
    photo = mean + (contrast + 0.5) * (photo - mean)
    return images.join(sketch, photo)


def translation(joint: Joint, key: Array) -> Joint:
    """Shifts both halves alike, each within itself; zeros come in."""
    halves = jnp.stack(images.split(joint))
    reach = math.floor(_SHIFT * joint.shape[0] + 0.5)
    down, right = jax.random.randint(key, (2,), 0, 2 * reach + 1)
    padded = jnp.pad(halves, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    return images.join(*lax.dynamic_slice(padded, (0, down, right, 0), halves.shape))


def cutout(joint: Joint, key: Array) -> Joint:
    """Sets one square to zero, at the same place of both halves; it may cross an edge."""
    height = joint.shape[0]
    side = math.floor(_CUTOUT * height + 0.5)
    centre = jax.random.randint(key, (2, 1), 0, height + 1 - side % 2)
    first = centre - side // 2
    pixels = jnp.arange(height)
    down, across = (first <= pixels) & (pixels < first + side)
    kept = ~(down[:, None] & across)
    return joint * jnp.tile(kept, (1, 2))[..., None]


AUGMENTATIONS = {"color": color, "translation": translation, "cutout": cutout}
