"""What commands share: options in sections, their types, and the decorators that turn them into configurations."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tdtool.config import IngestConfig, SourceConfig, TokenConfig, VocabularyConfig
from tdtool.errors import UsageError

Function = Callable[..., Any]
_LAST = "Common"


@dataclasses.dataclass
class Session:
    """What the entry point must know of the command that it started."""

    debug: bool = False


class Option(click.Option):
    """An option with a section in the help; TDTOOL_NAME sets it for all commands, TDTOOL_COMMAND_NAME for one."""

    def __init__(self, *args: Any, section: str = "Options", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """The command's variable first, then the common one."""
        value = super().resolve_envvar_value(ctx)
        if value is not None or self.name is None:
            return value
        import os

        return os.environ.get(f"TDTOOL_{self.name.upper()}") or None


class Command(click.Command):
    """A command whose help has sections, and an example at its end."""

    def __init__(self, *args: Any, examples: tuple[tuple[str, str], ...], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Options under their sections, in the order in which they were declared."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                sections.setdefault(getattr(parameter, "section", _LAST), []).append(record)
        sections[_LAST] = sections.pop(_LAST)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, as they are typed."""
        lines = [f"  {line}\n      {about}\n" for line, about in self.examples]
        formatter.write("\nExamples:\n" + "".join(lines))


class NumberOrAuto(click.ParamType):
    """A whole number of at least `least`, or "auto"."""

    name = "n|auto"

    def __init__(self, least: int) -> None:
        self._least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """int or "auto"."""
        if value == "auto":
            return "auto"
        try:
            number = int(str(value))
        except ValueError:
            self.fail(f"{value!r} is neither a whole number nor auto.", param, ctx)
        if number < self._least:
            self.fail(f"{number} is less than {self._least}.", param, ctx)
        return number


class Size(click.ParamType):
    """Bytes: 500M, 2G, 1.5GiB. K, M, G, T count by 1024, KB, MB, GB, TB by 1000."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Whole bytes."""
        text = str(value).strip()
        number = text.rstrip("KMGTBkmgtbi ")
        unit = text[len(number) :].strip().upper()
        powers = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
        base = 1000 if len(unit) == 2 and unit.endswith("B") else 1024
        try:
            size = int(float(number) * base ** powers[unit.removesuffix("B").removesuffix("I")])
        except (ValueError, KeyError, OverflowError):
            self.fail(f"{value!r} is no size; write 500M or 2G.", param, ctx)
        if size < 1 << 20:
            self.fail(f"{value!r} is less than a megabyte.", param, ctx)
        return size


FILE = click.Path(path_type=Path, dir_okay=True, readable=False)


def option(*names: str, section: str, **settings: Any) -> Callable[[Function], Function]:
    """click.option in a section; defaults are shown."""
    settings.setdefault("show_default", settings.get("default") is not None and not settings.get("is_flag"))
    return click.option(*names, cls=Option, section=section, **settings)


def combined(*decorators: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """One decorator from several; the help lists them in this order."""
    return lambda function: functools.reduce(lambda inner, decorate: decorate(inner), reversed(decorators), function)


force = option("--force", section="Output", is_flag=True, help="Replace files that exist.")
as_json = option("--json", "as_json", section="Output", is_flag=True, help="Print one JSON object instead of tables.")
workers = option(
    "--workers",
    section="Common",
    type=click.IntRange(1, 4096),
    metavar="N",
    help="Threads. [default: the cores this process may use]",
)
memory = option(
    "--memory", section="Common", type=Size(), help="Beyond this, big arrays go to disk. [default: half of the RAM]"
)
array_memory = option(
    "--memory",
    section="Common",
    type=Size(),
    help="Most that the arrays may take; a run that needs more is refused before it starts. [default: what is free]",
)
seed = option(
    "--seed",
    section="Common",
    type=click.IntRange(0, 2**32 - 1),
    metavar="N",
    default=0,
    help="Same seed, same result to the bit.",
)


def output(default: str) -> Callable[[Function], Function]:
    """-o, with the default in words."""
    return option(
        "-o", "--output", section="Output", type=FILE, metavar="FILE", help=f"Result file. [default: {default}]"
    )


def result(default: str) -> Callable[[Function], Function]:
    """-o, for a result that may go anywhere."""
    about = f"Result file, here or at a URI (s3://...). [default: {default}]"
    return option("-o", "--output", section="Output", metavar="FILE", help=about)


def place(default: str) -> Callable[[Function], Function]:
    """-o, for a store that may be anywhere."""
    about = f"Store: an HDF5 file, or a directory NAME.parquet, here or at a URI (s3://...). [default: {default}]"
    return option("-o", "--output", section="Output", metavar="STORE", help=about)


def exports(names: str) -> Callable[[Function], Function]:
    """--export FILE. names : which name of a file asks for what."""
    return option(
        "--export",
        "exports",
        section="Output",
        multiple=True,
        type=FILE,
        metavar="FILE",
        help=f"Also write the result as .csv, .tsv, .json, .parquet or .npz (by suffix; may be repeated). {names}",
    )


#: What the names of exports ask for, by kind of result.
TOPIC_EXPORTS = "NAME.documents.csv holds the documents' topics, any other name the topics' words."
TENSOR_EXPORTS = "NAME.core.csv holds the core of Tucker, any other name the factors."
COMMUNITY_EXPORTS = (
    "NAME.communities.csv holds a row for each community, NAME.mixture.csv graded shares of members and others, any "
    "other name the memberships; .graphml and .gexf the graph."
)
FACTOR_EXPORTS = "NAME.scores.csv holds the rows' scores, any other name the loadings."


def top(default: int = 10) -> Callable[[Function], Function]:
    """How many words of a topic, or places of a component, are shown."""
    return option(
        "--top",
        "n_words",
        section="Output",
        type=click.IntRange(1, 1000),
        metavar="N",
        default=default,
        help="Words shown of a topic, places of a component.",
    )


def common(function: Function) -> Function:
    """-q, -v, --debug; the command runs with its notes set up."""

    @option("-q", "--quiet", section="Common", is_flag=True, help="Warnings only.")
    @option("-v", "--verbose", section="Common", is_flag=True, help="More detail.")
    @option("--debug", section="Common", is_flag=True, help="Show where an error came from.")
    @functools.wraps(function)
    def wrapper(*args: Any, quiet: bool, verbose: bool, debug: bool, **values: Any) -> Any:
        from tdtool import log

        session = click.get_current_context().find_object(Session)
        if session is not None:
            session.debug = debug
        with log.configured(-1 if quiet else int(verbose or debug)):
            return function(*args, **values)

    return wrapper


_SOURCE, _TOKENS, _VOCABULARY = SourceConfig(), TokenConfig(), VocabularyConfig()

_source = combined(
    option(
        "--format",
        section="Source",
        default=_SOURCE.format,
        metavar="NAME",
        help="lines, jsonl, csv, tsv, parquet, directory, tar, zip, uci, matrix-market, svmlight, lda-c, npz.",
    ),
    option("--column", section="Source", help="Text column of CSV, TSV, Parquet: its name, or its number from 1."),
    option("--id-column", section="Source", help="Column with the documents' names."),
    option("--field", section="Source", default=_SOURCE.field, help="Text field of JSON lines; a.b goes inwards."),
    option("--id-field", section="Source", help="Field with the documents' names."),
    option("--vocabulary", section="Source", metavar="FILE", help="Words of counted input, one a line."),
)
_tokens = combined(
    option(
        "--min-length",
        section="Words",
        type=click.IntRange(1),
        metavar="N",
        default=_TOKENS.min_length,
        help="Shortest, in letters.",
    ),
    option(
        "--max-length",
        section="Words",
        type=click.IntRange(1),
        metavar="N",
        default=_TOKENS.max_length,
        help="Longest, in letters.",
    ),
    option(
        "--numbers",
        section="Words",
        type=click.Choice(["keep", "drop", "replace"]),
        default=_TOKENS.numbers,
        help="Words of digits; replace makes each #.",
    ),
    option("--keep-case", section="Words", is_flag=True, help="Tell Bush from bush."),
    option(
        "--ngrams",
        section="Words",
        type=click.IntRange(1, 3),
        metavar="N",
        default=_TOKENS.ngrams,
        help="2 or 3: join frequent phrases (new_york).",
    ),
)
_vocabulary = combined(
    option(
        "--stop-words",
        section="Vocabulary",
        default=_VOCABULARY.stop_words,
        metavar="LANGUAGE|FILE|none",
        help="Words left out: of en, de, ..., or listed in a file.",
    ),
    option(
        "--min-df",
        section="Vocabulary",
        type=click.FloatRange(0),
        metavar="F",
        help="Least documents a word is in; below 1 a share of them. [default: 5, less for small corpora]",
    ),
    option(
        "--max-df",
        section="Vocabulary",
        type=click.FloatRange(0, min_open=True),
        metavar="F",
        help="Most documents a word is in; below 1 a share of them. [default: 0.3, all for fewer than 50 documents]",
    ),
    option(
        "--max-vocabulary",
        section="Vocabulary",
        type=click.IntRange(2),
        metavar="N",
        help="Keep the most frequent words only.",
    ),
)


def source_options(function: Function) -> Function:
    """The options of SourceConfig; the command gets `source_config`."""

    @_source
    @functools.wraps(function)
    def wrapper(*args: Any, **values: Any) -> Any:
        names = ("format", "column", "id_column", "field", "id_field", "vocabulary")
        config = SourceConfig(**{name: values.pop(name) for name in names})
        return function(*args, source_config=config, **values)

    return wrapper


def ingest_options(function: Function) -> Function:
    """The options of IngestConfig; the command gets `ingest_config`."""

    @source_options
    @_tokens
    @_vocabulary
    @functools.wraps(function)
    def wrapper(*args: Any, source_config: SourceConfig, **values: Any) -> Any:
        if values["min_length"] > values["max_length"]:
            raise UsageError("--min-length is more than --max-length, which leaves no words")
        tokens = TokenConfig(
            lowercase=not values.pop("keep_case"),
            **{name: values.pop(name) for name in ("min_length", "max_length", "numbers", "ngrams")},
        )
        vocabulary = VocabularyConfig(
            max_size=values.pop("max_vocabulary"),
            **{name: values.pop(name) for name in ("stop_words", "min_df", "max_df")},
        )
        return function(*args, ingest_config=IngestConfig(source_config, tokens, vocabulary), **values)

    return wrapper
