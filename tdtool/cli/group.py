"""The group of commands. It knows each by one line and imports it when it is called."""

from __future__ import annotations

import importlib
from typing import Any

import click

from tdtool import __version__
from tdtool.cli import settings

_EPILOG = """\
Every option can also be set in the environment (TDTOOL_SEED=1 for all commands, TDTOOL_TOPICS_SEED=1 for one) and in
./tdtool.toml (a table for each command, [tdtool] for all). Flags win over the environment, that over the file.

Completion of commands and options in your shell:
  bash   eval "$(_TDTOOL_COMPLETE=bash_source tdtool)"     in ~/.bashrc
  zsh    eval "$(_TDTOOL_COMPLETE=zsh_source tdtool)"      in ~/.zshrc
  fish   _TDTOOL_COMPLETE=fish_source tdtool | source      in ~/.config/fish/completions/tdtool.fish

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 bad input, 4 no memory, disk or GPU, 130 interrupted, 143 terminated.

Example:
  tdtool topics corpus/
"""


class ReaderGoneError(Exception):
    """Whoever read our output has closed the pipe: `tdtool show FILE | head`."""


class LazyGroup(click.Group):
    """tdtool.cli.NAME holds the command NAME."""

    summaries = {  # noqa: RUF012 -- the table of commands
        "topics": "Find the topics of a corpus.",
        "infer": "Find the topics of new documents with a model.",
        "evaluate": "Score a model on other documents, known communities or images.",
        "export": "Write a trained net for use elsewhere.",
        "communities": "Find the overlapping communities of a graph.",
        "decompose": "Find the components of a tensor.",
        "factors": "Find the factors behind the columns of a table.",
        "train": "Train a net on images.",
        "ingest": "Read documents, a graph or images into a file, for many runs.",
        "show": "Say what is in a file and how it was made.",
        "verify": "Check that a file is as it was written.",
        "submit": "Run a command on a cluster, through spark-submit.",
        "doctor": "Describe this machine and installation.",
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order of use."""
        return list(self.summaries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in self.summaries:
            return None
        return getattr(importlib.import_module(f"tdtool.cli.{cmd_name}"), cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Also read ./tdtool.toml, now that the command is known."""
        name, command, rest = super().resolve_command(ctx, args)
        if name and command and not {"-h", "--help"} & set(rest) and not ctx.resilient_parsing:
            ctx.default_map = {name: settings.read(ctx, name, command, self.list_commands(ctx))}
        return name, command, rest

    def invoke(self, ctx: click.Context) -> Any:
        """A closed pipe is no error of ours, and click would make it one."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderGoneError from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table: click's own would import every command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.summaries.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As it stands: click's own would join its lines."""
        formatter.write("\n" + _EPILOG)


def _print_version(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"tdtool {__version__}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"auto_envvar_prefix": "TDTOOL", "help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
)
def cli() -> None:
    """Find hidden structure with tensors.

    Topics in text, communities in graphs, components of tensors, factors of tables.

    `tdtool COMMAND --help` says more about a command.
    """
