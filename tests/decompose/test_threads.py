"""Whole fits give the same bits for any number of threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tdtool.decompose import rank_choice
from tdtool.decompose.cp import cp_als
from tdtool.decompose.rank_choice import choose_cp_rank
from tdtool.decompose.tucker import tucker_als
from tdtool.decompose.tucker_start import sketched_subspaces
from tdtool.kernels import threads
from tdtool.kernels.sparse_tensor import SparseTensor
from tests import oracles_modes as oracles

SHAPE = (24, 22, 26)


@pytest.fixture(autouse=True)
def _fine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small work is cut in blocks as large work is; BLAS has one thread."""
    monkeypatch.setattr(threads, "GRAIN", 2**12)
    monkeypatch.setattr(rank_choice, "_TOGETHER", 0)
    with threadpool_limits(1, user_api="blas"):
        yield


def noisy(shape: tuple[int, ...] = SHAPE) -> NDArray[np.float64]:
    rng = np.random.default_rng(5)
    factors = [rng.gamma(1.0, size=(size, 3)) for size in shape]
    return oracles.model(np.ones(3), factors) + 0.3 * rng.random(shape)


def fits() -> dict[str, Callable[[], list[NDArray[Any]]]]:
    """Each decomposition, as all arrays of its result."""
    tensor = noisy()
    mask = np.random.default_rng(6).random(SHAPE) < 0.3
    sparse = np.where(tensor > np.quantile(tensor, 0.9), tensor, 0)
    entries = SparseTensor.from_coo(np.nonzero(sparse), sparse[np.nonzero(sparse)], SHAPE)
    given: dict[str, tuple[Any, dict[str, Any]]] = {
        "dense": (tensor, {"compress": False}),
        "compressed": (tensor, {"compress": True}),
        "sparse": (entries, {}),
        "nonnegative": (tensor, {"nonnegative": True}),
        "missing": (tensor, {"mask": mask}),
        "missing, nonnegative": (tensor, {"mask": mask, "nonnegative": True}),
    }

    def cp(case: str) -> list[NDArray[Any]]:
        values, options = given[case]
        fit = cp_als(values, 3, max_iters=12, rng=np.random.default_rng(1), **options)
        return [fit.weights, *fit.factors, np.array(fit.errors)]

    def tucker() -> list[NDArray[Any]]:
        fit = tucker_als(tensor, (3, 4, 2), max_iters=5, tol=0.0)
        return [fit.core, *fit.factors, np.array(fit.errors)]

    def subspaces() -> list[NDArray[Any]]:
        core, vectors = sketched_subspaces(tensor, (5, 6, 4), np.random.default_rng(2))
        return [core, *vectors]

    def chosen_rank() -> list[NDArray[Any]]:
        choice = choose_cp_rank(noisy((9, 8, 10)), 3, nonnegative=True, rng=np.random.default_rng(3))
        return [np.array([(t.relative_error, t.core_consistency, t.congruence) for t in choice.table])]

    found: dict[str, Callable[[], list[NDArray[Any]]]] = {case: lambda case=case: cp(case) for case in given}  # type: ignore[misc]
    return {**found, "tucker": tucker, "subspaces": subspaces, "rank choice": chosen_rank}


@pytest.mark.parametrize("case", list(fits()))
def test_same_bits_for_any_number_of_threads(case: str) -> None:
    fit = fits()[case]
    alone = fit()
    for n_threads in (2, 3):
        with threads.using(n_threads):
            for again, first in zip(fit(), alone, strict=True):
                np.testing.assert_array_equal(again, first)
