"""A tensor from a file, held against what the chosen method can take, with the user's words where it cannot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tdtool import log
from tdtool.config import DecomposeConfig, TensorConfig
from tdtool.data.tensor import LabelledTensor, read_tensor
from tdtool.decompose.symmetric import is_symmetric
from tdtool.errors import InputError, UsageError
from tdtool.kernels.sparse_tensor import SparseTensor

#: Methods by what they find: a sum of components, or a core with a factor a mode.
CP_METHODS = ("cp", "cp-nonneg", "power", "sketch")
TUCKER_METHODS = ("tucker", "hosvd")

_LARGEST, _LARGEST_SINGLE = 1e140, 1e15  # sums of squares of values beyond these are not numbers any more
_BLOCK = 1 << 18
_CHOOSABLE = 3
_SYMMETRY = {np.dtype(np.float32): 1e-4}


def load_tensor(source: str, config: TensorConfig, *, memory: int) -> LabelledTensor:
    """Read a tensor. memory : bytes that it may take. Errors as of `read_tensor`."""
    with log.task(f"reading {source}"):
        tensor = read_tensor(source, config, memory=memory)
    log.note(tensor.description)
    return tensor


def check_options(config: DecomposeConfig) -> None:
    """UsageError for settings that contradict each other, whatever the tensor is."""
    method = config.method
    if method not in CP_METHODS + TUCKER_METHODS:
        known = ", ".join(TUCKER_METHODS + CP_METHODS)
        raise UsageError(f"there is no method {method!r}", hint=f"known are {known}")
    if config.rank is not None and method in TUCKER_METHODS:
        hint = "one a mode: --ranks 5,5,2; or --max-error, and the ranks are chosen"
        raise UsageError(f"--rank is for CP; --method {method} takes --ranks", hint=hint)
    if config.ranks is not None and method in CP_METHODS:
        raise UsageError(f"--ranks is for tucker and hosvd; --method {method} takes one --rank")
    if config.rank is None and method == "sketch":
        hint = "--method cp chooses the rank by itself"
        raise UsageError("--method sketch needs a --rank: sketches are too coarse to choose one by", hint=hint)
    for rank in (*(config.ranks or ()), *(() if config.rank is None else (config.rank,))):
        if rank < 1:
            raise UsageError(f"a rank of {rank}: a decomposition has at least 1 component")
    for name in ("max_rank", "max_iters", "restarts", "hash_length", "sketches"):
        if getattr(config, name) < 1:
            raise UsageError(f"--{name.replace('_', '-')} is {getattr(config, name)}; it must be at least 1")
    if not 0 < config.max_error < 1:
        raise UsageError(f"--max-error is {config.max_error}; it lies between 0 and 1")
    if not config.tol >= 0:
        raise UsageError(f"--tol is {config.tol}; it must be at least 0")


def check_tensor(tensor: LabelledTensor, config: DecomposeConfig, source: str) -> None:
    """InputError where the method cannot take the tensor, or the ranks its shape (UsageError: the wrong number)."""
    _check_kind(tensor, config.method, source)
    _check_values(tensor, config.method, source)
    if config.ranks is not None:
        _check_ranks(tensor, config.ranks, source)
    if config.method in CP_METHODS and config.rank is None and len(tensor.shape) < _CHOOSABLE:
        hint = "its components are not unique; --method tucker --max-error chooses ranks for a matrix"
        raise UsageError("--rank auto needs three modes; the tensor has two", path=source, hint=f"give --rank: {hint}")
    most = most_components(tensor.shape)
    if config.rank is not None and config.rank > most:
        what = f"rank {config.rank} is more than the {most:,} that any tensor of {by(tensor.shape)} needs"
        raise InputError(what, path=source, hint=f"ask for at most --rank {most}")
    if config.method == "power":
        _check_power(tensor, config.rank, source)


def most_components(shape: Sequence[int]) -> int:
    """A bound that no CP rank of a tensor of this shape exceeds: the product of all sizes but the largest."""
    return math.prod(shape) // max(shape)


def by(shape: Sequence[int]) -> str:
    """(5, 201, 61) as "5 x 201 x 61"."""
    return " x ".join(f"{size:,}" for size in shape)


def dense(tensor: LabelledTensor) -> NDArray[Any]:
    """The values of a tensor that is known to be dense."""
    return cast("NDArray[Any]", tensor.values)


def place_name(tensor: LabelledTensor, mode: int, index: int) -> str:
    """The label of a place along a mode, or its index in brackets."""
    labels = tensor.labels[mode]
    return f"[{index}]" if labels is None else labels[index]


def _check_kind(tensor: LabelledTensor, method: str, source: str) -> None:
    values = tensor.values
    if isinstance(values, SparseTensor):
        if method not in ("cp", "cp-nonneg", "sketch"):
            hint = "cp and cp-nonneg take sparse tensors; a small one can be given as a dense array (.npy)"
            raise InputError(f"it is sparse, and --method {method} needs all values", path=source, hint=hint)
        return
    if values.dtype.kind == "c" and method not in TUCKER_METHODS:
        hint = "tucker and hosvd take complex values; or give real and imaginary parts as one more mode of size 2"
        raise InputError(f"its values are complex, and --method {method} needs real ones", path=source, hint=hint)
    if tensor.missing is not None and method not in ("cp", "cp-nonneg"):
        n_missing = int(np.count_nonzero(tensor.missing))
        hint = "cp and cp-nonneg take missing values; or fill them in before"
        raise InputError(
            f"{n_missing:,} of {values.size:,} values are missing; --method {method} needs all", path=source, hint=hint
        )
    places = _unobserved(tensor)
    if places:
        hint = "leave such places out, or fill them in before"
        raise InputError(f"no value is known at {places[0]}", path=source, hint=hint)


def _unobserved(tensor: LabelledTensor) -> list[str]:
    """Places along a mode without one observed value, as a person calls them; at most three of each mode."""
    if tensor.missing is None:
        return []
    places = []
    for mode, name in enumerate(tensor.mode_names):
        others = tuple(other for other in range(tensor.missing.ndim) if other != mode)
        empty = np.flatnonzero(tensor.missing.all(axis=others)).tolist()
        named = [place_name(tensor, mode, index) for index in empty[:3]]
        more = f" and {len(empty) - 3:,} more" if len(empty) > 3 else ""
        places += [f"{name} {', '.join(named)}{more}"] if empty else []
    return places


def _check_values(tensor: LabelledTensor, method: str, source: str) -> None:
    """Values whose squares are numbers, not all zero; for cp-nonneg none negative."""
    largest = max((float(np.nanmax(np.abs(block), initial=0.0)) for _, block in _blocks(tensor)), default=0.0)
    if largest == 0:
        raise InputError("all its values are 0: there is nothing to find", path=source)
    single = isinstance(tensor.values, np.ndarray) and tensor.values.dtype in (np.float32, np.complex64)
    limit = _LARGEST_SINGLE if single else _LARGEST
    if not 1 / limit <= largest <= limit:
        hint = f"multiply all values by {1 / largest:.0e} before"
        raise InputError(f"its largest value is {largest:.3g}: squares of such are no numbers", path=source, hint=hint)
    if method != "cp-nonneg":
        return
    for start, block in _blocks(tensor):
        if (block < 0).any():
            place = _first_negative(tensor, start, block)
            hint = "--method cp takes negative values"
            raise InputError(f"a negative value, {place}; --method cp-nonneg takes none", path=source, hint=hint)


def _first_negative(tensor: LabelledTensor, start: int, block: NDArray[Any]) -> str:
    values = tensor.values
    place = np.argwhere(block < 0)[0]
    if isinstance(values, SparseTensor):
        indices = [int(coordinates[start + int(place[0])]) for coordinates in values.coordinates]
    else:
        indices = [start + int(place[0]), *map(int, place[1:])]
    named = [
        f"{name} {labels[index]}"
        for name, labels, index in zip(tensor.mode_names, tensor.labels, indices, strict=True)
        if labels is not None
    ]
    where = f"[{', '.join(map(str, indices))}] (counted from 0{''.join(f'; {text}' for text in named)})"
    return f"{float(block[tuple(place)]):.4g} at {where}"


def _blocks(tensor: LabelledTensor) -> Any:
    """(start, values) in slabs along the first mode; of a sparse tensor its stored values."""
    values = tensor.values.values if isinstance(tensor.values, SparseTensor) else tensor.values
    step = max(1, _BLOCK * len(values) // max(values.size, 1))
    return ((start, values[start : start + step]) for start in range(0, len(values), step))


def _check_ranks(tensor: LabelledTensor, ranks: tuple[int, ...], source: str) -> None:
    order = len(tensor.shape)
    if len(ranks) != order:
        hint = f"its shape is {by(tensor.shape)}: give {order} numbers with commas between"
        raise UsageError(f"--ranks has {len(ranks)} numbers, and the tensor has {order} modes", path=source, hint=hint)
    for mode, (rank, size) in enumerate(zip(ranks, tensor.shape, strict=True)):
        others = math.prod(ranks) // rank
        if rank > min(size, others):
            why = f"the size {size:,} of that mode" if rank > size else f"the {others:,} that the other ranks allow"
            what = f"rank {rank} of mode {tensor.mode_names[mode]} is more than {why}"
            raise InputError(what, path=source, hint=f"the tensor is {by(tensor.shape)}; --ranks goes mode by mode")


def _check_power(tensor: LabelledTensor, rank: int | None, source: str) -> None:
    values, hint = dense(tensor), "--method cp has a factor of its own for every mode"
    if values.ndim < 3 or len(set(values.shape)) > 1:
        raise InputError(f"{by(values.shape)} is no cube; --method power needs one", path=source, hint=hint)
    if not is_symmetric(values, _SYMMETRY.get(values.dtype, 1e-8)):
        what = "exchanging its modes changes its values; --method power needs a symmetric tensor"
        raise InputError(what, path=source, hint=hint)
    if rank is not None and rank > values.shape[0]:
        what = f"rank {rank} is more than the size {values.shape[0]:,} of the modes, which --method power can find"
        raise InputError(what, path=source, hint=hint)
