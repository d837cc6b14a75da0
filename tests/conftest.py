"""Four fake devices, checked shapes, parsed flags: for every test."""

import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
os.environ["JAX_PLATFORMS"] = "cpu"

from absl import flags
from jaxtyping import install_import_hook

install_import_hook("cgan_jax", "beartype.beartype")
flags.FLAGS.mark_as_parsed()  # grain reads one
