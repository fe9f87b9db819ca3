"""What processes of test_strategy.py do together, and how they are started: forked from one that has torch already."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import socket
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from tdtool.config import DeviceConfig, OptimiserConfig
from tdtool.nn.trl import TensorRegression
from tdtool.train import compression
from tdtool.train.optimisers import make_optimiser
from tdtool.train.strategy import clip_gradients, distribute, full_state, load_full_state, no_sync, scoring
from tdtool.train.world import World, open_world

BATCH, PARTS, CLASSES, STEPS, CLIP = 24, 2, 3, 4, 0.2
#: Which optimisers are tried with how many processes: seconds are few.
OPTIMISERS = {1: ("sgd", "adamw", "lars"), 2: ("sgd", "adamw", "lars"), 4: ("sgd",)}
Job = Callable[[World, Path], None]


class SmallNet(nn.Module):
    """Sizes that no number of processes divides. batch_norm : in place of a norm that takes each image alone."""

    def __init__(self, *, batch_norm: bool = False) -> None:
        super().__init__()
        norm = nn.BatchNorm2d(7) if batch_norm else nn.GroupNorm(1, 7)
        self.first = nn.Sequential(nn.Conv2d(3, 7, 3, padding=1), norm, nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(7, 11, 3, padding=1), nn.ReLU())
        self.head = TensorRegression((11, 6, 5), (4, 3, 2), CLASSES)

    def blocks(self) -> list[nn.Module]:
        return [self.first, self.second]

    def forward(self, x_BCHW: Tensor) -> Tensor:
        for block in self.blocks():
            x_BCHW = block(x_BCHW)
        return self.head(x_BCHW)


class Trained:
    """A small net on all processes, and its optimiser; the same weights whenever it is made."""

    def __init__(self, world: World, config: DeviceConfig, name: str = "sgd", *, batch_norm: bool = False) -> None:
        torch.manual_seed(5)
        net = SmallNet(batch_norm=batch_norm).to(memory_format=torch.channels_last)
        self.world, self.model = world, distribute(net, config, world)
        options = OptimiserConfig(name=name, learning_rate=0.05, weight_decay=1e-3)
        self.optimiser = make_optimiser(self.model, options, batch=BATCH, small_images=True)

    def backward(self, step: int) -> None:
        """Gradients of the batch of one step, of which each process takes its share in PARTS parts."""
        draw = torch.Generator().manual_seed(step)
        x_BCHW = torch.randn(BATCH, 3, 6, 5, generator=draw).to(memory_format=torch.channels_last)
        y_B = torch.randint(0, CLASSES, (BATCH,), generator=draw)
        share = BATCH // self.world.world_size
        mine = slice(self.world.rank_id * share, (self.world.rank_id + 1) * share)
        self.optimiser.zero_grad()
        parts = list(zip(x_BCHW[mine].chunk(PARTS), y_B[mine].chunk(PARTS), strict=True))
        for number, (x, y) in enumerate(parts, 1):
            with no_sync(self.model) if number < PARTS else contextlib.nullcontext():
                (nn.functional.cross_entropy(self.model(x), y) / PARTS).backward()

    def train(self, first: int, last: int) -> Trained:
        """Steps first to last - 1."""
        for step in range(first, last):
            self.backward(step)
            clip_gradients(self.model, CLIP)
            self.optimiser.step()
        return self

    def gradients(self) -> dict[str, Tensor]:
        """Whole ones, in every process."""
        found = {name: parameter.grad for name, parameter in self.model.named_parameters()}
        return {
            name.removeprefix("module."): (grad.full_tensor() if isinstance(grad, DTensor) else grad).clone()
            for name, grad in found.items()
        }


def learn(world: World, folder: Path) -> None:
    """Gradients, their norm, and weights after some steps at once and with a pause, by both strategies."""
    for strategy in ("ddp", "fsdp"):
        config, results = on_cpu(world, strategy=strategy), {}
        trained = Trained(world, config)
        trained.backward(0)
        results["gradients"] = trained.gradients()
        results["norm"] = {"": clip_gradients(trained.model, None), "clipped to": clip_gradients(trained.model, CLIP)}
        results["clipped"] = trained.gradients()
        for name in OPTIMISERS[world.world_size]:
            results[name] = joined(*full_state(*parts(Trained(world, config, name).train(0, STEPS))))
            half = full_state(*parts(Trained(world, config, name).train(0, 2)))
            keep(world, folder / f"half-{name}-{strategy}-{world.world_size}", {"model": half[0], "kept": half[1]})
            world.barrier()
            results[f"{name} resumed"] = go_on(
                world, config, name, folder / f"half-{name}-{strategy}-{world.world_size}"
            )
        keep(world, folder / f"{strategy}-{world.world_size}", results)


def go_on(world: World, config: DeviceConfig, name: str, half: Path) -> dict[str, Tensor]:
    """The end of a run of which the first half was trained by whoever it was."""
    saved = torch.load(half, weights_only=True)
    trained = Trained(world, config, name)
    load_full_state(*parts(trained), saved["model"], saved["kept"])
    return joined(*full_state(*parts(trained.train(2, STEPS))))


def compressed(world: World, folder: Path) -> None:
    """Weights after some steps with gradients that are sent smaller."""
    compression.POWER_START, compression.POWER_RANK = 2, 1
    results = {}
    for how in ("fp16", "bf16", "powersgd"):
        trained = Trained(world, on_cpu(world, compress=how)).train(0, STEPS)
        results[how] = full_state(*parts(trained))[0]
    keep(world, folder / f"compressed-{world.world_size}", results)


def score(world: World, folder: Path) -> None:
    """Each process scores another number of batches; what all see is what rank 0 has."""
    for strategy in ("ddp", "fsdp"):
        trained = Trained(world, on_cpu(world, strategy=strategy), batch_norm=True).train(0, 1)
        own = trained.model.state_dict()
        mean = next(value for name, value in own.items() if name.endswith("running_mean")).clone()
        with scoring(trained.model) as net, torch.no_grad():
            net.eval()
            for _ in range(1 + world.rank_id):
                logits = net(torch.ones(2, 3, 6, 5))
            net.train()
            shared = net.first[1].running_mean.clone()
        trained.train(1, 2)  # and it can be trained as before
        seen = {"logits": world.summed(logits.clone()) / world.world_size, "mean": shared}
        after = full_state(*parts(trained))[0]
        apart = world.summed((logits - seen["logits"]).abs().max())
        differed = world.any_of(not torch.equal(mean, shared))
        facts = {"apart": apart, "differed": torch.tensor(differed), **seen}
        keep(world, folder / f"scored-{strategy}-{world.world_size}", {"facts": facts, "after": after})


def talk(world: World, folder: Path) -> None:
    """What a world says to its members."""
    heard = world.told(f"ärger {world.world_size}\n" if world.main else "nobody hears this")
    assert heard == f"ärger {world.world_size}\n"
    assert world.any_of(world.rank_id == world.world_size - 1)
    assert not world.any_of(False)
    total = world.summed(torch.tensor([world.rank_id, 1]))
    assert total.tolist() == [sum(range(world.world_size)), world.world_size]
    with open_world(on_cpu(world)) as again:
        assert again is world
    assert torch.get_num_threads() == world.threads == 1
    (folder / f"talked-{world.rank_id}-of-{world.world_size}").touch()


def on_cpu(world: World, **changes: object) -> DeviceConfig:
    return DeviceConfig(device="cpu", gpus=world.world_size, threads=world.world_size, **changes)


def parts(trained: Trained) -> tuple[nn.Module, torch.optim.Optimizer]:
    return trained.model, trained.optimiser


def joined(model: dict[str, Tensor], kept: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**model, **{f"optimiser.{name}": value for name, value in kept.items()}}


def keep(world: World, path: Path, results: dict[str, dict[str, Tensor]]) -> None:
    """Rank 0 writes what it has; the others must have nothing that is not theirs to write."""
    if world.main:
        torch.save(results, path)


def in_processes(size: int, jobs: list[Job], folder: Path) -> None:
    """Do the jobs, one after the other, in `size` processes that train together; 1: in this one."""
    if size == 1:
        with open_world(DeviceConfig(device="cpu", threads=1)) as world:
            for job in jobs:
                job(world, folder)
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    # Every optimiser imports dynamo, which takes a second: once is enough.
    context.set_forkserver_preload(["tests.train.several", "torch._dynamo"])
    names = [job.__name__ for job in jobs]
    ranks = [context.Process(target=_one_of, args=(rank_id, size, port, names, folder)) for rank_id in range(size)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(120)
        rank.kill()
    assert [rank.exitcode for rank in ranks] == [0] * size


def _one_of(rank_id: int, size: int, port: int, names: list[str], folder: Path) -> None:
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size), "RANK": str(rank_id)}
    os.environ.update(place, LOCAL_RANK=str(rank_id), LOCAL_WORLD_SIZE=str(size))
    with open_world(DeviceConfig(device="cpu", threads=size)) as world:
        for name in names:
            globals()[name](world, folder)
