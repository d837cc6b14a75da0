"""Sheets and a gallery of many results, page by page, from what lies on the disk."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cgan_jax import sheets, text_files
from cgan_jax.result_files import OVERVIEW, REPORT, TRAJECTORY
from cgan_jax.workdir import naming

PAGE = 50  # results on each sheet, and on each page of the gallery

_PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.4 sans-serif; margin: 1.5em; color: #222; background: #fff; }}
h1 {{ font-size: 1.3em; }} h2 {{ font-size: 1.05em; margin: 2em 0 .4em; }}
img {{ max-width: 100%; vertical-align: top; }} nav a, nav b {{ margin-right: .7em; }}
td, th {{ padding: 0 1em 0 0; text-align: right; font-variant-numeric: tabular-nums; }}
td:first-child, th:first-child {{ text-align: left; }}
</style>
<h1>{title}</h1>
{links}
{results}
{links}
</html>
"""


def write(output: Path, names: Sequence[str]) -> None:
    """Writes `contact_sheet.png` and `index.html`, and `_2` and so on where one is full.

    No page needs more memory than 50 results do. The pages name no other host: they open
    from the disk.

    Args:
      output: folder of the results.
      names: of finished results, in their order.

    Raises:
      OSError: a file cannot be read or written.
    """
    pages = [names[i : i + PAGE] for i in range(0, len(names), PAGE)]
    for number, page in enumerate(pages, 1):
        overviews = [sheets.read(output / name / OVERVIEW) for name in page]
        path = output / _numbered("contact_sheet.png", number)
        with naming(path):
            sheets.save(sheets.stack(overviews), path)
        path = output / _numbered("index.html", number)
        with naming(path):
            text_files.write(path, _html(output, page, number, len(pages)))


def _numbered(name: str, number: int) -> str:
    stem, suffix = name.split(".")
    return name if number == 1 else f"{stem}_{number}.{suffix}"


def _html(output: Path, names: Sequence[str], number: int, count: int) -> str:
    title = "Completions" if count == 1 else f"Completions, page {number} of {count}"
    pages = range(1, count + 1) if count > 1 else ()
    links = "\n".join(
        f"<b>{i}</b>"
        if i == number
        else f'<a href="{_numbered("index.html", i)}">{i}</a>'
        for i in pages
    )
    results = "\n".join(_result(output / name, name) for name in names)
    return _PAGE.format(title=title, links=f"<nav>{links}</nav>", results=results)


def _result(folder: Path, name: str) -> str:
    """Pictures of one result, and the losses of its answers."""
    report = json.loads((folder / REPORT).read_text())
    shown_losses = [_losses(x) for x in report["candidates"]]
    head = "".join(f"<th>{html.escape(x)}</th>" for x in shown_losses[0])
    rows = []
    for file, candidate in report["answers"].items():
        losses = shown_losses[candidate].values()
        cells = "".join(f"<td>{loss:.4f}</td>" for loss in losses)
        link = _link(name, file, f"{file}: candidate {candidate + 1}")
        rows.append(f"<tr><td>{link}</td>{cells}</tr>")
    shown = [OVERVIEW] + [x for x in report["files"] if x == TRAJECTORY]
    pictures = [_link(name, x, _image(name, x), escape=False) for x in shown]
    files = [_link(name, x, x) for x in (*report["files"], REPORT) if x not in shown]
    return "\n".join(
        [
            f"<h2>{html.escape(name)}</h2>",
            *pictures,
            f"<table><tr><th>answer</th>{head}</tr>",
            *rows,
            "</table>",
            " ".join(files),
        ]
    )


def _losses(candidate: Mapping[str, Any]) -> dict[str, float]:
    """What the table shows of a candidate, by the heads of its columns."""
    terms = {f"{part} term": x for part, x in candidate["terms"].items()}
    first, last = ("total", "contextual"), ("perceptual", "closeness")
    return {x: candidate[x] for x in first} | terms | {x: candidate[x] for x in last}


def _image(name: str, file: str) -> str:
    what = html.escape(f"{name}: {file}")
    return f'<img src="{_address(name, file)}" alt="{what}" loading="lazy">'


def _link(name: str, file: str, text: str, *, escape: bool = True) -> str:
    shown = html.escape(text) if escape else text
    return f'<a href="{_address(name, file)}">{shown}</a>'


def _address(name: str, file: str) -> str:
    return html.escape(quote(f"{name}/{file}"))
