"""GML (Himsolt 1997): lists of keys and values in brackets, streamed."""

from __future__ import annotations

import html
import re

from tdtool.config import GraphConfig
from tdtool.data.ledger import Ledger
from tdtool.data.readers.graph_checks import NO_WEIGHT, WEIGHTS, as_weight, shown
from tdtool.data.readers.graph_named import NamedGraph
from tdtool.data.readers.graph_types import FoundGraph
from tdtool.data.readers.streams import Input
from tdtool.data.readers.text_batches import BYTE_ORDER_MARK, printable
from tdtool.errors import InputError

_STEP = 1 << 20
_LONGEST_TOKEN = 16 << 20
_DEEPEST = 100
_LISTED = 20
#: White space, a comment, a string, a bracket, or anything else up to one of these.
_TOKEN = re.compile(rb'\s+|#[^\n]*|"[^"]*"|[\[\]]|[^\s\[\]"]+')
#: A list of nothing but keys and plain values, whole: nearly all nodes and edges are, and one match is far faster.
_FLAT = re.compile(rb'(\w++)\s*+\[((?:\s++[A-Za-z_]\w*+\s++(?:"[^"]*+"|[^\s\[\]"#]++))*+)\s*+\]')
_PAIR = re.compile(rb'(\w+)\s+("[^"]*"|[^\s"]+)')
_WHOLE = re.compile(r"([+-]?)0*([0-9]+)(\.0*)?\Z")
_FORM = 'GML looks like: graph [ node [ id 1 label "a" ] node [ id 2 ] edge [ source 1 target 2 ] ]'


def read_gml(source: Input, config: GraphConfig, memory: int, ledger: Ledger) -> FoundGraph:
    """The graph of a GML file. Nodes are called by their labels where all have different ones, else by their ids.

    Weights are the edges' `weight` or `value`. Raises InputError, with the line, for what is no GML or no graph, and
    ResourceError for what does not fit into `memory` bytes.
    """
    parser = _Parser(NamedGraph(source.path, memory, ledger), config, source.path)
    text, line, final = b"", 1, False
    with source.open() as stream:
        if stream.peek(3) == BYTE_ORDER_MARK:
            stream.read(3)
        while not final:
            data = stream.read(_STEP)
            text, final = text + data, not data
            position, line = _parse(parser, text, line, final=final)
            text = text[position:]
            if len(text) > _LONGEST_TOKEN:
                raise InputError(
                    "something in it does not end within 16 MB", path=source.path, line=line, hint="is a quote open?"
                )
    if text:
        raise InputError("a quote is not closed", path=source.path, line=line)
    return parser.finish()


def _parse(parser: _Parser, text: bytes, line: int, *, final: bool) -> tuple[int, int]:
    """Hand what is whole in `text` to the parser; where it stopped, and the line of that. final : no text follows."""
    position = 0
    while True:
        if flat := _FLAT.match(text, position):
            parser.take_flat(flat[1], flat[2], line)
            line += text.count(b"\n", position, flat.end())
            position = flat.end()
            continue
        match = _TOKEN.match(text, position)
        if match is None:
            return position, line
        token = match[0]
        if not token.isspace():
            if match.end() == len(text) and not final:
                return position, line
            if not token.startswith(b"#"):
                parser.take(token, line)
        line += token.count(b"\n")
        position = match.end()


