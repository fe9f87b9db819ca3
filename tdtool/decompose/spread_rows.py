"""Rows that lie far from each other, found on a GPU: the pivots of a QR decomposition with pivoting."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tdtool.decompose.power import polar
from tdtool.kernels.device_gpu import DeviceArray, Gpu


def leading_rows_on_gpu(gpu: Gpu, points: DeviceArray, weights: DeviceArray) -> NDArray[np.float64]:
    """See decompose.power.leading_rows: points (n, k) float64 and weights (n,) of the GPU; returns (k, k) of the host.

    One row after the other, the longest without its part along those before: a product of all rows with a vector each
    time, and nothing waits for the host.
    """
    xp, k = gpu.xp, points.shape[1]
    rows = points * xp.sqrt(weights)[:, None]
    left = xp.sum(rows * rows, axis=1)
    taken, directions = gpu.zeros((k, k), np.float64), gpu.zeros((k, k), np.float64)
    for step in range(min(k, len(rows))):
        place = xp.argmax(left).reshape(1)
        row = rows[place][0]
        taken[step] = row
        for _ in range(2):
            row = row - (directions @ row) @ directions
        row = row / xp.maximum(xp.sqrt(xp.sum(row * row)), np.finfo(float).tiny)
        directions[step] = row
        left = xp.maximum(left - (rows @ row) ** 2, 0.0)
        left[place] = -1.0
    return polar(gpu.to_host(taken).T)
