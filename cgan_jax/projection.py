"""The search for latents whose joint image fits what is known of one.

A pure core: arrays in, arrays out; files are `complete`'s business. G and D run on
running averages and the same starts serve every target, so that an answer depends on the
target, the model and the starts alone.

`project` is a whole search. Its parts are public, for searches that show how they get on
or begin elsewhere: `begin`, then `advance` as often as one likes, then `finish`. All of
them may stand in other JAX programs, under `jit`, `vmap` and reverse-mode derivatives.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Key

from cgan_jax import losses
from cgan_jax.images import Side, half_mask
from cgan_jax.losses import Number
from cgan_jax.models import (
    Encoder,
    GanPair,
    Generator,
    TrainedEncoder,
    encode,
    generate,
    sample_z,
)
from cgan_jax.search import (
    Numbers,
    Passes,
    Schedule,
    Search,
    blur_weights,
    count_passes,
    schedule,
    segments,
)
from cgan_jax.strided_conv import phase_conv_transpose, plain_conv

__all__ = [
    "Candidates",
    "Guesses",
    "Numbers",
    "Passes",
    "Search",
    "SearchState",
    "Starts",
    "advance",
    "advance_stages",
    "begin",
    "begin_from",
    "check_encoder",
    "choose_rows",
    "compile_project",
    "count_passes",
    "draw_starts",
    "finish",
    "generate_each",
    "guess",
    "keep_best",
    "project",
    "stop_stalled",
]

# Images of starts and answers are generated this many at a time, by one executable.
_BLOCK = 8
_SIDES: tuple[Side, ...] = ("sketch", "photo")
_LARGEST = 1.0 - 1e-6  # of z where its bound is smooth: u stays finite


class Candidates(NamedTuple):
    """Answers to each target, best first: by contextual loss, or as D ranks them.

    Attributes:
      z: latents in [-1, 1].
      joint: G(z), joint images in [-1, 1].
      contextual: contextual loss, without blur: of the sketch half, and `photo_weight`
        times that of the photo half.
      perceptual: perceptual loss, unweighted.
      sketch_loss: distance of the sketch half; 0 where nothing of it is known.
      photo_loss: distance of the photo half; 0 where nothing of it is known.
      steps: in which the target took part.
    """

    z: Float[Array, "b k z"]
    joint: Float[Array, "b k h w 3"]
    contextual: Float[Array, "b k"]
    perceptual: Float[Array, "b k"]
    sketch_loss: Float[Array, "b k"]
    photo_loss: Float[Array, "b k"]
    steps: Int[Array, "b k"]


class Starts(NamedTuple):
    """Latents to begin with; they serve every target.

    Attributes:
      z: latents in [-1, 1].
      joint: G(z) in [-1, 1], in blocks of 8, the last filled up.
      key: for what else a search draws.
    """

    z: Float[Array, "n z"]
    joint: tuple[Float[Array, "block h w 3"], ...]
    key: Key[Array, ""]


class Guesses(NamedTuple):
    """Latents to begin with beside the starts, each target's own.

    Attributes:
      z: latents in [-1, 1].
      joint: G(z) in [-1, 1], in blocks of 8, the last filled up.
    """

    z: Float[Array, "b e z"]
    joint: tuple[Float[Array, "block h w 3"], ...]


class SearchState(NamedTuple):
    """A search under way.

    Attributes:
      z: latents in [-1, 1].
      contextual: what the last step found each to lose, before it moved it: the
        contextual loss, blurred as it was then.
      opt_state: of the optimizer, of each target by itself.
      step: steps of each target.
      moving: whether it takes part in the next one.
      looked: its least contextual loss when it was last looked who stalled.
      keys: of each target, for its noise; None without noise.
    """

    z: Float[Array, "b k z"]
    contextual: Float[Array, "b k"]
    opt_state: Any
    step: Int[Array, " b"]
    moving: Bool[Array, " b"]
    looked: Float[Array, " b"]
    keys: Key[Array, " b"] | None


def draw_starts(
    variables: GanPair, key: Array, *, models: GanPair, search: Search
) -> Starts:
    """`search.num_starts` latents with their images: forward passes only.

    They depend on the model and the key alone: draw them once for many targets. At
    64x128, a thousand take 100 MB.

    Args:
      variables: parameters and running averages of G and D.
      key: draws the latents.
      models: G and D.
      search: for the number of starts.
    """
    z = _sample_z(key, search.num_starts, models.gen.z_dim)
    return Starts(z, _generate_blocks(models.gen, variables.gen, z), key)


def guess(
    encoder: TrainedEncoder | None,
    variables: GanPair,
    target: Float[Array, "b h w 3"],
    mask: Float[Array, "h w"],
    *,
    models: GanPair,
    search: Search,
) -> Guesses | None:
    """What an encoder takes the sketch of each target for: `search.encoder_starts` latents.

    The first is its answer to the sketch itself, the others are those to the sketch
    shifted by whole pixels, the nearest places first. Nothing is drawn: they depend on the
    target alone. They are ranked as they are; a search that keeps the spread gives it to
    them in its first step.

    Args:
      encoder: of the same generator.
      variables: parameters and running averages of G and D.
      target: joint images in [-1, 1]; the sketch half is read.
      mask: as for `project`.
      models: G and D.
      search: for the number of latents.

    Returns:
      None if the search asks for none.

    Raises:
      ValueError: there is no encoder, or the mask shows anything but the sketch half.
    """
    check_encoder(encoder, mask, search)
    if encoder is None or not search.encoder_starts:
        return None
    z = _encode(encoder.params, target, encoder.module, search.encoder_starts)
    return Guesses(z, _generate_blocks(models.gen, variables.gen, z))


def check_encoder(encoder: TrainedEncoder | None, mask: Any, search: Search) -> None:
    """Whether there is an encoder, and a sketch for it, where a search asks for one.

    Raises:
      ValueError: there is none, or the mask shows anything but the sketch half.
    """
    if not search.encoder_starts:
        return
    if encoder is None:
        raise ValueError(
            f"encoder_starts is {search.encoder_starts}, but the model has no encoder: "
            "give it one with cgan-encode, or set encoder_starts to 0"
        )
    traced = isinstance(mask, jax.core.Tracer)
    if traced or not np.array_equal(mask, half_mask(len(mask), "sketch")):
        raise ValueError(
            f"encoder_starts is {search.encoder_starts}, but an encoder reads whole "
            "sketches, and what is known here is not the sketch half: set encoder_starts "
            "to 0"
        )


def project(
    variables: GanPair,
    target: Float[Array, "b h w 3"],
    mask: Float[Array, "h w"],
    starts: Starts,
    *,
    models: GanPair,
    search: Search,
    numbers: Numbers | None = None,
    encoder: TrainedEncoder | None = None,
) -> Candidates:
    """z^ = argmin L_contextual(z) + lambda L_perceptual(z), from the best of many starts.

    Starts and answers are generated by the same executable, and each stage is one scan.

    Args:
      variables: parameters and running averages of G and D.
      target: joint images y in [-1, 1]; only what the mask shows is read.
      mask: M, 1 on the known pixels of the joint image, 0 elsewhere. Where it is not
        traced, halves of which nothing is known are not computed.
      starts: what `draw_starts` returned for these variables.
      models: G and D.
      search: the loss and the budget.
      numbers: take the place of `search.numbers`; may be traced, or mapped by `vmap`.
      encoder: the model's, for a search with `encoder_starts`.

    Returns:
      `search.num_candidates` answers to each target.

    Raises:
      ValueError: see `guess`.
    """
    known = variables, target, mask
    guesses = guess(encoder, *known, models=models, search=search)
    state = begin(target, mask, starts, search=search, numbers=numbers, guesses=guesses)
    state = advance_stages(
        *known,
        state,
        models=models,
        search=search,
        first=0,
        num_steps=search.total_steps,
        numbers=numbers,
    )
    return finish(*known, state, models=models, search=search, numbers=numbers)


def begin(
    target: Float[Array, "b h w 3"],
    mask: Float[Array, "h w"],
    starts: Starts,
    *,
    search: Search,
    numbers: Numbers | None = None,
    guesses: Guesses | None = None,
) -> SearchState:
    """The best starts of each target, as many as the first stage refines.

    Args:
      target: as for `project`.
      mask: as for `project`.
      starts: what `draw_starts` returned.
      search: the loss and the budget.
      numbers: as for `project`.
      guesses: what `guess` returned for these targets, ranked beside the starts.

    Raises:
      ValueError: the guesses are not as many as `search.encoder_starts`.
    """
    given = 0 if guesses is None else guesses.z.shape[1]
    if given != search.encoder_starts:
        raise ValueError(
            f"encoder_starts is {search.encoder_starts}, but {given} guesses are given: "
            "give begin() what guess() returns for the same search"
        )
    numbers, plan, sides = _compiled(search, numbers, mask)

    def rank(blocks: Sequence[Array]) -> list[Array]:
        return [_rank(x, target, mask, numbers, plan, sides) for x in blocks]

    ranked = rank(starts.joint)
    own = None if guesses is None else (guesses.z, rank(guesses.joint))
    return _begin(ranked, own, starts, target, mask, numbers, plan)


def begin_from(
    z: Float[Array, "b k z"],
    target: Float[Array, "b h w 3"],
    mask: Float[Array, "h w"],
    key: Array,
    *,
    search: Search,
    numbers: Numbers | None = None,
) -> SearchState:
    """Begins at given latents, such as the answers to a sketch that has changed since."""
    numbers, plan, _ = _compiled(search, numbers, mask)
    return _begin_from(z, target, mask, key, numbers, plan)


def advance(
    variables: GanPair,
    target: Float[Array, "b h w 3"],
    mask: Float[Array, "h w"],
    state: SearchState,
    *,
    models: GanPair,
    search: Search,
    num_steps: int,
    numbers: Numbers | None = None,
) -> SearchState:
    """`num_steps` more steps for every candidate: one scan of fixed length.

    Steps in several calls are the steps of one. Schedules go by the target's own
    `state.step` of `search.total_steps`, and stay at their end after it.
    """
    if num_steps == 0:
        return state
    numbers, plan, sides = _compiled(search, numbers, mask)
    return _advance(
        variables, target, mask, state, numbers, models, plan, sides, num_steps
    )


def advance_stages(
    variables: GanPair,
    target: Float[Array, "b h w 3"],
    mask: Float[Array, "h w"],
    state: SearchState,
    *,
    models: GanPair,
    search: Search,
    first: int,
    num_steps: int,
    numbers: Numbers | None = None,
) -> SearchState:
    """`advance` from step `first` on, through the stages that lie in `num_steps` steps.

    Where the search has chunks, sketches that stalled are stopped at the end of each.
    """
    for part in segments(search, first, num_steps):
        state = advance(
            variables,
            target,
            mask,
            keep_best(state, part.candidates),
            models=models,
            search=search,
            num_steps=part.steps,
            numbers=numbers,
        )
        if part.looks:
            state = stop_stalled(state, search=search, numbers=numbers)
    return state


def stop_stalled(
    state: SearchState, *, search: Search, numbers: Numbers | None = None
) -> SearchState:
    """Targets whose least loss fell too little since the last look stand still."""
    numbers = search.numbers if numbers is None else numbers
    return _stop_stalled(state, numbers.stall_tolerance)


def keep_best(state: SearchState, count: int) -> SearchState:
    """The `count` candidates of each target that the last step found to lose least.

    If there were more, a stage begins: all that stood still move again.
    """
    return state if count == state.z.shape[1] else _keep_best(state, count)


def finish(
    variables: GanPair,
    target: Float[Array, "b h w 3"],
    mask: Float[Array, "h w"],
    state: SearchState,
    *,
    models: GanPair,
    search: Search,
    numbers: Numbers | None = None,
) -> Candidates:
    """The answers of a search as far as it has got: forward passes only."""
    numbers, plan, sides = _compiled(search, numbers, mask)
    joint = _generate_blocks(models.gen, variables.gen, state.z)
    return _score(variables, target, mask, state, joint, numbers, models, plan, sides)


def compile_project(
    variables: GanPair,
    target: Float[Array, "b h w 3"] | jax.ShapeDtypeStruct,
    mask: Float[Array, "h w"],
    *,
    models: GanPair,
    search: Search,
) -> None:
    """Compiles what `project` runs on such targets: for a thread beside `draw_starts`.

    Args:
      variables: parameters and running averages of G and D.
      target: as for `project`; only its shape counts.
      mask: as for `project`; its pixels say which halves are known.
      models: G and D.
      search: the loss and the budget.
    """
    numbers, plan, sides = _compiled(search, None, mask)
    for count, steps in {part[:2] for part in segments(search, 0, search.total_steps)}:
        state = _shape_of_state(target, mask, count, models, plan)
        if steps:
            _advance.lower(
                variables, target, mask, state, numbers, models, plan, sides, steps
            ).compile()
    state = _shape_of_state(target, mask, search.num_candidates, models, plan)
    joint = jax.ShapeDtypeStruct((_BLOCK, *target.shape[1:]), jnp.float32)
    answers = (joint,) * -(-target.shape[0] * search.num_candidates // _BLOCK)
    _score.lower(
        variables, target, mask, state, answers, numbers, models, plan, sides
    ).compile()
    _rank.lower(joint, target, mask, numbers, plan, sides).compile()


def _shape_of_state(
    target: Any, mask: Any, count: int, models: GanPair, search: Search
) -> SearchState:
    z = jax.ShapeDtypeStruct((target.shape[0], count, models.gen.z_dim), jnp.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    begin = functools.partial(_begin_from, search=search)
    return jax.eval_shape(begin, z, target, mask, key, search.numbers)


def _compiled(
    search: Search, numbers: Numbers | None, mask: Any
) -> tuple[Numbers, Search, tuple[Side, ...]]:
    """What is traced, and the two that are compiled: structure and known halves."""
    numbers = search.numbers if numbers is None else numbers
    if isinstance(mask, jax.core.Tracer):
        return numbers, search.structure, _SIDES
    pixels = np.asarray(mask)
    sides = tuple(x for x in _SIDES if losses.half_of_mask(pixels, x).any())
    if not sides:
        raise ValueError("the mask shows nothing: there is no answer to search for")
    return numbers, search.structure, sides


# ---------------------------------------------------------------------- pictures

_sample_z = jax.jit(sample_z, static_argnums=(1, 2))


@functools.partial(jax.jit, static_argnums=0)
def generate_each(
    gen: Generator, variables: Any, z: Float[Array, "n z"]
) -> Float[Array, "n h w 3"]:
    """G(z), in a form that compiles at once; an image depends on its own z to the bit."""
    once = gen.clone(conv_fn=phase_conv_transpose)
    # One after the other: in one batch, rounding would depend on the place in it.
    return lax.map(lambda z: generate(once, variables, z[None])[0], z)


def _generate_blocks(
    gen: Generator, variables: Any, z: Float[Array, "*n z"]
) -> tuple[Float[Array, "block h w 3"], ...]:
    starts = range(0, int(np.prod(z.shape[:-1])), _BLOCK)
    return tuple(generate_each(gen, variables, _block(z, np.int32(i))) for i in starts)


@jax.jit
def _block(z: Float[Array, "*n z"], start: Array) -> Float[Array, "block z"]:
    """Latents of a row that is filled up with zeros."""
    flat = z.reshape(-1, z.shape[-1])
    padded = jnp.pad(flat, ((0, -len(flat) % _BLOCK), (0, 0)))
    return lax.dynamic_slice_in_dim(padded, start, _BLOCK)


# -------------------------------------------------------------------------- loss

Views = dict[Side, Float[Array, "n _ h h"]]


def _views(
    joint: Float[Array, "h w 3"],
    mask: Float[Array, "h w"],
    widths: Sequence[float],
    sides: tuple[Side, ...],
) -> Views:
    """The known halves of a joint image under each blur."""
    return {
        side: losses.blur(
            losses.comparable(joint, side),
            losses.half_of_mask(mask, side),
            widths or (0.0,),
        )
        for side in sides
    }


def _terms(
    generated: Views, target: Views, mask: Array, numbers: Numbers, search: Search
) -> dict[Side, Float[Array, " n"]]:
    """The distance of each known half, under each blur."""
    kinds: dict[Side, losses.Distance]
    kinds = {"sketch": search.distance, "photo": search.photo_distance}
    return {
        side: losses.image_distance(
            generated[side],
            target[side],
            losses.half_of_mask(mask, side),
            kinds[side],
            direction=search.direction,
            mass=search.mass,
            epsilon=numbers.epsilon,
        ).mean(-1)
        for side in target
    }


def _contextual(
    generated: Views,
    target: Views,
    mask: Array,
    numbers: Numbers,
    search: Search,
    progress: Array | float,
) -> Float[Array, ""]:
    """What is minimized at a part of the search in [0, 1], but for D's term."""
    total = _sum(_terms(generated, target, mask, numbers, search), numbers)
    if len(total) == 1:
        return total[0]
    return jnp.dot(blur_weights(len(total), numbers.blur_focus, progress), total)


