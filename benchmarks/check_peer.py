"""Says whether PyTorch's side of the benchmarks computes what ours does.

    pip install -e . torch==2.13.0
    python benchmarks/check_peer.py --layout=planes,halves --filters=8

Both sides get the same random weights. Compared are the pictures of G, the logits of D on
these, and the gradient of an inner search step at random offsets, as the compiled search
of `cgan_jax` takes it. Each difference is the largest of its array, as a part of the
largest value there; beyond 1e-4 it ends with an error.

Prints a JSON line for each layout and number of filters, and a table.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import _flags
import _machine
import _records
import _settings
import numpy as np
from _records import Record
from absl import app, flags

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(_flags)

_LATENTS = 4
_OFFSET = 0.1  # standard deviation of the random offsets, in units of each channel's
_TOLERANCE = 1e-4
_COLUMNS = ("layout", "filters", "pictures", "logits", "slope_of_z", "slope_of_offsets")


def measure() -> Iterator[Record]:
    """The largest differences of each case."""
    for layout, filters in itertools.product(FLAGS.layout, map(int, FLAGS.filters)):
        ours, peer = _both(_settings.model(layout, filters))
        found = {name: _difference(name, ours[name], peer[name]) for name in ours}
        offsets = [x for name, x in found.items() if name.startswith("offset_")]
        yield {
            "benchmark": "check_peer",
            "layout": layout,
            "filters": filters,
            "pictures": found["pictures"],
            "logits": found["logits"],
            "slope_of_z": found["z"],
            "slope_of_offsets": max(offsets),
        }


def _difference(name: str, ours: np.ndarray, peer: np.ndarray) -> float:
    """Raises `_records.Disagreement` if it is large."""
    scale = np.abs(peer).max()
    mine, theirs = (x.ravel() / scale for x in (ours, peer))
    return _records.check_same(name, mine.tolist(), theirs.tolist(), _TOLERANCE)


def _both(model: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What our side and the peer compute, by name, from the same start."""
    import _sketches  # after the flags: --help stays fast
    import _worker_ours
    import jax
    import jax.numpy as jnp

    from cgan_jax.configs import default
    from cgan_jax.models import make_models, sample_z
    from cgan_jax.search import Search

    models, key = make_models(**model), jax.random.key(0)
    variables = _worker_ours.start_variables(models, key)
    # Closeness 1: a greater penalty has a slope that hides that of the distance.
    search = Search(**dict(default.get_config().projection) | {"closeness": 1.0})
    noise = np.random.default_rng(0)
    shapes = models.gen.inner_shapes[: search.inner_layers]
    given = {
        "z": np.asarray(sample_z(key, _LATENTS, models.gen.z_dim)),
        "offsets": [
            _OFFSET * noise.standard_normal((_LATENTS, *x), np.float32) for x in shapes
        ],
    }
    known = _sketches.example_targets(1, models.gen.joint)
    target, mask = map(jnp.asarray, known)
    ours = _ours(models, variables, search, target, mask, **given)
    return ours, _peer(model, models.gen.layout, variables, search, target, **given)


def _ours(
    models: Any,
    variables: Any,
    search: Any,
    target: Any,
    mask: Any,
    z: np.ndarray,
    offsets: list[np.ndarray],
) -> dict[str, np.ndarray]:
    import jax

    from cgan_jax.models import generate
    from cgan_jax.projection import advance, begin_from

    joint = generate(models.gen, variables.gen, z, offsets)
    logits = models.disc.apply(variables.disc, joint, train=False)
    state = begin_from(z[None], [x[None] for x in offsets], search=search)
    fixed = {"models": models, "search": search, "first": search.num_steps}
    state = advance(variables, target, mask, state, num_steps=1, **fixed)
    # Of the first step: Adam's mean of gradients is a tenth of it.
    slope_of_z, slopes = jax.tree.map(lambda x: 10 * x[0], state.opt_state.mu)
    found = {
        "pictures": models.gen.layout.to_image(joint),
        "logits": logits,
        "z": slope_of_z,
    }
    found |= {f"offset_{i}": slope for i, slope in enumerate(slopes)}
    return {name: np.asarray(x) for name, x in found.items()}


def _peer(
    model: dict[str, Any],
    layout: Any,
    variables: Any,
    search: Any,
    target: Any,
    z: np.ndarray,
    offsets: list[np.ndarray],
) -> dict[str, np.ndarray]:
    import peer_torch
    import torch
    from flax.traverse_util import flatten_dict

    tree = flatten_dict(variables._asdict(), sep="/")
    weights = {name: np.array(x) for name, x in tree.items()}
    peer = peer_torch.Peer(weights, model, learning_rate=0.0, beta1=0.0)
    inner = peer_torch.InnerSearch(
        peer,
        peer_torch.mirrored(np.asarray(layout.to_image(target))),
        torch.from_numpy(z.copy()),
        layers=search.inner_layers,
        learning_rate=search.inner_learning_rate,
        weight=search.inner_weight,
        penalty=float(search.numbers.offset_penalty),
    )
    with torch.no_grad():
        for offset, value in zip(inner.offsets, offsets, strict=True):
            offset.copy_(peer_torch.mirrored(value))
        joint = inner.joint()
        found = {"pictures": _turned(joint), "logits": inner.disc(joint).numpy()}
    inner.loss().sum().backward()
    slopes = enumerate(_turned(x.grad) for x in inner.offsets)
    return found | {"z": inner.z.grad.numpy()} | {f"offset_{i}": x for i, x in slopes}


def _turned(pictures: Any) -> np.ndarray:
    """What `peer_torch.mirrored` does, the other way."""
    return pictures.permute(0, 2, 3, 1).numpy()[:, ::-1, ::-1]


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    _machine.require_torch()
    _records.report(measure(), _COLUMNS)


if __name__ == "__main__":
    app.run(main)
