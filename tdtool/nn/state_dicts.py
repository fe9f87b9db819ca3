"""Weights from files: safetensors, or what torch.save wrote, read without running anything in it."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from tdtool.errors import InputError
from tdtool.nn.net import Net

_SHOWN = 3  # tensors that a message names
#: A state dict may be one entry of what was saved.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "module")
_PREFIXES = ("module.", "_orig_mod.")  # what DistributedDataParallel and torch.compile put before names
_COUNTER = "num_batches_tracked"  # files older than torch 0.4.1 have none; nothing is computed from it


def load_weights(model: Net, path: Path) -> list[str]:
    """Fill `model` from a file of torchvision's names; returns the names left out: the head's, where it differs.

    path : .safetensors, or a file of torch.save that holds tensors only. The features must fit to the last tensor. A
    head of another kind or of another number of classes keeps its start. Raises InputError for a file that is neither,
    or that holds another net: it names the first tensors that differ; the model is then unchanged.
    """
    found = read_weights(path)
    own = model.state_dict()
    heads = {f"{name}." for name, module in model.named_children() if module in model.head_modules()}
    heads |= {"fc.", "classifier.", "head."}
    of_head = {name for name in {*own, *found} if name.startswith(tuple(heads))}
    needed = {name for name in own if not name.endswith(_COUNTER)}
    wrong = _differences(
        {name: tensor for name, tensor in own.items() if name not in of_head},
        {name: tensor for name, tensor in found.items() if name not in of_head},
        needed - of_head,
    )
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise InputError(
            f"the weights are of another net than {model.config.model}: {'; '.join(wrong[:_SHOWN])}{more}",
            path=path,
            hint="choose the net, the --width and the kind of image size that they were trained with",
        )
    left_out = sorted(
        name for name in of_head if name not in own or name not in found or _shapes_differ(own, found, name)
    )
    model.load_state_dict({name: found[name] for name in found.keys() - set(left_out)}, strict=False)
    return left_out


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Names and tensors of a file, without the prefixes that wrappers add. Raises InputError as `load_weights` does."""
    if not path.is_file():
        raise InputError("there is no such file of weights", path=path)
    tensors = _unwrapped(_loaded(path))
    if not tensors:
        raise InputError("the file holds no tensors by name", path=path, hint="save model.state_dict()")
    return {_bare(name): tensor for name, tensor in tensors.items()}


def _loaded(path: Path) -> Any:
    hint = "give .safetensors, or what torch.save wrote of model.state_dict()"
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of pickle protocols; what matters ends in an error below
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's own message advises to switch the check off
        raise InputError("the file holds more than tensors, or no weights at all", path=path, hint=hint) from error
    except (SafetensorError, RuntimeError, EOFError, ValueError, KeyError, IndexError, TypeError) as error:
        raise InputError("this is no file of weights, or it is damaged", path=path, hint=hint) from error


def _unwrapped(loaded: Any) -> dict[str, torch.Tensor]:
    for name in _WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(name), dict):
            loaded = loaded[name]
    if not isinstance(loaded, dict):
        return {}
    return {name: value for name, value in loaded.items() if isinstance(name, str) and isinstance(value, torch.Tensor)}


def _bare(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _shapes_differ(own: dict[str, torch.Tensor], found: dict[str, torch.Tensor], name: str) -> bool:
    return own[name].shape != found[name].shape


def _differences(own: dict[str, torch.Tensor], found: dict[str, torch.Tensor], needed: set[str]) -> list[str]:
    """What is wrong with each tensor, in the order of the net."""
    wrong = []
    for name, tensor in own.items():
        if name not in found:
            wrong += [f"{name} is missing"] if name in needed else []
        elif tensor.shape != found[name].shape:
            wrong.append(f"{name} is {_size(found[name])}, not {_size(tensor)}")
    return wrong + [f"{name} is not in the net" for name in found if name not in own]


def _size(tensor: torch.Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a number"
