"""tdtool ingest"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from tdtool.cli import options
from tdtool.cli.graph_options import CHOICES, graph_choices
from tdtool.cli.options import Command, option
from tdtool.cli.output import say, say_json
from tdtool.config import GraphConfig, IngestConfig
from tdtool.errors import UsageError

if TYPE_CHECKING:
    from tdtool.run.ingest import GraphIngestResult, IngestResult

#: Sections of the help whose options are for documents, and what in them is for graphs too.
_FOR_DOCUMENTS, _FOR_BOTH = ("Source", "Words", "Vocabulary"), ("format",)


@click.command(
    cls=Command,
    examples=(
        ("tdtool ingest docs.csv.gz --column body -o news.corpus.h5", "then: tdtool topics news.corpus.h5 -k 20"),
        ("tdtool ingest corpus/ --stop-words de --ngrams 2", "German stop words, frequent pairs of words joined"),
        ("tdtool ingest links.csv --as graph --columns from,to", "then: tdtool communities links.graph.h5"),
    ),
)
@click.argument("source")
@option(
    "--as",
    "kind",
    section="Output",
    type=click.Choice(["auto", "corpus", "graph"]),
    default="auto",
    help="What to make of it; auto: a graph of .edges, .edgelist, .graphml, .gml and .metis, a corpus of the rest.",
)
@options.output("SOURCE.corpus.h5 or SOURCE.graph.h5")
@options.as_json
@options.force
@options.ingest_options
@graph_choices
@options.workers
@options.common
@click.pass_context
def ingest(
    context: click.Context,
    source: str,
    kind: str,
    output: Path | None,
    as_json: bool,
    force: bool,
    ingest_config: IngestConfig,
    graph_config: GraphConfig,
    workers: int | None,
) -> None:
    """Read documents or a graph into a file, once for many runs.

    SOURCE is a directory of text files, a file of documents (lines, JSON lines, CSV, TSV, Parquet, word counts; plain
    or compressed; tar or zip of text files), or - for standard input. The format is recognised.

    With --as graph it is a graph: an edge list, CSV, TSV, Parquet, Matrix Market, METIS, GraphML, GML or .npz, plain or
    compressed; --format is then one of edges, csv, tsv, parquet, matrix-market, metis, graphml, gml, npz.
    """
    from tdtool.run import ingest as run
    from tdtool.run.outputs import check_outputs, default_output

    kind = run.kind_of(source) if kind == "auto" else kind
    _check_options(context, kind)
    output = output or default_output(source, kind)
    check_outputs([source], output, (), force=force)
    result: IngestResult | GraphIngestResult
    if kind == "graph":
        graph_config = dataclasses.replace(graph_config, format=ingest_config.source.format)
        result = run.ingest_graph(source, output, graph_config, force=force)
    else:
        result = run.ingest_corpus(source, output, ingest_config, workers=workers, force=force)
    if as_json:
        say_json(result.as_dict())
    else:
        _print_result(result)


def _check_options(context: click.Context, kind: str) -> None:
    """UsageError for options on the command line that say something of the other kind."""
    for parameter in context.command.params:
        section, name = getattr(parameter, "section", ""), str(parameter.name)
        for_graphs = name in CHOICES
        for_documents = section in _FOR_DOCUMENTS and name not in _FOR_BOTH
        if context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        if (for_graphs and kind != "graph") or (for_documents and kind == "graph"):
            other = "graphs" if for_graphs else "documents"
            raise UsageError(
                f"{parameter.opts[0]} is for {other}, and a {kind} is made of this source",
                hint="say what it is with --as corpus or --as graph",
            )


def _print_result(result: IngestResult | GraphIngestResult) -> None:
    from tdtool.report import tables
    from tdtool.run.ingest import IngestResult

    if result.description:
        say(result.description)
    facts: dict[str, Any]
    if isinstance(result, IngestResult):
        facts = {"documents": result.n_documents, "vocabulary": result.n_terms, "tokens": result.n_tokens}
        rows = "documents"
    else:
        for note in result.notes:
            say(note)
        facts = {"nodes": result.n_nodes, "edges": result.n_edges, "nodes without edges": result.n_isolated}
        rows = "edges"
    say(tables.facts_text(facts))
    say(f"{result.ledger.text(rows)}\nread in {result.seconds:.1f} s")
    say(str(result.path))
