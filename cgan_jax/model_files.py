"""Published models: `weights.safetensors`, `config.json` and a card in one folder.

Kernels are stored as float16, everything else as float32. The generator is the moving
average with its own batch statistics, the discriminator is as it was trained last.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError
from safetensors.numpy import load_file
from safetensors.numpy import save as serialize

from cgan_jax.models import GanPair, make_models

FORMAT_VERSION = 1
_PRETRAINED = Path(__file__).parent / "pretrained"
_CONFIG, _WEIGHTS = "config.json", "weights.safetensors"


class ModelError(ValueError):
    """A model that cannot be read; the message names it and the way out."""


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """A model that is ready for use.

    Attributes:
      name: how reports call it.
      models: G and D.
      variables: parameters and batch statistics of G and of D, float32.
      config: what `config.json` holds: `model` (the arguments of `make_models`),
        `style` of the sketches, and facts on the training.
    """

    name: str
    models: GanPair
    variables: GanPair
    config: dict[str, Any]


def bundled_names() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(path.parent.name for path in _PRETRAINED.glob(f"*/{_CONFIG}"))


def save(folder: Path, variables: GanPair, config: dict[str, Any]) -> None:
    """Writes a model; `config` gets the format version. An older one is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: _stored(name, np.asarray(x))
        for name, x in flatten_dict(variables._asdict(), sep="/").items()
    }
    temporary = folder / f"{_WEIGHTS}.tmp"
    temporary.write_bytes(serialize(tensors))  # save_file would hide it from others
    os.replace(temporary, folder / _WEIGHTS)
    text = json.dumps({"format_version": FORMAT_VERSION} | config, indent=2)
    (folder / _CONFIG).write_text(text + "\n")


def _stored(name: str, x: np.ndarray) -> np.ndarray:
    return x.astype(np.float16 if name.endswith("kernel") else np.float32)


def is_model_folder(folder: Path) -> bool:
    """Whether a folder holds a published model."""
    return (folder / _CONFIG).is_file() and (folder / _WEIGHTS).is_file()


def load(name_or_folder: str | Path) -> Model:
    """Reads a bundled model by its name, or a published one from its folder.

    Raises:
      ModelError: there is no such model, or its files are damaged or of a later format.
    """
    folder = Path(name_or_folder)
    if str(name_or_folder) in bundled_names() and not is_model_folder(folder):
        folder = _PRETRAINED / name_or_folder
    if not is_model_folder(folder):
        raise ModelError(
            f"no model {str(name_or_folder)!r}: give one of {bundled_names()}, or a "
            f"folder with {_CONFIG} and {_WEIGHTS}"
        )
    try:
        config = json.loads((folder / _CONFIG).read_text())
        tensors = load_file(folder / _WEIGHTS)
    except (SafetensorError, ValueError, OSError) as error:
        raise ModelError(f"{folder} is damaged ({error}): copy it anew") from error
    if config.get("format_version") != FORMAT_VERSION:
        raise ModelError(
            f"{folder} has format version {config.get('format_version')}, this package "
            f"reads {FORMAT_VERSION}: install a newer cgan_jax"
        )
    tree = unflatten_dict(
        {name: x.astype(np.float32) for name, x in tensors.items()}, sep="/"
    )
    try:
        models = make_models(**config["model"])
        disc = {"batch_stats": {}} | tree["disc"]  # a D without a norm has none
        variables = GanPair(tree["gen"], disc)
    except (KeyError, TypeError) as error:
        raise ModelError(f"{folder} is damaged ({error!r}): copy it anew") from error
    return Model(folder.name, models, variables, config)
