"""tdtool ingest"""

from __future__ import annotations

from pathlib import Path

import click

from tdtool.cli import options
from tdtool.cli.options import Command, option
from tdtool.cli.output import check_outputs, say, say_json
from tdtool.config import IngestConfig


@click.command(
    cls=Command,
    examples=(
        ("tdtool ingest docs.csv.gz --column body -o news.corpus.h5", "then: tdtool topics news.corpus.h5 -k 20"),
        ("tdtool ingest corpus/ --stop-words de --ngrams 2", "German stop words, frequent pairs of words joined"),
    ),
)
@click.argument("source")
@option("--as", "kind", section="Output", type=click.Choice(["corpus"]), default="corpus", help="What to make of it.")
@options.output("SOURCE.corpus.h5")
@options.as_json
@options.force
@options.ingest_options
@options.workers
@options.common
def ingest(
    source: str,
    kind: str,
    output: Path | None,
    as_json: bool,
    force: bool,
    ingest_config: IngestConfig,
    workers: int | None,
) -> None:
    """Read documents into a corpus file, once for many runs.

    SOURCE is a directory of text files, a file of documents (lines, JSON lines, CSV, TSV, Parquet, word counts; plain
    or compressed; tar or zip of text files), or - for standard input. The format is recognised.
    """
    from tdtool.report import tables
    from tdtool.run.ingest import ingest_corpus
    from tdtool.run.outputs import default_output

    output = output or default_output(source, kind)
    check_outputs(output, (), force)
    result = ingest_corpus(source, output, ingest_config, workers=workers, force=force)
    if as_json:
        say_json(result.as_dict())
        return
    if result.description:
        say(result.description)
    say(tables.facts_text({"documents": result.n_documents, "vocabulary": result.n_terms, "tokens": result.n_tokens}))
    say(f"{result.ledger}\nread in {result.seconds:.1f} s")
    say(str(result.path))
