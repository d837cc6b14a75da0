"""Experiments: locked, sourced, and accepted by what they configure."""

import ast
import importlib
import io
import json
import re
import sys
import tokenize
from pathlib import Path

import pytest
from absl import flags
from ml_collections import config_flags

from cgan_jax import configs
from cgan_jax.baselines import conditional
from cgan_jax.configs import default, presets, resolve
from cgan_jax.models import make_models
from cgan_jax.publish import contextual_arguments
from cgan_jax.search import Search
from cgan_jax.sketches import sketch_fn

FOLDER = Path(__file__).resolve().parents[1] / "configs"
NAMES = sorted(path.stem for path in FOLDER.glob("[!_]*.py") if path.stem != "presets")
VARIANTS = [name for name in NAMES if name != "default"]
SOURCES = "slides|figure|authors' code|reproductions|request|ours"


def load(name, *style):
    return importlib.import_module(f"cgan_jax.configs.{name}").get_config(*style)


def flatten(config, prefix=""):
    leaves = {}
    for key, value in config.items():
        if hasattr(value, "items"):
            leaves |= flatten(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def test_the_experiments_that_the_manual_names_are_there():
    assert {"default", "faces", "birds", "cars", "paper", "tiny"} <= set(NAMES)


@pytest.mark.parametrize("name", ["faces", "birds", "cars"])
@pytest.mark.parametrize("style", ["xdog", "fdog", "photocopy", "xdog,fdog"])
def test_pictures_of_three_kinds_in_any_styles(name, style):
    config, plain = load(name, style), load(name)
    assert flatten(config) == flatten(plain) | {"data.style": style}
    assert plain.data.style == "xdog,fdog,photocopy"
    assert (plain.model.layout, plain.train.learning_rate) == ("planes", 2e-4)
    spec = {"faces": "celeba:", "birds": "cub:", "cars": "cars:"}[name]
    assert config.data.source.startswith(spec)


def test_all_pictures_are_trained_on_alike():
    faces, birds, cars = (flatten(load(name)) for name in ("faces", "birds", "cars"))
    for config in (faces, birds, cars):
        config.pop("data.source")
    assert faces == birds == cars


def test_the_papers_recipe_is_the_default_searched_as_in_the_paper():
    paper, base = load("paper"), load("default")
    changed = {
        name: value
        for name, value in flatten(paper).items()
        if flatten(base)[name] != value
    }
    assert changed.pop("data.source").startswith("celeba:")
    assert changed.keys() and all(name.startswith("projection.") for name in changed)
    assert paper.projection == presets.get_projection("paper")
    assert (paper.model.layout, paper.model.base_filters) == ("halves", 64)
    assert paper.projection.inner_steps == 0


RATES = [
    ("xdog", 2e-4),
    ("xdog_solid", 2e-4),
    ("xdog,xdog_solid", 2e-4),
    ("fdog", 1e-5),
    ("photocopy", 1e-5),
    ("xdog,fdog", 1e-5),
]


def parsed(monkeypatch, *argv):
    """What cgan-train makes of its command line."""
    argv = resolve(["cgan-train", *argv])
    monkeypatch.setattr(sys, "argv", argv)
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values, lock_config=True)
    values(argv)
    return values.config


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("style", "rate"), RATES)
def test_a_style_has_one_learning_rate_however_it_is_said(
    monkeypatch, name, style, rate
):
    if name not in ("default", "paper", "tiny"):
        rate = 2e-4
    assert default.learning_rate(style) == rate or name not in ("default", "paper")
    first = parsed(monkeypatch, f"--config={name}:{style}")
    second = parsed(monkeypatch, f"--config={name}", f"--config.data.style={style}")
    assert first.train.learning_rate == second.train.learning_rate == rate
    assert flatten(first) == flatten(second)
    third = load(name)
    third.update_from_flattened_dict({"data.style": style})
    assert json.loads(third.to_json())["train"]["learning_rate"] == rate
    assert third.to_dict()["train"]["learning_rate"] == rate


@pytest.mark.parametrize("name", ["paper", "faces"])
def test_a_learning_rate_that_is_given_stays_whatever_the_style(monkeypatch, name):
    given = ["--config.train.learning_rate=3e-3", "--config.data.style=fdog"]
    for order in (given, given[::-1]):
        config = parsed(monkeypatch, f"--config={name}", *order)
        assert (config.train.learning_rate, config.data.style) == (3e-3, "fdog")


