"""VGG (Simonyan and Zisserman 2015, arXiv:1409.1556), named and counted as torchvision's.

Each stage of convolutions ends in a pool that halves the map. Small images: the last pools are left out, so that the
last map has about 4 x 4 places (32 pixels: 3 pools), and the hidden layers are 8 * width wide.
"""

from __future__ import annotations

import itertools
import math

from torch import nn

from tdtool.config import NetConfig
from tdtool.nn.model_names import is_small
from tdtool.nn.net import Net

#: Convolutions of the five stages.
STAGES = {"vgg11": (1, 1, 2, 2, 2), "vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
_CHANNELS = (1, 2, 4, 8, 8)  # times the width
_LAST_SIDE, _SIDE_OF_SMALL = 7, 4


class VGG(Net):
    """A VGG net. counts : convolutions of the five stages.

    head : the model's own is three linear layers (`classifier`); others are `head`. Maps larger than 7 x 7 are
    averaged down to that, as in torchvision.
    """

    def __init__(self, config: NetConfig, counts: tuple[int, ...], *, normalised: bool) -> None:
        super().__init__(config)
        pools = min(len(counts), max(1, round(math.log2(config.image_size / _SIDE_OF_SMALL))))
        channels = [config.width * times for times in _CHANNELS]
        layers: list[nn.Module] = []
        self._ends: list[int] = []  # where units end among the layers
        c_in = 3
        for stage, (c_out, count) in enumerate(zip(channels, counts, strict=True)):
            for _ in range(count):
                layers.append(nn.Conv2d(c_in, c_out, 3, padding=1))
                layers += [nn.BatchNorm2d(c_out)] if normalised else []
                layers.append(nn.ReLU(inplace=True))
                self._ends.append(len(layers))
                c_in = c_out
            # An identity in the place of a pool keeps the numbers in the names of what follows.
            layers.append(nn.MaxPool2d(2, stride=2) if stage < pools else nn.Identity())
            self._ends.append(len(layers))
        self.features = nn.Sequential(*layers)
        side = config.image_size >> pools
        self.avgpool = nn.AdaptiveAvgPool2d(_LAST_SIDE) if side > _LAST_SIDE else nn.Identity()
        side = min(side, _LAST_SIDE)
        self.feature_shape = (c_in, side, side)
        self.hidden = (config.width * (8 if is_small(config.image_size) else 64),) * 2
        self._add_head(dropout=0.5)
        self._initialise()

    def _add_own_head(self, dropout: float) -> None:
        layers: list[nn.Module] = []
        for c_in, c_out in itertools.pairwise((math.prod(self.feature_shape), *self.hidden)):
            layers += [nn.Linear(c_in, c_out), nn.ReLU(inplace=True), nn.Dropout(dropout)]
        self.classifier = nn.Sequential(*layers, nn.Linear(self.hidden[-1], self.config.n_classes))

    def _initialise(self) -> None:
        # As torchvision; a head in the place of the classifier keeps its own start. Narrow layers that start with .01
        # hardly let anything through, and the first hundred steps teach nothing: small nets start as He et al. say.
        for module in self.features:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)
        for module in self.classifier if hasattr(self, "classifier") else ():
            if isinstance(module, nn.Linear):
                if is_small(self.config.image_size) and module.out_features != self.config.n_classes:
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                else:
                    nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)

    def units(self) -> list[list[nn.Module]]:
        """Every convolution with what follows it, every pool."""
        layers = [*self.features]
        return [layers[start:end] for start, end in itertools.pairwise((0, *self._ends))] + [[self.avgpool]]
