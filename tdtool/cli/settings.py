"""./tdtool.toml: defaults of a directory. Every key is an option, and a wrong one is an error with its name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from tdtool.errors import UsageError

FILE = "tdtool.toml"
_COMMON = "tdtool"
_SPARK_OPTIONS = ("master", "spark-conf", "executor-memory")
#: Options that [tdtool] may set although a command does not have them.
COMMON_OPTIONS = ("quiet", "verbose", "debug", "json", "seed", "force", "workers", "memory", *_SPARK_OPTIONS)


def read(ctx: click.Context, name: str, command: click.Command, commands: Sequence[str]) -> dict[str, Any]:
    """Values for a command from ./tdtool.toml, by parameter name; {} without the file. [NAME] wins over [tdtool]."""
    path = Path(FILE)
    if not path.is_file():
        return {}
    tables = _parse(path)
    for table, values in tables.items():
        if table not in (_COMMON, *commands):
            raise UsageError(f"unknown table [{table}]", path=FILE, hint=f"known are {_COMMON}, {', '.join(commands)}")
        if not isinstance(values, dict):
            raise UsageError(f"{table} is a value, not a table", path=FILE, hint=f"put it under [{table}]")
    options = {key: option for option in command.params if isinstance(option, click.Option) for key in _keys(option)}
    found: dict[str, Any] = {}
    for table in (_COMMON, name):
        for key, value in tables.get(table, {}).items():
            option = options.get(key.replace("_", "-"))
            if option is not None and option.name:
                found[option.name] = _checked(ctx, option, value, f"[{table}] {key}")
            elif table == name or key not in COMMON_OPTIONS:
                known = COMMON_OPTIONS if table == _COMMON else sorted(options)
                raise UsageError(f"[{table}] has no option {key!r}", path=FILE, hint=f"known are {', '.join(known)}")
    return found


def _parse(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"not valid TOML: {error}", path=FILE) from error


def _keys(option: click.Option) -> list[str]:
    """How an option may be called: its names without dashes in front. --help is nobody's default."""
    return [text.lstrip("-") for text in option.opts if option.name != "help"]


def _checked(ctx: click.Context, option: click.Option, value: Any, key: str) -> Any:
    """The value, if TOML gave it the type that the option takes."""
    values = value if option.multiple and isinstance(value, list) else [value]
    if option.is_flag or option.count:
        wanted: tuple[type, ...] = (int,) if option.count else (bool,)
        name = "a number" if option.count else "true or false"
    else:
        name, wanted = _wanted(option.type)
    for item in values:
        if not isinstance(item, wanted) or (isinstance(item, bool) and bool not in wanted):
            raise UsageError(f"{key} = {item!r} is not {name}", path=FILE)
        try:
            if not option.is_flag and not option.count:
                option.type.convert(item, option, ctx)
        except click.BadParameter as error:
            raise UsageError(f"{key} = {item!r}: {error.message}", path=FILE) from error
    return values if option.multiple else value


def _wanted(kind: click.ParamType) -> tuple[str, tuple[type, ...]]:
    """What a TOML value must be for an option of this kind, in words and in types."""
    if isinstance(kind, click.types.FloatParamType):
        return "a number", (int, float)
    if isinstance(kind, click.types.IntParamType):
        return "a whole number", (int,)
    if isinstance(kind, (click.types.StringParamType, click.Path)):
        return "text", (str,)
    if isinstance(kind, click.Choice) and all(isinstance(choice, str) for choice in kind.choices):
        return f"one of {', '.join(map(str, kind.choices))}", (str, int)
    return "text or a number", (str, int, float)
