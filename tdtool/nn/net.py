"""What all nets have in common: features that end in a map, and a head that reads it.

Letters: B images, C channels, H rows, W columns, K classes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from tdtool.config import NetConfig
from tdtool.nn.head_spec import parse_head
from tdtool.nn.heads import build_head

#: Runs units in turn: (units, x_BCHW) -> a_BCHW.
Runner = Callable[[list[list[nn.Module]], torch.Tensor], torch.Tensor]


def run_in_turn(units: list[list[nn.Module]], x_BCHW: torch.Tensor) -> torch.Tensor:
    """Every module of every unit, one after the other."""
    for unit in units:
        for module in unit:
            x_BCHW = module(x_BCHW)
    return x_BCHW


class Net(nn.Module):
    """A net of convolutions: `forward` is `forward_head(forward_features(x))`.

    config : what it was built from; feature_shape : (C, H, W) of the map that the head reads; hidden : widths of the
    hidden layers of the model's own head, () where it has none; runner : how forward_features goes through the units
    (recompute.py puts another one there).
    """

    config: NetConfig
    feature_shape: tuple[int, int, int]
    hidden: tuple[int, ...]
    #: What the model's own head is called, as in torchvision; any other is `head`.
    own_head = "classifier"

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        self.config = config
        self.runner: Runner = run_in_turn

    def units(self) -> list[list[nn.Module]]:
        """What forward_features runs, in order: modules of one unit belong together (some write onto their input)."""
        raise NotImplementedError

    def blocks(self) -> list[nn.Module]:
        """The modules of all units, in the order in which forward_features runs them."""
        return [module for unit in self.units() for module in unit]

    def head_modules(self) -> list[nn.Module]:
        """The modules with parameters behind the features."""
        return [self.get_submodule(self.own_head if self.has_own_head else "head")]

    def head_parameters(self) -> int:
        """How many numbers the head learns."""
        return sum(parameter.numel() for module in self.head_modules() for parameter in module.parameters())

    @property
    def has_own_head(self) -> bool:
        """Whether the head is the one that the model has in torchvision."""
        return hasattr(self, self.own_head)

    def forward_features(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """x_BCHW : normalised images, (B, 3, image_size, image_size); returns the map, (B, *feature_shape)."""
        return self.runner(self.units(), x_BCHW)

    def forward_head(self, a_BCHW: torch.Tensor) -> torch.Tensor:
        """a_BCHW : the map; returns logits_BK."""
        return self._forward_own_head(a_BCHW) if self.has_own_head else self.head(a_BCHW)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """x_BCHW : normalised images; returns logits_BK."""
        return self.forward_head(self.forward_features(x_BCHW))

    def _add_head(self, dropout: float) -> None:
        """The head that the configuration asks for; `dropout` is the model's own share, where it says none."""
        dropout = dropout if self.config.dropout is None else self.config.dropout
        spec = parse_head(self.config.head)
        if spec.kind == "fc":
            self._add_own_head(dropout)
        else:
            self.head = build_head(spec, self.feature_shape, self.config.n_classes, hidden=self.hidden, dropout=dropout)

    def _add_own_head(self, dropout: float) -> None:
        raise NotImplementedError

    def _forward_own_head(self, a_BCHW: torch.Tensor) -> torch.Tensor:
        return self.get_submodule(self.own_head)(torch.flatten(a_BCHW, 1))
