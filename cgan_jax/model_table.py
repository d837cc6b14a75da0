"""A table of the networks: what each layer holds and what it computes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from cgan_jax.models import GanPair, Logit, StridedConv, StridedConvTranspose

_LAYERS = (StridedConv, StridedConvTranspose, nn.Dense, nn.BatchNorm, Logit)


class Layer(NamedTuple):
    """One layer.

    Attributes:
      name: as among the parameters.
      output: shape of one image's output.
      parameters: how many numbers are learned.
      flops: multiplications and additions of one image's forward pass in the products
        with the kernel, written out directly; what surrounds them is not counted.
    """

    name: str
    output: tuple[int, ...]
    parameters: int
    flops: int


def layers(models: GanPair) -> GanPair:
    """The layers of G and of D, in order; nothing is computed."""
    return GanPair(*map(_layers_of, models))


def _layers_of(model: Any) -> list[Layer]:
    seen = {}

    def record(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        out = call(*args, **kwargs)
        # Spectral norm calls its layer a second time, with nothing to be seen.
        if isinstance(context.module, _LAYERS) and args:
            seen[str(context.module.name)] = args[0].shape, out.shape
        return out

    def init() -> Any:
        x = jnp.zeros((1, *model.input_shape))
        return model.init(jax.random.key(0), x, train=False)

    with nn.intercept_methods(record):
        params = jax.eval_shape(init)["params"]
    return [_layer(name, params[name], *shapes) for name, shapes in seen.items()]


def _layer(
    name: str, params: Any, before: tuple[int, ...], after: tuple[int, ...]
) -> Layer:
    flops = 0
    if "kernel" in params:
        # A convolution's kernel is used at each pixel of its narrow side.
        pixels = min(math.prod(before[1:-1]), math.prod(after[1:-1]))
        flops = 2 * params["kernel"].size * pixels
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    return Layer(name, after[1:], size, flops)


def describe(
    models: GanPair, batch_size: int, gen_updates: int = 1, more_gen_passes: int = 0
) -> str:
    """Parameters and FLOPs of each layer, of G, of D and of a training step, as text.

    A step is counted without R1: G forward and, twice as dear, backward for each of its
    updates; D likewise on real and on generated images, and forward and back to the image
    for each update of G. `more_gen_passes` of G go forward besides.
    """
    lines = [f"{'layer':<18}{'output':>16}{'parameters':>14}{'MFLOP an image':>18}"]
    totals = []
    for network, rows in layers(models)._asdict().items():
        lines += [_line(f"{network}/{r.name}", r.output, *r[2:]) for r in rows]
        parameters, flops = (sum(column) for column in list(zip(*rows))[2:])
        lines.append(_line(network, (), parameters, flops))
        totals.append(flops)
    passes = 3 * gen_updates + more_gen_passes, 6 + 2 * gen_updates
    step = batch_size * sum(n * flops for n, flops in zip(passes, totals, strict=True))
    lines.append(
        f"a step of {batch_size} pairs: {step / 1e9:,.1f} GFLOP "
        f"({passes[0]} passes of G, {passes[1]} of D)"
    )
    return "\n".join(lines)


def _line(name: str, output: Sequence[int], parameters: int, flops: int) -> str:
    shape = "x".join(map(str, output))
    return f"{name:<18}{shape:>16}{parameters:>14,}{flops / 1e6:>18,.2f}"
