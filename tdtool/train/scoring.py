"""How good a net is on labelled images: accuracy, loss, confusions and calibration."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from tdtool.train.augment import to_input
from tdtool.train.precision import autocast

N_BINS = 15


class ScoringStoppedError(Exception):
    """Scoring was asked to stop before all images were seen."""


@dataclasses.dataclass(frozen=True)
class Scores:
    """Sums over all processes. Without any image all shares are NaN."""

    top1: float  # share of images whose class is the first guess
    top5: float  # share whose class is among the first five
    loss: float  # mean cross entropy, nats
    n: int
    confusion: NDArray[np.int64]  # (K, K): images of class row that were taken for class column
    bin_count: NDArray[np.int64]  # (15,): images by confidence of the first guess, equal bins of [0, 1]
    bin_confidence: NDArray[np.float64]  # (15,): mean confidence, NaN: none
    bin_accuracy: NDArray[np.float64]  # (15,): share that is right, NaN: none
    images_per_second: float

    @property
    def calibration_error(self) -> float:
        """Expected calibration error (Guo et al. 2017, equation 3): mean of |accuracy - confidence| over images."""
        gap = np.abs(np.nan_to_num(self.bin_accuracy - self.bin_confidence))
        return float((gap * self.bin_count).sum() / self.n) if self.n else math.nan


def evaluate(
    model: Callable[[torch.Tensor], torch.Tensor],
    batches: Any,
    *,
    device: torch.device,
    dtype: torch.dtype,
    n_classes: int,
    stop: Callable[[], bool] | None = None,
    prepare: Callable[[torch.Tensor, torch.dtype, torch.device], torch.Tensor] = to_input,
) -> Scores:
    """Score a model on every image of `batches` once; every process its share, all get the sums.

    model : normalised images x_BCHW -> logits_BK, a module (set to evaluation and back) or any function; batches :
    Batches(training=False), or an iterable of Batch; dtype : of autocast; stop : asked after each batch; when it says
    yes in any process, ScoringStoppedError is raised in all of them. prepare : makes x_BHWC, uint8, what the model
    takes.
    """
    sums, stopped, start = _Sums(n_classes, device), False, time.perf_counter()
    with torch.no_grad(), _scoring(model):
        for batch in _each(batches):
            x_BCHW = prepare(batch.x_BHWC, dtype, device)
            with autocast(device, dtype):
                logits_BK = model(x_BCHW)
            sums.add(logits_BK.float(), batch.y_B.to(device, non_blocking=True))
            stopped = stop is not None and stop()
            if stopped:
                break
        if _any_process(stopped):
            raise ScoringStoppedError
        return sums.scores(start)


class _Sums:
    """Sums on the device, so that no batch waits for the one before to be computed."""

    def __init__(self, n_classes: int, device: torch.device) -> None:
        self._k = n_classes
        self._classes_K = torch.arange(n_classes, device=device)
        self._confusion = torch.zeros(n_classes * n_classes, dtype=torch.int64, device=device)
        self._bins_3C = torch.zeros(3, N_BINS, dtype=torch.float64, device=device)  # count, confidence, right
        self._loss_top5 = torch.zeros(2, dtype=torch.float64, device=device)

    def add(self, logits_BK: torch.Tensor, y_B: torch.Tensor) -> None:
        logs_BK = torch.log_softmax(logits_BK, 1)
        of_class_B = logs_BK.gather(1, y_B[:, None])[:, 0]
        best_B, guess_B = logs_BK.max(1)
        # Ahead of the true class are those with more, and those with as much and a smaller number: as max counts.
        equal_BK = (logs_BK == of_class_B[:, None]) & (self._classes_K < y_B[:, None])
        ahead_B = ((logs_BK > of_class_B[:, None]) | equal_BK).sum(1)
        ahead_B = ahead_B.where(~of_class_B.isnan(), self._k)  # a net that has diverged knows nothing
        confidence_B = best_B.exp().double()
        bin_B = (confidence_B * N_BINS).long().clamp(0, N_BINS - 1)
        columns_3B = torch.stack([torch.ones_like(confidence_B), confidence_B, (ahead_B == 0).double()])
        self._bins_3C.index_add_(1, bin_B, columns_3B)
        self._confusion.index_add_(0, y_B * self._k + guess_B, torch.ones_like(y_B))
        self._loss_top5 += torch.stack(
            [-of_class_B.double().sum(), ((ahead_B < 5) & (ahead_B < self._k)).double().sum()]
        )

    def scores(self, start: float) -> Scores:
        """Added over all processes; waits for the device."""
        if dist.is_initialized():
            for tensor in (self._confusion, self._bins_3C, self._loss_top5):
                dist.all_reduce(tensor)
        confusion = self._confusion.cpu().numpy().reshape(self._k, self._k)
        count, confidence, right = self._bins_3C.cpu().numpy()
        loss, top5 = self._loss_top5.tolist()
        n, top1, seconds = int(confusion.sum()), right.sum(), time.perf_counter() - start
        with np.errstate(invalid="ignore", divide="ignore"):
            confidence, right = confidence / count, right / count
        return Scores(
            top1=float(top1) / n if n else math.nan,
            top5=top5 / n if n else math.nan,
            loss=loss / n if n else math.nan,
            n=n,
            confusion=confusion,
            bin_count=count.astype(np.int64),
            bin_confidence=confidence,
            bin_accuracy=right,
            images_per_second=n / max(seconds, 1e-9),
        )


class _scoring:  # noqa: N801 -- a context, used like a function
    """A module is in evaluation mode inside, and as before after it."""

    def __init__(self, model: Any) -> None:
        self._module = model if isinstance(model, torch.nn.Module) else None

    def __enter__(self) -> None:
        if self._module is not None:
            self._before = self._module.training
            self._module.eval()

    def __exit__(self, *_: object) -> None:
        if self._module is not None:
            self._module.train(self._before)


def _each(batches: Any) -> Iterator[Any]:
    parts: Iterable[Any] = batches.epoch(0) if hasattr(batches, "epoch") else batches
    for part in parts:
        yield from part if isinstance(part, list) else [part]


def _any_process(flag: bool) -> bool:
    if not dist.is_initialized():
        return flag
    flags = torch.tensor([flag], dtype=torch.int32)  # on the CPU: see world.py
    dist.all_reduce(flags, op=dist.ReduceOp.MAX)
    return bool(flags.item())
