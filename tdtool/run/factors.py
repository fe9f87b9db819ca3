"""`tdtool factors`: from a table to the factors behind its columns."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tdtool import log
from tdtool.config import FactorsConfig, SourceConfig, as_json
from tdtool.data.ledger import Ledger
from tdtool.data.provenance import record_provenance
from tdtool.data.readers.factor_table import Table, read_table
from tdtool.data.table_stack import Stack, long_stack, recognise_endings, wide_stack
from tdtool.errors import InputError, UsageError
from tdtool.run.factor_columns import Measures, choose_measures, find_ids
from tdtool.run.factor_model import FactorModel, check_stack, fit_stack, fit_table
from tdtool.run.outputs import check_outputs
from tdtool.store import hdf5, schema
from tdtool.store.exports import export_all

Matrix = NDArray[np.float64]
#: What --stack begins with when it lists endings of names.
ENDINGS = "suffix:"
_WELL_FILLED = 0.8


@dataclasses.dataclass(frozen=True)
class FactorsResult:
    """What a run found and where it is.

    columns : p names; slices : s names, none for a plain table; ids : n names of rows; left_out : why columns were not
    taken, by name; notes : how the table was read.
    """

    path: Path
    model: FactorModel
    columns: list[str]
    slices: list[str]
    ids: list[str]
    left_out: dict[str, str]
    notes: list[str]
    ledger: Ledger
    seconds: float

    @property
    def n_factors(self) -> int:
        """k."""
        return self.model.n_factors

    @property
    def warnings(self) -> list[str]:
        """What to know before trusting the factors."""
        return list(self.model.warnings)

    def as_dict(self) -> dict[str, Any]:
        """The result as plain JSON values; the scores are in the file."""
        model = self.model
        weights = model.slice_weights
        return {
            "path": str(self.path),
            "n_rows": len(self.ids),
            "n_factors": self.n_factors,
            "columns": self.columns,
            "left_out": self.left_out,
            "method": model.method,
            "rotation": model.rotation,
            "parallel": {
                "n_factors": model.parallel.n_factors,
                "n_common_factors": model.parallel.n_common,
                "eigenvalues": model.parallel.eigenvalues.tolist(),
                "thresholds": model.parallel.thresholds.tolist(),
            },
            "factors": [self._factor(f) for f in range(self.n_factors)],
            "correlation": model.correlation.tolist(),
            "communality": dict(zip(self.columns, model.communality.tolist(), strict=True)),
            "slices": None if weights is None else dict(zip(self.slices, weights.tolist(), strict=True)),
            "adequacy": self._adequacy(),
            "fit": None if model.statistics is None else dataclasses.asdict(model.statistics),
            "relative_error": model.relative_error,
            "core_consistency": model.core_consistency,
            "notes": self.notes,
            "warnings": self.warnings,
            "ledger": self.ledger.as_dict(),
            "seconds": {"total": self.seconds},
        }

    def _adequacy(self) -> dict[str, Any] | None:
        if self.model.adequacy is None:
            return None
        values = dataclasses.asdict(self.model.adequacy)
        return {**values, "kmo_columns": dict(zip(self.columns, values["kmo_columns"].tolist(), strict=True))}

    def _factor(self, factor: int) -> dict[str, Any]:
        group, model = self.model.groups[factor], self.model
        return {
            "factor": factor + 1,
            "name": group.name,
            "variance": float(model.variance[factor]),
            "columns": [self.columns[i] for i in group.own],
            "also": [self.columns[i] for i in group.shared],
            "loadings": dict(zip(self.columns, model.pattern[:, factor].tolist(), strict=True)),
            "structure": dict(zip(self.columns, model.structure[:, factor].tolist(), strict=True)),
        }


@dataclasses.dataclass(frozen=True)
class _Prepared:
    """values : (n, p), or (n, p, s) for a stack; NaN where missing."""

    values: Matrix
    ids: list[str]
    columns: list[str]
    slices: list[str]
    left_out: dict[str, str]
    notes: list[str]
    ledger: Ledger


def fit_factors(
    source: str, output: Path, *, config: FactorsConfig, force: bool = False, exports: tuple[str, ...] = ()
) -> FactorsResult:
    """Find the factors of the table `source` and write them to `output` (and to `exports`, format by suffix)."""
    started = time.perf_counter()
    check_outputs([source], output, exports, force=force)
    with log.task("reading"):
        table = read_table(source, SourceConfig())
    # Matrices of a few hundred columns: more threads take longer, and may round otherwise.
    with log.task("factors"), threadpool_limits(1, user_api="blas"):
        prepared = _prepare(table, config)
        if prepared.slices:
            model = fit_stack(prepared.values, prepared.columns, prepared.slices, config, table.path)
        else:
            model = fit_table(prepared.values, prepared.columns, config, table.path)
    result = FactorsResult(
        path=output,
        model=model,
        columns=prepared.columns,
        slices=prepared.slices,
        ids=prepared.ids,
        left_out=prepared.left_out,
        notes=prepared.notes,
        ledger=prepared.ledger,
        seconds=time.perf_counter() - started,
    )
    _write(result, table, config, force)
    export_all(output, exports, force=force)
    return result


def _prepare(table: Table, config: FactorsConfig) -> _Prepared:
    """From the table to numbers: columns chosen, slices stacked, rows without values left out."""
    stack = config.stack
    endings = _endings(stack)
    groups = None
    if stack not in (None, "none") and endings is None:
        if stack not in table.names:
            hint = f"name a column, or endings of names ({ENDINGS}_written,_oral), or none"
            raise UsageError(f"--stack {stack}: there is no such column", hint=hint)
        groups = table.column(str(stack)).cells
    id_column, ids = find_ids(table, config.id_column, groups)
    not_these = {name for name in (id_column, stack if groups is not None else None) if name is not None}
    measures = choose_measures(table, config.columns, not_these=not_these)
    notes = [table.description + (f", rows named by {id_column}" if id_column is not None else "")]
    if not measures.columns:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(measures.left_out.items())[:5])
        raise InputError(f"no column measures anything ({reasons})", path=table.path, hint="choose some with --columns")
    if endings is None and stack is None:
        endings = recognise_endings(measures.names)
        if endings is not None:
            listed = ", ".join(endings)
            notes.append(
                f"columns end in {listed}: taken as a stack of {len(endings)} tables (--stack none: one table)"
            )
    return _stacked(table, measures, ids, groups, endings, config, notes)


def _endings(stack: str | None) -> list[str] | None:
    """What "suffix:_written,_oral" lists; None where it is anything else."""
    if stack is None or not stack.startswith(ENDINGS):
        return None
    endings = [ending.strip() for ending in stack.removeprefix(ENDINGS).split(",")]
    if len(endings) < 2 or not all(endings) or len(set(endings)) < len(endings):
        raise UsageError(f"--stack {stack}: it takes two endings or more, with commas", hint=f"{ENDINGS}_written,_oral")
    return endings


def _stacked(
    table: Table,
    measures: Measures,
    ids: list[str],
    groups: list[str] | None,
    endings: list[str] | None,
    config: FactorsConfig,
    notes: list[str],
) -> _Prepared:
    values, left_out = measures.values(), dict(measures.left_out)
    lines = table.lines.tolist()
    if groups is not None:
        stack = long_stack(values, measures.names, ids, groups, path=table.path, lines=table.lines)
        lines = [lines[row] for row in sorted({name: row for row, name in reversed(list(enumerate(ids)))}.values())]
    elif endings is not None:
        stack, dropped = wide_stack(values, measures.names, ids, endings)
        left_out.update(dropped)
    else:
        stack = Stack(values[:, :, None], ids, measures.names, [])
    if groups is not None or endings is not None:
        check_stack(stack.values, table.path)
        shape = f"{len(stack.ids)} rows x {len(stack.names)} columns x {len(stack.slices)} slices"
        notes.append(f"stack of {shape} ({', '.join(stack.slices)})")
    keep, ledger = _rows_kept(stack, lines, config, table.path)
    values = stack.values[keep] if stack.slices else stack.values[keep, :, 0]
    notes += _missing_notes(values, stack.names)
    names = [name for name, kept in zip(stack.ids, keep, strict=True) if kept]
    return _Prepared(values, names, stack.names, stack.slices, left_out, notes, ledger)


def _missing_notes(values: Matrix, names: list[str]) -> list[str]:
    """What is said about holes. values : (n, p) or (n, p, s)."""
    missing = np.isnan(values)
    if not missing.any():
        return []
    how = "pairs of columns use the rows that have both" if values.ndim == 2 else "the fit uses the others"
    notes = [f"{int(missing.sum()):,} of {values.size:,} cells are missing; {how}"]
    shares = (~missing).reshape(len(values), len(names), -1).mean(axis=(0, 2))
    thin = [f"{name} ({share:.0%})" for name, share in zip(names, shares, strict=True) if share < _WELL_FILLED]
    return [*notes, f"only partly filled: {', '.join(thin)}"] if thin else notes


def _rows_kept(stack: Stack, lines: list[int], config: FactorsConfig, path: str) -> tuple[NDArray[np.bool_], Ledger]:
    """Rows with values (--missing drop: without a hole), and the account of the others."""
    missing = np.isnan(stack.values).reshape(len(stack.ids), -1)
    drop = config.missing == "drop"
    keep = np.asarray(~missing.any(axis=1) if drop else ~missing.all(axis=1), np.bool_)
    ledger = Ledger()
    ledger.use(int(keep.sum()))
    for row in np.flatnonzero(~keep).tolist():
        ledger.skip("a value is missing" if drop else "no value in the columns chosen", path, lines[row])
    if not keep.any():
        hint = "--missing pairwise uses what there is; --columns chooses columns"
        raise InputError("no row is without a missing value", path=path, hint=hint)
    return keep, ledger


def _write(result: FactorsResult, table: Table, config: FactorsConfig, force: bool) -> None:
    model = result.model
    with hdf5.create(result.path, schema.FACTORS, force=force) as writer:
        writer.put("loadings/pattern", model.pattern)
        writer.put("loadings/structure", model.structure)
        writer.put("loadings/communality", model.communality)
        writer.put("factors/correlation", model.correlation)
        writer.put("factors/variance", model.variance)
        writer.put("scores/value", model.scores)
        writer.put("scores/id", result.ids)
        writer.put("variables/name", result.columns)
        writer.put("variables/mean", model.mean)
        writer.put("variables/scale", model.scale)
        writer.put("parallel/eigenvalue", model.parallel.eigenvalues)
        writer.put("parallel/threshold", model.parallel.thresholds)
        if model.slice_weights is not None:
            writer.put("slices/name", result.slices)
            writer.put("slices/weight", model.slice_weights)
        told = result.as_dict()
        writer.attribute(
            "scores", {key: told[key] for key in ("fit", "adequacy", "relative_error", "core_consistency")}
        )
        for key in ("method", "rotation", "left_out", "notes", "warnings"):
            writer.attribute(key, told[key])
        record_provenance(
            writer,
            config={"factors": as_json(config)},
            seed=config.seed,
            ledger=result.ledger,
            source=table.source,
            seconds={"total": result.seconds},
        )
