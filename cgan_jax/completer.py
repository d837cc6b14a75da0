"""Completing from Python: NumPy arrays in, NumPy arrays out."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from cgan_jax.complete import load_model
from cgan_jax.configs import presets
from cgan_jax.drawings import Seen, choose_style, clean_drawing
from cgan_jax.images import to_uint8
from cgan_jax.joint import PHOTO, Joint
from cgan_jax.model_files import Model
from cgan_jax.projection import (
    Search,
    SearchState,
    Starts,
    advance,
    begin,
    begin_from,
    draw_starts,
    finish,
    guess,
)

_NUM_CANDIDATES = 16
Closeness = float | int | str  # from 0 to 1, or `auto`


class Completion(NamedTuple):
    """Answers, best first.

    Attributes:
      photo: generated photographs, RGB from 0 to 255.
      sketch: generated sketches of the style that was given, or of the model's first; 255
        is paper and 0 ink.
      sketches: those of every style, by name.
      z: latents in [-1, 1].
      offsets: of the inner layers, an array for each; see `projection.Candidates`.
      contextual: contextual loss of each, at least 0; see `losses.image_distance`.
      perceptual: perceptual loss of each; see `losses.perceptual_loss`.
      closeness: how closely each follows what is known, in [0, 1]; see `Search`.
    """

    photo: UInt8[np.ndarray, "k s s 3"]
    sketch: UInt8[np.ndarray, "k s s"]
    sketches: dict[str, UInt8[np.ndarray, "k s s"]]
    z: Float[np.ndarray, "k z"]
    offsets: tuple[Float[np.ndarray, "k _ _ _"], ...]
    contextual: Float[np.ndarray, " k"]
    perceptual: Float[np.ndarray, " k"]
    closeness: Float[np.ndarray, " k"]


@dataclasses.dataclass(frozen=True)
class Progress:
    """A search under way: what it goes by, how far it has got, in how many steps.

    Attributes:
      target: joint image y in [-1, 1].
      mask: 1 on its known pixels.
      style: of the sketch that is shown first.
      search: the loss and the budget.
      state: how far it has got.
      num_steps: steps that are done.
    """

    target: Float[Array, "1 s s c"]
    mask: Float[Array, "s s p"]
    style: str
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
    def joint(self) -> Joint:
        """What its joint images hold: the sketches are named by their styles."""
        return self.model.joint

    @property
    def size(self) -> int:
        """Side of sketches and photographs, in pixels."""
        return self.joint.size

    def prepare(
        self,
        drawing: Float[np.ndarray, "h w"],
        style: str | None = None,
        **options: Any,
    ) -> Float[np.ndarray, "s s"]:
        """A drawing of any size, 1 is paper and 0 ink, as the model's sketch.

        Args:
          drawing: brightness in [0, 1].
          style: one of the model's; its first if None.
          **options: of `drawings.Seen.prepare`.

        Raises:
          DrawingError: the drawing is blank.
          ValueError: the model has no such style, or an option no such choice.
        """
        return self._seen.prepare(drawing, self._style(style), **options).sketch

    def choose_style(self, drawing: Float[np.ndarray, "h w"]) -> str:
        """Which of the model's styles a drawing is like: see `drawings.choose_style`.

        Raises:
          DrawingError: the drawing is blank.
        """
        return choose_style(clean_drawing(drawing), self._seen.facts)

    def complete(
        self,
        sketch: Float[np.ndarray, "_ _"] | None = None,
        *,
        style: str | None = None,
        photo: Float[np.ndarray, "_ _ 3"] | None = None,
        mask: Float[np.ndarray, "*shape"] | None = None,
        closeness: Closeness | None = None,
        num_candidates: int | None = None,
        key: Array | None = None,
        search: Search | None = None,
    ) -> Completion:
        """A whole search; arguments as in `begin`."""
        progress = self.begin(
            sketch,
            style=style,
            photo=photo,
            mask=mask,
            closeness=closeness,
            num_candidates=num_candidates,
            key=key,
            search=search,
        )
        return self.answers(self.advance(progress, progress.search.total_steps))

    def begin(
        self,
        sketch: Float[np.ndarray, "_ _"] | None = None,
        *,
        style: str | None = None,
        photo: Float[np.ndarray, "_ _ 3"] | None = None,
        mask: Float[np.ndarray, "*shape"] | None = None,
        closeness: Closeness | None = None,
        num_candidates: int | None = None,
        key: Array | None = None,
        search: Search | None = None,
        z: Float[np.ndarray, "k z"] | None = None,
        offsets: Sequence[Float[np.ndarray, "k _ _ _"]] = (),
    ) -> Progress:
        """Begins a search at the best of many starts, or at given latents.

        Args:
          sketch: `size` x `size` brightness in [0, 1]; 1 is paper, 0 ink.
          style: which of the model's sketches it is; the first if None.
          photo: `size` x `size` RGB in [0, 1]; of both, give what is known.
          mask: which pixels of each part are known: 1 there, 0 elsewhere; `size` x `size`
            x parts, in the order of `joint.names`. All of what is given, if None.
          closeness: how closely answers follow what is known, from 0 to 1, or `auto`; that
            of `search` if None.
          num_candidates: answers; if None those of `search`, 16 without one.
          key: of the starts; `jax.random.key(0)` if None.
          search: the loss and the budget, where `num_candidates` and `closeness` take the
            place of its own; the preset `default` if None.
          z: begin here instead, such as at the answers to a sketch that has changed.
          offsets: of these answers; with them, the inner search goes on alone.

        Raises:
          ValueError: neither sketch nor photo is given, both without a mask, one of
            another size, or a style that the model has not; or the search asks an encoder
            that the model lacks, or one for anything but a whole sketch.
        """
        style = self._style(style)
        given = {style: sketch, PHOTO: photo}
        pictures = {x: self._picture(x, y) for x, y in given.items() if y is not None}
        known = jnp.asarray(self._mask(pictures, mask))
        target = jnp.asarray(self.joint.stack(pictures)[None])
        search = _asked(search, closeness, num_candidates if z is None else len(z))
        done = 0
        if z is None:
            state = self._best_starts(target, known, search, key)
        else:
            ones = [jnp.asarray(x)[None] for x in offsets]
            state = begin_from(jnp.asarray(z)[None], ones, search=search)
            done = search.num_steps if state.offsets else 0
        return Progress(target, known, style, search, state, done)

    def advance(self, progress: Progress, num_steps: int) -> Progress:
        """The search `num_steps` later; the given one stays as it is.

        Each number of steps is compiled once: ask for the same again and again.
        """
        state = advance(
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
        found = jax.tree.map(lambda x: np.asarray(x[0]), found)
        parts = {x: to_uint8(y) for x, y in self.joint.unstack(found.joint).items()}
        photo = parts.pop(PHOTO)
        return Completion(
            photo,
            parts[progress.style],
            parts,
            found.z,
            found.offsets,
            found.contextual,
            found.perceptual,
            found.closeness,
        )

    @functools.cached_property
    def _seen(self) -> Seen:
        return Seen.by(self.joint, self.model.config)

    def _style(self, style: str | None) -> str:
        if style is None:
            return self.joint.sketches[0]
        return self.joint.check_sketch(style)

    def _picture(
        self, name: str, given: Float[np.ndarray, "*shape"]
    ) -> Float[np.ndarray, "*shape"]:
        """A part of the joint image, in [-1, 1]."""
        what = "photo" if name == PHOTO else "sketch"
        shape = (self.size, self.size, *((3,) if name == PHOTO else ()))
        given = np.asarray(given, np.float32)
        if given.shape != shape:
            raise ValueError(f"the {what} has shape {given.shape}, not {shape}")
        if not (given.min() >= 0 and given.max() <= 1):
            raise ValueError(f"the {what} has values outside of [0, 1]")
        return given * 2 - 1

    def _mask(
        self, pictures: Mapping[str, np.ndarray], mask: np.ndarray | None
    ) -> Float[np.ndarray, "s s p"]:
        if not pictures or (mask is None and len(pictures) > 1):
            raise ValueError("give a sketch or a photo, or both and a mask")
        given = self.joint.mask(list(pictures))
        if mask is None:
            return given
        if np.shape(mask) != self.joint.mask_shape:
            raise ValueError(
                f"the mask has shape {np.shape(mask)}, not {self.joint.mask_shape}"
            )
        return np.asarray(mask, np.float32) * given

    def _best_starts(
        self, target: Array, mask: Array, search: Search, key: Array | None
    ) -> SearchState:
        model = self.model
        given: dict[str, Any] = {"models": model.models, "search": search}
        guesses = guess(model.encoder, model.variables, target, mask, **given)
        drawn = self._draw_starts(jax.random.key(0) if key is None else key, search)
        return begin(target, mask, drawn, guesses=guesses, **given)

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


def _asked(
    search: Search | None, closeness: Closeness | None, count: int | None
) -> Search:
    """The search that is meant, with enough starts for its answers."""
    if search is None:
        default = Search(**presets.get_projection())
        search = dataclasses.replace(default, num_candidates=_NUM_CANDIDATES)
    count = count or search.num_candidates
    starts = max(search.num_starts, count - search.encoder_starts)
    asked = dataclasses.replace(search, num_candidates=count, num_starts=starts)
    if closeness is None:
        return asked
    if closeness != 0 and not asked.inner_steps:
        raise ValueError(
            f"closeness is {closeness}, but the search has no inner_steps: give it some, "
            "or leave closeness out"
        )
    return dataclasses.replace(asked, closeness=closeness)


def load(name_or_folder: str) -> Completer:
    """A bundled model by name, a published one by folder, or a run's newest by workdir.

    Raises:
      ModelError: there is no such model, or it cannot be read.
    """
    return Completer(load_model(name_or_folder))
