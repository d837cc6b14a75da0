"""Experiments: locked, sourced, and accepted by what they configure."""

import ast
import importlib
import io
import re
import tokenize
from pathlib import Path

import pytest

from cgan_jax import configs
from cgan_jax.configs import resolve
from cgan_jax.models import make_models
from cgan_jax.projection import Search
from cgan_jax.sketches import sketch_fn

FOLDER = Path(__file__).resolve().parents[1] / "configs"
NAMES = sorted(path.stem for path in FOLDER.glob("[!_]*.py"))
VARIANTS = [name for name in NAMES if name != "default"]
SOURCES = "slides|figure|authors' code|reproductions|request|ours"


def load(name):
    return importlib.import_module(f"cgan_jax.configs.{name}").get_config()


def flatten(config, prefix=""):
    leaves = {}
    for key, value in config.items():
        if hasattr(value, "items"):
            leaves |= flatten(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def test_the_experiments_that_the_manual_names_are_there():
    assert {"default", "faces", "tiny"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_field_with_a_typo_is_an_error(name):
    config = load(name)
    with pytest.raises(AttributeError, match="batch_size"):
        config.train.batchsize = 3
    with pytest.raises(AttributeError):
        config.sede = 1
    for section in ("data", "model", "train", "report", "projection"):
        with pytest.raises(AttributeError):
            config[section].no_such_field = 1


@pytest.mark.parametrize("name", NAMES)
def test_a_field_of_another_type_is_an_error(name):
    with pytest.raises(TypeError):
        load(name).train.batch_size = "many"


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_changes_known_fields_and_nothing_else(name):
    base, variant = flatten(load("default")), flatten(load(name))
    assert variant.keys() == base.keys()
    assert {key: type(x) for key, x in variant.items()} == {
        key: type(x) for key, x in base.items()
    }
    assert variant != base


@pytest.mark.parametrize("name", NAMES)
def test_each_call_gives_a_config_of_its_own(name):
    first = load(name)
    first.train.batch_size += 1
    assert load(name).train.batch_size == first.train.batch_size - 1


@pytest.mark.parametrize("name", NAMES)
def test_experiments_import_ml_collections_and_the_default_alone(name):
    tree = ast.parse((FOLDER / f"{name}.py").read_text())
    imported = {
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    allowed = {"import ml_collections", "from cgan_jax.configs import default"}
    assert imported <= allowed


@pytest.mark.parametrize("name", NAMES)
def test_every_value_has_its_source(name):
    code = (FOLDER / f"{name}.py").read_text()
    sourced = re.compile(rf"# .*\b({SOURCES})\b")
    comments = {
        token.start[0]: token.string
        for token in tokenize.generate_tokens(io.StringIO(code).readline)
        if token.type == tokenize.COMMENT
    }
    values = [
        node
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Attribute)
        and not isinstance(node.value, ast.Call)
    ]
    for node in values:
        # On its own line, or on the line above where that is too short.
        found = (comments.get(line, "") for line in (node.lineno, node.lineno - 1))
        assert any(map(sourced.search, found)), ast.unparse(node)
    if name == "default":
        assert len(values) == len(flatten(load("default")))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_configured_accepts_the_fields(name):
    config = load(name)
    search = Search(**config.projection)
    assert search.num_starts == config.projection.num_starts
    models = make_models(**config.model)
    assert models.gen.height == models.disc.height == config.model.height
    assert callable(sketch_fn(config.data.style))


def test_a_name_becomes_its_file_and_the_rest_stays():
    argv = ["cgan-train", "--config=tiny", "--workdir=tiny", "--config.seed=1", "tiny"]
    resolved = resolve(argv)
    assert resolved == [argv[0], f"--config={configs.__path__[0]}/tiny.py", *argv[2:]]
    assert argv[1] == "--config=tiny"


@pytest.mark.parametrize("flag", ["--config", "-config"])
def test_a_name_may_be_the_next_argument(flag):
    assert resolve(["x", flag, "faces"])[2] == f"{configs.__path__[0]}/faces.py"


@pytest.mark.parametrize(
    "argument",
    ["configs/tiny.py", "/somewhere/tiny.py", "no_such_name", "tiny.py", "./tiny"],
)
def test_paths_and_unknown_names_are_left_alone(argument):
    for argv in (["x", f"--config={argument}"], ["x", "--config", argument]):
        assert resolve(argv) == argv


def test_a_flag_without_a_value_is_left_to_the_parser():
    assert resolve(["x", "--config"]) == ["x", "--config"]