def _sum(terms: dict[Side, Array], numbers: Numbers) -> Array:
    """Known halves together; those of which nothing is known have no term."""
    photo = [numbers.photo_weight * terms["photo"]] if "photo" in terms else []
    return functools.reduce(jnp.add, [terms[x] for x in terms if x == "sketch"] + photo)


def _perceptual(
    variables: GanPair, joint: Float[Array, "n h w 3"], models: GanPair, search: Search
) -> Float[Array, " n"]:
    logits = models.disc.apply(variables.disc, joint, train=False)
    return losses.perceptual_loss(logits, search.perceptual_form)


# ------------------------------------------------------------------------ search


@functools.partial(jax.jit, static_argnames=("search", "sides"))
def _rank(
    joint: Float[Array, "block h w 3"],
    target: Float[Array, "b h w 3"],
    mask: Array,
    numbers: Numbers,
    search: Search,
    sides: tuple[Side, ...],
) -> Float[Array, "block b"]:
    """The contextual loss of each image for each target, as at the first step."""
    search = dataclasses.replace(search, direction=search.start_direction)
    views = functools.partial(_views, mask=mask, widths=search.blur_widths, sides=sides)

    def loss(generated: Views, target: Views) -> Array:
        return _contextual(generated, target, mask, numbers, search, 0.0)

    each = jax.vmap(jax.vmap(loss, (None, 0)), (0, None))
    return each(jax.vmap(views)(joint), jax.vmap(views)(target))


