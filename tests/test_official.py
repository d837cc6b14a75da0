"""The official layouts of CelebA, CUB-200-2011 and Stanford Cars, quirks included."""

import shutil

import numpy as np
import pytest
from PIL import Image
from scipy import io
from tiny_archives import colours, encode, places, write_folder, write_tgz, write_zip

from cgan_jax.pictures import hash_split
from cgan_jax.sources import BrokenPictureError, Source, open_source

CELEBA_HEADER = (
    "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y "
    "leftmouth_x leftmouth_y rightmouth_x rightmouth_y "
)


def _listing(*rows) -> bytes:
    return "".join(" ".join(map(str, row)) + "\n" for row in rows).encode()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Archives are unpacked below it."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def _celeba_pictures() -> dict[str, bytes]:
    aligned = places(218, 178)
    whole = encode(aligned, "JPEG")
    return {
        "img_align_celeba/000001.jpg": encode(aligned, "JPEG", quality=95),
        "img_align_celeba/000002.jpg": encode(aligned[:, :, 0], "JPEG"),
        "img_align_celeba/000003.jpg": whole[: len(whole) // 2],
        "img_align_celeba/000004.jpg": encode(aligned[:64, :64], "JPEG"),
    }


def _celeba_lists() -> dict[str, bytes]:
    files = [f"00000{i}.jpg" for i in range(1, 5)]
    eyes = [(69, 109, 106, 113), (69, 110, 107, 112), (76, 112, 104, 106)]
    eyes.append((72, 108, 108, 108))
    return {
        "list_eval_partition.txt": _listing(*zip(files, (0, 1, 2, 0), strict=True)),
        "identity_CelebA.txt": _listing(
            *zip(files, (2880, 2937, 8692, 5805), strict=True)
        ),
        "list_landmarks_align_celeba.txt": (
            f"4\n{CELEBA_HEADER}\n".encode()
            + _listing(
                *(
                    (file, *(f"{e:4}" for e in four), *[" 100"] * 6)
                    for file, four in zip(files, eyes, strict=True)
                )
            )
        ),
    }


@pytest.fixture(params=["folder", "zip", "folders of the download"])
def celeba(request, tmp_path):
    root = tmp_path / "CelebA"
    places = {name: name for name in _celeba_lists()}
    pictures = root
    if request.param.startswith("folders"):
        pictures = root / "Img"
        kinds = ("Eval", "Anno", "Anno")
        places = {name: f"{k}/{name}" for k, name in zip(kinds, places, strict=True)}
    write_folder(root, {places[n]: text for n, text in _celeba_lists().items()})
    pictures.mkdir(exist_ok=True)
    if request.param == "folder":
        write_folder(pictures, _celeba_pictures())
    else:
        write_zip(pictures / "img_align_celeba.zip", _celeba_pictures())
    return root


def test_celeba_has_its_partition_and_its_people(celeba):
    source = open_source(f"celeba:{celeba}")
    assert isinstance(source, Source) and not source.has_sketches
    assert [tuple(picture) for picture in source.pictures] == [
        ("img_align_celeba/000001.jpg", "train", "2880"),
        ("img_align_celeba/000002.jpg", "validation", "2937"),
        ("img_align_celeba/000003.jpg", "test", "8692"),
        ("img_align_celeba/000004.jpg", "train", "5805"),
    ]


def test_celeba_frames(celeba):
    """Eyes, at (69.5, 111.5) and (108, 111.5) of the file, lie where models expect them."""
    wide = open_source(f"celeba:{celeba}")
    assert wide.settings == {"frame": "wide", "square": [17, 49, 144]}
    photo = wide.read("img_align_celeba/000001.jpg").photo.astype(int)
    assert photo.shape == (144, 144, 3)
    assert np.abs(photo[[0, -1], [0, -1], :2] - [(17, 49), (160, 192)]).max() <= 4
    eyes = (np.array([(69.5, 111.5), (108, 111.5)]) - (17, 49)) * 128 / 144
    np.testing.assert_allclose(eyes, [(46.7, 55.6), (80.9, 55.6)], atol=0.05)
    tight = open_source(f"celeba:{celeba}", frame="tight")
    assert tight.settings == {"frame": "tight", "square": [46, 96, 86]}
    inner = tight.read("img_align_celeba/000001.jpg").photo
    np.testing.assert_array_equal(inner, photo[47:133, 29:115])


def test_celeba_quirks(celeba):
    source = open_source(f"celeba:{celeba}")
    grey = source.read("img_align_celeba/000002.jpg").photo
    assert grey.shape == (144, 144, 3) and (grey[:, :, :1] == grey).all()
    with pytest.raises(BrokenPictureError, match=r"000003\.jpg.*truncated"):
        source.read("img_align_celeba/000003.jpg")
    with pytest.raises(BrokenPictureError, match=r"000004\.jpg.*64x64, not 178x218"):
        source.read("img_align_celeba/000004.jpg")


def test_celeba_in_a_folder_equals_that_in_a_zip(tmp_path):
    write_folder(tmp_path / "a", _celeba_lists() | _celeba_pictures())
    write_folder(tmp_path / "b", _celeba_lists())
    write_zip(tmp_path / "b" / "img_align_celeba.zip", _celeba_pictures())
    a, b = (open_source(f"celeba:{tmp_path / name}") for name in "ab")
    assert a.pictures == b.pictures
    for name, *_ in a.pictures:
        assert a.checksum(name) == b.checksum(name)


@pytest.mark.parametrize(
    "part", ["list_eval_partition.txt", "identity_CelebA.txt", "img_align_celeba"]
)
def test_a_missing_part_of_celeba_says_what_to_get(tmp_path, part):
    files = _celeba_lists() | _celeba_pictures()
    kept = {name: c for name, c in files.items() if not name.startswith(part)}
    write_folder(tmp_path, kept)
    with pytest.raises(
        FileNotFoundError,
        match=rf"lacks {part}.*which --source=celeba:.*mmlab\.ie\.cuhk\.edu\.hk",
    ):
        open_source(f"celeba:{tmp_path}")


def test_celeba_works_without_landmarks_and_refuses_those_of_other_pictures(tmp_path):
    lists = _celeba_lists()
    landmarks = lists.pop("list_landmarks_align_celeba.txt")
    write_folder(tmp_path, lists | _celeba_pictures())
    assert len(open_source(f"celeba:{tmp_path}").pictures) == 4
    for text, message in (
        (landmarks.replace(b" 109 ", b" 309 "), r"\[71\.5, 159\.8, .* on average, not"),
        (landmarks.replace(b" 109 ", b" x "), r"txt is damaged: "),
        (landmarks.splitlines()[0], r"txt is damaged: "),
    ):
        write_folder(tmp_path, {"list_landmarks_align_celeba.txt": text})
        with pytest.raises(ValueError, match=message):
            open_source(f"celeba:{tmp_path}")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"identity_CelebA.txt": b"000001.jpg 2880\n"}, "entry '000002.jpg'"),
        ({"list_eval_partition.txt": b"000001.jpg 3\n"}, "entry '3'"),
        ({"list_eval_partition.txt": b"000001.jpg 0\n000002.j"}, "line 2 has 1 col"),
        ({"list_eval_partition.txt": b"000001.jpg \xff"}, "is damaged, no text"),
        ({"list_eval_partition.txt": b""}, "lists 0 pictures"),
        ({"identity_CelebA.txt": b""}, "entry '000001.jpg'"),
    ],
)
def test_a_damaged_list_is_named(tmp_path, changed, message):
    write_folder(tmp_path, _celeba_lists() | _celeba_pictures() | changed)
    with pytest.raises(ValueError, match=message):
        open_source(f"celeba:{tmp_path}")


