"""Curves of runs: what is read, how it is drawn, and what is refused."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from cgan_jax import plots


def write_run(folder, lines):
    folder.mkdir(parents=True)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text)
    return folder


@pytest.fixture
def run(tmp_path):
    lines = [
        {"step": 10 * i, "gen_loss": 1.0 + i, "disc_accuracy_real": 0.5}
        for i in range(1, 101)
    ]
    lines[49]["validation_kl"] = 0.25
    return write_run(tmp_path / "first", lines)


def test_a_scalar_has_the_steps_at_which_it_was_written(run):
    curves = plots.read_curves(run)
    assert set(curves) == {"gen_loss", "disc_accuracy_real", "validation_kl"}
    steps, values = curves["gen_loss"]
    np.testing.assert_array_equal(steps, np.arange(10, 1001, 10))
    np.testing.assert_array_equal(values, np.arange(2.0, 102.0))
    assert [x.tolist() for x in curves["validation_kl"]] == [[500.0], [0.25]]


def test_runs_are_compared_in_one_panel_a_scalar(run, tmp_path):
    other = write_run(tmp_path / "second", [{"step": 5, "gen_loss": 3.0}])
    runs = {path.name: plots.read_curves(path) for path in (run, other)}
    figure = plots.draw(runs)
    panels = {axes.get_title(): axes for axes in figure.axes}
    assert list(panels) == ["disc_accuracy_real", "gen_loss", "validation_kl"]
    lines = panels["gen_loss"].get_lines()
    labelled = {x.get_label(): x for x in lines if x.get_label()[0] != "_"}
    assert set(labelled) == {"first", "second"}
    assert labelled["second"].get_xdata().tolist() == [5.0]
    colours = {line.get_color() for line in labelled.values()}
    assert len(colours) == 2
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["first", "second"]
    low, high = panels["disc_accuracy_real"].get_ylim()
    assert low < 0 and high > 1


def test_a_long_curve_is_smoothed_and_its_points_stay_visible(run):
    axes = plots.draw({"run": plots.read_curves(run)}).axes[1]
    raw, smoothed = axes.get_lines()
    np.testing.assert_array_equal(raw.get_ydata(), np.arange(2.0, 102.0))
    np.testing.assert_array_equal(
        smoothed.get_ydata(), plots.smooth(np.arange(2.0, 102.0), 4)
    )


def test_smoothing_is_a_mean_over_neighbours():
    values = np.array([0.0, 3.0, 6.0, 0.0, 0.0])
    np.testing.assert_allclose(plots.smooth(values, 3), [1.5, 3.0, 3.0, 2.0, 0.0])
    np.testing.assert_array_equal(plots.smooth(values, 1), values)


@pytest.mark.parametrize(
    ("values", "log"),
    [
        (np.geomspace(0.01, 10, 50), True),
        (np.linspace(1, 5, 50), False),
        (np.linspace(-5, 5, 50), False),  # a logarithm would hide half of it
        (np.append(np.ones(400), 1e6), False),  # one outlier
        (np.array([np.nan, np.nan]), False),
    ],
)
def test_a_logarithmic_axis_is_for_wide_positive_spans(values, log):
    assert plots.needs_log(values) == log
    curves = {"x": (np.arange(float(len(values))), values)}
    (axes,) = plots.draw({"run": curves}).axes
    assert axes.get_yscale() == ("log" if log else "linear")


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_a_picture_is_written(run, tmp_path, suffix):
    output = tmp_path / "new" / f"curves{suffix}"
    plots.plot_runs([run], output)
    if suffix == ".png":
        with Image.open(output) as image:
            # Drawn on: not one colour.
            assert len(image.convert("L").getcolors()) > 10
    else:
        start = {".svg": b"<?xml", ".pdf": b"%PDF"}[suffix]
        assert output.read_bytes().startswith(start)


def test_runs_of_the_same_name_are_told_apart(run, tmp_path):
    same = write_run(tmp_path / "b" / "first", [{"step": 1, "x": 1.0}])
    assert plots._labels([run, same]) == [str(run), str(same)]
    assert plots._labels([run]) == ["first"]


def test_a_folder_that_is_no_workdir_is_named(tmp_path):
    message = f"{tmp_path} is no workdir of cgan-train: it holds no metrics.jsonl"
    with pytest.raises(FileNotFoundError, match=re.escape(message)):
        plots.plot_runs([tmp_path], tmp_path / "out.png")
    assert not list(tmp_path.iterdir())


def test_a_run_without_metrics_says_to_wait(tmp_path):
    write_run(tmp_path / "run", [])
    with pytest.raises(ValueError, match="run has no metrics yet: wait"):
        plots.read_curves(tmp_path / "run")


def test_a_damaged_line_is_named_and_a_torn_last_one_left_out(run):
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9')
    assert len(plots.read_curves(run)["gen_loss"][0]) == 100
    with (run / "metrics.jsonl").open("a") as file:
        file.write("\n")
    with pytest.raises(ValueError, match=r"metrics\.jsonl is damaged in line 101"):
        plots.read_curves(run)


def test_another_suffix_is_refused(run, tmp_path):
    with pytest.raises(ValueError, match=r"--output=.*\.bmp must end in one of \.png"):
        plots.plot_runs([run], tmp_path / "curves.bmp")


def test_tracks_lead_from_large_markers_through_panels_that_share_axes():
    def track(x, y):
        return plots.Track(
            np.array([x, np.subtract(x, 1), np.add(x, 2)]), np.array([y] * 3)
        )

    way = track([1.0, 2.0, 4.0], [3.0, np.nan, 7.0])
    panels = {
        "first": {"a": {"one": way}, "b": {"other": track([5.0], [6.0])}},
        "second": {"b": {"one": way}},
    }
    figure = plots.draw_tracks(panels, "likeness")
    grid = np.array(figure.axes).reshape(2, 2)
    assert [axes.get_title() for axes in grid.ravel()] == ["a", "b", "", ""]
    assert [axes.get_xlabel() for axes in grid.ravel()] == ["", "", *["likeness"] * 2]
    assert [axes.get_ylabel() for axes in grid[:, 0]] == ["first", "second"]
    *_, path, start = grid[0, 0].get_lines()
    assert path.get_label() == "one"
    assert path.get_xdata().tolist() == [1, 2, 4]
    assert (start.get_xdata(), start.get_ydata(), start.get_marker()) == ([1], [3], "o")
    across = grid[0, 0].collections[0].get_segments()
    np.testing.assert_array_equal(across[0], [[0, 3], [3, 3]])  # from low to high
    assert not grid[1, 0].get_lines()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["one", "other"]


@pytest.mark.parametrize("columns", [1, 2, 4])
def test_the_legend_of_long_labels_lies_within_the_figure(columns):
    track = plots.Track(np.ones((3, 1)), np.ones((3, 1)))
    tracks = {f"nearest training photograph, number {i}": track for i in range(5)}
    panels = {"y": {f"{i}": tracks for i in range(columns)}}
    figure = plots.draw_tracks(panels, "x")
    figure.draw_without_rendering()
    (legend,) = figure.legends
    shown, whole = legend.get_window_extent(), figure.bbox
    assert whole.x0 <= shown.x0 and shown.x1 <= whole.x1


def test_bands_share_the_axes_of_their_rows_and_columns():
    x = np.array([0.0, 1.0, 3.0])
    one = plots.Band(x, x, x - 1, x + 1)
    other = plots.Band(x, x + 5, x + 4, np.array([6.0, np.nan, 9.0]))
    panels = {
        "first": {"a": {"one": one, "other": other}},
        "second": {"b": {"one": one}},
    }
    figure = plots.draw_bands(panels)
    grid = np.array(figure.axes).reshape(2, 2)
    lines = grid[0, 0].get_lines()
    assert [line.get_label() for line in lines] == ["one", "other"]
    np.testing.assert_array_equal(lines[1].get_ydata(), x + 5)
    assert grid[0, 0].get_ylim() == grid[0, 1].get_ylim() != grid[1, 0].get_ylim()
    assert not grid[0, 1].get_lines() and len(grid[1, 1].get_lines()) == 1
    assert [axes.get_xlabel() for axes in grid[1]] == ["a", "b"]
    (band,) = grid[1, 1].collections
    assert band.get_datalim(grid[1, 1].transData).bounds == (0, -1, 3, 5)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["one", "other"]
