"""Ablations as tables: what `ablation.json` holds, as Markdown and as rows of a CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from cgan_jax import intervals, scores, text_files

FORMAT_VERSION = 1
FILE = "ablation.json"
FIGURES = {"curves": "curves.png", "generated": "generated.png"}
SEARCHES, RUNS = "searches", "runs"  # kinds of ablations


class Yardstick(NamedTuple):
    """What all settings are measured by.

    Attributes:
      label: head of its column.
      better: `higher` or `lower`; "" where neither is.
      decimals: shown.
      meaning: what it is, in a sentence.
    """

    label: str
    better: Literal["higher", "lower", ""]
    decimals: int
    meaning: str


# fmt: off
YARDSTICKS = {
    "sketch_kl": Yardstick("KL", "lower", 3,
        f"D_KL(y || G) of ink in nats, epsilon {scores.KL_EPSILON}, of the true sketch y and the sketch that the answer came with; not of a sketch drawn again, as `cgan-evaluate` has it."),
    "photo_mse": Yardstick("photo MSE", "lower", 4,
        "Mean square error of the answer's photograph and the true one, in [0, 1]."),
    "ssim_luma": Yardstick("SSIM, luma", "higher", 3,
        f"Structural similarity of the same two, on luma: Gaussian window of {scores.SSIM_WINDOW}x{scores.SSIM_WINDOW} pixels, sigma {scores.SSIM_SIGMA}."),
    "perceptual": Yardstick("log(1-D)", "lower", 3,
        "How little D takes the answer for a real pair: the paper's perceptual loss, unweighted, at most 0. A search that D steers is measured by what it minimizes."),
    "mean_z2": Yardstick("mean z²", "", 3,
        "Mean square of the answer's latent: 1/3 where it lies as those that G was trained on."),
    "offset_size": Yardstick("offsets", "", 3,
        "Root mean square of the offsets of G's inner layers, in standard deviations of their channels; of searches that have some."),
}
# fmt: on
_ARROWS = {"higher": " ↑", "lower": " ↓", "": ""}


def read(path: Path) -> dict[str, Any]:
    """What `cgan-ablate` wrote; errors as of `text_files.read_report`."""
    return text_files.read_report(path, FORMAT_VERSION, "cgan-ablate")


def markdown(found: Mapping[str, Any], figures: Mapping[str, str]) -> str:
    """Everything that `ablation.json` says, as a section of Markdown.

    Args:
      found: what `read` returned.
      figures: links to pictures, by their names in `FIGURES`.
    """
    parts = _searches(found) if found["kind"] == SEARCHES else _runs(found)
    parts += text_files.figures_markdown(_captions(found), figures)
    return "\n\n".join(parts) + "\n"


def _captions(found: Mapping[str, Any]) -> dict[str, str]:
    if found["kind"] == RUNS:
        return {"curves": "Curves of the runs"}
    return {
        "curves": "Yardsticks against what is swept, with intervals of 95 %",
        "generated": "Generated, a row for each setting: the answers to the same inputs, "
        "sketch and photograph",
    }


# ---------------------------------------------------------------------- searches


def _searches(found: Mapping[str, Any]) -> list[str]:
    settings, rows = found["settings"], found["rows"]
    examples = f"{settings['num_examples']} {settings['split']} examples"
    parts = [
        f"## Ablation of the search by {_fields(found)}: {settings['model']}, {examples}",
        _describe_searches(found),
        _table(rows, "scores", costs=True),
    ]
    others = [row for row in rows if row["differences"]]
    if others:
        reference = f"Paired differences from *{settings['reference']}*"
        parts.append(f"{reference}; bold where the interval leaves 0 out:")
        parts.append(_table(others, "differences", costs=False))
    meanings = [f"- **{x.label}**: {x.meaning}" for x in measured(rows).values()]
    return [*parts, "\n".join([*meanings, _COSTS])]


_COSTS = (
    "- Passes are pictures through the generator for one example alone, forward and "
    "backward. Seconds are the median over examples of what one took under one setting; "
    "settings that ran side by side share the time. Square brackets hold "
    f"{intervals.LEVEL:.0%} intervals, by the bootstrap over the examples, which are the "
    "same for all settings."
)


def _describe_searches(found: Mapping[str, Any]) -> str:
    settings = found["settings"]
    versions = ", ".join(f"{name} {v}" for name, v in found["versions"].items())
    return (
        f"Model {settings['model']} (weights {settings['model_digest'][:12]}), data "
        f"`{settings['data']}`, style {settings['style']}, {settings['direction']}, seed "
        f"{settings['seed']}, {settings['block_size']} examples side by side. Swept: "
        f"{_swept(found)}. All else: {_search(found)}. Versions: {versions}."
    )


def _fields(found: Mapping[str, Any]) -> str:
    return ", ".join(found["rows"][0]["texts"])


def _swept(found: Mapping[str, Any]) -> str:
    return "; ".join(f"`{text}`" for text in found["settings"]["sweeps"])


def _search(found: Mapping[str, Any]) -> str:
    swept = {name.rpartition(".")[2] for name in found["rows"][0]["values"]}
    fields = found["settings"]["search"]
    return ", ".join(f"{n} {v}" for n, v in fields.items() if n not in swept)


def _table(rows: Sequence[Mapping[str, Any]], what: str, *, costs: bool) -> str:
    names = list(rows[0]["texts"])
    shown = measured(rows)
    heads = [y.label + _ARROWS[y.better] for y in shown.values()]
    lines = [[*names, *heads], ["---"] * len(names) + ["---:"] * len(heads)]
    for row in rows:
        cells = [_code(text) for text in row["texts"].values()]
        cells += [_cell(row[what].get(n), y, what) for n, y in shown.items()]
        lines.append(cells)
    if costs:
        lines[0] += ["passes", "seconds"]
        lines[1] += ["---:", "---:"]
        for line, row in zip(lines[2:], rows, strict=True):
            line += [f"{row['passes']['alone']:,}", f"{row['seconds']:.2f}"]
    return text_files.table_markdown(lines)


def measured(rows: Sequence[Mapping[str, Any]]) -> dict[str, Yardstick]:
    """The yardsticks that any of the rows has."""
    return {n: y for n, y in YARDSTICKS.items() if any(n in x["scores"] for x in rows)}


def _cell(estimate: Mapping[str, Any] | None, yardstick: Yardstick, what: str) -> str:
    """`0.312 [0.301, 0.322]`; `–` of what is not defined."""
    if estimate is None or estimate["value"] is None:
        return "–"
    sign = "+" if what == "differences" else ""
    value, low, high = (
        f"{float(estimate[key]):{sign}.{yardstick.decimals}f}"
        for key in ("value", "low", "high")
    )
    sure = what == "differences" and not (
        float(estimate["low"]) <= 0 <= float(estimate["high"])
    )
    return f"**{value}** [{low}, {high}]" if sure else f"{value} [{low}, {high}]"


def _code(text: str) -> str:
    """As code, in which a table's own bar is escaped."""
    return f"`{text or ' '}`".replace("|", "\\|")


