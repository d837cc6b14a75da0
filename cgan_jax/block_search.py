"""Searches for many targets: blocks of one shape, each on one device, a few in flight.

Every device runs the same program of one device on blocks of its own. How many there are,
and what else is searched for, changes no answer. Where a search has chunks, a target that
is done leaves its place in the block to the next one.
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

from cgan_jax import images, parallel, runtime
from cgan_jax.model_files import Model
from cgan_jax.models import Generator
from cgan_jax.projection import (
    Candidates,
    Numbers,
    Search,
    SearchState,
    Starts,
    advance,
    advance_stages,
    begin,
    check_encoder,
    choose_rows,
    compile_project,
    draw_starts,
    finish,
    generate_each,
    guess,
    project,
    stop_stalled,
)

Item = TypeVar("Item")
Target = Float[np.ndarray, "h w 3"]


class Found(NamedTuple):
    """The answers to one target, on the host.

    Attributes:
      candidates: best first.
      frames: the best joint image at the start, as the search went on, and of the answers,
        in [-1, 1]; None where nobody asked for it.
    """

    candidates: Candidates
    frames: Float[np.ndarray, "t h w 3"] | None


def search_sketches(
    model: Model,
    sketches: Float[np.ndarray, "n s s"],
    search: Search,
    *,
    seed: int,
    block_size: int,
    max_parallel: int | None = None,
) -> Iterator[Candidates]:
    """Candidates of each sketch, on the host; blocks are searched as they are asked for.

    Args:
      model: the model.
      sketches: as the model sees them, in [0, 1].
      search: the loss and the budget.
      seed: of the starts, which serve all sketches.
      block_size: see `search_stream`.
      max_parallel: see `search_stream`.
    """
    return search_targets(
        model,
        images.target_from_sketch(sketches),
        images.half_mask(sketches.shape[1], "sketch"),
        search,
        seed=seed,
        block_size=block_size,
        max_parallel=max_parallel,
    )


def search_targets(
    model: Model,
    targets: Float[np.ndarray, "n h w 3"],
    mask: Float[np.ndarray, "h w"],
    search: Search,
    *,
    seed: int,
    block_size: int,
    max_parallel: int | None = None,
) -> Iterator[Candidates]:
    """Candidates of each joint image of which a part is known; as `search_sketches`.

    Args:
      model: the model.
      targets: in [-1, 1]; only what the mask shows is read.
      mask: 1 on the known pixels, 0 elsewhere.
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
    targets: Float[np.ndarray, "n h w 3"],
    mask: Float[np.ndarray, "h w"],
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
    mask: Float[np.ndarray, "h w"],
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
    the next ones are read. Without items nothing is compiled. If the search has chunks,
    and one stage, and no frames are asked for, places are filled again between chunks;
    answers that have come early are then held until their turn, at most as many as all
    blocks do in the time of two searches to their end, and are lost if `items` raises.

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
        `search_settings`. There are no frames of these, and no places are filled again.

    Raises:
      ValueError: the search asks for an encoder, see `projection.check_encoder`.
    """
    check_encoder(model.encoder, mask, search)
    limit = max_parallel or parallel.num_local()
    make = functools.partial(
        _open, model, mask, search, seed, block_size, num_frames, numbers
    )
    devices = [
        functools.cache(functools.partial(make, i))
        for i in range(min(limit, parallel.num_local()))
    ]
    whole = search.stages or num_frames or numbers is not None
    if search.chunk_steps and search.total_steps and not whole:
        blocks = [
            _Refilled(devices[i % len(devices)], block_size) for i in range(limit)
        ]
        return _in_order(_refilled(items, blocks))
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
    for i, name in enumerate(names):
        way = np.stack([x[i] for x in frames]) if frames else None
        yield name, Found(Candidates(*(x[i] for x in candidates)), way)


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
        return begin(*known[1:], self.starts, search=self.search, guesses=guesses)


def _open(
    model: Model,
    mask: Float[np.ndarray, "h w"],
    search: Search,
    seed: int,
    block_size: int,
    num_frames: int,
    numbers: Numbers | None,
    device: int,
) -> _Place:
    shape = (block_size, *mask.shape, 3)
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
        state = advance_stages(
            *known, state, first=first, num_steps=count, **place.fixed
        )
    found = finish(*known, state, **place.fixed)
    return found, [*frames, found.joint[:, 0]]


def _best_joint(
    gen: Generator, variables: Any, state: SearchState
) -> Float[Array, "b h w 3"]:
    """G of the candidate of each target that the last step found to lose least."""
    best = jnp.argmin(state.contextual, axis=1)
    z = jnp.take_along_axis(state.z, best[:, None, None], axis=1)
    return generate_each(gen, variables, z[:, 0])


def _sweep(
    model: Model, mask: Float[Array, "h w"], search: Search, numbers: Numbers
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


class _Ready(NamedTuple):
    """A target whose search has ended.

    Attributes:
      number: of the item.
      item: the item.
      target: its target.
      z: of its candidates.
      steps: that they were moved by.
    """

    number: int
    item: Any
    target: Target
    z: Float[np.ndarray, "k z"]
    steps: int


class _Refilled:
    """A block under way, each target of which began at a time of its own."""

    def __init__(self, open_place: Callable[[], _Place], block_size: int) -> None:
        self._open = open_place
        self._slots: list[tuple[int, Any] | None] = [None] * block_size
        self._targets: np.ndarray | None = None
        self._state: SearchState | None = None
        self._ready: list[_Ready] = []

    @property
    def is_busy(self) -> bool:
        """Whether a target is searched for."""
        return any(slot is not None for slot in self._slots)

    def fill(self, items: Iterator[tuple[int, tuple[Any, Target]]]) -> None:
        """Begins as many targets as there is room for."""
        free = [i for i, slot in enumerate(self._slots) if slot is None]
        given = list(zip(free, items))
        if not given:
            return
        if self._targets is None:
            self._targets = _filled_up([given[0][1][1][1]], len(self._slots))
        for i, (number, (item, target)) in given:
            self._slots[i] = (number, item)
            self._targets[i] = target
        place = self._open()
        with parallel.running_on(place.device):
            fresh = place.begin(self._targets)
            new = np.isin(np.arange(len(self._slots)), [i for i, _ in given])
            old = fresh if self._state is None else self._state
            self._state = choose_rows(jnp.asarray(new), fresh, old)

    def advance(self) -> None:
        """Starts the next chunk of all targets."""
        place = self._open()
        search = place.search
        with parallel.running_on(place.device):
            assert self._state is not None and self._targets is not None
            state = advance(
                *place.known(self._targets),
                self._state,
                num_steps=search.chunk_steps,
                **place.fixed,
            )
            self._state = stop_stalled(state, search=search)

    def collect(self) -> Iterator[tuple[int, Any, Found]]:
        """Frees the places of those that are done; answers, once they fill a block."""
        assert self._state is not None and self._targets is not None
        moving, step = jax.device_get((self._state.moving, self._state.step))
        total = self._open().search.total_steps
        done = [
            i
            for i, slot in enumerate(self._slots)
            if slot is not None and (step[i] >= total or not moving[i])
        ]
        if done:
            z = jax.device_get(self._state.z)
            for i in done:
                number, item = self._slots[i]  # type: ignore[misc]
                target = self._targets[i].copy()
                self._ready.append(_Ready(number, item, target, z[i], int(step[i])))
                self._slots[i] = None
        while len(self._ready) >= len(self._slots):
            yield from self._finish()

    def flush(self) -> Iterator[tuple[int, Any, Found]]:
        """The answers that are left."""
        if self._ready:
            yield from self._finish()

    def _finish(self) -> Iterator[tuple[int, Any, Found]]:
        place, size = self._open(), len(self._slots)
        ready, self._ready = self._ready[:size], self._ready[size:]
        assert self._state is not None
        with parallel.running_on(place.device):
            rows = [*range(len(ready)), *[len(ready) - 1] * (size - len(ready))]
            state = self._state._replace(
                z=jnp.asarray(np.stack([ready[i].z for i in rows])),
                step=jnp.asarray([ready[i].steps for i in rows], jnp.int32),
            )
            targets = np.stack([ready[i].target for i in rows])
            found = finish(*place.known(targets), state, **place.fixed)
        results = _each(
            [(x.number, x.item) for x in ready], (jax.device_get(found), [])
        )
        yield from ((number, item, answers) for (number, item), answers in results)


def _refilled(
    items: Iterable[tuple[Item, Target]], blocks: Sequence[_Refilled]
) -> Iterator[tuple[int, Item, Found]]:
    """Numbered answers, as they come."""
    left = enumerate(items)
    busy = True
    while busy:
        for block in blocks:  # while one is looked at, the others compute
            if block.is_busy:
                yield from block.collect()
            block.fill(left)
            if block.is_busy:
                block.advance()
        busy = any(block.is_busy for block in blocks)
    for block in blocks:
        yield from block.flush()


def _in_order(
    numbered: Iterable[tuple[int, Item, Found]],
) -> Iterator[tuple[Item, Found]]:
    """Answers by their numbers: each is held until those before it have come."""
    held: dict[int, tuple[Item, Found]] = {}
    following = itertools.count()
    awaited = next(following)
    for number, item, found in numbered:
        held[number] = item, found
        while awaited in held:
            yield held.pop(awaited)
            awaited = next(following)


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
