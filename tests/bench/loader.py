"""Reading images alone: the same ones from a store, from tar shards and from a tree of files, to batches of pixels."""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tdtool.data.image_store import ImageRecord, open_images, write_images
from tests.bench.children import run_child, shared_caps
from tests.bench.loader_peers import SYSTEMS, Task
from tests.bench.measure import version_of
from tests.bench.results import Row

_SMALL_IMAGES, _PHOTOS, _SHARDS, _QUALITY = 10_000, 640, 8, 90
_HEIGHT, _WIDTH, _NET = 375, 500, 224
_PACKAGES = {"webdataset": "webdataset", "torch, file tree": "torch"}


def rows(store: Path, *, threads: int, cap: float = 60.0, seed: int = 0) -> list[Row]:
    """Images a second of each system, twice: images of the store as they are, and photographs, of which a part is cut.

    store : images as pixels of one size; the first 10,000 of them are read, and are written as JPEG files for the
    others. Each system, in a process of its own, reads all images once to warm up, and is then timed for two seconds
    or more of whole passes; seconds are those of one pass.
    """
    found = []
    with tempfile.TemporaryDirectory(prefix="tdtool-bench-") as scratch:
        folder = Path(scratch)
        small = open_images(store)
        if small.pixels is None or small.image_size is None:
            raise ValueError("the store has no pixels of one square size")
        side = small.image_size
        _write(folder / "small", [_jpeg(image) for image in small.pixels[:_SMALL_IMAGES]])
        found += _measured(f"load {side} px", str(store), folder / "small", side, threads, cap)
        draw = np.random.default_rng(seed)
        _write(folder / "photos", [_jpeg(_photo(draw)) for _ in range(_PHOTOS)])
        found += _measured(f"load {_WIDTH} x {_HEIGHT} to {_NET} px", "", folder / "photos", _NET, threads, cap)
    return found


def _measured(case: str, store: str, folder: Path, size: int, threads: int, cap: float) -> list[Row]:
    names = [name for name in SYSTEMS if store or name != "tdtool, JPEG files"]
    found = []
    for name, allowed in shared_caps(names, cap, full=True):
        row = Row(name, version_of(_PACKAGES.get(name, "tdtool")), case)
        found.append(row)
        if importlib.util.find_spec(_PACKAGES.get(name, "tdtool")) is None:
            row.note = "not installed: pip install 'tdtool[train,bench]'"
            continue
        print(f"{case}, {name}: at most {allowed:.0f} s", file=sys.stderr)
        pixels = store if name == "tdtool" and store else str(folder / "images.h5")
        task = Task(name, pixels, str(folder), _SMALL_IMAGES, size, threads)
        answers: list[dict[str, float]] = []
        row.note = run_child(
            "tests.bench.loader_peers", dataclasses.asdict(task), threads=threads, cap=allowed, receive=answers.append
        )
        if answers:
            (answer,) = answers
            row.seconds = answer["seconds"]
            if name.startswith("tdtool"):  # the others' work is done by processes that have not ended yet
                row.cpu_seconds, row.peak_rss_mb = answer["cpu_seconds"], answer["peak_rss_mb"]
            row.quality = {"images_per_second": answer["images_per_second"]}
    return found


def _write(folder: Path, files: list[bytes]) -> None:
    """The same files as a store, as a tree by class, and as tar shards."""
    records = [ImageRecord(f"{number:06}.jpg", number % 10, 0, data) for number, data in enumerate(files)]
    folder.mkdir()
    write_images(folder / "images.h5", records, [f"class {label}" for label in range(10)])
    for record in records:
        path = folder / "tree" / str(record.label) / record.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(record.image)
    for shard in range(_SHARDS):
        with tarfile.open(folder / f"shard-{shard}.tar", "w") as archive:
            for record in records[shard::_SHARDS]:
                for suffix, data in ((".jpg", record.image), (".cls", str(record.label).encode())):
                    member = tarfile.TarInfo(Path(record.name).stem + suffix)
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(bytes(data)))


def _photo(draw: np.random.Generator) -> NDArray[np.uint8]:
    """(375, 500, 3): smooth shapes with a little noise, as large a file as a photograph's."""
    from PIL import Image

    rough = Image.fromarray(draw.integers(0, 256, (12, 16, 3), np.uint8)).resize((_WIDTH, _HEIGHT), Image.BICUBIC)
    return np.clip(np.asarray(rough) + draw.normal(0, 6, (_HEIGHT, _WIDTH, 3)), 0, 255).astype(np.uint8)


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
