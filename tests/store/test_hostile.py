"""Files from strangers: each trick that HDF5 allows is refused by name, before anything is read."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from tdtool.errors import InputError
from tdtool.store import hdf5
from tests.store.samples import N_TERMS, N_TOPICS, corpus_content, write_corpus, write_topics, write_tucker

Trick = Callable[[h5py.File], None]


def _external_link(file: h5py.File) -> None:
    del file["topics/alpha"]
    file["topics/alpha"] = h5py.ExternalLink("/etc/passwd", "/x")


def _soft_link(file: h5py.File) -> None:
    del file["topics/alpha"]
    file["topics/alpha"] = h5py.SoftLink("/topics/size")


def _linked_group(file: h5py.File) -> None:
    file.move("topics", "document2")
    file["topics"] = h5py.SoftLink("/document2")


def _external_storage(file: h5py.File) -> None:
    del file["topics/alpha"]
    file["topics"].create_dataset("alpha", (N_TOPICS,), "f8", external=[("/etc/passwd", 0, 8 * N_TOPICS)])


def _virtual(file: h5py.File) -> None:
    del file["topics/alpha"]
    layout = h5py.VirtualLayout((N_TOPICS,), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "x", (N_TOPICS,))
    file["topics"].create_virtual_dataset("alpha", layout)


def _references(file: h5py.File) -> None:
    del file["topics/alpha"]
    file["topics"].create_dataset("alpha", (N_TOPICS,), h5py.ref_dtype)


def _compound(file: h5py.File) -> None:
    del file["topics/alpha"]
    file["topics/alpha"] = np.zeros(N_TOPICS, [("a", "f8"), ("b", "i4")])


def _wide_floats(file: h5py.File) -> None:
    del file["topics/alpha"]
    file["topics/alpha"] = np.zeros(N_TOPICS, np.longdouble)


def _unknown_filter(file: h5py.File) -> None:
    del file["topics/alpha"]
    file["topics"].create_dataset("alpha", data=np.zeros(N_TOPICS), chunks=(N_TOPICS,), compression="lzf")


def _huge_and_empty(file: h5py.File) -> None:
    for name in ("documents/id", "documents/topic", "documents/held_out", "documents/length"):
        dtype = file[name].dtype
        del file[name]
        shape = (1 << 40, N_TOPICS) if name == "documents/topic" else (1 << 40,)
        file.create_dataset(name, shape, dtype, chunks=(1 << 20, *shape[1:]))


def _huge_contiguous(file: h5py.File) -> None:
    del file["history"]
    file.create_dataset("history/perplexity", (1 << 45,), "f8")


def _huge_chunks(file: h5py.File) -> None:
    del file["history"]
    n = (1 << 25) + 8
    values = file.create_dataset("history/perplexity", (n,), "f8", chunks=(n,), compression="gzip")
    values.id.write_direct_chunk((0,), zlib.compress(bytes(8 * n), 1))


def _unwritten_chunks(file: h5py.File) -> None:
    del file["history"]
    values = file.create_dataset("history/perplexity", (64,), "f8", chunks=(8,))
    values[:48] = 1.0


def _axes_disagree(file: h5py.File) -> None:
    del file["topics/topic_word"]
    file["topics/topic_word"] = np.zeros((N_TOPICS, N_TERMS + 1), np.float32)


def _group_for_array(file: h5py.File) -> None:
    del file["topics/alpha"]
    file.create_group("topics/alpha")


def _array_for_group(file: h5py.File) -> None:
    del file["selection"]
    file["selection"] = np.zeros(3)


def _stranger(file: h5py.File) -> None:
    file["topics/\x1b[2Jevil"] = np.zeros(3)


def _missing(file: h5py.File) -> None:
    del file["topics/cv"]


def _null_space(file: h5py.File) -> None:
    del file["topics/alpha"]
    file["topics/alpha"] = h5py.Empty("f8")


TRICKS: dict[str, tuple[Trick, str]] = {
    "external link": (_external_link, "link to another place"),
    "soft link": (_soft_link, "link to another place"),
    "linked group": (_linked_group, "link to another place|not part of"),
    "external storage": (_external_storage, "lie in another file"),
    "virtual dataset": (_virtual, "lie in another file"),
    "references": (_references, "type that is not used"),
    "compound": (_compound, "type that is not used"),
    "long double": (_wide_floats, "type that is not used"),
    "unknown filter": (_unknown_filter, "compressed in a way"),
    "huge and empty": (_huge_and_empty, "not in the file"),
    "huge contiguous": (_huge_contiguous, "not in the file"),
    "huge chunks": (_huge_chunks, "not in the file"),
    "unwritten chunks": (_unwritten_chunks, "not in the file"),
    "axes disagree": (_axes_disagree, "axis term has length 29, other arrays have 30"),
    "group for array": (_group_for_array, "not an array"),
    "array for group": (_array_for_group, "not a group"),
    "unknown array": (_stranger, r"topics/\\x1b\[2Jevil is not part of"),
    "missing array": (_missing, "topics/cv is missing"),
    "no values": (_null_space, "not an array"),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_topics(tmp_path_factory.mktemp("hostile") / "m.h5")
    with h5py.File(path, "r+") as file:
        file["history/perplexity"] = np.ones(2)
    with hdf5.open(path) as reader:
        assert "history/perplexity" in reader, "the file is good before the tricks"
    return path


@pytest.mark.parametrize("trick", TRICKS)
def test_trick_is_refused(model: Path, tmp_path: Path, trick: str) -> None:
    path = Path(shutil.copy(model, tmp_path / "m.h5"))
    play, message = TRICKS[trick]
    with h5py.File(path, "r+") as file:
        play(file)
    with pytest.raises(InputError, match=message) as caught, hdf5.open(path):
        pass
    assert caught.value.path == path


def _rename(old: str, new: str) -> Trick:
    return lambda file: file.move(old, new)


def _replace(path: str, shape: tuple[int, ...]) -> Trick:
    def play(file: h5py.File) -> None:
        del file[path]
        file[path] = np.ones(shape)

    return play


def _linked_factor(file: h5py.File) -> None:
    del file["factors/mode1"]
    file["factors/mode1"] = h5py.SoftLink("/factors/mode0")


def _thousands_of_modes(file: h5py.File) -> None:
    for mode in range(3, 1100):
        file[f"factors/mode{mode}"] = np.ones((2, 3))


MODE_TRICKS: dict[str, tuple[Trick, str]] = {
    "leading zero": (_rename("factors/mode1", "factors/mode01"), r"factors/mode01 is not part of"),
    "negative": (_rename("factors/mode1", "factors/mode-1"), r"factors/mode-1 is not part of"),
    "star": (_rename("factors/mode1", "factors/mode*"), r"factors/mode\* is not part of"),
    "other digits": (_rename("factors/mode1", "factors/mode１"), r"factors/mode\\uff11 is not part of"),
    "beyond the most": (_rename("factors/mode2", "factors/mode8"), r"factors/mode8 is not part of"),
    "gap": (_rename("factors/mode1", "factors/mode4"), r"modes 0 to 2 are wanted, there are 0, 2, 4"),
    "mode less": (_rename("factors/mode2", "labels/mode2"), r"modes 0 to 1 are wanted|3 axes|other arrays have"),
    "no modes": (lambda file: file.__delitem__("factors"), r"factors/mode\* is missing"),
    "thousands": (_thousands_of_modes, "too many members"),
    "link": (_linked_factor, "link to another place"),
    "core of two modes": (_replace("core/values", (3, 2)), "has 2 axes, and there are factors of 3 modes"),
    "core of four modes": (_replace("core/values", (3, 2, 4, 1)), "has 4 axes, and there are factors of 3 modes"),
    "core of other ranks": (_replace("core/values", (3, 2, 5)), "axis rank2 has length 4, other arrays have 5"),
    "factor without rank": (_replace("factors/mode1", (2,)), r"factors/mode1: want \(mode1, rank1\)"),
    "labels too few": (_rename("labels/mode0", "labels/mode1"), "axis mode1 has length 7, other arrays have 2"),
    "axis of a strange name": (_rename("rank1", "rank01"), "rank01 is not part of"),
}


@pytest.mark.parametrize("trick", MODE_TRICKS)
def test_trick_with_modes_is_refused(tmp_path: Path, trick: str) -> None:
    path = write_tucker(tmp_path / "t.h5")
    play, message = MODE_TRICKS[trick]
    with h5py.File(path, "r+") as file:
        play(file)
    with pytest.raises(InputError, match=message), hdf5.open(path):
        pass


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("schema", "tdtool.unheard", "not written by tdtool"),
        ("schema", 7, "not written by tdtool"),
        ("schema_version", 2, "newer tdtool"),
        ("schema_version", "one", "not a number"),
        ("scores", "{broken", "not valid JSON"),
        ("scores", "[" * 100_000, "not valid JSON"),
        ("scores", np.zeros(5), "not a single value"),
        ("scores", np.void(b"abc"), "neither text nor a number"),
    ],
)
def test_attribute_is_refused(model: Path, tmp_path: Path, name: str, value: object, message: str) -> None:
    path = Path(shutil.copy(model, tmp_path / "m.h5"))
    with h5py.File(path, "r+") as file:
        file.attrs[name] = value
    with pytest.raises(InputError, match=message), hdf5.open(path):
        pass


def test_file_without_schema_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = [1]
    with pytest.raises(InputError, match="not written by tdtool"), hdf5.open(tmp_path / "x.h5"):
        pass


def test_big_endian_values_read_as_numbers(tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "c.h5")
    with h5py.File(path, "r+") as file:
        del file["counts/data"]
        file["counts/data"] = corpus_content()["counts/data"].astype(">i4")
    with hdf5.open(path) as reader:
        values = reader.rows("counts/data", 0, 6)
    assert values.dtype == np.dtype("i4")
    assert values.tolist() == corpus_content()["counts/data"].tolist()


def test_texts_longer_than_the_file_are_refused(tmp_path: Path) -> None:
    """Many entries of an array may point at one long text on the heap."""
    n = 2000
    content = corpus_content() | {
        "counts/indptr": np.arange(n + 1) * 0,
        "documents/id": ["x" * 50_000] + ["y"] * (n - 1),
        "counts/indices": np.zeros(0, np.int32),
        "counts/data": np.zeros(0, np.int32),
        "partitions/start": np.array([0, 0, n]),
    }
    path = write_corpus(tmp_path / "bomb.h5", content)
    with h5py.File(path, "r+") as file:
        offset = file["documents/id"].id.get_offset()
    data = bytearray(path.read_bytes())
    entry = bytes(data[offset : offset + 16])
    data[offset : offset + 16 * n] = entry * n
    path.write_bytes(data)
    with hdf5.open(path) as reader, pytest.raises(InputError, match="longer than the file"):
        reader.rows("documents/id", 0, n)


def test_changed_values_are_not_handed_out(tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "c.h5")
    with h5py.File(path, "r+") as file:
        file["vocabulary/count"][1] = 4
    with hdf5.open(path) as reader:
        assert reader.get("vocabulary/document_frequency").tolist() == [2, 2, 1, 1]
        with pytest.raises(InputError, match=r"vocabulary/count is damaged\n.*tdtool verify"):
            reader.get("vocabulary/count")
