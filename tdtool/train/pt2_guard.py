"""What may be in a .pt2 file before torch is let near it: weights and plain operators, nothing that could run code.

torch.export.load trusts its file: weights and sample inputs may be pickles, compiled libraries are loaded, the text of
sizes is evaluated by sympy, guards and names become Python source, and a node may call anything below `torch`. So every
record is checked here against a list of what a net needs, and torch is given a new archive made of what was checked,
never the file itself: two readers of zip archives can see different things in one file.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tdtool.errors import InputError, ResourceError

_NAME = "model"
_GRAPH = f"models/{_NAME}.json"
_WEIGHTS = f"data/weights/{_NAME}_weights_config.json"
_CONSTANTS = f"data/constants/{_NAME}_constants_config.json"
_SAMPLES = f"data/sample_inputs/{_NAME}.pt"
_EXTRA = "extra/"
_TENSORS = re.compile(r"data/(weights/weight|constants/tensor)_\d{1,7}")
_SMALL = ("archive_format", "archive_version", "byteorder", ".data/version", ".data/serialization_id", "version")
_LONGEST_JSON = 64 << 20
_LONGEST_SMALL = 1 << 12
_MOST_RECORDS = 1 << 17
_DEEPEST = 100

#: Nothing in these can be more than a name, wherever torch pastes it into Python or evaluates it.
_WORD = re.compile(r"[\w.+-]*", re.ASCII)
_EINSUM = re.compile(r"[a-zA-Z,]{0,200}->[a-zA-Z]{0,50}", re.ASCII)
_SIZE_WORDS = {"Symbol", "Integer", "Add", "Mul", "FloorDiv", "Mod", "Max", "Min", "positive", "integer", "True"}
_SIZE = re.compile(r"[A-Za-z]\w*|-?\d{1,18}|'s\d{1,9}'|[(),= ]", re.ASCII)
#: Operators that nets of ours are made of, and those that torch may put in their place. None reads files or memory
#: other than that of its tensors.
_OPERATORS = """
    _adaptive_avg_pool2d _assert_tensor_metadata _native_batch_norm_legit_no_training _to_copy _unsafe_view
    adaptive_avg_pool2d add add_ addcmul addmm alias avg_pool2d baddbmm batch_norm bmm cat clone contiguous conv2d
    convolution detach detach_ div dropout einsum expand feature_dropout flatten hardtanh layer_norm lift_fresh_copy
    linear matmul max_pool2d max_pool2d_with_indices mean mm movedim mul mul_ neg permute pow relu relu_ reshape rsqrt
    select slice squeeze sub sum sym_size t tensordot to transpose unflatten unsqueeze view
    """
_TARGET = re.compile(r"torch\.ops\.aten\.(\w+)\.(\w+)", re.ASCII)
_OTHER_TARGETS = {"_operator.getitem", "_operator.mul", "_operator.add", "_operator.floordiv", "_operator.mod"}
#: Kinds of arguments that bring along more than tensors and numbers.
_FORBIDDEN = {"as_graph", "as_custom_obj", "as_operator", "as_nested_tensors"}


def guarded_archive(path: Path) -> tuple[io.BytesIO, dict[str, str]]:
    """An archive that torch.export.load may read, and the extra files beside it, by name.

    InputError : `path` is no .pt2 file, is damaged, or holds what no net of `tdtool export` has.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            records = {_inner_name(info): archive.read(info) for info in _checked_entries(archive, path)}
    except FileNotFoundError as error:
        raise InputError("there is no such file", path=path) from error
    except (zipfile.BadZipFile, OSError, NotImplementedError, EOFError, ValueError, KeyError) as error:
        raise InputError(f"it is no .pt2 file, or damaged ({error})", path=path) from error
    except MemoryError as error:
        raise ResourceError("the net does not fit into memory", path=path) from error
    for name, data in records.items():
        _check_record(name, data, path)
    if not {_GRAPH, _WEIGHTS, _CONSTANTS}.issubset(records):
        raise InputError("it holds no exported net", path=path, hint="write one: tdtool export RUN --format pt2")
    _check_archive(records, path)
    extra = {name.removeprefix(_EXTRA): _text(data, path) for name, data in records.items() if name.startswith(_EXTRA)}
    return _rebuilt(records), extra


def _checked_entries(archive: zipfile.ZipFile, path: Path) -> list[zipfile.ZipInfo]:
    """The entries; stored as they are, each name once: what is read is no larger than the file."""
    entries = archive.infolist()
    if len(entries) > _MOST_RECORDS or len({_inner_name(info) for info in entries}) != len(entries):
        raise InputError("its archive has too many records, or two of one name", path=path)
    if any(info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 0x1 for info in entries):
        raise InputError("its archive is compressed or encrypted, which .pt2 files are not", path=path)
    if sum(info.file_size for info in entries) > path.stat().st_size:
        raise InputError("its archive says it is larger than the file", path=path)
    return entries


