"""UCI and Matrix Market counts in parts: ranges of bytes, moved to where documents begin."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from tdtool.data.batches import CountBatch
from tdtool.data.ledger import Ledger
from tdtool.data.readers.byte_ranges import ByteRange, cut_bytes, open_range, whole_lines_of
from tdtool.data.readers.counts_batches import whole_lines
from tdtool.data.readers.counts_matrix import describe_matrix, matrix_header
from tdtool.data.readers.counts_triples import Header, in_order, part_batches, refuse_void, skip_missing
from tdtool.data.readers.counts_uci import describe_uci, uci_header
from tdtool.data.readers.counts_vocabulary import find_vocabulary
from tdtool.data.readers.split_types import Split, SplitFacts, SplitPlan
from tdtool.data.readers.streams import Input
from tdtool.errors import InputError
from tdtool.kernels import counts_cpu


@dataclasses.dataclass(frozen=True)
class TripleDetails:
    """What a reader needs. n_missing : documents without an entry, which the split `last` notes."""

    header: Header
    n_missing: int = 0
    last: int = 0


@dataclasses.dataclass(frozen=True)
class TripleFacts(SplitFacts):
    """first, last : documents of the first and last entry; second : where in the file, and how many lines into the
    part, the second document begins (its end when there is one only); sound : read, in order, no blank line between."""

    n_entries: int = 0
    n_documents: int = 0
    first: int = 0
    last: int = 0
    second: tuple[int, int] = (0, 0)
    sound: bool = True


def plan_triples(source: Input, kind: str, split_bytes: int) -> SplitPlan:
    """Cut what is behind the header by bytes. The vocabulary comes later. kind : uci or matrix-market."""
    header, begin = uci_header(source) if kind == "uci" else matrix_header(source)
    size = source.size or 0
    parts = [ByteRange(begin + start, begin + stop) for start, stop in cut_bytes(max(size - begin, 0), split_bytes)]
    return SplitPlan(
        kind=kind,
        description=f"{kind} counts",
        path=source.path,
        place=source.place,
        size=size,
        config=source.config,
        splits=tuple(Split(i, *part) for i, part in enumerate(parts)),
        is_counts=True,
        n_terms=header.n_terms,
        details=TripleDetails(header),
        needs_facts=True,
    )


def count_triples(plan: SplitPlan, split: Split) -> TripleFacts:
    """The lines of one part, and which documents they speak of."""
    part = whole_lines_of(plan.place, ByteRange(split.start, split.stop), plan.path)
    counting = _Counting(part, plan.details.header.n_fields)
    with open_range(plan.place, part, plan.config, plan.path) as stream:
        try:
            for buffer, _ in whole_lines(stream, plan.path, 1):
                if not counting.add(buffer):
                    return TripleFacts(part, 0, sound=False)
        except InputError:  # a line without end: where it is shows when the file is read from its beginning
            return TripleFacts(part, 0, sound=False)
    return counting.facts()


def triples_why_not(plan: SplitPlan, facts: Sequence[TripleFacts]) -> str:
    """Why the parts cannot be read by themselves, or ""."""
    header: Header = plan.details.header
    filled = [fact for fact in facts if fact.n_entries]
    begun = [fact for fact, behind in zip(facts, _entries_behind(facts), strict=True) if behind]
    if not all(fact.sound for fact in facts) or any(fact.n_lines > fact.n_entries for fact in begun):
        return "its entries are not one a line in the order of the documents"
    if any(fact.first < before.last for before, fact in pairwise(filled)):
        return "its documents are not in order"
    if sum(fact.n_entries for fact in filled) != header.n_entries:
        return "its entries are not as many as its header promises"
    return ""


def _entries_behind(facts: Sequence[TripleFacts]) -> list[int]:
    """How many entries come behind each part."""
    total = sum(fact.n_entries for fact in facts)
    return [total - so_far for so_far in accumulate(fact.n_entries for fact in facts)]


def with_triples(plan: SplitPlan, facts: Sequence[TripleFacts]) -> SplitPlan:
    """The plan with line numbers, the vocabulary, and every document in one part."""
    header: Header = plan.details.header
    begins: list[tuple[int, int]] = []  # where in the file, and in which line, a part begins
    line, last, n_filled = header.line + 1, None, 0
    for fact in facts:
        if fact.n_entries:
            continues = fact.first == last
            n_filled += fact.n_documents - int(continues)
            if not continues:
                begins.append((fact.part.start, line))
            elif fact.n_documents > 1:
                begins.append((fact.second[0], line + fact.second[1]))
            last = fact.last
        line += fact.n_lines
    refuse_void(header.n_documents - n_filled, n_filled, header, plan.path)
    end = facts[-1].part.stop
    begins = begins or [(end, line)]
    stops = [begin for begin, _ in begins[1:]] + [end]
    splits = tuple(
        Split(i, begin, stop, first_line)
        for i, ((begin, first_line), stop) in enumerate(zip(begins, stops, strict=True))
    )
    details = TripleDetails(header, header.n_documents - n_filled, len(splits) - 1)
    source = Input(plan.path, plan.config, place=plan.place)
    vocabulary, origin = find_vocabulary(source, header.n_terms, exact=True)
    return dataclasses.replace(
        plan,
        description=describe_uci(header, origin) if plan.kind == "uci" else describe_matrix(header, origin),
        splits=splits,
        vocabulary=vocabulary,
        details=details,
        needs_facts=False,
    )


def read_triples(plan: SplitPlan, split: Split, ledger: Ledger) -> Iterator[CountBatch]:
    """The documents of one part."""
    details: TripleDetails = plan.details
    with open_range(plan.place, ByteRange(split.start, split.stop), plan.config, plan.path) as stream:
        yield from part_batches(stream, details.header, plan.path, ledger, split.first_line)
    if split.index == details.last:
        skip_missing(details.n_missing, plan.path, ledger)


class _Counting:
    """Gathers what is known of a part, block by block."""

    def __init__(self, part: ByteRange, n_fields: int) -> None:
        self._part, self._n_fields = part, n_fields
        self._n_bytes, self._n_lines, self._n_entries, self._n_documents = 0, 0, 0, 0
        self._first, self._last = 0, 0
        self._second: tuple[int, int] | None = None

    def add(self, buffer: NDArray[np.uint8]) -> bool:
        """Take some whole lines; False when they are not sound."""
        documents, _, _, status = counts_cpu.parse_triples(buffer, self._n_fields)
        if status != counts_cpu.OK or not in_order(documents):
            return False
        if documents.size:
            if self._n_lines > self._n_entries or (self._n_entries and documents[0] < self._last):
                return False
            self._take(documents, buffer)
        self._n_entries += documents.size
        self._n_lines += int(np.count_nonzero(buffer == 10))
        self._n_bytes += buffer.size
        return True

    def _take(self, documents: NDArray[np.int64], buffer: NDArray[np.uint8]) -> None:
        if not self._n_entries:
            self._first = self._last = int(documents[0])
            self._n_documents = 1
        if self._second is None and documents[-1] != self._first:
            entry = int(np.searchsorted(documents, self._first, side="right"))
            behind = int(np.flatnonzero(buffer == 10)[entry - 1]) + 1 if entry else 0
            self._second = (self._part.start + self._n_bytes + behind, self._n_entries + entry)
        self._n_documents += int(documents[0] != self._last) + int(np.count_nonzero(np.diff(documents)))
        self._last = int(documents[-1])

    def facts(self) -> TripleFacts:
        """What is known at the end."""
        second = self._second or (self._part.stop, self._n_lines)
        numbers = (self._n_lines, self._n_entries, self._n_documents, self._first, self._last)
        return TripleFacts(self._part, *numbers, second)
