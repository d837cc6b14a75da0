"""Faces by a conditional GAN, in all three sketch styles: the baseline of `faces.py`.

    cgan-train --config=faces_conditional --workdir=runs/faces_conditional \\
      --config.data.source=celeba:DIR

In the manner of pix2pix (Isola et al. 2017), on the same pictures, by the same loop;
`cgan_jax/baselines/conditional.py` says in what it differs from theirs.
"""

import ml_collections

from cgan_jax.configs import default


def get_config(style: str = "xdog,fdog,photocopy") -> ml_collections.ConfigDict:
    """As `faces.py`, another kind of model; a sketch is in one style, drawn anew each time."""
    config = default.get_config(style)
    config.kind = "conditional"  # ours
    config.data.source = "celeba:data/celeba"  # slides; about 200,000 faces
    config.model.layout = "planes"  # ours; a sketch has one channel, three in pix2pix
    # ours; as the contextual GAN of faces, 64 in pix2pix
    config.model.base_filters = 32
    # ours; Isola et al. 2017, section 3.3; all styles
    config.train.learning_rate = 2e-4
    return config
