"""The class Gpu on a real GPU: what the emulated one has in its place. Skipped where there is none."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tdtool.errors import TdtoolError
from tdtool.kernels import device_gpu
from tdtool.kernels.contract import contract
from tdtool.kernels.device_gpu import Gpu

pytestmark = pytest.mark.gpu


@pytest.fixture
def real() -> Iterator[Gpu]:
    """The GPU of this machine."""
    from tdtool.config import ComputeConfig
    from tdtool.run.device import open_device

    try:
        gpu = open_device(ComputeConfig("cuda"))
    except TdtoolError as error:
        pytest.skip(f"no GPU to test on: {error.what}")
    assert gpu is not None
    yield gpu
    gpu.free_unused()
    device_gpu._current = None


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-12), (np.complex128, 1e-12)])
@pytest.mark.parametrize("equation", ["mk,knp->mnp", "km,nkp->mnp", "mk,nkp->pnm", "bmk,bkn->mnb"])
def test_products_of_the_library(
    real: Gpu, rng: np.random.Generator, equation: str, dtype: type, tolerance: float
) -> None:
    sizes = dict(zip("mnpkb", (33, 65, 130, 47, 9), strict=True))
    left, right = (
        rng.standard_normal([sizes[letter] for letter in letters]).astype(dtype)
        for letters in equation.partition("->")[0].split(",")
    )
    expected = np.einsum(equation, left.astype(np.complex128), right)
    for _ in range(2):  # the first call of a library and the next ones may take different ways
        found = real.to_host(contract(equation, real.to_device(left), real.to_device(right)))
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def test_streamed_arrays_arrive_whole(real: Gpu, rng: np.random.Generator) -> None:
    """Large enough that copies and work overlap, of sizes that go up and down."""
    batches = [(rng.integers(0, 100, size), rng.random(size // 3)) for size in (1 << 20, 10, 1 << 22, 5000, 1 << 21, 0)]
    sums = [(real.xp.sum(one), real.xp.sum(other)) for one, other in real.stream(iter(batches))]
    for (one, other), (first, second) in zip(batches, sums, strict=True):
        assert int(real.to_host(first)) == one.sum()
        assert float(real.to_host(second)) == pytest.approx(other.sum(), rel=1e-12)


def test_memory_beyond_the_limit_is_refused_and_no_end(real: Gpu) -> None:
    limited = device_gpu.open_gpu(limit=1 << 26)
    with pytest.raises(MemoryError):
        limited.empty(1 << 27, np.uint8)
    limited.free_unused()
    assert limited.zeros(1 << 20, np.uint8).nbytes == 1 << 20
    real.xp.get_default_memory_pool().set_limit(size=0)
