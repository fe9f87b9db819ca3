"""How a result came about, stored beside it: enough to make it again, and none of it part of the content digest."""

from __future__ import annotations

import datetime
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from tdtool import __version__
from tdtool.data.ledger import Ledger
from tdtool.kernels.device_gpu import Gpu
from tdtool.store import hdf5

_PACKAGES = ("numpy", "scipy", "numba", "h5py", "pyarrow")


def record_provenance(
    writer: hdf5.Writer,
    *,
    config: dict[str, Any],
    seed: int,
    ledger: Ledger,
    source: dict[str, Any],
    seconds: dict[str, float],
    gpu: Gpu | None = None,
) -> None:
    """Write the root attributes that every result carries. source : what was read: path, bytes, digest ...

    gpu : what did the work; another device rounds in another order.
    """
    if gpu is not None:
        config = {**config, "gpu": {"name": gpu.name, "tf32": gpu.tf32}}
    writer.attribute("tdtool_version", __version__)
    writer.attribute("argv", [Path(sys.argv[0]).name, *sys.argv[1:]])
    writer.attribute("config", config)
    writer.attribute("seed", seed)
    writer.attribute("ledger", ledger.as_dict())
    writer.attribute("source", source)
    versions = {name: metadata.version(name) for name in _PACKAGES}
    writer.attribute("packages", {"python": platform.python_version(), **versions})
    writer.attribute("written", datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"))
    writer.attribute("seconds", seconds)