@pytest.mark.parametrize("name", NAMES)
def test_a_field_with_a_typo_is_an_error(name):
    config = load(name)
    with pytest.raises(AttributeError, match="batch_size"):
        config.train.batchsize = 3
    with pytest.raises(AttributeError):
        config.sede = 1
    for section in ("data", "model", "train", "report", "encoder", "projection"):
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


@pytest.mark.parametrize("name", [*NAMES, "presets"])
def test_experiments_import_ml_collections_and_the_default_alone(name):
    tree = ast.parse((FOLDER / f"{name}.py").read_text())
    imported = {
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    allowed = {
        "import ml_collections",
        "from cgan_jax.configs import default",
        "from cgan_jax.configs import default, presets",
    }
    assert imported <= allowed


@pytest.mark.parametrize("name", [*NAMES, "presets"])
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
        and ast.unparse(node.targets[0]).startswith(("config.", "search."))
        and "ConfigDict()" not in ast.unparse(node)
        and "get_projection" not in ast.unparse(node)  # sourced there
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
    if config.kind == "conditional":
        models = conditional.make_models(**conditional.arguments(config))
    else:
        models = make_models(**contextual_arguments(config))
    assert models.gen.joint.size == config.model.height
    assert models.gen.joint.sketches
    assert all(callable(sketch_fn(style)) for style in config.data.style.split(","))


@pytest.mark.parametrize("preset", presets.NAMES)
def test_a_preset_changes_fields_of_the_search_and_nothing_else(preset):
    base, changed = load("default").projection, presets.get_projection(preset)
    assert {key: type(x) for key, x in changed.items()} == {
        key: type(x) for key, x in base.items()
    }
    assert (changed == base) == (preset == "default")
    Search(**changed)


def test_the_released_code_is_told_from_the_paper():
    """Trap 3: it searches by the direction that it does not rank by."""
    paper, code = map(presets.get_projection, ("paper", "released_code"))
    assert (paper.direction, paper.start_direction) == ("y||G", "y||G")
    assert (code.direction, code.start_direction) == ("G||y", "y||G")
    assert (code.num_starts, code.num_candidates, code.num_steps) == (30, 1, 1000)
    assert (code.optimizer, code.momentum) == ("nesterov", 0.9)
    assert (paper.perceptual_weight, paper.perceptual_form) == (0.01, "log(1-D)")
    assert (code.perceptual_weight, code.perceptual_form) == (0.01, "-log(D)")


def test_a_preset_that_there_is_not_is_refused_with_the_choices():
    with pytest.raises(
        ValueError, match="no preset 'ours': .* default, fast, thorough, paper, rel"
    ):
        presets.get_projection("ours")


def test_a_name_becomes_its_file_and_the_rest_stays():
    argv = ["cgan-train", "--config=tiny", "--workdir=tiny", "--config.seed=1", "tiny"]
    resolved = resolve(argv)
    assert resolved == [argv[0], f"--config={configs.__path__[0]}/tiny.py", *argv[2:]]
    assert argv[1] == "--config=tiny"


@pytest.mark.parametrize("flag", ["--config", "-config"])
def test_a_name_may_be_the_next_argument(flag):
    assert resolve(["x", flag, "faces"])[2] == f"{configs.__path__[0]}/faces.py"


@pytest.mark.parametrize("argv", [["--config=faces:fdog"], ["--config", "faces:fdog"]])
def test_a_style_after_a_colon_reaches_the_experiment(argv):
    """Through the very flag of cgan-train."""
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values)
    values(resolve(["cgan-train", *argv]))
    assert flatten(values.config) == flatten(load("faces", "fdog"))


@pytest.mark.parametrize(
    "argument",
    [
        "configs/tiny.py",
        "/somewhere/tiny.py",
        "no_such_name",
        "no_such_name:fdog",
        "tiny.py",
        "./tiny",
    ],
)
def test_paths_and_unknown_names_are_left_alone(argument):
    for argv in (["x", f"--config={argument}"], ["x", "--config", argument]):
        assert resolve(argv) == argv


def test_a_flag_without_a_value_is_left_to_the_parser():
    assert resolve(["x", "--config"]) == ["x", "--config"]
