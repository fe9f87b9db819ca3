"""`tdtool train` as a person types it."""

from __future__ import annotations

import fcntl
import json
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tdtool.errors import TerminatedError
from tests.cli.conftest import Run
from tests.store.samples import names

pytest.importorskip("torch", reason="needs the extra train: pip install 'tdtool[train]'")

TINY = ("resnet18", "--width", 8, "--batch", 16, "--device", "cpu", "--workers", 1, "-q")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Squares of 8 pixels, red, green and blue with noise: 60 for training and 30 for testing."""
    rng = np.random.default_rng(5)
    folder = tmp_path / "given"
    folder.mkdir()
    arrays = {}
    for part, n in (("train", 60), ("test", 30)):
        labels = rng.integers(0, 3, n)
        pixels = rng.integers(0, 60, (n, 8, 8, 3)).astype(np.uint8)
        pixels[np.arange(n), :, :, labels] += 150
        arrays |= {f"x_{part}": pixels, f"y_{part}": labels}
    np.savez(folder / "colours.npz", **arrays)
    return folder / "colours.npz"


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Stands in for the training itself: the runs that were trained. Accuracy is better the more the head may learn."""
    seen: list[Path] = []

    def work(run: Path) -> None:
        from tdtool.train.journal import Journal

        seen.append(run)
        journal = Journal(run)
        head = json.loads((run / "config.json").read_text())["config"]["net"]["head"]
        scores = {"loss": 0.5, "top1": 0.9 if head == "fc" else 0.8, "top5": 1.0}
        journal.append("evaluation", epoch=1, step=3, train_loss=0.7, **scores)
        journal.append("end", steps=3, epochs=1, images_per_second=99.0, seconds=1.0, stopped="done", **scores)
        journal.close()

    _stand_in(monkeypatch, "tdtool.train.worker", work=work)
    return seen


def _stand_in(monkeypatch: pytest.MonkeyPatch, name: str, **functions: Callable[..., Any]) -> None:
    module = types.ModuleType(name)
    vars(module).update(functions)
    monkeypatch.setitem(sys.modules, name, module)


def test_run_is_trained_and_then_finished(run: Run, images: Path) -> None:
    ran = run("train", *TINY, "--data", images, "--epochs", "2", "--head", "trl:6,1,1", "-o", "RUN")
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0].split() == ["epoch", "step", "train", "loss", "loss", "top-1"], "5 guesses of 3 classes say nothing"
    assert [line.split()[:2] for line in lines[1:3]] == [["1", "3"], ["2", "6"]]
    assert re.search(r"^Top-1 accuracy \d+\.\d%, loss \d\.\d{3}\.", ran.out, re.MULTILINE)
    assert "of the head 407, 2.1 times the 195 of the fc head." in ran.out, "64 * 6 + 1 + 1 + 6 * 3 + 3"
    assert re.search(r"^6 steps, all epochs; \d+\.\d s, [\d,]+ images/s on cpu\.$", ran.out, re.MULTILINE)
    assert lines[-1] == "RUN", "the path comes last"
    assert {"checkpoints", "config.json", "data.images.h5", "journal.jsonl", "run.h5"} <= set(names(Path("RUN")))
    checkpoints = names(Path("RUN/checkpoints"))
    again = run("train", *TINY[:-1], "--epochs", "2", "--head", "trl:6,1,1", "-o", "RUN", "--json")
    assert again.code == 0, again.err
    told = json.loads(again.out)
    assert (told["was"], told["steps"], told["stopped"]) == ("finished", 6, "done")
    assert [epoch["step"] for epoch in told["epochs_scored"]] == [3, 6]
    assert "the run is finished, 6 steps" in again.err
    assert names(Path("RUN/checkpoints")) == checkpoints


def test_run_is_named_after_model_and_data(run: Run, images: Path, worked: list[Path]) -> None:
    for _ in range(2):
        assert run("train", *TINY, "--data", images).code == 0
    assert run("train", *TINY, "--data", "synthetic", "--classes", "3", "--image-size", "8").code == 0
    assert list(map(str, worked)) == ["resnet18-colours.train", "resnet18-colours-2.train", "resnet18-synthetic.train"]
    settings = json.loads(Path("resnet18-synthetic.train/config.json").read_text())
    assert (settings["data"], settings["config"]["net"]["n_classes"]) == ("synthetic", 3)


