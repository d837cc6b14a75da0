"""Training an encoder of sketches, on what a generator draws: a start of the search for z.

Every step draws latents z, generates their joint images, takes one sketch of each, distorts
it as people might (`distortions`), and moves the encoder E to lower

    mean (E(s') - z)^2  +  w D_KL(s || the same sketch of G(E(s'))), blurred

s being the sketch as generated, s' as distorted. The first term says where the latent is,
photograph included; alone it answers with the mean of all latents that fit. The second is
what the search ranks by, seen through G, which is frozen on its running averages; blurs
let strokes that do not meet yet attract each other.

Where joint images hold sketches in several styles, each sample shows one of them, drawn
anew: E reads them all, and is not told which.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import logging
from jaxtyping import Array, Float, Int

from cgan_jax import losses, model_card, model_files
from cgan_jax.distortions import distort
from cgan_jax.model_files import Model, ModelError
from cgan_jax.models import (
    Encoder,
    Generator,
    TrainedEncoder,
    encode,
    generate,
    sample_z,
)
from cgan_jax.progress import tracked

_WIDTHS = (1.0, 2.0, 4.0)  # of the blurs, in pixels
_LOG_EVERY_STEPS = 50
_NUM_TEST = 256  # new samples that the trained encoder is scored on


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How an encoder is trained; `configs/default.py` has the defaults.

    Attributes:
      base_filters: see `models.Encoder`.
      num_steps: updates.
      batch_size: samples of G a step.
      learning_rate: Adam's at its highest, after a tenth of the steps; then it falls to
        0 as a cosine.
      sketch_weight: w, of the sketch that is generated again.
    """

    base_filters: int
    num_steps: int
    batch_size: int
    learning_rate: float
    sketch_weight: float


class EncoderState(NamedTuple):
    """Everything that a step changes."""

    step: Array
    params: Any
    opt_state: Any


def make_tx(recipe: Recipe) -> optax.GradientTransformation:
    """Adam; its learning rate rises for a tenth of the steps, then falls to 0."""
    steps = recipe.num_steps
    rate = optax.warmup_cosine_decay_schedule(
        0.0, recipe.learning_rate, steps // 10, steps
    )
    return optax.adam(rate)


def create_state(
    encoder: Encoder, tx: optax.GradientTransformation, key: Array
) -> EncoderState:
    """Initial parameters."""
    sketch = jnp.ones((1, encoder.height, encoder.height))
    params = encoder.init(key, sketch)["params"]
    return EncoderState(jnp.int32(0), params, tx.init(params))


@functools.partial(
    jax.jit, static_argnames=("encoder", "gen", "recipe"), donate_argnums=0
)
def train_step(
    state: EncoderState,
    gen_variables: Any,
    key: Array,
    *,
    encoder: Encoder,
    gen: Generator,
    recipe: Recipe,
) -> tuple[EncoderState, dict[str, Array]]:
    """One update of the encoder; the step's own key is folded in here.

    Returns:
      The state after the update, and the two terms of the loss before it: `z_error`, 1/3
      for an encoder that knows nothing, and `sketch_kl` in nats.
    """
    own_key = jax.random.fold_in(key, state.step)
    z_key, seen_key, part_key = jax.random.split(own_key, 3)
    z = sample_z(z_key, recipe.batch_size, gen.z_dim)
    part = jax.random.randint(part_key, z.shape[:1], 0, len(gen.joint.sketches))
    sketch = sketches_of(gen, gen_variables, z, part)
    seen = distort(sketch, jax.random.split(seen_key, recipe.batch_size))

    def loss_fn(params: Any) -> tuple[Array, dict[str, Array]]:
        found = encode(encoder, params, seen)
        terms = {"z_error": jnp.square(found - z).mean()}
        total = terms["z_error"]
        if recipe.sketch_weight:
            again = sketches_of(gen, gen_variables, found, part)
            terms["sketch_kl"] = blurred_kl(again, sketch).mean()
            total += recipe.sketch_weight * terms["sketch_kl"]
        return total, terms

    slope, terms = jax.grad(loss_fn, has_aux=True)(state.params)
    updates, opt_state = make_tx(recipe).update(slope, state.opt_state)
    params = optax.apply_updates(state.params, updates)
    return EncoderState(state.step + 1, params, opt_state), terms


def sketches_of(
    gen: Generator, variables: Any, z: Float[Array, "n z"], part: Int[Array, " n"]
) -> Float[Array, "n s s"]:
    """A sketch of each G(z): grey in [0, 1], as the search compares them.

    Args:
      gen: draws them.
      variables: of G.
      z: latents.
      part: which of its sketches, by number.
    """
    planes, joint = generate(gen, variables, z), gen.joint
    views = [joint.view(planes, name)[:, 0] for name in joint.sketches]
    return jnp.stack(views, axis=1)[jnp.arange(len(z)), part]


def blurred_kl(
    generated: Float[Array, "n s s"], sketch: Float[Array, "n s s"]
) -> Float[Array, " n"]:
    """D_KL(sketch || generated) by ink, in nats: the mean over three Gaussian blurs."""
    mask = jnp.ones(sketch.shape[1:])
    blurred = (losses.blur(x, mask, _WIDTHS) for x in (sketch, generated))
    return losses.kl_divergence(*blurred).mean(0)


