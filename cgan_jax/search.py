"""What a search minimizes and how: its structure, its numbers, its cost."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cgan_jax.losses import Direction, Distance, Mass, PerceptualForm

Optimizer = Literal["adam", "nesterov", "sgd"]
Role = Literal["steers", "ranks"]
AUTO = "auto"

# The penalty of offsets at closeness just above 0, where an answer hardly leaves what a z
# alone reaches, and at 1, where nearly every stroke is kept (docs/design.md).
_WEAKEST, _CLOSEST = 300.0, 1.0
_RANGE = math.log(_WEAKEST / _CLOSEST)
# What `auto` chooses from, and the `offset_size` up to which it goes. Not calibrated yet: on
# held-out sketches of photographs offsets have this size at closeness 0.7 (docs/recipes.md).
LEVELS = (0.2, 0.4, 0.6, 0.8)
AUTO_SIZE = 0.05


class Numbers(NamedTuple):
    """The plain numbers of a search, as `Search` explains them.

    They are traced: other values, or a `vmap` over values, compile nothing anew. Only
    whether `perceptual_weight` or `closeness` is 0 belongs to the structure.
    """

    learning_rate: Any
    momentum: Any
    epsilon: Any
    photo_weight: Any
    perceptual_weight: Any
    inner_learning_rate: Any
    inner_weight: Any
    offset_penalty: Any


@dataclasses.dataclass(frozen=True)
class Search:
    """What is minimized, and how; defaults and their sources in `configs/default.py`.

    A search has two stages. The first moves z alone. The second, the *inner search*, moves
    z and the offsets of G's inner layers together (`models.Generator`): Daras et al. 2021,
    *Intermediate Layer Optimization* (arXiv 2102.07364), with the penalty
    `offset_penalty * sum of mean(offset^2)` over layers in the place of their l1 ball.

    Attributes:
      num_starts: latents that are drawn and ranked by their contextual loss.
      encoder_starts: latents of each sketch's own that are ranked beside them: what the
        model's encoder answers to the sketch, and to the sketch shifted by a few pixels;
        see `projection.guess`.
      num_candidates: the best of them are refined: answers.
      num_steps: steps of the first stage.
      optimizer: of the first stage: `adam`, `nesterov` (the released code's momentum) or
        `sgd`.
      learning_rate: of the optimizer; z lies in [-1, 1].
      momentum: decay of the mean of the gradients: Nesterov's, and Adam's beta1.
      keep_spread: rescale z after each step to mean(z^2) = 1/3, the spread of the
        latents that G was trained on; the loss alone draws z towards 0, where
        photographs wash out.
      distance: of a known sketch; see `losses.image_distance`.
      photo_distance: of the photograph, where it is known.
      photo_weight: weight of the photograph beside each sketch's 1.
      direction: see `losses.image_distance`.
      start_direction: the same, for the ranking of the starts.
      mass: see `losses.kl_divergence`.
      epsilon: see `losses.image_distance`.
      perceptual_weight: lambda, the weight of the perceptual loss.
      perceptual_form: see `losses.perceptual_loss`.
      perceptual_role: D `steers` the first stage, or only `ranks` its answers.
      inner_steps: steps of the inner search; 0 leaves it out.
      inner_layers: how many inner layers have offsets, the coarsest first; all, if G has
        fewer.
      inner_learning_rate: of Adam, for z and offsets.
      inner_distance: of all known parts in the inner search.
      inner_weight: weight of that distance beside the penalty.
      closeness: how closely the answer follows what is known, from 0, z alone, to 1,
        nearly every stroke: it sets the penalty of the offsets. `auto` refines each
        candidate at several levels and takes the closest whose offsets stay small; see
        `projection.choose_levels`.
    """

    num_starts: int
    encoder_starts: int
    num_candidates: int
    num_steps: int
    optimizer: Optimizer
    learning_rate: float
    momentum: float
    keep_spread: bool
    distance: Distance
    photo_distance: Distance
    photo_weight: float
    direction: Direction
    start_direction: Direction
    mass: Mass
    epsilon: float
    perceptual_weight: float
    perceptual_form: PerceptualForm
    perceptual_role: Role
    inner_steps: int = 0
    inner_layers: int = 3
    inner_learning_rate: float = 0.05
    inner_distance: Distance = "l2"
    inner_weight: float = 4.0
    closeness: float | int | str = 0.5  # text of a number will do

    def __post_init__(self) -> None:
        _check_choices(self)
        for name in ("num_starts", "encoder_starts", "num_steps", "inner_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it is at least 0")
        if self.inner_layers < 1:
            raise ValueError(f"inner_layers is {self.inner_layers}: it is at least 1")
        object.__setattr__(self, "closeness", _closeness(self.closeness))
        _check_count(self)

    @property
    def is_inner(self) -> bool:
        """Whether it has an inner search."""
        return self.inner_steps > 0 and self.closeness != 0

    @property
    def levels(self) -> tuple[float, ...]:
        """The closeness of the candidates that the inner search makes of each."""
        return LEVELS if self.closeness == AUTO else (float(self.closeness),)

    @property
    def total_steps(self) -> int:
        """Steps of both stages."""
        return self.num_steps + (self.inner_steps if self.is_inner else 0)

    @property
    def numbers(self) -> Numbers:
        """What may change without compiling anew."""
        penalty = 1.0 if self.closeness == AUTO else penalty_of(self.levels[0])
        values = [getattr(self, name) for name in Numbers._fields[:-1]]
        return Numbers(*map(np.float32, [*values, penalty]))

    @property
    def structure(self) -> Search:
        """What is compiled: the search with 0 and 1 in the place of its numbers."""
        numbers = dict.fromkeys(Numbers._fields[:-1], 0.0)
        numbers["perceptual_weight"] = float(self.perceptual_weight != 0)
        closeness = AUTO if self.closeness == AUTO else float(self.closeness != 0)
        return dataclasses.replace(self, **numbers, closeness=closeness)  # type: ignore[arg-type]


def penalty_of(closeness: float) -> float:
    """The weight of the squared offsets at a closeness: its logarithm falls in a line.

    At closeness 0 there are no offsets, whatever the penalty.
    """
    return _WEAKEST * math.exp(-_RANGE * closeness)


def closeness_of(penalty: Float[Any, "*n"]) -> Float[Array, "*n"]:
    """`penalty_of` the other way."""
    return jnp.log(_WEAKEST / penalty) / _RANGE


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


def _closeness(value: Any) -> float | str:
    """`auto`, or a number from 0 to 1, which may be given as text."""
    if value == AUTO:
        return value  # type: ignore[return-value]
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number <= 1:
        raise ValueError(
            f"closeness is {value!r}: give a number from 0 to 1, or {AUTO!r}"
        )
    return number


def _check_count(search: Search) -> None:
    limit, of_what = search.num_starts + search.encoder_starts, "num_starts"
    if search.encoder_starts:
        of_what += " and encoder_starts together"
    if not 1 <= search.num_candidates <= limit:
        raise ValueError(
            f"num_candidates is {search.num_candidates}: it must be at least 1 and at most "
            f"{of_what}, {limit}"
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
    count = {False: search.num_candidates}
    count[True] = search.num_candidates * len(search.levels)
    steps = sum(count[part.is_inner] * part.steps for part in parts)
    last = count[parts[-1].is_inner] if parts else search.num_candidates
    forward = search.encoder_starts + steps + last
    return Passes(search.num_starts, forward, steps)


class Segment(NamedTuple):
    """Steps of one stage.

    Attributes:
      steps: of each candidate.
      is_inner: whether the offsets are moved, too.
    """

    steps: int
    is_inner: bool


def segments(search: Search, done: int, num_steps: int) -> Iterator[Segment]:
    """The parts of the next `num_steps` steps.

    Args:
      search: its last stage goes on after its end.
      done: steps that are done.
      num_steps: steps that are asked for.
    """
    first = num_steps
    if search.is_inner:
        first = min(max(search.num_steps - done, 0), num_steps)
    if first:
        yield Segment(first, False)
    if num_steps - first:
        yield Segment(num_steps - first, True)
