"""Scores equal their definitions, on logits that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tdtool.train.batches import Batch
from tdtool.train.scoring import N_BINS, Scores, ScoringStoppedError, evaluate

K, SIZES = 7, (5, 3, 4)


def batches(labels: list[int]) -> list[list[Batch]]:
    """Batches of images of one pixel each, whose red value is the number of the image."""
    parts, first = [], 0
    for size in SIZES:
        chosen = np.arange(first, first + size)
        x_BHWC = torch.from_numpy(chosen.astype(np.uint8)).view(-1, 1, 1, 1).repeat(1, 1, 1, 3)
        parts.append([Batch(x_BHWC, torch.tensor(labels[first : first + size]), None, chosen)])
        first += size
    return parts


class Known(torch.nn.Module):
    """Logits by the number of the image."""

    def __init__(self, logits_NK: torch.Tensor) -> None:
        super().__init__()
        self.logits_NK, self.seen = logits_NK, 0

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        assert not self.training
        self.seen += len(x_BCHW)
        return self.logits_NK[self.seen - len(x_BCHW) : self.seen]


def score(model: Known, labels: list[int]) -> Scores:
    return evaluate(model, batches(labels), device=torch.device("cpu"), dtype=torch.float32, n_classes=K)


def test_scores_are_their_definitions(rng: np.random.Generator) -> None:
    n = sum(SIZES)
    logits = rng.normal(size=(n, K)) * 2
    labels = rng.integers(0, K, n).tolist()
    model = Known(torch.tensor(logits))
    model.train()
    scores = score(model, labels)
    assert model.training
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    order = np.argsort(-logits, axis=1)
    guesses, confidence = order[:, 0], shares.max(1)
    right = guesses == labels
    assert scores.n == n
    assert scores.top1 == pytest.approx(right.mean())
    assert scores.top5 == pytest.approx(np.mean([label in row[:5] for label, row in zip(labels, order, strict=True)]))
    assert scores.loss == pytest.approx(-np.log(shares[np.arange(n), labels]).mean(), rel=1e-6)
    confusion = np.zeros((K, K), int)
    for label, guess in zip(labels, guesses, strict=True):
        confusion[label, guess] += 1
    assert np.array_equal(scores.confusion, confusion)
    bins = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    error = sum(abs((right[bins == b] - confidence[bins == b]).sum()) for b in range(N_BINS)) / n
    assert scores.calibration_error == pytest.approx(error, rel=1e-6)
    assert scores.bin_count.sum() == n


def test_equal_logits_are_no_free_guess() -> None:
    """A net that says the same of every class has the first five classes right, not all of them."""
    n = sum(SIZES)
    labels = [index % K for index in range(n)]
    scores = score(Known(torch.zeros(n, K)), labels)
    assert scores.top1 == pytest.approx(np.mean([label == 0 for label in labels]))
    assert scores.top5 == pytest.approx(np.mean([label < 5 for label in labels]))
    assert scores.loss == pytest.approx(math.log(K))


def test_net_that_has_diverged_has_nothing_right() -> None:
    n = sum(SIZES)
    scores = score(Known(torch.full((n, K), math.nan)), [0] * n)
    assert (scores.top1, scores.top5) == (0, 0)
    assert math.isnan(scores.loss)


def test_no_images_have_no_scores() -> None:
    scores = evaluate(Known(torch.zeros(0, K)), [], device=torch.device("cpu"), dtype=torch.float32, n_classes=K)
    assert scores.n == 0
    assert math.isnan(scores.top1)
    assert math.isnan(scores.calibration_error)


def test_scoring_can_be_stopped() -> None:
    model = Known(torch.zeros(sum(SIZES), K))
    with pytest.raises(ScoringStoppedError):
        evaluate(
            model,
            batches([0] * sum(SIZES)),
            device=torch.device("cpu"),
            dtype=torch.float32,
            n_classes=K,
            stop=lambda: model.seen > SIZES[0],
        )
    assert model.seen == SIZES[0] + SIZES[1]
    assert model.training
