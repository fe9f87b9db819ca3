"""`tdtool decompose`: from a tensor to a file of components."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.config import DecomposeConfig, TensorConfig, as_json
from tdtool.data.ledger import Ledger
from tdtool.data.provenance import record_provenance
from tdtool.data.tensor import LabelledTensor
from tdtool.decompose.results import CPFit, TuckerFit
from tdtool.errors import InputError, ResourceError
from tdtool.kernels.device_gpu import Gpu
from tdtool.kernels.sparse_tensor import SparseTensor
from tdtool.run.components import core_entries, cp_components, squares_of, tucker_modes
from tdtool.run.decompose_fit import Decomposition, fit_tensor
from tdtool.run.decompose_plan import DecomposePlan, check_memory, memory_limit, plan_of
from tdtool.run.machine import available_cores
from tdtool.run.outputs import check_outputs
from tdtool.run.tensors import TUCKER_METHODS, check_options, check_tensor, load_tensor
from tdtool.run.threads import limited
from tdtool.store import hdf5, schema
from tdtool.store.exports import export_all

_SMALLER = "what takes less: --method sketch, fewer components, float32 values, or a .tns when most values are 0"


@dataclasses.dataclass(frozen=True)
class DecomposeResult:
    """What a run found and where it is.

    shape, n_values, n_missing : of the tensor; mode_names, labels : of its modes; description : it in one line.
    """

    path: Path
    method: str
    decomposition: Decomposition
    shape: tuple[int, ...]
    n_values: int
    n_missing: int
    mode_names: tuple[str, ...]
    labels: tuple[list[str] | None, ...]
    description: str
    ledger: Ledger
    seconds: dict[str, float]

    @property
    def fit(self) -> CPFit | TuckerFit:
        """Weights or core, and factors."""
        return self.decomposition.fit

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to know before trusting the components."""
        return self.decomposition.warnings

    @property
    def squares(self) -> float:
        """Sum of squares of the tensor."""
        n_cells = int(np.prod(self.shape, dtype=np.float64))
        return squares_of(self.decomposition.norm, n_cells, self.n_missing)

    def components(self, n_top: int) -> list[dict[str, Any]]:
        """Weight, share and strongest places of each CP component; [] for Tucker."""
        fit = self.fit
        if isinstance(fit, TuckerFit):
            return []
        return cp_components(fit.weights, fit.factors, self.mode_names, self.labels, self.squares, n_top)

    def modes(self, n_top: int) -> list[dict[str, Any]]:
        """Components of each mode of a Tucker decomposition; [] for CP."""
        fit = self.fit
        if isinstance(fit, CPFit):
            return []
        modes = tucker_modes(fit.core, fit.factors, self.mode_names, self.labels, self.squares, n_top)
        errors = self.decomposition.mode_errors
        return [{**mode, "relative_error": error} for mode, error in zip(modes, errors, strict=True)]

    def core(self) -> list[dict[str, Any]]:
        """The largest entries of a Tucker core; [] for CP."""
        return core_entries(self.fit.core, self.squares) if isinstance(self.fit, TuckerFit) else []

    def selection(self) -> list[dict[str, Any]]:
        """What --rank auto tried; [] when the rank was given."""
        choice = self.decomposition.choice
        return [] if choice is None else [dataclasses.asdict(trial) for trial in choice.table]

    def as_dict(self, n_top: int = 10) -> dict[str, Any]:
        """The result as plain JSON values."""
        fit, choice = self.fit, self.decomposition.choice
        values: dict[str, Any] = {
            "path": str(self.path),
            "method": self.method,
            "tensor": self.description,
            "shape": self.shape,
            "n_values": self.n_values,
            "n_missing": self.n_missing,
            "mode_names": self.mode_names,
            "relative_error": fit.relative_error,
            "fit": fit.fit,
            "sweeps": len(fit.errors),
            "stopped": fit.stopped,
            "errors": fit.errors,
            "warnings": self.warnings,
            "ledger": self.ledger.as_dict(),
            "seconds": self.seconds,
        }
        if isinstance(fit, TuckerFit):
            return {**values, "ranks": fit.ranks, "core": self.core(), "modes": self.modes(n_top)}
        values |= {"rank": fit.rank, "components": self.components(n_top), "uniqueness": self.decomposition.uniqueness}
        values |= {"restart_errors": fit.restart_errors, "selection": self.selection()}
        return {**values, "reason": choice.reason if choice else None}


def decompose(
    source: str,
    output: Path,
    *,
    tensor: TensorConfig | None = None,
    decompose: DecomposeConfig | None = None,
    workers: int | None = None,
    memory: int | None = None,
    gpu: Gpu | None = None,
    force: bool = False,
    exports: Sequence[str] = (),
) -> DecomposeResult:
    """Decompose the tensor in `source` and write the result to `output` (and to `exports`, format by suffix).

    source : a path, or "-" for standard input; workers : threads, default all cores (the result does not depend on
    them); memory : bytes that the arrays may take, default what is free; gpu : where a tensor that fits there is
    decomposed. UsageError, InputError, ResourceError say what cannot be.
    """
    started = time.perf_counter()
    config = decompose or DecomposeConfig()
    check_options(config)
    check_outputs([source], output, exports, force=force)
    with _in_words(source), limited(workers):
        found = _read(source, tensor or TensorConfig(), config, memory)
        read = time.perf_counter()
        check_memory(plan_of(found, config, workers or available_cores()), memory_limit(memory), source)
        decomposition = fit_tensor(found, config, gpu)
    seconds = {"read": read - started, "fit": time.perf_counter() - read}
    _write(output, found, decomposition, config, tensor or TensorConfig(), seconds, force)
    export_all(output, list(exports), force=force)
    return _result(output, found, decomposition, config, {**seconds, "total": time.perf_counter() - started})


