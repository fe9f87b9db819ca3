"""How much memory a training run will take, which batch fits, and what to say when none did.

One update is run on tensors without numbers (fake tensors: shapes, dtypes and lifetimes are as they will be), which
counts the activations to the byte, recomputation and mixed precision included. What kernels and the allocator take on
top is added by rules that were measured on the CPU, and are the same for all nets; for GPUs they are estimates.
"""

from __future__ import annotations

import dataclasses

import torch

from tdtool.config import TrainConfig
from tdtool.train.precision import compute_dtype

#: Tensors that an optimiser keeps for each weight.
_KEPT = {"sgd": 1, "adamw": 2, "lars": 1}
#: Images of the batch that `--batch auto` ends at, for each process: larger ones are faster, and learn no better.
_ENOUGH_SMALL, _ENOUGH = 128, 256
_HEADROOM = 0.9  # of what is free may be planned with
#: Batches that wait to be used, and are being made, as bytes of pixels.
_WAITING = 4
#: Interpreter and torch, and on a GPU the driver's context with the kernels.
_BASE = {"cpu": 360 << 20, "cuda": 500 << 20}
#: Code that is loaded with the first kernels; on a GPU what cuBLAS and cuDNN work in.
_KERNELS = {"cpu": 80 << 20, "cuda": 300 << 20}
#: Freed blocks that the allocator cannot use again, as a share of the activations: malloc gives back blocks of 32 MiB
#: and more, torch's GPU allocator cuts its own.
_LOST = {"cpu": 0.4, "cuda": 0.08}
_RETURNED = 32 << 20
#: What each mode of recomputation is chosen after; from the fastest on.
_MODES = ("none", "sqrt", "recursive")


@dataclasses.dataclass(frozen=True)
class MemoryPlan:
    """What one process will take at its peak.

    parts : bytes by name (weights, gradients, optimiser, average, activations, workspace, loader, base); batch : images
    of an update over all processes; micro_batch : that go through the net at a time; processes : of this node.
    """

    parts: dict[str, int]
    batch: int
    micro_batch: int
    precision: str
    recompute: str
    processes: int

    @property
    def total(self) -> int:
        """Bytes of one process."""
        return sum(self.parts.values())


@dataclasses.dataclass(frozen=True)
class _Step:
    """Bytes of one update beyond weights, optimiser and average: at most, at the end (gradients), and in small blocks."""

    peak: int
    gradients: int
    small: int
    largest_unit: int


def predict(config: TrainConfig, device_kind: str = "cpu") -> MemoryPlan:
    """The memory of one process of a run.

    device_kind : "cpu" (resident memory of the process) or "cuda" (memory of the GPU). The recomputation "auto" counts
    as none, a head "auto" as the model's own.
    """
    config = _plain(config)
    micro = max(1, config.batch // (_processes(config) * config.accumulate))
    dtype = compute_dtype(config.device.precision, torch.device(device_kind))
    step = _simulated(config.net, config.device.recompute, micro, dtype, min(2, config.accumulate))
    parameters, buffers = _net_bytes(config.net)
    shards = _processes(config) if config.device.strategy == "fsdp" else 1
    weights, kept = parameters // shards + buffers, _KEPT[config.optimiser.name] * parameters // shards
    gradients = step.gradients // shards
    average = (weights if config.optimiser.ema else 0)
    if shards > 1:
        weights += 2 * step.largest_unit  # one unit is whole while it is used, and the next one on its way
    activations = max(0, step.peak - step.gradients)
    pixels = micro * config.accumulate * 3 * config.net.image_size**2
    loader = _WAITING * pixels if device_kind == "cpu" else 2 * pixels
    parts = {
        "weights": weights,
        "gradients": gradients,
        "optimiser": kept,
        "average": average,
        "activations": activations,
        "workspace": _KERNELS[device_kind] + int(_LOST[device_kind] * step.small),
        "loader": loader,
        "base": _BASE[device_kind],
    }
    saving = weights + kept + average if device_kind == "cpu" else 0  # a checkpoint's copies: when activations are gone
    parts["workspace"] += max(0, saving - activations - int(_LOST[device_kind] * step.small))
    return MemoryPlan(
        parts=parts,
        batch=config.batch,
        micro_batch=micro,
        precision=str(dtype).removeprefix("torch."),
        recompute=config.device.recompute,
        processes=config.device.gpus,
    )
