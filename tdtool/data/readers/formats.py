"""Which formats there are, and how one is recognised from the first bytes and the name of a file."""

from __future__ import annotations

import json
import re

from tdtool.data.readers.decompress import compression_of
from tdtool.errors import InputError

#: Every format by the name that --format takes, with what it is.
FORMATS = {
    "directory": "a directory of text files, one document each",
    "tar": "a tar archive of text files",
    "zip": "a zip archive of text files",
    "lines": "one document a line",
    "jsonl": "JSON lines, one object a document",
    "csv": "comma-separated values",
    "tsv": "tab-separated values",
    "parquet": "Parquet",
    "uci": "UCI bag of words (docword.NAME.txt)",
    "matrix-market": "Matrix Market, documents in rows",
    "svmlight": "svmlight / libsvm counts",
    "lda-c": "Blei's lda-c counts",
    "npz": "a scipy.sparse matrix (.npz), documents in rows",
}

_SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".tar": "tar",
    ".parquet": "parquet",
    ".mtx": "matrix-market",
    ".mm": "matrix-market",
    ".svm": "svmlight",
    ".svmlight": "svmlight",
    ".libsvm": "svmlight",
    ".ldac": "lda-c",
    ".lda-c": "lda-c",
    ".txt": "lines",
    ".text": "lines",
}
_REFUSED_MAGIC = (
    (
        b"\x89HDF\r\n\x1a\n",
        "it is an HDF5 file, which holds no raw documents",
        "a corpus is made by: tdtool ingest SOURCE",
    ),
    (b"ARROW1", "it is an Arrow (Feather) file", "write it as Parquet"),
    (b"%PDF", "it is a PDF file", "convert it to text first: pdftotext"),
    (b"\xff\xfe", "it is UTF-16 text; UTF-8 is needed", "convert it: iconv -f UTF-16 -t UTF-8"),
    (b"\xfe\xff", "it is UTF-16 text; UTF-8 is needed", "convert it: iconv -f UTF-16 -t UTF-8"),
    (b"\x93NUMPY", "it is a dense numpy array", "save a scipy.sparse matrix with scipy.sparse.save_npz"),
)
_REFUSED_SUFFIXES = {".pkl", ".pickle", ".joblib"}
_UCI = re.compile(rb"\d+[ \t\r]*\n[ \t]*\d+[ \t\r]*\n[ \t]*\d+[ \t\r]*\n([ \t]*\d+[ \t]+\d+[ \t]+\d+|$)")
_LDA_C = re.compile(rb"\d+([ \t]+\d+:\d+)*[ \t\r]*$")
_SVMLIGHT = re.compile(rb"[-+.,\deE]+([ \t]+qid:\d+)?([ \t]+\d+:[-+.\deE]+)*[ \t\r]*(#.*)?$")
_LINES_LOOKED_AT = 50


def sniff(head: bytes, name: str, path: str) -> str:
    """The format of an input. head : its first bytes, decompressed; name : file name without a compression suffix.

    Raises InputError for what is recognised and cannot be read.
    """
    if not head:
        raise InputError("it is empty", path=path)
    suffix = f".{name.lower().rpartition('.')[2]}" if "." in name else ""
    found = _by_magic(head, suffix)
    if found:
        return found
    refuse(head, suffix, path)
    if suffix != ".txt" or name.lower().startswith("docword."):
        by_name = _by_suffix(suffix, name, head)
        if by_name:
            return by_name
    return _by_content(head, suffix)


def check_given(given: str, head: bytes, path: str) -> None:
    """Raise InputError when the first bytes are plainly of another format than the one the user gave."""
    found = _by_magic(head, "")
    if found not in (None, given):
        raise InputError(
            f"it is {FORMATS[str(found)]}, not {FORMATS[given]}", path=path, hint=f"give --format {found}, or auto"
        )
    _refuse_magic(head, path)


def refuse(head: bytes, suffix: str, path: str) -> None:
    """Raise InputError for formats we know of and do not read, and for binary data."""
    _refuse_magic(head, path)
    if suffix in _REFUSED_SUFFIXES:
        raise InputError(
            "pickled data is refused: reading it could run code",
            path=path,
            hint="save a scipy.sparse matrix with scipy.sparse.save_npz, or text as JSON lines",
        )
    if b"\0" in head[:8192]:
        raise InputError("it is a binary file of no known format", path=path, hint=f"known are {', '.join(FORMATS)}")


def _refuse_magic(head: bytes, path: str) -> None:
    compression = compression_of(head)
    if compression is not None:
        raise InputError(
            "it is compressed twice", path=path, hint=f"decompress the outer layer; {compression} is inside"
        )
    for magic, what, hint in _REFUSED_MAGIC:
        if head.startswith(magic):
            raise InputError(what, path=path, hint=hint)


def _by_magic(head: bytes, suffix: str) -> str | None:
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        member = head[30 : 30 + int.from_bytes(head[26:28], "little")]
        return "npz" if suffix == ".npz" or member.endswith(b".npy") else "zip"
    if head.startswith(b"PAR1"):
        return "parquet"
    if head[257:262] == b"ustar" or (suffix == ".tar" and b"\0" in head[:512]):
        return "tar"
    if head.startswith(b"%%MatrixMarket"):
        return "matrix-market"
    return None


def _by_suffix(suffix: str, name: str, head: bytes) -> str | None:
    if name.lower().startswith("docword."):
        return "uci"
    if suffix == ".json" and head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[")):
        return "jsonl"
    return _SUFFIXES.get(suffix)


def _by_content(head: bytes, suffix: str) -> str:
    if _UCI.match(head):
        return "uci"
    lines = _complete_lines(head)
    if all(_LDA_C.match(line) for line in lines) and any(b":" in line for line in lines):
        return "lda-c" if all(_is_lda_c(line) for line in lines) else "svmlight"
    if all(_SVMLIGHT.match(line) for line in lines) and any(b":" in line for line in lines):
        return "svmlight"
    if _is_json_object(lines[0]):
        return "jsonl"
    if suffix not in (".txt", ".text"):
        tabs = {line.count(b"\t") for line in lines}
        if len(tabs) == 1 and tabs != {0}:
            return "tsv"
    return "lines"


def _complete_lines(head: bytes) -> list[bytes]:
    """The first few lines that are not empty; a cut last one only when there is no other."""
    lines = head.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    whole = [line for line in lines[:-1] if line.strip()][:_LINES_LOOKED_AT]
    return whole or [lines[-1] if lines[-1].strip() else b""]


def _is_lda_c(line: bytes) -> bool:
    count, *pairs = line.split()
    return int(count) == len(pairs)


def _is_json_object(line: bytes) -> bool:
    if not line.lstrip().startswith(b"{"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
