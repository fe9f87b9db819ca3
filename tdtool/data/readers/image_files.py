"""Images as files: in class folders, in tar and zip archives of them, in shards with a label beside each image."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import IO

from tdtool.config import SourceConfig
from tdtool.data.image_decode import LONGEST_FILE, format_of
from tdtool.data.ledger import Ledger
from tdtool.data.readers import image_cifar
from tdtool.data.readers.archive_members import tar_members, worded, zip_members
from tdtool.data.readers.image_types import (
    OTHER_FILES,
    TOO_LONG,
    EncodedImage,
    ImageSource,
    Item,
    has_image_name,
    split_in,
)
from tdtool.data.readers.places import open_binary, size, walk
from tdtool.data.readers.source_types import OnBytes
from tdtool.data.readers.streams import ByteStream, Input
from tdtool.data.readers.text_batches import printable
from tdtool.data.readers.text_files import NOT_REGULAR, OUTSIDE
from tdtool.errors import InputError

NO_LABEL = "no .cls file beside the image"
_HEAD = 12


def open_folder(path: str, config: SourceConfig) -> ImageSource:
    """The images below a directory, in the order of their paths' bytes; CIFAR's binary files are read for what they
    are."""
    n_bytes = sum(found.size for found in walk(path))

    def read(ledger: Ledger, on_bytes: OnBytes) -> Iterator[Item]:
        for found in walk(path):
            name, place = printable(found.name), os.fsdecode(os.fsencode(path.rstrip("/") + "/") + found.name)
            image_cifar.refuse_pickles(name, path)
            if image_cifar.is_cifar(name) or image_cifar.is_name_file(name):
                with ByteStream(open_binary(place), place, config) as stream:
                    yield from _cifar(stream, name, path, ledger)
            elif found.kind != "file":
                ledger.skip(OUTSIDE if found.kind == "outside" else NOT_REGULAR, f"{path.rstrip('/')}/{name}")
            elif found.size > LONGEST_FILE:
                ledger.skip(TOO_LONG, f"{path.rstrip('/')}/{name}")
            elif has_image_name(name) or _begins_as_image(place):
                yield EncodedImage(name, place)
            else:
                ledger.count(OTHER_FILES)
            on_bytes(found.size)

    return ImageSource("folder", path, n_bytes, "folder of images", read)


def open_archives(paths: Sequence[str], shown: str, kind: str, config: SourceConfig) -> ImageSource:
    """The images in tar archives (one, or shards one after the other) or in a zip archive.

    shown : what they are called together; kind : "tar" or "zip". Where files NAME.cls hold numbers, those are the
    labels of the images NAME.jpg of their archive. The names of several archives may tell the split.
    """
    n_bytes = sum(size(path) or 0 for path in paths)

    def read(ledger: Ledger, on_bytes: OnBytes) -> Iterator[Item]:
        for path in paths:
            yield from _read_archive(Input(path, config), kind, shards=len(paths) > 1, ledger=ledger, on_bytes=on_bytes)

    about = f"{kind} archive of images" if len(paths) == 1 else f"{len(paths):,} {kind} archives of images"
    return ImageSource(kind, shown, n_bytes, about, read)


def _read_archive(source: Input, kind: str, *, shards: bool, ledger: Ledger, on_bytes: OnBytes) -> Iterator[Item]:
    """shards : there are several archives, so names get that of their archive in front where labels are beside."""
    members = tar_members(source, on_bytes) if kind == "tar" else zip_members(source, on_bytes)
    prefix = source.name.removesuffix(".tar") + "/" if shards else ""
    pairs = _Pairs(source, prefix, split_in(source.name) if shards else None)
    with worded(source.path):
        for name, file in members:
            image_cifar.refuse_pickles(name, source.path)
            if image_cifar.is_cifar(name) or image_cifar.is_name_file(name):
                yield from _cifar(file, name, source.path, ledger)
            elif name.lower().endswith(".cls"):
                yield from pairs.label(name, _number(file, name, source.path), ledger)
            else:
                data = _image(file, name, source.path, ledger)
                if data is not None:
                    yield from pairs.image(name, data, ledger)
    yield from pairs.rest(ledger)


class _Pairs:
    """Images and the labels beside them, whichever comes first. An image waits for the next that comes, no longer."""

    def __init__(self, source: Input, prefix: str, split: int | None) -> None:
        self._path, self._prefix, self._split = source.path, prefix, split
        self._labels = dict[str, int]()  # of images that have not come yet
        self._waiting: EncodedImage | None = None
        self._any = False

    def image(self, name: str, data: bytes, ledger: Ledger) -> Iterator[Item]:
        """An image came; those that can be told of are handed out."""
        yield from self._flush(ledger)
        self._waiting = EncodedImage(name, data, split=self._split)
        if (label := self._labels.pop(_key(name), None)) is not None:
            yield self._labelled(label)

    def label(self, name: str, label: int, ledger: Ledger) -> Iterator[Item]:
        """A label came."""
        self._any = True
        if self._waiting is not None and _key(self._waiting.name) == _key(name):
            yield self._labelled(label)
        else:
            yield from self._flush(ledger)
            self._labels[_key(name)] = label

    def rest(self, ledger: Ledger) -> Iterator[Item]:
        """The archive is at its end."""
        yield from self._flush(ledger)
        for _ in self._labels:
            ledger.count("labels without an image")

    def _labelled(self, label: int) -> EncodedImage:
        image, self._waiting = self._waiting, None
        assert image is not None  # noqa: S101 -- both callers have just seen it
        return image._replace(name=self._prefix + image.name, label=label)

    def _flush(self, ledger: Ledger) -> Iterator[Item]:
        image, self._waiting = self._waiting, None
        if image is None:
            return
        if self._any:
            ledger.skip(NO_LABEL, f"{self._path}:{image.name}")
        else:
            yield image


def _key(name: str) -> str:
    """What the files of one sample have in common: the path up to the first dot of the last part."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def _number(file: IO[bytes], name: str, path: str) -> int:
    text = file.read(64).strip()
    if not text.isdigit() or len(text) > 9:
        raise InputError(f"{name} in it is no label: {text[:20]!r} is no whole number", path=path)
    return int(text)


def _image(file: IO[bytes], name: str, path: str, ledger: Ledger) -> bytes | None:
    """The bytes of a member that is, or is called, an image; None for others, which the ledger is told of."""
    head = file.read(_HEAD)
    if not has_image_name(name) and format_of(head) is None:
        ledger.count(OTHER_FILES)
        return None
    parts, length = [head], len(head)
    while length <= LONGEST_FILE and (data := file.read(1 << 20)):
        parts.append(data)
        length += len(data)
    if length > LONGEST_FILE:
        ledger.skip(TOO_LONG, f"{path}:{name}")
        return None
    return b"".join(parts)


def _cifar(file: ByteStream | IO[bytes], name: str, path: str, ledger: Ledger) -> Iterator[Item]:
    if image_cifar.is_name_file(name):
        yield image_cifar.read_names(file)
    else:
        yield from image_cifar.read_cifar(file, name, path, ledger)


def _begins_as_image(place: str) -> bool:
    with open_binary(place) as file:
        return format_of(file.read(_HEAD)) is not None
