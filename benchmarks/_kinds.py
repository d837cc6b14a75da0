"""Kinds of work in a training step, so that two frameworks' profiles can be compared."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

PRODUCTS = "convolutions: products"
TRANSFORMS = "convolutions: transforms, patches, writing of chunks"
BATCH_NORM = "batch norm"
ACTIVATIONS = "activations"
LAYOUT = "layout, copies"
ADAM = "Adam, averages"
OTHER = "other"
KINDS = (PRODUCTS, TRANSFORMS, BATCH_NORM, ACTIVATIONS, LAYOUT, ADAM, OTHER)

# Of PyTorch's operators, by a part of their names; the first that fits.
_OPERATORS = (
    ("convolution", PRODUCTS),
    ("batch_norm", BATCH_NORM),
    ("relu", ACTIVATIONS),
    ("threshold", ACTIVATIONS),
    ("tanh", ACTIVATIONS),
    ("adam", ADAM),
    ("copy", LAYOUT),
    ("clone", LAYOUT),
    ("contiguous", LAYOUT),
)
_INSTRUCTION = re.compile(
    r"^\s*(?:ROOT )?%(\S+) = .*? ([\w-]+)\(.*op_name=\"([^\"]*)\""
)


def of_operator(name: str) -> str:
    """The kind of an operator of PyTorch."""
    return next((kind for part, kind in _OPERATORS if part in name), OTHER)


def of_instructions(hlo: str) -> dict[str, str]:
    """The kind of each named instruction of a compiled module, from the text of XLA."""
    found = map(_INSTRUCTION.match, hlo.splitlines())
    return {m[1]: _of_instruction(m[1], m[2], m[3]) for m in found if m}


def _of_instruction(name: str, opcode: str, op_name: str) -> str:
    if re.search(r"/(de)?conv_\d", op_name):
        # YNNPACK's fusions are matrix products, and nothing else in a convolution is.
        product = opcode in ("dot", "convolution") or name.startswith("ynn_fusion")
        return PRODUCTS if product else TRANSFORMS
    if re.search(r"/bn_\d", op_name):
        return BATCH_NORM
    if re.search(r"relu|tanh", op_name):
        return ACTIVATIONS
    if re.search(r"Generator|Discriminator", op_name):
        return OTHER
    if opcode in ("copy", "transpose"):
        return LAYOUT
    return ADAM if re.search(r"adam|/(mul|add|sub|sqrt|div)$", op_name) else OTHER


def summed(seconds: Mapping[str, float], kinds: Mapping[str, str]) -> dict[str, float]:
    """Seconds of each kind, from those of each instruction; the unnamed are `OTHER`."""
    total = Counter(dict.fromkeys(KINDS, 0.0))
    for name, value in seconds.items():
        total[kinds.get(name, OTHER)] += value
    return dict(total)
