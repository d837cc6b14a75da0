"""Faces: CelebA, all three sketch styles in one network.

    cgan-train --config=faces --workdir=runs/faces --config.data.source=celeba:DIR

In what it differs from the paper's recipe (`paper.py`), and why: sketches and photograph are
planes of one picture, so that they share every feature map (docs/recipes.md); one network
holds the three styles; D sees both through DiffAugment, so that it does not win by heart; half of
the paper's filters, which two CPU cores train in a day. The bundled model is one of
halves still: the model card in `cgan_jax/pretrained/faces/` says how it was made.
"""

import ml_collections

from cgan_jax.configs import default


def get_config(style: str = "xdog,fdog,photocopy") -> ml_collections.ConfigDict:
    """The default, but for the above."""
    config = default.get_config(style)
    config.data.source = "celeba:data/celeba"  # slides; about 200,000 faces
    config.model.layout = "planes"  # ours
    config.model.base_filters = 32  # ours; the published model stays under 16 MB
    config.train.learning_rate = 2e-4  # slides, for XDoG; ours for every style
    config.train.diffaugment = "color,translation"  # ours
    return config
