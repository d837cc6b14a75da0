"""The worker that runs the PyTorch peer; a benchmark starts it and owns its settings.

    python benchmarks/_worker_torch.py JOB SETTINGS

SETTINGS is a JSON object. Each job begins from `SETTINGS["folder"]/start.npz`, which the
other worker wrote. Imports no jax: the peak memory is PyTorch's alone.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _kinds
import _turns
import numpy as np
import peer_torch
import torch

Settings = dict[str, Any]
Job = tuple[_turns.Reply, Callable[[], _turns.Reply]]


def prepare_train_step(settings: Settings) -> Job:
    """The peer's training step; a first step is done."""
    start_from = _taken_over(settings)
    peer = _peer(settings, start_from, settings["learning_rate"], settings["beta1"])
    real = peer_torch.mirrored(start_from["real"])
    ready = peer.train_step(real, torch.from_numpy(start_from["z"]))
    shape = start_from["z"].shape
    del start_from  # or the peak would count the weights twice

    def turn() -> _turns.Reply:
        start = time.perf_counter()
        for _ in range(settings["steps"]):
            peer.train_step(real, torch.rand(shape) * 2 - 1)
        return {"seconds": (time.perf_counter() - start) / settings["steps"]}

    return ready, turn


def prepare_profile(settings: Settings) -> Job:
    """The same step, traced."""
    start_from = _taken_over(settings)
    peer = _peer(settings, start_from, settings["learning_rate"], settings["beta1"])
    real = peer_torch.mirrored(start_from["real"])
    z = torch.from_numpy(start_from["z"])

    def turn() -> _turns.Reply:
        with torch.profiler.profile() as trace:
            start = time.perf_counter()
            peer.train_step(real, z)
            seconds = time.perf_counter() - start
        spent = {e.key: e.self_cpu_time_total / 1e6 for e in trace.key_averages()}
        kinds = {name: _kinds.of_operator(name) for name in spent}
        return {"seconds": seconds, "kinds": _kinds.summed(spent, kinds)}

    return {}, turn


def prepare_search(settings: Settings) -> Job:
    """The peer's search step, from the latents that the other side begins with."""
    start_from = _taken_over(settings)
    peer = _peer(settings, start_from)
    target = peer_torch.mirrored(start_from["target"])
    z = torch.from_numpy(start_from["z"])
    is_inner = settings["search"]["inner_steps"] > 0
    search = (_inner_search if is_inner else _search)(settings, peer, target, z)
    first = search.loss().tolist()
    for _ in range(settings["search"]["inner_steps" if is_inner else "num_steps"]):
        search.step()
    later = search.loss().sort().values.tolist()

    def turn() -> _turns.Reply:
        start = time.perf_counter()
        for _ in range(settings["more_steps"]):
            search.step()
        return {"seconds": (time.perf_counter() - start) / settings["more_steps"]}

    return {"first": first, "later": later}, turn


def prepare_completion(settings: Settings) -> Job:
    """Many sketches, in the blocks and from the starts of the other side."""
    start_from = _taken_over(settings)
    peer = _peer(settings, start_from)
    targets = peer_torch.mirrored(start_from["target"])
    z = torch.from_numpy(start_from["z"])
    count = settings["search"]["num_candidates"]
    epsilon = settings["search"]["epsilon"]

    def complete(block: torch.Tensor, log_starts: torch.Tensor) -> list[float]:
        best = peer_torch.best_starts(log_starts, block, count, epsilon)
        target = block.repeat_interleave(count, 0)
        joint = _searched(settings, peer, target, z[best.flatten()])
        contextual, _ = peer_torch.score(peer, joint, target, epsilon)
        return contextual.view(len(block), count).amin(1).tolist()

    def turn() -> _turns.Reply:
        start = time.perf_counter()
        log_starts = peer_torch.starts_log_ink(peer, z, epsilon)
        blocks = targets.split(settings["block_size"])
        best = [kl for block in blocks for kl in complete(block, log_starts)]
        return {"seconds": time.perf_counter() - start, "best": best}

    return {}, turn


def _searched(
    settings: Settings, peer: peer_torch.Peer, target: torch.Tensor, z: torch.Tensor
) -> torch.Tensor:
    """Joint images after both stages of a search from these latents."""
    stage: peer_torch.Search | peer_torch.InnerSearch
    stage = _search(settings, peer, target, z)
    for _ in range(settings["search"]["num_steps"]):
        stage.step()
    if settings["search"]["inner_steps"]:
        stage = _inner_search(settings, peer, target, stage.z)
        for _ in range(settings["search"]["inner_steps"]):
            stage.step()
    with torch.no_grad():
        return stage.joint()


def _taken_over(settings: Settings) -> dict[str, np.ndarray]:
    with np.load(Path(settings["folder"]) / "start.npz") as arrays:
        return dict(arrays)


def _peer(
    settings: Settings,
    weights: dict[str, np.ndarray],
    learning_rate: float = 0.0,
    beta1: float = 0.0,
) -> peer_torch.Peer:
    return peer_torch.Peer(
        weights, settings["model"], learning_rate=learning_rate, beta1=beta1
    )


def _search(
    settings: Settings,
    peer: peer_torch.Peer,
    target: torch.Tensor,
    z: torch.Tensor,
) -> peer_torch.Search:
    """The first stage."""
    search = settings["search"]
    return peer_torch.Search(
        peer,
        target,
        z,
        learning_rate=search["learning_rate"],
        perceptual_weight=search["perceptual_weight"],
        epsilon=search["epsilon"],
    )


def _inner_search(
    settings: Settings,
    peer: peer_torch.Peer,
    target: torch.Tensor,
    z: torch.Tensor,
) -> peer_torch.InnerSearch:
    """The second stage."""
    search = settings["search"]
    return peer_torch.InnerSearch(
        peer,
        target,
        z,
        layers=search["inner_layers"],
        learning_rate=search["inner_learning_rate"],
        weight=search["inner_weight"],
        penalty=settings["offset_penalty"],
    )


_JOBS = {
    "profile": prepare_profile,
    "train_step": prepare_train_step,
    "search": prepare_search,
    "completion": prepare_completion,
}

if __name__ == "__main__":
    _turns.serve(functools.partial(_JOBS[sys.argv[1]], json.loads(sys.argv[2])))
