"""Finds the communities of one graph in a process of its own: `python -m tests.bench.community_peers TASK`.

Started by the benchmark communities. Timed is the detecting call alone, on a graph in the system's own form, after the
same call on a small graph that compiles kernels and starts threads.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import json
import random
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.models.cover import Cover
from tests.bench.children import reports
from tests.bench.community_cases import read_cover, write_cover
from tests.bench.measure import Stopwatch, peak_rss_mb

#: A call that detects, for a seed, and one that makes a cover of what it returned.
Detector = tuple[Callable[[int], Any], Callable[[Any], Cover]]

#: A share from which a node counts as a member, for models whose shares are all positive; its largest always counts.
_MEMBER_SHARE = 0.3


@dataclasses.dataclass(frozen=True)
class Task:
    """What to detect. graph, truth : .npz of edges and n_nodes, and of a cover; covers : folder for what is found.

    n_communities : the true number, for systems that are given it; n_runs : how often, seeds seed, seed + 1 and so on;
    shuffle : "" | "nodes" | "edges", what is put in another order beforehand.
    """

    system: str
    graph: str
    truth: str
    covers: str
    n_communities: int
    seed: int
    threads: int
    n_runs: int = 1
    shuffle: str = ""


@dataclasses.dataclass(frozen=True)
class Links:
    """edges (m, 2) int64 between n_nodes nodes; n_communities : given to systems that need the number.

    truth : called by the one that starts there, so that nobody else has it in memory.
    """

    edges: NDArray[np.int64]
    n_nodes: int
    n_communities: int
    threads: int
    truth: Callable[[], Cover]


def load(task: Task) -> Links:
    """The graph of a task, its nodes or edges in another order where that is asked."""
    with np.load(task.graph) as arrays:
        edges, n_nodes = arrays["edges"], int(arrays["n_nodes"])
    rng = np.random.default_rng(task.seed + 1)
    if task.shuffle == "nodes":
        edges = relabelling(task, n_nodes)[edges]
    elif task.shuffle == "edges":
        edges = rng.permuted(rng.permutation(edges), axis=1)
    return Links(edges, n_nodes, task.n_communities, task.threads, lambda: read_cover(task.truth))


def relabelling(task: Task, n_nodes: int) -> NDArray[np.int64]:
    """(n,) the new number of each node."""
    return np.random.default_rng(task.seed + 2).permutation(n_nodes)


def prepare_tdtool(links: Links) -> Detector:
    """The default settings: k is chosen."""
    return _tdtool(links)


def prepare_tdtool_given_k(links: Links) -> Detector:
    """The same, told the number of communities."""
    return _tdtool(links, n_communities=links.n_communities)


def _tdtool(links: Links, **settings: Any) -> Detector:
    from tdtool.config import CommunitiesConfig
    from tdtool.data.graph import Graph
    from tdtool.models.communities import fit_communities
    from tdtool.run.threads import limited

    graph, threads = Graph.from_edges(links.edges, n_nodes=links.n_nodes), links.threads

    def detect(seed: int) -> Any:
        with limited(threads):
            return fit_communities(graph, CommunitiesConfig(seed=seed, **settings))

    return detect, lambda fit: fit.cover


def prepare_bound(links: Links) -> Detector:
    """EM of our model, as we run it, from the true memberships: what no detector of this model can well surpass."""
    from tdtool.config import CommunitiesConfig
    from tdtool.data.graph import Graph
    from tdtool.models.overlap_em import dense_em, fit_propensity, graded
    from tdtool.models.overlap_model import Strengths

    graph = Graph.from_edges(links.edges, n_nodes=links.n_nodes)
    truth = links.truth().to_csr().toarray().astype(np.float32)
    propensity = fit_propensity(graph)

    def cover(found: Strengths) -> Cover:
        nodes, communities, values = found.nodes, found.communities, found.values
        return Cover.from_entries(nodes, communities, values, n_nodes=graph.n_nodes, n_communities=found.n_communities)

    return lambda seed: graded(graph, *dense_em(graph, truth, propensity, n_iters=CommunitiesConfig().polish)), cover


def prepare_leiden(links: Links) -> Detector:
    """igraph's, modularity, until an iteration changes nothing."""
    graph = _igraph(links)

    def detect(seed: int) -> Any:
        _seed_igraph(seed)
        return graph.community_leiden("modularity", n_iterations=-1)

    return detect, lambda found: Cover.from_labels(found.membership)


