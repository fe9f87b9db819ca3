"""Planted images: circles, crosses, squares, stars and triangles, at any place, size and angle, most of them of the
colour that is typical of their kind."""

from __future__ import annotations

import itertools
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SIZE = 24
#: Images of each class.
N_TRAIN, N_TEST = 160, 40
#: Polygons as (corners, 2) of (right, down), within the unit circle. The circle has its own rule.
_COS36, _SIN36, _COS72, _SIN72 = 0.8090169943749475, 0.5877852522924731, 0.30901699437494745, 0.9510565162951535
_INNER = 0.42  # of a star: where its points meet
_ARM = 0.33  # of a cross: half of the breadth of its arms
SHAPES: dict[str, tuple[tuple[float, float], ...]] = {
    "circle": (),
    "cross": (
        *((_ARM, -1), (_ARM, -_ARM), (1, -_ARM), (1, _ARM), (_ARM, _ARM), (_ARM, 1)),
        *((-_ARM, 1), (-_ARM, _ARM), (-1, _ARM), (-1, -_ARM), (-_ARM, -_ARM), (-_ARM, -1)),
    ),
    "square": ((-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)),
    "star": (
        *((0, -1.1), (_INNER * _SIN36, -_INNER * _COS36), (1.1 * _SIN72, -1.1 * _COS72)),
        *((_INNER * _SIN72, _INNER * _COS72), (1.1 * _SIN36, 1.1 * _COS36), (0, _INNER)),
        *((-1.1 * _SIN36, 1.1 * _COS36), (-_INNER * _SIN72, _INNER * _COS72), (-1.1 * _SIN72, -1.1 * _COS72)),
        (-_INNER * _SIN36, -_INNER * _COS36),
    ),
    "triangle": ((0, -1.0), (0.9, 0.75), (-0.9, 0.75)),
}
_SAMPLES = 3  # a side of a pixel: its colour is the mean of so many squared
_NOISE = 16.0  # of 255, at most to either side
_LEVELS = 8  # of 256 apart: noise on fewer values packs better
_CONTRAST = 90.0  # between a shape and what is behind it, in red, green or blue
#: The typical colours, in the order of SHAPES, and the share of each kind that has its own; the rest has any of them.
_COLOURS = ((220, 60, 50), (60, 170, 70), (60, 90, 220), (235, 200, 50), (170, 70, 190))
_TYPICAL = 0.9
_SPREAD = 45.0  # of a colour, at most to either side


def planted_shapes(directory: Path, rng: np.random.Generator, *, n_train: int = N_TRAIN, n_test: int = N_TEST) -> None:
    """Write directory/images/train/CLASS/NNN.png and .../test/CLASS/NNN.png: the same pixels for the same seed.

    n_train, n_test : images of each of the five classes. Colours alone are right in eleven of twelve images.
    Only rng.random() is drawn from, and only + - * / are used.
    """
    for (split, number), name in itertools.product((("train", n_train), ("test", n_test)), SHAPES):
        folder = directory / "images" / split / name
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(number):
            (folder / f"{index:03d}.png").write_bytes(png(drawn_shape(name, SIZE, rng)))


def drawn_shape(name: str, size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One image of a shape : (size, size, 3) uint8. name : of SHAPES."""
    radius = size * (0.26 + 0.16 * rng.random())
    centre = size / 2 + (size / 2 - radius) * 0.8 * (2 * rng.random(2) - 1)
    inside = _coverage(name, size, centre, radius, 0.5 * (2 * rng.random() - 1))
    shape, behind = _colours(name, rng)
    slope = 40.0 * (2 * rng.random(2) - 1)
    ramp = (np.arange(size) + 0.5) / size - 0.5
    shade = slope[0] * ramp[:, None] + slope[1] * ramp[None, :]
    image = behind + shade[:, :, None] + inside[:, :, None] * (shape - behind)
    image += _NOISE * (2 * rng.random((size, size, 1)) - 1)
    return (np.clip(np.floor(image / _LEVELS) * _LEVELS, 0, 255)).astype(np.uint8)


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Pixels (H, W, 3) uint8 as a PNG file (ISO/IEC 15948), each row as differences from the pixel to the left."""
    height, width = pixels.shape[:2]
    rows = np.zeros((height, 1 + width * 3), np.uint8)
    rows[:, 0] = 1  # filter "Sub"
    rows[:, 1:] = np.diff(pixels, axis=1, prepend=np.zeros((height, 1, 3), np.uint8)).reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _coverage(
    name: str, size: int, centre: NDArray[np.float64], radius: float, half_turn: float
) -> NDArray[np.float64]:
    """Share of each pixel that the shape covers : (size, size). half_turn : tangent of half the angle."""
    places = (np.arange(size * _SAMPLES) + 0.5) / _SAMPLES
    right, down = (places[None, :] - centre[0]) / radius, (places[:, None] - centre[1]) / radius
    cosine, sine = (1 - half_turn**2) / (1 + half_turn**2), 2 * half_turn / (1 + half_turn**2)
    x, y = cosine * right + sine * down, cosine * down - sine * right
    inside = x * x + y * y < 0.81 if name == "circle" else _within(SHAPES[name], x, y)
    return inside.reshape(size, _SAMPLES, size, _SAMPLES).mean(axis=(1, 3))


def _within(
    corners: tuple[tuple[float, float], ...], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Whether points are in a polygon: a ray to the right crosses its border an odd number of times."""
    inside = np.zeros(np.broadcast_shapes(x.shape, y.shape), np.bool_)
    for (x0, y0), (x1, y1) in zip(corners, (*corners[1:], corners[0]), strict=True):
        if y0 != y1:
            inside ^= ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return inside


def _colours(name: str, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Colour of a shape and of what is behind it : (3,) and (3,), about 0 to 255."""
    own = list(SHAPES).index(name) if rng.random() < _TYPICAL else int(rng.random() * len(_COLOURS))
    shape = _COLOURS[own] + _SPREAD * (2 * rng.random(3) - 1)
    while True:
        behind = 255 * rng.random(3)
        if np.abs(shape - behind).max() >= _CONTRAST:
            return shape, behind
