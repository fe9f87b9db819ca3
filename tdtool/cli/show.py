"""tdtool show"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tdtool.cli import options
from tdtool.cli.options import Command, option
from tdtool.cli.output import say, say_json

if TYPE_CHECKING:
    from tdtool.run.show import Description


@click.command(
    cls=Command,
    examples=(
        ("tdtool show news.topics.h5", "topics, scores, how it was made, arrays"),
        ("tdtool show news.topics.h5 --topics 5 --top 20", "the five largest topics, twenty words each"),
        ("tdtool show news.topics.h5 --export news.csv --export news.documents.parquet", "in other formats"),
    ),
)
@click.argument("file", type=options.FILE)
@option(
    "--topics",
    "n_topics",
    section="Output",
    type=click.IntRange(0),
    metavar="N",
    help="Show the N largest topics. [default: all]",
)
@options.top()
@options.exports
@options.as_json
@options.force
@options.common
def show(file: Path, n_topics: int | None, n_words: int, exports: tuple[Path, ...], as_json: bool, force: bool) -> None:
    """Say what is in a file and how it was made.

    FILE is any that tdtool wrote: a model, the topics of documents, a corpus.
    """
    from tdtool.run.show import describe, export

    export(file, exports, force=force)
    description = describe(file, n_topics=n_topics, n_words=n_words)
    if as_json:
        say_json(description.as_dict())
        return
    _print(description)
    for path in exports:
        say(str(path))


def _print(description: Description) -> None:
    from tdtool.report import tables

    say(f"{description.path}: {description.schema} version {description.version}. {description.about}\n")
    if description.topics:
        rows = [tables.TopicRow(t["topic"], t["size"], t["npmi"], t["words"]) for t in description.topics]
        tables.print_topics(rows)
        say("\n" + tables.scores_text(description.scores) + "\n")
    if description.words:
        say(f"Words in most documents: {' '.join(description.words)}\n")
    if description.selection:
        tables.print_selection(description.selection, description.sizes.get("topic"))
        say("")
    say(tables.facts_text(description.facts))
    if description.ledger is not None:
        say(str(description.ledger))
    say("")
    columns = [tables.Column(name) for name in ("array", "shape", "dtype")]
    rows_of_text = [(a["path"], _shape(a["shape"], a["dims"]), a["dtype"], a["about"]) for a in description.arrays]
    tables.print_table([*columns, tables.Column("meaning", wrap=True)], rows_of_text)


def _shape(shape: tuple[int, ...], dims: tuple[str, ...]) -> str:
    return ", ".join(f"{dim} {length:,}" for dim, length in zip(dims, shape, strict=True))
