"""Places that hold data: paths, and URIs such as s3://bucket/corpus/ (file, s3, s3a, hdfs, gs, abfs; through pyarrow).

A place is a string. The functions here are the only ones that know whether it is a path or a URI. What follows the
bucket or host of a URI is taken as it is written; nothing in it is decoded.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, NamedTuple

from tdtool.data.readers import remote_places
from tdtool.errors import InputError, ResourceError, TdtoolError

if TYPE_CHECKING:
    from tdtool.data.readers.remote_places import Remote

_URI = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)://|(?P<file>[Ff][Ii][Ll][Ee]):/")


class Found(NamedTuple):
    """A file below a directory. name : its path from there; kind : "outside" for a link that leads out of the directory
    or nowhere, "other" for pipes, devices and the like."""

    name: bytes
    size: int
    kind: Literal["file", "outside", "other"] = "file"


def trouble(place: str, error: OSError) -> InputError:
    """The system's error in the user's words."""
    words: dict[type[OSError], tuple[str, str | None]] = {
        FileNotFoundError: ("there is no such file or directory", None),
        PermissionError: ("it may not be read", "check the permissions: ls -l"),
        IsADirectoryError: ("it is a directory, not a file", None),
    }
    what, hint = words.get(type(error), (f"it cannot be read: {error.strerror or error}", None))
    return InputError(what, path=place, hint=hint)


def local_path(place: str) -> str | None:
    """The path of a place on this machine's file systems, None for any other."""
    found = _URI.match(place)
    if found is None:
        return place
    if (found["scheme"] or found["file"]).lower() != "file":
        return None
    rest = place[found.end() - (1 if found["file"] else 0) :]
    host, slash, path = rest.partition("/")
    if host not in ("", "localhost"):
        raise InputError(f"the file is on the machine {host!r}", path=place, hint="write file:///path/to/it")
    return slash + path


def absolute(place: str) -> str:
    """The place as it is found from any directory of this machine."""
    path = local_path(place)
    return place if path is None else os.path.abspath(path)  # noqa: PTH100 (a slash at the end, "..": as open does)


def join(place: str, *names: str) -> str:
    """A place below a directory."""
    return "/".join([place.rstrip("/") or "", *names]) if names else place


def name_of(place: str) -> str:
    """The last part of a place, without slashes."""
    return place.rstrip("/").rpartition("/")[2]


def beside(place: str, name: str) -> str:
    """Another name in the directory of a place."""
    directory, slash, _ = place.rstrip("/").rpartition("/")
    return directory + slash + name


def exists(place: str) -> bool:
    """Whether there is a file or directory."""
    path = local_path(place)
    if path is None:
        return _remote(place).kind() is not None
    return os.path.lexists(path)


def is_file(place: str) -> bool:
    """Whether it is a file whose size is known: no directory, no pipe."""
    path = local_path(place)
    return _remote(place).kind() == "file" if path is None else os.path.isfile(path)  # noqa: PTH113


def is_directory(place: str) -> bool:
    """Whether it is a directory (in an object store: whether names begin with it and a slash)."""
    path = local_path(place)
    if path is None:
        return _remote(place).kind() == "directory"
    try:
        return Path(path).is_dir()
    except OSError as error:
        raise trouble(place, error) from error


def size(place: str) -> int | None:
    """Bytes of a regular file, None for a pipe or device."""
    path = local_path(place)
    if path is None:
        return _remote(place).size()
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError as error:
        raise trouble(place, error) from error
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def open_binary(place: str) -> BinaryIO:
    """Open a file for reading, unbuffered."""
    path = local_path(place)
    if path is None:
        return _remote(place).open()
    try:
        return open(path, "rb", buffering=0)  # noqa: PTH123 (bytes in names survive only here)
    except OSError as error:
        raise trouble(place, error) from error


def walk(place: str) -> Iterator[Found]:
    """The files below a directory, in the order of the bytes of their paths.

    Hidden files and directories are left out. Links to files inside are followed, links to directories are not (they
    would repeat files).
    """
    path = local_path(place)
    if path is None:
        yield from (Found(name, n_bytes) for name, n_bytes in _remote(place).walk())
        return
    root = os.fsencode(path.rstrip("/") + "/")
    yield from _walk_below(root, b"", os.path.realpath(root), place)


def make_directory(place: str) -> None:
    """Make a directory and those above it, unless they are there."""
    path = local_path(place)
    if path is None:
        _remote(place).make_directory()
        return
    try:
        os.makedirs(path, exist_ok=True)  # noqa: PTH103
    except OSError as error:
        raise _not_written(place, error) from error


def write_bytes(place: str, data: bytes, *, atomic: bool = True) -> None:
    """Write a file; with `atomic` it is there whole or not at all, whatever happens (another of the name is replaced).

    Object stores do that by themselves; elsewhere a file beside it is written, made safe, and renamed.
    """
    path = local_path(place)
    if path is None:
        _remote(place).write(data, atomic=atomic)
        return
    part = f"{path}.{uuid.uuid4().hex}.part" if atomic else path
    try:
        with contextlib.ExitStack() as on_error:
            on_error.callback(lambda: Path(part).unlink(missing_ok=True))
            with open(part, "wb") as file:  # noqa: PTH123
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if atomic:
                os.replace(part, path)  # noqa: PTH105
            on_error.pop_all()
    except OSError as error:
        raise _not_written(place, error) from error


def read_bytes(place: str) -> bytes:
    """The content of a (small) file."""
    with open_binary(place) as file:
        try:
            parts = list(iter(lambda: file.read(1 << 20), b""))
        except OSError as error:
            raise trouble(place, error) from error
    return b"".join(parts)


def remove(place: str) -> None:
    """Remove a file, or a directory with all that is in it; nothing happens when there is none."""
    path = local_path(place)
    if path is None:
        _remote(place).remove()
        return
    import shutil

    try:
        if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114
            shutil.rmtree(path)
        else:
            Path(path).unlink(missing_ok=True)
    except OSError as error:
        raise _not_written(place, error) from error


def _remote(place: str) -> Remote:
    return remote_places.remote(place)


def _not_written(place: str, error: OSError) -> TdtoolError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceError("the disk is full", path=place, hint="free some space, or write elsewhere")
    return InputError(f"it cannot be written: {error.strerror or error}", path=place)


def _walk_below(root: bytes, prefix: bytes, real_root: bytes, place: str) -> Iterator[Found]:
    directory = os.path.join(root, prefix)  # noqa: PTH118
    try:
        with os.scandir(directory) as entries:
            found = [(entry, entry.is_dir(follow_symlinks=False)) for entry in entries]
    except OSError as error:
        raise trouble(join(place, os.fsdecode(prefix)) if prefix else place, error) from error
    # A directory's name is compared as its children's paths are: with the slash.
    for entry, is_a_directory in sorted(found, key=lambda item: item[0].name + (b"/" if item[1] else b"")):
        relative = prefix + entry.name
        if entry.name.startswith(b"."):
            continue
        if is_a_directory:
            yield from _walk_below(root, relative + b"/", real_root, place)
        elif (status := _status(entry, real_root)) is not None:
            yield Found(relative, status.st_size, _kind(status))


def _kind(status: os.stat_result) -> Literal["file", "outside", "other"]:
    if stat.S_ISLNK(status.st_mode):
        return "outside"
    return "file" if stat.S_ISREG(status.st_mode) else "other"


def _status(entry: os.DirEntry[bytes], real_root: bytes) -> os.stat_result | None:
    """What an entry is, a link that leads outside or nowhere as the link itself; None for a link to a directory."""
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
