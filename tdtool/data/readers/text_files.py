"""A directory of text files: each file is a document, named by its path in the directory."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from tdtool import log
from tdtool.config import SourceConfig
from tdtool.data.batches import TextBatch
from tdtool.data.ledger import Ledger
from tdtool.data.readers.decompress import Reader, compression_of
from tdtool.data.readers.source_types import BINARY, LONGEST_DOCUMENT, TOO_LONG, OnBytes, TextSource
from tdtool.data.readers.streams import ByteStream, opened, trouble
from tdtool.data.readers.text_batches import BYTE_ORDER_MARK, Collector, printable
from tdtool.errors import InputError

OUTSIDE = "symbolic link out of the directory"
NOT_REGULAR = "not a regular file"
UNREADABLE = "cannot be read"
UTF16 = "UTF-16 text"
#: A NUL byte among the first so many makes a file binary.
BINARY_WITHIN = 8192
_CHUNK = 1 << 16


def open_directory(path: str, config: SourceConfig) -> TextSource:
    """A source whose documents are the files below a directory, in the order of their paths' bytes."""
    root = os.fsencode(path)
    n_files, size = 0, 0
    for _, status in _walk(root):
        n_files += 1
        size += status.st_size
    if not n_files:
        raise InputError("there is no file in this directory", path=path, hint="hidden files do not count")
    if n_files == 1:
        log.note(f"{path} holds one file, so one document; to read its rows, name the file itself")

    def read(ledger: Ledger, on_bytes: OnBytes) -> Iterator[TextBatch]:
        return _read(path, config, ledger, on_bytes)

    files = "1 text file" if n_files == 1 else f"{n_files:,} text files"
    return TextSource("directory", path, size, f"directory of {files}, ids are file names", read)


def looks_binary(head: bytes) -> str | None:
    """Why bytes at the start of a file are not text, or None. head : at least BINARY_WITHIN bytes, if there are."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return UTF16
    return BINARY if b"\0" in head[:BINARY_WITHIN] else None


def add_document(text: bytes, name: str, place: str, collector: Collector) -> None:
    """Take the content of one file, or note why not."""
    reason = looks_binary(text)
    if reason:
        collector.ledger.skip(reason, place)
    else:
        collector.add(text.removeprefix(BYTE_ORDER_MARK), name, 0, place)


def read_document(file: Reader) -> bytes:
    """The content of an open file: a first chunk when that is no text, else little more than LONGEST_DOCUMENT."""
    data = file.read(_CHUNK)
    if len(data) < BINARY_WITHIN or looks_binary(data):
        return data
    parts, size = [data], len(data)
    while size <= LONGEST_DOCUMENT and (data := file.read(_CHUNK)):
        parts.append(data)
        size += len(data)
    return b"".join(parts)


def refuse_no_text(taken: int, path: str, ledger: Ledger) -> None:
    """Raise InputError when no file was taken as text."""
    if not taken:
        reasons = ", ".join(f"{skip.count:,} {reason}" for reason, skip in sorted(ledger.skips.items()))
        raise InputError(f"none of its files is text ({reasons or 'it has none'})", path=path)


def _read(path: str, config: SourceConfig, ledger: Ledger, on_bytes: OnBytes) -> Iterator[TextBatch]:
    folder = path.rstrip("/") + "/"
    root = os.fsencode(folder)
    collector, taken = Collector(path, ledger), 0
    for relative, status in _walk(root):
        name = printable(relative)
        place = f"{folder}{name}"
        _add_file(os.fsdecode(root + relative), name, status, place, config, collector)
        on_bytes(status.st_size)
        for batch in collector.ready():
            taken += len(batch.ids)
            yield batch
    for batch in collector.rest():
        taken += len(batch.ids)
        yield batch
    refuse_no_text(taken, path, ledger)


def _add_file(
    full: str, name: str, status: os.stat_result, place: str, config: SourceConfig, collector: Collector
) -> None:
    """Read one file. Those that cannot be read are skipped: one bad file does not spoil a corpus."""
    if stat.S_ISLNK(status.st_mode):
        collector.ledger.skip(OUTSIDE, place)
    elif not stat.S_ISREG(status.st_mode):
        collector.ledger.skip(NOT_REGULAR, place)
    else:
        try:
            text = _content(full, place, config)
        except PermissionError:
            collector.ledger.skip(UNREADABLE, place)
            return
        if len(text) > LONGEST_DOCUMENT:
            collector.ledger.skip(TOO_LONG, place)
        else:
            add_document(text, name, place, collector)


def _content(full: str, place: str, config: SourceConfig) -> bytes:
    """A file's bytes, decompressed when it is compressed; a little more than LONGEST_DOCUMENT when it is longer."""
    try:
        with open(full, "rb", buffering=0) as file:  # noqa: PTH123
            text = read_document(file)
    except PermissionError:
        raise
    except OSError as error:
        raise trouble(place, error) from error
    if compression_of(text) is None:
        return text
    with ByteStream(opened(full), place, config) as stream:
        return read_document(stream)


def _walk(root: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
    """The files below root, as (path from root, status), in the order of the bytes of their paths.

    Hidden files and directories are left out. Links to files inside are followed, links to directories are not (they
    would repeat files); a link that leads outside, or nowhere, is given with the status of the link itself.
    """
    real_root = os.path.realpath(root)
    yield from _walk_below(root, b"", real_root)


def _walk_below(root: bytes, prefix: bytes, real_root: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
    directory = os.path.join(root, prefix)  # noqa: PTH118
    try:
        with os.scandir(directory) as entries:
            found = [(entry, entry.is_dir(follow_symlinks=False)) for entry in entries]
    except OSError as error:
        raise trouble(os.fsdecode(directory), error) from error
    # A directory's name is compared as its children's paths are: with the slash.
    for entry, is_directory in sorted(found, key=lambda item: item[0].name + (b"/" if item[1] else b"")):
        relative = prefix + entry.name
        if entry.name.startswith(b"."):
            continue
        if is_directory:
            yield from _walk_below(root, relative + b"/", real_root)
        elif (status := _status(entry, real_root)) is not None:
            yield relative, status


def _status(entry: os.DirEntry[bytes], real_root: bytes) -> os.stat_result | None:
    """What an entry is; None for a link to a directory inside."""
    try:
        status = entry.stat(follow_symlinks=False)
        if not stat.S_ISLNK(status.st_mode):
            return status
        target = os.path.realpath(entry.path)
        inside = (target + b"/").startswith(real_root.rstrip(b"/") + b"/")
        if not inside or not os.path.exists(target):  # noqa: PTH110
            return status
        followed = os.stat(target)  # noqa: PTH116
    except OSError as error:
        raise trouble(os.fsdecode(entry.path), error) from error
    return None if stat.S_ISDIR(followed.st_mode) else followed
