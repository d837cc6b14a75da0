"""Contextual GAN for image generation from sketches, in JAX and Flax.

Implements "Image Generation from Sketch Constraint Using Contextual GAN" (Lu,
Wu, Tai and Tang, ECCV 2018, https://arxiv.org/abs/1711.08972). `load` gives a model that
completes sketches (docs/python.md); for the rest import the module that you need, such
as `cgan_jax.models`. This one imports nothing until `load` is used.
"""

TYPE_CHECKING = False  # as typing's, without its import
if TYPE_CHECKING:
    from cgan_jax.completer import Completer

__version__ = "0.2.0"


def load(name_or_folder: str) -> "Completer":
    """A bundled model by name, a published one by folder, or a run's newest by workdir.

    Raises:
      cgan_jax.model_files.ModelError: there is no such model, or it cannot be read.
    """
    from cgan_jax import completer

    return completer.load(name_or_folder)
