"""Topics of new documents: repeatable, and the same as those of the fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tdtool.config import IngestConfig, SourceConfig, TokenConfig, TopicsConfig, VocabularyConfig
from tdtool.data.ingest import ingest
from tdtool.errors import InputError, UsageError
from tdtool.run.infer import InferenceResult, infer_documents
from tdtool.run.topics import TopicsResult, fit_topics
from tdtool.store import hdf5
from tdtool.store.verify import verify


def infer(model: TopicsResult, corpus: str, output: Path, **options: Any) -> InferenceResult:
    return infer_documents(model.path, corpus, output, source=SourceConfig(), **options)


def read(path: Path) -> dict[str, Any]:
    with hdf5.open(path) as reader:
        return {name: reader.get(name) for name in reader.paths()} | {"digest": reader.attributes["content_digest"]}


@pytest.mark.parametrize("kind", ["sample", "planted"])
def test_documents_of_the_fit_have_the_topics_that_the_model_file_says(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    fit = request.getfixturevalue(f"{kind}_fit")
    source = request.getfixturevalue({"sample": "sample_corpus", "planted": "planted_source"}[kind])
    result = infer(fit, source, tmp_path / "x.h5", workers=2)
    found, model = read(result.path), read(fit.path)
    assert found["documents/id"] == model["documents/id"]
    np.testing.assert_array_equal(found["documents/topic"], model["documents/topic"])
    np.testing.assert_array_equal(found["documents/length"], model["documents/length"])
    shape = (fit.n_documents, fit.n_topics, model["documents/length"].sum())
    assert (result.n_documents, result.n_topics, result.words) == shape
    assert verify(result.path) == []
    with hdf5.open(result.path) as reader:
        assert reader.attributes["model"]["content_digest"] == model["digest"]


def test_the_same_bits_for_any_workers_and_twice_in_a_row(
    planted_fit: TopicsResult, planted_source: str, tmp_path: Path
) -> None:
    digests, exports = set(), set()
    for i, (workers, memory) in enumerate([(1, None), (1, None), (2, None), (3, 1)]):
        paths = tuple(str(tmp_path / f"{i}{suffix}") for suffix in (".csv", ".npz", ".json"))
        result = infer(planted_fit, planted_source, tmp_path / f"{i}.h5", workers=workers, memory=memory, exports=paths)
        digests.add(read(result.path)["digest"])
        exports.add(tuple(Path(path).read_bytes() for path in paths))
    assert len(digests) == len(exports) == 1


def test_new_text_becomes_words_as_the_model_s_own_text_did(tmp_path: Path) -> None:
    """Numbers and capitals were kept when the model was made: so they are now."""
    lines = "".join(f"{year} {a} {b} abcd\n" for year in ("1984", "2001") for a in ("orwell", "kubrick")
                    for b in ("monolith", "thoughtcrime", "newspeak"))  # fmt: skip
    (tmp_path / "old.txt").write_text(lines * 4)
    tokens = TokenConfig(numbers="keep", min_length=4, lowercase=False)
    config = IngestConfig(SourceConfig(), tokens, VocabularyConfig("none", min_df=1, max_df=1.0))
    fit = fit_topics(str(tmp_path / "old.txt"), tmp_path / "m.h5", ingest=config, topics=TopicsConfig(2))
    (tmp_path / "new.txt").write_text("1984 Orwell Orwell orwell abcd abcd\n")
    assert infer(fit, str(tmp_path / "new.txt"), tmp_path / "x.h5").words == 4  # Orwell is another word


TEXTS = ["the surgeon examined a chronic symptom\n", "quux zyzzy\n", "a boat, a sail and the blorb captain\n"]


def write(folder: Path, *texts: str) -> str:
    folder.mkdir(exist_ok=True)
    for i, text in enumerate(texts):
        (folder / f"{i}.txt").write_text(text)
    return str(folder)


def test_new_documents(sample_fit: TopicsResult, tmp_path: Path) -> None:
    result = infer(sample_fit, write(tmp_path / "new", *TEXTS), tmp_path / "x.h5")
    found = read(result.path)
    places = {Path(name).stem: i for i, name in enumerate(found["documents/id"])}
    words = [{word for word, _ in row} for row in sample_fit.top_words(15)]
    for name, word in (("0", "hospital"), ("2", "sailor")):
        (topic,) = (t for t, row in enumerate(words) if word in row)
        shares = found["documents/topic"][places[name]]
        assert shares.argmax() == topic
        assert shares[topic] > 0.7
    assert found["documents/length"][places["0"]] == 4
    assert result.ledger.counters["out-of-vocabulary tokens"] >= 3
    assert result.ledger.rows_in == 3
    json.dumps(result.as_dict(), allow_nan=False)


def test_a_document_s_answer_depends_on_it_alone(sample_fit: TopicsResult, tmp_path: Path) -> None:
    alone = read(infer(sample_fit, write(tmp_path / "one", TEXTS[0]), tmp_path / "1.h5").path)
    among = read(infer(sample_fit, write(tmp_path / "many", *TEXTS), tmp_path / "2.h5").path)
    np.testing.assert_array_equal(alone["documents/topic"][0], among["documents/topic"][0])


def everything() -> IngestConfig:
    """All words of a text, in an order of their own."""
    return IngestConfig(SourceConfig(), TokenConfig(), VocabularyConfig("none", min_df=1, max_df=1.0))


def test_an_ingested_corpus_is_seen_through_the_model_s_words(
    sample_fit: TopicsResult, sample_corpus: str, tmp_path: Path
) -> None:
    corpus = ingest(sample_corpus, tmp_path / "all.h5", everything(), workers=1)
    assert corpus.n_terms > len(sample_fit.vocabulary)
    result = infer(sample_fit, str(tmp_path / "all.h5"), tmp_path / "x.h5")
    direct = infer(sample_fit, sample_corpus, tmp_path / "y.h5")
    found, expected = read(result.path), read(direct.path)
    for name in ("documents/id", "documents/topic", "documents/length"):
        np.testing.assert_array_equal(found[name], expected[name])
    assert result.words == direct.words
    unknown = "out-of-vocabulary tokens"
    assert result.ledger.counters.get(unknown) == direct.ledger.counters[unknown] > 10_000


def test_what_is_no_model_is_refused(sample_fit: TopicsResult, sample_corpus: str, tmp_path: Path) -> None:
    ingest(sample_corpus, tmp_path / "corpus.h5", IngestConfig(), workers=1)
    with pytest.raises(InputError):
        infer_documents(tmp_path / "corpus.h5", sample_corpus, tmp_path / "x.h5", source=SourceConfig())
    with pytest.raises(InputError):
        infer_documents(tmp_path / "missing.h5", sample_corpus, tmp_path / "x.h5", source=SourceConfig())
    assert not (tmp_path / "x.h5").exists()


def test_outputs_are_checked_first(sample_fit: TopicsResult, tmp_path: Path) -> None:
    (tmp_path / "x.h5").write_text("mine")
    with pytest.raises(UsageError):
        infer(sample_fit, "nowhere", tmp_path / "x.h5")
    with pytest.raises(UsageError):
        infer(sample_fit, "nowhere", tmp_path / "y.h5", exports=(str(tmp_path / "y.doc"),))
    assert (tmp_path / "x.h5").read_text() == "mine"
