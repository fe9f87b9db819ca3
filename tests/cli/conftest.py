"""A command line in this process, with fake work behind it."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tdtool.cli import entry
from tests.cli.running import Ran

Run = Callable[..., Ran]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """run("show", path) -> how it ended; the working directory is an empty one."""
    monkeypatch.chdir(tmp_path)

    def run_here(*arguments: object) -> Ran:
        code = entry.run(list(map(str, arguments)))
        captured = capfd.readouterr()
        return Ran(code, captured.out, captured.err)

    return run_here


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Stands in for the work of `tdtool evaluate`: what it was called with."""
    seen: list[dict[str, Any]] = []

    def evaluate_topics(model: Path, corpus: str, **values: Any) -> Any:
        seen.append({"model": model, "corpus": corpus, **values})
        result = {"scores": {"perplexity": 12.5}, "n_documents": 3}
        return types.SimpleNamespace(scores=result["scores"], as_dict=lambda: result)

    module = types.ModuleType("tdtool.run.evaluate")
    module.evaluate_topics = evaluate_topics  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tdtool.run.evaluate", module)
    return seen
