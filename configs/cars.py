"""Cars: Stanford Cars, in any sketch style.

cgan-train --config=cars:fdog --workdir=runs/cars_fdog --config.data.source=cars:DIR
"""

import ml_collections

from cgan_jax.configs import default


def get_config(style: str = "xdog") -> ml_collections.ConfigDict:
    """The default, on cars."""
    config = default.get_config(style)
    config.data.source = "cars:data/cars"  # slides; about 16,000 cars
    return config
