"""TensorCommunities: overlapping communities of a graph, with scikit-learn's names and manners."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Literal, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from tdtool.config import CommunitiesConfig
from tdtool.data.edge_passes_gpu import on_gpu
from tdtool.data.graph import Graph
from tdtool.errors import InputError
from tdtool.models.communities import fit_communities
from tdtool.models.cover import Cover
from tdtool.models.graph_scores import MOST_LINKED, link_probability, overlapping_modularity
from tdtool.run.device import on_device_named
from tdtool.run.estimator_base import GraphClusterer, check_fitted, seed_of
from tdtool.run.graphs import MODES, only_pairs
from tdtool.run.threads import limited


class TensorCommunities(GraphClusterer):
    """Overlapping communities of a graph: spectral moments, tensor power iteration, then a likelihood polish.

    n_components : number of communities, None to choose; max_components : the most that are tried then; mode : "auto" |
    "dense" | "sparse"; overlap : False puts every node into one community; alpha0 : Dirichlet sum that the moments
    assume; tau : regularisation, in mean degrees; polish : iterations of likelihood; n_jobs : threads, None or -1 for
    all cores (any number gives the same bits); random_state : as in scikit-learn; device : "auto" takes a GPU where
    there is one that can be used, "cpu", "cuda" (GpuError says what is missing).

    After fit: membership_ (n, n_components_) scipy csr_array, graded shares, rows sum to 1 (a node in no community may
    have an empty one); member_ (n, n_components_) the same of members only, those whose membership pays for itself;
    labels_ (n,) int64, the community with the largest share, -1 for none; n_components_; communities_, for each
    community its members as the graph has them, the strongest first; community_matrix_ (n_components_, n_components_)
    chance of a link between pure members (None beyond 2,000 communities); weights_ (n_components_,) links expected
    inside; nodes_, the nodes in the order of the rows.

    >>> import numpy as np
    >>> triangles = np.kron(np.eye(2), np.ones((4, 4))) - np.eye(8)
    >>> triangles[0, 4] = triangles[4, 0] = 1
    >>> TensorCommunities(n_components=2, random_state=0).fit_predict(triangles).tolist() in (
    ...     [0, 0, 0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0, 0])
    True
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        max_components: int | None = None,
        mode: Literal["auto", "dense", "sparse"] = "auto",
        overlap: bool = True,
        alpha0: float = 0.0,
        tau: float = 0.01,
        polish: int = 12,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        device: Literal["auto", "cpu", "cuda"] = "auto",
    ) -> None:
        self.n_components = n_components
        self.max_components = max_components
        self.mode = mode
        self.overlap = overlap
        self.alpha0 = alpha0
        self.tau = tau
        self.polish = polish
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.device = device

    def fit(self, X: Any, y: object = None) -> Self:
        """Fit to a graph.

        X : (n, n) matrix of weights from 0 on, scipy.sparse or dense (directions add up, the diagonal is left out), or
        a networkx graph (anything with `nodes` and `edges(data=...)`), whose edges' "weight" counts where they have
        one. ValueError for a graph without edges, and for more communities than nodes.
        """
        graph, nodes = as_graph(X)
        config = self._config(graph)
        with (
            on_device_named(self.device) as gpu,
            limited(None if self.n_jobs in (None, -1) else int(self.n_jobs or 1)),
        ):
            fit = fit_communities(graph if gpu is None else on_gpu(graph, gpu), config)
            few = fit.cover.n_communities <= MOST_LINKED
            self.community_matrix_ = link_probability(graph, fit.cover) if few else None
        self._cover = fit.cover
        self.membership_ = (fit.cover if fit.mixture is None else fit.mixture).to_csr()
        self.member_ = fit.cover.to_csr()
        self.labels_ = _labels(fit.cover)
        self.n_components_ = fit.cover.n_communities
        self.communities_ = _members(fit.cover, fit.strengths, nodes)
        self.weights_ = fit.lambdas
        self.nodes_ = nodes
        self.n_features_in_ = graph.n_nodes
        return self

    def score(self, X: Any, y: object = None) -> float:
        """Overlapping modularity of the communities on a graph of the same nodes: higher is better, at most 1."""
        check_fitted(self)
        graph, nodes = as_graph(X)
        if list(nodes) != list(self.nodes_):
            raise ValueError(
                f"X has other nodes than the {self.n_features_in_} that {type(self).__name__} was fitted to"
            )
        return overlapping_modularity(graph, self._cover)

    def _config(self, graph: Graph) -> CommunitiesConfig:
        k, most = self.n_components, self.max_components
        self._check()
        if graph.n_edges == 0:
            raise ValueError(
                f"X has {graph.n_nodes} node{'' if graph.n_nodes == 1 else 's'} and no edges; communities need edges"
            )
        if only_pairs(graph):
            raise ValueError("the edges of X link nodes in pairs only; a community has at least three nodes")
        if k is not None and not 1 <= k <= graph.n_nodes:
            raise ValueError(f"n_components is {k}; it must be between 1 and the {graph.n_nodes} nodes of X")
        return CommunitiesConfig(
            n_communities=k,
            max_communities=most,
            mode=self.mode,
            overlap=self.overlap,
            alpha0=self.alpha0,
            tau=self.tau,
            polish=self.polish,
            seed=seed_of(self.random_state),
        )

    def _check(self) -> None:
        """ValueError for a parameter that nothing can be fitted with."""
        if self.mode not in MODES:
            raise ValueError(f"there is no mode {self.mode!r}; known are {', '.join(MODES)}")
        for name, least in (("n_components", 1), ("max_components", 1), ("polish", 0)):
            value = getattr(self, name)
            optional = value is None and name != "polish"
            if not optional and not (isinstance(value, (int, np.integer)) and value >= least):
                none = "" if name == "polish" else " or None"
                raise ValueError(f"{name} is {value!r}; it must be a whole number from {least} on{none}")
        for name in ("alpha0", "tau"):
            value = getattr(self, name)
            if not (isinstance(value, (int, float, np.number)) and 0 <= value < float("inf")):
                raise ValueError(f"{name} is {value!r}; it must be a number from 0 on")
        jobs = self.n_jobs
        if not (jobs in (None, -1) or (isinstance(jobs, (int, np.integer)) and jobs >= 1)):
            raise ValueError(f"n_jobs is {jobs!r}; it is a number of threads, or None or -1 for all cores")


