"""The real tensors beside the checkout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.data.tensor_reading import dense, read

pytestmark = pytest.mark.shared_data


def test_amino_acids(shared_data: Path) -> None:
    tensor = read(shared_data / "tensors" / "amino.npz")
    assert tensor.shape == (5, 201, 61)
    assert tensor.source["key"] == "X"
    assert tensor.description == (
        "npz, array X of 5 x 201 x 61 float64; the largest of 2 arrays; the others: Y (5 x 3 float64)"
    )
    assert dense(read(shared_data / "tensors" / "amino.npz", key="Y")).shape == (5, 3)


def test_hyperspectral_image(shared_data: Path) -> None:
    tensor = read(shared_data / "tensors" / "jasper_ridge.npz")
    assert tensor.shape == (100, 100, 198)
    assert tensor.source["key"] == "X"
    assert dense(tensor).dtype == np.float64
    assert dense(tensor).min() >= 0


def test_kinetic_fluorescence_with_its_mask(shared_data: Path) -> None:
    tensor = read(shared_data / "tensors" / "kinetic_fluorescence.npz", mask="mask")
    assert tensor.shape == (64, 12, 10, 60)
    assert tensor.missing is not None
    assert int(tensor.missing.sum()) == 1754
    assert "1,754 values missing (0.4%)" in tensor.description


def test_video(shared_data: Path) -> None:
    tensor = read(shared_data / "tensors" / "video_bikes.npz")
    assert tensor.shape == (250, 68, 160, 3)
    assert dense(tensor).dtype == np.float64
    assert 200 < dense(tensor).max() <= 255
