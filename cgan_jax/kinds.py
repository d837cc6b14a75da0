"""The kinds of models that a run may train, and all in which the loop tells them apart."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jaxtyping import Array, Float

from cgan_jax import (
    images,
    model_files,
    model_table,
    parallel,
    publish,
    sample,
    sheets,
    validation,
)
from cgan_jax.baselines import conditional, conditional_files, conditional_step
from cgan_jax.models import GanPair, Generator, generate, make_models, sample_z
from cgan_jax.projection import Search
from cgan_jax.train_state import GanState
from cgan_jax.train_step import Recipe, train_step

HeldOut = Float[np.ndarray, "n h w 3"]
_CAPTIONS = ("photograph", "its sketch", "photo drawn")
# What the one kind can do in other ways, the other only so.
_CONDITIONAL_ONLY_WITH = {("model", "disc_norm"): "batch", ("train", "gen_updates"): 1}


@runtime_checkable
class Kind(Protocol):
    """What one kind of model is, does in a step, and shows of itself.

    Attributes:
      models: G and D, for `parallel.AXIS_NAME`.
    """

    models: GanPair

    def table(self) -> str:
        """The networks, layer by layer."""

    def published(self, name: str) -> GanPair:
        """Variables of a published model of this kind, to start from.

        Raises:
          ModelError: it cannot be read, or is of another kind.
          ValueError: it has another shape.
        """

    def step_fn(self, tx: GanPair) -> Callable[..., Any]:
        """`step(state, joint, key)`, pure, for `parallel.parallel_step`."""

    def samples(self, state: GanState, held_out: HeldOut) -> sheets.Picture | None:
        """What the averaged G draws, always of the same inputs; None without any."""

    def validate(
        self, state: GanState, held_out: HeldOut
    ) -> tuple[dict[str, float], sheets.Picture]:
        """Answers to the held-out sketches: their scores, and a sheet."""


def of(config: ml_collections.ConfigDict) -> Kind:
    """The kind that a config asks for.

    Raises:
      ValueError: there is no such kind, or it cannot do what the config says.
    """
    if config.kind == model_files.CONTEXTUAL:
        return Contextual(config)
    if config.kind == model_files.CONDITIONAL:
        return Conditional(config)
    raise ValueError(
        f"config.kind is {config.kind!r}: choose {model_files.CONTEXTUAL} or "
        f"{model_files.CONDITIONAL}"
    )


class Contextual:
    """The contextual GAN: latents to joint images, sketches completed by a search."""

    def __init__(self, config: ml_collections.ConfigDict) -> None:
        self.models = make_models(**config.model, axis_name=parallel.AXIS_NAME)
        self._config, self._recipe = config, Recipe.of(config.train)
        self._search = dataclasses.replace(
            Search(**config.projection),
            num_starts=config.report.validation_starts,
            encoder_starts=0,  # a G in training has no encoder
            num_candidates=1,
            num_steps=config.report.validation_steps,
            chunk_steps=0,
        )

    def table(self) -> str:
        return model_table.describe(
            self.models, self._config.train.batch_size, self._recipe.gen_updates
        )

    def published(self, name: str) -> GanPair:
        model = model_files.load(name)
        norm = model.models.disc.norm
        if norm != self.models.disc.norm:
            raise ValueError(
                f"--init_from={name} has a D of norm {norm!r}, but "
                f"config.model.disc_norm is {self.models.disc.norm!r}"
            )
        fields = ("base_filters", "z_dim", "height")
        _check_shape(name, model.config["model"], self._config.model, fields)
        return model.variables

    def step_fn(self, tx: GanPair) -> Callable[..., Any]:
        return functools.partial(
            train_step,
            models=self.models,
            tx=tx,
            recipe=self._recipe,
            axis_name=parallel.AXIS_NAME,
        )

    def samples(self, state: GanState, held_out: HeldOut) -> sheets.Picture | None:
        del held_out
        variables = _averaged(self.models, state)
        num_samples = self._config.report.num_samples
        joint = _sample(self.models.gen, variables.gen, num_samples)
        return sample.pair_sheet(images.to_uint8(jax.device_get(joint)))

    def validate(
        self, state: GanState, held_out: HeldOut
    ) -> tuple[dict[str, float], sheets.Picture]:
        found = validation.complete(
            _averaged(self.models, state),
            held_out,
            models=self.models,
            search=self._search,
        )
        return found.scores, validation.sheet(held_out, found.joint)


_averaged = jax.jit(publish.averaged_variables, static_argnums=0)


@functools.partial(jax.jit, static_argnums=(0, 2))
def _sample(gen: Generator, variables: Any, num_samples: int) -> Array:
    return generate(gen, variables, sample_z(jax.random.key(0), num_samples, gen.z_dim))


class Conditional:
    """The conditional GAN of `baselines.conditional`: sketches to photographs."""

    def __init__(self, config: ml_collections.ConfigDict) -> None:
        for (section, field), only in _CONDITIONAL_ONLY_WITH.items():
            if config[section][field] != only:
                raise ValueError(
                    f"config.{section}.{field} is {config[section][field]!r}: a "
                    f"conditional GAN has {only!r} alone"
                )
        arguments = conditional.arguments(config.model.to_dict())
        self.models = conditional.make_models(**arguments, axis_name=parallel.AXIS_NAME)
        self._config, self._recipe = config, Recipe.of(config.train)

    def table(self) -> str:
        batch_size = self._config.train.batch_size
        return model_table.describe(self.models, batch_size, more_gen_passes=1)

    def published(self, name: str) -> GanPair:
        model = conditional_files.load(name)
        fields = ("base_filters", "height")
        _check_shape(name, model.config["model"], self._config.model, fields)
        return model.variables

    def step_fn(self, tx: GanPair) -> Callable[..., Any]:
        return functools.partial(
            conditional_step.train_step,
            models=self.models,
            tx=tx,
            recipe=self._recipe,
            l1_weight=self._config.conditional.l1_weight,
            axis_name=parallel.AXIS_NAME,
        )

    def samples(self, state: GanState, held_out: HeldOut) -> sheets.Picture | None:
        some = held_out[: self._config.report.num_samples]
        if not len(some):
            return None
        return sample.pair_sheet(images.to_uint8(self._answers(state, some)))

    def validate(
        self, state: GanState, held_out: HeldOut
    ) -> tuple[dict[str, float], sheets.Picture]:
        found = self._answers(state, held_out)
        l1 = conditional_step.l1_distance(jnp.asarray(found), jnp.asarray(held_out))
        scores = {
            "validation_ssim": validation.photo_ssim(found, held_out),
            "validation_l1": float(l1),
        }
        rows = []
        for true, drawn in zip(*map(images.to_uint8, (held_out, found)), strict=True):
            sketch, photo = images.split(true)
            pictures = [photo, sketch, images.split(drawn)[1]]
            rows.append([sheets.enlarge(picture) for picture in pictures])
        return scores, sheets.captioned_grid(rows, _CAPTIONS)

    def _answers(self, state: GanState, held_out: HeldOut) -> HeldOut:
        """Given sketches beside the photographs drawn of them."""
        sketches, _ = images.split(held_out)
        variables = conditional.averaged_variables(state).gen
        drawn = conditional.draw_each(self.models.gen, variables, jnp.asarray(sketches))
        return images.join(sketches, jax.device_get(drawn))


def _check_shape(
    name: str, theirs: Any, ours: ml_collections.ConfigDict, fields: tuple[str, ...]
) -> None:
    for field in fields:
        if theirs[field] != ours[field]:
            raise ValueError(
                f"--init_from={name} has {field} {theirs[field]}, but "
                f"config.model.{field} is {ours[field]}"
            )
