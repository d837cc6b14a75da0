"""Published models: what is stored, how exactly, and what is said of a broken one."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from tiny_models import (
    CONFIG,
    CONFIGS,
    LAYOUTS,
    random_variables,
    save_random_model,
    tiny_models,
)

from cgan_jax import model_files
from cgan_jax.model_files import ModelError
from cgan_jax.models import recompute_statistics

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module", params=LAYOUTS)
def layout(request):
    return request.param


@pytest.fixture(scope="module")
def variables(layout):
    return random_variables(0, layout)


@pytest.fixture
def folder(tmp_path, layout, variables):
    model_files.save(tmp_path / "model", variables, CONFIGS[layout])
    return tmp_path / "model"


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    """A package that comes with two models."""
    monkeypatch.setattr(model_files, "_PRETRAINED", tmp_path / "pretrained")
    for seed, name in enumerate(("dogs", "cats")):
        save_random_model(tmp_path / "pretrained" / name, seed)


def change_config(folder, change):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def flatten(variables):
    return flatten_dict(variables._asdict(), sep="/")


def test_kernels_come_back_rounded_to_16_bits_and_all_else_exactly(folder, variables):
    loaded, stored = flatten(model_files.load(folder).variables), flatten(variables)
    assert loaded.keys() == stored.keys()
    for name, x in stored.items():
        assert loaded[name].dtype == np.float32
        if not name.endswith("kernel"):
            np.testing.assert_array_equal(loaded[name], x)
            continue
        np.testing.assert_allclose(loaded[name], x, rtol=2**-11, atol=2**-25)
        assert not np.array_equal(loaded[name], x)


def test_the_file_holds_16_bits_of_kernels_and_32_of_the_rest(folder):
    kinds = {}
    with safe_open(folder / "weights.safetensors", "numpy") as file:
        for name in sorted(file.keys()):
            kinds.setdefault(name.split("/")[-1], set()).add(
                file.get_slice(name).get_dtype()
            )
    assert kinds.pop("kernel") == {"F16"}
    names = ("bias", "scale", "mean", "var", "std_0", "std_1")
    assert kinds == {name: {"F32"} for name in names}


def test_a_stored_model_is_stored_again_without_further_loss(folder, tmp_path):
    model_files.save(tmp_path / "again", model_files.load(folder).variables, CONFIG)
    first, second = (
        (path / "weights.safetensors").read_bytes()
        for path in (folder, tmp_path / "again")
    )
    assert first == second


def test_the_config_builds_the_models_and_keeps_facts_it_does_not_know(layout, folder):
    change_config(folder, lambda config: config.update(trained_by="somebody"))
    model = model_files.load(folder)
    assert model.name == "model"
    assert model.models == tiny_models(layout)
    assert model.joint.sketches == tuple(LAYOUTS[layout]["styles"])
    known = CONFIGS[layout] | {"format_version": 2}
    assert model.config == known | {"trained_by": "somebody"}


def test_a_loaded_model_runs(folder):
    model = model_files.load(str(folder))

    def judge(variables, z):
        joint = model.models.gen.apply(variables.gen, z, train=False)
        return model.models.disc.apply(variables.disc, joint, train=False)

    logits = jax.eval_shape(judge, model.variables, jnp.zeros((2, 8)))
    assert logits.shape == (2,)


def test_saving_replaces_an_older_model(layout, folder):
    newer = random_variables(1, layout)
    model_files.save(folder, newer, CONFIGS[layout] | {"steps": 8})
    model = model_files.load(folder)
    assert model.config["steps"] == 8
    np.testing.assert_array_equal(
        model.variables.gen["params"]["bn_0"]["scale"],
        newer.gen["params"]["bn_0"]["scale"],
    )
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "weights.safetensors",
    ]


def test_a_missing_model_gives_the_names_there_are(bundle):
    message = r"no model 'horses': give one of \['cats', 'dogs'\], or a folder"
    with pytest.raises(ModelError, match=message):
        model_files.load("horses")


def test_a_bundled_model_loads_by_its_name(bundle):
    model = model_files.load("cats")
    assert model.name == "cats"
    np.testing.assert_array_equal(
        model.variables.gen["batch_stats"]["bn_0"]["mean"],
        random_variables(1).gen["batch_stats"]["bn_0"]["mean"],
    )


def test_a_folder_that_is_no_model_does_not_hide_a_bundled_one(
    bundle, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cats").mkdir()
    assert model_files.load("cats").name == "cats"


@pytest.mark.parametrize("missing", ["config.json", "weights.safetensors"])
def test_half_a_model_is_none(folder, missing):
    (folder / missing).unlink()
    with pytest.raises(ModelError, match=re.escape(f"no model '{folder}'")):
        model_files.load(folder)


@pytest.mark.parametrize("version", [3, None])
def test_another_format_version_is_refused(folder, version):
    change_config(folder, lambda config: config.update(format_version=version))
    message = f"{folder} has format version {version}.*reads up to 2.*install a newer"
    with pytest.raises(ModelError, match=message):
        model_files.load(folder)


def cut_weights(folder):
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def empty_weights(folder):
    (folder / "weights.safetensors").write_bytes(b"")


def lose_discriminator(folder):
    path = folder / "weights.safetensors"
    tensors = load_file(path)
    save_file({k: x for k, x in tensors.items() if k.startswith("gen/")}, path)


def cut_config(folder):
    path = folder / "config.json"
    path.write_text(path.read_text()[:-10])


def garble_config(folder):
    (folder / "config.json").write_bytes(b"\xff\xfe\x00{")


def lose_arguments(folder):
    change_config(folder, lambda config: config.pop("model"))


def lose_an_argument(folder):
    change_config(folder, lambda config: config["model"].pop("z_dim"))


def add_an_argument(folder):
    change_config(folder, lambda config: config["model"].update(attention=True))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut_weights, ""),
        (empty_weights, ""),
        (lose_discriminator, "disc"),
        (cut_config, ""),
        (garble_config, ""),
        (lose_arguments, "model"),
        (lose_an_argument, "z_dim"),
        (add_an_argument, "attention"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_damaged_model_is_named_and_the_way_out_as_well(folder, damage, reason):
    damage(folder)
    with pytest.raises(ModelError, match=f"{folder} is damaged.*{reason}.*copy it"):
        model_files.load(folder)


def age(folder):
    """Takes from a model what those of before there were layouts and offsets lack."""
    change_config(folder, lambda config: config["model"].pop("layout"))
    change_config(folder, lambda config: config["model"].pop("styles"))
    change_config(folder, lambda config: config["model"].pop("kernel_size"))
    path = folder / "weights.safetensors"
    tensors = load_file(path)
    save_file({k: x for k, x in tensors.items() if "spread" not in k}, path)


@pytest.fixture
def older(tmp_path):
    """A model, and what it was before it aged."""
    save_random_model(tmp_path / "older")
    model = model_files.load(tmp_path / "older")
    age(tmp_path / "older")
    return tmp_path / "older", model


def test_an_older_model_is_the_same_one_of_halves(older):
    folder, before = older
    model = model_files.load(folder)
    assert model.config == before.config and model.models == before.models
    assert model.config["model"]["layout"] == "halves"
    for name in ("params", "batch_stats"):
        jax.tree.map(
            np.testing.assert_array_equal,
            model.variables.gen[name],
            before.variables.gen[name],
        )
    jax.tree.map(
        np.testing.assert_array_equal, model.variables.disc, before.variables.disc
    )
    assert model_files.digest(model) == model_files.digest(before)


def test_an_older_model_gets_the_spread_that_publishing_would_give_it(older):
    model = model_files.load(older[0])
    params = jax.tree.map(jnp.asarray, model.variables.gen["params"])
    want = recompute_statistics(model.models.gen, params, jax.random.key(0))["spread"]
    found = model.variables.gen["spread"]
    assert found.keys() == want.keys() == {"std_0", "std_1"}
    for name, x in found.items():
        assert x.dtype == np.float32
        np.testing.assert_allclose(x, want[name], rtol=1e-4)


def test_an_older_model_of_several_styles_mixes_them_in_one_sketch(older):
    change_config(older[0], lambda config: config.update(style="xdog,fdog"))
    model = model_files.load(older[0])
    assert model.joint.names == ("sketch", "photo")
    assert model.config["model"]["styles"] == ["xdog", "fdog"]


def test_an_older_model_whose_tensors_do_not_fit_is_damaged(older):
    change_config(older[0], lambda config: config["model"].update(base_filters=8))
    with pytest.raises(ModelError, match=f"{older[0]} is damaged.*copy it anew"):
        model_files.load(older[0])


@pytest.mark.parametrize("folder", ["faces", ROOT / "tests" / "golden" / "halves"])
def test_models_that_were_published_before_load(folder):
    model = model_files.load(folder)
    sketches = {"halves": ("xdog",)}.get(model.config["model"]["layout"])
    assert sketches in (None, model.joint.sketches)
    assert len(model.variables.gen["spread"]) == len(model.models.gen.inner_shapes)


def test_completing_with_a_published_model_needs_no_training_library(folder):
    code = (
        "import sys; from cgan_jax import complete, sample;"
        "complete.load_model(sys.argv[1]);"
        "tops = {name.partition('.')[0] for name in sys.modules};"
        "print(*sorted(tops & {'orbax', 'tensorstore', 'grain', 'ml_collections'}))"
    )
    command = [sys.executable, "-c", code, str(folder)]
    result = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == ""


def test_a_copied_folder_is_the_same_model(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "elsewhere")
    moved, model = model_files.load(tmp_path / "elsewhere"), model_files.load(folder)
    assert (moved.name, moved.config) == ("elsewhere", model.config)
    jax.tree.map(np.testing.assert_array_equal, moved.variables, model.variables)
