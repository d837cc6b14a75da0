"""The worker that runs `cgan_jax`; a benchmark starts it and owns its settings.

    python benchmarks/_worker_ours.py JOB SETTINGS

SETTINGS is a JSON object. Each job writes what the peer needs, weights among it, to
`SETTINGS["folder"]/start.npz`.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _kinds
import _sketches
import _turns
import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from flax.traverse_util import flatten_dict

from cgan_jax import model_files, parallel, runtime
from cgan_jax.block_search import search_targets
from cgan_jax.losses import image_distance, perceptual_loss
from cgan_jax.models import (
    GanPair,
    Generator,
    generate,
    make_models,
    recompute_statistics,
    sample_z,
)
from cgan_jax.projection import Candidates, Search, draw_starts, project
from cgan_jax.train_state import GanState, create_state, make_tx
from cgan_jax.train_step import Recipe, train_step

Settings = dict[str, Any]
Job = tuple[_turns.Reply, Callable[[], _turns.Reply]]


def prepare_train_step(settings: Settings) -> Job:
    """The step as `cgan_jax.train` makes it; a first step is done."""
    parallel.split_cpu(settings["devices"])
    step_fn, state, real, key = _begin(settings, parallel.AXIS_NAME)
    step = parallel.parallel_step(step_fn, settings["devices"])
    state = parallel.replicate(state, settings["devices"])
    state, metrics = step(state, real, key)
    ready = {name: float(metrics[name]) for name in ("disc_loss", "gen_loss")}

    def turn() -> _turns.Reply:
        nonlocal state
        start = time.perf_counter()
        for _ in range(settings["steps"]):
            state, metrics = step(state, real, key)
        jax.block_until_ready((state, metrics))
        return {"seconds": (time.perf_counter() - start) / settings["steps"]}

    return ready, turn


def _begin(
    settings: Settings, axis_name: str | None
) -> tuple[Callable[..., Any], GanState, np.ndarray, jax.Array]:
    """A training step and its arguments; the peer is handed the same."""
    batch = settings["batch"]
    models = make_models(**settings["model"], axis_name=axis_name)
    tx = make_tx(settings["learning_rate"], settings["beta1"])
    key = jax.random.key(settings["seed"])
    state = create_state(models, tx, key)
    noise = np.random.default_rng(settings["seed"])
    shape = (batch, *models.gen.joint.shape)
    real = noise.uniform(-1, 1, shape).astype(np.float32)
    z = sample_z(jax.random.fold_in(key, state.step), batch, models.gen.z_dim)
    drawn = models.gen.layout.to_image(jnp.asarray(real))
    _hand_over(settings, _variables(state), real=drawn, z=z)
    step_fn = functools.partial(
        train_step,
        models=models,
        tx=tx,
        recipe=Recipe.of(settings["recipe"]),
        axis_name=axis_name,
    )
    return step_fn, state, real, key


def prepare_profile(settings: Settings) -> Job:
    """The same step, traced; without `pmap`, whose compiled text is not at hand."""
    step_fn, state, real, key = _begin(settings, None)
    compiled = (
        jax.jit(step_fn, donate_argnums=0)
        .lower(state, real, key)
        .compile(parallel.COMPILER_OPTIONS["cpu"])
    )
    kinds = _kinds.of_instructions(compiled.as_text())

    def turn() -> _turns.Reply:
        nonlocal state
        with tempfile.TemporaryDirectory() as folder:
            with jax.profiler.trace(folder):
                start = time.perf_counter()
                state, _ = jax.block_until_ready(compiled(state, real, key))
                seconds = time.perf_counter() - start
            spent = _seconds_of_instructions(folder)
        return {"seconds": seconds, "kinds": _kinds.summed(spent, kinds)}

    return {}, turn


def _seconds_of_instructions(folder: str) -> dict[str, float]:
    """Of a trace: by instruction, loops left out, whose bodies are there."""
    (file,) = Path(folder).rglob("*.xplane.pb")
    spent: Counter[str] = Counter()
    for plane in jax.profiler.ProfileData.from_file(str(file)).planes:
        for event in (event for line in plane.lines for event in line.events):
            if not event.name.startswith(("while", "Thunk", "Slinky", "$")):
                spent[event.name] += event.duration_ns / 1e9
    return dict(spent)


def prepare_input_pipeline(settings: Settings) -> Job:
    """Batches of a prepared data set, as the training loop asks for them."""
    # Here: they bring libraries of 40 MB, which no other job shall carry.
    from cgan_jax.dataset import open_pairs
    from cgan_jax.input_pipeline import make_train_iterator

    flags.FLAGS.mark_as_parsed()  # grain reads one
    joint = make_models(**settings["model"]).gen.joint
    pairs = open_pairs(settings["data"], "train", settings["model"]["styles"])
    given = {"batch_size": settings["batch"], "seed": settings["seed"]}

    def turn() -> _turns.Reply:
        # Anew each time: what an idle iterator has read ahead would cost nothing.
        start = time.perf_counter()
        iterator = make_train_iterator(pairs, joint, **given)
        for _ in range(settings["batches"]):
            next(iterator)
        seconds = time.perf_counter() - start
        iterator.close()
        return {"seconds": seconds}

    return {}, turn


def prepare_search(settings: Settings) -> Job:
    """A step inside the compiled search: a long search less a short one."""
    models = make_models(**settings["model"])
    key = jax.random.key(settings["seed"])
    variables = start_variables(models, key)
    short = Search(**settings["search"])
    more, steps = settings["more_steps"], _varied_steps(short)
    long = dataclasses.replace(short, **{steps: getattr(short, steps) + more})
    known = _sketches.example_targets(1, models.gen.joint)
    target, mask = map(jnp.asarray, known)
    # As many starts as candidates: every start is refined.
    starts = draw_starts(variables, key, models=models, search=short)
    drawn = models.gen.layout.to_image(target)
    _hand_over(settings, variables, target=drawn, z=starts.z)

    def find(search: Search) -> Candidates:
        found = project(variables, target, mask, starts, models=models, search=search)
        return jax.block_until_ready(found)

    def turn() -> _turns.Reply:
        begin = time.perf_counter()
        find(short)
        middle = time.perf_counter()
        find(long)
        end = time.perf_counter()
        return {"seconds": ((end - middle) - (middle - begin)) / more}

    losses = functools.partial(_losses, variables, *known, models, short)
    joint = jax.jit(functools.partial(generate, models.gen))(variables.gen, starts.z)
    found = find(short)
    find(long)
    later = losses(found.joint[0], found.offset_size[0])
    return {
        "first": losses(joint, np.zeros(len(joint))).tolist(),
        "later": np.sort(later).tolist(),
    }, turn


def _varied_steps(search: Search) -> str:
    """The field that says how many steps a search of one stage has."""
    return "inner_steps" if search.inner_steps else "num_steps"


def start_variables(models: GanPair, key: jax.Array) -> GanPair:
    """Those of a run at its start, G's statistics as they are published."""
    gen, disc = _variables(create_state(models, make_tx(0.0, 0.0), key))
    recompute = jax.jit(recompute_statistics, static_argnums=0)
    return GanPair(gen | recompute(models.gen, gen["params"], key), disc)


