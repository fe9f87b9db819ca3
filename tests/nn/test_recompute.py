"""Recomputation changes what is held, and nothing else: not a bit of the gradients, not the statistics."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn

from tdtool.config import NetConfig
from tdtool.nn.costs import count, meta_copy
from tdtool.nn.live_bytes import LiveBytes
from tdtool.nn.models import build
from tdtool.nn.net import Net
from tdtool.nn.recompute import MODES, recompute, segments
from tdtool.nn.resnet import BasicBlock, ResNet

AGAIN = [mode for mode in MODES if mode != "none"]
VGG = NetConfig(model="vgg11_bn", width=2, n_classes=3, image_size=8, head="gap")


def deep_net(blocks: int, width: int = 2, image_size: int = 8) -> Net:
    config = NetConfig(model="resnet", width=width, n_classes=3, image_size=image_size)
    return ResNet(config, BasicBlock, (blocks,) * 3)


def train(net: Net, dtype: torch.dtype | None = None) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Gradients and buffers after two forward and backward passes."""
    draw = torch.Generator().manual_seed(5)
    size = net.config.image_size
    torch.manual_seed(9)
    for _ in range(2):
        x_BCHW = torch.randn(5, 3, size, size, generator=draw)
        with torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            logits_BK = net(x_BCHW)
        logits_BK.float().square().mean().backward()
    return {name: p.grad for name, p in net.named_parameters()}, dict(net.named_buffers())


def assert_same(net: Net, mode: str, dtype: torch.dtype | None = None) -> None:
    other = copy.deepcopy(net)
    recompute(other, mode)
    for expected, found in zip(train(net, dtype), train(other, dtype), strict=True):
        assert expected.keys() == found.keys()
        for name in expected:
            assert torch.equal(expected[name], found[name]), name


@pytest.mark.parametrize("mode", AGAIN)
def test_gradients_and_statistics_are_the_same_bits(mode: str) -> None:
    assert_same(deep_net(3), mode)
    assert_same(build(VGG, seed=3), mode)


@pytest.mark.parametrize("mode", AGAIN)
def test_the_same_in_mixed_precision(mode: str) -> None:
    assert_same(deep_net(2), mode, torch.bfloat16)


def test_random_draws_are_repeated() -> None:
    class Noisy(Net):
        def __init__(self) -> None:
            super().__init__(NetConfig(image_size=6))
            self.steps = nn.ModuleList(nn.Sequential(nn.Conv2d(3, 3, 1), nn.Dropout(0.5)) for _ in range(5))

        def units(self) -> list[list[nn.Module]]:
            return [[step] for step in self.steps]

        def head_modules(self) -> list[nn.Module]:
            return []

        def forward_head(self, a_BCHW: torch.Tensor) -> torch.Tensor:
            return a_BCHW.mean((2, 3))

    torch.manual_seed(0)
    assert_same(Noisy(), "block")


def test_statistics_that_are_not_kept_stay_so() -> None:
    net = deep_net(2)
    recompute(net, "sqrt")
    train(net)
    norm = net.layer1[0].bn1
    assert norm.num_batches_tracked == 2
    assert dict(norm.named_buffers()).keys() == {"running_mean", "running_var", "num_batches_tracked"}


@pytest.mark.parametrize("mode", AGAIN)
@pytest.mark.parametrize("blocks", [1, 2, 6])
def test_segments_hold_every_unit_once_in_order(mode: str, blocks: int) -> None:
    def flat(tree: object) -> list[int]:
        return [tree] if isinstance(tree, int) else list(itertools.chain(*map(flat, tree)))

    net = deep_net(blocks)
    assert flat(segments(net, mode)) == list(range(3 * blocks + 1))


def held(net: Net, mode: str) -> tuple[int, int]:
    """Bytes held after the forward pass, and at most during backward without the gradients."""
    twin = meta_copy(net)
    recompute(twin, mode)
    with LiveBytes() as live:
        loss = twin(torch.empty(2, 3, 16, 16, device="meta")).sum()
        after_forward = live.live
        live.forget_peak()
        loss.backward()
    return after_forward, live.peak - sum(p.nbytes for p in twin.parameters())


def test_depth_is_held_in_its_root_and_in_its_logarithm() -> None:
    net = deep_net(11, width=1, image_size=16)  # 68 layers
    (everything, most), (root, root_most), (logarithm, log_most) = (
        held(net, mode) for mode in ("none", "sqrt", "recursive")
    )
    assert everything > 4 * root > 6 * logarithm
    assert most > 3 * root_most > 3.5 * log_most


def test_nothing_is_run_again_without_gradients() -> None:
    net = deep_net(1).eval()
    x_BCHW = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    expected = net(x_BCHW)
    recompute(net, "block")
    with torch.no_grad():
        assert torch.equal(net(x_BCHW), expected)


def test_an_unknown_mode_is_refused_and_none_undoes() -> None:
    net = deep_net(1)
    plain = net.runner
    with pytest.raises(ValueError, match="auto"):
        recompute(net, "auto")
    recompute(net, "block")
    assert net.runner is not plain
    recompute(net, "none")
    assert net.runner is plain


def test_costs_are_those_of_the_formulas() -> None:
    net = build(NetConfig(model="vgg11", width=4, n_classes=7, image_size=16), device="meta")
    costs = count(net, batch=3)
    channels, side, flops, c_in = (4, 8, 16, 16, 32, 32, 32, 32), (16, 8, 4, 4, 4, 4, 4, 4), 0, 3
    for c_out, n in zip(channels, side, strict=True):
        flops += 2 * 3 * c_in * c_out * 9 * n * n
        c_in = c_out
    head = 32 * 16 * 32 + 32 * 32 + 32 * 7
    assert costs.flops == flops + 2 * 3 * head
    assert costs.head_parameters == head + 32 + 32 + 7
    assert costs.parameters == sum(layer.parameters for layer in costs.layers)
    assert costs.layers[-1].shape == (7,)


def test_saved_bytes_are_what_autograd_keeps() -> None:
    net = deep_net(2)
    kept: dict[int, torch.Tensor] = {}
    weights = {tensor.data_ptr() for tensor in (*net.parameters(), *net.buffers())}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        net(torch.zeros(5, 3, 8, 8))
    assert count(net, batch=5).saved_bytes == sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def test_counting_leaves_the_net_alone() -> None:
    net = deep_net(1).eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    count(net)
    assert not net.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
