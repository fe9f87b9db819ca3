"""Blanks between the fields of a line of bytes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.backend import jit

_TAB, _NEWLINE, _RETURN, _SPACE = 9, 10, 13, 32


def check_whole_lines(buffer: NDArray[np.uint8]) -> None:
    """ValueError unless the buffer, (n_bytes,) uint8, ends with a newline: a scan then always finds an end."""
    if buffer.size == 0 or buffer[-1] != _NEWLINE:
        raise ValueError("the buffer does not end with a newline")


@jit
def is_blank(byte: int) -> bool:
    """Whether a byte separates fields within a line."""
    return byte in (_TAB, _RETURN, _SPACE)


@jit
def skip_blanks(buffer: NDArray[np.uint8], position: int) -> int:
    """The next position that holds no blank."""
    while is_blank(buffer[position]):
        position += 1
    return position
