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
from tdtool.errors import TdtoolError
from tdtool.train import strategy
from tdtool.train.agenda import Agenda, agreed_signal
from tdtool.train.batches import Batches
from tdtool.train.head_factors import head_factors
from tdtool.train.interruption import Interruption
from tdtool.train.journal import of_kind
from tdtool.train.keeping import Keeper
from tdtool.train.losses import Losses
from tdtool.train.optimisers import base_learning_rate
from tdtool.train.outcome import DIVERGED, DONE, INTERRUPTED, MAX_STEPS, Outcome
from tdtool.train.records import Records
from tdtool.train.schedules import learning_rate, total_steps, warmup_steps
from tdtool.train.scoring import ScoringStoppedError, evaluate
from tdtool.train.step import Updater
from tdtool.train.world import World


class _StoppedError(Exception):
    """A signal has arrived, and everything is saved."""


class _DivergedError(Exception):
    """The loss or a weight is no number any more."""


class Loop:
    """Trains a net from where it is to the end. All processes go through the same steps.

    step : updates so far; signal : the one that ended training early, 0: none did.
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
        self._config, self._world, self._dtype = config, world, dtype
        self._updater, self._batches, self._scored = updater, batches, scored
        self._records, self._interruption = records, interruption
        self._agenda = Agenda(world, interruption, save_seconds=60 * config.save_every)
        self._losses = Losses(updater, world)
        self._keeper = Keeper(run, config, updater, self._losses, world)
        self._per_epoch = batches.steps_per_epoch
        self._total = total_steps(epochs=config.epochs, steps_per_epoch=self._per_epoch, max_steps=config.max_steps)
        self._warmup = warmup_steps(
            config.optimiser.warmup, epochs=config.epochs, steps_per_epoch=self._per_epoch, max_steps=config.max_steps
        )
        self._base_rate = base_learning_rate(config.optimiser, config.batch)
        self._scores = {"loss": math.nan, "top1": math.nan, "top5": math.nan}
        self._rate = math.nan  # images a second, since the last record
        self.step = self.signal = 0

    def restore(self) -> None:
        """Go on from the newest checkpoint, if there is one."""
        self.step = self._keeper.restore()
        if self.step or of_kind(self._records.counted(), "step"):
            self._records.resume(self.step)
        if self.step:
            self._records.note(f"going on from step {self.step:,} of {self._total:,}")
        with self._scored_net() as net:
            self._records.factors = head_factors(net)

    def go(self) -> Outcome:
        """Train to the end, or to a signal. Raises TdtoolError when the loss is no number any more."""
        start, first = time.monotonic(), self.step
        stopped = MAX_STEPS if self._total < self._config.epochs * self._per_epoch else DONE
        try:
            self._train()
        except _StoppedError:
            stopped = INTERRUPTED
        except _DivergedError as error:
            self._records.end(self._outcome(DIVERGED, start, first))
            raise self._diverged() from error
        outcome = self._outcome(stopped, start, first)
        self._records.end(outcome)
        return outcome

    def _train(self) -> None:
        if self.step and self.step % self._per_epoch == 0 and not self._is_scored():
            self._score()  # it was ended between a checkpoint and the scores
        self._losses.restart_clock()
        with log.task("training", total=self._total) as bar:
            bar.advance(self.step)
            while self.step < self._total:
                self._train_epoch(bar)
                self._save()
                self._score()

    def _train_epoch(self, bar: log.Task) -> None:
        """From where the epoch is to its end, or to the end of the run."""
        epoch, start = divmod(self.step, self._per_epoch)
        with contextlib.closing(self._batches.epoch(epoch, start)) as steps:
            for parts in steps:
                self._updater.update(parts, self.step, self._learning_rate(self.step))
                self.step += 1
                self._losses.count()
                bar.advance()
                duty = self._agenda.after_step()
                if duty.save:
                    self._save()
                elif duty.record:
                    self._record()
                if duty.signal:
                    self.signal = duty.signal
                    raise _StoppedError
                if self.step >= self._total:
                    break

    def _record(self) -> None:
        """Write down how the steps since the last record went."""
        if not self._losses.steps:
            return
        norm = self._updater.norm()
        loss, rate = self._losses.take()
        self._rate = rate * self._config.batch
        rates = {"learning_rate": self._learning_rate(self.step - 1), "gradient_norm": norm, "rate": self._rate}
        self._records.step(self.step, loss=loss, **rates)
        self._records.skipped(self._batches.bad)
        self._agenda.recorded()
        if not math.isfinite(loss):
            raise _DivergedError

    def _save(self) -> None:
        """A checkpoint of this step; never of weights that are no numbers."""
        self._record()
        if not self._keeper.save(self.step):
            raise _DivergedError
        self._agenda.saved()
        self._losses.restart_clock()

    def _score(self) -> None:
        """Score the net, averaged where it is, and write it down."""
        values = dict.fromkeys(self._scores, math.nan)
        try:
            with self._scored_net() as net:
                if self._scored is not None:
                    values = self._scores_of(net)
                self._records.factors = head_factors(net)
        except ScoringStoppedError as error:
            self.signal = agreed_signal(self._world, self._interruption)
            raise _StoppedError from error
        self._scores = values
        epoch = -(-self.step // self._per_epoch)
        self._records.evaluation(epoch, self.step, train_loss=self._losses.end_epoch(), rate=self._rate, **values)
        self._losses.restart_clock()

    def _scores_of(self, net: nn.Module) -> dict[str, float]:
        scores = evaluate(
            net,
            self._scored,
            device=self._world.device,
            dtype=self._dtype,
            n_classes=self._config.net.n_classes,
            stop=lambda: bool(self._interruption.number),
        )
        return {"loss": scores.loss, "top1": scores.top1, "top5": scores.top5}

    @contextlib.contextmanager
    def _scored_net(self) -> Iterator[nn.Module]:
        """The net that is scored: with its averaged weights where there are any."""
        average, model = self._updater.average, self._updater.model
        with contextlib.nullcontext() if average is None else average.swapped(model), strategy.scoring(model) as net:
            yield net

    def _is_scored(self) -> bool:
        """Whether there are scores of this step, on every process as rank 0 knows it."""
        records = of_kind(self._records.counted(), "evaluation")
        return self._world.any_of(any(record["step"] == self.step for record in records))

    def _learning_rate(self, step: int) -> float:
        return learning_rate(
            step,
            base=self._base_rate,
            total_steps=self._total,
            warmup_steps=self._warmup,
            schedule=self._config.optimiser.schedule,
        )

    def _outcome(self, stopped: str, start: float, first: int) -> Outcome:
        images = (self.step - first) * self._config.batch
        return Outcome(
            steps=self.step,
            epochs=self.step // self._per_epoch,
            **self._scores,
            images_per_second=images / self._losses.seconds if self._losses.seconds else math.nan,
            seconds=time.monotonic() - start,
            stopped=stopped,
        )

    def _diverged(self) -> TdtoolError:
        kept = self._keeper.saved_step
        last = f"; the checkpoint of step {kept:,} is kept" if kept >= 0 else ""
        return TdtoolError(
            f"training diverged: the loss is no number any more at step {self.step:,}{last}",
            hint=f"start anew with a lower --lr (it was {self._base_rate:g}), a longer --warmup or --clip 1; "
            "with --precision fp16, bf16 or fp32 have a wider range",
        )
