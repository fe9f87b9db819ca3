"""Tensor regression layers: from an activation tensor to the outputs, by a weight of low rank that is never unfolded.

Source: Kossaifi, Lipton, Kolbeinsson, Khanna, Furlanello, Anandkumar 2020, "Tensor regression networks", equations 9
(Tucker) and 11 (CP). Letters: B batch, N order, I_n size and R_n rank of mode n, K outputs, R rank of CP.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tdtool.nn.contraction import is_channels_last, run_plan
from tdtool.nn.contraction_order import CLASS, OUT, RANK, Labels, regression_plan
from tdtool.nn.tcl import check_activation, checked_ranks


class TensorRegression(nn.Module):
    """y_k = <x, W_k> + b_k with W = core x_0 U_0 ... x_{N-1} U_{N-1} x_N V, the Tucker form.

    shape : I_0, ..., I_{N-1}; ranks : R_n, 1 ... I_n, None where a mode has no factor; n_outputs : K; rank_out : of V,
    1 ... K, None where the core ends in the outputs themselves. Parameters: factor0, factor1, ... (I_n, R_n), core
    (R_0, ..., R_{N-1}, rank_out or K), factor_out (K, rank_out), bias (K,); ValueError: ranks that cannot be.

    The activation is projected on the factors first; how exactly, and when few outputs make another order cheaper, says
    contraction_order.regression_plan. Start: factors with orthonormal columns, and a core as of a linear layer on what
    they leave, so that the outputs vary like those of nn.Linear on the whole activation.
    """

    def __init__(
        self,
        shape: Sequence[int],
        ranks: Sequence[int | None],
        n_outputs: int,
        *,
        rank_out: int | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.shape, self.ranks = tuple(shape), checked_ranks(shape, ranks)
        self.n_outputs, self.rank_out = n_outputs, rank_out
        if rank_out is not None and not 1 <= rank_out <= n_outputs:
            raise ValueError(f"rank {rank_out} of the outputs is not between 1 and their number, {n_outputs}")
        inner = [size if rank is None else rank for size, rank in zip(shape, ranks, strict=True)]
        self._modes = tuple(mode for mode, rank in enumerate(self.ranks) if rank is not None)
        for mode in self._modes:
            self.register_parameter(f"factor{mode}", nn.Parameter(torch.empty(shape[mode], inner[mode])))
        self.core = nn.Parameter(torch.empty(*inner, n_outputs if rank_out is None else rank_out))
        self.factor_out = None if rank_out is None else nn.Parameter(torch.empty(n_outputs, rank_out))
        self.bias = nn.Parameter(torch.empty(n_outputs)) if bias else None
        # By the layout of the activation; made here, where no compiler looks on.
        self._plans = [
            regression_plan(self.shape, self.ranks, n_outputs, rank_out, channels_last=last) for last in (False, True)
        ]
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        for mode in self._modes:
            nn.init.orthogonal_(self.get_parameter(f"factor{mode}"))
        bound = 1 / math.sqrt(math.prod(self.core.shape[:-1]))
        nn.init.uniform_(self.core, -bound, bound)
        if self.factor_out is not None:  # rows of length 1 on average
            nn.init.orthogonal_(self.factor_out, gain=math.sqrt(self.n_outputs / self.factor_out.shape[1]))
        if self.bias is not None:
            bound = 1 / math.sqrt(math.prod(self.shape))
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x_BI: Tensor) -> Tensor:
        """x_BI : (B, I_0, ..., I_{N-1}) float; returns (B, K). ValueError: another shape."""
        check_activation(x_BI, self.shape)
        y_BK = run_plan(self._plans[is_channels_last(x_BI)], x_BI, *self._network())
        return y_BK if self.bias is None else y_BK + self.bias

    def _network(self) -> tuple[list[Tensor], list[Labels]]:
        """The weights in the order of the plan, and their labels."""
        weights = [self.get_parameter(f"factor{mode}") for mode in self._modes]
        labels: list[Labels] = [(mode, RANK + mode) for mode in self._modes]
        inner = [mode if rank is None else RANK + mode for mode, rank in enumerate(self.ranks)]
        weights.append(self.core)
        labels.append((*inner, CLASS if self.factor_out is None else OUT))
        if self.factor_out is not None:
            weights.append(self.factor_out)
            labels.append((CLASS, OUT))
        return weights, labels

    def tensor_factors(self) -> dict[str, Tensor]:
        """What a run's file keeps: head/factor0 ... (I_n, R_n), of the outputs last, head/core and head/bias.

        Modes without a factor have the identity: the file says the whole of W.
        """
        sizes = (*self.shape, self.n_outputs)
        found = {f"head/factor{mode}": torch.eye(size) for mode, size in enumerate(sizes)}
        found |= {f"head/factor{mode}": self.get_parameter(f"factor{mode}").detach() for mode in self._modes}
        if self.factor_out is not None:
            found[f"head/factor{len(self.shape)}"] = self.factor_out.detach()
        found["head/core"] = self.core.detach()
        return found if self.bias is None else found | {"head/bias": self.bias.detach()}

    def extra_repr(self) -> str:
        """Shapes, for print."""
        core = " x ".join(map(str, self.core.shape))
        return f"{self.shape} -> {self.n_outputs}, core {core}, bias={self.bias is not None}"


class CPRegression(nn.Module):
    """y_k = <x, W_k> + b_k with W = sum_r a_r (x) b_r (x) ... (x) v_r, the CP form.

    shape : I_0, ..., I_{N-1}; rank : R; n_outputs : K. Parameters: factor0, factor1, ... (I_n, R), factor_out (K, R),
    bias (K,), all float. ValueError: no such rank.

    The activation is projected on the factor of its largest mode by one matrix product, then on the Khatri-Rao product
    of the others. Start: columns of length 1 and random directions, outputs as of a linear layer on R inputs.
    """

    def __init__(self, shape: Sequence[int], rank: int, n_outputs: int, *, bias: bool = True) -> None:
        super().__init__()
        if rank < 1:
            raise ValueError(f"rank is {rank}; a CP regression has at least one component")
        self.shape, self.rank, self.n_outputs = tuple(shape), rank, n_outputs
        for mode, size in enumerate(self.shape):
            self.register_parameter(f"factor{mode}", nn.Parameter(torch.empty(size, rank)))
        self.factor_out = nn.Parameter(torch.empty(n_outputs, rank))
        self.bias = nn.Parameter(torch.empty(n_outputs)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        with torch.no_grad():
            for mode in range(len(self.shape)):
                factor = self.get_parameter(f"factor{mode}")
                nn.init.normal_(factor)
                factor /= factor.norm(dim=0).clamp_min(torch.finfo(factor.dtype).tiny)
        bound = 1 / math.sqrt(self.rank)
        nn.init.uniform_(self.factor_out, -bound, bound)
        if self.bias is not None:
            bound = 1 / math.sqrt(math.prod(self.shape))
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x_BI: Tensor) -> Tensor:
        """x_BI : (B, I_0, ..., I_{N-1}) float; returns (B, K). ValueError: another shape."""
        check_activation(x_BI, self.shape)
        largest = self.shape.index(max(self.shape))
        modes = [*range(1, len(self.shape)), 0] if is_channels_last(x_BI) else range(len(self.shape))
        others = [mode for mode in modes if mode != largest]
        x = x_BI.permute(0, *[1 + mode for mode in others], 1 + largest)
        y_BSR = (x.reshape(-1, self.shape[largest]) @ self.get_parameter(f"factor{largest}")).reshape(
            -1, math.prod(self.shape) // self.shape[largest], self.rank
        )
        if others:
            khatri_rao = self.get_parameter(f"factor{others[0]}")
            for mode in others[1:]:
                khatri_rao = (khatri_rao[:, None] * self.get_parameter(f"factor{mode}")).reshape(-1, self.rank)
            y_BSR = y_BSR * khatri_rao
        return nn.functional.linear(y_BSR.sum(dim=1), self.factor_out, self.bias)

    def tensor_factors(self) -> dict[str, Tensor]:
        """What a run's file keeps: head/factor0 ... (I_n, R), of the outputs last, and head/bias."""
        found = {f"head/factor{mode}": self.get_parameter(f"factor{mode}").detach() for mode in range(len(self.shape))}
        found[f"head/factor{len(self.shape)}"] = self.factor_out.detach()
        return found if self.bias is None else found | {"head/bias": self.bias.detach()}

    def extra_repr(self) -> str:
        """Shapes, for print."""
        return f"{self.shape} -> {self.n_outputs}, rank {self.rank}, bias={self.bias is not None}"
