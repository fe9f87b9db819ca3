"""Reading known communities: a community a line, a table of nodes and communities, JSON, or a result of our own."""

from __future__ import annotations

import csv
import itertools
import math
import re
from collections.abc import Callable
from pathlib import Path

from tdtool.config import SourceConfig
from tdtool.data.readers.cover_types import CoverBuilder, FoundCover
from tdtool.data.readers.decompress import compression_of
from tdtool.data.readers.streams import Input
from tdtool.data.readers.tensor_formats import HDF5_MAGIC
from tdtool.data.readers.text_batches import BYTE_ORDER_MARK, printable
from tdtool.errors import InputError, UsageError

#: Every format by the name that --truth-format takes, with what it is.
FORMATS = {
    "lines": "a community a line: the names of its nodes",
    "table": "a row for each node and community, perhaps with a weight",
    "json": "JSON: lists of nodes, or an object with a list for each community",
    "hdf5": "a result of tdtool communities",
}

_COMMENTS = ("#", "%", "//")
_NODE_WORDS = {"node", "nodes", "node_id", "nodeid", "id", "name", "vertex", "user", "user_id", "member"}
_COMMUNITY_WORDS = {
    *("community", "communities", "community_id", "group", "cluster", "class", "block", "module", "circle"),
    *("department", "team"),
}
#: How the tables begin that tdtool exports.
_OURS = ["node", "community", "weight"]
_WEIGHT_WORDS = {"weight", "membership", "share"}
#: Fewer rows without a header are communities rather than a table.
_LEAST_ROWS = 3
#: A row of more cells that begins as a header does is a community with such names in it.
_MOST_COLUMNS = 4
_SHOWN = 40
_LOOKED_AT = 8192

#: Between tabs; a tab within quotes is part of a name.
_TAB_CELL = re.compile(r'"(?:[^"]|"")*"(?=\t|$)|[^\t]+')

#: A line of a file that says something: its number from 1 on, and its cells.
Row = tuple[int, list[str]]


def read_cover(path: str, *, format: str = "auto", config: SourceConfig | None = None) -> FoundCover:  # noqa: A002
    """Read communities from a file, compressed or not, or from standard input ("-").

    Without a format: HDF5 and JSON by their first bytes. Text is a table when its first line names the columns (node,
    community), or when it has three lines or more, each of two cells, or of three of which the last is a weight with
    a decimal point; else each line is a community. Cells are parted by tabs where there is a tab in the file (names
    may then hold spaces), by commas where every line has one, else by white space. Lines that begin with #, % or //
    are comments. Raises InputError for what holds no communities, UsageError for a format there is none of.
    """
    if format != "auto" and format not in FORMATS:
        raise UsageError(f"there is no format {format!r}", hint=f"known are auto, {', '.join(FORMATS)}")
    source = Input(path, config or SourceConfig())
    if not source.head.strip():
        raise InputError("it is empty", path=source.path, hint=f"known formats: {', '.join(FORMATS)}")
    kind = _kind(source) if format == "auto" else format
    if kind == "hdf5":
        found = _read_hdf5(source, path)
    else:
        _refuse_binary(source)
        with source.open() as stream:
            text = printable(stream.whole().getvalue().removeprefix(BYTE_ORDER_MARK))
        found = _read_json(text, source.path) if kind == "json" else _read_text(text, format, source.path)
    if not found.places.size:
        raise InputError("there are no communities in it", path=source.path, hint=f"known formats: {_known()}")
    return found


def _known() -> str:
    return "; ".join(f"{name} ({about})" for name, about in FORMATS.items())


def _kind(source: Input) -> str:
    if source.head.startswith(HDF5_MAGIC):
        return "hdf5"
    start = source.head.removeprefix(BYTE_ORDER_MARK).lstrip()
    return "json" if start.startswith((b"{", b"[")) else "text"


