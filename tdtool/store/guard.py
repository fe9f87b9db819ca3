"""What a file must be before its arrays are read: files come from strangers, and HDF5 follows where it is led."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tdtool.errors import InputError
from tdtool.store import schema as schemas
from tdtool.store.writer import decode_attribute

_KNOWN_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
_DEFLATE_MOST = 1040  # deflate cannot shrink further than 1,032 to 1; the rest is its header
_REFERENCE_BYTES = 16  # what a text of variable length takes in its array: length, heap, index
_CHUNK_MOST = 1 << 28
_ATTRIBUTE_MOST = 1 << 26
_ATTRIBUTES_MOST = 1000


def read_schema(file: h5py.File, path: Path) -> schemas.FileSchema:
    """The schema that the file names; InputError when it is none of ours or newer than ours."""
    name, version = (_scalar(file, key, path) if key in file.attrs else None for key in ("schema", "schema_version"))
    if not isinstance(name, str) or name not in schemas.SCHEMAS:
        raise InputError(
            "this HDF5 file was not written by tdtool", path=path, hint=f"its schema is {str(name)[:80]!r}"
        )
    schema = schemas.SCHEMAS[name]
    if not isinstance(version, int) or version < 1:
        raise InputError(f"the version of {name} is {str(version)[:80]!r}, not a number", path=path)
    if version > schema.version:
        hint = f"this tdtool reads {name} up to version {schema.version}: pip install --upgrade tdtool"
        raise InputError(f"written by a newer tdtool ({name} version {version})", path=path, hint=hint)
    return schema


def read_attributes(file: h5py.File, path: Path) -> dict[str, Any]:
    """Root attributes, JSON decoded; InputError for anything but text and numbers of sane size."""
    if len(file.attrs) > _ATTRIBUTES_MOST:
        raise InputError(f"the file has {len(file.attrs):,} attributes", path=path)
    return {name: _scalar(file, name, path) for name in sorted(file.attrs)}


def check_structure(file: h5py.File, schema: schemas.FileSchema, path: Path) -> dict[str, h5py.Dataset]:
    """The arrays by path, after each was held against the schema; InputError names the one that fails."""
    datasets = {}
    for name in _names(file, "", path):
        if name in schema.groups:
            group = file[name]
            if not isinstance(group, h5py.Group):
                raise InputError(f"{name} is not a group", path=path)
            datasets.update({full: group[full.partition("/")[2]] for full in _names(group, name + "/", path)})
        elif not schema.has_dim(name):
            raise InputError(f"{_safe(name)} is not part of {schema.name}", path=path)
    for full in set(datasets).difference(schema.in_order(datasets)):
        raise InputError(f"{_safe(full)} is not part of {schema.name}", path=path)
    for spec in schema.arrays:
        if not (spec.optional or spec.per_mode or spec.path in datasets):
            raise InputError(f"{spec.path} is missing", path=path, hint="the file is incomplete; make it again")
    _check_arrays(datasets, schema, path)
    return datasets


def _check_arrays(datasets: dict[str, h5py.Dataset], schema: schemas.FileSchema, path: Path) -> None:
    sizes: dict[str, int] = {}
    file_bytes = path.stat().st_size
    for name, dataset in datasets.items():
        if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
            raise InputError(f"{name} is not an array", path=path)
    try:
        schemas.check_modes(schema, {name: dataset.shape for name, dataset in datasets.items()}, sizes)
        for name in schema.in_order(datasets):
            shape = datasets[name].shape
            spec = schema.array(name).for_order(len(shape))
            schemas.check_array(spec, shape, _kind(datasets[name], path))
            schemas.check_dims(spec, shape, sizes)
    except ValueError as error:
        raise InputError(str(error), path=path) from error
    for name, dataset in datasets.items():
        _check_storage(dataset, name, path, file_bytes)


def _names(group: h5py.Group, prefix: str, path: Path) -> list[str]:
    """Full names of the members; InputError for a link that leads elsewhere. A few hundred at most."""
    names = []
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise InputError(f"{_safe(prefix + name)} is a link to another place; it is not followed", path=path)
        names.append(prefix + name)
        if len(names) > _ATTRIBUTES_MOST:
            raise InputError(f"{prefix or 'the root group'} has too many members", path=path)
    return names


def _kind(dataset: h5py.Dataset, path: Path) -> str:
    """numpy kind of the values, "S" for text; InputError for references, compounds and sizes nobody uses."""
    text = h5py.check_string_dtype(dataset.dtype)
    if text is not None:
        return "S"
    if dataset.dtype.kind not in "fiu" or dataset.dtype.itemsize > 8 or dataset.dtype.subdtype is not None:
        raise InputError(f"{_safe(dataset.name)} holds values of a type that is not used here", path=path)
    return dataset.dtype.kind


def _check_storage(dataset: h5py.Dataset, name: str, path: Path, file_bytes: int) -> None:
    """InputError when the declared shape cannot be what is stored, or the bytes lie outside this file."""
    plist = dataset.id.get_create_plist()
    layout = plist.get_layout()
    if layout == h5py.h5d.VIRTUAL or plist.get_external_count() or dataset.is_virtual:
        raise InputError(f"the values of {name} lie in another file; that is not followed", path=path)
    filters = {plist.get_filter(i)[0] for i in range(plist.get_nfilters())}
    if not filters <= _KNOWN_FILTERS:
        raise InputError(f"{name} is compressed in a way that is not used here (filter {max(filters)})", path=path)
    wanted = math.prod(dataset.shape) * (_REFERENCE_BYTES if dataset.dtype.kind == "O" else dataset.dtype.itemsize)
    stored = dataset.id.get_storage_size()
    if layout == h5py.h5d.CHUNKED:
        fits = _chunks_are_sane(dataset, wanted, stored)
    else:
        offset = dataset.id.get_offset() if layout == h5py.h5d.CONTIGUOUS else 0
        fits = stored == wanted and (wanted == 0 or (offset is not None and offset + wanted <= file_bytes))
    if not fits or stored > file_bytes:
        raise InputError(f"{name} declares {dataset.shape} values, which are not in the file", path=path)


def _chunks_are_sane(dataset: h5py.Dataset, wanted: int, stored: int) -> bool:
    chunk_bytes = math.prod(dataset.chunks) * dataset.dtype.itemsize
    wanted_chunks = math.prod(-(-length // step) for length, step in zip(dataset.shape, dataset.chunks, strict=True))
    return (
        chunk_bytes <= _CHUNK_MOST
        and wanted <= stored * _DEFLATE_MOST
        and wanted_chunks <= stored
        and dataset.id.get_num_chunks() == wanted_chunks
    )


def _scalar(file: h5py.File, name: str, path: Path) -> Any:
    """One root attribute: text, a number or decoded JSON."""
    attribute = h5py.h5a.open(file.id, name.encode())
    if attribute.shape != () or attribute.get_storage_size() > _ATTRIBUTE_MOST:
        raise InputError(f"attribute {_safe(name)} is not a single value", path=path)
    if h5py.check_string_dtype(attribute.dtype) is None and attribute.dtype.kind not in "biuf":
        raise InputError(f"attribute {_safe(name)} is neither text nor a number", path=path)
    value = file.attrs[name]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    try:
        return decode_attribute(value)
    except (ValueError, RecursionError) as error:
        raise InputError(f"attribute {_safe(name)} is not valid JSON", path=path) from error


def _safe(name: str) -> str:
    return ascii(name[:80])[1:-1]
