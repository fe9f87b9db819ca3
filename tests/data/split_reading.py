"""What the tests of splits share: a source read in one go and in parts, told as plain values."""

from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

from tdtool.config import SourceConfig
from tdtool.data.batches import CountBatch, TextBatch
from tdtool.data.ledger import Ledger
from tdtool.data.readers.source_types import CountSource
from tdtool.data.readers.sources import open_source
from tdtool.data.readers.split_types import SplitPlan
from tdtool.data.readers.splits import count_split, finish, plan_splits, read_split
from tdtool.errors import TdtoolError


def planned(path: Path | str, split_bytes: int, **settings: Any) -> SplitPlan:
    """A plan ready to be read. Everything travels pickled, as it does to another machine."""
    plan = plan_splits(str(path), SourceConfig(**settings), split_bytes=split_bytes)
    if plan.needs_facts:
        sent = pickle.dumps(plan.alone())
        facts = [pickle.dumps(count_split(pickle.loads(sent), split)) for split in plan.splits]  # noqa: S301 (ours)
        plan = plan.with_facts([pickle.loads(fact) for fact in facts])  # noqa: S301
    assert [split.index for split in plan.splits] == list(range(len(plan.splits)))
    return plan


def in_parts(path: Path | str, split_bytes: int, **settings: Any) -> dict[str, Any]:
    """All that a reader in parts gives."""
    try:
        plan = planned(path, split_bytes, **settings)
        merged, found = Ledger(), []
        for split in plan.splits:
            ledger = Ledger()
            found += [told for batch in read_split(plan.alone(), split, ledger) for told in _told(batch)]
            merged.merge(ledger)
        finish(plan, merged)
    except TdtoolError as error:
        return {"error": str(error), "kind": type(error)}
    return {
        "documents": found,
        "ledger": _of(merged),
        "description": plan.description,
        "kind": plan.kind,
        "size": plan.size,
        "vocabulary": plan.vocabulary,
        "n_terms": plan.n_terms,
        "given": plan.id_given,
        "n_splits": len(plan.splits),
    }


def in_one_go(path: Path | str, **settings: Any) -> dict[str, Any]:
    """The same of open_source."""
    try:
        source, ledger = open_source(str(path), SourceConfig(**settings)), Ledger()
        found = [told for batch in source.batches(ledger) for told in _told(batch)]
    except TdtoolError as error:
        return {"error": str(error), "kind": type(error)}
    counted = isinstance(source, CountSource)
    return {
        "documents": found,
        "ledger": _of(ledger),
        "description": source.description,
        "kind": source.format,
        "size": source.size,
        "vocabulary": source.vocabulary if isinstance(source, CountSource) else None,
        "n_terms": source.n_terms if isinstance(source, CountSource) else 0,
        "given": counted or source.ids_given,  # type: ignore[union-attr]
    }


def _of(ledger: Ledger) -> Any:
    """The ledger with the order of its reasons."""
    values = ledger.as_dict()
    return {**values, "skips": list(values["skips"].items())}


def _told(batch: TextBatch | CountBatch) -> list[Any]:
    """Every document of a batch: (id, line, path, content)."""
    if isinstance(batch, TextBatch):
        borders, contents = batch.offsets.tolist(), batch.text
        parts = [contents[start:stop].tobytes() for start, stop in pairwise(borders)]
    else:
        borders, entries = batch.indptr.tolist(), list(zip(batch.indices.tolist(), batch.counts.tolist(), strict=True))
        parts = [tuple(entries[start:stop]) for start, stop in pairwise(borders)]  # type: ignore[misc]
    return [(*facts, batch.path, part) for *facts, part in zip(batch.ids, batch.lines.tolist(), parts, strict=True)]
