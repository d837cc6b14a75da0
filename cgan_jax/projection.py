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
from jaxtyping import Array, Float, Int

from cgan_jax import losses
from cgan_jax.joint import Joint
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
    AUTO,
    AUTO_SIZE,
    Numbers,
    Passes,
    Search,
    closeness_of,
    count_passes,
    penalty_of,
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
    "begin",
    "begin_from",
    "check_encoder",
    "choose_levels",
    "compile_project",
    "count_passes",
    "draw_starts",
    "finish",
    "generate_each",
    "guess",
    "project",
]

# Images of starts and answers are generated this many at a time, by one executable.
_BLOCK = 8
_SPREAD = 1 / 3  # mean(z^2) of the latents that G was trained on
_TINY = 1e-30  # in Adam's root: offsets that nothing depends on have derivatives, too

Offsets = tuple[Float[Array, "*n _ _ _"], ...]
Views = dict[str, Float[Array, "_ s s"]]  # what is compared, by the names of the parts


class Candidates(NamedTuple):
    """Answers to each target, best first: by contextual loss, or as D ranks them.

    Attributes:
      z: latents in [-1, 1].
      offsets: of the inner layers, in standard deviations of their channels; none where
        z alone was searched for.
      joint: G(z), joint images in [-1, 1].
      contextual: contextual loss: of each known sketch, and `photo_weight` times that of
        the photograph.
      perceptual: perceptual loss, unweighted.
      terms: distance of each known part.
      closeness: of each answer; see `Search`.
      offset_size: root mean square of the offsets, each layer weighing the same; 0
        without any.
    """

    z: Float[Array, "b k z"]
    offsets: Offsets
    joint: Float[Array, "b k s s c"]
    contextual: Float[Array, "b k"]
    perceptual: Float[Array, "b k"]
    terms: dict[str, Float[Array, "b k"]]
    closeness: Float[Array, "b k"]
    offset_size: Float[Array, "b k"]


class Starts(NamedTuple):
    """Latents to begin with; they serve every target.

    Attributes:
      z: latents in [-1, 1].
      joint: G(z) in [-1, 1], in blocks of 8, the last filled up.
    """

    z: Float[Array, "n z"]
    joint: tuple[Float[Array, "block s s c"], ...]


class Guesses(NamedTuple):
    """Latents to begin with beside the starts, each target's own.

    Attributes:
      z: latents in [-1, 1].
      joint: G(z) in [-1, 1], in blocks of 8, the last filled up.
    """

    z: Float[Array, "b e z"]
    joint: tuple[Float[Array, "block s s c"], ...]


class SearchState(NamedTuple):
    """A search under way.

    Attributes:
      z: latents in [-1, 1].
      offsets: of the inner layers; none before the inner search.
      contextual: what the last step found each to lose, before it moved it: the distance
        from what is known, as its stage measures it.
      opt_state: of the optimizer, of each target by itself.
    """

    z: Float[Array, "b k z"]
    offsets: Offsets
    contextual: Float[Array, "b k"]
    opt_state: Any


def draw_starts(
    variables: GanPair, key: Array, *, models: GanPair, search: Search
) -> Starts:
    """`search.num_starts` latents with their images: forward passes only.

    They depend on the model and the key alone: draw them once for many targets. At
    64 pixels, a thousand take 100 MB.

    Args:
      variables: parameters and running averages of G and D.
      key: draws the latents.
      models: G and D.
      search: for the number of starts.
    """
    z = _sample_z(key, search.num_starts, models.gen.z_dim)
    return Starts(z, _generate_blocks(models.gen, variables.gen, z))


