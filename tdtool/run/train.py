"""`tdtool train`: from images to a directory that holds a trained net and how it came about."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tdtool import log
from tdtool.errors import InputError, MissingExtraError, TerminatedError, UsageError
from tdtool.nn.head_spec import parse_head
from tdtool.nn.model_names import full_name
from tdtool.run import train_plan
from tdtool.run.train_data import TrainData, assumed, find_data, open_data
from tdtool.run.train_outputs import PREPARING, check_run, default_run, held, set_aside, unfinished
from tdtool.run.train_plan import NetFacts, TrainPlan
from tdtool.run.train_request import TrainRequest, placed, shares_its_run, under_torchrun
from tdtool.train.journal import in_force, of_kind, read_journal
from tdtool.train.outcome import Outcome, outcome_of
from tdtool.train.run_folder import CHECKPOINTS, OWN_DATA, SYNTHETIC, RunSettings, is_run, read_settings, write_settings

_NEEDED = {"torch": "train", "safetensors": "train"}
_TRACKERS = {"tensorboard": "tracking", "wandb": "tracking"}


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """How a run ended and where it is.

    settings : with which it was trained; epochs : the evaluations, oldest first; outcome : its end; was : "trained",
    "resumed" or "finished" (there was nothing left to be done).
    """

    path: Path
    settings: RunSettings
    net: NetFacts
    device: str
    epochs: tuple[dict[str, Any], ...]
    choice: dict[str, Any] | None
    outcome: Outcome
    was: str
    seconds: float

    @property
    def best(self) -> dict[str, Any] | None:
        """The evaluation of the highest accuracy, the first of several."""
        scored = [epoch for epoch in self.epochs if epoch.get("top1") is not None]
        return max(scored, key=lambda epoch: epoch["top1"], default=None)

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "path": str(self.path),
            "was": self.was,
            "net": self.net.as_dict(),
            "device": self.device,
            "data": self.settings.data,
            "classes": list(self.settings.classes),
            "batch": self.settings.config.batch,
            **self.outcome.as_dict(),
            "best": self.best,
            "epochs_scored": list(self.epochs),
            "choice": self.choice,
            "seconds_all": self.seconds,
        }


def train(request: TrainRequest, output: Path | None = None) -> TrainResult:
    """Train a net in the directory `output`, default ./MODEL-DATA.train; a run that is there goes on.

    The device is checked before the options, these before the output, and that before the data. UsageError,
    InputError, ResourceError and MissingExtraError say what cannot be.
    """
    started, request = time.perf_counter(), placed(request)
    kind = check_request(request)
    run = place_of(request, output)
    with contextlib.ExitStack() as stack:
        shared = shares_its_run(request)
        with held(run, wait=True, name=PREPARING) if shared else contextlib.nullcontext():
            was = prepared(run, request, kind, stack)
        if shared:
            stack.enter_context(held(run, wait=True, shared=True))
        if was != "finished":
            _run(run)
    return result_of(run, was, kind, time.perf_counter() - started)


def plan_training(request: TrainRequest) -> TrainPlan:
    """Say what `train` would take; nothing is trained or kept. Without data: as for ImageNet, or as the options say."""
    request = placed(request)
    kind = check_request(request)
    with tempfile.TemporaryDirectory(prefix="tdtool-") as scratch:
        try:
            source: str | None = find_data(request)
        except UsageError:
            source = None
        data = assumed(request) if source is None else open_data(source, request, Path(scratch))
    config, data, words = train_plan.settled(request, data, kind)
    return train_plan.plan(config, data, request, kind, words)


def check_request(request: TrainRequest) -> str:
    """All that can be checked without a look at output or data; returns the kind of device."""
    check_installed(*_NEEDED)
    from tdtool.train.devices import check_devices

    kind = check_devices(request.config.device)
    full_name(request.config.net.model)
    head = parse_head(request.config.net.head)
    if request.head_from is not None and head.kind in ("fc", "gap"):
        hint = "such as --head tcl:64,3,3 or trl:48,3,3 or auto:0.35"
        raise UsageError(f"--head-from starts a tensor head, and the head is {head}", hint=hint)
    if request.head_from is not None and not is_run(Path(request.head_from)):
        hint = "--head-from takes a directory that `tdtool train` made, with an fc head"
        raise InputError("is not the directory of a training run", path=request.head_from, hint=hint)
    if request.weights is not None and not Path(request.weights).is_file():
        raise InputError("there is no such file of weights", path=request.weights)
    if request.config.track != "none":
        check_installed(request.config.track)
    return str(kind)


def check_installed(*packages: str) -> None:
    """MissingExtraError for the first that is not."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, {**_NEEDED, **_TRACKERS, "matplotlib": "report"}[package])


