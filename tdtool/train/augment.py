"""How a stored image becomes what the net sees: chosen by hashes of (seed, epoch, image), so that runs can be repeated.

Training, small images (up to SMALL pixels): the middle square, shifted by up to an eighth over black, and flipped.
Training, large images: a random part of them, 8 to 100 % of the area with sides of 3:4 to 4:3, resized and flipped
(Szegedy et al. 2015, "Going deeper with convolutions", section 6). Both: colours, and mixup on the device.
Scoring: the middle square; of large images, the middle 224 / 256 of it.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
import scipy.special as special
import torch
from numpy.typing import NDArray
from torch import Tensor

from tdtool.config import AugmentConfig
from tdtool.kernels.image_cpu import change_colours, cut_shifted, resize_part
from tdtool.train.draws import keys, uniforms

#: Nets that see no more pixels than this have small images.
SMALL = 96
#: Mean and standard deviation of red, green and blue over ImageNet, of 0 ... 1: nets are given (x - mean) / std.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: Share of the shorter side that is scored, of large images.
_SCORED = 224 / 256
_AREA, _RATIO, _TRIES = (0.08, 1.0), (3 / 4, 4 / 3), 10

#: Top, left, height and width of a part of an image, in its pixels.
Part = tuple[float, float, float, float]
_PURPOSE = 3  # of the keys: order has others
#: Which draw is for what; parts of large images take three each from _PARTS on.
_TOP, _LEFT, _FLIP, _BRIGHTNESS, _CONTRAST, _SATURATION, _MIX, _PARTS = range(8)


@dataclasses.dataclass(frozen=True)
class Views:
    """What is drawn for B images. All arrays begin with B.

    shift_top, shift_left : (B,) int64, of small images; flip : (B,) bool; colours : (B, 3) float32, factors of
    brightness, contrast and saturation; lambda_B : (B,) float32, the share of its own pixels that mixup leaves an
    image, or None; parts : (B, 10, 4) float64, tries of area, ratio, and place down and across, of large images.
    """

    shift_top: NDArray[np.int64]
    shift_left: NDArray[np.int64]
    flip: NDArray[np.bool_]
    colours: NDArray[np.float32]
    lambda_B: NDArray[np.float32] | None
    parts: NDArray[np.float64]


def draw_views(config: AugmentConfig, indices: NDArray[np.int64], *, size: int, seed: int, epoch: int) -> Views:
    """What is drawn for images `indices`, (B,) int64, of a net that sees `size` rows and columns."""
    parts = config.crop and size > SMALL
    draws = uniforms(keys((seed, epoch, _PURPOSE), indices), _PARTS + (4 * _TRIES if parts else 0))
    reach = size // 8 if config.crop else 0
    shifts = np.ascontiguousarray(np.floor(draws[:, :2].T * (2 * reach + 1)), np.int64) - reach
    colours = 1 + config.colour * (2 * draws[:, _BRIGHTNESS : _SATURATION + 1] - 1)
    lambda_B = None
    if config.mixup > 0:  # the Beta distribution's quantile function turns one uniform draw into one of its own
        lambda_B = special.betaincinv(config.mixup, config.mixup, draws[:, _MIX]).astype(np.float32)
    return Views(
        shift_top=shifts[0],
        shift_left=shifts[1],
        flip=(draws[:, _FLIP] < 0.5) & config.flip,
        colours=np.maximum(colours, 0).astype(np.float32),
        lambda_B=lambda_B,
        parts=draws[:, _PARTS:].reshape(len(indices), -1, 4),
    )


def middle_square(height: int, width: int, share: float = 1.0) -> Part:
    """(top, left, height, width) of the middle square, `share` of the shorter side."""
    side = min(height, width) * share
    return (height - side) / 2, (width - side) / 2, side, side


def scored_square(height: int, width: int, size: int) -> Part:
    """(top, left, height, width) of what is scored of an image by a net that sees `size` rows and columns."""
    return middle_square(height, width, 1.0 if size <= SMALL else _SCORED)


def random_part(height: int, width: int, tries: NDArray[np.float64]) -> Part:
    """(top, left, height, width) of a random part of an image.

    tries : (n, 4) in [0, 1): area, logarithm of width by height, place down, place across; the first that fits is
    taken. Where none fits, the middle, as much of it as the ratios allow.
    """
    low, high = math.log(_RATIO[0]), math.log(_RATIO[1])
    for area, ratio, down, across in tries.tolist():
        pixels = height * width * (_AREA[0] + (_AREA[1] - _AREA[0]) * area)
        wide = math.exp(low + (high - low) * ratio)
        rows, columns = math.sqrt(pixels / wide), math.sqrt(pixels * wide)
        if rows <= height and columns <= width:
            return (height - rows) * down, (width - columns) * across, rows, columns
    rows, columns = min(height, width / _RATIO[0]), min(width, height * _RATIO[1])
    return (height - rows) / 2, (width - columns) / 2, rows, columns


def cut_part(image: NDArray[np.uint8], part: Part, out: NDArray[np.uint8], *, flip: bool = False) -> None:
    """Write a part of an image, resized, into out. image : (H, W, 3) uint8; part as above; out : (S, T, 3) uint8."""
    top, left, height, width = part
    if out.shape[:2] == (height, width) and top == int(top) and left == int(left):  # nothing to be interpolated
        where = np.array([int(top)]), np.array([int(left)])
        cut_shifted(_unchanged(image)[None], np.zeros(1, np.int64), *where, np.array([flip]), out[None])
    else:
        resize_part(_unchanged(image), top, left, height, width, flip, out)


def shift_images(
    pixels: NDArray[np.uint8], rows: NDArray[np.int64], views: Views | None, out: NDArray[np.uint8]
) -> None:
    """Write images of the net's size into out, shifted and flipped as `views` says, or as they are.

    pixels : (n, S, S, 3) uint8; rows : (B,) int64; out : (B, S, S, 3) uint8.
    """
    if views is None:
        nothing = np.zeros(len(rows), np.int64)
        cut_shifted(_unchanged(pixels), rows, nothing, nothing, np.zeros(len(rows), np.bool_), out)
    else:
        cut_shifted(_unchanged(pixels), rows, views.shift_top, views.shift_left, views.flip, out)


def _unchanged(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A view that cannot be written to, as mapped files are: a kernel is then compiled once for both."""
    view = array.view(np.ndarray)
    view.flags.writeable = False
    return view


