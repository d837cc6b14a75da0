"""Faces: CelebA, in any sketch style. In XDoG lines it is the bundled model.

    cgan-train --config=faces:fdog --workdir=runs/faces_fdog --config.data.source=celeba:DIR

The bundled model saw CelebA's faces at 128x128 (research use only), cut to the
`img_align_celeba` frame. The model card in `cgan_jax/pretrained/faces/` says what came
out, and how long it took.
"""

import ml_collections

from cgan_jax.configs import default


def get_config(style: str = "xdog") -> ml_collections.ConfigDict:
    """The default at 32 base filters, which two CPU cores train overnight."""
    config = default.get_config(style)
    config.data.source = "celeba:data/celeba"  # slides; about 200,000 faces
    config.model.base_filters = 32  # ours; the published model stays under 16 MB
    config.train.batch_size = 32  # ours; twice the updates in an hour of CPU
    return config
