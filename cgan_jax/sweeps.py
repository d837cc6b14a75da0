"""Sweeps: fields, the values that they take in turn, and every combination of them."""

from __future__ import annotations

import csv
import difflib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Values = tuple[Any, ...]
_MOST_CHOICES = 40  # names in a message
_KINDS = {
    bool: "is neither true nor false",
    int: "is no whole number",
    float: "is no finite number",
}


# Words that fields of numbers take besides, by their names without sections.
_WORDS = {"closeness": ("auto",)}


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The fields of a config and of its sections, by names such as `train.batch_size`."""
    leaves: dict[str, Any] = {}
    for name, value in config.items():
        if hasattr(value, "items"):
            leaves |= flatten(value, f"{prefix}{name}.")
        else:
            leaves[prefix + name] = value
    return leaves


def parse(texts: Sequence[str], fields: Mapping[str, Any]) -> dict[str, Values]:
    """The values of each field that is swept, each of the type of the field.

    Args:
      texts: `FIELD=VALUE,VALUE`. A text that holds a comma stands in double quotes.
      fields: every field that there is, and a value of its type.

    Raises:
      ValueError: there is no such field, no value, one that is none of the field's type,
        or the same field or value twice.
    """
    found: dict[str, Values] = {}
    for text in texts:
        name, equals, values = (part.strip() for part in text.partition("="))
        if not equals or not values:
            raise ValueError(f"--sweep={text} names no values: write FIELD=VALUE,VALUE")
        if name not in fields:
            raise ValueError(
                f"--sweep={text}: no field {name!r}{_choices(name, fields)}"
            )
        if name in found:
            raise ValueError(f"--sweep={text}: {name} is swept twice, join its values")
        words = _WORDS.get(name.rpartition(".")[2])
        kind = float if words else type(fields[name])
        found[name] = _values(text, values, kind, words or ())
    return found


def _choices(name: str, fields: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, fields, n=1, cutoff=0.85)
    hint = f", did you mean {near[0]!r}?" if near else ";"
    if len(fields) > _MOST_CHOICES:
        section = name.partition(".")[0]
        inside = [x for x in fields if x.startswith(f"{section}.")]
        fields = dict.fromkeys(inside or {x.partition(".")[0] + ".*" for x in fields})
    return f"{hint} Choose of {', '.join(sorted(fields))}"


def _values(text: str, values: str, kind: type, words: Values) -> Values:
    """What stands behind the `=`: words, or values of a type."""
    parts = [part.strip() for part in next(csv.reader([values], skipinitialspace=True))]
    try:
        found = tuple(x if x in words else _value(x, kind) for x in parts)
    except ValueError as error:
        raise ValueError(f"--sweep={text}: {error}") from error
    for i, value in enumerate(found):
        if value in found[:i]:
            raise ValueError(f"--sweep={text}: {to_text(value)} stands there twice")
    return found


def _value(text: str, kind: type) -> Any:
    if kind is str:
        return text
    try:
        found = {"true": True, "false": False}[text] if kind is bool else kind(text)
    except (KeyError, ValueError):
        raise ValueError(f"{text!r} {_KINDS[kind]}") from None
    if not math.isfinite(found):
        raise ValueError(f"{text!r} {_KINDS[kind]}")
    return found


def combinations(sweeps: Mapping[str, Values]) -> Iterator[dict[str, Any]]:
    """Every combination of the values, the last field's in turn first."""
    for values in itertools.product(*sweeps.values()):
        yield dict(zip(sweeps, values, strict=True))


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Each name without its section, where none are alike without."""
    short = {name: name.rpartition(".")[2] for name in names}
    return short if len(set(short.values())) == len(short) else {n: n for n in names}


def label(values: Mapping[str, Any]) -> str:
    """A setting in words, such as `perceptual_weight=0.01, mass=ink`."""
    short = short_names(list(values))
    return ", ".join(f"{short[name]}={to_text(x)}" for name, x in values.items())


def to_text(value: Any) -> str:
    """A value as `parse` reads it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.12g}"
    return str(value)
