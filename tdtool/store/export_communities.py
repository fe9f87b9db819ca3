"""Communities of a graph in the formats of other programs.

NAME.SUFFIX holds the memberships: node, community, weight (its share of the node), strength. A node in no community has
no row. NAME.communities.SUFFIX holds a row for each community: its size, its scores, its strongest members;
NAME.mixture.SUFFIX the graded shares (node, community, share), those of the members where there are no others.
Communities count from 0, the largest first, as in the result file and in what is printed. .json holds them with
everything known of them, .npz the memberships as arrays that scipy.sparse.load_npz reads as a matrix, .graphml and
.gexf the graph, its nodes with their communities, for Gephi and other programs that draw.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.errors import InputError
from tdtool.store.content import check_graph, check_memberships, check_mixture
from tdtool.store.export_formats import Held, Rows, Stored, write_json_records, write_npz, write_table
from tdtool.store.export_graph_xml import DrawnGraph, shortest, write_gexf, write_graphml
from tdtool.store.reader import Reader

#: Formats of communities that other results do not have.
GRAPH_SUFFIXES = (".graphml", ".gexf")

_BLOCK_NODES = 1 << 15
_BLOCK_EDGES = 1 << 17
_STRONGEST = 10
_PER_COMMUNITY = ("size", "conductance", "density", "lambda", "stability")


def export_communities(part: Path, path: Path, reader: Reader) -> None:
    """Communities of a graph. part : the file to write; path : what it will be called. InputError: a damaged file."""
    suffix = path.suffix.lower()
    if suffix in GRAPH_SUFFIXES:
        _check(reader, graph=True)
        write = write_graphml if suffix == ".graphml" else write_gexf
        write(part, _drawn(reader, _Memberships.read(reader)))
        return
    _check(reader, graph=False)
    found = _Memberships.read(reader)
    if suffix == ".npz":
        write_npz(part, _arrays(reader, found))
    elif suffix == ".json":
        write_json_records(part, _head(reader, found), "communities", _records(reader, found))
    elif path.stem.endswith(".mixture"):
        columns = {"node": "string", "community": "int32", "share": "float32"}
        write_table(part, suffix, columns, _mixture_columns(reader))
    elif path.stem.endswith(".communities"):
        numbers = _per_community(reader)
        columns = {"community": "int32", **{name: _kind(values) for name, values in numbers.items()}}
        write_table(part, suffix, {**columns, "strongest": "string"}, [_community_columns(reader, found, numbers)])
    else:
        kind = "float64" if suffix == ".parquet" else "float32"
        columns = {"node": "string", "community": "int32", "weight": kind, "strength": kind}
        write_table(part, suffix, columns, _membership_columns(reader, found, np.dtype(kind)))


def edges_of(reader: Reader) -> int:
    """Edges of the graph: those in the file, else as many as it says. InputError when it does neither."""
    if "graph/neighbours" in reader:
        return reader.shape("graph/neighbours")[0] // 2
    value = reader.attributes.get("n_edges")
    if not isinstance(value, int):
        raise InputError("it does not say how many edges there were", path=reader.path, hint="make it again")
    return value


@dataclasses.dataclass(frozen=True)
class _Memberships:
    """indptr (n + 1,); communities, weights, strengths (entries,); n_communities."""

    indptr: NDArray[Any]
    communities: NDArray[Any]
    weights: NDArray[Any]
    strengths: NDArray[Any]
    n_communities: int

    @classmethod
    def read(cls, reader: Reader) -> _Memberships:
        names = ("indptr", "community", "weight", "strength")
        indptr, communities, weights, strengths = (reader.get(f"membership/{name}") for name in names)
        return cls(indptr, communities, weights, strengths, reader.shape("communities/size")[0])

    @property
    def n_nodes(self) -> int:
        return self.indptr.size - 1

    def nodes(self) -> NDArray[np.int64]:
        """The node of each entry."""
        return np.repeat(np.arange(self.n_nodes), np.diff(self.indptr))

    def main(self) -> NDArray[np.int64]:
        """For each node its entry of the largest weight, the first of equal ones; -1 for none."""
        nodes = self.nodes()
        order = np.lexsort((-self.weights, nodes))
        main = np.full(self.n_nodes, -1)
        linked = np.diff(self.indptr) > 0
        main[linked] = order[self.indptr[:-1][linked]]
        return main

    def by_community(self) -> list[NDArray[np.int64]]:
        """The entries of each community, the strongest first."""
        order = np.lexsort((-self.strengths, self.communities))
        starts = np.searchsorted(self.communities[order], np.arange(self.n_communities + 1))
        return [order[first:last] for first, last in itertools.pairwise(starts.tolist())]


def _check(reader: Reader, *, graph: bool) -> None:
    """InputError unless memberships, and the graph, can be walked without leaving their arrays."""
    for check in (check_memberships, check_mixture, *((check_graph,) if graph else ())):
        for finding in check(reader):
            hint = "run `tdtool verify` on it; restore it or make it again"
            raise InputError(f"{finding.where} {finding.what}", path=reader.path, hint=hint)


def _membership_columns(reader: Reader, found: _Memberships, dtype: np.dtype) -> Iterator[list[Any]]:
    for start, names in reader.blocks("nodes/name"):
        bounds = found.indptr[start : start + len(names) + 1]
        entries = slice(int(bounds[0]), int(bounds[-1]))
        nodes = [name for name, count in zip(names, np.diff(bounds).tolist(), strict=True) for _ in range(count)]
        numbers = (found.weights[entries].astype(dtype), found.strengths[entries].astype(dtype))
        yield [nodes, found.communities[entries].astype(np.int32), *numbers]


def _mixture_columns(reader: Reader) -> Iterator[list[Any]]:
    """Graded shares; those of the memberships where there are no others."""
    group, values = ("mixture", "share") if "mixture/share" in reader else ("membership", "weight")
    indptr, communities, shares = (reader.get(f"{group}/{name}") for name in ("indptr", "community", values))
    for start, names in reader.blocks("nodes/name"):
        bounds = indptr[start : start + len(names) + 1]
        entries = slice(int(bounds[0]), int(bounds[-1]))
        nodes = [name for name, count in zip(names, np.diff(bounds).tolist(), strict=True) for _ in range(count)]
        yield [nodes, communities[entries].astype(np.int32), shares[entries].astype(np.float32)]


def _per_community(reader: Reader) -> dict[str, NDArray[Any]]:
    return {name: reader.get(f"communities/{name}") for name in _PER_COMMUNITY if f"communities/{name}" in reader}


def _kind(values: NDArray[Any]) -> str:
    return "int64" if values.dtype.kind in "iu" else "float64"


def _community_columns(reader: Reader, found: _Memberships, numbers: dict[str, NDArray[Any]]) -> list[Any]:
    names, nodes = reader.get("nodes/name"), found.nodes()
    strongest = ["; ".join(names[u] for u in nodes[entries[:_STRONGEST]]) for entries in found.by_community()]
    values = [array.astype(_kind(array)) for array in numbers.values()]
    return [np.arange(found.n_communities, dtype=np.int32), *values, strongest]


def _head(reader: Reader, found: _Memberships) -> dict[str, Any]:
    """What a .json begins with."""
    counts = np.diff(found.indptr)
    selection = [name for name in reader.paths() if name.startswith("selection/")]
    columns = {name.partition("/")[2]: _finite(reader.get(name)) for name in selection}
    told = {name: reader.attributes.get(name) for name in ("graph", "mode", "scores", "reason", "chosen", "warnings")}
    return {
        **told,
        "n_nodes": found.n_nodes,
        "n_edges": edges_of(reader),
        "n_in_several": int((counts > 1).sum()),
        "n_in_none": int((counts == 0).sum()),
        "selection": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)],
    }


def _finite(values: NDArray[Any]) -> list[Any]:
    """Numbers as JSON can say them: what is not finite is null."""
    return [value if math.isfinite(value) else None for value in values.tolist()]


def _records(reader: Reader, found: _Memberships) -> Iterator[dict[str, Any]]:
    """A community with its members, the strongest first."""
    names, nodes, numbers = reader.get("nodes/name"), found.nodes(), _per_community(reader)
    columns = {name: _finite(array) for name, array in numbers.items()}
    for community, entries in enumerate(found.by_community()):
        weights, strengths = found.weights[entries].tolist(), found.strengths[entries].tolist()
        members = zip(nodes[entries].tolist(), weights, strengths, strict=True)
        yield {
            "community": community,
            **{name: values[community] for name, values in columns.items()},
            "members": [{"node": names[u], "weight": weight, "strength": strength} for u, weight, strength in members],
        }


def _arrays(reader: Reader, found: _Memberships) -> dict[str, Rows]:
    """The matrix (n, k) as scipy.sparse.save_npz names its parts, and what belongs to its entries, rows and columns."""
    arrays: dict[str, Rows] = {
        "format": _Word(b"csr"),
        "shape": Held(np.array([found.n_nodes, found.n_communities])),
        "indptr": Held(found.indptr),
        "indices": Held(found.communities),
        "data": Held(found.weights),
        "strength": Held(found.strengths),
        "node": Stored(reader, "nodes/name"),
        "degree": Stored(reader, "nodes/degree"),
    }
    stored = ("communities/link_probability", "nodes/side")
    arrays |= {name.partition("/")[2]: Stored(reader, name) for name in stored if name in reader}
    return arrays | {name: Held(values) for name, values in _per_community(reader).items()}


class _Word(Rows):
    """One short text, as an array without axes."""

    shape = ()

    def __init__(self, word: bytes) -> None:
        self._word = np.array(word)
        self.dtype = self._word.dtype

    def blocks(self) -> Iterator[tuple[int, Any]]:
        """The word."""
        yield 0, self._word


def _drawn(reader: Reader, found: _Memberships) -> DrawnGraph:
    """The graph with what its nodes are: main community and its weight, all communities, their number, degree, side."""
    attributes = {"community": "whole", "communities": "text", "weight": "number", "n_communities": "whole"}
    attributes |= {"degree": "number"} | ({"side": "whole"} if "nodes/side" in reader else {})
    return DrawnGraph(
        attributes,
        nodes=lambda: _node_blocks(reader, found),
        edges=lambda: _edge_blocks(reader),
        weighted="graph/weights" in reader,
        description=str(reader.attributes.get("graph", "")),
    )


def _node_blocks(reader: Reader, found: _Memberships) -> Iterator[tuple[list[str], list[list[Any]]]]:
    main = found.main()
    for start in range(0, found.n_nodes, _BLOCK_NODES):
        stop = min(start + _BLOCK_NODES, found.n_nodes)
        bounds, best = found.indptr[start : stop + 1].tolist(), main[start:stop]
        numbers = found.communities[bounds[0] : bounds[-1]].astype(str).tolist()
        several = [";".join(numbers[a - bounds[0] : b - bounds[0]]) for a, b in itertools.pairwise(bounds)]
        columns = [
            [None if entry < 0 else int(found.communities[entry]) for entry in best],
            [text or None for text in several],
            [None if entry < 0 else weight for entry, weight in zip(best, _told(found.weights, best), strict=True)],
            np.diff(found.indptr[start : stop + 1]).tolist(),
            shortest(reader.rows("nodes/degree", start, stop)),
        ]
        columns += [reader.rows("nodes/side", start, stop).tolist()] if "nodes/side" in reader else []
        yield reader.rows("nodes/name", start, stop), columns


def _told(weights: NDArray[Any], entries: NDArray[np.int64]) -> list[str]:
    """Weights as a person reads them; those of entry -1 mean nothing."""
    return shortest(weights[entries].astype(np.float32)) if weights.size else [""] * entries.size


def _edge_blocks(reader: Reader) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]]:
    """Every edge once, from its lower end."""
    indptr = reader.get("graph/indptr")
    for start in range(0, int(indptr[-1]), _BLOCK_EDGES):
        stop = min(start + _BLOCK_EDGES, int(indptr[-1]))
        tails = np.searchsorted(indptr, np.arange(start, stop), side="right") - 1
        heads = reader.rows("graph/neighbours", start, stop)
        once = tails < heads
        weights = reader.rows("graph/weights", start, stop)[once] if "graph/weights" in reader else None
        yield tails[once], heads[once], weights
