"""How a training run ended, as its journal remembers it."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from tdtool.train.journal import in_force, of_kind, read_journal

DONE, MAX_STEPS, INTERRUPTED, DIVERGED = "done", "max_steps", "interrupted", "diverged"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The end of a run, or of one part of it. Scores are those of the last evaluation, NaN: none."""

    steps: int
    epochs: int  # whole ones
    top1: float
    top5: float
    loss: float
    images_per_second: float  # while training, without evaluation and saving; of this part of the run
    seconds: float  # all of it, of this part of the run
    stopped: str  # "done" | "max_steps" | "interrupted" | "diverged"

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to be trained."""
        return self.stopped in (DONE, MAX_STEPS)

    def as_dict(self) -> dict[str, Any]:
        """As plain values; NaN becomes None."""
        values = dataclasses.asdict(self)
        return {name: None if isinstance(v, float) and math.isnan(v) else v for name, v in values.items()}


def outcome_of(run: Path) -> Outcome | None:
    """How the run ended when it last ran; None when it never came to an end (it runs, was killed, or never started)."""
    ends = of_kind(in_force(read_journal(run)), "end")
    if not ends:
        return None
    known: dict[str, Any] = {field.name: ends[-1].get(field.name) for field in dataclasses.fields(Outcome)}
    for name, value in known.items():
        known[name] = math.nan if value is None else value
    return Outcome(**known)
