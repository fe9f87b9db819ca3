"""JSON lines: one object a line, the text in one of its fields."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tdtool.config import SourceConfig
from tdtool.data.batches import TextBatch
from tdtool.data.ledger import Ledger
from tdtool.data.readers.source_types import OnBytes, TextSource
from tdtool.data.readers.streams import ByteStream, Input
from tdtool.data.readers.text_batches import Collector, printable
from tdtool.data.readers.text_rows import Layout, row_blocks
from tdtool.errors import InputError
from tdtool.kernels import rows_cpu

NO_TEXT = "text field is null"


def open_json_lines(source: Input) -> TextSource:
    """A source whose documents are a field of JSON objects, one a line; ids are a field too, or line numbers."""

    def read(ledger: Ledger, on_bytes: OnBytes) -> Iterator[TextBatch]:
        with source.open(on_bytes) as stream:
            yield from json_batches(stream, source.config, source.path, ledger)

    return TextSource("jsonl", source.path, source.size, describe_json(source), read)


def describe_json(source: Input) -> str:
    """One line for the person; InputError for what is JSON and has no lines."""
    if source.head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        raise InputError("it is a JSON array, not JSON lines", path=source.path, line=1, hint="convert it: jq -c '.[]'")
    config = source.config
    ids = "ids are line numbers" if config.id_field is None else f"ids in field {config.id_field}"
    return f"JSON lines, text in field {config.field}, {ids}"


def json_batches(
    stream: ByteStream, config: SourceConfig, path: str, ledger: Ledger, first_line: int = 1
) -> Iterator[TextBatch]:
    """Read a stream to its end as documents. first_line : of the stream in its file."""
    collector = Collector(path, ledger)
    for rows in row_blocks(stream, Layout(), path, ledger, first_line):
        places = (rows_cpu.ROW_LINE, rows_cpu.TEXT_START, rows_cpu.TEXT_STOP)
        for line, start, stop in zip(*(rows.facts[place].tolist() for place in places), strict=True):
            _add(rows.buffer[start:stop].tobytes(), line, config, collector)
            yield from collector.ready()
    yield from collector.rest()


def _add(raw: bytes, line: int, config: SourceConfig, collector: Collector) -> None:
    """Take the document of one line."""
    path = collector.path
    if not raw.strip():
        collector.add(b"", "", line)
        return
    record = _parsed(raw, path, line)
    text = _field(record, config.field, "--field", path, line)
    if text is None:
        collector.ledger.skip(NO_TEXT, path, line)
        return
    if isinstance(text, list) and all(isinstance(part, str) for part in text):
        text = "\n".join(text)
    if not isinstance(text, str):
        raise InputError(
            f"the field {config.field!r} is not text but {_kind(text)}",
            path=path,
            line=line,
            hint=f"name another with --field; this line has {_fields_of(record)}",
        )
    name = str(line)
    if config.id_field is not None:
        name = printable(_bytes(str(_field(record, config.id_field, "--id-field", path, line))))
    collector.add(_bytes(text), name, line)


def _parsed(raw: bytes, path: str, line: int) -> dict[str, Any]:
    try:
        record = json.loads(raw.decode("utf-8", "surrogateescape"))
    except json.JSONDecodeError as error:
        raise InputError(f"it is not valid JSON: {error.msg} at column {error.colno}", path=path, line=line) from error
    except (ValueError, RecursionError) as error:
        raise InputError("its JSON is too deep or holds a number that is too long", path=path, line=line) from error
    if not isinstance(record, dict):
        raise InputError(f"it is not a JSON object but {_kind(record)}", path=path, line=line)
    return record


def _field(record: dict[str, Any], name: str, option: str, path: str, line: int) -> Any:
    """The value of a field; a name with dots is looked for as it is, then inwards."""
    if name in record:
        return record[name]
    value: Any = record
    for step in name.split("."):
        if not isinstance(value, dict) or step not in value:
            raise InputError(
                f"there is no field {name!r}",
                path=path,
                line=line,
                hint=f"it has {_fields_of(record)}; name one with {option}",
            )
        value = value[step]
    return value


def _fields_of(record: dict[str, Any], most: int = 20) -> str:
    """The names of the fields, those of inner objects with dots."""
    names: list[str] = []
    for name, value in record.items():
        inner = [f"{name}.{key}" for key in value] if isinstance(value, dict) and value else [name]
        names.extend(inner)
    return "no fields" if not names else ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _bytes(text: str) -> bytes:
    """UTF-8 again; bytes that were broken stay so, half a surrogate pair (JSON allows it) becomes broken bytes."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
