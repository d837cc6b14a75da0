"""Flags that the benchmarks beside PyTorch share.

A script adopts them as its own: `flags.adopt_module_key_flags(_flags)`.
"""

from __future__ import annotations

import _settings
from absl import flags

flags.DEFINE_list("filters", ["64", "32"], "Base filters, one network each.")
flags.DEFINE_list("layout", ["planes"], "How networks fold joint images, each in turn.")
flags.DEFINE_bool("peer", True, "Whether to run PyTorch.")
flags.register_validator(
    "filters",
    lambda values: all(value.isdecimal() and int(value) > 0 for value in values),
    "must be numbers such as 64,32",
)
flags.register_validator(
    "layout",
    lambda values: set(values) <= set(_settings.LAYOUTS),
    f"must be of {','.join(_settings.LAYOUTS)}",
)
