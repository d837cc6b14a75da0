"""Published models: `weights.safetensors`, `config.json` and a card in one folder.

Kernels are stored as float16, everything else as float32. The generator is the moving
average with its own batch statistics, the discriminator is as it was trained last. An
encoder may stand beside them: then `config.json` has a section on it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.errors import FlaxError
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError
from safetensors.numpy import load_file
from safetensors.numpy import save as serialize

from cgan_jax.array_cache import content_key
from cgan_jax.joint import Joint
from cgan_jax.models import (
    Encoder,
    GanPair,
    Generator,
    TrainedEncoder,
    make_models,
    recompute_statistics,
)
from cgan_jax.strided_conv import phase_conv_transpose
from cgan_jax.workdir import with_missing

FORMAT_VERSION = 2  # 1: joint images of halves alone, without `spread`; read as well
CONTEXTUAL, CONDITIONAL = "contextual", "conditional"  # kinds of models
# What they do, and where they are taken.
_EXPLAINED = {
    CONTEXTUAL: "drawings are completed by a search. Give it as --model, of cgan-complete "
    "or cgan-evaluate; --conditional and a conditional --init_from take what "
    "cgan-train --config=faces_conditional trains",
    CONDITIONAL: "it draws the photograph of a sketch in one pass, and nothing is searched "
    "for. Score it beside others with cgan-evaluate --conditional=FOLDER; --model takes a "
    "contextual GAN, such as faces",
}
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
      variables: parameters and batch statistics of G and of D, and the `spread` of G's
        inner layers, float32.
      config: what `config.json` holds: `model` (the arguments of `make_models`),
        `style` of the sketches, several separated by commas, facts on the training, and, where there is an encoder,
        those on it as `encoder`: `base_filters` and `generator`, the
        `generator_digest` of the G that it was trained on, among them.
      encoder: starts of searches from sketches; None where the model has none.
    """

    name: str
    models: GanPair
    variables: GanPair
    config: dict[str, Any]
    encoder: TrainedEncoder | None = None

    @property
    def joint(self) -> Joint:
        """What its joint images hold."""
        return self.models.gen.joint


def bundled_names() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(path.parent.name for path in _PRETRAINED.glob(f"*/{_CONFIG}"))


def digest(model: Model) -> str:
    """Names the weights of a model, its encoder's among them, and its architecture.

    Not G's `spread`, which follows from its weights, but for rounding.
    """
    params = None if model.encoder is None else model.encoder.params
    gen = {name: x for name, x in model.variables.gen.items() if name != "spread"}
    leaves = jax.tree.leaves((gen, model.variables.disc, params))
    return content_key(model.config["model"], *map(np.asarray, leaves))


def save(
    folder: Path,
    variables: GanPair,
    config: dict[str, Any],
    encoder: TrainedEncoder | None = None,
) -> None:
    """Writes a model; `config` gets the format version. An older one is replaced.

    Args:
      folder: made if it is missing.
      variables: of G and D.
      config: see `Model`.
      encoder: goes with a section `encoder` of the config.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tree = variables._asdict()
    if encoder is not None:
        tree["encoder"] = {"params": encoder.params}
    tensors = _stored_tensors(tree)
    temporary = folder / f"{_WEIGHTS}.tmp"
    temporary.write_bytes(serialize(tensors))  # save_file would hide it from others
    os.replace(temporary, folder / _WEIGHTS)
    text = json.dumps({"format_version": FORMAT_VERSION} | config, indent=2)
    (folder / _CONFIG).write_text(text + "\n")


def _stored_tensors(tree: dict[str, Any]) -> dict[str, np.ndarray]:
    flat = flatten_dict(tree, sep="/")
    return {name: _stored(name, np.asarray(x)) for name, x in flat.items()}


def _stored(name: str, x: np.ndarray) -> np.ndarray:
    return x.astype(np.float16 if name.endswith("kernel") else np.float32)


def generator_digest(variables: GanPair) -> str:
    """Names the parameters of a generator, as they are stored."""
    tensors = _stored_tensors(variables.gen["params"])
    return content_key(*(x for name in sorted(tensors) for x in (name, tensors[name])))


def is_model_folder(folder: Path) -> bool:
    """Whether a folder holds a published model."""
    return (folder / _CONFIG).is_file() and (folder / _WEIGHTS).is_file()


def find_folder(name_or_folder: str | Path) -> Path:
    """Where the files of a bundled or published model lie.

    Raises:
      ModelError: there is no such model.
    """
    folder = Path(name_or_folder)
    if str(name_or_folder) in bundled_names() and not is_model_folder(folder):
        folder = _PRETRAINED / name_or_folder
    if not is_model_folder(folder):
        raise ModelError(
            f"no model {str(name_or_folder)!r}: give one of {bundled_names()}, or a "
            f"folder with {_CONFIG} and {_WEIGHTS}"
        )
    return folder


def load(name_or_folder: str | Path) -> Model:
    """Reads a bundled model by its name, or a published one from its folder.

    What older models lack is filled in: arguments of `make_models` in the config, and the
    `spread` of G's inner layers.

    Raises:
      ModelError: there is no such model, or its files are damaged or of a later format.
    """
    folder = find_folder(name_or_folder)
    config, tree = read(folder, CONTEXTUAL)
    with damage_named(folder):
        config = with_arguments(config, "layout", "kernel_size")
        models = make_models(**config["model"])
        disc = {"batch_stats": {}} | tree["disc"]  # a D without a norm has none
        variables = GanPair(_with_spread(models.gen, tree["gen"]), disc)
        encoder = _encoder(config, tree)
    return Model(folder.name, models, variables, config, encoder)


def with_arguments(config: dict[str, Any], *fields: str) -> dict[str, Any]:
    """The config of a model with arguments that older ones lack, as they were then.

    Args:
      config: of a published model.
      fields: of `config.model`; `styles` are filled in beside them.
    """
    once = with_missing({})["model"]
    missing = {name: once[name] for name in fields}
    missing["styles"] = config["style"].split(",")
    return config | {"model": missing | config["model"]}


def _with_spread(gen: Generator, variables: dict[str, Any]) -> dict[str, Any]:
    """Variables of G with the units of its inner layers' offsets, as publishing has them."""
    if "spread" in variables:
        return variables
    quick = gen.clone(conv_fn=phase_conv_transpose)  # to compile
    recompute = jax.jit(recompute_statistics, static_argnums=0)
    found = recompute(quick, variables["params"], jax.random.key(0))
    return variables | {"spread": jax.device_get(found["spread"])}


