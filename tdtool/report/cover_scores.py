"""Scores of communities against known ones, as a person reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tdtool.report.communities import shortened
from tdtool.report.tables import Column, print_table

#: Name, what a person should know, and whether more is better.
_SCORES = {
    "onmi_max": ("ONMI (max)", "shared information of the covers; 1 equal, 0 nothing in common"),
    "onmi_lfk": ("ONMI (LFK)", "the same in its first form, each community by itself"),
    "average_f1": ("F1", "of each community with its best match, both ways; 1 equal"),
    "omega": ("omega", "pairs of nodes equally often together; 1 equal, 0 chance"),
    "membership_error": ("membership error", "share of each node's membership in the wrong place; 0 equal"),
    "recovery_ratio": ("recovery ratio", "known communities that a found one is related to (p < 0.01)"),
    "recovery_error": ("recovery error", "nodes on which related communities differ, summed for each known one"),
}


def print_scores(scores: Mapping[str, float | None]) -> None:
    """A line for each score, with what it says."""
    columns = (Column("score"), Column("value", right=True), Column("", wrap=True))
    rows = [
        (*(text, "-" if (value := scores.get(key)) is None else f"{value:.3f}"), about)
        for key, (text, about) in _SCORES.items()
    ]
    print_table(columns, rows)


def print_known(communities: Sequence[Mapping[str, Any]], most: int) -> None:
    """The known communities, the largest first: how large, and which found one fits best."""
    columns = (
        Column("known", wrap=True),
        Column("nodes", right=True),
        Column("best found", right=True),
        Column("nodes", right=True),
        Column("F1", right=True),
        Column("recovered"),
    )
    rows = [
        (
            shortened(community["name"]),
            f"{community['size']:,}",
            str(community["found"]) if community["found"] >= 0 else "-",
            f"{community['found_size']:,}" if community["found"] >= 0 else "-",
            f"{community['f1']:.3f}",
            "yes" if community["recovered"] else "no",
        )
        for community in communities[:most]
    ]
    left = len(communities) - len(rows)
    print_table(columns, [*rows, *([(f"and {left:,} more", "", "", "", "", "")] if left else [])])


def compared_text(n_found: int, n_true: int, n_nodes: int, truth: str) -> str:
    """What was compared with what."""
    found = "1 found community" if n_found == 1 else f"{n_found:,} found communities"
    return f"{found} against {n_true:,} known ({truth}), on {n_nodes:,} node{'' if n_nodes == 1 else 's'}."