@functools.partial(jax.jit, static_argnames=("encoder", "count"))
def _encode(
    params: Any, target: Float[Array, "b h w 3"], encoder: Encoder, count: int
) -> Float[Array, "b e z"]:
    """One target after the other: what stands beside one cannot change its rounding."""
    once = encoder.clone(conv_fn=plain_conv)  # compiles at once

    def answers(sketch: Float[Array, "s s"]) -> Float[Array, "e z"]:
        return encode(once, params, _shifted(sketch, count))

    return lax.map(answers, losses.comparable(target, "sketch")[:, 0])


def _shifted(sketch: Float[Array, "s s"], count: int) -> Float[Array, "e s s"]:
    """A sketch and its nearest shifts by whole pixels; paper comes in."""
    reach = next(r for r in range(count) if (2 * r + 1) ** 2 >= count)
    line = range(-reach, reach + 1)
    places = sorted(itertools.product(line, line), key=lambda x: x[0] ** 2 + x[1] ** 2)
    padded = jnp.pad(sketch, reach, constant_values=1.0)
    return jnp.stack(
        [
            lax.dynamic_slice(padded, (reach + down, reach + right), sketch.shape)
            for down, right in places[:count]
        ]
    )


@functools.partial(jax.jit, static_argnames="search")
def _begin(
    ranked: list[Float[Array, "block b"]],
    own: tuple[Float[Array, "b e z"], list[Float[Array, "block b"]]] | None,
    starts: Starts,
    target: Array,
    mask: Array,
    numbers: Numbers,
    search: Search,
) -> SearchState:
    none = jnp.zeros((0, len(target)))
    every = jnp.concatenate([none, *ranked])[: len(starts.z)].T
    if own is not None:
        every = jnp.concatenate([every, _own_losses(*own)], axis=1)
    least, best = lax.top_k(-every, search.all_stages[0][0])
    z = starts.z[best] if own is None else _chosen(starts.z, own[0], best)
    state = _begin_from(z, target, mask, starts.key, numbers, search)
    return state._replace(contextual=-least)


