"""tdtool decompose"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from tdtool.cli import options
from tdtool.cli.device_options import device_options
from tdtool.cli.options import Command, NumberOrAuto, option
from tdtool.cli.output import say, say_json
from tdtool.config import ComputeConfig, DecomposeConfig, TensorConfig

if TYPE_CHECKING:
    from tdtool.run.decompose import DecomposeResult

_DEFAULT, _TENSOR = DecomposeConfig(), TensorConfig()
_MEGABYTE = 1_000_000
_COMPONENTS, _MODE_COMPONENTS = 25, 10  # printed; `tdtool show` prints all
_TUCKER = ("tucker", "hosvd")


class Ranks(click.ParamType):
    """Whole numbers with commas between, or "auto"."""

    name = "I,J,K"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...] | str:
        """A tuple, or "auto"."""
        if isinstance(value, tuple) or value == "auto":
            return value
        try:
            ranks = tuple(int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is no list of whole numbers; write 5,5,2 or auto.", param, ctx)
        if min(ranks) < 1:
            self.fail(f"{min(ranks)} is less than 1.", param, ctx)
        return ranks


_method_options = options.combined(
    option(
        "--method",
        section="Method",
        type=click.Choice(["tucker", "hosvd", "cp", "cp-nonneg", "power", "sketch"]),
        default=_DEFAULT.method,
        help="CP by least squares (cp; cp-nonneg: no negative factors), of a symmetric tensor (power), on short "
        "sketches of a large one (sketch); Tucker by least squares (tucker) or in one pass (hosvd).",
    ),
    option(
        "--rank",
        section="Method",
        type=NumberOrAuto(1),
        metavar="R|auto",
        default="auto",
        help="Components of CP; auto tries ranks and says which it takes and why.",
    ),
    option("--ranks", section="Method", type=Ranks(), metavar="I,J,K|auto", help="Ranks of Tucker, one a mode."),
    option(
        "--max-error",
        section="Method",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        metavar="F",
        default=_DEFAULT.max_error,
        help="Relative error that chosen Tucker ranks may leave.",
    ),
    option(
        "--max-rank",
        section="Method",
        type=click.IntRange(1),
        metavar="N",
        default=_DEFAULT.max_rank,
        help="Largest CP rank that auto tries.",
    ),
    option(
        "--max-iters",
        section="Method",
        type=click.IntRange(1),
        metavar="N",
        default=_DEFAULT.max_iters,
        help="Most sweeps of an iteration.",
    ),
    option(
        "--tol",
        section="Method",
        type=click.FloatRange(0),
        metavar="F",
        default=_DEFAULT.tol,
        help="A sweep that changes the relative error by less is the last.",
    ),
    option(
        "--restarts",
        section="Method",
        type=click.IntRange(1, 1000),
        metavar="N",
        default=_DEFAULT.restarts,
        help="Starts of CP, of which the best is kept.",
    ),
    option(
        "--hash-length",
        section="Method",
        type=click.IntRange(2, 1 << 28),
        metavar="L",
        default=_DEFAULT.hash_length,
        help="Length of a sketch: the longer, the more exact.",
    ),
    option(
        "--sketches",
        section="Method",
        type=click.IntRange(1, 1000),
        metavar="N",
        default=_DEFAULT.sketches,
        help="Independent sketches, of which the median is taken.",
    ),
)
_tensor_options = options.combined(
    option(
        "--format",
        section="Tensor",
        default=_TENSOR.format,
        metavar="NAME",
        help="npy, npz, hdf5, mat, tns, csv, tsv; auto looks at the content.",
    ),
    option(
        "--key",
        section="Tensor",
        metavar="NAME",
        help="Array in a .npz, .h5 or .mat file (group/name). [default: the only one, else the largest]",
    ),
    option("--mask", section="Tensor", metavar="NAME", help="Array in the same file, true where a value is missing."),
    option(
        "--columns",
        section="Tensor",
        metavar="A,B,C",
        help="CSV: columns of the indices, by name or number from 1. [default: all but the value's]",
    ),
    option("--value", section="Tensor", metavar="COLUMN", help="CSV: column of the values, by name or number from 1."),
)


@click.command(
    cls=Command,
    examples=(
        ("tdtool decompose tensor.npz", "CP; the number of components is chosen"),
        (
            "tdtool decompose ratings.csv.gz --method cp-nonneg --rank 8 --export factors.csv",
            "index columns and a value",
        ),
        ("tdtool decompose video.h5 --key frames/values --method tucker --ranks 20,15,15,3", "one array of a file"),
        ("tdtool decompose words.tns.gz --rank 20 --dry-run --json", "what a run would take, for a program"),
    ),
)
@click.argument("tensor")
@_method_options
@_tensor_options
@options.output("TENSOR.cp.h5 or TENSOR.tucker.h5")
@options.exports(options.TENSOR_EXPORTS)
@option(
    "--top",
    "n_top",
    section="Output",
    type=click.IntRange(1, 1000),
    metavar="N",
    default=6,
    help="Places shown of each mode of a component.",
)
@option("--dry-run", section="Output", is_flag=True, help="Read the tensor, say what a run would take, and stop.")
@options.as_json
@options.force
@device_options
@options.seed
@options.workers
@options.array_memory
@options.common
def decompose(
    tensor: str,
    method: Literal["tucker", "hosvd", "cp", "cp-nonneg", "power", "sketch"],
    rank: int | Literal["auto"],
    ranks: tuple[int, ...] | Literal["auto"] | None,
    output: Path | None,
    exports: tuple[Path, ...],
    n_top: int,
    dry_run: bool,
    as_json: bool,
    force: bool,
    compute: ComputeConfig,
    workers: int | None,
    memory: int | None,
    **settings: Any,
) -> None:
    """Find the components of a tensor.

    TENSOR is an array of two to eight modes in .npy, .npz, HDF5 or MATLAB files, a sparse .tns (FROSTT), a CSV with a
    row for each value or a labelled table; plain or compressed; or - for standard input. NaN is a missing value.
    """
    from tdtool.run import decompose as run
    from tdtool.run.device import on_device
    from tdtool.run.outputs import check_outputs, default_output

    source = TensorConfig(**{name: settings.pop(name) for name in ("format", "key", "mask", "columns", "value")})
    config = DecomposeConfig(
        method=method,
        rank=None if rank == "auto" else rank,
        ranks=None if ranks == "auto" else ranks,
        **settings,
    )
    output = output or default_output(tensor, "tucker" if method in _TUCKER else "cp")
    check_outputs([tensor], output, exports, force=force)
    if dry_run:
        _plan(as_json, tensor, tensor=source, decompose=config, workers=workers, memory=memory)
        return
    with on_device(compute) as gpu:
        result = run.decompose(
            tensor,
            output,
            tensor=source,
            decompose=config,
            workers=workers,
            memory=memory,
            gpu=gpu,
            force=force,
            exports=tuple(map(str, exports)),
        )
    if as_json:
        say_json(result.as_dict(n_top))
    else:
        _print_result(result, n_top)


def _print_result(result: DecomposeResult, n_top: int) -> None:
    from tdtool.report import components as report

    choice, fit = result.decomposition.choice, result.fit
    if choice is not None:
        report.print_ranks(result.selection(), choice.rank)
        say(f"\n{report.sentence(choice.reason)}\n")
    if result.core():
        report.print_modes(result.modes(n_top), most=_MODE_COMPONENTS)
        say(f"\n{report.core_text(result.modes(0))}\n")
        report.print_core(result.core(), result.mode_names)
    else:
        report.print_components(result.components(n_top), most=_COMPONENTS)
    say(f"\n{report.error_text(fit.relative_error)}")
    if result.decomposition.uniqueness:
        say(f"Components: {result.decomposition.uniqueness}")
    for warning in result.warnings:
        say(f"Warning: {warning}")
    if result.ledger.rows_in:
        say(result.ledger.text("rows"))
    say(report.course_text(len(fit.errors), fit.stopped, result.seconds["total"]))
    say(str(result.path))


def _plan(as_json: bool, source: str, **settings: Any) -> None:
    from tdtool.report import tables
    from tdtool.run.decompose import plan_decompose

    plan = plan_decompose(source, **settings)
    if as_json:
        say_json(plan.as_dict())
        return
    facts = {
        "tensor": plan.description,
        "shape": " x ".join(f"{size:,}" for size in plan.shape),
        "values": plan.n_values,
        "missing": plan.n_missing,
        "method": plan.method,
        "ranks": ", ".join(map(str, plan.ranks)),
        "memory": f"about {plan.memory_bytes / _MEGABYTE:,.0f} MB, of which {plan.tensor_bytes / _MEGABYTE:,.1f} MB "
        "are the tensor",
        "operations": f"about {plan.operations:.1e}",
        "time": f"about {plan.seconds:,.0f} s",
    }
    say(tables.facts_text(facts))
