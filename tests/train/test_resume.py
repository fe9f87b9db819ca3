"""A run that was interrupted ends as if it had not been: to the last bit."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tdtool.config import AugmentConfig, OptimiserConfig, TrainConfig
from tdtool.errors import TerminatedError
from tdtool.store import hdf5
from tdtool.train import checkpoint
from tdtool.train.journal import in_force, of_kind, read_journal
from tdtool.train.outcome import outcome_of
from tdtool.train.step import Updater
from tdtool.train.worker import work
from tests.train.small_runs import small_config, small_run

STEPS = 10


def everything() -> TrainConfig:
    """A configuration in which all that has a state or draws random numbers takes part; dropout is the model's own."""
    return small_config(
        optimiser=OptimiserConfig(learning_rate=0.05, ema=0.9, clip=0.5, label_smoothing=0.1),
        augment=AugmentConfig(colour=0.2, mixup=0.3),
        batch=24,
        accumulate=2,
    )


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run as it is when nothing happens to it."""
    torch.set_num_threads(1)
    run = small_run(tmp_path_factory.mktemp("unbroken") / "run", everything())
    work(run)
    return run


def assert_same_end(run: Path, unbroken: Path) -> None:
    """Weights, averages, momenta and losses of both runs are equal, bit by bit."""
    one, other = checkpoint.load(run), checkpoint.load(unbroken)
    assert one is not None
    assert other is not None
    assert one.step == other.step == STEPS
    assert one.average is not None
    assert other.average is not None
    pairs = ((one.model, other.model), (one.optimiser, other.optimiser), (one.average, other.average))
    for mine, theirs in pairs:
        assert mine.keys() == theirs.keys()
        assert len(mine) > 10
        for name in mine:
            assert torch.equal(mine[name], theirs[name]), name
    scores = [
        [(e["step"], e["train_loss"], e["loss"], e["top1"]) for e in of_kind(in_force(read_journal(r)), "evaluation")]
        for r in (run, unbroken)
    ]
    # Sums of losses are rounded where they were cut.
    assert [score[2:] for score in scores[0]] == [score[2:] for score in scores[1]]
    assert [score[:2] for score in scores[0]] == [pytest.approx(score[:2], rel=1e-12) for score in scores[1]]


def signal_at(step: int, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process gets a signal in the middle of an update."""
    update = Updater.update

    def interrupted(self: Updater, parts: object, at: int, rate: float) -> None:
        if at == step:
            os.kill(os.getpid(), number)
        update(self, parts, at, rate)

    monkeypatch.setattr(Updater, "update", interrupted)


@pytest.mark.parametrize(
    ("step", "number", "error"),
    [
        (2, signal.SIGTERM, TerminatedError),  # in the middle of the first epoch
        (4, signal.SIGINT, KeyboardInterrupt),  # at its last step, before the scores
        (7, signal.SIGUSR1, TerminatedError),
    ],
)
def test_signal_finishes_the_step_saves_and_the_run_goes_on(
    step: int,
    number: int,
    error: type[BaseException],
    unbroken: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, before = small_run(tmp_path / "run", everything()), signal.getsignal(number)
    with monkeypatch.context() as patch:
        signal_at(step, number, patch)
        with pytest.raises(error):
            work(run)
    assert signal.getsignal(number) is before
    saved, outcome = checkpoint.load(run), outcome_of(run)
    assert saved is not None
    assert outcome is not None
    assert (saved.step, outcome.steps, outcome.stopped) == (step + 1, step + 1, "interrupted")
    assert work(run).stopped == "done"
    assert_same_end(run, unbroken)


def test_process_state_of_the_caller_is_left_alone(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", everything())
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    work(run)
    assert torch.equal(torch.rand(3), wanted)


def test_other_seed_is_another_run(unbroken: Path, tmp_path: Path) -> None:
    import dataclasses

    run = small_run(tmp_path / "run", dataclasses.replace(everything(), seed=4))
    work(run)
    one, other = checkpoint.load(run), checkpoint.load(unbroken)
    assert one is not None
    assert other is not None
    assert not torch.equal(one.model["features.0.weight"], other.model["features.0.weight"])


def test_killed_process_loses_nothing_that_was_saved(unbroken: Path, tmp_path: Path) -> None:
    """kill -9 once there is a checkpoint in the middle of an epoch: the result can be read, and the end is the same."""
    import dataclasses

    run = small_run(tmp_path / "run", dataclasses.replace(everything(), save_every=0.0))
    child = subprocess.Popen([sys.executable, "-m", "tdtool.train.worker", str(run)])
    try:
        deadline = time.monotonic() + 120
        while not list((run / "checkpoints").glob("step-*")) and child.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == -signal.SIGKILL
    saved = checkpoint.load(run)
    assert saved is not None
    assert 0 < saved.step < STEPS
    work(run)
    assert_same_end(run, unbroken)
    with hdf5.open(run / "run.h5") as result:
        assert list(result.get("epochs/step")) == [5, 10]
        assert result.attributes["stopped"] == "done"


def test_run_that_is_done_is_not_touched(unbroken: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(unbroken, run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert work(run) == outcome_of(unbroken)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
