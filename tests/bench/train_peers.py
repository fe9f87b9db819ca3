"""Trains one net in a process of its own: `python -m tests.bench.train_peers TASK`. Started by the benchmark train.

All systems train the same net on the same pixels with the same batches, precision, optimiser and augmentation (shift
and flip). Starting and warming up do not count.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tdtool.config import DeviceConfig, NetConfig, TrainConfig
from tdtool.run.train import train
from tdtool.run.train_request import TrainRequest
from tdtool.train.journal import of_kind, read_journal
from tests.bench.children import reports
from tests.bench.measure import Stopwatch, peak_rss_mb


@dataclasses.dataclass(frozen=True)
class Task:
    """What to train. data : a store of pixels; steps : timed, after `warm` others; threads : of torch."""

    system: str
    data: str
    model: str
    width: int
    batch: int
    precision: str
    warm: int
    steps: int
    threads: int
    seed: int = 0


def run_tdtool(task: Task) -> tuple[float, float | None]:
    """`tdtool train` itself: the time between two records of its journal. What CPU time they took is not recorded."""
    with tempfile.TemporaryDirectory() as folder:
        run = train(_request(task, task.warm + task.steps), Path(folder) / "run").path
        times = {record["step"]: record["time"] for record in of_kind(read_journal(run), "step")}
    return times[task.warm + task.steps] - times[task.warm], None


def _request(task: Task, steps: int) -> TrainRequest:
    """As the command line would ask for it; nothing is held out to be scored."""
    config = TrainConfig(
        net=NetConfig(task.model, task.width),
        device=DeviceConfig("cpu", precision=task.precision, threads=task.threads),  # type: ignore[arg-type]
        epochs=1000,
        max_steps=steps,
        batch=task.batch,
        holdout=0.0,
        seed=task.seed,
    )
    return TrainRequest(config, task.data, task.batch)


def run_plain(task: Task) -> tuple[float, float | None]:
    """The loop one writes by hand: pixels in memory, the batch shifted and flipped by indexing."""
    import torch

    net, optimiser = _net(task)
    pixels_NHWC, labels_N = _pixels(task)
    draw = torch.Generator().manual_seed(task.seed)

    def batches() -> Iterator[tuple[Any, Any]]:
        while True:
            for places in torch.randperm(len(labels_N), generator=draw).split(task.batch):
                if len(places) == task.batch:
                    yield _shifted(pixels_NHWC[places], draw), labels_N[places]

    return _timed(task, net, optimiser, batches())


def run_loader(task: Task) -> tuple[float, float | None]:
    """The loop of most recipes: a Dataset that gives one image, a DataLoader with two workers that stacks them."""
    net, optimiser = _net(task)

    def batches() -> Iterator[tuple[Any, Any]]:
        while True:
            yield from _loader(task)

    return _timed(task, net, optimiser, batches())


def run_lightning(task: Task) -> tuple[float, float | None]:
    """Lightning's Trainer over the same DataLoader, without its logs, bars and checkpoints."""
    import logging
    import warnings

    import lightning
    import torch

    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    net, optimiser = _net(task)
    marks: list[tuple[float, float]] = []

    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def training_step(self, batch: tuple[Any, Any], _: int) -> Any:
            if self.global_step in (task.warm, task.warm + task.steps):
                marks.append((time.perf_counter(), time.process_time()))
            return torch.nn.functional.cross_entropy(net(_input(batch[0])), batch[1])

        def configure_optimizers(self) -> Any:
            return optimiser

    trainer = lightning.Trainer(
        accelerator="cpu",
        max_steps=task.warm + task.steps + 1,
        precision="bf16-mixed" if task.precision == "bf16" else "32-true",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Module(), _loader(task))
    return marks[-1][0] - marks[0][0], marks[-1][1] - marks[0][1]


SYSTEMS: dict[str, Callable[[Task], tuple[float, float | None]]] = {
    "tdtool": run_tdtool,
    "torch, plain loop": run_plain,
    "torch, DataLoader": run_loader,
    "lightning": run_lightning,
}


