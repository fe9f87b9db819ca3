"""AlexNet in one column (Krizhevsky 2014, arXiv:1404.5997), named and counted as torchvision's.

Small images: the first convolution is 5 x 5 and keeps the resolution (halves it from 48 pixels on), the pools are
padded, so that the last map has about 4 x 4 places, and the hidden layers are 8 * width wide.
"""

from __future__ import annotations

import itertools
import math

from torch import nn

from tdtool.config import NetConfig
from tdtool.nn.model_names import is_small
from tdtool.nn.net import Net

_LAST_SIDE, _STRIDE_FROM = 6, 48


class AlexNet(Net):
    """AlexNet. head : the model's own is three linear layers (`classifier`); others are `head`."""

    def __init__(self, config: NetConfig) -> None:
        super().__init__(config)
        width, small, side = config.width, is_small(config.image_size), config.image_size
        if small:
            stride, padding = 1 if side < _STRIDE_FROM else 2, 1
            stem = nn.Conv2d(3, width, 5, stride=stride, padding=2)
            side = (side - 1) // stride + 1
        else:
            padding = 0
            stem = nn.Conv2d(3, width, 11, stride=4, padding=2)
            side = (side - 7) // 4 + 1
        self.features = nn.Sequential(
            stem,
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=padding),
            nn.Conv2d(width, 3 * width, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=padding),
            nn.Conv2d(3 * width, 6 * width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(6 * width, 4 * width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(4 * width, 4 * width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=padding),
        )
        for _ in range(3):
            side = (side + 2 * padding - 3) // 2 + 1
        self.avgpool = nn.AdaptiveAvgPool2d(_LAST_SIDE) if side > _LAST_SIDE else nn.Identity()
        side = min(side, _LAST_SIDE)
        self.feature_shape = (4 * width, side, side)
        self.hidden = (width * (8 if small else 64),) * 2
        self._add_head(dropout=0.5)

    def _add_own_head(self, dropout: float) -> None:
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(math.prod(self.feature_shape), self.hidden[0]),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(*self.hidden),
            nn.ReLU(inplace=True),
            nn.Linear(self.hidden[-1], self.config.n_classes),
        )

    def units(self) -> list[list[nn.Module]]:
        """Every convolution with what follows it."""
        layers = [*self.features]
        ends = (0, 3, 6, 8, 10, 13)
        return [layers[start:end] for start, end in itertools.pairwise(ends)] + [[self.avgpool]]
