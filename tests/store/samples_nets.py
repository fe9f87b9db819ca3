"""Small files of images and of a training, sizes all different, written by the store itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tdtool.store import hdf5, schema

N_IMAGES, HEIGHT, WIDTH = 7, 3, 5
CLASSES = ["cat", "=dog()", "\x1b[31mfrög"]
FILES = [b"\xff\xd8\xff one", b"", b"three", b"\x89PNG", b"5", b"sixsix", b"\0"]


def images_content(*, files: bool = False, seed: int = 0) -> dict[str, Any]:
    """Arrays of seven images of three classes by path. files : encoded files instead of pixels."""
    rng = np.random.default_rng(seed)
    images: dict[str, Any] = {"pixels/value": rng.integers(0, 256, (N_IMAGES, HEIGHT, WIDTH, 3), dtype=np.uint8)}
    if files:
        starts = np.cumsum([0, *map(len, FILES)])
        images = {"encoded/start": starts, "encoded/data": np.frombuffer(b"".join(FILES), np.uint8)}
    return {
        **images,
        "images/label": np.array([0, 2, 1, 1, 0, 2, 2]),
        "images/split": np.array([0, 0, 2, 0, 1, 0, 2], np.uint8),
        "images/height": np.full(N_IMAGES, HEIGHT, np.int32),
        "images/width": np.full(N_IMAGES, WIDTH, np.int32),
        "images/name": [f"bild-{i}.png" for i in range(N_IMAGES)],
        "classes/name": CLASSES,
        "partitions/start": np.array([0, 4, 7]),
        "partitions/digest": ["a" * 32, "b" * 32],
    }


def write_images_file(path: Path, content: dict[str, Any] | None = None) -> Path:
    """Images."""
    with hdf5.create(path, schema.IMAGES) as writer:
        for name, values in (content or images_content()).items():
            writer.put(name, values)
        skips = {"no image of a known format": {"count": 2, "examples": ["x/a.jpg", "x/b.jpg"]}}
        writer.attribute("ledger", {"rows_in": 9, "rows_used": 7, "skips": skips, "counters": {}})
    return path


def training_content(seed: int = 0) -> dict[str, Any]:
    """Arrays of a training of two epochs by path, with a regression head over 2 x 3 x 4 -> 3 classes."""
    rng = np.random.default_rng(seed)
    shape, ranks = (4, 2, 6, 3), (2, 1, 3, 2)
    factors = {f"head/factor{mode}": rng.normal(size=pair) for mode, pair in enumerate(zip(shape, ranks, strict=True))}
    return {
        "steps/step": np.array([5, 10, 11, 20]),
        "steps/loss": np.array([2.0, 1.5, np.nan, 1.25]),
        "steps/learning_rate": np.array([0.05, 0.1, 0.1, 0.05]),
        "steps/gradient_norm": np.array([np.nan, 3.0, 2.5, 2.0]),
        "steps/rate": np.array([90.0, 110.0, 100.0, 95.0]),
        "epochs/epoch": np.array([1, 2]),
        "epochs/step": np.array([10, 20]),
        "epochs/train_loss": np.array([1.75, 1.25]),
        "epochs/loss": np.array([1.5, 1.25]),
        "epochs/top1": np.array([0.625, 0.5]),
        "epochs/top5": np.array([1.0, 1.0]),
        "classes/name": CLASSES,
        **factors,
        "head/core": rng.normal(size=ranks),
        "head/bias": rng.normal(size=3),
    }


def write_training(path: Path, content: dict[str, Any] | None = None) -> Path:
    """How a net was trained."""
    with hdf5.create(path, schema.TRAINING) as writer:
        for name, values in (content or training_content()).items():
            writer.put(name, values)
        writer.attribute("stopped", "done")
        writer.attribute("config", {"net": {"model": "resnet18", "head": "trl:2,1,3"}, "seed": 3})
    return path
