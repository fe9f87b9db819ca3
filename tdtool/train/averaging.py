"""The exponential moving average of a net's weights: what is scored and exported in place of the last ones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

#: Key of the number of updates among the tensors of a state.
UPDATES = "average/updates"


class Average:
    """The average of a net's parameters and floating-point buffers, kept beside it on its device.

    The decay of update t is min(decay, (1 + t) / (10 + t)): the first weights, which are random, are soon forgotten,
    in short runs too. Whole-number buffers are copied. ValueError: a decay outside [0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"a decay of {decay}: at least 0 and below 1")
        self.decay, self.updates = decay, 0
        self._kept = {name: tensor.detach().clone() for name, tensor in _tensors(model).items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the weights as they are now; after each step of the optimiser."""
        self.updates += 1
        share = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        kept, now = [], []
        for name, tensor in _tensors(model).items():
            if tensor.is_floating_point():
                kept.append(_part(self._kept[name]))
                now.append(_part(tensor.detach()))
            else:
                self._kept[name].copy_(tensor)
        torch._foreach_lerp_(kept, now, share)

    @contextlib.contextmanager
    def swapped(self, model: nn.Module) -> Iterator[None]:
        """The net has the average inside the block, and its own weights again after it, to the bit."""
        self._exchange(model)
        try:
            yield
        finally:
            self._exchange(model)

    def state(self) -> dict[str, Tensor]:
        """The average by the names of the net's own state, on the CPU, and the number of updates.

        Where the net is sharded every process must call it: the parts are gathered.
        """
        whole = {name: _whole(tensor).cpu().clone() for name, tensor in self._kept.items()}
        return whole | {UPDATES: torch.tensor(self.updates)}

    @torch.no_grad()
    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state` gave. ValueError: it is not of this net."""
        if set(state) != set(self._kept) | {UPDATES}:
            raise ValueError(f"not the average of this net: {sorted(set(state) ^ {*self._kept, UPDATES})[:3]}")
        for name, tensor in self._kept.items():
            tensor.copy_(_like(state[name], tensor))
        self.updates = int(state[UPDATES])

    @torch.no_grad()
    def _exchange(self, model: nn.Module) -> None:
        for name, tensor in _tensors(model).items():
            here, kept = _part(tensor.detach()), _part(self._kept[name])
            own = here.clone()
            here.copy_(kept)
            kept.copy_(own)


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and stored buffers by name, without what DDP and torch.compile put before the names."""
    return {
        name.replace("_orig_mod.", "").removeprefix("module."): tensor
        for name, tensor in model.state_dict(keep_vars=True).items()
    }


def _part(tensor: Tensor) -> Tensor:
    """The tensor, or the part of it that this process holds where it is sharded; the same memory."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def _whole(tensor: Tensor) -> Tensor:
    """The tensor, all parts of it where it is sharded."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def _like(tensor: Tensor, model: Tensor) -> Tensor:
    """`tensor`, sharded as `model` is."""
    if not hasattr(model, "full_tensor"):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(model.device), model.device_mesh, model.placements)
