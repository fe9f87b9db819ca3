"""Communities as a person reads them: how large and how dense each is, who is in it, who stands between them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tdtool.log import printable
from tdtool.report.components import sentence
from tdtool.report.tables import Column, print_table

_WHOLE, _LEAST = 0.995, 0.01  # a share that is told as all of the node; the least that is told
_LEAST_SHARE = 0.001  # of all nodes
_TRIALS = 10
_LONGEST = 60  # characters of a name


def print_choice(trials: Sequence[Mapping[str, Any]], chosen: int | None, reason: str) -> None:
    """How the number of communities came about: what was tried, and why one was taken. chosen : its place, or None."""
    if trials:
        print_trials(trials, chosen)
        text = trials_text(len(trials))
        print(f"\n{text}" if text else "")
    if reason:
        print(printable(sentence(reason)) + "\n")


def print_found(
    facts: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], bridges: Sequence[Mapping[str, Any]]
) -> None:
    """The communities: a sentence, a line each, and the nodes between them.

    facts : n_nodes, n_edges, n_communities, n_several, n_none, n_components, largest_component; rows : of the
    communities that are shown; bridges : of the nodes in several that are.
    """
    print(counts_text(facts, facts["n_edges"]))
    parts = components_text(facts["n_components"], facts["largest_component"], facts["n_nodes"])
    print(f"{parts}\n" if parts else "")
    if facts["n_communities"]:
        print_communities(rows, facts["n_communities"])
    if bridges:
        print("\nNodes between communities, with their shares\n")
        print_bridges(bridges, facts["n_several"])


def print_communities(rows: Sequence[Mapping[str, Any]], n_communities: int) -> None:
    """One line a community; the rest by number. rows : as of `CommunityFacts.communities`, the largest first."""
    is_stable = bool(rows) and "stability" in rows[0]
    columns = [
        Column("community", right=True),
        Column("size", right=True),
        Column("share", right=True),
        Column("density", right=True),
        Column("conductance", right=True),
        *([Column("stability", right=True)] if is_stable else []),
        Column("strongest members", wrap=True),
    ]
    table = [_community(row, is_stable) for row in rows]
    left = n_communities - len(rows)
    if left > 0:
        table.append([*[""] * (len(columns) - 1), f"and {left:,} more {_plural(left, 'community')}"])
    print_table(columns, table)


def _community(row: Mapping[str, Any], is_stable: bool) -> list[str]:
    share = f"{row['share']:.1%}" if row["share"] >= _LEAST_SHARE else f"<{_LEAST_SHARE:.1%}"
    numbers = [str(row["community"]), _size(row), share]
    numbers += [_digits(row["density"]), _digits(row["conductance"])]
    if is_stable:
        numbers.append(_digits(row["stability"]))
    left = row["size"] - len(row["members"])
    more = f" and {left:,} more" if left > 0 and row["members"] else ""
    return [*numbers, ", ".join(map(_member, row["members"])) + more]


def _size(row: Mapping[str, Any]) -> str:
    """Of a bipartite graph with both kinds apart."""
    if "left_size" not in row:
        return f"{row['size']:,}"
    return f"{row['left_size']:,} + {row['size'] - row['left_size']:,}"


def print_bridges(rows: Sequence[Mapping[str, Any]], n_several: int) -> None:
    """Nodes of several communities with their shares. rows : as of `CommunityFacts.bridges`; n_several : of all."""
    columns = [Column("node"), Column("degree", right=True), Column("communities", wrap=True)]
    table = [(shortened(row["node"]), f"{row['degree']:,.4g}", _shares(row["communities"])) for row in rows]
    left = n_several - len(rows)
    if left > 0:
        table.append((f"and {left:,} more", "", ""))
    print_table(columns, table)


def print_ties(rows: Sequence[Mapping[str, Any]]) -> None:
    """Pairs of communities that are linked most. rows : as of `CommunityFacts.ties`."""
    columns = [Column("communities"), Column("chance of a link", right=True)]
    print_table(columns, [(" - ".join(map(str, row["communities"])), f"{row['probability']:.4f}") for row in rows])


def print_trials(rows: Sequence[Mapping[str, Any]], chosen: int | None) -> None:
    """What -k auto tried: the best and the chosen, in order of their number. chosen : its place among `rows`, or None.

    rows : n_asked, n_found, gain, cost, objective (bits).
    """
    order = sorted(range(len(rows)), key=lambda i: (-_sortable(rows[i]["objective"]), rows[i]["n_asked"]))
    shown = set(order[:_TRIALS]) | ({chosen} if chosen is not None else set())
    columns = [Column(name, right=True) for name in ("tried", "found", "gain", "cost", "objective")]
    table = [
        (f"{rows[i]['n_asked']:,}", f"{rows[i]['n_found']:,}", *(_bits(rows[i][name]) for name in _BITS), mark)
        for i in sorted(shown, key=lambda i: (rows[i]["n_asked"], i))
        for mark in ["taken" if i == chosen else ""]
    ]
    print_table([*columns, Column("")], table)


_BITS = ("gain", "cost", "objective")


def trials_text(n_tried: int) -> str:
    """What the table of trials leaves out."""
    return (
        f"The best {_TRIALS} of {n_tried:,} tried; gain, cost and objective are in bits." if n_tried > _TRIALS else ""
    )


def counts_text(counts: Mapping[str, int], n_edges: int) -> str:
    """The result in a sentence. counts : as of `CommunityFacts.counts`."""
    k, several, none = counts["n_communities"], counts["n_several"], counts["n_none"]
    graph = f"{counts['n_nodes']:,} {_plural(counts['n_nodes'], 'node')} and {n_edges:,} {_plural(n_edges, 'edge')}"
    if not k:
        return f"No communities among {graph}."
    parts = [f"{k:,} {_plural(k, 'community')} among {graph}"]
    if several:
        parts.append(f"{several:,} {_plural(several, 'node')} in several")
    if none:
        parts.append(f"{none:,} in none")
    return "; ".join(parts) + "."


def components_text(n_components: int, largest: int, n_nodes: int) -> str:
    """Connected components in one line; "" when there is one."""
    if n_components <= 1:
        return ""
    return f"{n_components:,} connected components; the largest has {largest:,} nodes ({largest / n_nodes:.1%})."


def scores_text(scores: Mapping[str, Any]) -> str:
    """The scores, a line for each kind; those that are not there left out."""
    sentences = [f"{what} {scores[key]:.3f}." for key, what in _PLAIN.items() if _known(scores.get(key))]
    if _known(scores.get("covered_edges")):
        sentences.insert(0, f"{scores['covered_edges']:.1%} of the edges lie inside a community.")
    lines = [" ".join(sentences)] if sentences else []
    if _known(scores.get("bits")):
        shorter = scores["bits"] > 0
        saved = f"shorten the description of the edges by {_bits(scores['bits'])} bits" if shorter else _NOT_SHORTER
        lines.append(f"The communities {saved}.")
    if _known(scores.get("auc")):
        alone = f" (degrees alone {scores['auc_degrees']:.3f})" if _known(scores.get("auc_degrees")) else ""
        where = f"{scores.get('held_out_edges', 0):,} edges that a second fit had not seen"
        lines.append(f"AUC {scores['auc']:.3f}{alone} for {where}.")
    if _known(scores.get("stability")):
        found = scores.get("stability_found", [])
        runs = (
            f"{len(found)} further {_plural(len(found), 'run')}, with {', '.join(f'{k:,}' for k in found)} communities"
        )
        lines.append(f"Stability {scores['stability']:.3f}: mean ONMI of all pairs of runs; {runs}.")
    return "\n".join(lines)


_PLAIN = {"modularity": "Overlapping modularity", "mean_conductance": "Mean conductance"}
_NOT_SHORTER = "do not shorten the description of the edges: they may be chance"


def _member(member: Mapping[str, Any]) -> str:
    name = shortened(member["node"])
    return name if member["share"] >= _WHOLE else f"{name} ({_share(member['share'])})"


def shortened(name: str) -> str:
    """A name as a table holds it: the end of a very long one is left out."""
    return name if len(name) <= _LONGEST else name[: _LONGEST - 3] + "..."


def _shares(pairs: Sequence[tuple[int, float]]) -> str:
    return ", ".join(f"{community} ({_share(share)})" for community, share in pairs)


def _share(value: float) -> str:
    return f"{value:.0%}" if value >= _LEAST else f"<{_LEAST:.0%}"


def _digits(value: float) -> str:
    return f"{value:.3f}" if _known(value) else "-"


def _bits(value: float) -> str:
    return f"{value:,.0f}" if _known(value) else "-"


def _sortable(value: float) -> float:
    return value if _known(value) else -math.inf


def _known(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _plural(n: int, word: str) -> str:
    if n == 1:
        return word
    return word[:-1] + "ies" if word.endswith("y") else word + "s"
