"""Corpora as directories of Parquet files: the same content as the HDF5 file, from any order of writing."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdtool.config import IngestConfig
from tdtool.data.corpus import Corpus, Rows
from tdtool.data.corpus_parquet import ParquetCorpus, Terms, write_corpus_parquet, write_manifest, write_part
from tdtool.data.corpus_writer import partition_digest
from tdtool.data.ingest import ingest
from tdtool.data.parquet_manifest import new_store
from tdtool.data.parquet_parts import read_part
from tdtool.data.planted import planted_stream, write_lines
from tdtool.errors import InputError, UsageError
from tdtool.store import hdf5
from tdtool.store.verify import verify
from tests.data.parquet_samples import ATTRIBUTES, COUNTS, IDS, STARTS, TERMS, small_corpus, words_of, write_corpus


def same_rows(one: Rows, other: Rows) -> bool:
    pairs = ((one.indptr, other.indptr), (one.indices, other.indices), (one.counts, other.counts))
    return one.index == other.index and one.start == other.start and all(np.array_equal(a, b) for a, b in pairs)


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> tuple[Corpus, Terms]:
    """2,500 documents in eight partitions, in an HDF5 file."""
    folder = tmp_path_factory.mktemp("ingested")
    with (folder / "docs.txt").open("wb") as file:
        write_lines(planted_stream(2500, 900, 5, mean_length=60.0, seed=3), file)
    corpus = ingest(str(folder / "docs.txt"), folder / "docs.h5", IngestConfig(), workers=1)
    with hdf5.open(folder / "docs.h5") as reader:
        numbers = (reader.get(f"vocabulary/{name}") for name in ("document_frequency", "count"))
        return corpus, Terms(corpus.vocabulary, *numbers)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    corpus, stored = small_corpus(), write_corpus(tmp_path / "c.corpus.parquet")
    assert (stored.n_documents, stored.n_terms, stored.n_entries, stored.n_partitions) == (7, 5, 13, 3)
    assert (stored.vocabulary, stored.starts.tolist()) == (TERMS, STARTS)
    for index in range(3):
        rows, ids = stored.part(index)
        assert same_rows(rows, corpus.rows(index))
        assert (rows.indptr.dtype, rows.indices.dtype, rows.counts.dtype) == (np.int64, np.int32, np.int32)
        assert ids == IDS[STARTS[index] : STARTS[index + 1]]
    assert [name for _, names in stored.id_blocks() for name in names] == IDS
    assert stored.attributes["config"] == ATTRIBUTES["config"]
    assert (stored.attributes["schema"], stored.ledger.rows_in) == ("tdtool.corpus", 7)


def test_content_partitions_and_digests_are_those_of_the_hdf5_file(
    ingested: tuple[Corpus, Terms], tmp_path: Path
) -> None:
    corpus, words = ingested
    place = str(tmp_path / "c.parquet")
    with new_store(place):
        digest = write_corpus_parquet(corpus, place, words, corpus.attributes)
    stored = ParquetCorpus.open(place)
    assert digest == stored.attributes["content_digest"] == corpus.attributes["content_digest"]
    assert np.array_equal(stored.starts, corpus.starts)
    assert stored.n_partitions > 5
    with hdf5.open(Path(str(corpus.path))) as reader:
        assert [part.digest for part in stored.parts] == reader.get("partitions/digest")
    back = stored.to_hdf5(tmp_path / "back.h5")
    assert verify(tmp_path / "back.h5") == []
    assert back.attributes["content_digest"] == digest
    assert back.attributes["config"] == corpus.attributes["config"]
    assert back.ledger == corpus.ledger


def test_parts_come_in_any_order_and_more_than_once(ingested: tuple[Corpus, Terms], tmp_path: Path) -> None:
    """As tasks write them: retried, twice at a time, and after a run that was cut short."""
    corpus, words = ingested
    place = str(tmp_path / "c.parquet")

    def write(index: int) -> object:
        first, last = corpus.starts[index : index + 2]
        return write_part(place, index, corpus.rows(index), corpus.names(int(first), int(last)))

    with new_store(place):
        parts = [write(index) for index in range(corpus.n_partitions)]
        before = {file.name: file.stat().st_mtime_ns for file in Path(place).iterdir()}
        assert [write(index) for index in reversed(range(corpus.n_partitions))] == parts[::-1]
        assert {file.name: file.stat().st_mtime_ns for file in Path(place).iterdir()} == before
        found = write_manifest(
            place,
            parts[::-1],
            words.terms,
            words.document_frequency,
            words.count,
            corpus.attributes,  # type: ignore[arg-type]
        )
    assert found == corpus.attributes["content_digest"]
    assert ParquetCorpus.open(place).parts == tuple(parts)


def test_a_damaged_part_is_written_again(tmp_path: Path) -> None:
    stored = write_corpus(tmp_path / "c.parquet")
    file = tmp_path / "c.parquet" / stored.parts[0].file
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    write_part(stored.place, 0, *small_part(0))
    assert file.read_bytes() == whole


def test_parts_that_another_machine_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = words_of(small_corpus())
    with new_store("c.parquet") as place:
        assert place == str(tmp_path / "c.parquet")
        parts = [write_part(place, 0, *small_part(0)), write_part(str(tmp_path), 1, *small_part(1))]
        with pytest.raises(UsageError, match="1 of 2 partitions"):
            write_manifest(place, parts, words.terms, words.document_frequency, words.count, {"ledger": {}})


def small_part(index: int) -> tuple[Rows, list[str]]:
    corpus = small_corpus()
    return corpus.rows(index), IDS[STARTS[index] : STARTS[index + 1]]


def test_the_name_of_a_part_says_what_is_in_it(tmp_path: Path) -> None:
    rows, ids = small_part(2)
    place = str(tmp_path)
    facts = write_part(place, 2, rows, ids)
    assert facts.digest == partition_digest(rows.indptr, rows.indices, rows.counts)
    assert facts.file.startswith("part-00002-")
    others = [
        write_part(place, 2, rows, [*ids[:-1], "other"]),
        write_part(place, 1, dataclasses.replace(rows, index=1), ids),
        write_part(place, 2, dataclasses.replace(rows, counts=rows.counts + 1), ids),
    ]
    assert len({part.file for part in [facts, *others]}) == 4
    assert [part.digest == facts.digest for part in others] == [True, True, False]


def test_other_programs_read_it(tmp_path: Path) -> None:
    stored = write_corpus(tmp_path / "c.parquet")
    files = [tmp_path / "c.parquet" / part.file for part in stored.parts]
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    assert [row["id"] for row in rows] == IDS
    dense = [[dict(zip(row["terms"], row["counts"], strict=True)).get(t, 0) for t in range(5)] for row in rows]
    assert dense == COUNTS


def test_tasks_take_it_along(tmp_path: Path) -> None:
    stored = pickle.loads(pickle.dumps(write_corpus(tmp_path / "c.parquet")))  # noqa: S301 -- our own
    assert same_rows(stored.rows(1), small_corpus().rows(1))


def test_nothing_is_left_of_a_run_that_fails(tmp_path: Path) -> None:
    place = tmp_path / "c.parquet"

    def fail(*, force: bool = False) -> None:
        with new_store(str(place), force=force):
            write_part(str(place), 0, *small_part(1 if force else 0))
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail()
    assert not place.exists()
    stored = write_corpus(place)
    before = {file.name: file.read_bytes() for file in place.iterdir()}
    with pytest.raises(UsageError, match="exists already"):
        fail()
    with pytest.raises(RuntimeError, match="in the middle"):
        fail(force=True)
    assert {file.name: file.read_bytes() for file in place.iterdir()} == before
    assert ParquetCorpus.open(place).parts == stored.parts


def test_force_replaces_a_store_at_once(tmp_path: Path) -> None:
    place = tmp_path / "c.parquet"
    old = write_corpus(place)
    corpus = dataclasses.replace(small_corpus(), starts=np.array([0, 7]))
    (place / "notes.txt").write_text("mine")
    with new_store(str(place), force=True):
        write_corpus_parquet(corpus, str(place), words_of(corpus), {"ledger": old.ledger.as_dict()})
        assert not any((place / part.file).exists() for part in old.parts)
    new = ParquetCorpus.open(place)
    assert new.n_partitions == 1
    names = {"corpus.json", "notes.txt", *(part.file for part in new.parts)}
    assert {file.name for file in place.iterdir() if not file.name.startswith("vocabulary-")} == names


def test_only_stores_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "letters.parquet").mkdir()
    (tmp_path / "letters.parquet" / "mum.txt").touch()
    (tmp_path / "file.parquet").touch()
    for name, what in (("letters.parquet", "no store"), ("file.parquet", "a file"), ("no/c.parquet", "no directory")):
        with pytest.raises(UsageError, match=what), new_store(str(tmp_path / name), force=True):
            raise AssertionError("the block must not run")
    assert (tmp_path / "letters.parquet" / "mum.txt").exists()


def test_what_a_killed_run_left_is_no_obstacle(tmp_path: Path) -> None:
    place = tmp_path / "c.parquet"
    place.mkdir()
    facts = write_part(str(place), 0, *small_part(0))
    write_part(str(place), 5, *small_part(1))
    (place / f"corpus.json.{'0' * 32}.part").write_text("{")
    with pytest.raises(InputError, match="incomplete"):
        ParquetCorpus.open(place)
    stored = write_corpus(place)
    assert stored.parts[0] == facts
    assert {file.name[:5] for file in place.iterdir()} == {"corpu", "part-", "vocab"}
    assert len(list(place.glob("part-*"))) == 3


def test_one_run_at_a_time(tmp_path: Path) -> None:
    first, second = (new_store(str(tmp_path / "c.parquet")) for _ in range(2))
    with first, pytest.raises(UsageError, match="another run"), second:
        raise AssertionError("the block must not run")


documents = st.lists(st.dictionaries(st.integers(0, 30), st.integers(1, 2**31 - 1), max_size=9), max_size=12)


@settings(max_examples=30)
@given(documents, st.data())
def test_any_partition_survives(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[int, int]], data: st.DataObject
) -> None:
    ids = [data.draw(st.text(max_size=5).filter(lambda text: "\0" not in text)) for _ in rows]
    terms = [sorted(row) for row in rows]
    indptr = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    indices = np.array([term for row in terms for term in row], np.int32)
    counts = np.array([row[term] for row, order in zip(rows, terms, strict=True) for term in order], np.int32)
    part = Rows(7, 3, indptr, indices, counts)
    place = str(tmp_path_factory.mktemp("part"))
    facts = write_part(place, 7, part, ids)
    back, names = read_part(place, facts, 31)
    assert same_rows(back, part)
    assert names == ids
