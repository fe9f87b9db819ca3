"""Whatever the user points at becomes a corpus, and scratch files go."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tdtool.config import IngestConfig
from tdtool.data.ingest import ingest
from tdtool.run.corpora import corpus_of, is_store


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_text_is_ingested_into_scratch(sample_corpus: str, scratch: Path) -> None:
    with corpus_of(sample_corpus, IngestConfig(), workers=2) as corpus:
        assert corpus.n_documents == 300
        assert corpus.path is not None
        assert scratch in corpus.path.parents
    assert list(scratch.iterdir()) == []


def test_scratch_goes_when_work_fails(sample_corpus: str, scratch: Path) -> None:
    def work() -> None:
        with corpus_of(sample_corpus, IngestConfig(), workers=1):
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        work()
    assert list(scratch.iterdir()) == []


def test_a_store_is_opened_where_it_is(sample_corpus: str, tmp_path: Path, scratch: Path) -> None:
    path = tmp_path / "corpus.h5"
    stored = ingest(sample_corpus, path, IngestConfig(), workers=1)
    with corpus_of(str(path), IngestConfig(), workers=1) as corpus:
        assert corpus.path == path
        assert corpus.vocabulary == stored.vocabulary
        assert list(scratch.iterdir()) == []
    words = stored.vocabulary[5:2:-1]
    for source in (str(path), sample_corpus):
        with corpus_of(source, IngestConfig(), workers=1, vocabulary=words) as corpus:
            assert corpus.vocabulary == words
            assert corpus.n_terms == 3
    assert path.exists()


def test_is_store(sample_corpus: str, tmp_path: Path) -> None:
    ingest(sample_corpus, tmp_path / "corpus.h5", IngestConfig(), workers=1)
    (tmp_path / "text").write_text("HDF")
    (tmp_path / "empty").touch()
    found = {name: is_store(str(tmp_path / name)) for name in ("corpus.h5", "text", "empty", "missing")}
    assert found == {"corpus.h5": True, "text": False, "empty": False, "missing": False}
    assert not is_store("-")
    assert not is_store(str(tmp_path))
