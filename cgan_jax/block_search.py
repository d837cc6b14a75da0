"""Searches for many targets: blocks of one shape, each on one device, a few in flight.

Every device runs the same program of one device on blocks of its own. How many there are,
and what else is searched for, changes no answer.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
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
    Search,
    SearchState,
    Starts,
    advance_stages,
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

    Raises:
      ValueError: the search asks for an encoder, see `projection.check_encoder`.
    """
    check_encoder(model.encoder, mask, search)
    limit = max_parallel or parallel.num_local()
    make = functools.partial(
        _searcher, model, mask, search, seed, block_size, num_frames
    )
    searchers = [functools.cache(functools.partial(make, i)) for i in range(limit)]
    places = itertools.cycle(searchers[: parallel.num_local()])
    in_flight: collections.deque[tuple[list[Item], Any]] = collections.deque()
    for block in _blocks(items, block_size):
        done = [in_flight.popleft()] if len(in_flight) == limit else []
        results = [(names, jax.device_get(found)) for names, found in done]
        names, targets = zip(*block, strict=True)
        in_flight.append((list(names), next(places)()(np.stack(targets))))
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


def _searcher(
    model: Model,
    mask: Float[np.ndarray, "h w"],
    search: Search,
    seed: int,
    block_size: int,
    num_frames: int,
    place: int,
) -> Callable[[np.ndarray], tuple[Candidates, list[Array]]]:
    """A search for blocks on one device: compiled, with the model and its starts there."""
    shape = (block_size, *mask.shape, 3)
    with parallel.running_on(place):
        known = jnp.asarray(mask)
        variables = jax.device_put(model.variables)
        there = dataclasses.replace(model, variables=variables)
        starts = _starts_and_compilation(
            there, shape, known, search, seed, place, compiles=not num_frames
        )

    def run(targets: np.ndarray) -> tuple[Candidates, list[Array]]:
        filling = ((0, block_size - len(targets)), (0, 0), (0, 0), (0, 0))
        with parallel.running_on(place):
            block = jnp.asarray(np.pad(targets, filling, "edge"))
            return _search_block(there, block, known, starts, search, num_frames)

    return run


def _search_block(
    model: Model,
    target: Float[Array, "b h w 3"],
    mask: Float[Array, "h w"],
    starts: Starts,
    search: Search,
    num_frames: int,
) -> tuple[Candidates, list[Array]]:
    """A whole search, or the same in parts with the best joint images between them."""
    models, variables = model.models, model.variables
    known = variables, target, mask
    if not num_frames:
        found = project(
            *known, starts, models=models, search=search, encoder=model.encoder
        )
        return found, []
    guesses = guess(model.encoder, *known, models=models, search=search)
    state = begin(target, mask, starts, search=search, guesses=guesses)
    frames = []
    steps = max(1, -(-search.total_steps // num_frames))
    for first in range(0, search.total_steps, steps):
        frames.append(_best_joint(models.gen, variables.gen, state))
        state = advance_stages(
            *known,
            state,
            models=models,
            search=search,
            first=first,
            num_steps=min(steps, search.total_steps - first),
        )
    found = finish(*known, state, models=models, search=search)
    return found, [*frames, found.joint[:, 0]]


def _best_joint(
    gen: Generator, variables: Any, state: SearchState
) -> Float[Array, "b h w 3"]:
    """G of the candidate of each target that the last step found to lose least."""
    best = jnp.argmin(state.contextual, axis=1)
    z = jnp.take_along_axis(state.z, best[:, None, None], axis=1)
    return generate_each(gen, variables, z[:, 0])


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
