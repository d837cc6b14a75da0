"""Searches for many targets: blocks of one shape, each on one device, a few in flight.

Every device runs the same program of one device on blocks of its own. How many there are,
and what else is searched for, changes no answer.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cgan_jax import parallel, runtime
from cgan_jax.model_files import Model
from cgan_jax.models import Generator
from cgan_jax.projection import (
    Candidates,
    Numbers,
    Search,
    SearchState,
    Starts,
    advance,
    begin,
    check_encoder,
    compile_project,
    draw_starts,
    finish,
    generate_each,
    guess,
    project,
)

Item = TypeVar("Item")
Target = Float[np.ndarray, "s s c"]


class Found(NamedTuple):
    """The answers to one target, on the host.

    Attributes:
      candidates: best first.
      frames: the best joint image at the start, as the search went on, and of the answers,
        in [-1, 1]; None where nobody asked for it.
    """

    candidates: Candidates
    frames: Float[np.ndarray, "t s s c"] | None


def search_targets(
    model: Model,
    targets: Float[np.ndarray, "n s s c"],
    mask: Float[np.ndarray, "s s p"],
    search: Search,
    *,
    seed: int,
    block_size: int,
    max_parallel: int | None = None,
) -> Iterator[Candidates]:
    """Candidates of each joint image of which a part is known, on the host.

    Blocks are searched as they are asked for.

    Args:
      model: the model.
      targets: in [-1, 1]; only what the mask shows is read.
      mask: 1 on the known pixels of each part, 0 elsewhere.
      search: the loss and the budget.
      seed: of the starts, which serve all targets.
      block_size: see `search_stream`.
      max_parallel: see `search_stream`.
    """
    stream = search_stream(
        model,
        ((None, target) for target in targets),
        mask,
        search,
        seed=seed,
        block_size=block_size,
        max_parallel=max_parallel,
    )
    return (found.candidates for _, found in stream)


def search_settings(
    model: Model,
    targets: Float[np.ndarray, "n s s c"],
    mask: Float[np.ndarray, "s s p"],
    searches: Sequence[Search],
    *,
    seed: int,
    block_size: int,
    max_parallel: int | None = None,
) -> Iterator[Candidates]:
    """Candidates of each target under searches that differ in plain numbers alone.

    The numbers are mapped by `vmap`: all searches are one program, which is traced once,
    and run side by side. They are those of `search_targets`, but for rounding, which many
    steps amplify.

    Args:
      model: the model.
      targets: in [-1, 1]; only what the mask shows is read.
      mask: 1 on the known pixels, 0 elsewhere.
      searches: of one structure; see `search.Search.structure`.
      seed: of the starts, which serve all targets and searches.
      block_size: see `search_stream`; each target lies there once for each search.
      max_parallel: see `search_stream`.

    Returns:
      For each target, arrays with an axis of searches before that of the candidates.

    Raises:
      ValueError: the searches have different structures, or see `search_stream`.
    """
    structures = {search.structure for search in searches}
    if len(structures) != 1:
        raise ValueError(f"{len(structures)} structures: one program has one")
    stream = search_stream(
        model,
        ((None, target) for target in targets),
        mask,
        searches[0],
        seed=seed,
        block_size=block_size,
        max_parallel=max_parallel,
        numbers=Numbers(*map(np.stack, zip(*(x.numbers for x in searches)))),
    )
    return (found.candidates for _, found in stream)


def search_stream(
    model: Model,
    items: Iterable[tuple[Item, Target]],
    mask: Float[np.ndarray, "s s p"],
    search: Search,
    *,
    seed: int,
    block_size: int,
    max_parallel: int | None = None,
    num_frames: int = 0,
    numbers: Numbers | None = None,
) -> Iterator[tuple[Item, Found]]:
    """Items with the answers to their targets, in order, of any number of them.

    At most `(max_parallel + 2) * block_size` items are held; while blocks are under way,
    the next ones are read. Without items nothing is compiled.

    Args:
      model: the model.
      items: anything, and its target in [-1, 1].
      mask: 1 on the known pixels of joint images, 0 elsewhere.
      search: the loss and the budget.
      seed: of the starts, which serve all targets.
      block_size: targets side by side; the last block is filled up to this one compiled
        shape. Results of other sizes differ by rounding, which many steps amplify.
      max_parallel: blocks in flight, dealt out to as many of this process's devices; one
        a device if None.
      num_frames: pictures of the way, at most, besides the start.
      numbers: of several searches at once, stacked, in the place of the search's own; see
        `search_settings`. There are no frames of these.

    Raises:
      ValueError: the search asks for an encoder, see `projection.check_encoder`.
    """
    check_encoder(model.encoder, model.models.gen.joint, mask, search)
    limit = max_parallel or parallel.num_local()
    make = functools.partial(
        _open, model, mask, search, seed, block_size, num_frames, numbers
    )
    devices = [
        functools.cache(functools.partial(make, i))
        for i in range(min(limit, parallel.num_local()))
    ]
    return _block_by_block(items, devices, limit, block_size, num_frames)


def _block_by_block(
    items: Iterable[tuple[Item, Target]],
    devices: Sequence[Callable[[], _Place]],
    limit: int,
    block_size: int,
    num_frames: int,
) -> Iterator[tuple[Item, Found]]:
    places = itertools.cycle(devices)
    in_flight: collections.deque[tuple[list[Item], Any]] = collections.deque()
    for block in _blocks(items, block_size):
        done = [in_flight.popleft()] if len(in_flight) == limit else []
        results = [(names, jax.device_get(found)) for names, found in done]
        names, targets = zip(*block, strict=True)
        found = _search_block(
            next(places)(), _filled_up(targets, block_size), num_frames
        )
        in_flight.append((list(names), found))
        for result in results:
            yield from _each(*result)
    for names, found in in_flight:
        yield from _each(names, jax.device_get(found))


def _blocks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items, the last one of what is left."""
    left = iter(items)
    while block := list(itertools.islice(left, size)):
        yield block


