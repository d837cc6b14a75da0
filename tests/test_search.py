"""What a search is: its numbers apart from its structure, its stages, its cost."""

import dataclasses
import json

import numpy as np
import pytest

from cgan_jax.configs import default, presets
from cgan_jax.search import (
    AUTO,
    LEVELS,
    Numbers,
    Passes,
    Search,
    closeness_of,
    count_passes,
    penalty_of,
    segments,
)

SEARCH = Search(**default.get_config().projection)
STAGED = dataclasses.replace(SEARCH, num_candidates=2, num_steps=11, inner_steps=7)
PLAIN = dataclasses.replace(STAGED, inner_steps=0)


# ----------------------------------------------------------- numbers and structure


@pytest.mark.parametrize("name", Numbers._fields[:-1])
def test_a_number_is_no_part_of_the_structure(name):
    one, other = (dataclasses.replace(SEARCH, **{name: x}) for x in (0.25, 0.5))
    assert one.structure == other.structure
    assert hash(one.structure) == hash(other.structure)
    assert (getattr(one.numbers, name), getattr(other.numbers, name)) == (0.25, 0.5)
    assert one.numbers._replace(**{name: 0}) == other.numbers._replace(**{name: 0})


def test_the_closeness_is_a_number_too():
    one, other = (dataclasses.replace(SEARCH, closeness=x) for x in (0.2, 1))
    assert one.structure == other.structure
    assert hash(one.structure) == hash(other.structure)
    penalties = [x.numbers.offset_penalty for x in (one, other)]
    np.testing.assert_allclose(penalties, [penalty_of(0.2), penalty_of(1.0)], rtol=1e-6)
    assert one.numbers[:-1] == other.numbers[:-1]


@pytest.mark.parametrize("name", ["perceptual_weight", "closeness"])
def test_whether_there_is_a_d_or_an_offset_is_compiled(name):
    without = dataclasses.replace(SEARCH, **{name: 0.0})
    assert without.structure != dataclasses.replace(SEARCH, **{name: 0.1}).structure


@pytest.mark.parametrize(
    ("name", "value"),
    [("mass", "intensity"), ("num_steps", 7), ("inner_steps", 7), ("inner_layers", 1)],
)
def test_everything_else_is_compiled(name, value):
    changed = dataclasses.replace(SEARCH, **{name: value})
    assert changed.structure != SEARCH.structure
    assert changed.numbers == SEARCH.numbers


def test_the_structure_is_that_of_itself():
    for closeness in (0.0, 0.3, AUTO):
        search = dataclasses.replace(SEARCH, closeness=closeness)
        assert search.structure.structure == search.structure
        assert search.structure.is_inner == search.is_inner
        assert len(search.structure.levels) == len(search.levels)


@pytest.mark.parametrize(
    "name",
    ["optimizer", "distance", "photo_distance", "inner_distance", "direction", "mass"]
    + ["start_direction", "perceptual_form", "perceptual_role"],
)
def test_a_choice_that_there_is_not_is_refused_with_the_choices(name):
    fields = dict(default.get_config().projection) | {name: "kI"}
    with pytest.raises(Exception, match=f"(?s){name}.*kI") as caught:
        Search(**fields)
    assert str(fields[name]) in str(caught.value)


@pytest.mark.parametrize("closeness", [0.7, AUTO])
def test_a_search_survives_json(closeness):
    """As reports keep it and workers of benchmarks get it."""
    search = dataclasses.replace(STAGED, closeness=closeness)
    again = Search(**json.loads(json.dumps(dataclasses.asdict(search))))
    assert again == search
    hash(again)


# ---------------------------------------------------------------------- closeness


@pytest.mark.parametrize(
    ("given", "kept"),
    [(0, 0.0), (1, 1.0), (0.25, 0.25), ("0.25", 0.25), ("1", 1.0), ("auto", AUTO)],
)
def test_closeness_is_a_number_a_text_of_one_or_auto(given, kept):
    found = dataclasses.replace(SEARCH, closeness=given).closeness
    assert found == kept and type(found) is type(kept)


@pytest.mark.parametrize("given", [-0.01, 1.01, 7, "1.5", "close", "", "nan", "Auto"])
def test_another_closeness_is_refused_with_the_range(given):
    with pytest.raises(
        ValueError, match=f"closeness is {given!r}: .*number from 0 to 1, or 'auto'"
    ):
        dataclasses.replace(SEARCH, closeness=given)


def test_the_penalty_falls_with_the_closeness_in_equal_parts():
    penalties = np.array([penalty_of(x) for x in np.linspace(0, 1, 6)])
    assert penalties[0] > 100 * penalties[-1]
    steps = penalties[1:] / penalties[:-1]
    np.testing.assert_allclose(steps, steps[0])
    assert steps[0] < 1


