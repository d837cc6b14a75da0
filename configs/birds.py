"""Birds: CUB-200-2011, in any sketch style.

cgan-train --config=birds:fdog --workdir=runs/birds_fdog --config.data.source=cub:DIR
"""

import ml_collections

from cgan_jax.configs import default


def get_config(style: str = "xdog") -> ml_collections.ConfigDict:
    """The default, on birds."""
    config = default.get_config(style)
    config.data.source = "cub:data/CUB_200_2011"  # slides; about 11,700 birds
    return config
