"""Heads: what turns the last activation of a net into the scores of its classes.

Letters: B batch, C channels, H rows, W columns, K classes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import nn

from tdtool.nn.head_spec import HeadSpec, Shape, check_head, hidden_widths, tucker_ranks
from tdtool.nn.tcl import TensorContraction
from tdtool.nn.trl import CPRegression, TensorRegression


def build_head(spec: HeadSpec, shape: Shape, n_classes: int, *, hidden: Sequence[int], dropout: float) -> nn.Module:
    """A head that maps a_BCHW to logits_BK. shape : (C, H, W); n_classes : K; hidden : widths of the model's own fc
    head, () where that is pooled (ResNets); dropout : after every hidden layer, as in torchvision's VGG.

    UsageError where the head does not fit. ValueError: "auto", which is chosen before a net is built.
    """
    check_head(spec, shape, n_classes)
    if spec.kind == "auto":
        raise ValueError(f"head {spec} is to be chosen first")
    if spec.kind == "trl":
        _, rank_out = tucker_ranks(spec, shape, n_classes)
        return TensorRegression(shape, spec.ranks[:3], n_classes, rank_out=rank_out)
    if spec.kind == "cp":
        return CPRegression(shape, int(spec.ranks[0] or 1), n_classes)
    if spec.kind == "tcl":
        # What comes next is linear and has a bias: one before it would say nothing more.
        layer = TensorContraction(shape, spec.ranks, bias=False)
        sizes = layer.result_shape
        return nn.Sequential(
            layer,
            nn.Flatten(1),
            *_linear([sizes[0] * sizes[1] * sizes[2], *hidden_widths(spec, hidden), n_classes], dropout),
        )
    if spec.kind == "gap" or not hidden:
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(shape[0], n_classes))
    return nn.Sequential(nn.Flatten(1), *_linear([shape[0] * shape[1] * shape[2], *hidden, n_classes], dropout))


def _linear(widths: Sequence[int], dropout: float) -> list[nn.Module]:
    """Fully connected layers with ReLU and dropout between; hidden ones start as He et al. (2015) say."""
    layers: list[nn.Module] = []
    for into, out in itertools.pairwise(widths):
        layers += [nn.Linear(into, out), nn.ReLU(inplace=True), nn.Dropout(dropout)]
        nn.init.kaiming_normal_(layers[-3].weight, nonlinearity="relu")
        nn.init.zeros_(layers[-3].bias)
    nn.init.normal_(layers[-3].weight, 0, 0.01)  # no class is favoured at first
    return layers[:-2]
