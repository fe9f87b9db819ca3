"""How much memory a training run will take, which batch fits, and what to say when none did.

One update is run on tensors without numbers (fake tensors: shapes, dtypes and lifetimes are as they will be), which
counts the activations to the byte, recomputation and mixed precision included. What kernels and the allocator take on
top is added by rules that were measured on the CPU, and are the same for all nets; for GPUs they are estimates.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator
from typing import Literal

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import cross_entropy

from tdtool.config import NetConfig, TrainConfig
from tdtool.errors import ResourceError
from tdtool.nn.costs import meta_copy
from tdtool.nn.head_spec import parse_head
from tdtool.nn.live_bytes import LiveBytes
from tdtool.nn.model_names import is_small
from tdtool.nn.models import build
from tdtool.nn.net import Net
from tdtool.nn.recompute import recompute
from tdtool.train.precision import compute_dtype, precision_name

#: Tensors that an optimiser keeps for each weight.
_KEPT = {"sgd": 1, "adamw": 2, "lars": 1}
#: Images of the batch that `--batch auto` ends at, for each process: larger ones are faster, and learn no better.
_ENOUGH_SMALL, _ENOUGH = 128, 256
_HEADROOM = 0.9  # of what is free may be planned with
#: Batches that wait to be used, and are being made, as bytes of pixels.
_WAITING = {"cpu": 4, "cuda": 2}
#: Interpreter and torch, and on a GPU the driver's context with the kernels.
_BASE = {"cpu": 360 << 20, "cuda": 500 << 20}
#: Code that is loaded with the first kernels; on a GPU what cuBLAS and cuDNN work in.
_KERNELS = {"cpu": 80 << 20, "cuda": 300 << 20}
#: Freed blocks that the allocator cannot use again, as a share of the activations: malloc gives back blocks of 32 MiB
#: and more, torch's GPU allocator cuts its own.
_LOST = {"cpu": 0.4, "cuda": 0.08}
_RETURNED = 32 << 20
Recompute = Literal["none", "sqrt", "block", "recursive", "auto"]
#: What `--recompute auto` chooses from, the fastest first.
_MODES: tuple[Recompute, ...] = ("none", "sqrt", "recursive")


@dataclasses.dataclass(frozen=True)
class MemoryPlan:
    """What one process will take at its peak.

    parts : bytes by name: weights, gradients, optimiser, average, activations (and what else an update holds),
    workspace (of kernels and allocator), saving (copies for a checkpoint, beyond the room of the activations), loader,
    base (interpreter and libraries); batch : images of an update over all processes; micro_batch : that go through the
    net at a time; precision : fp32, bf16, fp16; processes : of this node.
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


