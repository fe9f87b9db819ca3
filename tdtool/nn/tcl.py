"""The tensor contraction layer: an activation tensor, smaller along some of its modes.

Source: Kossaifi, Khanna, Lipton, Furlanello, Anandkumar 2017, "Tensor contraction layers for parsimonious deep nets",
equation 3. Letters: B batch, N order, I_n size and R_n rank of mode n.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tdtool.nn.contraction import is_channels_last, run_plan
from tdtool.nn.contraction_order import RANK, contraction_plan


class TensorContraction(nn.Module):
    """y = x x_1 U_0^T x_2 U_1^T ... + b: mode n of the activation, of size I_n, becomes one of size R_n.

    shape : I_0, ..., I_{N-1}; ranks : R_n, 1 ... I_n, None where a mode is left alone. bias : one number an output.
    Parameters: factor0, factor1, ... (I_n, R_n) float; bias (R_0 ... R_{N-1},) float. ValueError: ranks that cannot be.

    Factors start with orthonormal columns (Saxe, McClelland, Ganguli 2014, "Exact solutions to the nonlinear dynamics
    of learning in deep linear networks"): outputs have the mean square of the inputs.
    """

    def __init__(self, shape: Sequence[int], ranks: Sequence[int | None], *, bias: bool = True) -> None:
        super().__init__()
        self.shape, self.ranks = tuple(shape), checked_ranks(shape, ranks)
        self.result_shape = tuple(size if rank is None else rank for size, rank in zip(shape, ranks, strict=True))
        self._modes = tuple(mode for mode, rank in enumerate(self.ranks) if rank is not None)
        for mode in self._modes:
            factor = torch.empty(self.shape[mode], self.result_shape[mode])
            self.register_parameter(f"factor{mode}", nn.Parameter(factor))
        self.bias = nn.Parameter(torch.empty(math.prod(self.result_shape))) if bias else None
        # By the layout of the activation; made here, where no compiler looks on.
        self._plans = [contraction_plan(self.shape, self.ranks, channels_last=last) for last in (False, True)]
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        for mode in self._modes:
            nn.init.orthogonal_(self.get_parameter(f"factor{mode}"))
        if self.bias is not None:
            bound = 1 / math.sqrt(math.prod(self.shape))
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x_BI: Tensor) -> Tensor:
        """x_BI : (B, I_0, ..., I_{N-1}) float; returns (B, R_0, ..., R_{N-1}). ValueError: another shape."""
        check_activation(x_BI, self.shape)
        plan = self._plans[is_channels_last(x_BI)]
        factors = [self.get_parameter(f"factor{mode}") for mode in self._modes]
        y = run_plan(plan, x_BI, factors, [(mode, RANK + mode) for mode in self._modes])
        modes = [label - RANK if label >= RANK else label for label in plan.result]
        y_BR = y.permute(0, *[1 + modes.index(mode) for mode in range(len(modes))])
        return y_BR if self.bias is None else y_BR + self.bias.reshape(self.result_shape)

    def tensor_factors(self) -> dict[str, Tensor]:
        """What a run's file keeps: head/factor0 ... (I_n, R_n), the identity of modes left alone, and head/bias."""
        found = {f"head/factor{mode}": torch.eye(size) for mode, size in enumerate(self.shape)}
        found |= {f"head/factor{mode}": self.get_parameter(f"factor{mode}").detach() for mode in self._modes}
        return found if self.bias is None else found | {"head/bias": self.bias.detach()}

    def extra_repr(self) -> str:
        """Shapes, for print."""
        return f"{self.shape} -> {self.result_shape}, bias={self.bias is not None}"


def checked_ranks(shape: Sequence[int], ranks: Sequence[int | None]) -> tuple[int | None, ...]:
    """The ranks; ValueError where they do not fit the shape."""
    if len(ranks) != len(shape):
        raise ValueError(f"{len(ranks)} ranks for an activation of {len(shape)} modes; give one for each mode")
    for mode, (rank, size) in enumerate(zip(ranks, shape, strict=True)):
        if rank is not None and not 1 <= rank <= size:
            raise ValueError(f"rank {rank} of mode {mode} is not between 1 and its size {size}; shape {tuple(shape)}")
    return tuple(ranks)


def check_activation(x: Tensor, shape: Sequence[int]) -> None:
    """ValueError where a batch of activations is not (B, *shape)."""
    if tuple(x.shape[1:]) != tuple(shape):
        raise ValueError(
            f"the layer takes activations of shape (B, {', '.join(map(str, shape))}), not {tuple(x.shape)}"
        )
