"""What the readers of graphs hand out: edges as they were found, not yet symmetrised, merged or put in order."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from tdtool.data.readers.tensor_types import in_bytes
from tdtool.errors import ResourceError


@dataclasses.dataclass(frozen=True)
class FoundGraph:
    """Edges as they stand in the input, one for each row, line or entry; loops and repeated edges are still in it.

    The edges handed out are counted in the ledger later, as used; a reader writes only what it leaves out itself.

    tails, heads : (m,) int32 or int64. Where names is None they are the nodes' own numbers (any int64, holes allowed);
    else positions in `names`.
    names : every node's name, each once, whether it has edges or not, in any order: numbers (n,) int64, or text. Text
    that is whole numbers throughout becomes numbers later: a reader need not look.
    weights : (m,) float64 as found (0, negative and NaN are dealt with later), None where there are none.
    n_nodes, first : only with names None, where the format states how many nodes there are: they are then first ...
    first + n_nodes - 1, with or without edges.
    directed : whether the format says so; None: it does not say.
    bipartite : tails are of one kind and heads of another; what is both a tail and a head is then two nodes.
    n_left : where a bipartite format states the numbers of nodes. With n_nodes: tails are n_left nodes from `first` on,
    heads n_nodes - n_left nodes from `first` on, counted apart. With names: the first n_left of them are of the first
    kind, and tails < n_left <= heads; a name may then be there once for each kind.
    description : "Matrix Market, symmetric matrix"; notes : more for a person, each without a full stop.
    """

    tails: NDArray[np.int32] | NDArray[np.int64]
    heads: NDArray[np.int32] | NDArray[np.int64]
    names: list[str] | NDArray[np.int64] | None = None
    weights: NDArray[np.float64] | None = None
    n_nodes: int | None = None
    first: int = 0
    directed: bool | None = None
    bipartite: bool = False
    n_left: int | None = None
    description: str = ""
    notes: tuple[str, ...] = ()


def edge_bytes(n_edges: int, *, weighted: bool) -> int:
    """Bytes that a graph takes at most while it is made of this many edges."""
    return n_edges * (72 if weighted else 28)


def check_memory(needed: int, memory: int, what: str, path: str) -> None:
    """ResourceError when `needed` bytes are more than `memory`."""
    if needed > memory:
        raise ResourceError(
            f"{what} needs {in_bytes(needed)} of memory and {in_bytes(memory)} are allowed",
            path=path,
            hint="use a machine with more memory or a higher limit (--memory), or take a part of the graph",
        )
