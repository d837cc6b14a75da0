"""Small pictures, folders and archives for the tests of readers."""

import io
import tarfile
import zipfile

import numpy as np
from PIL import Image


def colours(height: int = 6, width: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def places(height: int, width: int) -> np.ndarray:
    """A picture whose red and green say where a pixel lies: (x, y), up to 255."""
    y, x = np.mgrid[:height, :width].astype(np.uint8)
    return np.stack([x, y, np.zeros_like(x)], axis=-1)


def encode(pixels: np.ndarray | Image.Image, kind: str = "PNG", **options) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def write_folder(folder, files: dict[str, bytes]):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_zip(path, files: dict[str, bytes]):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tgz(path, files: dict[str, bytes]):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def disc(seed: int) -> np.ndarray:
    """A disc of some colour and size, on another: something to draw."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:32, :32]
    inside = (x - rng.integers(10, 22)) ** 2 + (y - rng.integers(10, 22)) ** 2
    mask = (inside < rng.integers(25, 90))[..., None]
    both = rng.integers(0, 256, (2, 3))
    return np.where(mask, *both).astype(np.uint8)
