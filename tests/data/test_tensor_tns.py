"""Sparse tensors as text."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from tdtool.errors import InputError, ResourceError
from tdtool.kernels.sparse_tensor import SparseTensor
from tests.data.source_reading import COMPRESSIONS
from tests.data.tensor_reading import SHAPE, dense, read, refused


def sparse_values() -> np.ndarray:
    rng = np.random.default_rng(5)
    values = np.where(rng.random(SHAPE) < 0.2, rng.standard_normal(SHAPE), 0)
    values[-1, -1, -1, -1] = 1 / 3
    return values


def lines_of(values: np.ndarray) -> str:
    places = np.argwhere(values)
    np.random.default_rng(1).shuffle(places)
    return "".join(" ".join(map(str, place + 1)) + f" {values[tuple(place)].item()!r}\n" for place in places)


HEADERS = {
    "none": "",
    "comments": "# made by hand\n\n#\n",
    "order and sizes": "4\n2 3 5 7\n",
    "sizes": "2 3 5 7\n",
    "sptensor": "sptensor\n4\n2 3 5 7\n{nnz}\n",
    "byte order mark": "\ufeff",
}


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_round_trip(tmp_path: Path, header: str, suffix: str) -> None:
    values = sparse_values()
    text = HEADERS[header].format(nnz=np.count_nonzero(values)) + lines_of(values)
    path = tmp_path / f"x.tns{suffix}"
    path.write_bytes(COMPRESSIONS[suffix](text.encode()))
    tensor = read(path)
    assert isinstance(tensor.values, SparseTensor)
    np.testing.assert_array_equal(dense(tensor), values)
    assert tensor.missing is None
    assert tensor.ledger.rows_used == np.count_nonzero(values)
    assert tensor.description.startswith("tns, tensor of 2 x 3 x 5 x 7, sparse, ")


def test_recognised_without_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = sparse_values()
    (tmp_path / "data").write_text(lines_of(values))
    assert read(tmp_path / "data").source["format"] == "tns"
    monkeypatch.setattr("sys.stdin", type("In", (), {"buffer": io.BytesIO(lines_of(values).encode())}))
    np.testing.assert_array_equal(dense(read("-")), values)


def test_blocks_are_joined_where_they_were_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdtool.data.readers.counts_batches._BLOCK", 100)
    values = sparse_values()
    (tmp_path / "x.tns").write_text(lines_of(values).removesuffix("\n"))
    np.testing.assert_array_equal(dense(read(tmp_path / "x.tns")), values)
    (tmp_path / "x.tns").write_text(lines_of(values) * 3 + "1 1 1\n")
    assert refused(tmp_path / "x.tns", InputError).line == 3 * np.count_nonzero(values) + 1


def test_repeated_places_are_added_up(tmp_path: Path) -> None:
    (tmp_path / "x.tns").write_text("1 1 2 5\n2 1 1 0\n1 1 2 6\n2 2 2 7\n")
    tensor = read(tmp_path / "x.tns")
    assert isinstance(tensor.values, SparseTensor)
    assert tensor.values.values.tolist() == [11, 7]
    assert tensor.shape == (2, 2, 2)
    assert tensor.ledger.counters == {"entries that are 0, or of a place seen before (added up)": 2}


def test_labels_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "x.tns").write_text("2 3 1 5\n1 1 2 6\n")
    (tmp_path / "x.mode1.txt").write_bytes("Ärger\r\nMut".encode())
    (tmp_path / "x.mode2.txt").write_text("a\nb\n\n")
    (tmp_path / "x.mode3.txt").write_text("only one\n")
    tensor = read(tmp_path / "x.tns")
    assert tensor.labels == (["Ärger", "Mut"], ["a", "b", ""], None)
    assert "labels for mode0, mode1; x.mode3.txt has 1 lines and mode 3 2 indices: it is not used" in tensor.description


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("1 1 1 5\n1 1 5\n", 2, "the line has fewer than 4 fields (3 indices and a value)"),
        ("1 1 1 5\n1 1 1 5 6\n", 2, "the line has more than 4 fields (3 indices and a value)"),
        ("1 1 1 5\n\n# x\n1 0 1 5\n", 4, "the index of mode 2 is 0"),
        ("1 1 1 5\n1 -1 1 5\n", 2, "an index is not a whole number from 1 on"),
        ("1 1 1 5\n1 1.5 1 5\n", 2, "an index is not a whole number from 1 on"),
        ("1 1 1 5\n1 1 9999999999999999999 5\n", 2, "an index is larger than 999,999,999,999,999,999"),
        ("1 1 1 5\n1 1 1 nan\n", 2, "the value nan is not finite"),
        ("1 1 1 5\n1 1 1 -inf\n", 2, "the value -inf is not finite"),
        ("1 1 1 5\n1 1 1 1e999\n", 2, "the value 1e999 is not finite"),
        ("1 1 1 1.12345678901234567890\n1 1 1 5\n1 1 1 five\n", 3, "the value 'five' is not a number"),
        ("1 1 1 5\n1 1 1 1_0\n", 2, "the value '1_0' is not a number"),
        ("1 5\n", 1, "the line has 2 fields; a tensor has 2 to 8 modes"),
        ("1 1 1 1 1 1 1 1 1 5\n", 1, "the line has 10 fields; a tensor has 2 to 8 modes"),
        ("3\n2 2 2\n1 1 3 5\n", 3, "the index 3 of mode 3 is beyond the 2 of the header"),
        ("3\n2 2\n1 1 1 5\n", 2, "3 modes are promised and 2 sizes are given"),
        ("9\n2 2\n1 1 1 5\n", 1, "the number of modes is not one from 2 to 8"),
        ("3\n2 2 0\n1 1 1 5\n", 2, "a size of a mode is not a whole number from 1 on"),
        ("sptensor\n3\n2 2 2\n2\n1 1 1 5\n", 4, "the header promises 2 entries and there are 1"),
        ("sptensor\n3\n2 2 2\n", 1, "the header ends too early"),
        ("sptensor\n3\n2 2 2\n1 1 1 5\n", 4, "the number of entries is missing"),
        ("tensor\n3\n2 2 2\n1\n", 1, "it is a tensor of the Tensor Toolbox, which is dense"),
        ("3\n2 2 2\n", 2, "there is no entry"),
        ("# nothing\n", None, "there is no entry"),
        ("1 1 1 0\n", None, "all its values are 0"),
    ],
)
def test_refused(tmp_path: Path, text: str, line: int | None, what: str) -> None:
    path = tmp_path / "x.tns"
    path.write_text(text)
    error = refused(path, InputError)
    assert (error.what, error.line) == (what, line)
    assert error.exit_code == 3


def test_too_large_for_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.tns"
    path.write_text("1 1 999999999999999999 5\n")
    error = refused(path, ResourceError)
    assert error.what == "a mode of 999,999,999,999,999,999 indices needs 8.0 EB of memory and 1.1 GB are allowed"
    path.write_text("1 1 1 5\n" * 1000)
    assert "a tensor of more than 1,000 entries needs 64 KB" in refused(path, ResourceError, memory=50_000).what
    assert "a tensor of 1,000 entries needs 128 KB" in refused(path, ResourceError, memory=100_000).what


@pytest.mark.shared_data
def test_authors_words_years(shared_data: Path) -> None:
    tensor = read(shared_data / "tensors" / "nips_author_word_year.tns.gz")
    assert isinstance(tensor.values, SparseTensor)
    assert tensor.shape == (930, 7174, 32)
    assert tensor.values.nnz == 563_915
    assert tensor.labels[0] is not None
    assert tensor.labels[1] is not None
    assert tensor.labels[0][:2] == ["Aapo Hyvärinen", "Aaron C. Courville"]
    assert tensor.labels[1][-1] != ""
    assert tensor.labels[2] == [str(year) for year in range(1987, 2019)]
