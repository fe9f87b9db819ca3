"""Options that say where a graph comes from, shared by the commands that read one."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from tdtool.cli.options import combined, option
from tdtool.config import GraphConfig

Function = Callable[..., Any]
_DEFAULT = GraphConfig()
#: Parameters of the options besides the format.
CHOICES = ("columns", "weight", "key", "bipartite")

_format = option(
    "--format",
    section="Graph",
    default=_DEFAULT.format,
    metavar="NAME",
    help="edges, csv, tsv, matrix-market, metis, graphml, gml, parquet, npz, hdf5; auto looks at the content.",
)
_choices = combined(
    option(
        "--columns",
        section="Graph",
        metavar="A,B",
        help="Tables: columns of the two ends, by name or number from 1. [default: the first two]",
    ),
    option(
        "--weight",
        section="Graph",
        metavar="COLUMN",
        help="Column or attribute of the weights; none: every edge counts once. [default: recognised]",
    ),
    option("--key", section="Graph", metavar="NAME", help="Array in a .npz file. [default: the only one]"),
    option(
        "--bipartite",
        section="Graph",
        is_flag=True,
        help="The two ends of an edge are of two kinds, readers and books say; both are grouped.",
    ),
)


def graph_choices(function: Function) -> Function:
    """The options of GraphConfig but for its format, for commands that have a --format already; as graph_options."""

    @_choices
    @functools.wraps(function)
    def wrapper(*args: Any, **values: Any) -> Any:
        config = dataclasses.replace(_DEFAULT, **{name: values.pop(name) for name in CHOICES})
        return function(*args, graph_config=config, **values)

    return wrapper


def graph_options(function: Function) -> Function:
    """The options of GraphConfig; the command gets `graph_config`."""

    @_format
    @graph_choices
    @functools.wraps(function)
    def wrapper(*args: Any, format: str, graph_config: GraphConfig, **values: Any) -> Any:  # noqa: A002 -- the option
        return function(*args, graph_config=dataclasses.replace(graph_config, format=format), **values)

    return wrapper
