"""Images as arrays: pairs of images and labels in .npz files, and in the idx files of MNIST and its kin."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tdtool.config import SourceConfig
from tdtool.data.ledger import Ledger
from tdtool.data.readers.image_types import ClassNames, ImageSource, Item, PixelBlock, split_in
from tdtool.data.readers.npz_arrays import NpzArchive, opened_npz
from tdtool.data.readers.places import name_of, size
from tdtool.data.readers.source_types import OnBytes
from tdtool.data.readers.streams import Input
from tdtool.errors import InputError

#: Names of arrays of images and of their labels, with the split.
_PAIRS = (
    *(("x_train", "y_train", 0), ("x_val", "y_val", 1), ("x_valid", "y_valid", 1), ("x_test", "y_test", 2)),
    *(("train_images", "train_labels", 0), ("val_images", "val_labels", 1), ("test_images", "test_labels", 2)),
    *(("images_train", "labels_train", 0), ("images_val", "labels_val", 1), ("images_test", "labels_test", 2)),
    *(("images", "labels", 0), ("x", "y", 0), ("data", "labels", 0)),
)
_CLASS_NAMES = ("classes", "class_names", "label_names")
_BLOCK_BYTES = 1 << 24
_IDX_IMAGES, _IDX_LABELS = (b"\0\0\x08\x03", b"\0\0\x08\x04"), b"\0\0\x08\x01"


def npz_pairs(names: Sequence[str]) -> list[tuple[str, str, int]]:
    """Arrays of an .npz file that are images and their labels, and the split : (images, labels, split) each."""
    lower = {name.lower(): name for name in names}
    pairs, taken = list[tuple[str, str, int]](), set[str]()
    for images, labels, split in _PAIRS:
        if images in lower and labels in lower and labels not in taken:
            pairs.append((lower[images], lower[labels], split))
            taken.add(labels)
    return pairs


def open_npz(source: Input) -> ImageSource:
    """The images of an .npz file: x_train and y_train, images and labels, ... InputError when it has no such pair."""
    with opened_npz(source) as archive:
        pairs = npz_pairs(list(archive.headers))
        if not pairs:
            raise InputError(
                f"its arrays ({', '.join(archive.headers) or 'none'}) are no images with labels",
                path=source.path,
                hint="call them images and labels, or x_train, y_train, x_test, y_test",
            )
        for images, labels, _ in pairs:
            _check_npz(archive, images, labels)

    def read(ledger: Ledger, on_bytes: OnBytes) -> Iterator[Item]:
        with opened_npz(source) as archive:
            for name in archive.headers:
                if name.lower() in _CLASS_NAMES and archive.headers[name].dtype.kind in "US":
                    yield ClassNames([str(text) for text in archive.read(name).reshape(-1).tolist()])
            for images, labels, split in pairs:
                numbers = _labels(archive.read(labels), labels, source.path)
                blocks = _as_pixels(archive.blocks(images, _BLOCK_BYTES), images, source.path)
                yield from _labelled(blocks, numbers, images, split)
        on_bytes(source.size or 0)

    return ImageSource("npz", source.path, source.size, "numpy arrays of images and labels", read)


def _check_npz(archive: NpzArchive, images: str, labels: str) -> None:
    shape, n_labels = archive.headers[images].shape, archive.headers[labels].shape
    if len(shape) not in (3, 4):
        what = f"{images} has shape {shape}"
        hint = "images are (n, rows, columns) or (n, rows, columns, 3)"
        raise InputError(what, path=archive.path, hint=hint)
    if math.prod(n_labels) != shape[0]:
        raise InputError(f"{images} has {shape[0]:,} images and {labels} has shape {n_labels}", path=archive.path)


def open_idx(paths: Sequence[str], shown: str, config: SourceConfig) -> ImageSource:
    """The images of MNIST's files. paths : of the files with images; each has its labels in a file beside it."""
    n_bytes = sum((size(path) or 0) + (size(labels_beside(path)) or 0) for path in paths)

    def read(ledger: Ledger, on_bytes: OnBytes) -> Iterator[Item]:
        for path in paths:
            labels = _read_labels(Input(labels_beside(path), config), on_bytes)
            yield from _read_idx(Input(path, config), labels, on_bytes)

    return ImageSource("idx", shown, n_bytes, "idx files of images and labels", read)


def is_idx(name: str, head: bytes) -> bool:
    """Whether a file holds images in the idx format. head : its first bytes, decompressed."""
    return head.startswith(_IDX_IMAGES) and "images" in name.lower()


def labels_beside(path: str) -> str:
    """The file with the labels of a file with images: train-labels-idx1-ubyte.gz of train-images-idx3-ubyte.gz."""
    folder = path[: len(path) - len(name_of(path))]
    name = name_of(path).replace("images", "labels").replace("Images", "Labels")
    return folder + name.replace("idx3", "idx1").replace("idx4", "idx1")


