"""What a net is trained on: the kind of device, and whether there are as many as were asked for."""

from __future__ import annotations

import os
import re

import torch

from tdtool.config import DeviceConfig
from tdtool.errors import ResourceError, UsageError

#: Processes that any machine may run on its CPU.
_ON_ANY_CPU = 4
_WAYS_ON = (
    "more machines: --nodes N --rdzv HOST:PORT; without GPUs: --device cpu; a large batch on fewer: --accumulate N"
)


def check_devices(config: DeviceConfig) -> str:
    """The kind of device, "cpu" or "cuda", that `config` is trained on; looks at no data.

    Raises UsageError where the options contradict each other, ResourceError where this machine has fewer devices than
    processes: never are fewer taken silently.
    """
    _check_options(config)
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    wanted = int(os.environ.get("LOCAL_WORLD_SIZE", config.gpus)) if started_as_rank() else config.gpus
    if config.device == "cuda" and not found:
        raise ResourceError("no GPU found, --device cuda asks for one", hint=_WAYS_ON)
    kind = "cuda" if config.device != "cpu" and found else "cpu"
    if config.device == "cpu":
        _check_cores(wanted)
    elif wanted > max(found, 1):
        raise ResourceError(f"{_counted(found)} found, {wanted} asked for", hint=_WAYS_ON)
    return kind


def started_as_rank() -> bool:
    """Whether torchrun, or our own launcher, started this process as one of several."""
    return all(name in os.environ for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"))


def _check_options(config: DeviceConfig) -> None:
    if config.gpus < 1:
        raise UsageError(f"--gpus is {config.gpus}; at least one process trains", hint="without a GPU: --device cpu")
    if config.nodes < 1:
        raise UsageError(f"--nodes is {config.nodes}; it counts this machine, too")
    if config.nodes > 1 and config.rendezvous is None:
        raise UsageError(
            f"--nodes {config.nodes} needs a place to meet",
            hint="give all of them the address of one: --rdzv HOST:29500",
        )
    if config.rendezvous is not None and not re.fullmatch(r".+:\d{1,5}", config.rendezvous):
        raise UsageError(f"--rdzv {config.rendezvous} is not HOST:PORT", hint="such as --rdzv 10.0.0.1:29500")
    if config.strategy == "fsdp" and config.compress != "none":
        raise UsageError(f"--compress {config.compress} is for --strategy ddp only")


def _check_cores(wanted: int) -> None:
    """Processes that only wait for each other's cores are a mistake; a few are how a cluster's run is tried out."""
    cores = os.cpu_count() or 1
    most = max(cores, _ON_ANY_CPU)
    if wanted > most:
        found = f"{cores} core{'s' if cores > 1 else ''} found"
        raise ResourceError(f"{found}, {wanted} processes asked for", hint=f"--gpus {most} is the most here")


def _counted(gpus: int) -> str:
    return "no GPU" if gpus == 0 else "1 GPU" if gpus == 1 else f"{gpus} GPUs"