def guess(
    encoder: TrainedEncoder | None,
    variables: GanPair,
    target: Float[Array, "b s s c"],
    mask: Float[Array, "s s p"],
    *,
    models: GanPair,
    search: Search,
) -> Guesses | None:
    """The encoder's latents for the known sketch of each target.

    `search.encoder_starts` of them: the first is its answer to the sketch itself, the
    others are those to the sketch shifted by whole pixels, the nearest places first.
    Nothing is drawn: they depend on the target alone. They are ranked as they are; a
    search that keeps the spread gives it to them in its first step.

    Args:
      encoder: of the same generator.
      variables: parameters and running averages of G and D.
      target: joint images in [-1, 1]; the known sketch is read.
      mask: as for `project`.
      models: G and D.
      search: for the number of latents.

    Returns:
      None if the search asks for none.

    Raises:
      ValueError: there is no encoder, or the mask shows anything but one whole sketch.
    """
    joint = models.gen.joint
    check_encoder(encoder, joint, mask, search)
    if encoder is None or not search.encoder_starts:
        return None
    (name,) = joint.known(np.asarray(mask))
    z = _encode(encoder.params, joint.view(target, name)[:, 0], encoder.module, search)
    return Guesses(z, _generate_blocks(models.gen, variables.gen, z))


def check_encoder(
    encoder: TrainedEncoder | None, joint: Joint, mask: Any, search: Search
) -> None:
    """Whether there is an encoder, and a sketch for it, where a search asks for one.

    Raises:
      ValueError: there is none, or the mask shows anything but one whole sketch.
    """
    if not search.encoder_starts:
        return
    if encoder is None:
        raise ValueError(
            f"encoder_starts is {search.encoder_starts}, but the model has no encoder: "
            "give it one with cgan-encode, or set encoder_starts to 0 and num_starts above it"
        )
    traced = isinstance(mask, jax.core.Tracer)
    if traced or not any(np.array_equal(mask, joint.mask([x])) for x in joint.sketches):
        raise ValueError(
            f"encoder_starts is {search.encoder_starts}, but an encoder reads whole "
            "sketches, and what is known here is not one whole sketch: set encoder_starts "
            "to 0 and num_starts above it, or take another preset"
        )


