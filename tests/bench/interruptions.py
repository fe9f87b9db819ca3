"""A training run is killed at random moments and taken up again; the weights that come out must be the same to the bit.

`python -m tests.bench.interruptions [--runs 20] [--seed 0] [--signal KILL|TERM]`
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tdtool.config import AugmentConfig, OptimiserConfig
from tdtool.errors import InputError
from tdtool.store import hdf5
from tdtool.train import checkpoint
from tdtool.train.outcome import outcome_of
from tests.train.small_runs import small_config, small_run

_STUCK = 300.0


@dataclasses.dataclass(frozen=True)
class Interrupted:
    """One run. signals : that it took, 0: it was done before; step : it went on from; outcome : "same" or not."""

    signals: int
    step: int
    readable: bool  # run.h5 after the signal
    seconds: float
    outcome: str


def campaign(folder: Path, *, runs: int, seed: int, number: int) -> Iterator[Interrupted]:
    """Runs in which all that has a state takes part: momentum, averages, dropout, augmentation, mixup, accumulation."""
    config = small_config(
        optimiser=OptimiserConfig(learning_rate=0.05, ema=0.9, clip=0.5, label_smoothing=0.1),
        augment=AugmentConfig(colour=0.2, mixup=0.3),
        batch=24,
        accumulate=2,
        epochs=20,
        save_every=0.005,
    )
    unbroken = small_run(folder / "unbroken", config)
    _wait(_start(unbroken))
    outcome, draw = outcome_of(unbroken), random.Random(seed)
    if outcome is None or not outcome.finished:
        raise RuntimeError("the undisturbed run failed")
    for _ in range(runs):
        run = small_run(folder / "run", config)
        yield _disturbed(run, unbroken, draw.random() * outcome.seconds, number)
        shutil.rmtree(run)


def _disturbed(run: Path, unbroken: Path, wait: float, number: int) -> Interrupted:
    started, signals, step, readable = time.monotonic(), 0, 0, True
    while (ended := outcome_of(run)) is None or not ended.finished:
        process = _start(run)
        try:
            if not signals:
                _signal_in_time(process, run, wait, number)
            _wait(process)
        finally:
            process.kill()
            process.wait()
        if process.returncode:
            signals += 1
            if signals > 1:
                raise RuntimeError(f"{run} failed: {process.returncode}")
            saved = checkpoint.load(run)
            step, readable = 0 if saved is None else saved.step, _is_readable(run)
    same = _is_same(run, unbroken)
    return Interrupted(signals, step, readable, time.monotonic() - started, "same" if same else "different")


def _signal_in_time(process: subprocess.Popen[bytes], run: Path, wait: float, number: int) -> None:
    """Send the signal so long after the process has opened its journal; nothing where it has ended before."""
    deadline = time.monotonic() + _STUCK
    while process.poll() is None and not (run / "journal.jsonl").exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{run} does not begin")
        time.sleep(0.005)
    try:
        process.wait(wait)
    except subprocess.TimeoutExpired:
        process.send_signal(number)


def _is_same(run: Path, unbroken: Path) -> bool:
    mine, theirs = checkpoint.load(run), checkpoint.load(unbroken)
    if mine is None or theirs is None or mine.average is None or theirs.average is None:
        return False
    pairs = ((mine.model, theirs.model), (mine.optimiser, theirs.optimiser), (mine.average, theirs.average))
    return mine.step == theirs.step and all(
        one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one) for one, other in pairs
    )


def _is_readable(run: Path) -> bool:
    """Whether run.h5 can be read, or was never written."""
    path = run / "run.h5"
    try:
        if path.exists():
            with hdf5.open(path) as result:
                result.get("steps/loss")
    except InputError:
        return False
    return True


def _start(run: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tdtool.train.worker", str(run)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _wait(process: subprocess.Popen[bytes]) -> None:
    process.wait(_STUCK)


def main(arguments: Sequence[str]) -> int:
    """Print a line a run, and how many of them came out the same."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.interruptions", description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--signal", choices=("KILL", "TERM", "INT"), default="KILL")
    options = parser.parse_args(arguments)
    number = getattr(signal, f"SIG{options.signal}")
    results = []
    with tempfile.TemporaryDirectory(prefix="tdtool-") as scratch:
        for result in campaign(Path(scratch), runs=options.runs, seed=options.seed, number=number):
            results.append(result)
            words = "readable" if result.readable else "NOT READABLE"
            print(
                f"{result.signals} signal, went on from step {result.step}: {result.outcome}, run.h5 {words}",
                flush=True,
            )
    same = sum(result.outcome == "same" and result.readable for result in results)
    print(f"{same} of {len(results)} the same; {sum(result.signals for result in results)} signals in all")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
