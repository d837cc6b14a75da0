"""Photographs of a data set that tensorflow-datasets has prepared."""

import dataclasses
import functools
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from cgan_jax.decoding import centre_square, cut_square, read_photo
from cgan_jax.pictures import SPLITS, Example, Picture, hash_split, named_split


@dataclasses.dataclass(frozen=True)
class TfdsPhotos:
    """Photographs of a prepared data set, cut to their centre squares; see `Source`.

    A picture's name is its split in the data set and its number there:
    `train/0000123`. Its identity is the data set's label, if it has one.
    """

    spec: str
    records: Mapping[str, Sequence[Any]] = dataclasses.field(repr=False)
    raw_records: Mapping[str, Sequence[bytes]] = dataclasses.field(repr=False)
    image: str
    label: str | None
    has_sketches: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        return {}

    @functools.cached_property
    def pictures(self) -> tuple[Picture, ...]:
        """Sorted by name; reads every record if there are labels."""
        own = {split: named_split([split]) for split in self.records}
        missing = [split for split in SPLITS[1:] if split not in own.values()]
        found = []
        for split, records in self.records.items():
            for i in range(len(records)):
                name = f"{split}/{i:07d}"
                identity = str(records[i][self.label]) if self.label else ""
                held_out = own[split] in SPLITS[1:]
                where = own[split] if held_out else hash_split(name, missing)
                found.append(Picture(name, where or "train", identity))
        return tuple(sorted(found))

    def read(self, name: str) -> Example:
        records, i = self._place(self.records, name)
        photo = read_photo(lambda: records[i][self.image], f"{name} in {self.spec}")
        height, width = photo.shape[:2]
        return Example(cut_square(photo, centre_square(width, height)))

    def checksum(self, name: str) -> str:
        records, i = self._place(self.raw_records, name)
        return f"{len(records[i])}-{zlib.crc32(records[i]):08x}"

    def _place(self, records: Mapping[str, Any], name: str) -> tuple[Any, int]:
        split, number = name.split("/")
        return records[split], int(number)


def open_tfds(spec: str, name: str) -> TfdsPhotos:
    """A data set that is prepared on this disk, by its name in tensorflow-datasets.

    Its own splits train, validation and test are kept; what is missing of validation
    and test is taken from all other pictures by `hash_split`.

    Args:
      spec: what it was asked for as.
      name: `NAME`, or `NAME/CONFIG:VERSION`.

    Raises:
      FileNotFoundError: it is not prepared for random access; the message has the
        command.
      ValueError: there is no such data set, or it has no picture.
    """
    import tensorflow_datasets as tfds  # takes a second, and few need it

    try:
        builder = tfds.builder(name)
    except (ValueError, tfds.core.DatasetNotFoundError) as error:
        first = str(error).splitlines()[0]
        raise ValueError(f"--source={spec}: {first}") from error
    features = builder.info.features
    image = _choose(features, tfds.features.Image, "image")
    if image is None:
        raise ValueError(
            f"--source={spec}: {name} has no picture, or several features"
            " with one and none of them called `image`"
        )
    try:
        open_splits = functools.partial(
            builder.as_data_source, file_format="array_record"
        )
        records = open_splits(decoders={image: tfds.decode.SkipDecoding()})
        raw_records = open_splits(
            deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
        )
    except (NotImplementedError, ValueError) as error:
        raise FileNotFoundError(_preparation(spec, name, builder.data_dir)) from error
    label = _choose(features, tfds.features.ClassLabel, "label")
    return TfdsPhotos(spec, records, raw_records, image, label)


def _choose(features: Any, kind: type, usual: str) -> str | None:
    """Of a FeaturesDict, the feature of this kind with the usual name, or the only one."""
    names = [name for name, feature in features.items() if isinstance(feature, kind)]
    if usual in names:
        return usual
    return names[0] if len(names) == 1 else None


def _preparation(spec: str, name: str, data_dir: str) -> str:
    return (
        f"--source={spec}: {name} is not prepared for random access in {data_dir}."
        f" Prepare it: tfds build {name} --file_format=array_record (many data sets need"
        " TensorFlow for that, reading them does not). If it lies elsewhere, set"
        " TFDS_DATA_DIR"
    )
