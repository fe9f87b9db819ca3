"""Flags win over the environment, that over ./tdtool.toml, that over the defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tdtool.cli.options import Size
from tdtool.config import SourceConfig
from tests.cli.conftest import Run


def _write(text: str) -> None:
    Path("tdtool.toml").write_text(text, encoding="utf-8")


TOML = """
[tdtool]
seed = 2
[evaluate]
seed = 3
"""


@pytest.mark.parametrize(
    ("toml", "environment", "flags", "seed"),
    [
        ("", {}, [], 0),
        ("[tdtool]\nseed = 2", {}, [], 2),
        (TOML, {}, [], 3),
        (TOML, {"TDTOOL_SEED": "4"}, [], 4),
        (TOML, {"TDTOOL_SEED": "4", "TDTOOL_EVALUATE_SEED": "5"}, [], 5),
        (TOML, {"TDTOOL_SEED": "4", "TDTOOL_TOPICS_SEED": "9"}, [], 4),
        (TOML, {"TDTOOL_EVALUATE_SEED": "5"}, ["--seed", "6"], 6),
        ("", {"TDTOOL_SEED": ""}, [], 0),
    ],
)
def test_precedence(
    run: Run,
    calls: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    toml: str,
    environment: dict[str, str],
    flags: list[str],
    seed: int,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    _write(toml)
    ran = run("evaluate", "m.h5", "corpus", *flags)
    assert ran.code == 0, ran.err
    assert [call["seed"] for call in calls] == [seed]


def test_every_kind_of_value_reaches_the_command(run: Run, calls: list[dict[str, Any]]) -> None:
    _write('[tdtool]\nworkers = 3\nmemory = "2G"\n[evaluate]\nid-column = "name"\nfield = "body"\njson = true\n')
    ran = run("evaluate", "m.h5", "corpus")
    assert ran.out.startswith("{"), "json = true"
    (call,) = calls
    assert (call["workers"], call["memory"]) == (3, 2 << 30)
    assert call["source"] == SourceConfig(id_column="name", field="body")


WRONG = {
    "unknown key": ("[evaluate]\nsede = 3", "[evaluate] has no option 'sede'"),
    "unknown common key": ("[tdtool]\nid-column = 'x'\nfoo = 1", "[tdtool] has no option 'foo'"),
    "unknown table": ("[evalute]\nseed = 3", "unknown table [evalute]"),
    "value outside a table": ("seed = 3", "unknown table [seed]"),
    "value for a table": ("topics = 3", "topics is a value, not a table"),
    "text for a number": ('[evaluate]\nseed = "3"', "[evaluate] seed = '3' is not a whole number"),
    "truth for a number": ("[evaluate]\nseed = true", "[evaluate] seed = True is not a whole number"),
    "number for text": ("[evaluate]\nfield = 3", "[evaluate] field = 3 is not text"),
    "number for truth": ("[evaluate]\njson = 1", "[evaluate] json = 1 is not true or false"),
    "out of range": ("[evaluate]\nworkers = 0", "[evaluate] workers = 0: 0 is not in the range"),
    "no size": ('[tdtool]\nmemory = "much"', "[tdtool] memory = 'much': 'much' is no size"),
    "no TOML": ("[evaluate\nseed", "not valid TOML"),
    "help": ("[evaluate]\nhelp = true", "[evaluate] has no option 'help'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_file_is_wrong_usage(run: Run, calls: list[dict[str, Any]], case: str) -> None:
    text, message = WRONG[case]
    _write(text)
    ran = run("evaluate", "m.h5", "corpus")
    assert ran.code == 2
    assert ran.err.startswith(f"Error: tdtool.toml: {message}")
    assert calls == []


def test_help_works_with_a_wrong_file(run: Run) -> None:
    _write("[nonsense")
    assert run("evaluate", "--help").code == 0
    assert run("evaluate", "-h").code == 0
    assert run("--help").code == 0


def test_lists_and_numbers_for_options_that_take_both(run: Run, tmp_path: Path) -> None:
    _write('[topics]\nk = 7\nexport = ["a.csv", "b.unheard"]\n')
    ran = run("topics", "nowhere")
    assert "b.unheard: no format has the suffix" in ran.err
    _write("[topics]\nk = 1\n")
    assert "k = 1: 1 is less than 2" in run("topics", "nowhere").err
    _write("[topics]\nn-topics = 1.5\n")
    assert "neither a whole number nor auto" in run("topics", "nowhere").err


def test_common_key_that_a_command_lacks_is_no_error(run: Run) -> None:
    _write("[tdtool]\nseed = 3\nworkers = 2\n")
    assert run("doctor", "--json").code == 0


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2G", 2 << 30),
        ("1.5GiB", 3 << 29),
        ("500M", 500 << 20),
        ("2GB", 2_000_000_000),
        ("3t", 3 << 40),
        ("4194304", 4 << 20),
        (" 2 g ", 2 << 30),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert Size().convert(text, None, None) == size
