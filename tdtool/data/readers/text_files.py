"""A directory of text files: each file is a document, named by its path in the directory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

from tdtool import log
from tdtool.config import SourceConfig
from tdtool.data.batches import TextBatch
from tdtool.data.ledger import Ledger
from tdtool.data.readers.decompress import Reader, compression_of
from tdtool.data.readers.places import Found, local_path, open_binary, trouble, walk
from tdtool.data.readers.source_types import BINARY, LONGEST_DOCUMENT, TOO_LONG, OnBytes, TextSource
from tdtool.data.readers.streams import ByteStream
from tdtool.data.readers.text_batches import BYTE_ORDER_MARK, Collector, printable
from tdtool.errors import InputError

OUTSIDE = "symbolic link out of the directory"
NOT_REGULAR = "not a regular file"
UNREADABLE = "cannot be read"
UTF16 = "UTF-16 text"
#: A NUL byte among the first so many makes a file binary.
BINARY_WITHIN = 8192
_CHUNK = 1 << 16
#: So many files of a distant place are on their way at a time.
_AHEAD = 16


def open_directory(path: str, config: SourceConfig, *, place: str | None = None) -> TextSource:
    """A source whose documents are the files below a directory, in the order of their paths' bytes.

    path : what it is called; place : where it is, when that is something else.
    """
    place = place or path
    n_files, size = 0, 0
    for found in walk(place):
        n_files += 1
        size += found.size
    description = describe_directory(n_files, path)

    def read(ledger: Ledger, on_bytes: OnBytes) -> Iterator[TextBatch]:
        taken = 0
        for batch in read_files(walk(place), path, place, config, ledger, on_bytes):
            taken += len(batch.ids)
            yield batch
        refuse_no_text(taken, path, ledger)

    return TextSource("directory", path, size, description, read)


def describe_directory(n_files: int, path: str) -> str:
    """One line for the person; InputError when there is no file."""
    if not n_files:
        raise InputError("there is no file in this directory", path=path, hint="hidden files do not count")
    if n_files == 1:
        log.note(f"{path} holds one file, so one document; to read its rows, name the file itself")
    files = "1 text file" if n_files == 1 else f"{n_files:,} text files"
    return f"directory of {files}, ids are file names"


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


def read_files(
    files: Iterable[Found], path: str, place: str, config: SourceConfig, ledger: Ledger, on_bytes: OnBytes
) -> Iterator[TextBatch]:
    """The documents that some files of a directory hold. path, place : of the directory, as in open_directory."""
    collector = Collector(path, ledger)
    for found, name, text in _fetched(files, path.rstrip("/") + "/", place.rstrip("/") + "/", config):
        if isinstance(text, bytes):
            add_document(text, printable(found.name), name, collector)
        else:
            ledger.skip(text, name)
        on_bytes(found.size)
        yield from collector.ready()
    yield from collector.rest()


def _fetched(
    files: Iterable[Found], folder: str, root: str, config: SourceConfig
) -> Iterator[tuple[Found, str, bytes | str]]:
    """Each file with its name for people and its content, or why there is none. Distant ones are asked for early."""
    n_ahead = 0 if local_path(root) is not None else _AHEAD
    waiting: deque[tuple[Found, str, Future[bytes | str]]] = deque()
    with ThreadPoolExecutor(max(n_ahead, 1)) as pool:
        try:
            for found in files:
                name, full = folder + printable(found.name), root + os.fsdecode(found.name)
                if not n_ahead:
                    yield found, name, _text_of(full, name, found, config)
                    continue
                waiting.append((found, name, pool.submit(_text_of, full, name, found, config)))
                if len(waiting) > n_ahead:
                    yield _arrived(waiting)
            while waiting:
                yield _arrived(waiting)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _arrived(waiting: deque[tuple[Found, str, Future[bytes | str]]]) -> tuple[Found, str, bytes | str]:
    found, name, future = waiting.popleft()
    return found, name, future.result()


def _text_of(full: str, shown: str, found: Found, config: SourceConfig) -> bytes | str:
    """The content of one file, or why it is skipped: one bad file does not spoil a corpus."""
    if found.kind != "file":
        return OUTSIDE if found.kind == "outside" else NOT_REGULAR
    try:
        text = _content(full, shown, config)
    except PermissionError:
        return UNREADABLE
    return text if len(text) <= LONGEST_DOCUMENT else TOO_LONG


def _content(full: str, shown: str, config: SourceConfig) -> bytes:
    """A file's bytes, decompressed when it is compressed; a little more than LONGEST_DOCUMENT when it is longer.

    Raises PermissionError for a file that may not be read.
    """
    with _opened(full, shown) as file:
        try:
            text = read_document(file)
        except OSError as error:
            raise trouble(shown, error) from error
    if compression_of(text) is None:
        return text
    with ByteStream(_opened(full, shown), shown, config) as stream:
        return read_document(stream)


def _opened(full: str, shown: str) -> BinaryIO:
    path = local_path(full)
    if path is None:
        return open_binary(full)
    try:
        return open(path, "rb", buffering=0)  # noqa: PTH123 (bytes in names survive only here)
    except PermissionError:
        raise
    except OSError as error:
        raise trouble(shown, error) from error
