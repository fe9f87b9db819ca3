"""Every way counts come in: round trips through each format and compression, vocabularies, headers that lie."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from scipy import sparse

from tdtool.data.ledger import Ledger
from tdtool.errors import InputError
from tests.data.source_reading import COMPRESSIONS, counts, open_counts, refused

SHARED = Path(__file__).parents[3] / "shared" / "data" / "text"
TERMS = ["apple", "pear", "plum", "öl"]
#: Five documents, the third empty.
TABLE = sparse.csr_matrix(np.array([[2, 0, 1, 0], [0, 1, 0, 3], [0, 0, 0, 0], [0, 0, 5, 0], [7, 1, 1, 1]]))
EXPECTED = [{0: 2, 2: 1}, {1: 1, 3: 3}, {2: 5}, {0: 7, 1: 1, 2: 1, 3: 1}]


def _uci(table: sparse.csr_matrix) -> bytes:
    entries = table.tocoo()
    rows = zip(entries.row + 1, entries.col + 1, entries.data, strict=True)
    header = f"{table.shape[0]}\n{table.shape[1]}\n{table.nnz}\n"
    return (header + "".join(f"{row} {column} {value}\n" for row, column, value in rows)).encode()


def _matrix_market(table: object, **settings: object) -> bytes:
    out = io.BytesIO()
    scipy.io.mmwrite(out, table, **settings)
    return out.getvalue()


def _pairs(first: object, base: int) -> bytes:
    lines = []
    for i in range(TABLE.shape[0]):
        row = TABLE[i]
        pairs = "".join(f" {term + base}:{value}" for term, value in zip(row.indices, row.data, strict=True))
        lines.append(f"{row.nnz if first is None else first}{pairs}\n")
    return "".join(lines).encode()


def _npz(table: object, **settings: object) -> bytes:
    out = io.BytesIO()
    sparse.save_npz(out, table, **settings)
    return out.getvalue()


FORMATS = {
    "docword.x.txt": ("uci", _uci(TABLE)),
    "x.mtx": ("matrix-market", _matrix_market(TABLE)),
    "x.dat": ("lda-c", _pairs(None, 0)),
    "x.svmlight": ("svmlight", _pairs("-1", 1)),
    "x.npz": ("npz", _npz(TABLE)),
}


@pytest.mark.parametrize("suffix", COMPRESSIONS)
@pytest.mark.parametrize("name", FORMATS)
def test_each_format(tmp_path: Path, name: str, suffix: str) -> None:
    kind, content = FORMATS[name]
    path = tmp_path / (name + suffix)
    path.write_bytes(COMPRESSIONS[suffix](content))
    (tmp_path / "vocab.x.txt").write_text("\n".join(TERMS) + "\n", encoding="utf-8")
    source, ledger, told = open_counts(path), Ledger(), []
    assert (source.format, source.kind, source.vocabulary, source.n_terms) == (kind, "counts", TERMS, 4)
    found = counts(source, ledger)
    assert [name for name, _, _ in found] == ["1", "2", "4", "5"]
    assert [values for _, values, _ in found] == EXPECTED
    assert (ledger.rows_in, ledger.rows_used, ledger.skips["empty document"].count) == (5, 4, 1)
    assert "vocabulary of vocab.x.txt" in source.description
    list(source.batches(Ledger(), told.append))
    assert sum(told) == path.stat().st_size == source.size


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "docword.x.txt").write_bytes(FORMATS["docword.x.txt"][1])
    (tmp_path / "x.dat").write_bytes(b"1 0:1\n\n2 0:1 1:1\n")
    assert [line for _, _, line in counts(open_counts(tmp_path / "docword.x.txt"))] == [4, 6, 8, 9]
    assert [(name, line) for name, _, line in counts(open_counts(tmp_path / "x.dat"))] == [("1", 1), ("3", 3)]


@pytest.mark.parametrize(
    "table",
    [
        TABLE.astype(float),
        TABLE.tocoo(),
        TABLE.tocsc(),
        sparse.csc_array(TABLE),
        sparse.csr_array(TABLE.astype(np.uint8)),
    ],
)
def test_npz_kinds(tmp_path: Path, table: object) -> None:
    for compressed in (False, True):
        (tmp_path / "x.npz").write_bytes(_npz(table, compressed=compressed))
        assert [values for _, values, _ in counts(open_counts(tmp_path / "x.npz"))] == EXPECTED


@pytest.mark.parametrize("field", ["integer", "real"])
@pytest.mark.parametrize("order", ["rows", "columns"])
def test_matrix_market_kinds(tmp_path: Path, field: str, order: str) -> None:
    path, entries = tmp_path / "x.mtx", TABLE.tocoo() if order == "rows" else TABLE.tocsc().tocoo()
    style = "%d" if field == "integer" else "%.15e"
    rows = [f"{r + 1}\t{c + 1} {style % v}\r\n" for r, c, v in zip(entries.row, entries.col, entries.data, strict=True)]
    head = f"%%MatrixMarket matrix coordinate {field} general\n% a comment\n\n5 4 {len(rows)}\n"
    path.write_text(head + "".join(rows))
    assert [values for _, values, _ in counts(open_counts(path))] == EXPECTED


def test_matrix_market_pattern_counts_ones(tmp_path: Path) -> None:
    path = tmp_path / "x.mtx"
    path.write_bytes(_matrix_market(TABLE, field="pattern"))
    assert [values for _, values, _ in counts(open_counts(path))] == [dict.fromkeys(row, 1) for row in EXPECTED]


def test_matrix_market_out_of_order_over_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdtool.data.readers.counts_batches._BLOCK", 32)
    monkeypatch.setattr("tdtool.data.readers.counts_triples._BLOCK_ENTRIES", 3)
    path = tmp_path / "x.mtx"
    path.write_bytes(_matrix_market(TABLE.tocsc()[:, ::-1].tocoo()))
    ledger = Ledger()
    reversed_terms = [{3 - term: value for term, value in row.items()} for row in EXPECTED]
    assert [values for _, values, _ in counts(open_counts(path), ledger)] == reversed_terms
    assert (ledger.rows_in, ledger.rows_used) == (5, 4)


@pytest.mark.parametrize("block", [8, 16, 23, 64])
@pytest.mark.parametrize("name", ["docword.x.txt", "x.mtx", "x.dat", "x.svmlight"])
def test_blocks_join_where_documents_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, block: int
) -> None:
    monkeypatch.setattr("tdtool.data.readers.counts_batches._BLOCK", block)
    path, ledger = tmp_path / name, Ledger()
    path.write_bytes(FORMATS[name][1].rstrip(b"\n"))
    found = counts(open_counts(path), ledger)
    assert [values for _, values, _ in found] == EXPECTED
    assert [name for name, _, _ in found] == ["1", "2", "4", "5"]
    assert (ledger.rows_in, ledger.rows_used) == (5, 4)


def test_npz_in_several_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdtool.data.readers.counts_npz._BATCH_ENTRIES", 3)
    (tmp_path / "x.npz").write_bytes(_npz(TABLE))
    source = open_counts(tmp_path / "x.npz")
    assert [name for name, _, _ in counts(source)] == ["1", "2", "4", "5"]
    assert [values for _, values, _ in counts(source)] == EXPECTED
    assert len(list(source.batches(Ledger()))) > 1


def test_entries_are_sorted_and_merged_and_zeros_left_out(tmp_path: Path) -> None:
    path = tmp_path / "docword.x.txt"
    path.write_bytes(b"2\n4\n6\n1 3 1\n1 1 2\n1 3 4\n1 2 0\n2 4 0\n2 1 1\n")
    assert [values for _, values, _ in counts(open_counts(path))] == [{0: 2, 2: 5}, {0: 1}]


def test_svmlight_from_zero_comments_and_labels(tmp_path: Path) -> None:
    path = tmp_path / "x.svm"
    path.write_bytes(b"# a file\n1,2 qid:7 0:2 2:1.0 # first\n-0.5 1:1 3:3\n3\n+1 2:5e0\n")
    ledger = Ledger()
    assert [(name, values) for name, values, _ in counts(open_counts(path), ledger)] == [
        ("2", EXPECTED[0]),
        ("3", EXPECTED[1]),
        ("5", EXPECTED[2]),
    ]
    assert (ledger.rows_in, ledger.rows_used) == (4, 3)


def test_vocabulary_given_and_beside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "x.dat"
    path.write_bytes(FORMATS["x.dat"][1])
    source = open_counts(path)
    assert source.vocabulary == ["term1", "term2", "term3", "term4"]
    assert "no vocabulary" in source.description
    assert "--vocabulary" in caplog.text
    (tmp_path / "vocab.txt").write_text("too\nfew\n")
    assert open_counts(path).vocabulary[0] == "term1"
    (tmp_path / "vocab.txt").write_bytes(b"\xef\xbb\xbfa\r\nb\r\nc\r\nd\r\ne\r\n\r\n")
    assert open_counts(path).vocabulary == ["a", "b", "c", "d", "e"]
    (tmp_path / "mine").write_text("p\nq\nr\ns\n")
    assert open_counts(path, vocabulary=str(tmp_path / "mine")).vocabulary == ["p", "q", "r", "s"]


@pytest.mark.parametrize(
    ("content", "what", "line"),
    [
        (b"a\nb\nc\n", "the vocabulary has 3 terms, the data 4", None),
        (b"a\nb\na\nd\n", "the term 'a' is there twice, first in line 1", 3),
        (b"a\n\nc\nd\n", "a term is empty", 2),
        (b"a\nb\n\xff\nd\n", "the vocabulary is not UTF-8", 3),
        (b"\n\n", "the vocabulary is empty", None),
    ],
)
def test_vocabulary_refused(tmp_path: Path, content: bytes, what: str, line: int | None) -> None:
    (tmp_path / "docword.x.txt").write_bytes(FORMATS["docword.x.txt"][1])
    (tmp_path / "vocab.x.txt").write_bytes(content)
    with pytest.raises(InputError, match=r"vocab\.x\.txt") as caught:
        open_counts(tmp_path / "docword.x.txt")
    assert (caught.value.what, caught.value.line) == (what, line)


def test_vocabulary_not_there(tmp_path: Path) -> None:
    (tmp_path / "x.dat").write_bytes(FORMATS["x.dat"][1])
    with pytest.raises(InputError, match="there is no such file"):
        open_counts(tmp_path / "x.dat", vocabulary=str(tmp_path / "missing"))


@pytest.mark.parametrize(
    ("content", "what", "line"),
    [
        (b"2\n3\n2\n1 1 1\n", "the header promises 2 entries and there are 1", 3),
        (b"2\n3\n1\n1 1 1\n2 1 1\n", "the header promises 1 entries and there are more", 5),
        (b"2\n3\n2\n1 1 1\n3 1 1\n", "document 3 is not between 1 and the 2 of the header", 5),
        (b"2\n3\n2\n1 4 1\n2 1 1\n", "term 4 is not between 1 and the 3 of the header", 4),
        (b"2\n3\n2\n1 0 1\n2 1 1\n", "term 0 is not between 1 and the 3 of the header", 4),
        (b"2\n3\n2\n1 1 1\n2 1 -1\n", "a count or number is negative", 5),
        (b"2\n3\n2\n1 1 1.5\n2 1 1\n", "a count is not a whole number", 4),
        (b"2\n3\n2\n1 1 99999999999\n2 1 1\n", "a number is larger than 2,147,483,647", 4),
        (b"2\n3\n2\n1 1 1\n2 one 1\n", "there is something that is not a number", 5),
        (b"2\n3\n2\n1 1 1\n2 1\n", "the line does not have the right number of fields", 5),
        (b"2\n3\n2\n1 1 1\n2 1 1 1\n", "the line does not have the right number of fields", 5),
        (b"2\n3\n2\n1 1 1\n\n2 1 1\n", "the line does not have the right number of fields", 5),
        (b"2\nthree\n2\n1 1 1\n", "the header should give the number of terms (W) and has 'three'", 2),
        (b"2\n3", "the header ends too early", 3),
        (
            b"20000000\n3\n2\n1 1 1\n2 1 1\n",
            "the header speaks of 20,000,000 documents, of which 19,999,998 have no entry",
            3,
        ),
        (b"2\n9999999999\n0\n", "the header promises more than 2,147,483,647 documents or terms", 1),
    ],
)
def test_uci_that_lies(tmp_path: Path, content: bytes, what: str, line: int) -> None:
    path = tmp_path / "docword.x.txt"
    path.write_bytes(content)
    error = refused(path)
    assert (error.what, error.line, error.path) == (what, line, str(path))


def test_uci_with_a_document_in_two_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdtool.data.readers.counts_batches._BLOCK", 16)
    path = tmp_path / "docword.x.txt"
    path.write_bytes(b"4\n1\n5\n1 1 1\n2 1 1\n3 1 1\n2 1 2\n4 1 1\n")
    error = refused(path)
    assert (error.what, error.line) == ("document 2 comes after document 3", 7)
    assert error.hint == "sort the entries by document"


@pytest.mark.parametrize(
    ("banner", "sizes", "what", "line"),
    [
        ("matrix array real general", "2 2", "array matrices cannot be used", 1),
        ("matrix coordinate complex general", "2 2 1", "complex matrices cannot be used", 1),
        ("matrix coordinate real symmetric", "2 2 1", "symmetric matrices cannot be used", 1),
        ("matrix coordinate", "2 2 1", "a Matrix Market file begins with", 1),
        ("matrix coordinate real general", "2 2", "this line should give rows, columns and entries", 2),
        ("matrix coordinate real general", "2 1 2", "term 2 is not between 1 and the 1 of the header", 4),
        ("matrix coordinate real general", "2 2 1", "the header promises 1 entries and there are more", 4),
        ("matrix coordinate real general", "% nothing", "this line should give rows, columns and entries", 3),
    ],
)
def test_matrix_market_refused(tmp_path: Path, banner: str, sizes: str, what: str, line: int) -> None:
    path = tmp_path / "x.mtx"
    path.write_text(
        f"%%MatrixMarket {banner}\n{sizes}\n1 1 1\n2 2 1\n".replace("% nothing\n1 1 1\n2 2 1", "% nothing\n1 1")
    )
    error = refused(path)
    assert error.what.startswith(what)
    assert error.line == line


def test_matrix_market_without_sizes(tmp_path: Path) -> None:
    path = tmp_path / "x.mtx"
    path.write_bytes(b"%%MatrixMarket matrix coordinate real general\n% comment\n")
    assert refused(path).what == "there is no line with the sizes of the matrix in the file"


@pytest.mark.parametrize(
    ("name", "content", "what", "line"),
    [
        ("x.ldac", b"1 0:1\n3 0:1 2:2\n", "the number at the start of the line is not the number of its entries", 2),
        ("x.ldac", b"1 0:1\n2 0:1 2:-2\n", "a count or number is negative", 2),
        ("x.ldac", b"1 0:1\n2 0:1 2:0.25\n", "a count is not a whole number", 2),
        ("x.ldac", b"1 0:1\n2 0:1 2\n", "an entry is not of the form word:count", 2),
        ("x.ldac", b"one 0:1\n", "there is something that is not a number", 1),
        ("x.ldac", b"0\n0\n", "there is no entry in it; all are empty documents", None),
        ("x.svm", b"1 1:1\n1 2:1 3:0.5\n", "a count is not a whole number", 2),
        ("x.svm", b"1 1:1\n\n1 2:1 3:x\n", "there is something that is not a number", 3),
    ],
)
def test_pairs_refused(tmp_path: Path, name: str, content: bytes, what: str, line: int | None) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    error = refused(path)
    assert (error.what, error.line) == (what, line)


@pytest.mark.parametrize("kind", ["lda-c", "svmlight"])
def test_pairs_through_a_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    vocabulary = tmp_path / "terms"
    vocabulary.write_text("a\nb\nc\n")

    def pipe(content: bytes) -> None:
        monkeypatch.setattr("sys.stdin", type("Standard", (), {"buffer": io.BufferedReader(io.BytesIO(content))}))

    content = b"1 2:4\n" if kind == "lda-c" else b"1 3:4\n"
    pipe(content)
    with pytest.raises(InputError, match="need a vocabulary"):
        open_counts("-", format=kind)
    pipe(content)
    assert counts(open_counts("-", format=kind, vocabulary=str(vocabulary))) == [("1", {2: 4}, 1)]
    pipe(b"1 2:4\n1 4:1\n")
    with pytest.raises(InputError, match="term 4 is not between") as caught:
        counts(open_counts("-", format=kind, vocabulary=str(vocabulary)))
    assert caught.value.line == 2


def _rewritten(**arrays: object) -> bytes:
    parts = {"format": b"csr", "shape": np.array(TABLE.shape), "data": TABLE.data}
    parts |= {"indptr": TABLE.indptr, "indices": TABLE.indices}
    out = io.BytesIO()
    kept = {name: value for name, value in {**parts, **arrays}.items() if value is not None}
    np.savez(out, **kept)  # type: ignore[arg-type]
    return out.getvalue()


@pytest.mark.parametrize(
    ("arrays", "what", "line"),
    [
        ({"format": b"dia"}, "it is of the kind 'dia'; csr, csc and coo can be read", None),
        ({"format": None}, "it is no scipy sparse matrix; csr, csc and coo can be read", None),
        ({"indices": None}, "it lacks the array indices", None),
        ({"shape": np.array([5, 3])}, "column 3 is not between 0 and 2", None),
        ({"shape": np.array([5])}, "its shape is (5,); documents x terms is needed", None),
        ({"indices": -TABLE.indices}, "column -2 is not between 0 and 3", None),
        ({"indices": TABLE.indices[:-1]}, "its array indptr does not fit its shape and indices", None),
        ({"indptr": TABLE.indptr[::-1]}, "its array indptr does not fit its shape and indices", None),
        ({"indptr": np.array([0, 4, 2, 4, 5, 9])}, "its array indptr does not fit its shape and indices", None),
        ({"indptr": TABLE.indptr.astype(float)}, "its array indptr does not hold whole numbers", None),
        ({"data": TABLE.data[:-1]}, "its arrays do not have the same length", None),
        ({"data": -TABLE.data}, "the value -2 is not a count", 1),
        ({"data": np.r_[TABLE.data[:4], TABLE.data[4:] / 2]}, "the value 2.5 is not a count", 4),
        ({"data": np.r_[TABLE.data[:-1], np.nan]}, "the value nan is not a count", 5),
        ({"data": TABLE.data.astype(complex)}, "its array data does not hold numbers", None),
        (
            {"data": TABLE.data.astype(object)},
            "data.npy in it is pickled, which is refused: reading it could run code",
            None,
        ),
    ],
)
def test_npz_refused(tmp_path: Path, arrays: dict[str, object], what: str, line: int | None) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(_rewritten(**arrays))
    error = refused(path)
    assert (error.what, error.line) == (what, line)


def test_npz_with_a_header_that_claims_a_terabyte(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"shape": (1 << 40,), "fortran_order": False, "descr": "<i8"})
    honest = io.BytesIO()
    np.lib.format.write_array_header_1_0(honest, {"shape": TABLE.data.shape, "fortran_order": False, "descr": "<i8"})
    content = io.BytesIO()
    import zipfile

    with zipfile.ZipFile(io.BytesIO(_rewritten())) as old, zipfile.ZipFile(content, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, header.getvalue() + data[len(honest.getvalue()) :] if name == "data.npy" else data)
    path.write_bytes(content.getvalue())
    assert refused(path).what == "data.npy in it does not have the size it claims"


@pytest.mark.parametrize("cut", [30, 200, 700])
def test_npz_truncated(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(_npz(TABLE)[:cut])
    assert "the .npz file is damaged or incomplete" in refused(path).what


@pytest.mark.shared_data
@pytest.mark.skipif(not SHARED.exists(), reason="the real corpora are not beside this checkout")
def test_real_ap_is_the_same_in_both_formats() -> None:
    blei, uci = open_counts(SHARED / "ap" / "ap.dat"), open_counts(SHARED / "ap" / "docword.ap.txt.gz")
    assert blei.format == "lda-c"
    assert blei.vocabulary == uci.vocabulary
    assert blei.n_terms == 10_473
    pairs = itertools.zip_longest(counts(blei), counts(uci))
    assert all(left[1] == right[1] for left, right in pairs)