def prepare_louvain(links: Links) -> Detector:
    """igraph's multilevel modularity."""
    graph = _igraph(links)

    def detect(seed: int) -> Any:
        _seed_igraph(seed)
        return graph.community_multilevel()

    return detect, lambda found: Cover.from_labels(found.membership)


def _igraph(links: Links) -> Any:
    import igraph

    return igraph.Graph(n=links.n_nodes, edges=links.edges)


def _seed_igraph(seed: int) -> None:
    import igraph

    igraph.set_random_number_generator(random.Random(seed))


def prepare_infomap(links: Links) -> Detector:
    """Two levels, one trial, as it comes."""
    from infomap import Infomap

    network = Infomap(silent=True, two_level=True)
    network.add_links(links.edges.tolist())

    def cover(found: Any) -> Cover:
        labels = np.full(links.n_nodes, -1)
        for node, module in found.modules().items():
            labels[node] = module - 1
        return Cover.from_labels(labels)

    return lambda seed: network.run(seed=seed + 1), cover


def prepare_plm(links: Links) -> Detector:
    """networkit's parallel Louvain, with refinement."""
    import networkit

    return _networkit(links, lambda graph: networkit.community.PLM(graph, True))


def prepare_plp(links: Links) -> Detector:
    """networkit's parallel label propagation."""
    import networkit

    return _networkit(links, networkit.community.PLP)


def _networkit(links: Links, method: Callable[[Any], Any]) -> Detector:
    import networkit

    networkit.setNumberOfThreads(links.threads)
    graph = networkit.Graph(links.n_nodes)
    for tail, head in links.edges.tolist():
        graph.addEdge(tail, head)

    def detect(seed: int) -> Any:
        networkit.setSeed(seed, False)
        return method(graph).run().getPartition()

    return detect, lambda found: Cover.from_labels(found.getVector())


def prepare_spectral(links: Links) -> Detector:
    """scikit-learn's spectral clustering, given the true number."""
    from scipy import sparse
    from sklearn.cluster import SpectralClustering

    pairs = links.edges.T.astype(np.int32)
    half = sparse.coo_matrix((np.ones(pairs.shape[1]), pairs), (links.n_nodes, links.n_nodes))
    affinity = (half + half.T).tocsr()
    n_clusters = min(links.n_communities, links.n_nodes)

    def detect(seed: int) -> Any:
        model = SpectralClustering(n_clusters, affinity="precomputed", random_state=seed, n_jobs=links.threads)
        return model.fit_predict(affinity)

    return detect, Cover.from_labels


def prepare_bigclam(links: Links) -> Detector:
    """As in the paper, start and line search too (tests.bench.bigclam), given the true number."""
    from tdtool.data.graph import Graph
    from tests.bench.bigclam import bigclam_members, fit_bigclam

    graph = Graph.from_edges(links.edges, n_nodes=links.n_nodes)

    def cover(strengths: NDArray[np.float64]) -> Cover:
        return Cover.from_dense(np.where(bigclam_members(graph, strengths), strengths, 0.0))

    return lambda seed: fit_bigclam(graph, links.n_communities, seed=seed), cover


def prepare_karateclub(links: Links) -> Detector:
    """karateclub's BigCLAM, defaults, given the true number; each node in the community where it is strongest."""
    import networkx

    detector = _karateclub_bigclam()
    graph = networkx.Graph()
    graph.add_nodes_from(range(links.n_nodes))
    graph.add_edges_from(links.edges.tolist())

    def detect(seed: int) -> Any:
        model = detector(dimensions=links.n_communities, seed=seed)
        model.fit(graph)
        return model

    return detect, lambda model: Cover.from_labels([label for _, label in sorted(model.get_memberships().items())])


