"""What a run says while it goes on: its journal, arrays folded from it, trackers, notes. Rank 0 speaks alone."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray

from tdtool import log
from tdtool.train.fold import fold
from tdtool.train.journal import Journal, Record, in_force
from tdtool.train.outcome import Outcome
from tdtool.train.run_folder import RunSettings
from tdtool.train.tracking import Tracker, open_tracker
from tdtool.train.world import World

FOLD_SECONDS = 10.0


class Records:
    """A context; on other ranks than 0 it does nothing at all. factors : of the head, as run.h5 has them."""

    def __init__(self, run: Path, settings: RunSettings, world: World) -> None:
        self._run, self._settings, self._main = Path(run), settings, world.main
        self._journal: Journal | None = None
        self._tracker: Tracker | None = None
        self._stack = contextlib.ExitStack()
        self._start = self._folded = time.monotonic()
        self._named: set[int] = set()
        self.factors: Mapping[str, NDArray] = {}

    def __enter__(self) -> Self:
        if self._main:
            with contextlib.ExitStack() as stack:
                self._journal = stack.enter_context(contextlib.closing(Journal(self._run)))
                self._tracker = stack.enter_context(open_tracker(self._settings.config.track, self._run))
                self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def resume(self, step: int) -> None:
        """The run is taken up at a step; what was recorded after it is void."""
        self._append("resume", step=step)

    def step(self, step: int, **values: float) -> None:
        """How the steps since the last record went: loss, learning_rate, gradient_norm, rate."""
        self._append("step", step=step, **values)
        if self._tracker is not None:
            self._tracker.add(step, {f"train/{name}": value for name, value in values.items()})
        self.fold_if_due()

    def evaluation(self, epoch: int, step: int, **values: float) -> None:
        """How good the net is: train_loss, loss, top1, top5, images_per_second."""
        self._append("evaluation", epoch=epoch, step=step, **values)
        if self._tracker is not None:
            self._tracker.add(step, {f"scored/{name}": value for name, value in values.items()})
        self._say(f"epoch {epoch} of {self._settings.config.epochs}: {_in_words(values)}")

    def skipped(self, bad: Mapping[int, str]) -> None:
        """Images that cannot be decoded: each is named once."""
        for index in sorted(set(bad) - self._named):
            self._named.add(index)
            self._append("skipped", image=index, reason=bad[index])
            if self._main:
                log.warn(f"image {index} cannot be decoded and is left out: {bad[index]}")

    def head(self, head: str, table: list[dict[str, Any]]) -> None:
        """Which ranks were chosen, and among which."""
        self._append("head", head=head, table=table)

    def note(self, message: str) -> None:
        """Something worth knowing later, too."""
        self._append("note", message=message)
        self._say(message)

    def end(self, outcome: Outcome) -> None:
        """How this part of the run ended; everything is folded."""
        self._append("end", step=outcome.steps, **dataclasses.asdict(outcome))
        self.fold()

    def counted(self) -> list[Record]:
        """The records that count so far; [] on other ranks."""
        return [] if self._journal is None else in_force(self._journal.records)

    def fold_if_due(self) -> None:
        """Write run.h5 anew when the last time is long ago."""
        if time.monotonic() - self._folded >= FOLD_SECONDS:
            self.fold()

    def fold(self) -> None:
        """Write run.h5 anew."""
        if self._journal is not None:
            seconds = time.monotonic() - self._start
            fold(self._run, self._journal.records, self._settings, factors=self.factors, seconds=seconds)
            self._folded = time.monotonic()

    def _append(self, kind: str, **values: Any) -> None:
        if self._journal is not None:
            self._journal.append(kind, **values)

    def _say(self, message: str) -> None:
        if self._main:
            log.note(message)


def _in_words(values: Mapping[str, float]) -> str:
    words = [f"training loss {values['train_loss']:.4f}"]
    if not math.isnan(values["top1"]):
        words.append(f"loss {values['loss']:.4f}, top-1 {values['top1']:.2%}, top-5 {values['top5']:.2%}")
    if values["rate"] > 0:
        words.append(f"{values['rate']:,.0f} images/s")
    return "; ".join(words)