def test_unfinished_run_is_remembered(run: Run, images: Path, worked: list[Path]) -> None:
    assert run("train", *TINY, "--data", images).code == 0
    again = run("train", *TINY[:-1], "--data", images)
    assert "is an unfinished one" not in again.err
    Path("resnet18-colours.train/journal.jsonl").unlink()
    other = run("train", *TINY[:-1], "--data", images, "--seed", "1")
    assert "is an unfinished one" not in other.err, "it has other settings"
    same = run("train", *TINY[:-1], "--data", images)
    assert "-o resnet18-colours.train goes on with it" in same.err


def test_data_is_found(run: Run, images: Path, worked: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    ran = run("train", *TINY)
    assert ran.code == 2
    assert "there are no images to train on\n  give --data, or set TDTOOL_DATA:" in ran.err
    for what in ("class", ".tar.xz", "CIFAR-10", ".npz", "tdtool ingest SOURCE --as images", "synthetic", "./data"):
        assert what in ran.err
    assert run("ingest", images, "--as", "images", "-o", "data", "-q").code == 0
    ran = run("train", *TINY)
    assert ran.code == 0, ran.err
    monkeypatch.setenv("TDTOOL_DATA", str(images))
    ran = run("train", *TINY)
    assert ran.code == 0, ran.err
    assert list(map(str, worked)) == ["resnet18-data.train", "resnet18-colours.train"]


def test_data_says_classes_and_size(run: Run, images: Path, worked: list[Path]) -> None:
    ran = run("train", *TINY, "--data", images, "-o", "RUN")
    assert ran.code == 0, ran.err
    settings = json.loads(Path("RUN/config.json").read_text())
    assert settings["classes"] == ["0", "1", "2"]
    assert settings["config"]["net"]["image_size"] == 8
    assert settings["feature_shape"] == [64, 1, 1]
    assert settings["asked"]["config"]["net"]["n_classes"] == 1000, "what was asked for is kept as it was"
    wrong = run("train", *TINY, "--data", images, "--classes", "4", "-o", "OTHER")
    assert (wrong.code, "there are 3 classes, --classes says 4" in wrong.err) == (2, True)
    assert not Path("OTHER").exists()


def test_run_goes_on_only_as_it_was(run: Run, images: Path, worked: list[Path]) -> None:
    assert run("train", *TINY, "--data", images, "-o", "RUN", "--epochs", "4").code == 0
    other = run("train", *TINY, "-o", "RUN", "--epochs", "5", "--lr", "0.5", "--no-flip", "--head", "gap")
    assert other.code == 2
    for line in (
        "--head: fc there, gap asked for",
        "flips: yes there, no asked for",
        "--lr: none there, 0.5 asked for",
        "--epochs: 4 there, 5 asked for",
    ):
        assert f"\n  {line}\n" in other.err
    assert "--batch" not in other.err
    ran = run("train", *TINY, "-o", "RUN", "--epochs", "4", "--no-resume")
    assert (ran.code, "the run exists already" in ran.err) == (2, True)
    assert len(worked) == 1


def test_interrupted_run_is_taken_up(
    run: Run, images: Path, worked: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(run: Path) -> None:
        raise TerminatedError

    work = sys.modules["tdtool.train.worker"].work
    monkeypatch.setattr(sys.modules["tdtool.train.worker"], "work", stop)
    stopped = run("train", *TINY[:-1], "--data", images, "-o", "RUN")
    assert stopped.code == 143
    assert "the same command with -o RUN goes on" in stopped.err
    monkeypatch.setattr(sys.modules["tdtool.train.worker"], "work", work)
    moved = images.with_name("elsewhere.npz")
    images.rename(moved)
    ran = run("train", *TINY, "--data", moved, "-o", "RUN", "--precision", "fp32", "--json")
    assert (ran.code, "--precision: auto there, fp32 asked for" in ran.err) == (2, True)
    ran = run("train", *TINY, "--data", moved, "-o", "RUN", "--workers", "2", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["was"] == "resumed"
    settings = json.loads(Path("RUN/config.json").read_text())
    assert settings["config"]["device"]["threads"] == 2, "the device may be another one"
    assert settings["data"].endswith("RUN/data.images.h5")


def test_other_images_are_not_taken(run: Run, images: Path, worked: list[Path]) -> None:
    assert run("train", *TINY, "--data", images, "-o", "RUN").code == 0
    Path("RUN/journal.jsonl").unlink()
    with np.load(images) as arrays:
        values = dict(arrays)
    np.savez("other.npz", **{**values, "x_train": values["x_train"][::-1]})
    ran = run("train", *TINY, "--data", "other.npz", "-o", "RUN")
    assert (ran.code, "the run was started with other images" in ran.err) == (2, True)
    Path("RUN/data.images.h5").unlink()
    gone = run("train", *TINY, "-o", "RUN")
    assert (gone.code, "--data says where they are now" in gone.err) == (3, True)


def test_force_starts_anew_but_loses_nothing_before(run: Run, images: Path, worked: list[Path]) -> None:
    assert run("train", *TINY, "--data", images, "-o", "RUN").code == 0
    Path("RUN/mine.txt").write_text("kept")
    one_class = images.with_name("one.npz")
    np.savez(one_class, x=np.zeros((20, 8, 8, 3), np.uint8), y=np.zeros(20, int))
    bad = run("train", *TINY, "--data", one_class, "-o", "RUN", "--force")
    assert bad.code == 3
    assert "one class" in bad.err
    assert Path("RUN/mine.txt").exists()
    inside = run("train", *TINY, "--data", "RUN/data.images.h5", "-o", "RUN", "--force")
    assert (inside.code, "--force would take away what --data reads" in inside.err) == (2, True)
    assert run("train", *TINY, "--data", images, "-o", "RUN", "--force", "--epochs", "2").code == 0
    assert not Path("RUN/mine.txt").exists()
    assert names(Path()) == ["RUN", "given"]
    Path("letters").mkdir()
    Path("letters/dear.txt").write_text("dear")
    other = run("train", *TINY, "--data", images, "-o", "letters", "--force")
    assert (other.code, "this is no run of tdtool's" in other.err) == (2, True)


def test_damaged_settings_are_told(run: Run, images: Path, worked: list[Path]) -> None:
    assert run("train", *TINY, "--data", images, "-o", "RUN").code == 0
    Path("RUN/config.json").write_text("{")
    assert run("train", *TINY, "--data", images, "-o", "RUN").code == 3
    assert run("train", *TINY, "--data", images, "-o", "RUN", "--force").code == 0


def test_two_processes_do_not_train_one_run(run: Run, images: Path, worked: list[Path]) -> None:
    assert run("train", *TINY, "--data", images, "-o", "RUN").code == 0
    with Path("RUN/lock").open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        ran = run("train", *TINY, "-o", "RUN")
    assert (ran.code, "another process trains this run" in ran.err) == (2, True)


BAD: dict[str, tuple[tuple[object, ...], int, str]] = {
    "16 gpus": (("--device", "auto", "--gpus", 16), 4, "16 asked for\n  more machines: --nodes N"),
    "no gpu": (("--gpus", 0), 2, "--gpus is 0, which leaves nothing to train on\n  --device cpu"),
    "no meeting": (("--nodes", 2), 2, "--rdzv HOST:"),
    "no head": (("--head", "tcl:3"), 2, "is no head\n  a head is fc | gap"),
    "rank too large": (("--head", "trl:80,1,1"), 2, "rank 80 of the channels is larger than their number, 64"),
    "too many ranks": (("--head", "trl:4,1,1,4"), 2, "rank 4 of the classes is larger than their number, 3"),
    "no sweep": (("--sweep", "rank=3"), 2, "write head=fc,tcl:64,3,3"),
    "one head twice": (("--sweep", "head=fc,fc"), 2, "names a head twice"),
    "no data there": (("--data", "nowhere.tar"), 3, "nowhere.tar: there is no such file or directory\n  give --data"),
    "no weights": (("--weights", "none.pt"), 3, "none.pt: there is no such file of weights"),
    "no run": (("--head", "trl:4,1,1", "--head-from", "given"), 3, "given: is not the directory of a training run"),
    "head from fc": (("--head-from", "given"), 2, "--head-from starts a tensor head, and the head is fc"),
    "batch": (("--batch", 30, "--accumulate", 4), 2, "--batch 28 or --batch 32 does"),
    "large batch": (("--batch", 64), 2, "--batch 64 is more than the 60 training images\n  --batch 32 or less"),
    "output": (("-o", "given/colours.npz"), 2, "this is no run of tdtool's"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_request_is_told(run: Run, images: Path, worked: list[Path], case: str) -> None:
    arguments, code, message = BAD[case]
    ran = run("train", *TINY, "--data", images, *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert message in ran.err
    assert "Traceback" not in ran.err
    assert worked == []
    assert names(Path()) == ["given"], "nothing is left behind"


def test_plan_counts_without_data(run: Run) -> None:
    """The figure of the literature for VGG-16."""
    ran = run("train", "vgg16", "--head", "tcl:384,5,5,fc=3072", "--batch", 2, "--device", "cpu", "--dry-run")
    assert ran.code == 0, ran.err
    lines = dict(line.split("  ", 1) for line in ran.out.splitlines() if "  " in line.strip())
    assert "of the head  42,204,206, 65.9% fewer than the 123,642,856 of the fc head" in ran.out
    assert lines["batch"].strip() == "2 images"
    assert lines["images"].strip() == "none were looked at; --data says which"
    assert re.search(r"^activations +\d+\.\d MB$", ran.out, re.MULTILINE)
    assert names(Path()) == []


def test_plan_looks_at_the_data(run: Run, images: Path) -> None:
    ran = run("train", *TINY[:3], "--device", "cpu", "--data", images, "--batch", "auto", "--dry-run", "--json")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert (told["batch"], told["n_train"], told["n_scored"], told["scored"]) == (32, 60, 30, "test")
    assert told["steps"] == 10, "one step of 32 in each of ten epochs of 60 images"
    assert told["net"]["parameters"] == 175_947
    assert told["memory_bytes"] == sum(told["memory"].values())
    assert names(Path()) == ["given"]


def test_model_is_checked(run: Run, worked: list[Path]) -> None:
    ran = run("train", "rasnet")
    assert ran.code == 2
    assert "there is no net called 'rasnet'\n  choose one of: resnet, resnet18," in ran.err


@pytest.mark.parametrize(
    ("package", "extra", "arguments"),
    [
        ("torch", "train", ("--gpus", "16")),
        ("wandb", "tracking", ("--log", "wandb")),
        ("matplotlib", "report", ("--sweep", "head=fc,gap")),
    ],
)
def test_missing_package_is_told_first(
    run: Run, monkeypatch: pytest.MonkeyPatch, package: str, extra: str, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    ran = run("train", *TINY, "--data", "nowhere", *arguments)
    assert ran.code == 1
    assert f"{package} is not installed\n  run: pip install 'tdtool[{extra}]'" in ran.err


def test_several_processes_are_launched(run: Run, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Path, int]] = []

    def launch(run: Path, device: Any) -> int:
        seen.append((run, device.gpus))
        raise TerminatedError

    _stand_in(monkeypatch, "tdtool.train.launch", launch=launch)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    ran = run("train", *TINY, "--data", images, "--gpus", "2", "-o", "RUN")
    assert ran.code == 143, ran.err
    assert seen == [(Path("RUN"), 2)]
    odd = run("train", *TINY, "--data", images, "--gpus", "2", "--batch", "15")
    assert (odd.code, "does not divide by 2 (2 processes x 1 parts)" in odd.err) == (2, True)


def test_torchrun_starts_it_as_one_of_several(
    run: Run, images: Path, worked: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    for name, value in world.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    for _ in range(2):  # two ranks: the second finds what the first has prepared
        ran = run("train", *TINY, "--data", images)
        assert ran.code == 0, ran.err
    assert list(map(str, worked)) == ["resnet18-colours.train"]
    forced = run("train", *TINY, "--data", images, "--force")
    assert (forced.code, "--force is for one launcher" in forced.err) == (2, True)


def test_sweep_tables_and_draws(run: Run, images: Path, worked: list[Path]) -> None:
    arguments = ("train", *TINY, "--data", images, "-o", "SWEEP", "--sweep", "head=fc,tcl:8,-,-,trl:6,1,1,cp:2")
    ran = run(*arguments)
    assert ran.code == 0, ran.err
    assert [path.name for path in worked] == ["fc", "tcl-8-all-all", "trl-6-1-1", "cp-2"]
    rows = [line.split() for line in ran.out.splitlines()]
    assert rows[1] == ["fc", "195", "0.0%", "0.500", "99", "90.0%"]
    assert rows[4] == ["cp:2", "141", "27.7%", "0.500", "99", "80.0%"], "2 * (64 + 1 + 1 + 3) + 3"
    assert ran.out.splitlines()[-2:] == ["Drawn in SWEEP/rank.png.", "SWEEP"]
    assert Path("SWEEP/rank.png").read_bytes().startswith(b"\x89PNG")
    assert {run["data"] for run in _settings("SWEEP")} == {str(Path("SWEEP/data.images.h5").resolve())}
    more = run(*arguments[:-1], "head=fc,gap", "--json")
    told = json.loads(more.out)
    assert [(row["head"], row["was"]) for row in told["runs"]] == [("fc", "finished"), ("gap", "trained")]
    assert len(worked) == 5
    assert run("train", *TINY, "--data", images, "-o", "SWEEP").code == 2, "a sweep is no run"
    wrong = run(*arguments[:-1], "head=gap,trl:6,2,1")
    assert (wrong.code, "rank 2 of the rows" in wrong.err, len(worked)) == (2, True, 5)


def _settings(folder: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in Path(folder).glob("*/config.json")]
