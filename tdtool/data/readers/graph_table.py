"""What the lines of an edge list mean, read off the first of them: how they are cut, the two ends, the weight."""

from __future__ import annotations

import collections
import csv
import dataclasses
import itertools
import math
import re

from tdtool.config import GraphConfig
from tdtool.data.readers.streams import Input
from tdtool.data.readers.text_batches import BYTE_ORDER_MARK, printable
from tdtool.errors import InputError, UsageError
from tdtool.kernels.edges_cpu import BLANKS, NO_BYTE, LineLayout

_QUOTE = 34
_TAB, _COMMA, _SEMICOLON, _BAR = "\t", ",", ";", "|"
_SEPARATORS = {"tsv": (_TAB,), "csv": (_COMMA, _SEMICOLON, _TAB, _BAR), "edges": (_TAB, _COMMA, _SEMICOLON, _BAR)}
_CALLED = {_TAB: "tabs", _COMMA: "commas", _SEMICOLON: "semicolons", _BAR: "bars"}
_SAMPLE_LINES = 1000
#: A separator is one when more than this share of the sample's lines have the same number of it.
_AGREED = 0.5
_COMMENTS = (b"#", b"%", b"//")
#: A first row of words with a separator: below it "#a, #b" is no comment, unless the names turn out to be numbers.
_NAMED_TABLE = re.compile(rb"\s*[^\d\s,;|][^\t,;|]*[\t,;|]")
_WORD = re.compile(r'"(?:[^"]|"")*"|\{.*|#.*|[^\s]+')
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,18}")

#: How the two ends are called, in pairs; compared in lower case without blanks, "_", "-" and ".".
_PAIRS = (
    *(("source", "target"), ("src", "dst"), ("from", "to"), ("fromnodeid", "tonodeid"), ("fromnode", "tonode")),
    *(("tail", "head"), ("node1", "node2"), ("nodea", "nodeb"), ("id1", "id2"), ("user1", "user2")),
    *(("sourceid", "targetid"), ("sourcenode", "targetnode"), ("start", "end"), ("sender", "receiver")),
    *(("fromid", "toid"), ("person1", "person2"), ("src", "tgt"), ("src", "dest"), ("source", "dest")),
    *(("row", "column"), ("row", "col"), ("protein1", "protein2"), ("gene1", "gene2"), ("follower", "followee")),
)
_END = re.compile(
    "(left|right|follower|following|cited|citing|co|)"
    "(source|target|from|to|name|node|id|user|friend|person|people|member|actor|author|character|vertex|gene|protein|"
    "word|term|tag|item|product|movie|film|book|song|artist|paper|article|page|url|customer|reader|group|team|player|"
    "student|school|country|city|place|airport|station|company|event|left|right|follower|followee|sender|recipient)"
    "s?(id|name|no|number|key|)[12ab]?"
)
_WEIGHTS = ("weight", "weights", "w", "value", "strength", "count", "counts", "n", "combinedscore", "score")
#: A third column of one of these names is something else than a weight.
_NO_WEIGHTS = re.compile(r"time|date|year|month|day|\bid\b|type|label|index|sign|edge|kind|class")
#: Whole numbers from here on look like seconds since 1970 (March 1973 and later).
_TIMES_FROM = 1e8
_LISTED, _SHOWN = 20, 60  # names of columns in a message, and characters of one
#: A column that counts its rows, of so many or more, is no weight.
_COUNTED = 10
_DIGITS = 18
_UNNAMED = re.compile(r"|unnamed: ?\d+|__index_level_\d+__", re.IGNORECASE)
_ARROWS = frozenset(("->", "-->", "--", "=>", "<->", "<-->", "→", "↔", "—"))
_HINT = "a line for each edge: two names and perhaps a weight, separated by blanks, tabs or commas"


@dataclasses.dataclass(frozen=True)
class EdgePlan:
    """How the lines are meant. size, lines : what the comments and the header at the start take, of what is behind a
    byte order mark; numbers : names are whole numbers as far as one sees; promised : how many edges the comments say
    there are."""

    layout: LineLayout
    size: int
    lines: int
    numbers: bool
    directed: bool | None
    bipartite: bool
    description: str
    notes: tuple[str, ...]
    promised: int | None


