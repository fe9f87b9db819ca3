"""TensorCommunities: scikit-learn's manners on matrices and networkx graphs."""

from __future__ import annotations

import doctest
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone, is_clusterer
from sklearn.exceptions import NotFittedError

from tdtool import TensorCommunities
from tdtool.config import CommunitiesConfig
from tdtool.models.cover import Cover
from tdtool.models.cover_scores import onmi_max
from tdtool.run import community_estimator
from tdtool.run.communities import find_communities

SIZES = (9, 11, 13)
GROUP = np.repeat([0, 1, 2], SIZES)
TRUTH = Cover.from_labels(GROUP)


@pytest.fixture(scope="module")
def network() -> nx.Graph:
    """Three groups of 9, 11 and 13 nodes."""
    rng = np.random.default_rng(3)
    upper = np.triu(rng.random((33, 33)) < np.where(GROUP[:, None] == GROUP, 0.8, 0.02), 1)
    graph = nx.Graph()
    graph.add_nodes_from(range(33))
    graph.add_edges_from(np.argwhere(upper).tolist())
    return graph


@pytest.fixture(scope="module")
def adjacency(network: nx.Graph) -> sp.csr_array:
    return sp.csr_array(nx.to_scipy_sparse_array(network, dtype=np.float64))


@pytest.fixture(scope="module")
def fitted(adjacency: sp.csr_array) -> TensorCommunities:
    return TensorCommunities(3, random_state=0).fit(adjacency)


def test_planted_communities_are_found(fitted: TensorCommunities) -> None:
    assert onmi_max(Cover.from_csr(fitted.membership_), TRUTH) > 0.95
    assert fitted.membership_.shape == (33, 3)
    np.testing.assert_allclose(fitted.membership_.sum(axis=1), 1)
    assert [sorted(members) for members in fitted.communities_] == [
        *(list(range(20, 33)), list(range(9, 20)), list(range(9)))
    ]
    np.testing.assert_array_equal(fitted.labels_, 2 - GROUP)
    assert fitted.n_components_ == 3
    assert fitted.community_matrix_.shape == (3, 3)
    assert fitted.community_matrix_.diagonal().min() > 0.6 > 0.1 > fitted.community_matrix_[0, 1]
    assert fitted.weights_.shape == (3,)


def test_label_is_the_community_with_the_largest_share() -> None:
    entries = np.array([0, 1, 2, 0, 2, 1], np.int32), np.array([0.2, 0.5, 0.3, 0.5, 0.5, 1.0])
    cover = Cover(np.array([0, 3, 5, 5, 6]), *entries, 3)
    labels = community_estimator._labels(cover)
    assert labels.tolist() == [1, 0, -1, 1], "the first among equals"


def test_number_is_chosen(adjacency: sp.csr_array) -> None:
    model = TensorCommunities(max_components=6, random_state=0)
    np.testing.assert_array_equal(model.fit_predict(adjacency), 2 - GROUP)
    assert model.n_components_ == 3


