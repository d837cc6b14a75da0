"""Data sets that tensorflow-datasets has prepared, as sources of photographs."""

import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from tiny_archives import colours, encode

from cgan_jax.pictures import hash_split
from cgan_jax.sources import BrokenPictureError, Source, open_source

CMYK = encode(Image.new("CMYK", (8, 8), (0, 255, 0, 0)), "JPEG", quality=95)


class TinyFlowers(tfds.core.GeneratorBasedBuilder):
    """40 pictures to train and 4 to test, two of them with quirks."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(names=["rose", "tulip"]),
            "mask": tfds.features.Image(shape=(None, None, 1)),
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features)
        )

    def _split_generators(self, dl_manager):
        return {
            "train": self._generate_examples(range(40)),
            "test": self._generate_examples(range(40, 44)),
        }

    def _generate_examples(self, seeds):
        special = {40: CMYK, 41: b"no picture"}
        for seed in seeds:
            content = special.get(seed, encode(colours(4, 6, seed)))
            yield seed, {"image": content, "label": seed % 2, "mask": encode(colours())}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tensorflow_datasets")
    tfds.disable_progress_bar()
    TinyFlowers(data_dir=folder, file_format="array_record").download_and_prepare()
    return folder


@pytest.fixture
def flowers(data_dir, monkeypatch):
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(data_dir))
    return open_source("tfds:tiny_flowers")


def test_a_prepared_data_set(flowers):
    assert isinstance(flowers, Source)
    assert flowers.spec == "tfds:tiny_flowers"
    assert flowers.settings == {} and not flowers.has_sketches
    found = set()
    for picture in flowers.pictures:
        if picture.name.startswith("train/"):
            photo = flowers.read(picture.name).photo
            (seed,) = (
                i for i in range(40) if np.array_equal(photo, colours(4, 6, i)[:, 1:5])
            )
            assert picture.identity == str(seed % 2)
            found.add(seed)
    assert found == set(range(40))


def test_its_own_test_split_is_kept_and_validation_taken_from_train(flowers):
    names = [f"test/{i:07d}" for i in range(4)] + [f"train/{i:07d}" for i in range(40)]
    assert [picture.name for picture in flowers.pictures] == names
    for name, split, _ in flowers.pictures:
        own = name.startswith("test/")
        assert split == ("test" if own else hash_split(name, ["validation"]))
    assert {"train", "validation", "test"} == {p.split for p in flowers.pictures}


def test_quirks_come_out_as_elsewhere(flowers):
    """tfds shuffles, so the four are told apart by what they hold."""
    magenta, broken = 0, 0
    for i in range(4):
        try:
            photo = flowers.read(f"test/{i:07d}").photo.astype(int)
        except BrokenPictureError as error:
            assert f"test/{i:07d} in tfds:tiny_flowers is broken" in str(error)
            broken += 1
        else:
            magenta += bool(np.abs(photo - (255, 0, 255)).max() <= 4)
    assert (magenta, broken) == (1, 1)


def test_checksums_differ_between_pictures_and_not_between_openings(flowers):
    names = [picture.name for picture in flowers.pictures]
    checksums = [flowers.checksum(name) for name in names]
    assert len(set(checksums)) == len(names)
    again = open_source("tfds:tiny_flowers")
    assert [again.checksum(name) for name in names] == checksums


def _celeb_a_records(builder, split=None, decoders=None, **options):
    """What celeb_a gives as it is stored, in two splits of its own."""
    assert split is None
    content = encode(colours(218, 178), "JPEG")
    record = {"image": content} if decoders else content
    return {"train": [record] * 30, "other": [record] * 5}


def test_celeb_a_without_validation_and_test():
    with tfds.testing.mock_data(as_data_source_fn=_celeb_a_records):
        source = open_source("tfds:celeb_a")
        assert source.read("other/0000004").photo.shape == (178, 178, 3)
    assert len(source.pictures) == 35
    for name, split, identity in source.pictures:
        assert (split, identity) == (hash_split(name), "")


def test_what_is_not_prepared_says_how(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path))
    with pytest.raises(
        FileNotFoundError,
        match="mnist is not prepared.*tfds build mnist --file_format=array_record.*"
        "TensorFlow.*TFDS_DATA_DIR",
    ):
        open_source("tfds:mnist")


@pytest.mark.parametrize("name", ["no_such_flowers", "no/such:flowers"])
def test_unknown_data_sets(name):
    with pytest.raises(ValueError, match=f"--source=tfds:{name}: .*{name}"):
        open_source(f"tfds:{name}")


def test_a_data_set_without_pictures_is_refused():
    with tfds.testing.mock_data(), pytest.raises(ValueError, match="has no picture"):
        open_source("tfds:imdb_reviews")


def test_it_has_one_frame():
    with pytest.raises(ValueError, match="tfds:celeb_a has no frame 'tight'"):
        open_source("tfds:celeb_a", frame="tight")


def test_tensorflow_is_never_imported(flowers):
    assert len(flowers.pictures) == 44
    assert "tensorflow" not in sys.modules
