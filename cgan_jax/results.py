"""Tables of scores: what `scores.json` and its like hold, as Markdown."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from cgan_jax import ablation_report, attributes, intervals, scores, text_files

FORMAT_VERSION = 1
SCORES_FILE, FIGURE_SUFFIX = "scores.json", "_generated.png"
DISTORTION_FILE, CURVES_FILE = "distortion.json", "distortion_curves.png"
REALISM_FIGURE = "realism_likeness.png"
FREEHAND_FILE, FREEHAND_FIGURE = "freehand.json", f"freehand{FIGURE_SUFFIX}"
FREEHAND_SHOWN = 50  # drawings, at most, on a sheet
UNDISTORTED = "none"  # the kind of what is not distorted, in place of one
KERNEL, FRECHET, ATTRIBUTE = "kernel_distance", "frechet_distance", "attribute"
_REALISM_CAPTION = {
    REALISM_FIGURE: "Realism against likeness, with 95 % intervals: a point for each method, "
    "or its way from no distortion, the large marker, to the strongest"
}
Kind = Literal["number", "percent", "thousandths"]
FACTORS: dict[Kind, int] = {"number": 1, "percent": 100, "thousandths": 1000}
ENDS = ("value", "low", "high")  # of an estimate as JSON


class Score(NamedTuple):
    """How a score is shown.

    Attributes:
      group: the table that it stands in.
      label: head of its column.
      better: `higher` or `lower`; "" where neither is.
      kind: whether it is multiplied by 100 (a share) or by 1000.
      decimals: shown.
      meaning: what it is, in a sentence.
    """

    group: str
    label: str
    better: Literal["higher", "lower", ""]
    kind: Kind
    decimals: int
    meaning: str


_LIKENESS, _PERSON = "Likeness to the photograph", "The person"
_SKETCH, _REALISM = "The sketch", "Realism and diversity"
_ATTRIBUTES = "Attributes that are kept"
_WINDOW = (
    f"Gaussian window of {scores.SSIM_WINDOW}x{scores.SSIM_WINDOW} pixels, "
    f"sigma {scores.SSIM_SIGMA}, data range 1 for pictures in [0, 1]"
)
# fmt: off
SCORES: dict[str, Score] = {
    "ssim": Score(_LIKENESS, "SSIM", "higher", "number", 3,
        f"Structural similarity in colour, mean over channels: {_WINDOW}."),
    "ssim_luma": Score(_LIKENESS, "SSIM, luma", "higher", "number", 3,
        f"Structural similarity on luma alone, since a sketch holds no colour, whether it is given or asked for: {_WINDOW}."),
    "psnr": Score(_LIKENESS, "PSNR (dB)", "higher", "number", 2,
        "Peak signal-to-noise ratio in colour, data range 1; the mean of the examples' decibels."),
    "psnr_luma": Score(_LIKENESS, "PSNR, luma (dB)", "higher", "number", 2,
        "Peak signal-to-noise ratio on luma alone, likewise."),
    "face_found": Score(_PERSON, "face found", "higher", "percent", 1,
        "Share of answers in which dlib's frontal face detector finds a face, enlarged to 256x256 pixels."),
    "face_distance": Score(_PERSON, "face distance", "lower", "number", 3,
        "Distance of dlib's face descriptors of the answer and the true photograph, where both have one."),
    "verified": Score(_PERSON, "verified", "higher", "percent", 1,
        f"Share of answers whose distance is at most {scores.SAME_PERSON}; an answer without a face is a failure; true photographs without one are left out."),
    "rank_1": Score(_PERSON, "rank 1", "higher", "percent", 1,
        "Identification: share of answers whose nearest face in a gallery of one other photograph of each person with two or more is the right person's; an answer without a face is a failure."),
    "rank_10": Score(_PERSON, "rank 10", "higher", "percent", 1,
        "Share of answers whose right person is among the nearest ten."),
    "sketch_kl": Score(_SKETCH, "KL", "lower", "number", 3,
        f"D_KL(y || G) of ink in nats, epsilon {scores.KL_EPSILON}, of the input y and the answer drawn again in its style, at the photograph's own size. Inputs were drawn from larger photographs: the true photograph's row is what can be reached. Where the sketch is asked for (photo2sketch), of the true sketch y and the answer itself."),
    "sketch_f": Score(_SKETCH, "F-score", "higher", "number", 3,
        f"Harmonic mean of precision and recall of the strokes (ink above {scores.STROKE_INK}) of the answer drawn again, within {scores.STROKE_TOLERANCE:g} pixel of those of the input. Where the sketch is asked for, of the answer itself, against the true sketch."),
    KERNEL: Score(_REALISM, "kernel distance x 1000", "lower", "thousandths", 2,
        "Squared maximum mean discrepancy, unbiased, cubic polynomial kernel, to pictures of the same split that are no examples; over the features that are named."),
    FRECHET: Score(_REALISM, "Frechet distance", "lower", "number", 3,
        "Of Gaussians fitted to the same features; from 500 examples and 500 other photographs on. The features are not Inception's: it is no FID."),
    "diversity": Score(_REALISM, "diversity", "", "number", 3,
        "Mean root mean square difference, in [0, 1], of two of a method's answers to one sketch."),
    ATTRIBUTE: Score(_ATTRIBUTES, "attributes", "higher", "number", 2,
        "Spearman's correlation, over the examples of which both have a face, of an attribute of the answer and of the true photograph: 1 is kept, 0 is lost. Crude proxies, in boxes placed by dlib's five landmarks: "
        + "; ".join(f"*{name}*, {meaning}" for name, meaning in attributes.MEANINGS.items())
        + ". What can be reached is in the rows of the true photograph, changed in ways that should not matter."),
}
# fmt: on


def describe(name: str) -> Score:
    """How a score is shown; `kernel_distance/FEATURES` names its features in its label."""
    kind, _, which = name.partition("/")
    score = SCORES[kind]
    if not which:
        return score
    return score._replace(
        label=which if kind == ATTRIBUTE else f"{score.label}, {which}"
    )


def head(name: str) -> str:
    """A score's label, with an arrow that says which way is better."""
    arrows = {"higher": " ↑", "lower": " ↓", "": ""}
    return describe(name).label + arrows[describe(name).better]


