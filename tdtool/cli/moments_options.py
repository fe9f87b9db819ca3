"""Options of moments: how `tdtool ingest --moments` collects them, and what may be asked of a file of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from typing import Any

import click
from click.core import ParameterSource

from tdtool.cli.options import combined, option, seed
from tdtool.config import MomentsConfig
from tdtool.errors import UsageError

Function = Callable[..., Any]
_DEFAULT = MomentsConfig()
_SECTION = "Moments"
#: Parameters of the options but for --moments: those of both kinds, of documents, of graphs.
_FOR_ALL, _FOR_DOCUMENTS, _FOR_GRAPHS = (
    ("rank", "seed"),
    ("alpha0", "m3", "hash_length", "sketches", "held_out"),
    ("tau",),
)
#: Sections of options that mean something for a file of moments.
_ALWAYS = ("Output", "Common", "Device")

_options = combined(
    option(
        "--moments",
        section=_SECTION,
        is_flag=True,
        help="Write moments, from which topics or communities are found later, without documents or edges.",
    ),
    option(
        "-k",
        "--rank",
        "rank",
        section=_SECTION,
        type=click.IntRange(1),
        metavar="N",
        default=_DEFAULT.rank,
        help="Topics or communities that can be asked for later, at most.",
    ),
    option(
        "--alpha0",
        section=_SECTION,
        type=click.FloatRange(0, min_open=True),
        metavar="F",
        default=_DEFAULT.alpha0,
        help="Documents: Dirichlet sum assumed, lower for documents of few topics.",
    ),
    option(
        "--m3",
        section=_SECTION,
        type=click.Choice(["auto", "dense", "sketch"]),
        default=_DEFAULT.m3,
        help="Documents: the third moment as a tensor, or as a sketch; auto: a tensor up to -k 256.",
    ),
    option(
        "--hash-length",
        section=_SECTION,
        type=click.IntRange(1, 1 << 26),
        metavar="N",
        help="Documents, --m3 sketch: length of a sketch. [default: by -k]",
    ),
    option(
        "--sketches",
        section=_SECTION,
        type=click.IntRange(1, 1000),
        metavar="N",
        help="Documents, --m3 sketch: independent sketches, of which the median is taken. [default: 1]",
    ),
    option(
        "--held-out",
        section=_SECTION,
        type=click.FloatRange(0, 0.5),
        metavar="F",
        default=_DEFAULT.held_out,
        help="Share of documents left out, the same that tdtool topics keeps for its score.",
    ),
    option(
        "--tau",
        section=_SECTION,
        type=click.FloatRange(0),
        metavar="F",
        default=_DEFAULT.tau,
        help="Graphs: what is added to every degree, in mean degrees.",
    ),
    seed,
)


def moments_options(function: Function) -> Function:
    """The options of MomentsConfig; the command gets `moments_config`, None without --moments."""

    @_options
    @functools.wraps(function)
    def wrapper(*args: Any, moments: bool, **values: Any) -> Any:
        names = (*_FOR_ALL, *_FOR_DOCUMENTS, *_FOR_GRAPHS)
        config = MomentsConfig(**{name: values.pop(name) for name in names})
        return function(*args, moments_config=config if moments else None, **values)

    return wrapper


def check_moments_options(context: click.Context, kind: str, *, moments: bool) -> None:
    """UsageError for options on the command line that are for --moments, or for moments of the other kind."""
    if moments and kind == "images":
        raise UsageError("--moments are of documents or of a graph, and images are made of this source")
    for name in (*_FOR_ALL, *_FOR_DOCUMENTS, *_FOR_GRAPHS):
        if (flag := _given(context, name)) is None:
            continue
        if not moments:
            raise UsageError(f"{flag} is for --moments", hint="add --moments, or leave it out")
        if name in (_FOR_DOCUMENTS if kind == "graph" else _FOR_GRAPHS):
            whose = "documents" if kind == "graph" else "graphs"
            raise UsageError(f"{flag} is for moments of {whose}, and a {kind} is made of this source")


def check_applies(context: click.Context, source: str, *, known: Collection[str], lacking: str) -> None:
    """UsageError for options on the command line that say nothing of a file of moments.

    known : parameters that do, beside those of every command; lacking : what is not in the file.
    """
    for parameter in context.command.params:
        section, name = getattr(parameter, "section", ""), str(parameter.name)
        if isinstance(parameter, click.Argument) or name in known or (section in _ALWAYS and name != "dry_run"):
            continue
        if (flag := _given(context, name)) is not None:
            raise UsageError(f"{flag} does not apply to moments, which hold no {lacking}", path=source)
    if context.params.get("polish") != 0 and _given(context, "polish"):
        hint = "leave it out; for a polish start from the source that the moments were made of"
        raise UsageError(f"--polish looks at the {lacking}, and moments hold none", path=source, hint=hint)


def asked_number(context: click.Context, name: str, source: str) -> int | None:
    """The number of -k on the command line, None without it. UsageError: auto, which moments cannot choose."""
    if _given(context, name) is None:
        return None
    value = context.params[name]
    if value == "auto":
        hint = "name a number; without -k it is the one that the moments were made for"
        raise UsageError(
            "-k auto compares models on what the moments were made of, and they hold none of it", path=source, hint=hint
        )
    return int(value)


def given(context: click.Context, name: str) -> Any:
    """The value of an option that stands on the command line, None for one that does not."""
    return None if _given(context, name) is None else context.params[name]


def _given(context: click.Context, name: str) -> str | None:
    """How an option is called that stands on the command line, None for one that does not."""
    if context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
        return None
    return next(parameter.opts[0] for parameter in context.command.params if parameter.name == name)
