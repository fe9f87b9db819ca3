"""One decomposition of a tensor that passed its checks: choosing the rank, the fit, what to know before trusting it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from tdtool import log
from tdtool.config import DecomposeConfig
from tdtool.data.tensor import LabelledTensor
from tdtool.decompose.cp import cp_als
from tdtool.decompose.identifiability import degeneracy, kruskal
from tdtool.decompose.rank_choice import RankChoice, choose_cp_rank
from tdtool.decompose.results import CPFit, TuckerFit
from tdtool.decompose.sketched import cheaper_exact, sketched_cp_als, sketched_power
from tdtool.decompose.symmetric import is_symmetric
from tdtool.decompose.tensor_power import symmetric_cp
from tdtool.decompose.tucker import choose_ranks, hosvd, tucker_als
from tdtool.kernels.device_gpu import Gpu
from tdtool.kernels.modes import mode_dot, norm
from tdtool.kernels.sparse_tensor import SparseTensor
from tdtool.run.decompose_plan import plan_of
from tdtool.run.tensors import TUCKER_METHODS, dense, most_components

#: Bytes on a GPU for each of a tensor whose Tucker ranks are not known before: the tensor, and blocks of it.
_ROOM = 1.25


class _Sizes(TypedDict):
    hash_length: int
    n_sketches: int


@dataclasses.dataclass(frozen=True)
class Decomposition:
    """fit; norm : of the tensor, over what was observed; choice : how the CP rank was chosen, None when it was given.

    uniqueness : whether the components are the only ones, in a sentence, "" for Tucker; mode_errors : relative error
    that the factor of each mode alone leaves, () for CP; warnings : what to know before trusting the result; gpu : what
    did the work, None for threads.
    """

    fit: CPFit | TuckerFit
    norm: float
    choice: RankChoice | None = None
    uniqueness: str = ""
    mode_errors: tuple[float, ...] = ()
    warnings: tuple[str, ...] = ()
    gpu: Gpu | None = None


def fit_tensor(tensor: LabelledTensor, config: DecomposeConfig, gpu: Gpu | None = None) -> Decomposition:
    """Decompose a tensor as `config` says; the same seed gives the same result.

    gpu : where a dense tensor without missing values goes as a whole when it fits there, and the sketch of a sparse
    one. What cannot go there, or turns out not to fit, is decomposed on the host, and a note says so.
    """
    placed = None if gpu is None else _placed(tensor, config, gpu)
    if placed is not None:
        try:
            return dataclasses.replace(_fit(placed, config, gpu), gpu=gpu)
        except MemoryError:
            log.note("the memory of the GPU is not enough after all: decomposing on the CPU")
        placed = None
    return _fit(tensor, config, None)


def _placed(tensor: LabelledTensor, config: DecomposeConfig, gpu: Gpu) -> LabelledTensor | None:
    """The tensor with its values on the GPU, a sparse one as it is for a sketch; None, and a note, where it cannot."""
    values = tensor.values
    if isinstance(values, SparseTensor):
        if config.method == "sketch":
            return tensor
        log.note("a sparse tensor is decomposed on the CPU")
        return None
    if tensor.missing is not None:
        log.note("a tensor with missing values is decomposed on the CPU")
        return None
    unknown = config.method in TUCKER_METHODS and config.ranks is None
    needed = values.nbytes * _ROOM if unknown else plan_of(tensor, config, 1).held_bytes
    if needed > gpu.limit:
        what = f"{needed / 1e9:.1f} GB are needed on the GPU, and {gpu.limit / 1e9:.1f} GB may be used"
        log.note(f"{what}: decomposing on the CPU")
        return None
    try:
        by_columns = values.flags.f_contiguous and not values.flags.c_contiguous
        there = gpu.to_device(values.T).T if by_columns else gpu.to_device(values)
        return dataclasses.replace(tensor, values=there)
    except MemoryError:
        log.note("the tensor does not fit in the memory of the GPU: decomposing on the CPU")
        return None


def _fit(tensor: LabelledTensor, config: DecomposeConfig, gpu: Gpu | None) -> Decomposition:
    rng = np.random.default_rng(config.seed)
    length = _norm(tensor)
    if config.method in ("tucker", "hosvd"):
        return _tucker(tensor, config, length)
    choice = None
    if config.rank is None:
        choice = _choose(tensor, config, rng)
        config = dataclasses.replace(config, rank=choice.rank)
    fit = _sketch(tensor, config, rng, gpu) if config.method == "sketch" else _CP[config.method](tensor, config, rng)
    warnings = (*fit.warnings, *_doubts(tensor, config, fit))
    return Decomposition(fit, length, choice, kruskal(fit.factors).text, (), tuple(dict.fromkeys(warnings)))


def _norm(tensor: LabelledTensor) -> float:
    if tensor.missing is None:
        return float(norm(tensor.values))
    return math.sqrt(math.fsum(float(np.nansum(np.square(slab, dtype=np.float64))) for slab in dense(tensor)))


def _tucker(tensor: LabelledTensor, config: DecomposeConfig, length: float) -> Decomposition:
    values = dense(tensor)
    with log.task(f"{config.method}"):
        ranks = config.ranks or choose_ranks(values, config.max_error)
        if config.ranks is None:
            log.note(f"ranks {', '.join(map(str, ranks))} leave a relative error of at most {config.max_error:g}")
        if config.method == "hosvd":
            fit = hosvd(values, ranks)
        else:
            fit = tucker_als(values, ranks, max_iters=config.max_iters, tol=config.tol)
        errors = tuple(_mode_error(values, factor, mode, length) for mode, factor in enumerate(fit.factors))
    unsettled = fit.stopped == "max_iters" and config.method == "tucker"
    return Decomposition(fit, length, None, "", errors, (_unsettled(config),) if unsettled else ())


def _mode_error(values: NDArray[Any], factor: NDArray[Any], mode: int, length: float) -> float:
    """Relative error of the projection onto the columns of one factor."""
    kept = float(norm(mode_dot(values, factor.conj(), mode, transpose=True)))
    return math.sqrt(max(0.0, 1 - (kept / length) ** 2))


def _choose(tensor: LabelledTensor, config: DecomposeConfig, rng: np.random.Generator) -> RankChoice:
    most = min(config.max_rank, most_components(tensor.shape))
    if config.method == "power":
        most = min(most, tensor.shape[0])
    with log.task("trying ranks", total=most) as bar:
        choice = choose_cp_rank(
            tensor.values,
            most,
            rng=rng,
            nonnegative=config.method == "cp-nonneg",
            mask=tensor.missing,
            on_rank=lambda *_: bar.advance(),
        )
    log.note(f"--rank auto chose {choice.rank}")
    return choice


def _cp(tensor: LabelledTensor, config: DecomposeConfig, rng: np.random.Generator) -> CPFit:
    with log.task(f"{config.method}, rank {config.rank}") as bar:
        return cp_als(
            tensor.values,
            config.rank or 1,
            max_iters=config.max_iters,
            tol=config.tol,
            n_restarts=config.restarts,
            nonnegative=config.method == "cp-nonneg",
            mask=tensor.missing,
            rng=rng,
            on_sweep=lambda *_: bar.advance(),
        )


def _power(tensor: LabelledTensor, config: DecomposeConfig, rng: np.random.Generator) -> CPFit:
    with log.task(f"power, rank {config.rank}"):
        return symmetric_cp(
            dense(tensor),
            config.rank or 1,
            n_restarts=config.restarts,
            max_iters=config.max_iters,
            tol=config.tol,
            rng=rng,
        )


def _sketch(tensor: LabelledTensor, config: DecomposeConfig, rng: np.random.Generator, gpu: Gpu | None) -> CPFit:
    values, rank = tensor.values, config.rank or 1
    sizes = _Sizes(hash_length=config.hash_length, n_sketches=config.sketches)
    with log.task(f"sketch, rank {rank}"):
        dense_cube = not isinstance(values, SparseTensor) and values.ndim == 3 and rank <= len(values)
        if dense_cube and is_symmetric(dense(tensor)):
            return sketched_power(dense(tensor), rank, **sizes, n_restarts=config.restarts, rng=rng)
        return sketched_cp_als(
            values,
            rank,
            **sizes,
            n_restarts=config.restarts,
            max_iters=config.max_iters,
            tol=config.tol,
            gpu=gpu,
            rng=rng,
        )


_CP: dict[str, Callable[[LabelledTensor, DecomposeConfig, np.random.Generator], CPFit]] = {
    "cp": _cp,
    "cp-nonneg": _cp,
    "power": _power,
}


def _doubts(tensor: LabelledTensor, config: DecomposeConfig, fit: CPFit) -> list[str]:
    """Reasons for a second look at a CP decomposition."""
    doubts = list(degeneracy(fit.weights, fit.factors))
    if fit.stopped == "max_iters":
        doubts.append(_unsettled(config))
    if fit.stopped == "diverged":
        doubts.append("the iteration diverged: take a lower rank, or cp-nonneg where the data are non-negative")
    if config.method == "sketch" and not isinstance(tensor.values, SparseTensor):
        sizes = (config.rank or 1, config.hash_length, config.sketches)
        if cheaper_exact(tensor.shape, *sizes):
            doubts.append("exact is cheaper than sketches for this tensor: --method cp")
    return doubts


def _unsettled(config: DecomposeConfig) -> str:
    return f"{config.max_iters} sweeps were not enough to settle: raise --max-iters"
