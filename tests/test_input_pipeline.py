"""Batches: layout, flips, epochs, hosts and exact resumption."""

import json
from pathlib import Path

import numpy as np
import pytest

from cgan_jax.dataset import Pairs
from cgan_jax.input_pipeline import (
    all_batches,
    flip_pair,
    joint_from_pair,
    make_train_iterator,
)

_SIDE = 4


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


def _one(pairs, i):
    """The pair in its only style."""
    return {"sketch": pairs[i]["sketches"][0], "photo": pairs[i]["photo"]}


def _rows(batch: np.ndarray) -> list[int]:
    """Which row of `_pairs` each joint image shows, flipped or not: all others exceed 99."""
    return (
        np.rint((batch[:, 0, :_SIDE, 0].min(axis=1) + 1) * 127.5).astype(int).tolist()
    )


def _take(iterator, count: int) -> np.ndarray:
    return np.stack([next(iterator)["joint"] for _ in range(count)])


def test_joint_has_the_sketch_left_and_the_photo_right():
    sketch = np.array([[0, 255], [51, 102]], np.uint8)
    photo = np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 20
    joint = joint_from_pair({"sketch": sketch, "photo": photo})
    assert joint.dtype == np.float32
    assert joint.shape == (2, 4, 3)
    for channel in range(3):
        expected = [[-1, 1], [-0.6, -0.2]]
        np.testing.assert_allclose(joint[:, :2, channel], expected, atol=1e-6)
    np.testing.assert_allclose(joint[:, 2:], photo / 127.5 - 1, atol=1e-6)


def test_flip_mirrors_each_half_within_itself():
    pair = _one(_pairs(1), 0)
    joint, mirrored = joint_from_pair(pair), joint_from_pair(flip_pair(pair))
    np.testing.assert_array_equal(mirrored[:, :_SIDE], joint[:, :_SIDE][:, ::-1])
    np.testing.assert_array_equal(mirrored[:, _SIDE:], joint[:, _SIDE:][:, ::-1])
    assert not np.array_equal(mirrored, joint)


def test_training_flips_half_of_the_pairs_and_never_one_side_alone():
    pairs = _pairs(8)
    joints = np.concatenate(_take(make_train_iterator(pairs, batch_size=8, seed=0), 25))
    flips = []
    for row, joint in zip(_rows(joints), joints, strict=True):
        plain = joint_from_pair(_one(pairs, row))
        mirrored = joint_from_pair(flip_pair(_one(pairs, row)))
        flips.append(np.array_equal(joint, mirrored))
        assert flips[-1] or np.array_equal(joint, plain)
    assert 70 < sum(flips) < 130


def test_a_batch_of_pairs_is_joined_like_its_pairs():
    pairs = _pairs(3)
    sketches = np.concatenate([pairs[row]["sketches"] for row in range(3)])
    joints = joint_from_pair({"sketch": sketches, "photo": pairs.photos})
    expected = np.stack([joint_from_pair(_one(pairs, row)) for row in range(3)])
    np.testing.assert_array_equal(joints, expected)


def test_without_flips_pairs_come_as_they_are():
    pairs = _pairs(6)
    batch = next(make_train_iterator(pairs, batch_size=6, seed=0, flip=False))["joint"]
    assert batch.dtype == np.float32
    expected = np.stack([joint_from_pair(_one(pairs, row)) for row in _rows(batch)])
    np.testing.assert_array_equal(batch, expected)


def test_each_epoch_has_every_pair_once_in_a_new_order():
    batches = _take(make_train_iterator(_pairs(12), batch_size=4, seed=3), 9)
    orders = np.reshape([_rows(batch) for batch in batches], (3, 12))
    for order in orders:
        assert sorted(order) == list(range(12))
    assert len({tuple(order) for order in orders}) == 3