def project(
    variables: GanPair,
    target: Float[Array, "b s s c"],
    mask: Float[Array, "s s p"],
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
      variables: parameters and running averages of G and D; with an inner search, G's
        `spread`, too.
      target: joint images y in [-1, 1]; only what the mask shows is read.
      mask: M, 1 on the known pixels of each part, 0 elsewhere. Where it is not traced,
        parts of which nothing is known are not computed.
      starts: what `draw_starts` returned for these variables.
      models: G and D.
      search: the loss and the budget.
      numbers: take the place of `search.numbers`; may be traced, or mapped by `vmap`.
      encoder: the model's, for a search with `encoder_starts`.

    Returns:
      `search.num_candidates` answers to each target.

    Raises:
      ValueError: see `guess` and `advance`.
    """
    known = variables, target, mask
    guesses = guess(encoder, *known, models=models, search=search)
    given: dict[str, Any] = {"models": models, "search": search, "numbers": numbers}
    state = begin(target, mask, starts, guesses=guesses, **given)
    state = advance(*known, state, first=0, num_steps=search.total_steps, **given)
    return finish(*known, state, **given)


def begin(
    target: Float[Array, "b s s c"],
    mask: Float[Array, "s s p"],
    starts: Starts,
    *,
    models: GanPair,
    search: Search,
    numbers: Numbers | None = None,
    guesses: Guesses | None = None,
) -> SearchState:
    """The best starts of each target, `search.num_candidates` of them.

    Args:
      target: as for `project`.
      mask: as for `project`.
      starts: what `draw_starts` returned.
      models: G and D.
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
    plan = _Plan.of(models, search, mask)
    numbers = search.numbers if numbers is None else numbers

    def rank(blocks: Sequence[Array]) -> list[Array]:
        return [_rank(x, target, mask, numbers, plan) for x in blocks]

    ranked = rank(starts.joint)
    own = None if guesses is None else (guesses.z, rank(guesses.joint))
    return _begin(ranked, own, starts, numbers, plan)


def begin_from(
    z: Float[Array, "b k z"],
    offsets: Sequence[Float[Array, "b k _ _ _"]] = (),
    *,
    search: Search,
    numbers: Numbers | None = None,
) -> SearchState:
    """Begins at given latents, such as the answers to a sketch that has changed since.

    With offsets the state is one of the inner search, and holds each latent once for each
    of its levels: go on with `advance` from step `search.num_steps` on. A search without
    an inner search leaves them out.
    """
    numbers = search.numbers if numbers is None else numbers
    latents = jnp.asarray(z), tuple(offsets) if search.is_inner else ()
    if latents[1]:
        levels = len(search.levels)
        latents = jax.tree.map(lambda x: jnp.repeat(x, levels, axis=1), latents)
    return _state(*latents, search.structure, numbers)


def advance(
    variables: GanPair,
    target: Float[Array, "b s s c"],
    mask: Float[Array, "s s p"],
    state: SearchState,
    *,
    models: GanPair,
    search: Search,
    first: int,
    num_steps: int,
    numbers: Numbers | None = None,
) -> SearchState:
    """`num_steps` more steps for every candidate, from step `first` of the search on.

    One scan of fixed length for each stage that they lie in. Steps in several calls are
    the steps of one; after its end the last stage goes on.

    Raises:
      ValueError: of an inner search, `variables` hold no `spread`.
    """
    _check_spread(variables, search)
    plan = _Plan.of(models, search, mask)
    numbers = search.numbers if numbers is None else numbers
    known = variables, target, mask
    for part in segments(search, first, num_steps):
        if part.is_inner:
            if not state.offsets:
                state = _open_layers(state, numbers, plan)
            state = _advance_inner(*known, state, numbers, plan, part.steps)
        else:
            state = _advance(*known, state, numbers, plan, part.steps)
    return state


def finish(
    variables: GanPair,
    target: Float[Array, "b s s c"],
    mask: Float[Array, "s s p"],
    state: SearchState,
    *,
    models: GanPair,
    search: Search,
    numbers: Numbers | None = None,
) -> Candidates:
    """The answers of a search as far as it has got: forward passes only."""
    plan = _Plan.of(models, search, mask)
    numbers = search.numbers if numbers is None else numbers
    blocks = _generate_blocks(models.gen, variables.gen, state.z, state.offsets)
    return _score(variables, target, mask, state, blocks, numbers, plan)


def compile_project(
    variables: GanPair,
    target: Float[Array, "b s s c"] | jax.ShapeDtypeStruct,
    mask: Float[Array, "s s p"],
    *,
    models: GanPair,
    search: Search,
) -> None:
    """Compiles what `project` runs on such targets: for a thread beside `draw_starts`.

    Args:
      variables: parameters and running averages of G and D.
      target: as for `project`; only its shape counts.
      mask: as for `project`; its pixels say which parts are known.
      models: G and D.
      search: the loss and the budget.

    Raises:
      ValueError: see `advance`.
    """
    _check_spread(variables, search)
    plan, numbers = _Plan.of(models, search, mask), search.numbers
    known = variables, target, mask
    count = target.shape[0], search.num_candidates, models.gen.z_dim
    z = jax.ShapeDtypeStruct(count, jnp.float32)
    state = jax.eval_shape(
        functools.partial(_state, offsets=(), search=plan.search), z, numbers=numbers
    )
    for part in segments(search, 0, search.total_steps):
        step_fn = _advance
        if part.is_inner:
            step_fn = _advance_inner
            opening = functools.partial(_open_layers, plan=plan)
            state = jax.eval_shape(opening, state, numbers)
        step_fn.lower(*known, state, numbers, plan, part.steps).compile()
    joint = jax.ShapeDtypeStruct((_BLOCK, *target.shape[1:]), jnp.float32)
    answers = (joint,) * -(-state.z.shape[0] * state.z.shape[1] // _BLOCK)
    _score.lower(*known, state, answers, numbers, plan).compile()
    _rank.lower(joint, target, mask, numbers, plan).compile()


def _check_spread(variables: GanPair, search: Search) -> None:
    if search.is_inner and "spread" not in variables.gen:
        raise ValueError(
            "the model stores no spread of its inner layers: publish it again, or set "
            "inner_steps to 0"
        )


@dataclasses.dataclass(frozen=True)
class _Plan:
    """What is compiled.

    Attributes:
      models: G and D.
      search: its structure.
      known: the parts of which anything is known.
    """

    models: GanPair
    search: Search
    known: tuple[str, ...]

    @classmethod
    def of(cls, models: GanPair, search: Search, mask: Any) -> _Plan:
        """Raises ValueError if nothing is known."""
        joint = models.gen.joint
        traced = isinstance(mask, jax.core.Tracer)
        known = joint.names if traced else joint.known(np.asarray(mask))
        if not known:
            raise ValueError("the mask shows nothing: there is no answer to search for")
        return cls(models, search.structure, known)

    @property
    def joint(self) -> Joint:
        """What joint images hold."""
        return self.models.gen.joint

    def views(self, planes: Float[Array, "s s c"]) -> Views:
        """The known parts of a joint image, as they are compared."""
        return {name: self.joint.view(planes, name) for name in self.known}


# ---------------------------------------------------------------------- pictures

_sample_z = jax.jit(sample_z, static_argnums=(1, 2))


@functools.partial(jax.jit, static_argnums=0)
def generate_each(
    gen: Generator, variables: Any, z: Float[Array, "n z"], offsets: Offsets = ()
) -> Float[Array, "n s s c"]:
    """G(z), in a form that compiles at once; an image depends on its own z to the bit."""
    once = gen.clone(conv_fn=phase_conv_transpose)

    # One after the other: in one batch, rounding would depend on the place in it.
    def one(latent: tuple[Array, Offsets]) -> Array:
        z, offsets = jax.tree.map(lambda x: x[None], latent)
        return generate(once, variables, z, offsets)[0]

    return lax.map(one, (z, offsets))


def _generate_blocks(
    gen: Generator, variables: Any, z: Float[Array, "*n z"], offsets: Offsets = ()
) -> tuple[Float[Array, "block s s c"], ...]:
    starts = range(0, int(np.prod(z.shape[:-1])), _BLOCK)
    latents = (z, offsets)
    depth = z.ndim - 1
    blocks = [_block(latents, np.int32(i), depth) for i in starts]
    return tuple(generate_each(gen, variables, *block) for block in blocks)


@functools.partial(jax.jit, static_argnums=2)
def _block(latents: Any, start: Array, depth: int) -> Any:
    """Latents and offsets of a row that is filled up with zeros.

    Args:
      latents: arrays of any shape behind their first `depth` axes.
      start: the first of the row.
      depth: how many axes count latents.
    """

    def rows(x: Array) -> Array:
        flat = x.reshape(-1, *x.shape[depth:])
        filling = [(0, -len(flat) % _BLOCK)] + [(0, 0)] * (flat.ndim - 1)
        return lax.dynamic_slice_in_dim(jnp.pad(flat, filling), start, _BLOCK)

    return jax.tree.map(rows, latents)


# -------------------------------------------------------------------------- loss


def _terms(
    generated: Views, target: Views, mask: Array, numbers: Numbers, plan: _Plan
) -> dict[str, Float[Array, ""]]:
    """The distance of each known part, as the first stage measures it."""
    search = plan.search
    kinds = {"sketch": search.distance, "photo": search.photo_distance}
    return {
        name: losses.image_distance(
            generated[name],
            target[name],
            plan.joint.mask_of(mask, name),
            kinds[plan.joint.kind(name)],
            direction=search.direction,
            mass=search.mass,
            epsilon=numbers.epsilon,
        ).mean(-1)
        for name in target
    }


def _sum(terms: dict[str, Array], numbers: Numbers, joint: Joint) -> Array:
    """Known parts together; those of which nothing is known have no term."""
    weighted = [
        term if joint.kind(name) == "sketch" else numbers.photo_weight * term
        for name, term in terms.items()
    ]
    return functools.reduce(jnp.add, weighted)


def _contextual(
    generated: Views, target: Views, mask: Array, numbers: Numbers, plan: _Plan
) -> Float[Array, ""]:
    """What the first stage minimizes, but for D's term."""
    terms = _terms(generated, target, mask, numbers, plan)
    return _sum(terms, numbers, plan.joint)


def _inner_contextual(
    generated: Views, target: Views, mask: Array, numbers: Numbers, plan: _Plan
) -> Float[Array, ""]:
    """The same by the distance of the inner search."""
    distance = plan.search.inner_distance
    inner = dataclasses.replace(plan.search, distance=distance, photo_distance=distance)
    inside = dataclasses.replace(plan, search=inner)
    return _contextual(generated, target, mask, numbers, inside)


def _perceptual(
    variables: GanPair, joint: Float[Array, "n s s c"], plan: _Plan
) -> Float[Array, " n"]:
    logits = plan.models.disc.apply(variables.disc, joint, train=False)
    return losses.perceptual_loss(logits, plan.search.perceptual_form)


# ------------------------------------------------------------------------ search


@functools.partial(jax.jit, static_argnames="plan")
def _rank(
    joint: Float[Array, "block s s c"],
    target: Float[Array, "b s s c"],
    mask: Array,
    numbers: Numbers,
    plan: _Plan,
) -> Float[Array, "block b"]:
    """The contextual loss of each image for each target."""
    search = dataclasses.replace(plan.search, direction=plan.search.start_direction)
    plan = dataclasses.replace(plan, search=search)

    def loss(generated: Views, target: Views) -> Array:
        return _contextual(generated, target, mask, numbers, plan)

    each = jax.vmap(jax.vmap(loss, (None, 0)), (0, None))
    return each(jax.vmap(plan.views)(joint), jax.vmap(plan.views)(target))


@functools.partial(jax.jit, static_argnames=("encoder", "search"))
def _encode(
    params: Any, sketch: Float[Array, "b s s"], encoder: Encoder, search: Search
) -> Float[Array, "b e z"]:
    """One target after the other: what stands beside one cannot change its rounding."""
    once = encoder.clone(conv_fn=plain_conv)  # compiles at once

    def answers(sketch: Float[Array, "s s"]) -> Float[Array, "e z"]:
        return encode(once, params, _shifted(sketch, search.encoder_starts))

    return lax.map(answers, sketch)


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


@functools.partial(jax.jit, static_argnames="plan")
def _begin(
    ranked: list[Float[Array, "block b"]],
    own: tuple[Float[Array, "b e z"], list[Float[Array, "block b"]]] | None,
    starts: Starts,
    numbers: Numbers,
    plan: _Plan,
) -> SearchState:
    targets = (ranked if own is None else own[1])[0].shape[1]
    none = jnp.zeros((0, targets))
    every = jnp.concatenate([none, *ranked])[: len(starts.z)].T
    if own is not None:
        every = jnp.concatenate([every, _own_losses(*own)], axis=1)
    least, best = lax.top_k(-every, plan.search.num_candidates)
    z = starts.z[best] if own is None else _chosen(starts.z, own[0], best)
    return _state(z, (), plan.search, numbers)._replace(contextual=-least)


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
def _state(
    z: Float[Array, "b k z"], offsets: Offsets, search: Search, numbers: Numbers
) -> SearchState:
    """The state before the first step of a stage, which the offsets tell."""
    if offsets:
        opt_state = jax.vmap(_inner_optimizer().init)((z, offsets))
    else:
        opt_state = jax.vmap(_optimizer(search, numbers).init)(z)
    return SearchState(z, offsets, jnp.zeros(z.shape[:2]), opt_state)


@functools.partial(jax.jit, static_argnames="plan")
def _open_layers(state: SearchState, numbers: Numbers, plan: _Plan) -> SearchState:
    """The state before the inner search: each candidate once for each level."""
    levels = len(plan.search.levels)
    z = jnp.repeat(state.z, levels, axis=1)
    shapes = plan.models.gen.inner_shapes[: plan.search.inner_layers]
    offsets = tuple(jnp.zeros((*z.shape[:2], *shape)) for shape in shapes)
    opened = _state(z, offsets, plan.search, numbers)
    return opened._replace(contextual=jnp.repeat(state.contextual, levels, axis=1))


def _optimizer(search: Search, numbers: Numbers) -> optax.GradientTransformation:
    """The optimizer, at a learning rate of -1."""
    if search.optimizer == "adam":
        return optax.scale_by_adam(b1=numbers.momentum, eps_root=_TINY)
    if search.optimizer == "nesterov":
        return optax.trace(decay=numbers.momentum, nesterov=True)
    return optax.identity()


def _inner_optimizer() -> optax.GradientTransformation:
    return optax.scale_by_adam(eps_root=_TINY)


@functools.partial(jax.jit, static_argnames=("plan", "num_steps"))
def _advance(
    variables: GanPair,
    target: Float[Array, "b s s c"],
    mask: Array,
    state: SearchState,
    numbers: Numbers,
    plan: _Plan,
    num_steps: int,
) -> SearchState:
    """Steps of the first stage, of every candidate of every target at once."""
    search, tx = plan.search, _optimizer(plan.search, numbers)
    known = jax.vmap(plan.views)(target)
    steers = search.perceptual_weight and search.perceptual_role == "steers"

    def loss(z: Float[Array, "b k z"]) -> tuple[Array, Array]:
        """The sum over all candidates: each one's slope is its own."""
        flat = z.reshape(-1, z.shape[-1])
        joint = generate(plan.models.gen, variables.gen, flat)
        candidates = joint.reshape(*z.shape[:2], *joint.shape[1:])
        each = _each(_contextual, candidates, known, mask, numbers, plan)
        total = each.sum()
        if steers:
            perceptual = _perceptual(variables, joint, plan)
            total += (numbers.perceptual_weight * perceptual).sum()
        return total, each

    gradient = jax.grad(loss, has_aux=True)

    def step(state: SearchState, _: None) -> tuple[SearchState, None]:
        slope, contextual = gradient(state.z)
        updates, opt_state = jax.vmap(tx.update)(slope, state.opt_state)
        z = _settle(state.z - numbers.learning_rate * updates, search)
        return SearchState(z, (), contextual, opt_state), None

    return lax.scan(step, state, length=num_steps)[0]


@functools.partial(jax.jit, static_argnames=("plan", "num_steps"))
def _advance_inner(
    variables: GanPair,
    target: Float[Array, "b s s c"],
    mask: Array,
    state: SearchState,
    numbers: Numbers,
    plan: _Plan,
    num_steps: int,
) -> SearchState:
    """Steps of the inner search: z and offsets of every candidate at once."""
    search, tx = plan.search, _inner_optimizer()
    known = jax.vmap(plan.views)(target)
    penalty = numbers.offset_penalty * _level_factors(search, state.z.shape[1])

    def loss(latents: tuple[Array, Offsets]) -> tuple[Array, Array]:
        """The sum over all candidates: each one's slope is its own."""
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), latents)
        joint = generate(plan.models.gen, variables.gen, *flat)
        candidates = joint.reshape(*state.z.shape[:2], *joint.shape[1:])
        each = _each(_inner_contextual, candidates, known, mask, numbers, plan)
        size = sum(jnp.square(x).mean((2, 3, 4)) for x in latents[1])
        return (numbers.inner_weight * each + penalty * size).sum(), each

    gradient = jax.grad(loss, has_aux=True)

    def step(state: SearchState, _: None) -> tuple[SearchState, None]:
        latents = state.z, state.offsets
        slope, contextual = gradient(latents)
        updates, opt_state = jax.vmap(tx.update)(slope, state.opt_state)
        rate = numbers.inner_learning_rate
        z, offsets = jax.tree.map(lambda x, u: x - rate * u, latents, updates)
        return SearchState(_settle(z, search), offsets, contextual, opt_state), None

    return lax.scan(step, state, length=num_steps)[0]


