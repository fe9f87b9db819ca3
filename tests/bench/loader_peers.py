"""Reads all images of a folder once: `python -m tests.bench.loader_peers TASK`, started by tests.bench.loader.

Every system gives batches of uint8 pixels of the net's size, in an order that is shuffled, shifted or cut, and flipped.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench.children import reports
from tests.bench.measure import Stopwatch, peak_rss_mb

_BATCH = 128
_SECONDS = 2.0
_SMALL = 96


@dataclasses.dataclass(frozen=True)
class Task:
    """What to read. store : images file, of which the first `most`; folder : of tree/CLASS/NAME.jpg and shard-*.tar."""

    system: str
    store: str
    folder: str
    most: int
    size: int
    threads: int


def run_tdtool(task: Task) -> Callable[[int], int]:
    """A store, by threads."""
    from tdtool.config import NetConfig, TrainConfig
    from tdtool.data.image_store import open_images
    from tdtool.train.batches import Batches

    images = open_images(task.store)
    config = TrainConfig(net=NetConfig(image_size=task.size), batch=_BATCH)
    batches = Batches(images, np.arange(min(images.n, task.most)), config, training=True, threads=task.threads)
    return lambda epoch: sum(len(part) for parts in batches.epoch(epoch) for part in parts)


def run_webdataset(task: Task) -> Callable[[int], int]:
    """Tar shards, by processes, as its manual shows it."""
    import webdataset

    shards = sorted(str(path) for path in Path(task.folder).glob("shard-*.tar"))
    data = webdataset.WebDataset(shards, shardshuffle=len(shards)).shuffle(1000)
    data = data.decode("pil").to_tuple("jpg", "cls").map_tuple(_Vary(task.size), int).batched(_BATCH)
    workers = min(task.threads, len(shards))
    loader = webdataset.WebLoader(data, batch_size=None, num_workers=workers, persistent_workers=workers > 0)
    return lambda epoch: sum(len(y) for _, y in loader)


def run_tree(task: Task) -> Callable[[int], int]:
    """A tree of files, by the processes of torch's DataLoader: what torchvision's ImageFolder does."""
    import torch.utils.data

    files = sorted((Path(task.folder) / "tree").rglob("*.jpg"))
    loader = torch.utils.data.DataLoader(
        _Tree(files, _Vary(task.size)),
        _BATCH,
        shuffle=True,
        num_workers=task.threads,
        drop_last=True,
        persistent_workers=True,
    )
    return lambda epoch: sum(len(y) for _, y in loader)


SYSTEMS: dict[str, Callable[[Task], Callable[[int], int]]] = {
    "tdtool": run_tdtool,
    "tdtool, JPEG files": run_tdtool,
    "webdataset": run_webdataset,
    "torch, file tree": run_tree,
}


class _Tree:
    """Images by number, decoded by Pillow."""

    def __init__(self, files: list[Path], vary: _Vary) -> None:
        self._files, self._vary = files, vary

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, number: int) -> tuple[NDArray[np.uint8], int]:
        from PIL import Image

        with Image.open(self._files[number]) as image:
            return self._vary(image), int(self._files[number].parent.name)


class _Vary:
    """An image of Pillow to pixels: small ones are shifted, of large ones a random part is resized; flipped."""

    def __init__(self, size: int) -> None:
        self._size, self._draw = size, np.random.default_rng(0)

    def __call__(self, image: Any) -> NDArray[np.uint8]:
        from PIL import Image

        size, draw = self._size, self._draw
        if size <= _SMALL:
            reach = size // 8
            padded = np.pad(np.asarray(image.convert("RGB")), ((reach, reach), (reach, reach), (0, 0)))
            top, left = draw.integers(0, 2 * reach + 1, 2)
            pixels = padded[top : top + size, left : left + size]
        else:
            share = np.sqrt(draw.uniform(0.08, 1.0))
            columns, rows = image.width * share, image.height * share
            left, top = draw.uniform(0, image.width - columns), draw.uniform(0, image.height - rows)
            box = (left, top, left + columns, top + rows)
            pixels = np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR, box=box))
        return np.ascontiguousarray(pixels[:, ::-1] if draw.random() < 0.5 else pixels)


def main(task: Task, report: Callable[..., None]) -> None:
    """One pass to warm up, which starts processes and compiles; then passes for two seconds, and their mean."""
    import torch

    torch.set_num_threads(1)
    report(started=True)
    read = SYSTEMS[task.system](task)
    read(0)
    watch, passes, n = Stopwatch(), 0, 0
    while watch.seconds < _SECONDS:
        with watch:
            n += read(passes + 1)
        passes += 1
    report(
        seconds=watch.seconds / passes,
        cpu_seconds=watch.cpu_seconds / passes,
        peak_rss_mb=peak_rss_mb(),
        images_per_second=n / watch.seconds,
    )


if __name__ == "__main__":
    with reports() as send:
        main(Task(**json.loads(sys.argv[1])), send)
