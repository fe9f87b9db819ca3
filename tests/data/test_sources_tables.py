"""CSV and TSV: quoting, headers, the choice of columns, ragged rows."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdtool.config import SourceConfig
from tdtool.data.ledger import Ledger
from tdtool.data.readers.table_columns import choose_columns, has_header
from tests.data.source_reading import COMPRESSIONS, documents, open_text, refused

SHARED = Path(__file__).parents[3] / "shared" / "data" / "text"
ROWS = [("k1", "x", 'He said "no", twice'), ("k2", "y", "over\ntwo lines"), ("k3", "x", "plain text here")]


def _csv(rows: list[tuple[str, ...]], **settings: object) -> bytes:
    out = io.StringIO()
    csv.writer(out, **settings).writerows(rows)  # type: ignore[arg-type]
    return out.getvalue().encode()


@pytest.mark.parametrize("suffix", COMPRESSIONS)
@pytest.mark.parametrize("delimiter", [",", ";", "|", "\t"])
def test_csv(tmp_path: Path, suffix: str, delimiter: str) -> None:
    path = tmp_path / f"docs.csv{suffix}"
    path.write_bytes(COMPRESSIONS[suffix](_csv([("key", "label", "text"), *ROWS], delimiter=delimiter)))
    source = open_text(path)
    assert documents(source) == [
        ("k1", b'He said "no", twice', 2),
        ("k2", b"over\ntwo lines", 3),
        ("k3", b"plain text here", 5),
    ]
    assert source.description == "CSV, text in column 3 (text) of 3, ids in column 1 (key)"
    assert not source.ids_given


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_tsv_with_raw_quotes_and_no_header(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"docs.tsv{suffix}"
    rows = [b'1\ta\t"Quoted" at the start', b'2\tb\tan " alone and \xff', b"3\ta\tthe third document"]
    path.write_bytes(COMPRESSIONS[suffix](b"\n".join(rows) + b"\n"))
    source = open_text(path)
    assert documents(source) == [
        ("1", b'"Quoted" at the start', 1),
        ("2", b'an " alone and \xff', 2),
        ("3", b"the third document", 3),
    ]
    assert source.description == "TSV, text in column 3 of 3, ids in column 1"


def test_tsv_that_is_properly_quoted(tmp_path: Path) -> None:
    path = tmp_path / "docs.tsv"
    path.write_bytes(b'id\ttext\n1\t"a tab\tand ""quotes"" inside"\n2\t"over\ntwo lines"\n')
    assert documents(open_text(path)) == [("1", b'a tab\tand "quotes" inside', 2), ("2", b"over\ntwo lines", 3)]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"column": "note"}, [("k1", b"n one"), ("k2", b"n two")]),
        ({"column": "2"}, [("k1", b"n one"), ("k2", b"n two")]),
        (
            {"column": "2", "id_column": "long"},
            [("long text number one", b"n one"), ("long text number two", b"n two")],
        ),
        ({"id_column": "2"}, [("n one", b"long text number one"), ("n two", b"long text number two")]),
    ],
)
def test_columns_by_name_and_number(tmp_path: Path, settings: dict[str, str], expected: list[object]) -> None:
    path = tmp_path / "docs.csv"
    path.write_bytes(b"long,note,key\nlong text number one,n one,k1\nlong text number two,n two,k2\n")
    source = open_text(path, **settings)
    assert [(name, text) for name, text, _ in documents(source)] == expected
    assert source.ids_given == ("id_column" in settings)


def test_rows_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "docs.tsv"
    path.write_bytes(
        b"1\tone text here\n2\n\n3\tthree\ttoo many\n4\tfour texts here\n5\t\n6\tsix texts here\n\tseven texts\n"
    )
    ledger = Ledger()
    found = documents(open_text(path, id_column="1"), ledger)
    assert found == [
        ("1", b"one text here", 1),
        ("4", b"four texts here", 5),
        ("6", b"six texts here", 7),
        ("line 8", b"seven texts", 8),
    ]
    assert ledger.skips["wrong number of columns"].examples == [f"{path}:2", f"{path}:4"]
    assert ledger.skips["empty document"].examples == [f"{path}:3", f"{path}:6"]
    assert (ledger.rows_in, ledger.rows_used) == (8, 4)


def test_most_rows_ragged(tmp_path: Path) -> None:
    path = tmp_path / "docs.csv"
    good, bad = b"%d,a text of words\n", b"%d,a text, of words, here, and there\n"
    rows = [good % i for i in range(30_000)] + [b"%d" % i + b",x" * (i % 7 + 2) + b"\n" for i in range(200_000)]
    path.write_bytes(b"".join(rows))
    error = refused(path)
    assert "rows do not have 2 columns" in error.what
    assert error.line == 30_001
    assert "--format" in str(error.hint)
    path.write_bytes(b"".join([good % 1, bad % 2, good % 3]))
    assert len(documents(open_text(path))) == 2


def test_missing_column_lists_those_there(tmp_path: Path) -> None:
    path = tmp_path / "docs.csv"
    path.write_bytes(b"id,title,text\n1,t one,text number one\n2,t two,text number two\n")
    error = refused(path, column="body")
    assert error.what == "there is no column 'body'"
    assert "id, title, text" in str(error.hint)
    assert "there is no column '4'" in refused(path, column="4").what
    path.write_bytes(b"1,t one,text number one is long\n2,t two,text number two is long\n")
    error = refused(path, id_column="key")
    assert "columns 1 to 3 and no header" in str(error.hint)


@pytest.mark.parametrize("name", ["docs.csv", "docs.tsv"])
def test_a_quote_that_is_never_closed(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    tab = b"," if name.endswith("csv") else b"\t"
    rows = [b'%d%s"text number %d"' % (i, tab, i) for i in range(100_000)]
    rows[99_990] = b'99990%s"text' % tab
    rows[-1] = b'99999%s"text ""' % tab
    path.write_bytes(b"\n".join(rows[:99_991] + [row.replace(b'"', b"") for row in rows[99_991:]]))
    error = refused(path)
    assert error.what == "a quote opens in this row and is never closed"
    assert error.line == 99_991


def test_a_table_of_many_columns(tmp_path: Path) -> None:
    path = tmp_path / "docs.csv"
    row = ",".join(str(i % 2) for i in range(299))
    path.write_text("".join(f"a text of words {i},{row}\n" for i in range(5)))
    source = open_text(path)
    assert source.description == "CSV, text in column 1 of 300, ids are row numbers"
    assert len(documents(source)) == 5


@pytest.mark.parametrize(
    ("first", "sample", "expected"),
    [
        (["id", "text"], [["1", "some words"]], True),
        (["n", "t"], [["1", "x"], ["2", "y"]], True),
        (["k", "t"], [["a", "a document of many words, truly"], ["b", "a second one of them, truly"]], True),
        (["train/x/49960", "alt"], [["train/x/49961", "alt"]], False),
        (["1", "a text"], [["2", "b text"]], False),
        (["a", "a long text of words that goes on"], [["b", "a long text of words that goes on too"]], False),
        (["id", "id"], [["1", "2"]], False),
        (["id", ""], [["1", "2"]], False),
    ],
)
def test_has_header(first: list[str], sample: list[list[str]], expected: bool) -> None:
    assert has_header(first, sample, SourceConfig()) is expected


def test_a_wanted_name_makes_a_header() -> None:
    assert has_header(["q1", "zz"], [["a", "b"]], SourceConfig(column="zz"))
    assert not has_header(["q1", "zz"], [["a", "b"]], SourceConfig())


def test_id_is_never_a_fraction_or_repeated() -> None:
    sample = [["0.5", "red", "words in a row"], ["0.7", "red", "more words in it"]]
    columns = choose_columns(None, sample, SourceConfig(), "p")
    assert (columns.text, columns.id, columns.id_given) == (2, -1, True)
    sample = [["0.5", "red", "words in a row", "7"], ["0.7", "red", "more words in it", "8"]]
    assert choose_columns(None, sample, SourceConfig(), "p").id == 3


field = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=8).map(lambda text: text + "z")


@settings(deadline=None)
@given(st.lists(st.tuples(field, field, field), min_size=1, max_size=20))
def test_csv_reads_what_pythons_writer_writes(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, ...]]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "docs.csv"
    path.write_bytes(_csv([("alpha", "beta", "gamma"), *rows], lineterminator="\n"))
    found = documents(open_text(path, column="gamma", id_column="alpha"))
    assert [(name, text.decode()) for name, text, _ in found] == [(row[0], row[2]) for row in rows]


@pytest.mark.shared_data
@pytest.mark.skipif(not SHARED.exists(), reason="the real corpora are not beside this checkout")
@pytest.mark.parametrize("name", ["20news", "ohsumed"])
def test_real_tsv_just_works(name: str) -> None:
    path = SHARED / name / "docs.tsv.gz"
    source = open_text(path)
    assert source.description == "TSV, text in column 3 of 3, ids in column 1"
    with gzip.open(path, "rb") as file:
        expected = [line.rstrip(b"\n").split(b"\t") for line in file]
    ledger = Ledger()
    found = documents(source, ledger)
    assert [(name.encode(), text) for name, text, _ in found] == [(row[0], row[2]) for row in expected if row[2]]
    assert ledger.rows_in == len(expected)