def colour_images(images: NDArray[np.uint8], views: Views) -> None:
    """Change brightness, contrast and saturation in place. images : (B, S, T, 3) uint8."""
    factors = np.ascontiguousarray(views.colours.T)
    if not np.all(factors == 1):
        change_colours(images, factors[0], factors[1], factors[2])


def to_input(x_BHWC: Tensor, dtype: torch.dtype, device: torch.device | str) -> Tensor:
    """What the net is given: x_BCHW of `dtype` on `device`, channels last in memory, (x / 255 - MEAN) / STD.

    x_BHWC : uint8. It travels as bytes, and without waiting where its memory is pinned.
    """
    scale, shift = _constants(torch.device(device))
    x_BCHW = x_BHWC.to(device, non_blocking=True).permute(0, 3, 1, 2)
    return x_BCHW.to(torch.float32).mul_(scale).add_(shift).to(dtype)


@functools.cache
def _constants(device: torch.device) -> tuple[Tensor, Tensor]:
    """Factor and summand of the normalisation, (1, 3, 1, 1) float32: put on the device once, as that waits for it."""
    scale = np.array([1 / (255 * std) for std in STD], np.float32)
    shift = np.array([-mean / std for mean, std in zip(MEAN, STD, strict=True)], np.float32)
    with torch.inference_mode(mode=False):
        return tuple(torch.from_numpy(values).to(device).view(1, 3, 1, 1) for values in (scale, shift))


def partners(values_B: Tensor) -> Tensor:
    """Of each pair of neighbours, the other: place i has what i xor 1 had. values_B : first mode of even size."""
    return values_B.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)


def mix(x_BCHW: Tensor, lambda_B: Tensor) -> Tensor:
    """Mixup (Zhang et al. 2018, "mixup: beyond empirical risk minimization", equation 1) with the neighbour.

    lambda_B : float32, share of an image's own pixels. The loss is then lambda loss(own class) + (1 - lambda)
    loss(partner's class).
    """
    share = lambda_B.to(device=x_BCHW.device, dtype=x_BCHW.dtype).view(-1, 1, 1, 1)
    return torch.lerp(partners(x_BCHW), x_BCHW, share)
