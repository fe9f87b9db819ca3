"""Where the ?gemm of a BLAS is in memory: scipy's own, or MKL's when the optional extra is installed."""

from __future__ import annotations

import ctypes
import functools
import sys
from pathlib import Path

from numba.extending import get_cython_function_address

_LETTERS = {"f": "s", "d": "d", "F": "c", "D": "z"}
_NAMES = ("libmkl_rt.so*", "libmkl_rt*.dylib", "mkl_rt*.dll")


@functools.cache
def gemm_address(char: str, blas: str = "openblas") -> int:
    """The address of ?gemm with 32-bit sizes. char : of the dtype; blas : "openblas" (scipy's BLAS) | "mkl".

    Raises ValueError for another name, and for "mkl" where it is not installed.
    """
    if blas == "openblas":
        return int(get_cython_function_address("scipy.linalg.cython_blas", f"{_LETTERS[char]}gemm"))
    if blas == "mkl":
        return ctypes.cast(getattr(_mkl(), f"{_LETTERS[char]}gemm_"), ctypes.c_void_p).value or 0
    raise ValueError(f"blas is {blas!r}; it may be 'openblas' or 'mkl'")


@functools.cache
def _mkl() -> ctypes.CDLL:
    """MKL's single library, from where pip and conda put it."""
    folders = [Path(sys.prefix) / "lib", Path(sys.prefix) / "Library" / "bin", Path(sys.base_prefix) / "lib"]
    for folder in folders:
        for pattern in _NAMES:
            for path in sorted(folder.glob(pattern)):
                return ctypes.CDLL(str(path))
    raise ValueError("MKL is not installed here; `pip install tdtool[mkl]` adds it, or leave blas='openblas'")
