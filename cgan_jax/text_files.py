"""Text that is written whole or not at all, reports that say their format, Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


def write(path: Path, text: str) -> None:
    """Writes under the final name once all is on the disk; an older file is replaced."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def read_report(path: Path, version: int, command: str) -> dict[str, Any]:
    """A JSON file with a `format_version`.

    Args:
      path: the file.
      version: that is read.
      command: what writes such files, for messages.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is no such file, or of another format.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path} is damaged ({error}): make it again with {command}"
        ) from error
    theirs = found.get("format_version") if isinstance(found, dict) else None
    if theirs != version:
        raise ValueError(
            f"{path} has format version {theirs}, this package reads {version}: make it "
            f"again with {command}"
        )
    return found


def table_markdown(lines: Iterable[Sequence[str]]) -> str:
    """A table: its head, its rule, its rows."""
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def figures_markdown(
    captions: Mapping[str, str], links: Mapping[str, str]
) -> list[str]:
    """Each picture that has a link, above its caption; both by the picture's name."""
    return [
        f"![{caption}]({links[name]})\n\n*{caption}.*"
        for name, caption in captions.items()
        if name in links
    ]
