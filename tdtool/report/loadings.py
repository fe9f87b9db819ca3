"""Factors as a person reads them: loadings sorted to factors, and sentences that say which columns go with which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tdtool.report.tables import Column, print_table

#: Loadings below this are left blank.
SHOWN_FROM = 0.3
_LISTED = 12


def factor_names(n_factors: int) -> list[str]:
    """F1, F2, ..."""
    return [f"F{factor + 1}" for factor in range(n_factors)]


def method_text(method: str, rotation: str) -> str:
    """How the loadings came about."""
    names = {"ml": "maximum likelihood", "minres": "least squares", "cp": "CP of the stack"}
    if method == "cp":
        axes = "axes set by the slices" if rotation == "none" else "axes open in the slices, set by simple structure"
        return f"{names[method]}, {axes}"
    return f"{names[method]}, {'not rotated' if rotation == 'none' else rotation}"


def print_parallel(eigenvalues: Sequence[float], thresholds: Sequence[float], n_kept: int) -> None:
    """The eigenvalues beside what chance gives; two rows beyond the last that is kept."""
    columns = (
        Column("factor", right=True),
        Column("eigenvalue", right=True),
        Column("threshold", right=True),
        Column(""),
    )
    rows = list(zip(eigenvalues, thresholds, strict=True))[: n_kept + 2]
    print_table(
        columns,
        [
            (str(i + 1), f"{own:.2f}", f"{chance:.2f}", "kept" if i < n_kept else "")
            for i, (own, chance) in enumerate(rows)
        ],
    )


def print_loadings(
    names: Sequence[str], pattern: Sequence[Sequence[float]], communality: Sequence[float], order: Sequence[int]
) -> None:
    """The pattern matrix in the given order of columns. pattern : (p, k); communality : (p,)."""
    headings = factor_names(len(pattern[0]))
    columns = [Column("column"), *(Column(name, right=True) for name in headings), Column("communality", right=True)]
    rows = [(names[i], *(_loading(value) for value in pattern[i]), f"{communality[i]:.2f}") for i in order]
    print_table(columns, rows)


def print_matrix(first: str, names: Sequence[str], matrix: Sequence[Sequence[float]], headings: Sequence[str]) -> None:
    """Numbers with names at both sides: correlations of factors, weights of slices."""
    columns = [Column(first), *(Column(name, right=True) for name in headings)]
    print_table(columns, [(name, *(f"{value:.2f}" for value in row)) for name, row in zip(names, matrix, strict=True)])


def factor_sentence(
    factor: int, variance: float, own: Sequence[tuple[str, float]], shared: Sequence[tuple[str, float]]
) -> str:
    """One factor in words. own, shared : (column, loading), the strongest first."""
    first = f"F{factor + 1} ({variance:.1%} of the variance): " + (_listed(own) if own else "no column loads here most")
    return first + (f"; also {_listed(shared)}" if shared else "")


def fit_text(fit: Mapping[str, float | None]) -> str:
    """The fit statistics in one line."""
    parts = [f"chi-square {fit['chi_square']:,.1f}, df {fit['df']}"]
    if fit["p_value"] is not None:
        parts.append("p < 0.001" if fit["p_value"] < 0.001 else f"p = {fit['p_value']:.3f}")
    for key, name in (("rmsea", "RMSEA"), ("tli", "TLI"), ("srmr", "SRMR")):
        if fit[key] is not None:
            parts.append(f"{name} {fit[key]:.3f}")
    return "Fit: " + ", ".join(parts)


def adequacy_text(kmo: float, chi_square: float, df: int, p_value: float) -> str:
    """KMO and Bartlett's test in one line."""
    p = "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"
    return f"KMO {kmo:.2f}; Bartlett's test of no correlation: chi-square {chi_square:,.1f}, df {df}, {p}"


def left_out_text(left_out: Mapping[str, str]) -> str:
    """Columns left out, those with one reason together."""
    reasons: dict[str, list[str]] = {}
    for name, why in left_out.items():
        reasons.setdefault(why, []).append(name)
    return "\n".join(f"  left out: {', '.join(names[:_LISTED])}: {why}" for why, names in reasons.items())


def _loading(value: float) -> str:
    return f"{value:.2f}" if abs(value) >= SHOWN_FROM else ""


def _listed(columns: Sequence[tuple[str, float]]) -> str:
    more = f" and {len(columns) - _LISTED} more" if len(columns) > _LISTED else ""
    return ", ".join(f"{name} {value:.2f}" for name, value in columns[:_LISTED]) + more