def _each(
    loss_fn: Any,
    candidates: Float[Array, "b k s s c"],
    known: Any,
    mask: Array,
    numbers: Numbers,
    plan: _Plan,
) -> Any:
    """What `loss_fn` says of each candidate of each target: arrays `(b, k)`."""

    def loss(planes: Array, known: Views) -> Any:
        return loss_fn(plan.views(planes), known, mask, numbers, plan)

    return jax.vmap(jax.vmap(loss, (0, None)))(candidates, known)


def _level_factors(search: Search, candidates: int) -> Float[np.ndarray, " k"]:
    """By which each candidate's penalty differs from `Numbers.offset_penalty`."""
    if search.closeness != AUTO:
        return np.ones(candidates, np.float32)
    factors = np.array([penalty_of(level) for level in search.levels], np.float32)
    return np.tile(factors, candidates // len(factors))


def _closeness(
    state: SearchState, search: Search, numbers: Numbers
) -> Float[Array, "b k"]:
    """Of each candidate; 0 before the inner search."""
    if not state.offsets:
        return jnp.zeros(state.z.shape[:2])
    factors = _level_factors(search, state.z.shape[1])
    each = closeness_of(numbers.offset_penalty * factors)
    return jnp.broadcast_to(each, state.z.shape[:2])


def _offset_size(state: SearchState) -> Float[Array, "b k"]:
    """Root mean square of the offsets, each layer weighing the same."""
    if not state.offsets:
        return jnp.zeros(state.z.shape[:2])
    squares = [jnp.square(x).mean((2, 3, 4)) for x in state.offsets]
    return jnp.sqrt(functools.reduce(jnp.add, squares) / len(squares))


def choose_levels(found: Candidates, search: Search) -> Candidates:
    """Of the levels of each candidate, the closest whose offsets are still small.

    Args:
      found: with all levels of a candidate beside each other, from far to close; of a
        search whose closeness is not `auto`, or that has no offsets yet, it returns.
      search: the search.

    Returns:
      One level of each candidate: the last of those up to which `offset_size` is at most
      `search.AUTO_SIZE`; the first where there is none.
    """
    levels = len(search.levels)
    if levels == 1 or not found.offsets:
        return found
    size = found.offset_size.reshape(len(found.z), -1, levels)
    small = jnp.cumprod(size <= AUTO_SIZE, axis=-1).sum(-1)
    chosen = jnp.maximum(small - 1, 0) + levels * jnp.arange(size.shape[1])
    return jax.tree.map(lambda x: jax.vmap(lambda x, i: x[i])(x, chosen), found)


def _settle(z: Float[Array, "b k z"], search: Search) -> Float[Array, "b k z"]:
    """The latent after a step: with its spread kept, in [-1, 1]."""
    if search.keep_spread:
        mean_square = jnp.mean(jnp.square(z), axis=-1, keepdims=True)
        z = z * lax.rsqrt(jnp.maximum(mean_square, 1e-12) / _SPREAD)
    return jnp.clip(z, -1.0, 1.0)


@functools.partial(jax.jit, static_argnames="plan")
def _score(
    variables: GanPair,
    target: Float[Array, "b s s c"],
    mask: Array,
    state: SearchState,
    blocks: tuple[Float[Array, "block s s c"], ...],
    numbers: Numbers,
    plan: _Plan,
) -> Candidates:
    """The losses of the answers, and the answers in their order."""
    z, search = state.z, plan.search
    count = z.shape[0] * z.shape[1]
    joint = jnp.concatenate(blocks)[:count]
    joint = joint.reshape(*z.shape[:2], *joint.shape[1:])
    judge = plan.models.disc.clone(conv_fn=plain_conv)  # once: compiles at once
    once = dataclasses.replace(plan, models=plan.models._replace(disc=judge))
    # One target after the other: in one batch, rounding would depend on the place in it.
    perceptual = lax.map(lambda x: _perceptual(variables, x, once), joint)
    terms = _each(_terms, joint, jax.vmap(plan.views)(target), mask, numbers, plan)
    contextual = _sum(terms, numbers, plan.joint)
    found = Candidates(
        z,
        state.offsets,
        joint,
        contextual,
        perceptual,
        terms,
        _closeness(state, search, numbers),
        _offset_size(state),
    )
    found = choose_levels(found, search)
    total = found.contextual
    if search.perceptual_role == "ranks":
        total += numbers.perceptual_weight * found.perceptual
    order = jnp.argsort(total, axis=1)
    return jax.tree.map(lambda x: jax.vmap(lambda x, i: x[i])(x, order), found)
