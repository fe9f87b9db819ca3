"""What training varies, and what a net is given."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from tdtool.config import AugmentConfig
from tdtool.train.augment import (
    MEAN,
    SMALL,
    STD,
    Views,
    cut_part,
    draw_views,
    middle_square,
    mix,
    partners,
    random_part,
    scored_square,
    to_input,
)


def views(config: AugmentConfig, n: int = 4000, size: int = 32, seed: int = 5, epoch: int = 2) -> Views:
    return draw_views(config, np.arange(n), size=size, seed=seed, epoch=epoch)


@pytest.mark.parametrize("size", [32, SMALL + 1])
def test_views_are_a_function_of_seed_epoch_and_image(size: int) -> None:
    config = AugmentConfig(colour=0.3, mixup=0.4)
    indices = np.array([8, 3, 700, 41])
    whole, some = views(config, size=size), draw_views(config, indices, size=size, seed=5, epoch=2)
    for field in dataclasses.fields(Views):
        np.testing.assert_array_equal(getattr(whole, field.name)[indices], getattr(some, field.name))
    assert whole.lambda_B is not None
    for other in (views(config, size=size, seed=6), views(config, size=size, epoch=3)):
        assert (other.flip != whole.flip).any()
        assert (other.lambda_B != whole.lambda_B).any()


def test_shifts_reach_an_eighth_and_are_equally_likely() -> None:
    drawn = views(AugmentConfig(), size=31)
    for shift in (drawn.shift_top, drawn.shift_left):
        counts = np.bincount(shift + 3)
        assert len(counts) == 7  # -3 ... 3
        assert np.abs(counts - 4000 / 7).max() < 5 * np.sqrt(4000 / 7)
    assert abs(np.corrcoef(drawn.shift_top, drawn.shift_left)[0, 1]) < 0.1
    assert abs(drawn.flip.mean() - 0.5) < 0.05


def test_what_is_not_asked_for_is_not_drawn() -> None:
    drawn = views(AugmentConfig(crop=False, flip=False))
    assert not drawn.shift_top.any()
    assert not drawn.shift_left.any()
    assert not drawn.flip.any()
    assert (drawn.colours == 1).all()
    assert drawn.lambda_B is None


def test_colours_are_around_one_by_their_strength() -> None:
    colours = views(AugmentConfig(colour=0.4)).colours
    assert colours.shape == (4000, 3)
    assert colours.min() >= 0.6
    assert colours.max() <= 1.4
    assert np.ptp(colours, axis=0).min() > 0.75
    assert np.abs(np.corrcoef(colours.T) - np.eye(3)).max() < 0.1


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_mixup_draws_from_beta(alpha: float) -> None:
    lambda_B = views(AugmentConfig(mixup=alpha)).lambda_B
    assert lambda_B is not None
    assert lambda_B.dtype == np.float32
    assert lambda_B.mean() == pytest.approx(0.5, abs=0.03)
    assert lambda_B.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


def test_parts_lie_inside_and_have_the_area_and_ratio_asked_for() -> None:
    height, width = 150, 210
    parts = np.array([random_part(height, width, tries) for tries in views(AugmentConfig(), 2000, size=224).parts])
    top, left, rows, columns = parts.T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + rows <= height + 1e-9).all()
    assert (left + columns <= width + 1e-9).all()
    places = np.stack([top / (height - rows), left / (width - columns)])
    assert np.abs(places.mean(axis=1) - 0.5).max() < 0.05
    assert abs(np.corrcoef(places)[0, 1]) < 0.1
    share, ratio = rows * columns / (height * width), columns / rows
    assert share.min() == pytest.approx(0.08, abs=0.01)
    assert share.max() > 0.9
    assert 0.75 - 1e-9 <= ratio.min() < 0.77
    assert 1.3 < ratio.max() <= 4 / 3 + 1e-9
    assert abs(np.log(ratio[share < 0.3]).mean()) < 0.03  # of large ones those as wide as the image fit best


def test_no_part_of_a_strip_fits_so_the_middle_is_taken() -> None:
    tries = views(AugmentConfig(), 1, size=224).parts[0]
    assert random_part(10, 1000, tries) == pytest.approx((0, (1000 - 40 / 3) / 2, 10, 40 / 3))
    assert random_part(1000, 10, tries) == pytest.approx(((1000 - 40 / 3) / 2, 0, 40 / 3, 10))


def test_small_images_are_scored_whole_and_large_ones_in_the_middle() -> None:
    assert scored_square(30, 40, SMALL) == middle_square(30, 40) == (0, 5, 30, 30)
    assert scored_square(512, 256, 224) == (144, 16, 224, 224)


@pytest.mark.parametrize("flip", [False, True])
def test_a_part_of_the_size_wanted_is_copied(flip: bool, rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (9, 8, 3), np.uint8)
    out = np.zeros((5, 4, 3), np.uint8)
    cut_part(image, (2.0, 3.0, 5.0, 4.0), out, flip=flip)
    expected = image[2:7, 3:7]
    np.testing.assert_array_equal(out, expected[:, ::-1] if flip else expected)


def test_input_is_normalised_and_lies_channels_last(rng: np.random.Generator) -> None:
    x_BHWC = torch.from_numpy(rng.integers(0, 256, (2, 5, 7, 3), np.uint8))
    x_BCHW = to_input(x_BHWC, torch.float32, "cpu")
    assert x_BCHW.is_contiguous(memory_format=torch.channels_last)
    expected = (x_BHWC.double() / 255 - torch.tensor(MEAN).double()) / torch.tensor(STD).double()
    torch.testing.assert_close(x_BCHW, expected.permute(0, 3, 1, 2).float(), rtol=1e-5, atol=1e-6)
    assert to_input(x_BHWC, torch.bfloat16, torch.device("cpu")).dtype == torch.bfloat16


def test_mixing_is_with_the_neighbour_and_shards_stay_whole(rng: np.random.Generator) -> None:
    x_BCHW = torch.from_numpy(rng.standard_normal((6, 3, 2, 5), np.float32))
    lambda_B = torch.tensor([0.1, 0.9, 0.5, 0.3, 1.0, 0.0])
    mixed = mix(x_BCHW, lambda_B)
    for own, other in enumerate([1, 0, 3, 2, 5, 4]):
        expected = lambda_B[own] * x_BCHW[own] + (1 - lambda_B[own]) * x_BCHW[other]
        torch.testing.assert_close(mixed[own], expected)
    assert torch.equal(mixed[2:4], mix(x_BCHW[2:4], lambda_B[2:4]))
    assert partners(torch.arange(6)).tolist() == [1, 0, 3, 2, 5, 4]
    like_input = mix(x_BCHW.contiguous(memory_format=torch.channels_last), lambda_B)
    assert like_input.is_contiguous(memory_format=torch.channels_last)
