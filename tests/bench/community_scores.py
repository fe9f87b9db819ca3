"""Scores of covers in the community benchmark, and rows that sum up other rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from tdtool.models.cover import Cover
from tdtool.models.cover_scores import average_f1, membership_error, onmi_lfk, onmi_max
from tdtool.models.omega_index import omega_index
from tests.bench.community_cases import Case, members
from tests.bench.results import Row

#: Omega compares all pairs of nodes.
MOST_NODES_OF_OMEGA = 5_000
#: What a mean row compares with the best peer.
_COMPARED = {"onmi": "ONMI", "f1": "F1", "omega": "omega"}
_OURS, _GIVEN = "tdtool", "tdtool given k"
#: Whose CPU time a mean row compares with.
_TIMED = {_OURS: (_GIVEN,), _GIVEN: ("bigclam@k", "karateclub@k")}


def quality(found: Cover, case: Case, mixture: Cover | None = None) -> dict[str, float]:
    """Scores of a cover over the nodes that a true community holds; "_all": over every node.

    On a planted graph the error is of all shares (of `mixture` where a system has them apart from its members), the
    others of `members` on both sides.
    """
    scores = {"k": float((found.sizes > 0).sum())}
    if case.memberships is not None:
        scores["error"] = membership_error(mixture or found, case.memberships)
        found = members(found)
    over = {"": (found.restricted(case.covered), case.truth.restricted(case.covered))}
    if case.covered.size < case.n_nodes:
        over["_all"] = (found, case.truth)
    for ending, (mine, truth) in over.items():
        scores |= {f"onmi{ending}": onmi_max(mine, truth), f"lfk{ending}": onmi_lfk(mine, truth)}
        scores[f"f1{ending}"] = average_f1(mine, truth)
        if truth.n_nodes <= MOST_NODES_OF_OMEGA:
            scores[f"omega{ending}"] = omega_index(mine, truth)
    for name in ("onmi", "lfk", "f1", "omega"):  # one set of nodes: the same figures
        if name in scores:
            scores.setdefault(f"{name}_all", scores[name])
    return scores


def agreement(found: Cover, first: Cover) -> tuple[float, bool]:
    """ONMI of two covers of the same nodes, and whether they are the same to the last bit."""
    same = (
        np.array_equal(found.indptr, first.indptr)
        and np.array_equal(found.communities, first.communities)
        and np.array_equal(found.weights, first.weights)
    )
    return onmi_max(found, first), same


def means(rows: Iterable[Row], label: str, names: Sequence[str]) -> list[Row]:
    """A row for each system: means of its scores over the named graphs, sums of its times, its highest peak.

    One that did not finish all of them says what tdtool has on those that it did.
    """
    if len(names) < 2:
        return []
    by_system: dict[str, dict[str, Row]] = {}
    for row in rows:
        if row.case in names and ", " not in row.system:
            by_system.setdefault(row.system, {})[row.case] = row
    case = f"mean of {len(names)} {label}"
    summed = {system: _mean(system, case, list(found.values())) for system, found in by_system.items()}
    finished = {system: [name for name in names if _scored(found.get(name))] for system, found in by_system.items()}
    complete = {system: row for system, row in summed.items() if len(finished[system]) == len(names)}
    for system, row in summed.items():
        if system not in complete:
            there = [by_system[_OURS][name] for name in finished[system] if _scored(by_system[_OURS].get(name))]
            ours = f"; {_OURS} there: ONMI {np.mean([r.quality['onmi'] for r in there]):.3f}" if there else ""
            row.note = f"{len(finished[system])} of {len(names)}{ours}"
    _compare(complete)
    return list(summed.values())


def growth(rows: Sequence[Row]) -> list[Row]:
    """The exponent of CPU seconds in edges over cases named "... m=EDGES", by least squares of the logarithms."""
    measured = [(float(row.case.partition("=")[2]), row.cpu_seconds) for row in rows if row.cpu_seconds]
    if len(measured) < 2:
        return []
    edges, seconds = np.array(measured).T
    exponent = np.polyfit(np.log(edges), np.log(seconds), 1)[0]
    note = f"CPU seconds grow as edges to the power {exponent:.2f}, {edges.min():.0e} to {edges.max():.0e} edges"
    return [Row(rows[0].system, rows[0].version, "growth", note=note)]


def _scored(row: Row | None) -> bool:
    return row is not None and bool(row.quality)


def _mean(system: str, case: str, rows: list[Row]) -> Row:
    scored = [row for row in rows if row.quality]
    total = Row(system, rows[0].version, case)
    if scored:
        keys = [key for key in scored[0].quality if all(key in row.quality for row in scored)]
        total.quality = {key: float(np.mean([row.quality[key] for row in scored])) for key in keys}
        total.seconds = sum(row.seconds or 0.0 for row in scored)
        total.cpu_seconds = sum(row.cpu_seconds or 0.0 for row in scored)
        total.peak_rss_mb = max(row.peak_rss_mb or 0.0 for row in scored)
    return total


def _compare(rows: dict[str, Row]) -> None:
    """Say in our mean rows how they stand beside the best peer that finished everything."""
    peers = {system: row for system, row in rows.items() if not system.startswith(_OURS)}
    for system in _TIMED:
        if system not in rows:
            continue
        ours, parts = rows[system], []
        for key, title in _COMPARED.items():
            scores = {peer: row.quality[key] for peer, row in peers.items() if key in row.quality}
            if scores and key in ours.quality:
                best = max(scores, key=lambda peer: scores[peer])
                if scores[best] > 0:
                    parts.append(f"{title} {ours.quality[key] / scores[best]:.2f} x {best}")
        for other in _TIMED[system]:
            seconds = rows[other].cpu_seconds if other in rows else None
            if seconds and ours.cpu_seconds:
                parts.append(f"CPU {ours.cpu_seconds / seconds:.2g} x {other}")
        ours.note = "; ".join(parts)
