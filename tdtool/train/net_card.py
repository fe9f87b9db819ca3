"""The card of a net: what a file with its weights says about itself, so that others can use it without our code."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

from tdtool import __version__
from tdtool.config import NetConfig, as_json
from tdtool.errors import InputError
from tdtool.train.run_folder import config_from_json

FORMAT = 1
#: Under this name the card lies in a file: metadata of ONNX and safetensors, extra file of pt2.
KEY = "tdtool.json"
_LONGEST = 16 << 20
_MOST_CLASSES = 1 << 20
_LARGEST_IMAGE = 1 << 13


@dataclasses.dataclass(frozen=True)
class NetCard:
    """How a net was built, and what its inputs and outputs mean.

    net : its settings; classes : names, in the order of the outputs; mean, std : of red, green, blue between 0 and 1,
    with which the pixels are normalised; step : updates that the weights have seen; averaged : whether they are moving
    averages; data_digest : of the images it was trained on.
    """

    net: NetConfig
    classes: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    step: int = 0
    averaged: bool = False
    data_digest: str = ""

    def to_json(self) -> str:
        """The card as text. "input" and "output" say for other programs what the graph takes and gives."""
        size = self.net.image_size
        return json.dumps(
            {
                "format": FORMAT,
                "made_by": f"tdtool {__version__}",
                "input": {"name": "pixels", "type": "uint8", "shape": ["batch", 3, size, size], "channels": "RGB"},
                "output": {"name": "logits", "type": "float32", "shape": ["batch", len(self.classes)]},
                **{field.name: getattr(self, field.name) for field in dataclasses.fields(self)},
                "net": as_json(self.net),
            },
            ensure_ascii=False,
        )


def parse_card(text: str | None, path: object) -> NetCard:
    """The card in a file's metadata. InputError when there is none, or it is not what `NetCard.to_json` writes."""
    hint = "it must be a file that `tdtool export` wrote"
    if text is None:
        raise InputError("says nothing of its classes and its input", path=path, hint=hint)
    try:
        values = json.loads(text) if len(text) <= _LONGEST else None
    except (ValueError, RecursionError) as error:
        raise InputError("its card is damaged", path=path, hint=hint) from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        found = values.get("format") if isinstance(values, dict) else None
        raise InputError(f"its card has format {found!r}; this tdtool reads {FORMAT}", path=path, hint=hint)
    try:
        return _card(values)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"its card is damaged ({error})", path=path, hint=hint) from error


def _card(values: dict[str, Any]) -> NetCard:
    """ValueError, TypeError or KeyError for what could not have been written by us."""
    net = config_from_json(NetConfig, values["net"])
    classes = values["classes"]
    numbers = (net.width, net.n_classes, net.image_size)
    if not all(type(number) is int and number > 0 for number in numbers):
        raise ValueError("sizes are positive whole numbers")
    if not isinstance(net.model, str) or not isinstance(net.head, str):
        raise TypeError("model and head are texts")
    if net.n_classes > _MOST_CLASSES or net.image_size > _LARGEST_IMAGE:
        raise ValueError("too many classes, or too large images")
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise TypeError("classes is no list of names")
    if len(classes) != net.n_classes or len(set(classes)) != len(classes):
        raise ValueError(f"{len(set(classes))} different classes for {net.n_classes} outputs")
    if not isinstance(values["step"], int) or not isinstance(values["averaged"], bool):
        raise TypeError("step or averaged")
    return NetCard(
        net=net,
        classes=tuple(classes),
        mean=_triple(values["mean"]),
        std=_triple(values["std"], least=1e-6),
        step=values["step"],
        averaged=values["averaged"],
        data_digest=str(values["data_digest"]),
    )


def _triple(values: Any, least: float = -math.inf) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    if not all(math.isfinite(value) and value >= least for value in (red, green, blue)):
        raise ValueError("mean and std are three numbers")
    return red, green, blue
