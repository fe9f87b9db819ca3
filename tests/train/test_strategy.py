"""Two and four processes learn what one does: DDP, FSDP2, their checkpoints, and gradients that are sent smaller."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tdtool.train.strategy import clip_gradients, full_state, load_full_state, plain, scoring
from tests.train import several
from tests.train.several import CLIP, OPTIMISERS, STEPS, SmallNet, Trained, go_on, in_processes, on_cpu, parts

SEVERAL = [(strategy, size) for strategy in ("ddp", "fsdp") for size in (2, 4)]
#: Strategy, processes, optimiser.
TRAINED = [(strategy, size, name) for strategy, size in SEVERAL for name in OPTIMISERS[size]]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which 1, 2 and 4 processes have left what they learned."""
    folder = tmp_path_factory.mktemp("several")
    torch.set_num_threads(1)
    for size, jobs in {1: (), 2: (several.talk, several.compressed, several.score), 4: (several.score,)}.items():
        in_processes(size, [several.learn, *jobs], folder)
    return folder


def results(done: Path, name: str) -> dict[str, Any]:
    """What rank 0 kept."""
    kept: dict[str, Any] = torch.load(done / name, weights_only=True)
    return kept


def apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The largest difference; both must have the same names."""
    assert one.keys() == other.keys()
    assert one
    return max(float((value - other[name]).abs().max()) for name, value in one.items())


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether all is equal to the last bit."""
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize(("strategy", "size"), SEVERAL)
def test_gradients_are_those_of_one_process_at_the_same_batch(strategy: str, size: int, done: Path) -> None:
    alone, together = results(done, "ddp-1"), results(done, f"{strategy}-{size}")
    largest = max(float(value.abs().max()) for value in alone["gradients"].values())
    assert largest > 0.05
    assert apart(alone["gradients"], together["gradients"]) < 1e-6
    assert apart(alone["clipped"], together["clipped"]) < 1e-6


@pytest.mark.parametrize(("strategy", "size"), [("ddp", 1), *SEVERAL])
def test_norm_is_that_of_the_whole_gradient(strategy: str, size: int, done: Path) -> None:
    found = results(done, f"{strategy}-{size}")
    norm = math.sqrt(sum(float((value.double() ** 2).sum()) for value in found["gradients"].values()))
    clipped = math.sqrt(sum(float((value.double() ** 2).sum()) for value in found["clipped"].values()))
    assert norm > 2 * CLIP
    assert float(found["norm"][""]) == float(found["norm"]["clipped to"]) == pytest.approx(norm, rel=1e-5)
    assert clipped == pytest.approx(CLIP, rel=1e-4)


@pytest.mark.parametrize(("strategy", "size", "optimiser"), TRAINED)
def test_weights_after_some_steps(strategy: str, size: int, optimiser: str, done: Path) -> None:
    start = dict(SmallNet().state_dict())
    alone, together = results(done, "ddp-1")[optimiser], results(done, f"{strategy}-{size}")[optimiser]
    assert apart(alone, together) < 1e-5
    assert any(float((alone[name] - start[name]).abs().max()) > 1e-3 for name in start)
    assert all(value.is_contiguous() and type(value) is Tensor for value in together.values())


@pytest.mark.parametrize(("strategy", "size", "optimiser"), [("ddp", 1, "sgd"), ("ddp", 1, "adamw"), *TRAINED])
def test_run_with_a_pause_ends_as_one_without_to_the_bit(strategy: str, size: int, optimiser: str, done: Path) -> None:
    found = results(done, f"{strategy}-{size}")
    assert same(found[optimiser], found[f"{optimiser} resumed"])


@pytest.mark.parametrize(("strategy", "size", "optimiser"), TRAINED)
def test_one_process_goes_on_where_several_stopped(strategy: str, size: int, optimiser: str, done: Path) -> None:
    with several.open_world(on_cpu(_Alone)) as world:
        end = go_on(world, on_cpu(world), optimiser, done / f"half-{optimiser}-{strategy}-{size}")
    assert apart(end, results(done, "ddp-1")[optimiser]) < 1e-5


class _Alone:
    world_size = 1


def test_compressed_gradients_lead_nearly_there(done: Path) -> None:
    model = {name: value for name, value in results(done, "ddp-1")["sgd"].items() if not name.startswith("optim")}
    found = results(done, "compressed-2")
    distances = {how: apart(model, weights) for how, weights in found.items()}
    # fp16 has 3 bits more than bf16; two steps of PowerSGD of rank 1 leave most of a gradient for later.
    assert 0 < distances["fp16"] < 1e-4
    assert distances["fp16"] < distances["bf16"] < 1e-3
    assert distances["bf16"] < distances["powersgd"] < 0.02


@pytest.mark.parametrize(("strategy", "size"), SEVERAL)
def test_every_process_scores_as_many_batches_as_it_has_by_rank_0s_statistics(
    strategy: str, size: int, done: Path
) -> None:
    found = results(done, f"scored-{strategy}-{size}")
    assert float(found["facts"]["apart"]) < 1e-6
    assert bool(found["facts"]["differed"])  # each process has seen images of its own
    assert all(torch.isfinite(value).all() for value in found["after"].values())


def test_all_have_talked(done: Path) -> None:
    assert len(list(done.glob("talked-*"))) == 2


def test_state_that_does_not_fit_is_named_and_changes_nothing() -> None:
    with several.open_world(on_cpu(_Alone)) as world:
        trained = Trained(world, on_cpu(world)).train(0, 1)
    model, kept = full_state(*parts(trained))
    before = {name: value.clone() for name, value in model.items()}
    for name, wrong_model, wrong_kept in [
        ("head.bias", {n: v for n, v in model.items() if n != "head.bias"}, kept),
        ("extra", {**model, "extra": torch.ones(2)}, kept),
        ("head.weight", {**model, "head.weight": torch.ones(2, 11)}, kept),
        ("head.bias.momentum_buffer", model, {**kept, "head.bias.momentum_buffer": torch.ones(5)}),
        ("tail.momentum_buffer", model, {**kept, "tail.momentum_buffer": torch.ones(5)}),
    ]:
        with pytest.raises(ValueError, match=name):
            load_full_state(*parts(trained), wrong_model, wrong_kept)
    assert same(full_state(*parts(trained))[0], before)


def test_what_is_loaded_has_the_strides_of_its_weights() -> None:
    """Torch's fused optimisers on the CPU take memory as it lies."""
    with several.open_world(on_cpu(_Alone)) as world:
        trained, other = Trained(world, on_cpu(world)).train(0, 2), Trained(world, on_cpu(world))
    load_full_state(*parts(other), *full_state(*parts(trained)))
    weight = other.model.first[0].weight
    assert not weight.is_contiguous()
    assert other.optimiser.state[weight]["momentum_buffer"].stride() == weight.stride()
    assert same(full_state(*parts(trained.train(2, STEPS)))[1], full_state(*parts(other.train(2, STEPS)))[1])


def test_alone_a_net_is_itself() -> None:
    net = SmallNet()
    assert plain(net) is net
    assert plain(torch.compile(net, backend="eager")) is net
    with scoring(net) as scored:
        assert scored is net
    net(torch.ones(1, 3, 6, 5)).sum().backward()
    norm = clip_gradients(net, None)
    assert float(norm) == pytest.approx(float(nn.utils.clip_grad_norm_(net.parameters(), 1e9)))
