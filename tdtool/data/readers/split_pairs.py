"""svmlight and lda-c counts in parts: ranges of bytes, a document a line."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tdtool.data.batches import CountBatch
from tdtool.data.ledger import Ledger
from tdtool.data.readers.byte_ranges import ByteRange, cut_bytes, open_range, whole_lines_of
from tdtool.data.readers.counts_batches import whole_lines
from tdtool.data.readers.counts_pairs import pair_batches, terms_of
from tdtool.data.readers.split_types import Split, SplitFacts, SplitPlan, exact_splits
from tdtool.data.readers.streams import Input
from tdtool.errors import InputError
from tdtool.kernels import counts_cpu


@dataclasses.dataclass(frozen=True)
class PairFacts(SplitFacts):
    """lowest, highest : numbers of terms seen; sound : every line could be read."""

    lowest: int
    highest: int
    sound: bool


def plan_pairs(source: Input, kind: str, split_bytes: int) -> SplitPlan:
    """Cut a file by bytes; what its terms are shows when all parts are counted. kind : svmlight or lda-c."""
    size = source.size or 0
    return SplitPlan(
        kind=kind,
        description=f"{kind} counts",
        path=source.path,
        place=source.place,
        size=size,
        config=source.config,
        splits=tuple(Split(i, *part) for i, part in enumerate(cut_bytes(size, split_bytes))),
        is_counts=True,
        needs_facts=True,
    )


def count_pairs(plan: SplitPlan, split: Split) -> PairFacts:
    """The lines of one part, and which numbers its terms have."""
    part = whole_lines_of(plan.place, ByteRange(split.start, split.stop), plan.path)
    n_lines, lowest, highest = 0, counts_cpu.LARGEST, -1
    with open_range(plan.place, part, plan.config, plan.path) as stream:
        try:
            for buffer, _ in whole_lines(stream, plan.path, 1):
                indices = _terms(buffer, plan.kind)
                if indices is None:
                    return PairFacts(part, 0, 0, 0, sound=False)
                n_lines += int(np.count_nonzero(buffer == 10))
                lowest = min(lowest, int(indices.min(initial=lowest)))
                highest = max(highest, int(indices.max(initial=highest)))
        except InputError:  # a line without end: where it is shows when the file is read from its beginning
            return PairFacts(part, 0, 0, 0, sound=False)
    return PairFacts(part, n_lines, lowest, highest, sound=True)


def pairs_why_not(facts: Sequence[PairFacts]) -> str:
    """Why the parts cannot be read by themselves, or ""."""
    if not all(fact.sound for fact in facts):
        return "there is a line in it that cannot be read"
    return "there is no entry in it" if max(fact.highest for fact in facts) < 0 else ""


def with_pairs(plan: SplitPlan, facts: Sequence[PairFacts]) -> SplitPlan:
    """The plan with line numbers and the vocabulary."""
    source = Input(plan.path, plan.config, place=plan.place)
    lowest, highest = min(fact.lowest for fact in facts), max(fact.highest for fact in facts)
    terms = terms_of(source, plan.kind, lowest, highest)
    return dataclasses.replace(
        plan,
        description=terms.description,
        splits=exact_splits(facts),
        n_terms=len(terms.vocabulary),
        vocabulary=terms.vocabulary,
        details=terms.smallest,
        needs_facts=False,
    )


def read_pairs(plan: SplitPlan, split: Split, ledger: Ledger) -> Iterator[CountBatch]:
    """The documents of one part."""
    with open_range(plan.place, ByteRange(split.start, split.stop), plan.config, plan.path) as stream:
        yield from pair_batches(stream, plan.kind, plan.details, plan.n_terms, plan.path, ledger, split.first_line)


def _terms(buffer: NDArray[np.uint8], kind: str) -> NDArray[np.int64] | None:
    """The numbers of the terms in some lines ((nnz,) int64), or None when a line is wrong."""
    _, indices, _, _, status, _ = counts_cpu.parse_pairs(buffer, leading_length=kind == "lda-c")
    return indices if status == counts_cpu.OK else None
