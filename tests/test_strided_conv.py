"""The CPU forms equal the plain ones; each map's gradient is made of the other two."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.test_util import check_grads

from cgan_jax import strided_conv

# Batch, height and width of the narrow side, channels of the wide and the narrow side.
SHAPES = {
    "pictures": (4, 2, 6, 9, 4),  # Winograd's form, and at kernel 3 patches
    "odd_pictures": (4, 3, 5, 9, 4),
    "one_colour_picture": (1, 4, 2, 3, 6),
    "one_pixel": (2, 1, 1, 8, 2),
}
KERNELS = (3, 4, 5)
MAPS = ("conv", "conv_transpose", "weight_gradient")
DILATED = "dilate = [2, 2]"


pytestmark = pytest.mark.usefixtures("quick_compilation")


def function(name, k, form=""):
    """One of the maps as a function of two arrays: the public one, or a private form."""
    fn = getattr(strided_conv, f"{form}{name}")
    return (lambda x, y: fn(x, y, k)) if "weight_gradient" in name else fn


def draw(shape, k, dtype=np.float64, leading=()):
    """Values on the wide side, on the narrow side, and a kernel."""
    n, h, w, wide, narrow = shape
    rng = np.random.default_rng([k, *shape, *leading])
    arrays = (
        rng.normal(size=(*leading, n, 2 * h, 2 * w, wide)),
        rng.normal(size=(*leading, n, h, w, narrow)),
        rng.normal(size=(*leading, k, k, wide, narrow)),
    )
    return [a.astype(dtype) for a in arrays]  # slicing them compiles nothing


def arguments(name, x, y, w):
    """The two arguments of a map, and what is shaped as its value."""
    return {
        "conv": ((x, w), y),
        "conv_transpose": ((y, w), x),
        "weight_gradient": ((x, y), w),
    }[name]


def assert_close(got, want, rtol):
    """Every entry within `rtol` of the largest."""
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, 0, rtol * np.abs(b).max()),
        got,
        want,
    )


def value_and_gradients(fn, args, cotangent):
    value, vjp = jax.vjp(fn, *args)
    return value, *vjp(cotangent)


def evaluate(names, k, form, arrays):
    """Values and gradients of some maps in one form, compiled anew."""

    def fn(*arrays):
        return [
            value_and_gradients(function(name, k, form), *arguments(name, *arrays))
            for name in names
        ]

    return jax.jit(fn)(*arrays)


@pytest.mark.parametrize("k", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("shape", [(2, 2, 3, 4, 5), (1, 3, 1, 3, 2)])
def test_the_form_by_phases_equals_the_plain_one(shape, k):
    _, y, w = draw(shape, k, np.float32)
    want = strided_conv.plain_conv_transpose(jnp.asarray(y), jnp.asarray(w))
    got = strided_conv.phase_conv_transpose(jnp.asarray(y), jnp.asarray(w))
    assert_close(got, want, 1e-5)
    text = jax.jit(strided_conv.phase_conv_transpose).lower(y, w).as_text()
    assert text.count("stablehlo.convolution") == 1 and DILATED not in text


# The value and the gradients of conv are the three maps.
@pytest.mark.parametrize(
    ("k", "shape"),
    [
        (3, "pictures"),
        (3, "one_pixel"),
        (4, "pictures"),
        (4, "one_colour_picture"),
        (5, "pictures"),
        (5, "odd_pictures"),
        (5, "one_colour_picture"),
        (5, "one_pixel"),
    ],
)
def test_values_and_gradients_equal_the_plain_ones_in_float64(k, shape):
    with jax.enable_x64(True):
        arrays = draw(SHAPES[shape], k)
        got = evaluate(["conv"], k, "", arrays)
        assert got[0][0].dtype == np.float64
        assert_close(got, evaluate(["conv"], k, "plain_", arrays), 1e-12)


@pytest.mark.parametrize("shape", ["pictures", "one_colour_picture"])
def test_values_and_gradients_equal_the_plain_ones_in_float32(shape):
    arrays = draw(SHAPES[shape], 5, np.float32)
    got = evaluate(["conv"], 5, "", arrays)
    assert_close(got, evaluate(["conv"], 5, "plain_", arrays), 1e-5)


def test_the_gradients_of_all_three_maps_equal_those_of_the_plain_ones():
    with jax.enable_x64(True):
        arrays = draw(SHAPES["one_colour_picture"], 3)
        got = evaluate(MAPS, 3, "", arrays)
        assert_close(got, evaluate(MAPS, 3, "plain_", arrays), 1e-12)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize(("form", "k"), [("_patch_", k) for k in (2, 3, 4, 5)])
def test_patches_take_every_kernel(name, form, k):
    with jax.enable_x64(True):
        args, _ = arguments(name, *draw((2, 3, 2, 8, 4), k))
        got = jax.jit(function(name, k, form))(*args)
        assert_close(got, jax.jit(function(name, k, "plain_"))(*args), 1e-12)


@pytest.mark.parametrize(
    ("k", "wide", "height", "width", "winograd"),
    [
        (5, 8, 4, 8, True),
        (4, 64, 2, 2, True),
        (5, 7, 4, 8, False),  # too few channels
        (5, 8, 3, 8, False),  # tiles are 2x2
        (5, 8, 4, 7, False),
        (3, 8, 4, 8, False),  # nothing is saved
        (6, 8, 4, 8, False),  # a third tap on the odd pixels
    ],
)
def test_which_form_the_cpu_takes(k, wide, height, width, winograd):
    x = jax.ShapeDtypeStruct((2, 2 * height, 2 * width, wide), jnp.float32)
    y = jax.ShapeDtypeStruct((2, height, width, 6), jnp.float32)
    w = jax.ShapeDtypeStruct((k, k, wide, 6), jnp.float32)
    for name in MAPS:
        args, _ = arguments(name, x, y, w)
        text = str(jax.make_jaxpr(function(name, k, "_cpu_"))(*args))
        assert text.count("dot_general") == (12 if winograd else 1)


@pytest.mark.parametrize(
    ("n", "bytes_each", "kernel_bytes", "chunk"),
    [
        (6, 20, 1, 3),  # 4 would fit, but 4 does not divide 6
        (7, 30, 1, 1),  # 3 would fit, but only 1 divides 7
        (4, 1, 1, 4),  # everything fits
        (8, 40, 1, 2),
        (6, 1000, 1, 1),  # not even one picture fits
        (8, 40, 90, 4),  # twice the kernel
    ],
)
def test_a_chunk_is_the_largest_divisor_that_fits(
    n, bytes_each, kernel_bytes, chunk, monkeypatch
):
    monkeypatch.setattr(strided_conv, "_CHUNK_BYTES", 80)
    assert strided_conv._chunk(n, bytes_each, kernel_bytes) == chunk


# Bytes of one picture at every tap, and at Winograd's points; channels choose the form.
@pytest.mark.parametrize(
    ("wide", "bytes_each"),
    [(3, 4 * 8 * 25 * 3 * 8), (8, 2 * 4 * 49 * 8 * 8)],
    ids=["patches", "winograd"],
)
@pytest.mark.parametrize("chunk", [1, 3])
@pytest.mark.parametrize("name", MAPS)
def test_the_work_in_chunks_equals_the_plain_one(
    name, chunk, wide, bytes_each, monkeypatch
):
    monkeypatch.setattr(strided_conv, "_CHUNK_BYTES", chunk * bytes_each)
    with jax.enable_x64(True):
        args, _ = arguments(name, *draw((6, 4, 8, wide, 4), 5))
        cpu = function(name, 5, "_cpu_")
        traced = jax.jit(lambda *args: cpu(*args)).trace(*args)  # never from a cache
        loops = [e for e in traced.jaxpr.eqns if e.primitive.name == "scan"]
        assert [loop.params["length"] for loop in loops] == [6 // chunk]
        got = traced.lower().compile()(*args)
        assert_close(got, jax.jit(function(name, 5, "plain_"))(*args), 1e-12)


@pytest.mark.parametrize(
    ("k", "before", "after"), [(2, 0, 0), (3, 0, 1), (4, 1, 1), (5, 1, 2)]
)
def test_conv_is_the_sum_over_taps_under_tensorflows_padding(k, before, after):
    with jax.enable_x64(True):
        x, y, w = draw((2, 3, 4, 3, 2), k)
        padded = np.pad(x, ((0, 0), (before, after), (before, after), (0, 0)))
        want = np.zeros(y.shape)
        for p in range(3):
            for q in range(4):
                window = padded[:, 2 * p : 2 * p + k, 2 * q : 2 * q + k]
                want[:, p, q] = np.tensordot(window, w, 3)
        assert_close(jax.jit(strided_conv.conv)(x, w), want, 1e-12)


def test_conv_and_its_transpose_are_what_jax_calls_same():
    with jax.enable_x64(True):
        x, y, w = draw((2, 3, 4, 3, 2), 5)
        dims = ("NHWC", "HWIO", "NHWC")
        conv = lax.conv_general_dilated(x, w, (2, 2), "SAME", dimension_numbers=dims)
        assert_close(jax.jit(strided_conv.conv)(x, w), conv, 1e-12)
        transpose = lax.conv_transpose(
            y, w, (2, 2), "SAME", dimension_numbers=dims, transpose_kernel=True
        )
        assert_close(jax.jit(strided_conv.conv_transpose)(y, w), transpose, 1e-12)


def test_the_three_maps_belong_to_one_trilinear_form():
    with jax.enable_x64(True):
        arrays = draw(SHAPES["pictures"], 4)
        forms = []
        for name in MAPS:
            args, other = arguments(name, *arrays)
            forms.append(np.vdot(other, jax.jit(function(name, 4))(*args)))
        assert abs(forms[0]) > 1
        np.testing.assert_allclose(forms, forms[0], rtol=1e-11)


@pytest.mark.parametrize("wide", [3, 8])
@pytest.mark.parametrize("name", MAPS)
def test_gradients_of_gradients_are_right(name, wide):
    with jax.enable_x64(True):
        args, _ = arguments(name, *draw((2, 2, 2, wide, 2), 5))
        check_grads(jax.jit(function(name, 5)), args, order=2, modes=["rev"])


@pytest.mark.parametrize("in_axes", [(0, None), (None, 0), (0, 0)])
@pytest.mark.parametrize("name", MAPS)
def test_vmap_equals_a_loop(name, in_axes):
    with jax.enable_x64(True):
        args, _ = arguments(name, *draw((2, 2, 3, 3, 4), 3, leading=(3,)))
        args = [a if axis == 0 else a[0] for a, axis in zip(args, in_axes, strict=True)]
        fn = jax.jit(function(name, 3))
        loop = [
            fn(*(a[i] if axis == 0 else a for a, axis in zip(args, in_axes)))
            for i in range(3)
        ]
        got = jax.jit(jax.vmap(function(name, 3), in_axes))(*args)
        assert_close(got, np.stack(loop), 1e-12)


def energy(x, w):
    """A scalar that is not linear in either."""
    return jnp.sum(strided_conv.conv_transpose(jnp.sin(strided_conv.conv(x, w)), w))


@pytest.mark.parametrize("in_axes", [(0, None), (0, 0)])
def test_vmap_of_gradients_equals_a_loop(in_axes):
    with jax.enable_x64(True):
        x, _, w = draw((2, 2, 3, 3, 4), 3, leading=(3,))
        w = w if in_axes[1] == 0 else w[0]
        grad = jax.grad(energy, (0, 1))
        one = jax.jit(grad)
        loop = [one(x[i], w[i] if in_axes[1] == 0 else w) for i in range(3)]
        loop = jax.tree.map(lambda *leaves: np.stack(leaves), *loop)
        assert_close(jax.jit(jax.vmap(grad, in_axes))(x, w), loop, 1e-12)


@pytest.mark.parametrize("outer", [(0, None), (None, 0)])
def test_nested_vmap_equals_nested_loops(outer):
    with jax.enable_x64(True):
        x, _, w = draw((1, 2, 3, 3, 4), 3, leading=(2, 2))
        x, w = (x, w[0, 0]) if outer == (0, None) else (x[0], w[0])
        nested = jax.vmap(jax.vmap(strided_conv.conv, (0, None)), outer)
        fn = jax.jit(strided_conv.conv)
        loop = [
            [fn(x[i, j] if outer[0] == 0 else x[j], wi) for j in range(2)]
            for i, wi in enumerate(w if outer[1] == 0 else [w, w])
        ]
        assert_close(jax.jit(nested)(x, w), np.array(loop), 1e-12)


@pytest.mark.parametrize("name", ["conv", "conv_transpose"])
def test_vmap_over_pictures_is_one_larger_batch_bit_for_bit(name):
    args, _ = arguments(name, *draw((2, 2, 3, 9, 4), 3, np.float32, leading=(2, 3)))
    x, w = args[0], args[1][0, 0]
    fn = function(name, 3)
    nested = jax.jit(jax.vmap(jax.vmap(fn, (0, None)), (0, None)))
    assert " while(" not in nested.lower(x, w).compile().as_text()
    joined = jax.jit(fn)(x.reshape(12, *x.shape[3:]), w)
    np.testing.assert_array_equal(np.reshape(nested(x, w), joined.shape), joined)


def test_gradients_for_many_pictures_run_as_one_batch_and_for_many_kernels_in_turn():
    x, _, w = draw((1, 2, 3, 9, 4), 3, np.float32, leading=(3,))
    grad = jax.grad(energy)
    pictures = jax.jit(jax.vmap(grad, (0, None))).lower(x, w[0]).compile().as_text()
    kernels = jax.jit(jax.vmap(grad, (0, 0))).lower(x, w).compile().as_text()
    assert " while(" not in pictures
    assert " while(" in kernels


@pytest.mark.parametrize("height, width", [(5, 4), (4, 5)])
def test_an_odd_size_is_refused(height, width):
    x, w = jnp.zeros((1, height, width, 3)), jnp.zeros((5, 5, 3, 2))
    with pytest.raises(ValueError, match="even height and width"):
        strided_conv.conv(x, w)


def lowered(fn, args, platform):
    traced = jax.jit(fn).trace(*args)
    return traced.lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize(
    ("name", "window"),
    [
        ("conv", "stride = [2, 2]"),
        ("conv_transpose", "lhs_dilate = [2, 2]"),
        ("weight_gradient", "rhs_dilate = [2, 2]"),
    ],
)
def test_other_platforms_get_the_plain_convolution(name, window, platform):
    args, _ = arguments(name, *draw(SHAPES["pictures"], 5, np.float32))
    text = lowered(function(name, 5), args, platform)
    assert text.count("stablehlo.convolution") == 1
    assert window in text
    assert "dot_general" not in text and "while" not in text


@pytest.mark.parametrize("shape", ["pictures", "one_colour_picture"])
def test_the_cpu_gets_no_dilated_convolution_even_in_second_gradients(shape):
    x, _, w = draw(SHAPES[shape], 5, np.float32)

    def second(x, w):
        return jax.grad(lambda x, w: jnp.sum(jax.grad(energy)(x, w) ** 2), (0, 1))(x, w)

    assert DILATED not in lowered(second, (x, w), "cpu")
    assert DILATED in lowered(second, (x, w), "cuda")


@pytest.mark.parametrize("name", MAPS)
def test_bfloat16_is_kept_and_near_float32(name):
    args, _ = arguments(name, *draw(SHAPES["pictures"], 3, jnp.bfloat16))
    fn = jax.jit(function(name, 3))
    got, want = fn(*args), fn(*(a.astype(np.float32) for a in args))
    assert got.dtype == jnp.bfloat16
    assert_close(got.astype(np.float32), want, 0.02)


@pytest.mark.parametrize("wide", [3, 8])  # patches, Winograd's form
def test_weight_gradients_of_bfloat16_are_summed_in_float32(wide):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.uniform(0.5, 1, (64, 32, 32, wide)), jnp.bfloat16)
    y = jnp.asarray(rng.uniform(0.5, 1, (64, 16, 16, 4)), jnp.bfloat16)
    fn = jax.jit(strided_conv.weight_gradient, static_argnums=2)
    got = np.asarray(fn(x, y, 5), np.float64)
    want = np.asarray(fn(x.astype(np.float32), y.astype(np.float32), 5), np.float64)
    # 16,384 addends of one sign: only the result is rounded, to 8 bits.
    np.testing.assert_allclose(got, want, rtol=2**-8)