def _own_losses(
    z: Float[Array, "b e z"], ranked: list[Float[Array, "block b"]]
) -> Float[Array, "b e"]:
    """Of the losses of all guesses for all targets, those of each target's own."""
    targets, count, _ = z.shape
    every = jnp.concatenate(ranked)[: targets * count].reshape(targets, count, targets)
    return jnp.diagonal(every, axis1=0, axis2=2).T


def _chosen(
    shared: Float[Array, "n z"], own: Float[Array, "b e z"], best: Int[Array, "b k"]
) -> Float[Array, "b k z"]:
    return jax.vmap(lambda own, best: jnp.concatenate([shared, own])[best])(own, best)


@functools.partial(jax.jit, static_argnames="search")
def _begin_from(
    z: Float[Array, "b k z"],
    target: Array,
    mask: Array,
    key: Array,
    numbers: Numbers,
    search: Search,
) -> SearchState:
    keys = None
    if search.noise:
        keys = jax.vmap(lambda y: _content_key(key, y, mask))(target)
    opt_state = jax.vmap(_optimizer(search, numbers).init)(z)
    step = jnp.zeros(len(z), jnp.int32)
    losses = jnp.zeros(z.shape[:2])
    return SearchState(z, losses, opt_state, step, *_all_moving(len(z)), keys)


