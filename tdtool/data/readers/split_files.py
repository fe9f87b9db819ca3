"""A directory of text files in parts: groups of files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from tdtool.config import SourceConfig
from tdtool.data.batches import TextBatch
from tdtool.data.ledger import Ledger
from tdtool.data.readers.places import Found, walk
from tdtool.data.readers.source_types import ignore
from tdtool.data.readers.split_types import Split, SplitPlan
from tdtool.data.readers.text_files import describe_directory, read_files, refuse_no_text

#: What opening a file costs, as bytes that could be read instead.
_OPENING = 1 << 14


def plan_files(path: str, place: str, config: SourceConfig, split_bytes: int | Callable[[int], int]) -> SplitPlan:
    """Cut the files of a directory, in their order, into groups."""
    files = list(walk(place))
    size = sum(found.size for found in files)
    splits = tuple(_groups(files, split_bytes if isinstance(split_bytes, int) else split_bytes(size)))
    return SplitPlan(
        kind="directory",
        description=describe_directory(len(files), path),
        path=path,
        place=place,
        size=size,
        config=config,
        splits=splits,
    )


def read_files_of(plan: SplitPlan, split: Split, ledger: Ledger) -> Iterator[TextBatch]:
    """The documents of one group."""
    return read_files(split.files, plan.path, plan.place, plan.config, ledger, ignore)


def finish_files(plan: SplitPlan, ledger: Ledger) -> None:
    """InputError when no file is text."""
    refuse_no_text(ledger.rows_used, plan.path, ledger)


def _groups(files: Iterable[Found], split_bytes: int) -> Iterator[Split]:
    index, start, size = 0, 0, 0
    group: list[Found] = []
    for found in files:
        cost = found.size + _OPENING
        if group and size + cost > split_bytes:
            yield Split(index, start, start + len(group), files=tuple(group))
            index, start, size, group = index + 1, start + len(group), 0, []
        group.append(found)
        size += cost
    if group:
        yield Split(index, start, start + len(group), files=tuple(group))
