"""The loop: epochs of updates, and between them records, checkpoints and scores."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from tdtool import log
from tdtool.config import TrainConfig
from tdtool.errors import InputError, TdtoolError
from tdtool.train import checkpoint as checkpoints
from tdtool.train import strategy
from tdtool.train.agenda import Agenda, agreed_signal
from tdtool.train.batches import Batches
from tdtool.train.checkpoint import Checkpoint
from tdtool.train.head_factors import head_factors
from tdtool.train.interruption import Interruption
from tdtool.train.journal import of_kind
from tdtool.train.optimisers import base_learning_rate
from tdtool.train.outcome import DIVERGED, DONE, INTERRUPTED, MAX_STEPS, Outcome
from tdtool.train.records import Records
from tdtool.train.schedules import learning_rate, total_steps, warmup_steps
from tdtool.train.scoring import ScoringStoppedError, evaluate
from tdtool.train.step import Updater
from tdtool.train.world import World


class _StopTrainingError(Exception):
    """A signal has arrived, and everything is saved."""


class Loop:
    """Trains a net from where it is to the end. All processes go through the same steps.

    step : updates so far; signal : what ended training early, 0: nothing did.
    """

    def __init__(
        self,
        run: Path,
        config: TrainConfig,
        updater: Updater,
        batches: Batches,
        scored: Batches | None,
        *,
        world: World,
        dtype: torch.dtype,
        records: Records,
        interruption: Interruption,
    ) -> None:
        self._run, self._config, self._world, self._dtype = Path(run), config, world, dtype
        self._updater, self._batches, self._scored = updater, batches, scored
        self._records, self._interruption = records, interruption
        self._agenda = Agenda(world, interruption, save_seconds=60 * config.save_every)
        self._per_epoch = batches.steps_per_epoch
        lengths = {"epochs": config.epochs, "steps_per_epoch": self._per_epoch, "max_steps": config.max_steps}
        self._total = total_steps(**lengths)
        self._warmup = warmup_steps(config.optimiser.warmup, **lengths)
        self._base_rate = base_learning_rate(config.optimiser, config.batch)
        self._window = _Window()
        self._epoch_loss, self._epoch_steps = 0.0, 0
        self._saved_step = -1
        self._scores = (math.nan, math.nan, math.nan)
        self.step = self.signal = 0

    def go(self) -> Outcome:
        """Train to the end, or to a signal. Raises TdtoolError when the loss is no number any more."""
        start, first = time.monotonic(), self.step
        stopped = MAX_STEPS if self._total < self._config.epochs * self._per_epoch else DONE
        try:
            self._all_epochs()
        except _StopTrainingError:
            stopped = INTERRUPTED
        except TdtoolError:
            self._records.end(self._outcome(DIVERGED, start, first)) if self._window.diverged else None
            raise
        outcome = self._outcome(stopped, start, first)
        self._records.end(outcome)
        return outcome