def test_an_incomplete_download_is_noticed(tmp_path):
    pictures = _celeba_pictures()
    del pictures["img_align_celeba/000002.jpg"]
    write_folder(tmp_path, _celeba_lists() | pictures)
    with pytest.raises(
        ValueError, match=r"lists 4 pictures, and 1 of them .*the first .*000002\.jpg"
    ):
        open_source(f"celeba:{tmp_path}")


def test_an_incomplete_zip_is_named(tmp_path):
    archive = write_zip(tmp_path / "img_align_celeba.zip", _celeba_pictures())
    archive.write_bytes(archive.read_bytes()[:-200])
    write_folder(tmp_path, _celeba_lists())
    with pytest.raises(ValueError, match=r"img_align_celeba\.zip is damaged, download"):
        open_source(f"celeba:{tmp_path}")


BIRDS = [
    "001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg",
    "001.Black_footed_Albatross/Black_Footed_Albatross_0009_34.jpg",
    "002.Laysan_Albatross/Laysan_Albatross_0002_1027.jpg",
    "200.Common_Yellowthroat/Common_Yellowthroat_0003_190521.jpg",
]


def _cub_files() -> dict[str, bytes]:
    """In a picture of 120 x 80 pixels: a box inside, at the edge, over it, outside."""
    picture = places(80, 120)
    boxes = [
        (1, "40.0", "30.0", "20.0", "10.0"),
        (2, "0.0", "20.0", "110.0", "60.0"),
        (3, "100.0", "50.0", "50.0", "50.0"),
        (4, "130.0", "50.0", "10.0", "10.0"),
    ]
    cmyk = Image.fromarray(picture).convert("CMYK")
    return {
        "attributes.txt": b"1 has_bill_shape::curved_(up_or_down)\n",
        "CUB_200_2011/README": b"text",
        "CUB_200_2011/images.txt": _listing(*enumerate(BIRDS, start=1)),
        "CUB_200_2011/bounding_boxes.txt": _listing(*boxes),
        "CUB_200_2011/train_test_split.txt": _listing((1, 0), (2, 1), (3, 1), (4, 0)),
        "CUB_200_2011/image_class_labels.txt": _listing((1, 1), (2, 1), (3, 2), (4, 200)),
        "CUB_200_2011/classes.txt": b"1 001.Black_footed_Albatross\n",
        f"CUB_200_2011/images/{BIRDS[0]}": encode(picture, "JPEG", quality=95),
        f"CUB_200_2011/images/{BIRDS[1]}": encode(picture[:, :, 0], "JPEG", quality=95),
        f"CUB_200_2011/images/{BIRDS[2]}": encode(cmyk, "JPEG", quality=95),
        f"CUB_200_2011/images/{BIRDS[3]}": encode(picture, "JPEG"),
    }  # fmt: skip


