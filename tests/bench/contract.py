"""The 36 contractions of a matrix and a tensor of order 3 over one index, and chains of them, against the peers."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import math
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.children import run_child, shared_caps
from tests.bench.contract_chains import CHAINS
from tests.bench.contract_peers import SYSTEMS
from tests.bench.measure import hardware, version_of
from tests.bench.results import Result, Row

QUALITIES = {"error": ("error", ".0e"), "rate_of_limit": ("of matmul", ".2f")}

_SIZES = (4, 8, 16, 32, 64, 128, 256)
_CHAIN_SIZES = (128, 256)
#: Plain loops are not timed beyond this size.
_LARGEST_NAIVE = 64
#: Exotic cases, with the batch mode contiguous, and flat ones, which are one matrix product; the others are batched.
_EXOTIC = ("3.4", "3.6", "4.4", "4.6", "5.4", "5.6", "6.4", "6.6")
_FLAT = ("1.1", "1.5", "2.1", "2.5", "5.1", "5.5", "6.1", "6.5")
#: Our other ways through the same plans are shown, and are not peers.
_OURS, _YARDSTICK = "tdtool", "matmul"
_PACKAGES = {
    "tdtool mkl": ("mkl", "mkl"),
    "torch": ("torch", "torch"),
    "opt_einsum": ("opt_einsum", "opt_einsum"),
    "cotengra": ("cotengra", "cotengra"),
    "pytblis": ("pytblis", "pytblis"),
    "tensorly": ("tensorly", "tensorly"),
    "pyttb": ("pyttb", "pyttb"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--cap", type=float, default=120.0, help="seconds a system may take (default 120)")
    parser.add_argument("--sizes", default="", help="comma between (default 4 ... 256; with --full 512 too)")
    parser.add_argument("--full", action="store_true", help="also n = 512, float32, and --threads threads")
    parser.add_argument("--peers", default="", help="comma between (default: all)")


@dataclasses.dataclass
class ContractResult(Result):
    """Rows for each case; what is printed are their means by class and size, and what `ratios` holds."""

    def means(self) -> dict[str, dict[str, float]]:
        """(class, n) -> {"tdtool", "matmul" and "best peer": geometric mean of seconds, and each system's}."""
        groups: dict[str, dict[str, list[float]]] = {}
        by_case: dict[str, dict[str, float]] = {}
        for row in self.rows:
            if row.seconds is not None:
                by_case.setdefault(row.case, {})[row.system] = row.seconds
        for case, seconds in by_case.items():
            peers = [value for system, value in seconds.items() if not system.startswith((_OURS, _YARDSTICK))]
            best = {"best peer": min(peers)} if peers else {}
            for group in _groups_of(case):
                for system, value in (seconds | best).items():
                    groups.setdefault(group, {}).setdefault(system, []).append(value)
        return {
            group: {system: _mean(values) for system, values in members.items()} for group, members in groups.items()
        }

    def ratios(self) -> dict[str, dict[str, float]]:
        """class and size -> {peer: geometric mean of its seconds over ours}."""
        return {
            group: {system: value / means[_OURS] for system, value in means.items() if not system.startswith(_OURS)}
            for group, means in self.means().items()
            if _OURS in means
        }

    def print_table(self, qualities: dict[str, tuple[str, str]]) -> None:
        """One line for each class and size."""
        console = Console()
        if not console.is_terminal:
            console.width = 200
        console.print(f"{self.bench}: {self.threads} threads; {self.hardware}", soft_wrap=True, highlight=False)
        for line in [*self.about, *_notes(self.rows)]:
            console.print(line, soft_wrap=True, highlight=False, markup=False)
        means = self.means()
        peers = sorted({system for group in means.values() for system in group} - {_OURS, _YARDSTICK, "best peer"})
        table = Table(title="geometric means; x = its seconds over ours")
        for title in ("class", "us", "GF/s", "of matmul", "x best peer", *(f"x {peer}" for peer in peers)):
            table.add_column(title, justify="left" if title == "class" else "right", no_wrap=title == "class")
        for group, seconds in means.items():
            if _OURS in seconds:
                table.add_row(group, *_figures(group, seconds, peers))
        console.print(table)


def run(options: argparse.Namespace) -> Result:
    """Time every system; one that is missing, wrong or too slow has rows that say so."""
    chosen = [int(size) for size in options.sizes.split(",") if size]
    sizes = chosen or [*_SIZES, *([512] if options.full else [])]
    settings = [("float64", 1)]
    if options.full:
        settings += [("float32", 1), ("float64", options.threads)]
    peers = [name.strip() for name in options.peers.split(",") if name.strip()]
    names = [name for name in SYSTEMS if not peers or name in peers or name in (_OURS, _YARDSTICK)]
    chains = [f"chain {name}" for name in CHAINS if not peers or name in peers or name.startswith(_OURS)]
    result = ContractResult("contract", 1, hardware(), _about(options.full))
    for dtype, threads in settings:
        for system, cap in shared_caps([*chains, *names], options.cap, options.full):
            print(f"{system}, {dtype}, {threads} threads: at most {cap:.0f} s", file=sys.stderr)
            result.rows += _measured(system, cap, dtype, threads, sizes)
    _set_rates(result.rows)
    return result


def equations() -> dict[str, str]:
    """Case -> equation between C-ordered arrays, whose last index is the fastest."""
    found = {}
    for place, free in enumerate("mnp"):
        r, s = (letter for letter in "mnp" if letter != free)
        tensors = ("k" + r + s, "k" + s + r, r + "k" + s, s + "k" + r, r + s + "k", s + r + "k")
        for turned, matrix in enumerate((free + "k", "k" + free)):
            for second, tensor in enumerate(tensors, 1):
                found[f"{2 * place + turned + 1}.{second}"] = f"{matrix[::-1]},{tensor[::-1]}->pnm"
    return found


def _about(full: bool) -> list[str]:
    return [
        "case x.y of Shi, Niranjan, Anandkumar, Cecka 2016, table 2; all sizes n; operands and result C-ordered",
        "  classes: flat (8 cases), batched (20), exotic (8); every result is checked against numpy.einsum",
        "seconds: a whole call that returns a new array in the case's order, the best of 5 rounds; each system alone",
        "matmul: one (n, n) (n, n^2) product by scipy's BLAS; ttm: a chain over three modes; mttkrp: all three modes",
        "tdtool openblas, tdtool mkl: the same plan's flat and batched products by that BLAS",
        "" if full else "--full adds n = 512, float32 and more threads",
    ]


def _cases(system: str, sizes: Iterable[int], suffix: str) -> list[tuple[str, int, str]]:
    """(name, n, equation) for contractions, (name, n, "ttm" | "mttkrp") for chains."""
    if system.startswith("chain "):
        wanted = [n for n in sizes if n in _CHAIN_SIZES]
        return [(f"{work} n={n}{suffix}", n, work) for work in ("ttm", "mttkrp") for n in wanted]
    largest = _LARGEST_NAIVE if system == "numpy.einsum" else math.inf
    named = equations().items()
    return [(f"{case} n={n}{suffix}", n, equation) for n in sizes if n <= largest for case, equation in named]


def _measured(system: str, cap: float, dtype: str, threads: int, sizes: list[int]) -> list[Row]:
    """The rows of one system with one dtype and number of threads."""
    name = system.removeprefix("chain ")
    suffix = ("" if dtype == "float64" else f" {dtype}") + ("" if threads == 1 else f" {threads} threads")
    cases = _cases(system, sizes, suffix)
    package, module = _PACKAGES.get(name, ("numpy" if name.startswith("numpy") else "tdtool", "numpy"))
    if not cases:
        return []
    is_here = version_of("mkl") if name == "tdtool mkl" else importlib.util.find_spec(module)
    if not is_here:
        return [Row(name, "", cases[0][0], note=f"not installed: pip install {package}")]
    task = {"system": system, "cases": cases, "dtype": dtype, "seconds": 0.02}
    rows: list[Row] = []
    version = version_of(package)

    def receive(message: dict[str, Any]) -> None:
        row = Row(name, version, message["case"], message["seconds"], message["cpu_seconds"], message["peak_rss_mb"])
        row.quality["error"] = message["error"]
        if not message["error"] < (1e-12 if dtype == "float64" else 1e-4):
            row.seconds, row.note = None, "wrong"
        rows.append(row)

    ending = run_child("tests.bench.contract_peers", task, threads=threads, cap=cap, receive=receive)
    if ending:
        rows.append(Row(name, version, cases[len(rows)][0] if len(rows) < len(cases) else "", note=ending))
    return rows


def _set_rates(rows: list[Row]) -> None:
    """Note beside every row the rate over that of the yardstick's product, which has as many operations."""
    yardstick = {row.case: row.seconds for row in rows if row.system == _YARDSTICK}
    for row in rows:
        if row.seconds and yardstick.get(row.case):
            row.quality["rate_of_limit"] = (yardstick[row.case] or 0.0) / row.seconds


def _groups_of(case: str) -> list[str]:
    """The classes that a case counts in."""
    name, _, rest = case.partition(" ")
    if name not in equations():
        return [case]
    kind = "exotic" if name in _EXOTIC else "flat" if name in _FLAT else "batched"
    return [f"{kind} {rest}", f"all 36 {rest}"]


def _mean(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def _figures(group: str, seconds: dict[str, float], peers: list[str]) -> list[str]:
    """Microseconds, rate, rate over matmul, and the ratios of one class."""
    ours = seconds[_OURS]
    n = int(group.split("n=")[1].split()[0])
    is_chain = group.startswith(("ttm", "mttkrp"))
    ratios = [seconds.get(name, math.nan) / ours for name in (_YARDSTICK, "best peer", *peers)]
    rate = "" if is_chain else f"{2 * n**4 / ours / 1e9:.1f}"
    return [f"{ours * 1e6:,.2f}", rate, *("" if math.isnan(ratio) else f"{ratio:.2f}" for ratio in ratios)]


def _notes(rows: list[Row]) -> list[str]:
    return sorted({f"{row.system}: {row.note} ({row.case})" for row in rows if row.note})
