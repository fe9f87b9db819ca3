"""The one place where compiled kernels get their settings."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numba

_SETTINGS: Any = numba.config
_KEPT_SECONDS = 30 * 24 * 3600


def _keep_compiled_code() -> None:
    """Keep compiled kernels in the user's cache folder: beside the sources they would outlive an uninstall.

    numba looks at the time stamp of one file and does not notice when a function that is called from it has changed in
    another. So the folder is named after all sources; those of other versions go when they have not been used for long.
    """
    if Path(__file__).with_name("keep-compiled-here").exists():
        return  # an archive for a cluster, unpacked at another path for each run: they go when it goes
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(home).expanduser() / "tdtool" / "kernels" / _version_of_sources()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.touch()
    except OSError:
        return  # no home to write to: numba looks for another place by itself
    _SETTINGS.CACHE_DIR = str(folder)
    with contextlib.suppress(OSError):
        for other in folder.parent.iterdir():
            if other.stat().st_mtime < time.time() - _KEPT_SECONDS:
                shutil.rmtree(other, ignore_errors=True)


def _version_of_sources() -> str:
    """Sixteen hexadecimal digits that change with any kernel, with numba and with Python."""
    digest = hashlib.blake2b(f"{sys.version} {numba.__version__}".encode(), digest_size=8)
    for source in sorted(Path(__file__).resolve().parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


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
