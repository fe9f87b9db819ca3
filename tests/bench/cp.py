"""CP decomposition side by side: planted symmetric tensors and real data, the same stopping rule for all systems."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from tests.bench.decompose_peers import Task
from tests.bench.measure import hardware
from tests.bench.results import Result
from tests.bench.tucker import measured

QUALITIES = {"residual": ("residual", ".5f"), "fit": ("fit", ".4f"), "matched": ("matched", ".2f")}
_DENSE = ("tdtool", "pyttb", "tensorly", "tensorly randomised")
_NOISE, _TOL, _MAX_ITERS = 0.1, 1e-6, 200
#: kind, file, rank, systems
_FILES = (
    ("cp", "amino.npz", 3, _DENSE),
    ("nonnegative", "jasper_ridge.npz", 4, ("tdtool", "tensorly")),
    ("sparse", "nips_author_word_year.tns.gz", 20, ("tdtool", "pyttb")),
)
_DATA = Path(__file__).parents[2].parent / "shared" / "data" / "tensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--data", default=str(_DATA), help="folder of the real tensors (default %(default)s)")
    parser.add_argument("--sizes", default="100,200,400", help="of the planted tensors (default %(default)s)")
    parser.add_argument("-k", dest="rank", type=int, default=10, help="planted components (default 10)")
    parser.add_argument("--cap", type=float, default=60.0, help="seconds a fit may take (default 60)")
    parser.add_argument("--full", action="store_true", help="its whole cap for every fit, however long all take")


def run(options: argparse.Namespace) -> Result:
    """Fit every case by every system."""

    def task(system: str, kind: str, case: str, rank: int) -> Task:
        return Task(system, kind, case, rank, _NOISE, _TOL, _MAX_ITERS, options.seed, options.data)

    tasks = [task(s, "cp", f"planted {size}", options.rank) for size in options.sizes.split(",") for s in _DENSE]
    files = [entry for entry in _FILES if (Path(options.data) / entry[1]).exists()]
    tasks += [task(s, kind, name, rank) for kind, name, rank, systems in files for s in systems]
    about = [
        f"planted: n x n x n symmetric, k orthogonal components, weights 2 to 1, noise {_NOISE} times the signal:",
        f"  residual {_NOISE / math.hypot(1, _NOISE):.5f} is the floor; matched: share of components of cosine > 0.99",
        f"stop: a sweep changes the relative error by less than {_TOL:g}, or {_MAX_ITERS} sweeps, for all systems",
        "starts: tdtool 3 of its own, pyttb one random, tensorly by SVD ('randomised': by randomised SVD)",
        "amino: matched is the share of acids whose concentration correlates >= 0.998",
        "jasper_ridge: non-negative, by HALS; matched: endmembers whose spectrum correlates >= 0.9; nips: sparse",
        "residual: norm(X - Xhat) / norm(X), one evaluator; seconds: the fitting call, each in a fresh process",
    ]
    missing = sorted({entry[1] for entry in _FILES} - {entry[1] for entry in files})
    about += [f"not in {options.data}: {', '.join(missing)}"] if missing else []
    result = Result("cp", options.threads, hardware(), about)
    result.rows = measured(tasks, options)
    return result
