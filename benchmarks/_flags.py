"""Flags that the benchmarks beside PyTorch share.

A script adopts them as its own: `flags.adopt_module_key_flags(_flags)`.
"""

from __future__ import annotations

from absl import flags

flags.DEFINE_list("filters", ["64", "32"], "Base filters, one network each.")
flags.DEFINE_bool("peer", True, "Whether to run PyTorch.")
flags.register_validator(
    "filters",
    lambda values: all(value.isdecimal() and int(value) > 0 for value in values),
    "must be numbers such as 64,32",
)
