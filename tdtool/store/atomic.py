"""Files that appear whole or not at all: written as NAME.part beside their place, synchronised, then renamed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from tdtool import log
from tdtool.errors import ResourceError, UsageError
from tdtool.store.shield import shielded

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
#: What a file system without locks answers.
NO_LOCKS = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.ENOSYS}


def check_output(path: Path, force: bool) -> None:
    """UsageError, before any work is done, unless a file can be written at `path`."""
    if path.is_dir():
        raise UsageError(
            "the output is a directory", path=path, hint=f"name a file in it, such as {path / 'result.h5'}"
        )
    if not path.parent.is_dir():
        raise UsageError(f"there is no directory {path.parent}", path=path, hint=f"make it: mkdir -p {path.parent}")
    if path.exists() and not path.is_file():
        raise UsageError("the output is not a plain file", path=path)
    if path.exists() and not force:
        raise UsageError("the output exists already", path=path, hint="--force replaces it; or choose another name")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UsageError(f"no permission to write in {path.parent}", path=path)


@contextlib.contextmanager
def replacing(path: Path, force: bool = False) -> Iterator[Path]:
    """Give NAME.part to write to; it takes the place of `path` when the block ends well, else it is removed."""
    check_output(path, force)
    part = path.with_name(path.name + ".part")
    handle = None
    try:
        with shielded():
            handle = _lock(part, path)
        yield part
        os.fsync(handle)
        part.replace(path)
        synchronise(path.parent)
    except BaseException as error:
        if handle is not None:
            part.unlink(missing_ok=True)
        if is_full(error):
            hint = "free some space there, or write elsewhere with -o"
            raise ResourceError("the disk is full", path=path, hint=hint) from error
        raise
    finally:
        if handle is not None:
            os.close(handle)


def is_full(error: BaseException) -> bool:
    """Whether the system, or a library that only passes its words on, failed for want of disk space."""
    if not isinstance(error, (OSError, RuntimeError)):
        return False
    return getattr(error, "errno", None) in _FULL or any(f"errno = {code}," in str(error) for code in _FULL)


def _lock(part: Path, path: Path) -> int:
    """A handle on NAME.part that no other run holds."""
    handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise UsageError("another run is writing this file", path=path, hint="choose another name with -o") from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            os.close(handle)
            raise
        log.detail(f"{part}: this file system has no locks; two runs must not write the same file")
    return handle


def synchronise(path: Path) -> None:
    """What was written to a file, or renamed in a directory, is there after a power cut, too."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
