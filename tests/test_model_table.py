"""The table of the networks, against sums by hand."""

from cgan_jax import model_table
from cgan_jax.models import make_models

PAPER = make_models(base_filters=64, z_dim=100, height=64)


def test_the_layers_of_the_paper():
    gen, disc = model_table.layers(PAPER)
    assert [layer.name for layer in gen] == [
        "linear",
        "bn_0",
        *(f"{kind}_{i}" for i in (1, 2, 3) for kind in ("deconv", "bn")),
        "deconv_4",
    ]
    assert sum(layer.parameters for layer in gen) == 5_945_923
    assert sum(layer.parameters for layer in disc) == 4_323_841
    by_name = {layer.name: layer for layer in gen}
    assert by_name["deconv_4"].output == (64, 128, 3)
    # 2 * 25 * 256 * 128 at each of 8x16 pixels; the kernel of 5x5 from 512 at 4x8.
    assert by_name["deconv_2"].flops == 2 * 25 * 256 * 128 * 8 * 16
    assert by_name["deconv_1"].flops == 2 * 25 * 512 * 256 * 4 * 8
    assert by_name["linear"].flops == 2 * 100 * 16_384
    assert by_name["bn_1"].flops == 0
    by_name = {layer.name: layer for layer in disc}
    assert by_name["conv_0"].flops == 2 * 25 * 3 * 64 * 32 * 64
    assert by_name["conv_3"].output == (4, 8, 512)
    assert by_name["linear"].flops == 2 * 16_384


def test_planes_halve_the_arithmetic_of_what_lies_between():
    sizes = {"base_filters": 64, "z_dim": 100, "height": 64}
    planes = make_models(**sizes, layout="planes", styles=["xdog", "fdog", "photocopy"])
    gen = {layer.name: layer for layer in model_table.layers(planes).gen}
    assert gen["deconv_4"].output == (64, 64, 6)
    # 2 * 25 * 256 * 128 at each of 8x8 pixels.
    assert gen["deconv_2"].flops == 2 * 25 * 256 * 128 * 8 * 8
    disc = model_table.layers(planes).disc
    assert disc[0].parameters == 25 * 6 * 64 + 64


def test_a_step_is_counted_by_its_passes():
    gen, disc = (
        sum(layer.flops for layer in rows) for rows in model_table.layers(PAPER)
    )
    text = model_table.describe(PAPER, batch_size=64)
    step = 64 * (3 * gen + 8 * disc) / 1e9
    assert f"a step of 64 pairs: {step:,.1f} GFLOP (3 passes of G, 8 of D)" in text
    step = 64 * (6 * gen + 10 * disc) / 1e9
    text = model_table.describe(PAPER, batch_size=64, gen_updates=2)
    assert f"{step:,.1f} GFLOP (6 passes of G, 10 of D)" in text
    assert "5,945,923" in text and "4,323,841" in text


def test_spectral_norm_learns_no_more_than_biases():
    spectral = make_models(base_filters=4, z_dim=6, height=16, disc_norm="spectral")
    disc = {layer.name: layer.parameters for layer in model_table.layers(spectral).disc}
    assert disc == {
        "conv_0": 25 * 3 * 4 + 4,
        "conv_1": 25 * 4 * 8 + 8,
        "linear": 4 * 8 * 8 + 1,
    }
