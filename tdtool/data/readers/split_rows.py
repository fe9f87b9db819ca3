"""Lines, JSON lines and tables without quotes in parts: ranges of bytes, read by whole lines."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from tdtool.data.batches import TextBatch
from tdtool.data.ledger import Ledger
from tdtool.data.readers.byte_ranges import ByteRange, cut_bytes, open_range, whole_lines_of
from tdtool.data.readers.split_types import Split, SplitFacts, SplitPlan, exact_splits
from tdtool.data.readers.streams import Input
from tdtool.data.readers.table_text import plan_table
from tdtool.data.readers.text_json import describe_json, json_batches
from tdtool.data.readers.text_lines import LINES
from tdtool.data.readers.text_rows import Layout, refuse_ragged, row_batches
from tdtool.kernels.rows_cpu import NO_BYTE

_BLOCK = 1 << 22


@dataclasses.dataclass(frozen=True)
class RowFacts(SplitFacts):
    """quoted : whether a byte that opens quotes is in it."""

    quoted: bool = False


def plan_rows(source: Input, kind: str, split_bytes: int) -> SplitPlan:
    """Cut a file of rows by bytes. kind : lines, jsonl, csv or tsv."""
    layout, description, id_given = Layout(), LINES, True
    if kind == "jsonl":
        description = describe_json(source)
    elif kind != "lines":
        layout, columns = plan_table(source, kind)
        description, id_given = columns.describe(kind.upper()), columns.id_given
    size = source.size or 0
    return SplitPlan(
        kind=kind,
        description=description,
        path=source.path,
        place=source.place,
        size=size,
        config=source.config,
        splits=tuple(Split(i, *part) for i, part in enumerate(cut_bytes(size, split_bytes))),
        id_given=id_given,
        details=layout,
        needs_facts=True,
    )


def count_rows(plan: SplitPlan, split: Split) -> RowFacts:
    """The lines of one part, and whether there are quotes that mean something."""
    part = whole_lines_of(plan.place, ByteRange(split.start, split.stop), plan.path)
    layout: Layout = plan.details
    buffer, n_lines, quoted = np.empty(_BLOCK, np.uint8), 0, False
    with open_range(plan.place, part, plan.config, plan.path) as stream:
        while not quoted and (filled := stream.readinto(buffer)) > 0:
            n_lines += int(np.count_nonzero(buffer[:filled] == 10))
            quoted = layout.quote != NO_BYTE and bool((buffer[:filled] == layout.quote).any())
    return RowFacts(part, n_lines, quoted)


def rows_why_not(facts: Sequence[RowFacts]) -> str:
    """Why the parts cannot be read by themselves, or ""."""
    return "there are quotes in it, which may hold line ends" if any(fact.quoted for fact in facts) else ""


def with_rows(plan: SplitPlan, facts: Sequence[RowFacts]) -> SplitPlan:
    """The plan with line numbers."""
    return dataclasses.replace(plan, splits=exact_splits(facts), needs_facts=False)


def read_rows(plan: SplitPlan, split: Split, ledger: Ledger) -> Iterator[TextBatch]:
    """The documents of one part."""
    with open_range(plan.place, ByteRange(split.start, split.stop), plan.config, plan.path) as stream:
        if plan.kind == "jsonl":
            yield from json_batches(stream, plan.config, plan.path, ledger, split.first_line)
        else:
            yield from row_batches(stream, plan.details, plan.path, ledger, split.first_line)


def finish_rows(plan: SplitPlan, ledger: Ledger) -> None:
    """InputError when most rows are ragged."""
    refuse_ragged(plan.details, plan.path, ledger)