@functools.cache
def _karateclub_bigclam() -> Any:
    """The class alone: the package imports all its methods, whose requirements exclude today's numpy and networkx."""
    found = importlib.util.find_spec("karateclub")
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent
    for name in ("karateclub", "karateclub.community_detection", "karateclub.community_detection.overlapping"):
        package = types.ModuleType(name)
        package.__path__ = [str(folder.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = package
    sys.modules.setdefault("community", types.ModuleType("community"))  # python-louvain, imported and never used
    return importlib.import_module("karateclub.community_detection.overlapping.bigclam").BigClam


def prepare_mmsb(links: Links) -> Detector:
    """Variational inference for the mixed membership block model from random starts, given the true number."""
    from tests.bench.mmsb_variational import fit_mmsb

    def cover(memberships: NDArray[np.float64]) -> Cover:
        member = memberships >= np.minimum(_MEMBER_SHARE, memberships.max(axis=1, keepdims=True))
        return Cover.from_dense(np.where(member, memberships, 0.0))

    return lambda seed: fit_mmsb(links.edges, links.n_nodes, links.n_communities, seed=seed), cover


PREPARE: dict[str, Callable[[Links], Detector]] = {
    "tdtool": prepare_tdtool,
    "tdtool given k": prepare_tdtool_given_k,
    "tdtool EM from truth": prepare_bound,
    "leiden": prepare_leiden,
    "louvain": prepare_louvain,
    "infomap": prepare_infomap,
    "plm": prepare_plm,
    "plp": prepare_plp,
    "spectral@k": prepare_spectral,
    "bigclam@k": prepare_bigclam,
    "karateclub@k": prepare_karateclub,
    "mmsb@k": prepare_mmsb,
}


def warm_up(task: Task) -> None:
    """Detect on three cliques of seven in a ring."""
    nodes = np.arange(21).reshape(3, 7)
    inside = [(clique[i], clique[j]) for clique in nodes for i in range(7) for j in range(i)]
    edges = np.array([*inside, *((clique[0] + 1, (clique[0] + 7) % 21) for clique in nodes)])
    links = Links(edges, 21, 3, task.threads, lambda: Cover.from_labels(np.repeat(range(3), 7)))
    detect, cover = PREPARE[task.system](links)
    cover(detect(0))


def main(task: Task, report: Callable[..., None]) -> None:
    """Detect, keep the covers and say how long each took."""
    warm_up(task)
    links = load(task)
    n_nodes = links.n_nodes
    detect, cover_of = PREPARE[task.system](links)
    del links  # a system that has made its own form of the graph needs the edges no longer
    report(started=True)
    for run in range(task.n_runs):
        with Stopwatch() as watch:
            found = detect(task.seed + run)
        peak = peak_rss_mb()
        cover = cover_of(found)
        mixture = getattr(found, "mixture", None)  # of systems that tell members from graded shares
        if task.shuffle == "nodes":
            order = relabelling(task, n_nodes)
            cover, mixture = cover.restricted(order), None if mixture is None else mixture.restricted(order)
        name = f"{Path(task.graph).stem}.{task.system}.{task.shuffle}.{task.threads}.{run}.npz".replace(" ", "_")
        write_cover(f"{task.covers}/{name}", cover)
        if mixture is not None:
            write_cover(f"{task.covers}/mixture.{name}", mixture)
        report(
            cover=f"{task.covers}/{name}",
            mixture=None if mixture is None else f"{task.covers}/mixture.{name}",
            seconds=watch.seconds,
            cpu_seconds=watch.cpu_seconds,
            peak_rss_mb=peak,
        )


if __name__ == "__main__":
    with reports() as send:
        main(Task(**json.loads(sys.argv[1])), send)