def _losses(
    variables: GanPair,
    target: np.ndarray,
    mask: np.ndarray,
    models: GanPair,
    search: Search,
    joint: jax.Array,
    offset_size: jax.Array,
) -> np.ndarray:
    """What a search of one stage minimizes, of every joint image; by the public losses."""
    parts = models.gen.joint
    (name,) = parts.known(mask)
    generated = parts.view(joint, name)
    distance = image_distance(
        generated,
        jnp.broadcast_to(parts.view(target, name), generated.shape),
        jnp.asarray(parts.mask_of(mask, name)),
        search.inner_distance if search.is_inner else search.distance,
        direction=search.direction,
        mass=search.mass,
        epsilon=search.epsilon,
    ).mean(-1)
    if search.is_inner:
        squares = search.inner_layers * np.square(offset_size)
        return search.inner_weight * distance + search.numbers.offset_penalty * squares
    logits = models.disc.apply(variables.disc, joint, train=False)
    perceptual = perceptual_loss(logits, search.perceptual_form)
    return distance + search.perceptual_weight * perceptual


def prepare_completion(settings: Settings) -> Job:
    """Many sketches through one model, in blocks as `cgan_jax.complete` makes them."""
    model = model_files.load(settings["name"])
    gen: Generator = model.models.gen
    search, block = Search(**settings["search"]), settings["block_size"]
    targets, mask = _sketches.example_targets(settings["sketches"], gen.joint)
    z = sample_z(jax.random.key(settings["seed"]), search.num_starts, gen.z_dim)
    drawn = gen.layout.to_image(jnp.asarray(targets))
    _hand_over(settings, model.variables, target=drawn, z=z)

    def turn() -> _turns.Reply:
        start = time.perf_counter()
        found = search_targets(
            model, targets, mask, search, seed=settings["seed"], block_size=block
        )
        best = [float(candidates.contextual[0]) for candidates in found]
        return {"seconds": time.perf_counter() - start, "best": best}

    return {"model": model.config["model"]}, turn


def _variables(state: GanState) -> GanPair:
    params, stats = state.params, state.batch_stats
    return GanPair(
        {"params": params.gen, "batch_stats": stats.gen},
        {"params": params.disc, "batch_stats": stats.disc},
    )


def _hand_over(settings: Settings, variables: GanPair, **arrays: Any) -> None:
    """Writes arrays for the peer, the weights by their names."""
    weights = flatten_dict(variables._asdict(), sep="/")
    np.savez(Path(settings["folder"]) / "start.npz", **weights, **arrays)


_JOBS = {
    "input_pipeline": prepare_input_pipeline,
    "profile": prepare_profile,
    "train_step": prepare_train_step,
    "search": prepare_search,
    "completion": prepare_completion,
}

if __name__ == "__main__":
    runtime.keep_freed_memory()  # as every command does
    _turns.serve(functools.partial(_JOBS[sys.argv[1]], json.loads(sys.argv[2])))
