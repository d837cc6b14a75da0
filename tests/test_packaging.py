"""The package as its users get it: versions, commands, wheel."""

import configparser
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import cgan_jax

ROOT = Path(__file__).resolve().parents[1]
# What a build reads, and two folders that must stay out of the wheel.
SOURCES = (
    "setup.cfg",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "cgan_jax",
    "launch",
    "configs",
    "tests",
    "docs",
)


def read_setup_cfg():
    parser = configparser.ConfigParser(delimiters=("=",))
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def read_lines(text):
    return [line.strip() for line in text.splitlines() if line.strip()]


def read_commands():
    scripts = read_setup_cfg()["options.entry_points"]["console_scripts"]
    return dict(re.split(r"\s*=\s*", line) for line in read_lines(scripts))


def read_constraints():
    lines = read_lines((ROOT / "constraints.txt").read_text(encoding="utf-8"))
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    return {canonicalize_name(pin.name): pin for pin in pins}


def run(*command, **kwargs):
    """Runs a command; the failure of one shows what it printed."""
    result = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **kwargs,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def test_versions_agree():
    assert read_setup_cfg()["metadata"]["version"] == "attr: cgan_jax.__version__"
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    cited = re.search(r"^version: (\S+)$", citation, re.MULTILINE)
    assert cited is not None
    assert cited[1] == cgan_jax.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## {cgan_jax.__version__} " in changelog


@pytest.mark.parametrize("command", sorted(read_commands()))
def test_command_resolves_to_a_function(command):
    # A process each, since two entry points may define a flag of the same name.
    code = (
        "import sys; from importlib.metadata import EntryPoint;"
        "function = EntryPoint('command', sys.argv[1], 'console_scripts').load();"
        "assert callable(function)"
    )
    run(sys.executable, "-c", code, read_commands()[command], cwd=ROOT)


def test_package_itself_imports_nothing_heavy():
    code = (
        "import sys; import cgan_jax;"
        "print(*sorted({'jax', 'flax', 'numpy', 'PIL', 'absl'} & set(sys.modules)))"
    )
    assert run(sys.executable, "-c", code, cwd=ROOT).strip() == ""


@pytest.mark.parametrize("name", ["launch", "configs"])
def test_subpackage_is_a_relative_link(name):
    link = ROOT / "cgan_jax" / name
    assert link.is_symlink()
    assert os.readlink(link) == f"../{name}"


def test_constraints_pin_every_dependency_within_its_range():
    config = read_setup_cfg()
    needed = read_lines(config["options"]["install_requires"])
    needed += read_lines(config["options.extras_require"]["test"])
    pins = read_constraints()
    for requirement in map(Requirement, (n for n in needed if n[0] != "#")):
        pin = pins[canonicalize_name(requirement.name)]
        ((operator, version),) = [(s.operator, s.version) for s in pin.specifier]
        assert operator == "=="
        assert requirement.specifier.contains(version), f"{pin} is not {requirement}"


def test_constraints_hold_neither_tensorflow_nor_torch():
    assert not {"tensorflow", "tensorflow-cpu", "tf-nightly", "torch"} & set(
        read_constraints()
    )


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """The wheel built from a checkout, and the one built from its sdist."""
    checkout = tmp_path_factory.mktemp("checkout")
    for name in SOURCES:
        source, target = ROOT / name, checkout / name
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(source, target, symlinks=True, ignore=ignore)
        else:
            shutil.copy(source, target)
    found = []
    # Without --wheel, `build` makes an sdist and then the wheel from that.
    for name, options in (("direct", ["--wheel"]), ("from_sdist", [])):
        output = tmp_path_factory.mktemp(name)
        run(sys.executable, "-m", "build", *options, "--outdir", output, checkout)
        (wheel,) = output.glob("*.whl")
        found.append(wheel)
    return found


@pytest.mark.slow
def test_wheels_hold_the_package_and_nothing_else(wheels):
    contents = [set(zipfile.ZipFile(wheel).namelist()) for wheel in wheels]
    expected = {
        path.relative_to(ROOT).as_posix()
        for pattern in (
            "cgan_jax/*.py",
            "cgan_jax/*/*.py",
            "cgan_jax/py.typed",
            "cgan_jax/pretrained/**/*.safetensors",
            "cgan_jax/pretrained/**/*.json",
            "cgan_jax/pretrained/**/*.md",
        )
        for path in ROOT.glob(pattern)
    }
    suffixes = {Path(name).suffix for name in expected if "/pretrained/" in name}
    assert suffixes == {".safetensors", ".json", ".md"}
    subpackages = {"launch/train.py", "configs/default.py", "networks/layouts.py"}
    assert {f"cgan_jax/{name}" for name in subpackages} <= expected
    for names in contents:
        tops = {name.split("/")[0] for name in names}
        assert tops == {"cgan_jax", f"cgan_jax-{cgan_jax.__version__}.dist-info"}
        assert {name for name in names if name.startswith("cgan_jax/")} == expected


@pytest.mark.slow
def test_installed_wheel_completes_a_sketch(wheels, tmp_path):
    sketch = min((ROOT / "docs" / "sketches").glob("*.png"))
    shutil.copy(sketch, tmp_path / "sketch.png")
    venv.create(tmp_path / "venv", with_pip=True)
    bin_dir = tmp_path / "venv" / "bin"
    # Neither the checkout nor the flags of this process reach the installed one.
    hidden = ("PYTHONPATH", "XLA_FLAGS", "JAX_PLATFORMS")
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    shell = {"cwd": tmp_path, "env": env}
    pip = (bin_dir / "python", "-m", "pip", "--disable-pip-version-check")
    run(*pip, "install", "-c", ROOT / "constraints.txt", wheels[0], **shell)
    installed = run(*pip, "list", "--format=freeze", **shell)
    frameworks = r"^(tensorflow(?![-_](datasets|metadata)==)|tf.nightly|torch)\b"
    assert not re.search(frameworks, installed, re.MULTILINE)
    where = run(
        bin_dir / "python", "-c", "import cgan_jax; print(cgan_jax.__file__)", **shell
    )
    assert Path(where.strip()).is_relative_to(tmp_path)
    run(
        bin_dir / "cgan-complete",
        "--model=faces",
        "--input=sketch.png",
        "--output=completed",
        **shell,
    )
    assert (tmp_path / "completed" / "contact_sheet.png").stat().st_size > 0
