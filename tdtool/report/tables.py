"""Results as a person reads them: tables by rich on a terminal, plain aligned lines anywhere else."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tdtool.data.ledger import Ledger
from tdtool.log import printable

_WIDEST = 120


class Column(NamedTuple):
    """right : numbers; wrap : long text, folded on a terminal and never cut."""

    name: str
    right: bool = False
    wrap: bool = False


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout. Cells may come from corpora: nothing in them means anything to the terminal."""
    cells = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_rich(columns, cells)
    else:
        print("\n".join(_plain(columns, cells)))


def _plain(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [[column.name for column in columns], *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return [
        "  ".join(
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(line, widths, columns, strict=True)
        ).rstrip()
        for line in lines
    ]


def _print_rich(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        justify = "right" if column.right else "left"
        table.add_column(Text(column.name), justify=justify, no_wrap=not column.wrap, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table, width=min(console.width, _WIDEST))


class TopicRow(NamedTuple):
    """One topic. size : share of the tokens; npmi : coherence; words : (term, probability), the most probable first."""

    topic: int
    size: float
    npmi: float
    words: Sequence[tuple[str, float]]


def print_topics(rows: Sequence[TopicRow]) -> None:
    """The topics of a model."""
    columns = (
        Column("topic", right=True),
        Column("size", right=True),
        Column("npmi", right=True),
        Column("words", wrap=True),
    )
    print_table(
        columns,
        [
            (str(row.topic), f"{row.size:.1%}", _known(row.npmi), " ".join(word for word, _ in row.words))
            for row in rows
        ],
    )


def _known(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "-"


def print_selection(rows: Sequence[Mapping[str, Any]], chosen: int | None) -> None:
    """What -k auto tried."""
    names = list(rows[0])
    columns = [*(Column(name.replace("n_topics", "k"), right=True) for name in names), Column("")]
    print_table(
        columns,
        [[*(_number(row[name]) for name in names), "taken" if row.get("n_topics") == chosen else ""] for row in rows],
    )


def scores_text(scores: Mapping[str, Any]) -> str:
    """The scores of a model in a sentence or two."""
    sentences = []
    if scores.get("perplexity") is not None:
        counted = [f"{scores[key]:,} {name}" for key, name in _COUNTED.items() if scores.get(key) is not None]
        where = f" ({', '.join(counted)})" if counted else ""
        sentences.append(f"Held-out perplexity {scores['perplexity']:,.1f}{where}, by document completion.")
    parts = [f"{name} {scores[key]:.3f}" for key, name in _COHERENCE.items() if scores.get(key) is not None]
    if parts:
        text = ", ".join(parts)  # the diversity alone is no coherence
        sentences.append(f"Coherence {text}." if len(parts) > 1 else f"{text[0].upper()}{text[1:]}.")
    return " ".join(sentences)


def summary_text(values: Mapping[str, Any]) -> str:
    """Single values one a line, then the ledger; lists and further tables are for --json."""
    facts = {
        name.removeprefix("n_").replace("_", " "): value
        for name, value in values.items()
        if not isinstance(value, (dict, list, tuple))
    }
    text = facts_text({name: value for name, value in facts.items() if name != "path"})
    return f"{text}\n{Ledger.from_dict(values['ledger'])}" if isinstance(values.get("ledger"), dict) else text


_COUNTED = {"held_out_documents": "documents", "words_scored": "words scored"}
_COHERENCE = {"npmi": "NPMI", "umass": "UMass", "cv": "C_v", "diversity": "diversity"}


def facts_text(facts: Mapping[str, Any]) -> str:
    """Names and values, one a line."""
    width = max((len(name) for name in facts), default=0)
    return "\n".join(f"{name.ljust(width)}  {printable(_number(value))}" for name, value in facts.items())


def _number(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3f}"
    return str(value)
