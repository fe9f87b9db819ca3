"""Loops over pixels against their twins."""

from __future__ import annotations

import numpy as np
import pytest

from tdtool.kernels.image_cpu import change_colours, cut_shifted, resize_part
from tests.oracles_image import change_colours_oracle, cut_shifted_oracle, resize_part_oracle


@pytest.mark.parametrize("channels", [1, 3])
def test_cut_is_the_part_of_the_image_padded_with_black(channels: int, rng: np.random.Generator) -> None:
    pixels = rng.integers(1, 256, (4, 5, 7, channels), np.uint8)
    top, left = (grid.ravel() for grid in np.meshgrid([-9, -3, -1, 0, 2, 6], [-8, -2, 0, 3, 9], indexing="ij"))
    top, left = np.repeat(top, 2), np.repeat(left, 2)
    rows, flip = np.arange(len(top)) * 3 % 4, np.arange(len(top)) % 2 == 1
    out = np.full((len(top), 6, 4, channels), 77, np.uint8)
    cut_shifted(pixels, rows, top, left, flip, out)
    for b in range(len(top)):
        expected = cut_shifted_oracle(pixels[rows[b]], top[b], left[b], flip[b], (6, 4))
        np.testing.assert_array_equal(out[b], expected, err_msg=f"top {top[b]} left {left[b]} flip {flip[b]}")


@pytest.mark.parametrize(
    ("part", "shape"),
    [
        ((0.0, 0.0, 11.0, 17.0), (4, 5)),  # the whole image, made smaller
        ((2.3, 4.7, 6.1, 9.2), (5, 3)),
        ((3.2, 8.1, 2.5, 3.1), (7, 9)),  # enlarged
        ((10.0, 16.0, 1.0, 1.0), (2, 3)),  # the last pixel
        ((0.0, 5.0, 11.0, 0.4), (3, 2)),  # less than a pixel
        ((1.0, 2.0, 5.0, 6.0), (5, 6)),  # as it is
    ],
)
@pytest.mark.parametrize("flip", [False, True])
def test_resize_is_a_product_with_tents(
    part: tuple[float, float, float, float], shape: tuple[int, int], flip: bool, rng: np.random.Generator
) -> None:
    image = rng.integers(0, 256, (11, 17, 3), np.uint8)
    out = np.zeros((*shape, 3), np.uint8)
    resize_part(image, *part, flip, out)
    expected = resize_part_oracle(image, part, shape)
    assert np.abs(out[:, ::-1] - expected if flip else out - expected).max() <= 0.501  # rounding alone


def test_resize_is_that_of_pillow(rng: np.random.Generator) -> None:
    pillow = pytest.importorskip("PIL.Image")
    image = rng.integers(0, 256, (23, 31, 3), np.uint8)
    out = np.zeros((9, 13, 3), np.uint8)
    resize_part(image, 1.5, 3.25, 20.0, 26.5, False, out)
    box = (3.25, 1.5, 3.25 + 26.5, 1.5 + 20.0)
    theirs = np.asarray(pillow.fromarray(image).resize((13, 9), pillow.Resampling.BILINEAR, box=box))
    assert np.abs(out.astype(int) - theirs).max() <= 1  # Pillow rounds between its two passes


def test_colours_follow_the_formula_and_leave_other_images_alone(rng: np.random.Generator) -> None:
    images = rng.integers(0, 256, (4, 5, 7, 3), np.uint8)
    brightness, contrast, saturation = np.float32([[1, 0.6, 1.4, 1.3], [1, 1.3, 0.7, 1.2], [1, 0.0, 1.4, 1.4]])
    changed = images.copy()
    change_colours(changed, brightness, contrast, saturation)
    np.testing.assert_array_equal(changed[0], images[0])
    for b in range(4):
        expected = change_colours_oracle(images[b], brightness[b], contrast[b], saturation[b])
        assert np.abs(changed[b] - expected).max() <= 0.51
    grey = changed[1].astype(int)
    assert np.ptp(grey, axis=-1).max() <= 1  # saturation 0
