"""Faces by a conditional GAN, in any sketch style: the baseline of `faces.py`.

    cgan-train --config=faces_conditional --workdir=runs/faces_conditional \\
      --config.data.source=celeba:DIR

In the manner of pix2pix (Isola et al. 2017), on the same pictures, by the same loop;
`cgan_jax/baselines/conditional.py` says in what it differs from theirs.
"""

import ml_collections

from cgan_jax.configs import default


def get_config(style: str = "xdog") -> ml_collections.ConfigDict:
    """As `faces.py`, another kind of model."""
    config = default.get_config(style)
    config.kind = "conditional"  # ours
    config.data.source = "celeba:data/celeba"  # slides; about 200,000 faces
    config.model.base_filters = (
        32  # ours; as the contextual GAN of faces, 64 in pix2pix
    )
    config.train.batch_size = 32  # ours; as the contextual GAN of faces, 1 in pix2pix
    config.train.learning_rate = (
        2e-4  # ours; Isola et al. 2017, section 3.3; all styles
    )
    return config
