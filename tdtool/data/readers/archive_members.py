"""The files in a tar or zip archive, streamed: nothing is unpacked to disk, and growth is capped."""

from __future__ import annotations

import contextlib
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from lzma import LZMAError
from typing import IO, BinaryIO, cast

from tdtool.data.readers.source_types import OnBytes
from tdtool.data.readers.streams import GrowthCap, Input
from tdtool.data.readers.text_batches import printable
from tdtool.errors import InputError


def _is_hidden(name: str) -> bool:
    """Hidden files, and what a Mac adds to its archives."""
    return any((step.startswith(".") and step not in (".", "..")) or step == "__MACOSX" for step in name.split("/"))


def _clean(name: str) -> str:
    return printable(name.removeprefix("./").encode("utf-8", "surrogateescape"))


def tar_members(source: Input, on_bytes: OnBytes) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of the files in a tar archive, in its order; each is to be read before the next is asked for."""
    with (
        source.open(on_bytes) as stream,
        tarfile.open(fileobj=cast(BinaryIO, stream), mode="r|", bufsize=1 << 18) as archive,
    ):
        for member in archive:
            file = archive.extractfile(member) if member.isreg() and not _is_hidden(member.name) else None
            if file is not None:
                yield _clean(member.name), file
            # A stream is read once: what was seen need not be remembered.
            archive.members = []  # type: ignore[attr-defined]


def zip_members(source: Input, on_bytes: OnBytes) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of the files in a zip archive, by name."""
    cap = GrowthCap(source.path, source.config)
    with source.open_seekable(on_bytes) as raw, zipfile.ZipFile(raw) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir() and not _is_hidden(info.filename)]
        for info in sorted(infos, key=lambda info: info.filename.encode("utf-8", "surrogateescape")):
            cap.n_in += info.compress_size
            if info.flag_bits & 1:
                raise InputError(
                    f"{info.filename} in it is encrypted", path=source.path, hint="unpack it yourself first"
                )
            with archive.open(info) as file:
                yield _clean(info.filename), cast(IO[bytes], _Capped(file, cap))
            on_bytes(info.compress_size)


class _Capped:
    """A member whose bytes are counted against the cap of the whole archive."""

    def __init__(self, file: IO[bytes], cap: GrowthCap) -> None:
        self._file, self._cap = file, cap

    def read(self, n: int) -> bytes:
        data = self._file.read(n)
        self._cap.n_out += len(data)
        self._cap.check()
        return data


@contextlib.contextmanager
def worded(path: str) -> Iterator[None]:
    """What the archive modules raise, in our words."""
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, LZMAError, EOFError) as error:
        raise InputError(
            f"the archive is damaged or incomplete ({error})", path=path, hint="copy or download it again"
        ) from error
    except NotImplementedError as error:
        raise InputError(f"the archive cannot be read: {error}", path=path, hint="pack it anew, as .tar.gz") from error
