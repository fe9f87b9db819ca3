"""Heads that are chosen, and heads that start from another run's."""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from tdtool.config import TrainConfig
from tdtool.errors import InputError, TerminatedError
from tdtool.nn.head_spec import HeadSpec, head_parameters, parse_head
from tdtool.nn.models import build
from tdtool.train import head_start
from tdtool.train.head_choice import Examples, choose_head, score
from tdtool.train.head_start import Trainer, features, start_from_run, trainer_of
from tdtool.train.interruption import Interruption
from tdtool.train.journal import of_kind, read_journal
from tdtool.train.run_folder import read_settings, write_settings
from tdtool.train.stored_net import net_of_run
from tdtool.train.worker import work
from tdtool.train.world import World
from tests.train.small_runs import CLASSES, small_config, small_run

WORLD = World(0, 1, 0, torch.device("cpu"))


def with_head(head: str, **changes: object) -> TrainConfig:
    config = small_config(**changes)
    return dataclasses.replace(config, net=dataclasses.replace(config.net, head=head))


def examples(n: int, seed: int) -> Examples:
    """Two of three classes differ only in where, along the columns, channel 0 is strong."""
    generator = torch.Generator().manual_seed(seed)
    y_B = torch.randint(0, 3, (n,), generator=generator)
    a_BCHW = torch.randn(n, 5, 3, 4, generator=generator)
    a_BCHW[y_B == 0, 0, :, :2] += 2
    a_BCHW[y_B == 1, 0, :, 2:] += 2
    a_BCHW[y_B == 2, 1] += 2
    return Examples(a_BCHW, y_B)


def trained_layers(fit: Examples) -> list[tuple[torch.Tensor, torch.Tensor]]:
    layer = torch.nn.Linear(60, 3)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.03)
    for _ in range(60):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(layer(fit.a_BCHW.flatten(1)), fit.y_B).backward()
        optimiser.step()
    return [(layer.weight.detach().reshape(3, 5, 3, 4), layer.bias.detach())]


def test_the_head_that_sees_what_matters_is_chosen() -> None:
    torch.manual_seed(0)
    fit, held = examples(600, 1), examples(400, 2)
    specs = [parse_head(word) for word in ("trl:5,3,1", "trl:2,1,2", "trl:1,3,4", "trl:2,1,1")]
    choice = choose_head(specs, trained_layers(fit), fit, held, hidden=(60,), seed=5)
    assert choice.head == "trl:2,1,2"
    assert [trial.head for trial in choice.trials[:2]] == ["fc", "trl:2,1,2"]
    assert {trial.head for trial in choice.trials[1:]} == {str(spec) for spec in specs}
    losses = [trial.loss for trial in choice.trials[1:]]
    assert losses == sorted(losses)
    by_head = {trial.head: trial for trial in choice.trials}
    assert by_head["trl:2,1,1"].top1 < by_head["trl:2,1,2"].top1 - 0.1
    parameters = head_parameters(specs[1], (5, 3, 4), 3, (60,))
    assert by_head["trl:2,1,2"].parameters == parameters
    assert by_head["trl:2,1,2"].share == parameters / head_parameters(HeadSpec("fc"), (5, 3, 4), 3, (60,))
    assert choice.table()[1]["head"] == "trl:2,1,2"
    torch.manual_seed(0)
    layers = trained_layers(fit)
    torch.manual_seed(99)
    assert choose_head(specs[1:2], layers, fit, held, hidden=(60,), seed=5).trials[1].loss == losses[0]


def test_a_score_that_is_no_number_is_the_worst() -> None:
    held = examples(30, 2)
    head = torch.nn.Sequential(torch.nn.Flatten(1), torch.nn.Linear(60, 3))
    loss, share = score(head, held)
    logits = head(held.a_BCHW)
    assert loss == pytest.approx(float(torch.nn.functional.cross_entropy(logits.detach(), held.y_B)), rel=1e-5)
    assert share == pytest.approx(float((logits.argmax(1) == held.y_B).float().mean()))
    head[1].bias.data[0] = float("nan")
    assert score(head, held)[0] == float("inf")