@dataclasses.dataclass(frozen=True)
class _Sample:
    """The first lines. size, lines : of what is before the first row; comments : those there; rows, numbers : the
    lines that are rows of edges (and a header, perhaps), and which lines of the file they are; behind_first : where the
    first of them ends."""

    size: int
    comments: list[str]
    rows: list[bytes]
    numbers: list[int]
    behind_first: int


def plan_edges(source: Input, kind: str, config: GraphConfig) -> EdgePlan:
    """Look at the first lines of an input of the format `kind`: edges, csv or tsv.

    Raises InputError for an input without rows, with one column, or without the columns that the user names.
    """
    sample = _sample(source)
    path, line = source.path, sample.numbers[0]
    separator, quoted = _separator(sample.rows, kind)
    cells = [_cut(row, separator, quoted=quoted) for row in sample.rows]
    n_columns = collections.Counter(map(len, cells)).most_common(1)[0][0]
    if n_columns < 2:
        raise InputError("the line has one column; an edge needs two", path=path, line=line, hint=_HINT)
    rows = [row for row in cells[1:] if len(row) == n_columns]
    names = _header(cells[0], rows, config) if len(cells[0]) == n_columns else None
    if names is not None and not rows:
        raise InputError("there are names of columns and no edges below them", path=path, line=line)
    columns = list(zip(*(rows if names is not None or len(cells[0]) != n_columns else [cells[0], *rows]), strict=True))
    ends = edge_ends(names, columns, config, path)
    weight, why = edge_weight(names, columns, ends, config, path)
    numbers = all(_WHOLE.fullmatch(cell) for end in ends for cell in columns[end])
    directed, bipartite, origin, promised = _comments(sample.comments)
    layout = LineLayout(
        separator=BLANKS if separator is None else ord(separator),
        quote=_QUOTE if quoted else NO_BYTE,
        tail=ends[0],
        head=ends[1],
        weight=weight,
        n_columns=n_columns,
        comments=separator is None or numbers,
    )
    size, lines = (sample.size, line - 1) if names is None else (sample.behind_first, line)
    facts = [f"{origin}, separated by {'blanks' if separator is None else _CALLED[separator]}"]
    facts += [f"ends in columns {_named(ends[0], names)} and {_named(ends[1], names)}"] if ends != (0, 1) else []
    facts += [f"weights in column {_named(weight, names)}"] if weight >= 0 else []
    return EdgePlan(layout, size, lines, numbers, directed, bipartite, ", ".join(facts), why, promised)


def _sample(source: Input) -> _Sample:
    """The first complete lines; InputError when none of them is a row."""
    head = source.head.removeprefix(BYTE_ORDER_MARK)
    if b"\n" not in head and b"\r" in head.strip(b"\r"):
        hint = "convert them: tr '\\r' '\\n'"
        raise InputError("its lines end as on old Macs, with a carriage return alone", path=source.path, hint=hint)
    comments: list[str] = []
    rows: list[bytes] = []
    numbers: list[int] = []
    position, size, behind = 0, 0, 0
    for number, line in enumerate(head.split(b"\n"), 1):
        stop = min(position + len(line) + 1, len(head))
        whole = source.is_whole_head or stop < len(head) or not rows
        text = line.strip()
        if text.startswith(_COMMENTS) and not (rows and _NAMED_TABLE.match(rows[0])):
            comments += [] if rows else [printable(text)]
        elif text and whole:
            size, behind = (size, behind) if rows else (position, stop)
            rows.append(line.rstrip(b"\r"))
            numbers.append(number)
        position = stop
        if len(rows) == _SAMPLE_LINES:
            break
    if not rows:
        what = "it holds nothing but comments" if comments else "it holds nothing but blank lines"
        raise InputError(what, path=source.path, hint=_HINT)
    return _Sample(size, comments, rows, numbers, behind)


def _separator(rows: list[bytes], kind: str) -> tuple[str | None, bool]:
    """What separates the columns (None: blanks), and whether quotes mean something."""
    as_networkx = kind == "edges" and any(b" {" in row or b"\t{" in row for row in rows)
    best, share, best_quoted = None, _AGREED, _has_quotes(rows, b" ")
    for separator in () if as_networkx else _SEPARATORS[kind]:
        quoted = separator != _TAB or _has_quotes(rows, b"\t")
        counts = [len(_cut(row, separator, quoted=quoted)) for row in rows]
        usual, n = collections.Counter(counts).most_common(1)[0]
        if usual > 1 and n > share * len(counts):
            best, share, best_quoted = separator, n / len(counts), quoted
    return (_TAB, False) if best is None and kind == "tsv" else (best, best_quoted)


