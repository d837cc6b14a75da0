"""Which choice of the search matters: a grid of settings on the same held-out examples."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax import lax
from jaxtyping import Array, Float, UInt8

import cgan_jax
from cgan_jax import (
    ablation_curves,
    ablation_report,
    answers,
    array_cache,
    complete,
    evaluation,
    images,
    intervals,
    losses,
    model_files,
    results,
    scores,
    sheets,
    sweeps,
)
from cgan_jax.ablation_report import FIGURES
from cgan_jax.answers import Task
from cgan_jax.block_search import search_settings
from cgan_jax.dataset import Pairs, find_or_prepare, open_pairs
from cgan_jax.joint import PHOTO
from cgan_jax.model_files import Model
from cgan_jax.models import Discriminator
from cgan_jax.progress import tracked
from cgan_jax.projection import Candidates, Search, check_encoder, count_passes
from cgan_jax.strided_conv import plain_conv

SECTION = "projection"
_SHOWN = 6  # examples on the sheet, at most
_Values = dict[str, Float[np.ndarray, " n"]]


class Setting(NamedTuple):
    """A search of the grid.

    Attributes:
      values: of the fields that are swept, by their whole names.
      search: the loss and the budget.
    """

    values: dict[str, Any]
    search: Search

    @property
    def label(self) -> str:
        """What sets it apart, in words."""
        return sweeps.label(self.values)


@dataclasses.dataclass(frozen=True)
class Plan:
    """On what the settings are compared.

    Attributes:
      direction: of `answers.DIRECTIONS`: which part is asked for.
      num_examples: drawn from the split; the same for all settings.
      reference: label of the setting that the others are paired with; the first's if "".
      seed: of the examples, the starts and the intervals.
      block_size: examples that lie side by side, each once for each setting of a group.
    """

    direction: str
    num_examples: int
    reference: str
    seed: int
    block_size: int


class Found(NamedTuple):
    """The answers of one setting.

    Attributes:
      joint: the best answer to each example, as it would be saved: its planes.
      z: its latent, in [-1, 1].
      offset_size: root mean square of its offsets; None where the search has none.
      seconds: median over examples of what one took.
    """

    joint: UInt8[np.ndarray, "n s s c"]
    z: Float[np.ndarray, "n z"]
    offset_size: Float[np.ndarray, " n"] | None
    seconds: float


def make_settings(texts: Sequence[str], base: Mapping[str, Any]) -> tuple[Setting, ...]:
    """Every combination of what is swept, in the order of the values.

    Args:
      texts: as for `sweeps.parse`; the fields begin with `projection.`.
      base: the fields of `projection.Search`, of which the swept ones change.

    Raises:
      ValueError: a sweep cannot be read, or a search refuses its values.
    """
    fields = {f"{SECTION}.{name}": value for name, value in base.items()}
    return tuple(
        _make_setting(values, base)
        for values in sweeps.combinations(sweeps.parse(texts, fields))
    )


def _make_setting(values: dict[str, Any], base: Mapping[str, Any]) -> Setting:
    changed = {name.removeprefix(f"{SECTION}."): x for name, x in values.items()}
    try:
        return Setting(values, Search(**dict(base) | changed))
    except ValueError as error:
        raise ValueError(f"--sweep: with {sweeps.label(values)}, {error}") from error


def ablate(
    model: Model,
    pairs: Pairs,
    style: str,
    settings: Sequence[Setting],
    output: Path,
    plan: Plan,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """Searches under every setting, measures the answers and writes what a paper needs.

    `output` gets `ablation.json`, `ablation.md`, `ablation.csv` (a row for each setting),
    `examples.csv` (a row for each setting and example), `curves.png`, where a number is
    swept, and `generated.png`: answers, and no picture of the data. What is found is kept
    in `output/cache`: the same call again, after a kill, does what is missing.

    Args:
      model: the model.
      pairs: the split to draw the examples from.
      style: of the sketches.
      settings: what is compared.
      output: the folder to write.
      plan: on what.
      facts: further ones for `ablation.json`: `sweeps`, the texts, and `search`, the
        fields that they change.

    Returns:
      What `ablation.json` holds.

    Raises:
      ValueError: there are too few examples, no such reference, or no encoder.
    """
    reference = _reference(settings, plan.reference)
    chosen = evaluation.choose_examples(len(pairs), plan.num_examples, plan.seed)
    task = answers.read_task(pairs, chosen, style, plan.direction)
    _, mask = task.targets(model.joint)
    for setting in settings:
        check_encoder(model.encoder, model.joint, mask, setting.search)
    found = find_all(model, task, settings, output / "cache", plan)
    values = [measure(model, task, x) for x in found]
    report = {
        "format_version": ablation_report.FORMAT_VERSION,
        "kind": ablation_report.SEARCHES,
        "settings": _facts(model, pairs, task, plan)
        | {"reference": settings[reference].label, **facts},
        "versions": evaluation.versions(),
        "rows": list(_rows(settings, found, values, reference, plan.seed)),
    }
    sheets.save(_sheet(model, task, settings, found), output / FIGURES["generated"])
    figures = {"generated": FIGURES["generated"]}
    curves = ablation_curves.draw(report)
    if curves is not None:
        figures["curves"] = FIGURES["curves"]
        curves.savefig(output / figures["curves"], dpi=100)
    rows = _example_rows(settings, values, task)
    ablation_report.write_csv(output / "examples.csv", rows)
    ablation_report.write(output, report, figures)
    return report


def ablate_files(
    model: str,
    data: str,
    split: str,
    style: str | None,
    texts: Sequence[str],
    base: Mapping[str, Any],
    output: Path,
    plan: Plan,
    *,
    cache_dir: str | Path,
) -> dict[str, Any]:
    """`ablate` for a model and data that are given by name.

    Args:
      model: a bundled model, the folder of a published one, or a workdir.
      data: a prepared data set, or a source as for `dataset.prepare_pairs`.
      split: of `data`.
      style: of the sketches; the model's first if not given.
      texts: as for `make_settings`.
      base: as for `make_settings`.
      output: the folder to write.
      plan: on what the settings are compared.
      cache_dir: holds the data sets that are prepared from sources.

    Raises:
      ModelError: there is no such model.
      FileNotFoundError: there is no such data.
      ValueError: it has no such split or style, and as of `make_settings` and `ablate`.
    """
    settings = make_settings(texts, base)
    loaded = complete.load_model(model)
    style = style or loaded.config["style"].split(",")[0]
    answers.part_of(loaded.joint, style)  # refused before anything is prepared
    folder = find_or_prepare(
        data,
        Path(cache_dir).expanduser(),
        size=loaded.joint.size,
        styles=[style],
    )
    facts = {"sweeps": list(texts), "search": dict(base)}
    pairs = open_pairs(folder, split, [style])
    return ablate(loaded, pairs, style, settings, output, plan, facts)


def _reference(settings: Sequence[Setting], label: str) -> int:
    labels = [setting.label for setting in settings]
    if label and label not in labels:
        raise ValueError(f"--reference={label}: choose one of {'; '.join(labels)}")
    return labels.index(label) if label else 0


# ------------------------------------------------------------------------ search


def find_all(
    model: Model, task: Task, settings: Sequence[Setting], cache: Path, plan: Plan
) -> list[Found]:
    """The answers of every setting; those that differ in plain numbers alone in one go.

    Args:
      model: the model.
      task: what to complete.
      settings: what is compared.
      cache: folder of one file for each example and group of settings, named after all
        that decides it, but for the code.
      plan: for the seed and the size of a block.
    """
    groups: dict[Search, list[int]] = {}
    for i, setting in enumerate(settings):
        groups.setdefault(setting.search.structure, []).append(i)
    found: dict[int, Found] = {}
    for number, places in enumerate(groups.values(), 1):
        logging.info("group %d of %d: %d settings", number, len(groups), len(places))
        searches = [settings[i].search for i in places]
        found |= zip(places, _find_group(model, task, searches, cache, plan))
    return [found[i] for i in range(len(settings))]


def _find_group(
    model: Model, task: Task, searches: list[Search], cache: Path, plan: Plan
) -> list[Found]:
    """The answers of settings of one structure; rounding depends on all of them."""
    decides = [
        model_files.digest(model),
        [dataclasses.asdict(search) for search in searches],
        plan.seed,
        plan.block_size,
        task.given,
        cgan_jax.__version__,
    ]
    paths = answers.cache_paths(cache, "sweep", decides, task)
    missing = [i for i, path in enumerate(paths) if not path.is_file()]
    if missing:
        targets, mask = task.targets(model.joint)
        stream = search_settings(
            model,
            targets[missing],
            mask,
            searches,
            seed=plan.seed,
            block_size=plan.block_size,
        )
        _save_blocks(stream, [paths[i] for i in missing], plan.block_size)
    return _read_group(paths, has_offsets=searches[0].is_inner)


def _save_blocks(
    stream: Iterable[Candidates], paths: Sequence[Path], block_size: int
) -> None:
    """Writes the best answers of each block as it comes, with its time, shared out."""
    items = zip(paths, tracked(stream, "examples", len(paths)), strict=True)
    began = time.monotonic()
    while block := list(itertools.islice(items, block_size)):
        each = (time.monotonic() - began) / len(block)
        for path, found in block:
            best = {
                "joint": images.to_uint8(np.asarray(found.joint[:, 0])),
                "z": np.asarray(found.z[:, 0]),
                "offset_size": np.asarray(found.offset_size[:, 0]),
                "seconds": np.array(each / len(found.z)),
            }
            array_cache.save(path, best)
        began = time.monotonic()


def _read_group(paths: Sequence[Path], *, has_offsets: bool) -> list[Found]:
    arrays = array_cache.load_each(paths)
    joint, z, offset_size = (
        np.stack([x[name] for x in arrays], 1) for name in ("joint", "z", "offset_size")
    )
    seconds = float(np.median([x["seconds"] for x in arrays]))
    return [
        Found(planes, latents, sizes if has_offsets else None, seconds)
        for planes, latents, sizes in zip(joint, z, offset_size, strict=True)
    ]


# -------------------------------------------------------------------- yardsticks


def measure(model: Model, task: Task, found: Found) -> _Values:
    """What `ablation_report.YARDSTICKS` names, of each example.

    Args:
      model: for its D.
      task: the truth.
      found: the answers.
    """
    joint = model.joint
    drawn, photos = (
        joint.part(jnp.asarray(found.joint, jnp.float32) / 255, name)
        for name in (answers.part_of(joint, task.style), PHOTO)
    )
    sketches, truth = (
        jnp.asarray(x, jnp.float32) / 255 for x in (task.sketches, task.photos)
    )
    disc = model.models.disc.clone(conv_fn=plain_conv)  # once: compiles at once
    planes = images.from_uint8(found.joint)
    values = {
        "sketch_kl": scores.sketch_kl(sketches, drawn),
        "photo_mse": jnp.square(photos - truth).mean((1, 2, 3)),
        "ssim_luma": scores.ssim(scores.grey(photos), scores.grey(truth)),
        "perceptual": _perceptual(disc, model.variables.disc, planes),
        "mean_z2": jnp.square(found.z).mean(-1),
    }
    if found.offset_size is not None:
        values["offset_size"] = found.offset_size
    return {name: np.asarray(x, np.float64) for name, x in values.items()}


@functools.partial(jax.jit, static_argnums=0)
def _perceptual(
    disc: Discriminator, variables: Any, joint: Float[Array, "n s s c"]
) -> Float[Array, " n"]:
    """log(1 - D) of each, one after the other: few take no less memory than many."""

    def judge(joint: Float[Array, "s s c"]) -> Float[Array, ""]:
        logits: Any = disc.apply(variables, joint[None], train=False)
        return losses.perceptual_loss(logits)[0]

    return lax.map(judge, joint)


def _rows(
    settings: Sequence[Setting],
    found: Sequence[Found],
    values: Sequence[_Values],
    reference: int,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """A row for each setting, as JSON."""
    for i, setting in enumerate(settings):
        shared = values[reference].keys() & values[i].keys()
        differences = {n: values[i][n] - values[reference][n] for n in shared}
        passes = count_passes(setting.search)
        yield {
            "label": setting.label,
            "values": setting.values,
            "texts": _texts(setting),
            "scores": _estimates(values[i], seed),
            "differences": {} if i == reference else _estimates(differences, seed),
            "passes": passes._asdict() | {"alone": passes.alone},
            "seconds": found[i].seconds,
        }


def _texts(setting: Setting) -> dict[str, str]:
    short = sweeps.short_names(list(setting.values))
    return {short[name]: sweeps.to_text(x) for name, x in setting.values.items()}


def _estimates(values: _Values, seed: int) -> dict[str, Any]:
    return {
        name: results.to_json(intervals.mean_interval(x, seed=seed))
        for name, x in values.items()
    }


# ------------------------------------------------------------------------- files


def _facts(model: Model, pairs: Pairs, task: Task, plan: Plan) -> dict[str, Any]:
    """What decides the numbers, besides the settings; folders by name alone."""
    return {
        "model": model.name,
        "model_digest": model_files.digest(model),
        "data": pairs.folder.name,
        "data_fingerprint": pairs.manifest["source"]["fingerprint"],
        "split": pairs.split,
        "size": pairs.manifest["size"],
        "style": task.style,
        **dataclasses.asdict(plan),
    }


def _example_rows(
    settings: Sequence[Setting], values: Sequence[_Values], task: Task
) -> Iterator[dict[str, Any]]:
    """One for each setting and example, for a CSV file."""
    for setting, found in zip(settings, values, strict=True):
        for i, name in enumerate(task.names):
            numbers = {key: f"{x[i]:.6g}" for key, x in found.items()}
            yield _texts(setting) | {"name": name} | numbers


def _sheet(
    model: Model, task: Task, settings: Sequence[Setting], found: Sequence[Found]
) -> sheets.Picture:
    """A row for each setting: what it is, and what was generated for the first examples."""
    names = [answers.part_of(model.joint, task.style), PHOTO]
    rows = []
    for setting, answer in zip(settings, found, strict=True):
        shown = images.from_uint8(answer.joint[:_SHOWN])
        pictures = [sheets.enlarge(x) for x in model.joint.panels(shown, names)]
        lines = [f"{name}\n  {text}" for name, text in _texts(setting).items()]
        label = sheets.text_picture("\n".join(lines), len(pictures[0]))
        rows.append([label, *pictures])
    captions = [f"answer {i}" for i in range(1, len(rows[0]))]
    return sheets.captioned_grid(rows, ["setting", *captions])
