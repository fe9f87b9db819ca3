"""Sketched decompositions beside exact ones: planted tensors of growing size, and topics of a corpus (NIPS 2015)."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tdtool.config import IngestConfig, SourceConfig, VocabularyConfig
from tdtool.data.ingest import ingest
from tests.bench.children import run_child, shared_caps
from tests.bench.measure import hardware, version_of
from tests.bench.results import Result, Row, case_name
from tests.bench.sketch_peers import Task

QUALITIES = {
    "residual": ("residual/floor", ".3f"),
    "matched": ("matched", ".2f"),
    "log_likelihood": ("log-lik./word", ".3f"),
    "npmi": ("NPMI", ".3f"),
    "decomposition": ("decomp. s", ".2f"),
    "speed_up": ("x exact", ".2f"),
}
_MIN_DF, _MAX_DF = 5, 0.3
_HELD_OUT, _MOST_HELD_OUT = 0.1, 2000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--sizes", metavar="N,N", help="of the planted tensors (default 100,200,400; --full: and 800)")
    parser.add_argument("--rank", type=int, default=10, help="planted components (default 10)")
    parser.add_argument("--noise", default="0.01,0.1", help="norm of the noise over the signal's (default %(default)s)")
    parser.add_argument("--lengths", metavar="N,N", help="log2 of hash lengths (default 10,12,14,16; --full: 9 ... 16)")
    parser.add_argument("--sketches", type=int, default=5, help="of a tensor, the median taken (default 5)")
    parser.add_argument("--data", metavar="FILE", help="a corpus that tdtool reads (default: no topics)")
    parser.add_argument("-k", dest="topics", default="50,100,200", help="numbers of topics (default %(default)s)")
    parser.add_argument("--topic-sketches", type=int, default=1, help="of a third moment (default 1)")
    parser.add_argument("--iterations", type=int, default=200, help="of Gibbs sampling (default 200)")
    parser.add_argument("--column", help="text column of a table, where the guess is wrong")
    parser.add_argument("--cap", type=float, default=300.0, help="seconds a group of rows may take (default 300)")
    parser.add_argument("--full", action="store_true", help="all sizes and lengths, every group its whole cap")


def run(options: argparse.Namespace) -> Result:
    """Every group of rows in a process of its own; what is too slow is a row that says so."""
    result = Result("sketch", options.threads, hardware(), _about(options))
    with tempfile.TemporaryDirectory(prefix="tdtool-bench-") as folder:
        corpus = _corpus(options, Path(folder)) if options.data else ""
        groups = dict(_groups(options, corpus))
        for case, cap in shared_caps(list(groups), options.cap, options.full):
            print(f"{case}: at most {cap:.0f} s", file=sys.stderr)
            result.rows += _measured(case, groups[case], cap)
    _speed_ups(result.rows)
    return result


def _about(options: argparse.Namespace) -> list[str]:
    lines = [
        f"tensors: n x n x n symmetric, {options.rank} orthonormal components, weights 2 to 1, noise r times the norm",
        f"  {options.sketches} sketches, median; residual over its floor (1: nothing but the noise is left over),",
        "  measured on the tensor itself; matched: components of cosine > 0.99",
        "  exact: power iterations on the whole tensor, 10 starts of at most 30 for each component, as the sketch's;",
        "  compressed: power iterations in the core of a Tucker decomposition, exact too",
        "x exact: seconds of the exact fit over these: below 1 sketching loses; peak MB: of the group so far",
    ]
    if options.data:
        lines += [
            f"topics: {options.data}; words in {_MIN_DF} to {_MAX_DF:.0%} of the documents; no polish",
            "  log-likelihood a word by completion of held-out documents; seconds: moments and decomposition",
            f"  {options.topic_sketches} sketches; tomotopy: {options.iterations} iterations, learns alpha",
        ]
    return lines


def _corpus(options: argparse.Namespace, folder: Path) -> str:
    vocabulary = VocabularyConfig(min_df=_MIN_DF, max_df=_MAX_DF)
    config = IngestConfig(source=SourceConfig(column=options.column), vocabulary=vocabulary)
    ingest(options.data, folder / "corpus.h5", config, workers=options.threads)
    return str(folder / "corpus.h5")


def _groups(options: argparse.Namespace, corpus: str) -> Iterator[tuple[str, Task]]:
    """Case, and what to fit for it."""
    few = [10, 12, 14, 16]
    lengths = [int(b) for b in options.lengths.split(",")] if options.lengths else None
    sizes = options.sizes or ("100,200,400,800" if options.full else "100,200,400")
    task = Task(
        system="tensor",
        size=0,
        rank=options.rank,
        noise=0.0,
        lengths=[1 << b for b in lengths or (range(9, 17) if options.full else few)],
        n_sketches=options.sketches,
        corpus=corpus,
        iterations=options.iterations,
        held_out=_HELD_OUT,
        max_held_out=_MOST_HELD_OUT,
        seed=options.seed,
        threads=options.threads,
    )
    if corpus:  # the figure of the paper has all its lengths
        all_lengths = [1 << b for b in lengths or range(9, 17)]
        for k in options.topics.split(","):
            case = f"{case_name(options.data)} k={k}"
            topics = {"rank": int(k), "lengths": all_lengths, "n_sketches": options.topic_sketches}
            yield case, dataclasses.replace(task, system="topics", **topics)
            yield f"{case} Gibbs", dataclasses.replace(task, system="tomotopy", rank=int(k))
    for noise in options.noise.split(","):
        for size in sizes.split(","):
            yield f"n={size} r={noise}", dataclasses.replace(task, size=int(size), noise=float(noise))


def _measured(case: str, task: Task, cap: float) -> list[Row]:
    """The rows of a group, as far as it came."""
    package = "tomotopy" if task.system == "tomotopy" else "tdtool"
    if importlib.util.find_spec(package) is None:
        return [Row(package, "", case, note="not installed: pip install 'tdtool[bench]'")]
    found: list[dict[str, Any]] = []
    ending = run_child(
        "tests.bench.sketch_peers", dataclasses.asdict(task), threads=task.threads, cap=cap, receive=found.append
    )
    rows = []
    for fit in found:
        length = f" 2^{fit['length'].bit_length() - 1}" if fit["length"] else ""
        system = fit["system"] if package == "tomotopy" else f"tdtool {fit['system']}{length}"
        row = Row(system, version_of(package), case.removesuffix(" Gibbs"), quality=fit["quality"])
        row.seconds, row.cpu_seconds, row.peak_rss_mb = fit["seconds"], fit["cpu_seconds"], fit["peak_rss_mb"]
        rows.append(row)
    return rows + ([Row(package, version_of(package), case, note=ending)] if ending else [])


def _speed_ups(rows: list[Row]) -> None:
    """Set, in each row, the seconds of the exact fit of its case over its own."""
    exact = {row.case: row.seconds for row in rows if row.system == "tdtool exact"}
    for row in rows:
        reference = exact.get(row.case)
        if reference is not None and row.seconds:
            row.quality["speed_up"] = reference / row.seconds