def _all_moving(count: int) -> tuple[Bool[Array, " b"], Float[Array, " b"]]:
    """Who moves, and what the last look has found, where there was none."""
    return jnp.ones(count, bool), jnp.full(count, jnp.inf, jnp.float32)


def _content_key(
    key: Array, target: Float[Array, "h w 3"], mask: Float[Array, "h w"]
) -> Array:
    """A key of a target's own, by its known pixels: the place in a batch has no part."""
    known = jnp.where(mask[..., None] > 0, target, 0.0) + 0.0  # -0.0 is 0.0
    bits = lax.bitcast_convert_type(known, jnp.uint32)
    odd = jax.random.bits(jax.random.key(0), bits.shape) | jnp.uint32(1)
    return jax.random.fold_in(key, jnp.sum(bits * odd, dtype=jnp.uint32))


def _optimizer(search: Search, numbers: Numbers) -> optax.GradientTransformation:
    """The optimizer, at a learning rate of -1."""
    if search.optimizer == "adam":
        return optax.scale_by_adam(b1=numbers.momentum)
    if search.optimizer == "nesterov":
        return optax.trace(decay=numbers.momentum, nesterov=True)
    return optax.identity()


@functools.partial(jax.jit, static_argnames=("models", "search", "sides", "num_steps"))
def _advance(
    variables: GanPair,
    target: Float[Array, "b h w 3"],
    mask: Array,
    state: SearchState,
    numbers: Numbers,
    models: GanPair,
    search: Search,
    sides: tuple[Side, ...],
    num_steps: int,
) -> SearchState:
    """Steps of every candidate of every target at once; z stays in [-1, 1]."""
    tx = _optimizer(search, numbers)
    views = functools.partial(_views, mask=mask, widths=search.blur_widths, sides=sides)
    known = jax.vmap(views)(target)

    def loss(
        free: Float[Array, "b k z"], progress: Float[Array, " b"]
    ) -> tuple[Array, Array]:
        """The sum over all candidates: each one's slope is its own."""
        z = _bound(free, search).reshape(-1, free.shape[-1])
        joint = generate(models.gen, variables.gen, z)

        def contextual_of(joint: Array, known: Views, progress: Array) -> Array:
            return _contextual(views(joint), known, mask, numbers, search, progress)

        candidates = joint.reshape(*free.shape[:2], *joint.shape[1:])
        each_of = jax.vmap(jax.vmap(contextual_of, (0, None, None)))
        each = each_of(candidates, known, progress)
        total = each.sum()
        if search.perceptual_weight and search.perceptual_role == "steers":
            perceptual = _perceptual(variables, joint, models, search)
            weight = _scheduled(
                numbers.perceptual_weight, search.perceptual_schedule, progress
            )
            total += (weight * perceptual.reshape(free.shape[:2])).sum()
        return total, each

    gradient = jax.grad(loss, has_aux=True)

    def step(state: SearchState, _: None) -> tuple[SearchState, None]:
        progress = jnp.minimum(state.step / max(search.total_steps, 1), 1.0)
        free = _unbound(state.z, search)
        slope, contextual = gradient(
            _with_noise(free, state, numbers, search, progress), progress
        )
        updates, opt_state = jax.vmap(tx.update)(slope, state.opt_state)
        rate = _scheduled(
            numbers.learning_rate, search.learning_rate_schedule, progress
        )
        z = _settle(free - rate[..., None] * updates, search)
        moves = state.moving[:, None, None]
        if search.stop_at:
            moves &= contextual[..., None] > numbers.stop_at
        return state._replace(
            z=jnp.where(moves, z, state.z),
            contextual=contextual,
            opt_state=choose_rows(state.moving, opt_state, state.opt_state),
            step=state.step + state.moving,
        ), None

    return lax.scan(step, state, length=num_steps)[0]


