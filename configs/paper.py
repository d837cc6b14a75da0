"""The paper's recipe, as far as it is told: faces, one sketch style, the halves of a picture.

    cgan-train --config=paper --workdir=runs/paper --config.data.source=celeba:DIR

Networks, losses and rates are those of `default.py`, where each value has its source; after
a colon stands another style, `--config=paper:fdog`. Searches, those of the validation among
them, are those of the preset `paper` in `presets.py`; cgan-complete and the commands that
score take it by `--preset=paper`.
"""

import ml_collections

from cgan_jax.configs import default, presets


def get_config(style: str = "xdog") -> ml_collections.ConfigDict:
    """The default, searched as in the paper."""
    config = default.get_config(style)
    config.data.source = "celeba:data/celeba"  # slides; about 200,000 faces
    config.projection = presets.get_projection("paper", config.projection)
    return config
