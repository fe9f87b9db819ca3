"""`tdtool train --sweep`: one net with several heads, and what each saves and costs."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tdtool import log
from tdtool.errors import InputError, UsageError
from tdtool.nn.head_spec import parse_heads
from tdtool.report.rank_plot import Point, draw_rank_plot
from tdtool.run.train import TrainResult, check_installed, check_request, place_of, train
from tdtool.run.train_data import TrainData, find_data, open_data, with_data
from tdtool.run.train_outputs import SWEEP, check_run, held, set_aside
from tdtool.run.train_plan import facts_of
from tdtool.run.train_request import TrainRequest, asked_data, shares_its_run
from tdtool.store.atomic import replacing
from tdtool.train.run_folder import write_text

PLOT = "rank.png"


@dataclasses.dataclass(frozen=True)
class SweepResult:
    """Runs with one head each, in the order in which they were asked for. plot : the PNG."""

    path: Path
    plot: Path
    runs: tuple[TrainResult, ...]

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "path": str(self.path),
            "plot": str(self.plot),
            "n_classes": len(self.runs[0].settings.classes),
            "runs": [_row(run) for run in self.runs],
        }


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
        data = _begun(folder, request, stack)
        _check_requests(requests, open_data(data, request, folder))
        results = []
        for number, asked in enumerate(requests, 1):
            head = asked.config.net.head
            log.note(f"head {head}, {number} of {len(requests)}")
            one = dataclasses.replace(asked, data=data, force=False)
            results.append(train(one, folder / folder_name(head)))
        plot = folder / PLOT
        _draw(plot, results)
    return SweepResult(folder, plot, tuple(results))


def _check_requests(requests: Sequence[TrainRequest], data: TrainData) -> None:
    """UsageError, before any of them is trained, where a head does not fit the net, or nothing would be compared."""
    if not data.n_scored:
        raise UsageError("--sweep compares accuracies, and no images are scored", hint="--holdout 0.1 scores a tenth")
    for request in requests:
        facts_of(with_data(request.config, data).net)


def folder_name(head: str) -> str:
    """Of a head: "tcl-64-3-all-fc30x20" for tcl:64,3,-,fc=30x20."""
    kind, _, rest = head.partition(":")
    parts = ["all" if part == "-" else part.replace("=", "") for part in rest.split(",") if part]
    return "-".join((kind, *parts))


def _begun(folder: Path, request: TrainRequest, stack: contextlib.ExitStack) -> str:
    """A directory for the runs, held by this process as long as `stack`; where their images are."""
    stack.enter_context(held(folder))
    found = check_run(folder, request, sweep=True)
    if found.kind == "sweep" and not request.force:
        return _known_data(folder, request)
    with set_aside(folder) if found.kind != "nothing" else contextlib.nullcontext():
        if found.kind != "nothing":
            stack.enter_context(held(folder))
        source = find_data(request)
        place = open_data(source, request, folder).place
        values = {"format": 1, "source": asked_data(source), "data": place}
        write_text(folder / SWEEP, json.dumps(values, indent=1) + "\n")
    return place


def _known_data(folder: Path, request: TrainRequest) -> str:
    """Where the images of a sweep that goes on are. UsageError: other ones are asked for."""
    try:
        values = json.loads((folder / SWEEP).read_text(encoding="utf-8"))
        source, place = str(values["source"]), str(values["data"])
    except (ValueError, KeyError, TypeError) as error:
        hint = "--force starts the sweep anew; or choose another directory with -o"
        raise InputError("these are no settings of a sweep", path=folder / SWEEP, hint=hint) from error
    if request.data is not None and asked_data(request.data) not in (source, place):
        hint = "another directory by -o starts a new sweep; --force starts this one anew"
        raise UsageError(f"this sweep was started with the images in {source}", path=folder, hint=hint)
    return place


def _draw(plot: Path, results: Sequence[TrainResult]) -> None:
    settings = results[0].settings
    points = [
        Point(result.net.head, result.net.saved, result.outcome.top1)
        for result in results
        if not math.isnan(result.outcome.top1)
    ]
    title = f"{settings.config.net.model}, {len(settings.classes)} classes, {settings.config.epochs} epochs"
    with replacing(plot, force=True) as part:
        draw_rank_plot(part, points, title=title)


def _row(run: TrainResult) -> dict[str, Any]:
    net, outcome = run.net.as_dict(), run.outcome.as_dict()
    names = ("head", "parameters", "head_parameters", "own_head", "head_saved", "flops", "head_flops")
    scores = ("top1", "top5", "loss", "images_per_second", "steps", "epochs", "stopped", "seconds")
    return {
        "path": str(run.path),
        "was": run.was,
        **{name: net[name] for name in names},
        **{name: outcome[name] for name in scores},
    }