def place_of(request: TrainRequest, output: Path | None, *, sweep: bool = False) -> Path:
    """The directory of the run. UsageError where there can be none, or there are no images."""
    if output is not None:
        found = check_run(output, request, sweep=sweep)
        if found.kind == "nothing":
            find_data(request)
        return output
    names = full_name(request.config.net.model), find_data(request)
    run = default_run(*names)
    check_run(run, request, sweep=sweep)
    if (other := unfinished(*names, request)) not in (None, run):
        log.note(f"{run}: a new run; {other} is an unfinished one of the same settings: -o {other} goes on with it")
    return run


def prepared(run: Path, request: TrainRequest, kind: str, stack: contextlib.ExitStack) -> str:
    """Bring the settings of a run into its directory, and hold that as long as `stack`; what the run is then, in a
    word: see TrainResult."""
    if not shares_its_run(request):
        stack.enter_context(held(run))
    found = check_run(run, request)
    if found.settings is not None and not request.force:
        return _taken_up(run, found.settings, request, kind)
    with set_aside(run) if found.kind != "nothing" else contextlib.nullcontext():
        if found.kind != "nothing":
            stack.enter_context(held(run))
        data = open_data(find_data(request), request, run)
        write_settings(run, _settings(request, data, kind))
    return "trained"


def result_of(run: Path, was: str, kind: str, seconds: float = 0.0) -> TrainResult:
    """What a directory says of a run that has ended."""
    settings, records = read_settings(run), in_force(read_journal(run))
    outcome = outcome_of(run)
    if outcome is None:
        raise InputError("the run has not ended", path=run, hint="the same command goes on with it")
    heads = of_kind(records, "head")
    return TrainResult(
        path=run,
        settings=settings,
        net=train_plan.facts_of(settings.config.net),
        device=kind,
        epochs=tuple(map(_plain, of_kind(records, "evaluation"))),
        choice=_plain(heads[-1]) if heads else None,
        outcome=outcome,
        was=was,
        seconds=seconds,
    )


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    """A record of the journal without what is the journal's own."""
    return {name: value for name, value in record.items() if name not in ("kind", "time")}


def _settings(request: TrainRequest, data: TrainData, kind: str) -> RunSettings:
    """Of a new run: what was asked for, filled in by the data and by what memory allows."""
    config, data, words = train_plan.settled(request, data, kind)
    facts = train_plan.facts_of(config.net)
    if words:
        log.note(words)
    asked = request.asked()
    return RunSettings(
        config=config,
        data=data.place,
        data_digest=data.digest,
        classes=data.classes,
        feature_shape=facts.feature_shape,
        weights=asked["weights"],
        head_from=asked["head_from"],
        asked=asked,
    )


def _taken_up(run: Path, settings: RunSettings, request: TrainRequest, kind: str) -> str:
    """Settings of a run that goes on: on this device, and where its images are now."""
    outcome = outcome_of(run)
    if outcome is not None and outcome.finished:
        log.note(f"{run}: the run is finished, {outcome.steps:,} steps; there is nothing left to be trained")
        return "finished"
    config = dataclasses.replace(
        settings.config,
        device=request.config.device,
        save_every=request.config.save_every,
        track=request.config.track,
    )
    config = train_plan.with_recompute(config, kind)
    place = _place_of_data(run, settings, request)
    write_settings(run, dataclasses.replace(settings, config=config, data=place))
    log.note(f"{run}: going on with this run")
    return "resumed"


def _place_of_data(run: Path, settings: RunSettings, request: TrainRequest) -> str:
    """Where the images of a run that goes on are: the same ones, wherever that is now."""
    if request.data is not None and request.asked()["data"] != settings.asked.get("data"):
        with tempfile.TemporaryDirectory(prefix="tdtool-") as scratch:
            data = open_data(request.data, request, Path(scratch))
            if data.digest != settings.data_digest:
                hint = "another directory by -o starts a new run; --force starts this one anew"
                raise UsageError("the run was started with other images", path=run, hint=hint)
            if not Path(data.place).is_relative_to(Path(scratch).resolve()):
                return data.place
    if settings.data == SYNTHETIC or Path(settings.data).exists():
        return settings.data
    if (run / OWN_DATA).exists():
        return str((run / OWN_DATA).resolve())
    raise InputError("the images of the run are gone", path=settings.data, hint="--data says where they are now")


def _run(run: Path) -> None:
    """Train, in this process or in several."""
    device = read_settings(run).config.device
    with _told_how_to_go_on(run):
        if under_torchrun() or (device.gpus, device.nodes, device.max_restarts) == (1, 1, 0):
            from tdtool.train.worker import work

            work(run)
        else:
            from tdtool.train.launch import launch

            launch(run, device)


@contextlib.contextmanager
def _told_how_to_go_on(run: Path) -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, TerminatedError):
        saved = "saved" if (run / CHECKPOINTS / "latest").exists() else "nothing to be saved yet"
        log.note(f"{saved}; the same command with -o {run} goes on")
        raise