@pytest.fixture(params=["tgz", "folder", "folder above"])
def cub(request, tmp_path):
    if request.param == "tgz":
        return write_tgz(tmp_path / "CUB_200_2011.tgz", _cub_files())
    write_folder(tmp_path / "birds", _cub_files())
    above = tmp_path / "birds"
    return above if request.param == "folder above" else above / "CUB_200_2011"


def test_cub_has_its_split_and_its_classes(cub):
    source = open_source(f"cub:{cub}")
    expected = [
        (f"images/{BIRDS[1]}", hash_split(f"images/{BIRDS[1]}", ["validation"]), "1"),
        (f"images/{BIRDS[0]}", "test", "1"),
        (f"images/{BIRDS[2]}", hash_split(f"images/{BIRDS[2]}", ["validation"]), "2"),
        (f"images/{BIRDS[3]}", "test", "200"),
    ]
    assert [tuple(picture) for picture in source.pictures] == expected


def _corner(photo: np.ndarray) -> tuple[float, float]:
    """x and y of the first pixel, as `places` drew them."""
    return tuple(photo[0, 0, :2].astype(int))


def test_cub_is_cut_around_its_boxes(cub):
    wide, tight = (open_source(f"cub:{cub}", frame=f) for f in ("wide", "tight"))
    assert wide.settings == {"frame": "wide", "margin": 0.1}
    assert tight.settings == {"frame": "tight", "margin": 0.0}
    photo = wide.read(f"images/{BIRDS[0]}").photo
    assert photo.shape == (24, 24, 3)
    np.testing.assert_allclose(_corner(photo), (38, 23), atol=4)
    photo = tight.read(f"images/{BIRDS[0]}").photo
    assert photo.shape == (20, 20, 3)
    np.testing.assert_allclose(_corner(photo), (40, 25), atol=4)


def test_cub_quirks(cub):
    source = open_source(f"cub:{cub}")
    grey = source.read(f"images/{BIRDS[1]}").photo
    assert grey.shape == (110, 110, 3)  # longer than the picture is high
    assert (grey[:15] == grey[:1]).all() and (grey[-15:] == grey[-1:]).all()
    assert (grey[:, :, :1] == grey).all()
    cmyk = source.read(f"images/{BIRDS[2]}").photo  # its box reaches over two edges
    assert cmyk.shape == (36, 36, 3)
    np.testing.assert_allclose(_corner(cmyk), (84, 44), atol=6)
    with pytest.raises(
        BrokenPictureError, match="190521.*box .* outside of its 120x80"
    ):
        source.read(f"images/{BIRDS[3]}")


