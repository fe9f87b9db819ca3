"""What stands around the training of a net: what it would take, what the data says, how it is told and drawn."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tdtool.config import AugmentConfig, DeviceConfig, NetConfig, TrainConfig
from tdtool.errors import InputError, UsageError
from tdtool.report import training as report
from tdtool.report.rank_plot import Point, draw_rank_plot
from tdtool.run.train_data import TrainData, open_data, with_data
from tdtool.run.train_outputs import State, check_same, default_run, held, set_aside, state_of
from tdtool.run.train_plan import check_batch, n_steps
from tdtool.run.train_request import TrainRequest
from tdtool.run.train_sweep import folder_name

DATA = TrainData("x.images.h5", "d", ("a", "b", "c"), 32, n_train=1000, n_scored=50, scored="test")


def _npz(path: Path, labels: list[int], **more: Any) -> str:
    rng = np.random.default_rng(2)
    np.savez(path, x=rng.integers(0, 255, (len(labels), 9, 9, 3)).astype(np.uint8), y=np.array(labels), **more)
    return str(path)


# ---- the data


def test_data_fills_in_what_is_not_asked_for(tmp_path: Path) -> None:
    source = _npz(tmp_path / "some.npz", [0, 1, 2, 1] * 10)
    data = open_data(source, TrainRequest(), tmp_path / "RUN")
    assert data.place == str((tmp_path / "RUN/data.images.h5").resolve())
    assert (data.classes, data.image_size) == (("0", "1", "2"), 9)
    assert (data.n_train + data.n_scored, data.scored) == (40, "held-out")
    assert with_data(TrainConfig(), data).net == NetConfig(n_classes=3, image_size=9)
    larger = open_data(data.place, TrainRequest(image_size=16), tmp_path / "other")
    assert (larger.place, larger.digest, larger.image_size) == (data.place, data.digest, 16)


def test_data_of_one_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one class"):
        open_data(_npz(tmp_path / "one.npz", [0] * 20), TrainRequest(), tmp_path / "one")
    rest = {"x_test": np.zeros((2, 9, 9, 3), np.uint8), "y_test": np.array([0, 1])}
    np.savez(tmp_path / "two.npz", x_train=np.zeros((5, 9, 9, 3), np.uint8), y_train=np.zeros(5, int), **rest)
    with pytest.raises(InputError, match="all training images are of one class"):
        open_data(str(tmp_path / "two.npz"), TrainRequest(), tmp_path / "two")


def test_noise_has_as_many_images_as_batches_take() -> None:
    request = TrainRequest(n_classes=7, image_size=8)
    data = open_data("synthetic", request, Path("unused"))
    assert (data.place, len(data.classes), data.image_size, data.scored) == ("synthetic", 7, 8, "validation")
    assert data.n_train > 10 * request.config.batch


# ---- what it would take


def test_batches_divide_by_processes_parts_and_pairs() -> None:
    config = TrainConfig(batch=120, accumulate=3, device=DeviceConfig(gpus=5), augment=AugmentConfig(mixup=0.2))
    check_batch(config, DATA, TrainRequest(config))
    odd = dataclasses.replace(config, batch=100)
    with pytest.raises(
        UsageError, match=r"100 does not divide by 30 \(5 processes x 3 parts x 2 for --mixup\)"
    ) as caught:
        check_batch(odd, DATA, TrainRequest(odd))
    assert caught.value.hint == "--batch 90 or --batch 120 does"
    few = dataclasses.replace(DATA, n_train=119)
    with pytest.raises(UsageError, match="more than the 119 training images"):
        check_batch(config, few, TrainRequest(config))


def test_steps_leave_out_the_last_short_batch() -> None:
    assert n_steps(TrainConfig(batch=128, epochs=4), DATA) == 4 * 7
    assert n_steps(TrainConfig(batch=128, epochs=4, max_steps=9), DATA) == 9
    assert n_steps(TrainConfig(), dataclasses.replace(DATA, n_train=0)) is None


# ---- where it goes


def test_runs_are_numbered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_run("vgg16", "a/photos.images.h5") == Path("vgg16-photos.train")
    Path("vgg16-photos.train").mkdir()
    assert default_run("vgg16", "a/photos.images.h5") == Path("vgg16-photos-2.train")
    assert default_run("vgg16", "b/cifar10.tar.xz") == Path("vgg16-cifar10.train")


def test_directory_without_settings_is_taken_away_again(tmp_path: Path) -> None:
    run = tmp_path / "deep" / "RUN"
    with held(run):
        (run / "data.images.h5").write_bytes(b"half")
        assert state_of(run) == State("nothing"), "its data alone makes no run"
    assert not run.exists()
    run.mkdir()
    (run / "dear.txt").touch()
    assert state_of(run) == State("other")


def test_run_that_is_replaced_comes_back_where_that_fails(tmp_path: Path) -> None:
    run = tmp_path / "RUN"
    run.mkdir()
    (run / "old").touch()
    with contextlib.suppress(KeyboardInterrupt), set_aside(run):
        run.mkdir()
        raise KeyboardInterrupt
    assert (run / "old").exists()
    with set_aside(run):
        run.mkdir()
    assert list(run.iterdir()) == []
    assert list(tmp_path.iterdir()) == [run]


def test_all_settings_but_those_of_the_device_have_to_be_the_same() -> None:
    request = TrainRequest(TrainConfig(epochs=3))
    other = dataclasses.replace(request.config, device=DeviceConfig(device="cpu", gpus=2, threads=3), save_every=1.0)
    check_same(Path("RUN"), request.asked(), dataclasses.replace(request, config=other, data="elsewhere"))
    for changed in (
        dataclasses.replace(request, batch=None),
        dataclasses.replace(request, weights="w.pt"),
        request.with_head("gap"),
        dataclasses.replace(request, config=dataclasses.replace(request.config, seed=1)),
        dataclasses.replace(request, config=dataclasses.replace(request.config, device=DeviceConfig(precision="fp32"))),
    ):
        with pytest.raises(UsageError, match="other settings"):
            check_same(Path("RUN"), request.asked(), changed)


@pytest.mark.parametrize(
    ("head", "name"),
    [("fc", "fc"), ("tcl:64,3,-,fc=30x20", "tcl-64-3-all-fc30x20"), ("trl:48,3,3", "trl-48-3-3"), ("cp:9", "cp-9")],
)
def test_heads_name_folders(head: str, name: str) -> None:
    assert folder_name(head) == name


# ---- how it is told


def _result(**changes: Any) -> dict[str, Any]:
    net = {"parameters": 1234567, "head_parameters": 350, "own_head": 1000}
    epochs = [
        {"epoch": i, "step": 10 * i, "train_loss": 1.0, "loss": 0.9, "top1": top1, "top5": 0.99}
        for i, top1 in enumerate((0.2, 0.75, 0.7), 1)
    ]
    return {
        "choice": None,
        "epochs_scored": epochs,
        "classes": list("abcdef"),
        "top1": 0.7,
        "top5": 0.99,
        "loss": 0.9,
        "best": epochs[1],
        "net": net,
        "steps": 30,
        "stopped": "done",
        "was": "trained",
        "seconds_all": 12.34,
        "images_per_second": 1234.5,
        "device": "cpu",
        **changes,
    }


def test_result_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    report.print_result(_result())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["epoch", "step", "train", "loss", "loss", "top-1", "top-5"]
    assert lines[2].split() == ["2", "20", "1.000", "0.900", "75.0%", "99.0%"]
    assert lines[-3:] == [
        "Top-1 accuracy 70.0%, top-5 99.0%, loss 0.900. The best epoch was 2: 75.0%.",
        "Parameters: 1,234,567, of the head 350, 65.0% fewer than the 1,000 of the fc head.",
        "30 steps, all epochs; 12.3 s, 1,234 images/s on cpu.",
    ]
    report.print_result(_result(epochs_scored=_result()["epochs_scored"] * 7, was="finished", top1=None))
    out = capsys.readouterr().out
    assert out.startswith("the last 10 of 21\n\n")
    assert "\nNo images were scored.\n" in out
    assert out.endswith("30 steps, all epochs; finished before.\n")


def test_choice_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    table = [
        {"head": "fc", "parameters": 1000, "share": 1.0, "loss": 0.5, "top1": 0.8},
        {"head": "trl:4,2,2", "parameters": 340, "share": 0.34, "loss": 0.6, "top1": 0.79},
    ]
    report.print_result(_result(choice={"head": "trl:4,2,2", "table": table}))
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["trl:4,2,2", "340", "34.0%", "0.600", "79.0%", "taken"]


@pytest.mark.parametrize(
    ("own", "here", "text"),
    [
        (10, 10, "10"),
        (10, 12, "12, 20.0% more than the 10 of the fc head"),
        (10, 25, "25, 2.5 times the 10 of the fc head"),
    ],
)
def test_larger_heads_are_told(own: int, here: int, text: str) -> None:
    assert report.head_text({"own_head": own, "head_parameters": here}) == text


def test_plots_of_one_head_and_of_several_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    one = [Point("tcl:3,-,$x$", 0.5, 0.5)]
    more = [Point("fc", 0.0, 0.8), Point("cp:3", 0.9, 0.79), Point("trl:3,3,3", 0.91, 0.79), Point("gap", -0.2, 0.1)]
    for name, points in (("one.png", one), ("more.png", more)):
        draw_rank_plot(tmp_path / name, points, title="x")
        assert (tmp_path / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_unseen_classes_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    values = {"x_train": np.zeros((9, 8, 8, 3), np.uint8), "y_train": np.array([0, 2, 2] * 3)}
    values |= {"x_test": np.ones((4, 8, 8, 3), np.uint8), "y_test": np.array([0, 1, 2, 1])}
    np.savez(tmp_path / "gap.npz", **values)
    with caplog.at_level(logging.WARNING, "tdtool"):
        assert open_data(str(tmp_path / "gap.npz"), TrainRequest(), tmp_path).classes == ("0", "1", "2")
    assert "1 of 3 classes have no training images: 1" in caplog.text
