"""How a network folds the planes of a joint image into the picture that it draws.

`halves` is the paper's joint image (Figure 2): one sketch, in colours, on the left and its
photograph on the right, `s x 2s x 3`. `planes` has a channel for each plane of the joint
image, `s x s x C`: sketch and photograph share every feature map of the network, where
those of halves meet in the first linear layer alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal, get_args

import jax.numpy as jnp
from jaxtyping import Array, Float

from cgan_jax.joint import PHOTO, Joint, Part

Name = Literal["halves", "planes"]
NAMES: tuple[str, ...] = get_args(Name)


@dataclasses.dataclass(frozen=True)
class Halves:
    """Sketch and photograph side by side, three colours each."""

    joint: Joint

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width where the convolutions start."""
        return 4, 8

    @property
    def channels(self) -> int:
        """Of the picture."""
        return 3

    def to_image(self, planes: Float[Array, "n s s 6"]) -> Float[Array, "n s w 3"]:
        """What a network reads of joint images."""
        return jnp.concatenate([planes[..., :3], planes[..., 3:]], axis=-2)

    def to_planes(self, image: Float[Array, "n s w 3"]) -> Float[Array, "n s s 6"]:
        """Joint images of what a network has drawn."""
        return jnp.concatenate(jnp.split(image, 2, axis=-2), axis=-1)


@dataclasses.dataclass(frozen=True)
class Planes:
    """Each plane of the joint image is a channel."""

    joint: Joint

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width where the convolutions start."""
        return 4, 4

    @property
    def channels(self) -> int:
        """Of the picture."""
        return self.joint.channels

    def to_image(self, planes: Float[Array, "n s s c"]) -> Float[Array, "n s s c"]:
        """What a network reads of joint images."""
        return planes

    def to_planes(self, image: Float[Array, "n s s c"]) -> Float[Array, "n s s c"]:
        """Joint images of what a network has drawn."""
        return image


Layout = Halves | Planes


def make_layout(name: str, size: int, styles: Sequence[str]) -> Layout:
    """The layout of this name.

    Args:
      name: `halves` or `planes`.
      size: side of the parts, in pixels.
      styles: of the sketches. `planes` has a part for each; `halves` has one part, which
        shows any of them: of several styles it is called `sketch`.

    Raises:
      ValueError: there is no such layout, or no style.
    """
    if name not in NAMES:
        raise ValueError(f"config.model.layout must be one of {NAMES}, got {name!r}")
    if not styles:
        raise ValueError("no sketch style is given: name at least one")
    photo = Part(PHOTO, "photo", 3)
    if name == "halves":
        sketch = styles[0] if len(styles) == 1 else "sketch"
        return Halves(Joint(size, (Part(sketch, "sketch", 3), photo)))
    sketches = tuple(Part(style, "sketch", 1) for style in styles)
    return Planes(Joint(size, (*sketches, photo)))
