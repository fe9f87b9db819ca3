"""Recomputation against depth: bytes held and arithmetic of residual nets for small images, by mode.

Bytes and arithmetic are counted on tensors without numbers, so they are the same everywhere; whether gradients are the
same bits is tried on real ones.
"""

from __future__ import annotations

import argparse
import copy
import sys

import torch
from torch.utils.flop_counter import FlopCounterMode

from tdtool.config import NetConfig
from tdtool.nn.costs import meta_copy
from tdtool.nn.live_bytes import LiveBytes
from tdtool.nn.net import Net
from tdtool.nn.recompute import MODES, recompute
from tdtool.nn.resnet import BasicBlock, ResNet
from tests.bench.measure import Stopwatch, hardware, version_of
from tests.bench.results import Result, Row

QUALITIES = {
    "saved_mb": ("held MB", ".2f"),
    "saved_ratio": ("x less", ".1f"),
    "peak_mb": ("at most", ".2f"),
    "peak_ratio": ("x less ", ".1f"),
    "compute": ("compute", ".2f"),
    "gradients_equal": ("same bits", ".0f"),
}
DEPTHS = (50, 101, 400, 1001)
_WIDTH, _SIZE, _BATCH, _CLASSES = 16, 32, 4, 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--depths", type=int, nargs="+", default=DEPTHS, help="layers (default 50 101 400 1001)")


def run(options: argparse.Namespace) -> Result:
    """Count every mode at every depth."""
    torch.set_num_threads(options.threads)
    about = [
        f"nets: basic blocks of {_WIDTH}, {2 * _WIDTH}, {4 * _WIDTH} channels; images of {_SIZE} x {_SIZE} pixels",
        f"held: after forward, for {_BATCH} images, float32; at most: during backward, without gradients",
        "compute: multiply-adds of forward and backward, over those of mode none",
        "same bits: gradients of one pass over 2 images of 8 x 8 pixels; 1: as mode none, statistics too",
        "seconds: of that pass",
    ]
    result = Result("recompute", options.threads, hardware(), about)
    for depth in options.depths:
        print(f"depth {depth}", file=sys.stderr)
        result.rows += _rows(depth, options.seed)
    return result


def _net(depth: int, size: int) -> Net:
    """About `depth` layers: the stem, two for each block, and the head."""
    config = NetConfig(model=f"resnet of {depth} layers", width=_WIDTH, image_size=size, n_classes=_CLASSES)
    blocks = (depth - 2) // 2
    return ResNet(config, BasicBlock, tuple(blocks // 3 + (stage < blocks % 3) for stage in range(3)))


def _rows(depth: int, seed: int) -> list[Row]:
    twin = meta_copy(_net(depth, _SIZE)).train()
    torch.manual_seed(seed)
    small, images = _net(depth, 8), torch.randn(2, 3, 8, 8)
    rows: list[Row] = []
    expected: list[torch.Tensor] = []
    for mode in MODES:
        row = Row(f"tdtool {mode}", version_of("torch"), f"depth {depth}")
        recompute(twin, mode)
        saved, peak = _held(twin)
        row.quality = {"saved_mb": saved / 1e6, "peak_mb": peak / 1e6, "compute": _flops(twin)}
        first = rows[0] if rows else row
        row.quality["saved_ratio"] = first.quality["saved_mb"] / row.quality["saved_mb"]
        row.quality["peak_ratio"] = first.quality["peak_mb"] / row.quality["peak_mb"]
        watch = Stopwatch()
        found = _result_of(small, mode, images, watch)
        expected = expected or found
        row.quality["gradients_equal"] = float(all(map(torch.equal, expected, found)))
        row.seconds, row.cpu_seconds = watch.seconds, watch.cpu_seconds
        rows.append(row)
    whole = rows[0].quality["compute"]
    for row in rows:
        row.quality["compute"] /= whole
    return rows


def _held(twin: Net) -> tuple[int, int]:
    """Bytes held after the forward pass, and at most in the backward pass beyond the gradients."""
    twin.zero_grad()
    with LiveBytes() as live:
        loss = twin(torch.empty(_BATCH, 3, _SIZE, _SIZE, device="meta")).sum()
        held = live.live
        live.forget_peak()
        loss.backward()
    return held, max(held, live.peak - sum(parameter.nbytes for parameter in twin.parameters()))


def _flops(twin: Net) -> float:
    twin.zero_grad()
    with FlopCounterMode(display=False) as counter:
        twin(torch.empty(_BATCH, 3, _SIZE, _SIZE, device="meta")).sum().backward()
    return float(counter.get_total_flops())


def _result_of(net: Net, mode: str, images: torch.Tensor, watch: Stopwatch) -> list[torch.Tensor]:
    """Gradients and statistics of one pass."""
    net = copy.deepcopy(net).train()
    recompute(net, mode)
    with watch:
        net(images).square().mean().backward()
    gradients = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
    return [*gradients, *net.buffers()]
