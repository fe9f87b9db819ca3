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

_ROWS = {
    **dict.fromkeys(("tdtool.corpus", "tdtool.topics", "tdtool.documents", "tdtool.moments"), "documents"),
    **dict.fromkeys(("tdtool.graph", "tdtool.communities", "tdtool.graph_moments"), "edges"),
    **dict.fromkeys(("tdtool.images", "tdtool.training"), "images"),
}
_COMMUNITIES = 50  # shown unless the user says how many


@click.command(
    cls=Command,
    examples=(
        ("tdtool show news.topics.h5", "topics, scores, how it was made, arrays"),
        ("tdtool show news.topics.h5 --topics 5 --top 20", "the five largest topics, twenty words each"),
        ("tdtool show friends.communities.h5 --topics 12", "communities, bridges between them, links"),
        ("tdtool show ratings.cp.h5 --top 8 --export factors.csv", "the components of a tensor"),
        ("tdtool show news.topics.h5 --export news.csv --export news.documents.parquet", "in other formats"),
    ),
)
@click.argument("file")
@option(
    "--topics",
    "n_topics",
    section="Output",
    type=click.IntRange(0),
    metavar="N",
    help="Show the N largest topics, components or communities. [default: all]",
)
@options.top()
@options.exports(
    f"{options.TOPIC_EXPORTS} {options.TENSOR_EXPORTS} {options.FACTOR_EXPORTS} {options.COMMUNITY_EXPORTS}"
)
@options.as_json
@options.force
@options.common
def show(file: str, n_topics: int | None, n_words: int, exports: tuple[Path, ...], as_json: bool, force: bool) -> None:
    """Say what is in a file and how it was made.

    FILE is any that tdtool wrote: a topic model, the topics of documents, a corpus, the components of a tensor, the
    factors of a table, a graph, the communities of a graph, the moments of a corpus or a graph, images, the training of
    a net; or a store of Parquet files, here or at a URI (s3://...).
    """
    from tdtool.run.show import describe, export

    export(file, exports, force=force)
    description = describe(file, n_topics=n_topics, n_words=n_words)
    if as_json:
        say_json(description.as_dict())
        return
    _print(description, n_topics)
    for path in exports:
        say(str(path))


def _print(description: Description, n_topics: int | None) -> None:
    from tdtool.report import tables

    say(f"{description.path}: {description.schema} version {description.version}. {description.about}\n")
    if description.topics:
        rows = [tables.TopicRow(t["topic"], t["size"], t["npmi"], t["words"]) for t in description.topics]
        tables.print_topics(rows)
        say("\n" + tables.scores_text(description.scores) + "\n")
    if description.words:
        say(f"Words in most documents: {' '.join(description.words)}\n")
    if description.schema == "tdtool.topics" and description.selection:
        tables.print_selection(description.selection, description.sizes.get("topic"))
        say("")
    _print_components(description)
    _print_loadings(description)
    _print_communities(description, _COMMUNITIES if n_topics is None else n_topics)
    say(tables.facts_text(description.facts))
    if description.ledger is not None and (description.ledger.rows_in or description.words):
        say(description.ledger.text(_ROWS.get(description.schema, "rows")))
    say("")
    columns = [tables.Column(name) for name in ("array", "shape", "dtype")]
    rows_of_text = [(a["path"], _shape(a["shape"], a["dims"]), a["dtype"], a["about"]) for a in description.arrays]
    tables.print_table([*columns, tables.Column("meaning", wrap=True)], rows_of_text)


def _print_components(description: Description) -> None:
    """The components of a tensor."""
    from tdtool.report import components as report

    if description.components:
        if description.selection:
            report.print_ranks(description.selection, description.sizes["component"])
            say(f"\n{report.sentence(str(description.attributes.get('reason', '')))}\n")
        report.print_components(description.components)
    if description.modes:
        report.print_modes(description.modes)
        say(f"\n{report.core_text(description.modes)}\n")
        report.print_core(description.core, [mode["mode"] for mode in description.modes])
    if description.components or description.modes:
        attributes = description.attributes
        lines = [f"Components: {attributes['uniqueness']}"] if "uniqueness" in attributes else []
        lines += [f"Warning: {text}" for text in attributes.get("warnings", [])]
        say("".join(f"\n{line}" for line in lines) + "\n")


def _print_loadings(description: Description) -> None:
    """The loadings of a table on its factors."""
    if not description.loadings:
        return
    from tdtool.decompose.factor_groups import in_reading_order
    from tdtool.report import loadings as report

    found = description.loadings
    report.print_loadings(
        found["columns"], found["pattern"].tolist(), found["communality"].tolist(), in_reading_order(found["pattern"])
    )
    headings = report.factor_names(len(found["variance"]))
    say("\nCorrelations of the factors\n")
    report.print_matrix("", headings, found["correlation"].tolist(), headings)
    say("")


def _print_communities(description: Description, most: int) -> None:
    """The communities of a graph. most : of them that are shown."""
    found = description.communities
    if not found:
        return
    from tdtool.report import communities as report

    attributes = description.attributes
    report.print_choice(description.selection, attributes.get("chosen"), str(attributes.get("reason", "")))
    report.print_found(found, found["communities"][:most], found["bridges"])
    if found["ties"]:
        say("\nCommunities that are linked most, by the chance that pure members are\n")
        report.print_ties(found["ties"])
    if found["n_communities"] and (scores := report.scores_text(description.scores)):
        say("\n" + scores)
    for warning in attributes.get("warnings", []):
        say(f"Warning: {warning}")
    say("")


def _shape(shape: tuple[int, ...], dims: tuple[str, ...]) -> str:
    return ", ".join(f"{dim} {length:,}" for dim, length in zip(dims, shape, strict=True))
