"""The manifest of a store of Parquet files: what it holds, in which files, and how it was made."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tdtool import __version__, log
from tdtool.data.ledger import Ledger
from tdtool.data.parquet_folder import (
    MANIFESTS,
    PartFacts,
    check_place,
    damaged,
    drop_leftovers,
    is_ours,
    is_part_name,
    list_names,
    locked,
    manifest_kind,
    read_file,
    write_file,
)
from tdtool.data.readers import places
from tdtool.errors import InputError, UsageError
from tdtool.store.schema import CORPUS, DOCUMENTS, GRAPH, FileSchema

#: What a store has besides its partitions.
_FILES = {CORPUS.name: ("vocabulary",), GRAPH.name: ("nodes",), DOCUMENTS.name: ()}
_SCHEMAS = {schema.name: schema for schema in (CORPUS, GRAPH, DOCUMENTS)}
#: Attributes that are said of every file, whatever its maker says.
OWN_ATTRIBUTES = ("schema", "schema_version", "tdtool_version", "content_digest")
_LAYOUT_VERSION = 1
_MOST_BYTES = 1 << 28
_MOST_COUNT = 1 << 62
_ATTRIBUTE = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)


class Manifest(NamedTuple):
    """What a manifest says. files : further files by what they hold; sizes : numbers of rows in them;
    attributes : as of an HDF5 store (ledger, config, source, argv, content_digest ...)."""

    schema: FileSchema
    parts: tuple[PartFacts, ...]
    files: dict[str, str]
    sizes: dict[str, int]
    attributes: dict[str, Any]

    @property
    def starts(self) -> NDArray[np.int64]:
        """(P + 1,) int64, first row of each partition."""
        ends = [part.start + part.n_rows for part in self.parts]
        return np.array([0, *ends], np.int64)

    @property
    def named(self) -> set[str]:
        """The files of the store, besides the manifest."""
        return {*(part.file for part in self.parts), *self.files.values()}

    @property
    def n_entries(self) -> int:
        """Entries of all partitions."""
        return sum(part.n_entries for part in self.parts)


@contextlib.contextmanager
def new_store(place: str, *, force: bool = False) -> Iterator[str]:
    """Write a store in the block, its manifest last (`put_manifest`). A block that fails leaves what was there before,
    and nothing else. Gives the place as other processes find it.

    force : replace a store that is there. UsageError, before the block, when the store cannot be written.
    """
    check_place(place, force)
    was_there = places.exists(place)
    places.make_directory(place)
    with locked(place):
        try:
            yield places.absolute(place)
        except BaseException:
            _clear(place)
            if not was_there and not list_names(place):
                places.remove(place)
            raise


def put_manifest(place: str, manifest: Manifest) -> None:
    """Make the directory a store: the manifest comes last, and takes the place of an older one at once.

    attributes of the manifest : with content_digest; what tdtool says of every file is added.
    """
    check_parts(manifest.parts, place)
    values = {
        "schema": manifest.schema.name,
        "schema_version": manifest.schema.version,
        "tdtool_version": __version__,
        "layout": "parquet",
        "layout_version": _LAYOUT_VERSION,
        "partitions": [dataclasses.asdict(part) for part in manifest.parts],
        "files": manifest.files,
        "sizes": manifest.sizes,
        "attributes": manifest.attributes,
    }
    text = json.dumps(values, allow_nan=False, sort_keys=True, indent=1)
    write_file(place, MANIFESTS[manifest.schema.name], text.encode())
    for schema, name in MANIFESTS.items():
        if schema != manifest.schema.name:
            places.remove(places.join(place, name))
    drop_leftovers(place, manifest.named)


def get_manifest(place: str, schema: str) -> Manifest:
    """Read and check a manifest. InputError when the directory is no store, or the manifest is damaged."""
    name = MANIFESTS[schema]
    _check_is_store(place, schema)
    try:
        values = json.loads(read_file(place, name, _MOST_BYTES), parse_constant=_no_number)
        return _manifest(values, place, name)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise damaged(place, name, "the manifest is damaged") from error


def ledger_of(attributes: dict[str, Any], place: str, schema: str) -> Ledger:
    """The ledger among the attributes of a store."""
    try:
        return Ledger.from_dict(attributes["ledger"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise damaged(place, MANIFESTS[schema], "the ledger in it is damaged") from error


def check_files(place: str, manifest: Manifest) -> None:
    """InputError unless every file of the store is there."""
    missing = sorted(manifest.named.difference(list_names(place)))
    if missing:
        more = f" (and {len(missing) - 1:,} more)" if len(missing) > 1 else ""
        raise damaged(place, missing[0], f"a file of the store is missing{more}")


def check_written(place: str, parts: Sequence[PartFacts]) -> None:
    """UsageError unless partitions that were written, maybe by other machines, are seen from here."""
    missing = len({part.file for part in parts}.difference(list_names(place)))
    if missing:
        what = f"{missing:,} of {len(parts):,} partitions that were written are not seen from this machine"
        hint = "name a place that all machines share, such as s3a://BUCKET/NAME.parquet or a mounted directory"
        raise UsageError(what, path=place, hint=hint)


def check_parts(parts: Sequence[PartFacts], place: str) -> None:
    """InputError unless the partitions follow each other, from the first row on, with a file each."""
    end = 0
    for index, part in enumerate(parts):
        if part.index != index or part.start != end or part.n_rows < 0 or not is_part_name(part.file):
            raise InputError(f"partition {index} of the store does not follow the one before", path=place)
        end += part.n_rows


def _clear(place: str) -> None:
    """Remove what is not of the store that is there, if any; nothing when that cannot be told."""
    kind = manifest_kind(place)
    try:
        kept = set() if kind is None else get_manifest(place, kind).named
    except InputError:
        log.detail(f"{place}: the manifest is damaged, and files without use may be left there")
        return
    drop_leftovers(place, kept)


def _check_is_store(place: str, schema: str) -> None:
    found = manifest_kind(place)
    if found == schema:
        return
    if found is not None:
        raise InputError(f"a {found} store, where {schema} is wanted", path=place)
    parts = [name for name in list_names(place) if is_ours(name)]
    if parts:
        what = f"the store is incomplete: {MANIFESTS[schema]} is missing"
        raise InputError(what, path=place, hint="the run that made it did not end; make it again")
    raise InputError("no store of tdtool", path=place, hint=f"it has no {MANIFESTS[schema]}")


def _manifest(values: dict[str, Any], place: str, name: str) -> Manifest:
    schema = _SCHEMAS[values["schema"]]
    if MANIFESTS[schema.name] != name or values["layout"] != "parquet":
        raise damaged(place, name, "the manifest is that of another kind of store")
    for key, known in (("schema_version", schema.version), ("layout_version", _LAYOUT_VERSION)):
        if _whole(values[key]) > known:
            hint = f"this tdtool reads {key} up to {known}: pip install --upgrade tdtool"
            raise InputError(f"written by a newer tdtool ({schema.name}, {key} {values[key]})", path=place, hint=hint)
    parts = tuple(_part(part) for part in values["partitions"])
    check_parts(parts, place)
    files = {what: _file_name(values["files"][what]) for what in _FILES[schema.name]}
    sizes = {str(what): _whole(size) for what, size in values["sizes"].items()}
    about = {key: values[key] for key in ("schema", "schema_version", "tdtool_version")}
    attributes = {_attribute_name(key): _attribute(value) for key, value in values["attributes"].items()}
    return Manifest(schema, parts, files, sizes, {**attributes, **about})


def _part(values: dict[str, Any]) -> PartFacts:
    numbers = {name: _whole(values[name]) for name in ("index", "start", "n_rows", "n_entries")}
    digest = values["digest"]
    if not isinstance(digest, str):
        raise TypeError("a digest is text")
    return PartFacts(**numbers, digest=digest, file=_file_name(values["file"]))


def _attribute_name(name: str) -> str:
    if _ATTRIBUTE.fullmatch(name) is None:
        raise ValueError("not the name of an attribute")
    return name


def _attribute(value: Any) -> Any:
    """A value that HDF5 can hold too."""
    if isinstance(value, int) and not -_MOST_COUNT <= value <= _MOST_COUNT:
        raise ValueError("a number that is too large")
    return value


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _MOST_COUNT:
        raise ValueError("not a whole number from 0 on")
    return value


def _file_name(value: Any) -> str:
    """A file of ours in the directory itself: no other place can hide in such a name."""
    if not isinstance(value, str) or not is_ours(value):
        raise ValueError("not the name of a file of a store")
    return value
