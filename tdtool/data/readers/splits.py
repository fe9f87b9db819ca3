"""A source read in parts by many: the same documents, in the same order and with the same ledger, as in one go.

    plan = plan_splits(path, config, split_bytes=32 << 20)
    if plan.needs_facts:
        plan = plan.with_facts([count_split(plan.alone(), split) for split in plan.splits])
    for split in plan.splits:
        read_split(plan.alone(), split, ledger)             # a ledger of its own each, merged in order
    finish(plan, ledger)

What each function makes depends on the data and `split_bytes` alone. count_split and read_split can run anywhere.
"""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tdtool.config import SourceConfig
from tdtool.data.batches import CountBatch, TextBatch
from tdtool.data.ledger import Ledger
from tdtool.data.readers import split_files, split_pairs, split_parquet, split_rows, split_triples
from tdtool.data.readers.places import absolute, exists, local_path
from tdtool.data.readers.source_types import CountSource
from tdtool.data.readers.sources import look_at, open_source
from tdtool.data.readers.split_types import Split, SplitFacts, SplitPlan
from tdtool.data.readers.streams import Input
from tdtool.errors import InputError, UsageError

_ROWS = ("lines", "jsonl", "csv", "tsv")
_PAIRS = ("svmlight", "lda-c")
_TRIPLES = ("uci", "matrix-market")


def plan_splits(path: str, config: SourceConfig, *, split_bytes: int | Callable[[int], int]) -> SplitPlan:
    """Look at a source and cut it into parts of about `split_bytes`. Raises what open_source raises.

    split_bytes : a number, or what gives it for a source of so many bytes.
    A file is not read beyond its first megabyte, unless its format must be read from its end or in one go.
    """
    if path == "-":
        raise UsageError("standard input cannot be read by executors", hint="save it to a file")
    place = absolute(path)
    if config.vocabulary is not None:
        config = dataclasses.replace(config, vocabulary=absolute(config.vocabulary))
    found = look_at(path, config, place=place)
    if isinstance(found, str):
        return split_files.plan_files(path, place, config, split_bytes)
    source, kind = found
    if source.size is None:
        raise InputError("it is a pipe, which executors cannot read", path=path, hint="save it to a file")
    split_bytes = split_bytes if isinstance(split_bytes, int) else split_bytes(source.size)
    if source.size <= split_bytes:
        return streamed(path, place, config)
    if source.compression is not None:
        return streamed(path, place, config, f"it is compressed ({source.compression})")
    return _plan_file(source, kind, split_bytes)


def count_split(plan: SplitPlan, split: Split) -> SplitFacts:
    """What the other parts need to know of this one; for plans that need facts."""
    _check_seen(plan)
    if plan.kind in _PAIRS:
        return split_pairs.count_pairs(plan, split)
    if plan.kind in _TRIPLES:
        return split_triples.count_triples(plan, split)
    return split_rows.count_rows(plan, split)


def with_facts(plan: SplitPlan, facts: Sequence[Any]) -> SplitPlan:
    """As plan.with_facts. A source that turns out not to be fit for parts is read as a stream."""
    if plan.kind in _PAIRS:
        reason = split_pairs.pairs_why_not(facts)
        return split_pairs.with_pairs(plan, facts) if not reason else _streamed_after_all(plan, reason)
    if plan.kind in _TRIPLES:
        reason = split_triples.triples_why_not(plan, facts)
        return split_triples.with_triples(plan, facts) if not reason else _streamed_after_all(plan, reason)
    reason = split_rows.rows_why_not(facts)
    return split_rows.with_rows(plan, facts) if not reason else _streamed_after_all(plan, reason)


def read_split(plan: SplitPlan, split: Split, ledger: Ledger) -> Iterator[TextBatch] | Iterator[CountBatch]:
    """The documents of one part, as batches."""
    if plan.needs_facts:
        raise ValueError("this plan needs facts first: plan.with_facts")
    _check_seen(plan)
    if plan.streamed:
        return open_source(plan.path, plan.config, place=plan.place).batches(ledger)
    if plan.kind == "directory":
        return split_files.read_files_of(plan, split, ledger)
    if plan.kind == "parquet":
        return split_parquet.read_row_groups(plan, split, ledger)
    if plan.kind in _PAIRS:
        return split_pairs.read_pairs(plan, split, ledger)
    if plan.kind in _TRIPLES:
        return split_triples.read_triples(plan, split, ledger)
    return split_rows.read_rows(plan, split, ledger)


def finish(plan: SplitPlan, ledger: Ledger) -> None:
    """Check what only the whole shows. ledger : those of all parts merged in order, before anything is dropped.

    Raises InputError when no file of a directory is text, or most rows of a table are ragged.
    """
    if plan.streamed:
        return
    if plan.kind == "directory":
        split_files.finish_files(plan, ledger)
    elif plan.kind in _ROWS:
        split_rows.finish_rows(plan, ledger)


def streamed(path: str, place: str, config: SourceConfig, reason: str = "") -> SplitPlan:
    """A plan of one part. reason : why the source cannot be cut, for the note."""
    source = open_source(path, config, place=place)
    size = source.size or 0
    counted = isinstance(source, CountSource)
    return SplitPlan(
        kind=source.format,
        description=source.description,
        path=path,
        place=place,
        size=size,
        config=config,
        splits=(Split(0, 0, size),),
        id_given=True if isinstance(source, CountSource) else source.ids_given,
        is_counts=counted,
        n_terms=source.n_terms if isinstance(source, CountSource) else 0,
        vocabulary=source.vocabulary if isinstance(source, CountSource) else None,
        note=f"{reason}: one task reads it" if reason else "",
        streamed=True,
    )


def _check_seen(plan: SplitPlan) -> None:
    """InputError on a machine that has not what the driver's machine has."""
    if local_path(plan.place) is not None and not exists(plan.place):
        hint = "every executor reads it: put it where all machines see it, or give a URI (s3a://..., hdfs://...)"
        raise InputError(f"there is no such file or directory on {platform.node()}", path=plan.path, hint=hint)


def _streamed_after_all(plan: SplitPlan, reason: str) -> SplitPlan:
    return streamed(plan.path, plan.place, plan.config, reason)


def _plan_file(source: Input, kind: str, split_bytes: int) -> SplitPlan:
    if kind in _ROWS:
        return split_rows.plan_rows(source, kind, split_bytes)
    if kind in _PAIRS:
        return split_pairs.plan_pairs(source, kind, split_bytes)
    if kind in _TRIPLES:
        return split_triples.plan_triples(source, kind, split_bytes)
    if kind == "parquet":
        return split_parquet.plan_row_groups(source, split_bytes)
    return streamed(source.path, source.place, source.config, f"the format {kind} cannot be read in parts")
