"""Inputs that cannot be used: each ends in an InputError that says what, where and what to do, or in the ledger."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tdtool.config import SourceConfig
from tdtool.data.ledger import Ledger
from tdtool.data.readers.sources import open_source
from tdtool.errors import InputError, UsageError
from tests.data.source_reading import COMPRESSIONS, documents, open_text, refused

TEXT = "".join(f"document number {i} has words {i * i}\n" for i in range(100_000)).encode()


def test_nothing_there(tmp_path: Path) -> None:
    error = refused(tmp_path / "missing")
    assert (error.what, error.exit_code) == ("there is no such file or directory", 3)


def test_empty_directory(tmp_path: Path) -> None:
    (tmp_path / ".hidden").write_bytes(b"hidden")
    (tmp_path / "sub").mkdir()
    assert refused(tmp_path).what == "there is no file in this directory"


def test_directory_without_text(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\0")
    (tmp_path / "b").write_bytes(b"")
    (tmp_path / "c.txt").write_bytes("words".encode("utf-16"))
    error = refused(tmp_path)
    assert error.what == "none of its files is text (1 UTF-16 text, 1 binary file, 1 empty document)"


@pytest.mark.parametrize("kind", ["uci", "csv", "lines", "npz"])
def test_directory_in_place_of_a_file(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.txt").write_bytes(b"a")
    assert refused(tmp_path, format=kind).what == f"it is a directory; the format {kind} is that of a file"


def test_file_in_place_of_a_directory(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"a")
    assert refused(path, format="directory").what == "it is a file, not a directory"


def test_no_such_format(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no format 'xlsx'") as caught:
        open_source(str(tmp_path), SourceConfig(format="xlsx"))
    assert "jsonl" in str(caught.value.hint)


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_empty_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"docs.txt{suffix}"
    path.write_bytes(COMPRESSIONS[suffix](b""))
    assert refused(path).what == "it is empty"
    assert refused(path, format="csv").what == "it is empty"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become someone else")
def test_unreadable_as_someone_else() -> None:
    with tempfile.TemporaryDirectory() as folder:  # not tmp_path, whose parents are closed to others
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        (corpus / "secret.txt").write_bytes(b"secret")
        (corpus / "open.txt").write_bytes(b"open")
        (corpus / "secret.txt").chmod(0o600)
        Path(folder).chmod(0o755)
        os.seteuid(65534)
        try:
            error, ledger = refused(corpus / "secret.txt"), Ledger()
            found = documents(open_text(corpus), ledger)
        finally:
            os.seteuid(0)
    assert (error.what, error.hint) == ("it may not be read", "check the permissions: ls -l")
    assert found == [("open.txt", b"open", 0)]
    assert ledger.skips["cannot be read"].examples == [str(corpus / "secret.txt")]


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
@pytest.mark.parametrize("name", ["docs.txt", "docs.tsv", "docword.x.txt"])
def test_truncated(tmp_path: Path, suffix: str, name: str) -> None:
    contents = {
        "docs.txt": TEXT,
        "docs.tsv": TEXT.replace(b" has", b"\thas"),
        "docword.x.txt": b"100000\n9\n100000\n" + b"".join(b"%d 1 1\n" % i for i in range(1, 100_001)),
    }
    whole = COMPRESSIONS[suffix](contents[name])
    path = tmp_path / (name + suffix)
    for cut in (len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:cut])
        error = refused(path)
        assert "data ends too early, after " in error.what
        assert error.hint == "the file is incomplete: copy or download it again"


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
def test_damaged(tmp_path: Path, suffix: str) -> None:
    whole = bytearray(COMPRESSIONS[suffix](TEXT))
    whole[len(whole) // 2 : len(whole) // 2 + 40] = bytes(40)
    path = tmp_path / f"docs.txt{suffix}"
    path.write_bytes(whole)
    # zstd frames of pyarrow carry no checksum: damage may show as a frame that ends too early.
    assert "damaged after" in (what := refused(path).what) or (suffix == ".zst" and "ends too early" in what)


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
def test_members_one_after_the_other(tmp_path: Path, suffix: str) -> None:
    path, pack = tmp_path / f"docs.txt{suffix}", COMPRESSIONS[suffix]
    path.write_bytes(pack(TEXT) + pack(b"") + pack(b"the last\n"))
    assert documents(open_text(path))[-1] == ("100001", b"the last", 100_001)


def test_padding_and_rubbish_behind_gzip(tmp_path: Path) -> None:
    path = tmp_path / "docs.txt.gz"
    path.write_bytes(gzip.compress(b"a\n") + bytes(1000))
    assert documents(open_text(path)) == [("1", b"a", 1)]
    path.write_bytes(gzip.compress(b"a\n") + b"rubbish")
    assert "something else follows the compressed data" in refused(path).what


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
def test_bomb(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"docs.txt{suffix}"
    pack = {
        ".gz": lambda data: gzip.compress(data, 6),
        ".bz2": lambda data: bz2.compress(data, 9),
        ".xz": lambda data: lzma.compress(data, preset=0),
        ".zst": COMPRESSIONS[".zst"],
    }[suffix]
    path.write_bytes(pack((b"a" * 999 + b"\n") * 1000) * 120)
    error = refused(path, max_ratio=20)
    assert "it grows to more than 20 times its size when decompressed" in error.what
    assert error.hint == "decompress it yourself first if that is what you want"


def test_size_cap(tmp_path: Path) -> None:
    path = tmp_path / "docs.txt.gz"
    path.write_bytes(gzip.compress(TEXT * 2))
    assert refused(path, max_bytes=3_000_000).what == "it holds more than the 3,000,000 bytes that are allowed"


def test_zip_bomb(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(13):
            archive.writestr(f"{i}.txt", b"word " * 1_700_000)
    assert "it grows to more than 100 times its size" in refused(path, max_ratio=100).what


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.parquet"])
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_truncated_archive(tmp_path: Path, name: str, share: float) -> None:
    path, out = tmp_path / name, io.BytesIO()
    if name == "a.zip":
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("a.txt", TEXT[:50_000])
            archive.writestr("b.txt", TEXT[:50_000])
    elif name == "a.tar":
        with tarfile.open(fileobj=out, mode="w") as archive:
            for member in ("a.txt", "b.txt"):
                info = tarfile.TarInfo(member)
                info.size = 50_000
                archive.addfile(info, io.BytesIO(TEXT[:50_000]))
    else:
        pq.write_table(pa.table({"text": TEXT.decode().split("\n")[:1000]}), out)
    path.write_bytes(out.getvalue()[: int(len(out.getvalue()) * share)])
    assert "damaged or incomplete" in refused(path).what


def test_encrypted_zip(tmp_path: Path) -> None:
    path, out = tmp_path / "a.zip", io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.txt", b"text")
    content = bytearray(out.getvalue())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert refused(path).what == "a.txt in it is encrypted"


def test_parquet_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"n": [1, 2], "x": [[1], [2]]}), path)
    error = refused(path)
    assert "is not text but" in error.what
    assert error.hint == "no column holds text"
    pq.write_table(pa.table({"n": [1, 2], "t": ["one text", "two texts"]}), path)
    assert refused(path, column="n").hint == "text is in t; name one with --column"
    assert refused(path, column="z").what == "there is no column 'z'"
    pq.write_table(pa.table({"t": pa.array([], pa.string())}), path)
    assert refused(path).what == "the table has no rows"


@pytest.mark.parametrize(
    ("line", "what", "hint"),
    [
        (b'{"text": "a"', "it is not valid JSON: Expecting ',' delimiter at column 13", None),
        (
            b'{"body": {"en": 1, "de": 2}, "id": 3}',
            "there is no field 'text'",
            "it has body.en, body.de, id; name one with --field",
        ),
        (b"{}", "there is no field 'text'", "it has no fields; name one with --field"),
        (b'{"text": 5}', "the field 'text' is not text but a number", "name another with --field; this line has text"),
        (
            b'{"text": {"x": 1}}',
            "the field 'text' is not text but an object",
            "name another with --field; this line has text.x",
        ),
        (b"[1]", "it is not a JSON object but a list", None),
        (b"[" * 100_000, "its JSON is too deep or holds a number that is too long", None),
        (b'{"n": ' + b"9" * 10_000 + b"}", "its JSON is too deep or holds a number that is too long", None),
    ],
)
def test_json_refused(tmp_path: Path, line: bytes, what: str, hint: str | None) -> None:
    path = tmp_path / "docs.jsonl"
    path.write_bytes(b'{"text": "fine"}\n\n' + line + b'\n{"text": "fine"}\n')
    error = refused(path)
    assert (error.what, error.hint, error.line) == (what, hint, 3)


def test_json_array_and_id_field(tmp_path: Path) -> None:
    path = tmp_path / "docs.json"
    path.write_bytes(b'[{"text": "a"}]')
    assert refused(path).what == "it is a JSON array, not JSON lines"
    path.write_bytes(b'{"text": "a"}\n')
    error = refused(path, id_field="key")
    assert (error.what, error.line, error.hint) == (
        "there is no field 'key'",
        1,
        "it has text; name one with --id-field",
    )


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.txt", "words".encode("utf-16"), "it is UTF-16 text; UTF-8 is needed"),
        ("a.pkl", b"\x80\x04K\x01.", "pickled data is refused: reading it could run code"),
        ("a.bin", b"some\0bytes", "it is a binary file of no known format"),
        ("a.csv", b"some\0bytes", "it is a binary file of no known format"),
        ("a.h5", b"\x89HDF\r\n\x1a\n", "it is an HDF5 file, which holds no raw documents"),
        ("a.pdf", b"%PDF-1.7", "it is a PDF file"),
        ("a.npy", b"\x93NUMPY", "it is a dense numpy array"),
        ("a.gz", gzip.compress(gzip.compress(b"text", mtime=0), mtime=0), "it is compressed twice"),
    ],
)
def test_refused_by_its_look(tmp_path: Path, name: str, content: bytes, what: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    error = refused(path)
    assert error.what == what
    assert error.hint


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("tar", b"text\n"),
        ("zip", b"text\n"),
        ("parquet", b"text\n"),
        ("npz", b"text\n"),
        ("uci", b"text\n"),
        ("matrix-market", b"text\n"),
        ("lda-c", b"text\n"),
        ("svmlight", b"some text\n"),
        ("jsonl", b"text\n"),
        ("lines", b"PK\x03\x04" + bytes(100)),
        ("tsv", b"PAR1" + bytes(100)),
    ],
)
def test_a_format_that_does_not_fit(tmp_path: Path, kind: str, content: bytes) -> None:
    path = tmp_path / "data"
    path.write_bytes(content)
    assert isinstance(refused(path, format=kind), InputError)


def test_a_pipe_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", type("Standard", (), {"buffer": io.BufferedReader(io.BytesIO(b"one\ntwo\n"))}))
    source = open_text("-")
    assert len(documents(source)) == 2
    with pytest.raises(InputError, match="a pipe can be read only once"):
        documents(source)


@pytest.mark.parametrize("name", ["docs.txt", "docs.tsv", "docs.csv", "docs.jsonl"])
def test_a_document_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for module in ("text_rows", "text_batches"):
        monkeypatch.setattr(f"tdtool.data.readers.{module}.LONGEST_DOCUMENT", 1 << 20)
        monkeypatch.setattr(f"tdtool.data.readers.{module}.BATCH_BYTES", 1 << 16)
    cell = {"docs.txt": b"%s", "docs.tsv": b"k%d\tsome %s", "docs.csv": b"k%d,some %s", "docs.jsonl": b'{"text": "%s"}'}
    texts = [b"first", b"x" * 900_000, b"y" * 3_000_000, b"z" * 2_000_000, b"last"]
    form = cell[name]
    rows = [form % ((i, text) if b"%d" in form else text) for i, text in enumerate(texts)]
    path, ledger = tmp_path / name, Ledger()
    path.write_bytes(b"\n".join(rows))
    found = documents(open_text(path), ledger)
    assert [text[-900_000:] for _, text, _ in found] == [
        (b"some " if b"some" in form else b"") + text if len(text) < 10 else text
        for text in (texts[0], texts[1], texts[4])
    ]
    assert ledger.skips["longer than 256 MB"].examples == [f"{path}:3", f"{path}:4"]
    assert [line for _, _, line in found] == [1, 2, 5]


@pytest.mark.slow
def test_a_line_of_a_gigabyte(tmp_path: Path) -> None:
    """Skipped, and never in memory as a whole."""
    path = tmp_path / "docs.txt"
    with path.open("wb") as file:
        file.write(b"first\n")
        file.seek((1 << 30) + 6)
        file.write(b"\nlast\n")
    code = f"""
from pathlib import Path
from tdtool.config import SourceConfig
from tdtool.data.ledger import Ledger
from tdtool.data.readers.sources import open_source
ledger = Ledger()
source = open_source({str(path)!r}, SourceConfig(format="lines"))
found = [name for batch in source.batches(ledger) for name in batch.ids]
peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
print(found, ledger.skips["longer than 256 MB"].examples, peak >> 10)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert out.stderr == ""
    assert out.stdout.startswith(f"['1', '3'] ['{path}:2'] ")
    assert int(out.stdout.split()[-1]) < 1000


def test_files_are_closed(tmp_path: Path) -> None:
    path = tmp_path / "docs.txt.gz"
    path.write_bytes(gzip.compress(TEXT))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
    for _ in range(20):
        next(iter(open_text(path).batches(Ledger())))
    after = len(list(Path("/proc/self/fd").iterdir())) if before else 0
    assert after <= before
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == limits
