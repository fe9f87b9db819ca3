"""tdtool communities"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from tdtool.cli import options
from tdtool.cli.device_options import device_options
from tdtool.cli.graph_options import graph_options
from tdtool.cli.moments_options import asked_number, check_applies
from tdtool.cli.options import Command, NumberOrAuto, option
from tdtool.cli.output import say, say_json
from tdtool.cli.spark_options import spark_options
from tdtool.config import CommunitiesConfig, ComputeConfig, GraphConfig, SparkConfig

if TYPE_CHECKING:
    from tdtool.run.communities import CommunitiesResult

_DEFAULT = CommunitiesConfig()
_MEGABYTE = 1_000_000
_COMMUNITIES, _BRIDGES = 25, 10  # printed; `tdtool show` prints more
_SIZES = 12  # of -k auto, in a plan

_method_options = options.combined(
    option(
        "-k",
        "--communities",
        "n_communities",
        section="Method",
        type=NumberOrAuto(1),
        metavar="N|auto",
        default="auto",
        help="Number of communities; auto tries numbers and says which it takes and why.",
    ),
    option(
        "--max-communities",
        section="Method",
        type=click.IntRange(1),
        metavar="N",
        help="Largest number that auto tries. [default: by the number of nodes]",
    ),
    option(
        "--mode",
        section="Method",
        type=click.Choice(["auto", "dense", "sparse"]),
        default=_DEFAULT.mode,
        help="Spectral (dense), or from labels that spread along edges, for large sparse graphs (sparse).",
    ),
    option(
        "--alpha0",
        section="Method",
        type=click.FloatRange(0),
        metavar="F",
        default=_DEFAULT.alpha0,
        help="Dirichlet sum that the moments assume; 0: most nodes belong to one community.",
    ),
    option(
        "--tau",
        section="Method",
        type=click.FloatRange(0),
        metavar="F",
        default=_DEFAULT.tau,
        help="What is added to every degree, in mean degrees.",
    ),
    option(
        "--split", section="Method", is_flag=True, help="Estimate the moment from four separate parts of the nodes."
    ),
    option(
        "--polish",
        section="Method",
        type=click.IntRange(0),
        metavar="N",
        default=_DEFAULT.polish,
        help="Iterations of likelihood that follow the spectral step; 0: none.",
    ),
    option("--no-overlap", section="Method", is_flag=True, help="Put every node into one community only."),
    option(
        "--holdout",
        section="Method",
        type=click.FloatRange(0, 0.5),
        metavar="F",
        default=_DEFAULT.holdout,
        help="Share of the edges that a second fit does not see and has to predict (AUC).",
    ),
    option(
        "--stability",
        section="Method",
        type=click.IntRange(0, 100),
        metavar="N",
        default=_DEFAULT.stability,
        help="Further runs, from other seeds and orders of the nodes, to compare with.",
    ),
)


@click.command(
    cls=Command,
    examples=(
        ("tdtool communities friends.txt", "an edge list; the number of communities is chosen"),
        (
            "tdtool communities links.csv.gz --columns from,to --weight calls -k 20 --export groups.tsv",
            "columns of a table; memberships for a spreadsheet",
        ),
        ("tdtool communities readers_books.tsv --bipartite --export both.gexf", "both sides at once; for Gephi"),
        ("tdtool communities web.mtx --holdout 0.1 --stability 3", "how well it predicts, how sure it is"),
        ("tdtool communities friends.txt --dry-run --json", "what a run would take, for a program"),
        ("tdtool communities friends.moments.h5 -k 12", "from moments, without the edges"),
    ),
)
@click.argument("graph")
@_method_options
@graph_options
@options.result("GRAPH.communities.h5")
@options.exports(options.COMMUNITY_EXPORTS)
@option(
    "--top",
    "n_top",
    section="Output",
    type=click.IntRange(1, 1000),
    metavar="N",
    default=8,
    help="Members shown of each community.",
)
@option("--dry-run", section="Output", is_flag=True, help="Read the graph, say what a run would take, and stop.")
@options.as_json
@options.force
@options.seed
@options.workers
@options.array_memory
@spark_options
@device_options
@options.common
@click.pass_context
def communities(
    context: click.Context,
    graph: str,
    n_communities: int | Literal["auto"],
    no_overlap: bool,
    graph_config: GraphConfig,
    output: str | None,
    exports: tuple[Path, ...],
    n_top: int,
    dry_run: bool,
    as_json: bool,
    force: bool,
    workers: int | None,
    memory: int | None,
    spark: SparkConfig | None,
    compute: ComputeConfig,
    **settings: Any,
) -> None:
    """Find the overlapping communities of a graph.

    GRAPH is an edge list (names or numbers, perhaps weights), a table, a Matrix Market, METIS, GraphML, GML, Parquet
    or .npz file, plain or compressed; a graph from `tdtool ingest`; or - for standard input.
    """
    from tdtool import log
    from tdtool.run.communities import find_communities
    from tdtool.run.delivery import delivered
    from tdtool.run.device import on_device
    from tdtool.run.moments import moments_kind
    from tdtool.run.outputs import check_outputs

    config = CommunitiesConfig(
        n_communities=None if n_communities == "auto" else n_communities, overlap=not no_overlap, **settings
    )
    with delivered(output, graph, "communities", force=force) as to:
        check_outputs([graph], to.path, exports, force=force, graph=True)
        if moments_kind(graph) is not None:
            if compute.device == "cuda":
                log.note("moments are small: the CPU finds communities in them")
            result = _of_moments(context, graph, to.path, exports, workers=workers, force=force)
        elif dry_run:
            _plan(as_json, graph, graph=graph_config, communities=config, workers=workers, memory=memory)
            return
        else:
            with on_device(compute) as gpu:
                result = find_communities(
                    graph,
                    to.path,
                    graph=graph_config,
                    communities=config,
                    workers=workers,
                    memory=memory,
                    spark=spark,
                    gpu=gpu,
                    force=force,
                    exports=tuple(map(str, exports)),
                )
    _say(as_json, dataclasses.replace(result, path=to.place), n_top)


def _of_moments(
    context: click.Context, source: str, output: Path, exports: tuple[Path, ...], **settings: Any
) -> CommunitiesResult:
    from tdtool.run.communities_of_moments import find_communities_of_moments

    check_applies(context, source, known=("n_communities", "alpha0", "polish"), lacking="edges")
    k, names = asked_number(context, "n_communities", source), tuple(map(str, exports))
    values = {name: context.params[name] for name in ("alpha0", "seed")}
    return find_communities_of_moments(Path(source), output, n_communities=k, exports=names, **values, **settings)


def _say(as_json: bool, result: CommunitiesResult, n_top: int) -> None:
    if as_json:
        say_json(result.as_dict(n_top))
    else:
        _print_result(result, n_top)


def _print_result(result: CommunitiesResult, n_top: int) -> None:
    from tdtool.report import communities as report

    fit, facts = result.fit, result.facts
    report.print_choice(result.selection(), fit.chosen, fit.reason)
    counts = {
        **facts.counts(),
        "n_edges": result.n_edges,
        "n_components": result.components.sizes.size,
        "largest_component": int(result.components.sizes[0]),
    }
    report.print_found(counts, facts.communities(n_top, _COMMUNITIES), facts.bridges(_BRIDGES))
    if counts["n_communities"] and (scores := report.scores_text(result.scores)):
        say("\n" + scores)
    for warning in result.warnings:
        say(f"Warning: {warning}")
    if result.ledger.rows_in:
        say(result.ledger.text("edges"))
    say(f"{result.seconds['total']:.1f} s")
    say(str(result.path))


def _plan(as_json: bool, source: str, **settings: Any) -> None:
    from tdtool.report import tables
    from tdtool.run.communities import plan_communities

    plan = plan_communities(source, **settings)
    if as_json:
        say_json(plan.as_dict())
        return
    sizes = [f"{size:,}" for size in plan.communities]
    if len(sizes) > _SIZES:
        sizes = [*sizes[: _SIZES - 1], "...", sizes[-1]]
    facts = {
        "graph": plan.description,
        "nodes": plan.n_nodes,
        "edges": plan.n_edges,
        "mode": plan.mode,
        "communities": ", ".join(sizes) or "as many as the labels say that spread along edges",
        "fits": plan.fits,
        "memory": f"about {plan.memory_bytes / _MEGABYTE:,.0f} MB, of which {plan.graph_bytes / _MEGABYTE:,.1f} MB "
        "are the graph",
        "time": f"about {plan.seconds:,.0f} s",
    }
    say(tables.facts_text(facts))
