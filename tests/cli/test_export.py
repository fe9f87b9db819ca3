"""`tdtool export`, and `tdtool evaluate` of nets: what a person reads, and how it ends."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train: pip install 'tdtool[train]'")

from tdtool.train.worker import work  # noqa: E402
from tests.cli.conftest import Run  # noqa: E402
from tests.store.samples import write_topics  # noqa: E402
from tests.train.small_runs import small_config, small_run  # noqa: E402


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps."""
    torch.set_num_threads(1)
    place = small_run(tmp_path_factory.mktemp("cli") / "small.train", small_config(max_steps=4))
    work(place)
    return place


@pytest.fixture
def here(run: Run, trained: Path) -> Run:
    """The command line in a folder with small.train."""
    shutil.copytree(trained, "small.train")
    return run


def test_export_says_what_it_wrote_and_the_path_last(here: Run) -> None:
    ran = here("export", "small.train", "--format", "safetensors")
    assert (ran.code, ran.err) == (0, "")
    first, *_, checked, last = ran.out.splitlines()
    assert first.startswith("vgg11_bn with head fc, weights of step 4, 13,747 parameters, ")
    assert re.fullmatch(r"Checked with 1, 2 and 5 images: largest difference \d\.\de[+-]\d\d of .*\.", checked)
    assert last == "small.safetensors"
    plain = json.loads(here("export", "small.train", "-o", "other.safetensors", "--json").out)
    assert (plain["path"], plain["n_classes"], plain["checked_with"]) == ("other.safetensors", 3, [1, 2, 5])


def test_evaluate_prints_the_same_of_a_run_and_of_its_export(here: Run) -> None:
    here("export", "small.train", "--format", "safetensors")
    runs = [
        here("evaluate", *arguments, "--workers", "1")
        for arguments in (
            ["small.train"],
            ["small.train", "--data", "small.train/data.images.h5", "--split", "test"],
            ["small.safetensors", "small.train/data.images.h5", "--batch", "5"],
        )
    ]
    assert [(ran.code, ran.err) for ran in runs] == [(0, "")] * 3
    tables = [re.sub(r"^images/s.*$|^vgg11_bn .*$", "", ran.out, flags=re.MULTILINE).split() for ran in runs]
    assert tables[0] == tables[1] == tables[2]
    assert "top-1" in tables[0]
    assert "on 23 test images of small.train/data.images.h5." in runs[2].out
    plain = json.loads(here("evaluate", "small.train", "--json").out)
    assert sum(map(sum, plain["confusion"])) == plain["n_images"] == 23
    assert f"{plain['top1']:.2%} ± " in runs[0].out


WRONG: dict[str, tuple[list[str], int, str]] = {
    "an exported net without images": (["evaluate", "x.pt2"], 3, "x.pt2: there is no such file"),
    "images named twice": (["evaluate", "small.train", "a", "--data", "b"], 2, "images are named twice"),
    "a truth": (["evaluate", "small.train", "--truth", "t"], 2, "--truth is for communities"),
    "an option of a corpus": (["evaluate", "small.train", "--column", "a"], 2, "--column is for a CORPUS"),
    "an option of a net": (["evaluate", "t.h5", "corpus", "--split", "test"], 2, "--split is for a net"),
    "no such images": (["evaluate", "small.train", "nothing"], 3, "nothing: there is no such"),
    "no such part": (["evaluate", "small.train", "--split", "validation"], 3, "there are no validation images"),
    "the record of a training": (
        ["evaluate", "small.train/run.h5"],
        2,
        "name the directory: tdtool evaluate small.tra",
    ),
    "no run": (["export", "."], 3, "is not the directory of a training run"),
    "no directory": (["export", "nothing"], 3, "nothing: is not the directory of a training run"),
    "a format there is none of": (["export", "small.train", "--format", "h5"], 2, "'h5'"),
    "two formats": (["export", "small.train", "--format", "pt2", "-o", "a.onnx"], 2, "does not fit its suffix"),
    "a directory that is not there": (["export", "small.train", "-o", "x/a.pt2"], 2, "there is no directory x"),
    "a file that is there": (["export", "small.train", "-o", "there.pt2"], 2, "the output exists already"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(here: Run, case: str) -> None:
    arguments, code, message = WRONG[case]
    write_topics(Path("t.h5"))
    Path("there.pt2").write_bytes(b"mine")
    ran = here(*arguments)
    assert (ran.code, ran.out) == (code, "")
    assert message in ran.err
    assert "bug" not in ran.err
    assert Path("there.pt2").read_bytes() == b"mine"


def test_of_six_classes_the_first_five_guesses_count(capsys: pytest.CaptureFixture[str]) -> None:
    from tdtool.report import nets

    scores = {"top1": 0.5, "top1_error": 0.01, "top5": 0.875, "loss": 1.25, "calibration_error": 0.1}
    scores = {**scores, "images_per_second": 1234.5, "device": "cpu", "precision": "fp32"}
    nets.print_scores({**scores, "classes": [{}] * 6})
    assert re.search(r"^top-5 +87\.50%  ", capsys.readouterr().out, re.MULTILINE)
    nets.print_scores({**scores, "classes": [{}] * 5})
    assert "top-5" not in capsys.readouterr().out


def test_without_torch_the_extra_is_named(here: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "torch" else find(name, *more))
    for command in ("evaluate", "export"):
        ran = here(command, "small.train")
        assert (ran.code, ran.out) == (1, "")
        assert "pip install 'tdtool[train]'" in ran.err
