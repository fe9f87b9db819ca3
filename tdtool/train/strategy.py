"""One net on several processes: copies that share gradients (DDP), or parts that are gathered when needed (FSDP)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from tdtool.config import DeviceConfig
from tdtool.train.world import World

State = dict[str, Tensor]


def distribute(model: nn.Module, config: DeviceConfig, world: World) -> nn.Module:
    """`model`, on its device already, as it is trained by all processes."""
    return model


def plain(model: nn.Module) -> nn.Module:
    """The net itself, without what compiles it or shares its gradients."""
    return model


def no_sync(model: nn.Module) -> AbstractContextManager[None]:
    """While it is open, backward keeps gradients to this process (all but the last part of an accumulated batch)."""
    return contextlib.nullcontext()


@contextlib.contextmanager
def scoring(model: nn.Module) -> Iterator[nn.Module]:
    """The net, for forward passes of which each process may do as many as it likes."""
    yield plain(model)


def full_state(model: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[State, State]:
    """Weights and buffers by name, and what the optimiser keeps ("NAME.momentum_buffer"), on the CPU; all call it."""
    net = plain(model)
    names = {parameter: name for name, parameter in net.named_parameters()}
    kept = {
        f"{names[parameter]}.{key}": torch.as_tensor(value).detach().cpu().contiguous()
        for parameter, values in optimiser.state.items()
        for key, value in values.items()
        if value is not None
    }
    return {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}, kept


def load_full_state(
    model: nn.Module, optimiser: torch.optim.Optimizer, model_state: Mapping[str, Tensor], kept: Mapping[str, Tensor]
) -> None:
    """Put back what `full_state` gave, whatever the number of processes and the strategy were."""
    net = plain(model)
    net.load_state_dict(dict(model_state))
    for name, parameter in net.named_parameters():
        keys = [key for key in kept if key.startswith(name + ".") and "." not in key[len(name) + 1 :]]
        optimiser.state[parameter] = {key[len(name) + 1 :]: kept[key].clone() for key in keys}


def clip_gradients(model: nn.Module, max_norm: float) -> Tensor:
    """Scale all gradients so that their norm is at most `max_norm`; returns the norm before, a 0-d tensor."""
    return nn.utils.clip_grad_norm_(model.parameters(), max_norm)