def _scheduled(
    number: Number, name: Schedule, progress: Float[Array, " b"]
) -> Float[Array, "b 1"]:
    """A number of each target, by how far it has got."""
    return jnp.expand_dims(
        jax.vmap(lambda at: number * schedule(name, at))(progress), 1
    )


def _unbound(z: Array, search: Search) -> Array:
    """What is optimized: z, or the normal u of z = erf(u / sqrt(2))."""
    if search.bound == "clip":
        return z
    return lax.erf_inv(jnp.clip(z, -_LARGEST, _LARGEST)) * np.sqrt(2).astype(np.float32)


def _bound(free: Array, search: Search) -> Array:
    """The latent of what is optimized; where z is clipped, `_settle` sees to it."""
    if search.bound == "clip":
        return free
    return lax.erf(free / np.sqrt(2).astype(np.float32))


def _settle(free: Array, search: Search) -> Float[Array, "b k z"]:
    """The latent after a step: with its spread kept, in [-1, 1]."""
    if search.keep_spread:
        spread = 1 / 3 if search.bound == "clip" else 1.0
        mean_square = jnp.mean(jnp.square(free), axis=-1, keepdims=True)
        free = free * lax.rsqrt(jnp.maximum(mean_square, 1e-12) / spread)
    return jnp.clip(_bound(free, search), -1.0, 1.0)


