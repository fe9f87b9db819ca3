"""How the format of a graph is recognised."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tdtool.config import SourceConfig
from tdtool.data.readers.graph_formats import FORMATS, check_given, sniff
from tdtool.data.readers.streams import Input
from tdtool.errors import InputError


def source_of(folder: Path, name: str, content: str | bytes) -> Input:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return Input(str(path), SourceConfig())


def npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, edges=np.array([[0, 1]]))
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("x.txt", "1 2\n", "edges"),
        ("graph.edges", "3 2\n2 1\n", "edges"),
        ("x", "# Nodes: 5 Edges: 7\n1\t2\n", "edges"),
        ("x.csv", "a,b\n", "csv"),
        ("x.tsv", "a\tb\n", "tsv"),
        ("x.txt", "%%MatrixMarket matrix coordinate pattern symmetric\n", "matrix-market"),
        ("x.mtx", "% no banner\n", "matrix-market"),
        ("x.txt", '<?xml version="1.0"?>\n<!-- x -->\n<graphml xmlns="...">', "graphml"),
        ("x.txt", "\ufeff\n<graphml>", "graphml"),
        ("x.txt", 'Creator "me"\nVersion 1\ngraph\n[\n  node [ id 1 ]', "gml"),
        ("x.txt", "# made by hand\ngraph [ directed 1", "gml"),
        ("x.txt", "graph link\nlink graph\n", "edges"),
        ("x", b"PAR1\x15\x04", "parquet"),
        ("x", npz(), "npz"),
        ("x", b"\x89HDF\r\n\x1a\n\0\0", "hdf5"),
        ("x.metis", "2 1\n2\n1\n", "metis"),
        ("x.graph", "3 2\n2\n1 3\n2\n", "metis"),
        ("x.graph", "% c\n3 2\n2\n1 3\n2\n", "metis"),
        ("x.graph", "3 3\n2 3\n1 3\n1 2\n", "metis"),
        ("x.graph", "4 1 011\n1\n3 4 7\n1\n1 2 7\n", "metis"),
        ("x.graph", "3 3\n2 3\n1 3\n", "edges"),
        ("x.graph", "3 2\n2 3\n1 3\n1 2\n", "edges"),
        ("x.graph", "a b\n", "edges"),
        ("x.graph", "1 2\n" * (1 << 18), "edges"),
        ("x.graph", "9000000 2\n" + "1 2\n1 2 3\n" * (1 << 17), "metis"),
    ],
)
def test_recognised(tmp_path: Path, name: str, content: str | bytes, kind: str) -> None:
    source = source_of(tmp_path, name, content)
    assert sniff(source) == kind
    check_given(kind, source)


def zipped_text() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("edges.txt", "1 2\n")
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("edges.txt"))
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("x.txt", "*Vertices 3\n", "it is a Pajek file"),
        ("x.txt", "digraph g {\n a -> b\n}", "it is a Graphviz (DOT) file"),
        ("x.txt", '{"nodes": []}', "it is JSON"),
        ("x.txt", "[[0, 1]]", "it is JSON"),
        ("x.txt", "dl n=3\n", "it is a UCINET file"),
        ("x.gexf", '<?xml version="1.0"?><gexf>', "it is a GEXF file"),
        ("x.xml", '<?xml version="1.0"?><svg>', "it is XML, and not GraphML"),
        ("x", b"\x01\x00\x02", "it is a binary file of no known format"),
        ("x.pkl", "1 2\n", "pickled data is refused: reading it could run code"),
        ("x.txt", "1 2\n".encode("utf-16"), "it is UTF-16 text; UTF-8 is needed"),
        ("x.txt", "1 2\n3 4\n".encode("utf-16-le"), "it looks like UTF-16 text; UTF-8 is needed"),
        ("x.txt", "1 2\n3 4\n".encode("utf-16-be"), "it looks like UTF-16 text; UTF-8 is needed"),
        ("x.txt", "1 2\n".encode("utf-32"), "it is UTF-32 text; UTF-8 is needed"),
        ("x", np.arange(9, dtype="<i2").tobytes(), "it is a binary file of no known format"),
        ("x.tar", tarred(), "it is a tar archive"),
        ("x.gz", gzip.compress(gzip.compress(b"1 2\n")), "it is compressed twice"),
        ("x.npy", b"\x93NUMPY\x01\x00", "it is a dense numpy array"),
        ("x.zip", zipped_text(), "it is a zip archive without arrays in it"),
    ],
)
def test_refused(tmp_path: Path, name: str, content: str | bytes, what: str) -> None:
    source = source_of(tmp_path, name, content)
    with pytest.raises(InputError) as caught:
        sniff(source)
    assert caught.value.what == what
    assert caught.value.hint


@pytest.mark.parametrize(
    ("given", "content", "what"),
    [
        ("edges", "<graphml>", "it is GraphML, not an edge list: a line for each edge, two names and perhaps a weight"),
        ("graphml", "1 2\n", "it is not GraphML"),
        ("npz", "1 2\n", "it is not a scipy.sparse adjacency matrix (.npz), or an array of edges"),
        ("gml", b"PAR1", "it is Parquet, a row for each edge, not GML"),
    ],
)
def test_a_format_that_is_plainly_wrong(tmp_path: Path, given: str, content: str | bytes, what: str) -> None:
    with pytest.raises(InputError) as caught:
        check_given(given, source_of(tmp_path, "x", content))
    assert caught.value.what == what


def test_text_may_be_taken_for_any_text(tmp_path: Path) -> None:
    for given in ("edges", "csv", "tsv", "metis", "matrix-market"):
        assert given in FORMATS
        check_given(given, source_of(tmp_path, "x.txt", "1 2\n"))
