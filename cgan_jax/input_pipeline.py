"""Batches of joint images for training and evaluation, read with grain."""

import functools
from collections.abc import Iterator, Mapping

import grain
import numpy as np
from jaxtyping import Float

from cgan_jax.dataset import Pairs
from cgan_jax.images import from_uint8, join

# Batches read ahead: enough to hide the reading behind a step, small enough to forget.
_READ = grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)


def joint_from_pair(
    pair: Mapping[str, np.ndarray],
) -> Float[np.ndarray, "*b s 2*s 3"]:
    """The joint image of a pair, or of a batch of pairs: sketch left, photo right.

    Args:
      pair: uint8 `sketch` (..., s, s) and `photo` (..., s, s, 3).

    Returns:
      float32 in [-1, 1], x / 127.5 - 1; the sketch is grey in three channels.
    """
    grey = from_uint8(pair["sketch"])
    return join(np.repeat(grey[..., None], 3, axis=-1), from_uint8(pair["photo"]))


def flip_pair(pair: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The pair seen in a mirror: sketch and photograph, each within itself."""
    return {name: half[:, ::-1] for name, half in pair.items()}


def make_train_iterator(
    pairs: Pairs,
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
    hosts. A batch may hold the end of one epoch and the beginning of the next. Of several
    styles, each pair shows one, drawn anew each time. `get_state` and `set_state` of the
    iterator bring back the very same batches.

    Args:
      pairs: the training pairs, in the styles that are mixed.
      batch_size: number of pairs in a step, over all hosts together.
      seed: decides the order, the styles and the flips.
      flip: mirror half of the pairs, chosen anew each time.
      host: index of this process, below num_hosts.
      num_hosts: number of processes that share each batch.

    Returns:
      An iterator of `{'joint': float32 (batch_size / num_hosts, s, 2 s, 3)}` in [-1, 1].

    Raises:
      ValueError: there are fewer pairs than one batch, or the hosts cannot share it.
    """
    _check_batch(len(pairs), batch_size, num_hosts)
    # repeat() reshuffles each epoch; the share of a host comes after everything random.
    dataset = grain.MapDataset.source(pairs).seed(seed).shuffle().repeat(None)
    dataset = dataset.random_map(functools.partial(_draw_pair, flip=flip))
    parts = dataset.batch(batch_size // num_hosts, drop_remainder=True)
    return iter(parts[host::num_hosts].map(_to_example).to_iter_dataset(_READ))


def all_batches(pairs: Pairs, batch_size: int) -> Iterator[dict[str, np.ndarray]]:
    """Every pair once, in order, for evaluation; the last batch may be smaller.

    Yields:
      `{'joint': float32 (at most batch_size, s, 2 s, 3)}` in [-1, 1].

    Raises:
      ValueError: the pairs have several styles.
    """
    if len(pairs.styles) != 1:
        raise ValueError(f"one style is evaluated at a time, not {pairs.styles}")
    for start in range(0, len(pairs), batch_size):
        rows = range(start, min(start + batch_size, len(pairs)))
        read = [pairs[row] for row in rows]
        sketch = np.concatenate([pair["sketches"] for pair in read])
        photo = np.stack([pair["photo"] for pair in read])
        yield _to_example({"sketch": sketch, "photo": photo})


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
    pair: Mapping[str, np.ndarray], rng: np.random.Generator, *, flip: bool
) -> Mapping[str, np.ndarray]:
    """The photograph with its sketch in one of the styles, half of the time mirrored."""
    style = rng.integers(len(pair["sketches"]))
    chosen = {"sketch": pair["sketches"][style], "photo": pair["photo"]}
    return flip_pair(chosen) if flip and rng.random() < 0.5 else chosen


def _to_example(pair: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {"joint": joint_from_pair(pair)}
