"""How weights are updated: torch's own SGD and AdamW, fused where it has that, and LARS."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from tdtool.config import OptimiserConfig

#: Learning rates for a batch of REFERENCE_BATCH images, from which the others are scaled linearly (Goyal et al. 2017,
#: section 2.1): that of ResNet (He et al. 2016) for SGD, of torch for AdamW, of MLPerf (9.6 for 4,096 images) for LARS.
REFERENCE_BATCH = 256
LEARNING_RATES = {"sgd": 0.1, "adamw": 1e-3, "lars": 0.6}
#: Decay of the weights: small images have few, and a net that could learn them by heart.
SMALL_DECAY, LARGE_DECAY, ADAMW_DECAY = 5e-4, 1e-4, 0.05


def make_optimiser(
    model: nn.Module, config: OptimiserConfig, *, batch: int, small_images: bool
) -> torch.optim.Optimizer:
    """An optimiser over all parameters of the net, in two groups: with decay, and biases and norms (one mode) without.

    batch : images of one update, over all processes, for the default learning rate; small_images : for the default
    decay. Its learning rate is the base one: `learning_rate` of schedules.py says what each step's is.
    """
    rate, decay = base_learning_rate(config, batch), weight_decay(config, small_images)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if config.name == "lars":
        return LARS(groups, lr=rate, momentum=config.momentum)
    if config.name == "adamw":
        return torch.optim.AdamW(groups, lr=rate, fused=_fused(parameters))
    # Torch has no fused SGD of sharded parameters.
    fused = _fused(parameters) and not any(hasattr(parameter, "to_local") for parameter in parameters)
    return torch.optim.SGD(groups, lr=rate, momentum=config.momentum, fused=fused)


def base_learning_rate(config: OptimiserConfig, batch: int) -> float:
    """The one that was asked for, else the usual one for so many images."""
    if config.learning_rate is not None:
        return config.learning_rate
    return LEARNING_RATES[config.name] * batch / REFERENCE_BATCH


def weight_decay(config: OptimiserConfig, small_images: bool) -> float:
    """The one that was asked for, else the usual one."""
    if config.weight_decay is not None:
        return config.weight_decay
    if config.name == "adamw":
        return ADAMW_DECAY
    return SMALL_DECAY if small_images else LARGE_DECAY


def _fused(parameters: list[Tensor]) -> bool:
    """Whether torch can update all parameters by one kernel."""
    return all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in parameters)


class LARS(torch.optim.Optimizer):
    """Layer-wise adaptive rates (You, Gitman and Ginsburg 2017, "Large batch training of convolutional networks").

    For each weight w with gradient g, decay b, momentum m, rate r and trust t (algorithm 1):
    local = t norm(w) / (norm(g) + b norm(w)); v <- m v + r local (g + b w); w <- w - v.
    local is 1 where either norm is 0, and for parameters of one mode (biases, norms), as is usual.
    """

    def __init__(
        self, params: Iterable[Any], *, lr: float, momentum: float = 0.9, weight_decay: float = 0.0, trust: float = 1e-3
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update; returns what the closure, if there is one, gave."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if parameters:
                self._update(parameters, group)
        return loss

    def _update(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        velocities = [self.state[parameter]["momentum_buffer"] for parameter in parameters]
        gradients = [parameter.grad for parameter in parameters]
        decay = group["weight_decay"]
        updates = torch._foreach_add(gradients, parameters, alpha=decay) if decay else gradients
        local = [
            _local_rate(parameter, gradient, decay, group["trust"]) if parameter.ndim > 1 else None
            for parameter, gradient in zip(parameters, gradients, strict=True)
        ]
        updates = [u if scale is None else u * scale for u, scale in zip(updates, local, strict=True)]
        torch._foreach_mul_(velocities, group["momentum"])
        torch._foreach_add_(velocities, updates, alpha=group["lr"])
        torch._foreach_sub_(parameters, velocities)


def _local_rate(weight: Tensor, gradient: Tensor, decay: float, trust: float) -> Tensor:
    """A tensor of one value, so that nobody waits for the device."""
    of_weight, of_gradient = torch.linalg.vector_norm(weight), torch.linalg.vector_norm(gradient)
    local = trust * of_weight / (of_gradient + decay * of_weight)
    return torch.where((of_weight > 0) & (of_gradient > 0), local, torch.ones_like(local))