def _read_labels(source: Input, on_bytes: OnBytes) -> NDArray[np.int64]:
    with source.open(on_bytes) as stream:
        head = stream.read(8)
        if head[:4] != _IDX_LABELS:
            raise InputError("it is no idx file of labels", path=source.path)
        n_labels = int.from_bytes(head[4:], "big")
        data = stream.read(n_labels)
        if len(data) < n_labels:
            raise _cut(source.path, len(data), n_labels, "labels")
    return np.frombuffer(data, np.uint8).astype(np.int64)


def _read_idx(source: Input, labels: NDArray[np.int64], on_bytes: OnBytes) -> Iterator[Item]:
    with source.open(on_bytes) as stream:
        n_axes = stream.read(4)[3]
        shape = tuple(int.from_bytes(stream.read(4), "big") for _ in range(n_axes))
        n_images, image_bytes = shape[0], math.prod(shape[1:])
        if n_images != len(labels) or not 0 < image_bytes <= _BLOCK_BYTES:
            what = f"it has {n_images:,} images of {image_bytes:,} bytes, and there are {len(labels):,} labels"
            raise InputError(what, path=source.path)

        def blocks() -> Iterator[NDArray]:
            step, done = max(1, _BLOCK_BYTES // image_bytes), 0
            while done < n_images:
                data = stream.read(min(step, n_images - done) * image_bytes)
                if len(data) < min(step, n_images - done) * image_bytes:
                    raise _cut(source.path, done + len(data) // image_bytes, n_images, "images")
                yield np.frombuffer(data, np.uint8).reshape(-1, *shape[1:])
                done += len(data) // image_bytes

        name = source.name.partition(".")[0]
        yield from _labelled(_as_pixels(blocks(), name, source.path), labels, name, split_in(source.name) or 0)


def _cut(path: str, have: int, wanted: int, what: str) -> InputError:
    return InputError(f"it ends after {have:,} of {wanted:,} {what}", path=path, hint="copy or download it again")


def _labelled(
    blocks: Iterator[NDArray[np.uint8]], labels: NDArray[np.int64], name: str, split: int
) -> Iterator[PixelBlock]:
    start = 0
    for pixels in blocks:
        stop = start + len(pixels)
        yield PixelBlock([f"{name}/{row:06d}" for row in range(start, stop)], pixels, labels[start:stop], split)
        start = stop


def _labels(values: NDArray, name: str, path: str) -> NDArray[np.int64]:
    """Labels in any type that holds whole numbers : (n,)."""
    flat = values.reshape(-1)
    if flat.dtype.kind not in "iub" and not (flat.dtype.kind == "f" and np.all(flat == np.floor(flat))):
        raise InputError(f"{name} holds no whole numbers", path=path, hint="labels are the numbers of classes")
    return flat.astype(np.int64)


def _as_pixels(blocks: Iterator[NDArray], name: str, path: str) -> Iterator[NDArray[np.uint8]]:
    """Blocks of images of any usual type and layout as (b, H, W, 3) uint8.

    Values of 8 bits stay, of 16 bits are cut to 8; others are 0 to 1, or 0 to 255, as those of the first block are.
    """
    scale: float | None = None
    for block in blocks:
        if block.dtype == np.uint8:
            values = block
        elif block.dtype == np.uint16:
            values = (block >> 8).astype(np.uint8)
        elif block.dtype.kind in "iufb":
            numbers = block.astype(np.float64)
            if scale is None:
                scale = 255.0 if block.dtype.kind in "fb" and numbers.max(initial=0) <= 1 else 1.0
            numbers *= scale
            if not (numbers.min(initial=0) >= 0 and numbers.max(initial=0) <= 255):
                raise InputError(f"{name} has values outside 0 to 1 and 0 to 255", path=path)
            values = np.rint(numbers).astype(np.uint8)
        else:
            raise InputError(f"{name} holds no numbers", path=path)
        yield _in_colour(values, name, path)


def _in_colour(values: NDArray[np.uint8], name: str, path: str) -> NDArray[np.uint8]:
    """(b, H, W), (b, H, W, 1, 3 or 4) or (b, 1 or 3, H, W) as (b, H, W, 3); what is transparent is laid on white."""
    if values.ndim == 3:
        values = values[..., None]
    elif values.shape[-1] not in (1, 3, 4) and values.shape[1] in (1, 3):
        values = values.transpose(0, 2, 3, 1)
    n_channels = values.shape[-1]
    if n_channels not in (1, 3, 4) or 0 in values.shape[1:]:
        raise InputError(
            f"{name} has images of shape {values.shape[1:]}", path=path, hint="(rows, columns, 3) is usual"
        )
    if n_channels == 4:
        opaque = values[..., 3:].astype(np.uint16)
        mixed = values[..., :3] * opaque + 255 * (255 - opaque)
        return ((mixed + 127) // 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(values, (*values.shape[:3], 3)))
