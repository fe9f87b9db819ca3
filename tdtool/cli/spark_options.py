"""The options that send a command to a Spark cluster."""

from __future__ import annotations

import functools
import os
import re
from typing import Any

import click
from click.core import ParameterSource

from tdtool.cli.options import Function, Size, combined, option
from tdtool.config import SparkConfig
from tdtool.errors import UsageError

_SETTING = re.compile(r"spark\.[\w.\-$/]+")
_NAMES = {"spark_conf": "--spark-conf", "executor_memory": "--executor-memory"}


class Setting(click.ParamType):
    """KEY=VALUE, as spark-submit --conf takes it."""

    name = "KEY=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """(key, value)."""
        if isinstance(value, tuple):
            return value
        key, equals, said = str(value).partition("=")
        if not equals or not _SETTING.fullmatch(key.strip()):
            self.fail(f"{value!r} is no setting of Spark; write spark.NAME=VALUE.", param, ctx)
        return key.strip(), said.strip()


_options = combined(
    option(
        "--master",
        section="Spark",
        metavar="URL",
        help="Run on Spark: local[N], local-cluster[N,CORES,MB], spark://HOST:PORT, yarn, k8s://HOST:PORT.",
    ),
    option(
        "--spark-conf",
        section="Spark",
        multiple=True,
        type=Setting(),
        metavar="KEY=VALUE",
        help="A setting of Spark's, such as spark.executor.cores=4 (may be repeated).",
    ),
    option(
        "--executor-memory",
        section="Spark",
        type=Size(),
        help="Memory of an executor's Java. [default: as the cluster says]",
    ),
)


def spark_options(function: Function) -> Function:
    """The options of SparkConfig; the command gets `spark`: None without --master, unless spark-submit started it."""

    @_options
    @functools.wraps(function)
    def wrapper(
        *args: Any,
        master: str | None,
        spark_conf: tuple[tuple[str, str], ...],
        executor_memory: int | None,
        **values: Any,
    ) -> Any:
        config = None
        if master or "PYSPARK_GATEWAY_PORT" in os.environ:
            config = SparkConfig(master or None, spark_conf, executor_memory)
        else:
            _refuse_typed()
        return function(*args, spark=config, **values)

    return wrapper


def _refuse_typed() -> None:
    """What the user typed must have an effect; what the environment or a file sets for all commands need not."""
    context = click.get_current_context()
    for name, typed in _NAMES.items():
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise UsageError(f"{typed} is for Spark", hint="add --master URL, or leave it out")