@pytest.mark.parametrize(
    "part",
    [
        "images.txt",
        "bounding_boxes.txt",
        "train_test_split.txt",
        "image_class_labels.txt",
        "images",
    ],
)
def test_a_missing_part_of_cub_says_what_to_get(tmp_path, part):
    folder = write_folder(tmp_path / "birds", _cub_files()) / "CUB_200_2011"
    shutil.rmtree(folder / part) if part == "images" else (folder / part).unlink()
    with pytest.raises(
        FileNotFoundError,
        match=rf"lacks {part}, which --source=cub:.*data\.caltech\.edu.*CUB_200_2011",
    ):
        open_source(f"cub:{tmp_path / 'birds'}")


def test_the_lists_of_cub_belong_together(tmp_path):
    changed = {"CUB_200_2011/bounding_boxes.txt": b"1 0 0 9 9\n"}
    write_folder(tmp_path, _cub_files() | changed)
    with pytest.raises(ValueError, match=r"images\.txt has the entry '2', which"):
        open_source(f"cub:{tmp_path}")


def _annotations(rows: list[dict]) -> dict:
    """As MATLAB stores them: a 1 x n struct array of 1 x 1 arrays."""
    names = list(rows[0])
    array = np.zeros((1, len(rows)), [(name, object) for name in names])
    for i, row in enumerate(rows):
        for name, value in row.items():
            array[0, i][name] = value if isinstance(value, str) else np.array([[value]])
    return {"annotations": array}


def _car(x1: int, y1: int, x2: int, y2: int, **fields) -> dict:
    """Each number in the smallest type that holds it, as in the devkit."""
    numbers = {"bbox_x1": x1, "bbox_y1": y1, "bbox_x2": x2, "bbox_y2": y2} | fields
    return {
        name: value if isinstance(value, str) else np.min_scalar_type(value).type(value)
        for name, value in numbers.items()
    }


def _write_mat(path, rows: list[dict], **others) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    io.savemat(path, _annotations(rows) | others, do_compression=True)


CAR = encode(places(100, 256), "JPEG", quality=95)


@pytest.fixture
def cars(tmp_path):
    root = write_folder(
        tmp_path / "stanford_cars",
        {
            "cars_train/00001.jpg": CAR,
            "cars_train/00002.jpg": encode(colours(300, 400)[:, :, 0], "JPEG"),
            "cars_test/00001.jpg": encode(
                places(100, 256)[:, ::-1], "JPEG", quality=95
            ),
        },
    )
    train = [
        _car(31, 21, 70, 60, **{"class": 14, "fname": "00001.jpg"}),
        _car(39, 116, 569, 375, **{"class": 3, "fname": "00002.jpg"}),
    ]
    test = [_car(31, 21, 70, 60, fname="00001.jpg")]
    labels = [test[0] | {"class": np.uint8(181)}]
    _write_mat(root / "devkit" / "cars_train_annos.mat", train)
    _write_mat(root / "devkit" / "cars_test_annos.mat", test)
    _write_mat(root / "cars_test_annos_withlabels.mat", labels)
    return root


def test_cars_have_their_split_and_their_classes(cars):
    source = open_source(f"cars:{cars}")
    split = [hash_split(f"cars_train/0000{i}.jpg", ["validation"]) for i in (1, 2)]
    expected = [
        ("cars_test/00001.jpg", "test", "181"),
        ("cars_train/00001.jpg", split[0], "14"),
        ("cars_train/00002.jpg", split[1], "3"),
    ]
    assert [tuple(picture) for picture in source.pictures] == expected


def test_cars_are_cut_around_their_boxes(cars):
    """MATLAB's pixels 31 to 70 are NumPy's 30 to 69: the box is 40 wide."""
    tight = open_source(f"cars:{cars}", frame="tight")
    photo = tight.read("cars_train/00001.jpg").photo
    assert photo.shape == (40, 40, 3)
    np.testing.assert_allclose(_corner(photo), (30, 20), atol=3)
    other = tight.read("cars_test/00001.jpg").photo  # of the same name, mirrored
    np.testing.assert_allclose(_corner(other), (225, 20), atol=3)
    photo = open_source(f"cars:{cars}").read("cars_train/00001.jpg").photo
    assert photo.shape == (48, 48, 3)
    np.testing.assert_allclose(_corner(photo), (26, 16), atol=3)


