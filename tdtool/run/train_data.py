"""The images that a net is trained on: found, opened, and what they say about the net."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from tdtool import log
from tdtool.config import ImagesConfig, TrainConfig
from tdtool.errors import InputError, UsageError
from tdtool.run.train_request import TrainRequest
from tdtool.train.parts import divide
from tdtool.train.run_folder import OWN_DATA, SYNTHETIC

FOLDER = "data"
_CLASSES, _SIZE = 1000, 224  # ImageNet's
_STEP = 32  # sizes that are chosen for images of many sizes are multiples of this
_WHAT_TO_GIVE = """give --data, or set TDTOOL_DATA:
    a folder with a folder of images for each class, perhaps below train/ and test/
    a .tar, .tar.gz, .tar.xz or .tar.zst of such folders, or webdataset shards
    CIFAR-10 or CIFAR-100 in their binary version, MNIST's idx files, or an .npz with images and labels
    a store that `tdtool ingest SOURCE --as images` has made of one of these, once for many runs
    synthetic: images of noise, to see how fast a net is trained here
  or put the images into ./data"""


@dataclasses.dataclass(frozen=True)
class TrainData:
    """What a run needs to know of its images.

    place : path of the store, or "synthetic"; image_size : pixels of a side, as the net sees them; n_train, n_scored :
    images of either kind; scored : which are scored: "validation", "test", "held-out" or "none".
    """

    place: str
    digest: str
    classes: tuple[str, ...]
    image_size: int
    n_train: int
    n_scored: int
    scored: str


def find_data(request: TrainRequest) -> str:
    """What --data says, or ./data. UsageError, which lists what could be given, where there is neither."""
    if request.data is not None:
        is_there = Path(request.data).exists() or any(letter in request.data for letter in "*?[{:")
        if request.data != SYNTHETIC and not is_there:
            raise InputError("there is no such file or directory", path=request.data, hint=_WHAT_TO_GIVE)
        return request.data
    if Path(FOLDER).exists():
        return FOLDER
    raise UsageError("there are no images to train on", hint=_WHAT_TO_GIVE)


def open_data(source: str, request: TrainRequest, folder: Path) -> TrainData:
    """Open `source`; one that is no store is read into one in `folder`, once.

    InputError: no images, no training images, one class, other classes than --classes says.
    """
    config = request.config
    images = (
        _synthetic(with_data(config, assumed(request)))
        if source == SYNTHETIC
        else _images(source, folder, config.max_bad)
    )
    if request.n_classes not in (None, len(images.classes)):
        what = f"there are {len(images.classes)} classes, --classes says {request.n_classes}"
        raise UsageError(what, path=source, hint="leave it out: the data says how many there are")
    if len(images.classes) < 2:
        hint = "a net tells classes from each other: give it a folder of images for each of two or more"
        raise InputError("all images are of one class", path=source, hint=hint)
    parts = divide(images, holdout=config.holdout, seed=config.seed)
    labels = np.unique(np.asarray(images.labels)[parts.train])
    if labels.size < 2:
        raise InputError("all training images are of one class", path=source, hint="they need two or more")
    _warn_of_unseen(images.classes, labels)
    return TrainData(
        place=SYNTHETIC if source == SYNTHETIC else str(Path(images.path).resolve()),
        digest=images.digest,
        classes=tuple(images.classes),
        image_size=request.image_size or _size_of(images),
        n_train=len(parts.train),
        n_scored=len(parts.scored),
        scored=parts.scored_name,
    )


def assumed(request: TrainRequest) -> TrainData:
    """Of a plan without data: what the options say, else as ImageNet is; no images."""
    n_classes = request.n_classes or _CLASSES
    names = tuple(f"class {number}" for number in range(n_classes))
    return TrainData("none", "", names, request.image_size or _SIZE, 0, 0, "none")


def with_data(config: TrainConfig, data: TrainData) -> TrainConfig:
    """The settings, with the classes and the image size of the data."""
    net = dataclasses.replace(config.net, n_classes=len(data.classes), image_size=data.image_size)
    return dataclasses.replace(config, net=net)


def resized(data: TrainData, config: TrainConfig) -> TrainData:
    """The data, now that the batch is known: as many images of noise as it takes."""
    if data.place != SYNTHETIC:
        return data
    parts = divide(_synthetic(config), holdout=config.holdout, seed=config.seed)
    return dataclasses.replace(data, n_train=len(parts.train), n_scored=len(parts.scored))


def _images(source: str, folder: Path, max_bad: float) -> Any:
    from tdtool.run.ingest_images import images_of

    folder.mkdir(parents=True, exist_ok=True)
    return images_of(source, folder / OWN_DATA, config=ImagesConfig(max_bad=max_bad))


def _synthetic(config: TrainConfig) -> Any:
    from tdtool.train.synthetic import synthetic_for

    return synthetic_for(config)


def _warn_of_unseen(classes: tuple[str, ...], labels: Any) -> None:
    missing = sorted(set(range(len(classes))) - set(labels.tolist()))
    if missing:
        named = ", ".join(classes[label] for label in missing[:5]) + (", ..." if len(missing) > 5 else "")
        log.warn(f"{len(missing)} of {len(classes)} classes have no training images: {named}")


def _size_of(images: Any) -> int:
    """Pixels of a side that the net sees: of images of one size theirs, else at most what ImageNet nets see."""
    sides = np.minimum(images.height, images.width)
    if images.pixels is not None:
        return int(sides[0])
    return int(np.clip(np.median(sides) // _STEP * _STEP, _STEP, _SIZE))
