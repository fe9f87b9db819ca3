"""The graphs of the community benchmark: real ones with known communities, and planted ones of any size."""

from __future__ import annotations

import dataclasses
import functools
import gzip
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.data.planted_graph import PlantedGraph, planted_lfr, planted_mmsb
from tdtool.models.cover import Cover

#: Real graphs with a known truth: those of every run, and friends of one person each (ego nets) among them.
REAL = (
    "karate",
    "football",
    "fb_414",
    "fb_348",
    "svinet_lfr",
    "email_eu_core",
    "polblogs",
    "fb_1684",
    "fb100_Reed98",
    "fb_107",
    "fb_1912",
)
EGO_NETS = ("fb_414", "fb_348", "fb_1684", "fb_107", "fb_1912")
#: Larger, or sparse ones of networkx's LFR generator, where little can be found.
LARGE = ("lfr_n1000_mu0.3", "lfr_n10000_mu0.3", "lfr_n100000_mu0.3", "dblp")

MMSB, OVERLAPPING_LFR = "mmsb n=5000", "lfr overlap n=5000"
PLANTED = (MMSB, OVERLAPPING_LFR)
SCALING = tuple(f"mmsb m={edges:.0e}".replace("e+0", "e") for edges in (1e5, 3e5, 1e6, 3e6, 1e7))
#: A planted block model has this many communities, mean degree and sum of Dirichlet parameters.
MMSB_COMMUNITIES, MMSB_DEGREE, MMSB_ALPHA0 = 20, 50.0, 1.0
SCALING_COMMUNITIES, SCALING_DEGREE, SCALING_ALPHA0 = 50, 20.0, 0.5
#: Smaller planted shares count in the error of memberships, not as members of a known community.
LEAST_SHARE = 0.1


@dataclasses.dataclass(frozen=True)
class Case:
    """A graph and who belongs together in it.

    edges : (m, 2) int64 between nodes 0 ... n - 1, each of which has an edge; truth : of these n nodes;
    memberships : the same with the small shares of a planted graph, None for a real one.
    """

    name: str
    edges: NDArray[np.int64]
    truth: Cover
    memberships: Cover | None = None

    @property
    def n_nodes(self) -> int:
        """Nodes that have an edge."""
        return self.truth.n_nodes

    @functools.cached_property
    def covered(self) -> NDArray[np.int64]:
        """The nodes that are in a true community, ascending."""
        return np.flatnonzero(self.truth.n_memberships)

    def write(self, folder: Path) -> dict[str, str]:
        """Files for the processes that are measured: graph (edges, n_nodes) and truth (memberships)."""
        stem = self.name.replace(" ", "_")
        paths = {"graph": str(folder / f"{stem}.graph.npz"), "truth": str(folder / f"{stem}.truth.npz")}
        if not Path(paths["graph"]).exists():
            np.savez(paths["graph"], edges=self.edges, n_nodes=self.n_nodes)
            write_cover(paths["truth"], self.memberships or self.truth)
        return paths


def load_case(name: str, data: str, seed: int) -> Case:
    """One of the names above, a folder of `data`, or "mmsb m=EDGES"."""
    if name in PLANTED or name.startswith("mmsb m="):
        return planted_case(name, _planted(name, np.random.default_rng(seed)))
    folder = Path(data) / name
    with gzip.open(folder / "edges.txt.gz", "rt") as lines:
        edges = np.loadtxt(lines, np.int64, ndmin=2)
    with gzip.open(folder / "communities.txt.gz", "rt") as lines:
        sets = [[int(node) for node in line.split()] for line in lines]
    n_nodes = int(max(edges.max(), *(max(members) for members in sets))) + 1
    return linked_case(name, edges, Cover.from_sets(sets, n_nodes))


def linked_case(name: str, edges: NDArray[np.int64], truth: Cover) -> Case:
    """Only the nodes that have an edge, as an edge list shows no others; communities left without members are gone."""
    nodes, ends = np.unique(edges, return_inverse=True)
    return Case(name, ends.reshape(edges.shape).astype(np.int64), without_empty(truth.restricted(nodes)))


def planted_case(name: str, planted: PlantedGraph) -> Case:
    """A planted graph; who counts as a member of its communities is what `members` says."""
    memberships = Cover.from_csr(planted.memberships)
    case = linked_case(name, planted.edges, members(memberships))
    whole = memberships.restricted(np.unique(planted.edges))
    return dataclasses.replace(case, memberships=without_empty(whole))


def members(cover: Cover) -> Cover:
    """The memberships of a share from LEAST_SHARE on, and the largest of each node."""
    nodes = cover.entry_nodes()
    largest = np.zeros(cover.n_nodes)
    np.maximum.at(largest, nodes, cover.weights)
    kept = cover.weights >= np.minimum(LEAST_SHARE, largest[nodes])
    entries = (nodes[kept], cover.communities[kept], cover.weights[kept])
    return Cover.from_entries(*entries, n_nodes=cover.n_nodes, n_communities=cover.n_communities)


def without_empty(cover: Cover) -> Cover:
    """The communities that have members, in their order."""
    kept = cover.sizes > 0
    numbers = (np.cumsum(kept) - 1).astype(np.int32)
    return dataclasses.replace(cover, communities=numbers[cover.communities], n_communities=int(kept.sum()))


def _planted(name: str, rng: np.random.Generator) -> PlantedGraph:
    if name == OVERLAPPING_LFR:
        return planted_lfr(
            5000,
            mean_degree=20,
            max_degree=100,
            mixing=0.3,
            sizes=(20, 100),
            n_overlapping=1000,
            memberships_each=3,
            rng=rng,
        )
    if name == MMSB:
        return planted_mmsb(5000, MMSB_COMMUNITIES, mean_degree=MMSB_DEGREE, alpha0=MMSB_ALPHA0, rng=rng)
    n_nodes = round(float(name.partition("=")[2]) * 2 / SCALING_DEGREE)
    return planted_mmsb(n_nodes, SCALING_COMMUNITIES, mean_degree=SCALING_DEGREE, alpha0=SCALING_ALPHA0, rng=rng)


def write_cover(path: str, cover: Cover) -> None:
    """As .npz."""
    fields: dict[str, Any] = {field.name: getattr(cover, field.name) for field in dataclasses.fields(cover)}
    np.savez(path, **fields)


def read_cover(path: str) -> Cover:
    """What write_cover has written."""
    with np.load(path) as arrays:
        communities = int(arrays["n_communities"])
        return Cover(arrays["indptr"], arrays["communities"], arrays["weights"], communities)
