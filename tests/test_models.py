"""The networks: sizes counted by hand, values against a network written out here."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax
from scipy import stats

from cgan_jax import models
from cgan_jax.models import (
    GanPair,
    generate,
    make_models,
    recompute_statistics,
    sample_z,
    without_spectral_norm,
)
from cgan_jax.strided_conv import plain_conv

STYLES = ["xdog", "fdog", "photocopy"]
SIZES = {"base_filters": 4, "z_dim": 6, "height": 16}
TINY = make_models(**SIZES)
PLANES = make_models(**SIZES, layout="planes", styles=STYLES)


pytestmark = pytest.mark.usefixtures("quick_compilation")


def shapes(pair):
    """Variables of G and D as shapes: nothing is computed."""
    key = jax.random.key(0)
    return GanPair(
        *(
            jax.eval_shape(
                functools.partial(model.init, key, train=False),
                jnp.zeros((1, *model.input_shape)),
            )
            for model in pair
        )
    )


def count(tree):
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


@functools.cache
def draws(pair=TINY):
    """Initial variables of a tiny pair, for each of the keys 0 to 63."""

    def init(seed):
        key = jax.random.key(seed)
        return GanPair(
            *(
                model.init(key, jnp.zeros((1, *model.input_shape)), train=False)
                for model in pair
            )
        )

    return jax.device_get(jax.jit(jax.vmap(init))(np.arange(64)))


@functools.cache
def tiny_variables(pair=TINY):
    """Variables of a tiny pair, with running averages as after some training."""
    rng = np.random.default_rng(0)
    ranges = {"mean": (-0.02, 0.02), "var": (0.001, 0.01)}

    def average(path, x):
        return rng.uniform(*ranges[path[-1].key], x.shape[1:]).astype(np.float32)

    return GanPair(
        *(
            {
                "params": jax.tree.map(lambda x: x[0], variables["params"]),
                "batch_stats": jax.tree_util.tree_map_with_path(
                    average, variables["batch_stats"]
                ),
            }
            for variables in draws(pair)
        )
    )


def tiny_z(n, seed=0):
    return np.array(sample_z(jax.random.key(seed), n, 6))


@functools.partial(jax.jit, static_argnames=("model", "train"))
def apply(model, variables, x, train):
    return model.apply(variables, x, train=train, mutable=["batch_stats"])


# ------------------------------------------------------------------- parameters


def test_the_generator_of_the_paper_has_these_parameters():
    params = shapes(make_models(base_filters=64, z_dim=100, height=64)).gen["params"]
    assert {name: count(layer) for name, layer in params.items()} == {
        "linear": 1_638_400,  # 100 * (4 * 8 * 512)
        "bn_0": 1_024,  # scale and bias of 512
        "deconv_1": 3_276_800,  # 5 * 5 * 512 * 256
        "bn_1": 512,
        "deconv_2": 819_200,  # 5 * 5 * 256 * 128
        "bn_2": 256,
        "deconv_3": 204_800,  # 5 * 5 * 128 * 64
        "bn_3": 128,
        "deconv_4": 4_803,  # 5 * 5 * 64 * 3, and 3 biases
    }
    assert count(params) == 5_945_923


def test_planes_differ_in_the_first_and_the_last_layers_alone():
    sizes = {"base_filters": 64, "z_dim": 100, "height": 64}
    halves = shapes(make_models(**sizes))
    planes = shapes(make_models(**sizes, layout="planes", styles=STYLES))
    counts = [
        {name: count(layer) for name, layer in pair["params"].items()}
        for pair in (*halves, *planes)
    ]
    changed = [
        {name: (old[name], new[name]) for name in old if old[name] != new[name]}
        for old, new in zip(counts[:2], counts[2:], strict=True)
    ]
    assert changed == [
        {
            "linear": (1_638_400, 819_200),  # 100 * (4 * 4 * 512)
            "deconv_4": (4_803, 9_606),  # 5 * 5 * 64 * 6, and 6 biases
        },
        {
            "conv_0": (4_864, 9_664),  # 5 * 5 * 6 * 64, and 64 biases
            "linear": (16_385, 8_193),  # 4 * 4 * 512, and one bias
        },
    ]


@pytest.mark.parametrize(("kernel_size", "taps"), [(3, 9), (4, 16)])
def test_all_convolutions_have_the_kernel_that_is_asked_for(kernel_size, taps):
    small, usual = (
        shapes(make_models(**SIZES, kernel_size=k)) for k in (kernel_size, 5)
    )
    for few, many in zip(small, usual, strict=True):
        for name, layer in few["params"].items():
            if "conv_" in name:
                assert layer["kernel"].shape[:2] == (kernel_size, kernel_size)
                wanted = many["params"][name]["kernel"]
                assert count(layer["kernel"]) * 25 == count(wanted) * taps


def test_the_discriminator_of_the_paper_has_these_parameters():
    params = shapes(make_models(base_filters=64, z_dim=100, height=64)).disc["params"]
    assert {name: count(layer) for name, layer in params.items()} == {
        "conv_0": 4_864,  # 5 * 5 * 3 * 64, and 64 biases
        "conv_1": 204_800,  # 5 * 5 * 64 * 128
        "bn_1": 256,
        "conv_2": 819_200,  # 5 * 5 * 128 * 256
        "bn_2": 512,
        "conv_3": 3_276_800,  # 5 * 5 * 256 * 512
        "bn_3": 1_024,
        "linear": 16_385,  # 4 * 8 * 512, and one bias
    }
    assert count(params) == 4_323_841


@pytest.mark.parametrize(
    ("height", "gen", "disc"),
    [
        # 100*32*256 + 512 + 25*256*128 + 256 + 25*128*64 + 128 + 25*64*3 + 3
        # 25*3*64 + 64 + 25*64*128 + 256 + 25*128*256 + 512 + 32*256 + 1
        (32, 1_848_899, 1_037_825),
        # 100*32*1024 + 2048 + 25*1024*512 + 1024, then as at 64 from deconv_1 on
        # as at 64 but for linear, + 25*512*1024 + 2048 + 32*1024 + 1
        (128, 20_693_571, 17_449_473),
    ],
)
def test_other_heights_have_a_layer_less_or_more(height, gen, disc):
    variables = shapes(make_models(base_filters=64, z_dim=100, height=height))
    assert count(variables.gen["params"]) == gen
    assert count(variables.disc["params"]) == disc


def test_only_layers_without_a_batch_norm_after_them_have_a_bias():
    variables = shapes(make_models(base_filters=4, z_dim=6, height=32))
    biased = [
        {
            name
            for name, layer in pair["params"].items()
            if "bias" in layer and not name.startswith("bn_")
        }
        for pair in variables
    ]
    assert biased == [{"deconv_3"}, {"conv_0", "linear"}]


@pytest.mark.parametrize(
    ("height", "layers"), [(8, 1), (16, 2), (32, 3), (64, 4), (128, 5)]
)
def test_each_doubling_of_the_height_is_one_layer(height, layers):
    assert models.num_layers(height) == layers


@pytest.mark.parametrize("height", [-8, 0, 4, 12, 48, 65, 100])
def test_a_height_that_is_no_doubling_of_8_is_refused(height):
    with pytest.raises(ValueError, match=f"8, 16, 32, 64, ...; got {height}"):
        models.num_layers(height)


def test_a_latent_of_another_width_is_refused():
    with pytest.raises(ValueError, match="z is 7 wide, z_dim is 6"):
        jax.eval_shape(
            lambda: TINY.gen.init(jax.random.key(0), jnp.zeros((1, 7)), False)
        )


@pytest.mark.parametrize("shape", [(1, 32, 32, 6), (1, 16, 16, 3)])
@pytest.mark.parametrize("pair", [TINY, PLANES], ids=["halves", "planes"])
def test_an_image_of_another_size_is_refused(pair, shape):
    with pytest.raises(ValueError, match=r"expected \(16, 16, 6\), got image"):
        jax.eval_shape(
            lambda: pair.disc.init(jax.random.key(0), jnp.zeros(shape), False)
        )


def test_what_no_layout_is_is_refused():
    with pytest.raises(ValueError, match="config.model.layout must be one of.*'left'"):
        make_models(**SIZES, layout="left")
    with pytest.raises(ValueError, match="no sketch style is given"):
        make_models(**SIZES, layout="planes", styles=[])


def test_weights_start_as_the_released_code_starts_them():
    kinds = {"kernel": [], "scale": [], "bias": []}
    params = [variables["params"] for variables in draws()]
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        kinds[path[-1].key].append(np.ravel(leaf))
    for kernel in kinds["kernel"]:
        assert abs(kernel.mean()) < 4 * 0.02 / math.sqrt(kernel.size)
        np.testing.assert_allclose(kernel.std(), 0.02, rtol=4 / math.sqrt(kernel.size))
        assert np.abs(kernel).max() > 3 * 0.02  # normal, not truncated
    scale = np.concatenate(kinds["scale"])
    np.testing.assert_allclose(scale.mean(), 1.0, atol=4 * 0.02 / math.sqrt(scale.size))
    np.testing.assert_allclose(scale.std(), 0.02, rtol=4 / math.sqrt(scale.size))
    assert not np.concatenate(kinds["bias"]).any()


def test_running_averages_start_at_mean_0_and_variance_1():
    stats = [variables["batch_stats"] for variables in draws()]
    for path, leaf in jax.tree_util.tree_leaves_with_path(stats):
        np.testing.assert_array_equal(leaf, {"mean": 0.0, "var": 1.0}[path[-1].key])


def test_the_key_decides_the_weights():
    draw = jax.jit(lambda key: TINY.gen.init(key, jnp.zeros((1, 6)), train=False))
    again = draw(jax.random.key(3))
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(a[3], b), draws().gen, again
    )
    kernels = draws().gen["params"]["linear"]["kernel"]
    assert np.abs(kernels[3] - kernels[4]).max() > 0.01


# ----------------------------------------------------------------------- values


def normalise(x, layer, old, train):
    """Batch norm written out: the value, and the running averages after it."""
    axes = tuple(range(x.ndim - 1))
    mean, var = (x.mean(axes), x.var(axes)) if train else (old["mean"], old["var"])
    new = {
        "mean": 0.9 * old["mean"] + 0.1 * mean,
        "var": 0.9 * old["var"] + 0.1 * var,
    }
    y = (x - mean) / np.sqrt(var + 1e-5) * layer["scale"] + layer["bias"]
    return y, new


def halves_of(planes):
    """The picture of joint images in halves."""
    return np.concatenate([planes[..., :3], planes[..., 3:]], axis=2)


def written_out_generator(variables, z, train, columns):
    params, old, new = variables["params"], variables["batch_stats"], {}
    x = (z @ params["linear"]["kernel"]).reshape(len(z), 4, columns, 8)
    for i in range(2):
        x, new[f"bn_{i}"] = normalise(x, params[f"bn_{i}"], old[f"bn_{i}"], train)
        layer = params[f"deconv_{i + 1}"]
        x = lax.conv_transpose(
            np.maximum(x, 0),
            layer["kernel"],
            (2, 2),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            transpose_kernel=True,
        )
        x = np.asarray(x) + layer.get("bias", 0)
    return np.tanh(x), new


def written_out_discriminator(variables, x, train):
    params, old = variables["params"], variables["batch_stats"]
    new = {}
    for i in range(2):
        layer = params[f"conv_{i}"]
        dims = ("NHWC", "HWIO", "NHWC")
        x = lax.conv_general_dilated(
            x, layer["kernel"], (2, 2), "SAME", dimension_numbers=dims
        )
        x = np.asarray(x) + layer.get("bias", 0)
        if i == 1:
            x, new["bn_1"] = normalise(x, params["bn_1"], old["bn_1"], train)
        x = np.where(x > 0, x, 0.2 * x)
    logits = x.reshape(len(x), -1) @ params["linear"]["kernel"]
    return (logits + params["linear"]["bias"])[:, 0], new


def assert_close(got, want):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-4, 1e-6), got, want)


@pytest.mark.parametrize("layout", ["halves", "planes"])
@pytest.mark.parametrize("train", [True, False])
def test_the_generator_is_the_network_written_out(train, layout):
    pair = {"halves": TINY, "planes": PLANES}[layout]
    variables = tiny_variables(pair).gen
    z = 0.1 * tiny_z(5)  # so small that batch norm's epsilon counts
    planes, updated = apply(pair.gen, variables, z, train)
    columns = {"halves": 8, "planes": 4}[layout]
    want, want_stats = written_out_generator(variables, z, train, columns)
    assert planes.shape == (5, 16, 16, 6) and np.abs(want).max() > 0.01
    assert_close(halves_of(planes) if layout == "halves" else planes, want)
    assert_close(
        updated["batch_stats"], want_stats if train else variables["batch_stats"]
    )


@pytest.mark.parametrize("layout", ["halves", "planes"])
@pytest.mark.parametrize("train", [True, False])
def test_the_discriminator_is_the_network_written_out(train, layout):
    pair = {"halves": TINY, "planes": PLANES}[layout]
    variables = tiny_variables(pair).disc
    planes = np.random.default_rng(1).uniform(-1, 1, (5, 16, 16, 6)).astype(np.float32)
    logits, updated = apply(pair.disc, variables, planes, train)
    picture = halves_of(planes) if layout == "halves" else planes
    want, want_stats = written_out_discriminator(variables, picture, train)
    assert logits.shape == (5,) and np.abs(want).max() > 0.01
    assert_close(logits, want)
    assert_close(
        updated["batch_stats"], want_stats if train else variables["batch_stats"]
    )


def test_images_fill_minus_1_to_1_and_never_leave_it():
    variables = jax.tree.map(lambda x: 30 * x, tiny_variables().gen)
    joint, _ = apply(TINY.gen, variables, tiny_z(5), True)
    assert joint.min() < -0.9 and joint.max() > 0.9
    assert np.abs(joint).max() <= 1


@functools.partial(jax.jit, static_argnames=("model", "train"))
def moved(model, variables, z, train, *offsets):
    return model.apply(variables, z, train, offsets, mutable=["batch_stats", "spread"])


def drawn_offsets(model, n, count):
    rng = np.random.default_rng(2)
    shapes = model.inner_shapes[:count]
    return [rng.normal(size=(n, *shape)).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("pair", [TINY, PLANES], ids=["halves", "planes"])
def test_inner_layers_are_the_feature_maps_between(pair):
    columns = 8 if pair is TINY else 4
    assert pair.gen.inner_shapes == ((4, columns, 8), (8, 2 * columns, 4))
    offsets = drawn_offsets(pair.gen, 5, 2)
    planes, _ = moved(pair.gen, tiny_variables(pair).gen, tiny_z(5), True, *offsets)
    assert planes.shape == (5, 16, 16, 6)


@pytest.mark.parametrize("pair", [TINY, PLANES], ids=["halves", "planes"])
def test_offsets_move_an_image_by_the_spread_and_those_of_0_not_at_all(pair):
    rng = np.random.default_rng(3)
    spread = {
        f"std_{i}": rng.uniform(0.5, 1, c) for i, (*_, c) in enumerate([(8,), (4,)])
    }
    spread = jax.tree.map(np.float32, spread)
    variables, z = tiny_variables(pair).gen | {"spread": spread}, tiny_z(5)
    plain, _ = apply(pair.gen, variables, z, False)
    offsets = drawn_offsets(pair.gen, 5, 2)
    none = [np.zeros_like(x) for x in offsets]
    np.testing.assert_array_equal(moved(pair.gen, variables, z, False, *none)[0], plain)
    for i, offset in enumerate(offsets):
        given = [*none[:i], offset]
        found, _ = moved(pair.gen, variables, z, False, *given)
        assert (np.abs(found - plain).max((1, 2, 3)) > 1e-3).all()
        # Twice the unit is twice the offset.
        twice = variables | {"spread": spread | {f"std_{i}": 2 * spread[f"std_{i}"]}}
        doubled, _ = moved(pair.gen, twice, z, False, *given)
        same, _ = moved(pair.gen, variables, z, False, *given[:-1], 2 * offset)
        np.testing.assert_allclose(doubled, same, atol=1e-6)
        # Each image by its own.
        given[-1] = np.concatenate([offset[:2], 0 * offset[2:]])
        part, _ = moved(pair.gen, variables, z, False, *given)
        np.testing.assert_allclose(part[:2], found[:2], atol=1e-6)
        np.testing.assert_allclose(part[2:], plain[2:], atol=1e-6)


def test_more_offsets_than_inner_layers_are_refused():
    offsets = drawn_offsets(TINY.gen, 1, 2)
    with pytest.raises(ValueError, match="3 offsets for 2 inner layers"):
        moved(TINY.gen, tiny_variables().gen, tiny_z(1), True, *offsets, offsets[0])


def test_neighbours_change_an_image_only_in_training():
    variables = tiny_variables()
    z, others = tiny_z(5), tiny_z(5, seed=1)
    others[0] = z[0]
    for model, batch, neighbours in (
        (TINY.gen, z, others),
        (TINY.disc, apply(TINY.gen, variables.gen, z, False)[0], None),
    ):
        if neighbours is None:
            neighbours = np.array(batch)
            neighbours[1:] += 0.5
        weights = variables.gen if model is TINY.gen else variables.disc
        for train in (True, False):
            a = apply(model, weights, batch, train)[0][0]
            b = apply(model, weights, neighbours, train)[0][0]
            assert np.array_equal(a, b) != train


def test_bfloat16_computes_in_bfloat16_between_float32_ends():
    half = make_models(base_filters=4, z_dim=6, height=16, dtype="bfloat16")
    for name, tree in (("gen", shapes(half).gen), ("disc", shapes(half).disc)):
        assert {leaf.dtype for leaf in jax.tree.leaves(tree)} == {np.dtype("float32")}
        model, full = getattr(half, name), getattr(TINY, name)
        variables = getattr(tiny_variables(), name)
        x = tiny_z(5) if name == "gen" else np.full((5, 16, 16, 6), 0.5, np.float32)
        got, updated = apply(model, variables, x, True)
        want = apply(full, variables, x, True)[0]
        assert got.dtype == np.float32
        assert {a.dtype for a in jax.tree.leaves(updated)} == {np.dtype("float32")}
        # A bfloat16 has 8 bits: off by about 0.4 %, never exactly equal.
        assert 0 < np.abs(got - want).max() < 0.03 * np.abs(want).max()


# ---------------------------------------------------------------- the norms of D


def largest_singular_value(kernel):
    return np.linalg.norm(np.reshape(kernel, (-1, kernel.shape[-1])), 2)


@functools.cache
def spectral():
    """D under spectral norm, its variables once the power iteration has settled."""
    disc = make_models(base_filters=4, z_dim=6, height=16, disc_norm="spectral").disc
    disc = disc.clone(conv_fn=plain_conv)
    joint = jax.random.uniform(jax.random.key(1), (3, 16, 16, 6), minval=-1.0)
    variables = disc.init(jax.random.key(0), joint, train=False)
    update = jax.jit(lambda v: disc.apply(v, joint, True, mutable=["batch_stats"])[1])
    for _ in range(100):
        variables |= update(variables)
    return disc, jax.tree.map(jnp.asarray, variables), joint


def test_spectral_norm_divides_each_kernel_by_its_largest_singular_value():
    disc, variables, joint = spectral()
    divided = {
        name: layer
        | {"kernel": layer["kernel"] / largest_singular_value(layer["kernel"])}
        for name, layer in variables["params"].items()
    }
    plain = disc.clone(norm="none")
    want = plain.apply({"params": divided}, joint, train=False)
    np.testing.assert_allclose(
        disc.apply(variables, joint, train=False), want, rtol=1e-3, atol=1e-5
    )
    undivided = plain.apply({"params": variables["params"]}, joint, train=False)
    assert np.abs(undivided - want).max() > 0.01


def test_spectral_norm_takes_the_place_of_batch_norm():
    _, variables, _ = spectral()
    assert set(variables["params"]) == {"conv_0", "conv_1", "linear"}
    assert all("bias" in layer for layer in variables["params"].values())


def test_a_folded_spectral_norm_gives_the_same_logits():
    disc, variables, joint = spectral()
    folded, folded_variables = without_spectral_norm(disc, variables)
    assert folded.norm == "none" and not folded_variables["batch_stats"]
    np.testing.assert_allclose(
        folded.apply(folded_variables, joint, train=False),
        disc.apply(variables, joint, train=False),
        rtol=1e-3,
        atol=1e-5,
    )
    same = TINY.disc, tiny_variables().disc
    assert without_spectral_norm(*same) == same


def test_another_norm_is_refused():
    with pytest.raises(
        ValueError, match="config.model.disc_norm must be one of.*'layer'"
    ):
        make_models(base_filters=4, z_dim=6, height=16, disc_norm="layer")


@pytest.mark.parametrize("layer", ["conv", "deconv", "logit", "dense"])
def test_bfloat16_gradients_are_summed_over_the_batch_in_float32(layer):
    """Thousands of addends of one sign: in bfloat16 the sum would stop growing."""

    def module(dtype):
        return {
            "conv": models.StridedConv(2, True, dtype, plain_conv),
            "deconv": models.StridedConvTranspose(2, True, dtype),
            "logit": models.Logit(),
            "dense": nn.Dense(2, dtype=dtype),
        }[layer]

    shape = (16, 16, 16, 3) if "conv" in layer else (4096, 3)
    x = np.random.default_rng(0).uniform(0.5, 1, shape)
    x = jnp.asarray(x, jnp.bfloat16).astype(jnp.float32)
    params = module(jnp.float32).init(jax.random.key(0), x)
    params = jax.tree.map(jnp.zeros_like, params)

    def gradient(dtype):
        def total(params, x):
            return (
                module(dtype).apply(params, x.astype(dtype)).astype(jnp.float32).sum()
            )

        return jax.jit(jax.grad(total))(params, x)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2**-8),
        gradient(jnp.bfloat16),
        gradient(jnp.float32),
    )


def test_latents_are_uniform_on_minus_1_to_1():
    z = sample_z(jax.random.key(0), 500, 20)
    assert z.shape == (500, 20) and z.dtype == np.float32
    assert np.abs(z).max() <= 1
    assert stats.kstest(np.ravel(z), stats.uniform(-1, 2).cdf).pvalue > 0.01


@pytest.mark.parametrize("pair", [TINY, PLANES], ids=["halves", "planes"])
def test_recomputed_statistics_are_those_of_the_parameters_alone(pair):
    gen = pair.gen.clone(axis_name="device")  # as the training loop holds it
    variables, key = tiny_variables(pair).gen, jax.random.key(5)
    recompute = jax.jit(recompute_statistics, static_argnums=(0, 3))
    found = recompute(gen, variables["params"], key, 40)
    recomputed = found["batch_stats"]
    z = np.asarray(sample_z(key, 40, 6))
    first = (z @ variables["params"]["linear"]["kernel"]).reshape(-1, 8)
    np.testing.assert_allclose(recomputed["bn_0"]["mean"], first.mean(0), atol=1e-6)
    np.testing.assert_allclose(recomputed["bn_0"]["var"], first.var(0), rtol=1e-4)
    layer = variables["params"]["bn_0"]
    normal = (first - first.mean(0)) / np.sqrt(first.var(0) + 1e-5)
    inner = np.maximum(normal * layer["scale"] + layer["bias"], 0)
    assert found["spread"].keys() == {"std_0", "std_1"}
    np.testing.assert_allclose(found["spread"]["std_0"], inner.std(0), rtol=1e-4)

    training = apply(pair.gen, variables, z, True)[0]
    fresh = {"params": variables["params"]} | found
    image = jax.jit(generate, static_argnums=0)
    np.testing.assert_allclose(image(pair.gen, fresh, z), training, atol=1e-5)
    stale = image(pair.gen, variables, z)
    assert np.abs(stale - training).max() > 0.01
