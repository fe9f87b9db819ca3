"""TCL and TRL against their definitions, and through all that torch does with a layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tdtool.errors import UsageError
from tdtool.nn.contraction_order import RANK, contraction_plan
from tdtool.nn.head_spec import HeadSpec, head_flops, head_parameters, parse_head
from tdtool.nn.heads import build_head
from tdtool.nn.tcl import TensorContraction
from tdtool.nn.trl import CPRegression, TensorRegression

#: shape, ranks, outputs, their rank.
CASES = [
    ((5, 3, 4), (3, 2, 2), 7, None),
    ((5, 3, 4), (None, 2, 2), 7, 3),
    ((50, 3, 4), (11, 2, None), 7, None),
    ((50, 4, 3), (40, 4, 3), 7, 5),
    ((5, 3, 4), (None, None, None), 7, None),
    ((64, 4, 5), (48, 3, 2), 10, None),
    ((64, 4, 5), (48, 3, 2), 70, 9),
    ((6,), (3,), 4, 2),
    ((3, 4, 5, 6), (2, 3, 2, 4), 70, 3),
]
HEADS = ["fc", "gap", "tcl:7,3,2,fc=9", "tcl:-,3,2", "trl:7,2,3", "trl:7,2,3,4", "cp:6", "tcl:7,2,2,fc=-"]
SHAPE, CLASSES, HIDDEN = (12, 4, 5), 9, (11, 10)


def drawn(shape: Sequence[int], seed: int = 0, *, channels_last: bool = False) -> Tensor:
    """Normal values, float64."""
    x = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return x.movedim(1, -1).contiguous().movedim(-1, 1) if channels_last else x


def along(tensor: Tensor, matrix: Tensor, mode: int) -> Tensor:
    """tensor x_mode matrix^T, slowly: matrix is (I, R)."""
    return torch.movedim(torch.tensordot(tensor, matrix, ([mode], [0])), -1, mode)


def full_weight(layer: TensorRegression) -> Tensor:
    """(I_0, ..., I_{N-1}, K) from the definition."""
    weight = layer.core
    if layer.factor_out is not None:
        weight = along(weight, layer.factor_out.T, weight.dim() - 1)
    for mode, rank in enumerate(layer.ranks):
        if rank is not None:
            weight = along(weight, layer.get_parameter(f"factor{mode}").T, mode)
    return weight


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("shape", "ranks", "n_outputs", "rank_out"), CASES)
def test_layers_are_what_they_are_defined_as(
    shape: tuple[int, ...], ranks: tuple[int | None, ...], n_outputs: int, rank_out: int | None, channels_last: bool
) -> None:
    x = drawn((6, *shape), channels_last=channels_last)
    contraction = TensorContraction(shape, ranks).double()
    y = x
    for mode, rank in enumerate(ranks):
        y = y if rank is None else along(y, contraction.get_parameter(f"factor{mode}"), mode + 1)
    assert contraction.bias is not None
    torch.testing.assert_close(contraction(x), y + contraction.bias.reshape(contraction.result_shape))

    tucker = TensorRegression(shape, ranks, n_outputs, rank_out=rank_out).double()
    torch.testing.assert_close(tucker(x), torch.tensordot(x, full_weight(tucker), len(shape)) + tucker.bias)

    cp = CPRegression(shape, 6, n_outputs).double()
    weight = torch.zeros(*shape, n_outputs, dtype=torch.float64)
    for r in range(6):
        outer = cp.factor_out[:, r]
        for mode in reversed(range(len(shape))):
            outer = torch.tensordot(cp.get_parameter(f"factor{mode}")[:, r], outer, 0)
        weight += outer
    torch.testing.assert_close(cp(x), torch.tensordot(x, weight, len(shape)) + cp.bias)


@pytest.mark.parametrize("bias", [False, True])
def test_layers_without_bias_are_linear(bias: bool) -> None:
    layers = [
        TensorContraction((5, 3, 4), (2, 3, None), bias=bias),
        TensorRegression((5, 3, 4), (2, 2, 2), 7, bias=bias),
        CPRegression((5, 3, 4), 3, 7, bias=bias),
    ]
    for layer in layers:
        at_zero = layer(torch.zeros(1, 5, 3, 4))
        assert bool((at_zero == 0).all()) is not bias


@pytest.mark.parametrize("channels_last", [False, True])
def test_gradients_and_their_gradients(channels_last: bool) -> None:
    x = drawn((3, 4, 2, 3), channels_last=channels_last).requires_grad_()
    layers = [
        TensorContraction((4, 2, 3), (2, 2, None)),
        TensorContraction((4, 2, 3), (3, 1, 2), bias=False),
        TensorRegression((4, 2, 3), (3, 2, 2), 3),
        TensorRegression((4, 2, 3), (2, 2, 2), 70, rank_out=2),
        CPRegression((4, 2, 3), 3, 3),
    ]
    for layer in layers:
        layer.double()
        inputs = (x, *layer.parameters())
        names = [name for name, _ in layer.named_parameters()]

        def call(x: Tensor, *values: Tensor, layer: nn.Module = layer, names: list[str] = names) -> Tensor:
            return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))

        assert torch.autograd.gradcheck(call, inputs, fast_mode=True)
        assert torch.autograd.gradgradcheck(call, inputs, fast_mode=True)


@pytest.mark.parametrize("word", HEADS)
def test_heads_have_the_parameters_and_operations_that_are_announced(word: str) -> None:
    spec = parse_head(word)
    head = build_head(spec, SHAPE, CLASSES, hidden=HIDDEN, dropout=0.5).eval()
    assert sum(p.numel() for p in head.parameters()) == head_parameters(spec, SHAPE, CLASSES, HIDDEN)
    with FlopCounterMode(display=False) as counter:
        assert head(torch.randn(3, *SHAPE)).shape == (3, CLASSES)
    announced = head_flops(spec, SHAPE, CLASSES, HIDDEN, batch=3)
    # torch counts matrix products only: neither the products of small factors, nor those of Khatri-Rao entry by entry.
    uncounted = {"cp": (2 * 3 * 20 + 20) * 6, "tcl": 4 * 3 * 5 * 3, "trl": 2 * 4 * 3 * 5}.get(spec.kind, 0)
    assert announced - uncounted <= counter.get_total_flops() <= announced


def test_heads_without_hidden_layers_pool() -> None:
    head = build_head(HeadSpec("fc"), SHAPE, CLASSES, hidden=(), dropout=0.5)
    assert sum(p.numel() for p in head.parameters()) == 12 * CLASSES + CLASSES
    x = torch.randn(2, *SHAPE)
    torch.testing.assert_close(head(x), head(x.mean((2, 3), keepdim=True).expand_as(x)))


def test_dropout_follows_hidden_layers_only() -> None:
    head = build_head(parse_head("tcl:7,3,2"), SHAPE, CLASSES, hidden=HIDDEN, dropout=0.3)
    kinds = [type(module).__name__ for module in head]
    assert kinds == ["TensorContraction", "Flatten", *["Linear", "ReLU", "Dropout"] * 2, "Linear"]
    assert [module.p for module in head if isinstance(module, nn.Dropout)] == [0.3, 0.3]


@torch.no_grad()
def test_outputs_vary_like_those_of_a_linear_layer() -> None:
    torch.manual_seed(0)
    shape, n_outputs = (64, 4, 5), 400
    x = torch.randn(200, *shape).relu()
    wanted = nn.Linear(math.prod(shape), n_outputs)(x.flatten(1)).var()
    for layer in (
        TensorRegression(shape, (24, 3, 3), n_outputs),
        TensorRegression(shape, (24, None, 3), n_outputs, rank_out=40),
        CPRegression(shape, 100, n_outputs),
    ):
        assert 0.5 < float(layer(x).var() / wanted) < 2
    y = TensorContraction(shape, (24, 3, 3), bias=False)(torch.randn(200, *shape))
    assert float(y.var()) == pytest.approx(1, rel=0.05)


def test_autocast_computes_in_its_precision_and_close() -> None:
    torch.manual_seed(0)
    x = torch.randn(8, *SHAPE)
    for word in HEADS[2:]:
        head = build_head(parse_head(word), SHAPE, CLASSES, hidden=HIDDEN, dropout=0.0)
        exact = head(x)
        with torch.autocast("cpu", torch.bfloat16):
            y = head(x)
        y.float().sum().backward()
        assert y.dtype in (torch.bfloat16, torch.float32)
        assert float((y.detach().float() - exact.detach()).norm() / exact.detach().norm()) < 0.03
        assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in head.parameters())


class _Net(nn.Module):
    """A convolution before each kind of head, so that layouts are those of a net."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, SHAPE[0], 3, padding=1)
        self.heads = nn.ModuleList(
            build_head(parse_head(word), SHAPE, CLASSES, hidden=HIDDEN, dropout=0.0) for word in HEADS[2:]
        )

    def forward(self, x: Tensor) -> Tensor:
        a = self.conv(x).relu()
        return torch.stack([head(a) for head in self.heads])


