"""Which choice of the training matters: a run for every setting of a grid, one by one."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ml_collections
import numpy as np
from absl import logging

from cgan_jax import (
    ablation_report,
    array_cache,
    evaluation,
    finite,
    kinds,
    plots,
    sweeps,
    text_files,
    train,
    workdir,
)
from cgan_jax.metric_writer import read_metrics
from cgan_jax.models import num_layers
from cgan_jax.projection import Search

_DONE = "finished.json"  # in a run's folder: the config that it has been trained by
_LONGEST_NAME = 120
_ELSEWHERE = ("data.source", "data.cache_dir")  # paths say nothing on a result


class Run(NamedTuple):
    """A run of the grid.

    Attributes:
      values: of the fields that are swept.
      config: with them.
      folder: its workdir.
    """

    values: dict[str, Any]
    config: ml_collections.ConfigDict
    folder: Path

    @property
    def label(self) -> str:
        """What sets it apart, in words."""
        return sweeps.label(self.values)


def make_runs(
    config: ml_collections.ConfigDict, texts: Sequence[str], output: Path
) -> tuple[Run, ...]:
    """A run for every combination of what is swept, in `output/runs`.

    Args:
      config: fields as in `configs/default.py`; the swept ones change.
      texts: as for `sweeps.parse`, of any field.
      output: the folder of the ablation.

    Raises:
      ValueError: a sweep cannot be read, a value is refused, or a folder holds a run that
        began with another config.
    """
    fields = sweeps.flatten(config.to_dict())
    grid = sweeps.combinations(sweeps.parse(texts, fields))
    return tuple(_make_run(config, values, output) for values in grid)


def _make_run(
    config: ml_collections.ConfigDict, values: dict[str, Any], output: Path
) -> Run:
    changed = copy.deepcopy(config)  # values that follow from others still do
    run = Run(values, changed, output / "runs" / _folder_name(sweeps.label(values)))
    try:
        with changed.ignore_type():  # `closeness` takes a word or a number
            changed.update_from_flattened_dict(values)
        kinds.of(changed)
        num_layers(changed.model.height)
        Search(**changed.projection)
    except (TypeError, ValueError) as error:
        raise ValueError(f"--sweep: with {run.label}, {error}") from error
    known = run.folder / "config.json"
    if known.is_file():
        before = json.loads(known.read_text())
        names = workdir.changed_fields(before, _as_json(changed))
        if names:
            raise ValueError(
                f"{run.folder} began with another {', '.join(names)}: choose another "
                "--output"
            )
    return run


def _folder_name(label: str) -> str:
    """The label without what a file system or a shell minds; still one for each label."""
    plain = label.replace(", ", ",")
    safe = re.sub(r"[^\w.,=+-]", "_", plain)[:_LONGEST_NAME]
    return safe if safe == plain else f"{safe}-{array_cache.content_key(label)[:8]}"


def _as_json(config: ml_collections.ConfigDict) -> dict[str, Any]:
    return json.loads(config.to_json())


def ablate(
    config: ml_collections.ConfigDict,
    name: str,
    texts: Sequence[str],
    output: Path,
    *,
    num_devices: int = 1,
) -> dict[str, Any]:
    """Trains every run, one after the other, and compares them in one table.

    `output` gets `runs/`, the workdirs as of `cgan-train`, and `ablation.json`,
    `ablation.md`, `ablation.csv` and `curves.png`. The same call again, after a kill, goes
    on with the run that was cut off; finished runs stay. A run whose losses are no longer
    finite is noted, and the others go on.

    Args:
      config: as for `make_runs`.
      name: of the config, for the table.
      texts: as for `make_runs`.
      output: the folder.
      num_devices: of this process, that share each batch.

    Returns:
      What `ablation.json` holds.

    Raises:
      train.Terminated: SIGTERM came; the state is saved.
      ValueError: as of `make_runs`, or a run cannot be trained; the run is named.
      OSError: a folder is in use, or a file cannot be written or read.
    """
    runs = make_runs(config, texts, output)
    failed = [_train(run, num_devices) for run in runs]
    fields = sweeps.flatten(_as_json(config))
    report = {
        "format_version": ablation_report.FORMAT_VERSION,
        "kind": ablation_report.RUNS,
        "settings": {
            "config": name,
            "sweeps": list(texts),
            "data": Path(config.data.source).name,
            "seed": config.seed,
            "fields": {n: x for n, x in fields.items() if n not in _ELSEWHERE},
        },
        "versions": evaluation.versions(["flax", "optax"]),
        "rows": [_row(run, reason) for run, reason in zip(runs, failed, strict=True)],
    }
    # One that failed before its first log line has no curve.
    drawn = [run.folder for run in runs if read_metrics(run.folder)]
    figures = {"curves": ablation_report.FIGURES["curves"]} if drawn else {}
    if drawn:
        plots.plot_runs(drawn, output / figures["curves"])
    ablation_report.write(output, report, figures)
    return report


def _train(run: Run, num_devices: int) -> str:
    """Trains a run that is not finished; returns why it cannot be, "" if it can."""
    done, wanted = run.folder / _DONE, _as_json(run.config)
    if done.is_file() and json.loads(done.read_text()) == wanted:
        logging.info("%s is finished", run.label)
        return ""
    logging.info("%s begins", run.label)
    try:
        train.train(run.config, run.folder, num_devices=num_devices)
    except finite.NonFiniteError as error:
        logging.error("%s: %s", run.label, error)
        return str(error)
    except ValueError as error:
        raise ValueError(f"{run.label}: {error}") from error
    text_files.write(done, json.dumps(wanted, indent=1) + "\n")
    return ""


def _row(run: Run, failed: str) -> dict[str, Any]:
    short = sweeps.short_names(list(run.values))
    return {
        "label": run.label,
        "values": run.values,
        "texts": {short[n]: sweeps.to_text(x) for n, x in run.values.items()},
        "run": run.folder.name,
        "failed": failed,
        "summary": summarize(read_metrics(run.folder)),
    }


def summarize(
    metrics: Sequence[Mapping[str, float | int]],
) -> dict[str, int | float | None]:
    """Where a run ended, and its best completions of held-out sketches.

    Args:
      metrics: the lines of its `metrics.jsonl`.

    Returns:
      What `ablation_report` names; None where nothing was completed on the way.
    """
    scored = [line for line in metrics if "validation_ssim" in line]
    found: dict[str, Any] = {
        "steps": int(metrics[-1]["step"]) if metrics else 0,
        "images_per_second": _median(metrics, "images_per_second"),
    }
    for part, line in (
        ("last", scored[-1] if scored else {}),
        ("best", max(scored, key=lambda line: line["validation_ssim"], default={})),
    ):
        found[f"{part}_step"] = line.get("step")
        found[f"{part}_ssim"] = line.get("validation_ssim")
        found[f"{part}_kl"] = line.get("validation_kl")
    return found


def _median(metrics: Sequence[Mapping[str, float | int]], name: str) -> float | None:
    values = [line[name] for line in metrics if name in line]
    return float(np.median(values)) if values else None
