"""Imports point one way, and each module needs only what its role allows."""

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cgan_jax

PACKAGE = Path(cgan_jax.__file__).parent
# A module imports only what stands on an earlier line.
ORDER = [
    {"text_files"},
    {
        "configs",
        "winograd",
        "runtime",
        "workdir",
        "progress",
        "array_cache",
        "faces",
        "intervals",
        "sweeps",
    },
    {
        "images",
        "edge_flow",
        "strided_conv",
        "metric_writer",
        "step_trace",
        "parallel",
        "archives",
        "decoding",
        "sketch_errors",
    },
    {"joint"},
    {"networks"},
    {
        "sketches",
        "losses",
        "models",
        "sheets",
        "pictures",
        "augment",
        "plots",
        "distortions",
        "attributes",
    },
    {"scores"},
    {"ablation_report"},
    {
        "ablation_curves",
        "results",
        "drawings",
        "simplify",
        "ready_pairs",
        "tfds_photos",
        "model_files",
        "train_state",
        "search",
        "model_table",
    },
    {"official", "inputs", "input_files"},
    {"sources"},
    {"dataset"},
    {
        "input_pipeline",
        "train_step",
        "checkpoints",
        "finite",
        "sample",
        "sketch_files",
    },
    {"baselines"},
    {"model_card"},
    {"projection", "publish", "encoder"},
    {"validation", "block_search", "result_files"},
    {"gallery", "kinds"},
    {"train"},
    {"complete"},
    {"completer", "answers"},
    {"answer_sheets"},
    {"evaluation"},
    {"ablation", "train_ablation", "robustness", "freehand"},
    {"launch"},
]
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
DEVICE_WORDS = re.compile(r"\b((local_)?device(s|_count)|pmap|shard_map|Mesh)\b")


@functools.cache
def syntax(name):
    """The files of a module, or of a subpackage, by name."""
    files = [PACKAGE / f"{name}.py", *sorted((PACKAGE / name).glob("*.py"))]
    return {f: ast.parse(f.read_text()) for f in files if f.exists()}


def modules():
    """Names of all modules and subpackages."""
    files = {f.stem for f in PACKAGE.glob("*.py")} - {"__init__"}
    return sorted(files | {f.parent.name for f in PACKAGE.glob("*/*.py")})


def imported(nodes):
    """Full names of what the nodes import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own(names):
    """Of full names, the modules of this package."""
    return {name.split(".")[1] for name in names if name.startswith("cgan_jax.")}


def needed(name, seen=frozenset()):
    """Full names of what importing a module imports, itself or through others."""
    names = {n for tree in syntax(name).values() for n in imported(tree.body)}
    for other in own(names) - seen - {name}:
        names |= needed(other, seen | {name})
    return names


def run(code):
    """What code prints in an interpreter of its own."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_every_module_has_its_place_in_the_order():
    assert set(modules()) <= set(RANK)


@pytest.mark.parametrize("name", modules())
def test_no_arrow_points_back(name):
    for file, tree in syntax(name).items():
        for other in own(imported(ast.walk(tree))) - {name}:
            assert RANK[other] < RANK[name], f"{file} imports {other}"


@pytest.mark.parametrize(
    "name",
    [
        "networks",
        "models",
        "losses",
        "augment",
        "train_step",
        "search",
        "projection",
        "distortions",
    ],
)
def test_the_mathematics_knows_no_flags_files_or_checkpoints(name):
    tops = {n.split(".")[0] for n in needed(name)}
    assert "jax" in tops
    assert tops.isdisjoint({"absl", "orbax", "grain", "PIL", "ml_collections"})


@pytest.mark.parametrize(
    "name",
    [
        "sources",
        "sketches",
        "sketch_errors",
        "simplify",
        "sketch_files",
        "drawings",
        "dataset",
        "joint",
    ],
)
def test_the_preparation_of_data_needs_no_jax(name):
    tops = {n.split(".")[0] for n in needed(name)}
    assert "numpy" in tops
    assert tops.isdisjoint({"jax", "flax", "optax"})


def test_completing_imports_orbax_only_when_asked_for_a_run():
    assert not any(n.startswith("orbax") for n in needed("complete"))
    assert "publish" in own(
        n for tree in syntax("complete").values() for n in imported(ast.walk(tree))
    )


def test_completing_imports_no_library_of_data_sets():
    code = "import sys, cgan_jax.complete; print('tensorflow_datasets' in sys.modules)"
    assert run(code).split() == ["False"]


def test_the_defaults_need_nothing_but_their_own_format():
    for file, tree in syntax("configs").items():
        if file.stem == "__init__":
            continue
        names = set(imported(ast.walk(tree)))
        assert {n.split(".")[0] for n in names} <= {"ml_collections", "cgan_jax"}, file
        assert own(names) <= {"configs"}, file


@pytest.mark.parametrize("name", sorted(set(modules()) - {"parallel"}))
def test_only_parallel_names_devices(name):
    for file, tree in syntax(name).items():
        for node in ast.walk(tree):
            word = getattr(node, "attr", None) or getattr(node, "name", None) or ""
            assert not DEVICE_WORDS.search(word), f"{file} names {word}"


def test_parallel_names_devices():
    words = {
        getattr(node, "attr", "") for node in ast.walk(*syntax("parallel").values())
    }
    assert {"local_devices", "pmap"} <= words


# What folds joint images, and who may know of it: the networks; and the conditional GAN,
# which asks a layout what its pairs hold, and folds nothing.
OWNERS = {"joint", "networks", "models"}
DESCRIBED = {"baselines"}
# Words of code that takes a joint image apart, or puts one together, by itself.
FOLDING = re.compile(
    r"half_mask|half_of_mask|target_from_sketch|\bcomparable\b"
    r"|\bimages\.(split|join|Side)\b|from cgan_jax\.images import .*\b(split|join)\b"
    r"|\b2 \* ((\w+\.)*)(size|height|SIZE|HEIGHT)\b|\b(size|height) \* 2\b"
    r"|conca\w+\(\s*[\[(]\s*(sketch|left|grey)\w*\s*,"
    r"|stack\(\s*[\[(]\s*(sketch|left)\w*\s*,\s*(photo|right)"
    r"|\.shape\[-2\] // 2|\bh w2 3\b"
)
# Of files of other people's, and of feature maps: nothing of a joint image.
ALIKE = {
    "ready_pairs": {"2 * height"},
    "winograd": {"2 * height"},
}


@pytest.mark.parametrize("name", sorted({*modules()} - OWNERS - DESCRIBED))
def test_only_the_networks_know_of_layouts(name):
    for file, tree in syntax(name).items():
        named = {n for n in imported(ast.walk(tree)) if "cgan_jax.networks" in n}
        assert not named, f"{file} imports {named}"


@pytest.mark.parametrize("name", sorted({*modules()} - OWNERS))
def test_only_the_networks_fold(name):
    for file, tree in syntax(name).items():
        for node in ast.walk(tree):
            word = getattr(node, "attr", "")
            assert word not in {"to_image", "to_planes"}, f"{file} names {word}"


@pytest.mark.parametrize("name", sorted({*modules()} - OWNERS))
def test_no_joint_image_is_taken_apart_by_hand(name):
    for file in syntax(name):
        found = {match[0] for match in FOLDING.finditer(file.read_text())}
        assert found <= ALIKE.get(name, set()), f"{file} says {sorted(found)}"


def test_importing_the_package_imports_nothing_else():
    code = (
        "import sys; before = set(sys.modules); import cgan_jax; "
        "print(*sorted(set(sys.modules) - before))"
    )
    assert run(code).split() == ["cgan_jax"]
