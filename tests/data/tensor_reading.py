"""What the tests of the tensor readers share: a tensor of unequal sizes, reading, and expecting an error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tdtool.config import TensorConfig
from tdtool.data.tensor import LabelledTensor, read_tensor
from tdtool.errors import TdtoolError
from tdtool.kernels.sparse_tensor import SparseTensor

MEMORY = 1 << 30
SHAPE = (2, 3, 5, 7)


def sample(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Values that no permutation of the modes leaves as they are, exact in float32."""
    return np.random.default_rng(7).integers(-1000, 1000, shape) / 8.0


def read(path: Path | str, *, memory: int = MEMORY, **settings: object) -> LabelledTensor:
    tensor = read_tensor(str(path), TensorConfig(**settings), memory=memory)  # type: ignore[arg-type]
    order = len(tensor.shape)
    assert len(tensor.mode_names) == len(tensor.labels) == order
    for size, names in zip(tensor.shape, tensor.labels, strict=True):
        assert names is None or len(names) == size
    if tensor.missing is not None:
        assert tensor.missing.dtype == np.bool_
        assert isinstance(tensor.values, np.ndarray)
        assert np.array_equal(np.isnan(tensor.values), tensor.missing)
    return tensor


def dense(tensor: LabelledTensor) -> np.ndarray:
    return tensor.values.to_dense() if isinstance(tensor.values, SparseTensor) else tensor.values


def refused(path: Path | str, error: type[TdtoolError], **settings: object) -> TdtoolError:
    """The error that reading ends in; it must name the file."""
    with pytest.raises(error) as caught:
        read(path, **settings)  # type: ignore[arg-type]
    assert caught.value.path is None or str(path) in str(caught.value)
    return caught.value
