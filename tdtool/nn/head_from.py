"""Starts a tensor head from a trained fully connected one, by decomposing its weights.

Letters: B images, C channels, H rows, W columns, K classes, F outputs of a layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from tdtool.decompose.cp import cp_als
from tdtool.kernels.modes import mode_dot
from tdtool.nn.head_compression import Array, compressed, moments, ridge
from tdtool.nn.head_spec import Shape
from tdtool.nn.tcl import TensorContraction
from tdtool.nn.trl import CPRegression, TensorRegression

#: Layers of a trained head, the first one first: weight (F, C, H, W), then (F, F'), and bias (F,).
Layers = Sequence[tuple[Tensor, Tensor]]

#: Sweeps of CP, from one start: what is left is for training.
_CP_SWEEPS = 30
#: No core of more entries a class is fitted to features; it is projected only.
_MOST_FITTED = 4096


def linear_layers(modules: Sequence[nn.Module], shape: Shape) -> list[tuple[Tensor, Tensor]]:
    """The fully connected layers below `modules`, in order, as `head_from_fc` takes them. shape : (C, H, W).

    A first layer that reads the mean over rows and columns is written as one that reads them all. ValueError: no such
    layer, or one that reads something else.
    """
    found = [module for root in modules for module in root.modules() if isinstance(module, nn.Linear)]
    if not found:
        raise ValueError("the head has no fully connected layer")
    layers = [(layer.weight.detach(), _bias_of(layer)) for layer in found]
    first = layers[0][0]
    channels, height, width = shape
    if first.shape[1] == channels * height * width:
        first = first.reshape(-1, *shape)
    elif first.shape[1] == channels:
        first = (first / (height * width))[:, :, None, None].expand(-1, *shape)
    else:
        raise ValueError(f"the first layer reads {first.shape[1]} values; an activation of {shape} has others")
    return [(first, layers[0][1]), *layers[1:]]


def head_from_fc(head: nn.Module, weights: Layers, *, features_BCHW: Tensor | None = None) -> None:
    """Fill a head of build_head, in place, so that it says nearly what the layers `weights` say.

    weights : see Layers; `linear_layers` makes them. features_BCHW : activations of some training images, for which
    the difference is then made small; without them it is that of the weights.

    tcl: factors from the Tucker decomposition of the first layer along C, H, W, the next layer from its core; hidden
    layers that are narrower keep the units that weigh most, wider ones say the same. trl: Tucker of the map as a whole,
    cp: CP of it. The map of several layers is their product, each ReLU taken as the share of images that it lets
    through (without features one half); with features the core is then fitted to what the layers say about them.
    ValueError: a head without factors, or layers of another activation or other classes.

    Source for the decomposition: Kim et al. 2016, "Compression of deep convolutional neural networks ...", section 3.2;
    what features add: Zhang et al. 2016, "Accelerating very deep convolutional networks", section 3.
    """
    start_head(head, TrainedHead(weights, features_BCHW))


def start_head(head: nn.Module, trained: TrainedHead) -> None:
    """What `head_from_fc` does, for several heads that start from one."""
    layer = next(
        (m for m in head.modules() if isinstance(m, TensorContraction | TensorRegression | CPRegression)), None
    )
    if layer is None:
        raise ValueError("the head has no factors that could start from a decomposition")
    if layer.shape != trained.shape:
        raise ValueError(f"the head reads activations of {layer.shape}, the trained one {trained.shape}")
    with torch.no_grad():
        if isinstance(layer, TensorContraction):
            _start_contraction(head, layer, trained)
            return
        if layer.n_outputs != trained.n_outputs:
            raise ValueError(f"the head has {layer.n_outputs} outputs, the trained one {trained.n_outputs}")
        if isinstance(layer, TensorRegression):
            _start_tucker(layer, trained)
        else:
            _start_cp(layer, trained)


class TrainedHead:
    """A trained head: its layers as arrays, and what it says about features. Arguments: as of head_from_fc."""

    def __init__(self, weights: Layers, features_BCHW: Tensor | None) -> None:
        if not weights or weights[0][0].dim() != 4:
            raise ValueError("the first layer of a trained head has a weight of shape (F, C, H, W)")
        size = sum(weight.numel() for weight, _ in weights)
        dtype = np.float64 if size < 1 << 21 else np.float32
        self.weights = [np.ascontiguousarray(w.detach().float().cpu().numpy(), dtype) for w, _ in weights]
        self.biases = [b.detach().float().cpu().numpy().astype(dtype) for _, b in weights]
        self.shape: Shape = self.weights[0].shape[1:]
        self.n_outputs = int(self.weights[-1].shape[0])
        self.features: Array | None = None
        self.gates: list[Array] = [np.full(len(weight), 0.5, dtype) for weight in self.weights[:-1]]
        self.metrics: dict[int, Array] = {}
        self.mean: Array | None = None
        if features_BCHW is not None:
            self.features = features_BCHW.detach().float().cpu().contiguous().numpy().astype(dtype)
            self.outputs, self.gates = self._answers(self.features)
            self.mean = self.features.mean(axis=0)
            spread = self.features - self.mean
            self.metrics = {1 + mode: moments(spread, 1 + mode) for mode in range(3)}

    def _answers(self, features: Array) -> tuple[Array, list[Array]]:
        """Outputs (B, K) for features (B, C, H, W), and the shares of them that each ReLU lets through."""
        x, gates = features.reshape(len(features), -1), []
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = x @ weight.reshape(len(weight), -1).T + bias
            if place < len(self.weights) - 1:
                gates.append((x > 0).mean(axis=0).astype(x.dtype))
                x = np.maximum(x, 0)
        return x, gates

    def linear_map(self) -> tuple[Array, Array]:
        """(K, C, H, W) and (K,): all layers as one, each ReLU as its gate."""
        weight: Array = self.weights[-1]
        bias: Array = self.biases[-1]
        for below, offset, gate in zip(self.weights[-2::-1], self.biases[-2::-1], self.gates[::-1], strict=True):
            weight = weight * gate
            bias = bias + weight @ offset
            weight = weight @ below.reshape(len(below), -1)
        return weight.reshape(self.n_outputs, *self.shape), bias


def _start_tucker(layer: TensorRegression, trained: TrainedHead) -> None:
    weight, bias = trained.linear_map()
    ranks = {1 + mode: rank for mode, rank in enumerate(layer.ranks) if rank is not None}
    core, factors = compressed(weight, ranks, trained.metrics)
    core = np.moveaxis(core, 0, -1)
    entries = int(np.prod(core.shape[:-1]))
    if trained.features is not None and entries <= _MOST_FITTED:
        x = trained.features
        for mode, factor in factors.items():
            x = mode_dot(x, factor, mode, transpose=True)
        fitted, bias = ridge(x.reshape(len(x), -1), trained.outputs, core.reshape(entries, -1))
        core = fitted.reshape(core.shape)
    if layer.factor_out is not None:
        core, ends = compressed(core, {core.ndim - 1: layer.factor_out.shape[1]}, {})
        _fill(layer.factor_out, ends[core.ndim - 1])
    _fill(layer.core, core)
    for mode, factor in factors.items():
        _fill(layer.get_parameter(f"factor{mode - 1}"), factor)
    if layer.bias is not None:
        _fill(layer.bias, bias)


def _start_cp(layer: CPRegression, trained: TrainedHead) -> None:
    weight, bias = trained.linear_map()
    fit = cp_als(np.moveaxis(weight, 0, -1), layer.rank, max_iters=_CP_SWEEPS, n_restarts=1)
    *factors, last = fit.factors
    last = last * fit.weights
    if trained.features is not None and layer.rank <= _MOST_FITTED:
        x = np.einsum("bchw,cr->bhwr", trained.features, factors[0], optimize=True)
        z = np.einsum("bhwr,hr,wr->br", x, factors[1], factors[2], optimize=True)
        fitted, bias = ridge(z, trained.outputs, last.T)
        last = fitted.T
    for mode, factor in enumerate(factors):
        _fill(layer.get_parameter(f"factor{mode}"), factor)
    _fill(layer.factor_out, last)
    if layer.bias is not None:
        _fill(layer.bias, bias)


def _start_contraction(head: nn.Module, layer: TensorContraction, trained: TrainedHead) -> None:
    linear = [module for module in head.modules() if isinstance(module, nn.Linear)]
    weights, biases = list(trained.weights), list(trained.biases)
    if len(linear) == 1:
        weight, bias = trained.linear_map()
        weights, biases = [weight], [bias]
    ranks = {1 + mode: rank for mode, rank in enumerate(layer.ranks) if rank is not None}
    # Beneath hidden layers the features' metric was measured to help no more than the plain one.
    core, factors = compressed(weights[0], ranks, trained.metrics if len(linear) == 1 else {})
    if trained.mean is not None:  # what is lost of the mean is known: it goes to the bias
        kept = trained.mean[None]
        for mode, factor in factors.items():
            kept = mode_dot(kept, factor, mode, transpose=True)
        lost = np.tensordot(weights[0], trained.mean, 3) - np.tensordot(core, kept[0], 3)
        biases[0] = biases[0] + lost
    for mode, factor in factors.items():
        _fill(layer.get_parameter(f"factor{mode - 1}"), factor)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    if len(linear) != len(weights):
        return  # other layers than the trained ones: they start as any do
    if linear[-1].out_features != trained.n_outputs:
        raise ValueError(f"the head has {linear[-1].out_features} outputs, the trained one {trained.n_outputs}")
    weights[0] = core.reshape(len(core), -1)
    kept = np.arange(weights[0].shape[1])
    for place, target in enumerate(linear):
        weight, bias = weights[place][:, kept], biases[place]
        kept = np.arange(len(weight))
        if place < len(linear) - 1 and target.out_features < len(weight):
            kept = _heaviest(weight, weights[place + 1], target.out_features)
        # Units beyond the trained ones keep their start below, and say nothing to the layer above.
        target.weight[: len(kept)] = 0
        _fill(target.weight[: len(kept), : weight.shape[1]], weight[kept])
        if target.bias is not None:
            _fill(target.bias[: len(kept)], bias[kept])


def _heaviest(weight: Array, above: Array, n: int) -> Array:
    """The units of a layer whose way in and way out weigh most, ascending."""
    scores = np.linalg.norm(weight, axis=1) * np.linalg.norm(above, axis=0)
    return np.sort(np.argsort(-scores, kind="stable")[:n])


def _bias_of(layer: nn.Linear) -> Tensor:
    return torch.zeros(layer.out_features) if layer.bias is None else layer.bias.detach()


def _fill(target: Tensor, values: Array) -> None:
    target.copy_(torch.from_numpy(np.array(values, order="C")))
