"""Several processes, one of which fails, dies or is told to end: what is said of it, and that nobody is left behind."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tdtool.config import DeviceConfig
from tdtool.errors import ClusterError, InputError, MissingExtraError, TerminatedError
from tdtool.train.launch import launch
from tests.conftest import REPOSITORY

TWO = DeviceConfig(device="cpu", gpus=2, threads=2)
ONCE_MORE = DeviceConfig(device="cpu", gpus=2, threads=2, max_restarts=1)
WORKS = "tests.train.rank_works"


@pytest.fixture(autouse=True)
def _at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)  # where the processes find the tests


def told(run: Path, what: str) -> Path:
    """The directory of a run in which processes do `what`."""
    (run / "what").write_text(what)
    return run


def wait_for(condition: Callable[[], object]) -> None:
    """Until the condition holds, a minute at most."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def when_both_wait(run: Path, *numbers: int, pause: float = 0.0) -> None:
    """Send signals to this process once both processes watch for them."""

    def send() -> None:
        wait_for(lambda: (run / "waits-0").exists() and (run / "waits-1").exists())
        for number in numbers:
            os.kill(os.getpid(), number)
            time.sleep(pause)

    threading.Thread(target=send, daemon=True).start()


def process_of(run: Path, rank_id: int) -> int:
    """The number of a process that has started."""
    return int((run / f"started-{rank_id}").read_text().split()[0])


def is_alive(process: int) -> bool:
    """Whether it is there and no zombie."""
    try:
        state = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return state.rpartition(")")[2].split()[0] != "Z"


