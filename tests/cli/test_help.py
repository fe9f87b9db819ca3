"""What the command line says about itself, and how fast."""

from __future__ import annotations

import re
import subprocess
import sys

import click
import pytest

from tdtool import __version__
from tdtool.cli.group import LazyGroup, cli
from tdtool.cli.options import Command
from tests.cli.conftest import Run
from tests.cli.running import ROOT, Ran, environment, tdtool

COMMANDS = list(LazyGroup.summaries)
HEAVY = ("numpy", "scipy", "numba", "pyarrow", "h5py", "rich", "pyspark", "torch", "cupy", "pandas", "tomllib")


def _command(name: str) -> Command:
    command = cli.get_command(click.Context(cli), name)
    assert isinstance(command, Command)
    return command


@pytest.mark.parametrize("name", COMMANDS)
def test_command_has_help_options_and_an_example(name: str, run: Run) -> None:
    ran = run(name, "--help")
    assert ran.code == 0
    assert ran.err == ""
    command = _command(name)
    assert command.help
    assert command.help.splitlines()[0] == LazyGroup.summaries[name], "the group's table says what the command says"
    assert len(command.examples) >= 2
    for line, about in command.examples:
        assert f"\n  {line}\n      {about}\n" in ran.out
        assert f"tdtool {name}" in line
    for option in ("--quiet", "--verbose", "--debug", "--json", "--help"):
        assert option in ran.out
    assert ran.out.index("Common:") > ran.out.index("Output:"), "what all commands have comes last"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_does(name: str) -> None:
    for parameter in _command(name).params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.opts
            assert parameter.help[0].isupper() or parameter.name == "format" or not parameter.help[0].isalpha()
            assert re.sub(r" \[default: .+\]$", "", parameter.help).endswith((".", ")"))


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_are_valid_command_lines(name: str) -> None:
    command = _command(name)
    for line, _ in command.examples:
        words = line.split(f"tdtool {name}", 1)[1].split(" && ")[0].split()
        with click.Context(cli) as parent:
            command.make_context(name, words, parent=parent).close()


def test_group_lists_every_command(run: Run) -> None:
    ran = run("--help")
    assert ran.code == 0
    for name, summary in LazyGroup.summaries.items():
        assert f"  {name}" in ran.out
        assert summary in ran.out
    for shell in ("bash", "zsh", "fish"):
        assert f"_TDTOOL_COMPLETE={shell}_source" in ran.out
    assert "Exit codes: 0 done" in ran.out
    assert all(len(line) <= 120 for line in ran.out.splitlines())


def test_version(run: Run) -> None:
    assert run("--version") == Ran(0, f"tdtool {__version__}\n", "")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["topics", "--help"], ["doctor", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = "import sys; from tdtool.cli.entry import run; run(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment(), cwd=ROOT)
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "click" in loaded
    assert not loaded & set(HEAVY)
    assert len(done.stdout) > 5


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion(shell: str) -> None:
    source = tdtool(env={"_TDTOOL_COMPLETE": f"{shell}_source"})
    assert source.code == 0
    assert "_TDTOOL_COMPLETE" in source.out
    offered = tdtool(env={"_TDTOOL_COMPLETE": "bash_complete", "COMP_WORDS": "tdtool ver", "COMP_CWORD": "1"})
    assert offered.out == "plain,verify\n"
