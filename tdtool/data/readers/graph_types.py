"""What the readers of graphs hand out: edges as they were found, not yet symmetrised, merged or put in order."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class FoundGraph:
    """Edges as they stand in the input, one for each row, line or entry; loops and repeated edges are still in it.

    tails, heads : (m,) int32 or int64. Where names is None they are the nodes' own numbers (any int64, holes allowed);
    else positions in `names`.
    names : every node's name, each once, whether it has edges or not, in any order. Names that are all whole numbers
    become numbers later: a reader need not look.
    weights : (m,) float64 as found (0, negative and NaN are dealt with later), None where there are none.
    n_nodes, first : only with names None, where the format states how many nodes there are: they are then first ...
    first + n_nodes - 1, with or without edges.
    directed : whether the format says so; None: it does not say.
    n_left : None: one kind of nodes. Else tails are of the first kind and heads of the second. With names, the first
    n_left names are those of the first kind, tails < n_left <= heads. Without, tails and heads count apart (row 3 and
    column 3 are two nodes), and where n_nodes is given there are n_left nodes of the first kind and n_nodes - n_left of
    the second, each counted from `first` on.
    description : "matrix-market, symmetric pattern matrix"; notes : more for a person, each without a full stop.
    """

    tails: NDArray[np.int32] | NDArray[np.int64]
    heads: NDArray[np.int32] | NDArray[np.int64]
    names: list[str] | None = None
    weights: NDArray[np.float64] | None = None
    n_nodes: int | None = None
    first: int = 0
    directed: bool | None = None
    n_left: int | None = None
    description: str = ""
    notes: tuple[str, ...] = ()
