"""`tdtool evaluate RUN`: a trained or exported net scored on labelled images."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tdtool import log
from tdtool.errors import InputError, UsageError
from tdtool.run.machine import available_cores
from tdtool.train.run_folder import SYNTHETIC, RunSettings, is_run, read_settings

if TYPE_CHECKING:
    from tdtool.train.evaluation import Predictor
    from tdtool.train.scoring import Scores

SUFFIXES = (".pt2", ".onnx", ".safetensors")
#: Names of --split, and their numbers in a store; the others are put together here.
SPLITS = {"training": 0, "validation": 1, "test": 2}
_WHOLE_MATRIX = 100
_CONFUSIONS = 50
_NAMED_BAD = 20


@dataclasses.dataclass(frozen=True)
class ClassScore:
    """One class. n : images of it; recall : share of them that is found; precision : share of what is taken for it
    that is of it; NaN: there are none."""

    name: str
    n: int
    recall: float
    precision: float


@dataclasses.dataclass(frozen=True)
class Confusion:
    """n images of the class `name` were taken for `taken_for`; share : of the images of `name`."""

    name: str
    taken_for: str
    n: int
    share: float


@dataclasses.dataclass(frozen=True)
class CalibrationBin:
    """Images whose first guess has a probability in [low, high): mean probability and how often right."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


