"""The one place where compiled kernels get their settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numba

_SETTINGS: Any = numba.config


def _keep_compiled_code() -> None:
    """Keep compiled kernels in the user's cache folder: beside the sources they would outlive an uninstall."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(home).expanduser() / "tdtool" / "kernels"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return  # no home to write to: numba looks for another place by itself
    _SETTINGS.CACHE_DIR = str(folder)


def compiled_before() -> bool:
    """Whether compiled kernels are kept from an earlier run; without, the first use of each takes a second or so."""
    folder = Path(_SETTINGS.CACHE_DIR) if _SETTINGS.CACHE_DIR else None
    return folder is not None and folder.is_dir() and any(folder.rglob("*.nbi"))


if not os.environ.get("NUMBA_CACHE_DIR"):
    _keep_compiled_code()

#: Exact IEEE order of operations: for kernels whose sums must not be reordered, or that meet NaN.
jit: Any = numba.njit(cache=True, fastmath=False, nogil=True)

#: Sums may be reassociated (so that inner products vectorise); NaN and infinities keep their meaning.
#: The order is fixed at compile time: results stay the same from run to run.
jit_sums: Any = numba.njit(cache=True, fastmath={"reassoc", "contract"}, nogil=True)
