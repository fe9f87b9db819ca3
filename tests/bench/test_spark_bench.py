"""The Spark benchmark, small: what it counts is right, and killed processes do not change a bit."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from tdtool.config import IngestConfig
from tdtool.data.ingest import ingest
from tdtool.data.planted import planted_lda
from tests.bench import spark
from tests.bench.children import run_child
from tests.bench.process_tree import MemoryWatch, descendants
from tests.bench.spark_faults import campaign
from tests.bench.spark_runs import counted


def test_a_tree_has_its_processes_and_their_memory() -> None:
    hold = "import sys; held = bytearray(150_000_000); print(len(held), flush=True); sys.stdin.read()"
    above = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}])"
    process = subprocess.Popen([sys.executable, "-c", above], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdin is not None
    with MemoryWatch(process.pid) as watch:
        process.stdout.readline()
        found = descendants(process.pid)
        assert [each.parent for each in found[1:]] == [process.pid]
        while watch.driver_mb < 150:
            assert process.poll() is None
        process.stdin.close()
        process.wait()
    process.stdout.close()
    assert 150 < watch.driver_mb < 300
    assert watch.executor_mb == 0


def test_an_event_log_is_added_up(tmp_path: Path) -> None:
    metrics = {
        "Executor Run Time": 1500,
        "Result Size": 10,
        "Shuffle Write Metrics": {"Shuffle Bytes Written": 200},
    }
    events = [
        {"Event": "SparkListenerTaskEnd", "Task Metrics": metrics},
        {"Event": "SparkListenerTaskEnd", "Task Metrics": {**metrics, "Executor Run Time": 500}},
        {"Event": "SparkListenerTaskEnd"},  # of a task that was lost
        {"Event": "SparkListenerJobEnd"},
        {"Event": "SparkListenerStageSubmitted"},
    ]
    (tmp_path / "app").write_text("".join(json.dumps(event) + "\n" for event in events))
    found = counted(tmp_path)
    assert (found.task_seconds, found.shuffle_bytes, found.result_bytes, found.jobs) == (2.0, 400, 20, 1)


def test_the_model_goes_through_its_first_two_points() -> None:
    seconds = {1: 12.0, 2: 17.0}
    assert [spark._predicted(seconds, times) for times in (1, 2, 4, 8)] == [12, 17, 27, 47]
    lines = spark._extrapolated(seconds, work=2e-3, shuffled=100.0)
    assert "7 s to start" in lines[0]
    assert [line.rpartition(": ")[2] for line in lines[1:]] == ["137 minutes", "27 minutes", "6 minutes"]


@pytest.mark.spark
@pytest.mark.study
def test_an_executor_and_a_python_worker_are_killed(sample_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyspark", reason="needs pyspark: pip install 'tdtool[spark]'")
    store = tmp_path / "sample.corpus.h5"
    ingest(str(sample_data / "corpus"), store, IngestConfig(), workers=1)
    faults = list(campaign(store, tmp_path, n_topics=5, runs=2, seed=1))
    assert [fault.victim for fault in faults] == ["to speculation", "executor", "python worker"]
    assert [fault.outcome for fault in faults] == ["same"] * 3


@pytest.mark.spark
@pytest.mark.study
def test_mllib_fits_what_it_is_given(tmp_path: Path) -> None:
    pytest.importorskip("pyspark", reason="needs pyspark: pip install 'tdtool[spark]'")
    counts = planted_lda(120, 30, 3, alpha0=1, mean_length=20, rng=np.random.default_rng(0)).document_term
    sparse.save_npz(tmp_path / "train.npz", counts, compressed=False)
    task = {"train": str(tmp_path / "train.npz"), "fits": str(tmp_path), "method": "online", "iterations": [2]}
    fits: list[dict[str, object]] = []
    task |= {"n_topics": 3, "seed": 0, "threads": 1}
    assert run_child("tests.bench.spark_mllib", task, threads=1, cap=60, receive=fits.append) == ""
    with np.load(str(fits[0]["fit"])) as arrays:
        np.testing.assert_allclose(arrays["topic_word"].sum(axis=1), np.ones(3))
        assert arrays["topic_word"].shape == (3, 30)


@pytest.mark.spark
@pytest.mark.study
def test_a_stream_is_read_and_modelled(tmp_path: Path) -> None:
    pytest.importorskip("pyspark", reason="needs pyspark: pip install 'tdtool[spark]'")
    options = argparse.Namespace(documents="400", n_topics=3, seed=0, threads=2, cap=100.0)
    rows = list(spark._many(options, tmp_path, []))
    assert [row.note for row in rows] == ["", ""]
    assert all(row.quality["executor_mb"] > 100 for row in rows)
    assert all(row.quality["driver_mb"] > 100 for row in rows)
