"""tdtool submit"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import click

from tdtool.cli import options, settings
from tdtool.cli.group import cli
from tdtool.cli.options import Command, option
from tdtool.cli.output import say, say_json
from tdtool.cli.spark_options import spark_options
from tdtool.config import SparkConfig
from tdtool.errors import UsageError

if TYPE_CHECKING:
    from tdtool.run.submit import Places

_COMMANDS = ("topics", "communities", "ingest", "infer", "evaluate")


class Forwarding(Command):
    """Its options of the section Spark may stand anywhere; all else after the command's name is the command's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Own options in front, then `--`, then the command and its arguments as they are."""
        own: list[str] = []
        theirs: list[str] = []
        words = iter(args)
        for word in words:
            found = self._own_option(word, named=bool(theirs))
            if found is None:
                theirs.append(word)
                continue
            own.append(word)
            if not found.is_flag and "=" not in word:
                own.extend(value for value in [next(words, None)] if value is not None)
        return super().parse_args(ctx, [*own, "--", *theirs] if theirs else own)

    def _own_option(self, word: str, *, named: bool) -> click.Option | None:
        """The option that a word is, if it is one of ours. named : the command's name has been seen."""
        name = word.partition("=")[0] if word.startswith("--") else word
        for parameter in self.get_params(click.get_current_context(silent=True) or click.Context(self)):
            if isinstance(parameter, click.Option) and name in parameter.opts:
                return parameter if not named or getattr(parameter, "section", "") == "Spark" else None
        return None


@click.command(
    cls=Forwarding,
    examples=(
        ("tdtool submit topics hdfs:///corpus -k 100 -o run.topics.h5 --master yarn --print", "what would be run"),
        ("tdtool submit topics docs.corpus.h5 -k 100 --master spark://host:7077", "Spark's own cluster manager"),
    ),
)
@click.argument("command", type=click.Choice(_COMMANDS))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@spark_options
@option(
    "--deploy-mode",
    section="Spark",
    type=click.Choice(["client", "cluster"]),
    default="client",
    help="Where the driver runs: here, or on the cluster (YARN and Kubernetes).",
)
@option(
    "--environment",
    section="Spark",
    metavar="FILE|URI",
    help="Archive of the Python packages that executors get; made where it is missing. [default: one of this Python]",
)
@option(
    "--python",
    section="Spark",
    metavar="PATH",
    help="Python that all machines have, with the packages that tdtool needs; then tdtool alone is sent.",
)
@option("--print", "only_print", section="Spark", is_flag=True, help="Print the commands, and run nothing.")
@option("--json", "as_json", section="Output", is_flag=True, help="With --print: one JSON object.")
@options.common
@click.pass_context
def submit(
    context: click.Context,
    command: str,
    arguments: tuple[str, ...],
    spark: SparkConfig | None,
    deploy_mode: Literal["client", "cluster"],
    environment: str | None,
    python: str | None,
    only_print: bool,
    as_json: bool,
) -> int | None:
    """Run a command on a cluster, through spark-submit.

    COMMAND is topics, communities, ingest, infer or evaluate, and ARGUMENTS are its own. The Python packages that are
    installed here go along in an archive, which is made when it is missing and kept for the next time.
    """
    from tdtool.run import submit as run

    if spark is None or spark.master is None:
        raise UsageError("submit needs a cluster", hint="--master yarn, spark://HOST:PORT or k8s://HOST:PORT")
    places = _places(context, command, arguments)
    config = run.SubmitConfig(spark, deploy_mode, environment, python)
    submission = run.plan_submission(command, arguments, places, config)
    if not only_print:
        return run.submit(submission)
    if as_json:
        say_json(submission.as_dict())
    else:
        say(submission.text())
    return None


def _places(context: click.Context, name: str, arguments: Sequence[str]) -> Places:
    """What the command would read and write; its own errors for arguments that it would not take."""
    from tdtool.run.submit import Places

    command = getattr(importlib.import_module(f"tdtool.cli.{name}"), name)
    root = context.find_root()
    root.default_map = {name: settings.read(root, name, command, cli.list_commands(root))}
    values: dict[str, Any] = command.make_context(name, list(arguments), parent=root).params
    inputs = [p.name for p in command.params if isinstance(p, click.Argument)]
    sources = tuple(str(values[str(key)]) for key in inputs if values.get(str(key)) is not None)
    output = str(values["output"] or "") if "output" in values else None
    return Places(sources, output, tuple(map(str, values.get("exports") or ())))
