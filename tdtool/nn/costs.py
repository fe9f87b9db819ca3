"""What a net costs, counted without numbers: parameters, multiply-adds, bytes kept for the backward pass."""

from __future__ import annotations

import copy
import dataclasses

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tdtool.nn.net import Net


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """One unit of the features, or the head.

    parameters : how many; flops : forward, a multiply-add is two; saved_bytes : kept for the backward pass in float32,
    the input counted, what it shares with the layer before counted there; input_bytes : of its input; shape : of its
    output, without the batch.
    """

    name: str
    parameters: int
    flops: int
    saved_bytes: int
    input_bytes: int
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Costs:
    """A whole net: parameters, those of its head, and for one batch forward flops and bytes saved for backward."""

    parameters: int
    head_parameters: int
    flops: int
    saved_bytes: int
    layers: tuple[LayerCost, ...]


def count(model: Net, image_size: int | None = None, batch: int = 1) -> Costs:
    """Costs of a forward pass in training, in float32, without recomputation; the model is neither run nor changed.

    image_size : rows and columns of the images (None: what the net was built for); batch : images.
    """
    twin = meta_copy(model).train()
    size = image_size or model.config.image_size
    x_BCHW = torch.empty(batch, 3, size, size, device="meta")
    names = {module: name for name, module in twin.named_modules()}
    kept = _Kept(twin)
    layers = []
    for unit in twin.units():
        layer, x_BCHW = _count_layer(names[unit[0]], unit, x_BCHW, kept)
        layers.append(layer)
    layers.append(_count_layer("head", [_Head(twin)], x_BCHW, kept)[0])
    return Costs(
        parameters=sum(parameter.numel() for parameter in twin.parameters()),
        head_parameters=twin.head_parameters(),
        flops=sum(layer.flops for layer in layers),
        saved_bytes=sum(layer.saved_bytes for layer in layers),
        layers=tuple(layers),
    )


def meta_copy(model: Net, device: str = "meta") -> Net:
    """The same net without numbers, channels last; nothing of the weights is copied.

    device : "meta", or within FakeTensorMode the one that the tensors pretend to be on, where casts are as they are
    there.
    """
    memo: dict[int, object] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        layout = torch.channels_last if tensor.ndim == 4 else torch.contiguous_format
        empty = torch.empty(tensor.shape, dtype=tensor.dtype, device=device, memory_format=layout)
        is_parameter = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if is_parameter else empty
    return copy.deepcopy(model, memo)


class _Head(nn.Module):
    """A net's head as one layer."""

    def __init__(self, model: Net) -> None:
        super().__init__()
        self.model = [model]  # in a list: its parameters are not all the head's

    def forward(self, a_BCHW: torch.Tensor) -> torch.Tensor:
        return self.model[0].forward_head(a_BCHW)

    def parameters(self, recurse: bool = True) -> list[nn.Parameter]:
        return [parameter for module in self.model[0].head_modules() for parameter in module.parameters(recurse)]


class _Kept:
    """Bytes saved for backward, each storage once; weights and buffers are there anyway."""

    def __init__(self, model: nn.Module) -> None:
        self.tensors = [*model.parameters(), *model.buffers()]  # held, so that no address is used twice
        self._seen = {tensor.untyped_storage()._cdata for tensor in self.tensors}
        self.total = 0

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._seen:
            self._seen.add(storage._cdata)
            self.tensors.append(tensor)
            self.total += storage.nbytes()
        return tensor


def _count_layer(
    name: str, modules: list[nn.Module], x_BCHW: torch.Tensor, kept: _Kept
) -> tuple[LayerCost, torch.Tensor]:
    before, size = kept.total, x_BCHW.untyped_storage().nbytes()
    with FlopCounterMode(display=False) as counter, torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda t: t):
        for module in modules:
            x_BCHW = module(x_BCHW)
    layer = LayerCost(
        name=name,
        parameters=sum(parameter.numel() for module in modules for parameter in module.parameters()),
        flops=counter.get_total_flops(),
        saved_bytes=kept.total - before,
        input_bytes=size,
        shape=tuple(x_BCHW.shape[1:]),
    )
    return layer, x_BCHW
