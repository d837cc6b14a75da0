"""How far long work has got: a bar on a terminal, elsewhere a line now and then."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from absl import logging
from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 30
Item = TypeVar("Item")


def tracked(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
    """The items, counted as they are done.

    Args:
      items: what is worked through.
      what: they are, in the plural.
      total: how many.
    """
    bar = tqdm(items, what, total, disable=None, unit="")
    for done, item in enumerate(bar, 1):
        yield item
        if bar.disable:
            logging.log_every_n_seconds(
                logging.INFO, f"%d of %d {what}", _SECONDS_BETWEEN_LINES, done, total
            )
