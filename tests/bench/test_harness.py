"""What the benchmarks rest on: shape of the results, the cap, and that nothing is left running."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.bench.children import run_child, shared_caps
from tests.bench.results import Result, Row, case_name

CHILD = """
import json, os, subprocess, sys, time
task = json.loads(sys.argv[1])
print(json.dumps({"threads": os.environ["OMP_NUM_THREADS"]}), flush=True)
print(json.dumps({"started": True}), flush=True)
if task["do"] == "hang":
    below = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    print(json.dumps({"below": below.pid}), flush=True)
    time.sleep(60)
if task["do"] == "fail":
    raise ValueError("no such luck")
print(json.dumps({"done": True}), flush=True)
"""


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, do: str, cap: float) -> tuple[str, dict[str, Any]]:
    (folder / "child_of_test.py").write_text(CHILD)
    monkeypatch.chdir(folder)
    received: dict[str, Any] = {}
    return run_child("child_of_test", {"do": do}, threads=3, cap=cap, receive=received.update), received


def test_a_child_reports_and_has_its_threads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run(monkeypatch, tmp_path, "finish", 30) == ("", {"threads": "3", "done": True})


def test_a_child_that_fails_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ending, received = run(monkeypatch, tmp_path, "fail", 30)
    assert ending == "failed: ValueError: no such luck"
    assert "done" not in received


def test_the_cap_ends_a_child_and_its_children(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    start = time.monotonic()
    ending, received = run(monkeypatch, tmp_path, "hang", 1)
    assert ending == "stopped at the cap of 1 s"
    assert 1 <= time.monotonic() - start < 20
    for _ in range(100):
        if not alive(received["below"]):
            break
        time.sleep(0.05)
    assert not alive(received["below"])


def alive(process: int) -> bool:
    """Whether a process runs; one that ended and whose parent has not looked yet does not."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")


def test_caps_share_the_time_unless_full() -> None:
    assert [round(cap) for _, cap in shared_caps(["a", "b"], 300, full=False)] == [280, 300]
    assert [cap for _, cap in shared_caps(["a", "b", "c"], 300, full=True)] == [300] * 3


def test_results_have_the_agreed_shape() -> None:
    rows = [
        Row("tdtool", "1", "ap", 2.0, 3.0, 100.0, {"perplexity": math.inf, "npmi": 0.25}),
        Row("tdtool spectral", "1", "ap", 1.0, 1.0, 100.0),
        Row("slow", "2", "ap", 50.0, 50.0, 10.0),
        Row("capped", "2", "ap", note="stopped at the cap of 3 s"),
        Row("slow", "2", "other", 7.0, 7.0, 10.0),
    ]
    values = json.loads(json.dumps(Result("topics", 2, "a machine", ["how"], rows).as_json(), allow_nan=False))
    assert {"bench", "threads", "hardware", "rows", "ratios"} <= values.keys()
    assert values["ratios"] == {"ap": {"slow": 25.0}}
    assert values["rows"][0]["quality"] == {"perplexity": None, "npmi": 0.25}
    assert {"system", "version", "case", "seconds", "cpu_seconds", "peak_rss_mb", "quality"} <= values["rows"][3].keys()


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/docword.ap.txt.gz", "ap"), ("a/papers/docs.tsv.gz", "papers"), ("x/imdb.txt", "imdb"), ("x/corpus", "x")],
)
def test_case_names(path: str, name: str) -> None:
    assert case_name(path) == name
