"""TTM chains and MTTKRP: what Tucker and CP spend their time in, timed as tests.bench.contract_peers does."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tests.bench.contract_peers import time_call

if TYPE_CHECKING:
    from tests.bench.contract_peers import Task

Array = NDArray[Any]
#: (tensor (n, n, n), three matrices (n, R)) -> a call that returns the result.
Maker = Callable[[Array, list[Array]], Callable[[], Any]]

RANK = 16
_TTM = "ijk,ia,jb,kc->abc"
_MTTKRP = ("ijk,jr,kr->ir", "ijk,ir,kr->jr", "ijk,ir,jr->kr")


def tdtool_ttm(tensor: Array, matrices: list[Array]) -> Callable[[], Any]:
    """Ours."""
    chain = importlib.import_module("tdtool.kernels.modes").multi_mode_dot
    return lambda: chain(tensor, matrices, transpose=True)


def tdtool_mttkrp(tensor: Array, matrices: list[Array]) -> Callable[[], Any]:
    """Ours, all modes one after the other."""
    product = importlib.import_module("tdtool.kernels.mttkrp").mttkrp
    return lambda: [product(tensor, matrices, mode) for mode in range(3)]


def contract_ttm(tensor: Array, matrices: list[Array]) -> Callable[[], Any]:
    """Ours as one equation."""
    return _ttm_by(importlib.import_module("tdtool.kernels.contract").contract, tensor, matrices)


def contract_mttkrp(tensor: Array, matrices: list[Array]) -> Callable[[], Any]:
    """Ours as three equations."""
    return _mttkrp_by(importlib.import_module("tdtool.kernels.contract").contract, tensor, matrices)


def opt_einsum_ttm(tensor: Array, matrices: list[Array]) -> Callable[[], Any]:
    """opt_einsum on numpy."""
    return _ttm_by(importlib.import_module("opt_einsum").contract, tensor, matrices)


def opt_einsum_mttkrp(tensor: Array, matrices: list[Array]) -> Callable[[], Any]:
    """opt_einsum on numpy."""
    return _mttkrp_by(importlib.import_module("opt_einsum").contract, tensor, matrices)


def cotengra_ttm(tensor: Array, matrices: list[Array]) -> Callable[[], Any]:
    """cotengra on numpy."""
    return _ttm_by(importlib.import_module("cotengra").einsum, tensor, matrices)


def cotengra_mttkrp(tensor: Array, matrices: list[Array]) -> Callable[[], Any]:
    """cotengra on numpy."""
    return _mttkrp_by(importlib.import_module("cotengra").einsum, tensor, matrices)


def torch_ttm(tensor: Array, matrices: list[Array]) -> Callable[[], Any]:
    """torch.einsum, which asks opt_einsum for the order."""
    torch = importlib.import_module("torch")
    return _ttm_by(torch.einsum, torch.from_numpy(tensor), [torch.from_numpy(matrix) for matrix in matrices])


def torch_mttkrp(tensor: Array, matrices: list[Array]) -> Callable[[], Any]:
    """torch.einsum, which asks opt_einsum for the order."""
    torch = importlib.import_module("torch")
    return _mttkrp_by(torch.einsum, torch.from_numpy(tensor), [torch.from_numpy(matrix) for matrix in matrices])


def tensorly_ttm(tensor: Array, matrices: list[Array]) -> Callable[[], Any]:
    """tensorly on numpy."""
    chain = importlib.import_module("tensorly.tenalg").multi_mode_dot
    return lambda: chain(tensor, matrices, transpose=True)


def tensorly_mttkrp(tensor: Array, matrices: list[Array]) -> Callable[[], Any]:
    """tensorly on numpy."""
    product = importlib.import_module("tensorly.tenalg").unfolding_dot_khatri_rao
    return lambda: [product(tensor, (None, matrices), mode) for mode in range(3)]


def pyttb_ttm(tensor: Array, matrices: list[Array]) -> Callable[[], Any]:
    """pyttb, on its own column-major tensor."""
    pyttb = importlib.import_module("pyttb")
    own, turned = pyttb.tensor(tensor), [np.asfortranarray(matrix.T) for matrix in matrices]
    return lambda: own.ttm(turned).data


def pyttb_mttkrp(tensor: Array, matrices: list[Array]) -> Callable[[], Any]:
    """pyttb, on its own column-major tensor."""
    own = importlib.import_module("pyttb").tensor(tensor)
    own_matrices = [np.asfortranarray(matrix) for matrix in matrices]
    return lambda: [own.mttkrp(own_matrices, mode) for mode in range(3)]


def _ttm_by(einsum: Callable[..., Any], tensor: Any, matrices: list[Any]) -> Callable[[], Any]:
    return lambda: einsum(_TTM, tensor, *matrices)


def _mttkrp_by(einsum: Callable[..., Any], tensor: Any, matrices: list[Any]) -> Callable[[], Any]:
    others = [[matrix for place, matrix in enumerate(matrices) if place != mode] for mode in range(3)]
    return lambda: [einsum(equation, tensor, *rest) for equation, rest in zip(_MTTKRP, others, strict=True)]


CHAINS: dict[str, tuple[Maker, Maker]] = {
    "tdtool": (tdtool_ttm, tdtool_mttkrp),
    "tdtool contract": (contract_ttm, contract_mttkrp),
    "tensorly": (tensorly_ttm, tensorly_mttkrp),
    "pyttb": (pyttb_ttm, pyttb_mttkrp),
    "torch": (torch_ttm, torch_mttkrp),
    "opt_einsum": (opt_einsum_ttm, opt_einsum_mttkrp),
    "cotengra": (cotengra_ttm, cotengra_mttkrp),
}


def timed_chains(task: Task) -> Iterator[dict[str, Any]]:
    """One message for each case; task.cases are (name, n, "ttm" | "mttkrp")."""
    makers = CHAINS[task.system.removeprefix("chain ")]
    for name, n, work in task.cases:
        rng = np.random.default_rng(0)
        tensor = rng.standard_normal((n, n, n)).astype(task.dtype)
        matrices = [rng.standard_normal((n, RANK)).astype(task.dtype) for _ in range(3)]
        call = makers[work == "mttkrp"](tensor, matrices)
        error = _error(work, tensor, matrices, call())
        seconds, cpu_seconds = time_call(call, task.seconds)
        yield {"case": name, "seconds": seconds, "cpu_seconds": cpu_seconds, "error": error}


def _error(work: str, tensor: Array, matrices: list[Array], result: Any) -> float:
    """The largest deviation from numpy over the largest entry."""
    if work == "ttm":
        found, expected = [np.asarray(result)], [np.einsum(_TTM, tensor, *matrices, optimize=True)]
    else:
        found = [np.asarray(part) for part in result]
        others = [[matrix for place, matrix in enumerate(matrices) if place != mode] for mode in range(3)]
        expected = [
            np.einsum(equation, tensor, *rest, optimize=True) for equation, rest in zip(_MTTKRP, others, strict=True)
        ]
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(found, expected, strict=True))