def _each(
    names: list[Item], found: tuple[Candidates, list[np.ndarray]]
) -> Iterator[tuple[Item, Found]]:
    """Row by row, without what only filled the block up."""
    candidates, frames = found
    rows = _rows(candidates), _rows(frames)
    for name, own, way in zip(names, *rows, strict=False):
        yield name, Found(own, np.stack(way) if frames else None)


def _rows(tree: Any) -> Iterator[Any]:
    """A pytree of arrays, row by row; itself again and again where it has none."""
    leaves, structure = jax.tree.flatten(tree)
    if not leaves:
        yield from itertools.repeat(tree)
    for row in zip(*leaves):
        yield jax.tree.unflatten(structure, row)


class _Place(NamedTuple):
    """A device that searches: with the model and its starts there, compiled.

    Attributes:
      device: its number, of this process's.
      model: there.
      mask: there.
      search: the loss and the budget.
      starts: there.
      sweep: of several searches at once, if it is for these.
    """

    device: int
    model: Model
    mask: Array
    search: Search
    starts: Starts
    sweep: Callable[[Array, Starts], Candidates] | None

    @property
    def fixed(self) -> dict[str, Any]:
        """What all parts of a search are given by name."""
        return {"models": self.model.models, "search": self.search}

    def known(self, targets: np.ndarray) -> tuple[Any, Array, Array]:
        """What all parts of a search are given first."""
        # A copy: places of `targets` may be filled while it is still read.
        return self.model.variables, jnp.array(targets), self.mask

    def begin(self, targets: np.ndarray) -> SearchState:
        """The best starts of a block."""
        known = self.known(targets)
        guesses = guess(self.model.encoder, *known, **self.fixed)
        return begin(*known[1:], self.starts, guesses=guesses, **self.fixed)


def _open(
    model: Model,
    mask: Float[np.ndarray, "s s p"],
    search: Search,
    seed: int,
    block_size: int,
    num_frames: int,
    numbers: Numbers | None,
    device: int,
) -> _Place:
    shape = (block_size, *model.models.gen.joint.shape)
    alone = not num_frames and numbers is None
    with parallel.running_on(device):
        known = jnp.asarray(mask)
        # From the host: arrays of another device would stay there, and arrays that are
        # put on a device by name would not fit what is compiled ahead.
        given = model.variables, model.encoder and model.encoder.params
        variables, params = jax.device_put(jax.device_get(given))
        encoder = model.encoder and model.encoder._replace(params=params)
        there = dataclasses.replace(model, variables=variables, encoder=encoder)
        starts = _starts_and_compilation(
            there, shape, known, search, seed, device, compiles=alone
        )
        sweep = None if numbers is None else _sweep(there, known, search, numbers)
    return _Place(device, there, known, search, starts, sweep)