def _refuse_binary(source: Input) -> None:
    if source.head.startswith((b"\xff\xfe", b"\xfe\xff")):
        hint = "convert it: iconv -f UTF-16 -t UTF-8"
        raise InputError("it is UTF-16 text; UTF-8 is needed", path=source.path, hint=hint)
    if source.head.startswith(HDF5_MAGIC):
        raise InputError("it is HDF5, not text", path=source.path, hint="leave the format out: it is recognised")
    if compression_of(source.head) is not None:
        raise InputError("it is compressed twice", path=source.path, hint="decompress the outer layer")
    if b"\0" in source.head[:_LOOKED_AT]:
        raise InputError("it is a binary file, not text", path=source.path, hint=f"known formats: {', '.join(FORMATS)}")


def _read_hdf5(source: Input, path: str) -> FoundCover:
    from tdtool.store import hdf5

    if not source.head.startswith(HDF5_MAGIC):
        raise InputError("it is not HDF5", path=source.path, hint="leave the format out: it is recognised")
    if source.compression is not None or not source.seekable:
        raise InputError("HDF5 is read from a plain file only", path=source.path, hint="decompress it to a file first")
    builder = CoverBuilder()
    with hdf5.open(Path(path)) as reader:
        reader.require("tdtool.communities")
        names = reader.get("nodes/name")
        indptr, communities, weights = (
            reader.get(f"membership/{name}").tolist() for name in ("indptr", "community", "weight")
        )
    for node, (start, stop) in enumerate(itertools.pairwise(indptr)):
        for entry in range(start, stop):
            builder.add_row(names[node], str(communities[entry]), weights[entry])
    builder.ledger.use(len(set(communities)))
    return builder.finished(FORMATS["hdf5"])


def _read_json(text: str, path: str) -> FoundCover:
    from tdtool.data.readers.cover_json import parse_cover

    return parse_cover(text, path)


def _read_text(text: str, format: str, path: str) -> FoundCover:  # noqa: A002
    rows = _rows(text, path)
    if not rows:
        raise InputError("there is nothing in it but comments", path=path, hint=f"known formats: {_known()}")
    header = _is_header(rows, format)
    if format == "table" or (format == "auto" and (header or _is_table([cells for _, cells in rows]))):
        return _table(rows, header, path)
    return _communities(rows, path)


def _rows(text: str, path: str) -> list[Row]:
    lines = [(number, line.strip("\r")) for number, line in enumerate(text.split("\n"), 1)]
    spoken = [(number, line) for number, line in lines if line.strip() and not line.lstrip().startswith(_COMMENTS)]
    try:
        split = _splitter([line for _, line in spoken])
        rows = [(number, split(line)) for number, line in spoken]
    except csv.Error as error:
        raise InputError(f"a line of it cannot be read: {error}", path=path) from error
    return [(number, cells) for number, cells in rows if cells]


def _splitter(lines: list[str]) -> Callable[[str], list[str]]:
    """How the lines are cut into cells."""
    titled = bool(lines) and _is_titled([cell.lower() for cell in _comma_cells(lines[0])])
    if any("\t" in line.strip() for line in lines) and not titled:
        return _tab_cells
    several = [line for line in lines if len(line.replace(",", " ").split()) > 1]
    if titled or (several and all("," in line for line in several)):
        return _comma_cells
    return str.split


def _tab_cells(line: str) -> list[str]:
    parts = _TAB_CELL.findall(line) if '"' in line else line.split("\t")
    cells = [cell.strip() for cell in parts if cell.strip()]
    return [_unquoted(cell) for cell in cells] if '"' in line else cells


def _unquoted(cell: str) -> str:
    """The text of a cell in quotes; quotes that are part of a name stay."""
    inner = cell[1:-1].replace('""', "")
    return (
        cell[1:-1].replace('""', '"') if cell[:1] == cell[-1:] == '"' and len(cell) > 2 and '"' not in inner else cell
    )


def _comma_cells(line: str) -> list[str]:
    cells = next(csv.reader([line], skipinitialspace=True)) if '"' in line else line.split(",")
    return [cell.strip() for cell in cells if cell.strip()]


