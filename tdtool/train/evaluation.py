"""A trained or exported net, scored on labelled images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tdtool.config import TrainConfig
from tdtool.errors import InputError, ResourceError
from tdtool.train.artefact import open_artefact
from tdtool.train.batches import Batch, Batches
from tdtool.train.net_card import NetCard
from tdtool.train.pixels_in import PixelsIn
from tdtool.train.precision import autocast, compute_dtype, precision_name
from tdtool.train.run_folder import read_settings
from tdtool.train.scoring import Scores, evaluate
from tdtool.train.stored_net import net_of_run

_NAMED = 5


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A net that answers pixels.

    logits : pixels (B, 3, S, S) uint8 -> (B, K) float32, on `device`; card : what it says of itself; kind : "run",
    "pt2", "onnx" or "safetensors"; precision : in which it computes.
    """

    logits: Callable[[torch.Tensor], torch.Tensor]
    card: NetCard
    kind: str
    device: torch.device
    precision: str


def open_predictor(model: Path, *, device: str = "auto", threads: int | None = None) -> Predictor:
    """The net of a run, in the precision it is trained in, or of an exported file, in float32.

    device : auto, cpu or cuda. Sets torch's threads where they are given. Raises InputError for what is neither,
    ResourceError where there is no GPU and one is asked for.
    """
    found = torch.cuda.is_available()
    if device == "cuda" and not found:
        raise ResourceError("no GPU found, --device cuda asks for one", hint="leave it out, or: --device cpu")
    if threads is not None:
        torch.set_num_threads(threads)
    place = torch.device("cuda" if found and device != "cpu" else "cpu")
    if not model.is_dir():
        artefact = open_artefact(model, device=place.type, threads=threads)
        return Predictor(artefact.logits, artefact.card, artefact.kind, place, "fp32")
    net, card = net_of_run(model)
    dtype = compute_dtype(read_settings(model).config.device.precision, place)
    module = PixelsIn(net, card).eval().to(place, memory_format=torch.channels_last)

    def logits(pixels: torch.Tensor) -> torch.Tensor:
        with autocast(place, dtype):
            return module(pixels.to(place, non_blocking=True)).float()

    return Predictor(logits, card, "run", place, precision_name(dtype))


def score(
    predictor: Predictor,
    images: Any,
    indices: NDArray[np.int64],
    *,
    batch: int,
    threads: int,
    max_bad: float = 0.01,
    told: Callable[[float], None] = lambda _: None,
) -> tuple[Scores, dict[int, str]]:
    """Scores on images `indices`, (n,) int64, of a set, and those of them that cannot be decoded, by index.

    Classes are matched by their names. told : of the number of images after each batch. Raises InputError where images
    are of a class that the net does not know.
    """
    net = predictor.card.net
    numbers = torch.from_numpy(class_numbers(predictor.card.classes, images.classes, images.labels[indices]))
    config = TrainConfig(net=net, batch=batch)
    batches = Batches(images, indices, config, training=False, threads=threads, max_bad=max_bad)

    def renumbered() -> Iterator[Batch]:
        for (part,) in batches.epoch(0):
            yield dataclasses.replace(part, y_B=numbers[part.y_B])
            told(len(part))

    scores = evaluate(
        predictor.logits,
        renumbered(),
        device=predictor.device,
        dtype=torch.float32,
        n_classes=net.n_classes,
        prepare=lambda x_BHWC, _dtype, _device: x_BHWC.permute(0, 3, 1, 2),
    )
    return scores, batches.bad


def class_numbers(known: tuple[str, ...], classes: tuple[str, ...], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The net's number of each class of the data, by name: (K of the data,) int64, -1 where no image has the class.

    known : classes of the net; labels : (n,) of the images that are scored. InputError: one of these is not known.
    """
    places = {name: number for number, name in enumerate(known)}
    numbers = np.array([places.get(name, -1) for name in classes], np.int64)
    used = np.unique(labels)
    strange = [classes[label] for label in used.tolist() if numbers[label] < 0]
    if strange:
        raise InputError(
            f"{len(strange)} of {len(used)} classes of the images are none of the net's: {_listed(strange)}",
            hint=f"classes are matched by name; the net knows {_listed(list(known))}",
        )
    return numbers


def _listed(names: list[str]) -> str:
    shown = ", ".join(name[:40] for name in names[:_NAMED])
    return shown + (f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else "")