def read(folder: Path, kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the files of a published model hold: `config.json`, and a tree of tensors.

    Raises:
      ModelError: they are damaged, of a later format, or of another kind of model.
    """
    try:
        config = json.loads((folder / _CONFIG).read_text())
        tensors = load_file(folder / _WEIGHTS)
    except (SafetensorError, ValueError, OSError) as error:
        raise ModelError(f"{folder} is damaged ({error}): copy it anew") from error
    check_kind(folder, config, kind)
    if config.get("format_version") not in range(1, FORMAT_VERSION + 1):
        raise ModelError(
            f"{folder} has format version {config.get('format_version')}, this package "
            f"reads up to {FORMAT_VERSION}: install a newer cgan_jax"
        )
    tensors = {name: x.astype(np.float32) for name, x in tensors.items()}
    return config, unflatten_dict(tensors, sep="/")


@contextlib.contextmanager
def damage_named(folder: Path) -> Iterator[None]:
    """Inside the block, what config and tensors lack or contradict is a ModelError."""
    try:
        yield
    except (KeyError, TypeError, ValueError, FlaxError) as error:
        raise ModelError(f"{folder} is damaged ({error!r}): copy it anew") from error


def kind_of(config: Mapping[str, Any]) -> str:
    """Of a run or a published model; those of before there were kinds are contextual."""
    return config.get("kind", CONTEXTUAL)


def check_kind(folder: Path, config: Mapping[str, Any], kind: str) -> None:
    """Says what a model is that was given in the place of another kind.

    Raises:
      ModelError: it is of another kind.
    """
    found = kind_of(config)
    if found != kind:
        explained = _EXPLAINED.get(found, "install a newer cgan_jax")
        raise ModelError(f"{folder} holds a {found} GAN: {explained}")


def make_encoder(config: dict[str, Any]) -> Encoder:
    """The network of the encoder that the config of a model describes."""
    model = config["model"]
    return Encoder(config["encoder"]["base_filters"], model["z_dim"], model["height"])


def _encoder(config: dict[str, Any], tree: dict[str, Any]) -> TrainedEncoder | None:
    """Config and weights must agree on whether there is one, and on its tensors.

    Raises:
      KeyError, TypeError, ValueError: they do not.
    """
    if "encoder" not in config and "encoder" not in tree:
        return None
    params = tree["encoder"]["params"]
    module = make_encoder(config)
    sketch = jnp.zeros((1, module.height, module.height))
    wanted = jax.eval_shape(module.init, jax.random.key(0), sketch)["params"]
    shapes, found = (
        {name: x.shape for name, x in flatten_dict(params, sep="/").items()}
        for params in (wanted, params)
    )
    if shapes != found:
        odd = sorted(dict(shapes.items() ^ found.items()))
        raise ValueError(f"the encoder's tensors {odd} are not as config.json says")
    return TrainedEncoder(module, params)
