"""The order of an epoch, and the draws it is made of."""

from __future__ import annotations

import collections

import numpy as np
import pytest

from tdtool.train.draws import keys, uniforms, words
from tdtool.train.order import CHUNKS, LARGE_STORE, WINDOW_BYTES, epoch_order, window_of


def test_draws_are_those_of_splitmix64() -> None:
    """The first three of seed 0 in Vigna's reference implementation."""
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert words(np.zeros(1, np.uint64), 3)[0].tolist() == expected


def test_keys_depend_on_every_part_and_their_places() -> None:
    some = [keys(parts, np.array([0, 5]))[1] for parts in ((1, 2), (2, 1), (1, 2, 0), (0, 1, 2), (1, -2), (1,), ())]
    assert len(set(some)) == len(some)


def test_uniforms_are_uniform() -> None:
    drawn = uniforms(keys((3, 1), np.arange(4000)), 5)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    counts = np.stack([np.histogram(column, 10, (0, 1))[0] for column in drawn.T])
    assert np.abs(counts - 400).max() < 5 * np.sqrt(400)
    assert np.abs(np.corrcoef(drawn.T) - np.eye(5)).max() < 5 / np.sqrt(4000)


@pytest.mark.parametrize(
    ("n", "window"), [(0, None), (1, None), (997, None), (997, 997), (997, 100), (5003, 700), (9, 1)]
)
def test_an_epoch_takes_every_image_once(n: int, window: int | None) -> None:
    assert sorted(epoch_order(n, seed=4, epoch=2, window=window)) == list(range(n))


@pytest.mark.parametrize("window", [None, 300])
def test_order_is_a_function_of_seed_and_epoch(window: int | None) -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return epoch_order(1009, seed=seed, epoch=epoch, window=window).tolist()

    assert order(7, 3) == order(7, 3)
    assert len({tuple(order(*place)) for place in ((7, 3), (3, 7), (7, 4), (8, 3))}) == 4


def test_orders_are_equally_likely() -> None:
    counts = collections.Counter(tuple(epoch_order(3, seed=seed, epoch=1)) for seed in range(1200))
    assert len(counts) == 6
    assert max(abs(count - 200) for count in counts.values()) < 5 * np.sqrt(200)


def test_a_window_is_read_in_runs_from_all_over_the_store() -> None:
    chunk, n = 3, 20_000
    order = epoch_order(n, seed=1, epoch=0, window=CHUNKS * chunk)
    assert abs(np.corrcoef(order, np.arange(n))[0, 1]) < 0.05
    for first in range(0, n, CHUNKS * chunk):
        places = order[first : first + CHUNKS * chunk]
        assert len(np.unique(places // chunk)) <= CHUNKS + 1  # the last chunk of the store is shorter
        assert abs(np.corrcoef(places, np.arange(len(places)))[0, 1]) < 0.2  # shuffled within


def test_window_is_no_less_than_a_place() -> None:
    with pytest.raises(ValueError, match="window of 0"):
        epoch_order(5, seed=0, epoch=0, window=0)


def test_only_large_stores_have_a_window_which_fits_in_memory() -> None:
    assert window_of(1000, LARGE_STORE) is None
    window = window_of(1_000_000, 130 << 30)
    assert window is not None
    assert window * (130 << 30) / 1_000_000 == pytest.approx(WINDOW_BYTES, rel=1e-3)
