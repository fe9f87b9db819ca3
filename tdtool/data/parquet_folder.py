"""A directory of files that is a store once its manifest is there: names say what the files hold, so that a file that
is written twice is written the same, and the manifest, last of all, makes the change."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from tdtool import log
from tdtool.data.readers import places
from tdtool.errors import InputError, ResourceError, UsageError
from tdtool.store.atomic import NO_LOCKS, is_full

#: Files of manifests, by schema. Without its manifest a directory is no store.
MANIFESTS = {"tdtool.corpus": "corpus.json", "tdtool.graph": "graph.json", "tdtool.documents": "documents.json"}
#: What a store may be made of, besides its manifest.
_OURS = re.compile(r"(part-[0-9]{5,9}|vocabulary|nodes)-[0-9a-f]{32}\.parquet", re.ASCII)
_PART_NAME = re.compile(r"part-[0-9]{5,9}-[0-9a-f]{32}\.parquet", re.ASCII)
_DAMAGED = "restore it from a copy, or make the store again"
_UNFINISHED = re.compile(r".+\.(parquet|json)\.[0-9a-f]{32}\.part", re.ASCII)


@dataclasses.dataclass(frozen=True)
class PartFacts:
    """One partition of a store.

    start, n_rows : its documents or nodes; n_entries : stored counts or neighbours; digest : that of the same partition
    in an HDF5 store; file : its name in the directory, which says all that is in it.
    """

    index: int
    start: int
    n_rows: int
    n_entries: int
    digest: str
    file: str


def is_part_name(name: str) -> bool:
    """Whether a file of this name may be a partition: no other place can hide in it."""
    return _PART_NAME.fullmatch(name) is not None


def part_file(index: int, digest: str) -> str:
    """Name of a partition's file. digest : of all that is in it."""
    return f"part-{index:05d}-{digest}.parquet"


def damaged(place: str, file: str, what: str) -> InputError:
    """The error of a file of a store that is not what it should be."""
    return InputError(what, path=places.join(place, file), hint=_DAMAGED)


def is_ours(name: str) -> bool:
    """Whether a file of this name is one that stores are made of (a manifest is not)."""
    return _OURS.fullmatch(name) is not None


def manifest_kind(place: str) -> str | None:
    """Schema of the store in a directory ("tdtool.corpus", "tdtool.graph"), None when it is no store."""
    return next((schema for schema, name in MANIFESTS.items() if places.is_file(places.join(place, name))), None)


def list_names(place: str) -> list[str]:
    """Names of the files and directories in a directory; [] where there is none."""
    path = places.local_path(place)
    if path is not None:
        return [entry.name for entry in Path(path).iterdir()] if Path(path).is_dir() else []
    if not places.is_directory(place):
        return []
    return sorted({os.fsdecode(found.name).partition("/")[0] for found in places.walk(place)})


def has(place: str, name: str) -> bool:
    """Whether a file is there."""
    return places.is_file(places.join(place, name))


def read_file(place: str, name: str, most: int) -> bytes:
    """All of one file. most : bytes that are believed. InputError when it is missing or longer."""
    file = places.join(place, name)
    if not places.is_file(file):
        raise InputError("a file of the store is missing", path=file, hint="restore it from a copy, or make it again")
    if (places.size(file) or 0) > most:
        raise InputError(f"the file is larger than the {most:,} bytes that it may have", path=file)
    return places.read_bytes(file)


def is_there(place: str, facts: PartFacts, read: Callable[[], object]) -> bool:
    """Whether a partition lies at its place already, as it should be."""
    if not has(place, facts.file):
        return False
    try:
        read()
    except InputError:
        return False  # a file of this name that says something else was damaged: it is written again
    return True


def write_file(place: str, name: str, data: bytes) -> None:
    """Write one file, whole or not at all. Whoever writes the same at the same time does no harm."""
    places.make_directory(place)
    try:
        places.write_bytes(places.join(place, name), data)
    except InputError as error:
        if error.__cause__ is not None and is_full(error.__cause__):
            raise ResourceError(
                "the disk is full", path=place, hint="free some space there, or write elsewhere"
            ) from error
        raise


def check_place(place: str, force: bool) -> None:
    """UsageError, before any work is done, unless a store can be written there.

    What is there already is replaced with `force`, and only when it is a store; what a run that was cut short has left
    is no obstacle.
    """
    if not places.exists(place):
        path = places.local_path(place)
        if path is not None:
            _check_parent(Path(path))
        return
    if not places.is_directory(place):
        raise UsageError("the output is a file, and the store a directory", path=place, hint="choose another name")
    if manifest_kind(place) is not None:
        if not force:
            hint = "--force replaces it; or choose another name"
            raise UsageError("the output exists already", path=place, hint=hint)
        return
    strange = next((name for name in sorted(list_names(place)) if not _may_go(name)), None)
    if strange is not None:
        what = f"the output exists and is no store of tdtool (it has {ascii(strange[:80])[1:-1]})"
        raise UsageError(what, path=place, hint="choose another name; --force replaces stores only")


def drop_leftovers(place: str, kept: set[str]) -> None:
    """Remove files of stores, finished or not, whose name is not in `kept`; what is not of a store stays."""
    for name in list_names(place):
        if name not in kept and _may_go(name):
            places.remove(places.join(place, name))


@contextlib.contextmanager
def locked(place: str) -> Iterator[None]:
    """No other run on this machine writes the store in the block; object stores have no locks."""
    path = places.local_path(place)
    if path is None:
        yield
        return
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(handle, place)
        yield
    finally:
        os.close(handle)


def _may_go(name: str) -> bool:
    return is_ours(name) or _UNFINISHED.fullmatch(name) is not None


def _check_parent(path: Path) -> None:
    parent = path.absolute().parent
    if not parent.is_dir():
        raise UsageError(f"there is no directory {parent}", path=path, hint=f"make it: mkdir -p {parent}")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise UsageError(f"no permission to write in {parent}", path=path)


def _lock(handle: int, place: str) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UsageError("another run is writing this store", path=place, hint="choose another name with -o") from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        log.detail(f"{place}: this file system has no locks; two runs must not write the same store")
