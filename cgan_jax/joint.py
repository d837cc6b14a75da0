"""Joint images: a photograph and its sketches as named parts of one picture.

Outside the networks a joint image is an array of planes, `(..., s, s, C)` in [-1, 1]:
those of the first part, then those of the second, and so on. `Joint` says which planes are
which part. How a network folds them is its own business (`networks.layouts`).

A mask of joint images is `(s, s, P)`: for each pixel of each of the P parts, 1 where it is
known and 0 elsewhere.

Everything here takes NumPy and JAX arrays alike, with any leading axes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Shaped, UInt8

from cgan_jax.images import from_uint8, luma, to_uint8

Kind = Literal["sketch", "photo"]
PHOTO = "photo"


@dataclasses.dataclass(frozen=True)
class Part:
    """One part of a joint image.

    Attributes:
      name: of a sketch, its style; of the photograph, `photo`.
      kind: `sketch` or `photo`.
      planes: how many planes hold it: 3 of a photograph; 1 of a sketch, or 3 where a
        network draws it in colours.
    """

    name: str
    kind: Kind
    planes: int


@dataclasses.dataclass(frozen=True)
class Joint:
    """What the joint images of a model hold: a static value, fit for `jax.jit`.

    Attributes:
      size: side s of every part, in pixels.
      parts: sketches, then the photograph.

    Raises:
      ValueError: two parts share a name.
    """

    size: int
    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.parts):
            raise ValueError(
                f"parts of a joint image need different names: {self.names}"
            )

    @property
    def channels(self) -> int:
        """C, the number of planes."""
        return sum(part.planes for part in self.parts)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one joint image, `(s, s, C)`."""
        return self.size, self.size, self.channels

    @property
    def mask_shape(self) -> tuple[int, int, int]:
        """Of a mask, `(s, s, P)`."""
        return self.size, self.size, len(self.parts)

    @property
    def names(self) -> tuple[str, ...]:
        """Of all parts."""
        return tuple(part.name for part in self.parts)

    @property
    def sketches(self) -> tuple[str, ...]:
        """Names of the sketches."""
        return tuple(part.name for part in self.parts if part.kind == "sketch")

    def kind(self, name: str) -> Kind:
        """Of a part."""
        return self.parts[self._index(name)].kind

    def where(self, name: str) -> slice:
        """The planes of a part."""
        i = self._index(name)
        first = sum(part.planes for part in self.parts[:i])
        return slice(first, first + self.parts[i].planes)

    def check_sketch(self, name: str) -> str:
        """The name of a sketch, which it returns.

        Raises:
          ValueError: there is no such sketch; the message lists those there are.
        """
        if name not in self.sketches:
            raise ValueError(
                f"the model has no sketches in the style {name!r}: choose one of "
                f"{', '.join(self.sketches)}"
            )
        return name

    def stack(self, pictures: Mapping[str, Float[Any, ...]]) -> Float[Any, "*b s s c"]:
        """A joint image of some of its parts; the others are 0.

        Args:
          pictures: in [-1, 1], by name: a sketch as grey `(..., s, s)`, 1 is paper; the
            photograph as `(..., s, s, 3)`.

        Raises:
          ValueError: a name is no part of it.
        """
        for name in pictures:
            self._index(name)
        given = {name: self._planes(name, x) for name, x in pictures.items()}
        some = next(iter(given.values()))
        xp = some.__array_namespace__()
        planes = [
            given[part.name]
            if part.name in given
            else xp.zeros((*some.shape[:-1], part.planes), dtype=some.dtype)
            for part in self.parts
        ]
        return xp.concat(planes, axis=-1)

    def unstack(self, planes: Shaped[Any, "*b s s c"]) -> dict[str, Shaped[Any, ...]]:
        """The parts of joint images, as `stack` takes them."""
        return {name: self.part(planes, name) for name in self.names}

    def part(self, planes: Float[Any, "*b s s c"], name: str) -> Float[Any, ...]:
        """One part of joint images: a sketch as grey, the photograph in colour."""
        picture = planes[..., self.where(name)]
        if self.kind(name) == "photo":
            return picture
        return picture[..., 0] if picture.shape[-1] == 1 else luma(picture)

    def view(self, planes: Float[Any, "*b s s c"], name: str) -> Float[Any, "*b k s s"]:
        """A part as it is compared, in [0, 1]: one grey picture, or three colours."""
        picture = self.part(planes, name)
        if self.kind(name) == "sketch":
            return (picture[..., None, :, :] + 1.0) / 2.0
        xp = picture.__array_namespace__()
        return (xp.moveaxis(picture, -1, -3) + 1.0) / 2.0

    def mask(
        self, known: Sequence[str] | Mapping[str, Float[np.ndarray, "s s"]]
    ) -> Float[np.ndarray, "s s p"]:
        """A mask of joint images: 1 on the known pixels.

        Args:
          known: the parts that are known as a whole; or masks of parts, by name.

        Raises:
          ValueError: a name is no part of it.
        """
        mask = np.zeros(self.mask_shape, np.float32)
        for name in known:
            pixels = known[name] if isinstance(known, Mapping) else 1.0
            mask[..., self._index(name)] = pixels
        return mask

    def mask_of(self, mask: Float[Any, "s s p"], name: str) -> Float[Any, "s s"]:
        """What a mask says of one part."""
        return mask[..., self._index(name)]

    def known(self, mask: Float[np.ndarray, "s s p"]) -> tuple[str, ...]:
        """The parts of which a mask shows anything."""
        return tuple(x for x in self.names if np.any(self.mask_of(mask, x) > 0))

    def per_plane(self, mask: Float[np.ndarray, "s s p"]) -> Float[np.ndarray, "s s c"]:
        """A mask of planes: that of its part for each."""
        return np.repeat(mask, [part.planes for part in self.parts], axis=-1)

    def panels(
        self,
        planes: Float[Any, "*b s s c"],
        names: Sequence[str] | None = None,
    ) -> UInt8[np.ndarray, "*b s w 3"]:
        """Parts side by side, for people: RGB from 0 to 255; all parts if None."""
        return np.concatenate([self.panel(planes, x) for x in names or self.names], -2)

    def panel(
        self, planes: Float[Any, "*b s s c"], name: str
    ) -> UInt8[np.ndarray, "*b s s 3"]:
        """One part for people, as the network draws it: RGB from 0 to 255."""
        picture = to_uint8(np.asarray(planes)[..., self.where(name)])
        shape = (*picture.shape[:-1], 3)
        return np.ascontiguousarray(np.broadcast_to(picture, shape))

    def from_panels(self, picture: Shaped[np.ndarray, "s w 3"]) -> Float[Any, "s s c"]:
        """The joint image of parts side by side: `panels` the other way.

        Args:
          picture: RGB, uint8, or floats in [-1, 1]; P times as wide as high.

        Raises:
          ValueError: it has another shape.
        """
        width = self.size * len(self.parts)
        if picture.shape != (self.size, width, 3):
            raise ValueError(
                f"expected {', '.join(self.names)} side by side, {self.size} x {width} "
                f"pixels, got {picture.shape[:2]}"
            )
        if picture.dtype == np.uint8:
            picture = from_uint8(picture)
        panels = np.split(picture, len(self.parts), axis=1)
        return self.stack(
            {
                part.name: panel if part.kind == "photo" else luma(panel)
                for part, panel in zip(self.parts, panels, strict=True)
            }
        ).astype(np.float32)

    def _planes(self, name: str, picture: Any) -> Any:
        part = self.parts[self._index(name)]
        if part.kind == "photo":
            return picture
        xp = picture.__array_namespace__()
        grey = picture[..., None]
        return xp.broadcast_to(grey, (*picture.shape, part.planes))

    def _index(self, name: str) -> int:
        try:
            return self.names.index(name)
        except ValueError:
            raise ValueError(
                f"joint images have no part {name!r}: they hold {', '.join(self.names)}"
            ) from None
