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
from cgan_jax.models import GanPair, Generator, make_models

# What a config says of the model; and, with the styles, the arguments of `make_models`.
ARGUMENTS = {
    "base_filters": 4,
    "z_dim": 8,
    "height": 16,
    "dtype": "float32",
    "layout": "halves",
    "kernel_size": 5,
}
HALVES = ARGUMENTS | {"styles": ["xdog"]}
PLANES = ARGUMENTS | {"layout": "planes", "styles": ["xdog", "fdog", "photocopy"]}
LAYOUTS = {"halves": HALVES, "planes": PLANES}
CONFIG = {"model": HALVES, "style": "xdog", "steps": 7}
CONFIGS = {
    name: CONFIG | {"model": arguments, "style": ",".join(arguments["styles"])}
    for name, arguments in LAYOUTS.items()
}
CONDITIONAL_ARGUMENTS = {
    "base_filters": 2,
    "height": 16,
    "dtype": "float32",
    "layout": "halves",
    "styles": ["xdog"],
}


@functools.cache
def tiny_models(layout: str = "halves") -> GanPair:
    """G and D of a layout."""
    return make_models(**LAYOUTS[layout])


def random_variables(seed: int = 0, layout: str = "halves") -> GanPair:
    """Variables of G and D, NumPy arrays; large enough for images of strong contrast."""
    models = tiny_models(layout)
    gen, disc = filled(models, seed)
    return GanPair(gen | {"spread": random_spread(models.gen, seed)}, disc)


def random_spread(gen: Generator, seed: int) -> dict[str, np.ndarray]:
    """Units of the offsets of the inner layers of any G."""
    rng = np.random.default_rng(1000 + seed)
    return {
        f"std_{i}": rng.uniform(0.5, 1.5, channels).astype(np.float32)
        for i, (_, _, channels) in enumerate(gen.inner_shapes)
    }


def filled(models: GanPair, seed: int) -> GanPair:
    """Random parameters and statistics of any G and D."""
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
def random_model(seed: int = 0, layout: str = "halves") -> Model:
    """A model that was never on disk."""
    variables = random_variables(seed, layout)
    return Model("random", tiny_models(layout), variables, CONFIGS[layout])


@functools.cache
def random_conditional(seed: int = 0, layout: str = "halves") -> ConditionalModel:
    """A conditional GAN that was never on disk."""
    arguments = CONDITIONAL_ARGUMENTS | {"layout": layout}
    models = conditional.make_models(**arguments)
    config = {"kind": "conditional", "model": arguments, "style": "xdog"}
    return ConditionalModel("random", models, filled(models, seed), config)


def save_random_model(folder: Any, seed: int = 0, layout: str = "halves") -> GanPair:
    """Publishes random variables in a folder; returns them."""
    variables = random_variables(seed, layout)
    model_files.save(folder, variables, CONFIGS[layout])
    return variables
