"""tdtool ingest"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from tdtool.cli import options
from tdtool.cli.graph_options import CHOICES, graph_choices
from tdtool.cli.image_options import IMAGE_CHOICES, image_choices, ingest_images
from tdtool.cli.ingest_moments import ingest_moments
from tdtool.cli.moments_options import check_moments_options, moments_options
from tdtool.cli.options import Command, option
from tdtool.cli.output import say, say_json
from tdtool.cli.spark_options import spark_options
from tdtool.config import GraphConfig, ImagesConfig, IngestConfig, MomentsConfig, SparkConfig
from tdtool.errors import UsageError

if TYPE_CHECKING:
    from tdtool.run.ingest import GraphIngestResult, IngestResult

#: Sections of the help whose options are for documents, and what in them is for graphs and images too.
_FOR_DOCUMENTS, _FOR_ALL = ("Source", "Words", "Vocabulary"), ("format",)
#: What is made of a source, and what the options that are only for it are for.
_THINGS = {"corpus": "documents", "graph": "graphs", "images": "images"}


@click.command(
    cls=Command,
    examples=(
        ("tdtool ingest docs.csv.gz --column body -o news.corpus.h5", "then: tdtool topics news.corpus.h5 -k 20"),
        ("tdtool ingest corpus/ --stop-words de --ngrams 2", "German stop words, frequent pairs of words joined"),
        ("tdtool ingest news.corpus.h5 -o news.corpus.parquet", "a directory that other programs and clusters read"),
        ("tdtool ingest links.csv --as graph --columns from,to", "then: tdtool communities links.graph.h5"),
        ("tdtool ingest photos/ --as images --image-size 64", "then: tdtool train resnet18 --data photos.images.h5"),
        ("tdtool ingest s3://bucket/docs/ -o s3://bucket/docs.corpus.parquet --master yarn", "read by a cluster"),
        ("tdtool ingest news.corpus.h5 --moments -k 100", "then, anywhere: tdtool topics news.moments.h5 -k 50"),
    ),
)
@click.argument("source")
@option(
    "--as",
    "kind",
    section="Output",
    type=click.Choice(["auto", "corpus", "graph", "images"]),
    default="auto",
    help="What to make of it; auto: a graph of .edges, .edgelist, .graphml, .gml and .metis, images where most of its "
    "files are, a corpus of the rest.",
)
@options.place("SOURCE.corpus.h5, SOURCE.graph.h5 or SOURCE.images.h5")
@options.as_json
@options.force
@options.ingest_options
@graph_choices
@image_choices
@moments_options
@options.workers
@spark_options
@options.common
@click.pass_context
def ingest(
    context: click.Context,
    source: str,
    kind: str,
    output: str | None,
    as_json: bool,
    force: bool,
    ingest_config: IngestConfig,
    graph_config: GraphConfig,
    images_config: ImagesConfig,
    moments_config: MomentsConfig | None,
    workers: int | None,
    spark: SparkConfig | None,
) -> None:
    """Read documents, a graph or images into a file, for many runs.

    SOURCE is a directory of text files, a file of documents (lines, JSON lines, CSV, TSV, Parquet, word counts; plain
    or compressed; tar or zip of text files), or - for standard input. The format is recognised.

    With --as graph it is a graph: an edge list, CSV, TSV, Parquet, Matrix Market, METIS, GraphML, GML or .npz, plain or
    compressed; --format is then one of edges, csv, tsv, parquet, matrix-market, metis, graphml, gml, npz.

    With --as images it is labelled images: a directory of class folders, with or without train, val and test above
    them; tar archives of such folders, or shards with NAME.cls beside each image (a directory or a pattern of them);
    CIFAR's binary version; an .npz file with images and labels; the idx files of MNIST. --format is then one of folder,
    tar, zip, cifar, npz, idx. The store is one HDF5 file.

    The store of documents and graphs is one HDF5 file, or a directory of Parquet files where -o ends with .parquet.
    Both hold the same, and every command takes either; SOURCE may be one of them, to make the other.

    With --moments only the moments are written: topics and communities are found from them without the documents or
    the edges, on a machine that has neither.
    """
    from tdtool.run import ingest as run
    from tdtool.run.outputs import default_output
    from tdtool.run.stores import check_store, store_kind

    kind = run.kind_of(source) if kind == "auto" else kind
    _check_options(context, kind, stored=store_kind(source) is not None)
    check_moments_options(context, kind, moments=moments_config is not None)
    if kind == "images":
        images_config = dataclasses.replace(images_config, format=ingest_config.source.format)
        ingest_images(source, output, images_config, workers=workers, spark=spark, force=force, as_json=as_json)
        return
    if kind == "graph":
        graph_config = dataclasses.replace(graph_config, format=ingest_config.source.format)
    if moments_config is not None:
        ingest_moments(
            source,
            kind,
            output,
            moments_config,
            ingest=ingest_config,
            graph=graph_config,
            workers=workers,
            spark=spark,
            force=force,
            as_json=as_json,
        )
        return
    output = output or str(default_output(source, kind))
    check_store(source, output, force=force)
    result: IngestResult | GraphIngestResult
    if kind == "graph":
        result = run.ingest_graph(source, output, graph_config, spark=spark, force=force)
    else:
        result = run.ingest_corpus(source, output, ingest_config, workers=workers, spark=spark, force=force)
    if as_json:
        say_json(result.as_dict())
    else:
        _print_result(result)


def _check_options(context: click.Context, kind: str, *, stored: bool) -> None:
    """UsageError for options on the command line that say something of the other kind, or of what was `stored`."""
    for parameter in context.command.params:
        section, name = getattr(parameter, "section", ""), str(parameter.name)
        only_for = _only_for(section, name)
        if only_for is None or context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        if stored:
            raise UsageError(
                f"{parameter.opts[0]} is for reading, and the source is a store that was read before",
                hint="it is only copied; to change it, ingest the documents, the graph or the images again",
            )
        if only_for not in (kind, "any"):
            made = "images are" if kind == "images" else f"a {kind} is"
            raise UsageError(
                f"{parameter.opts[0]} is for {_THINGS[only_for]}, and {made} made of this source",
                hint="say what it is with --as corpus, --as graph or --as images",
            )


def _only_for(section: str, name: str) -> str | None:
    """The kind of store that an option is for: a key of _THINGS, "any", None where it does not tell of the source."""
    if name in CHOICES:
        return "graph"
    if name in IMAGE_CHOICES:
        return "images"
    if section in _FOR_DOCUMENTS:
        return "any" if name in _FOR_ALL else "corpus"
    return None


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
