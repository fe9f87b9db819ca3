"""How many CP components: core consistency, agreement of two halves of the data, and error, for rank 1, 2, 3, ..."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from tdtool.decompose.core_consistency import core_consistency
from tdtool.decompose.cp import cp_als
from tdtool.decompose.matching import congruence
from tdtool.decompose.results import CPFit
from tdtool.decompose.tucker import truncate
from tdtool.kernels.arrays import like, to_host
from tdtool.kernels.device_gpu import owner
from tdtool.kernels.modes import multi_mode_dot, norm
from tdtool.kernels.sparse_tensor import SparseTensor
from tdtool.kernels.threads import run_parallel

Array = NDArray[Any]
Mask = NDArray[np.bool_]
Tensor = Array | SparseTensor

__all__ = ["RankChoice", "RankTrial", "choose_cp_rank", "core_consistency", "pick_rank", "split_half"]

CONGRUENT = (
    0.9  # two halves agree on a component from here on (Lorenzo-Seva and ten Berge 2006: 0.85 "fair", 0.95 "equal")
)
CONSISTENT = 50.0  # percent: below, a core is doubtful (Bro and Kiers 2003) ...
TRILINEAR = 80.0  # ... and from here on it is close to that of a CP model
EXACT = 1e-6  # relative error at which nothing is left to explain
PATIENCE = 2  # ranks in a row that fail in every respect end the search
_SPLIT_SIZE = 4  # a mode that is split has at least this size ...
_SPLIT_MODES = 2  # ... and is among this many largest
_TOGETHER = 2**20  # products a mode from which two halves are fitted at once: smaller fits would wait for each other
_SWEEPS = 100  # for a half: those that need more do not agree
_DRAWS = 10  # of halves, until every slice of both has values


@dataclasses.dataclass(frozen=True)
class RankTrial:
    """One rank: relative_error and core_consistency (percent) of its fit, and why that stopped.

    congruence : of the component on which two halves of the data agree least, 0 to 1, or NaN (see `split_half`), in
    the mode split where that is smallest.
    """

    rank: int
    relative_error: float
    core_consistency: float
    congruence: float
    stopped: str


@dataclasses.dataclass(frozen=True)
class RankChoice:
    """The chosen rank, the trials in order of rank, and in one sentence why."""

    rank: int
    table: tuple[RankTrial, ...]
    reason: str


def split_half(
    tensor: Tensor,
    rank: int,
    rng: np.random.Generator,
    *,
    mode: int | None = None,
    n_splits: int = 3,
    nonnegative: bool = False,
    mask: Mask | None = None,
) -> float:
    """How well CP models of two random halves of the data agree, 0 to 1, on the component where they agree least.

    The halves share all modes but one (`mode`; default: the largest), whose slices are dealt out at random. Components
    of the two fits are matched by the congruence of the other modes' factors; a component counts with the smallest
    cosine among those modes. By bad luck a split leaves a component to one half alone, and by good luck two halves find
    the same noise: what more than half of n_splits reach counts, and there are no more splits once it is clear whether
    that is 0.9. NaN when the mode is too short, or has too many missing values, for halves of this rank.

    Source: Harshman and Lundy 1984, "Data preprocessing and the extended PARAFAC model" (split-half validation).
    """
    mode = int(np.argmax(tensor.shape)) if mode is None else mode
    most = n_splits // 2 + 1
    agreements: list[float] = []
    for _ in range(n_splits):
        halves = _halves(tensor.shape, rank, mode, mask, rng)
        if halves is None:
            return math.nan
        tasks = [
            functools.partial(_half_fit, tensor, mode, chosen, rank, own, nonnegative=nonnegative, mask=mask)
            for chosen, own in zip(halves, rng.spawn(2), strict=True)
        ]
        n_values = tensor.nnz if isinstance(tensor, SparseTensor) else tensor.size
        together = n_values * rank >= _TOGETHER and owner(tensor) is None
        fits = run_parallel(tasks) if together else [task() for task in tasks]
        agreements.append(_agreement(fits[0], fits[1], mode))
        n_good = sum(agreement >= CONGRUENT for agreement in agreements)
        if n_good >= most or len(agreements) - n_good > n_splits - most:
            break
    return sorted(agreements, reverse=True)[min(most, len(agreements)) - 1]


def choose_cp_rank(
    tensor: Tensor,
    max_rank: int = 10,
    *,
    rng: np.random.Generator,
    nonnegative: bool = False,
    mask: Mask | None = None,
    on_rank: Callable[[RankTrial], None] | None = None,
) -> RankChoice:
    """Try CP ranks 1 ... max_rank and choose the largest that two halves of the data share and that beats noise.

    tensor : dense real, or sparse. mask : bool of the tensor's shape, true where a value is missing. on_rank is called
    with each trial.

    A rank counts when (1) random halves of the data agree on all its components, to a congruence of 0.9, along the
    largest mode and along the second largest, or it halves the squared error at a core consistency of 80 or more; and
    (2) it takes more off the squared error of the rank before than a component fitted to noise would: the share
    (sum_n sqrt(I_n))^2 / prod_n I_n, at most a half, the squared spectral norm of a random tensor over its squared
    norm. Where the data cannot be split, a core consistency of 50 stands in for (1). By itself core consistency does
    not decide: components that overlap, and four modes, make it collapse at the true rank. The search ends early when
    a fit is exact, when a rank has been found and two in a row fail with a core consistency below 0, and at ranks that
    halves of the data cannot have.

    A large dense tensor is compressed to 2 max_rank leading directions of each mode first (not of a mode to be split):
    orthonormal directions change neither the core consistency nor any cosine, and the error that
    compression leaves is added to each trial's.

    Raises ValueError: max_rank below 1, a tensor of order below 3.

    Sources: Harshman and Lundy 1984; Tomioka and Suzuki 2014, "Spectral norm of random tensors" (the scale of (2)).
    """
    if max_rank < 1:
        raise ValueError(f"max_rank is {max_rank}; it must be at least 1")
    if len(tensor.shape) < 3:
        raise ValueError(f"the tensor has order {len(tensor.shape)}; the CP rank can be chosen from order 3 on")
    noise = _noise_share(tensor.shape, mask)
    small, halved, lost = _compressed(tensor, max_rank, keep=nonnegative or mask is not None)
    table: list[RankTrial] = []
    for rank in range(1, min(max_rank, _largest_rank(tensor.shape)) + 1):
        fit = cp_als(small, rank, nonnegative=nonnegative, mask=mask, rng=rng)
        agreement = _worst_split(halved, rank, rng, nonnegative=nonnegative, mask=mask)
        error = math.sqrt(fit.relative_error**2 * (1 - lost) + lost)
        table.append(RankTrial(rank, error, core_consistency(small, fit, mask=mask), agreement, fit.stopped))
        if on_rank is not None:
            on_rank(table[-1])
        if error < EXACT or _hopeless(table, noise):
            break
    return pick_rank(table, noise)


def _worst_split(
    halved: dict[int, Tensor], rank: int, rng: np.random.Generator, *, nonnegative: bool, mask: Mask | None
) -> float:
    """The smaller agreement of two halves over the modes that are split; the first that fails ends it."""
    worst = math.nan
    for mode, tensor in halved.items():
        agreement = split_half(tensor, rank, rng, mode=mode, nonnegative=nonnegative, mask=mask)
        worst = agreement if math.isnan(worst) else min(worst, agreement)
        if worst < CONGRUENT:
            break
    return worst


def _noise_share(shape: tuple[int, ...], mask: Mask | None) -> float:
    """What share of the squared norm of pure noise its best rank-one fit takes off; half where that is a poor bound."""
    n_seen = math.prod(shape) if mask is None else mask.size - np.count_nonzero(mask)
    return min(0.5, sum(math.sqrt(size) for size in shape) ** 2 / max(n_seen, 1))


def _passing(table: list[RankTrial], noise: float) -> list[RankTrial]:
    """The ranks that count, ascending."""
    before, passing = 1.0, []
    for trial in table:
        gain = 1 - (trial.relative_error / before) ** 2 if before > 0 else 0.0
        agrees, collapses = trial.congruence >= CONGRUENT, trial.core_consistency >= TRILINEAR and gain >= 0.5
        unsplit = math.isnan(trial.congruence) and trial.core_consistency >= CONSISTENT
        if gain >= noise and (agrees or collapses or unsplit):
            passing.append(trial)
        before = trial.relative_error
    return passing


def _hopeless(table: list[RankTrial], noise: float) -> bool:
    """Whether a rank has been found and the last ones failed in every respect."""
    passing = _passing(table, noise)
    last = table[-PATIENCE:]
    return bool(passing) and passing[-1].rank <= len(table) - PATIENCE and all(t.core_consistency < 0 for t in last)


def pick_rank(table: list[RankTrial], noise: float) -> RankChoice:
    """The largest rank that counts (see `choose_cp_rank`), and why.

    table : trials of rank 1, 2, 3, ...; noise : the share of the squared error that a component fitted to noise takes.
    """
    passing = _passing(table, noise)
    if not passing:
        reason = "rank 1, for want of better: at no rank do two halves of the data agree on the components"
        return RankChoice(1, tuple(table), reason)
    best = passing[-1]
    reason = f"rank {best.rank} is the largest tried that gains more than noise would, and "
    if best.congruence >= CONGRUENT:
        reason += f"on whose components two halves of the data agree (congruence {best.congruence:.3f})"
    elif math.isnan(best.congruence):
        reason += f"has a core consistency of {best.core_consistency:.0f} (no mode has enough slices to split)"
    else:
        reason += f"it halves the squared error or better, with a core consistency of {best.core_consistency:.0f}"
    if best.core_consistency < CONSISTENT:
        reason += f"; its core consistency of {max(best.core_consistency, -100):.0f} is low: its components overlap or"
        reason += " interact, so look at lower ranks too"
    if best.rank == table[-1].rank and best.relative_error >= EXACT:
        reason += "; higher ranks were not tried"
    return RankChoice(best.rank, tuple(table), reason)


def _largest_rank(shape: tuple[int, ...]) -> int:
    """The rank above which a tensor of this shape needs no components."""
    return max(1, min(math.prod(shape) // size for size in shape))


def _compressed(tensor: Tensor, max_rank: int, *, keep: bool) -> tuple[Tensor, dict[int, Tensor], float]:
    """The tensor for the fits; by mode, those to split; the share of the squared norm that the first has lost."""
    modes = [int(mode) for mode in np.argsort(tensor.shape)[::-1][:_SPLIT_MODES] if tensor.shape[mode] >= _SPLIT_SIZE]
    ranks = tuple(min(size, 2 * max_rank) for size in tensor.shape)
    if keep or isinstance(tensor, SparseTensor) or 2 * math.prod(ranks) > math.prod(tensor.shape):
        return tensor, dict.fromkeys(modes, tensor), 0.0
    core, factors = truncate(tensor, ranks)
    halved: dict[int, Tensor] = {}
    for mode in modes:
        halved[mode] = to_host(multi_mode_dot(tensor, factors, skip=mode, transpose=True))
    return to_host(core), halved, max(0.0, 1 - (norm(core) / max(norm(tensor), np.finfo(float).tiny)) ** 2)


def _halves(
    shape: tuple[int, ...], rank: int, mode: int, mask: Mask | None, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """The slices of two random halves, ascending; None where there are none of this rank."""
    size = shape[mode]
    if size < _SPLIT_SIZE or rank > _largest_rank((*shape[:mode], size // 2, *shape[mode + 1 :])):
        return None
    for _ in range(_DRAWS):
        order = rng.permutation(size)
        halves = np.sort(order[: size // 2]), np.sort(order[size // 2 :])
        if mask is None or all(_is_seen(np.take(mask, half, axis=mode)) for half in halves):
            return halves
    return None


def _is_seen(mask: Mask) -> bool:
    """Whether every slice of every mode has a value."""
    modes = range(mask.ndim)
    return not any(np.all(mask, axis=tuple(m for m in modes if m != mode)).any() for mode in modes)


def _slices(tensor: Tensor, mode: int, chosen: NDArray[np.int64]) -> Tensor:
    """The slices `chosen` (ascending) of a mode, as a tensor of its own."""
    if not isinstance(tensor, SparseTensor):
        return np.take(tensor, like(chosen, tensor), axis=mode)
    place = np.full(tensor.shape[mode], -1, np.int64)
    place[chosen] = np.arange(chosen.size)
    kept = place[tensor.coordinates[mode]] >= 0
    coordinates = [column[kept] for column in tensor.coordinates]
    coordinates[mode] = place[coordinates[mode]]
    shape = (*tensor.shape[:mode], chosen.size, *tensor.shape[mode + 1 :])
    return SparseTensor.from_coo(coordinates, tensor.values[kept], shape)


def _half_fit(
    tensor: Tensor,
    mode: int,
    chosen: NDArray[np.int64],
    rank: int,
    rng: np.random.Generator,
    *,
    nonnegative: bool,
    mask: Mask | None,
) -> CPFit:
    """The fit to the slices `chosen` of a mode."""
    missing = None if mask is None else np.take(mask, chosen, axis=mode)
    part = _slices(tensor, mode, chosen)
    return cp_als(part, rank, max_iters=_SWEEPS, nonnegative=nonnegative, mask=missing, rng=rng)


def _agreement(first: CPFit, second: CPFit, mode: int) -> float:
    """The smallest cosine, over modes but `mode`, of the matched components that agree least."""
    left, right = ([f for n, f in enumerate(fit.factors) if n != mode] for fit in (first, second))
    rows, columns = linear_sum_assignment(-np.abs(congruence(left, right)))
    cosines = [np.abs(np.sum(a[:, rows] * b[:, columns], axis=0)) for a, b in zip(left, right, strict=True)]
    return float(np.min(cosines, initial=1.0))
