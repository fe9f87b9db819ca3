"""What files of images and of trainings say of themselves, for `tdtool show`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tdtool.data.image_store import SPLITS
from tdtool.store import hdf5

_NAMED = 12  # classes


def net_facts(reader: hdf5.Reader) -> dict[str, Any]:
    """What is known of a file of images or of a training, by name; {} for other files."""
    if reader.schema.name == "tdtool.images":
        return _image_facts(reader)
    return _training_facts(reader) if reader.schema.name == "tdtool.training" else {}


def _image_facts(reader: hdf5.Reader) -> dict[str, Any]:
    n_images = reader.shape("images/label")[0]
    splits = np.bincount(reader.get("images/split"), minlength=len(SPLITS))
    facts: dict[str, Any] = {f"{name} images": int(n) for name, n in zip(SPLITS, splits, strict=False) if n}
    sizes = [np.unique(reader.get(f"images/{name}")) for name in ("height", "width")]
    if n_images:
        facts["rows, columns"] = " x ".join(f"{v[0]}" if len(v) == 1 else f"{v[0]} to {v[-1]}" for v in sizes)
    facts["stored as"] = "pixels" if "pixels/value" in reader else "encoded files"
    return facts | {"class names": _listed(reader.get("classes/name"))}


def _training_facts(reader: hdf5.Reader) -> dict[str, Any]:
    steps, epochs = reader.get("steps/step"), reader.get("epochs/epoch")
    last = max([0, *steps[-1:].tolist(), *reader.get("epochs/step")[-1:].tolist()])
    facts: dict[str, Any] = {"steps": last, "epochs": int(epochs[-1]) if len(epochs) else 0}
    facts["stopped"] = str(reader.attributes.get("stopped", "-"))
    top1 = reader.get("epochs/top1")
    if np.isfinite(top1).any():
        best = int(np.nanargmax(top1))
        facts["top-1"] = f"{top1[-1]:.4f} last, {top1[best]:.4f} best (epoch {epochs[best]})"
    rates = reader.get("steps/rate")
    if np.isfinite(rates).any():
        facts["images a second"] = f"{np.nanmedian(rates):,.0f}"
    config = reader.attributes.get("config")
    net = config.get("net") if isinstance(config, dict) else None
    if isinstance(net, dict):
        facts |= {name: net[name] for name in ("model", "head") if name in net}
    return facts | {"class names": _listed(reader.get("classes/name"))}


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else "")
