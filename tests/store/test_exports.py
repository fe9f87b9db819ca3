"""Exports say what the file says, in every format, and are safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdtool.errors import InputError, UsageError
from tdtool.kernels.ranking import largest
from tdtool.store.exports import check_export, export_all, export_documents, export_topics, is_documents
from tests.store.samples import (
    IDS,
    N_TERMS,
    N_TOPICS,
    TERMS,
    names,
    topics_content,
    write_corpus,
    write_documents,
    write_topics,
)

SUFFIXES = ("csv", "tsv", "json", "parquet", "npz")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every export of one model: x.SUFFIX and x.documents.SUFFIX."""
    folder = tmp_path_factory.mktemp("exports")
    write_topics(folder / "m.h5")
    export_all(folder / "m.h5", [folder / f"x{kind}.{suffix}" for suffix in SUFFIXES for kind in ("", ".documents")])
    return folder


def _expected_words() -> list[tuple[int, int, str, float]]:
    """Straight from the definition: the 20 most probable terms of each topic."""
    rows = []
    for topic, row in enumerate(topics_content()["topics/topic_word"].tolist()):
        order = sorted(range(N_TERMS), key=lambda term: (-row[term], term))[:20]
        rows += [(topic, rank, TERMS[term], row[term]) for rank, term in enumerate(order, 1)]
    return rows


def _table(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file, delimiter="\t" if path.suffix == ".tsv" else ","))


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_topics_as_a_table(exported: Path, suffix: str) -> None:
    header, *rows = _table(exported / f"x.{suffix}")
    assert header == ["topic", "rank", "term", "probability"]
    expected = [(topic, rank, {"=cmd()": "'=cmd()"}.get(term, term), p) for topic, rank, term, p in _expected_words()]
    assert [(int(topic), int(rank), term) for topic, rank, term, _ in rows] == [row[:3] for row in expected]
    assert [np.float32(row[3]) for row in rows] == [np.float32(row[3]) for row in expected]


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_documents_as_a_table(exported: Path, suffix: str) -> None:
    header, *rows = _table(exported / f"x.documents.{suffix}")
    assert header == ["id", "topic_0", "topic_1", "topic_2"]
    assert [row[0] for row in rows] == ["'=1+1", "-5", "a,b", 'c"d', "e\nf", "'@home", "plain"]
    np.testing.assert_array_equal(np.array([row[1:] for row in rows], np.float32), topics_content()["documents/topic"])


def test_parquet_and_npz_keep_texts_and_bits(exported: Path) -> None:
    words = pq.read_table(exported / "x.parquet").to_pydict()
    assert list(zip(*words.values(), strict=True)) == _expected_words()
    documents = pq.read_table(exported / "x.documents.parquet").to_pydict()
    assert documents.pop("id") == IDS
    content = topics_content()
    np.testing.assert_array_equal(np.array(list(documents.values()), np.float32).T, content["documents/topic"])
    with np.load(exported / "x.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["topic_word"], content["topics/topic_word"], strict=True)
        np.testing.assert_array_equal(arrays["npmi"], content["topics/npmi"], strict=True)
        assert arrays["term"].tolist() == TERMS
    with np.load(exported / "x.documents.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["topic"], content["documents/topic"], strict=True)
        assert arrays["id"].tolist() == IDS


def test_json_holds_topics_and_scores(exported: Path) -> None:
    whole = json.loads((exported / "x.json").read_text(encoding="utf-8"))
    assert whole["scores"]["perplexity"] == 80.25
    assert [topic["topic"] for topic in whole["topics"]] == [0, 1, 2]
    assert [topic["alpha"] for topic in whole["topics"]] == topics_content()["topics/alpha"].tolist()
    words = [(topic["topic"], word["term"]) for topic in whole["topics"] for word in topic["words"]]
    assert words == [(row[0], row[2]) for row in _expected_words()]
    documents = json.loads((exported / "x.documents.json").read_text(encoding="utf-8"))["documents"]
    assert [document["id"] for document in documents] == IDS
    np.testing.assert_array_equal(
        np.array([document["topics"] for document in documents], np.float32), topics_content()["documents/topic"]
    )


def test_bytes_are_the_same_every_time(exported: Path, tmp_path: Path) -> None:
    """Another process, another file of the same content with another history."""
    write_topics(tmp_path / "other.h5")
    code = "import sys; from pathlib import Path; from tdtool.store.exports import export_all; "
    code += "export_all(Path(sys.argv[1]), sys.argv[2:])"
    paths = [tmp_path / path.name for path in exported.glob("x.*")]
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "other.h5"), *map(str, paths)], check=True)
    assert len(paths) == 10
    for path in paths:
        assert path.read_bytes() == (exported / path.name).read_bytes(), path.name