def test_all_processes_work_on_this_machine_alone_and_rank_0_speaks(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    environment, handlers = dict(os.environ), [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    assert launch(told(tmp_path, "nothing"), TWO, module=WORKS) == 0
    assert sorted(path.name for path in tmp_path.glob("done-*")) == ["done-0", "done-1"]
    places = [(tmp_path / f"started-{rank_id}").read_text().split()[1:] for rank_id in (0, 1)]
    assert places == [["127.0.0.1", "2", "False"]] * 2
    assert capfd.readouterr() == ("", "warning: rank 0 speaks\n")
    assert os.environ == environment
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == handlers


def test_error_of_ours_comes_back_as_itself_though_another_ended_before_it(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        launch(told(tmp_path, "input_error"), ONCE_MORE, module=WORKS)
    error = caught.value
    assert (error.what, error.path, error.line, error.hint) == ("has no images", "some.h5", 7, "look there")
    assert not list(tmp_path.glob("done-*"))  # it was not tried once more


def test_error_with_a_constructor_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(MissingExtraError, match=r"wandb is not installed\n.*tdtool\[tracking\]"):
        launch(told(tmp_path, "missing_extra"), TWO, module=WORKS)


def test_bug_is_named_with_its_process(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ClusterError, match="process 1 failed: ZeroDivisionError: a bug; the others of 2") as caught:
        launch(told(tmp_path, "bug"), TWO, module=WORKS)
    assert 'raise ZeroDivisionError("a bug")' in str(caught.value.__cause__)  # for --debug
    assert capfd.readouterr().err == "warning: rank 0 speaks\n"


def test_process_that_left_is_named_and_the_others_end(tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(ClusterError, match="process 1 ended with exit code 7"):
        launch(told(tmp_path, "exit_code"), TWO, module=WORKS)
    assert time.monotonic() - start < 60
    assert not is_alive(process_of(tmp_path, 0))


def test_killed_process_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"process 1 was ended by SIGKILL; .*\n.*memory.*--max-restarts"):
        launch(told(tmp_path, "killed_once"), TWO, module=WORKS)
    assert not is_alive(process_of(tmp_path, 0))


def test_killed_process_starts_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "tdtool"):
        assert launch(told(tmp_path, "killed_once"), ONCE_MORE, module=WORKS) == 0
    assert [(tmp_path / f"done-{rank_id}").read_text() for rank_id in (0, 1)] == ["1", "1"]
    assert "process 1 was ended by SIGKILL; all start again from the last checkpoint (restart 1 of 1)" in caplog.text


@pytest.mark.parametrize(
    ("number", "error"),
    [(signal.SIGTERM, TerminatedError), (signal.SIGINT, KeyboardInterrupt), (signal.SIGUSR1, TerminatedError)],
)
def test_signal_reaches_the_processes_and_waits_until_they_have_saved(
    number: signal.Signals, error: type[BaseException], tmp_path: Path
) -> None:
    before = signal.getsignal(number)
    when_both_wait(tmp_path, number, number)  # twice at the same moment, as clusters do
    with pytest.raises(error):
        launch(told(tmp_path, "saves"), ONCE_MORE, module=WORKS)
    assert (tmp_path / "saved").read_text() == number.name
    assert signal.getsignal(number) is before
    assert not any(is_alive(process_of(tmp_path, rank_id)) for rank_id in (0, 1))


def test_second_signal_ends_all_at_once(tmp_path: Path) -> None:
    when_both_wait(tmp_path, signal.SIGINT, signal.SIGINT, pause=0.8)
    with pytest.raises(KeyboardInterrupt):
        launch(told(tmp_path, "stubborn"), TWO, module=WORKS)
    assert not any(is_alive(process_of(tmp_path, rank_id)) for rank_id in (0, 1))


def test_processes_do_not_outlive_a_launcher_that_is_killed(tmp_path: Path) -> None:
    told(tmp_path, "stubborn")
    program = (
        "from pathlib import Path; from tdtool.config import DeviceConfig; from tdtool.train.launch import launch;"
        f"launch(Path({str(tmp_path)!r}), DeviceConfig(device='cpu', gpus=2), module={WORKS!r})"
    )
    launcher = subprocess.Popen([sys.executable, "-c", program])
    try:
        wait_for(lambda: (tmp_path / "waits-0").exists() and (tmp_path / "waits-1").exists())
    finally:
        launcher.kill()
        launcher.wait()
    wait_for(lambda: not any(is_alive(process_of(tmp_path, rank_id)) for rank_id in (0, 1)))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", pytest.param("fsdp", marks=pytest.mark.study)])
def test_run_that_is_killed_ended_and_taken_up_by_one_process_learns_as_one_alone(
    strategy: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from tdtool.config import NetConfig, OptimiserConfig
    from tdtool.train import checkpoint
    from tdtool.train.worker import work
    from tests.train.small_runs import small_config, small_run

    config = small_config(
        net=NetConfig(model="alexnet", width=4, n_classes=3, image_size=32, dropout=0.0),
        optimiser=OptimiserConfig(learning_rate=0.02, ema=0.9, clip=1.0),
        batch=24,
        accumulate=2,
        epochs=3,
    )
    several = DeviceConfig(
        device="cpu", gpus=2, threads=2, precision="fp32", max_restarts=1, strategy=strategy, recompute="sqrt"
    )
    alone, run = small_run(tmp_path / "alone", config), small_run(tmp_path / "run", replace(config, device=several))
    work(alone)
    with pytest.raises(TerminatedError):
        launch(told(run, "trains"), several, module=WORKS)
    saved = checkpoint.load(run)
    assert saved is not None
    assert 9 <= saved.step < 15  # the processes agree on a step about once a second
    work(run)
    assert "process 1 was ended by SIGKILL" in caplog.text
    one, other = checkpoint.load(alone), checkpoint.load(run)
    assert one is not None
    assert other is not None
    for mine, theirs in ((one.model, other.model), (one.optimiser, other.optimiser), (one.average, other.average)):
        assert mine is not None
        assert theirs is not None
        assert mine.keys() == theirs.keys()
        assert all(torch.allclose(mine[name], theirs[name], rtol=0, atol=1e-5) for name in mine)
