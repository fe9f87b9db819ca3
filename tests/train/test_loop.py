"""What the loop does between its first and its last step."""

from __future__ import annotations

import dataclasses
import math
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from tdtool.config import AugmentConfig, DeviceConfig, OptimiserConfig, TrainConfig
from tdtool.data.image_store import open_images
from tdtool.errors import InputError, TdtoolError, TerminatedError
from tdtool.nn.models import build
from tdtool.store import hdf5
from tdtool.train import agenda, checkpoint, loop
from tdtool.train.agenda import Agenda, Duty
from tdtool.train.batches import Batches
from tdtool.train.interruption import Interruption
from tdtool.train.journal import in_force, of_kind, read_journal
from tdtool.train.outcome import outcome_of
from tdtool.train.parts import divide
from tdtool.train.precision import compute_dtype, precision_name
from tdtool.train.run_folder import OWN_DATA, read_settings, write_settings
from tdtool.train.scoring import evaluate
from tdtool.train.worker import work
from tdtool.train.world import World
from tests.train.small_runs import small_config, small_run

GOLDEN = Path(__file__).parents[1] / "golden" / "loss_curve.txt"
CPU = torch.device("cpu")


def plain_config(**changes: object) -> TrainConfig:
    """No draws and no batch statistics: a function of the images and the seed alone."""
    net = dataclasses.replace(small_config().net, model="vgg11", dropout=0.0)
    return small_config(net=net, augment=AugmentConfig(crop=False, flip=False), **changes)


def evaluations(run: Path) -> list[dict[str, float]]:
    return of_kind(in_force(read_journal(run)), "evaluation")


def test_golden_loss_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """30 steps of a narrow net. Other processors and libraries sum in another order: 1 % is left for them."""
    monkeypatch.setattr(agenda, "RECORD_STEPS", 1)
    net = dataclasses.replace(small_config().net, width=8, head="gap")
    config = small_config(net=net, epochs=6, optimiser=OptimiserConfig(learning_rate=0.01, label_smoothing=0.1))
    run = small_run(tmp_path / "run", config)
    work(run)
    with hdf5.open(run / "run.h5") as result:
        losses = result.get("steps/loss")
    golden = np.loadtxt(GOLDEN)
    assert losses.shape == golden.shape == (30,)
    assert losses == pytest.approx(golden, rel=0.01)
    assert losses[-5:].mean() < 0.75 * losses[:5].mean()


def test_parts_of_a_batch_add_up_to_the_batch(tmp_path: Path) -> None:
    curves = []
    for name, accumulate in (("whole", 1), ("parts", 13)):
        run = small_run(tmp_path / name, plain_config(accumulate=accumulate))
        work(run)
        curves.append([(e["train_loss"], e["loss"]) for e in evaluations(run)])
    assert curves[0] == [pytest.approx(pair, rel=1e-5) for pair in curves[1]]


def test_training_learns_and_ends_where_it_should(tmp_path: Path) -> None:
    net = dataclasses.replace(small_config().net, width=8, head="gap")
    run = small_run(tmp_path / "run", small_config(net=net, epochs=50, max_steps=22))
    outcome = work(run)
    assert (outcome.steps, outcome.epochs, outcome.stopped) == (22, 4, "max_steps")
    assert outcome.top1 > 0.9
    assert [(e["epoch"], e["step"]) for e in evaluations(run)] == [(1, 5), (2, 10), (3, 15), (4, 20), (5, 22)]
    assert outcome_of(run) == outcome


