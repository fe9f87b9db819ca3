"""Batches: the same for any number of threads and processes, each image once, and no thread left behind."""

from __future__ import annotations

import dataclasses
import io
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tdtool.config import AugmentConfig, NetConfig, TrainConfig
from tdtool.data.image_decode import decode
from tdtool.data.image_store import ImageRecord, open_images, write_images
from tdtool.errors import InputError, UsageError
from tdtool.train.augment import cut_part, draw_views, random_part, scored_square
from tdtool.train.batches import Batch, Batches
from tdtool.train.synthetic import SyntheticImages, synthetic, synthetic_for

PLAIN = AugmentConfig(crop=False, flip=False)


def config(*, batch: int = 8, accumulate: int = 1, size: int = 4, augment: AugmentConfig = PLAIN) -> TrainConfig:
    return TrainConfig(net=NetConfig(image_size=size), batch=batch, accumulate=accumulate, augment=augment, seed=11)


@dataclasses.dataclass
class Files:
    """Images as files, some of which are no images; decoding takes a while, and not always the same."""

    n: int
    bad: tuple[int, ...] = ()
    side: int = 6
    slow: bool = False
    pixels: None = None
    allowed: threading.Semaphore | None = None  # as many are read as it lets
    asked: int = 0

    def __post_init__(self) -> None:
        self.labels = np.arange(self.n, dtype=np.int64) % 5
        self.height = self.width = np.full(self.n, self.side)
        self.data = np.zeros(1, np.uint8)

    def names(self, index: int) -> str:
        return f"photo {index}"

    def encoded(self, index: int) -> bytes:
        if self.slow:
            time.sleep(0.002 * (index % 3))
        self.asked += 1
        if self.allowed is not None:
            self.allowed.acquire(timeout=5)
        if index in self.bad:
            return b"\xff\xd8\xff broken"
        pillow = pytest.importorskip("PIL.Image")
        file = io.BytesIO()
        pillow.new("RGB", (self.side, self.side), (index % 256, 2 * index % 256, 0)).save(file, "PNG")
        return file.getvalue()


def numbered(n: int, side: int = 4) -> Any:
    """Images whose first pixel is their number."""
    images = synthetic(n, image_size=side, n_classes=5)
    pixels = images.pixels.copy()
    pixels[:, 0, 0, 0], pixels[:, 0, 0, 1] = np.arange(n) % 256, np.arange(n) // 256
    return dataclasses.replace(images, pixels=pixels)


def numbers(batch: Batch) -> list[int]:
    """Which images they are, by their pixels."""
    first = batch.x_BHWC[:, 0, 0].int()
    return (first[:, 0] + 256 * first[:, 1]).tolist()


@pytest.fixture(autouse=True)
def _no_threads_are_left() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("tdtool-images")] == []


def test_an_epoch_has_each_image_once_with_its_label() -> None:
    images, indices = numbered(70), np.arange(3, 70)
    batches = Batches(images, indices, config(), training=True, threads=2)
    seen = []
    for (batch,) in batches.epoch(0):
        assert batch.x_BHWC.shape == (8, 4, 4, 3)
        assert batch.x_BHWC.dtype == torch.uint8
        assert numbers(batch) == batch.indices_B.tolist()
        assert batch.y_B.tolist() == images.labels[batch.indices_B].tolist()
        seen += numbers(batch)
    assert batches.steps_per_epoch == 8
    assert len(seen) == len(set(seen)) == 64  # the rest, three, is dropped
    assert set(seen) <= set(indices.tolist())
    assert seen != [number for (batch,) in batches.epoch(1) for number in numbers(batch)]


