"""The images file: labelled images as pixels of one size, or as the encoded files, that are mapped into memory."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tdtool.data.image_decode import read_header
from tdtool.errors import InputError
from tdtool.store import hdf5
from tdtool.store.content import check_images
from tdtool.store.schema_nets import IMAGES

TRAINING, VALIDATION, TEST = 0, 1, 2
#: Names of the splits by their numbers.
SPLITS = ("training", "validation", "test")

_PARTITION_BYTES = 1 << 26
_BLOCK_BYTES = 1 << 24
_STACKED = 256  # images in memory that are copied at a time


class ImageRecord(NamedTuple):
    """One image to be written. image : the bytes of its file, or (H, W, 3) uint8 pixels; split : 0, 1, 2 as SPLITS."""

    name: str
    label: int
    split: int
    image: bytes | NDArray[np.uint8]


@dataclasses.dataclass(frozen=True)
class ImageTable:
    """All that is stored of n images but themselves.

    classes : K names; names : n names; labels : (n,) int, below K; splits : (n,) 0 training, 1 validation, 2 test;
    heights, widths : (n,) int.
    """

    classes: Sequence[str]
    names: Sequence[str]
    labels: NDArray[np.integer]
    splits: NDArray[np.integer]
    heights: NDArray[np.integer]
    widths: NDArray[np.integer]

    @property
    def n(self) -> int:
        """Number of images."""
        return len(self.labels)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ImageSet:
    """Labelled images, as they lie in an images file. Pickles as its path.

    path : the file; classes : K names; labels : (n,) int64; splits : (n,) uint8, 0 training, 1 validation, 2 test;
    height, width : (n,) int32, of each image; pixels : (n, H, W, 3) uint8, mapped into memory, or None where the
    encoded files are stored; starts : (n + 1,) int64 and data : (bytes,) uint8 mapped, the encoded files, or None;
    digest : of all that the file says; attributes : the file's own.
    """

    path: Path
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    splits: NDArray[np.uint8]
    height: NDArray[np.int32]
    width: NDArray[np.int32]
    pixels: NDArray[np.uint8] | None
    starts: NDArray[np.int64] | None
    data: NDArray[np.uint8] | None
    digest: str
    attributes: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def n(self) -> int:
        """Number of images."""
        return len(self.labels)

    @property
    def n_classes(self) -> int:
        """K, the number of classes."""
        return len(self.classes)

    @property
    def image_size(self) -> int | None:
        """Rows = columns of every image, where all are squares of one size; else None."""
        if not self.n:
            return None
        size = int(self.height[0])
        return size if np.all(self.height == size) and np.all(self.width == size) else None

    def encoded(self, index: int) -> bytes:
        """The file of image `index`: JPEG, PNG, ... ValueError where pixels are stored."""
        if self.starts is None or self.data is None:
            raise ValueError("pixels are stored of these images, not their files")
        return self.data[int(self.starts[index]) : int(self.starts[index + 1])].tobytes()

    def names(self, index: int) -> str:
        """The name of image `index`: its path, or its place in the source."""
        index = int(index)
        with hdf5.open(self.path) as reader:
            return str(reader.rows("images/name", index, index + 1)[0])

    def indices(self, split: int) -> NDArray[np.int64]:
        """Which images are in a split : (n_split,) ascending."""
        return np.flatnonzero(self.splits == split)

    def __repr__(self) -> str:
        return f"ImageSet({str(self.path)!r}, n={self.n}, classes={len(self.classes)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial(open_images, check=False), (self.path,)


def is_images(path: str | Path) -> bool:
    """Whether a file is an images file; False for what cannot be read as a file of tdtool."""
    try:
        with hdf5.open(Path(path)) as reader:
            return reader.schema.name == IMAGES.name
    except InputError:
        return False


def open_images(path: str | Path, *, check: bool = True) -> ImageSet:
    """Open an images file; its images stay on disk.

    check : hold labels, splits and sizes against each other first (a file from outside). Raises InputError for what is
    no images file or is damaged.
    """
    path = Path(path)
    with hdf5.open(path) as reader:
        reader.require(IMAGES.name)
        for finding in check_images(reader) if check else ():
            raise InputError(f"{finding.where} {finding.what}", path=path, hint="run: tdtool verify")
        has_pixels = "pixels/value" in reader
        return ImageSet(
            path=path,
            classes=tuple(reader.get("classes/name")),
            labels=reader.get("images/label").astype(np.int64, copy=False),
            splits=reader.get("images/split").astype(np.uint8, copy=False),
            height=reader.get("images/height").astype(np.int32, copy=False),
            width=reader.get("images/width").astype(np.int32, copy=False),
            pixels=reader.memory_map("pixels/value") if has_pixels else None,
            starts=None if has_pixels else reader.get("encoded/start").astype(np.int64, copy=False),
            data=None if has_pixels else reader.memory_map("encoded/data"),
            digest=str(reader.attributes.get("content_digest", "")),
            attributes=reader.attributes,
        )


def write_images(
    path: str | Path,
    records: Iterable[ImageRecord],
    classes: Sequence[str],
    *,
    force: bool = False,
    attributes: dict[str, Any] | None = None,
) -> None:
    """Write images that are in memory, in the order given: all as pixels of one size, or all as encoded files.

    classes : names of the classes by their numbers; attributes : more to say of the file, as JSON values. Raises
    ValueError for images of both kinds or of several sizes, UsageError where the file exists and `force` is not set.
    """
    rows = [ImageRecord(*record) for record in records]
    encoded = [row.image for row in rows if isinstance(row.image, bytes)]
    pixels = [row.image for row in rows if not isinstance(row.image, bytes)]
    if encoded and pixels:
        raise ValueError("some images are pixels, and some are encoded files")
    if encoded:
        headers = [read_header(row.image, name=row.name) for row in rows if isinstance(row.image, bytes)]
        sizes = [(header.height, header.width) for header in headers]
    else:
        sizes = [image.shape[:2] for image in pixels]
    table = ImageTable(
        classes=classes,
        names=[row.name for row in rows],
        labels=np.array([row.label for row in rows], np.int64),
        splits=np.array([row.split for row in rows], np.uint8),
        heights=np.array([height for height, _ in sizes], np.int32),
        widths=np.array([width for _, width in sizes], np.int32),
    )
    if encoded:
        lengths = np.array([len(data) for data in encoded], np.int64)
        write_encoded(path, table, lengths, encoded, force=force, attributes=attributes)
    else:
        blocks = (np.stack(pixels[start : start + _STACKED]) for start in range(0, len(pixels), _STACKED))
        write_pixels(path, table, blocks, force=force, attributes=attributes)


def write_pixels(
    path: str | Path,
    table: ImageTable,
    blocks: Iterable[NDArray[np.uint8]],
    *,
    force: bool = False,
    attributes: dict[str, Any] | None = None,
) -> None:
    """Write images of one size. blocks : (b, H, W, 3) uint8 one after the other, together the images of `table`."""
    height, width = _one_size(table)
    bounds = _partition_starts(np.full(table.n, height * width * 3, np.int64))
    with hdf5.create(Path(path), IMAGES, force=force) as writer:
        stream = writer.stream("pixels/value", (table.n, height, width, 3), np.dtype(np.uint8))
        digests, start = _Digests(table, bounds), 0
        for block in blocks:
            stream.write(start, block)
            digests.add(block.reshape(len(block), -1))
            start += len(block)
        _put_table(writer, table, bounds, digests.hex(), attributes)


def write_encoded(
    path: str | Path,
    table: ImageTable,
    lengths: NDArray[np.int64],
    files: Iterable[bytes],
    *,
    force: bool = False,
    attributes: dict[str, Any] | None = None,
) -> None:
    """Write images as the files they are. lengths : (n,) bytes of each; files : their bytes, one after the other."""
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    bounds = _partition_starts(lengths)
    with hdf5.create(Path(path), IMAGES, force=force) as writer:
        stream = writer.stream("encoded/data", (int(starts[-1]),), np.dtype(np.uint8))
        digests, start = _Digests(table, bounds), 0
        for block in _gathered(files):
            for data in block:
                digests.add([data])
            joined = np.frombuffer(b"".join(block), np.uint8)
            stream.write(start, joined)
            start += len(joined)
        writer.put("encoded/start", starts)
        _put_table(writer, table, bounds, digests.hex(), attributes)


def _put_table(
    writer: hdf5.Writer,
    table: ImageTable,
    bounds: NDArray[np.int64],
    digests: list[str],
    attributes: dict[str, Any] | None,
) -> None:
    writer.put("images/label", table.labels.astype(np.int64, copy=False))
    writer.put("images/split", table.splits.astype(np.uint8, copy=False))
    writer.put("images/height", table.heights.astype(np.int32, copy=False))
    writer.put("images/width", table.widths.astype(np.int32, copy=False))
    writer.put("images/name", list(table.names))
    writer.put("classes/name", list(table.classes))
    writer.put("partitions/start", bounds)
    writer.put("partitions/digest", digests)
    for name, value in (attributes or {}).items():
        writer.attribute(name, value)


class _Digests:
    """BLAKE2b-128 of each partition: of each image in turn its label (int64, little-endian) and its bytes."""

    def __init__(self, table: ImageTable, bounds: NDArray[np.int64]) -> None:
        self._labels, self._bounds = table.labels, bounds.tolist()
        self._index, self._running = 0, hashlib.blake2b(digest_size=16)
        self._done: list[str] = []

    def add(self, images: Iterable[bytes | NDArray[np.uint8]]) -> None:
        """The next images."""
        for image in images:
            self._running.update(int(self._labels[self._index]).to_bytes(8, "little"))
            self._running.update(image if isinstance(image, bytes) else np.ascontiguousarray(image).data)
            self._index += 1
            if self._index == self._bounds[len(self._done) + 1]:
                self._done.append(self._running.hexdigest())
                self._running = hashlib.blake2b(digest_size=16)

    def hex(self) -> list[str]:
        """The digests of all partitions."""
        return self._done


def _partition_starts(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """First image of each partition, and n : cut by the bytes of the images alone, about 64 MB each."""
    if not len(sizes):
        return np.zeros(1, np.int64)
    before = np.cumsum(sizes) - sizes
    firsts = np.flatnonzero(np.diff(before // _PARTITION_BYTES, prepend=-1))
    return np.append(firsts, len(sizes)).astype(np.int64)


def _gathered(files: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Files in lists of a few megabytes."""
    block, size = list[bytes](), 0
    for data in files:
        block.append(data)
        size += len(data)
        if size >= _BLOCK_BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block


def _one_size(table: ImageTable) -> tuple[int, int]:
    if not table.n:
        return 0, 0
    sizes = {(int(h), int(w)) for h, w in zip(table.heights, table.widths, strict=True)}
    if len(sizes) > 1:
        raise ValueError(f"pixels of {len(sizes)} sizes are no array; the first are {sorted(sizes)[:2]}")
    return sizes.pop()