def test_a_penalty_tells_its_closeness():
    closeness = np.linspace(0, 1, 11)
    penalties = np.array([penalty_of(x) for x in closeness], np.float32)
    np.testing.assert_allclose(closeness_of(penalties), closeness, atol=1e-6)


def test_levels_are_those_of_auto_or_the_one_closeness():
    assert dataclasses.replace(SEARCH, closeness=AUTO).levels == LEVELS
    assert dataclasses.replace(SEARCH, closeness=0.3).levels == (0.3,)
    assert list(LEVELS) == sorted(LEVELS) and 0 < LEVELS[0] < LEVELS[-1] <= 1


@pytest.mark.parametrize(
    ("inner_steps", "closeness", "is_inner"),
    [(7, 0.5, True), (7, AUTO, True), (7, 0, False), (0, 0.5, False), (0, AUTO, False)],
)
def test_without_steps_or_closeness_there_is_no_inner_search(
    inner_steps, closeness, is_inner
):
    search = dataclasses.replace(STAGED, inner_steps=inner_steps, closeness=closeness)
    assert search.is_inner == is_inner
    assert search.total_steps == (18 if is_inner else 11)


@pytest.mark.parametrize("preset", ["paper", "released_code"])
def test_the_searches_of_the_paper_and_its_code_move_z_alone(preset):
    search = Search(**presets.get_projection(preset))
    assert search.inner_steps == 0 and not search.is_inner


# --------------------------------------------------------------------------- cost


def test_passes_worked_out_by_hand():
    assert count_passes(SEARCH) == Passes(128, 2 * 78 + 2, 2 * 78)
    assert count_passes(PLAIN) == Passes(128, 2 * 11 + 2, 2 * 11)
    steps = 2 * 11 + 2 * 7
    assert count_passes(STAGED) == Passes(128, steps + 2, steps)
    assert count_passes(STAGED).alone == 128 + 2 * steps + 2
    own = dataclasses.replace(STAGED, encoder_starts=5)
    assert count_passes(own) == Passes(128, steps + 2 + 5, steps)


def test_passes_of_all_levels_worked_out_by_hand():
    """Each level of each candidate goes its own steps, and is drawn in the end."""
    auto = dataclasses.replace(STAGED, closeness=AUTO)
    many = 2 * len(LEVELS)
    steps = 2 * 11 + many * 7
    assert count_passes(auto) == Passes(128, steps + many, steps)


@pytest.mark.parametrize(
    ("closeness", "num_steps", "steps", "last"),
    [
        (0.5, 0, 0, 2),
        (0.5, 4, 2 * 4, 2),
        (0.5, 13, 2 * 13, 2),
        (AUTO, 11, 2 * 11, 2),
        (AUTO, 13, 2 * 11 + 8 * 2, 8),
        (0, 11, 2 * 11, 2),
    ],
)
def test_passes_of_a_search_that_is_ended_early(closeness, num_steps, steps, last):
    search = dataclasses.replace(STAGED, closeness=closeness)
    assert count_passes(search, num_steps) == Passes(128, steps + last, steps)


# ------------------------------------------------------------------------- stages


@pytest.mark.parametrize(
    ("done", "num_steps", "parts"),
    [
        (0, 18, [(11, False), (7, True)]),
        (0, 4, [(4, False)]),
        (0, 11, [(11, False)]),
        (3, 9, [(8, False), (1, True)]),
        (11, 3, [(3, True)]),
        (30, 2, [(2, True)]),
        (0, 0, []),
        (12, 0, []),
    ],
)
def test_steps_fall_into_stages_of_which_the_last_goes_on(done, num_steps, parts):
    assert [*segments(STAGED, done, num_steps)] == parts


@pytest.mark.parametrize(
    "search",
    [PLAIN, dataclasses.replace(STAGED, closeness=0)],
    ids=["no_steps", "no_closeness"],
)
def test_without_an_inner_search_the_first_stage_goes_on(search):
    assert [*segments(search, 0, 11)] == [(11, False)]
    assert [*segments(search, 9, 5)] == [(5, False)]


def test_an_inner_search_may_be_all_there_is():
    search = dataclasses.replace(STAGED, num_steps=0)
    assert [*segments(search, 0, 7)] == [(7, True)]


@pytest.mark.parametrize("search", [STAGED, PLAIN], ids=["staged", "plain"])
@pytest.mark.parametrize("step", [1, 2, 5])
def test_parts_in_several_calls_are_the_parts_of_one(search, step):
    each = [
        part
        for done in range(0, 20, step)
        for part in segments(search, done, min(step, 20 - done))
    ]
    for is_inner in (False, True):
        counts = (
            sum(part.steps for part in parts if part.is_inner == is_inner)
            for parts in (each, segments(search, 0, 20))
        )
        assert len({*counts}) == 1
