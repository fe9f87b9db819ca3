"""Nets read back: from the checkpoints of a run, or from a safetensors file that carries its card."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from tdtool.config import NetConfig
from tdtool.errors import InputError, UsageError
from tdtool.nn.models import build
from tdtool.nn.net import Net
from tdtool.train import checkpoint
from tdtool.train.augment import MEAN, STD
from tdtool.train.averaging import UPDATES
from tdtool.train.net_card import KEY, NetCard, parse_card
from tdtool.train.run_folder import read_settings


def net_of_run(run: Path) -> tuple[Net, NetCard]:
    """The net of a run's newest whole checkpoint, with averaged weights where the run has them; in evaluation mode.

    InputError: no run, no checkpoint yet, or one of another net.
    """
    settings = read_settings(run)
    saved = checkpoint.load(run)
    if saved is None:
        raise InputError("has no checkpoint yet", path=run, hint="train it first: a checkpoint is saved at each epoch")
    averaged = saved.average is not None
    tensors = dict(saved.model if saved.average is None else saved.average)
    tensors.pop(UPDATES, None)
    card = NetCard(
        net=settings.config.net,
        classes=settings.classes,
        mean=MEAN,
        std=STD,
        step=saved.step,
        averaged=averaged,
        data_digest=settings.data_digest,
    )
    return _filled(card.net, tensors, run), card


def net_of_safetensors(path: Path) -> tuple[Net, NetCard]:
    """The net in a file of `tdtool export --format safetensors`. InputError: another file, damaged, of another net."""
    try:
        with safe_open(path, framework="pt") as file:
            card = parse_card((file.metadata() or {}).get(KEY), path)
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except FileNotFoundError as error:
        raise InputError("there is no such file", path=path) from error
    except (SafetensorError, OSError) as error:
        raise InputError(f"it is no safetensors file, or damaged ({error})", path=path) from error
    return _filled(card.net, tensors, path), card


def _filled(config: NetConfig, tensors: dict[str, torch.Tensor], path: Path) -> Net:
    """A net of that kind with these weights; what differs is found before memory is taken for it."""
    try:
        wanted = build(config, device="meta").state_dict()
    except UsageError as error:
        raise InputError(f"no such net can be built: {error.what}", path=path) from error
    checkpoint.check_fits(tensors, wanted, path)
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values() if tensor.is_floating_point()):
        raise InputError("its weights are not all numbers: the training diverged", path=path)
    net = build(config, device="meta")
    net.load_state_dict({name: tensor.to(wanted[name].dtype) for name, tensor in tensors.items()}, assign=True)
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    return net.eval()
