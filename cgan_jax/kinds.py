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
    model_files,
    model_table,
    parallel,
    publish,
    sample,
    sheets,
    validation,
)
from cgan_jax.baselines import conditional, conditional_files, conditional_step
from cgan_jax.joint import PHOTO, Joint
from cgan_jax.models import GanPair, Generator, generate, make_models, sample_z
from cgan_jax.projection import Search
from cgan_jax.train_state import GanState
from cgan_jax.train_step import Recipe, train_step

HeldOut = Float[np.ndarray, "n s s c"]
_CAPTIONS = ("photograph", "its sketch", "photo drawn")
_SHAPE = ("height", "layout", "kernel_size", "base_filters", "z_dim")
# What the one kind can do in other ways, the other only so.
_CONDITIONAL_ONLY_WITH = {
    ("model", "disc_norm"): "batch",
    ("model", "kernel_size"): 5,
    ("train", "gen_updates"): 1,
    ("train", "inner_noise"): 0.0,
}


@runtime_checkable
class Kind(Protocol):
    """What one kind of model is, does in a step, and shows of itself.

    Attributes:
      models: G and D, for `parallel.AXIS_NAME`.
      joint: what the joint images that it is trained on hold.
    """

    models: GanPair
    joint: Joint

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
        arguments = publish.contextual_arguments(config)
        self.models = make_models(**arguments, axis_name=parallel.AXIS_NAME)
        self.joint = self.models.gen.joint
        self._config, self._recipe = config, Recipe.of(config.train)
        self._search = _validation_search(config, self.models.gen)

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
        _check_shape(name, model, self._config, self.joint)
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
        planes = _sample(self.models.gen, variables.gen, num_samples)
        return sample.pair_sheet(self.joint.panels(jax.device_get(planes)))

    def validate(
        self, state: GanState, held_out: HeldOut
    ) -> tuple[dict[str, float], sheets.Picture]:
        found = validation.complete(
            _averaged(self.models, state),
            held_out,
            models=self.models,
            search=self._search,
        )
        return found.scores, validation.sheet(held_out, found.joint, self.joint)


def _validation_search(config: ml_collections.ConfigDict, gen: Generator) -> Search:
    """The whole search of the config, with the budget of its reports."""
    search, report = Search(**config.projection), config.report
    return dataclasses.replace(
        search,
        num_starts=report.validation_starts,
        encoder_starts=0,  # a G in training has no encoder
        num_candidates=1,
        num_steps=report.validation_steps,
        inner_steps=report.validation_inner_steps if search.inner_steps else 0,
        inner_layers=min(search.inner_layers, len(gen.inner_shapes)),
    )


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
        arguments = conditional.arguments(config)
        self.models = conditional.make_models(**arguments, axis_name=parallel.AXIS_NAME)
        self.joint = self.models.gen.joint
        self._config, self._recipe = config, Recipe.of(config.train)

    def table(self) -> str:
        batch_size = self._config.train.batch_size
        return model_table.describe(self.models, batch_size, more_gen_passes=1)

    def published(self, name: str) -> GanPair:
        model = conditional_files.load(name)
        _check_shape(name, model, self._config, self.joint)
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
        return sample.pair_sheet(self.joint.panels(self._answers(state, some)))

    def validate(
        self, state: GanState, held_out: HeldOut
    ) -> tuple[dict[str, float], sheets.Picture]:
        found = self._answers(state, held_out)
        pair = jnp.asarray(found), jnp.asarray(held_out)
        scores = {
            "validation_ssim": validation.photo_ssim(found, held_out, self.joint),
            "validation_l1": float(conditional_step.l1_distance(*pair, self.joint)),
        }
        (sketch,) = self.joint.sketches
        panels = [self.joint.panel(held_out, name) for name in (PHOTO, sketch)]
        panels.append(self.joint.panel(found, PHOTO))
        return scores, validation.captioned(panels, _CAPTIONS)

    def _answers(self, state: GanState, held_out: HeldOut) -> HeldOut:
        """Given sketches beside the photographs drawn of them."""
        gen, planes = self.models.gen, jnp.asarray(held_out)
        variables = conditional.averaged_variables(state).gen
        sketches = conditional.sketches_of(gen, planes)
        drawn = conditional.draw_each(gen, variables, sketches)
        return jax.device_get(conditional.with_photo(gen, planes, drawn))


def _check_shape(
    name: str,
    model: model_files.Model | conditional_files.ConditionalModel,
    config: ml_collections.ConfigDict,
    joint: Joint,
) -> None:
    """Whether a published model's parameters fit; its sketches may have other names."""
    theirs, ours = model.config["model"], config.model
    for field in _SHAPE:
        if field in theirs and theirs[field] != ours[field]:
            raise ValueError(
                f"--init_from={name} has {field} {theirs[field]}, but "
                f"config.model.{field} is {ours[field]}"
            )
    if model.joint.shape != joint.shape:
        raise ValueError(
            f"--init_from={name} has the sketches {', '.join(model.joint.sketches)}, but "
            f"config.data.style is {config.data.style}"
        )