class _Parser:
    """What the tokens mean. A list that is not the graph, a node or an edge is passed over, with all that is in it."""

    def __init__(self, graph: NamedGraph, config: GraphConfig, path: str) -> None:
        self._graph, self._path = graph, path
        self._weights = () if config.weight == NO_WEIGHT else (config.weight,) if config.weight else WEIGHTS
        self._wanted = {"id", "label", "name", "source", "target", *self._weights}
        self._asked = config.weight if config.weight != NO_WEIGHT else None
        self._open: list[str] = []
        self._key: str | None = None
        self._record: dict[str, str] = {}
        self._seen: dict[str, None] = {}
        self._begun, self._line, self._n_graphs = 0, 1, 0
        self._directed, self._bipartite = False, config.bipartite
        self._used: str | None = None

    def take(self, token: bytes, line: int) -> None:
        """The next token."""
        self._line = line
        if token == b"]":
            self._close()
        elif self._key is None:
            if token[:1] in b'["':
                raise self._wrong(f"{shown(printable(token))} stands where a key is wanted")
            self._key = printable(token)
        elif token == b"[":
            self._begin(self._key.lower())
            self._key = None
        else:
            self._value(self._key, token)
            self._key = None

    def take_flat(self, key: bytes, pairs: bytes, line: int) -> None:
        """The next list, of keys and plain values only, which begins in `line`."""
        self._line = line
        if self._key is not None:
            raise self._wrong(f"the key {shown(self._key)} has no value")
        self._begin(printable(key).lower())
        if self._in_record():
            for match in _PAIR.finditer(pairs):
                self._value(match[1].decode(), match[2])
        self._close()

    def finish(self) -> FoundGraph:
        """The graph, when all lists are closed."""
        if self._open or self._key is not None:
            raise self._wrong("the file ends too early: a list is not closed" if self._open else "a key has no value")
        if not self._n_graphs:
            raise self._wrong("there is no graph [ ... ] in it")
        if self._asked and self._used is None and self._graph.n_edges:
            have = f"edges have {', '.join(map(shown, self._seen))}" if self._seen else "edges have no attributes"
            raise InputError(f"no edge has the attribute {self._asked!r}", path=self._path, hint=have)
        return self._graph.finish(directed=self._directed, kind="GML", weight=self._used, bipartite=self._bipartite)

    def _begin(self, key: str) -> None:
        if len(self._open) >= _DEEPEST:
            raise self._wrong(f"lists lie more than {_DEEPEST} deep in each other")
        if not self._open and key == "graph":
            self._n_graphs += 1
            if self._n_graphs > 1:
                raise InputError(
                    "there is a second graph in it", path=self._path, line=self._line, hint="keep one graph a file"
                )
        self._open.append(key)
        if self._in_record():
            self._record, self._begun = {}, self._line

    def _in_record(self) -> bool:
        """Whether the values that come are those of a node or an edge."""
        return len(self._open) == 2 and self._open[0] == "graph" and self._open[1] in ("node", "edge")

    def _value(self, key: str, token: bytes) -> None:
        if self._open == ["graph"]:
            if key.lower() == "directed":
                self._directed = _text(token).strip() not in ("0", "")
        elif self._in_record():
            name = key if key in self._weights else key.lower()
            if name in self._wanted:
                self._record.setdefault(name, _text(token))
            elif self._open[1] == "edge" and len(self._seen) < _LISTED:
                self._seen.setdefault(name)

    def _close(self) -> None:
        if self._key is not None:
            raise self._wrong(f"the key {shown(self._key)} has no value")
        if not self._open:
            raise self._wrong("a ] closes nothing")
        if self._open == ["graph", "node"]:
            self._add_node()
        elif self._open == ["graph", "edge"]:
            self._add_edge()
        self._open.pop()

    def _add_node(self) -> None:
        if "id" not in self._record:
            raise InputError("the node has no id", path=self._path, line=self._begun, hint=_FORM)
        label = self._record.get("label", self._record.get("name"))
        self._graph.add_node(_canonical(self._record["id"]), label, self._begun)

    def _add_edge(self) -> None:
        for end in ("source", "target"):
            if end not in self._record:
                raise InputError(f"the edge has no {end}", path=self._path, line=self._begun, hint=_FORM)
        name = next((name for name in self._weights if name in self._record), None)
        weight = None if name is None else as_weight(self._record[name], name, self._path, self._begun)
        self._used = self._used or name
        source, target = (_canonical(self._record[end]) for end in ("source", "target"))
        self._graph.add_edge(source, target, weight, self._begun)

    def _wrong(self, what: str) -> InputError:
        return InputError(what, path=self._path, line=self._line, hint=_FORM)


def _text(token: bytes) -> str:
    """The value of a token: strings without their quotes, their character references resolved."""
    if not token.startswith(b'"'):
        return printable(token)
    text = printable(token[1:-1])
    return html.unescape(text).replace("\0", "\\x00") if "&" in text else text


def _canonical(key: str) -> str:
    """An id as edges and nodes may both write it: 7, +7, 007 and 7.0 are one."""
    match = _WHOLE.match(key)
    if match is None:
        return key
    return match[2] if match[1] != "-" or match[2] == "0" else f"-{match[2]}"
