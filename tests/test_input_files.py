"""Which files are found, and what their results are called."""

from pathlib import Path

import pytest

from cgan_jax.input_files import find_inputs


@pytest.fixture
def make(tmp_path):
    """Makes empty files below a folder; returns the folder."""

    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return make


def names(patterns, output="/out"):
    return {
        file.name: file.path
        for file in find_inputs(list(map(str, patterns)), Path(output))
    }


def test_a_folder_gives_all_pictures_below_it_and_nothing_else(make):
    wanted = ("a.jpeg", "b.PNG", "sub/a.png", "sub/deeper/d.webp")
    folder = make(*wanted, "notes.txt", "c.svg", "._a.jpeg", ".cache/e.png")
    found = find_inputs([str(folder)], Path("/out"))
    assert [file.path for file in found] == [folder / name for name in wanted]
    assert [file.name for file in found] == ["a", "b", "sub/a", "sub/deeper/d"]


def test_patterns_files_and_folders_add_up_without_doubles(make):
    folder = make("b.png", "a.png", "c.gif", "sub/d.png", "e[1].png")
    a, b, d, e = (folder / n for n in ("a.png", "b.png", "sub/d.png", "e[1].png"))
    assert names([f"{folder}/[ab].png"]) == {"a": a, "b": b}
    assert list(names([b, f"{folder}/?.png"]).values()) == [b, a]
    assert names([f"{folder}/**/*.png"]) == {"a": a, "b": b, "e[1]": e, "sub/d": d}
    assert names([e, folder / "sub"]) == {"e[1]": e, "d": d}
    assert names([folder, folder / "sub" / "d.png"])["sub/d"] == d


def test_the_path_below_the_fixed_part_of_a_pattern_is_kept(make):
    folder = make("ann/face.png", "bob/face.png", "bob/other/face.png")
    assert list(names([f"{folder}/*/face.png"])) == ["ann/face", "bob/face"]
    assert len(names([f"{folder}/**/face.png"])) == 3
    assert list(names([f"{folder}/b*"])) == ["bob/face", "bob/other/face"]


@pytest.mark.parametrize("output", ["out", "out/deep"])
@pytest.mark.parametrize("pattern", ["", "**/*.png"])
def test_results_are_not_taken_for_pictures(make, output, pattern):
    folder = make("a.png", f"{output}/a/photo.png", f"{output}/contact_sheet.png")
    assert list(names([folder / pattern], folder / output)) == ["a"]


@pytest.mark.parametrize("pattern", ["", "*.png"])
def test_an_output_among_the_pictures_is_refused(make, pattern):
    folder = make("a.png")
    with pytest.raises(
        ValueError, match="--output=.* is where the pictures of --input="
    ):
        names([folder / pattern], folder / "." / "")
    assert list(names([folder / "a.png"], folder)) == ["a"]


@pytest.mark.parametrize(
    ("given", "pattern"),
    [
        (["x.jpg", "x.png"], ""),
        (["a/x.png", "b/x.png"], None),
        (["sub/x.png", "sub/x.gif"], "**/x*"),
    ],
)
def test_two_pictures_with_the_same_results_are_refused(make, given, pattern):
    folder = make(*given)
    one, other = sorted(folder / name for name in given)
    patterns = [one, other] if pattern is None else [folder / pattern]
    with pytest.raises(ValueError) as caught:
        names(patterns)
    assert str(caught.value).startswith(
        f"{one} and {other} would both have the results"
    )
    assert "rename one" in str(caught.value)


def test_results_below_other_results_are_refused(make):
    folder = make("face.png", "face/1.png")
    with pytest.raises(ValueError, match=r"results face/1 of .*1\.png would lie among"):
        names([folder])


def test_names_are_folders_below_the_output(make):
    folder = make("..png", "...png", "a.b.png")
    assert set(names([folder / n for n in ("..png", "...png", "a.b.png")])) == {
        "..png",
        "...png",
        "a.b",
    }


@pytest.mark.parametrize("pattern", ["*.png", "missing.png", "folder"])
def test_an_input_that_fits_nothing_is_named(make, pattern):
    folder = make("folder/notes.txt")
    with pytest.raises(FileNotFoundError) as caught:
        names([folder / "folder" / "notes.txt", folder / pattern])
    assert str(caught.value).startswith(f"--input={folder / pattern} fits no picture: ")