def test_a_run_settles_its_head_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []
    plain = head_start.Batches

    def spied(images: object, indices: np.ndarray, *arguments: object, **others: object) -> object:
        seen.append(np.asarray(indices))
        return plain(images, indices, *arguments, **others)

    monkeypatch.setattr(head_start, "Batches", spied)
    run = small_run(tmp_path / "run", with_head("auto:0.35", epochs=1))
    work(run)
    settings = read_settings(run)
    spec = parse_head(settings.config.net.head)
    own = build(dataclasses.replace(settings.config.net, head="fc"), device="meta")
    assert spec.kind in ("tcl", "trl")
    assert head_parameters(spec, own.feature_shape, 3, own.hidden) <= 0.35 * own.head_parameters()
    (record,) = of_kind(read_journal(run), "head")
    assert record["head"] == str(spec) == record["table"][1]["head"]
    assert record["table"][0]["head"] == "fc"
    # Scored images had no say, and those that decided were not those that were learned from.
    trained, fitted, held = seen
    assert np.array_equal(np.sort(np.concatenate([trained, held])), np.arange(131))
    assert set(fitted) <= set(trained)
    monkeypatch.setattr(head_start, "settled_head", None)  # a run that goes on does not choose again
    work(run)
    net, _ = net_of_run(run)
    assert net.config.head == str(spec)


def test_a_choice_may_be_interrupted(tmp_path: Path) -> None:
    arrived = Interruption()
    arrived.number = signal.SIGTERM
    run = small_run(tmp_path / "run", with_head("auto:0.35"))
    settings = read_settings(run)
    with pytest.raises(TerminatedError):
        head_start.settle(run, settings, WORLD, arrived)
    assert read_settings(run).config.net.head == "auto:0.35"


def test_a_head_starts_from_another_run(tmp_path: Path) -> None:
    teacher = small_run(tmp_path / "teacher", small_config(epochs=3))
    work(teacher)
    trained, _ = net_of_run(teacher)
    run = small_run(tmp_path / "run", with_head("trl:6,3,3", epochs=1))
    settings = read_settings(run)
    net = build(settings.config.net, seed=8)
    trainer = trainer_of(run, settings, WORLD)
    start_from_run(net, teacher, trainer, CLASSES, WORLD, Interruption())
    for name, value in net.state_dict().items():
        assert name.startswith("head.") or torch.equal(value, trained.state_dict()[name])
    seen = features(net, trainer)
    with torch.no_grad():
        wanted, found = trained.forward_head(seen.a_BCHW), net.eval().forward_head(seen.a_BCHW)
    torch.testing.assert_close(features(trained, trainer).a_BCHW, seen.a_BCHW)
    assert float((wanted - found).norm() / (wanted - wanted.mean(0)).norm()) < 0.5
    write_settings(run, dataclasses.replace(settings, head_from=str(teacher)))
    outcome = work(run)
    assert outcome.stopped == "done"


def test_runs_that_do_not_fit_are_named(tmp_path: Path) -> None:
    teacher = small_run(tmp_path / "teacher", with_head("trl:2,2,2", epochs=1))
    work(teacher)
    trainer = trainer_of(teacher, read_settings(teacher), WORLD)
    net = build(trainer.config.net)
    wider = dataclasses.replace(trainer.config, net=dataclasses.replace(trainer.config.net, width=3))
    for config, classes, says in (
        (trainer.config, CLASSES, "the head of that run is trl:2,2,2, not fc"),
        (trainer.config, ("cat", "dog", "cow"), "other classes"),
        (wider, CLASSES, "width of that run is 2, not 3"),
    ):
        with pytest.raises(InputError, match=says):
            start_from_run(net, teacher, dataclasses.replace(trainer, config=config), classes, WORLD, Interruption())


def test_too_few_images_to_choose_by(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", with_head("auto:0.35"))
    trainer = trainer_of(run, read_settings(run), WORLD)
    one = Trainer(trainer.config, trainer.images, trainer.indices[:1], trainer.device, trainer.dtype)
    with pytest.raises(InputError, match="too few"):
        head_start.settled_head(one, head_from=None, classes=CLASSES)
