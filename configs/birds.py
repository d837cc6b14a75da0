"""Birds: CUB-200-2011, all three sketch styles in one network.

cgan-train --config=birds --workdir=runs/birds --config.data.source=cub:DIR
"""

import ml_collections

from cgan_jax.configs import default


def get_config(style: str = "xdog,fdog,photocopy") -> ml_collections.ConfigDict:
    """As `faces.py`, which says why, on birds."""
    config = default.get_config(style)
    config.data.source = "cub:data/CUB_200_2011"  # slides; about 11,700 birds
    config.model.layout = "planes"  # ours
    config.model.base_filters = 32  # ours; the published model stays under 16 MB
    config.train.learning_rate = 2e-4  # slides, for XDoG; ours for every style
    config.train.diffaugment = "color,translation"  # ours
    return config
