"""Batches of an epoch, made ready by threads while the net is busy with those before."""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tdtool.config import ImagesConfig, TrainConfig
from tdtool.errors import UsageError
from tdtool.train.augment import draw_views
from tdtool.train.loading import Loader
from tdtool.train.order import epoch_order, window_of
from tdtool.train.read_ahead import read_ahead

if TYPE_CHECKING:
    from tdtool.data.image_store import ImageSet

#: Images that a thread makes ready at a time: where each is decoded, and where they are only gathered, which is so
#: quick that one thread does it.
_PIECE, _CHEAP_PIECE = 16, 1024
#: Steps that are kept ready, at least.
_AHEAD = 2


@dataclasses.dataclass(frozen=True)
class Batch:
    """Images that go through the net together.

    x_BHWC : uint8, red, green, blue; y_B : int64, classes; lambda_B : float32, the share of its own pixels that mixup
    leaves each image (see `mix`), None: no mixup; indices_B : int64, which images of the set they are.
    """

    x_BHWC: Tensor
    y_B: Tensor
    lambda_B: Tensor | None
    indices_B: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.y_B)


class Batches:
    """The batches of one process: of images `indices` of a set, in the order of the epoch or as they are.

    indices : (n,) int64. training : order = f(seed, epoch), and the variation of an image f(seed, epoch, image). Step b
    takes places b B ... (b + 1) B - 1 of the order (the rest of the epoch is dropped), of which process rank_id takes
    its contiguous share, in `accumulate` batches; so nothing depends on world_size but who does what. Not training:
    process rank_id has a contiguous share of the images, each of them once, unvaried, the last batch is shorter, and
    images that cannot be decoded are left out.

    threads : that decode at the same time; nothing depends on their number. max_bad : see Loader. Raises UsageError for
    batches that cannot be shared out, or that have more images than there are.
    """

    def __init__(
        self,
        images: ImageSet,
        indices: NDArray[np.int64],
        config: TrainConfig,
        *,
        rank_id: int = 0,
        world_size: int = 1,
        training: bool,
        threads: int = 1,
        max_bad: float = ImagesConfig.max_bad,
    ) -> None:
        if not 0 <= rank_id < world_size:
            raise ValueError(f"process {rank_id} of {world_size}")
        self._size, self._config, self.training = config.net.image_size, config, training
        indices = np.asarray(indices, np.int64)
        per_step = config.batch // (world_size * config.accumulate)
        if training:
            check_batch(config, len(indices), world_size)
            self.steps_per_epoch, first = len(indices) // config.batch, rank_id * per_step * config.accumulate
            self._share = slice(first, first + per_step * config.accumulate)
        else:
            borders = [len(indices) * number // world_size for number in (rank_id, rank_id + 1)]
            indices, per_step = indices[borders[0] : borders[1]], max(1, per_step)
            self.steps_per_epoch = -(-len(indices) // per_step)
        self._images, self._n, self.micro_batch = images, len(indices), per_step
        self._loader = Loader(images, indices, self._size, config.augment, training=training, max_bad=max_bad)
        self._piece, self._threads = (_CHEAP_PIECE, 1) if self._loader.cheap else (_PIECE, max(1, threads))
        stored = images.pixels if images.pixels is not None else images.data
        self._window = window_of(self._n, stored.nbytes) if training and stored is not None else None
        self._pinned = config.device.device != "cpu" and torch.cuda.is_available()

    @property
    def n(self) -> int:
        """Images of an epoch: of all processes while training, else of this one."""
        return self._n

    @property
    def bad(self) -> dict[int, str]:
        """Images of the set that could not be decoded so far, and why, by their index; of this process."""
        return self._loader.bad

    def epoch(self, epoch: int = 0, start_step: int = 0) -> Generator[list[Batch]]:
        """The steps of an epoch from start_step on: each a list of `accumulate` batches, of one batch when scoring.

        Threads work ahead of the caller by a few steps; they end with the iterator, which may be closed at any time.
        """
        order = self._order(epoch)
        steps = iter(range(start_step, self.steps_per_epoch))
        pieces = self._n_pieces()
        ahead = max(_AHEAD, -(-2 * self._threads // pieces))
        waiting: collections.deque[list[_Promise]] = collections.deque()
        n_threads = min(self._threads, pieces * ahead) + (self._window is not None)  # one that waits for the disk
        pool = ThreadPoolExecutor(n_threads, thread_name_prefix="tdtool-images")
        try:
            while True:
                for step in itertools.islice(steps, ahead + 1 - len(waiting)):
                    for places in self._windows(order, step, first=step == start_step):
                        # Only advice: what cannot be read is told when its turn comes.
                        pool.submit(read_ahead, self._images, self._loader.indices[places])
                    waiting.append([self._promise(pool, epoch, places) for places in self._places(order, step)])
                if not waiting:
                    return
                batches = [promise.batch() for promise in waiting.popleft()]
                if batches := [batch for batch in batches if len(batch)]:
                    yield batches
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if not self.training:
            return np.arange(self._n)
        return epoch_order(self._n, seed=self._config.seed, epoch=epoch, window=self._window)

    def _windows(self, order: NDArray[np.int64], step: int, *, first: bool) -> Iterator[NDArray[np.int64]]:
        """Places that are to be asked for when a step begins: those of the window after the one that is entered."""
        if self._window is None:
            return
        begin = step * self._config.batch
        entered = begin // self._window
        if first:
            yield order[begin : (entered + 1) * self._window]
        if first or entered != (begin - self._config.batch) // self._window:
            yield order[(entered + 1) * self._window : (entered + 2) * self._window]

    def _places(self, order: NDArray[np.int64], step: int) -> list[NDArray[np.int64]]:
        """Places of each batch of this process, (B,) int64 each."""
        if not self.training:
            return [order[step * self.micro_batch : (step + 1) * self.micro_batch]]
        mine = order[step * self._config.batch : (step + 1) * self._config.batch][self._share]
        return [mine[first : first + self.micro_batch] for first in range(0, len(mine), self.micro_batch)]

    def _n_pieces(self) -> int:
        """Pieces of a step."""
        batches = self._config.accumulate if self.training else 1
        return batches * -(-self.micro_batch // self._piece)

    def _promise(self, pool: ThreadPoolExecutor, epoch: int, places: NDArray[np.int64]) -> _Promise:
        """A batch that threads have begun to make ready."""
        shape = (len(places), self._size, self._size, 3)
        x_BHWC = torch.empty(shape, dtype=torch.uint8, pin_memory=self._pinned)
        out = x_BHWC.numpy()
        cuts = [slice(first, first + self._piece) for first in range(0, len(places), self._piece)]
        parts = [pool.submit(self._load, epoch, places[cut], out[cut]) for cut in cuts]
        return _Promise(x_BHWC, parts, self._images.labels)

    def _load(self, epoch: int, places: NDArray[np.int64], out: NDArray[np.uint8]) -> _Loaded:
        if not self.training:
            return _Loaded(*self._loader.load(places, None, out), None)
        # Drawn for the image whose turn it is, also where the next one takes its place.
        views = draw_views(
            self._config.augment, self._loader.indices[places], size=self._size, seed=self._config.seed, epoch=epoch
        )
        return _Loaded(*self._loader.load(places, views, out), views.lambda_B)


@dataclasses.dataclass(frozen=True)
class _Loaded:
    """A piece of a batch."""

    indices: NDArray[np.int64]
    good: NDArray[np.bool_]
    lambda_B: NDArray[np.float32] | None


@dataclasses.dataclass(frozen=True)
class _Promise:
    """A batch in the making."""

    x_BHWC: Tensor
    parts: list[Future[_Loaded]]
    labels: NDArray[np.int64]

    def batch(self) -> Batch:
        """The batch, as soon as it is ready; without the images that are no good."""
        parts = [part.result() for part in self.parts]
        indices, good = np.concatenate([p.indices for p in parts]), np.concatenate([p.good for p in parts])
        x_BHWC, shares = self.x_BHWC, [p.lambda_B for p in parts if p.lambda_B is not None]
        if not good.all():
            x_BHWC, indices = x_BHWC[torch.from_numpy(good)], indices[good]
        lambda_B = torch.from_numpy(np.concatenate(shares)) if shares else None
        return Batch(x_BHWC, torch.from_numpy(self.labels[indices].astype(np.int64)), lambda_B, indices)


def check_batch(config: TrainConfig, n_images: int, world_size: int) -> None:
    """UsageError for batches that cannot be shared out to processes and parts, or have more images than there are."""
    parts = world_size * config.accumulate
    needed = parts * (2 if config.augment.mixup > 0 else 1)
    if config.batch < 1 or config.batch % needed:
        below = max(needed, config.batch // needed * needed)
        by = f"{world_size} processes x {config.accumulate} parts" + (" x pairs for mixup" if needed > parts else "")
        raise UsageError(
            f"--batch {config.batch} cannot be divided evenly by {needed} ({by})", hint=f"for example: --batch {below}"
        )
    if config.batch > n_images:
        most = n_images // needed * needed
        hint = f"--batch {most} at most" if most else "there are too few images to train on"
        raise UsageError(f"--batch {config.batch} is more than the {n_images} images there are for training", hint=hint)
