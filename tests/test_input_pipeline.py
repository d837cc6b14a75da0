"""Batches: parts, flips, epochs, hosts and exact resumption."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from cgan_jax.dataset import Pairs
from cgan_jax.input_pipeline import (
    flip_pair,
    joint_from_pair,
    make_train_iterator,
)
from cgan_jax.joint import PHOTO
from cgan_jax.networks.layouts import make_layout

_SIDE = 4
_STYLES = ("xdog", "fdog", "photocopy")


class _Numbered(Pairs):
    """Random photographs; the corner (0, 0) of sketch r in style k is 10 k + r.

    The red channel of each photograph is its sketch, but for that; all else exceeds 99.
    """

    def __init__(self, count, *styles):
        super().__init__(Path(), "train", styles, {"counts": {"train": count}})
        shape = (count, _SIDE, _SIDE, 3)
        photos = np.random.default_rng(0).integers(100, 256, shape, np.uint8)
        photos[:, 0, 0, 0] = np.arange(count)
        object.__setattr__(self, "photos", photos)

    def __getitem__(self, i):
        sketches = np.stack([self.photos[i, ..., 0]] * len(self.styles))
        sketches[:, 0, 0] += np.arange(0, 10 * len(self.styles), 10, dtype=np.uint8)
        return {"sketches": sketches, "photo": self.photos[i]}


def _pairs(count, *styles):
    return _Numbered(count, *styles or ("xdog",))


def _halves(*styles):
    return make_layout("halves", _SIDE, styles or ["xdog"]).joint


def _planes(*styles):
    return make_layout("planes", _SIDE, styles or ["xdog"]).joint


def _rows(batch: np.ndarray) -> list[int]:
    """Which row of `_pairs` each joint image shows, flipped or not: all others exceed 99.

    By its first plane, of a sketch.
    """
    return np.rint((batch[:, 0, :, 0].min(axis=1) + 1) * 127.5).astype(int).tolist()


def _take(iterator, count: int) -> np.ndarray:
    return np.stack([next(iterator)["joint"] for _ in range(count)])


@pytest.fixture(params=[_halves, _planes], ids=["halves", "planes"])
def joint(request):
    """Of one style."""
    return request.param()


def test_a_joint_image_has_its_sketch_and_then_the_photo(joint):
    joint = dataclasses.replace(joint, size=2)
    sketch = np.array([[[0, 255], [51, 102]]], np.uint8)
    photo = np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 20
    planes = joint_from_pair({"sketches": sketch, "photo": photo}, joint)
    assert planes.dtype == np.float32
    assert planes.shape == joint.shape
    for plane in np.moveaxis(planes[..., :-3], -1, 0):
        expected = [[-1, 1], [-0.6, -0.2]]
        np.testing.assert_allclose(plane, expected, atol=1e-6)
    np.testing.assert_allclose(planes[..., -3:], photo / 127.5 - 1, atol=1e-6)


def test_planes_hold_every_style_in_its_place():
    joint = _planes(*_STYLES)
    pair = _pairs(5, *_STYLES)[4]
    planes = joint_from_pair(pair, joint)
    for name, sketch in zip(_STYLES, pair["sketches"], strict=True):
        np.testing.assert_allclose(joint.part(planes, name), sketch / 127.5 - 1, 1e-5)
    assert [planes[0, 0, i] for i in range(3)] == [
        np.float32(x / 127.5 - 1) for x in (4, 14, 24)
    ]


@pytest.mark.parametrize("styles", [_STYLES[:1], _STYLES])
def test_flip_mirrors_each_part_within_itself(styles):
    joint, pair = _planes(*styles), _pairs(1, *styles)[0]
    planes = joint_from_pair(pair, joint)
    mirrored = joint_from_pair(flip_pair(pair), joint)
    np.testing.assert_array_equal(mirrored, planes[:, ::-1])
    assert not np.array_equal(mirrored, planes)


@pytest.mark.parametrize("styles", [_STYLES[:1], _STYLES])
def test_training_flips_half_of_the_pairs_and_never_one_part_alone(styles):
    joint, pairs = _planes(*styles), _pairs(8, *styles)
    iterator = make_train_iterator(pairs, joint, batch_size=8, seed=0)
    batches = np.concatenate(_take(iterator, 25))
    flips = []
    for row, planes in zip(_rows(batches), batches, strict=True):
        plain = joint_from_pair(pairs[row], joint)
        mirrored = joint_from_pair(flip_pair(pairs[row]), joint)
        flips.append(np.array_equal(planes, mirrored))
        assert flips[-1] or np.array_equal(planes, plain)
    assert 70 < sum(flips) < 130


def test_a_batch_of_pairs_is_joined_like_its_pairs(joint):
    pairs = _pairs(3)
    sketches = np.stack([pairs[row]["sketches"] for row in range(3)])
    batch = joint_from_pair({"sketches": sketches, "photo": pairs.photos}, joint)
    expected = np.stack([joint_from_pair(pairs[row], joint) for row in range(3)])
    np.testing.assert_array_equal(batch, expected)


def test_without_flips_pairs_come_as_they_are(joint):
    pairs = _pairs(6)
    iterator = make_train_iterator(pairs, joint, batch_size=6, seed=0, flip=False)
    batch = next(iterator)["joint"]
    assert batch.dtype == np.float32
    expected = np.stack([joint_from_pair(pairs[row], joint) for row in _rows(batch)])
    np.testing.assert_array_equal(batch, expected)


def test_each_epoch_has_every_pair_once_in_a_new_order(joint):
    batches = _take(make_train_iterator(_pairs(12), joint, batch_size=4, seed=3), 9)
    orders = np.reshape([_rows(batch) for batch in batches], (3, 12))
    for order in orders:
        assert sorted(order) == list(range(12))
    assert len({tuple(order) for order in orders}) == 3


def test_a_batch_may_span_two_epochs(joint):
    batches = _take(make_train_iterator(_pairs(10), joint, batch_size=4, seed=3), 5)
    rows = np.concatenate([_rows(batch) for batch in batches])
    assert sorted(rows[:10]) == sorted(rows[10:]) == list(range(10))


def test_the_seed_decides(joint):
    pairs = _pairs(12)
    first, same, other = (
        _take(make_train_iterator(pairs, joint, batch_size=4, seed=seed), 6)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("steps", [0, 1, 7])
def test_a_restored_iterator_goes_on_exactly(joint, steps):
    pairs = _pairs(10)
    iterator = make_train_iterator(pairs, joint, batch_size=4, seed=5)
    for _ in range(steps):
        next(iterator)
    state = json.loads(json.dumps(iterator.get_state()))
    expected = _take(iterator, 8)
    resumed = make_train_iterator(pairs, joint, batch_size=4, seed=5)
    resumed.set_state(state)
    np.testing.assert_array_equal(_take(resumed, 8), expected)
    iterator.set_state(state)
    np.testing.assert_array_equal(_take(iterator, 8), expected)


@pytest.mark.parametrize("make_joint", [_halves, _planes])
@pytest.mark.parametrize("num_hosts", [2, 4])
def test_hosts_together_are_one(num_hosts, make_joint):
    pairs, joint = _pairs(10, *_STYLES), make_joint(*_STYLES)
    options = {"batch_size": 4, "seed": 7, "num_hosts": num_hosts}
    alone = _take(make_train_iterator(pairs, joint, batch_size=4, seed=7), 8)
    for host in range(num_hosts):
        iterator = make_train_iterator(pairs, joint, **options, host=host)
        rows = np.split(alone, num_hosts, axis=1)[host]
        np.testing.assert_array_equal(_take(iterator, 8), rows)


def test_one_sketch_mixes_styles_anew_each_time():
    pairs, joint = _pairs(10, *_STYLES), _halves(*_STYLES)
    epochs = _take(make_train_iterator(pairs, joint, batch_size=10, seed=0), 30)
    shown = np.reshape([_rows(batch) for batch in epochs], -1)
    rows, styles = shown % 10, shown // 10
    assert np.bincount(rows).tolist() == [30] * 10
    assert np.all(np.abs(np.bincount(styles) - 100) < 40)
    assert all(len(set(styles[rows == row])) == 3 for row in range(10))


def test_several_sketches_are_shown_together_each_time():
    pairs, joint = _pairs(10, *_STYLES), _planes(*_STYLES)
    batches = _take(make_train_iterator(pairs, joint, batch_size=10, seed=0), 3)
    for planes in batches.reshape(-1, *joint.shape):
        shown = [_rows(planes[None, ..., joint.where(x)])[0] for x in _STYLES]
        assert shown == [shown[0], shown[0] + 10, shown[0] + 20]
        photo = joint.part(planes, PHOTO)
        same = np.isclose(planes[..., 0], photo[..., 0])
        assert same.sum() >= _SIDE**2 - 1  # but for the corner


def test_mixed_styles_are_restored_exactly():
    pairs, joint = _pairs(10, *_STYLES[:2]), _halves(*_STYLES[:2])
    iterator = make_train_iterator(pairs, joint, batch_size=4, seed=5)
    _take(iterator, 3)
    state = json.loads(json.dumps(iterator.get_state()))
    resumed = make_train_iterator(pairs, joint, batch_size=4, seed=5)
    resumed.set_state(state)
    np.testing.assert_array_equal(_take(resumed, 8), _take(iterator, 8))


def test_fewer_pictures_than_a_batch():
    with pytest.raises(
        ValueError,
        match=r"7 pictures to train on.*batch of 8.*config\.train\.batch_size",
    ):
        make_train_iterator(_pairs(7), _halves(), batch_size=8, seed=0)


@pytest.mark.parametrize(("batch_size", "num_hosts"), [(0, 1), (6, 4)])
def test_a_batch_that_hosts_cannot_share(batch_size, num_hosts):
    with pytest.raises(ValueError, match=rf"config\.train\.batch_size is {batch_size}"):
        make_train_iterator(
            _pairs(8), _halves(), batch_size=batch_size, seed=0, num_hosts=num_hosts
        )
