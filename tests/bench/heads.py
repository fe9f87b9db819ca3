"""What a tensor head costs: accuracy on images against parameters saved, over paired seeds.

Heads are fixed beforehand on a validation part of the training images (`--choose`); then every head is trained with
every seed on all training images and scored on the test images. With one seed all heads see the same images in the same
order, varied in the same way, so that differences are taken seed by seed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from tdtool.config import DeviceConfig, ImagesConfig, NetConfig, OptimiserConfig, TrainConfig
from tests.bench.measure import Stopwatch, hardware, peak_rss_mb, version_of
from tests.bench.results import Result, Row

QUALITIES = {
    "accuracy": ("accuracy %", ".2f"),
    "loss": ("loss, points", "+.2f"),
    "standard_error": ("s.e.", ".2f"),
    "bound": ("loss - 2 s.e.", "+.2f"),
    "head_parameters": ("head parameters", ",.0f"),
    "saved": ("saved %", ".1f"),
}
_REFERENCE = "fc"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--data", required=True, help="images, with a test part")
    parser.add_argument("--model", default="vgg11_bn")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--heads", default="trl:48,3,3 tcl:64,3,3,fc=128", help="with blanks between, beside fc")
    parser.add_argument("--seeds", type=int, default=5, help="how many, from --seed on (default 5)")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--dropout", type=float, default=0.0, help="in all heads (default 0: short runs underfit)")
    parser.add_argument("--choose", action="store_true", help="score on a tenth of the training images instead")


def run(options: argparse.Namespace) -> Result:
    """Every head with every seed."""
    net = f"{options.model}, width {options.width}; {options.epochs} epochs of batches of {options.batch}"
    about = [
        f"net: {net}; dropout {options.dropout:g}; precision {options.precision}; shift and flip; SGD, cosine",
        f"accuracy: of the {'validation' if options.choose else 'test'} images after the last epoch",
        f"loss: points less than {_REFERENCE} with the same seed, mean over {options.seeds} seeds; s.e.: of that mean",
    ]
    result = Result("heads", options.threads, hardware(), about)
    heads = [_REFERENCE, *options.heads.split()]
    with tempfile.TemporaryDirectory(prefix="tdtool-bench-") as folder:
        store = _store(options, Path(folder))
        found: dict[str, list[float]] = {head: [] for head in heads}
        rows = {head: Row("tdtool", version_of("tdtool"), head) for head in heads}
        for seed in range(options.seed, options.seed + options.seeds):
            for head in heads:
                _train(options, store, head, seed, Path(folder), rows[head], found[head])
    for head, row in rows.items():
        _fill(row, found[head], found[_REFERENCE], rows[_REFERENCE])
    result.rows = list(rows.values())
    return result


def _store(options: argparse.Namespace, folder: Path) -> Path:
    from tdtool.run.ingest_images import images_of, ingest_images

    images = images_of(options.data, folder / "images.h5")
    if not options.choose:
        return Path(images.path)
    rng = np.random.default_rng(2)  # the same part for every seed and head
    rows = np.flatnonzero(images.splits == 0)
    part = np.sort(rng.permutation(rows)[: len(rows) // 10])
    rest = np.setdiff1d(rows, part)
    assert images.pixels is not None
    parts = {"train": rest, "test": part}
    arrays = {f"x_{name}": images.pixels[which] for name, which in parts.items()}
    labels = {f"y_{name}": images.labels[which] for name, which in parts.items()}
    np.savez(folder / "chosen.npz", **arrays, **labels)
    ingest_images(
        str(folder / "chosen.npz"), folder / "chosen.h5", ImagesConfig(), workers=options.threads, force=False
    )
    return folder / "chosen.h5"


def _train(
    options: argparse.Namespace, store: Path, head: str, seed: int, folder: Path, row: Row, found: list[float]
) -> None:
    from tdtool.run.train import train
    from tdtool.run.train_request import TrainRequest

    config = TrainConfig(
        net=NetConfig(options.model, options.width, head, dropout=options.dropout),
        optimiser=OptimiserConfig(),
        device=DeviceConfig("cpu", precision=options.precision, threads=options.threads),
        epochs=options.epochs,
        batch=options.batch,
        seed=seed,
    )
    name = head.replace(":", "-").replace(",", "-").replace("=", "-")
    with Stopwatch() as watch:
        result = train(TrainRequest(config, str(store), options.batch), folder / f"{name}.{seed}")
    found.append(100 * result.outcome.top1)
    row.seconds, row.cpu_seconds = (row.seconds or 0) + watch.seconds, (row.cpu_seconds or 0) + watch.cpu_seconds
    row.peak_rss_mb = peak_rss_mb()
    row.quality["head_parameters"] = result.net.as_dict()["head_parameters"]
    print(f"{head}, seed {seed}: {found[-1]:.2f} % in {watch.seconds:.0f} s", file=sys.stderr, flush=True)


def _fill(row: Row, found: list[float], reference: list[float], fc: Row) -> None:
    """The means, and every seed in the note."""
    row.note = " ".join(f"{accuracy:.2f}" for accuracy in found)
    row.quality["accuracy"] = float(np.mean(found))
    if row is fc:
        return
    losses = np.array(reference) - np.array(found)
    error = float(losses.std(ddof=1) / np.sqrt(losses.size)) if losses.size > 1 else float("nan")
    loss = float(losses.mean())
    row.quality |= {"loss": loss, "standard_error": error, "bound": loss - 2 * error}
    row.quality["saved"] = 100 * (1 - row.quality["head_parameters"] / fc.quality["head_parameters"])