@pytest.mark.parametrize("channels_last", [False, True])
def test_export_with_batches_of_any_size(channels_last: bool) -> None:
    torch.manual_seed(0)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    net = _Net().eval().to(memory_format=layout)
    x = torch.randn(4, 3, *SHAPE[1:])
    batch = torch.export.Dim("batch", min=1, max=4096)
    exported = torch.export.export(net, (x.to(memory_format=layout),), dynamic_shapes=({0: batch},)).module()
    for n in (1, 2, 7):
        more = torch.randn(n, 3, *SHAPE[1:])
        for given in (more, more.to(memory_format=torch.channels_last)):
            torch.testing.assert_close(exported(given), net(given))


def test_compilers_see_one_graph_for_all_batches() -> None:
    """Traced without breaks and once; what a compiler makes of the graph is not ours."""
    torch.manual_seed(0)
    net, graphs = _Net(), []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    compiled = torch.compile(net, backend=backend, fullgraph=True, dynamic=True)
    for n in (6, 8, 11):  # none of them the size of another mode, which torch would take for the same
        x = torch.randn(n, 3, *SHAPE[1:])
        torch.testing.assert_close(compiled(x), net(x))
    assert len(graphs) == 1


def test_factors_are_named_as_a_run_keeps_them() -> None:
    sizes = {
        "tcl:7,-,2": {"head/factor0": (12, 7), "head/factor1": (4, 4), "head/factor2": (5, 2)},
        "trl:7,2,3": {
            "head/factor0": (12, 7),
            "head/factor1": (4, 2),
            "head/factor2": (5, 3),
            "head/factor3": (9, 9),
            "head/core": (7, 2, 3, 9),
            "head/bias": (9,),
        },
        "trl:7,-,3,4": {
            "head/factor0": (12, 7),
            "head/factor1": (4, 4),
            "head/factor2": (5, 3),
            "head/factor3": (9, 4),
            "head/core": (7, 4, 3, 4),
            "head/bias": (9,),
        },
        "cp:6": {f"head/factor{m}": (size, 6) for m, size in enumerate((12, 4, 5, 9))} | {"head/bias": (9,)},
    }
    for word, wanted in sizes.items():
        head = build_head(parse_head(word), SHAPE, CLASSES, hidden=(), dropout=0.0)
        layer = next(module for module in head.modules() if hasattr(module, "tensor_factors"))
        found = layer.tensor_factors()
        assert {name: tuple(tensor.shape) for name, tensor in found.items()} == wanted
        assert not any(tensor.requires_grad for tensor in found.values())