def to_json(estimate: intervals.Estimate) -> dict[str, Any]:
    """An estimate as JSON, which has neither infinity (here "inf") nor NaN (null)."""
    numbers = {
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
    }
    told = {key: _to_number(value) for key, value in numbers.items()}
    return told | {"num_examples": estimate.num_examples}


def to_arrays(
    scores_of: Sequence[Mapping[str, Any]], name: str
) -> Float[np.ndarray, "3 n"]:
    """One score of several methods, in the units of the tables: `ENDS` in their order.

    Args:
      scores_of: estimates as JSON, by the names of the scores.
      name: of the score; NaN where it is missing or not defined.
    """
    nothing = dict.fromkeys(ENDS)
    found = [[(of.get(name) or nothing)[end] for of in scores_of] for end in ENDS]
    # None, what is not defined, becomes NaN.
    return FACTORS[describe(name).kind] * np.array(found, np.float64)


def axis_label(name: str) -> str:
    """A score beside an axis: its head and its unit."""
    return head(name) + (" (%)" if describe(name).kind == "percent" else "")


def _to_number(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    return str(value) if math.isinf(value) else value


def read(path: Path) -> dict[str, Any]:
    """What a command that scores wrote; errors as of `text_files.read_report`."""
    commands = "cgan-evaluate, cgan-distort or cgan-freehand"
    return text_files.read_report(path, FORMAT_VERSION, commands)


def markdown(found: Mapping[str, Any], figures: Mapping[str, str]) -> str:
    """`distortion_markdown` or `evaluation_markdown`, whichever a file is for."""
    if _is_distortion(found):
        return distortion_markdown(found, figures)
    return evaluation_markdown(found, figures)


def evaluation_markdown(found: Mapping[str, Any], figures: Mapping[str, str]) -> str:
    """Everything that `scores.json` or `freehand.json` says, as sections of Markdown.

    Args:
      found: what `read` returned.
      figures: links to pictures, by the names of their files.
    """
    settings = found["settings"]
    lines = [f"## {_name(settings)}: {_examples(found)}", _describe_run(found)]
    lines += [f"Note: {note}" for note in found["notes"]]
    lines += text_files.figures_markdown(_REALISM_CAPTION, figures)
    if _is_freehand(found):
        lines.append(_describe_drawings(settings))
    for table in found["tables"]:
        lines += _table_sections(table, settings["compare_to"])
        lines += text_files.figures_markdown(_table_figures(found, table), figures)
    return "\n\n".join(lines) + "\n"


def _examples(found: Mapping[str, Any]) -> str:
    settings = found["settings"]
    split = f"{settings['split']} examples"
    what = "drawings by hand" if _is_freehand(found) else split
    return f"{settings['num_examples']} {what}"


def distortion_markdown(found: Mapping[str, Any], figures: Mapping[str, str]) -> str:
    """Everything that `distortion.json` says, as sections of Markdown.

    Args:
      found: what `read` returned.
      figures: links to pictures, by the names of their files.
    """
    settings = found["settings"]
    lines = [f"## {_name(settings)}: distorted sketches, {_examples(found)}"]
    lines += [_describe_run(found), *(f"Note: {note}" for note in found["notes"])]
    lines += text_files.figures_markdown(_distortion_figures(found), figures)
    for kind, meaning in settings["kinds"].items():
        rows = [r for r in found["rows"] if r["kind"] in (UNDISTORTED, kind)]
        lines += [f"### {kind}: {meaning}", *_strength_sections(rows)]
    return "\n\n".join(lines) + "\n"


def _strength_sections(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Tables of one kind of distortion, method by method in order of strength."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    ordered = sorted(rows, key=lambda row: methods.index(row["method"]))
    by_label = {f"{row['label']}, {row['strength']:g}": row for row in ordered}
    labels = {label: label for label in by_label}
    names = _in_order(dict.fromkeys(n for row in rows for n in row["scores"]))
    values = {label: row["scores"] for label, row in by_label.items()}
    paired = {k: row["differences"] for k, row in by_label.items() if row["strength"]}
    changes = _markdown_table(
        "Difference from no distortion", names, labels, paired, signed=True
    )
    return [
        _markdown_table("Method, strength", names, labels, values, signed=False),
        _strongest(ordered),
        f"<details><summary>Paired differences</summary>\n\n{changes}\n\n</details>",
    ]


def _strongest(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the strongest distortion did to each method, by the intervals alone."""
    last = {row["method"]: row for row in rows if row["strength"]}
    told = [
        f"- *{row['label']}* is {_verdicts(row['differences'], of_reference=False)}."
        for row in last.values()
    ]
    strength = max(row["strength"] for row in rows)
    return f"Plainly, at strength {strength:g} instead of 0:\n\n" + "\n".join(told)


def definitions_markdown(names: Iterable[str]) -> str:
    """What the scores mean, a line for each, and how their intervals come about."""
    kinds = dict.fromkeys(name.partition("/")[0] for name in names)
    lines = [f"- **{SCORES[kind].label}**: {SCORES[kind].meaning}" for kind in kinds]
    lines.append(
        f"- Intervals hold {intervals.LEVEL:.0%}: of means by the bootstrap over examples "
        f"({intervals.NUM_RESAMPLES} draws, percentiles), of distances between sets by "
        f"{intervals.NUM_SUBSETS} halves without replacement. Differences are paired: all "
        "methods answer the same examples."
    )
    return "\n".join(lines) + "\n"


def stem(direction: str, style: str) -> str:
    """What the names of a table's pictures begin with."""
    return f"{direction}_{style}"


def score_names(found: Mapping[str, Any]) -> list[str]:
    """The names of all scores in a file, in the order of `SCORES`."""
    scored = found["rows"] if _is_distortion(found) else _methods(found)
    return _in_order(dict.fromkeys(name for one in scored for name in one["scores"]))


def _methods(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [m for table in found["tables"] for m in table["methods"].values()]


def _is_distortion(found: Mapping[str, Any]) -> bool:
    """Whether `cgan-distort` wrote it."""
    return "rows" in found


def _is_freehand(found: Mapping[str, Any]) -> bool:
    """Whether `cgan-freehand` wrote it."""
    return "drawings" in found["settings"]


def _describe_drawings(settings: Mapping[str, Any]) -> str:
    reading = _join(f"{name} {value}" for name, value in settings["reading"].items())
    names = _join(f"`{name}`" for name in settings["drawings"])
    return (
        f"The drawings were read with {reading}.\n\n<details><summary>Their names, in their "
        f"order</summary>\n\n{names}\n\n</details>"
    )


def _in_order(names: Iterable[str]) -> list[str]:
    order = list(SCORES)
    return sorted(names, key=lambda name: order.index(name.partition("/")[0]))


def _describe_run(found: Mapping[str, Any]) -> str:
    settings, wall = found["settings"], found["wall_time_seconds"]
    took = [f"{name} {_duration(s)}" for name, s in wall["answers"].items()]
    versions = _join(f"{name} {version}" for name, version in found["versions"].items())
    people = settings["num_people"]
    gallery = f"; {people} people are in the gallery" if people else ""
    return (
        f"{_describe_models(settings)}, data "
        f"`{settings['data']}`, seed {settings['seed']}. {_describe_search(settings)} "
        f"Realism is compared with {settings['num_references']} other photographs"
        f"{gallery}. "
        f"Wall time {_duration(wall['total'])}, of it {_duration(wall['scoring'])} for the "
        f"scores. The answers took, when they were computed: {_join(took)}. "
        f"Versions: {versions}."
    )


def _describe_search(settings: Mapping[str, Any]) -> str:
    search = settings["search"]
    if search is None:
        return "No model was asked."
    own = search.get("encoder_starts", 0)  # older scores know of none
    encoder = f" and {own} of the encoder" if own else ""
    return (
        f"Search: best of {search['num_starts']} starts{encoder}, "
        f"{search['num_candidates']} "
        f"candidates, {search['num_steps']} steps, D's weight "
        f"{search['perceptual_weight']:g}{_describe_inner(search)}."
    )


def _name(settings: Mapping[str, Any]) -> str:
    """Of the model, or of the conditional GAN where no model was asked."""
    conditional = settings.get("conditional")  # older scores know of none
    return (
        conditional
        if conditional and not settings["model_digest"]
        else settings["model"]
    )


def _describe_models(settings: Mapping[str, Any]) -> str:
    model, conditional = settings["model"], settings.get("conditional")
    told = []
    if settings["model_digest"] or not conditional:
        told.append(f"Model {model} (weights {settings['model_digest'][:12]})")
    if conditional:
        digest = settings["conditional_digest"][:12]
        told.append(f"conditional GAN {conditional} (weights {digest})")
    return _join(told)


def _describe_inner(search: Mapping[str, Any]) -> str:
    steps = search.get("inner_steps", 0)  # older scores know of none
    if not steps:
        return ""
    return f"; then {steps} steps inside the generator, closeness {search['closeness']}"


def _table_sections(table: Mapping[str, Any], compare_to: str) -> list[str]:
    lines = [f"### {table['direction']}, {table['style']}"]
    labels = {name: method["label"] for name, method in table["methods"].items()}
    names = score_names({"tables": [table]})
    for group in dict.fromkeys(describe(name).group for name in names):
        columns = [name for name in names if describe(name).group == group]
        found = {m: v["scores"] for m, v in table["methods"].items()}
        for label, ceiling in table.get("ceilings", {}).items():  # older scores: none
            if not ceiling.keys().isdisjoint(columns):
                found[label], labels[label] = ceiling, label
        lines.append(_markdown_table(group, columns, labels, found, signed=False))
    if table["differences"]:
        lines.append(_reading(table, labels, compare_to))
        columns = [name for name in names if _has_difference(name, table)]
        title = f"Difference from: {labels[compare_to]}"
        lines.append(
            "<details><summary>Paired differences</summary>\n\n"
            + _markdown_table(title, columns, labels, table["differences"], signed=True)
            + "\n\n</details>"
        )
    return lines


def _has_difference(name: str, table: Mapping[str, Any]) -> bool:
    return any(name in found for found in table["differences"].values())


def _markdown_table(
    title: str,
    columns: Sequence[str],
    labels: Mapping[str, str],
    found: Mapping[str, Mapping[str, Any]],
    *,
    signed: bool,
) -> str:
    rows = [[f"**{title}**", *map(head, columns)], ["---", *["---:"] * len(columns)]]
    for method, scores_of in found.items():
        cells = [_cell(name, scores_of.get(name), signed) for name in columns]
        rows.append([labels[method], *cells])
    return text_files.table_markdown(rows)


def _cell(name: str, estimate: Mapping[str, Any] | None, signed: bool) -> str:
    """`0.312 [0.301, 0.322]`; `–` of what is not defined."""
    if estimate is None or estimate["value"] is None:
        return "–"
    score = describe(name)
    factor = FACTORS[score.kind]
    value, low, high = (
        _number(factor * float(estimate[key]), score.decimals, signed)
        for key in ("value", "low", "high")
    )
    unit = " %" if score.kind == "percent" else ""
    same = value == low == high
    return f"{value}{unit}" if same else f"{value}{unit} [{low}, {high}]"


def _number(value: float, decimals: int, signed: bool) -> str:
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:{'+' if signed else ''}.{decimals}f}"


def _reading(
    table: Mapping[str, Any], labels: Mapping[str, str], compare_to: str
) -> str:
    """Where the reference method wins and loses, by the intervals alone."""
    lines = [f"Plainly, **{labels[compare_to]}** is:"]
    for method, found in table["differences"].items():
        told = _verdicts(found, of_reference=True)
        lines.append(f"- against *{labels[method]}*: {told}.")
    return lines[0] + "\n\n" + "\n".join(lines[1:])


def _verdicts(found: Mapping[str, Mapping[str, Any]], *, of_reference: bool) -> str:
    """In which scores a method is better, worse or neither.

    Args:
      found: differences of a method's scores from the reference's.
      of_reference: whether the reference is judged, or the other method.
    """
    verdicts: dict[str, list[str]] = {"better": [], "worse": [], "undecided": []}
    for name in _in_order(found):
        if describe(name).better and found[name]["value"] is not None:
            verdict = _verdict(name, found[name], of_reference)
            verdicts[verdict].append(describe(name).label)
    told = [f"{v} in {_join(which)}" for v, which in verdicts.items() if which]
    return "; ".join(told) or "not compared"


def _verdict(name: str, difference: Mapping[str, Any], of_reference: bool) -> str:
    low, high = float(difference["low"]), float(difference["high"])
    if low <= 0 <= high:
        return "undecided"
    higher_is_better = describe(name).better == "higher"
    gained = (low > 0) == higher_is_better
    return "better" if gained != of_reference else "worse"


def _join(parts: Iterable[str]) -> str:
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def write_document(paths: Sequence[Path], output: Path) -> None:
    """Writes a document of all evaluations, and copies the pictures that they generated.

    Args:
      paths: files `scores.json`, `distortion.json`, `freehand.json` and `ablation.json`, in
        the order in which they shall appear.
      output: the document, such as `docs/results.md`; pictures go to `figures/` beside it.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is damaged, or of another format; or two folders have one name.
    """
    resolved = [path.resolve() for path in paths]
    folders = list(dict.fromkeys(path.parent for path in resolved))
    names = [folder.name for folder in folders]
    if len(set(names)) < len(folders) or len(set(resolved)) < len(paths):
        raise ValueError(
            f"two of the folders {', '.join(names)} have one name, which their pictures "
            "would share: rename one"
        )
    read_all = [(path, _reader(path)(path)) for path in paths]
    introduction = (
        "# Results\n\nWritten by `cgan-results` from the files of `cgan-evaluate`, "
        "`cgan-distort`, `cgan-freehand` and `cgan-ablate`; nothing is left out. Square "
        "brackets hold 95 % intervals; arrows show which way is better.\n"
    )
    folder = output.parent / "figures"
    sections = [introduction]
    sections += [_section(path, found, folder) for path, found in read_all]
    scored = [found for path, found in read_all if not _is_ablation(path)]
    defined = dict.fromkeys(name for found in scored for name in score_names(found))
    if defined:
        sections.append("## What the scores are\n\n" + definitions_markdown(defined))
    output.parent.mkdir(parents=True, exist_ok=True)
    text_files.write(output, "\n".join(sections))


def _is_ablation(path: Path) -> bool:
    return path.name == ablation_report.FILE


def _reader(path: Path) -> Callable[[Path], dict[str, Any]]:
    return ablation_report.read if _is_ablation(path) else read


def _section(path: Path, found: Mapping[str, Any], folder: Path) -> str:
    """What a file says; its pictures are copied to the folder."""
    if _is_ablation(path):
        figures = _copy(path, ablation_report.FIGURES, folder)
        return ablation_report.markdown(found, figures)
    figures = _copy(path, {file: file for file in _figures(found)}, folder)
    return markdown(found, figures)


def _copy(path: Path, figures: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Copies pictures from beside a file; links to those that there are, by their names."""
    links = {}
    for which, file in figures.items():
        source = path.parent / file
        if source.is_file():
            copy = file.replace(FIGURE_SUFFIX, ".png")
            name = f"results_{path.resolve().parent.name}_{copy}"
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / name)
            links[which] = f"{folder.name}/{name}"
    return links


def _figures(found: Mapping[str, Any]) -> list[str]:
    """The files of the pictures that may be shown."""
    if _is_distortion(found):
        return list(_distortion_figures(found))
    of_tables = [f for table in found["tables"] for f in _table_figures(found, table)]
    return [REALISM_FIGURE, *of_tables]


def _table_figures(
    found: Mapping[str, Any], table: Mapping[str, Any]
) -> dict[str, str]:
    """Captions of a table's pictures, by their files."""
    if _is_freehand(found):
        told = f"Generated from the drawings, row by row in their order, at most {FREEHAND_SHOWN}"
        return {FREEHAND_FIGURE: told}
    first = next(iter(table["methods"].values()))["label"]
    which = stem(table["direction"], table["style"])
    captions = {
        f"{which}{FIGURE_SUFFIX}": f"Generated: the best three answers, the median, the worst, by the luma SSIM of the {first}"
    }
    if "ceilings" in table:
        told = f"Generated: for each attribute the answers of the {first} that miss it most"
        captions[f"{which}_attributes{FIGURE_SUFFIX}"] = told
    return captions


def _distortion_figures(found: Mapping[str, Any]) -> dict[str, str]:
    """Captions of the pictures of distorted sketches, by their files."""
    labels = {row["method"]: row["label"] for row in found["rows"]}
    return {
        CURVES_FILE: "Scores against the strength of each distortion; bands hold 95 % intervals",
        **_REALISM_CAPTION,
    } | {
        generated_file(method): f"Generated from distorted sketches: {label}"
        for method, label in labels.items()
    }


def generated_file(method: str) -> str:
    """The name of the sheet of what a method generated from distorted sketches."""
    return f"distortion_{method}{FIGURE_SUFFIX}"