@pytest.mark.parametrize(("world_size", "accumulate"), [(1, 2), (2, 1), (2, 2), (3, 1), (1, 6)])
@pytest.mark.parametrize("size", [4, 100])
def test_processes_and_parts_share_out_the_same_batches(world_size: int, accumulate: int, size: int) -> None:
    images, vary, every = numbered(60, size), AugmentConfig(colour=0.5, mixup=0.4), np.arange(60)
    whole = config(batch=24, size=size, augment=vary)
    alone = [batch for (batch,) in Batches(images, every, whole, training=True).epoch(3)]
    shared = dataclasses.replace(whole, accumulate=accumulate)
    processes = [
        Batches(images, every, shared, rank_id=rank_id, world_size=world_size, training=True, threads=2)
        for rank_id in range(world_size)
    ]
    parts = [list(batches.epoch(3)) for batches in processes]
    assert len(alone) == 2
    for step, batch in enumerate(alone):
        mine = [part for process in parts for part in process[step]]
        assert len(mine) == world_size * accumulate
        assert torch.equal(torch.cat([part.x_BHWC for part in mine]), batch.x_BHWC)
        assert torch.equal(torch.cat([part.y_B for part in mine]), batch.y_B)
        assert torch.equal(torch.cat([part.lambda_B for part in mine]), batch.lambda_B)


