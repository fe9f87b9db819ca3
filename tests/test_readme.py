"""The README is true: its commands run, and its tables are those of the code.

`python tests/test_readme.py` writes the parts between `<!-- made:NAME -->` marks anew.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from tdtool import errors
from tdtool.cli.group import cli
from tdtool.cli.options import Option
from tdtool.data.readers import tensor_formats
from tdtool.data.readers.formats import FORMATS
from tdtool.store import schema

REPOSITORY = Path(__file__).parents[1]
README = REPOSITORY / "README.md"
#: Sections of options, in the order of the README.
SECTIONS = (
    "Model",
    "Method",
    "Net",
    "Training",
    "Device",
    "Moments",
    "Output",
    "Source",
    "Graph",
    "Images",
    "Tensor",
    "Table",
    "Words",
    "Vocabulary",
    "Spark",
    "Common",
)


# ---- what is made from the code


def commands() -> dict[str, click.Command]:
    """Every command, by name."""
    context = click.Context(cli)
    found = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


def context_of(command: click.Command) -> click.Context:
    """As `tdtool COMMAND` would have it."""
    return click.Context(command, parent=click.Context(cli, **cli.context_settings))


def options_of(command: click.Command) -> list[click.Option]:
    """The options of a command, --help too."""
    return [p for p in command.get_params(context_of(command)) if isinstance(p, click.Option)]


def made_options() -> str:
    """A table of the commands, then one of options for each section, with the commands that have them."""
    lines = ["| command | what it does |", "|---|---|"]
    for name, command in commands().items():
        usage = " ".join(command.collect_usage_pieces(context_of(command))).removeprefix("[OPTIONS] ")
        lines.append(f"| `{f'tdtool {name} {usage}'.removesuffix(' [OPTIONS]')}` | {cli.summaries[name]} |")
    lines.append("| `tdtool --version` | Print the version. |")
    for section in SECTIONS:
        lines += ["", f"### {section}", "", "| option | meaning | commands |", "|---|---|---|"]
        lines += [f"| `{names}` | {about} | {where} |" for (names, about), where in _rows(section)]
    return "\n".join(lines)


def _rows(section: str) -> Iterator[tuple[tuple[str, str], str]]:
    """((option, meaning), commands); an option that means different things is there several times."""
    having: dict[tuple[str, str], list[str]] = {}
    for name, command in commands().items():
        for option in options_of(command):
            record = option.get_help_record(context_of(command))
            if record is not None and getattr(option, "section", SECTIONS[-1]) == section:
                having.setdefault((_cell(record[0]), _cell(record[1])), []).append(name)
    for row, names in having.items():
        yield row, "all" if len(names) == len(commands()) else ", ".join(names)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def made_files() -> str:
    """A table of arrays for each kind of file."""
    parts = []
    for kind in schema.SCHEMAS.values():
        layout = "gzip, shuffle, fletcher32" if kind.compressed else "contiguous"
        head = f"### `{kind.name}` version {kind.version}\n\n{kind.about} Storage: {layout}."
        lines = ["| array | axes | type | meaning |", "|---|---|---|---|"]
        for array in kind.arrays:
            unit = f" ({array.unit})" if array.unit else ""
            optional = "; only where asked for" if array.optional else ""
            axes, about = ", ".join(array.dims), _cell(array.about + unit + optional)
            lines.append(f"| `{array.path}` | {axes} | {schema.KINDS[array.kind]} | {about} |")
        parts.append(head + "\n\n" + "\n".join(lines))
    return "\n\n".join(parts)


def made_output() -> str:
    """What the README's first command prints."""
    return f"```text\n{_first_output(REPOSITORY / 'sample_data').rstrip()}\n```"


def _first_output(sample_data: Path) -> str:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "sample_data").symlink_to(sample_data)
        return shell("tdtool topics sample_data/corpus", Path(folder)).stdout


MADE: dict[str, Callable[[], str]] = {"options": made_options, "files": made_files, "output": made_output}


def part(name: str, kind: str = "made") -> str:
    """What stands between two marks of the README."""
    return README.read_text(encoding="utf-8").split(f"<!-- {kind}:{name} -->")[1].split(f"<!-- /{kind}:{name} -->")[0]


def write() -> None:
    """Make every part anew."""
    text = README.read_text(encoding="utf-8")
    for name, make in MADE.items():
        before, rest = text.split(f"<!-- made:{name} -->")
        after = rest.split(f"<!-- /made:{name} -->")[1]
        text = f"{before}<!-- made:{name} -->\n\n{make()}\n\n<!-- /made:{name} -->{after}"
    README.write_text(text, encoding="utf-8")


# ---- reading and running it


