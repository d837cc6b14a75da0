"""What a search minimizes and how: its structure, its numbers, its cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cgan_jax.losses import Direction, Distance, Mass, Number, PerceptualForm

Optimizer = Literal["adam", "nesterov", "sgd"]
Bound = Literal["clip", "smooth"]
Schedule = Literal["constant", "rising", "falling", "cosine"]
Role = Literal["steers", "ranks"]


class Numbers(NamedTuple):
    """The plain numbers of a search, as `Search` explains them.

    They are traced: other values, or a `vmap` over values, compile nothing anew. Only
    whether `noise`, `stop_at` and `perceptual_weight` are 0 belongs to the structure.
    """

    learning_rate: Any
    momentum: Any
    noise: Any
    stop_at: Any
    stall_tolerance: Any
    epsilon: Any
    photo_weight: Any
    blur_focus: Any
    perceptual_weight: Any


_SWITCHES = ("noise", "stop_at", "perceptual_weight")  # what is 0 is not computed


@dataclasses.dataclass(frozen=True)
class Search:
    """What is minimized, and how; defaults and their sources in `configs/default.py`.

    Attributes:
      num_starts: latents that are drawn and ranked by their contextual loss.
      encoder_starts: latents of each sketch's own that are ranked beside them: what the
        model's encoder answers to the sketch, and to the sketch shifted by a few pixels;
        see `projection.guess`.
      stages: candidates and steps of each stage before the last, such as
        `((32, 20), (8, 20))`: the best so many go on. None where all that is refined is
        refined to the end.
      num_candidates: answers: the candidates of the last stage.
      num_steps: steps of the last stage.
      optimizer: `adam`, `nesterov` (the released code's momentum) or `sgd`.
      learning_rate: of the optimizer; z lies in [-1, 1].
      learning_rate_schedule: how it goes from the first step of all stages to the last:
        `constant`, `rising` from 0 or `falling` to it in a line, `cosine` to 0.
      momentum: decay of the mean of the gradients: Nesterov's, and Adam's beta1.
      bound: `clip` z to [-1, 1] after each step, or `smooth`: search for the normal
        u of z = erf(u / sqrt(2)), which is uniform on [-1, 1].
      keep_spread: rescale z after each step to mean(z^2) = 1/3, the spread of the
        latents that G was trained on (u to 1); the loss alone draws z towards 0, where
        photographs wash out.
      noise: standard deviation of what is added to z (or u) where a gradient is taken;
        it falls to 0 in a line. Drawn from the key of the starts and the known pixels.
      stop_at: a candidate stands still while its contextual loss is at most this.
      chunk_steps: after so many steps of a stage, again and again, sketches that have
        stalled stand still until it ends; 0 never looks. It divides the steps of every
        stage. Many sketches with one stage give their places to others then.
      stall_tolerance: a sketch has stalled if its least contextual loss, without D's
        term, is not lower than at the last look by this part of it, in [0, 1).
      distance: of the sketch half; see `losses.image_distance`.
      photo_distance: of the photo half, where it is known.
      photo_weight: weight of the photo half beside the sketch half's 1.
      direction: see `losses.image_distance`.
      start_direction: the same, for the ranking of the starts.
      mass: see `losses.kl_divergence`.
      epsilon: see `losses.image_distance`.
      blur_widths: coarse to fine: both images are compared under Gaussians of these
        standard deviations in pixels, narrow before wide; empty: as they are.
      blur_focus: width i weighs exp(-blur_focus |i - p|), of a sum of 1, where p goes
        from the last of the widths to the first: 0 weighs all alike, all the time.
      perceptual_weight: lambda, the weight of the perceptual loss.
      perceptual_schedule: of lambda, as of the learning rate.
      perceptual_form: see `losses.perceptual_loss`.
      perceptual_role: D `steers` the search, or only `ranks` its answers.
    """

    num_starts: int
    encoder_starts: int
    stages: Sequence[Sequence[int]]
    num_candidates: int
    num_steps: int
    optimizer: Optimizer
    learning_rate: float
    learning_rate_schedule: Schedule
    momentum: float
    bound: Bound
    keep_spread: bool
    noise: float
    stop_at: float
    chunk_steps: int
    stall_tolerance: float
    distance: Distance
    photo_distance: Distance
    photo_weight: float
    direction: Direction
    start_direction: Direction
    mass: Mass
    epsilon: float
    blur_widths: Sequence[float | int]
    blur_focus: float
    perceptual_weight: float
    perceptual_schedule: Schedule
    perceptual_form: PerceptualForm
    perceptual_role: Role

    def __post_init__(self) -> None:
        # JSON and command lines give lists, which have no hash.
        object.__setattr__(self, "stages", tuple(map(tuple, self.stages)))
        object.__setattr__(self, "blur_widths", tuple(map(float, self.blur_widths)))
        _check_choices(self)
        if min(self.num_starts, self.encoder_starts) < 0:
            raise ValueError(
                f"num_starts is {self.num_starts}, encoder_starts {self.encoder_starts}: "
                "neither can be negative"
            )
        _check_stages(self)
        _check_chunks(self)
        if min(self.blur_widths, default=0) < 0:
            raise ValueError(f"blur_widths is {self.blur_widths}: none can be negative")

    @property
    def all_stages(self) -> tuple[tuple[int, int], ...]:
        """Candidates and steps of every stage."""
        before = ((count, steps) for count, steps in self.stages)
        return (*before, (self.num_candidates, self.num_steps))

    @property
    def total_steps(self) -> int:
        """Steps of all stages."""
        return sum(steps for _, steps in self.all_stages)

    @property
    def numbers(self) -> Numbers:
        """What may change without compiling anew."""
        return Numbers(*(np.float32(getattr(self, x)) for x in Numbers._fields))

    @property
    def structure(self) -> Search:
        """What is compiled: the search with 0 and 1 in the place of its numbers."""
        names = Numbers._fields
        ones = {x: float(x in _SWITCHES and getattr(self, x) != 0) for x in names}
        return dataclasses.replace(self, **ones)  # type: ignore[arg-type]


_CHOICES = {
    name: get_args(hint)
    for name, hint in get_type_hints(Search).items()
    if get_origin(hint) is Literal
}


def _check_choices(search: Search) -> None:
    for name, choices in _CHOICES.items():
        value = getattr(search, name)
        if value not in choices:
            raise ValueError(f"{name} is {value!r}: choose one of {', '.join(choices)}")


def _check_stages(search: Search) -> None:
    limit, of_what = search.num_starts + search.encoder_starts, "num_starts"
    if search.encoder_starts:
        of_what += " and encoder_starts together"
    names = [f"stage {i + 1}" for i in range(len(search.stages))] + ["num_candidates"]
    for name, (count, steps) in zip(names, search.all_stages, strict=True):
        if not 1 <= count <= limit:
            raise ValueError(
                f"{name} is {count}: it must be at least 1 and at most {of_what}, {limit}"
            )
        if steps < 0:
            what = "num_steps" if name == "num_candidates" else f"the steps of {name}"
            raise ValueError(f"{what} is {steps}: it cannot be negative")
        limit, of_what = count, f"the candidates of {name}"


def _check_chunks(search: Search) -> None:
    if search.chunk_steps < 0:
        raise ValueError(f"chunk_steps is {search.chunk_steps}: it cannot be negative")
    if not 0 <= search.stall_tolerance < 1:
        raise ValueError(
            f"stall_tolerance is {search.stall_tolerance}: it must be at least 0 and "
            "below 1"
        )
    if search.chunk_steps and (search.noise or search.blur_focus):
        raise ValueError(
            "chunk_steps compares losses of different steps, which noise and blur_focus "
            "make incomparable: set it, or them, to 0"
        )
    odd = [
        n for _, n in search.all_stages if search.chunk_steps and n % search.chunk_steps
    ]
    if odd:
        raise ValueError(
            f"chunk_steps is {search.chunk_steps}: it must divide the steps of every "
            f"stage, and does not divide {odd[0]}"
        )


class Passes(NamedTuple):
    """Pictures that go through the generator in a search.

    Attributes:
      starts: forward, once for all targets of a call.
      forward: forward, for each target, those of its `encoder_starts` among them; the
        encoder's own, each about half a pass of G in arithmetic, are not counted.
      backward: backward, for each target.
    """

    starts: int
    forward: int
    backward: int

    @property
    def alone(self) -> int:
        """All passes of a target that is the only one."""
        return sum(self)


def count_passes(search: Search, num_steps: int | None = None) -> Passes:
    """What a search costs; a step of a candidate is one pass forward and one backward.

    Args:
      search: the search.
      num_steps: after which it is ended, with answers; all of its own if None.
    """
    num_steps = search.total_steps if num_steps is None else num_steps
    parts = [*segments(search, 0, num_steps)]
    steps = sum(part.candidates * part.steps for part in parts)
    last = parts[-1].candidates if parts else search.all_stages[0][0]
    forward = search.encoder_starts + steps + last
    return Passes(search.num_starts, forward, steps)


def schedule(name: Schedule, progress: Number) -> Number:
    """The factor of a number at a part of the search in [0, 1]; see `Search`."""
    if name == "constant":
        return 1.0
    if name == "cosine":
        return (1.0 + jnp.cos(np.pi * progress)) / 2.0
    return progress if name == "rising" else 1.0 - progress


def blur_weights(count: int, focus: Number, progress: Number) -> Float[Array, " n"]:
    """The weights of `count` widths at a part of the search in [0, 1]; see `Search`."""
    position = (count - 1) * (1.0 - progress)
    return jax.nn.softmax(-focus * jnp.abs(jnp.arange(count) - position))


class Segment(NamedTuple):
    """A part of a search in which nothing changes from outside.

    Attributes:
      candidates: of each target.
      steps: of each candidate.
      looks: whether it is looked who stalled, once they are done.
    """

    candidates: int
    steps: int
    looks: bool = False


def segments(search: Search, done: int, num_steps: int) -> Iterator[Segment]:
    """The parts of the next `num_steps` steps.

    Args:
      search: its last stage goes on after its end.
      done: steps that are done.
      num_steps: steps that are asked for.
    """
    begin = 0
    for count, steps in search.stages:
        part = min(begin + steps - done, num_steps)
        if part > 0:
            yield from _chunks(search, count, done - begin, part)
            done, num_steps = done + part, num_steps - part
        begin += steps
    if done >= begin:
        yield from _chunks(search, search.num_candidates, done - begin, num_steps)


def _chunks(search: Search, count: int, done: int, num_steps: int) -> Iterator[Segment]:
    """Steps of one stage, of which `done` are done, from look to look."""
    chunk = search.chunk_steps
    if not chunk or not num_steps:
        yield Segment(count, num_steps)
        return
    while num_steps:
        part = min(chunk - done % chunk, num_steps)
        done, num_steps = done + part, num_steps - part
        yield Segment(count, part, looks=done % chunk == 0)
