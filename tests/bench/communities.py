"""Detectors of communities side by side: the same graphs and evaluator, each system alone in a process."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tdtool.models.cover import Cover
from tests.bench.children import SHARED_SECONDS, run_child, shared_caps
from tests.bench.community_cases import (
    EGO_NETS,
    LARGE,
    LEAST_SHARE,
    MMSB,
    MMSB_ALPHA0,
    MMSB_COMMUNITIES,
    MMSB_DEGREE,
    PLANTED,
    REAL,
    SCALING,
    SCALING_ALPHA0,
    SCALING_COMMUNITIES,
    SCALING_DEGREE,
    Case,
    load_case,
    read_cover,
)
from tests.bench.community_peers import Task
from tests.bench.community_scores import agreement, growth, means, quality
from tests.bench.measure import hardware, version_of
from tests.bench.results import Result, Row

QUALITIES = {
    "onmi": ("ONMI", ".3f"),
    "lfk": ("LFK", ".3f"),
    "omega": ("omega", ".3f"),
    "f1": ("F1", ".3f"),
    "onmi_all": ("ONMI all", ".3f"),
    "error": ("error", ".3f"),
    "same": ("same", ".3f"),
    "k": ("k", ".0f"),
}

#: Peers: the package that holds them, and the module it is imported as.
PEERS = {
    "leiden": ("igraph", "igraph"),
    "louvain": ("igraph", "igraph"),
    "infomap": ("infomap", "infomap"),
    "plm": ("networkit", "networkit"),
    "plp": ("networkit", "networkit"),
    "spectral@k": ("scikit-learn", "sklearn"),
    "bigclam@k": ("tdtool", "tests.bench.bigclam"),
    "karateclub@k": ("karateclub", "karateclub"),
    "mmsb@k": ("tdtool", "tests.bench.mmsb_variational"),
}
AUTO, GIVEN, BOUND = "tdtool", "tdtool given k", "tdtool EM from truth"
#: In a default run systems share the time in this order, the fast ones first; what they leave is for those after them.
_ORDER = (
    "leiden",
    "louvain",
    "infomap",
    "plm",
    "plp",
    BOUND,
    GIVEN,
    AUTO,
    "bigclam@k",
    "spectral@k",
    "karateclub@k",
    "mmsb@k",
)
#: Larger graphs are not given to these systems: nodes, and nodes times communities.
_MOST_NODES = {"mmsb@k": 5_000}
_MOST_CELLS = {"spectral@k": 10**8, "bigclam@k": 10**8, "karateclub@k": 10**8, GIVEN: 10**9}
#: A detection may always take so long.
_LEAST_SECONDS = 5.0
_REPEATED = ("svinet_lfr", MMSB)


@dataclasses.dataclass(frozen=True)
class Job:
    """A system on a case. variant : "" or what is other than in its first run; threads : 0 for as many as all have."""

    system: str
    case: str
    variant: str = ""
    shuffle: str = ""
    threads: int = 0


#: What must not change what is found: variant, what is shuffled, threads.
_VARIANTS = (("one thread", "", 1), ("edges shuffled", "edges", 0), ("nodes relabelled", "nodes", 0))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    data = Path(__file__).parents[2].parent / "shared" / "data" / "graphs"
    parser.add_argument("--data", default=str(data), help="folder of the real graphs (default %(default)s)")
    parser.add_argument("--graphs", help="comma between, or none (default: the 11 real ones; --full: the larger too)")
    parser.add_argument("--peers", default=",".join(PEERS), help="comma between, or none (default %(default)s)")
    parser.add_argument("--runs", type=int, default=1, help="of every system with other seeds, averaged (default 1)")
    parser.add_argument("--planted", action="store_true", help="planted overlapping graphs too")
    parser.add_argument("--scaling", action="store_true", help="our time on planted graphs of 1e5 to 1e7 edges too")
    parser.add_argument("--repeat", action="store_true", help="ours with one thread, shuffled edges and nodes too")
    parser.add_argument("--cap", type=float, default=300.0, help="seconds a detection may take (default 300)")
    parser.add_argument("--full", action="store_true", help="everything, and its whole cap for every detection")


def run(options: argparse.Namespace) -> Result:
    """Detect and score every case by every system; what is missing or too slow is a row that says so."""
    graphs = _graphs(options)
    jobs = _jobs(options, [AUTO, GIVEN, *_peers(options.peers)], graphs)
    result = Result("communities", options.threads, hardware(), [])
    with tempfile.TemporaryDirectory(prefix="tdtool-bench-") as folder:
        bench = _Bench(options, Path(folder))
        rows = {job: bench.row(job, cap) for job, cap in _capped(jobs, options)}
    result.about = _about(options, bench.sizes)
    result.rows = [rows[job] for job in jobs]
    groups = {"real graphs": [name for name in graphs if name in REAL]}
    groups |= {"ego nets": [name for name in graphs if name in EGO_NETS]}
    for label, names in groups.items():
        result.rows += means([rows[job] for job in jobs], label, names)
    result.rows += growth([row for row in rows.values() if row.case in SCALING])
    return result


def _peers(wanted: str) -> list[str]:
    names = [name.strip() for name in wanted.split(",") if name.strip() not in ("", "none")]
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        raise SystemExit(f"no peer is called {', '.join(unknown)}; there are {', '.join(PEERS)}")
    return names


def _graphs(options: argparse.Namespace) -> list[str]:
    """Of the wanted real graphs those that are there."""
    if options.graphs is not None:
        wanted = [name.strip() for name in options.graphs.split(",") if name.strip() not in ("", "none")]
        missing = [name for name in wanted if not (Path(options.data) / name / "communities.txt.gz").exists()]
        if missing:
            raise SystemExit(f"no graph with communities.txt.gz in {options.data}: {', '.join(missing)}")
        return wanted
    wanted = [*REAL, *LARGE] if options.full else list(REAL)
    return [name for name in wanted if (Path(options.data) / name / "communities.txt.gz").exists()]


def _jobs(options: argparse.Namespace, systems: list[str], graphs: list[str]) -> list[Job]:
    """What is to be measured, in the order of the table."""
    jobs = [Job(system, name) for name in graphs for system in systems]
    if options.planted or options.full:
        jobs += [Job(system, name) for name in PLANTED for system in [AUTO, GIVEN, BOUND, *systems[2:]]]
    if options.repeat or options.full:
        for name in _REPEATED:
            if name in PLANTED or (Path(options.data) / name).exists():
                jobs += [Job(AUTO, name), *(Job(AUTO, name, *variant) for variant in _VARIANTS)]
    if options.scaling or options.full:
        jobs += [Job(GIVEN, name) for name in SCALING]
    return list(dict.fromkeys(jobs))


def _capped(jobs: list[Job], options: argparse.Namespace) -> Iterator[tuple[Job, float]]:
    """Each job with the seconds that it may take: those of a system share what it has, unless all have their cap."""
    systems = [system for system in _ORDER if any(job.system == system for job in jobs)]
    for system, share in shared_caps(systems, options.cap, options.full):
        until = time.monotonic() + share
        for job in jobs:
            if job.system == system:
                left = max(until - time.monotonic(), _LEAST_SECONDS)  # starting processes has cost some of it
                yield job, options.cap if options.full else min(options.cap, left)


class _Bench:
    """Runs jobs; keeps cases that were loaded and covers that were found."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self._options, self._folder = options, folder
        self._cases: dict[str, Case] = {}
        self._covers: dict[tuple[str, str], Cover] = {}

    @property
    def sizes(self) -> list[tuple[str, int, int, int]]:
        """Name, nodes, edges and true communities of the cases so far."""
        return [(case.name, case.n_nodes, len(case.edges), case.truth.n_communities) for case in self._cases.values()]

    def row(self, job: Job, cap: float) -> Row:
        """One row; a job that cannot be done says why."""
        options = self._options
        package, module = PEERS.get(job.system, ("tdtool", "tdtool"))
        row = Row(f"{job.system}, {job.variant}" if job.variant else job.system, "", job.case)
        if not _is_there(module):
            row.note = "not installed: pip install 'tdtool[bench]'"
            return row
        row.version = version_of(package)
        case = self._case(job.case)
        row.note = _too_large(job.system, case)
        if row.note:
            return row
        print(f"{case.name}, {row.system}: at most {cap:.0f} s", file=sys.stderr)
        task = Task(
            system=job.system,
            covers=str(self._folder),
            n_communities=case.truth.n_communities,
            seed=options.seed,
            threads=job.threads or options.threads,
            n_runs=1 if job.variant else options.runs,
            shuffle=job.shuffle,
            **case.write(self._folder),
        )
        found: list[dict[str, Any]] = []
        row.note = run_child(
            "tests.bench.community_peers",
            dataclasses.asdict(task),
            threads=task.threads,
            cap=cap,
            receive=found.append,
        )
        if found:
            self._score(row, job, case, found)
        return row

    def _case(self, name: str) -> Case:
        if name not in self._cases:
            self._cases[name] = load_case(name, self._options.data, self._options.seed)
        return self._cases[name]

    def _score(self, row: Row, job: Job, case: Case, found: list[dict[str, Any]]) -> None:
        """Means over the runs; of a variant, how far it agrees with the first run."""
        covers = [read_cover(run["cover"]) for run in found]
        row.seconds = float(np.mean([run["seconds"] for run in found]))
        row.cpu_seconds = float(np.mean([run["cpu_seconds"] for run in found]))
        row.peak_rss_mb = found[-1]["peak_rss_mb"]
        shares = [read_cover(run["mixture"]) if run.get("mixture") else None for run in found]
        scored = [quality(cover, case, mixture) for cover, mixture in zip(covers, shares, strict=True)]
        row.quality = {key: float(np.mean([scores[key] for scores in scored])) for key in scored[0]}
        if not job.variant:
            self._covers[job.system, job.case] = covers[0]
        elif (job.system, job.case) in self._covers:
            row.quality["same"], same_bits = agreement(covers[0], self._covers[job.system, job.case])
            row.note = row.note or ("the same bits" if same_bits else "")


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # a parent package is missing
        return False


