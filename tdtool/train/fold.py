"""The journal of a run as arrays: RUN/run.h5, written anew as a whole, so that it can be read at any moment."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.config import as_json
from tdtool.data.ledger import Ledger
from tdtool.data.provenance import record_provenance
from tdtool.store import hdf5
from tdtool.store.schema import TRAINING
from tdtool.train.journal import Record, in_force, of_kind
from tdtool.train.run_folder import RESULT, RunSettings

_STEPS = ("loss", "learning_rate", "gradient_norm", "rate")
_EPOCHS = ("train_loss", "loss", "top1", "top5")


def fold(
    run: Path,
    records: Sequence[Record],
    settings: RunSettings,
    *,
    factors: Mapping[str, NDArray] | None = None,
    seconds: float = 0.0,
) -> None:
    """Write RUN/run.h5 from the records of the journal; the file of before stays until the new one is whole.

    factors : of the head, by their paths in the schema; seconds : that this process has trained for.
    """
    counted = in_force(records)
    steps, evaluations = of_kind(counted, "step"), of_kind(counted, "evaluation")
    ends = of_kind(counted, "end")
    with hdf5.create(Path(run) / RESULT, TRAINING, force=True) as writer:
        writer.put("steps/step", _whole_numbers(steps, "step"))
        for name in _STEPS:
            writer.put(f"steps/{name}", _numbers(steps, name))
        writer.put("epochs/epoch", _whole_numbers(evaluations, "epoch"))
        writer.put("epochs/step", _whole_numbers(evaluations, "step"))
        for name in _EPOCHS:
            writer.put(f"epochs/{name}", _numbers(evaluations, name))
        writer.put("classes/name", settings.classes)
        for path, array in (factors or {}).items():
            writer.put(path, array)
        writer.attribute("stopped", ends[-1].get("stopped", "") if ends else "running or killed")
        record_provenance(
            writer,
            config=as_json(settings.config),
            seed=settings.config.seed,
            ledger=_ledger(counted),
            source={"path": settings.data, "digest": settings.data_digest},
            seconds={"train": seconds},
        )


def _whole_numbers(records: Sequence[Record], name: str) -> NDArray[np.int64]:
    return np.array([record[name] for record in records], np.int64)


def _numbers(records: Sequence[Record], name: str) -> NDArray[np.float64]:
    return np.array([_number(record.get(name)) for record in records], np.float64)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _ledger(records: Sequence[Record]) -> Ledger:
    """Images that could not be decoded while training."""
    ledger = Ledger()
    for record in of_kind(records, "skipped"):
        ledger.skip(str(record.get("reason", "cannot be decoded")), record.get("image", "?"))
    return ledger
