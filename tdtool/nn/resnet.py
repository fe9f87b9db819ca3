"""Residual nets (He et al. 2016, arXiv:1512.03385), named and counted as torchvision's, stride on the 3 x 3 layer.

Small images: the stem is one 3 x 3 convolution that keeps the resolution, as in section 4.2 of the paper.
"""

from __future__ import annotations

import torch
from torch import nn

from tdtool.config import NetConfig
from tdtool.nn.model_names import is_small
from tdtool.nn.net import Net


def _convolution(c_in: int, c_out: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, size, stride=stride, padding=size // 2, bias=False)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a way round them. x : (B, c_in, H, W) -> (B, channels, H / stride, W / stride)."""

    expansion = 1

    def __init__(self, c_in: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = _convolution(c_in, channels, 3, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _convolution(channels, channels, 3)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = _downsample(c_in, channels, stride)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """x_BCHW : (B, c_in, H, W)."""
        y_BCHW = self.relu(self.bn1(self.conv1(x_BCHW)))
        y_BCHW = self.bn2(self.conv2(y_BCHW))
        y_BCHW += x_BCHW if self.downsample is None else self.downsample(x_BCHW)
        return self.relu(y_BCHW)


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions and a way round them; leaves 4 * channels channels."""

    expansion = 4

    def __init__(self, c_in: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = _convolution(c_in, channels, 1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _convolution(channels, channels, 3, stride)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = _convolution(channels, channels * self.expansion, 1)
        self.bn3 = nn.BatchNorm2d(channels * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _downsample(c_in, channels * self.expansion, stride)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """x_BCHW : (B, c_in, H, W)."""
        y_BCHW = self.relu(self.bn1(self.conv1(x_BCHW)))
        y_BCHW = self.relu(self.bn2(self.conv2(y_BCHW)))
        y_BCHW = self.bn3(self.conv3(y_BCHW))
        y_BCHW += x_BCHW if self.downsample is None else self.downsample(x_BCHW)
        return self.relu(y_BCHW)


def _downsample(c_in: int, c_out: int, stride: int) -> nn.Module | None:
    if stride == 1 and c_in == c_out:
        return None
    return nn.Sequential(_convolution(c_in, c_out, 1, stride), nn.BatchNorm2d(c_out))


class ResNet(Net):
    """A residual net. layers : blocks of each stage; every stage after the first halves the map, doubles the channels.

    head : the model's own is the mean over the map and one linear layer (`avgpool`, `fc`); others are `head`.
    """

    own_head = "fc"

    def __init__(self, config: NetConfig, block: type[BasicBlock | Bottleneck], layers: tuple[int, ...]) -> None:
        super().__init__(config)
        width, self.stages = config.width, len(layers)
        small = is_small(config.image_size)
        self.conv1 = _convolution(3, width, 3 if small else 7, 1 if small else 2)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, stride=2, padding=1)
        c_in, side = width, config.image_size if small else _halved(_halved(config.image_size))
        for stage, count in enumerate(layers):
            channels, stride = width << stage, 1 if stage == 0 else 2
            blocks = []
            for place in range(count):
                blocks.append(block(c_in, channels, stride if place == 0 else 1))
                c_in = channels * block.expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
            side = side if stage == 0 else _halved(side)
        self.feature_shape, self.hidden = (c_in, side, side), ()
        self._add_head(dropout=0.0)
        self._initialise()

    def _add_own_head(self, dropout: float) -> None:
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(self.feature_shape[0], self.config.n_classes)

    def _forward_own_head(self, a_BCHW: torch.Tensor) -> torch.Tensor:
        return self.fc(self.dropout(torch.flatten(self.avgpool(a_BCHW), 1)))

    def _initialise(self) -> None:
        # As torchvision: He et al. 2015 (arXiv:1502.01852) for convolutions; linear layers keep PyTorch's own start.
        for unit in self.blocks():
            for module in unit.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def units(self) -> list[list[nn.Module]]:
        """The stem, then every block."""
        stages = [self.get_submodule(f"layer{stage + 1}") for stage in range(self.stages)]
        return [[self.conv1, self.bn1, self.relu, self.maxpool], *([block] for stage in stages for block in stage)]


def _halved(side: int) -> int:
    return (side + 1) // 2