@dataclasses.dataclass(frozen=True)
class NetScores:
    """How good a net is on images.

    kind : "run", or the format of the exported file; split : which images; top1, top5 : share of images whose class is
    the first guess, among the first five; top1_error : standard error of top1; loss : mean cross entropy, nats;
    calibration_error : ECE, 15 bins; confusions : the most frequent ones; confusion : the whole matrix, true class by
    guess, up to 100 classes, else None; bad : images that cannot be decoded, which are left out; step : updates that
    the weights have seen; averaged : whether they are averages.
    """

    model: str
    kind: str
    net: str
    head: str
    step: int
    averaged: bool
    data: str
    split: str
    n_images: int
    top1: float
    top1_error: float
    top5: float
    loss: float
    calibration_error: float
    images_per_second: float
    device: str
    precision: str
    classes: tuple[ClassScore, ...]
    confusions: tuple[Confusion, ...]
    calibration: tuple[CalibrationBin, ...]
    confusion: list[list[int]] | None
    n_bad: int
    bad: tuple[str, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The result as plain JSON values."""
        return dataclasses.asdict(self)


def is_net(path: Path) -> bool:
    """Whether `path` is for `evaluate_net`: a directory, or a file with the suffix of an exported net."""
    return path.is_dir() or path.suffix.lower() in SUFFIXES


def evaluate_net(
    model: Path,
    data: str | None = None,
    *,
    split: str = "auto",
    batch: int = 256,
    device: str = "auto",
    threads: int | None = None,
) -> NetScores:
    """Score a net on images.

    model : the directory of a run, or a file of `tdtool export`; data : a store or a source of images, None: those of
    the run. split : training, validation, test, held-out, all; auto: test if there is any, else validation, else what
    the run held out, else all. Classes are matched by name. Raises InputError for what cannot be read or does not fit,
    UsageError where nothing says what to score on, MissingExtraError without torch.
    """
    from tdtool.run.train import check_installed

    settings = _settings(model)
    if data is None and settings is None:
        raise UsageError(
            "nothing to score it on", path=model, hint="name the images: --data STORE, or a folder of them"
        )
    check_installed("torch", "safetensors")
    from tdtool.train.evaluation import open_predictor, score

    threads = threads or available_cores()
    predictor = open_predictor(model, device=device, threads=threads)
    with _images(model, settings, data) as images:
        own = bool(predictor.card.data_digest) and images.digest == predictor.card.data_digest
        indices, name = choose_images(images, split, settings if own else None)
        notes = _notes(predictor, images, name, own=own)
        with log.task("scoring", len(indices)) as bar:
            scores, bad = score(predictor, images, indices, batch=batch, threads=threads, told=bar.advance)
        if not scores.n:
            raise InputError("none of the images can be decoded", path=data, hint="run: tdtool ingest --as images")
        named = tuple(str(images.names(index)) for index in sorted(bad)[:_NAMED_BAD])
        where = data if data is not None else str(getattr(images, "path", SYNTHETIC))
        return _result(model, predictor, scores, data=where, split=name, n_bad=len(bad), bad=named, notes=notes)


def choose_images(images: Any, split: str, own: RunSettings | None) -> tuple[NDArray[np.int64], str]:
    """Which images are scored: (n,) int64, and what they are called.

    own : settings of the run that was trained on these very images, else None. InputError where there are none.
    """
    splits = np.asarray(images.splits)
    if split == "auto":
        there = [name for name in ("test", "validation") if (splits == SPLITS[name]).any()]
        held = own is not None and own.config.holdout > 0
        split = there[0] if there else "held-out" if held else "all"
    if split == "all":
        chosen = np.arange(len(splits))
    elif split == "held-out":
        chosen = _held_out(images, own)
    elif split in SPLITS:
        chosen = np.flatnonzero(splits == SPLITS[split])
    else:
        raise UsageError(f"there is no split {split!r}", hint=f"one of auto, all, held-out, {', '.join(SPLITS)}")
    if not len(chosen):
        have = [name for name, number in SPLITS.items() if (splits == number).any()]
        hint = f"there are {', '.join(have)} images: --split" if have else "the data is empty"
        raise InputError(f"there are no {split} images", path=getattr(images, "path", None), hint=hint)
    return chosen.astype(np.int64), split


def _held_out(images: Any, own: RunSettings | None) -> NDArray[np.int64]:
    from tdtool.train.parts import divide

    if own is None:
        raise UsageError("only a run, on the images it was trained on, has held-out ones", hint="leave out --split")
    parts = divide(images, holdout=own.config.holdout, seed=own.config.seed)
    return parts.scored if parts.scored_name == "held-out" else parts.scored[:0]


def _settings(model: Path) -> RunSettings | None:
    """Of a run; None for an exported file. InputError for a directory that is no run."""
    if is_run(model) or model.is_dir():
        return read_settings(model)
    if not model.exists():
        raise InputError("there is no such file or directory", path=model)
    return None


@contextlib.contextmanager
def _images(model: Path, settings: RunSettings | None, data: str | None) -> Iterator[Any]:
    """The images; a source that is no store is read into a scratch file for as long as it is needed."""
    from tdtool.train.run_data import images_of_run
    from tdtool.train.synthetic import synthetic_for

    if settings is not None and (data is None or data == SYNTHETIC):
        yield images_of_run(model, settings) if data is None else synthetic_for(settings.config)
        return
    from tdtool.run.ingest_images import images_of

    with tempfile.TemporaryDirectory(prefix="tdtool-") as scratch:
        yield images_of(str(data), Path(scratch) / "data.images.h5")


def _notes(predictor: Predictor, images: Any, split: str, *, own: bool) -> tuple[str, ...]:
    """What a person should know of these scores."""
    notes = []
    if own and split in ("training", "all"):
        notes.append("the net was trained on these images: on others it is worse")
    if predictor.precision != "fp32":
        notes.append(f"computed in {predictor.precision}, as it was trained; exported files are computed in fp32")
    size = predictor.card.net.image_size
    if not (np.all(np.asarray(images.height) == size) and np.all(np.asarray(images.width) == size)):
        notes.append(f"images were brought to the {size} x {size} pixels that the net sees")
    unknown = [name for name in predictor.card.classes if name not in images.classes]
    if unknown:
        notes.append(f"{len(unknown):,} of the net's {len(predictor.card.classes):,} classes are not in the data")
    return tuple(notes)


def _result(
    model: Path,
    predictor: Predictor,
    scores: Scores,
    **known: Any,
) -> NetScores:
    card, matrix = predictor.card, scores.confusion
    bins = len(scores.bin_count)
    return NetScores(
        model=str(model),
        kind=predictor.kind,
        net=card.net.model,
        head=card.net.head,
        step=card.step,
        averaged=card.averaged,
        n_images=scores.n,
        top1=scores.top1,
        top1_error=math.sqrt(scores.top1 * (1 - scores.top1) / scores.n),
        top5=scores.top5,
        loss=scores.loss,
        calibration_error=scores.calibration_error,
        images_per_second=scores.images_per_second,
        device=predictor.device.type,
        precision=predictor.precision,
        classes=_classes(matrix, card.classes),
        confusions=_confusions(matrix, card.classes),
        calibration=tuple(
            CalibrationBin(i / bins, (i + 1) / bins, int(n), float(confidence), float(accuracy))
            for i, (n, confidence, accuracy) in enumerate(
                zip(scores.bin_count, scores.bin_confidence, scores.bin_accuracy, strict=True)
            )
        ),
        confusion=matrix.tolist() if len(matrix) <= _WHOLE_MATRIX else None,
        **known,
    )


def _classes(matrix: NDArray[np.int64], names: tuple[str, ...]) -> tuple[ClassScore, ...]:
    right, of_class, taken = np.diagonal(matrix), matrix.sum(1), matrix.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall, precision = right / of_class, right / taken
    return tuple(
        ClassScore(name, int(of_class[k]), float(recall[k]), float(precision[k])) for k, name in enumerate(names)
    )


def _confusions(matrix: NDArray[np.int64], names: tuple[str, ...]) -> tuple[Confusion, ...]:
    """The most frequent ones first; among equals in the order of the classes."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    worst = np.argsort(-wrong, axis=None, kind="stable")[:_CONFUSIONS]
    places = [divmod(int(place), len(names)) for place in worst if wrong.flat[place] > 0]
    return tuple(
        Confusion(names[true], names[guess], int(wrong[true, guess]), float(wrong[true, guess] / matrix[true].sum()))
        for true, guess in places
    )