def train(
    model: Model, recipe: Recipe, *, seed: int
) -> tuple[TrainedEncoder, dict[str, float]]:
    """Trains an encoder for a model, from the beginning to the end.

    Args:
      model: its generator draws the samples.
      recipe: see `Recipe`.
      seed: of the initial parameters and of all that is drawn.

    Returns:
      The encoder, and its scores on new samples; see `score`.

    Raises:
      ValueError: the recipe has a number that is out of its range.
    """
    _check(recipe)
    gen, gen_variables = (
        model.models.gen,
        jax.tree.map(jnp.asarray, model.variables.gen),
    )
    encoder = Encoder(recipe.base_filters, gen.z_dim, gen.joint.size)
    init_key, run_key, test_key = jax.random.split(jax.random.key(seed), 3)
    state = create_state(encoder, make_tx(recipe), init_key)
    parts: dict[str, Any] = {"encoder": encoder, "gen": gen}
    since: list[dict[str, Array]] = []
    for step in tracked(range(1, recipe.num_steps + 1), "steps", recipe.num_steps):
        state, terms = train_step(state, gen_variables, run_key, recipe=recipe, **parts)
        since.append(terms)
        if step % _LOG_EVERY_STEPS == 0 or step == recipe.num_steps:
            logging.info("step %d: %s", step, _described(_means(since)))
            since = []
    trained = TrainedEncoder(encoder, jax.device_get(state.params))
    return trained, score(trained, gen, gen_variables, test_key)


def _check(recipe: Recipe) -> None:
    for name, least in (("base_filters", 1), ("num_steps", 1), ("batch_size", 1)):
        if getattr(recipe, name) < least:
            raise ValueError(f"{name} is {getattr(recipe, name)}: it must be positive")
    if recipe.learning_rate <= 0:
        raise ValueError(f"learning_rate is {recipe.learning_rate}: it must be above 0")
    if recipe.sketch_weight < 0:
        raise ValueError(
            f"sketch_weight is {recipe.sketch_weight}: it must be at least 0"
        )


def _means(terms: list[dict[str, Array]]) -> dict[str, float]:
    every = jax.device_get(terms)
    return {name: float(np.mean([x[name] for x in every])) for name in every[0]}


def _described(terms: dict[str, float]) -> str:
    return ", ".join(f"{name} {x:.4f}" for name, x in terms.items())


def score(
    trained: TrainedEncoder, gen: Generator, gen_variables: Any, key: Array
) -> dict[str, float]:
    """How well an encoder knows new samples, as they are: means over 256.

    They show the sketches of their joint images in turn.

    Returns:
      `z_error`, the mean squared error of z, 1/3 for one that knows nothing; `sketch_kl`,
      the blurred divergence of the sketch that is generated again, in nats; and
      `chance_kl`, that of another sample's sketch in the same style.
    """
    num_parts = len(gen.joint.sketches)

    @jax.jit
    def scores(params: Any, gen_variables: Any) -> dict[str, Array]:
        z = sample_z(key, _NUM_TEST, gen.z_dim)
        part = jnp.arange(_NUM_TEST) % num_parts
        sketch = sketches_of(gen, gen_variables, z, part)
        found = encode(trained.module, params, sketch)
        again = sketches_of(gen, gen_variables, found, part)
        return {
            "z_error": jnp.square(found - z).mean(),
            "sketch_kl": blurred_kl(again, sketch).mean(),
            "chance_kl": blurred_kl(jnp.roll(sketch, num_parts, axis=0), sketch).mean(),
        }

    return {name: float(x) for name, x in scores(trained.params, gen_variables).items()}


def add_encoder(
    model: Model, output: Path, recipe: Recipe, *, seed: int, card: str | None
) -> Model:
    """Trains an encoder and writes the model with it to a new folder.

    The generator and the discriminator are stored as they are.

    Args:
      model: the model; an encoder that it has is replaced in the new folder.
      output: holds no model yet.
      recipe: see `Recipe`.
      seed: see `train`.
      card: the model's card, to which a section is added; None has one written.

    Returns:
      The model as it was stored.

    Raises:
      ModelError: there is a model in the output folder.
      ValueError: see `train`.
    """
    if model_files.is_model_folder(output):
        raise ModelError(f"{output} holds a model already: give another --output")
    encoder, scores = train(model, recipe, seed=seed)
    facts = dataclasses.asdict(recipe) | {
        "seed": seed,
        "scores": scores,
        "generator": model_files.generator_digest(model.variables),
    }
    config = model.config | {"encoder": facts}
    model_files.save(output, model.variables, config, encoder)
    stored = model_files.load(output)
    text = (
        model_card.write_card(stored, output)
        if card is None
        else model_card.add_encoder(card, stored)
    )
    (output / model_card.FILE).write_text(text, encoding="utf-8")
    return stored


def read_card(name_or_folder: str) -> str | None:
    """The card of a bundled or published model; None of a training run, which has none.

    Where it was taken away, a card that says no more than the model's name.
    """
    try:
        folder = model_files.find_folder(name_or_folder)
    except ModelError:
        return None
    path = folder / model_card.FILE
    return path.read_text(encoding="utf-8") if path.is_file() else f"# {folder.name}\n"
