"""Edge lists as text: lines of two names and perhaps a weight, streamed in blocks, names made numbers on the way."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from tdtool.config import GraphConfig
from tdtool.data.ledger import Ledger
from tdtool.data.readers.counts_batches import whole_lines
from tdtool.data.readers.graph_names import NameCodes, NumberCodes
from tdtool.data.readers.graph_table import EdgePlan, is_number, plan_edges, weight_of_attributes
from tdtool.data.readers.graph_types import FoundGraph, check_memory, edge_bytes
from tdtool.data.readers.streams import Input
from tdtool.data.readers.text_batches import BYTE_ORDER_MARK, printable
from tdtool.errors import InputError
from tdtool.kernels import edges_cpu

#: Reason in the ledger.
NO_NAME = "an end of the edge has no name"


def read_edges(source: Input, kind: str, config: GraphConfig, memory: int, ledger: Ledger) -> FoundGraph:
    """The edges of a text file. kind : edges, csv or tsv. Lines without a name for an end go to the ledger.

    Raises InputError, with the line, for lines of different lengths and weights that are negative or no number;
    ResourceError for more edges than fit.
    """
    plan = plan_edges(source, kind, config)
    reading = EdgeReading(source.path, plan, memory)
    with source.open() as stream:
        stream.read(rows_begin(source, plan))
        reading.run(whole_lines(stream, source.path, plan.lines + 1))
    for line in joined(reading.unnamed, np.int64).tolist():
        ledger.skip(NO_NAME, source.path, line)
    tails, heads = (joined(parts, np.int32) for parts in (reading.tails, reading.heads))
    return FoundGraph(
        tails=tails,
        heads=heads,
        names=reading.codes.names(),
        weights=joined(reading.weights, np.float64) if plan.layout.weight >= 0 else None,
        directed=plan.directed,
        bipartite=plan.bipartite,
        description=plan.description,
        notes=(*plan.notes, *missing_edges(plan.promised, tails.size)),
    )


def rows_begin(source: Input, plan: EdgePlan) -> int:
    """Bytes before the first line of edges: a byte order mark, comments and a header."""
    return plan.size + (len(BYTE_ORDER_MARK) if source.head.startswith(BYTE_ORDER_MARK) else 0)


def missing_edges(promised: int | None, there: int) -> tuple[str, ...]:
    """What is to be said of edges that the comments promise and that are not there."""
    if promised is None or there >= promised:
        return ()
    return (f"its comments promise {promised:,} edges and {there:,} are there: is it complete?",)


def joined(parts: list[NDArray], dtype: type) -> NDArray:
    """The parts as one array; the list is emptied, so that they are not held twice for longer than needed."""
    whole = np.concatenate(parts) if parts else np.zeros(0, dtype)
    parts.clear()
    return whole


@dataclasses.dataclass
class EdgeReading:
    """One pass over lines of edges. codes : names and their numbers so far; tails, heads, weights : the edges, in
    parts; unnamed : lines left out, an end of whose edge has no name, in parts."""

    path: str
    plan: EdgePlan
    memory: int

    def __post_init__(self) -> None:
        self.codes: NumberCodes | NameCodes = NumberCodes() if self.plan.numbers else NameCodes()
        self.tails: list[NDArray[np.int32]] = []
        self.heads: list[NDArray[np.int32]] = []
        self.weights: list[NDArray[np.float64]] = []
        self.unnamed: list[NDArray[np.int64]] = []
        self._n_edges = 0

    def run(self, blocks: Iterable[tuple[NDArray[np.uint8], int]]) -> None:
        """Read to the end. blocks : whole lines, with the number of the first of them."""
        for buffer, first in blocks:
            self._block(buffer, first)

    def _block(self, buffer: NDArray[np.uint8], first: int) -> None:
        """Some whole lines; where a name turns out to be no number, the rest is read as text."""
        numbers = isinstance(self.codes, NumberCodes)
        block = edges_cpu.parse_edges(buffer, self.plan.layout, numbers=numbers)
        self._take(block, buffer, first)
        if block.status == edges_cpu.NOT_A_NUMBER:
            self.codes = NameCodes.of_numbers(self.codes.names())
            rest = buffer[block.stop :]
            self._take_rest(rest, first + block.line)
        elif block.status != edges_cpu.OK:
            raise self._wrong_line(block, buffer, first + block.line)

    def _take_rest(self, buffer: NDArray[np.uint8], first: int) -> None:
        block = edges_cpu.parse_edges(buffer, self.plan.layout, numbers=False)
        self._take(block, buffer, first)
        if block.status != edges_cpu.OK:
            raise self._wrong_line(block, buffer, first + block.line)

    def _take(self, block: edges_cpu.EdgeBlock, buffer: NDArray[np.uint8], first: int) -> None:
        """Add the edges of a block."""
        self._fill_hard(block, buffer, first)
        self._check_weights(block, first)
        m = block.lines.size
        self._n_edges += m
        needed = edge_bytes(self._n_edges, weighted=self.plan.layout.weight >= 0) + self.codes.n_bytes
        check_memory(needed, self.memory, f"a graph of more than {self._n_edges:,} edges", self.path)
        codes = self.codes.add(block.ends, buffer, self.plan.layout.quote)
        weights = block.weights
        unnamed = (codes < 0).any(axis=0) if isinstance(self.codes, NameCodes) else np.zeros(0, np.bool_)
        if bool(unnamed.any()):
            self.unnamed.append(block.lines[unnamed] + first)
            codes = codes[:, ~unnamed]
            weights = weights[~unnamed] if weights.size else weights
        self.tails.append(codes[0].copy())
        self.heads.append(codes[1].copy())
        self.weights.append(weights.copy())

    def _fill_hard(self, block: edges_cpu.EdgeBlock, buffer: NDArray[np.uint8], first: int) -> None:
        """Read the weights that the kernel left."""
        for row, start, stop in block.hard.T.tolist():
            text = printable(buffer[start:stop].tobytes())
            if text.startswith("{"):
                block.weights[row] = weight_of_attributes(text)
            elif is_number(text):
                block.weights[row] = float(text)
            else:
                what = f"the weight {text[:40]!r} is not a number" if text else "the weight is missing"
                hint = "--weight none leaves the weights out"
                raise InputError(what, path=self.path, line=first + int(block.lines[row]), hint=hint)

    def _check_weights(self, block: edges_cpu.EdgeBlock, first: int) -> None:
        wrong = np.flatnonzero(~((block.weights >= 0) & (block.weights < np.inf)))
        if wrong.size:
            value = float(block.weights[wrong[0]])
            what = f"the weight {value:g} is negative" if value < 0 else f"the weight is {value:g}"
            line = first + int(block.lines[wrong[0]])
            hint = "weights are from 0 on; --weight none leaves them out, --weight COLUMN takes another column"
            raise InputError(what, path=self.path, line=line, hint=hint)

    def _wrong_line(self, block: edges_cpu.EdgeBlock, buffer: NDArray[np.uint8], line: int) -> InputError:
        if block.status == edges_cpu.UNCLOSED:
            hint = "close it, or double the quotes that are part of a name"
            return InputError("a quote in this line is not closed", path=self.path, line=line, hint=hint)
        n, usual = block.n_fields, self.plan.layout.n_columns
        what = f"the line has {n:,} {'column' if n == 1 else 'columns'}, the others have {usual:,}"
        hint = "correct the line; a name with blanks or commas in it needs quotes, or tabs between the columns"
        if self.plan.numbers and self.plan.layout.separator == edges_cpu.BLANKS:
            hint = "a line holds one edge; lists of neighbours are read with --format metis"
        return InputError(what, path=self.path, line=line, hint=hint)
