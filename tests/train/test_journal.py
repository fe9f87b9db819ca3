"""The journal survives anything, and what counts of it becomes the arrays of run.h5."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from tdtool.errors import InputError
from tdtool.store import hdf5
from tdtool.store.verify import verify
from tdtool.train.fold import fold
from tdtool.train.journal import Journal, in_force, of_kind, read_journal
from tdtool.train.outcome import outcome_of
from tdtool.train.run_folder import RunSettings, config_from_json, read_settings, write_settings
from tests.train.small_runs import CLASSES, small_config


def write(run: Path, *records: tuple[str, dict[str, object]]) -> None:
    journal = Journal(run)
    for kind, values in records:
        journal.append(kind, **values)
    journal.close()


def test_records_come_back_and_are_added_to(tmp_path: Path) -> None:
    assert read_journal(tmp_path) == []
    write(tmp_path, ("step", {"step": 1, "loss": 0.1 + 0.2}), ("note", {"message": "Zürich \ud800\n"}))
    write(tmp_path, ("step", {"step": 2, "loss": math.nan}))
    first, note, second = read_journal(tmp_path)
    assert first["loss"] == 0.1 + 0.2
    assert note["message"] == "Zürich \ud800\n"
    assert second["loss"] is None
    lines = (tmp_path / "journal.jsonl").read_text().splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["step", "note", "step"]


@pytest.mark.parametrize("cut", [1, 2, 9, 30])
def test_half_a_line_costs_that_line_only(cut: int, tmp_path: Path) -> None:
    write(tmp_path, ("step", {"step": 1}), ("step", {"step": 2}))
    path = tmp_path / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    whole = [1] if cut > 1 else [1, 2]  # of the last line only the newline is gone
    assert [record["step"] for record in read_journal(tmp_path)] == whole
    write(tmp_path, ("step", {"step": 3}))
    assert [record["step"] for record in read_journal(tmp_path)] == [*whole, 3]


def test_what_lies_after_the_step_of_a_resume_is_void() -> None:
    records = [
        {"kind": "step", "step": 10},
        {"kind": "evaluation", "step": 10},
        {"kind": "step", "step": 20},
        {"kind": "end", "step": 20},
        {"kind": "resume", "step": 10},
        {"kind": "step", "step": 15},
        {"kind": "note"},
        {"kind": "resume", "step": 12},
        {"kind": "step", "step": 30},
    ]
    counted = in_force(records)
    assert [record["step"] for record in of_kind(counted, "step")] == [10, 30]
    assert len(of_kind(counted, "evaluation")) == 1
    assert of_kind(counted, "end") == []


def test_fold_is_the_journal_as_arrays(tmp_path: Path) -> None:
    settings = RunSettings(small_config(), "images.h5", "abc", CLASSES)
    values = {"learning_rate": 0.5, "gradient_norm": math.nan, "rate": 7.0}
    write(
        tmp_path,
        ("step", {"step": 3, "loss": 1.5, **values}),
        ("evaluation", {"epoch": 1, "step": 3, "train_loss": 1.5, "loss": 1.25, "top1": 0.5, "top5": 1.0}),
        ("step", {"step": 6, "loss": 1.0, **values}),
        ("resume", {"step": 3}),
        ("step", {"step": 5, "loss": 0.75, **values}),
        ("skipped", {"image": 17, "reason": "cut short"}),
    )
    factors = {f"head/factor{mode}": np.ones((size, 2), np.float32) for mode, size in enumerate((4, 3, 5))}
    for _ in range(2):  # the second one replaces the first
        fold(tmp_path, read_journal(tmp_path), settings, factors=factors)
    assert not verify(tmp_path / "run.h5")
    with hdf5.open(tmp_path / "run.h5") as result:
        assert list(result.get("steps/step")) == [3, 5]
        assert list(result.get("steps/loss")) == [1.5, 0.75]
        assert np.isnan(result.get("steps/gradient_norm")).all()
        assert list(result.get("epochs/top1")) == [0.5]
        assert list(result.get("classes/name")) == list(CLASSES)
        assert result.get("head/factor2").shape == (5, 2)
        assert result.attributes["config"]["net"]["model"] == "vgg11_bn"
        assert result.attributes["ledger"]["skips"]["cut short"] == {"count": 1, "examples": ["17"]}


def test_run_without_a_record_can_be_folded(tmp_path: Path) -> None:
    fold(tmp_path, [], RunSettings(small_config(), "synthetic", "", CLASSES))
    with hdf5.open(tmp_path / "run.h5") as result:
        assert result.get("steps/loss").shape == (0,)


def test_outcome_is_that_of_the_last_end(tmp_path: Path) -> None:
    end = {"steps": 4, "epochs": 1, "top1": math.nan, "top5": 1.0, "loss": 2.0, "images_per_second": 9.0}
    write(tmp_path, ("end", {"step": 4, **end, "seconds": 1.0, "stopped": "interrupted"}))
    outcome = outcome_of(tmp_path)
    assert outcome is not None
    assert math.isnan(outcome.top1)
    assert (outcome.steps, outcome.stopped, outcome.finished) == (4, "interrupted", False)
    assert outcome.as_dict()["top1"] is None
    write(tmp_path, ("resume", {"step": 4}))
    assert outcome_of(tmp_path) is None


def test_settings_come_back(tmp_path: Path) -> None:
    settings = RunSettings(small_config(epochs=7), "a b.h5", "12", ("x", "ü"), (8, 2, 3), asked={"batch": None})
    write_settings(tmp_path, settings)
    assert read_settings(tmp_path) == settings


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2}', '{"format": 1}', '{"format": 1, "config": {"a": 1}}'])
def test_settings_that_are_none(text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        read_settings(tmp_path)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError):
        read_settings(tmp_path)


def test_settings_that_are_missing_have_their_defaults() -> None:
    from tdtool.config import NetConfig

    assert config_from_json(NetConfig, {"width": 8}) == NetConfig(width=8)
    with pytest.raises(ValueError, match="unknown setting colour"):
        config_from_json(NetConfig, {"colour": 8})