def test_scores_are_those_of_the_averaged_weights(tmp_path: Path) -> None:
    net = dataclasses.replace(small_config().net, width=8, head="gap")
    config = small_config(net=net, optimiser=OptimiserConfig(learning_rate=0.05, ema=0.5), epochs=1)
    run = small_run(tmp_path / "run", config)
    outcome, saved, images = work(run), checkpoint.load(run), open_images(run / OWN_DATA)
    assert saved is not None
    assert saved.average is not None
    batches = Batches(images, divide(images, holdout=0.1, seed=3).scored, config, training=False)
    losses = []
    for weights in (saved.average, saved.model):
        model = build(config.net)
        model.load_state_dict({name: weights[name] for name in model.state_dict()})
        losses.append(evaluate(model, batches, device=CPU, dtype=torch.float32, n_classes=3).loss)
    assert outcome.loss == pytest.approx(losses[0], rel=1e-6)
    assert abs(losses[0] - losses[1]) > 1e-4


def test_factors_of_the_head_are_in_the_result(tmp_path: Path) -> None:
    net = dataclasses.replace(small_config().net, head="trl:8,2,3,2")
    run = small_run(tmp_path / "run", small_config(net=net, epochs=1))
    work(run)
    saved = checkpoint.load(run)
    assert saved is not None
    trained = {name: tensor.numpy() for name, tensor in saved.model.items() if name.startswith("head.")}
    with hdf5.open(run / "run.h5") as result:
        assert result.get("head/factor0").shape == (16, 8)
        for mode, name in enumerate(("factor0", "factor1", "factor2", "factor_out")):
            assert np.array_equal(result.get(f"head/factor{mode}"), trained[f"head.{name}"])
        assert np.array_equal(result.get("head/core"), trained["head.core"])
        assert np.array_equal(result.get("head/bias"), trained["head.bias"])


def test_weights_of_another_run_are_taken_to_start_from(tmp_path: Path) -> None:
    first = small_run(tmp_path / "first", plain_config(epochs=1))
    work(first)
    saved = checkpoint.load(first)
    assert saved is not None
    still = plain_config(epochs=1, optimiser=OptimiserConfig(learning_rate=0.0))
    second = small_run(tmp_path / "second", still)
    weights = first / "checkpoints" / "step-00000005" / "model.safetensors"
    write_settings(second, dataclasses.replace(read_settings(second), weights=str(weights)))
    work(second)
    kept = checkpoint.load(second)
    assert kept is not None
    assert all(torch.equal(kept.model[name], saved.model[name]) for name in saved.model)