def _filled_up(targets: Sequence[Target], block_size: int) -> np.ndarray:
    """Targets as a block: the last one again and again in what is left."""
    filling = ((0, block_size - len(targets)), (0, 0), (0, 0), (0, 0))
    return np.pad(np.stack(targets), filling, "edge")


def _search_block(
    place: _Place, targets: np.ndarray, num_frames: int
) -> tuple[Candidates, list[Array]]:
    """A whole search, or the same in parts with the best joint images between them."""
    with parallel.running_on(place.device):
        if num_frames:
            return _search_with_frames(place, targets, num_frames)
        if place.sweep is not None:
            return place.sweep(jnp.asarray(targets), place.starts), []
        encoder = place.model.encoder
        known = place.known(targets)
        return project(*known, place.starts, encoder=encoder, **place.fixed), []


def _search_with_frames(
    place: _Place, targets: np.ndarray, num_frames: int
) -> tuple[Candidates, list[Array]]:
    model, total = place.model, place.search.total_steps
    known, state = place.known(targets), place.begin(targets)
    frames = []
    steps = max(1, -(-total // num_frames))
    for first in range(0, total, steps):
        frames.append(_best_joint(model.models.gen, model.variables.gen, state))
        count = min(steps, total - first)
        state = advance(*known, state, first=first, num_steps=count, **place.fixed)
    found = finish(*known, state, **place.fixed)
    return found, [*frames, found.joint[:, 0]]


def _best_joint(
    gen: Generator, variables: Any, state: SearchState
) -> Float[Array, "b s s c"]:
    """G of the candidate of each target that the last step found to lose least."""
    best = jnp.argmin(state.contextual, axis=1)
    latents = state.z, state.offsets
    chosen = jax.tree.map(lambda x: jax.vmap(lambda x, i: x[i])(x, best), latents)
    return generate_each(gen, variables, *chosen)


def _sweep(
    model: Model, mask: Float[Array, "s s p"], search: Search, numbers: Numbers
) -> Callable[[Array, Starts], Candidates]:
    """Whole searches for a block under stacked numbers: targets first, then searches."""
    varies = [len(set(values.tolist())) > 1 for values in numbers]
    mapped = Numbers(*(x if v else x[0] for x, v in zip(numbers, varies)))
    axes = Numbers(*(0 if v else None for v in varies))  # what is alike is done once

    def find(
        variables: Any, params: Any, target: Array, starts: Starts, numbers: Numbers
    ) -> Candidates:
        encoder = model.encoder and model.encoder._replace(params=params)
        return project(
            variables,
            target,
            mask,
            starts,
            models=model.models,
            search=search,
            numbers=numbers,
            encoder=encoder,
        )

    # A sweep of one search alone has no axis to map.
    over = jax.vmap(find, (None, None, None, None, axes), 1, axis_size=len(numbers[0]))
    compiled = jax.jit(over)
    params = model.encoder and model.encoder.params
    return lambda target, starts: compiled(
        model.variables, params, target, starts, mapped
    )


def _starts_and_compilation(
    model: Model,
    shape: tuple[int, ...],
    mask: Array,
    search: Search,
    seed: int,
    place: int,
    *,
    compiles: bool,
) -> Starts:
    """Draws the starts while a thread compiles the search for targets of this shape."""
    models, variables = model.models, model.variables
    target = jax.ShapeDtypeStruct(shape, jnp.float32)

    def compile_search() -> None:
        with parallel.running_on(place):  # a thread has its own
            compile_project(variables, target, mask, models=models, search=search)

    with futures.ThreadPoolExecutor(1) as pool:
        compiled = pool.submit(compile_search) if compiles else None
        starts = draw_starts(
            variables, jax.random.key(seed), models=models, search=search
        )
        if compiled is not None:
            compiled.result()
    runtime.release_freed_memory()
    return starts
