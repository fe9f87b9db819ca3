"""Checkpoints are whole or not there; what is damaged, foreign or too large for the disk is said."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from tdtool.errors import InputError, ResourceError
from tdtool.train import checkpoint
from tdtool.train.checkpoint import Checkpoint, check_fits, folders, load, save


def sample(step: int) -> Checkpoint:
    """Tensors of several dtypes and layouts, all of them different for each step."""
    draw = torch.Generator().manual_seed(step)
    weight = torch.randn(5, 3, 2, 7, generator=draw).to(memory_format=torch.channels_last)
    return Checkpoint(
        step,
        model={"conv.weight": weight, "bn.num_batches_tracked": torch.tensor(step), "half": torch.ones(3).bfloat16()},
        optimiser={"conv.weight.momentum_buffer": torch.randn(5, 3, 2, 7, generator=draw)},
        average={"conv.weight": weight / 2},
        state={"losses": {"sum": 0.1 + step, "steps": 3}, "updater": {}},
    )


def assert_equal(one: Checkpoint | None, other: Checkpoint) -> None:
    assert one is not None
    assert (one.step, one.state) == (other.step, other.state)
    for mine, theirs in ((one.model, other.model), (one.optimiser, other.optimiser), (one.average, other.average)):
        assert mine is not None
        assert theirs is not None
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) and mine[name].dtype == theirs[name].dtype for name in mine)


def damage(path: Path) -> None:
    """One bit of a file, in its middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def test_what_is_saved_is_loaded_and_two_are_kept(tmp_path: Path) -> None:
    assert load(tmp_path) is None
    for step in (3, 20, 100):
        save(tmp_path, sample(step))
        assert_equal(load(tmp_path), sample(step))
    assert [folder.name for folder in folders(tmp_path)] == ["step-00000100", "step-00000020"]
    assert (tmp_path / "checkpoints" / "latest").read_text() == "step-00000100\n"
    assert not list((tmp_path / "checkpoints").glob(".*"))


def test_step_that_is_saved_again_after_a_resume_from_before_it(tmp_path: Path) -> None:
    for step in (10, 20, 15):  # 20 turned out damaged, say, and was left behind
        save(tmp_path, sample(step))
    assert_equal(load(tmp_path), sample(15))
    save(tmp_path, sample(20))
    assert_equal(load(tmp_path), sample(20))


@pytest.mark.parametrize("name", ["model.safetensors", "optimiser.safetensors", "average.safetensors", "state.json"])
@pytest.mark.parametrize("harm", ["cut", "bit", "gone", "empty"])
def test_damaged_checkpoint_is_passed_over_with_a_warning(
    name: str, harm: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, sample(7))
    folder = save(tmp_path, sample(9))
    path = folder / name
    if harm == "gone":
        path.unlink()
    elif harm == "bit":
        damage(path)
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 if harm == "cut" else 0])
    assert_equal(load(tmp_path), sample(7))
    assert "step-00000009" in caplog.text
    assert "step 7" in caplog.text


def test_no_whole_checkpoint_is_an_error_not_a_new_start(tmp_path: Path) -> None:
    for step in (1, 2):
        damage(save(tmp_path, sample(step)) / "model.safetensors")
    with pytest.raises(InputError, match=r"no checkpoint of the run is whole: model\.safetensors is damaged"):
        load(tmp_path)


def test_killed_while_saving(tmp_path: Path) -> None:
    """What lies about after a kill at any point of a save is passed over, and removed by the next one."""
    save(tmp_path, sample(4))
    place = tmp_path / "checkpoints"
    half = place / ".step-00000008.part"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    assert_equal(load(tmp_path), sample(4))
    shutil.copytree(place / "step-00000004", place / "step-00000006")  # renamed, and `latest` not yet
    assert_equal(load(tmp_path), sample(4))
    save(tmp_path, sample(8))
    assert_equal(load(tmp_path), sample(8))
    assert not half.exists()


@pytest.mark.parametrize(
    ("stage", "error"),
    [
        # What safetensors 0.8 says on a tmpfs that is full: its error has the system's words, not its number.
        ("save_file", SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")),
        ("write_text", OSError(errno.ENOSPC, "No space left on device")),
    ],
)
def test_full_disk_keeps_the_checkpoint_of_before(
    stage: str, error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, sample(1))

    def full(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, stage, full)
        with pytest.raises(ResourceError, match="the disk is full"):
            save(tmp_path, sample(2))
    assert_equal(load(tmp_path), sample(1))
    assert not list((tmp_path / "checkpoints").glob(".*"))


def test_names_outside_the_folder_are_refused(tmp_path: Path) -> None:
    folder = save(tmp_path, sample(5))
    values = json.loads((folder / "state.json").read_text())
    values["files"]["../model.safetensors"] = values["files"].pop("model.safetensors")
    (folder / "state.json").write_text(json.dumps(values))
    with pytest.raises(InputError, match="no checkpoint of the run is whole"):
        load(tmp_path)


def test_checkpoint_of_another_net_names_the_differences() -> None:
    saved = {"a": torch.ones(2, 3), "b": torch.ones(4), "d": torch.ones(1)}
    check_fits(saved, {name: tensor * 2 for name, tensor in saved.items()}, Path("x"))
    with pytest.raises(InputError) as caught:
        check_fits(saved, {"a": torch.ones(3, 2), "b": torch.ones(4), "c": torch.ones(1)}, Path("x"))
    assert "a is (2, 3), the net has (3, 2)" in caught.value.what
    assert "c is missing, the net has (1,)" in caught.value.what
    assert "and 1 more" in caught.value.what
