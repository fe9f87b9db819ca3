"""A corpus as moments: the topics that come from them are those of the documents, unpolished."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tdtool.config import IngestConfig, MomentsConfig, SourceConfig, TopicsConfig
from tdtool.data.ingest import ingest
from tdtool.data.planted import planted_stream, write_lines
from tdtool.errors import InputError, UsageError
from tdtool.models.held_out import held_out_documents
from tdtool.run.evaluate import evaluate_topics
from tdtool.run.infer import infer_documents
from tdtool.run.ingest import ingest_corpus
from tdtool.run.moments import MomentsResult, ingest_moments, moments_kind
from tdtool.run.show import describe
from tdtool.run.topics import TopicsResult, fit_topics
from tdtool.run.topics_of_moments import topics_of_moments
from tdtool.store import hdf5
from tdtool.store.verify import verify
from tests.store.samples_moments import moments_content, write_graph_moments, write_moments

N_TOPICS = 6


def collect(source: str, output: Path, rank: int = N_TOPICS, **settings: Any) -> MomentsResult:
    workers = settings.pop("workers", 2)
    config = MomentsConfig(rank, **settings)
    return ingest_moments(source, output, ingest=IngestConfig(), moments=config, workers=workers)


def fitted(source: str, output: Path, n_topics: int = N_TOPICS, **settings: Any) -> TopicsResult:
    config = TopicsConfig(n_topics, polish=0, **settings)
    return fit_topics(source, output, ingest=IngestConfig(), topics=config, workers=1)


def digest(path: Path) -> str:
    with hdf5.open(path) as reader:
        return str(reader.attributes["content_digest"])


def arrays(path: Path, *names: str) -> list[Any]:
    with hdf5.open(path) as reader:
        return [reader.get(name) for name in names]


@pytest.fixture(scope="module")
def planted_moments(planted_source: str, tmp_path_factory: pytest.TempPathFactory) -> MomentsResult:
    """The moments of 1,500 documents of 6 topics, in a file that no test changes."""
    return collect(planted_source, tmp_path_factory.mktemp("moments") / "planted.moments.h5")


# ---- what is found


@pytest.mark.parametrize(
    "settings", [{}, {"held_out": 0.0, "alpha0": 0.3}, {"seed": 5}, {"m3": "sketch"}, {"m3": "sketch", "sketches": 3}]
)
def test_topics_are_those_of_the_documents(planted_source: str, tmp_path: Path, settings: dict[str, Any]) -> None:
    direct = fitted(planted_source, tmp_path / "d.h5", **settings)
    collected = collect(planted_source, tmp_path / "m.h5", **settings)
    found = topics_of_moments(collected.path, tmp_path / "t.h5")
    ours, theirs = found.fit.model, direct.fit.model
    np.testing.assert_allclose(ours.word_topic, theirs.word_topic, atol=1e-5 * theirs.word_topic.max())
    np.testing.assert_allclose(ours.alpha, theirs.alpha, rtol=1e-4)
    np.testing.assert_allclose(ours.weights, theirs.weights, rtol=1e-4)
    assert (found.fit.stopped, found.fit.passes) == ("tol", 0)
    assert found.scores == {"diversity": direct.scores["diversity"]}
    assert found.top_words(5) == [
        [(word, pytest.approx(p, rel=1e-4)) for word, p in row] for row in direct.top_words(5)
    ]


def test_held_out_documents_are_left_out(planted_source: str, tmp_path: Path) -> None:
    corpus = ingest(planted_source, tmp_path / "c.h5", IngestConfig(), workers=1)
    long_enough = corpus.matrix().sum(axis=1) >= 3
    for share, most, n_left_out in ((0.0, 100, 0), (0.2, 100, 100), (0.01, 100, 15)):
        left_out = held_out_documents(corpus.n_documents, share, most, 0)
        assert left_out.size == n_left_out
        long_enough_and_in = np.delete(long_enough, left_out)
        path = collect(planted_source, tmp_path / f"{share}.h5", held_out=share, max_held_out=most).path
        assert describe(path).attributes["n_documents_used"] == long_enough_and_in.sum()


def test_fewer_topics_than_were_collected(planted_moments: MomentsResult, planted_source: str, tmp_path: Path) -> None:
    found = topics_of_moments(planted_moments.path, tmp_path / "t.h5", n_topics=4)
    assert found.n_topics == 4
    again = fitted(planted_source, tmp_path / "d.h5", 4)
    overlap = np.sqrt(found.fit.model.topic_word) @ np.sqrt(again.fit.model.topic_word).T
    assert overlap.max(axis=1).min() > 0.9  # another range finder, so not the same to many digits


def test_sketch_of_more_topics_serves_fewer(planted_source: str, tmp_path: Path) -> None:
    collected = collect(planted_source, tmp_path / "m.h5", 9, m3="sketch", hash_length=1 << 13)
    found = topics_of_moments(collected.path, tmp_path / "t.h5", n_topics=N_TOPICS)
    dense = topics_of_moments(collect(planted_source, tmp_path / "n.h5", 9).path, tmp_path / "e.h5", n_topics=N_TOPICS)
    overlap = np.sqrt(found.fit.model.topic_word) @ np.sqrt(dense.fit.model.topic_word).T
    assert found.fit.form == "sketch"
    assert overlap.max(axis=1).min() > 0.95


# ---- the files


def test_any_workers_and_any_store_give_the_same_moments(planted_source: str, tmp_path: Path) -> None:
    store = ingest_corpus(planted_source, tmp_path / "c.h5", IngestConfig(), workers=1)
    results = [collect(planted_source, tmp_path / f"{workers}.h5", workers=workers) for workers in (1, 2, 3)]
    results.append(collect(str(store.path), tmp_path / "s.h5"))
    assert len({digest(result.path) for result in results}) == 1
    topics = [topics_of_moments(result.path, tmp_path / f"t{i}.h5", workers=i + 1) for i, result in enumerate(results)]
    assert len({digest(result.path) for result in topics}) == 1


def test_the_file_says_how_it_was_made(planted_moments: MomentsResult, planted_source: str) -> None:
    assert verify(planted_moments.path) == []
    description = describe(planted_moments.path)
    assert description.schema == "tdtool.moments"
    facts = description.facts
    assert (facts["documents"], facts["documents in the moments"], facts["directions"]) == (1500, 1346, N_TOPICS)
    assert (facts["alpha0"], facts["third moment"], facts["source path"]) == (1.0, "dense", Path(planted_source).name)
    assert description.words
    assert description.attributes["config"]["moments"]["rank"] == N_TOPICS
    assert moments_kind(str(planted_moments.path)) == "tdtool.moments"
    assert moments_kind(planted_source) is None


def test_whitening_and_its_inverse(planted_moments: MomentsResult) -> None:
    names = ("second/whitening", "second/unwhitening", "second/eigenvalue", "first/moment", "first/whitened")
    whitening, unwhitening, eigenvalue, first, whitened = arrays(planted_moments.path, *names)
    np.testing.assert_allclose(unwhitening.T @ whitening, np.eye(N_TOPICS), atol=1e-4)
    np.testing.assert_allclose(np.sum(unwhitening**2, axis=0), eigenvalue[:N_TOPICS], rtol=1e-4)
    np.testing.assert_allclose(whitened, whitening.T @ first, rtol=1e-4)


def test_topics_file_serves_as_any_other(planted_moments: MomentsResult, planted_source: str, tmp_path: Path) -> None:
    exports = tuple(str(tmp_path / f"t{suffix}") for suffix in (".csv", ".json", ".npz", ".parquet"))
    topics = topics_of_moments(planted_moments.path, tmp_path / "t.h5", exports=exports)
    assert verify(topics.path) == []
    assert all(Path(path).stat().st_size for path in exports)
    assert '"npmi": null' in Path(exports[1]).read_text()
    described = describe(topics.path)
    assert described.sizes["document"] == 0
    assert described.attributes["moments"] == {
        "path": planted_moments.path.name,
        "content_digest": digest(planted_moments.path),
    }
    assert described.attributes["config"]["topics"]["polish"] == 0
    assert described.attributes["ledger"]["rows_in"] == 1500
    inferred = infer_documents(topics.path, planted_source, tmp_path / "i.h5", source=SourceConfig(), workers=1)
    (shares,) = arrays(inferred.path, "documents/topic")
    assert shares.shape == (1500, N_TOPICS)
    direct = fitted(planted_source, tmp_path / "d.h5")
    scores = [
        evaluate_topics(model, planted_source, source=SourceConfig(), workers=1).scores
        for model in (topics.path, direct.path)
    ]
    assert scores[0]["perplexity"] == pytest.approx(scores[1]["perplexity"], rel=1e-5)


# ---- what cannot be


def test_more_directions_than_there_are(tmp_path: Path) -> None:
    """As many as can be told apart are kept, and no more can be asked for."""
    path = tmp_path / "few.txt"
    with path.open("wb") as file:
        write_lines(planted_stream(40, 23, 3, mean_length=30.0, seed=2), file)
    collected = collect(str(path), tmp_path / "m.h5", 100)
    assert 3 <= collected.rank <= 23
    assert topics_of_moments(collected.path, tmp_path / "t.h5").n_topics == collected.rank
    with pytest.raises(UsageError, match=f"tell {collected.rank} topics apart"):
        topics_of_moments(collected.path, tmp_path / "u.h5", n_topics=collected.rank + 1)
    assert not (tmp_path / "u.h5").exists()


def test_too_little_for_any_topic(tmp_path: Path) -> None:
    path = tmp_path / "short.txt"
    path.write_text("apple pear\npear plum\n" * 5)
    with pytest.raises(InputError, match="3 words"):
        collect(str(path), tmp_path / "m.h5")
    assert not (tmp_path / "m.h5").exists()


def test_tensor_that_nobody_could_hold(planted_source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdtool.run.moments.MOST_DIRECTIONS", 5)
    with pytest.raises(UsageError, match="6 x 6 x 6"):
        collect(planted_source, tmp_path / "m.h5", m3="dense")
    monkeypatch.setattr("tdtool.run.moments.LARGEST_TENSOR", 5)
    assert collect(planted_source, tmp_path / "m.h5").form == "sketch"


def test_documents_cannot_be_exported(planted_moments: MomentsResult, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no documents"):
        topics_of_moments(planted_moments.path, tmp_path / "t.h5", exports=(str(tmp_path / "t.documents.csv"),))


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"length": 0}, "length is '0'"),
        ({"alpha0": "one"}, "alpha0 is 'one'"),
        ({"n_documents": 3}, "n_documents is '3'"),
        ({"ledger": "none"}, "ledger"),
    ],
)
def test_attributes_that_cannot_be(tmp_path: Path, attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        topics_of_moments(write_moments(tmp_path / "m.h5", **attributes), tmp_path / "t.h5")


def test_values_that_cannot_be(tmp_path: Path) -> None:
    """The hashes of a sketch lead into memory: they are looked at first."""
    content = moments_content(sketch=True)
    content["third/hash"] = content["third/hash"] + 100
    with pytest.raises(InputError, match="leads out of the 8 places"):
        topics_of_moments(write_moments(tmp_path / "m.h5", content), tmp_path / "t.h5")


def test_other_files_are_no_moments(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"tdtool\.graph_moments file"):
        topics_of_moments(write_graph_moments(tmp_path / "g.h5"), tmp_path / "t.h5")
    with pytest.raises(InputError, match=r"tdtool\.moments file, where tdtool\.corpus is wanted"):
        fitted(str(write_moments(tmp_path / "m.h5")), tmp_path / "t.h5")


@pytest.mark.parametrize("sketch", [False, True])
def test_strange_but_possible_moments_give_topics(tmp_path: Path, sketch: bool) -> None:
    path = write_moments(tmp_path / "m.h5", moments_content(sketch=sketch))
    found = topics_of_moments(path, tmp_path / "t.h5")
    np.testing.assert_allclose(found.fit.model.topic_word.sum(axis=1), 1, rtol=1e-5)
    assert verify(found.path) == []