def test_what_cannot_be_is_refused() -> None:
    for call, says in (
        (lambda: TensorContraction((5, 3, 4), (6, 3, 4)), "rank 6 of mode 0"),
        (lambda: TensorContraction((5, 3, 4), (5, 3)), "2 ranks for an activation of 3 modes"),
        (lambda: TensorRegression((5, 3, 4), (5, 3, 0), 7), "rank 0 of mode 2"),
        (lambda: TensorRegression((5, 3, 4), (5, 3, 4), 7, rank_out=8), "rank 8 of the outputs"),
        (lambda: CPRegression((5, 3, 4), 0, 7), "rank is 0"),
        (lambda: TensorContraction((5, 3, 4), (2, 2, 2))(torch.zeros(2, 5, 4, 3)), r"not \(2, 5, 4, 3\)"),
        (lambda: build_head(parse_head("auto:0.3"), SHAPE, 9, hidden=(), dropout=0.0), "chosen first"),
    ):
        with pytest.raises(ValueError, match=says):
            call()
    with pytest.raises(UsageError, match="rank 13 of the channels"):
        build_head(parse_head("trl:13,2,2"), SHAPE, CLASSES, hidden=(), dropout=0.0)


def test_no_copy_of_the_activation_in_either_layout() -> None:
    """A small matrix goes to the activation: what is as large as the activation is never arranged anew."""
    for channels_last in (False, True):
        plan = contraction_plan((512, 7, 7), (8, 7, 7), channels_last=channels_last)
        assert plan.data == ((1, 2, 0) if channels_last else (0, 1, 2))
        assert not plan.steps[0].folds
        assert set(plan.result) == {RANK, RANK + 1, RANK + 2}


def test_shapes_are_counted_without_numbers() -> None:
    with torch.device("meta"):
        for word in HEADS:
            head = build_head(parse_head(word), SHAPE, CLASSES, hidden=HIDDEN, dropout=0.5)
            assert head(torch.empty(2, *SHAPE)).shape == (2, CLASSES)