def test_cars_with_a_box_over_the_edge(cars):
    """Of a picture that somebody reduced, say: 400 x 300, the box ends at 569, 375."""
    grey = open_source(f"cars:{cars}").read("cars_train/00002.jpg").photo
    assert grey.shape == (362, 362, 3)  # 400 - 38, longer than the picture is high
    assert (grey[:31] == grey[:1]).all() and (grey[:, :, :1] == grey).all()


def test_cars_without_the_labels_of_the_test_pictures(cars):
    (cars / "cars_test_annos_withlabels.mat").unlink()
    pictures = open_source(f"cars:{cars}").pictures
    assert [picture.identity for picture in pictures] == ["", "14", "3"]


def test_the_older_layout_of_cars(tmp_path):
    files = [f"car_ims/00000{i}.jpg" for i in (1, 2)]
    write_folder(tmp_path, dict.fromkeys(files, CAR))
    rows = [
        _car(31, 21, 70, 60, **{"relative_im_path": file, "class": 1, "test": test})
        for test, file in enumerate(files)
    ]
    names = np.array([["AM General Hummer SUV 2000"]], object)
    _write_mat(tmp_path / "cars_annos.mat", rows, class_names=names)
    source = open_source(f"cars:{tmp_path}", frame="tight")
    split = hash_split(files[0], ["validation"])
    expected = [(files[0], split, "1"), (files[1], "test", "1")]
    assert [tuple(picture) for picture in source.pictures] == expected
    np.testing.assert_allclose(_corner(source.read(files[1]).photo), (30, 20), atol=3)


def test_the_newer_layout_of_cars_beside_the_older_annotations(cars):
    _write_mat(cars / "cars_annos.mat", [_car(1, 1, 2, 2, relative_im_path="x.jpg")])
    assert len(open_source(f"cars:{cars}").pictures) == 3


def test_a_single_car_is_a_list_too(cars):
    _write_mat(
        cars / "devkit" / "cars_train_annos.mat",
        [_car(31, 21, 70, 60, **{"class": 14, "fname": "00001.jpg"})],
    )
    assert len(open_source(f"cars:{cars}").pictures) == 2


@pytest.mark.parametrize(
    "part", ["cars_train", "cars_test", "devkit", "devkit/cars_train_annos.mat"]
)
def test_a_missing_part_of_cars_says_what_to_get(cars, part):
    path = cars / part
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    wanted = "cars_train_annos.mat" if part.startswith("devkit") else part
    with pytest.raises(
        FileNotFoundError,
        match=rf"lacks {wanted}, which --source=cars:.*get it from a mirror.*jkrause",
    ):
        open_source(f"cars:{cars}")


def test_a_missing_older_part_of_cars_says_what_to_get(tmp_path):
    write_folder(tmp_path, {"car_ims/000001.jpg": CAR})
    with pytest.raises(FileNotFoundError, match=r"lacks cars_annos\.mat"):
        open_source(f"cars:{tmp_path}")


def test_an_archive_that_lies_there_is_to_be_unpacked(cars):
    shutil.rmtree(cars / "cars_test")
    write_tgz(cars / "cars_test.tgz", {"cars_test/00001.jpg": CAR})
    with pytest.raises(
        FileNotFoundError, match=r"unpack it: tar -xzf .*cars_test\.tgz -C "
    ):
        open_source(f"cars:{cars}")


@pytest.mark.parametrize("content", [b"", b"no MATLAB file" * 20, "cut", "other"])
def test_a_damaged_annotation_file_is_named(cars, content):
    file = cars / "devkit" / "cars_train_annos.mat"
    if content == "cut":
        content = file.read_bytes()[:-100]
    elif content == "other":
        io.savemat(file, {"class_names": np.zeros(3)})
        content = file.read_bytes()
    file.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"cars_train_annos\.mat (is damaged|has no array)"
    ):
        open_source(f"cars:{cars}")


@pytest.mark.parametrize("kind", ["celeba", "cub", "cars"])
def test_a_missing_folder_is_named(kind, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=f"nowhere does not exist: --source={kind}:DIR names"
    ):
        open_source(f"{kind}:{tmp_path}/nowhere")
