"""From a source of images to an images file: one pass over the source, memory that does not grow with its size."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool import log
from tdtool.config import ImagesConfig, as_json
from tdtool.data.image_layout import NO_CLASS, Layout, arrange, stored_order
from tdtool.data.image_spool import Spool
from tdtool.data.image_store import SPLITS, ImageTable, write_encoded, write_pixels
from tdtool.data.image_take import Taken, Taker
from tdtool.data.ledger import Ledger
from tdtool.data.readers.image_sources import FORMATS, open_source
from tdtool.data.readers.image_types import ClassNames, EncodedImage, ImageSource, PixelBlock
from tdtool.errors import InputError, UsageError
from tdtool.store.atomic import check_output

#: A task of a thread: images of so many bytes, or so many images.
_TASK_BYTES, _TASK_IMAGES = 1 << 20, 256
_BLOCK_BYTES = 1 << 24
_NAMED = 5  # bad images that an error names


@dataclasses.dataclass(frozen=True)
class StoredImages:
    """What was written. description, notes : what was found, in words; splits : images of each; encoding : "pixels" or
    "files"; height, width : of all images, None where they differ.
    """

    path: Path
    description: str
    notes: tuple[str, ...]
    n_images: int
    classes: tuple[str, ...]
    splits: dict[str, int]
    encoding: str
    height: int | None
    width: int | None
    ledger: Ledger


def ingest(source: str, path: Path, config: ImagesConfig, *, workers: int, force: bool = False) -> StoredImages:
    """Read labelled images into an images file. workers : threads that read files and decode.

    Every image is looked at on its way: small ones are decoded, of large ones the header and the end are checked. What
    lies between is kept in scratch files beside the output that vanish with this process. The file is the same for any
    number of workers. Raises InputError where there are no labelled images, or more bad ones than `config.max_bad`.
    """
    _check_config(config)
    check_output(path, force)
    found = open_source(source, config)
    ledger = Ledger()
    with Spool(path.parent) as spool:
        class_names = _fill(spool, found, Taker(config, found.path), ledger, workers)
        _check_bad(spool.n_bad, ledger, config, found)
        layout = arrange(spool.names, spool.labels, spool.splits, class_names)
        for index, reason in sorted(layout.reasons.items()):
            ledger.drop(reason, f"{found.path}:{spool.names[index]}")
        order = stored_order(layout.names)
        order = order[layout.labels[order] >= 0]
        if not len(order):
            raise _no_images(found, ledger)
        as_pixels = _encoding(spool, config, order, found)
        table = _table(spool, layout, order)
        description = f"{found.description}, {'pixels' if as_pixels else 'encoded files'} are stored"
        about = _attributes(found, config, ledger, description, layout.notes)
        with log.task(f"writing {path}"):
            if as_pixels:
                write_pixels(path, table, _pixel_blocks(spool, order), force=force, attributes=about)
            else:
                files = (spool.encoded(int(index)) for index in order)
                write_encoded(path, table, spool.lengths[order], files, force=force, attributes=about)
    return _stored(path, description, layout.notes, table, as_pixels, ledger)


def _fill(spool: Spool, found: ImageSource, taker: Taker, ledger: Ledger, workers: int) -> list[str]:
    """Take every image out of the source, in its order; returns the names of classes that it tells of."""
    class_names = list[str]()
    with log.task(f"reading {found.path}", total=found.size) as bar, ThreadPoolExecutor(workers) as pool:

        def tasks() -> Iterator[list[EncodedImage] | PixelBlock]:
            batch, n_bytes = list[EncodedImage](), 0
            for item in found.read(ledger, bar.advance):
                if isinstance(item, ClassNames):
                    class_names[:] = item.names
                    continue
                if isinstance(item, EncodedImage):
                    if item.label is None and "/" not in item.name:
                        ledger.skip(NO_CLASS, f"{found.path}:{item.name}")
                        continue
                    batch.append(item)
                    n_bytes += len(item.data)
                if batch and (isinstance(item, PixelBlock) or n_bytes > _TASK_BYTES or len(batch) >= _TASK_IMAGES):
                    yield batch
                    batch, n_bytes = [], 0
                if isinstance(item, PixelBlock):
                    yield item
            if batch:
                yield batch

        for results in _in_order(pool, taker.take, tasks(), ahead=2 * workers):
            for result in results:
                _put(spool, result, ledger)
    spool.finish()
    return class_names


def _in_order(pool: ThreadPoolExecutor, function: Any, tasks: Iterator[Any], *, ahead: int) -> Iterator[list[Taken]]:
    """Results of tasks in their order, a few of them on their way at a time."""
    waiting = [pool.submit(function, task) for task in itertools.islice(tasks, ahead)]
    try:
        while waiting:
            yield waiting.pop(0).result()
            waiting += [pool.submit(function, task) for task in itertools.islice(tasks, 1)]
    finally:
        for future in waiting:
            future.cancel()


def _put(spool: Spool, taken: Taken, ledger: Ledger) -> None:
    if taken.reason is None:
        ledger.use()
        spool.add(taken)
    else:
        ledger.skip(taken.reason, taken.place)
        spool.n_bad += 1


def _check_config(config: ImagesConfig) -> None:
    if config.size is not None and config.encoding == "files":
        raise UsageError("images of one size are stored as pixels", hint="leave out --encoding files, or --image-size")
    if config.max_bad < 0 or (config.max_bad >= 1 and config.max_bad != int(config.max_bad)):
        raise UsageError(f"--max-bad is {config.max_bad:g}", hint="a share below 1, or how many as a whole number")


def _check_bad(n_bad: int, ledger: Ledger, config: ImagesConfig, found: ImageSource) -> None:
    """InputError when more images are bad than is allowed."""
    allowed = config.max_bad if config.max_bad >= 1 else config.max_bad * ledger.rows_in
    if n_bad <= allowed:
        return
    examples = [place for skip in ledger.skips.values() for place in skip.examples][:_NAMED]
    raise InputError(
        f"{n_bad:,} of {ledger.rows_in:,} images cannot be read, more than --max-bad {config.max_bad:g} allows: "
        f"{', '.join(examples)}{', ...' if n_bad > len(examples) else ''}\n  {_reasons(ledger)}",
        path=found.path,
        hint="replace or remove them, or allow more with --max-bad",
    )


def _no_images(found: ImageSource, ledger: Ledger) -> InputError:
    if not ledger.rows_in:
        known = "; ".join(FORMATS.values())
        return InputError("there are no images in it", path=found.path, hint=f"known are: {known}")
    return InputError(
        f"none of its {ledger.rows_in:,} images can be used: {_reasons(ledger)}",
        path=found.path,
        hint="put the images of each class into a folder of its name: CLASS/NAME.jpg, or train/CLASS/NAME.jpg",
    )


def _reasons(ledger: Ledger) -> str:
    return ", ".join(f"{skip.count:,} {reason}" for reason, skip in sorted(ledger.skips.items()))


def _encoding(spool: Spool, config: ImagesConfig, order: NDArray[np.int64], found: ImageSource) -> bool:
    """Whether pixels are stored; InputError for what was asked for and cannot be."""
    if config.encoding == "files":
        if not spool.has_files:
            raise UsageError("it holds pixels, not files of images", path=found.path, hint="leave out --encoding files")
        return False
    if spool.has_pixels:
        return True
    if config.encoding == "pixels" or not spool.has_files:
        sizes = sorted({(int(spool.heights[i]), int(spool.widths[i])) for i in order})
        shown = ", ".join(f"{height} x {width}" for height, width in sizes[:3])
        what = f"its images are of {len(sizes):,} sizes ({shown}, ...)" if len(sizes) > 1 else "some are of other sizes"
        hint = "bring them to one with --image-size N" if spool.has_files else "make an array for each size"
        raise InputError(f"{what}, and pixels are stored of one size", path=found.path, hint=hint)
    return False


def _table(spool: Spool, layout: Layout, order: NDArray[np.int64]) -> ImageTable:
    return ImageTable(
        classes=layout.classes,
        names=[layout.names[index] for index in order.tolist()],
        labels=layout.labels[order],
        splits=layout.splits[order],
        heights=spool.heights[order],
        widths=spool.widths[order],
    )


def _pixel_blocks(spool: Spool, order: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
    step = max(1, _BLOCK_BYTES // (3 * int(spool.heights[0]) * int(spool.widths[0])))
    for start in range(0, len(order), step):
        yield spool.pixels(order[start : start + step])


def _attributes(
    found: ImageSource, config: ImagesConfig, ledger: Ledger, description: str, notes: list[str]
) -> dict[str, Any]:
    return {
        "argv": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "config": as_json(config),
        "source": {"path": found.path, "bytes": found.size, "format": found.format},
        "ledger": ledger.as_dict(),
        "description": description,
        "notes": notes,
    }


def _stored(
    path: Path, description: str, notes: list[str], table: ImageTable, as_pixels: bool, ledger: Ledger
) -> StoredImages:
    sizes = [np.unique(values) for values in (table.heights, table.widths)]
    height, width = (int(values[0]) if len(values) == 1 else None for values in sizes)
    splits = {name: int(np.count_nonzero(table.splits == number)) for number, name in enumerate(SPLITS)}
    return StoredImages(
        path=path,
        description=description,
        notes=tuple(notes),
        n_images=table.n,
        classes=tuple(table.classes),
        splits={name: number for name, number in splits.items() if number},
        encoding="pixels" if as_pixels else "files",
        height=height,
        width=width,
        ledger=ledger,
    )