def test_arrays_in_memory_give_the_same_bytes(exported: Path, tmp_path: Path) -> None:
    content = topics_content()
    for suffix in SUFFIXES:
        export_documents(tmp_path / f"x.documents.{suffix}", content["documents/id"], content["documents/topic"])
    export_topics(tmp_path / "x.csv", content["topics/topic_word"], content["vocabulary/term"])
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (exported / path.name).read_bytes(), path.name


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("=1", "'=1"),
        ("+cmd|x", "'+cmd|x"),
        ("-2+3", "'-2+3"),
        ("@sum", "'@sum"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("-5", "-5"),
        ("+1.5e3", "+1.5e3"),
        ("x=1", "x=1"),
        ("", ""),
        ("名前", "名前"),
        ("lone\udcffsurrogate", "lone\\udcffsurrogate"),
    ],
)
def test_cells_are_no_formulas(tmp_path: Path, text: str, written: str) -> None:
    for suffix in ("csv", "tsv"):
        path = tmp_path / f"x.documents.{suffix}"
        export_documents(path, [text], np.ones((1, 1), np.float32))
        assert _table(path)[1] == [written, "1"]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=5))
def test_no_cell_starts_a_formula(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("cells") / "x.documents.csv"
    export_documents(path, texts, np.zeros((len(texts), 2), np.float32))
    cells = [row[0] for row in _table(path)[1:]]
    assert [cell.removeprefix("'") for cell in cells] == [
        text.replace("\0", "\u2400").removeprefix("'") for text in texts
    ]
    for cell in cells:
        assert cell[:1] not in ("=", "@", "\t", "\r")
        assert cell[:1] not in ("+", "-") or math.isfinite(float(cell))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(0, 40))
def test_largest_are_those_of_a_full_sort(values: list[int], n_words: int) -> None:
    expected = sorted(range(len(values)), key=lambda i: (-values[i], i))[:n_words]
    assert largest(np.array(values, np.float32), n_words).tolist() == expected


def test_inferred_documents_are_always_documents(tmp_path: Path) -> None:
    write_documents(tmp_path / "d.h5")
    export_all(tmp_path / "d.h5", [tmp_path / "x.csv"])
    assert _table(tmp_path / "x.csv")[0] == ["id", "topic_0", "topic_1", "topic_2"]


def test_what_cannot_be_exported(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c.h5")
    with pytest.raises(InputError, match=r"a tdtool.corpus file"):
        export_all(corpus, [tmp_path / "x.csv"])
    with pytest.raises(UsageError, match=r"'.xlsx'.*\n.*\.parquet"):
        check_export(tmp_path / "x.xlsx", force=True)
    with pytest.raises(UsageError, match="--force"):
        check_export(corpus.rename(tmp_path / "c.csv"), force=False)
    assert names(tmp_path) == ["c.csv"]


def test_failure_leaves_the_old_export(tmp_path: Path) -> None:
    path = tmp_path / "x.documents.csv"
    export_documents(path, ["a"], np.ones((1, 1), np.float32))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="zip"):
        export_documents(tmp_path / "x.documents.json", ["a"], np.ones((2, 1), np.float32))
    with pytest.raises(UsageError, match="exists"):
        export_documents(path, ["b"], np.ones((1, 1), np.float32))
    assert path.read_bytes() == before
    assert names(tmp_path) == ["x.documents.csv"]


@pytest.mark.parametrize(
    ("name", "documents"),
    [("a.csv", False), ("a.documents.csv", True), ("documents.csv", False), ("b.topics.json", False)],
)
def test_name_tells_what_is_wanted(name: str, documents: bool) -> None:
    assert is_documents(Path("x") / name) is documents


def test_npz_refuses_names_of_absurd_width(tmp_path: Path) -> None:
    ids = ["x" * 1_000_000] + ["y"] * 999
    with pytest.raises(UsageError, match=r"too long for .npz.*\n.*parquet"):
        export_documents(tmp_path / "x.documents.npz", ids, np.zeros((1000, N_TOPICS), np.float32))


def test_documents_are_streamed(tmp_path: Path) -> None:
    """The table is many times the memory that writing it takes."""
    code = """
import sys
from pathlib import Path
import numpy as np, pyarrow.csv, pyarrow.parquet
from tdtool.store.export_formats import Rows
from tdtool.store import exports
class Endless(exports.Stored):
    def __init__(self, shape, dtype): self.shape, self.dtype = shape, dtype
    def rows(self, start, stop):
        if self.dtype is str:
            return [f"d{i}" for i in range(start, stop)]
        return np.full((stop - start, self.shape[1]), 0.125, "f4")
def peak(): return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
def write(n, name):
    matrix = Endless((n, 64), np.dtype("f4"))
    exports.export_documents(Path(sys.argv[1]) / name, Endless((n,), str), matrix)
write(40_000, "small.documents.csv")
before = peak()
write(800_000, "large.documents.csv")
write(800_000, "large.documents.npz")
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True)
    assert (tmp_path / "large.documents.csv").stat().st_size > 200_000_000
    assert int(done.stdout) < 60_000, "kilobytes more than for a twentieth of the table"
