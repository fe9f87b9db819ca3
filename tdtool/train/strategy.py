"""One net on several processes: copies that share gradients (DDP), or parts that are gathered when needed (FSDP2).

What is saved and loaded is the whole net by its own names, so that it fits any number of processes and either strategy.
BatchNorm takes the statistics of each process's own share of a batch, as is usual; those that are stored are rank 0's.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from tdtool.config import DeviceConfig
from tdtool.train.compression import compress
from tdtool.train.world import World

State = dict[str, Tensor]

_OPTIONS_OF_DDP = inspect.signature(DistributedDataParallel.__init__).parameters
#: What DDP calls it: the first name is of torch 2.13 and on.
_SYNC_BUFFERS = "forward_sync_buffers" if "forward_sync_buffers" in _OPTIONS_OF_DDP else "broadcast_buffers"


def distribute(model: nn.Module, config: DeviceConfig, world: World) -> nn.Module:
    """`model`, which is on its device already, as all processes train it: itself where this one is alone.

    All processes call it, with equal nets. The optimiser is made after it: FSDP puts other parameters in place.
    """
    if world.world_size == 1:
        return model
    if config.strategy == "fsdp":
        return _sharded(model, world)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.register_hook(functools.partial(_laid_out_as, parameter))
    copies = _SteadyBuckets(
        model,
        device_ids=[world.device] if world.device.type == "cuda" else None,
        gradient_as_bucket_view=config.compress != "powersgd",  # which keeps gradients of its own
        **{_SYNC_BUFFERS: False},  # `scoring` and `full_state` take rank 0's; training needs none of them
    )
    compress(copies, config.compress)
    return copies


def _laid_out_as(parameter: Tensor, gradient: Tensor) -> Tensor:
    """The gradient in the memory layout of its parameter, as DDP's buckets want it: the core of a tensor regression
    layer gets its gradient transposed."""
    return gradient if gradient.stride() == parameter.stride() else torch.empty_like(parameter).copy_(gradient)


class _SteadyBuckets(DistributedDataParallel):
    """DDP whose gradients travel in the same buckets from the first step on.

    torch gathers them otherwise in the first step of a process, and in the order it saw from the second on. With three
    processes or more the order of a sum depends on the place in a bucket, so that a run that goes on from a checkpoint
    would not be equal to the bit. Last layers come first: their gradients are ready first.
    """

    def __init__(self, module: nn.Module, **options: Any) -> None:
        super().__init__(module, **options)
        self.reducer._push_all_rebuilt_params()  # the first forward pass makes the buckets of these, in this order

    def _build_params_for_reducer(self) -> tuple[list[nn.Parameter], list[bool]]:
        parameters, sparse = super()._build_params_for_reducer()
        return parameters[::-1], sparse[::-1]


def _sharded(model: nn.Module, world: World) -> nn.Module:
    """FSDP2: every block is gathered when it is used, the rest of the net (its head) as one more."""
    model.to(memory_format=torch.contiguous_format)  # FSDP cuts weights along their first mode only so
    mesh = init_device_mesh(world.device.type, (world.world_size,))
    blocks: Callable[[], list[nn.Module]] | None = getattr(model, "blocks", None)
    for block in blocks() if blocks is not None else model.children():
        if any(parameter.requires_grad for parameter in block.parameters()):
            fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def plain(model: nn.Module) -> nn.Module:
    """The net itself, without what compiles it or shares its gradients."""
    while True:
        inner = getattr(model, "_orig_mod", model)
        inner = inner.module if isinstance(inner, DistributedDataParallel) else inner
        if inner is model:
            return model
        model = inner


def no_sync(model: nn.Module) -> AbstractContextManager[None]:
    """While it is open, gradients stay in this process: for all but the last part of an accumulated batch.

    Forward and backward belong inside.
    """
    shared = getattr(model, "_orig_mod", model)
    if isinstance(shared, DistributedDataParallel):
        context: AbstractContextManager[None] = shared.no_sync()
        return context
    return _kept_to_itself(shared) if isinstance(shared, FSDPModule) else contextlib.nullcontext()


@contextlib.contextmanager
def _kept_to_itself(model: FSDPModule) -> Iterator[None]:
    model.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        model.set_requires_gradient_sync(True)


@contextlib.contextmanager
def scoring(model: nn.Module) -> Iterator[nn.Module]:
    """The net with rank 0's buffers, for forward passes of which each process may do as many as its share needs.

    All processes enter and leave. FSDP's weights are whole meanwhile, in every process.
    """
    net = plain(model)
    _share_buffers(net)
    parts = [module for module in net.modules() if isinstance(module, FSDPModule)]
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield net
    finally:
        for part in parts:
            part.reshard()
            part.set_reshard_after_forward(part is not net, recurse=False)


def full_state(model: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[State, State]:
    """Weights and buffers by name, and what the optimiser keeps by "NAME.KEY" ("fc.weight.momentum_buffer").

    All processes call it; rank 0 gets both, whole, on the CPU, contiguous and apart from the net; the others get {}.
    """
    net = plain(model)
    names = {parameter: name for name, parameter in net.named_parameters()}
    kept = {
        f"{names[parameter]}.{key}": value
        for parameter, values in optimiser.state.items()
        for key, value in values.items()
        if isinstance(value, Tensor)
    }
    return _whole(_stored(net)), _whole(kept)


def load_full_state(
    model: nn.Module, optimiser: torch.optim.Optimizer, model_state: Mapping[str, Tensor], kept: Mapping[str, Tensor]
) -> None:
    """Put back what `full_state` gave, whatever the number of processes and the strategy were then.

    All processes call it with the same tensors. ValueError names what does not fit; then nothing is changed.
    """
    net = plain(model)
    stored = _stored(net)
    _check_fits(stored, model_state)
    named = dict(net.named_parameters())
    values = _by_parameter(named, kept)
    with torch.no_grad():
        for name, tensor in stored.items():
            tensor.copy_(_cut_as(tensor, model_state[name]))
    order = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    index = {parameter: place for place, parameter in enumerate(order)}
    state = {
        index[named[name]]: {key: _cut_as(named[name], value) for key, value in values[name].items()} for name in values
    }
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    _lay_out_as_weights(optimiser)


def clip_gradients(model: nn.Module, max_norm: float | None) -> Tensor:
    """Scale all gradients so that their norm is at most `max_norm` (None: as they are); all processes call it.

    Returns the norm before, over the whole net, as a 0-d tensor on its device: nothing waits for it.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.grad is not None]
    norm = nn.utils.get_total_norm([parameter.grad for parameter in parameters])
    norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
    if max_norm is not None:
        nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)
    return norm


