"""One model of a table, or of a stack of tables, and what to know before trusting it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tdtool.config import FactorsConfig
from tdtool.decompose.correlations import Adequacy, Correlations, adequacy, correlations
from tdtool.decompose.factor_analysis import (
    NEARLY_SINGULAR,
    FactorFit,
    FitStatistics,
    factor_analysis,
    factor_scores,
    fit_statistics,
    most_factors,
)
from tdtool.decompose.factor_groups import SALIENT, FactorGroup, factor_groups
from tdtool.decompose.identifiability import degeneracy, kruskal
from tdtool.decompose.parallel_analysis import ParallelAnalysis, parallel_analysis
from tdtool.decompose.rotation import Rotation, rotate
from tdtool.decompose.stacked_factors import StackedFactors, stacked_factors
from tdtool.errors import InputError

Matrix = NDArray[np.float64]

FEWEST_ROWS = 10
_FEW_ROWS = 100
_DOUBT = 0.05
_POOR_KMO, _POOR_RMSEA, _POOR_CORE, _ALIKE = 0.5, 0.08, 50.0, 0.85


@dataclasses.dataclass(frozen=True)
class FactorModel:
    """pattern, structure : (p, k); correlation : (k, k); communality, mean, scale : (p,); variance : (k,) shares.

    scores : (n, k), variance about 1; method : "ml" | "minres" | "cp"; rotation : as done; slice_weights : (s, k) or
    None; groups : the columns of each factor.
    """

    pattern: Matrix
    structure: Matrix
    correlation: Matrix
    communality: Matrix
    variance: Matrix
    scores: Matrix
    mean: Matrix
    scale: Matrix
    method: str
    rotation: str
    groups: tuple[FactorGroup, ...]
    parallel: ParallelAnalysis
    slice_weights: Matrix | None = None
    adequacy: Adequacy | None = None
    statistics: FitStatistics | None = None
    relative_error: float | None = None
    core_consistency: float | None = None
    warnings: tuple[str, ...] = ()

    @property
    def n_factors(self) -> int:
        """k."""
        return self.pattern.shape[1]


def fit_table(values: Matrix, names: list[str], config: FactorsConfig, path: str) -> FactorModel:
    """Factors of (n, p) values, NaN where missing."""
    n, p = values.shape
    check_rows(n, p, path)
    found = correlate(values, names, path)
    rng = np.random.default_rng(config.seed)
    parallel = parallel_analysis(found.matrix, n, missing=np.isnan(values), rng=rng)
    n_factors, told = _how_many(parallel, config, most_factors(p), f"{p} columns", path)
    n_rows = min(found.n_rows, float(n))
    fit = factor_analysis(found.matrix, n_factors)
    rotation = rotate(fit.loadings, config.rotation, rng=rng)
    standard = (values - found.mean) / found.scale
    groups = factor_groups(rotation.pattern, names)
    shared, statistics = adequacy(found.matrix, n_rows), fit_statistics(found.matrix, fit, n_rows)
    warnings = (
        *told,
        *_warn_of_data(found, shared, n, names),
        *_warn_of_fit(fit, rotation, statistics, names),
        *warn_of_loadings(rotation.pattern, rotation.correlation, groups, names),
    )
    return FactorModel(
        pattern=rotation.pattern,
        structure=rotation.structure,
        correlation=rotation.correlation,
        communality=fit.communality,
        variance=rotation.variance / p,
        scores=factor_scores(standard, rotation.pattern, rotation.correlation, fit.uniqueness),
        mean=found.mean,
        scale=found.scale,
        method=fit.method,
        rotation=rotation.method if n_factors > 1 else "none",
        groups=groups,
        parallel=parallel,
        adequacy=shared,
        statistics=statistics,
        warnings=warnings,
    )


def fit_stack(values: Matrix, names: list[str], slices: list[str], config: FactorsConfig, path: str) -> FactorModel:
    """Factors of a stack (n, p, s) of tables, NaN where missing."""
    n, p, s = values.shape
    check_stack(values, path)
    wide = values.reshape(n, p * s)
    found = correlate(wide, [f"{name} ({part})" for name in names for part in slices], path)
    rng = np.random.default_rng(config.seed)
    parallel = parallel_analysis(found.matrix, n, missing=np.isnan(wide), rng=rng)
    n_factors, told = _how_many(parallel, config, min(n - 1, p * s), f"{p} columns in {s} slices", path)
    fit = stacked_factors(values, n_factors, prefer_simple=config.rotation != "none", rng=rng)
    groups = factor_groups(fit.pattern, names)
    warnings = [*told, *_warn_of_stack(fit), *warn_of_loadings(fit.pattern, fit.correlation, groups, names, fewest=2)]
    return FactorModel(
        pattern=fit.pattern,
        structure=fit.structure,
        correlation=fit.correlation,
        communality=fit.communality,
        variance=fit.variance / p,
        scores=fit.scores,
        mean=fit.mean,
        scale=fit.scale,
        method="cp",
        rotation="none" if fit.axes == "slices" else "oblimin",
        groups=groups,
        parallel=parallel,
        slice_weights=fit.weights,
        relative_error=fit.relative_error,
        core_consistency=fit.core_consistency,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def check_stack(values: Matrix, path: str) -> None:
    """InputError unless a stack (n, p, s) is large enough."""
    n, p, s = values.shape
    if n < FEWEST_ROWS or p < 2 or s < 2:
        what = f"the stack has {n} rows, {p} columns and {s} slices; it needs {FEWEST_ROWS}, 2 and 2 at least"
        raise InputError(what, path=path, hint="--stack none takes the columns as they are")


def check_rows(n: int, p: int, path: str) -> None:
    """InputError unless a table (n, p) is large enough for its correlations to mean something."""
    if p < 3:
        what = f"{p} columns measure something; a factor needs 3 at least"
        raise InputError(what, path=path, hint="see which columns were left out, or choose them with --columns")
    if n < FEWEST_ROWS:
        raise InputError(f"{n} rows are too few; factors need {FEWEST_ROWS} at least", path=path)
    if n <= p:
        what = f"{n} rows are too few for {p} columns; there must be more rows than columns"
        raise InputError(what, path=path, hint="choose fewer columns with --columns, or give more rows")


def correlate(values: Matrix, names: list[str], path: str) -> Correlations:
    """Correlations of (n, p) values, with errors that name the columns."""
    try:
        return correlations(values, names=names, least_rows=FEWEST_ROWS)
    except ValueError as error:
        hint = "leave one of the columns out with --columns"
        raise InputError(str(error), path=path, hint=hint) from error


def _how_many(
    parallel: ParallelAnalysis, config: FactorsConfig, most: int, have: str, path: str
) -> tuple[int, list[str]]:
    """The number of factors: asked for, or by parallel analysis; and what to say about it."""
    if config.n_factors is not None:
        if not 1 <= config.n_factors <= most:
            what = f"{config.n_factors} factors were asked for; {have} determine {most} at most"
            raise InputError(what, path=path, hint=f"ask for 1 to {most} (-k), or choose other columns")
        return config.n_factors, []
    if parallel.n_factors == 0:
        what = "the columns have no more in common than random numbers would"
        raise InputError(
            what, path=path, hint="give more rows, choose other columns, or ask for a number of factors (-k)"
        )
    if parallel.n_factors > most:
        return most, [f"parallel analysis finds {parallel.n_factors} factors; {have} determine {most} at most"]
    return parallel.n_factors, []


def _warn_of_data(found: Correlations, shared: Adequacy, n: int, names: Sequence[str]) -> list[str]:
    warnings = []
    if n < _FEW_ROWS or n < 3 * len(names):
        warnings.append(f"{n} rows for {len(names)} columns are few: another sample may give other factors")
    if found.smoothed > 0:
        warnings.append(
            "the pairwise correlations contradict each other and were smoothed to a positive definite matrix "
            f"(by up to {found.smoothed:.3f}); --missing drop takes complete rows only"
        )
    if shared.kmo < _POOR_KMO:
        warnings.append(f"KMO is {shared.kmo:.2f}, below {_POOR_KMO}: the columns share too little for factors")
    elif poor := [name for name, kmo in zip(names, shared.kmo_columns, strict=True) if kmo < _POOR_KMO]:
        warnings.append(f"KMO is below {_POOR_KMO} for {_listed(poor)}: better left out")
    return warnings


def _warn_of_fit(fit: FactorFit, rotation: Rotation, statistics: FitStatistics, names: Sequence[str]) -> list[str]:
    warnings = []
    if fit.method == "minres":
        what = f"the correlations are nearly singular (an eigenvalue is below {NEARLY_SINGULAR:g})"
        warnings.append(f"{what}: fitted by least squares (minres) instead of maximum likelihood")
    if fit.heywood:
        columns = _listed([names[i] for i in fit.heywood])
        warnings.append(
            f"the factors explain {columns} without rest (a Heywood case): too many factors, or too few rows"
        )
    if "max_iters" in (fit.stopped, rotation.stopped):
        warnings.append("the fit had not settled when it was stopped")
    if (statistics.rmsea or 0) > _POOR_RMSEA and (statistics.p_value or 0) < _DOUBT:
        warnings.append(
            f"RMSEA is {statistics.rmsea:.3f}, above {_POOR_RMSEA}: the factors leave structure unexplained"
        )
    return warnings


def warn_of_loadings(
    pattern: Matrix, correlation: Matrix, groups: Sequence[FactorGroup], names: Sequence[str], *, fewest: int = 3
) -> list[str]:
    """Columns that belong nowhere or in several places, factors of few columns, factors that are nearly the same."""
    salient = np.abs(pattern) >= SALIENT
    warnings = []
    if nowhere := [name for name, row in zip(names, salient, strict=True) if not row.any()]:
        warnings.append(f"no factor explains {_listed(nowhere)}: every loading is below {SALIENT}")
    if both := [name for name, row in zip(names, salient, strict=True) if row.sum() > 1]:
        warnings.append(f"more than one factor explains {_listed(both)}")
    if thin := [f"F{f}" for f, group in enumerate(groups, 1) if len(group.own) + len(group.shared) < fewest]:
        warnings.append(f"fewer than {fewest} columns load on {_listed(thin)}: weakly determined")
    rows, columns = np.nonzero(np.triu(np.abs(correlation) > _ALIKE, 1))
    for a, b in zip(rows.tolist(), columns.tolist(), strict=True):
        warnings.append(f"F{a + 1} and F{b + 1} are nearly the same (r = {correlation[a, b]:.2f}): try fewer factors")
    return warnings


def _warn_of_stack(fit: StackedFactors) -> list[str]:
    """What a stack's axes rest on, and whether there are too many of them."""
    warnings = []
    if fit.core_consistency < _POOR_CORE:
        warnings.append(f"core consistency is {fit.core_consistency:.0f} %, below {_POOR_CORE:g}: try fewer factors")
    if fit.axes == "slices":
        unique = kruskal(fit.fit.factors)
        warnings += degeneracy(fit.fit.weights, fit.fit.factors)
        warnings += [] if unique.unique else [f"the axes may not be the only ones: {unique.text}"]
    if fit.fit.stopped == "max_iters":
        warnings.append("the fit had not settled when it was stopped")
    return [*fit.fit.warnings, *warnings]


def _listed(words: Sequence[str], most: int = 8) -> str:
    shown = [*words[:most], f"{len(words) - most} more"] if len(words) > most else list(words)
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]