def test_an_epoch_may_begin_in_the_middle() -> None:
    batches = Batches(numbered(40), np.arange(40), config(augment=AugmentConfig()), training=True)
    whole, rest = list(batches.epoch(2)), list(batches.epoch(2, 3))
    assert len(rest) == 2
    for (before,), (after,) in zip(whole[3:], rest, strict=True):
        assert torch.equal(before.x_BHWC, after.x_BHWC)
    assert list(batches.epoch(2, 5)) == []


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="this system cannot be told what will be read")
@pytest.mark.parametrize("encoded", [True, False])
def test_a_large_store_is_asked_for_in_runs_before_it_is_read(
    encoded: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: Any = Files(90)
    pixels = np.random.default_rng(0).integers(0, 256, (90, 6, 6, 3), np.uint8)
    records = [ImageRecord(str(i), 0, 0, files.encoded(i) if encoded else pixels[i]) for i in range(90)]
    write_images(tmp_path / "images.h5", records, ["one"])
    images = open_images(tmp_path / "images.h5")
    asked, order = list[tuple[int, int]](), np.arange(90)
    monkeypatch.setattr("os.posix_fadvise", lambda _file, begin, length, _advice: asked.append((begin, length)))
    monkeypatch.setattr("tdtool.train.order.CHUNKS", 5)  # of 4 images
    monkeypatch.setattr("tdtool.train.batches.window_of", lambda *_: 20)
    batches = Batches(images, order, config(batch=9, size=6), training=True)
    for first_step in (0, 5):
        seen = np.concatenate([part.indices_B for (part,) in batches.epoch(1, first_step)])
        assert sorted(seen) == sorted(set(seen))
        assert len(seen) == 90 - 9 * first_step
        stored = images.data if encoded else images.pixels
        assert isinstance(stored, np.memmap)
        bounds = images.starts if encoded else np.arange(91) * 6 * 6 * 3
        found = np.zeros(90, int)
        for begin, length in asked:
            where = np.searchsorted(bounds, [begin - stored.offset, begin - stored.offset + length])
            assert bounds[where].tolist() == [begin - stored.offset, begin - stored.offset + length]
            found[slice(*where)] += 1
        assert found[seen].tolist() == [1] * len(seen)  # each once
        assert len(asked) < len(seen) / 2
        asked.clear()


@pytest.mark.parametrize("training", [True, False])
def test_nothing_depends_on_the_number_of_threads(training: bool) -> None:
    images: Any = Files(50, bad=(7, 8), slow=True)
    some = config(batch=20, augment=AugmentConfig(colour=0.2))
    one, many = (
        [batch for (batch,) in Batches(images, np.arange(50), some, training=training, threads=n, max_bad=2).epoch(1)]
        for n in (1, 5)
    )
    assert len(one) == len(many) > 1
    for left, right in zip(one, many, strict=True):
        assert torch.equal(left.x_BHWC, right.x_BHWC)
        assert torch.equal(left.y_B, right.y_B)


@pytest.mark.parametrize("world_size", [1, 3])
def test_scoring_sees_every_image_once_in_order(world_size: int) -> None:
    images, indices = numbered(300), np.arange(2, 289, 7)
    seen, sizes = [], []
    for rank_id in range(world_size):
        some = config(batch=12, accumulate=2, augment=AugmentConfig(mixup=1.0))
        batches = Batches(images, indices, some, rank_id=rank_id, world_size=world_size, training=False)
        steps = list(batches.epoch())
        assert len(steps) == batches.steps_per_epoch
        for (batch,) in steps:
            assert batch.lambda_B is None
            np.testing.assert_array_equal(batch.x_BHWC.numpy(), images.pixels[numbers(batch)])
            seen += numbers(batch)
            sizes.append(len(batch))
    assert seen == indices.tolist()
    assert max(sizes) == 12 // (2 * world_size)


def test_more_processes_than_images_are_scored() -> None:
    empty = Batches(numbered(5), np.array([1]), config(), rank_id=0, world_size=3, training=False)
    assert list(empty.epoch()) == []


def test_training_takes_the_next_image_in_place_of_a_bad_one(caplog: pytest.LogCaptureFixture) -> None:
    images: Any = Files(40, bad=(9, 10, 39))
    batches = Batches(images, np.arange(40), config(batch=40), training=True, threads=3, max_bad=3)
    ((batch,),) = batches.epoch(0)
    replaced = {9: 11, 10: 11, 39: 0}
    assert sorted(batch.indices_B) == sorted(replaced.get(index, index) for index in range(40))
    assert batch.x_BHWC[:, 0, 0, 0].tolist() == batch.indices_B.tolist()
    assert batch.y_B.tolist() == (batch.indices_B % 5).tolist()
    assert set(batches.bad) == {9, 10, 39}
    assert "damaged" in batches.bad[9]
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith("photo ")
    assert "the next one is taken instead" in warning


def test_scoring_leaves_bad_images_out() -> None:
    images: Any = Files(24, bad=(1, 8, 9, 10, 11))
    steps = list(Batches(images, np.arange(24), config(batch=4), training=False, max_bad=0.5).epoch())
    assert [len(batch) for (batch,) in steps] == [3, 4, 4, 4, 4]  # the third has none left
    seen = np.concatenate([batch.indices_B for (batch,) in steps])
    assert seen.tolist() == [index for index in range(24) if index not in images.bad]
    assert [batch.x_BHWC[0, 0, 0, 0] for (batch,) in steps] == [0, 4, 12, 16, 20]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("max_bad", [2, 0.05])
def test_too_many_bad_images_end_it(training: bool, max_bad: float) -> None:
    images: Any = Files(40, bad=(0, 1, 2))
    batches = Batches(images, np.arange(40), config(), training=training, threads=2, max_bad=max_bad)
    with pytest.raises(InputError, match=r"^3 of 40 images cannot be decoded.*photo 0"):
        list(batches.epoch(0))


def test_threads_end_when_the_caller_stops_early() -> None:
    images: Any = Files(200)
    steps = Batches(images, np.arange(200), config(), training=True, threads=1).epoch(0)
    images.allowed = threading.Semaphore(8)
    next(iter(steps))
    threading.Timer(0.3, images.allowed.release, [100]).start()
    steps.close()  # type: ignore[attr-defined]
    assert images.asked <= 16  # of three steps of 8 that were ordered: what had begun is finished, no more is begun


def test_a_jpeg_that_is_decoded_smaller_shows_the_same_part(monkeypatch: pytest.MonkeyPatch) -> None:
    pillow = pytest.importorskip("PIL.Image")
    down, across = np.meshgrid(np.arange(480), np.arange(640), indexing="ij")
    photo = np.stack([down / 2, across / 3, 128 + 0 * down], -1).astype(np.uint8)
    file, shapes = io.BytesIO(), []
    pillow.fromarray(photo).save(file, "JPEG", quality=95)

    def spy(data: bytes, **options: Any) -> NDArray[np.uint8]:
        pixels = decode(data, **options)
        shapes.append(pixels.shape)
        return pixels

    monkeypatch.setattr("tdtool.train.loading.decode", spy)
    images: Any = Files(1)
    images.encoded, images.height, images.width = lambda _: file.getvalue(), np.array([480]), np.array([640])
    for training in (True, False):
        some = config(batch=1, size=100, augment=AugmentConfig(flip=False))
        batches = Batches(images, np.arange(1), some, training=training)
        ((batch,),) = batches.epoch(2)
        views = draw_views(some.augment, np.arange(1), size=100, seed=some.seed, epoch=2)
        part = random_part(480, 640, views.parts[0]) if training else scored_square(480, 640, 100)
        expected = np.empty((100, 100, 3), np.uint8)
        cut_part(photo, part, expected)
        assert np.abs(batch.x_BHWC[0].numpy().astype(int) - expected).max() <= 4
    assert min(shapes)[0] < 480


@pytest.mark.parametrize("size", [8, 100])
def test_images_of_other_sizes_are_brought_to_that_of_the_net(size: int) -> None:
    images: Any = Files(6, side=130)
    for training in (True, False):
        batches = Batches(images, np.arange(6), config(batch=6, size=size, augment=AugmentConfig()), training=training)
        ((batch,),) = batches.epoch(0)
        assert batch.x_BHWC.shape == (6, size, size, 3)
        middle = batch.x_BHWC[:, size // 2, size // 2]
        assert middle.tolist() == [[index, 2 * index, 0] for index in batch.indices_B]


@pytest.mark.parametrize(
    ("some", "world_size", "message"),
    [
        (config(batch=10, accumulate=2), 2, "--batch 10 cannot be divided evenly by 4"),
        (config(batch=6, accumulate=3, augment=AugmentConfig(mixup=0.1)), 2, "divided evenly by 12 .* pairs for mixup"),
        (config(batch=64), 1, "--batch 64 is more than the 50 images"),
    ],
)
def test_batches_that_cannot_be(some: TrainConfig, world_size: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Batches(numbered(50), np.arange(50), some, world_size=world_size, training=True)


def test_a_process_is_one_of_all() -> None:
    with pytest.raises(ValueError, match="process 2 of 2"):
        Batches(numbered(50), np.arange(50), config(), rank_id=2, world_size=2, training=True)


def test_synthetic_images_differ_and_can_be_made_again() -> None:
    images = synthetic(1000, image_size=12, n_classes=7, seed=3)
    again, other = (synthetic(1000, image_size=12, n_classes=7, seed=seed) for seed in (3, 4))
    assert images.pixels.shape == (1000, 12, 12, 3)
    assert len(np.unique(images.pixels.reshape(1000, -1), axis=0)) == 1000
    assert np.array_equal(images.pixels, again.pixels)
    assert not np.array_equal(images.pixels, other.pixels)
    assert images.digest == again.digest != other.digest
    assert images.pixels.mean() == pytest.approx(127.5, abs=1)
    assert np.bincount(images.labels).min() > 100
    assert np.bincount(images.splits).tolist() == [900, 100]
    assert not images.pixels.flags.writeable


def test_synthetic_images_take_little_memory() -> None:
    images = synthetic(1_000_000, image_size=224, n_classes=3)
    first, last = np.lib.array_utils.byte_bounds(images.pixels)
    assert last - first < 100 << 20
    with pytest.raises(ValueError, match="no file"):
        images.encoded(3)
    with pytest.raises(ValueError, match="at least one of each"):
        synthetic(0, image_size=3, n_classes=3)


def test_a_run_on_synthetic_images_has_twenty_batches() -> None:
    images: SyntheticImages = synthetic_for(config(batch=100))
    assert (images.n, len(images.classes), images.pixels.shape[1]) == (2000, 1000, 4)
    assert images.names(5) == "synthetic 5"
