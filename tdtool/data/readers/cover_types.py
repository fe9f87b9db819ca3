"""What the readers of known communities hand out: names of nodes in communities, not yet those of any graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from tdtool.data.ledger import Ledger


@dataclasses.dataclass(frozen=True)
class FoundCover:
    """Communities as they stand in a file.

    nodes : the names of all nodes that are in a community, each once; places : (entries,) int64, position in `nodes`;
    communities : (entries,) int64, number of the community; weights : (entries,) float64 > 0, None where every
    membership counts the same; names : of the communities, None where they have none; ledger : of lines, rows or
    communities; description : "a community a line".
    """

    nodes: list[str]
    places: NDArray[np.int64]
    communities: NDArray[np.int64]
    weights: NDArray[np.float64] | None
    names: list[str] | None
    ledger: Ledger
    description: str

    @property
    def n_communities(self) -> int:
        """How many communities the file has."""
        if self.names is not None:
            return len(self.names)
        return int(self.communities.max(initial=-1)) + 1


class CoverBuilder:
    """Collects the memberships of a file."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self._nodes: dict[str, int] = {}
        self._places: list[int] = []
        self._communities: list[int] = []
        self._weights: list[float] = []
        self._names: dict[str, int] = {}
        self._n_communities = 0

    def add_community(self, members: Iterable[str], weights: Iterable[float] | None = None) -> None:
        """A community with all its members; weights : of each, for all communities of the file or for none."""
        nodes = self._nodes
        places = [nodes.setdefault(name, len(nodes)) for name in members]
        self.ledger.count("members named twice in a community", len(places) - len(set(places)))
        self._places += places
        self._communities += [self._n_communities] * len(places)
        if weights is not None:
            self._weights += weights
        self._n_communities += 1

    def add_row(self, node: str, community: str, weight: float | None) -> None:
        """One membership; weight : for all rows of the file or for none."""
        self._places.append(self._nodes.setdefault(node, len(self._nodes)))
        self._communities.append(self._names.setdefault(community, len(self._names)))
        if weight is not None:
            self._weights.append(weight)

    def finished(self, description: str, names: list[str] | None = None) -> FoundCover:
        """All that was added. names : of the communities, where they were added whole and have names."""
        return FoundCover(
            list(self._nodes),
            np.array(self._places, np.int64),
            np.array(self._communities, np.int64),
            np.array(self._weights) if self._weights else None,
            list(self._names) or names,
            self.ledger,
            description,
        )
