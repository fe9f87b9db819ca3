"""Places: paths and URIs, written, listed and read; and what is said when they cannot be. S3 is a server of ours."""

from __future__ import annotations

import errno
import io
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tdtool.config import GraphConfig, SourceConfig
from tdtool.data.graph import read_graph
from tdtool.data.ledger import Ledger
from tdtool.data.readers import places
from tdtool.errors import ClusterError, InputError, ResourceError, TdtoolError
from tests.data.object_store import BUCKET, ObjectStore, object_store
from tests.data.source_reading import counts, documents, open_counts, open_text

FILES = {
    "z.txt": b"the last one",
    "a/x.txt": b"two words",
    "a.txt": b"\xef\xbb\xbfmarked text",
    "a/b/y": b"deep down",
    "sp ace%20\u00e9+&?": b"an odd name",
    "empty": b"",
    "bin": b"\0\1",
}


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    with object_store(monkeypatch) as server:
        yield server


@pytest.fixture(params=["path", "file", "s3a"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A directory to be, in three ways of writing."""
    if request.param == "s3a":
        request.getfixturevalue("store")
        return f"s3a://{BUCKET}/some/docs"
    return f"{'' if request.param == 'path' else 'file://'}{tmp_path}/docs"


def _fill(base: str) -> None:
    for name, content in FILES.items():
        target = places.join(base, name)
        places.make_directory(target.rpartition("/")[0])
        places.write_bytes(target, content)


def test_written_files_are_found_in_the_order_of_their_bytes(base: str) -> None:
    assert not places.exists(base)
    _fill(base)
    places.make_directory(places.join(base, ".git"))
    places.write_bytes(places.join(base, ".git", "config"), b"hidden")
    names = sorted(FILES, key=os.fsencode)
    assert [(found.name, found.size, found.kind) for found in places.walk(base)] == [
        (name.encode(), len(FILES[name]), "file") for name in names
    ]
    assert {name: places.read_bytes(places.join(base, name)) for name in names} == FILES
    assert places.size(places.join(base, "z.txt")) == 12
    assert [places.is_directory(place) for place in (base, base + "/", base + "/a", base + "/z.txt")] == [1, 1, 1, 0]
    assert [places.is_file(place) for place in (base, base + "/z.txt", base + "/none")] == [0, 1, 0]


def test_a_file_is_replaced_whole_and_nothing_else_is_left(base: str) -> None:
    places.make_directory(base)
    target = places.join(base, "part")
    large = np.random.default_rng(7).bytes(11_000_001)
    for content in (b"first", large, b"third"):
        places.write_bytes(target, content)
        assert places.read_bytes(target) == content
    places.write_bytes(target, b"plain", atomic=False)
    assert [(found.name, found.size) for found in places.walk(base)] == [(b"part", 5)]


def test_a_file_can_be_jumped_about_in(base: str) -> None:
    places.make_directory(base)
    target = places.join(base, "bytes")
    places.write_bytes(target, bytes(range(256)) * 9)
    with places.open_binary(target) as file:
        file.seek(300)
        assert file.read(3) == bytes([44, 45, 46])
        buffer = bytearray(5)
        assert file.readinto(memoryview(buffer)) == 5  # type: ignore[attr-defined]
        assert bytes(buffer) == bytes([47, 48, 49, 50, 51])
        assert file.tell() == 308
        file.seek(-2, os.SEEK_END)
        assert file.read(9) == b"\xfe\xff"
        assert file.read(9) == b""


def test_removal(base: str) -> None:
    _fill(base)
    places.remove(places.join(base, "a.txt"))
    places.remove(places.join(base, "never there"))
    assert not places.exists(places.join(base, "a.txt"))
    assert places.exists(places.join(base, "a/b/y"))
    places.remove(base)
    assert not places.exists(places.join(base, "z.txt"))


def test_what_is_not_there(base: str) -> None:
    _fill(base)
    for trial in (places.size, places.open_binary, places.read_bytes, lambda place: list(places.walk(place))):
        with pytest.raises(InputError, match="there is no such file or directory") as caught:
            trial(places.join(base, "none"))
        assert str(caught.value).startswith(places.join(base, "none"))


def test_a_directory_anywhere_is_a_corpus(base: str) -> None:
    _fill(base)
    ledger = Ledger()
    source = open_text(base)
    found = documents(source, ledger)
    assert [name for name, _, _ in found] == ["a.txt", "a/b/y", "a/x.txt", "sp ace%20\u00e9+&?", "z.txt"]
    assert {name: text for name, text, _ in found}["a.txt"] == b"marked text"
    assert (source.size, ledger.rows_in, ledger.rows_used) == (sum(map(len, FILES.values())), 7, 5)
    assert ledger.skips["binary file"].examples == [f"{base}/bin"]


def test_files_anywhere_are_read(base: str) -> None:
    places.make_directory(base)
    docs, dat, vocabulary = (places.join(base, name) for name in ("docs.tsv", "docword.x.txt", "vocab.x.txt"))
    places.write_bytes(docs, b"id\ttext\nk1\tsome words\nk2\tother words\n")
    assert documents(open_text(docs)) == [("k1", b"some words", 2), ("k2", b"other words", 3)]
    places.write_bytes(dat, b"2\n3\n3\n1 1 2\n1 3 1\n2 2 5\n")
    places.write_bytes(vocabulary, b"red\ngreen\nblue\n")
    source = open_counts(dat)
    assert (source.vocabulary, source.description.rpartition(", ")[2]) == (
        ["red", "green", "blue"],
        "vocabulary of vocab.x.txt",
    )
    assert counts(source) == [("1", {0: 2, 2: 1}, 4), ("2", {1: 5}, 6)]
    edges = places.join(base, "x.edges")
    places.write_bytes(edges, b"a b\nb c\n")
    assert list(read_graph(edges, GraphConfig(), memory=1 << 30).ids) == ["a", "b", "c"]


def _zipped(names: list[str]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, f"text of {name}")
    return content.getvalue()


def _tarred(names: list[str]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name in names:
            text = f"text of {name}".encode()
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))
    return content.getvalue()


def _parquet(names: list[str]) -> bytes:
    content = io.BytesIO()
    pq.write_table(pa.table({"id": names, "text": [f"text of {name}" for name in names]}), content)
    return content.getvalue()


@pytest.mark.parametrize(("name", "packed"), [("x.zip", _zipped), ("x.tar.gz", _tarred), ("x.parquet", _parquet)])
def test_files_that_are_jumped_about_in(base: str, name: str, packed: Callable[[list[str]], bytes]) -> None:
    places.make_directory(base)
    names = ["a", "b/c", "d"]
    places.write_bytes(places.join(base, name), packed(names))
    found = documents(open_text(places.join(base, name)))
    assert [(name, text) for name, text, _ in found] == [(name, f"text of {name}".encode()) for name in names]


@pytest.mark.parametrize(
    ("place", "path"),
    [
        ("docs/x", "docs/x"),
        ("file:///a/b%20c", "/a/b%20c"),
        ("FILE:/a/b", "/a/b"),
        ("file://localhost/a", "/a"),
        ("s3://b/x", None),
        ("hdfs:///x", None),
    ],
)
def test_local_path(place: str, path: str | None) -> None:
    assert places.local_path(place) == path


def test_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert places.absolute("a/b/") == f"{tmp_path}/a/b"
    assert places.absolute("s3://b/a/") == "s3://b/a/"
    assert (places.join("a/", "b", "c"), places.join("s3://b", "c"), places.join("/", "c")) == (
        "a/b/c",
        "s3://b/c",
        "/c",
    )
    assert (places.name_of("s3://b/x/y/"), places.name_of("y")) == ("y", "y")
    assert (places.beside("a/b", "c"), places.beside("b", "c"), places.beside("s3://b/x", "c")) == (
        "a/c",
        "c",
        "s3://b/c",
    )


@pytest.mark.parametrize(
    ("place", "kind", "what"),
    [
        ("s3://other-bucket/x.txt", InputError, "there is no such file or directory"),
        ("s3:///x.txt", InputError, "the URI names no bucket"),
        ("https://host/x.txt", InputError, "https addresses are not read"),
        ("file://host/x.txt", InputError, "the file is on the machine 'host'"),
        (f"s3://{BUCKET}/secret.txt", InputError, "it may not be read"),
    ],
)
def test_places_that_cannot_be_read(store: ObjectStore, place: str, kind: type[TdtoolError], what: str) -> None:
    store.objects["secret.txt"] = b"x"
    store.refused.add("secret.txt")
    with pytest.raises(kind, match=what) as caught:
        open_text(place)
    assert str(caught.value).startswith(place)


def test_a_bucket_that_is_not_there(store: ObjectStore) -> None:
    with pytest.raises(InputError, match="there is no such bucket"):
        list(places.walk("s3://other-bucket/docs"))
    with pytest.raises(InputError, match="there is no such bucket"):
        places.write_bytes("s3://other-bucket/x", b"1")


def test_a_store_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, store: ObjectStore) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(ClusterError, match="its store cannot be reached"):
        places.size(f"s3://{BUCKET}/x.txt")


def test_hdfs_without_hadoop(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JAVA_HOME", "HADOOP_HOME", "CLASSPATH", "ARROW_LIBHDFS_DIR"):
        monkeypatch.setenv(name, "/nowhere")
    with pytest.raises(ClusterError, match="hdfs is not available here"):
        places.size("hdfs://namenode:8020/x.txt")


def test_a_directory_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(InputError, match="it cannot be written"):
        places.write_bytes(f"{tmp_path}/file/below", b"1")
    with pytest.raises(InputError, match="it cannot be written"):
        places.make_directory(f"{tmp_path}/file/below")
    with pytest.raises(InputError, match="it cannot be written"):
        places.write_bytes(f"{tmp_path}/none/below", b"1")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    places.write_bytes(f"{tmp_path}/part", b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match="the disk is full"):
        places.write_bytes(f"{tmp_path}/part", b"new and longer")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("part", b"old")]


def test_a_source_keeps_the_name_it_was_given(tmp_path: Path) -> None:
    from tdtool.data.readers.sources import open_source

    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_bytes(b"\xff\xfe")
    (tmp_path / "docs" / "b.txt").write_bytes(b"some text")
    ledger = Ledger()
    (batch,) = open_source("docs", SourceConfig(), place=f"{tmp_path}/docs").batches(ledger)
    assert batch.path == "docs"
    assert ledger.skips["UTF-16 text"].examples == ["docs/a.txt"]