def _with_noise(
    free: Array, state: SearchState, numbers: Numbers, search: Search, progress: Array
) -> Array:
    """Where the gradient is taken."""
    if state.keys is None:
        return free
    keys = jax.vmap(jax.random.fold_in)(state.keys, state.step)
    noise = jax.vmap(lambda key: jax.random.normal(key, free.shape[1:]))(keys)
    moved = free + _scheduled(numbers.noise, "falling", progress)[..., None] * noise
    return jnp.clip(moved, -1.0, 1.0) if search.bound == "clip" else moved


@jax.jit
def _stop_stalled(state: SearchState, tolerance: Number) -> SearchState:
    best = state.contextual.min(axis=1)
    falls = best < (1.0 - tolerance) * state.looked
    return state._replace(moving=state.moving & falls, looked=best)


@jax.jit
def choose_rows(which: Bool[Array, " b"], yes: Any, no: Any) -> Any:
    """Of two pytrees of arrays, the rows of the one or of the other."""

    def choose(yes: Array, no: Array) -> Array:
        return jnp.where(which.reshape(-1, *(1,) * (yes.ndim - 1)), yes, no)

    return jax.tree.map(choose, yes, no)


@functools.partial(jax.jit, static_argnames="count")
def _keep_best(state: SearchState, count: int) -> SearchState:
    _, best = lax.top_k(-state.contextual, count)

    def kept(x: Array) -> Array:
        each = x.shape[:2] == state.contextual.shape
        return jax.vmap(lambda x, i: x[i])(x, best) if each else x

    z, contextual, opt_state = jax.tree.map(kept, state[:3])
    moving, looked = _all_moving(len(z))
    return SearchState(z, contextual, opt_state, state.step, moving, looked, state.keys)


