"""Experiments: `default.py` holds every default, the others change fields of it."""

from pathlib import Path


def resolve(argv: list[str]) -> list[str]:
    """Turns `--config=NAME` or `NAME:STYLE` into the file of that name, and the style."""
    argv = list(argv)
    for i, argument in enumerate(argv):
        flag, equals, value = argument.partition("=")
        if flag not in ("-config", "--config"):
            continue
        if equals:
            argv[i] = f"{flag}={_file(value)}"
        elif i + 1 < len(argv):
            argv[i + 1] = _file(argv[i + 1])
    return argv


def _file(value: str) -> str:
    name, colon, style = value.partition(":")
    bundled = Path(__file__).parent / f"{name}.py"
    known = bundled.is_file() and "/" not in name
    return f"{bundled}{colon}{style}" if known else value