def blocks(language: str) -> list[str]:
    """The fenced blocks in a language. `sh` and `python` are run here, `console` and `text` are not."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run lines of bash with this installation's commands in the path."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TDTOOL_")}
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(
        command, cwd=folder, env={**environment, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done


def table(heading: str) -> list[list[str]]:
    """The cells of the first table under a heading."""
    section = re.split(r"^#(?=#)", README.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = next(part for part in section if part.startswith(heading)).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|---"))
    rows = lines[start + 1 : next(i for i in range(start, len(lines)) if not lines[i].startswith("|"))]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


# ---- the tests


def test_every_block_says_what_it_is() -> None:
    fences = re.findall(r"^```(.*)$", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(fences[::2]) == {"sh", "text", "python", "toml", "console"}
    assert set(fences[1::2]) == {""}


@pytest.mark.parametrize("name", ["options", "files"])
def test_tables_are_those_of_the_code(name: str) -> None:
    assert part(name).strip() == MADE[name](), "run: python tests/test_readme.py"


def test_every_command_and_option_is_there() -> None:
    text = part("options")
    for name, command in commands().items():
        assert f"`tdtool {name}" in text
        assert all(isinstance(p, Option) for p in command.params if isinstance(p, click.Option)), name
        for option in options_of(command):
            for spelling in option.opts:
                assert re.search(rf"^\| `.*(?<![\w-]){re.escape(spelling)}(?![\w-])", text, re.MULTILINE), spelling


def test_begins_with_two_commands() -> None:
    first, second = blocks("sh")[:2]
    environment = "python3 -m venv .venv && . .venv/bin/activate && "
    assert first == environment + "pip install . && tdtool topics sample_data/corpus\n"
    assert second == environment + "pip install -e '.[dev]' && pytest -n auto\n"
    assert README.read_text(encoding="utf-8").index(second) < 600


def test_first_command_prints_what_is_shown(sample_data: Path) -> None:
    shown = part("output").strip().removeprefix("```text\n").removesuffix("\n```").splitlines()
    printed = _first_output(sample_data).splitlines()
    is_topic = re.compile(r" +\d+ +\d+\.\d% +\d\.\d+  (.*)")

    def rest(lines: list[str]) -> list[str]:
        return [" ".join(re.sub(r"-?\d[\d.,]*", "N", line).split()) for line in lines if not is_topic.match(line)]

    assert rest(shown) == rest(printed)
    topics = [
        [set(found[1].split()) for line in lines if (found := is_topic.match(line))] for lines in (shown, printed)
    ]
    assert len(topics[0]) == len(topics[1]) == 8
    # Another kind of CPU may swap words of nearly the same probability.
    assert all(max(len(words & other) for other in topics[1]) >= 8 for words in topics[0])


def test_tour_runs_as_typed(sample_data: Path, tmp_path: Path) -> None:
    (tmp_path / "sample_data").symlink_to(sample_data)
    shell("\n".join(blocks("sh")[2:]), tmp_path)
    tour = tmp_path / "tour"
    assert json.loads((tour / "result.json").read_text())["n_topics"] == 8
    assert len((tour / "today.documents.csv").read_text().splitlines()) == 1 + 10
    made = {path.name for path in tour.iterdir()}
    assert {"topics.csv", "docs.documents.parquet", "docs.json", "thirteen.topics.h5", "polished.topics.h5"} <= made
    (python,) = blocks("python")
    (tour / "example.py").write_text(python)
    assert "(8, " in shell("python example.py", tour).stdout


def test_settings_file_is_read(sample_data: Path, tmp_path: Path) -> None:
    (settings,) = blocks("toml")
    (tmp_path / "tdtool.toml").write_text(settings)
    printed = json.loads(shell(f"tdtool topics {sample_data}/corpus -o a.h5 --json", tmp_path).stdout)
    assert printed["n_topics"] == tomllib.loads(settings)["topics"]["k"]
    shown = json.loads(shell("tdtool show a.h5 --json", tmp_path).stdout)
    assert shown["attributes"]["seed"] == 7
    assert shown["attributes"]["config"]["topics"]["polish"] == "auto"


def test_formats_are_those_read() -> None:
    for heading, formats in (("# What it reads", FORMATS), ("## Tensors and tables", tensor_formats.FORMATS)):
        named = [name for row in table(heading) for name in re.findall(r"`([^`]+)`", row[0])]
        assert sorted(named) == sorted(formats)


def test_exit_codes_are_those_of_the_errors() -> None:
    classes = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if hasattr(kind, "exit_code")]
    rows = {row[1].strip("`"): int(row[0]) for row in table("# Exit codes")}
    ours = {kind.__name__: kind.exit_code for kind in classes}
    assert rows == {**ours, "": 0, "KeyboardInterrupt": 130}


@pytest.mark.parametrize("name", ["topics", "spark", "ingest", "contract", "tucker", "cp", "communities", "sketch"])
def test_benchmarks_have_their_place(name: str) -> None:
    part(name, "bench")


def test_links_lead_somewhere() -> None:
    for document in REPOSITORY.glob("*.md"):
        targets: list[Any] = re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8"))
        assert all((REPOSITORY / target).exists() for target in targets), document.name


if __name__ == "__main__":
    write()