def _has_quotes(rows: list[bytes], separator: bytes) -> bool:
    """Whether there are fields that begin and end with a quote."""
    return any(row.startswith(b'"') or separator + b'"' in row for row in rows) and all(
        row.count(b'"') % 2 == 0 for row in rows
    )


def _cut(row: bytes, separator: str | None, *, quoted: bool) -> list[str]:
    """The cells of a row."""
    text = printable(row)
    if separator is None and not quoted:
        return [cell for cell in re.findall(r"\{.*|#.*|[^\s]+", text) if not cell.startswith("#")]
    if separator is None:
        words = [word for word in _WORD.findall(text) if not word.startswith("#")]
        return [word[1:-1].replace('""', '"') if word.startswith('"') and len(word) > 1 else word for word in words]
    if not quoted or '"' not in text:
        return [cell.strip() for cell in text.split(separator)]
    try:
        return [cell.strip() for cell in next(csv.reader([text], delimiter=separator, skipinitialspace=True), [])]
    except csv.Error:
        return [cell.strip() for cell in text.split(separator)]


def _header(first: list[str], rest: list[list[str]], config: GraphConfig) -> list[str] | None:
    """The names of the columns, where the first row has them."""
    wanted = [name.strip() for name in (config.columns or "").split(",")] + [config.weight or ""]
    if any(name and name in first and not name.isdecimal() for name in wanted):
        return first
    simple = [_simple(cell) for cell in first]
    if any(one in simple and other in simple for one, other in _PAIRS):
        return first
    if len(set(simple)) == len(simple) and all(map(_END.fullmatch, simple[:2])):
        below = {_simple(cell) for row in rest for cell in row[:2]}
        return None if below & set(simple[:2]) else first
    if not rest:
        return None
    columns = list(zip(*rest, strict=True))
    changes = [not is_number(cell) and all(map(is_number, column)) for cell, column in zip(first, columns, strict=True)]
    return first if any(changes) and not is_number(first[0]) else None


def edge_ends(
    names: list[str] | None, columns: list[tuple[str, ...]], config: GraphConfig, path: str
) -> tuple[int, int]:
    """The columns of the two ends: as the user says, by their names, or the first two that can be.

    columns : the cells of a sample.
    """
    n_columns = len(columns)
    if config.columns is not None:
        given = [_position(name, names, n_columns, path) for name in config.columns.split(",")]
        if len(given) != 2 or given[0] == given[1]:
            raise UsageError(
                f"columns is {config.columns!r}; an edge has two ends", hint="name two columns, a comma between"
            )
        return given[0], given[1]
    simple = [] if names is None else [_simple(name) for name in names]
    for one, other in _PAIRS:
        if one in simple and other in simple:
            return simple.index(one), simple.index(other)
    taken = _position(config.weight, names, n_columns, path) if config.weight not in (None, "none") else -1
    none = _no_ends(names, columns)
    free = [column for column in range(n_columns) if column != taken and column not in none]
    if len(free) < 2:
        raise InputError("besides the weight there is one column; an edge needs two", path=path, hint=_HINT)
    return free[0], free[1]


def _no_ends(names: list[str] | None, columns: list[tuple[str, ...]]) -> set[int]:
    """Columns of arrows ("a -> b"), and of numbers of the rows, as pandas and R write them before the others."""
    arrows = {column for column, cells in enumerate(columns) if cells and _ARROWS.issuperset(cells)}
    numbers = {0} if names is not None and _UNNAMED.fullmatch(names[0]) and _counts(columns[0]) else set[int]()
    return arrows | numbers if len(columns) - len(arrows | numbers) > 1 else set()


def _counts(cells: tuple[str, ...]) -> bool:
    """Whether a column counts its rows."""
    numbers = [int(cell) for cell in cells if cell.isdecimal() and len(cell) <= _DIGITS]
    return len(numbers) == len(cells) and all(after == one + 1 for one, after in itertools.pairwise(numbers))


