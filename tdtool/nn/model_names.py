"""The nets there are, by name: what the command line lists without torch."""

from __future__ import annotations

from tdtool.errors import UsageError

#: Name -> one line about it.
MODEL_SUMMARIES: dict[str, str] = {
    "resnet": "the same as resnet50",
    "resnet18": "residual net of basic blocks, 11.7 million parameters",
    "resnet34": "residual net of basic blocks, 21.8 million parameters",
    "resnet50": "residual net of bottlenecks, 25.6 million parameters",
    "resnet101": "residual net of bottlenecks, 44.5 million parameters",
    "resnet152": "residual net of bottlenecks, 60.2 million parameters",
    "vgg11": "8 convolutions and 3 wide linear layers, 132.9 million parameters",
    "vgg16": "13 convolutions and 3 wide linear layers, 138.4 million parameters",
    "vgg19": "16 convolutions and 3 wide linear layers, 143.7 million parameters",
    "vgg11_bn": "vgg11 with batch normalisation",
    "vgg16_bn": "vgg16 with batch normalisation",
    "vgg19_bn": "vgg19 with batch normalisation",
    "alexnet": "5 convolutions and 3 wide linear layers, 61.1 million parameters",
}
#: Images of so many rows or fewer get the stems of CIFAR nets, which keep the resolution.
LARGEST_SMALL_IMAGE = 64
#: Below this the last map of a net would be empty.
SMALLEST_IMAGE = 8


def full_name(name: str) -> str:
    """The name of the architecture: "resnet" is "resnet50". Raises UsageError, which lists the names, for any other."""
    if name not in MODEL_SUMMARIES:
        raise UsageError(f"there is no net called {name!r}", hint=f"choose one of: {', '.join(MODEL_SUMMARIES)}")
    return "resnet50" if name == "resnet" else name


def is_small(image_size: int) -> bool:
    """Whether images of image_size x image_size pixels get the net of small images."""
    return image_size <= LARGEST_SMALL_IMAGE