def _is_header(rows: list[Row], format: str) -> bool:  # noqa: A002
    """Whether the first row names the columns; of rows of several lengths only when it leaves no doubt."""
    first = [cell.lower() for cell in rows[0][1]]
    if len(first) < 2 or first[0] not in _NODE_WORDS:
        return False
    same = len({len(cells) for _, cells in rows}) == 1
    return same or format == "table" or _is_titled(first)


def _is_titled(first: list[str]) -> bool:
    """Whether cells in lower case are names of columns and nothing else: node, community and perhaps more."""
    return first[0] in _NODE_WORDS and len(_COMMUNITY_WORDS & set(first[1:])) == 1 and len(first) <= _MOST_COLUMNS


def _is_table(rows: list[list[str]]) -> bool:
    """Whether rows without a header are node and community, or node, community and weight."""
    if len(rows) < _LEAST_ROWS or len({len(cells) for cells in rows}) != 1:
        return False
    if len(rows[0]) == 2:
        return True
    return len(rows[0]) == 3 and all("." in cells[2] and _number(cells[2]) is not None for cells in rows)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _communities(rows: list[Row], path: str) -> FoundCover:
    if len(rows) > 1 and all(len(cells) == 1 for _, cells in rows):
        raise InputError(
            "every line has one name only, which makes no communities",
            path=path,
            line=rows[0][0],
            hint=f"known formats: {_known()}",
        )
    builder = CoverBuilder()
    for _, cells in rows:
        builder.add_community(cells)
        builder.ledger.use()
    return builder.finished("a community a line")


def _table(rows: list[Row], header: bool, path: str) -> FoundCover:
    community, weight = _columns(rows, header, path)
    builder, ours = CoverBuilder(), header and rows[0][1][: len(_OURS)] == _OURS
    for number, cells in rows[1:] if header else rows:
        if len(cells) != len(rows[0][1]):
            raise InputError(
                f"the row has {len(cells)} cells, the first has {len(rows[0][1])}",
                path=path,
                line=number,
                hint="each row needs a node and its community; is it a community a line? (--truth-format lines)",
            )
        share = None if weight is None else _weight(cells[weight], number, path)
        if share == 0:
            builder.ledger.skip("weight of 0", path, number)
            continue
        builder.add_row(cells[0][1:] if ours and _is_guarded(cells[0]) else cells[0], cells[community], share)
        builder.ledger.use()
    return builder.finished("a table of nodes and communities" + ("" if weight is None else " with weights"))


def _is_guarded(name: str) -> bool:
    """Whether an export put an apostrophe before the name to keep spreadsheets from taking it for a formula."""
    return name[:1] == "'" and name[1:].lstrip()[:1] in tuple("=+-@")


def _columns(rows: list[Row], header: bool, path: str) -> tuple[int, int | None]:
    """Where the community and the weight of a row are; the node is first."""
    number, first = rows[0]
    if len(first) < 2:
        raise InputError("the row has one cell; it needs a node and a community", path=path, line=number)
    if not header:
        return 1, 2 if len(first) > 2 else None
    names = [cell.lower() for cell in first]
    communities = [place for place, name in enumerate(names) if name in _COMMUNITY_WORDS]
    if len(communities) != 1 and len(first) > 2:
        raise InputError(
            f"its columns are {', '.join(cell[:_SHOWN] for cell in first)}: which one says the community is not clear",
            path=path,
            line=number,
            hint="name it community",
        )
    weights = [place for place, name in enumerate(names) if name in _WEIGHT_WORDS and place not in communities]
    return communities[0] if communities else 1, weights[0] if weights else None


def _weight(cell: str, line: int, path: str) -> float:
    value = _number(cell)
    if value is None or not math.isfinite(value) or value < 0:
        raise InputError(f"the weight {cell[:_SHOWN]!r} is no number of at least 0", path=path, line=line)
    return value