def as_graph(X: Any) -> tuple[Graph, Sequence[Any]]:
    """A graph from a square matrix or a networkx graph, and its nodes as X has them, in the order of the rows.

    Nodes of a networkx graph that are all whole numbers, or all text, are sorted: the result depends neither on the
    order of its edges nor on that of its nodes. ValueError for what is no graph.
    """
    try:
        if hasattr(X, "nodes") and hasattr(X, "edges"):
            return _of_edges(X)
        matrix: Any = X if sp.issparse(X) else np.asarray(X)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.dtype.kind not in "biuf":
            what = f"X is no square matrix of numbers and no networkx graph: it is {matrix.shape} of {matrix.dtype}"
            raise ValueError(f"{what}{_wanted(matrix)}")
        return Graph.from_adjacency(matrix), range(matrix.shape[0])
    except InputError as error:
        raise ValueError(error.what) from error


def _wanted(matrix: Any) -> str:
    """What to do with something else that holds a graph."""
    if matrix.ndim == 0 and matrix.dtype.kind == "U":
        return "; a file is read by `tdtool communities FILE`"
    if matrix.ndim == 2 and matrix.shape[1] == 2:
        return "; make a graph of pairs by networkx.Graph(pairs.tolist()), or a scipy.sparse matrix"
    return ""


def _of_edges(network: Any) -> tuple[Graph, list[Hashable]]:
    nodes = _sorted(list(network.nodes))
    place = {node: i for i, node in enumerate(nodes)}
    found = [(place[a], place[b], weight) for a, b, weight in network.edges(data="weight")]
    edges = np.array([(a, b) for a, b, _ in found], np.int64).reshape(-1, 2)
    weights = None
    if any(weight is not None for _, _, weight in found):
        weights = np.array([_weight(nodes[a], nodes[b], weight) for a, b, weight in found])
    return Graph.from_edges(edges, weights=weights, n_nodes=len(nodes), ids=list(map(str, nodes))), nodes


def _weight(tail: Any, head: Any, weight: Any) -> float:
    """The weight of an edge, 1 where it has none."""
    try:
        return 1.0 if weight is None else float(weight)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the edge between {tail} and {head} has the weight {weight!r}, which is no number") from error


def _sorted(nodes: list[Any]) -> list[Any]:
    """Numbers ascending, names by their bytes, anything else as it is."""
    if all(isinstance(node, (int, np.integer)) for node in nodes):
        return sorted(nodes)
    if all(isinstance(node, str) for node in nodes):
        return sorted(nodes, key=lambda name: name.encode("utf-8", "surrogatepass"))
    return nodes


def _labels(cover: Cover) -> NDArray[np.int64]:
    """(n,) the community with the largest share, the first among equals; -1 for a node in none."""
    labels = np.full(cover.n_nodes, -1, np.int64)
    order = np.lexsort((-cover.communities, cover.weights, cover.entry_nodes()))  # a node's largest comes last
    has = np.flatnonzero(cover.n_memberships)
    labels[has] = cover.communities[order[cover.indptr[has + 1] - 1]]
    return labels


def _members(cover: Cover, strengths: NDArray[np.float64], nodes: Sequence[Any]) -> list[list[Any]]:
    """Members of each community, the strongest first."""
    order = np.lexsort((-strengths, cover.communities))
    owners = cover.entry_nodes()[order].tolist()
    ends = np.cumsum(cover.sizes).tolist()
    starts = [0, *ends[:-1]]
    return [[nodes[u] for u in owners[start:end]] for start, end in zip(starts, ends, strict=True)]
