"""What is to be said of a graph that was read in parts: the words and the account of one that was read at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tdtool.data.graph_build import Tally, account, check_edges, described, direction_notes, unit_note
from tdtool.data.graph_ranges import BlockFacts, Load, Weighing, tally_of, weighing_of
from tdtool.data.ledger import Ledger
from tdtool.data.readers.graph_edges import NO_NAME
from tdtool.data.readers.graph_splits import EdgeSplits, SplitFacts, first_lines


class Summary(NamedTuple):
    """The words of a graph (see Graph), what became of its edges, and how its weights are stored."""

    description: str
    notes: tuple[str, ...]
    ledger: Ledger
    tally: Tally
    weighing: Weighing


def unit_weight(facts: Sequence[SplitFacts]) -> float | None:
    """The weight of all edges where it says nothing, so that each counts 1; None where it does, or there is none."""
    weights = {fact.one_weight for fact in facts if fact.one_weight is not None}
    if len(weights) != 1:
        return None
    (weight,) = weights
    return weight if 0 < weight < np.inf and weight != 1 else None


def check_any(splits: EdgeSplits, facts: Sequence[SplitFacts], loads: Sequence[Load]) -> None:
    """InputError where no edge is left, before there is any work with them."""
    if not any(bool(load.entries.any()) for load in loads):
        check_edges(tally_of(sum(fact.n_edges for fact in facts), loads, (), weighted=splits.weighted), splits.path)


def summary(
    splits: EdgeSplits,
    facts: Sequence[SplitFacts],
    loads: Sequence[Load],
    blocks: Sequence[BlockFacts],
    nodes: tuple[int, int | None],
) -> Summary:
    """All that is known once the rows of every range of nodes are there.

    facts, loads : of all parts, in the order of the input; blocks : of all ranges; nodes : how many there are, and how
    many are of the first kind or None. Raises InputError for a graph without edges and for weights beyond float32.
    """
    n_found = sum(fact.n_edges for fact in facts)
    tally = tally_of(n_found, loads, blocks, weighted=splits.weighted)
    check_edges(tally, splits.path)
    weighing, span = weighing_of(blocks, tally, splits.path)
    unit = unit_weight(facts)
    notes = splits.notes(n_found) + (() if unit is None else (unit_note(unit),))
    notes += direction_notes(tally, directed=splits.directed is True, bipartite=nodes[1] is not None)
    description = described(splits.plan.description, *nodes, tally.n_edges, span)
    return Summary(description, notes, _ledger(splits, facts, tally), tally, weighing)


def _ledger(splits: EdgeSplits, facts: Sequence[SplitFacts], tally: Tally) -> Ledger:
    ledger = Ledger()
    for first, fact in zip(first_lines(splits, facts), facts, strict=True):
        for line in fact.unnamed:
            ledger.skip(NO_NAME, splits.path, first + line)
        more = fact.n_unnamed - len(fact.unnamed)
        if more:
            ledger.rows_in += more
            ledger.skips[NO_NAME].count += more
    account(tally, ledger, splits.path)
    return ledger