def plan_decompose(
    source: str,
    *,
    tensor: TensorConfig | None = None,
    decompose: DecomposeConfig | None = None,
    workers: int | None = None,
    memory: int | None = None,
) -> DecomposePlan:
    """Read `source` and say what `decompose` with the same arguments would take. Nothing is fitted or written."""
    config = decompose or DecomposeConfig()
    check_options(config)
    with _in_words(source), limited(workers):
        found = _read(source, tensor or TensorConfig(), config, memory)
        return plan_of(found, config, workers or available_cores())


@contextlib.contextmanager
def _in_words(source: str) -> Iterator[None]:
    """What goes wrong below, as an error that says what to do."""
    try:
        yield
    except MemoryError as error:
        raise ResourceError("not enough memory for the decomposition", path=source, hint=_SMALLER) from error
    except np.linalg.LinAlgError as error:
        hint = "its values may be of too different sizes; or take a lower rank"
        raise InputError(f"the decomposition failed: {error}", path=source, hint=hint) from error


def _read(source: str, config: TensorConfig, method: DecomposeConfig, memory: int | None) -> LabelledTensor:
    found = load_tensor(source, config, memory=memory_limit(memory))
    check_tensor(found, method, source)
    return found


def _result(
    output: Path, tensor: LabelledTensor, found: Decomposition, config: DecomposeConfig, seconds: dict[str, float]
) -> DecomposeResult:
    values, missing = tensor.values, tensor.missing
    n_missing = 0 if missing is None else int(np.count_nonzero(missing))
    n_values = values.nnz if isinstance(values, SparseTensor) else values.size - n_missing
    return DecomposeResult(
        path=output,
        method=config.method,
        decomposition=found,
        shape=tensor.shape,
        n_values=n_values,
        n_missing=n_missing,
        mode_names=tensor.mode_names,
        labels=tensor.labels,
        description=tensor.description,
        ledger=tensor.ledger,
        seconds=seconds,
    )


def _write(
    output: Path,
    tensor: LabelledTensor,
    found: Decomposition,
    config: DecomposeConfig,
    source: TensorConfig,
    seconds: dict[str, float],
    force: bool,
) -> None:
    is_tucker = config.method in TUCKER_METHODS
    with hdf5.create(output, schema.TUCKER if is_tucker else schema.CP, force=force) as writer:
        if isinstance(found.fit, TuckerFit):
            _put_complex(writer, "core/values", "core/imaginary", found.fit.core)
        else:
            writer.put("components/weight", found.fit.weights)
            _put_selection(writer, found)
        for mode, factor in enumerate(found.fit.factors):
            _put_complex(writer, f"factors/mode{mode}", f"imaginary/mode{mode}", factor)
        writer.put("modes/name", list(tensor.mode_names))
        for mode, labels in enumerate(tensor.labels):
            if labels is not None:
                writer.put(f"labels/mode{mode}", labels)
        writer.put("history/error", np.array(found.fit.errors))
        for name, value in _facts(tensor, found, config).items():
            writer.attribute(name, value)
        settings = {"tensor": as_json(source), "decompose": as_json(config)}
        record_provenance(
            writer,
            config=settings,
            seed=config.seed,
            ledger=tensor.ledger,
            source=tensor.source,
            seconds=seconds,
            gpu=found.gpu,
        )


def _facts(tensor: LabelledTensor, found: Decomposition, config: DecomposeConfig) -> dict[str, Any]:
    facts = {
        "method": config.method,
        "tensor": tensor.description,
        "shape": list(tensor.shape),
        "n_missing": 0 if tensor.missing is None else int(np.count_nonzero(tensor.missing)),
        "norm": found.norm,
        "relative_error": found.fit.relative_error,
        "stopped": found.fit.stopped,
        "warnings": list(found.warnings),
    }
    if found.choice is not None:
        facts["reason"] = found.choice.reason
    if isinstance(found.fit, TuckerFit):
        return {**facts, "mode_errors": list(found.mode_errors)}
    return {**facts, "uniqueness": found.uniqueness}


def _put_complex(writer: hdf5.Writer, real: str, imaginary: str, values: NDArray[Any]) -> None:
    writer.put(real, np.ascontiguousarray(values.real))
    if np.iscomplexobj(values):
        writer.put(imaginary, np.ascontiguousarray(values.imag))


def _put_selection(writer: hdf5.Writer, found: Decomposition) -> None:
    if found.choice is None:
        return
    table = found.choice.table
    writer.put("selection/rank", np.array([trial.rank for trial in table]))
    writer.put("selection/error", np.array([trial.relative_error for trial in table]))
    writer.put("selection/core_consistency", np.array([trial.core_consistency for trial in table]))
    writer.put("selection/congruence", np.array([trial.congruence for trial in table]))
