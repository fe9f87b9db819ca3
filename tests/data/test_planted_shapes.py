"""Planted shapes: what is drawn has the size, the place and the colours that it should."""

from __future__ import annotations

import numpy as np
import pytest

from tdtool.data import planted_shapes
from tdtool.data.planted_shapes import SHAPES, drawn_shape

#: Area over radius squared, by hand: 0.9 squared pi; two bars less their middle; 1.6 squared; half base times height.
AREAS = {"circle": 0.81 * np.pi, "cross": 2 * 2 * 0.66 - 0.66**2, "square": 1.6**2, "triangle": 0.9 * 1.75}


def coverage(name: str, half_turn: float, radius: float = 20.0, size: int = 60) -> np.ndarray:
    return planted_shapes._coverage(name, size, np.array([31.0, 28.5]), radius, half_turn)


@pytest.mark.parametrize("half_turn", [0.0, 0.25, -0.5])
@pytest.mark.parametrize("name", AREAS)
def test_area_is_that_of_the_shape_at_any_angle(name: str, half_turn: float) -> None:
    assert coverage(name, half_turn).sum() == pytest.approx(AREAS[name] * 20**2, rel=0.01)


def test_a_star_has_five_points() -> None:
    """Turned by a fifth it covers the same; by a tenth it does not."""
    fifth, tenth = np.tan(np.pi / 5), np.tan(np.pi / 10)
    upright = coverage("star", 0.0)
    assert np.abs(upright - coverage("star", float(fifth))).sum() < 0.02 * upright.sum()
    assert np.abs(upright - coverage("star", float(tenth))).sum() > 0.3 * upright.sum()


def test_shapes_stay_in_the_image_and_are_seen() -> None:
    for seed in range(40):
        for name in SHAPES:
            rng = np.random.default_rng(seed)
            image = drawn_shape(name, 24, rng).astype(float)
            assert image.shape == (24, 24, 3)
            border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
            assert np.abs(image - border.mean(axis=0)).max() > 60, (name, seed)


def test_colours_tell_much_and_not_all() -> None:
    rng = np.random.default_rng(0)
    typical = np.array(planted_shapes._COLOURS)
    right = []
    for _ in range(300):
        for number, name in enumerate(SHAPES):
            shape, behind = planted_shapes._colours(name, rng)
            assert np.abs(shape - behind).max() >= 90
            right.append(np.abs(typical - shape).sum(axis=1).argmin() == number)
    assert 0.89 < np.mean(right) < 0.95
