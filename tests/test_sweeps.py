"""Sweeps: how they are written, what is refused, and in which order settings come."""

import re

import pytest

from cgan_jax import sweeps
from cgan_jax.configs import default

FIELDS = sweeps.flatten(default.get_config().to_dict())


def test_values_have_the_type_of_their_field():
    texts = [
        "projection.perceptual_weight=0,1e-2, 1",
        "projection.num_steps=9,18",
        "projection.keep_spread=true,false",
        "projection.direction=y||G,G||y",
        "projection.closeness=auto,0,0.5",
        'train.diffaugment=,color,"color,translation"',
    ]
    found = sweeps.parse(texts, FIELDS)
    assert found == {
        "projection.perceptual_weight": (0.0, 0.01, 1.0),
        "projection.num_steps": (9, 18),
        "projection.keep_spread": (True, False),
        "projection.direction": ("y||G", "G||y"),
        "projection.closeness": ("auto", 0.0, 0.5),
        "train.diffaugment": ("", "color", "color,translation"),
    }
    assert {type(x) for x in found["projection.perceptual_weight"]} == {float}
    assert list(found) == [text.partition("=")[0] for text in texts]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("projection.mass", "names no values: write FIELD=VALUE,VALUE"),
        ("projection.mass=", "names no values"),
        ("projection.num_step=9", "no field 'projection.num_step', did you mean 'proj"),
        ("projection.lambda=9", "no field 'projection.lambda'; Choose of .*mass, "),
        ("lambda=9", r"no field 'lambda'; Choose of .*data\.\*, .*train\.\*"),
        ("projection.num_steps=9,x", "'x' is no whole number"),
        ("projection.num_steps=1.5", "'1.5' is no whole number"),
        ("projection.momentum=a", "'a' is no finite number"),
        ("projection.momentum=0,,1", "'' is no finite number"),
        ("projection.momentum=nan", "'nan' is no finite number"),
        ("projection.momentum=inf", "'inf' is no finite number"),
        ("projection.keep_spread=1", "'1' is neither true nor false"),
        ("projection.closeness=close", "'close' is no finite number"),
        ("projection.closeness=auto,auto", "auto stands there twice"),
        ("projection.momentum=0.1,1e-1", "0.1 stands there twice"),
    ],
)
def test_what_cannot_be_read_is_named_with_the_way_out(text, message):
    with pytest.raises(ValueError, match=f"--sweep={re.escape(text)}.*{message}"):
        sweeps.parse([text], FIELDS)


def test_a_field_is_swept_once():
    texts = ["projection.momentum=0", "projection.momentum=1"]
    with pytest.raises(ValueError, match="projection.momentum is swept twice"):
        sweeps.parse(texts, FIELDS)


def test_every_combination_comes_once_the_last_field_first():
    found = list(sweeps.combinations({"a.x": (1, 2), "b.y": ("u", "v", "w")}))
    labels = [sweeps.label(values) for values in found]
    want = ["x=1, y=u", "x=1, y=v", "x=1, y=w", "x=2, y=u", "x=2, y=v", "x=2, y=w"]
    assert labels == want


def test_names_keep_their_sections_where_they_need_them():
    assert sweeps.short_names(["a.x", "b.y"]) == {"a.x": "x", "b.y": "y"}
    assert sweeps.short_names(["a.x", "b.x"]) == {"a.x": "a.x", "b.x": "b.x"}


@pytest.mark.parametrize("text", ["0.001", "1e-06", "true", "18", "y||G"])
def test_a_value_is_shown_as_it_is_read(text):
    like = {"0": 0.0, "1e": 0.0, "t": True, "18": 0, "y": ""}
    (kind,) = [x for start, x in like.items() if text.startswith(start)]
    ((value,),) = sweeps.parse([f"f={text}"], {"f": kind}).values()
    assert sweeps.to_text(value) == text
