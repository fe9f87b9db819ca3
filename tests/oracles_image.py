"""Slow twins of the loops over pixels, from the formulas."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def cut_shifted_oracle(image: NDArray, top: int, left: int, flip: bool, shape: tuple[int, int]) -> NDArray:
    """The part of (H, W, C) that begins at (top, left), 0 where there is no image, mirrored after it is cut."""
    reach = max(*image.shape[:2], *shape, abs(top), abs(left))
    padded = np.pad(image, ((reach, 2 * reach), (reach, 2 * reach), (0, 0)))
    part = padded[reach + top : reach + top + shape[0], reach + left : reach + left + shape[1]]
    return part[:, ::-1] if flip else part


def triangle_matrix(begin: float, length: float, size: int, n_out: int) -> NDArray:
    """(n_out, size): row j holds the weights of the pixels of which output pixel j is the mean.

    A tent around the middle of the output pixel; half its foot is one output pixel, or one pixel if that is more.
    """
    centres = begin + (np.arange(n_out) + 0.5) * (length / n_out)
    reach = max(length / n_out, 1.0)
    tents = np.maximum(0.0, 1.0 - np.abs(np.arange(size)[None, :] + 0.5 - centres[:, None]) / reach)
    return tents / tents.sum(axis=1, keepdims=True)


def resize_part_oracle(image: NDArray, part: tuple[float, float, float, float], shape: tuple[int, int]) -> NDArray:
    """(S, T, C) float64, not rounded. part : top, left, height, width."""
    top, left, height, width = part
    down = triangle_matrix(top, height, image.shape[0], shape[0])
    across = triangle_matrix(left, width, image.shape[1], shape[1])
    return np.einsum("yh,xw,hwc->yxc", down, across, image.astype(np.float64))


def change_colours_oracle(image: NDArray, brightness: float, contrast: float, saturation: float) -> NDArray:
    """(S, T, 3) float64, cut to 0 ... 255, not rounded."""
    weights = np.array([0.299, 0.587, 0.114])
    bright = image.astype(np.float64) * brightness
    contrasted = contrast * bright + (1 - contrast) * (bright @ weights).mean()
    grey = (contrasted @ weights)[..., None]
    return np.clip(saturation * contrasted + (1 - saturation) * grey, 0, 255)
