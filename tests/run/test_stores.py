"""A store of Parquet files is as good as an HDF5 file to every command, and is made from it and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tdtool.config import CommunitiesConfig, GraphConfig, IngestConfig, TopicsConfig
from tdtool.data.corpus import Corpus
from tdtool.data.parquet_probe import probe_store
from tdtool.errors import InputError, UsageError
from tdtool.run.communities import find_communities
from tdtool.run.corpora import corpus_of, is_parquet, source_bytes
from tdtool.run.ingest import ingest_corpus, ingest_graph, kind_of
from tdtool.run.outputs import default_output
from tdtool.run.show import describe, export
from tdtool.run.stores import check_store, store_kind
from tdtool.run.topics import TopicsResult, fit_topics
from tdtool.run.verify import verify_file
from tdtool.store import hdf5
from tests.data.parquet_samples import change_manifest, write_corpus


def digest(path: Path) -> str:
    with hdf5.open(path) as reader:
        return str(reader.attributes["content_digest"])


@pytest.fixture(scope="module")
def store(sample_corpus: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample corpus as a store, which no test changes."""
    place = tmp_path_factory.mktemp("store") / "sample.corpus.parquet"
    ingest_corpus(sample_corpus, place, IngestConfig(), workers=2)
    return place


@pytest.fixture(scope="module")
def graph_store(sample_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample graph as a store, which no test changes."""
    place = tmp_path_factory.mktemp("store") / "sample.graph.parquet"
    ingest_graph(str(sample_data / "graph.edges"), place, GraphConfig())
    return place


def test_there_and_back(sample_corpus: str, store: Path, tmp_path: Path) -> None:
    direct = ingest_corpus(sample_corpus, tmp_path / "direct.h5", IngestConfig(), workers=1)
    back = ingest_corpus(str(store), tmp_path / "back.h5", IngestConfig())
    again = ingest_corpus(str(tmp_path / "back.h5"), tmp_path / "again.parquet", IngestConfig())
    assert digest(tmp_path / "direct.h5") == digest(tmp_path / "back.h5")
    assert {name.name for name in store.iterdir()} == {name.name for name in (tmp_path / "again.parquet").iterdir()}
    facts = [(r.description, r.n_documents, r.n_terms, r.n_tokens, r.ledger) for r in (direct, back, again)]
    assert facts[0] == facts[1] == facts[2]
    assert Corpus.open(tmp_path / "back.h5").document_ids == Corpus.open(tmp_path / "direct.h5").document_ids
    with hdf5.open(tmp_path / "direct.h5") as one, hdf5.open(tmp_path / "back.h5") as other:
        assert one.attributes["config"] == other.attributes["config"]
        assert one.attributes["source"] == other.attributes["source"]


def test_topics_are_the_same(store: Path, sample_fit: TopicsResult, tmp_path: Path) -> None:
    result = fit_topics(str(store), tmp_path / "t.h5", ingest=IngestConfig(), topics=TopicsConfig(8), workers=1)
    assert digest(Path(result.path)) == digest(Path(sample_fit.path))


def test_communities_are_the_same(graph_store: Path, sample_data: Path, tmp_path: Path) -> None:
    for source, name in ((graph_store, "a.h5"), (sample_data / "graph.edges", "b.h5")):
        find_communities(str(source), tmp_path / name, communities=CommunitiesConfig(5))
    assert digest(tmp_path / "a.h5") == digest(tmp_path / "b.h5")


def test_graphs_there_and_back(graph_store: Path, sample_data: Path, tmp_path: Path) -> None:
    direct = ingest_graph(str(sample_data / "graph.edges"), tmp_path / "direct.h5", GraphConfig())
    back = ingest_graph(str(graph_store), tmp_path / "back.h5", GraphConfig())
    ingest_graph(str(tmp_path / "back.h5"), tmp_path / "again.parquet", GraphConfig())
    assert digest(tmp_path / "direct.h5") == digest(tmp_path / "back.h5")
    assert {name.name for name in graph_store.iterdir()} == {n.name for n in (tmp_path / "again.parquet").iterdir()}
    assert (back.n_nodes, back.n_edges, back.description) == (direct.n_nodes, direct.n_edges, direct.description)
    with hdf5.open(tmp_path / "direct.h5") as one, hdf5.open(tmp_path / "back.h5") as other:
        assert one.attributes["source"] == other.attributes["source"]


def test_scratch_goes(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with corpus_of(str(store), IngestConfig(), workers=1, vocabulary=["friend", "town", "nowhere"]) as corpus:
        assert corpus.n_terms == 3
        assert corpus.rows(0).indices.max() == 1
        assert list(tmp_path.iterdir()) != []
    assert list(tmp_path.iterdir()) == []


def test_what_a_source_is(store: Path, graph_store: Path, sample_corpus: str, tmp_path: Path) -> None:
    ingest_graph(str(graph_store), tmp_path / "g.h5", GraphConfig())
    sources = [str(store), f"{store}/", str(graph_store), str(tmp_path / "g.h5"), sample_corpus, "-", "s.edges"]
    kinds = ["corpus", "corpus", "graph", "graph"]
    assert [store_kind(source) for source in sources] == [*kinds, None, None, None]
    assert [kind_of(source) for source in sources] == [*kinds, "corpus", "corpus", "graph"]
    assert [is_parquet(source) for source in sources] == [True, True, True, False, False, False, False]
    assert source_bytes(str(store)) == sum(file.stat().st_size for file in store.iterdir())
    assert (source_bytes(str(tmp_path / "g.h5")), source_bytes("-")) == ((tmp_path / "g.h5").stat().st_size, 0)
    assert default_output(str(store), "topics", tmp_path).name == "sample.topics.h5"


def test_where_a_store_may_be_written(store: Path, tmp_path: Path) -> None:
    for output, what in (
        (str(store), "take the place of what is read"),
        (f"{store}/", "take the place of what is read"),
        ("s3://bucket/x.corpus.h5", "on this machine only"),
        (str(tmp_path / "no" / "x.parquet"), "no directory"),
        (str(tmp_path), "is a directory"),
    ):
        with pytest.raises(UsageError, match=what):
            check_store(str(store), output, force=True)
    with pytest.raises(UsageError, match="take the place of what is read"):
        check_store("s3://bucket/x.corpus.parquet/", "s3://bucket/x.corpus.parquet", force=True)
    check_store(str(store), tmp_path / "x.parquet", force=False)


@pytest.mark.parametrize(("source", "output"), [("store", "x.parquet"), ("x.h5", "y.h5")])
def test_copies_of_the_same_kind_are_left_to_cp(store: Path, tmp_path: Path, source: str, output: str) -> None:
    ingest_corpus(str(store), tmp_path / "x.h5", IngestConfig())
    place = str(store) if source == "store" else str(tmp_path / source)
    with pytest.raises(UsageError, match="already"):
        ingest_corpus(place, tmp_path / output, IngestConfig())
    assert not (tmp_path / output).exists()


def test_a_graph_is_no_corpus(store: Path, graph_store: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"a tdtool.graph store, where tdtool.corpus is wanted"),
        corpus_of(str(graph_store), IngestConfig(), workers=1),
    ):
        raise AssertionError("the block must not run")
    with pytest.raises(InputError, match=r"a tdtool.corpus store, where tdtool.graph is wanted"):
        find_communities(str(store), tmp_path / "x.h5")


def test_show(store: Path, graph_store: Path, tmp_path: Path) -> None:
    """The same as of the HDF5 file, but for its own name and what it is."""
    for place, ingest, config in ((store, ingest_corpus, IngestConfig()), (graph_store, ingest_graph, GraphConfig())):
        path = tmp_path / f"{place.name}.h5"
        ingest(str(place), path, config)  # type: ignore[operator]
        shown, direct = describe(place).as_dict(), describe(path).as_dict()
        for name in ("path", "about"):
            assert shown.pop(name) != direct.pop(name)
        assert json.loads(json.dumps(shown)) == json.loads(json.dumps(direct))
    with pytest.raises(UsageError, match="not exported"):
        export(store, [tmp_path / "x.csv"])


def test_verify(store: Path, graph_store: Path) -> None:
    for place, schema, n_arrays in ((store, "tdtool.corpus", 9), (graph_store, "tdtool.graph", 6)):
        found = probe_store(str(place))
        assert (found.findings, found.schema, found.n_arrays) == ([], schema, n_arrays)
        assert found.content_digest == describe(place).facts["content digest"]
    verified = verify_file(store)
    assert (verified.ok, verified.schema, verified.path) == (True, "tdtool.corpus", store)


def test_verify_names_what_is_damaged(tmp_path: Path) -> None:
    place = tmp_path / "c.parquet"
    stored = write_corpus(place)
    assert probe_store(str(place)).findings == []
    (place / stored.parts[0].file).unlink()
    (place / stored.parts[2].file).write_bytes(b"PAR1")
    found = probe_store(str(place))
    assert [finding.where for finding in found.findings] == [stored.parts[0].file, stored.parts[2].file]
    write_corpus(place)
    change_manifest(place, attributes={**stored.attributes, "content_digest": "0" * 32})
    assert [finding.what for finding in probe_store(str(place)).findings] == [
        "the content digest is not that of the partitions"
    ]
    (place / "corpus.json").write_text("{}")
    assert [finding.where for finding in probe_store(str(place)).findings] == ["corpus.json"]
    (place / "corpus.json").unlink()
    (finding,) = verify_file(place).findings
    assert finding == ("c.parquet", "the store is incomplete: corpus.json is missing")
