"""Stores from strangers and from broken disks: whatever is wrong is found and named, and nothing outside is touched."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tdtool.data.corpus import Rows
from tdtool.data.corpus_parquet import ParquetCorpus, write_corpus_parquet, write_manifest
from tdtool.data.graph_parquet_store import ParquetGraph
from tdtool.data.parquet_manifest import new_store
from tdtool.data.parquet_parts import read_part, write_node_part, write_part
from tdtool.data.parquet_table import encoded
from tdtool.errors import InputError
from tests.data.parquet_samples import change_manifest, small_corpus, small_graph, words_of, write_corpus, write_graph


def read_all(place: Path) -> list[Any]:
    stored = ParquetCorpus.open(place)
    return [stored.part(index) for index in range(stored.n_partitions)]


def manifest(place: Path) -> dict[str, Any]:
    return dict(json.loads((place / "corpus.json").read_text()))


def parts(place: Path, index: int, **values: Any) -> list[dict[str, Any]]:
    """The partitions of a manifest, one of them changed."""
    found: list[dict[str, Any]] = manifest(place)["partitions"]
    found[index] |= values
    return found


MANIFESTS: dict[str, tuple[Callable[[Path], dict[str, Any]], str]] = {
    "file elsewhere": (lambda p: {"partitions": parts(p, 1, file="../../etc/passwd")}, "manifest is damaged"),
    "absolute file": (lambda p: {"partitions": parts(p, 1, file="/etc/passwd")}, "manifest is damaged"),
    "file of a URI": (lambda p: {"partitions": parts(p, 1, file="s3://b/part-00001-0.parquet")}, "manifest is damaged"),
    "words elsewhere": (lambda p: {"files": {"vocabulary": "../words.parquet"}}, "manifest is damaged"),
    "no words": (lambda p: {"files": {}}, "manifest is damaged"),
    "a part for words": (lambda p: {"files": {"vocabulary": parts(p, 0)[0]["file"]}}, "columns"),
    "words for a part": (lambda p: {"partitions": parts(p, 0, file=manifest(p)["files"]["vocabulary"])}, "follow"),
    "huge rows": (lambda p: {"partitions": parts(p, 2, n_rows=1 << 40)}, "says that it has"),
    "huge entries": (lambda p: {"partitions": parts(p, 2, n_entries=1 << 40)}, "says that it has"),
    "huge words": (lambda p: {"sizes": {"terms": 1 << 40}}, "says that it has"),
    "negative": (lambda p: {"partitions": parts(p, 2, n_rows=-1)}, "manifest is damaged"),
    "text for a number": (lambda p: {"partitions": parts(p, 2, n_rows="4")}, "manifest is damaged"),
    "true for a number": (lambda p: {"partitions": parts(p, 1, n_rows=True)}, "manifest is damaged"),
    "a gap": (lambda p: {"partitions": parts(p, 1, start=3)}, "does not follow"),
    "order": (lambda p: {"partitions": parts(p, 0)[::-1]}, "does not follow"),
    "no partitions": (lambda p: {"partitions": None}, "manifest is damaged"),
    "attributes": (lambda p: {"attributes": []}, "manifest is damaged"),
    "attribute name": (lambda p: {"attributes": {"a\0b": 1}}, "manifest is damaged"),
    "huge attribute": (lambda p: {"attributes": {"seed": 10**40}}, "manifest is damaged"),
    "no number": (lambda p: {"attributes": {"seed": float("nan")}}, "manifest is damaged"),
    "ledger": (lambda p: {"attributes": {"ledger": [1, 2]}}, "ledger in it is damaged"),
    "other schema": (lambda p: {"schema": "tdtool.graph"}, "another kind"),
    "unknown schema": (lambda p: {"schema": "parquet.corpus"}, "manifest is damaged"),
    "newer schema": (lambda p: {"schema_version": 99}, "newer tdtool"),
    "newer layout": (lambda p: {"layout_version": 2}, "newer tdtool"),
    "digest": (lambda p: {"partitions": parts(p, 1, digest="0" * 32)}, "digest"),
    "number for a digest": (lambda p: {"partitions": parts(p, 1, digest=0)}, "manifest is damaged"),
    "fewer rows": (lambda p: {"partitions": [*parts(p, 0)[:2], {**parts(p, 2)[2], "n_rows": 3}]}, "4 rows; 3 were"),
    "more entries": (lambda p: {"partitions": parts(p, 0, n_entries=9)}, "9 were written"),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_that_lies(tmp_path: Path, name: str) -> None:
    place = tmp_path / "c.parquet"
    write_corpus(place)
    change, what = MANIFESTS[name]
    change_manifest(place, **change(place))
    with pytest.raises(InputError, match=what) as caught:
        read_all(place)
    assert str(place) in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"schema": "tdtool.corpus"}', "\xff"])
def test_a_manifest_that_is_none(tmp_path: Path, text: str) -> None:
    write_corpus(tmp_path / "c.parquet")
    (tmp_path / "c.parquet" / "corpus.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match="manifest is damaged"):
        ParquetCorpus.open(tmp_path / "c.parquet")


def test_every_bit_counts(tmp_path: Path) -> None:
    """A file of which one byte is another never gives other documents."""
    place = tmp_path / "c.parquet"
    stored = write_corpus(place)
    good = [repr(part) for part in read_all(place)]
    file = place / stored.parts[2].file
    whole = file.read_bytes()
    unseen = 0
    for at in range(0, len(whole), 7):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << (at % 8))]) + whole[at + 1 :])
        with contextlib.suppress(InputError):
            assert [repr(part) for part in read_all(place)] == good
            unseen += 1
    assert unseen < len(whole) // 14, "bits that nobody reads"


@pytest.mark.parametrize("size", [0, 1, 8, 100, -1, -8])
def test_cut_short(tmp_path: Path, size: int) -> None:
    stored = write_corpus(tmp_path / "c.parquet")
    file = tmp_path / "c.parquet" / stored.parts[1].file
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(InputError, match="Parquet file is damaged") as caught:
        stored.part(1)
    assert file.name in str(caught.value)


def test_missing(tmp_path: Path) -> None:
    stored = write_corpus(tmp_path / "c.parquet")
    for part in stored.parts[1:]:
        (tmp_path / "c.parquet" / part.file).unlink()
    with pytest.raises(InputError, match=r"missing \(and 1 more\)"):
        ParquetCorpus.open(stored.place)
    with pytest.raises(InputError, match="missing"):
        ParquetCorpus.open(stored.place, check=False).part(1)
    (tmp_path / "c.parquet" / "corpus.json").unlink()
    with pytest.raises(InputError, match="incomplete"):
        ParquetCorpus.open(stored.place)
    for place in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(InputError, match="no store"):
            ParquetCorpus.open(place)


def test_parts_of_another_store_are_not_taken(tmp_path: Path) -> None:
    stored = write_corpus(tmp_path / "c.parquet")
    rows, ids = stored.part(1)
    foreign = write_part(str(tmp_path), 1, dataclasses.replace(rows, counts=rows.counts * 2), ids)
    (tmp_path / foreign.file).replace(tmp_path / "c.parquet" / stored.parts[1].file)
    with pytest.raises(InputError, match="digest"):
        stored.part(1)


def rows_of(indptr: list[int], indices: list[int], counts: list[int]) -> Rows:
    return Rows(0, 0, np.array(indptr, np.int64), np.array(indices, np.int32), np.array(counts, np.int32))


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        (rows_of([0, 2, 3], [0, 5, 1], [1, 1, 1]), "outside the 5"),
        (rows_of([0, 2, 3], [0, -1, 1], [1, 1, 1]), "outside the 5"),
        (rows_of([0, 2, 3], [3, 3, 1], [1, 1, 1]), "do not ascend"),
        (rows_of([0, 2, 3], [3, 2, 1], [1, 1, 1]), "do not ascend"),
        (rows_of([0, 2, 3], [0, 4, 1], [1, 0, 1]), "below 1"),
        (rows_of([0, 2, 3], [0, 4, 1], [1, -7, 1]), "below 1"),
    ],
)
def test_values_are_looked_at_even_with_right_digests(tmp_path: Path, rows: Rows, what: str) -> None:
    facts = write_part(str(tmp_path), 0, rows, ["a", "b"])
    with pytest.raises(InputError, match=what):
        read_part(str(tmp_path), facts, 5)


TABLES: dict[str, tuple[dict[str, Any], str]] = {
    "other names": ({"name": ["a"], "terms": [[0]], "counts": [[1]]}, "columns"),
    "wider": ({"id": ["a"], "terms": pa.array([[0]], pa.list_(pa.int64())), "counts": [[1]]}, "columns"),
    "fewer": ({"id": ["a"], "terms": pa.array([[0]], pa.list_(pa.int32()))}, "columns"),
    "no list": ({"id": ["a"], "terms": [0], "counts": [1]}, "columns"),
    "null": ({"id": [None], "terms": [[0]], "counts": [[1]]}, "without values"),
    "null list": ({"id": ["a"], "terms": [None], "counts": [[1]]}, "without values"),
    "null inside": ({"id": ["a"], "terms": [[None]], "counts": [[1]]}, "1 were written"),
    "uneven": ({"id": ["a", "b"], "terms": [[0], []], "counts": [[], [1]]}, "without counts"),
}


@pytest.mark.parametrize("name", TABLES)
def test_other_tables(tmp_path: Path, name: str) -> None:
    columns, what = TABLES[name]
    n_rows = len(columns["terms"])
    rows = rows_of([0, 1, *[1] * (n_rows - 1)], [0], [1])
    facts = write_part(str(tmp_path), 0, rows, ["a", "b"][:n_rows])
    kinds = {"id": pa.string(), "name": pa.string()} | dict.fromkeys(("terms", "counts"), pa.list_(pa.int32()))
    if name == "no list":
        kinds |= dict.fromkeys(("terms", "counts"), pa.int32())
    arrays = {key: v if isinstance(v, pa.Array) else pa.array(v, kinds[key]) for key, v in columns.items()}
    pq.write_table(pa.table(arrays), tmp_path / facts.file, use_dictionary=False)
    with pytest.raises(InputError, match=what):
        read_part(str(tmp_path), facts, 5)


def test_names_that_would_fill_the_memory(tmp_path: Path) -> None:
    """A long name that is stored once and meant a hundred thousand times."""
    n_rows = 100_000
    empty = Rows(0, 0, np.zeros(n_rows + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int32))
    facts = write_part(str(tmp_path), 0, empty, ["x"] * n_rows)
    lists = pa.array([[]] * n_rows, pa.list_(pa.int32()))
    ids = pa.DictionaryArray.from_arrays(np.zeros(n_rows, np.int32), ["x" * 10_000])
    table = pa.table({"id": ids, "terms": lists, "counts": lists})
    pq.write_table(table, tmp_path / facts.file, compression="zstd", store_schema=False)
    assert (tmp_path / facts.file).stat().st_size < 100_000
    with pytest.raises(InputError, match="too small"):
        read_part(str(tmp_path), facts, 5)


def test_sizes_are_looked_at_before_the_file(tmp_path: Path) -> None:
    facts = write_part(str(tmp_path), 0, rows_of([0, 2], [0, 4], [1, 1]), ["a"])
    (tmp_path / facts.file).unlink()
    for change in ({"n_entries": 1 << 40}, {"n_rows": 1 << 40}, {"file": "../x"}):
        with pytest.raises(InputError, match="says that it has"):
            read_part(str(tmp_path), dataclasses.replace(facts, **change), 5)


def test_damaged_words(tmp_path: Path) -> None:
    place = tmp_path / "c.parquet"
    write_corpus(place)
    file = next(place.glob("vocabulary-*"))
    table = pq.read_table(file)
    changed = table.set_column(2, "count", pa.array([9, 9, 9, 9, 9], pa.int64()))
    file.write_bytes(encoded(table.schema, changed.columns))
    with pytest.raises(InputError, match="digest") as caught:
        ParquetCorpus.open(place)
    assert file.name in str(caught.value)


def test_no_manifest_is_written_over_damaged_parts(tmp_path: Path) -> None:
    place = tmp_path / "c.parquet"
    stored = write_corpus(place)
    (place / "corpus.json").unlink()
    file = place / stored.parts[0].file
    file.write_bytes(file.read_bytes()[:-20])
    words = stored.words
    with pytest.raises(InputError, match="damaged"):
        write_manifest(str(place), stored.parts, words.terms, words.document_frequency, words.count, stored.attributes)
    assert not (place / "corpus.json").exists()


def test_a_store_of_the_other_kind(tmp_path: Path) -> None:
    write_graph(tmp_path / "g.parquet", small_graph())
    with pytest.raises(InputError, match=r"a tdtool.graph store, where tdtool.corpus is wanted"):
        ParquetCorpus.open(tmp_path / "g.parquet")
    write_corpus(tmp_path / "g.parquet")
    with pytest.raises(InputError, match=r"a tdtool.corpus store, where tdtool.graph is wanted"):
        ParquetGraph.open(tmp_path / "g.parquet")


def test_graphs_that_lie(tmp_path: Path) -> None:
    place = tmp_path / "g.parquet"
    stored = write_graph(place, small_graph())
    rows = stored.part(0)
    for weights, what in ((-rows.weights, "above 0"), (rows.weights * np.float32("inf"), "above 0")):  # type: ignore[operator]
        facts = write_node_part(str(place), dataclasses.replace(rows, weights=weights))
        with pytest.raises(InputError, match=what):
            dataclasses.replace(stored, parts=(facts,)).part(0)
    facts = write_node_part(str(place), dataclasses.replace(rows, neighbours=rows.neighbours + 2))
    with pytest.raises(InputError, match="outside the 7"):
        dataclasses.replace(stored, parts=(facts,)).part(0)
    with pytest.raises(InputError, match="columns"):
        dataclasses.replace(stored, weighted=False).part(0)
    change_manifest(place, "graph.json", sizes={"nodes": 7, "weights": 1, "sides": 1})
    with pytest.raises(InputError, match="columns"):
        ParquetGraph.open(place)


@pytest.mark.parametrize(("values", "what"), [({"counts": 1 << 33}, "too large"), ({"indices": -1}, "do not ascend")])
def test_a_corpus_of_a_stranger(tmp_path: Path, values: dict[str, int], what: str) -> None:
    """What lists of 32 bits cannot hold, and terms in descending order, are refused on the way in."""
    corpus = small_corpus()
    arrays = {name: getattr(corpus, name).astype(np.int64) * factor for name, factor in values.items()}
    if "indices" in arrays:
        arrays["indices"] += corpus.n_terms - 1
    with pytest.raises(InputError, match=what), new_store(str(tmp_path / "c.parquet")):
        write_corpus_parquet(
            dataclasses.replace(corpus, **arrays), str(tmp_path / "c.parquet"), words_of(corpus), {"ledger": {}}
        )
    assert list(tmp_path.iterdir()) == []
