"""Every way text comes in: round trips through each format and compression, and how formats are recognised."""

from __future__ import annotations

import io
import json
import os
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tdtool.data.ledger import Ledger
from tdtool.data.readers import formats
from tests.data.source_reading import COMPRESSIONS, documents, open_text

TEXTS = [b"The first text, with a comma.", "zweiter Text über Äpfel".encode(), b"broken \xff bytes", b"a"]
FILES = {"b.txt": b"last but one", "a/x.txt": b"two\nlines\n", "a.txt": b"\xef\xbb\xbfmarked", "c": b"c", "a/b/y": b"y"}


@pytest.mark.parametrize("suffix", COMPRESSIONS)
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_lines(tmp_path: Path, suffix: str, newline: bytes) -> None:
    path = tmp_path / f"docs.txt{suffix}"
    path.write_bytes(COMPRESSIONS[suffix](b"\xef\xbb\xbf" + newline.join([*TEXTS[:2], b"", *TEXTS[2:]])))
    ledger, told = Ledger(), []
    source = open_text(path)
    found = list(source.batches(ledger, told.append))
    assert source.format == "lines"
    assert sum(told) == path.stat().st_size == source.size
    assert documents(source) == list(zip(["1", "2", "4", "5"], TEXTS, [1, 2, 4, 5], strict=True))
    assert (ledger.rows_in, ledger.rows_used, found[0].path) == (5, 4, str(path))
    assert ledger.skips["empty document"].examples == [f"{path}:3"]


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_json_lines(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"docs.jsonl{suffix}"
    lines = [
        b'{"body": {"text": "one \\u00e9"}, "key": 7}',
        b"",
        b'{"body.text": "two", "key": "k"}',
        b'{"body": {"text": null}, "key": "n"}',
        b'{"body": {"text": ["a", "b"]}, "key": "l"}',
        b'{"body": {"text": "raw \xff and \\ud800"}, "key": "s"}',
        b'{"body": {"text": "raw \xff"}, "key": "r"}',
    ]
    path.write_bytes(COMPRESSIONS[suffix](b"\n".join(lines)))
    ledger = Ledger()
    source = open_text(path, field="body.text", id_field="key")
    found = documents(source, ledger)
    assert found[:3] == [("7", "one é".encode(), 1), ("k", b"two", 3), ("l", b"a\nb", 5)]
    assert found[3][0] == "s"
    assert found[3][1].startswith(b"raw ")
    assert found[4] == ("r", b"raw \xff", 7)
    assert {reason: skip.count for reason, skip in ledger.skips.items()} == {
        "empty document": 1,
        "text field is null": 1,
    }
    assert source.description == "JSON lines, text in field body.text, ids in field key"


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_parquet(tmp_path: Path, suffix: str) -> None:
    table = pa.table({
        "key": ["a", "b", None, "d", "e"],
        "n": [1, 2, 3, 4, 5],
        "text": ["first longer text", None, "third longer text", "", "fifth é"],
    })  # fmt: skip
    buffer = io.BytesIO()
    pq.write_table(table, buffer, row_group_size=2)
    path = tmp_path / f"docs.parquet{suffix}"
    path.write_bytes(COMPRESSIONS[suffix](buffer.getvalue()))
    ledger, told = Ledger(), []
    source = open_text(path, id_column="key")
    assert documents(source, ledger) == [
        ("a", b"first longer text", 1),
        ("row 3", b"third longer text", 3),
        ("e", "fifth é".encode(), 5),
    ]
    assert (ledger.rows_in, ledger.rows_used) == (5, 3)
    assert ledger.skips["empty document"].examples == [f"{path}:2", f"{path}:4"]
    assert source.description == "Parquet, text in column 3 (text) of 3, ids in column 1 (key)"
    list(source.batches(Ledger(), told.append))
    assert sum(told) == path.stat().st_size


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string())])
def test_parquet_kinds_of_text(tmp_path: Path, kind: pa.DataType) -> None:
    texts = ["one text here", "one text here", "two texts here"]
    path = tmp_path / "docs.parquet"
    pq.write_table(pa.table({"body": pa.array(texts).cast(kind), "id": [30, 10, 20]}), path)
    assert documents(open_text(path)) == [
        ("30", b"one text here", 1),
        ("10", b"one text here", 2),
        ("20", b"two texts here", 3),
    ]


