"""Runs a contraction plan on torch tensors, by matrix products on views wherever that is possible.

Letters: B batch, N order, I_n size and R_n rank of mode n, K outputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tdtool.nn.contraction_order import BATCH, Labels, Merge, Plan, Step

#: A product with fewer columns than this has its matrix stored by columns.
_NARROW = 32


def is_channels_last(x: Tensor) -> bool:
    """x : (B, I_0, ..., I_{N-1}). True where mode 0 is the last in memory."""
    return x.dim() > 2 and x.stride(1) == 1 and x.shape[1] > 1 and math.prod(x.shape[2:]) > 1


def run_plan(plan: Plan, x: Tensor, weights: Sequence[Tensor], labels: Sequence[Labels]) -> Tensor:
    """The activation, contracted. x : (B, I_0, ..., I_{N-1}); weights : as the plan numbers them, their axes named by
    labels. Returns (B, ...) with the axes of plan.result, contiguous unless there was nothing to do.

    Differentiable twice; under autocast products are taken in its precision.
    """
    x = x.permute(0, *[1 + mode for mode in plan.data])
    axes = plan.data
    for step in plan.steps:
        weight, weight_axes = _merged(step.merge, weights, labels)
        x, axes = _absorb(step, x, axes, weight, weight_axes)
    return x


def _absorb(step: Step, x: Tensor, axes: Labels, weight: Tensor, weight_axes: Labels) -> tuple[Tensor, Labels]:
    """(activation, its labels) after one step. The sizes of all but the batch are numbers while a graph is traced."""
    sizes = dict(zip(axes, x.shape[1:], strict=True)) | dict(zip(weight_axes, weight.shape, strict=True))
    first = axes.index(step.contracted[0])
    before, after = axes[:first], tuple([label for label in axes[first:] if label not in step.contracted])
    contracted = step.contracted
    if weight.numel() > BATCH * math.prod(x.shape[1:]):  # the smaller of the two is put in the other's order
        contracted = tuple([label for label in weight_axes if label in contracted])
    # Lists, as torch.compile takes no generators.
    inner, rest, wide = [math.prod([sizes[label] for label in group]) for group in (contracted, after, step.new)]
    if step.folds or not after:
        x = _arranged(x, axes, before + after + contracted).reshape(-1, inner)
        if wide < _NARROW:  # long rows: such products are faster, and rounded less
            matrix = _arranged(weight, weight_axes, step.new + contracted, batched=False).reshape(wide, inner).t()
        else:
            matrix = _arranged(weight, weight_axes, contracted + step.new, batched=False).reshape(inner, wide)
        y = x @ matrix
        axes = before + after + step.new
    else:
        x = _arranged(x, axes, before + contracted + after).reshape(-1, inner, rest)
        matrix = _arranged(weight, weight_axes, step.new + contracted, batched=False).reshape(1, wide, inner)
        y = torch.bmm(matrix.expand(x.shape[0], wide, inner), x)
        axes = before + step.new + after
    return y.reshape(-1, *[sizes[label] for label in axes]), axes


def _arranged(tensor: Tensor, axes: Labels, wanted: Labels, *, batched: bool = True) -> Tensor:
    """The tensor with its axes in another order; a batch stays the first."""
    if axes == wanted:
        return tensor
    order = [axes.index(label) for label in wanted]
    return tensor.permute(0, *[1 + axis for axis in order]) if batched else tensor.permute(order)


def _merged(merge: Merge, weights: Sequence[Tensor], labels: Sequence[Labels]) -> tuple[Tensor, Labels]:
    """(tensor, labels) of one weight made of several."""
    if isinstance(merge, int):
        return weights[merge], labels[merge]
    left, left_axes = _merged(merge[0], weights, labels)
    right, right_axes = _merged(merge[1], weights, labels)
    shared = [label for label in left_axes if label in right_axes]
    axes = (*[x for x in left_axes if x not in shared], *[x for x in right_axes if x not in shared])
    if shared:
        sizes = dict(zip(left_axes, left.shape, strict=True)) | dict(zip(right_axes, right.shape, strict=True))
        inner, kept = math.prod([sizes[label] for label in shared]), tuple([x for x in left_axes if x not in shared])
        left = _arranged(left, left_axes, (*kept, *shared), batched=False).reshape(-1, inner)
        wide = tuple([label for label in axes if label not in kept])
        right = _arranged(right, right_axes, (*shared, *wide), batched=False).reshape(inner, -1)
        # Not tensordot: of two precisions, as autocast leaves them, only matrix products make one.
        return (left @ right).reshape([sizes[label] for label in axes]), axes
    # Not a matrix product: autocast would round the entries once more.
    return left.reshape(*left.shape, *[1] * right.dim()) * right, axes
