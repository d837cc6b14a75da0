"""Published conditional GANs: the files of `model_files`, which say their kind."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np

from cgan_jax import model_files
from cgan_jax.array_cache import content_key
from cgan_jax.baselines.conditional import make_models
from cgan_jax.joint import Joint
from cgan_jax.model_files import CONDITIONAL
from cgan_jax.models import GanPair


@dataclasses.dataclass(frozen=True, eq=False)
class ConditionalModel:
    """A conditional GAN that is ready for use.

    Attributes:
      name: how reports call it.
      models: G, from sketches to photographs, and D.
      variables: parameters and batch statistics of G and of D, float32.
      config: what `config.json` holds: `kind`, `model` (the arguments of
        `baselines.conditional.make_models`), `style` of the sketches, and facts on the
        training.
    """

    name: str
    models: GanPair
    variables: GanPair
    config: dict[str, Any]

    @property
    def joint(self) -> Joint:
        """What its joint images hold: one sketch and the photograph."""
        return self.models.gen.joint


def digest(model: ConditionalModel) -> str:
    """Names the weights of a model and its architecture."""
    leaves = jax.tree.leaves(model.variables)
    return content_key(model.config["model"], *map(np.asarray, leaves))


def load(folder: str | Path) -> ConditionalModel:
    """Reads a published conditional GAN from its folder.

    Raises:
      ModelError: there is none, it is of another kind, or its files are damaged or of a
        later format.
    """
    found = model_files.find_folder(folder)
    config, tree = model_files.read(found, CONDITIONAL)
    with model_files.damage_named(found):
        config = model_files.with_arguments(config, "layout")
        models = make_models(**config["model"])
        variables = GanPair(tree["gen"], tree["disc"])
    return ConditionalModel(found.name, models, variables, config)
