"""Which formats a graph can have, and how one is recognised from the first bytes and the name of a file."""

from __future__ import annotations

import re

from tdtool.data.readers.decompress import compression_of
from tdtool.data.readers.formats import refuse
from tdtool.data.readers.streams import Input
from tdtool.data.readers.tensor_formats import HDF5_MAGIC
from tdtool.data.readers.text_batches import BYTE_ORDER_MARK
from tdtool.errors import InputError

#: Every format by the name that --format takes, with what it is.
FORMATS = {
    "edges": "an edge list: a line for each edge, two names and perhaps a weight",
    "csv": "comma-separated values, a row for each edge",
    "tsv": "tab-separated values, a row for each edge",
    "matrix-market": "Matrix Market (.mtx)",
    "metis": "METIS (.graph, .metis)",
    "graphml": "GraphML",
    "gml": "GML",
    "parquet": "Parquet, a row for each edge",
    "npz": "a scipy.sparse adjacency matrix (.npz), or an array of edges",
    "hdf5": "a graph file of tdtool",
}
#: Formats of lines of edges, which cannot be told by their first bytes.
TEXT = ("edges", "csv", "tsv")

_SUFFIXES = {
    ".mtx": "matrix-market",
    ".mm": "matrix-market",
    ".metis": "metis",
    ".gml": "gml",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
}
_GML = re.compile(rb"(?:(?:#|;|creator\b|version\b|comment\b|directed\b)[^\n]*\n\s*)*graph\s*\[", re.IGNORECASE)
_REFUSED = (
    (re.compile(rb"\s*\*(vertices|network|arcs|edges)\b", re.IGNORECASE), "it is a Pajek file"),
    (re.compile(rb"\s*(strict\s+)?(di)?graph\b[^\[\n]*\{", re.IGNORECASE), "it is a Graphviz (DOT) file"),
    (re.compile(rb'\s*(\{\s*["}]|\[\s*[\[{])'), "it is JSON"),
    (re.compile(rb"dl\s+n\s*=", re.IGNORECASE), "it is a UCINET file"),
)
_LOOKED_AT = 200  # bytes
_LEAST_LETTERS = 4
_PLAIN = frozenset(b"\t\r\n") | frozenset(range(0x20, 0x7F))
_HINT = "save the graph as GraphML, GML or an edge list"


def sniff(source: Input) -> str:
    """The format of an input. Raises InputError for what is recognised and cannot be read."""
    head, path = source.head, source.path
    suffix = f".{source.name.lower().rpartition('.')[2]}" if "." in source.name else ""
    found = _by_magic(head, path)
    if found:
        return found
    _refuse_rest(head, suffix, path)
    if suffix == ".graph":
        return "metis" if _is_metis(source) else "edges"
    return _SUFFIXES.get(suffix, "edges")


def check_given(given: str, source: Input) -> None:
    """Raise InputError when the first bytes are plainly of another format than the one the user gave."""
    found = _by_magic(source.head, source.path)
    if found is None:
        _refuse_rest(source.head, "", source.path)
    if found != given and (found is not None or given in ("parquet", "npz", "hdf5", "graphml")):
        what = f"it is {FORMATS[found]}, not" if found else "it is not"
        raise InputError(f"{what} {FORMATS[given]}", path=source.path, hint="leave the format out: it is recognised")


def _by_magic(head: bytes, path: str) -> str | None:
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        member = head[30 : 30 + int.from_bytes(head[26:28], "little")]
        if member.endswith(b".npy"):
            return "npz"
        raise InputError("it is a zip archive without arrays in it", path=path, hint="unpack it and name the file")
    for magic, kind in ((b"PAR1", "parquet"), (HDF5_MAGIC, "hdf5"), (b"%%MatrixMarket", "matrix-market")):
        if head.startswith(magic):
            return kind
    text = head.removeprefix(BYTE_ORDER_MARK).lstrip()
    if text.startswith((b"<?xml", b"<!--", b"<graphml", b"<!DOCTYPE", b"<gexf")):
        return _xml(text, path)
    return "gml" if _GML.match(text) else None


def _xml(text: bytes, path: str) -> str:
    if re.search(rb"<(\w+:)?graphml\b", text):
        return "graphml"
    what = "it is a GEXF file" if b"<gexf" in text else "it is XML, and not GraphML"
    raise InputError(what, path=path, hint=_HINT)


def _refuse_rest(head: bytes, suffix: str, path: str) -> None:
    """InputError for what holds no lines of edges."""
    _refuse_encodings(head, path)
    if head[257:262] == b"ustar":
        raise InputError("it is a tar archive", path=path, hint="unpack it and name the file with the edges")
    known = head.startswith((b"\xff\xfe", b"\xfe\xff", b"ARROW1", b"\x93NUMPY")) or compression_of(head) is not None
    if b"\0" in head[:8192] and not known:
        hint = f"known are {', '.join(FORMATS)}"
        raise InputError("it is a binary file of no known format", path=path, hint=hint)
    refuse(head, suffix, path)
    for pattern, what in _REFUSED:
        if pattern.match(head.removeprefix(BYTE_ORDER_MARK)):
            raise InputError(what, path=path, hint=_HINT)


def _refuse_encodings(head: bytes, path: str) -> None:
    """InputError for text of two or four bytes a letter, where it does not say so itself or could be mistaken."""
    if head.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        raise InputError("it is UTF-32 text; UTF-8 is needed", path=path, hint="convert it: iconv -f UTF-32 -t UTF-8")
    start = head[:_LOOKED_AT]
    for name, letters, rest in (("UTF-16LE", start[::2], start[1::2]), ("UTF-16BE", start[1::2], start[::2])):
        if len(rest) >= _LEAST_LETTERS and not any(rest) and _PLAIN.issuperset(letters):
            hint = f"convert it: iconv -f {name} -t UTF-8"
            raise InputError("it looks like UTF-16 text; UTF-8 is needed", path=path, hint=hint)


def _is_metis(source: Input) -> bool:
    """Whether a file called .graph is in the format of METIS: "n m", then a line of neighbours for each of n nodes.

    What looks like an edge list, every line of the same two or three fields, is one unless all numbers add up.
    """
    lines = [line for line in source.head.split(b"\n") if not line.lstrip().startswith((b"%", b"#"))]
    cut = lines.pop() if not source.is_whole_head or not lines[-1] else None
    header = lines[0].split() if lines else []
    if not 2 <= len(header) <= 4 or not all(map(bytes.isdigit, header)):
        return False
    n_nodes, n_edges = int(header[0][:18]), int(header[1][:18])
    counts = [len(line.split()) for line in lines[1:]]
    adds_up = len(counts) == n_nodes and (len(header) > 2 or sum(counts) == 2 * n_edges)
    if source.is_whole_head and (cut is None or not cut):
        return adds_up or set(counts) - {len(header)} != set()
    return set(counts) - {len(header)} != set()
