"""Ranks for a head by experiment: a trained fc head is decomposed for each candidate, and held-out images decide.

Letters: B images, C channels, H rows, W columns, K classes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tdtool import log
from tdtool.nn.head_from import Layers, TrainedHead, start_head
from tdtool.nn.head_spec import HeadSpec, Shape, head_parameters
from tdtool.nn.heads import build_head

#: Each candidate, and the fc head beside it, is trained on the features for so many steps of this size and rate.
_STEPS, _BATCH, _RATE = 60, 128, 1e-3


@dataclasses.dataclass(frozen=True)
class Examples:
    """Activations and classes. a_BCHW : float32; y_B : int64."""

    a_BCHW: Tensor
    y_B: Tensor


@dataclasses.dataclass(frozen=True)
class Trial:
    """One head. share : of the fc head's parameters; loss, top1 : on the images that were held out of the fit."""

    head: str
    parameters: int
    share: float
    loss: float
    top1: float


@dataclasses.dataclass(frozen=True)
class HeadChoice:
    """head : the word of the best head; trials : the fc head, then all candidates, the best first."""

    head: str
    trials: tuple[Trial, ...]

    def table(self) -> list[dict[str, Any]]:
        """The trials as plain JSON values."""
        return [dataclasses.asdict(trial) for trial in self.trials]


def choose_head(
    specs: Sequence[HeadSpec],
    layers: Layers,
    fit: Examples,
    held: Examples,
    *,
    hidden: Sequence[int],
    dropout: float = 0.0,
    seed: int = 0,
    check: Callable[[], object] = lambda: None,
) -> HeadChoice:
    """The candidate with the least loss on `held`.

    specs : candidates (see head_candidates); layers : the trained fc head (see linear_layers); fit, held : features of
    training images, and of others. Each candidate starts from the decomposed fc head, is trained on `fit` for a
    moment, and scored on `held` before and after; the better counts, as it does for the fc head itself. hidden :
    widths of the model's own head; check : called between candidates, may raise. Depends on `seed` alone.
    """
    shape: Shape = tuple(fit.a_BCHW.shape[1:])
    n_classes = len(layers[-1][0])
    fc = head_parameters(HeadSpec("fc"), shape, n_classes, hidden)
    trained, trials = TrainedHead(layers, fit.a_BCHW), []
    with log.task("choosing the head", total=len(specs) + 1) as bar, torch.random.fork_rng(_devices(fit.a_BCHW)):
        for spec in (HeadSpec("fc"), *specs):
            check()
            torch.manual_seed(seed)
            head = _started(spec, trained, hidden, dropout).to(fit.a_BCHW.device)
            loss, top1 = min(score(head, held), _trained(head, fit, held))
            parameters = head_parameters(spec, shape, n_classes, hidden)
            trials.append(Trial(str(spec), parameters, parameters / fc, loss, top1))
            bar.advance()
    ranked = sorted(trials[1:], key=lambda trial: (trial.loss, trial.parameters))
    return HeadChoice(ranked[0].head, (trials[0], *ranked))


def score(head: nn.Module, held: Examples) -> tuple[float, float]:
    """Mean cross entropy (nats; inf where it is no number) and share of right first guesses."""
    head.eval()
    loss, right = 0.0, 0
    with torch.no_grad():
        for a_BCHW, y_B in zip(held.a_BCHW.split(_BATCH), held.y_B.split(_BATCH), strict=True):
            logits_BK = head(a_BCHW)
            loss += float(nn.functional.cross_entropy(logits_BK, y_B, reduction="sum"))
            right += int((logits_BK.argmax(1) == y_B).sum())
    n = max(len(held.y_B), 1)
    return (loss / n if math.isfinite(loss) else math.inf), right / n


def _started(spec: HeadSpec, trained: TrainedHead, hidden: Sequence[int], dropout: float) -> nn.Module:
    """The head, as the trained layers have it."""
    if spec.kind == "fc":  # with every mode left alone a contraction does nothing
        spec = HeadSpec("tcl", (None, None, None), None if len(trained.weights) > 1 else ())
    head = build_head(spec, trained.shape, trained.n_outputs, hidden=hidden, dropout=dropout)
    start_head(head, trained)
    return head


def _trained(head: nn.Module, fit: Examples, held: Examples) -> tuple[float, float]:
    """The score after some steps on features that stay."""
    optimiser = torch.optim.AdamW(head.parameters(), lr=_RATE, weight_decay=0.0)
    rates = torch.linspace(1, 0, _STEPS + 1)[:-1] * _RATE
    head.train()
    order = torch.randperm(len(fit.y_B)).repeat(-(-_STEPS * _BATCH // max(len(fit.y_B), 1)))
    for rate, rows in zip(rates.tolist(), order.split(_BATCH), strict=False):
        optimiser.param_groups[0]["lr"] = rate
        rows = rows.to(fit.y_B.device)
        loss = nn.functional.cross_entropy(head(fit.a_BCHW[rows]), fit.y_B[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return score(head, held)


def _devices(a_BCHW: Tensor) -> list[torch.device]:
    return [a_BCHW.device] if a_BCHW.is_cuda else []