def edge_weight(
    names: list[str] | None, columns: list[tuple[str, ...]], ends: tuple[int, int], config: GraphConfig, path: str
) -> tuple[int, tuple[str, ...]]:
    """The column of the weights, -1 for none, and notes about columns that are not used."""
    n_columns = len(columns)
    if config.weight == "none":
        return -1, ()
    if config.weight is not None:
        column = _position(config.weight, names, n_columns, path)
        if column in ends:
            raise UsageError(f"column {config.weight!r} is both an end and the weight", hint="see --columns")
        return column, ()
    simple = [] if names is None else [_simple(name) for name in names]
    column = next((simple.index(name) for name in _WEIGHTS if name in simple and simple.index(name) not in ends), -1)
    if column >= 0:
        return column, ()
    used = {*ends, *_no_ends(names, columns)}
    third = next((column for column in range(n_columns) if column not in used), -1)
    if third < 0 or (names is not None and (n_columns > 3 or _NO_WEIGHTS.search(names[third].lower()))):
        return -1, _unused(names, n_columns, ends)
    if columns[third][0].startswith("{"):
        return (third if any("weight" in cell for cell in columns[third]) else -1), ()
    if not all(map(is_number, columns[third])):
        return -1, _unused(names, n_columns, ends)
    if len(columns[third]) >= _COUNTED and _counts(columns[third]):
        about = f"column {_named(third, names)} counts the rows and is not used (--weight {third + 1} takes it)"
        return -1, (about,)
    if all(cell.isdecimal() and float(cell) >= _TIMES_FROM for cell in columns[third]):
        about = f"column {_named(third, names)} looks like times and is not used (--weight {third + 1} takes it)"
        return -1, (about,)
    return third, _unused(names, n_columns, (*ends, third))


def _unused(names: list[str] | None, n_columns: int, used: tuple[int, ...]) -> tuple[str, ...]:
    left = [_named(column, names) for column in range(n_columns) if column not in used]
    if not left:
        return ()
    listed = ", ".join(left[:8]) + (f" and {len(left) - 8:,} more" if len(left) > 8 else "")
    return (f"column{'s' if len(left) > 1 else ''} {listed} {'are' if len(left) > 1 else 'is'} not used",)


def _comments(comments: list[str]) -> tuple[bool | None, bool, str, int | None]:
    """What comments at the start say, as SNAP and KONECT write them: directed, bipartite, whose format, how many edges.

    KONECT: "% asym weighted" and perhaps "% edges tails heads"; SNAP: "# Directed graph", "# Nodes: 5 Edges: 7".
    """
    text = "\n".join(comments).lower()
    konect = re.search(r"^%\s*(sym|asym|bip)\s+\w+", text, re.MULTILINE)
    if konect:
        sizes = re.search(r"^%\s*(\d{1,18})\s+\d+", text, re.MULTILINE)
        directed = {"sym": False, "asym": True}.get(konect[1])
        return directed, konect[1] == "bip", "edge list of KONECT", int(sizes[1]) if sizes else None
    directed = True if re.search(r"#\s*directed graph", text) else None
    if re.search(r"#\s*undirected graph", text):
        directed = False
    snap = re.search(r"nodes:\s*\d+\s+edges:\s*(\d{1,18})", text)
    return (directed, False, "edge list of SNAP", int(snap[1])) if snap else (directed, False, "edge list", None)


def _position(wanted: str | None, names: list[str] | None, n_columns: int, path: str) -> int:
    """The column that the user means by a name or a 1-based number."""
    name = (wanted or "").strip()
    if names is not None and name in names:
        return names.index(name)
    if name.isdecimal() and 1 <= int(name) <= n_columns:
        return int(name) - 1
    known = [] if names is None else [name[:_SHOWN] for name in names[:_LISTED]]
    more = f" and {n_columns - _LISTED:,} more" if n_columns > _LISTED else ""
    have = f"columns 1 to {n_columns} and no header" if names is None else f"the columns {', '.join(known)}{more}"
    raise InputError(f"there is no column {name!r}", path=path, hint=f"it has {have}")


def _named(column: int, names: list[str] | None) -> str:
    return f"{column + 1}" if names is None else f"{names[column][:_SHOWN]!r}"


def _simple(name: str) -> str:
    return re.sub(r"[\s_.-]", "", name.strip().lower())


def weight_of_attributes(text: str) -> float:
    """The weight in what networkx writes behind an edge ({'weight': 0.5}); 1 where there is none, NaN for no number."""
    found = re.search(r"""['"]weight['"]\s*:\s*([^,}\s]+)""", text)
    if found is None:
        return 1.0
    return float(found[1]) if is_number(found[1]) else math.nan


def is_number(text: str) -> bool:
    """Whether a cell is a number, nan and inf among them."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text
