"""tdtool factors"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from tdtool.cli import options
from tdtool.cli.options import Command, NumberOrAuto, option
from tdtool.cli.output import say, say_json
from tdtool.config import FactorsConfig

if TYPE_CHECKING:
    from tdtool.run.factors import FactorsResult

_DEFAULT = FactorsConfig()

_table_options = options.combined(
    option(
        "--columns",
        section="Table",
        metavar="LIST",
        help="Columns to analyse, with commas: names, globs (t*), ranges (first:last). "
        "[default: all that measure something]",
    ),
    option("--id-column", section="Table", metavar="NAME", help="Column with the rows' names. [default: recognised]"),
    option(
        "--stack",
        section="Table",
        metavar="COLUMN|suffix:A,B|none",
        help="Rows of a table for each value of COLUMN, or columns for each ending (suffix:_written,_oral), are slices "
        "of a stack. [default: endings that all columns share]",
    ),
    option(
        "--missing",
        section="Table",
        type=click.Choice(["pairwise", "drop"]),
        default=_DEFAULT.missing,
        help="Empty cells: use what each two columns have, or drop the row.",
    ),
)
_model_options = options.combined(
    option(
        "-k",
        "--n-factors",
        "n_factors",
        section="Model",
        type=NumberOrAuto(1),
        metavar="N|auto",
        default="auto",
        help="Number of factors; auto takes those that stand out from random numbers (parallel analysis).",
    ),
    option(
        "--rotation",
        section="Model",
        type=click.Choice(["promax", "varimax", "oblimin", "none"]),
        default=_DEFAULT.rotation,
        help="Turn of the axes; varimax keeps factors uncorrelated. In a stack the slices set the axes, and simple "
        "structure where they leave them open; none: the slices alone.",
    ),
)


@click.command(
    cls=Command,
    examples=(
        ("tdtool factors students.csv", "the number of factors is chosen; slices such as _written, _oral recognised"),
        ("tdtool factors tests.csv.gz --columns t1:t24 --rotation oblimin --export loadings.csv", "some columns"),
        ("tdtool factors long.csv --stack year --id-column name -k 3 --json", "a table for each year, for a program"),
    ),
)
@click.argument("table")
@_model_options
@options.output("TABLE.factors.h5")
@options.exports(options.FACTOR_EXPORTS)
@options.as_json
@options.force
@_table_options
@options.seed
@options.common
def factors(
    table: str,
    n_factors: int | Literal["auto"],
    rotation: Literal["promax", "varimax", "oblimin", "none"],
    output: Path | None,
    exports: tuple[Path, ...],
    as_json: bool,
    force: bool,
    columns: str | None,
    id_column: str | None,
    stack: str | None,
    missing: Literal["pairwise", "drop"],
    seed: int,
) -> None:
    """Find the factors behind the columns of a table.

    TABLE is CSV, TSV (plain or compressed) or Parquet with names in its first row, one person or observation a row, one
    test or measurement a column; or - for standard input.
    """
    from tdtool.run import factors as run
    from tdtool.run.outputs import check_outputs, default_output

    config = FactorsConfig(
        n_factors=None if n_factors == "auto" else n_factors,
        rotation=rotation,
        columns=columns,
        stack=stack,
        id_column=id_column,
        missing=missing,
        seed=seed,
    )
    output = output or default_output(table, "factors")
    check_outputs([table], output, exports, force=force)
    result = run.fit_factors(table, output, config=config, force=force, exports=tuple(map(str, exports)))
    if as_json:
        say_json(result.as_dict())
    else:
        _print_result(result)


def _print_result(result: FactorsResult) -> None:
    from tdtool.decompose.factor_groups import in_reading_order
    from tdtool.report import loadings as report

    model = result.model
    say("\n".join(result.notes))
    if result.left_out:
        say(report.left_out_text(result.left_out))
    if model.adequacy is not None:
        found = model.adequacy
        say(report.adequacy_text(found.kmo, found.chi_square, found.df, found.p_value))
    say(f"\n{_number_text(result)}\n")
    parallel = model.parallel
    report.print_parallel(parallel.eigenvalues.tolist(), parallel.thresholds.tolist(), parallel.n_factors)
    say(f"\nLoadings ({report.method_text(model.method, model.rotation)}); those below {report.SHOWN_FROM} are blank\n")
    order = in_reading_order(model.pattern)
    report.print_loadings(result.columns, model.pattern.tolist(), model.communality.tolist(), order)
    headings = report.factor_names(model.n_factors)
    if model.slice_weights is not None:
        say("\nWeights of the slices\n")
        report.print_matrix("slice", result.slices, model.slice_weights.tolist(), headings)
    if model.n_factors > 1 and model.rotation != "varimax":
        say("\nCorrelations of the factors\n")
        report.print_matrix("", headings, model.correlation.tolist(), headings)
    say("")
    _print_words(result)


def _number_text(result: FactorsResult) -> str:
    parallel = result.model.parallel
    text = f"Parallel analysis keeps {parallel.n_factors}"
    if parallel.n_common != parallel.n_factors:
        text += f" (by eigenvalues of the shared variance {parallel.n_common}: worth a look, -k {parallel.n_common})"
    return text + ("" if parallel.n_factors == result.n_factors else f"; {result.n_factors} were asked for")


def _print_words(result: FactorsResult) -> None:
    from tdtool.report import loadings as report

    model = result.model
    for factor, group in enumerate(model.groups):
        own, shared = (
            [(result.columns[i], float(model.pattern[i, factor])) for i in part] for part in (group.own, group.shared)
        )
        say(report.factor_sentence(factor, float(model.variance[factor]), own, shared))
    told = result.as_dict()
    say("")
    if told["fit"] is not None:
        say(report.fit_text(told["fit"]))
    if model.relative_error is not None:
        core = f"; core consistency {model.core_consistency:.0f} %"
        say(f"Fit: the factors explain {1 - model.relative_error**2:.1%} of the variance{core}")
    for warning in result.warnings:
        say(f"Warning: {warning}")
    used, skipped = result.ledger.rows_used, result.ledger.rows_skipped
    found = "1 factor" if result.n_factors == 1 else f"{result.n_factors} factors"
    say(f"{used + skipped:,} rows read, {used:,} used; {found} in {result.seconds:.1f} s")
    say(str(result.path))
