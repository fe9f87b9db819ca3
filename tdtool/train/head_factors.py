"""The factors of a net's tensor layer, as the run's result has them."""

from __future__ import annotations

import torch
from numpy.typing import NDArray
from torch import nn


def head_factors(net: nn.Module) -> dict[str, NDArray]:
    """Arrays by their paths in the schema ("head/factor0" ...), float32; {}: it has none. All processes call it."""
    layer = next((module for module in net.modules() if hasattr(module, "tensor_factors")), None)
    if layer is None:
        return {}
    return {
        name: _whole(tensor).detach().float().cpu().numpy().copy() for name, tensor in layer.tensor_factors().items()
    }


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    """All of a tensor that is spread over processes."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
