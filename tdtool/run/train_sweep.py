"""`tdtool train --sweep`: one net with several heads, and what each saves and costs."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from pathlib import Path
from typing import Any

from tdtool import log
from tdtool.errors import UsageError
from tdtool.nn.head_spec import parse_heads
from tdtool.report.rank_plot import Point, draw_rank_plot
from tdtool.run import train_outputs
from tdtool.run.train import TrainResult, check_installed, check_request, place_of, train
from tdtool.run.train_request import TrainRequest, shares_its_run
from tdtool.store.atomic import replacing

PLOT = "rank.png"


@dataclasses.dataclass(frozen=True)
class SweepResult:
    """Runs with one head each, in the order in which they were asked for. plot : the PNG."""

    path: Path
    plot: Path
    runs: tuple[TrainResult, ...]

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"path": str(self.path), "plot": str(self.plot), "runs": [_row(run) for run in self.runs]}


def train_heads(request: TrainRequest, heads: str, output: Path | None = None) -> SweepResult:
    """Train with each of several heads ("fc,tcl:64,3,3,trl:48,3,3"), in OUTPUT/HEAD, and draw OUTPUT/rank.png.

    Runs that are finished are not repeated. MissingExtraError before anything is trained where matplotlib lacks.
    """
    specs = [str(spec) for spec in parse_heads(heads)]
    check_installed("matplotlib")
    if len(set(specs)) < len(specs):
        raise UsageError(f"--sweep names a head twice: {', '.join(specs)}")
    if shares_its_run(request):
        raise UsageError("--sweep is for one machine", hint="leave out --nodes, and torchrun")
    requests = [request.with_head(head) for head in specs]
    for asked in requests:
        check_request(asked)
    folder = place_of(request, output, sweep=True)
    with contextlib.ExitStack() as stack:
        _begun(folder, request, stack)
        results = []
        for number, asked in enumerate(requests, 1):
            log.note(f"head {asked.config.net.head} ({number} of {len(requests)})")
            results.append(train(asked, folder / folder_name(asked.config.net.head)))
        plot = folder / PLOT
        _draw(plot, results)
    return SweepResult(folder, plot, tuple(results))


def folder_name(head: str) -> str:
    """Of a head: "tcl-64-3-3-fc3072" for tcl:64,3,3,fc=3072."""
    return re.sub(r"[:,]", "-", head).replace("=", "").replace("--", "-all")


def _begun(folder: Path, request: TrainRequest, stack: contextlib.ExitStack) -> None:
    """A directory for the runs, held by this process."""