# -------------------------------------------------------------------------- runs

_RUN_COLUMNS = {
    "steps": "steps",
    "last_ssim": "SSIM ↑, last",
    "last_kl": "KL ↓, last",
    "best_ssim": "SSIM ↑, best",
    "best_step": "at step",
    "best_kl": "KL ↓, there",
    "images_per_second": "images/s",
}


def _runs(found: Mapping[str, Any]) -> list[str]:
    settings = found["settings"]
    lines = [[*found["rows"][0]["texts"], *_RUN_COLUMNS.values()]]
    lines.append(["---:"] * len(lines[0]))
    for row in found["rows"]:
        texts = [_code(text) for text in row["texts"].values()]
        lines.append(texts + [_number(row["summary"][name]) for name in _RUN_COLUMNS])
    notes = [f"{r['label']}: {r['failed']}" for r in found["rows"] if r["failed"]]
    about = (
        f"Swept: {_swept(found)}. Data `{settings['data']}`, seed {settings['seed']}. "
        "SSIM and KL are those of the held-out sketches that are completed on the way; "
        "best is the highest SSIM, which decides the checkpoint that is kept."
    )
    head = f"## Ablation of training by {_fields(found)}: {settings['config']}"
    return [
        head,
        about,
        text_files.table_markdown(lines),
        *(f"Note: {note}" for note in notes),
    ]


def _number(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


# ------------------------------------------------------------------------- files


def write(output: Path, found: Mapping[str, Any], figures: Mapping[str, str]) -> None:
    """Writes `ablation.csv`, `ablation.md` and, last, `ablation.json`.

    Args:
      output: the folder.
      found: what the JSON file shall hold.
      figures: as for `markdown`.
    """
    write_csv(output / "ablation.csv", csv_rows(found))
    (output / "ablation.md").write_text(markdown(found, figures), encoding="utf-8")
    text = json.dumps(found, indent=1, allow_nan=False) + "\n"
    (output / FILE).write_text(text, encoding="utf-8")


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Rows below the names of their columns, which are those of any of them."""
    rows = list(rows)
    columns = dict.fromkeys(key for row in rows for key in row)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(columns), restval="")
        writer.writeheader()
        writer.writerows(rows)


def csv_rows(found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A row for each setting, of an ablation of either kind."""
    for row in found["rows"]:
        if found["kind"] == RUNS:
            yield row["texts"] | row["summary"] | {"failed": row["failed"]}
            continue
        numbers = _flat(row["scores"], "") | _flat(row["differences"], "_difference")
        costs = {"passes": row["passes"]["alone"], "seconds": row["seconds"]}
        yield row["texts"] | numbers | costs


def _flat(estimates: Mapping[str, Any], what: str) -> dict[str, Any]:
    parts = {"": "value", "_low": "low", "_high": "high"}
    return {
        f"{name}{what}{part}": estimate[key]
        for name, estimate in estimates.items()
        for part, key in parts.items()
    }
