"""Batches of joint images for training, read with grain."""

import functools
from collections.abc import Mapping

import grain
import numpy as np
from jaxtyping import Float

from cgan_jax.dataset import Pairs
from cgan_jax.images import from_uint8
from cgan_jax.joint import PHOTO, Joint

# Batches read ahead: enough to hide the reading behind a step, small enough to forget.
_READ = grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)


def joint_from_pair(
    pair: Mapping[str, np.ndarray], joint: Joint
) -> Float[np.ndarray, "*b s s c"]:
    """The joint image of a photograph and its sketches, or a batch of them.

    Args:
      pair: uint8 `sketches` (..., n, s, s), one for each sketch of the joint image in
        its order, and `photo` (..., s, s, 3).
      joint: what joint images hold.

    Returns:
      float32 in [-1, 1], x / 127.5 - 1.
    """
    sketches = np.moveaxis(from_uint8(pair["sketches"]), -3, 0)
    pictures = dict(zip(joint.sketches, sketches, strict=True))
    return joint.stack(pictures | {PHOTO: from_uint8(pair["photo"])})


def flip_pair(pair: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The pair seen in a mirror: every sketch and the photograph, each within itself."""
    return {"sketches": pair["sketches"][..., ::-1], "photo": pair["photo"][:, ::-1]}


def make_train_iterator(
    pairs: Pairs,
    joint: Joint,
    *,
    batch_size: int,
    seed: int,
    flip: bool = True,
    host: int = 0,
    num_hosts: int = 1,
) -> grain.DatasetIterator[dict[str, np.ndarray]]:
    """Batches without end, in a new order each epoch.

    The rows of host h are the h-th part of the batch that one host alone would have, as
    its devices are the h-th of all: a row's augmentation does not depend on the number of
    hosts. A batch may hold the end of one epoch and the beginning of the next. Where pairs
    have several styles and joint images one sketch, it shows one of them, drawn anew each
    time. `get_state` and `set_state` of the iterator bring back the very same batches.

    Args:
      pairs: the training pairs, in the styles of the joint image, or in those that its
        one sketch mixes.
      joint: what joint images hold.
      batch_size: pairs a step, over all hosts.
      seed: of the order, the mirroring and the mixing.
      flip: whether half of the pairs, drawn anew each time, are mirrored.
      host: index of this process.
      num_hosts: number of processes that share each batch.

    Returns:
      An iterator of `{'joint': float32 (batch_size / num_hosts, s, s, C)}` in [-1, 1].

    Raises:
      ValueError: there are fewer pairs than one batch, or the hosts cannot share it.
    """
    _check_batch(len(pairs), batch_size, num_hosts)
    # repeat() reshuffles each epoch; the share of a host comes after everything random.
    dataset = grain.MapDataset.source(pairs).seed(seed).shuffle().repeat(None)
    mixes = len(joint.sketches) == 1
    dataset = dataset.random_map(functools.partial(_draw_pair, flip=flip, mixes=mixes))
    parts = dataset.batch(batch_size // num_hosts, drop_remainder=True)
    to_example = functools.partial(_to_example, joint=joint)
    return iter(parts[host::num_hosts].map(to_example).to_iter_dataset(_READ))


def _check_batch(num_pairs: int, batch_size: int, num_hosts: int) -> None:
    if batch_size < 1 or batch_size % num_hosts:
        raise ValueError(
            f"config.train.batch_size is {batch_size}: it must be a positive multiple of the "
            f"number of hosts, {num_hosts}"
        )
    if num_pairs < batch_size:
        raise ValueError(
            f"the data source has {num_pairs} pictures to train on, fewer than one batch of "
            f"{batch_size}: "
            "lower config.train.batch_size or give more pictures in config.data.source"
        )


def _draw_pair(
    pair: Mapping[str, np.ndarray],
    rng: np.random.Generator,
    *,
    flip: bool,
    mixes: bool,
) -> Mapping[str, np.ndarray]:
    """The photograph with its sketches, or one of them, half of the time mirrored."""
    if mixes:
        style = rng.integers(len(pair["sketches"]))
        pair = {"sketches": pair["sketches"][style : style + 1], "photo": pair["photo"]}
    return flip_pair(pair) if flip and rng.random() < 0.5 else pair


def _to_example(
    pair: Mapping[str, np.ndarray], *, joint: Joint
) -> dict[str, np.ndarray]:
    return {"joint": joint_from_pair(pair, joint)}
