"""Models of random weights, too small to draw anything: for tests of what surrounds them."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cgan_jax import model_files
from cgan_jax.baselines import conditional
from cgan_jax.baselines.conditional_files import ConditionalModel
from cgan_jax.model_files import Model
from cgan_jax.models import GanPair, make_models

ARGUMENTS = {"base_filters": 4, "z_dim": 8, "height": 16, "dtype": "float32"}
CONFIG = {"model": ARGUMENTS, "style": "xdog", "steps": 7}
CONDITIONAL_ARGUMENTS = {"base_filters": 2, "height": 16, "dtype": "float32"}


def random_variables(seed: int = 0) -> GanPair:
    """Variables of G and D, NumPy arrays; large enough for images of strong contrast."""
    return filled(make_models(**ARGUMENTS), seed)


def filled(models: GanPair, seed: int) -> GanPair:
    """Random variables of any G and D."""
    rng = np.random.default_rng(seed)

    def fill(path: Any, like: jax.ShapeDtypeStruct) -> np.ndarray:
        noise = rng.normal(0, 0.3, like.shape)
        positive = path[-1].key in ("var", "scale")
        return (np.exp(noise) if positive else noise).astype(like.dtype)

    def shapes(key: jax.Array) -> list[Any]:
        return [
            model.init(key, jnp.zeros((1, *model.input_shape)), train=False)
            for model in models
        ]

    tree = jax.eval_shape(shapes, jax.random.key(0))
    return GanPair(*jax.tree_util.tree_map_with_path(fill, tree))


@functools.cache
def random_model(seed: int = 0) -> Model:
    """A model that was never on disk."""
    models = make_models(**ARGUMENTS)
    return Model("random", models, random_variables(seed), CONFIG)


@functools.cache
def random_conditional(seed: int = 0) -> ConditionalModel:
    """A conditional GAN that was never on disk."""
    models = conditional.make_models(**CONDITIONAL_ARGUMENTS)
    config = {"kind": "conditional", "model": CONDITIONAL_ARGUMENTS, "style": "xdog"}
    return ConditionalModel("random", models, filled(models, seed), config)


def save_random_model(folder: Any, seed: int = 0) -> GanPair:
    """Publishes random variables in a folder; returns them."""
    variables = random_variables(seed)
    model_files.save(folder, variables, CONFIG)
    return variables
