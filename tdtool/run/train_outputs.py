"""Where a net is trained: the directory of a run, what it was asked for, and who may write to it."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tdtool import log
from tdtool.errors import InputError, UsageError
from tdtool.run.outputs import source_name
from tdtool.run.train_request import TrainRequest, shares_its_run, under_torchrun
from tdtool.store.atomic import NO_LOCKS
from tdtool.train.outcome import outcome_of
from tdtool.train.run_folder import OWN_DATA, SYNTHETIC, RunSettings, is_run, read_settings

SWEEP, LOCK, PREPARING = "sweep.json", "lock", "lock.preparing"
#: What a run that goes on may be asked for differently: the net does not depend on it.
_FREE = (
    "net.n_classes",
    "net.image_size",
    "batch",  # "asked.batch" says what was asked for
    "asked.data",  # the images themselves are compared
    "save_every",
    "track",
    "device.device",
    "device.gpus",
    "device.nodes",
    "device.rendezvous",
    "device.strategy",
    "device.compile",
    "device.recompute",
    "device.threads",
    "device.max_restarts",
)


class State(NamedTuple):
    """What is at a place. kind : "nothing", "run", "sweep" or "other"; settings : of a run."""

    kind: str
    settings: RunSettings | None = None


def default_run(model: str, data: str) -> Path:
    """./MODEL-DATA.train, or the first of MODEL-DATA-2.train, ... that is free.

    Under torchrun always the first: all processes, those that start after a failure too, have to choose the same.
    """
    return next(path for path in _names(model, data) if under_torchrun() or not path.exists())


def unfinished(model: str, data: str, request: TrainRequest) -> Path | None:
    """A run of a default name that was asked for the same and has not come to its end; None: there is none."""
    for path in itertools.takewhile(Path.exists, _names(model, data)):
        if is_run(path) and ((ended := outcome_of(path)) is None or not ended.finished):
            with contextlib.suppress(UsageError, InputError):
                check_same(path, read_settings(path).asked, request)
                return path
    return None


def _names(model: str, data: str) -> Iterator[Path]:
    name = f"{model}-{data if data == SYNTHETIC else source_name(data)}"
    return (Path(f"{name}{'' if i == 1 else f'-{i}'}.train") for i in itertools.count(1))


def state_of(run: Path, *, whole: bool = True) -> State:
    """What is at `run`. A directory that holds at most the data of a run that has not begun counts as nothing.

    whole : with the settings of a run; InputError where they are damaged.
    """
    if not run.exists():
        return State("nothing")
    if not run.is_dir():
        return State("other")
    if is_run(run):
        return State("run", read_settings(run) if whole else None)
    if (run / SWEEP).is_file():
        return State("sweep")
    begun = any(not entry.name.startswith(LOCK) and not entry.name.startswith(OWN_DATA) for entry in run.iterdir())
    return State("other" if begun else "nothing")


def check_run(run: Path, request: TrainRequest, *, sweep: bool = False) -> State:
    """Before any work: UsageError unless a run can be put at `run`, or one that is there can go on."""
    found, wanted = state_of(run, whole=not request.force), "sweep" if sweep else "run"
    if found.kind == "other" or (found.kind not in ("nothing", wanted) and not request.force):
        what = {"run": "this is a single run", "sweep": "this is a sweep", "other": "this is no run of tdtool's"}
        raise UsageError(what[found.kind], path=run, hint="choose another directory with -o")
    parent = next(path for path in (run, *run.absolute().parents) if path.exists())
    if not os.access(parent, os.W_OK | os.X_OK):
        raise UsageError(f"no permission to write in {parent}", path=run, hint="choose another directory with -o")
    if not parent.is_dir():
        raise UsageError(f"{parent} is not a directory", path=run, hint="choose another directory with -o")
    if found.kind == "nothing":
        return found
    if request.force:
        _check_force(run, request)
        return found
    if not request.resume:
        hint = "leave out --no-resume to go on with it; --force starts it anew; or choose another directory with -o"
        raise UsageError("the run exists already", path=run, hint=hint)
    if found.settings is not None:
        check_same(run, found.settings.asked, request)
    return found


def check_same(run: Path, asked: Mapping[str, Any], request: TrainRequest) -> None:
    """UsageError with every setting in which a run differs from what is asked for. asked : what it was started with."""
    before, now = _settings(asked), _settings(request.asked())
    lines = [f"{_option(name)}: {_word(before.get(name))} there, {_word(now[name])} asked for" for name in now]
    different = [line for line, name in zip(lines, now, strict=True) if before.get(name) != now[name]]
    if different:
        hint = "\n  ".join((*different, "another directory by -o starts a new run; --force starts this one anew"))
        raise UsageError("this run was started with other settings", path=run, hint=hint)


@contextlib.contextmanager
def held(run: Path, *, wait: bool = False, shared: bool = False, name: str = LOCK) -> Iterator[None]:
    """Hold the directory, made if it is not there, for this process alone; one that was made and got no settings is
    taken away again. wait : until others are done with it; shared : with others that share it; name : of the lock's
    file (PREPARING: to prepare a run in turns; those who are done train already, and hold the other one).

    UsageError: another process trains here. The system ends the lock with the process, however that ends.
    """
    is_new = not run.exists()
    run.mkdir(parents=True, exist_ok=True)
    handle = os.open(run / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        _lock(handle, run, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        if is_new and state_of(run).kind == "nothing":
            shutil.rmtree(run)
        os.close(handle)


@contextlib.contextmanager
def set_aside(run: Path) -> Iterator[None]:
    """Give the place of a run to a new one. The old one goes when the block ends well, else it is put back."""
    aside = next(path for i in itertools.count(1) if not (path := run.with_name(f"{run.name}.old-{i}")).exists())
    run.rename(aside)
    try:
        yield
    except BaseException:
        if run.exists():
            shutil.rmtree(run)
        aside.rename(run)
        raise
    shutil.rmtree(aside)


def _lock(handle: int, run: Path, how: int) -> None:
    try:
        fcntl.flock(handle, how)
    except BlockingIOError as error:
        hint = "wait for it, or choose another directory with -o"
        raise UsageError("another process trains this run", path=run, hint=hint) from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        log.detail(f"{run}: this file system has no locks; two processes must not train the same run")


def _check_force(run: Path, request: TrainRequest) -> None:
    if shares_its_run(request):
        hint = f"take {run} away first"
        raise UsageError("--force is for one launcher: others would start the run anew once more", path=run, hint=hint)
    for name, path in (("--data", request.data), ("--weights", request.weights), ("--head-from", request.head_from)):
        if path is not None and Path(path).resolve().is_relative_to(run.resolve()):
            raise UsageError(f"--force would take away what {name} reads", path=path, hint="choose another -o")


def _settings(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Names with dots and values, of what has to be the same."""
    config = asked.get("config")
    flat = _flat(config if isinstance(config, dict) else {})
    flat.update({f"asked.{name}": value for name, value in asked.items() if name != "config"})
    return {name: value for name, value in flat.items() if name not in _FREE}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat.update(_flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value})
    return flat


_OPTIONS = {
    "net.model": "MODEL",
    "optimiser.name": "--optimiser",
    "optimiser.learning_rate": "--lr",
    "augment.crop": "crops",
    "augment.flip": "flips",
}


def _option(name: str) -> str:
    """What the setting is called on the command line."""
    return _OPTIONS.get(name, "--" + name.rpartition(".")[2].replace("_", "-"))


def _word(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
