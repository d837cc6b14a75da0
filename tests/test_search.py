"""What a search is: its numbers apart from its structure, its schedules, its cost."""

import dataclasses
import json

import numpy as np
import pytest

from cgan_jax.configs import default
from cgan_jax.search import (
    Numbers,
    Passes,
    Search,
    blur_weights,
    count_passes,
    schedule,
    segments,
)

SEARCH = Search(**default.get_config().projection)
STAGED = dataclasses.replace(
    SEARCH, stages=((32, 5), (8, 7)), num_candidates=2, num_steps=11
)


@pytest.mark.parametrize("name", Numbers._fields)
def test_a_number_is_no_part_of_the_structure(name):
    one, other = (dataclasses.replace(SEARCH, **{name: x}) for x in (0.25, 0.5))
    assert one.structure == other.structure
    assert hash(one.structure) == hash(other.structure)
    assert (getattr(one.numbers, name), getattr(other.numbers, name)) == (0.25, 0.5)
    assert one.numbers._replace(**{name: 0}) == other.numbers._replace(**{name: 0})


@pytest.mark.parametrize("name", ["noise", "stop_at", "perceptual_weight"])
def test_whether_there_is_noise_a_rest_or_a_d_is_compiled(name):
    without = dataclasses.replace(SEARCH, **{name: 0.0})
    assert without.structure != dataclasses.replace(SEARCH, **{name: 0.1}).structure


@pytest.mark.parametrize(
    ("name", "value"),
    [("mass", "intensity"), ("num_steps", 7), ("blur_widths", (0.0, 2.0))],
)
def test_everything_else_is_compiled(name, value):
    changed = dataclasses.replace(SEARCH, **{name: value})
    assert changed.structure != SEARCH.structure
    assert changed.numbers == SEARCH.numbers


@pytest.mark.parametrize(
    "name",
    ["optimizer", "bound", "distance", "photo_distance", "direction", "mass"]
    + ["start_direction", "learning_rate_schedule", "perceptual_schedule"]
    + ["perceptual_form", "perceptual_role"],
)
def test_a_choice_that_there_is_not_is_refused_with_the_choices(name):
    fields = dict(default.get_config().projection) | {name: "kI"}
    with pytest.raises(Exception, match=f"(?s){name}.*kI") as caught:
        Search(**fields)
    assert str(fields[name]) in str(caught.value)


def test_a_search_survives_json():
    """As reports keep it and workers of benchmarks get it."""
    fields = dataclasses.asdict(dataclasses.replace(STAGED, blur_widths=(0.0, 2.0)))
    again = Search(**json.loads(json.dumps(fields)))
    assert again.stages == ((32, 5), (8, 7))
    assert again.blur_widths == (0.0, 2.0)
    hash(again)


def test_passes_worked_out_by_hand():
    assert count_passes(SEARCH) == Passes(128, 2 * 18 + 2, 2 * 18)
    steps = 32 * 5 + 8 * 7 + 2 * 11
    assert count_passes(STAGED) == Passes(128, steps + 2, steps)
    assert count_passes(STAGED).alone == 128 + 2 * steps + 2
    own = dataclasses.replace(STAGED, encoder_starts=5)
    assert count_passes(own) == Passes(128, steps + 2 + 5, steps)


@pytest.mark.parametrize(
    ("done", "num_steps", "parts"),
    [
        (0, 23, [(32, 5), (8, 7), (2, 11)]),
        (0, 4, [(32, 4)]),
        (3, 4, [(32, 2), (8, 2)]),
        (3, 9, [(32, 2), (8, 7), (2, 0)]),
        (12, 3, [(2, 3)]),
        (30, 2, [(2, 2)]),
    ],
)
def test_steps_fall_into_stages(done, num_steps, parts):
    found = list(segments(STAGED, done, num_steps))
    assert [(part.candidates, part.steps) for part in found] == parts
    assert not any(part.looks for part in found)


@pytest.mark.parametrize(
    ("done", "num_steps", "parts"),
    [
        (0, 12, [(8, 3, True), (8, 3, True), (2, 3, True), (2, 3, True)]),
        (0, 4, [(8, 3, True), (8, 1, False)]),
        (4, 3, [(8, 2, True), (2, 1, False)]),
        (7, 7, [(2, 2, True), (2, 3, True), (2, 2, False)]),
        (6, 0, [(2, 0, False)]),
    ],
)
def test_stages_fall_into_chunks_after_which_it_is_looked_who_stalled(
    done, num_steps, parts
):
    search = dataclasses.replace(STAGED, stages=((8, 6),), num_steps=6, chunk_steps=3)
    assert list(segments(search, done, num_steps)) == parts


def test_schedules_go_where_their_names_say():
    at = [float(schedule("rising", x)) for x in (0.0, 0.25, 1.0)]
    assert at == [0.0, 0.25, 1.0]
    assert [schedule("falling", x) for x in (0.0, 0.25, 1.0)] == [1.0, 0.75, 0.0]
    assert [schedule("constant", x) for x in (0.0, 1.0)] == [1.0, 1.0]
    cosine = [float(schedule("cosine", x)) for x in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(cosine, [1.0, 0.5, 0.0], atol=1e-6)


def test_weights_of_the_blurs_go_from_wide_to_narrow():
    np.testing.assert_allclose(blur_weights(4, 0.0, 0.3), 0.25, rtol=1e-6)
    first, middle, last = (blur_weights(3, 50.0, x) for x in (0.0, 0.5, 1.0))
    np.testing.assert_allclose(first, [0, 0, 1], atol=1e-6)
    np.testing.assert_allclose(middle, [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(last, [1, 0, 0], atol=1e-6)
    by_hand = np.exp([-2.0, -1.0, 0.0])
    np.testing.assert_allclose(
        blur_weights(3, 1.0, 0.0), by_hand / by_hand.sum(), rtol=1e-5
    )
