"""`tdtool evaluate --truth`: found communities scored against those that are known."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.config import SourceConfig
from tdtool.data.ledger import Ledger
from tdtool.data.readers.cover_text import read_cover
from tdtool.data.readers.cover_types import FoundCover
from tdtool.errors import InputError
from tdtool.models import cover_scores
from tdtool.models.cover import Cover
from tdtool.store import hdf5

#: Above this many nodes the omega index is counted only when asked for: its work grows with squares of sizes.
OMEGA_NODES = 5_000
_NAMED = 5
_SHOWN = 40


@dataclasses.dataclass(frozen=True)
class TrueCommunity:
    """What became of one known community.

    name : its own, else its number from 0 on; size : members among the scored nodes; found : the found community that
    fits best (-1: none shares a node), found_size : its members among the scored nodes; f1 : of the two; recovered :
    whether some found community is significantly related to it.
    """

    name: str
    size: int
    found: int
    found_size: int
    f1: float
    recovered: bool


@dataclasses.dataclass(frozen=True)
class EvaluationOfCommunities:
    """Scores of found communities against known ones.

    scores : onmi_max, onmi_lfk, average_f1, omega (None: not counted), membership_error, recovery_ratio,
    recovery_error; nodes : "covered" (those that the truth puts into a community) or "all"; n_nodes : that were scored;
    n_graph_nodes : of the graph; n_found, n_true : communities with members among the scored nodes; truth : what was
    read; communities : of the truth, the largest first; notes : what a person should know; ledger : of the truth.
    """

    scores: dict[str, float | None]
    nodes: str
    n_nodes: int
    n_graph_nodes: int
    n_found: int
    n_true: int
    truth: str
    communities: tuple[TrueCommunity, ...]
    notes: tuple[str, ...]
    ledger: Ledger

    def as_dict(self) -> dict[str, Any]:
        """The result as plain JSON values."""
        return dataclasses.asdict(self)


def model_kind(path: Path) -> str | None:
    """The schema of a result file ("tdtool.communities", ...); None for what is no file of tdtool."""
    try:
        with hdf5.open(path) as reader:
            return reader.schema.name
    except InputError:
        return None


def evaluate_communities(
    model: Path,
    truth: str,
    *,
    truth_format: str = "auto",
    all_nodes: bool = False,
    omega: bool | None = None,
    source: SourceConfig | None = None,
) -> EvaluationOfCommunities:
    """Score a result of `tdtool communities` against the communities in a file.

    all_nodes : score all nodes of the graph; else those that the truth puts into a community, since files of known
    communities often cover a part of the nodes and say nothing of the rest. omega : count the omega index; None: up
    to 5,000 nodes. Nodes of the truth that the graph does not have are left out and counted. Raises InputError when
    none is left, or a file cannot be read.
    """
    names, found, mixture = read_communities(model)
    given = read_cover(truth, format=truth_format, config=source)
    known, notes = _on_graph(given, names, truth)
    scored = np.ones(found.n_nodes, np.bool_) if all_nodes else known.n_memberships > 0
    ours, theirs = found.restricted(scored), known.restricted(scored)
    graded = None if mixture is None else mixture.restricted(scored)
    if not all_nodes and theirs.n_nodes < found.n_nodes:
        notes.append(
            f"the truth covers {theirs.n_nodes:,} of {found.n_nodes:,} nodes; the others are left out (--all-nodes)"
        )
    if theirs.n_nodes and bool((theirs.sizes[theirs.sizes > 0] == theirs.n_nodes).all()):
        notes.append("every known community holds all scored nodes: ONMI, omega and recovery say nothing of that")
    counted = theirs.n_nodes <= OMEGA_NODES if omega is None else omega
    scores, recovery = score_covers(ours, theirs, mixture=graded, omega=counted)
    return EvaluationOfCommunities(
        scores=scores,
        nodes="all" if all_nodes else "covered",
        n_nodes=theirs.n_nodes,
        n_graph_nodes=found.n_nodes,
        n_found=int(np.count_nonzero(ours.sizes)),
        n_true=int(np.count_nonzero(theirs.sizes)),
        truth=given.description,
        communities=_communities(ours, theirs, recovery.recovered, given.names),
        notes=tuple(notes),
        ledger=given.ledger,
    )


def score_covers(
    found: Cover, truth: Cover, *, mixture: Cover | None = None, omega: bool
) -> tuple[dict[str, float | None], cover_scores.Recovery]:
    """All scores of a cover against another of the same nodes, and which true communities are recovered.

    mixture : graded shares of the found communities, which the membership error is about; None: those of the cover.
    """
    recovery = cover_scores.recovery(found, truth)
    scores = {
        "onmi_max": cover_scores.onmi_max(found, truth),
        "onmi_lfk": cover_scores.onmi_lfk(found, truth),
        "average_f1": cover_scores.average_f1(found, truth),
        "omega": cover_scores.omega_index(found, truth) if omega else None,
        "membership_error": cover_scores.membership_error(found if mixture is None else mixture, truth),
        "recovery_ratio": recovery.ratio,
        "recovery_error": recovery.error,
    }
    return scores, recovery


def read_communities(path: Path) -> tuple[list[str], Cover, Cover | None]:
    """Names of the nodes, their memberships and graded shares (None: no such) from a result of `tdtool communities`."""
    with hdf5.open(path) as reader:
        reader.require("tdtool.communities")
        names = reader.get("nodes/name")
        try:
            cover = _cover(reader, "membership", "weight")
            mixture = _cover(reader, "mixture", "share") if "mixture/share" in reader else None
        except ValueError as error:
            raise InputError(f"it is damaged: {error}", path=path, hint="run: tdtool verify") from error
    return names, cover, mixture


def _cover(reader: hdf5.Reader, group: str, values: str) -> Cover:
    indptr, communities, weights = (reader.get(f"{group}/{name}") for name in ("indptr", "community", values))
    n_communities = reader.shape("communities/size")[0]
    return Cover(indptr.astype(np.int64), communities.astype(np.int32), weights.astype(np.float64), n_communities)


def _on_graph(given: FoundCover, names: list[str], path: str) -> tuple[Cover, list[str]]:
    """The truth as a cover of the graph's nodes, and notes on what is left out. Counts go to its ledger."""
    numbers = {name: node for node, name in reversed(list(enumerate(names)))}
    nodes = np.array([numbers.get(name, -1) for name in given.nodes], np.int64)
    unknown = [name for name, node in zip(given.nodes, nodes.tolist(), strict=True) if node < 0]
    if len(unknown) == len(given.nodes):
        raise InputError(
            f"none of its {len(unknown):,} nodes is in the graph ({_listed(unknown)})",
            path=path,
            hint=f"nodes of the graph are called {_listed(names)}; is it the truth of another graph?",
        )
    notes = []
    if unknown:
        given.ledger.count("nodes that the graph does not have", len(unknown))
        notes.append(f"{len(unknown):,} nodes of the truth are not in the graph and left out: {_listed(unknown)}")
    if len(numbers) < len(names):
        notes.append("some names stand for two nodes, one of each kind; the truth is taken to mean the first kind")
    place = nodes[given.places]
    kept = place >= 0
    weights = None if given.weights is None else given.weights[kept]
    cover = Cover.from_entries(
        place[kept], given.communities[kept], weights, n_nodes=len(names), n_communities=given.n_communities
    )
    without = int(np.count_nonzero(cover.sizes == 0))
    given.ledger.count("communities without a node of the graph", without)
    return cover, notes


def _listed(names: list[str]) -> str:
    shown = ", ".join(name[:_SHOWN] for name in names[:_NAMED])
    return shown + (", ..." if len(names) > _NAMED else "")


def _communities(
    found: Cover, truth: Cover, recovered: NDArray[np.bool_], names: list[str] | None
) -> tuple[TrueCommunity, ...]:
    """The true communities with members, the largest first."""
    f1, partner = cover_scores.best_f1(found, truth)
    sizes = truth.sizes
    found_sizes = np.append(found.sizes, 0)  # the last is for partner -1
    order = np.argsort(-sizes, kind="stable")[: np.count_nonzero(sizes)]
    return tuple(
        TrueCommunity(
            name=str(c) if names is None else names[c],
            size=int(sizes[c]),
            found=int(partner[c]),
            found_size=int(found_sizes[partner[c]]),
            f1=float(f1[c]),
            recovered=bool(recovered[c]),
        )
        for c in order.tolist()
    )
