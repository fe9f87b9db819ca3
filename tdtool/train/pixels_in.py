"""A net that takes pixels: normalisation and net in one module, as it is scored and exported."""

from __future__ import annotations

import torch
from torch import nn

from tdtool.train.net_card import NetCard


class PixelsIn(nn.Module):
    """Pixels to logits: (pixels / 255 - mean) / std, then the net.

    net : takes x_BCHW float; mean, std : of red, green, blue between 0 and 1.
    """

    def __init__(self, net: nn.Module, card: NetCard) -> None:
        super().__init__()
        self.net = net
        # As augment.to_input computes it, to the bit.
        scale = torch.tensor([1 / (255 * std) for std in card.std])
        shift = torch.tensor([-mean / std for mean, std in zip(card.mean, card.std, strict=True)])
        self.register_buffer("scale", scale.view(1, 3, 1, 1))
        self.register_buffer("shift", shift.view(1, 3, 1, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """pixels : (B, 3, H, W) uint8, red, green, blue; returns logits (B, K) float32."""
        x_BCHW = torch.addcmul(self.shift, pixels.to(torch.float32), self.scale)
        return self.net(x_BCHW).to(torch.float32)