def test_a_batch_may_span_two_epochs():
    batches = _take(make_train_iterator(_pairs(10), batch_size=4, seed=3), 5)
    rows = np.concatenate([_rows(batch) for batch in batches])
    assert sorted(rows[:10]) == sorted(rows[10:]) == list(range(10))


def test_the_seed_decides():
    pairs = _pairs(12)
    first, same, other = (
        _take(make_train_iterator(pairs, batch_size=4, seed=seed), 6)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("steps", [0, 1, 7])
def test_a_restored_iterator_goes_on_exactly(steps):
    pairs = _pairs(10)
    iterator = make_train_iterator(pairs, batch_size=4, seed=5)
    for _ in range(steps):
        next(iterator)
    state = json.loads(json.dumps(iterator.get_state()))
    expected = _take(iterator, 8)
    resumed = make_train_iterator(pairs, batch_size=4, seed=5)
    resumed.set_state(state)
    np.testing.assert_array_equal(_take(resumed, 8), expected)
    iterator.set_state(state)
    np.testing.assert_array_equal(_take(iterator, 8), expected)


@pytest.mark.parametrize("num_hosts", [2, 4])
def test_hosts_together_are_one(num_hosts):
    pairs = _pairs(10, "xdog", "fdog", "photocopy")
    options = {"batch_size": 4, "seed": 7}
    alone = _take(make_train_iterator(pairs, **options), 8)
    for host in range(num_hosts):
        iterator = make_train_iterator(pairs, **options, host=host, num_hosts=num_hosts)
        rows = np.split(alone, num_hosts, axis=1)[host]
        np.testing.assert_array_equal(_take(iterator, 8), rows)


def test_styles_are_mixed_anew_each_time():
    pairs = _pairs(10, "xdog", "fdog", "photocopy")
    epochs = _take(make_train_iterator(pairs, batch_size=10, seed=0), 30)
    shown = np.reshape([_rows(batch) for batch in epochs], -1)
    rows, styles = shown % 10, shown // 10
    assert np.bincount(rows).tolist() == [30] * 10
    assert np.all(np.abs(np.bincount(styles) - 100) < 40)
    assert all(len(set(styles[rows == row])) == 3 for row in range(10))


def test_mixed_styles_are_restored_exactly():
    pairs = _pairs(10, "xdog", "fdog")
    iterator = make_train_iterator(pairs, batch_size=4, seed=5)
    _take(iterator, 3)
    state = json.loads(json.dumps(iterator.get_state()))
    resumed = make_train_iterator(pairs, batch_size=4, seed=5)
    resumed.set_state(state)
    np.testing.assert_array_equal(_take(resumed, 8), _take(iterator, 8))


def test_fewer_pictures_than_a_batch():
    with pytest.raises(
        ValueError,
        match=r"7 pictures to train on.*batch of 8.*config\.train\.batch_size",
    ):
        make_train_iterator(_pairs(7), batch_size=8, seed=0)


@pytest.mark.parametrize(("batch_size", "num_hosts"), [(0, 1), (6, 4)])
def test_a_batch_that_hosts_cannot_share(batch_size, num_hosts):
    with pytest.raises(ValueError, match=rf"config\.train\.batch_size is {batch_size}"):
        make_train_iterator(
            _pairs(8), batch_size=batch_size, seed=0, num_hosts=num_hosts
        )


@pytest.mark.parametrize(("count", "sizes"), [(7, [3, 3, 1]), (6, [3, 3]), (2, [2])])
def test_all_batches_shows_every_pair_once_in_order(count, sizes):
    pairs = _pairs(count)
    batches = [batch["joint"] for batch in all_batches(pairs, 3)]
    assert [len(batch) for batch in batches] == sizes
    expected = np.stack([joint_from_pair(_one(pairs, row)) for row in range(count)])
    np.testing.assert_array_equal(np.concatenate(batches), expected)


def test_all_batches_shows_one_style():
    with pytest.raises(ValueError, match="one style.*xdog.*fdog"):
        next(all_batches(_pairs(2, "xdog", "fdog"), 2))