def _net(task: Task) -> tuple[Any, Any]:
    import torch

    from tdtool.nn.models import build

    torch.set_num_threads(task.threads)
    pixels_NHWC, labels_N = _pixels(task)
    settings = NetConfig(task.model, task.width, n_classes=int(labels_N.max()) + 1, image_size=pixels_NHWC.shape[1])
    net = build(settings, seed=task.seed)
    net = net.to(memory_format=torch.channels_last).train()
    return net, torch.optim.SGD(
        net.parameters(), 0.1 * task.batch / 256, momentum=0.9, weight_decay=5e-4, nesterov=True, fused=True
    )


def _pixels(task: Task) -> tuple[Any, Any]:
    """(N, H, W, 3) uint8 and (N,) labels of the training part, in memory."""
    import torch

    from tdtool.data.image_store import open_images

    images = open_images(Path(task.data))
    rows = np.flatnonzero(images.splits == 0)
    assert images.pixels is not None
    return torch.from_numpy(np.ascontiguousarray(images.pixels[rows])), torch.from_numpy(images.labels[rows])


def _shifted(x_BHWC: Any, draw: Any) -> Any:
    """Each image shifted by up to an eighth of its side over black, half of them mirrored."""
    import torch

    n, side = x_BHWC.shape[0], x_BHWC.shape[1]
    most = side // 8
    padded = torch.nn.functional.pad(x_BHWC, (0, 0, most, most, most, most))
    top, left = (torch.randint(0, 2 * most + 1, (n, 1), generator=draw) for _ in range(2))
    across = torch.arange(side)
    columns = torch.where(torch.rand((n, 1), generator=draw) < 0.5, across, side - 1 - across)
    every = torch.arange(n)[:, None, None]
    return padded[every, (top + across)[:, :, None], (left + columns)[:, None, :]]


def _input(x_BHWC: Any) -> Any:
    """Pixels as the net wants them: (B, 3, H, W) float, in channels_last order."""
    import torch

    mean, scale = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((x_BHWC.float() / 255 - mean) / scale).permute(0, 3, 1, 2)


def _loader(task: Task) -> Any:
    import torch

    pixels_NHWC, labels_N = _pixels(task)
    most = pixels_NHWC.shape[1] // 8

    class Images(torch.utils.data.Dataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return len(labels_N)

        def __getitem__(self, place: int) -> tuple[Any, Any]:
            x_HWC = torch.nn.functional.pad(pixels_NHWC[place], (0, 0, most, most, most, most))
            top, left = torch.randint(0, 2 * most + 1, (2,)).tolist()
            side = pixels_NHWC.shape[1]
            x_HWC = x_HWC[top : top + side, left : left + side]
            return (x_HWC.flip(1) if torch.rand(()) < 0.5 else x_HWC), labels_N[place]

    return torch.utils.data.DataLoader(
        Images(), task.batch, shuffle=True, drop_last=True, num_workers=2, persistent_workers=True
    )


def _timed(task: Task, net: Any, optimiser: Any, batches: Iterator[tuple[Any, Any]]) -> tuple[float, float | None]:
    import torch

    watch = Stopwatch()
    for step in range(task.warm + task.steps):
        if step == task.warm:
            watch.__enter__()
        x_BHWC, y_B = next(batches)
        with torch.autocast("cpu", torch.bfloat16, enabled=task.precision == "bf16"):
            loss = torch.nn.functional.cross_entropy(net(_input(x_BHWC)), y_B)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    watch.__exit__()
    return watch.seconds, watch.cpu_seconds


def main(task: Task, report: Callable[..., None]) -> None:
    """Train and say how long the steps took."""
    report(started=True)
    seconds, cpu_seconds = SYSTEMS[task.system](task)
    quality = {"images_per_second": task.steps * task.batch / seconds}
    report(seconds=seconds, cpu_seconds=cpu_seconds, peak_rss_mb=peak_rss_mb(), quality=quality)


if __name__ == "__main__":
    with reports() as send:
        main(Task(**json.loads(sys.argv[1])), send)