def _write_tree(root: Path) -> None:
    for name, content in {
        **FILES,
        ".hidden": b"h",
        "a/.git/config": b"h",
        "bin.dat": b"PK\0",
        "empty.txt": b"",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


IN_ORDER = ["a.txt", "a/b/y", "a/x.txt", "b.txt", "c"]


def test_directory(tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    _write_tree(root)
    (root / "packed.txt.gz").write_bytes(COMPRESSIONS[".gz"](b"unpacked"))
    ledger, told = Ledger(), []
    source = open_text(root)
    found = documents(source, ledger)
    assert [name for name, _, _ in found] == [*IN_ORDER, "packed.txt.gz"]
    assert {name: text for name, text, _ in found} == {**FILES, "a.txt": b"marked", "packed.txt.gz": b"unpacked"}
    assert {line for _, _, line in found} == {0}
    assert ledger.skips["binary file"].examples == [str(root / "bin.dat")]
    assert ledger.skips["empty document"].examples == [str(root / "empty.txt")]
    assert (ledger.rows_in, ledger.rows_used) == (8, 6)
    assert source.description == "directory of 8 text files, ids are file names"
    list(source.batches(Ledger(), told.append))
    assert sum(told) == source.size


def test_directory_links_and_pipes(tmp_path: Path) -> None:
    root, outside = tmp_path / "corpus", tmp_path / "secret"
    root.mkdir()
    outside.write_bytes(b"secret")
    (root / "real").write_bytes(b"real")
    (root / "sub").mkdir()
    (root / "inside").symlink_to("real")
    (root / "loop").symlink_to(".")
    (root / "out").symlink_to(outside)
    (root / "nowhere").symlink_to("missing")
    os.mkfifo(root / "pipe")
    ledger = Ledger()
    assert [name for name, _, _ in documents(open_text(root), ledger)] == ["inside", "real"]
    assert {reason: skip.count for reason, skip in ledger.skips.items()} == {
        "symbolic link out of the directory": 2,
        "not a regular file": 1,
    }


def test_directory_with_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/\xff.txt", "wb") as file:  # noqa: PTH123
        file.write(b"text")
    assert documents(open_text(tmp_path)) == [("\\xff.txt", b"text", 0)]


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_tar(tmp_path: Path, suffix: str) -> None:
    root, path = tmp_path / "corpus", tmp_path / f"corpus.tar{suffix}"
    _write_tree(root)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(root, ".")
    path.write_bytes(COMPRESSIONS[suffix](buffer.getvalue()))
    ledger = Ledger()
    source = open_text(path)
    assert source.format == "tar"
    assert {name: text for name, text, _ in documents(source, ledger)} == {**FILES, "a.txt": b"marked"}
    assert ledger.skips["binary file"].examples == [f"{path}:bin.dat"]
    assert (ledger.rows_in, ledger.rows_used) == (7, 5)


@pytest.mark.parametrize("suffix", COMPRESSIONS)
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip(tmp_path: Path, suffix: str, method: int) -> None:
    path = tmp_path / f"corpus.zip{suffix}"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in {**FILES, ".hidden": b"h", "__MACOSX/a": b"m", "bin.dat": b"P\0"}.items():
            archive.writestr(name, content)
    path.write_bytes(COMPRESSIONS[suffix](buffer.getvalue()))
    ledger = Ledger()
    found = documents(open_text(path), ledger)
    assert [name for name, _, _ in found] == IN_ORDER
    assert {name: text for name, text, _ in found} == {**FILES, "a.txt": b"marked"}
    assert (ledger.rows_in, ledger.rows_used) == (6, 5)


@pytest.mark.parametrize("suffix", COMPRESSIONS)
@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"one\ntwo\n", "lines"),
        (b"a\tone text\nb\tanother text\n", "tsv"),
        (b'{"text": "one"}\n{"text": "two"}\n', "jsonl"),
    ],
)
def test_standard_input(monkeypatch: pytest.MonkeyPatch, suffix: str, content: bytes, kind: str) -> None:
    class Standard:
        buffer = io.BufferedReader(io.BytesIO(COMPRESSIONS[suffix](content)))

    monkeypatch.setattr("sys.stdin", Standard)
    source = open_text("-")
    assert (source.format, source.path, source.size) == (kind, "standard input", None)
    assert len(documents(source)) == 2
    assert not Standard.buffer.closed


