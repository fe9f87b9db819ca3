"""Stores of Parquet files at paths and URIs (S3 is a server of ours); the topics of documents as such a directory."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tdtool.data.corpus_parquet import ParquetCorpus, write_corpus_parquet
from tdtool.data.documents_parquet import ParquetDocuments, write_documents_manifest, write_documents_part
from tdtool.data.parquet_folder import list_names
from tdtool.data.parquet_manifest import new_store
from tdtool.data.readers import places
from tdtool.errors import InputError, ResourceError, UsageError
from tests.data.object_store import BUCKET, object_store
from tests.data.parquet_samples import IDS, small_corpus, small_graph, words_of, write_corpus, write_graph


@pytest.fixture(params=["path", "file", "s3a"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A store to be, in three ways of writing."""
    if request.param == "s3a":
        with object_store(monkeypatch):
            yield f"s3a://{BUCKET}/some/c.corpus.parquet"
    else:
        yield f"{'' if request.param == 'path' else 'file://'}{tmp_path}/c.corpus.parquet"


def test_a_store_anywhere(place: str, tmp_path: Path) -> None:
    stored = write_corpus(place)
    assert [name for _, names in ParquetCorpus.open(place + "/").id_blocks() for name in names] == IDS
    copy = stored.to_hdf5(tmp_path / "copy.h5")
    assert copy.attributes["content_digest"] == stored.attributes["content_digest"]
    with pytest.raises(UsageError, match="exists already"), new_store(place):
        raise AssertionError("the block must not run")
    with pytest.raises(RuntimeError, match="middle"), new_store(place, force=True):
        raise RuntimeError("in the middle")
    assert ParquetCorpus.open(place).parts == stored.parts
    graph = write_graph(place, small_graph())
    assert set(list_names(place)) == {"graph.json", graph.parts[0].file, *graph_files(place)}
    assert graph.to_hdf5(tmp_path / "g.h5").n_edges == 5
    places.remove(places.join(place, graph.parts[0].file))
    with pytest.raises(InputError, match="missing") as caught:
        graph.part(0)
    assert place in str(caught.value)


def graph_files(place: str) -> list[str]:
    return [name for name in list_names(place) if name.startswith("nodes-")]


def test_a_run_that_fails_leaves_nothing_anywhere(place: str) -> None:
    corpus = small_corpus()

    def fail() -> None:
        with new_store(place):
            write_corpus_parquet(corpus, place, words_of(corpus), {"ledger": object()})

    with pytest.raises(TypeError):
        fail()
    assert not places.exists(place)


@pytest.mark.parametrize("held_out", [None, np.array([0, 1, 0, 0, 1], np.uint8)])
def test_documents(place: str, held_out: Any, rng: np.random.Generator) -> None:
    topics = rng.dirichlet([0.3] * 3, 5).astype(np.float32)
    pieces = [slice(0, 2), slice(2, 2), slice(2, 5)]

    def write(index: int) -> Any:
        rows = pieces[index]
        out = None if held_out is None else held_out[rows]
        return write_documents_part(place, index, IDS[rows], topics[rows], out)

    with new_store(place):
        parts = [write(index) for index in (2, 0, 1)]
        assert write(0) == parts[1]
        write_documents_manifest(place, parts, 3, {"seed": 4}, held_out=held_out is not None)
    stored = ParquetDocuments.open(place)
    assert (stored.n_documents, stored.n_topics, stored.attributes["seed"]) == (5, 3, 4)
    assert [part.start for part in stored.parts] == [0, 2, 2]
    found = [stored.part(index) for index in range(3)]
    assert [name for ids, _, _ in found for name in ids] == IDS[:5]
    np.testing.assert_array_equal(np.concatenate([values for _, values, _ in found]), topics)
    if held_out is not None:
        assert np.concatenate([out for _, _, out in found if out is not None]).tolist() == held_out.tolist()


def test_documents_are_a_table_to_others(tmp_path: Path) -> None:
    place = str(tmp_path / "d.parquet")
    topics = np.array([[0.25, 0.75], [1, 0]], np.float32)
    with new_store(place):
        part = write_documents_part(place, 0, ["a", "b"], topics, np.array([0, 1]))
        with pytest.raises(UsageError, match="1 of 2 partitions"):
            write_documents_manifest(place, [part, write_elsewhere(tmp_path)], 2, {}, held_out=True)
        write_documents_manifest(place, [part], 2, {}, held_out=True)
    rows = pq.read_table(tmp_path / "d.parquet" / part.file).to_pylist()
    assert rows[0] == {"id": "a", "topic_0": 0.25, "topic_1": 0.75, "held_out": False}
    file = tmp_path / "d.parquet" / part.file
    file.write_bytes(file.read_bytes().replace(b"\x00\x00\x80?", b"\x00\x00\x00?"))
    with pytest.raises(InputError, match=r"digest|damaged"):
        ParquetDocuments.open(place).part(0)


def write_elsewhere(folder: Path) -> Any:
    return write_documents_part(str(folder), 1, ["c"], np.array([[0.5, 0.5]], np.float32), np.array([0]))


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match="disk is full"):
        write_corpus(tmp_path / "c.parquet")
    assert list(tmp_path.iterdir()) == []
