"""Completing from Python: NumPy arrays in, NumPy arrays out."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from cgan_jax import images
from cgan_jax.complete import load_model
from cgan_jax.configs import presets
from cgan_jax.drawings import prepare_drawing
from cgan_jax.model_files import Model
from cgan_jax.projection import (
    Guesses,
    Search,
    SearchState,
    Starts,
    advance_stages,
    begin,
    begin_from,
    draw_starts,
    finish,
    guess,
)

_NUM_CANDIDATES = 16


class Completion(NamedTuple):
    """Answers, best first.

    Attributes:
      photo: generated photographs, RGB from 0 to 255.
      sketch: generated sketches, 255 is paper and 0 ink.
      z: latents in [-1, 1].
      contextual: contextual loss of each, at least 0; see `losses.image_distance`.
      perceptual: perceptual loss of each; see `losses.perceptual_loss`.
    """

    photo: UInt8[np.ndarray, "k s s 3"]
    sketch: UInt8[np.ndarray, "k s s"]
    z: Float[np.ndarray, "k z"]
    contextual: Float[np.ndarray, " k"]
    perceptual: Float[np.ndarray, " k"]


@dataclasses.dataclass(frozen=True)
class Progress:
    """A search under way: what it goes by, how far it has got, in how many steps."""

    target: Float[Array, "1 h w 3"]
    mask: Float[Array, "h w"]
    search: Search
    state: SearchState
    num_steps: int = 0


@dataclasses.dataclass(eq=False)
class Completer:
    """A model that completes sketches, photographs, and parts of both.

    Attributes:
      model: the model.
    """

    model: Model
    _starts: dict[Any, Starts] = dataclasses.field(default_factory=dict, repr=False)

    @property
    def size(self) -> int:
        """Side of sketches and photographs, in pixels."""
        return self.model.models.gen.height

    def prepare(
        self, drawing: Float[np.ndarray, "h w"], **options: Any
    ) -> Float[np.ndarray, "s s"]:
        """A drawing of any size, 1 is paper and 0 ink, as the model's sketch.

        Args:
          drawing: brightness in [0, 1].
          **options: of `drawings.prepare_drawing`.

        Raises:
          DrawingError: the drawing is blank.
        """
        return prepare_drawing(drawing, self.size, **options)

    def complete(
        self,
        sketch: Float[np.ndarray, "_ _"] | None = None,
        *,
        photo: Float[np.ndarray, "_ _ 3"] | None = None,
        mask: Float[np.ndarray, "_ _"] | None = None,
        num_candidates: int | None = None,
        key: Array | None = None,
        search: Search | None = None,
    ) -> Completion:
        """A whole search; arguments as in `begin`."""
        progress = self.begin(
            sketch,
            photo=photo,
            mask=mask,
            num_candidates=num_candidates,
            key=key,
            search=search,
        )
        return self.answers(self.advance(progress, progress.search.total_steps))

    def begin(
        self,
        sketch: Float[np.ndarray, "_ _"] | None = None,
        *,
        photo: Float[np.ndarray, "_ _ 3"] | None = None,
        mask: Float[np.ndarray, "_ _"] | None = None,
        num_candidates: int | None = None,
        key: Array | None = None,
        search: Search | None = None,
        z: Float[np.ndarray, "k z"] | None = None,
    ) -> Progress:
        """Begins a search at the best of many starts, or at given latents.

        Args:
          sketch: `size` x `size` brightness in [0, 1]; 1 is paper, 0 ink.
          photo: `size` x `size` RGB in [0, 1]; of both, give what is known.
          mask: which pixels of the joint image are known: 1 there, 0 elsewhere, sketch
            on the left; `size` x `2 size`. All of what is given, if None.
          num_candidates: answers; if None those of `search`, 16 without one.
          key: of the starts; `jax.random.key(0)` if None.
          search: the loss and the budget, where `num_candidates` takes the place of its
            own; the preset `default` if None.
          z: begin here instead, such as at the answers to a sketch that has changed.

        Raises:
          ValueError: neither sketch nor photo is given, both without a mask, or one of
            another size; or the search asks an encoder that the model lacks, or one for
            anything but a sketch.
        """
        if search is None:
            default = Search(**presets.get_projection())
            search = dataclasses.replace(default, num_candidates=_NUM_CANDIDATES)
        count = (num_candidates or search.num_candidates) if z is None else len(z)
        starts = max(search.num_starts, count - search.encoder_starts)
        search = dataclasses.replace(search, num_candidates=count, num_starts=starts)
        key = jax.random.key(0) if key is None else key
        target = jnp.asarray(self._target(sketch, photo)[None])
        known = jnp.asarray(self._mask(sketch, photo, mask))
        if z is None:
            guesses = self._guess(target, known, search)
            drawn = self._draw_starts(key, search)
            state = begin(target, known, drawn, search=search, guesses=guesses)
        else:
            search = dataclasses.replace(search, stages=())
            given = jnp.asarray(z)[None]
            state = begin_from(given, target, known, key, search=search)
        return Progress(target, known, search, state)

    def advance(self, progress: Progress, num_steps: int) -> Progress:
        """The search `num_steps` later; the given one stays as it is.

        One that has stalled stays where it is until its stage ends, and after the last.

        Each number of steps is compiled once: ask for the same again and again.
        """
        state = advance_stages(
            self.model.variables,
            progress.target,
            progress.mask,
            progress.state,
            models=self.model.models,
            search=progress.search,
            first=progress.num_steps,
            num_steps=num_steps,
        )
        done = progress.num_steps + num_steps
        return dataclasses.replace(progress, state=state, num_steps=done)

    def answers(self, progress: Progress) -> Completion:
        """The candidates of a search as far as it has got."""
        found = finish(
            self.model.variables,
            progress.target,
            progress.mask,
            progress.state,
            models=self.model.models,
            search=progress.search,
        )
        z, joint, contextual, perceptual, *_ = (np.asarray(x[0]) for x in found)
        sketch, photo = images.split(joint)
        grey = images.to_uint8(images.luma(sketch))
        return Completion(images.to_uint8(photo), grey, z, contextual, perceptual)

    def _target(
        self, sketch: np.ndarray | None, photo: np.ndarray | None
    ) -> Float[np.ndarray, "h w 3"]:
        halves = []
        for name, half, shape in (
            ("sketch", sketch, (self.size, self.size)),
            ("photo", photo, (self.size, self.size, 3)),
        ):
            given = np.zeros(shape) if half is None else np.asarray(half)
            if given.shape != shape:
                raise ValueError(f"the {name} has shape {given.shape}, not {shape}")
            if not (given.min() >= 0 and given.max() <= 1):
                raise ValueError(f"the {name} has values outside of [0, 1]")
            given = given[..., None] if given.ndim == 2 else given
            wide = np.broadcast_to(given, (self.size, self.size, 3))
            halves.append(wide.astype(np.float32) * 2 - 1)
        return images.join(*halves)

    def _mask(
        self, sketch: np.ndarray | None, photo: np.ndarray | None, mask: Any
    ) -> Float[np.ndarray, "h w"]:
        if mask is None and (sketch is None) == (photo is None):
            raise ValueError("give a sketch or a photo, or both and a mask")
        if mask is None:
            side: images.Side = "photo" if sketch is None else "sketch"
            return images.half_mask(self.size, side)
        if np.shape(mask) != (self.size, 2 * self.size):
            raise ValueError(
                f"the mask has shape {np.shape(mask)}, not {(self.size, 2 * self.size)}"
            )
        known = np.zeros((self.size, 2 * self.size), np.float32)
        for side, half in (("sketch", sketch), ("photo", photo)):
            known += 0.0 if half is None else images.half_mask(self.size, side)
        return np.asarray(mask, np.float32) * known

    def _guess(self, target: Array, mask: Array, search: Search) -> Guesses | None:
        model = self.model
        known = model.variables, target, mask
        return guess(model.encoder, *known, models=model.models, search=search)

    def _draw_starts(self, key: Array, search: Search) -> Starts:
        """Starts, kept for the next sketch."""
        name = (jax.random.key_data(key).tobytes(), search.num_starts)
        if name not in self._starts:
            self._starts.clear()  # of another key: a thousand take 100 MB
            model = self.model
            self._starts[name] = draw_starts(
                model.variables, key, models=model.models, search=search
            )
        return self._starts[name]


def load(name_or_folder: str) -> Completer:
    """A bundled model by name, a published one by folder, or a run's newest by workdir.

    Raises:
      ModelError: there is no such model, or it cannot be read.
    """
    return Completer(load_model(name_or_folder))