def test_noise_needs_no_data(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", small_config(max_steps=3))
    write_settings(run, dataclasses.replace(read_settings(run), data="synthetic", data_digest=""))
    assert work(run).steps == 3


def test_divergence_says_what_to_do_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", plain_config(epochs=3, max_steps=5))
    work(run)
    wild = plain_config(epochs=3, optimiser=OptimiserConfig(learning_rate=1e20))
    write_settings(run, dataclasses.replace(read_settings(run), config=wild))
    with pytest.raises(TdtoolError, match="diverged") as caught:
        work_again(run)
    assert "the checkpoint of step 5 is kept" in caught.value.what
    assert "--lr" in str(caught.value.hint)
    saved, outcome = checkpoint.load(run), outcome_of(run)
    assert saved is not None
    assert outcome is not None
    assert saved.step == 5
    assert outcome.stopped == "diverged"
    with hdf5.open(run / "run.h5") as result:
        assert math.isnan(result.get("steps/loss")[-1])


def work_again(run: Path) -> None:
    """As if the run had been killed at its end: nothing says that it is done."""
    lines = (run / "journal.jsonl").read_text().splitlines(keepends=True)
    (run / "journal.jsonl").write_text("".join(line for line in lines if '"end"' not in line))
    work(run)


def test_checkpoint_of_another_net(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", plain_config(max_steps=1))
    work(run)
    other = dataclasses.replace(plain_config(), net=dataclasses.replace(plain_config().net, width=3))
    write_settings(run, dataclasses.replace(read_settings(run), config=other))
    with pytest.raises(InputError, match="checkpoint of another net") as caught:
        work_again(run)
    assert "features.0.weight is (2, 3, 3, 3), the net has (3, 3, 3, 3)" in caught.value.what


def test_images_that_were_exchanged(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run")
    write_settings(run, dataclasses.replace(read_settings(run), data_digest="other"))
    with pytest.raises(InputError, match="not what the run was started with"):
        work(run)


def test_no_image_to_score(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", plain_config(holdout=0.0, epochs=1), n_test=0)
    outcome = work(run)
    assert math.isnan(outcome.top1)
    assert len(evaluations(run)) == 1


def test_signal_while_scoring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores are given up, and made after the resume: the checkpoint is of before them."""
    run = small_run(tmp_path / "run", plain_config())

    def signalled(*arguments: object, **options: object) -> object:
        os.kill(os.getpid(), signal.SIGTERM)
        return evaluate(*arguments, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(loop, "evaluate", signalled)
        with pytest.raises(TerminatedError):
            work(run)
    saved = checkpoint.load(run)
    assert saved is not None
    assert saved.step == 5
    assert evaluations(run) == []
    work(run)
    assert [e["step"] for e in evaluations(run)] == [5, 10]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_and_goes_on(precision: str, tmp_path: Path) -> None:
    device = DeviceConfig(device="cpu", precision=precision, threads=1)  # type: ignore[arg-type]
    run = small_run(tmp_path / "run", plain_config(device=device))
    outcome = work(run)
    assert math.isfinite(outcome.loss)
    saved = checkpoint.load(run)
    assert saved is not None
    assert all(tensor.dtype == torch.float32 for tensor in saved.model.values())
    assert ("scale" in saved.state["updater"]) == (precision == "fp16")


def test_precision_is_what_was_asked_for() -> None:
    assert [precision_name(compute_dtype(name, CPU)) for name in ("fp32", "bf16", "fp16")] == ["fp32", "bf16", "fp16"]
    assert compute_dtype("auto", CPU) in (torch.float32, torch.bfloat16)


class TwoProcesses(World):
    """A world in which the other process says what `others` has, one item for each time they talk."""

    others: tuple[list[int], ...] = ()

    def summed(self, tensor: torch.Tensor) -> torch.Tensor:
        talks = self.__dict__.setdefault("talks", [])
        talks.append(tensor.tolist())
        other = self.others[len(talks) - 1] if len(talks) <= len(self.others) else [0] * len(tensor)
        return tensor + torch.tensor(other)


def test_all_processes_stop_at_the_signal_of_any() -> None:
    world = TwoProcesses(0, 2, 0, CPU)
    # Talks: what to do, who has a signal (SIGTERM, SIGINT, SIGUSR1); the other one gets SIGINT before the second time.
    object.__setattr__(world, "others", ([0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 1, 0]))
    duties = []
    plan = Agenda(world, Interruption(), save_seconds=1e9)
    while not duties or not duties[-1].signal:
        duties.append(plan.after_step())
        assert len(duties) < 10
    assert duties[-1] == Duty(record=True, save=True, signal=signal.SIGINT)
    assert all(duty == Duty() for duty in duties[:-1])


def test_other_ranks_do_as_rank_0_says() -> None:
    world = TwoProcesses(1, 2, 1, CPU)
    object.__setattr__(world, "others", ([1, 0, 3],))
    plan = Agenda(world, Interruption(), save_seconds=0.0)
    assert plan.after_step() == Duty(record=True)
    assert [plan.after_step() for _ in range(2)] == [Duty(), Duty()]
    assert len(world.__dict__["talks"]) == 2  # of the first step; the next talk is three steps later
    plan.after_step()
    assert len(world.__dict__["talks"]) == 4


def test_second_signal_ends_at_once_and_an_echo_does_not() -> None:
    child = os.fork()
    if child == 0:
        with Interruption() as interruption:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
            if interruption.number != signal.SIGTERM:
                os._exit(1)
            interruption._at -= 10
            os.kill(os.getpid(), signal.SIGINT)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 143
