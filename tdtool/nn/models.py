"""Nets by name: residual nets, VGG and AlexNet, with any head."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch

from tdtool.config import NetConfig
from tdtool.errors import UsageError
from tdtool.nn.alexnet import AlexNet
from tdtool.nn.head_spec import parse_head
from tdtool.nn.model_names import SMALLEST_IMAGE, full_name
from tdtool.nn.net import Net
from tdtool.nn.resnet import BasicBlock, Bottleneck, ResNet
from tdtool.nn.vgg import STAGES, VGG

#: Name -> what builds it.
MODELS: dict[str, Callable[[NetConfig], Net]] = {
    "resnet18": functools.partial(ResNet, block=BasicBlock, layers=(2, 2, 2, 2)),
    "resnet34": functools.partial(ResNet, block=BasicBlock, layers=(3, 4, 6, 3)),
    "resnet50": functools.partial(ResNet, block=Bottleneck, layers=(3, 4, 6, 3)),
    "resnet101": functools.partial(ResNet, block=Bottleneck, layers=(3, 4, 23, 3)),
    "resnet152": functools.partial(ResNet, block=Bottleneck, layers=(3, 8, 36, 3)),
    **{name: functools.partial(VGG, counts=counts, normalised=False) for name, counts in STAGES.items()},
    **{f"{name}_bn": functools.partial(VGG, counts=counts, normalised=True) for name, counts in STAGES.items()},
    "alexnet": AlexNet,
}


def build(net: NetConfig, *, seed: int = 0, device: str = "cpu") -> Net:
    """The net, its weights drawn as torchvision draws them, from `seed` alone; the caller's random state is untouched.

    device : "cpu", or "meta" for shapes without numbers (counting costs). Raises UsageError for an unknown name, for
    sizes that no net can have, for a head that does not fit, and for the head "auto" (head_choice.py settles it first).
    """
    make = MODELS[full_name(net.model)]
    for value, least, option in (
        (net.width, 1, "--width"),
        (net.image_size, SMALLEST_IMAGE, "--image-size"),
        (net.n_classes, 1, "the number of classes"),
    ):
        if value < least:
            raise UsageError(f"{option} is {value}; a net needs at least {least}")
    if parse_head(net.head).kind == "auto":
        raise UsageError(f"the head {net.head!r} has no ranks yet", hint="give ranks, such as trl:48,3,3")
    with torch.random.fork_rng(devices=[]), torch.device(device):
        torch.default_generator.manual_seed(seed)
        return make(net)