def _inner_name(info: zipfile.ZipInfo) -> str:
    """All records lie below one folder, whose name does not matter."""
    return info.filename.partition("/")[2]


def _check_record(name: str, data: bytes, path: Path) -> None:
    """InputError for records other than tensors, their lists, the graph and small facts."""
    if name in (_GRAPH, _WEIGHTS, _CONSTANTS) or name.startswith(_EXTRA):
        longest: int | None = _LONGEST_JSON
    elif name == _SAMPLES:
        longest = 0  # a pickle, where there is one
    elif name in _SMALL:
        longest = _LONGEST_SMALL
    elif _TENSORS.fullmatch(name):
        longest = None
    else:
        raise _refused(f"a record {name[:80]!r}", path)
    if longest is not None and len(data) > longest:
        what = "sample inputs, which may be code" if name == _SAMPLES else f"a record {name!r} of {len(data):,} bytes"
        raise _refused(what, path)


def _check_archive(records: dict[str, bytes], path: Path) -> None:
    for name in (_WEIGHTS, _CONSTANTS):
        folder = name.rpartition("/")[0]
        entries = _json(records[name], path).get("config")
        for entry in _checked_objects(entries, path):
            if "path_name" not in entry:
                continue
            if entry.get("use_pickle") is not False:
                raise _refused("pickled weights, which may be code", path)
            place = f"{folder}/{entry['path_name']}"
            if not _TENSORS.fullmatch(place):
                raise _refused(f"weights at {str(entry['path_name'])[:80]!r}", path)
            if not records.get(place):  # torch would make zeros, as many as the list says
                raise _refused(f"an empty record {place!r}", path)
    graph = _json(records[_GRAPH], path)
    if graph.get("guards_code"):
        raise _refused("conditions as Python source", path)
    for node in _checked_objects(graph, path):
        for kind in _FORBIDDEN & node.keys():
            if node[kind] is not None:
                raise _refused(f"an argument {kind!r}", path)


def _checked_objects(value: Any, path: Path, key: str = "", depth: int = 0) -> Iterator[dict[str, Any]]:
    """Every object in a JSON value, after all its texts have been found harmless."""
    if depth > _DEEPEST:
        raise _refused("a graph nested too deeply", path)
    if isinstance(value, str):
        if not _harmless(key, value):
            raise _refused(f"{key} = {value[:80]!r}", path)
    elif isinstance(value, list):
        for item in value:
            yield from _checked_objects(item, path, key, depth + 1)
    elif isinstance(value, dict):
        for name in value:
            if not _WORD.fullmatch(name):
                raise _refused(f"the name {name[:80]!r}", path)
        yield value
        for name, item in value.items():
            yield from _checked_objects(item, path, name, depth + 1)


def _harmless(key: str, text: str) -> bool:
    """Whether a text may stand where it does."""
    if key == "target":
        found = _TARGET.fullmatch(text)
        return text in _OTHER_TARGETS or (found is not None and found[1] in _OPERATORS.split())
    if key == "expr_str":
        left = _SIZE.sub("", text)
        words = {word for word in _SIZE.findall(text) if word[:1].isalpha()}
        return not left and words <= _SIZE_WORDS
    if key in ("in_spec", "out_spec"):
        return _is_plain_spec(text)
    if key == "as_string" and _EINSUM.fullmatch(text):
        return True
    return _WORD.fullmatch(text) is not None


def _is_plain_spec(text: str) -> bool:
    """Whether a tree of arguments is made of tuples and dicts alone, with nothing that names a type to be imported."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        return False
    allowed = {None, "null", "[]", "builtins.tuple", "builtins.dict", "builtins.list", 1, "type", "context"}
    pending = [tree]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            if not set(item) <= {"type", "context", "children_spec"}:
                return False
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
        elif item not in allowed:
            return False
    return True


def _rebuilt(records: dict[str, bytes]) -> io.BytesIO:
    """A new archive of the records, which are taken out on the way: they may be large."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as writer:
        for name in list(records):
            writer.writestr(f"archive/{name}", records.pop(name))
    archive.seek(0)
    return archive


def _json(data: bytes, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_text(data, path))
    except (ValueError, RecursionError) as error:
        raise InputError("its graph is damaged", path=path) from error
    if not isinstance(value, dict):
        raise InputError("its graph is damaged", path=path)
    return value


def _text(data: bytes, path: Path) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InputError("its graph is damaged", path=path) from error


def _refused(what: str, path: Path) -> InputError:
    return InputError(
        f"it holds {what}",
        path=path,
        hint="only files with plain operators and weights are opened; write one: tdtool export RUN --format pt2",
    )
