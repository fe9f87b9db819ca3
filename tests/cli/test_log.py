"""What goes to stderr, and when."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdtool import log


@pytest.mark.parametrize(
    ("verbosity", "heard"), [(-1, "warning: w\n"), (0, "n\nwarning: w\n"), (1, "n\nd\nwarning: w\n")]
)
def test_verbosity(capfd: pytest.CaptureFixture[str], verbosity: int, heard: str) -> None:
    with log.configured(verbosity):
        log.note("n")
        log.detail("d")
        log.warn("w")
    log.warn("after the command")
    captured = capfd.readouterr()
    assert captured.err.startswith(heard)
    assert "after the command" not in captured.err.removeprefix(heard) or log.logger.handlers == []
    assert captured.out == ""


def test_tasks_cost_nothing_without_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with log.configured(0), log.task("reading", total=3) as task:
        task.advance(2)
        task.total(5)
    assert capfd.readouterr().err == ""


def test_notes_of_a_corpus_cannot_steer_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with log.configured(0):
        log.note("a\x1b[31mb\nc\u202ed")
    assert capfd.readouterr().err == "a\\x1b[31mb\nc\\u202ed\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("naïve 二字 \u200d👩", "naïve 二字 \u200d👩"),
        ("tab\there", "tab\\there"),
        ("bell\x07 del\x7f c1\x9b", "bell\\x07 del\\x7f c1\\x9b"),
        ("line\u2028sep", "line\\u2028sep"),
        ("lone\udcff", "lone\\udcff"),
        ("no\u00a0break", "no\u00a0break"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert log.printable(text) == shown


@given(st.text())
def test_printable_has_no_controls(text: str) -> None:
    shown = log.printable(text, keep="\n")
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in shown if c != "\n")
    shown.encode()


def test_library_import_configures_nothing() -> None:
    assert logging.getLogger("tdtool").handlers == []
