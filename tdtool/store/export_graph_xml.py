"""Graphs with attributes of their nodes as GraphML and GEXF 1.3, written a block of nodes or edges at a time.

Nodes are named by their number and labelled with their name, so that two nodes may have one name. What XML cannot hold
(control characters) is left out of the texts.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any
from xml.sax.saxutils import escape

from numpy.typing import NDArray

#: The attributes' kinds in both formats.
KINDS = {"text": "string", "whole": "integer", "number": "double"}

_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ENTITIES = {'"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
_SCHEMA = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation='
_GRAPHML_HEAD = (
    '<graphml xmlns="http://graphml.graphdrawing.org/xmlns" '
    f'{_SCHEMA}"http://graphml.graphdrawing.org/xmlns http://graphml.graphdrawing.org/xmlns/1.0/graphml.xsd">\n'
)
_GEXF_HEAD = f'<gexf xmlns="http://gexf.net/1.3" {_SCHEMA}"http://gexf.net/1.3 http://gexf.net/1.3/gexf.xsd" '


@dataclasses.dataclass(frozen=True)
class DrawnGraph:
    """What is written. attributes : name -> a key of KINDS; weighted : whether edges have weights; description : text.

    nodes : gives blocks (labels, values), values one list an attribute, None for a node without; edges : gives blocks
    (tails, heads, weights or None), arrays; every edge once.
    """

    attributes: dict[str, str]
    nodes: Callable[[], Iterable[tuple[list[str], list[list[Any]]]]]
    edges: Callable[[], Iterable[tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]]]
    weighted: bool
    description: str = ""


def write_graphml(path: Path, graph: DrawnGraph) -> None:
    """GraphML 1.0 (http://graphml.graphdrawing.org). The label is an attribute "label", as Gephi and igraph expect."""
    with _opened(path) as file:
        file.write(_GRAPHML_HEAD)
        if graph.description:
            file.write(f"<desc>{escaped(graph.description)}</desc>\n")
        kinds = {"label": "text", **graph.attributes}
        for i, (name, kind) in enumerate(kinds.items()):
            # GraphML calls int what GEXF calls integer.
            told = KINDS[kind].replace("integer", "int")
            file.write(f'<key id="d{i}" for="node" attr.name="{name}" attr.type="{told}"/>\n')
        if graph.weighted:
            file.write('<key id="w" for="edge" attr.name="weight" attr.type="double"/>\n')
        file.write('<graph edgedefault="undirected">\n')
        starts = [f'<data key="d{i}">' for i in range(len(kinds))]
        for number, label, values in _nodes(graph):
            told = "".join(
                f"{start}{value}</data>" for start, value in zip(starts, [label, *values], strict=True) if value != ""
            )
            file.write(f'<node id="n{number}">{told}</node>\n')
        for _, tail, head, weight in _edges(graph):
            data = f'<data key="w">{weight}</data>' if weight else ""
            file.write(f'<edge source="n{tail}" target="n{head}">{data}</edge>\n')
        file.write("</graph>\n</graphml>\n")


def write_gexf(path: Path, graph: DrawnGraph) -> None:
    """GEXF 1.3 (https://gexf.net), for Gephi 0.9.3 and later."""
    with _opened(path) as file:
        file.write(f'{_GEXF_HEAD}version="1.3">\n<meta><creator>tdtool</creator>')
        file.write(f"<description>{escaped(graph.description)}</description></meta>\n")
        file.write('<graph defaultedgetype="undirected" mode="static">\n<attributes class="node">\n')
        for i, (name, kind) in enumerate(graph.attributes.items()):
            file.write(f'<attribute id="{i}" title="{name}" type="{KINDS[kind]}"/>\n')
        file.write("</attributes>\n<nodes>\n")
        starts = [f'<attvalue for="{i}" value="' for i in range(len(graph.attributes))]
        for number, label, values in _nodes(graph):
            told = "".join(f'{start}{value}"/>' for start, value in zip(starts, values, strict=True) if value != "")
            file.write(f'<node id="{number}" label="{label}"><attvalues>{told}</attvalues></node>\n')
        file.write("</nodes>\n<edges>\n")
        for number, tail, head, weight in _edges(graph):
            told = f' weight="{weight}"' if weight else ""
            file.write(f'<edge id="{number}" source="{tail}" target="{head}"{told}/>\n')
        file.write("</edges>\n</graph>\n</gexf>\n")


def escaped(text: str) -> str:
    """Text as it may stand in an element or in an attribute of XML 1.0."""
    return escape(_NO_XML.sub("", text), _ENTITIES)


def _opened(path: Path) -> IO[str]:
    file = path.open("w", encoding="utf-8", newline="\n")
    file.write('<?xml version="1.0" encoding="UTF-8"?>\n')
    return file


def _nodes(graph: DrawnGraph) -> Iterator[tuple[int, str, list[str]]]:
    """Number, label and values of each node, as they are written; "" for none."""
    number = 0
    for labels, columns in graph.nodes():
        texts = [map(_text, column) for column in columns]
        for label, *values in zip(labels, *texts, strict=True):
            yield number, escaped(label), values
            number += 1


def _text(value: Any) -> str:
    return "" if value is None else escaped(value) if isinstance(value, str) else str(value)


def _edges(graph: DrawnGraph) -> Iterator[tuple[int, int, int, str]]:
    """Number, ends and weight ("" for none) of each edge."""
    number = 0
    for tails, heads, weights in graph.edges():
        told = [""] * len(tails) if weights is None else shortest(weights)
        for tail, head, weight in zip(tails.tolist(), heads.tolist(), told, strict=True):
            yield number, tail, head, weight
            number += 1


def shortest(values: NDArray[Any]) -> list[str]:
    """Numbers with the digits that their type holds, and no more: 0.1 where float32 says 0.1."""
    texts: list[str] = values.astype(str).tolist()
    return texts
