"""Whether a machine has what a run asks for: said before anything else is looked at."""

from __future__ import annotations

import os

import pytest
import torch

from tdtool.config import DeviceConfig
from tdtool.errors import ResourceError, UsageError
from tdtool.train.devices import check_devices
from tdtool.train.world import open_world


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """One with two GPUs, two cores, and nobody who has started us."""
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    return monkeypatch


def without_gpus(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(torch.cuda, "is_available", lambda: False)
    machine.setattr(torch.cuda, "device_count", lambda: 0)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (DeviceConfig(), "cuda"),
        (DeviceConfig(gpus=2), "cuda"),
        (DeviceConfig(device="cpu"), "cpu"),
        (DeviceConfig(device="cpu", gpus=4), "cpu"),
    ],
)
def test_kind_of_device(config: DeviceConfig, kind: str, machine: pytest.MonkeyPatch) -> None:
    assert check_devices(config) == kind


def test_without_gpus_one_process_takes_the_cpu(machine: pytest.MonkeyPatch) -> None:
    without_gpus(machine)
    assert check_devices(DeviceConfig()) == "cpu"


@pytest.mark.parametrize(
    ("config", "gpus", "message"),
    [
        (DeviceConfig(gpus=16), 2, r"2 GPUs found, 16 asked for\n.*--nodes.*--device cpu.*--accumulate"),
        (DeviceConfig(gpus=16), 0, r"no GPU found, 16 asked for\n.*--nodes.*--device cpu.*--accumulate"),
        (DeviceConfig(device="cuda"), 0, r"no GPU found, --device cuda asks for one\n.*--device cpu"),
        (DeviceConfig(device="cpu", gpus=16), 2, r"2 cores found, 16 processes asked for\n.*--gpus 4 is the most"),
    ],
)
def test_more_than_there_is(config: DeviceConfig, gpus: int, message: str, machine: pytest.MonkeyPatch) -> None:
    if not gpus:
        without_gpus(machine)
    with pytest.raises(ResourceError, match=message):
        check_devices(config)


def test_processes_that_torchrun_started_are_counted(machine: pytest.MonkeyPatch) -> None:
    place = {"RANK": "2", "WORLD_SIZE": "3", "LOCAL_RANK": "2", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}
    for name, value in place.items():
        machine.setenv(name, value)
    machine.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(ResourceError, match="2 GPUs found, 3 asked for"):
        check_devices(DeviceConfig())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (DeviceConfig(gpus=0), r"--gpus is 0; .*\n.*--device cpu"),
        (DeviceConfig(nodes=0), "--nodes is 0"),
        (DeviceConfig(nodes=2), r"--nodes 2 needs a place to meet\n.*--rdzv HOST:29500"),
        (DeviceConfig(nodes=2, rendezvous="node1"), r"--rdzv node1 is not HOST:PORT\n.*10.0.0.1:29500"),
        (DeviceConfig(gpus=2, strategy="fsdp", compress="fp16"), "--compress fp16 is for --strategy ddp only"),
    ],
)
def test_options_that_contradict_each_other(config: DeviceConfig, message: str, machine: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=message):
        check_devices(config)


def test_alone_in_the_world(machine: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    with open_world(DeviceConfig(device="cpu", threads=before + 1)) as world:
        assert (world.rank_id, world.world_size, world.main, world.device.type) == (0, 1, True, "cpu")
        assert torch.get_num_threads() == world.threads == before + 1
        assert world.any_of(True)
        assert not world.any_of(False)
        assert world.told("text") == "text"
        assert world.summed(torch.tensor([2, 3])).tolist() == [2, 3]
        world.barrier()
    assert torch.get_num_threads() == before
