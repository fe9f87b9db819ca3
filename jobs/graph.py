"""Passes over the edges of a graph on the executors of a Spark cluster, with the bits of those on threads.

A task takes the rows of some nodes from the file that holds them all (graph_rows.py) and calls the kernel that threads
call; the model's arrays are broadcast, results come back in order, in jobs that the driver has room for. What costs
more to send than to compute stays on the driver's threads: both give the same numbers, so this changes the time alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from tdtool import log
from tdtool.data.edge_passes import EdgePasses, Product, Rows
from tdtool.errors import UsageError
from tdtool.jobs.broadcasts import Broadcasts, Parameters, size_of
from tdtool.jobs.graph_rows import Block, Order, RowsFile, Scale, cut_nodes
from tdtool.jobs.progress import carried, run_job
from tdtool.kernels import threads

if TYPE_CHECKING:
    from pyspark import SparkContext

    from tdtool.data.graph import Graph

Floats = NDArray[np.float64]
#: Spark's setting that says where passes are made: "auto" (by their cost), "always" or "never" on the executors.
SPREAD = "spark.tdtool.spread"
_WAYS = ("auto", "always", "never")
#: Bytes of results that one job may send to the driver.
_MOST_COLLECTED = 1 << 27
#: Blocks for each core that works: cores are not all equally fast.
_BLOCKS_A_SLOT = 3
# Seconds of one core, in a pass for an end of an edge, and there for a community of a dense row or an entry of a sparse
# one; in a product for an end. Seconds of a job; bytes that come or go in a second. Good for the order of magnitude.
_END_SECONDS, _COMMUNITY_SECONDS, _ENTRY_SECONDS, _PRODUCT_SECONDS = 1e-7, 1e-9, 1e-8, 3e-9
_JOB_SECONDS, _BYTES_A_SECOND = 0.1, 2e8


class SparkEdges:
    """Looks at the edges of graphs on executors; an EdgeEngine. A graph's rows leave the driver once.

    spread : see SPREAD; without, as the context's settings say.
    """

    def __init__(self, context: SparkContext, *, spread: str | None = None) -> None:
        self._context = context
        self._broadcasts = Broadcasts(context)
        self._stack = contextlib.ExitStack()
        self._files: list[tuple[tuple[Any, ...], RowsFile]] = []
        self.spread = spread or context.getConf().get(SPREAD, "auto")
        if self.spread not in _WAYS:
            raise UsageError(f"{SPREAD} is {self.spread!r}", hint=f"known are {', '.join(_WAYS)}")
        self.slots = max(context.defaultParallelism, 1)
        self.on_executors = self.on_driver = 0

    def __enter__(self) -> Self:
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="tdtool-edges-")))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:  # after an error the context goes, and all that it holds
            self._broadcasts.close()
        self._files.clear()
        self._stack.close()
        if self.on_driver and not self.on_executors:
            log.note("the graph is so small that this process has looked at its edges sooner than executors would have")
        else:
            log.detail(f"passes over the edges: {self.on_executors:,} on executors, {self.on_driver:,} here")

    def passes(self, graph: Graph) -> EdgePasses:
        """See EdgeEngine."""
        return SparkPasses(self, graph)

    def pays(self, seconds: float, n_bytes: float) -> bool:
        """Whether work of so many seconds of a core is done sooner by executors, who are sent and send so much."""
        if self.spread == "auto":
            far = seconds / self.slots + n_bytes / _BYTES_A_SECOND + _JOB_SECONDS
            pays = far < seconds / threads.current()
        else:
            pays = self.spread == "always"
        self.on_executors, self.on_driver = self.on_executors + pays, self.on_driver + (not pays)
        return pays

    def file_of(self, graph: Graph) -> RowsFile:
        """The rows of a graph where executors find them; written and sent when they are first asked for."""
        rows = (graph.indptr, graph.neighbours, graph.weights)
        for known, file in self._files:
            if all(one is other for one, other in zip(known, rows, strict=True)):
                return file
        with log.task("sending the graph"):
            file = RowsFile.written(graph, self._folder)
            if not str(self._context.master).startswith("local"):  # those executors see the same disk
                self._context.addFile(file.path)
        self._files.append((rows, file))
        return file

    def run(self, name: str, blocks: list[Block], result_bytes: float, *parameters: Any) -> Iterator[Any]:
        """What a pass (see `_look`) returns for each of the blocks, in order. result_bytes : of all of them."""
        given = self._broadcasts.send((blocks[0].order, *parameters), lasting=False)
        task = carried(functools.partial(_look, name, given))
        plain = [dataclasses.replace(block, order=None) for block in blocks]
        at_once = max(int(len(blocks) * _MOST_COLLECTED / max(result_bytes, 1)), 1)
        for first in range(0, len(plain), at_once):
            some = plain[first : first + at_once]
            job = self._context.parallelize(some, len(some)).map(task)
            yield from run_job(self._context, "looking at the edges", job.collect)
        self._broadcasts.forget()


class SparkPasses:
    """Passes over one graph; see data.edge_passes.EdgePasses."""

    def __init__(self, engine: SparkEdges, graph: Graph) -> None:
        self._engine = engine
        self._here = Rows(graph.indptr, graph.neighbours, graph.weights)
        self._whole, nodes = _origin(graph)
        self._order = None if nodes is None else Order(secrets.token_hex(8), nodes)

    def dense(
        self, strengths: NDArray[np.float32], background: float, propensity: Floats
    ) -> tuple[NDArray[np.float32], Floats]:
        """See EdgePasses."""
        seconds = self._n_ends * (_END_SECONDS + _COMMUNITY_SECONDS * strengths.shape[1])
        result_bytes = strengths.nbytes + propensity.nbytes
        if not self._pays(seconds, strengths.nbytes + result_bytes):
            return self._here.dense(strengths, background, propensity)
        expected, shares = np.empty_like(strengths), np.empty(len(propensity))
        blocks = self._blocks(result_bytes)
        found = self._engine.run("dense", blocks, result_bytes, strengths, background, propensity)
        for block, (part, some) in zip(blocks, found, strict=True):
            expected[block.first : block.last], shares[block.first : block.last] = part, some
        return expected, shares

    def sparse(
        self,
        indptr: NDArray[np.int64],
        support: NDArray[np.int32],
        strengths: Floats,
        background: float,
        propensity: Floats,
        *,
        scored: bool = False,
    ) -> tuple[Floats, Floats, Floats]:
        """See EdgePasses."""
        model: Any = (indptr, support, strengths, background, propensity)
        result_bytes = strengths.nbytes + 2 * propensity.nbytes
        if not self._pays(self._entry_seconds(strengths), size_of_all(model) + result_bytes):
            return self._here.sparse(*model, scored=scored)
        expected = np.empty_like(strengths)
        shares, gains = np.empty(len(propensity)), np.empty(len(propensity))
        blocks = self._blocks(result_bytes)
        found = self._engine.run("scored" if scored else "sparse", blocks, result_bytes, *model)
        for block, (part, some, gain) in zip(blocks, found, strict=True):
            expected[indptr[block.first] : indptr[block.last]] = part
            shares[block.first : block.last], gains[block.first : block.last] = some, gain
        return expected, shares, gains

    def gains(
        self,
        indptr: NDArray[np.int64],
        support: NDArray[np.int32],
        strengths: Floats,
        background: float,
        propensity: Floats,
    ) -> Floats:
        """See EdgePasses."""
        model: Any = (indptr, support, strengths, background, propensity)
        if not self._pays(2 * self._entry_seconds(strengths), size_of_all(model) + strengths.nbytes):
            return self._here.gains(*model)
        found = self._engine.run("gains", self._blocks(strengths.nbytes), strengths.nbytes, *model)
        return np.concatenate(list(found))

    def product(self, scale: Floats, dtype: np.dtype[Any]) -> Product | None:
        """See EdgePasses."""
        n_bytes = len(scale) * dtype.itemsize
        if not self._pays(self._n_ends * _PRODUCT_SECONDS, 2 * n_bytes):
            return None
        diagonal, blocks = Scale(secrets.token_hex(8), dtype.str, scale), self._blocks(n_bytes)

        def multiply(vector: NDArray[Any]) -> NDArray[Any]:
            # A copy: Lanczos goes on writing to the memory that the vector lies in.
            return np.concatenate(list(self._engine.run("product", blocks, n_bytes, diagonal, np.array(vector))))

        return multiply

    def _pays(self, seconds: float, n_bytes: float) -> bool:
        return self._n_ends > 0 and self._engine.pays(seconds, n_bytes)

    @property
    def _n_ends(self) -> int:
        return self._here.neighbours.size

    def _entry_seconds(self, strengths: Floats) -> float:
        width = len(strengths) / max(len(self._here.indptr) - 1, 1)
        return self._n_ends * (_END_SECONDS + _ENTRY_SECONDS * width)

    def _blocks(self, result_bytes: float) -> list[Block]:
        """Rows of about as much work each, for all cores in each of the jobs that the results are fetched by."""
        jobs = int(result_bytes // _MOST_COLLECTED) + 1
        file = self._engine.file_of(self._whole)
        cuts = cut_nodes(self._here.indptr, _BLOCKS_A_SLOT * self._engine.slots * jobs)
        return [Block(file, self._order, first, last) for first, last in cuts]


def size_of_all(parameters: tuple[Any, ...]) -> int:
    """Bytes of the arrays among what a pass is given."""
    return sum(map(size_of, parameters))


def _origin(graph: Graph) -> tuple[Graph, NDArray[np.int64] | None]:
    """The graph whose rows executors get, and which of its nodes make this one, None: all, as they are."""
    nodes: NDArray[np.int64] | None = None
    while graph.cut is not None:
        rows = (graph.indptr, graph.neighbours, graph.weights)
        if not all(one is other for one, other in zip(graph.cut.rows, rows, strict=True)):
            break
        nodes = graph.cut.nodes if nodes is None else graph.cut.nodes[nodes]
        graph = graph.cut.whole
    return graph, nodes


def _look(name: str, given: Parameters, block: Block) -> Any:
    """A task: one pass over one block of rows."""
    order, *model = given.values()
    block = dataclasses.replace(block, order=order)
    with threads.using(1):
        if name == "product":
            return block.product(*model)
        rows = block.rows()
        if name == "scored":
            return rows.sparse(*model, scored=True)
        return getattr(rows, name)(*model)