def test_a_named_pipe_is_read_like_standard_input(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR)
    os.write(descriptor, b"one\ntwo\n")
    keeper = os.fdopen(descriptor, "rb")

    import threading

    threading.Timer(0.3, keeper.close).start()
    assert [text for _, text, _ in documents(open_text(path))] == [b"one", b"two"]


def test_blocks_join_where_rows_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdtool.data.readers.text_rows.BATCH_BYTES", 64)
    texts = [bytes([97 + i % 26]) * (i * 7 % 150 + 1) for i in range(200)]
    path = tmp_path / "docs.txt"
    path.write_bytes(b"\n".join(texts))
    assert [text for _, text, _ in documents(open_text(path))] == texts
    quoted = tmp_path / "docs.csv"
    rows = [b'%d,"%s ""x"",\n%s"' % (i, text, text) for i, text in enumerate(texts)]
    quoted.write_bytes(b"id,text\n" + b"\n".join(rows))
    expected = [(str(i), b'%s "x",\n%s' % (text, text), 2 + 2 * i) for i, text in enumerate(texts)]
    assert documents(open_text(quoted)) == expected


def test_more_rows_than_a_batch_holds(tmp_path: Path) -> None:
    path = tmp_path / "docs.txt"
    path.write_bytes(b"ab\n" * 150_000)
    source = open_text(path)
    sizes = [len(batch.ids) for batch in source.batches(Ledger())]
    assert sum(sizes) == 150_000
    assert max(sizes) <= 65_536
    assert [line for _, _, line in documents(source)] == list(range(1, 150_001))


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [
        ("a.txt", b"one\ttwo\nthree\tfour\n", "lines"),
        ("a.dat", b"one\ttwo\nthree\tfour\n", "tsv"),
        ("", b"plain\ttext\nno tabs here\n", "lines"),
        ("a.csv", b"one", "csv"),
        ("a.ndjson", b"{}", "jsonl"),
        ("a.json", b' {"a": 1}\n', "jsonl"),
        ("x.txt", b'{"text": "one"}\n', "jsonl"),
        ("x.txt", b'{"text": broken\n', "lines"),
        ("docword.x.txt", b"nonsense", "uci"),
        ("counts.txt", b"3\n4\n5\n1 2 3\n", "uci"),
        ("numbers.txt", b"3\n4\n5\n6\n", "lines"),
        ("ap.dat", b"2 0:1 5:2\n1 3:4\n", "lda-c"),
        ("ap.dat", b"1 0:1 5:2\n1 3:4\n", "svmlight"),
        ("a.dat", b"-1 qid:3 1:2.0 # why\n+1 3:4\n", "svmlight"),
        ("m.mtx", b"%%MatrixMarket matrix coordinate", "matrix-market"),
        ("m", b"%%MatrixMarket matrix coordinate", "matrix-market"),
        ("t", b"PAR1....", "parquet"),
        ("t", b"PK\x03\x04" + bytes(22) + b"\x0a\x00\x00\x00format.npy", "npz"),
        ("t.npz", b"PK\x03\x04" + bytes(26), "npz"),
        ("t", b"PK\x03\x04" + bytes(22) + b"\x05\x00\x00\x00a.txt", "zip"),
        ("t", bytes(257) + b"ustar", "tar"),
        ("README", b"Dear all,\n\nthe ratio is 3:4.\n", "lines"),
    ],
)
def test_sniff(name: str, head: bytes, kind: str) -> None:
    assert formats.sniff(head, name, "path") == kind
    assert kind in formats.FORMATS


def test_format_given_overrides(tmp_path: Path) -> None:
    path = tmp_path / "docs.tsv"
    path.write_bytes(b"a\tone text\nb\ttwo texts\n")
    assert [text for _, text, _ in documents(open_text(path, format="lines"))] == [b"a\tone text", b"b\ttwo texts"]


def test_formats_module_is_light() -> None:
    """The command line lists the formats; that must not cost an import of numpy."""
    import subprocess
    import sys

    code = (
        "import sys, tdtool.data.readers.formats; assert not {'numpy', 'numba', 'pyarrow'} & set(sys.modules), 'heavy'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_jsonl_round_trip_of_odd_strings(tmp_path: Path) -> None:
    path = tmp_path / "docs.jsonl"
    texts = ["tab\tand\nnewline", 'quote " and \\', "𝄞 clef", "\0 nul"]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    assert [text.decode() for _, text, _ in documents(open_text(path))] == texts
