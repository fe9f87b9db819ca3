"""Small images of every kind, for tests: pixels that are known, files made of them, trees and archives of the files."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tdtool.data.planted_shapes import png


def pixels(height: int = 5, width: int = 7, seed: int = 0) -> NDArray[np.uint8]:
    """(height, width, 3), every value another one."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(height: int, width: int) -> NDArray[np.uint8]:
    """(height, width, 3) that JPEG hardly changes, dark at the top left; turned or mirrored it is another."""
    down, right = np.mgrid[0:height, 0:width]
    return np.stack([20 + 200 * down / height, 20 + 200 * right / width, 80 + 0 * down], axis=-1).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **settings: Any) -> bytes:
    """The file of an image, as Pillow writes it."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def jpeg(values: NDArray[np.uint8], **settings: Any) -> bytes:
    """A JPEG file of (H, W, 3) or (H, W)."""
    return encoded(Image.fromarray(values), "JPEG", quality=95, subsampling=0, **settings)


def shades(names: Mapping[str, int], height: int = 5, width: int = 7) -> dict[str, bytes]:
    """PNG files by name, each of one shade."""
    return {name: png(np.full((height, width, 3), shade, np.uint8)) for name, shade in names.items()}


def write_tree(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Files below a folder."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def write_tar(path: Path, files: Mapping[str, bytes], mode: Any = "w") -> Path:
    """A tar archive, its members in the order given."""
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path