FORMS: dict[str, Callable[[sp.csr_array], Any]] = {
    "dense": lambda m: m.toarray(),
    "list": lambda m: m.toarray().tolist(),
    "bool": lambda m: m.toarray() > 0,
    "csc": sp.csc_array,
    "coo": sp.coo_array,
    "csr_matrix": sp.csr_matrix,
    "upper half": lambda m: sp.triu(m),
    "with loops": lambda m: m + sp.eye_array(33),
    "networkx": lambda m: nx.from_scipy_sparse_array(m),
    "networkx, directed": lambda m: nx.from_scipy_sparse_array(m, create_using=nx.DiGraph),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_graph_in_any_form_gives_the_same_bits(
    adjacency: sp.csr_array, fitted: TensorCommunities, form: str
) -> None:
    other = TensorCommunities(3, random_state=0).fit(FORMS[form](adjacency))
    np.testing.assert_array_equal(other.membership_.toarray(), fitted.membership_.toarray())
    assert other.communities_ == fitted.communities_
    assert other.score(FORMS[form](adjacency)) == fitted.score(adjacency)


@pytest.mark.parametrize("n_jobs", [1, 2, 3, -1])
def test_any_number_of_jobs_gives_the_same_bits(
    adjacency: sp.csr_array, fitted: TensorCommunities, n_jobs: int
) -> None:
    other = TensorCommunities(3, random_state=0, n_jobs=n_jobs).fit(adjacency)
    np.testing.assert_array_equal(other.membership_.toarray(), fitted.membership_.toarray())


def test_networkx_graph_in_any_order_gives_the_same(network: nx.Graph) -> None:
    names = {node: f"person {node:02}" for node in network}
    named = nx.relabel_nodes(network, names)
    rng = np.random.default_rng(1)
    mixed = nx.Graph()
    mixed.add_nodes_from(rng.permutation(list(named)).tolist())
    edges = list(named.edges)
    mixed.add_edges_from([edges[i][::-1] for i in rng.permutation(len(edges))])
    first, second = (TensorCommunities(3, random_state=0).fit(graph) for graph in (named, mixed))
    assert first.nodes_ == second.nodes_ == sorted(names.values())
    assert first.communities_ == second.communities_
    np.testing.assert_array_equal(first.membership_.toarray(), second.membership_.toarray())
    assert set(first.communities_[0]) == {names[node] for node in range(20, 33)}


def test_nodes_may_be_any_objects(network: nx.Graph) -> None:
    places = nx.relabel_nodes(network, {node: (node, "x") if node % 2 else node for node in network})
    model = TensorCommunities(3, random_state=0).fit(places)
    assert model.nodes_ == list(places)
    assert {node[0] if isinstance(node, tuple) else node for node in model.communities_[2]} == set(range(9))


def test_weights_of_a_networkx_graph_count() -> None:
    graph = nx.Graph([(0, 1), (1, 2)])
    graph.add_edge(2, 3, weight=2.5)
    made, nodes = community_estimator.as_graph(graph)
    assert nodes == [0, 1, 2, 3]
    np.testing.assert_array_equal(
        made.adjacency().toarray(), [[0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 2.5], [0, 0, 2.5, 0]]
    )
    plain, _ = community_estimator.as_graph(nx.MultiGraph([(0, 1), (1, 0), (1, 2)]))
    assert plain.weights is None
    assert plain.n_edges == 2


def test_estimator_and_command_agree(network: nx.Graph, fitted: TensorCommunities, tmp_path: Path) -> None:
    path = tmp_path / "g.txt"
    nx.write_edgelist(network, path, data=False)
    result = find_communities(str(path), tmp_path / "o.h5", communities=CommunitiesConfig(3), workers=1)
    np.testing.assert_array_equal(result.fit.cover.to_csr().toarray(), fitted.membership_.toarray())


def test_isolated_node_is_in_none(adjacency: sp.csr_array) -> None:
    bigger = sp.block_diag([adjacency, sp.csr_array((1, 1))], format="csr")
    model = TensorCommunities(3, random_state=0).fit(bigger)
    assert model.labels_[-1] == -1
    assert model.membership_[[33]].sum() == 0
    assert sum(map(len, model.communities_)) == 33


def test_score_is_the_modularity(fitted: TensorCommunities, network: nx.Graph, adjacency: sp.csr_array) -> None:
    parts = [set(np.flatnonzero(group == GROUP).tolist()) for group in range(3)]
    assert fitted.score(adjacency) == pytest.approx(nx.community.modularity(network, parts))
    worse = TensorCommunities(1, random_state=0).fit(adjacency)
    assert worse.score(adjacency) < fitted.score(adjacency)
    with pytest.raises(ValueError, match="other nodes than the 33"):
        fitted.score(np.ones((5, 5)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_components": 0}, "n_components is 0"),
        ({"n_components": 34}, "n_components is 34; it must be between 1 and the 33 nodes"),
        ({"max_components": 0}, "max_components is 0"),
        ({"n_components": "auto"}, "n_components is 'auto'; it must be a whole number from 1 on or None"),
        ({"n_components": 2.5}, "n_components is 2.5"),
        ({"mode": "fast"}, "there is no mode 'fast'; known are auto, dense, sparse"),
        ({"polish": None}, "polish is None; it must be a whole number from 0 on$"),
        ({"alpha0": -1}, "alpha0 is -1; it must be a number from 0 on"),
        ({"tau": "x"}, "tau is 'x'"),
        ({"tau": float("nan")}, "tau is nan"),
        ({"n_jobs": 0}, "n_jobs is 0; it is a number of threads"),
    ],
)
def test_impossible_settings(adjacency: sp.csr_array, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TensorCommunities(**settings).fit(adjacency)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.zeros((3, 3)), "no edges"),
        (np.eye(4), "no edges"),
        (np.ones((2, 2)), "pairs only"),
        (np.ones((2, 3)), "no square matrix"),
        (np.ones(3), "no square matrix"),
        (np.array([["a", "b"], ["c", "d"]]), "no square matrix"),
        (-np.ones((3, 3)), "(?i)weight"),
        (np.full((3, 3), np.nan), "(?i)weight"),
        (np.ones((1, 1)), "1 node and no edges"),
        (nx.Graph(), "no edges"),
        ("graph.edges", "a file is read by `tdtool communities FILE`"),
        ([(0, 1), (1, 2), (0, 2)], r"make a graph of pairs by networkx\.Graph"),
        (nx.Graph([("Ann", "Bo", {"weight": -1.5}), ("Bo", "Cy")]), "between Ann and Bo has the weight -1.5$"),
        (nx.Graph([("Ann", "Bo", {"weight": "much"})]), "between Ann and Bo has the weight 'much', which is no number"),
    ],
)
def test_impossible_graphs(matrix: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TensorCommunities().fit(matrix)


def test_scikit_learn_s_manners(fitted: TensorCommunities, adjacency: sp.csr_array) -> None:
    assert is_clusterer(fitted)
    assert clone(fitted).get_params() == fitted.get_params()
    assert fitted.get_params()["n_components"] == 3
    again = pickle.loads(pickle.dumps(fitted))  # noqa: S301 -- our own
    np.testing.assert_array_equal(again.labels_, fitted.labels_)
    with pytest.raises(NotFittedError):
        TensorCommunities().score(adjacency)
    with pytest.raises(ValueError, match="colour"):
        fitted.set_params(colour="red")


def test_the_examples_in_the_documentation() -> None:
    results = doctest.testmod(community_estimator)
    assert results.attempted >= 4
    assert results.failed == 0


WITHOUT_SKLEARN = """
    import sys

    sys.modules |= {"sklearn": None, "networkx": None}  # as if they were not installed
    import numpy as np
    from tdtool import TensorCommunities

    adjacency = np.load(sys.argv[1])
    model = TensorCommunities(3)
    try:
        model.score(adjacency)
    except ValueError as error:
        assert "not fitted" in str(error), error
    assert model.set_params(random_state=0) is model
    assert model.get_params()["n_components"] == 3
    np.save(sys.argv[2], model.fit_predict(adjacency))
    assert not any(name.startswith(("sklearn.", "networkx.")) for name in sys.modules)
"""


def test_it_works_without_scikit_learn(adjacency: sp.csr_array, fitted: TensorCommunities, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", adjacency.toarray())
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(WITHOUT_SKLEARN)]
    done = subprocess.run(
        [*command, tmp_path / "a.npy", tmp_path / "labels.npy"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "labels.npy"), fitted.labels_)