def predict(config: TrainConfig, device_kind: str = "cpu") -> MemoryPlan:
    """The memory of one process of a run.

    device_kind : "cpu" (resident memory of the process) or "cuda" (memory of the GPU). The recomputation "auto" counts
    as none, a head "auto" as the model's own, a compiled net as it is before. UsageError: a net that cannot be.
    """
    config, shards = _settled(config), _shards(config)
    micro = max(1, config.batch // (_processes(config) * config.accumulate))
    dtype = compute_dtype(config.device.precision, torch.device(device_kind))
    step = _simulated(config.net, config.device.recompute, micro, dtype, min(2, config.accumulate))
    weights, gradients = step.weights // shards, step.gradients // shards
    kept = _KEPT[config.optimiser.name] * gradients
    average = weights if config.optimiser.ema else 0
    activations = max(0, step.peak - step.gradients)
    if shards > 1:
        activations += 2 * step.largest_unit  # one unit's weights are whole while it is used, the next one's on the way
    # Blocks that were given back and are made again lie elsewhere: what counts is all that comes and goes.
    lost = int(_LOST[device_kind] * _simulated(config.net, "none", micro, dtype, min(2, config.accumulate)).small)
    saving = max(0, weights + kept + average - activations - lost) if device_kind == "cpu" else 0
    pixels = micro * config.accumulate * 3 * config.net.image_size**2
    return MemoryPlan(
        parts={
            "weights": weights,
            "gradients": gradients,
            "optimiser": kept,
            "average": average,
            "activations": activations,
            "workspace": _KERNELS[device_kind] + lost,
            "saving": saving,
            "loader": _WAITING[device_kind] * pixels,
            "base": _BASE[device_kind],
        },
        batch=config.batch,
        micro_batch=micro,
        precision=precision_name(dtype),
        recompute=config.device.recompute,
        processes=config.device.gpus,
    )


def fit_batch(
    config: TrainConfig, free_bytes: int, device_kind: str | None = None, *, most: int | None = None
) -> tuple[int, MemoryPlan, str]:
    """The batch for `--batch auto`: the largest power of two times what it must divide by that fits, up to the usual.

    free_bytes : of the machine or of one GPU; device_kind : "cpu" or "cuda", None: as the configuration says; most : no
    batch is larger. Returns the batch, its memory, and words that say why. ResourceError: not even the smallest fits.
    """
    kind = device_kind or kind_of(config)
    smallest = _processes(config) * config.accumulate * (2 if config.augment.mixup else 1)
    usual = _processes(config) * (_ENOUGH_SMALL if is_small(config.net.image_size) else _ENOUGH)
    limit = max(smallest, usual if most is None else min(usual, most))
    batch = smallest
    while batch * 2 <= limit:
        batch *= 2
    wanted, room = batch, int(_HEADROOM * free_bytes)
    while True:
        plan = predict(dataclasses.replace(config, batch=batch), kind)
        if _on_node(plan, kind) <= room:
            break
        if batch == smallest:
            hint = "--recompute recursive holds less, --width makes a narrower net, --image-size smaller images"
            what = f"a batch of {batch} takes {_gigabytes(_on_node(plan, kind))}, {_gigabytes(free_bytes)} are free"
            raise ResourceError(what, hint=hint)
        batch //= 2
    taken = f"{_gigabytes(_on_node(plan, kind))} of the {_gigabytes(free_bytes)} that are free"
    why = "the usual batch" if batch == wanted else f"{2 * batch} would not fit"
    return batch, plan, f"batch {batch}: it takes about {taken}; {why}"


def choose_recompute(config: TrainConfig, free_bytes: int, device_kind: str | None = None) -> Recompute:
    """The mode for `--recompute auto`: the fastest one whose prediction fits; the one that holds least where none does.

    free_bytes, device_kind : see `fit_batch`.
    """
    kind = device_kind or kind_of(config)
    for mode in _MODES:
        if _on_node(predict(_with_recompute(config, mode), kind), kind) <= _HEADROOM * free_bytes:
            return mode
    return _MODES[-1]


def answer_oom(config: TrainConfig, free_bytes: int, device_kind: str | None = None) -> ResourceError:
    """The error for a run that was out of memory: what it takes, and which batch or recomputation fits.

    free_bytes : as they were before the run took its memory; device_kind : see `fit_batch`.
    """
    kind = device_kind or kind_of(config)
    plan = predict(config, kind)
    what = f"out of memory: a batch of {config.batch} takes about {_gigabytes(_on_node(plan, kind))}"
    hints = []
    with contextlib.suppress(ResourceError):
        fits, _, _ = fit_batch(config, free_bytes, kind, most=max(1, config.batch // 2))
        hints.append(f"--batch {fits} fits")
    # The same batch in more parts: the gradient is the same, apart from batch normalisation.
    for accumulate in (2, 4, 8, 16):
        divided = dataclasses.replace(config, accumulate=config.accumulate * accumulate)
        smallest = _processes(divided) * divided.accumulate * (2 if config.augment.mixup else 1)
        if config.batch % smallest == 0 and _on_node(predict(divided, kind), kind) <= _HEADROOM * free_bytes:
            hints.append(f"--accumulate {divided.accumulate} takes the batch in parts")
            break
    if config.device.recompute in ("none", "auto"):
        hints.append(f"--recompute {choose_recompute(_with_recompute(config, 'sqrt'), free_bytes, kind)} holds less")
    what += f", {_gigabytes(free_bytes)} were free"
    return ResourceError(what, hint="; ".join(hints) or "a narrower net (--width) or smaller images (--image-size)")


@contextlib.contextmanager
def oom_answered(config: TrainConfig, free_bytes: int, device_kind: str) -> Iterator[None]:
    """What runs out of memory inside ends in `answer_oom`'s ResourceError. free_bytes : see there."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise answer_oom(config, free_bytes, device_kind) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed: on a GPU, in torch on the CPU (which raises a plain RuntimeError), or in Python."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def free_on_gpu() -> int:
    """Bytes that are free on the GPU that is used first."""
    return int(torch.cuda.mem_get_info()[0])


def kind_of(config: TrainConfig) -> str:
    """The kind of device that a configuration means on this machine: "cpu" or "cuda"."""
    if config.device.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return config.device.device


@dataclasses.dataclass(frozen=True)
class _Step:
    """Bytes. peak : of what an update makes (gradients, activations); small : of it, in blocks that malloc keeps."""

    weights: int
    gradients: int
    largest_unit: int
    peak: int
    small: int


@functools.lru_cache(maxsize=64)
def _simulated(net: NetConfig, mode: str, micro: int, dtype: torch.dtype, passes: int) -> _Step:
    """One update's forward and backward passes on fake tensors; after the first of two, gradients are there."""
    model = build(net, device="meta")
    recompute(model, mode)
    with FakeTensorMode():
        twin = meta_copy(model, "cpu").train()
        with LiveBytes(small=_RETURNED) as live:
            for _ in range(passes):
                _run_backward(twin, micro, net.image_size, dtype)
    return _Step(
        weights=sum(tensor.nbytes for tensor in (*twin.parameters(), *twin.buffers())),
        gradients=sum(parameter.nbytes for parameter in twin.parameters()),
        largest_unit=max(sum(p.nbytes for module in unit for p in module.parameters()) for unit in twin.units()),
        peak=live.peak,
        small=live.small_at_peak,
    )


def _run_backward(model: Net, micro: int, size: int, dtype: torch.dtype) -> None:
    """What step.py does with a part of a batch."""
    x_BCHW = torch.empty(micro, size, size, 3, dtype=torch.uint8).permute(0, 3, 1, 2)
    x_BCHW = x_BCHW.to(torch.float32).mul_(1.0).to(dtype)
    with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
        logits_BK = model(x_BCHW)
    cross_entropy(logits_BK.float(), torch.zeros(micro, dtype=torch.int64)).backward()


def _settled(config: TrainConfig) -> TrainConfig:
    if parse_head(config.net.head).kind == "auto":
        config = dataclasses.replace(config, net=dataclasses.replace(config.net, head="fc"))
    return _with_recompute(config, "none") if config.device.recompute == "auto" else config


def _with_recompute(config: TrainConfig, mode: Recompute) -> TrainConfig:
    return dataclasses.replace(config, device=dataclasses.replace(config.device, recompute=mode))


def _processes(config: TrainConfig) -> int:
    return config.device.gpus * config.device.nodes


def _shards(config: TrainConfig) -> int:
    return _processes(config) if config.device.strategy == "fsdp" else 1


def _on_node(plan: MemoryPlan, kind: str) -> int:
    """What is taken of the memory that all processes of a node share, or of one GPU."""
    return plan.total * plan.processes if kind == "cpu" else plan.total


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.0f} MB"
