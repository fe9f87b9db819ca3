"""Other people's dashboards: the records of a run go to TensorBoard or Weights & Biases, too."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from tdtool.errors import MissingExtraError


class Tracker(Protocol):
    """Takes numbers as they come."""

    def add(self, step: int, values: Mapping[str, float]) -> None: ...


@contextlib.contextmanager
def open_tracker(kind: str, run: Path) -> Iterator[Tracker | None]:
    """kind : "none", "tensorboard" (into RUN/tensorboard), "wandb" (its own settings say where to; a copy in RUN)."""
    if kind == "none":
        yield None
        return
    tracker = _TensorBoard(run) if kind == "tensorboard" else _Wandb(run)
    try:
        yield tracker
    finally:
        tracker.close()


class _TensorBoard:
    def __init__(self, run: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("tensorboard", "tracking") from error
        self._writer: Any = SummaryWriter(str(run / "tensorboard"))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            if math.isfinite(value):
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    def __init__(self, run: Path) -> None:
        try:
            import wandb
        except ImportError as error:
            raise MissingExtraError("wandb", "tracking") from error
        # The same identity after a resume, so that the curves go on.
        self._run: Any = wandb.init(dir=str(run), name=run.name, id=_identity(run), resume="allow")

    def add(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


def _identity(run: Path) -> str:
    """A name for the run that stays: letters and numbers, kept in RUN/wandb-id."""
    path = run / "wandb-id"
    if not path.is_file():
        import uuid

        path.write_text(uuid.uuid4().hex[:12] + "\n", encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()
