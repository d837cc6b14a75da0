"""Contextual GAN for image generation from sketches, in JAX and Flax.

Implements "Image Generation from Sketch Constraint Using Contextual GAN" (Lu,
Wu, Tai and Tang, ECCV 2018, https://arxiv.org/abs/1711.08972). Import the module
that you need, such as `cgan_jax.models`; this one imports nothing.
"""

__version__ = "0.1.0"
