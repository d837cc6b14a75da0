"""The edge tangent flow: known directions, and sums along known stream lines."""

import numpy as np
import pytest

from cgan_jax.edge_flow import difference_across, edge_flow, smooth_along

ROWS, COLUMNS = np.indices((64, 64))
MIDDLE = (slice(20, 44), slice(20, 44))


def _stripes(angle: float) -> np.ndarray:
    """Waves whose crests run at this angle from the x axis, towards larger rows."""
    across = np.cos(angle) * ROWS - np.sin(angle) * COLUMNS
    return 0.5 + 0.5 * np.sin(across * 2 * np.pi / 12)


@pytest.mark.parametrize("degrees", [0, 20, 45, 70, 90, 135, 160])
def test_the_flow_runs_along_the_stripes(degrees):
    angle = np.deg2rad(degrees)
    flow = edge_flow(_stripes(angle), 1.0, 2.0)[MIDDLE]
    np.testing.assert_allclose(flow / np.abs(flow), np.exp(2j * angle), atol=0.02)


def test_dark_on_light_flows_as_light_on_dark():
    stripes = _stripes(0.6)
    expected = edge_flow(stripes, 1.0, 2.0)
    np.testing.assert_allclose(edge_flow(1 - stripes, 1.0, 2.0), expected, atol=1e-12)


def test_a_flat_picture_has_no_flow():
    np.testing.assert_allclose(edge_flow(np.full((9, 9), 0.3), 1.0, 2.0), 0, atol=1e-30)


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 120])
def test_smoothing_along_stripes_keeps_them(degrees):
    angle = np.deg2rad(degrees)
    stripes = _stripes(angle)
    flow = np.full((64, 64), np.exp(2j * angle))
    smooth = smooth_along(stripes, flow, sigma=3.0, step=1.0)
    # Interpolation alone blurs them a little.
    np.testing.assert_allclose(smooth[MIDDLE], stripes[MIDDLE], atol=0.04)
    across = smooth_along(stripes, -flow, sigma=3.0, step=1.0)
    assert np.ptp(across[MIDDLE]) < 0.5 * np.ptp(stripes[MIDDLE])


def test_smoothing_along_follows_circles():
    offset = COLUMNS - 31.5 + 1j * (ROWS - 31.5)
    rings = np.cos(np.abs(offset))
    tangent = 1j * offset / np.abs(offset)
    smooth = smooth_along(rings, tangent**2, sigma=3.0, step=0.25)
    ring = (np.abs(offset) > 12) & (np.abs(offset) < 24)
    assert np.corrcoef(smooth[ring], rings[ring])[0, 1] > 0.99
    straight = smooth_along(rings, np.ones((64, 64), complex), sigma=3.0, step=0.25)
    assert np.corrcoef(straight[ring], rings[ring])[0, 1] < 0.8


def test_smoothing_along_rows_is_a_gaussian_of_rows():
    values = np.random.default_rng(0).uniform(0, 1, (20, 30))
    smooth = smooth_along(values, np.ones((20, 30), complex), sigma=1.5, step=1.0)
    taps = np.exp(-0.5 * (np.arange(-3, 4) / 1.5) ** 2)
    padded = np.pad(values, [(0, 0), (3, 3)], mode="edge")
    expected = [np.convolve(row, taps / taps.sum(), mode="valid") for row in padded]
    np.testing.assert_allclose(smooth, expected, atol=1e-12)


def test_without_flow_nothing_moves():
    values = np.random.default_rng(0).uniform(0, 1, (9, 9))
    flow = np.zeros((9, 9), complex)
    np.testing.assert_allclose(smooth_along(values, flow, sigma=3.0, step=1.0), values)


def test_the_difference_runs_across_the_flow():
    values = np.random.default_rng(0).uniform(0, 1, (30, 20))
    flow = np.ones((30, 20), complex)  # along the rows, so that columns are convolved
    found = difference_across(values, flow, sigma=1.0, k=1.6, tau=0.9, step=1.0)
    offsets = np.arange(-5, 6)
    narrow, wide = (np.exp(-0.5 * (offsets / s) ** 2) for s in (1, 1.6))
    taps = narrow / narrow.sum() - 0.9 * wide / wide.sum()
    padded = np.pad(values, [(5, 5), (0, 0)], mode="edge").T
    expected = np.transpose([np.convolve(column, taps, "valid") for column in padded])
    np.testing.assert_allclose(found, expected, atol=1e-12)
