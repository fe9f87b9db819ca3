"""The journal of a run: one JSON object a line, only ever added to, whole up to its last line whatever kills the run.

Kinds of record: "step" (loss, learning_rate, gradient_norm, rate), "evaluation" (epoch, train_loss, loss, top1, top5),
"resume" (what lies after its step is void), "head" (how the ranks were chosen), "note", "skipped", "end" (outcome).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tdtool.errors import InputError, ResourceError
from tdtool.store.atomic import is_full
from tdtool.train.run_folder import JOURNAL

Record = dict[str, Any]


class Journal:
    """Appends to RUN/journal.jsonl; every record reaches the system before `append` returns.

    records : all so far, those of earlier processes too.
    """

    def __init__(self, run: Path) -> None:
        self._path = Path(run) / JOURNAL
        self.records = read_journal(run)
        self._file = self._path.open("ab")
        self._end_a_half_line()

    def append(self, kind: str, **values: Any) -> None:
        """Add one record, stamped with the time. values : what JSON can say; NaN and infinity become null."""
        plain = {name: None if _is_lost(value) else value for name, value in values.items()}
        record = {"kind": kind, **plain, "time": round(time.time(), 3)}
        self._write(json.dumps(record, allow_nan=False).encode() + b"\n")
        self.records.append(record)

    def close(self) -> None:
        """Nothing more is added."""
        self._file.close()

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            if not is_full(error):
                raise
            hint = "free some space there and run the same command again: it goes on from the last checkpoint"
            raise ResourceError("the disk is full", path=self._path, hint=hint) from error

    def _end_a_half_line(self) -> None:
        """What a killed run wrote last may be half a line: the next one starts its own."""
        with self._path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(size - 1, 0))
            whole = size == 0 or file.read(1) == b"\n"
        if not whole:
            self._write(b"\n")


def read_journal(run: Path) -> list[Record]:
    """All records of a run that are whole, in their order; [] when there is no journal yet."""
    path = Path(run) / JOURNAL
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError("the journal of the run cannot be read", path=path) from error
    return [record for line in lines if (record := _parsed(line)) is not None]


def in_force(records: Iterable[Record]) -> list[Record]:
    """The records that count: those after the step from which the run was taken up again are left out."""
    kept: list[Record] = []
    for record in records:
        if record["kind"] == "resume":
            step = record.get("step", 0)
            kept = [old for old in kept if old.get("step", 0) <= step and old["kind"] != "end"]
        kept.append(record)
    return kept


def of_kind(records: Iterable[Record], kind: str) -> list[Record]:
    """Those of one kind."""
    return [record for record in records if record["kind"] == kind]


def _parsed(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None  # half a line of a run that was killed
    return record if isinstance(record, dict) and isinstance(record.get("kind"), str) else None


def _is_lost(value: Any) -> bool:
    """Whether JSON has no word for a number."""
    return isinstance(value, float) and not math.isfinite(value)
