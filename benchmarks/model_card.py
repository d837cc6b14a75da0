"""Prints the figures of a face model's card, and draws what to look at.

    pip install '.[faces]'
    cgan-prepare --source=faces.zip --output=prepared/faces
    python benchmarks/model_card.py --model=faces --data=prepared/faces

Prints one JSON line: the share of generated photographs in which dlib's frontal face
detector finds a face, beside the share for test photographs at the same size. The sheet
`out/model_card/nearest.png` shows samples beside their nearest training photographs
(it holds pictures of the data: do not pass it on).
"""

import json
from pathlib import Path

import dlib
import numpy as np
from absl import app, flags
from PIL import Image

from cgan_jax import complete, sample, sheets
from cgan_jax.dataset import Pairs, open_pairs
from cgan_jax.faces import DETECTOR_SIDE
from cgan_jax.joint import PHOTO
from cgan_jax.model_files import Model

FLAGS = flags.FLAGS
flags.DEFINE_string("model", "faces", "Bundled model, published folder or workdir.")
flags.DEFINE_string("data", None, "Prepared data set.", required=True)
flags.DEFINE_string("output", "out/model_card", "Folder of the sheet.")
flags.DEFINE_integer("num_samples", 200, "Samples, and test photographs.", 1)
flags.DEFINE_integer("num_nearest", 8, "Samples whose neighbours are drawn.", 1)


def face_share(photos: np.ndarray) -> float:
    """The part of uint8 photographs `(n, h, w, 3)` in which a face is found."""
    detect = dlib.get_frontal_face_detector()
    size = (DETECTOR_SIDE, DETECTOR_SIDE)
    enlarged = [
        Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC)
        for photo in photos
    ]
    return float(np.mean([len(detect(np.asarray(image))) > 0 for image in enlarged]))


def sampled_photos(model: Model, count: int) -> np.ndarray:
    """uint8 `(n, s, s, 3)` of samples."""
    pairs, names = sample.sample_pairs(model, count, seed=0), model.joint.names
    return np.split(pairs, len(names), axis=2)[names.index(PHOTO)]


def all_photos(pairs: Pairs) -> np.ndarray:
    """uint8 `(n, s, s, 3)`."""
    return np.stack([pair["photo"] for pair in pairs])


def nearest(
    photos: np.ndarray, train: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Indices and root mean square distances of the k nearest, mirrored ones included."""
    distances = np.stack(
        [
            np.minimum(_distance(photo, train), _distance(photo[:, ::-1], train))
            for photo in photos
        ]
    )
    order = np.argsort(distances, axis=1)[:, :k]
    return order, np.take_along_axis(distances, order, axis=1)


def _distance(photo: np.ndarray, train: np.ndarray) -> np.ndarray:
    blocks = np.array_split(train, 32)
    return np.concatenate(
        [
            np.sqrt(np.square(b.astype(np.float32) - photo).mean((1, 2, 3)))
            for b in blocks
        ]
    )


def _rounded(distances: np.ndarray) -> list[float]:
    return [round(float(x), 1) for x in distances[:, 0]]


def main(_: list[str]) -> None:
    model = complete.load_model(FLAGS.model)
    train, test = (all_photos(open_pairs(FLAGS.data, x)) for x in ("train", "test"))
    chosen = np.random.default_rng(0).choice(len(test), FLAGS.num_samples, False)
    photos = sampled_photos(model, FLAGS.num_samples)

    samples = photos[: FLAGS.num_nearest]
    indices, distances = nearest(samples, train, 3)
    held_out = test[np.sort(chosen)[: FLAGS.num_nearest]]
    rows = [
        [sheets.enlarge(picture) for picture in (photo, *train[near])]
        for photo, near in zip(samples, indices, strict=True)
    ]
    output = Path(FLAGS.output)
    output.mkdir(parents=True, exist_ok=True)
    sheets.save(sheets.grid(rows), output / "nearest.png")
    figures = {
        "model": model.name,
        "face_share_samples": face_share(photos),
        "face_share_test_photos": face_share(test[np.sort(chosen)]),
        "num_samples": FLAGS.num_samples,
        "nearest_rms_samples": _rounded(distances),
        "nearest_rms_test_photos": _rounded(nearest(held_out, train, 1)[1]),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    app.run(main)
