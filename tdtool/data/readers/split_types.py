"""The parts that a source is read in, each by itself and in any order."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from tdtool.config import SourceConfig
from tdtool.data.readers.byte_ranges import ByteRange
from tdtool.data.readers.places import Found


@dataclasses.dataclass(frozen=True)
class Split:
    """One part. start, stop : bytes, row groups or files, from and to; first_line : number of its first line or row;
    files : those of a directory."""

    index: int
    start: int
    stop: int
    first_line: int = 1
    files: tuple[Found, ...] = ()


@dataclasses.dataclass(frozen=True)
class SplitFacts:
    """What must be known of all parts of a file of lines before any can be read. part : its exact bytes."""

    part: ByteRange
    n_lines: int


@dataclasses.dataclass(frozen=True)
class SplitPlan:
    """How a source is read in parts; small, and made from plain values alone.

    kind : the format; path : as the user wrote it, for messages and the ledger; place : where it is; id_given : as in
    TextSource.ids_given; vocabulary, n_terms : of a source of counts; note : what the person should know, or "";
    details : what the format's reader needs; needs_facts : with_facts must come before read_split; streamed : there is
    one part, read as a stream.
    """

    kind: str
    description: str
    path: str
    place: str
    size: int
    config: SourceConfig
    splits: tuple[Split, ...]
    id_given: bool = True
    is_counts: bool = False
    n_terms: int = 0
    vocabulary: list[str] | None = None
    note: str = ""
    details: Any = None
    needs_facts: bool = False
    streamed: bool = False

    def alone(self) -> SplitPlan:
        """The plan without its parts and vocabulary: all that read_split and count_split need besides the split."""
        return dataclasses.replace(self, splits=(), vocabulary=None)

    def with_facts(self, facts: list[Any]) -> SplitPlan:
        """The plan that can be read, given what count_split found of each split, in order."""
        from tdtool.data.readers import splits

        return splits.with_facts(self, facts)


def exact_splits(facts: Sequence[SplitFacts]) -> tuple[Split, ...]:
    """Splits of the parts that have lines, with the numbers of their first lines."""
    made: list[Split] = []
    line = 1
    for fact in facts:
        if fact.part.start < fact.part.stop:
            made.append(Split(len(made), fact.part.start, fact.part.stop, line))
        line += fact.n_lines
    return tuple(made)
