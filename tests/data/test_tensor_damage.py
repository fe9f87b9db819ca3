"""Damaged tensor files of every format: an error in the user's words, or a right tensor; never anything else."""

from __future__ import annotations

import gzip
import io
import random
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

from tdtool.data.tensor import LabelledTensor
from tdtool.errors import InputError, ResourceError, TdtoolError
from tests.data.tensor_reading import read, sample

N_FILES = 60


def _saved(write: object, *arguments: object, **settings: object) -> bytes:
    content = io.BytesIO()
    write(content, *arguments, **settings)  # type: ignore[operator]
    return content.getvalue()


def _hdf5(user_block: int) -> bytes:
    content = io.BytesIO()
    with h5py.File(content, "w", userblock_size=user_block) as file:
        file["X"] = sample()
        file.create_dataset("Y", data=sample((3, 5)), chunks=(2, 2), compression="gzip")
    if user_block:
        content.seek(0)
        content.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    return content.getvalue()


def _rows(separator: str) -> bytes:
    values = sample((2, 3, 5)) / 3
    rows = (separator.join([*(str(i + 1) for i in at), repr(values[at].item())]) for at in np.ndindex(2, 3, 5))
    return "".join(f"{row}\n" for row in rows).encode()


MATRIX = sp.csc_array(np.where(np.arange(35).reshape(5, 7) % 3 == 0, sample((5, 7)), 0))
FILES = {
    "x.npy": _saved(np.save, sample()),
    "x.npz": _saved(np.savez, X=sample(), labels0=np.array(["a", "b"])),
    "compressed.npz": _saved(np.savez_compressed, X=sample()),
    "sparse.npz": _saved(sp.save_npz, MATRIX),
    "x.h5": _hdf5(0),
    "v73.mat": _hdf5(512),
    "v5.mat": _saved(scipy.io.savemat, {"X": sample(), "S": MATRIX, "c": "text"}),
    "compressed.mat": _saved(scipy.io.savemat, {"X": sample(), "s": {"f": 1.0}}, do_compression=True),
    "sparse.mat": _saved(scipy.io.savemat, {"S": MATRIX}),
    "x.tns": _rows(" "),
    "header.tns": b"sptensor\n3\n2 3 5\n30\n" + _rows(" "),
    "x.tns.gz": gzip.compress(_rows(" "), mtime=0),
    "x.csv": b"i,j,k,value\n" + _rows(","),
    "table.csv": b'name,"a, b",c\nx,1,2.5\ny,2,3\nz,1,\n',
}


def _damaged(whole: bytes, rng: random.Random) -> bytes:
    """Cut short, some bytes changed (often near the beginning, where the structure is), or a piece moved."""
    kind, content = rng.random(), bytearray(whole)
    if kind < 0.3:
        return whole[: rng.randrange(len(whole))]
    if kind < 0.8:
        for _ in range(rng.choice([1, 2, 5, 20])):
            within = min(len(content), rng.choice([64, 300, 1000, 1 << 30]))
            content[rng.randrange(within)] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
        return bytes(content)
    start, other = rng.randrange(len(content)), rng.randrange(len(content))
    content[start : start + rng.randrange(1, 30)] = content[other : other + rng.randrange(30)]
    return bytes(content)


def _outcome(path: Path) -> LabelledTensor | TdtoolError:
    try:
        return read(path, memory=1 << 28)
    except (InputError, ResourceError) as error:
        return error


@pytest.mark.parametrize("name", FILES)
def test_damaged_files(tmp_path: Path, name: str) -> None:
    path, rng, refused = tmp_path / name, random.Random(name), 0
    path.write_bytes(FILES[name])
    assert read(path).shape
    for _ in range(N_FILES):
        path.write_bytes(_damaged(FILES[name], rng))
        found = _outcome(path)
        if isinstance(found, TdtoolError):
            refused += 1
            assert str(path) in str(found)
        else:
            assert min(found.shape) >= 1
            assert found.ledger.rows_in == found.ledger.rows_used + found.ledger.rows_skipped
    assert refused >= N_FILES // 4