def _too_large(system: str, case: Case) -> str:
    """Why a system is not started on a case, or nothing."""
    if case.n_nodes > _MOST_NODES.get(system, case.n_nodes):
        return f"not started: more than {_MOST_NODES[system]:,} nodes"
    cells = case.n_nodes * case.truth.n_communities
    if cells > _MOST_CELLS.get(system, cells):
        return f"not started: {case.truth.n_communities:,} communities of {case.n_nodes:,} nodes"
    return ""


def _about(options: argparse.Namespace, sizes: list[tuple[str, int, int, int]]) -> list[str]:
    shared = "" if options.full else f"; together {SHARED_SECONDS:.0f} s (--full: each its cap)"
    lines = [
        "graphs: as an edge list shows them, without nodes that have no edge",
        "scores, one evaluator for all: ONMI (McDaid max), ONMI (LFK), omega (up to 5,000 nodes), average F1, over the",
        "  nodes that are in a known community; 'ONMI all': over all nodes, where unknown ones count as in none",
        "  'k': communities found; 'error': half the L1 distance of memberships; 'same': ONMI with the first run",
        "seconds: the detecting call alone, on a graph in the system's own form, each system in a fresh process, after",
        "  the same call on 21 nodes; peak MB: of the process, with the libraries that it loads",
        "tdtool: defaults, k chosen; 'given k' and '@k': told the true number of communities",
        "leiden: igraph, modularity, until stable; louvain: igraph multilevel; infomap: two levels, one trial;",
        "plm, plp: networkit, 2 threads differ from run to run; spectral@k: scikit-learn; bigclam@k: our code for its",
        "  paper, start and line search too, which karateclub's has not; mmsb@k: our variational inference from random",
        "  starts (members: shares from 0.3 on and the largest); karateclub@k: its BigCLAM, one community a node",
        f"runs: {options.runs}, seeds from {options.seed}; caps: {options.cap:.0f} s a detection{shared}",
    ]
    names = [name for name, *_ in sizes]
    if MMSB in names:
        lines.append(
            f"{MMSB}: block model, k {MMSB_COMMUNITIES}, mean degree {MMSB_DEGREE:g}, alpha0 {MMSB_ALPHA0:g}; "
            f"'{BOUND}': our own EM"
        )
        lines.append(
            f"  from the true memberships; members, known and found: shares from {LEAST_SHARE:g} on; error: of all"
        )
    if any(name in SCALING for name in names):
        lines.append(
            f"mmsb m=...: block model, k {SCALING_COMMUNITIES}, mean degree {SCALING_DEGREE:g}, "
            f"alpha0 {SCALING_ALPHA0:g}"
        )
    return lines + [f"  {name}: {n:,} nodes, {m:,} edges, {k:,} known communities" for name, n, m, k in sizes]