@functools.partial(jax.jit, static_argnames=("models", "search", "sides"))
def _score(
    variables: GanPair,
    target: Float[Array, "b h w 3"],
    mask: Array,
    state: SearchState,
    blocks: tuple[Float[Array, "block h w 3"], ...],
    numbers: Numbers,
    models: GanPair,
    search: Search,
    sides: tuple[Side, ...],
) -> Candidates:
    """The losses of the answers, and the answers in their order."""
    z = state.z
    count = z.shape[0] * z.shape[1]
    joint = jnp.concatenate(blocks)[:count]
    joint = joint.reshape(*z.shape[:2], *joint.shape[1:])
    judge = models.disc.clone(conv_fn=plain_conv)  # once: compiles at once
    once = GanPair(models.gen, judge)
    # One target after the other: in one batch, rounding would depend on the place in it.
    perceptual = lax.map(lambda x: _perceptual(variables, x, once, search), joint)

    views = functools.partial(_views, mask=mask, widths=(), sides=sides)

    def terms(joint: Array, known: Views) -> dict[Side, Array]:
        found = _terms(views(joint), known, mask, numbers, search)
        return {side: x[0] for side, x in found.items()}

    each = jax.vmap(jax.vmap(terms, (0, None)))(joint, jax.vmap(views)(target))
    contextual = _sum(each, numbers)
    nothing = jnp.zeros_like(contextual)
    sketch_loss, photo_loss = (each.get(side, nothing) for side in _SIDES)
    steps = jnp.broadcast_to(state.step[:, None], z.shape[:2])
    found = Candidates(z, joint, contextual, perceptual, sketch_loss, photo_loss, steps)
    total = contextual
    if search.perceptual_role == "ranks":
        total = contextual + numbers.perceptual_weight * perceptual
    order = jnp.argsort(total, axis=1)
    return jax.tree.map(lambda x: jax.vmap(lambda x, i: x[i])(x, order), found)
