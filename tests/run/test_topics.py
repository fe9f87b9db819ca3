"""From a folder of texts to a file of topics."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from tdtool.config import IngestConfig, SourceConfig, TopicsConfig, VocabularyConfig
from tdtool.data.ingest import ingest
from tdtool.errors import InputError, UsageError
from tdtool.run import topics as module
from tdtool.run.topics import TopicsResult, fit_topics
from tdtool.store import hdf5
from tdtool.store.verify import verify
from tests import oracles

EXPORTS = [f"sample{kind}{suffix}" for kind in ("", ".documents") for suffix in (".csv", ".tsv", ".json", ".npz")]
EXPORTS += ["sample.parquet", "sample.documents.parquet"]


def run(source: str, output: Path, n_topics: int | None = 8, **options: Any) -> TopicsResult:
    settings = {name: options.pop(name) for name in ("polish", "held_out", "seed", "m3") if name in options}
    ingest_config = options.pop("ingest", IngestConfig())
    return fit_topics(source, output, ingest=ingest_config, topics=TopicsConfig(n_topics, **settings), **options)


def digest(path: Path) -> str:
    with hdf5.open(path) as reader:
        return reader.attributes["content_digest"]


def arrays(path: Path, *names: str) -> list[Any]:
    with hdf5.open(path) as reader:
        return [reader.get(name) for name in names]


# ---- what is found


@pytest.fixture(scope="module")
def truth(sample_data: Path) -> dict[str, Any]:
    return json.loads((sample_data / "corpus.truth.json").read_text())


def matched(result: TopicsResult, truth: dict[str, Any]) -> list[str]:
    """The planted topic of each topic found, by top words in common."""
    names = list(truth["topics"])
    words = [{word for word, _ in row} for row in result.top_words(20)]
    common = np.array([[len(row & set(truth["topics"][name])) for name in names] for row in words])
    return [names[j] for j in linear_sum_assignment(-common)[1]]


def test_the_planted_topics_are_found(sample_fit: TopicsResult, truth: dict[str, Any]) -> None:
    names = matched(sample_fit, truth)
    assert sorted(names) == sorted(truth["topics"])
    for name, row in zip(names, sample_fit.top_words(15), strict=True):
        assert all(word in truth["topics"][name] for word, _ in row)
    assert sample_fit.warnings == []
    assert sample_fit.scores["npmi"] > 0.5
    assert sample_fit.scores["diversity"] > 0.95


def test_documents_have_the_shares_that_were_planted(sample_fit: TopicsResult, truth: dict[str, Any]) -> None:
    names = matched(sample_fit, truth)
    ids, shares = arrays(sample_fit.path, "documents/id", "documents/topic")
    assert len(ids) == len(truth["documents"]) == 300
    planted = np.array([[truth["documents"][i].get(name, 0.0) for name in names] for i in ids])
    assert np.mean(shares.argmax(axis=1) == planted.argmax(axis=1)) > 0.97
    assert np.abs(shares - planted).sum(axis=1).mean() / 2 < 0.1


def test_the_result_speaks_json(sample_fit: TopicsResult) -> None:
    plain = json.loads(json.dumps(sample_fit.as_dict(), allow_nan=False))
    assert (plain["n_topics"], plain["n_documents"], len(plain["topics"])) == (8, 300, 8)
    assert plain["topics"][0]["words"][0] == [sample_fit.top_words(1)[0][0][0], pytest.approx(0.1, abs=0.1)]
    assert sum(topic["size"] for topic in plain["topics"]) == pytest.approx(1)
    assert plain["selection"] is None


# ---- the file


def test_the_file_holds_the_model(sample_fit: TopicsResult) -> None:
    assert verify(sample_fit.path) == []
    model = sample_fit.fit.model
    topic_word, alpha, size, npmi = arrays(
        sample_fit.path, "topics/topic_word", "topics/alpha", "topics/size", "topics/npmi"
    )
    np.testing.assert_array_equal(topic_word, model.word_topic.T)
    np.testing.assert_array_equal(alpha, model.alpha)
    np.testing.assert_array_equal(npmi, sample_fit.coherence)
    np.testing.assert_array_equal(size, sample_fit.sizes)
    np.testing.assert_allclose(topic_word.sum(axis=1), 1, rtol=1e-5)


def test_the_file_counts_words_and_documents(sample_fit: TopicsResult, sample_corpus: str, tmp_path: Path) -> None:
    corpus = ingest(sample_corpus, tmp_path / "corpus.h5", IngestConfig(), workers=1)
    counts = corpus.matrix().toarray()
    names = ["vocabulary/document_frequency", "vocabulary/count", "documents/length", "documents/held_out"]
    frequency, count, length, held_out = arrays(sample_fit.path, *names)
    np.testing.assert_array_equal(frequency, (counts > 0).sum(axis=0))
    np.testing.assert_array_equal(count, counts.sum(axis=0))
    np.testing.assert_array_equal(length, counts.sum(axis=1))
    assert (held_out.sum(), set(held_out)) == (30, {0, 1})
    assert sample_fit.scores["held_out_documents"] == 30
    assert arrays(sample_fit.path, "vocabulary/term") == [corpus.vocabulary]


def test_the_file_says_how_it_was_made(sample_fit: TopicsResult, sample_corpus: str) -> None:
    with hdf5.open(sample_fit.path) as reader:
        attributes = reader.attributes
    assert attributes["scores"] == sample_fit.scores
    assert attributes["seed"] == 0
    assert attributes["config"]["topics"]["n_topics"] == 8
    assert attributes["tokens"] == attributes["config"]["ingest"]["tokens"]
    assert attributes["ledger"]["rows_in"] == 300
    assert attributes["source"]["path"] == Path(sample_corpus).name
    assert set(attributes["packages"]) >= {"python", "numpy", "scipy", "numba"}
    assert set(attributes["seconds"]) == {"moments", "decomposition", "polish", "scores"}


# ---- repeatability


@pytest.mark.parametrize("n_topics", [6, None])
def test_the_same_content_for_any_workers_and_twice_in_a_row(
    planted_source: str, tmp_path: Path, n_topics: int | None
) -> None:
    """Digest and exports, byte for byte, wherever they are written and whatever the memory."""
    digests, exports = set(), set()
    for i, (workers, memory) in enumerate([(1, None), (2, None), (2, None), (3, 1)]):
        folder = tmp_path / f"run{i}"
        folder.mkdir()
        output = folder / f"{i}.h5"
        paths = tuple(str(folder / name) for name in EXPORTS)
        run(planted_source, output, n_topics, workers=workers, memory=memory, exports=paths)
        digests.add(digest(output))
        exports.add(tuple(Path(path).read_bytes() for path in paths))
    assert len(digests) == 1
    assert len(exports) == 1


def test_every_document_of_every_partition_is_in_its_place(
    planted_fit: TopicsResult, planted_source: str, tmp_path: Path
) -> None:
    corpus = ingest(planted_source, tmp_path / "corpus.h5", IngestConfig(), workers=1)
    assert corpus.n_partitions > 3
    counts, model = corpus.matrix().toarray(), planted_fit.fit.model
    names = ["documents/id", "documents/length", "documents/topic", "vocabulary/count"]
    ids, length, topic, count = arrays(planted_fit.path, *names)
    assert ids == corpus.document_ids
    np.testing.assert_array_equal(length, counts.sum(axis=1))
    np.testing.assert_array_equal(count, counts.sum(axis=0))
    some = np.arange(0, corpus.n_documents, 71)
    expected = oracles.topics_of_documents(counts[some], model.word_topic.astype(float), model.alpha, sweeps=100)
    assert np.abs(topic[some] - expected).sum(axis=1).mean() / 2 < 0.02


def test_content_knows_no_paths(sample_corpus: str, sample_fit: TopicsResult, tmp_path: Path) -> None:
    shutil.copytree(sample_corpus, tmp_path / "elsewhere")
    result = run(str(tmp_path / "elsewhere"), tmp_path / "x.h5", workers=1)
    assert digest(result.path) == digest(sample_fit.path)


def test_an_ingested_corpus_gives_the_same_topics(sample_corpus: str, sample_fit: TopicsResult, tmp_path: Path) -> None:
    ingest(sample_corpus, tmp_path / "corpus.h5", IngestConfig(), workers=1)
    result = run(str(tmp_path / "corpus.h5"), tmp_path / "x.h5")
    assert digest(result.path) == digest(sample_fit.path)
    with hdf5.open(result.path) as one, hdf5.open(sample_fit.path) as two:
        assert one.attributes["tokens"] == two.attributes["tokens"]
        assert one.attributes["ledger"] == two.attributes["ledger"]


def test_another_seed_is_other_content(sample_corpus: str, sample_fit: TopicsResult, tmp_path: Path) -> None:
    assert digest(run(sample_corpus, tmp_path / "x.h5", seed=1).path) != digest(sample_fit.path)


# ---- -k auto


def test_k_auto_shows_its_table_and_takes_the_planted_number(sample_corpus: str, tmp_path: Path) -> None:
    result = run(sample_corpus, tmp_path / "x.h5", None)
    table = result.selection
    assert table is not None
    assert [row["n_topics"] for row in table] == [5, 8, 13, 20]
    best = max(table, key=lambda row: row["npmi"])
    assert result.n_topics == best["n_topics"] == 8
    assert result.scores["npmi"] == best["npmi"]
    assert result.scores["perplexity"] == best["perplexity"]
    for name in ("n_topics", "perplexity", "npmi", "diversity"):
        (stored,) = arrays(result.path, f"selection/{name}")
        assert stored.tolist() == [row[name] for row in table]
    assert verify(result.path) == []


def test_k_auto_without_held_out_documents_has_no_nan(sample_corpus: str, tmp_path: Path) -> None:
    result = run(sample_corpus, tmp_path / "x.h5", None, held_out=0.0, polish=1)
    json.dumps(result.as_dict(), allow_nan=False)


def test_polish_auto_keeps_its_history(sample_corpus: str, tmp_path: Path) -> None:
    result = run(sample_corpus, tmp_path / "x.h5", polish="auto")
    assert arrays(result.path, "history/perplexity")[0].tolist() == list(result.fit.history)
    assert len(result.fit.history) == result.fit.passes


# ---- what cannot be


def test_more_topics_than_documents_or_words(sample_corpus: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="301 topics were asked for; 300 documents") as caught:
        run(sample_corpus, tmp_path / "x.h5", 301)
    assert caught.value.exit_code == 3
    assert list(tmp_path.iterdir()) == []


def test_more_topics_than_the_words_tell_apart(sample_corpus: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="150 topics were asked for; the words' co-occurrences tell only"):
        run(sample_corpus, tmp_path / "x.h5", 150)
    assert list(tmp_path.iterdir()) == []


def test_the_number_of_topics_that_is_advised_works(sample_corpus: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        run(sample_corpus, tmp_path / "x.h5", 150)
    advised = int(str(caught.value.hint).split("-k ")[1].split(")")[0])
    assert run(sample_corpus, tmp_path / "x.h5", advised, polish=1).n_topics == advised


@pytest.mark.parametrize("n_topics", [0, -1])
def test_no_topics_at_all(sample_corpus: str, tmp_path: Path, n_topics: int) -> None:
    with pytest.raises((UsageError, InputError), match="topic"):
        run(sample_corpus, tmp_path / "x.h5", n_topics)


@pytest.mark.parametrize("n_topics", [1, 2])
def test_very_few_topics(sample_corpus: str, tmp_path: Path, n_topics: int) -> None:
    result = run(sample_corpus, tmp_path / "x.h5", n_topics)
    assert all(np.isfinite(value) for value in result.scores.values())


def short_documents(folder: Path) -> str:
    source = folder / "short.txt"
    source.write_text("".join(f"{a} {b}\n" for a in ("apple", "pear", "plum") for b in ("tree", "cake", "juice")))
    return str(source)


def test_documents_too_short_for_a_third_moment(tmp_path: Path) -> None:
    config = IngestConfig(vocabulary=VocabularyConfig(stop_words="none", min_df=1, max_df=1.0))
    with pytest.raises(InputError, match="3 words"):
        run(short_documents(tmp_path), tmp_path / "x.h5", 2, ingest=config)


@pytest.mark.parametrize("export", ["x.csv", "x.docx", "folder/x.csv"])
def test_outputs_are_checked_before_any_work(
    sample_corpus: str, tmp_path: Path, export: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "open_engine", None)  # any work would fail
    (tmp_path / "x.csv").write_text("mine")
    (tmp_path / "y.h5").write_text("mine")
    with pytest.raises(UsageError):
        run(sample_corpus, tmp_path / "x.h5", exports=(str(tmp_path / export),))
    with pytest.raises(UsageError):
        run(sample_corpus, tmp_path / "y.h5")
    assert (tmp_path / "x.csv").read_text() == (tmp_path / "y.h5").read_text() == "mine"


def test_a_run_that_fails_leaves_the_old_result(
    sample_corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("in the middle of writing")

    output = tmp_path / "x.h5"
    run(sample_corpus, output)
    before = output.read_bytes()
    monkeypatch.setattr(module, "documents_step", broken)
    broken.__name__ = "broken"
    with pytest.raises(RuntimeError, match="in the middle"):
        run(sample_corpus, output, force=True)
    assert output.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["x.h5"]


def test_counts_come_in_too(tmp_path: Path) -> None:
    """A UCI bag of words, which has no text to tokenise."""
    lines = [(d, 1 + (d % 2) * 3 + w, 2) for d in range(1, 41) for w in range(3)]
    rows = "".join(f"{d} {w} {c}\n" for d, w, c in lines)
    (tmp_path / "docword.x.txt").write_text(f"40\n6\n{len(lines)}\n{rows}")
    (tmp_path / "vocab.x.txt").write_text("a\nb\nc\nd\ne\nf\n")
    config = IngestConfig(source=SourceConfig(), vocabulary=VocabularyConfig(stop_words="none", max_df=1.0))
    result = run(str(tmp_path / "docword.x.txt"), tmp_path / "x.h5", 2, ingest=config)
    found = sorted(sorted(word for word, _ in row) for row in result.top_words(3))
    assert found == [["a", "b", "c"], ["d", "e", "f"]]
