"""Experiments: `default.py` holds every default, the others change fields of it."""

from pathlib import Path


def resolve(argv: list[str]) -> list[str]:
    """Turns `--config=NAME` into the file of the configuration of that name."""
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


def _file(name: str) -> str:
    bundled = Path(__file__).parent / f"{name}.py"
    return str(bundled) if bundled.is_file() and "/" not in name else name
