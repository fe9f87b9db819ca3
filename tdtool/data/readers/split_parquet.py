"""A Parquet file in parts: groups of row groups."""

from __future__ import annotations

from collections.abc import Iterator

from tdtool.data.batches import TextBatch
from tdtool.data.ledger import Ledger
from tdtool.data.readers.source_types import ignore
from tdtool.data.readers.split_types import Split, SplitPlan
from tdtool.data.readers.streams import Input
from tdtool.data.readers.table_parquet import opened_parquet, plan_parquet, read_groups


def plan_row_groups(source: Input, split_bytes: int) -> SplitPlan:
    """Cut a file at row groups; the sizes are those before compression."""
    with opened_parquet(source, None, ignore) as file:
        columns = plan_parquet(file, source)
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        sizes = [(group.num_rows, group.total_byte_size) for group in groups]
    return SplitPlan(
        kind="parquet",
        description=columns.describe("Parquet"),
        path=source.path,
        place=source.place,
        size=source.size or 0,
        config=source.config,
        splits=tuple(_cut(sizes, split_bytes)),
        id_given=columns.id_given,
        note="" if len(sizes) > 1 else "it is one row group: one task reads it",
        details=columns,
    )


def read_row_groups(plan: SplitPlan, split: Split, ledger: Ledger) -> Iterator[TextBatch]:
    """The documents of some row groups."""
    source = Input(plan.path, plan.config, place=plan.place)
    groups = range(split.start, split.stop)
    with opened_parquet(source, None, ignore) as file:
        for _, batches in read_groups(file, plan.details, groups, split.first_line - 1, plan.path, ledger):
            yield from batches


def _cut(sizes: list[tuple[int, int]], split_bytes: int) -> Iterator[Split]:
    """Row groups together as long as they have no more than split_bytes. sizes : (rows, bytes) of each."""
    index, start, row, n_rows, n_bytes = 0, 0, 1, 0, 0
    for group, (rows, size) in enumerate(sizes):
        if group > start and n_bytes + size > split_bytes:
            yield Split(index, start, group, row)
            index, start, row, n_rows, n_bytes = index + 1, group, row + n_rows, 0, 0
        n_rows, n_bytes = n_rows + rows, n_bytes + size
    yield Split(index, start, len(sizes), row)
