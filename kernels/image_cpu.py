"""Loops over pixels: cut out with a shift, resize a part, change colours. numba on the CPU; uint8 in, uint8 out."""

from __future__ import annotations

import numpy as np

from tdtool.kernels.backend import jit

#: Weights of red, green and blue in brightness (ITU-R BT.601).
_RED, _GREEN, _BLUE = np.float32(0.299), np.float32(0.587), np.float32(0.114)


@jit
def cut_shifted(pixels, rows, top, left, flip, out):  # type: ignore[no-untyped-def]
    """out[b, y, x] = pixels[rows[b], top[b] + y, left[b] + x], 0 outside; from right to left where flip[b].

    pixels : (n, H, W, C) uint8; rows : (B,) int64; top, left : (B,) int64, may be negative; flip : (B,) bool;
    out : (B, S, T, C) uint8, filled.
    """
    height, width, channels = pixels.shape[1], pixels.shape[2], pixels.shape[3]
    rows_out, columns_out = out.shape[1], out.shape[2]
    for b in range(out.shape[0]):
        image = pixels[rows[b]]
        first = min(max(0, -left[b]), columns_out)  # columns of the part that lie in the image, before flipping
        last = max(first, min(columns_out, width - left[b]))
        for y in range(rows_out):
            line = out[b, y].reshape(-1)
            row = top[b] + y
            if row < 0 or row >= height:
                line[:] = 0
                continue
            source = image[row].reshape(-1)
            if flip[b]:
                line[: (columns_out - last) * channels] = 0
                line[(columns_out - first) * channels :] = 0
                for x in range(first, last):
                    there, here = (left[b] + x) * channels, (columns_out - 1 - x) * channels
                    for c in range(channels):
                        line[here + c] = source[there + c]
            else:
                line[: first * channels] = 0
                line[last * channels :] = 0
                start = (left[b] + first) * channels
                line[first * channels : last * channels] = source[start : start + (last - first) * channels]


@jit
def _taps(begin, length, size, n_out):  # type: ignore[no-untyped-def]
    """For each of n_out places along the part [begin, begin + length) of `size` pixels: first pixel, how many, weights.

    A triangle filter as wide as two output pixels, or two input pixels where the part is enlarged: no aliasing.
    Returns (n_out,) int64, (n_out,) int64, (n_out, most) float32; weights of a place sum to 1.
    """
    scale = length / n_out
    reach = max(scale, 1.0)
    first, count = np.empty(n_out, np.int64), np.empty(n_out, np.int64)
    weights = np.zeros((n_out, int(np.ceil(reach)) * 2 + 1), np.float32)
    for place in range(n_out):
        centre = begin + (place + 0.5) * scale
        low = max(0, int(centre - reach + 0.5))
        high = max(low + 1, min(size, int(centre + reach + 0.5)))
        total = 0.0
        for pixel in range(low, high):
            total += max(0.0, 1.0 - abs((pixel + 0.5 - centre) / reach))
        for pixel in range(low, high):
            weights[place, pixel - low] = max(0.0, 1.0 - abs((pixel + 0.5 - centre) / reach)) / total
        first[place], count[place] = low, high - low
    return first, count, weights


@jit
def resize_part(image, top, left, height, width, flip, out):  # type: ignore[no-untyped-def]
    """out = the part of an image that begins at (top, left), resized, its columns from right to left where flip.

    image : (H, W, 3) uint8; top, left, height, width : float, in pixels, inside the image; out : (S, T, 3) uint8.
    """
    first_row, n_rows, row_weights = _taps(top, height, image.shape[0], out.shape[0])
    first, count, weights = _taps(left, width, image.shape[1], out.shape[1])
    begin, end = first[0] * 3, (first[-1] + count[-1]) * 3
    line = np.empty(end - begin, np.float32)
    for y in range(out.shape[0]):
        line[:] = np.float32(0.5)  # so that cutting off the fraction rounds
        for tap in range(n_rows[y]):
            weight, source = row_weights[y, tap], image[first_row[y] + tap].reshape(-1)[begin:end]
            for place in range(line.size):
                line[place] += weight * np.float32(source[place])
        for x in range(out.shape[1]):
            place = first[x] * 3 - begin
            red, green, blue = np.float32(0), np.float32(0), np.float32(0)
            for tap in range(count[x]):
                weight = weights[x, tap]
                red += weight * line[place]
                green += weight * line[place + 1]
                blue += weight * line[place + 2]
                place += 3
            target = out[y, out.shape[1] - 1 - x if flip else x]
            target[0], target[1], target[2] = np.uint8(red), np.uint8(green), np.uint8(blue)


@jit
def change_colours(images, brightness, contrast, saturation):  # type: ignore[no-untyped-def]
    """In place: pixels times brightness; towards the image's mean grey; towards their own grey; then cut to 0 ... 255.

    images : (B, S, T, 3) uint8; brightness, contrast, saturation : (B,) float32, 1 changes nothing.
    """
    for b in range(images.shape[0]):
        pixels = images[b].reshape(-1)
        total = 0.0
        for place in range(0, pixels.size, 3):
            total += _RED * pixels[place] + _GREEN * pixels[place + 1] + _BLUE * pixels[place + 2]
        mean = np.float32(brightness[b] * (total / (pixels.size // 3)))
        scale, shift = np.float32(brightness[b] * contrast[b]), np.float32((1 - contrast[b]) * mean)
        keep = np.float32(saturation[b])
        for place in range(0, pixels.size, 3):
            red, green, blue = (
                scale * pixels[place] + shift,
                scale * pixels[place + 1] + shift,
                scale * pixels[place + 2] + shift,
            )
            grey = (1 - keep) * (_RED * red + _GREEN * green + _BLUE * blue) + np.float32(0.5)
            pixels[place] = np.uint8(min(max(keep * red + grey, np.float32(0)), np.float32(255.0)))
            pixels[place + 1] = np.uint8(min(max(keep * green + grey, np.float32(0)), np.float32(255.0)))
            pixels[place + 2] = np.uint8(min(max(keep * blue + grey, np.float32(0)), np.float32(255.0)))
