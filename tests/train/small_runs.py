"""Runs small enough for tests: a few images whose class is their colour and brightness, and narrow nets."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from tdtool.config import AugmentConfig, DeviceConfig, NetConfig, OptimiserConfig, TrainConfig
from tdtool.data.image_store import ImageRecord, open_images, write_images
from tdtool.train.run_folder import OWN_DATA, RunSettings, write_settings

CLASSES = ("red", "green", "blue")
SIZE = 32


def small_config(**changes: object) -> TrainConfig:
    """VGG-11 with 2 channels and dropout, 5 steps of 26 images an epoch; changes : fields of TrainConfig."""
    config = TrainConfig(
        net=NetConfig(model="vgg11_bn", width=2, n_classes=len(CLASSES), image_size=SIZE),
        augment=AugmentConfig(),
        optimiser=OptimiserConfig(learning_rate=0.02),
        device=DeviceConfig(device="cpu", precision="fp32", threads=1),
        epochs=2,
        batch=26,
        seed=3,
    )
    return dataclasses.replace(config, **changes)


def write_small_images(path: Path, n_train: int = 131, n_test: int = 23) -> None:
    """Noise of a colour, n_train + n_test images of SIZE pixels."""
    draw = np.random.default_rng(11)
    records = []
    for index in range(n_train + n_test):
        label = index % len(CLASSES)
        pixels = draw.integers(0, 120, (SIZE, SIZE, 3))
        pixels[..., label] += 70
        records.append(ImageRecord(f"{index}.png", label, 0 if index < n_train else 2, pixels.astype(np.uint8)))
    write_images(path, records, CLASSES)


def small_run(run: Path, config: TrainConfig | None = None, **images: int) -> Path:
    """A run that has not begun, with its images in it."""
    run.mkdir()
    write_small_images(run / OWN_DATA, **images)
    digest = open_images(run / OWN_DATA).digest
    write_settings(run, RunSettings(config or small_config(), OWN_DATA, digest, CLASSES))
    return run
