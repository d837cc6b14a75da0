"""Cars: Stanford Cars, all three sketch styles in one network.

cgan-train --config=cars --workdir=runs/cars --config.data.source=cars:DIR
"""

import ml_collections

from cgan_jax.configs import default


def get_config(style: str = "xdog,fdog,photocopy") -> ml_collections.ConfigDict:
    """As `faces.py`, which says why, on cars."""
    config = default.get_config(style)
    config.data.source = "cars:data/cars"  # slides; about 16,000 cars
    config.model.layout = "planes"  # ours
    config.model.base_filters = 32  # ours; the published model stays under 16 MB
    config.train.learning_rate = 2e-4  # slides, for XDoG; ours for every style
    config.train.diffaugment = "color,translation"  # ours
    return config