def _stored(net: nn.Module) -> State:
    """Parameters and stored buffers by name, as they are."""
    return {name: tensor.detach() for name, tensor in net.state_dict(keep_vars=True).items()}


def _whole(tensors: Mapping[str, Tensor]) -> State:
    """Copies on the CPU, gathered from all processes one after the other, on rank 0."""
    main = not dist.is_initialized() or dist.get_rank() == 0
    gathered = {}
    for name, tensor in tensors.items():
        whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if main:
            gathered[name] = whole.detach().cpu().clone(memory_format=torch.contiguous_format)
    return gathered


def _cut_as(model: Tensor, whole: Tensor) -> Tensor:
    """This process's part of a tensor of the shape of `model`; other tensors (counts of steps) stay whole."""
    if not isinstance(model, DTensor) or whole.shape != model.shape:
        return whole
    return distribute_tensor(whole.to(model.device), model.device_mesh, model.placements, src_data_rank=None)


def _by_parameter(named: Mapping[str, nn.Parameter], kept: Mapping[str, Tensor]) -> dict[str, State]:
    """What an optimiser keeps, by parameter and then by key."""
    values: dict[str, State] = {}
    for full_name, value in kept.items():
        name, _, key = full_name.rpartition(".")
        if name not in named or (value.ndim and value.shape != named[name].shape):
            raise ValueError(f"the optimiser's {full_name} {tuple(value.shape)} belongs to no weight of this net")
        values.setdefault(name, {})[key] = value
    return values


def _check_fits(stored: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    apart = sorted(set(stored) ^ set(given))
    if apart:
        raise ValueError(f"{apart[0]} is not in {'the net' if apart[0] in given else 'what was saved'}")
    for name, tensor in stored.items():
        if tensor.shape != given[name].shape:
            raise ValueError(
                f"{name} is {tuple(tensor.shape)} in the net, {tuple(given[name].shape)} in what was saved"
            )


def _lay_out_as_weights(optimiser: torch.optim.Optimizer) -> None:
    """Give what an optimiser keeps the strides of its weights.

    torch's fused optimisers on the CPU walk through memory without a look at strides: what was loaded contiguous beside
    a channels_last weight would silently update the wrong elements.
    """
    for parameter, values in optimiser.state.items():
        for key, value in values.items():
            apart = isinstance(value, Tensor) and value.shape == parameter.shape
            if apart and value.stride() != parameter.stride():
                values[key] = torch.empty_like(parameter, requires_grad=False).copy_(value)


@torch.no_grad()
def _share_buffers(net: nn.Module) -> None:
    """Rank 0's BatchNorm statistics and other buffers, everywhere."""
    if dist.is_initialized():
        for buffer in net.buffers():
            dist.broadcast(buffer, src=0)
