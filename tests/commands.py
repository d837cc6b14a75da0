"""Commands in processes of their own, as users start them from a checkout."""

import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]


def run_command(name, tmp_path, *flags):
    """`launch/NAME.py --output=out`, in `tmp_path`, compiled quickly."""
    return subprocess.run(
        [sys.executable, _ROOT / "launch" / f"{name}.py", "--output=out", *flags],
        cwd=tmp_path,
        env=os.environ
        | {"PYTHONPATH": str(_ROOT), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
