"""Files come back as they were written, or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdtool.errors import InputError, ResourceError, UsageError
from tdtool.store import hdf5, schema
from tdtool.store.writer import decode_attribute, encode_attribute
from tests.store.samples import (
    N_DOCUMENTS,
    N_TOPICS,
    corpus_content,
    cp_content,
    factors_content,
    names,
    topics_content,
    tucker_content,
    write_corpus,
    write_cp,
    write_documents,
    write_factors,
    write_topics,
    write_tucker,
)


def _digest(path: Path) -> str:
    with hdf5.open(path) as reader:
        return reader.attributes["content_digest"]


def test_every_array_comes_back(tmp_path: Path) -> None:
    path = write_topics(tmp_path / "m.h5")
    with hdf5.open(path) as reader:
        assert reader.paths() == list(dict.fromkeys(s.path for s in schema.TOPICS.arrays if s.path in topics_content()))
        for name, values in topics_content().items():
            stored = reader.get(name)
            if isinstance(values, list):
                assert stored == values
            else:
                np.testing.assert_array_equal(stored, values, strict=True)
        assert reader.attributes["scores"]["perplexity"] == 80.25
        assert reader.attributes["schema_version"] == 1


SAMPLES = {
    "cp": (write_cp, cp_content()),
    "tucker": (write_tucker, tucker_content()),
    "complex tucker": (lambda path: write_tucker(path, tucker_content(imaginary=True)), tucker_content(imaginary=True)),
    "factors": (write_factors, factors_content()),
}


@pytest.mark.parametrize("kind", SAMPLES)
def test_arrays_of_decompositions_come_back(tmp_path: Path, kind: str) -> None:
    write, content = SAMPLES[kind]
    with hdf5.open(write(tmp_path / "m.h5")) as reader:
        assert set(reader.paths()) == set(content)
        for name, values in content.items():
            np.testing.assert_array_equal(reader.get(name), values)


def test_axes_of_modes_are_named(tmp_path: Path) -> None:
    with h5py.File(write_tucker(tmp_path / "t.h5")) as file:
        assert [axis.label for axis in file["core/values"].dims] == ["rank0", "rank1", "rank2"]
        assert [axis.label for axis in file["factors/mode2"].dims] == ["mode2", "rank2"]
        assert file["factors/mode2"].dims[1][0] == file["rank2"] == file["core/values"].dims[2][0]
        assert (file["rank2"].shape, file["mode2"].shape, file["mode"].shape) == ((4,), (5,), (3,))
    with h5py.File(write_factors(tmp_path / "f.h5")) as file:
        assert [axis.label for axis in file["factors/correlation"].dims] == ["factor", "factor_"]
        assert file["factor_"].shape == (2,)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("factors/mode1", None, "3 modes have a name, and there are factors/mode. of 2"),
        ("factors/mode3", np.ones((2, 3)), "3 modes have a name, and there are factors/mode. of 4"),
        ("factors/mode8", np.ones((2, 3)), "has no array factors/mode8"),
        ("factors/mode02", np.ones((5, 3)), "has no array factors/mode02"),
        ("labels/mode1", ["a"], "axis mode1 has length 1, other arrays have 2"),
        ("modes/name", ["a", "b"], "2 modes have a name, and there are factors/mode. of 3"),
        ("components/weight", np.ones(4), "axis component has length 3, other arrays have 4"),
    ],
)
def test_modes_must_fit_together(tmp_path: Path, name: str, values: Any, message: str) -> None:
    content = {key: value for key, value in (cp_content() | {name: values}).items() if value is not None}
    with pytest.raises((ValueError, KeyError), match=message):
        write_cp(tmp_path / "m.h5", content)
    assert names(tmp_path) == []


def test_core_has_an_axis_for_each_mode(tmp_path: Path) -> None:
    content = tucker_content()
    content["core/values"] = content["core/values"][:, :, 0].copy()
    with pytest.raises(ValueError, match="core/values: has 2 axes, and there are factors of 3 modes"):
        write_tucker(tmp_path / "m.h5", content)


def test_corpus_lies_flat_in_the_file(tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "c.h5")
    mapped = hdf5.memory_map(path, "counts/indices")
    assert isinstance(mapped, np.memmap)
    np.testing.assert_array_equal(mapped, corpus_content()["counts/indices"], strict=True)
    with pytest.raises(ValueError, match="read-only"):
        mapped[0] = 1
    with hdf5.open(path) as reader:
        assert reader.get("partitions/digest") == ["a" * 32, "b" * 32]
        with pytest.raises(ValueError, match="not stored contiguously"):
            reader.memory_map("vocabulary/term")


def test_results_are_compressed_and_summed(tmp_path: Path) -> None:
    with h5py.File(write_topics(tmp_path / "m.h5")) as file:
        dataset = file["documents/topic"]
        assert (dataset.compression, dataset.shuffle, dataset.fletcher32) == ("gzip", True, True)


def test_axes_are_named_as_netcdf_names_them(tmp_path: Path) -> None:
    with h5py.File(write_topics(tmp_path / "m.h5")) as file:
        dataset = file["documents/topic"]
        assert [axis.label for axis in dataset.dims] == ["document", "topic"]
        assert [axis[0].name for axis in dataset.dims] == ["/document", "/topic"]
        assert file["topic"].shape == (N_TOPICS,)
        assert file["topic"].is_scale
        assert file["topic"].id.get_storage_size() == 0
        assert dataset.attrs["long_name"] == schema.TOPICS.array("documents/topic").about


@given(order=st.permutations(range(4)), seed=st.integers(0, 99))
def test_blocks_may_come_in_any_order(tmp_path_factory: pytest.TempPathFactory, order: list[int], seed: int) -> None:
    folder = tmp_path_factory.mktemp("blocks")
    content = topics_content(seed)
    whole = _digest(write_topics(folder / "whole.h5", content))
    with hdf5.create(folder / "pieces.h5", schema.TOPICS) as writer:
        for name, values in content.items():
            if len(values) != N_DOCUMENTS:
                writer.put(name, values)
                continue
            shape, dtype = ((len(values),), str) if isinstance(values, list) else (values.shape, values.dtype)
            stream = writer.stream(name, shape, dtype)
            for block in order:
                stream.write(2 * block, values[2 * block : 2 * block + 2])
    assert _digest(folder / "pieces.h5") == whole


def test_digest_is_of_content_alone(tmp_path: Path) -> None:
    first = write_topics(tmp_path / "a.h5")
    with hdf5.create(tmp_path / "b.h5", schema.TOPICS) as writer:
        for name, values in reversed(topics_content().items()):
            writer.put(name, values)
        writer.attribute("argv", ["something", "else"])
    assert _digest(first) == _digest(tmp_path / "b.h5")
    changed = topics_content()
    changed["documents/length"] = changed["documents/length"] + (np.arange(N_DOCUMENTS) == 4)
    assert _digest(write_topics(tmp_path / "c.h5", changed)) != _digest(first)


def test_text_is_cleaned_of_what_hdf5_cannot_hold(tmp_path: Path) -> None:
    content = corpus_content() | {"documents/id": ["a\0b", "name\udcff", ""]}
    with hdf5.open(write_corpus(tmp_path / "c.h5", content)) as reader:
        assert reader.get("documents/id") == ["a\u2400b", "name\\udcff", ""]


def test_empty_axes_are_kept(tmp_path: Path) -> None:
    content = topics_content() | {"documents/id": [], "documents/topic": np.zeros((0, N_TOPICS), np.float32)}
    content |= {"documents/held_out": np.zeros(0, np.uint8), "documents/length": np.zeros(0, np.int64)}
    with hdf5.open(write_topics(tmp_path / "m.h5", content)) as reader:
        assert reader.get("documents/id") == []
        assert reader.get("documents/topic").shape == (0, N_TOPICS)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_attributes_come_back(value: Any) -> None:
    stored = encode_attribute(value)
    assert not isinstance(stored, str) or stored.isprintable(), "HDF5 has no NUL and no lone surrogates"
    assert decode_attribute(stored) == value


def test_attributes_survive_the_file(tmp_path: Path) -> None:
    values = {
        "text": "ß {",
        "json": '{"a"',
        "null": None,
        "nul": "a\0b",
        "big": ["x" * 50] * 5000,
        "number": np.float32(2.5),
    }
    path = tmp_path / "c.h5"
    with hdf5.create(path, schema.CORPUS) as writer:
        for name, array in corpus_content().items():
            writer.put(name, array)
        for name, value in values.items():
            writer.attribute(name, value)
        with pytest.raises(ValueError, match="JSON"):
            writer.attribute("nan", [float("nan")])
    with hdf5.open(path) as reader:
        assert {name: reader.attributes[name] for name in values} == values
    with h5py.File(path) as file:
        assert file.attrs["text"] == "ß {", "plain text is stored plainly"
        assert json.loads(file.attrs["big"]) == values["big"]


@pytest.mark.parametrize(
    ("path", "values", "message"),
    [
        ("topics/alpha", np.zeros((3, 2)), "2 axes"),
        ("topics/alpha", np.array([1, 2, 3]), "kind integer"),
        ("topics/alpha", np.zeros(4), "axis topic has length 4"),
        ("documents/id", np.zeros(N_DOCUMENTS), "kind float"),
    ],
)
def test_array_must_fit_the_schema(tmp_path: Path, path: str, values: Any, message: str) -> None:
    content = {"topics/size": topics_content()["topics/size"], path: values}
    with pytest.raises(ValueError, match=message):
        write_topics(tmp_path / "m.h5", content)
    assert names(tmp_path) == []


def test_file_with_a_missing_array_is_not_written(tmp_path: Path) -> None:
    content = topics_content()
    del content["topics/cv"], content["selection/npmi"]
    with pytest.raises(ValueError, match=r"lacks topics/cv$"):
        write_topics(tmp_path / "m.h5", content)
    assert names(tmp_path) == []


@pytest.mark.parametrize("rows", [(0, 6), (1, 6), (0, 8)])
def test_every_row_must_be_written_once(tmp_path: Path, rows: tuple[int, int]) -> None:
    lengths = np.zeros(10, np.int64)[: rows[1]]
    with pytest.raises(ValueError, match=r"documents/length: (6 of 7 rows|rows \d)"):
        _write_with_lengths(tmp_path / "m.h5", rows[0], lengths)
    assert names(tmp_path) == []


def _write_with_lengths(path: Path, start: int, lengths: np.ndarray) -> None:
    with hdf5.create(path, schema.TOPICS) as writer:
        for name, values in topics_content().items():
            if name != "documents/length":
                writer.put(name, values)
        writer.stream("documents/length", (N_DOCUMENTS,), np.int64).write(start, lengths)


def test_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_topics(tmp_path / "m.h5")
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="half way"):
        _write_and_fail(path, RuntimeError("half way"))
    assert path.read_bytes() == before
    assert names(tmp_path) == ["m.h5"]


def _write_and_fail(path: Path, error: Exception) -> None:
    with hdf5.create(path, schema.TOPICS, force=True) as writer:
        writer.put("topics/alpha", np.ones(N_TOPICS))
        raise error


def test_outputs_are_checked_before_any_work(tmp_path: Path) -> None:
    path = write_topics(tmp_path / "m.h5")
    with pytest.raises(UsageError, match="--force"):
        hdf5.check_output(path, force=False)
    hdf5.check_output(path, force=True)
    with pytest.raises(UsageError, match="is a directory"):
        hdf5.check_output(tmp_path, force=True)
    with pytest.raises(UsageError, match="mkdir -p"):
        hdf5.check_output(tmp_path / "no" / "m.h5", force=True)
    with pytest.raises(UsageError, match="not a plain file"):
        hdf5.check_output(Path("/dev/null"), force=True)


def test_two_runs_do_not_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with hdf5.create(path, schema.CORPUS) as first:
        with pytest.raises(UsageError, match="another run"):
            write_topics(path)
        for name, values in corpus_content().items():
            first.put(name, values)
    with hdf5.open(path) as reader:
        assert reader.schema is schema.CORPUS


def test_full_disk_is_a_resource_error(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="disk is full"):
        _write_and_fail(tmp_path / "m.h5", OSError(28, "No space left on device"))
    assert names(tmp_path) == []


def test_reading_what_is_no_file_of_ours(tmp_path: Path) -> None:
    text = tmp_path / "text.h5"
    text.write_text("not hdf5 at all")
    cut = tmp_path / "cut.h5"
    cut.write_bytes(write_topics(tmp_path / "m.h5").read_bytes()[:5000])
    cases = {
        tmp_path / "none.h5": "no such file",
        tmp_path: "is a directory",
        text: "not an HDF5 file",
        cut: "damaged or cut short",
    }
    for path, message in cases.items():
        with pytest.raises(InputError, match=message), hdf5.open(path):
            pass


def test_reader_asks_for_the_right_kind(tmp_path: Path) -> None:
    with hdf5.open(write_documents(tmp_path / "d.h5")) as reader:
        reader.require("tdtool.topics", "tdtool.documents")
        with pytest.raises(InputError, match=r"a tdtool.documents file, where tdtool.topics is wanted"):
            reader.require("tdtool.topics")
        with pytest.raises(KeyError, match="topics/alpha"):
            reader.get("topics/alpha")
