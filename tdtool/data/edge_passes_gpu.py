"""Passes over the edges of a graph on a GPU: the graph goes there once, or in parts where it does not fit.

The model's arrays come from the host and results go back, unless they are arrays of the GPU already: then nothing of
the size nodes x communities moves. A node's row has the same bits whatever the parts are.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tdtool import log
from tdtool.data.edge_passes import EdgePasses, Product, Rows
from tdtool.kernels import blocks_gpu
from tdtool.kernels.blocks_gpu import Pieces, cut_long_rows
from tdtool.kernels.device_gpu import DeviceArray, Gpu

if TYPE_CHECKING:
    from tdtool.data.graph import Graph

Floats = NDArray[np.float64]
_T = TypeVar("_T")
#: Ends of edges below which a part is not made smaller: memory is short for something else then.
_LEAST_ENDS = 1 << 10
_COLUMNS = 32


class GpuEdgeEngine:
    """Looks at the edges of graphs on a GPU; an EdgeEngine."""

    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu
        self._made: weakref.WeakSet[GpuPasses] = weakref.WeakSet()

    def passes(self, graph: Graph) -> EdgePasses:
        """See EdgeEngine."""
        made = GpuPasses(self, Rows(graph.indptr, graph.neighbours, graph.weights))
        self._made.add(made)
        return made

    def evict(self, kept: GpuPasses) -> bool:
        """Take all other graphs off the GPU; whether there was one. They come back when they are looked at again."""
        released = [passes.release() for passes in self._made if passes is not kept]
        return any(released)


def on_gpu(graph: Graph, gpu: Gpu) -> Graph:
    """The graph with passes over its edges on the GPU, and over those of graphs that are made of it."""
    return dataclasses.replace(graph, engine=GpuEdgeEngine(gpu))


def gpu_of(graph: Any) -> Gpu | None:
    """The GPU that looks at the edges of a graph, None where none does."""
    engine = getattr(graph, "engine", None)
    return engine.gpu if isinstance(engine, GpuEdgeEngine) else None


@dataclasses.dataclass(frozen=True)
class _Part:
    """Rows of nodes first, first + 1, ... on the GPU."""

    first: int
    edges: tuple[DeviceArray, DeviceArray, DeviceArray | None]
    pieces: Pieces

    @property
    def rows(self) -> slice:
        return slice(self.first, self.first + len(self.edges[0]) - 1)


class GpuPasses:
    """Passes over one graph, whose rows are all of `here`; see data.edge_passes.EdgePasses. n_parts : in a pass."""

    def __init__(self, engine: GpuEdgeEngine, here: Rows) -> None:
        self._engine, self._gpu, self._here = engine, engine.gpu, here
        self._borders = [0, len(here.indptr) - 1]
        self._whole: _Part | None = None
        self._sent: dict[str, tuple[Any, DeviceArray]] = {}

    @property
    def n_parts(self) -> int:
        """Parts that the rows are looked at in; 1 where the graph stays on the GPU."""
        return len(self._borders) - 1

    def release(self) -> bool:
        """Take the graph off the GPU; whether it, or a part of a model, was there."""
        was_there = self._whole is not None or bool(self._sent)
        self._whole = None
        self._sent.clear()
        return was_there

    def dense(
        self, strengths: NDArray[np.float32], background: float, propensity: Floats
    ) -> tuple[NDArray[np.float32], Floats]:
        """See EdgePasses; strengths of the GPU give results of the GPU."""
        gpu, k = self._gpu, strengths.shape[1]
        stays = gpu.owns(strengths)
        if not stays and k > blocks_gpu.MOST_COLUMNS:
            return self._here.dense(strengths, background, propensity)

        def look() -> tuple[Any, Any]:
            model = blocks_gpu.padded_columns(gpu, strengths if stays else gpu.to_device(strengths))
            theta = self._device("propensity", propensity)
            expected, shares = gpu.empty(model.shape, np.float32), gpu.empty(len(theta), np.float64)
            for part in self._parts():
                out = expected[part.rows], shares[part.rows]
                given: Any = {"first": part.first, "pieces": part.pieces, "out": out}
                blocks_gpu.dense_pass(gpu, *part.edges, model, background, theta, **given)
            if stays:
                return expected if expected.shape[1] == k else gpu.xp.ascontiguousarray(expected[:, :k]), shares
            return np.ascontiguousarray(gpu.to_host(expected)[:, :k]), gpu.to_host(shares)

        return self._as_it_fits(look)

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
        """See EdgePasses; supports and strengths of the GPU give results of the GPU.

        ValueError: on the GPU, of a node in more communities than a kernel takes.
        """
        model: Any = (indptr, support, strengths, background, propensity)
        stays = self._gpu.owns(strengths)
        if not stays and _widest(indptr) > blocks_gpu.MOST_ENTRIES:
            return self._here.sparse(*model, scored=scored)

        def look() -> tuple[Floats, Floats, Floats]:
            found = [blocks_gpu.sparse_pass(*given, **how, scored=scored) for given, how in self._sparse_parts(*model)]
            expected, shares, gains = (self._joined(list(parts), stays) for parts in zip(*found, strict=True))
            return expected, shares, gains

        return self._as_it_fits(look)

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
        if _widest(indptr) > blocks_gpu.MOST_ENTRIES:
            return self._here.gains(*model)

        def look() -> Floats:
            found = [blocks_gpu.entry_gains(*given, **how) for given, how in self._sparse_parts(*model)]
            gains: Floats = self._joined(found, False)
            return gains

        return self._as_it_fits(look)

    def product(self, scale: Floats, dtype: np.dtype[Any]) -> Product | None:
        """See EdgePasses; it takes (n,) or (n, b) of the GPU too, which then give arrays of the GPU."""
        gpu = self._gpu

        def multiply(vector: NDArray[Any]) -> NDArray[Any]:
            if gpu.owns(vector):
                return self._as_it_fits(lambda: self._multiplied(scale, vector, dtype))
            return self._as_it_fits(lambda: gpu.to_host(self._multiplied(scale, gpu.to_device(vector), dtype)))

        return multiply

    def _multiplied(self, scale: Floats, vector: DeviceArray, dtype: np.dtype[Any]) -> DeviceArray:
        gpu, diagonal = self._gpu, self._device("scale", scale)
        columns = vector.astype(dtype, copy=False).reshape(len(scale), -1)
        scaled = gpu.xp.ascontiguousarray(columns * diagonal.astype(dtype)[:, None])
        out = gpu.empty(scaled.shape, dtype)
        for part in self._parts():
            given: Any = {"first": part.first, "pieces": part.pieces}
            if scaled.shape[1] <= _COLUMNS:
                blocks_gpu.product(gpu, *part.edges, diagonal, scaled, **given, out=out[part.rows])
                continue
            for start in range(0, scaled.shape[1], _COLUMNS):
                some = gpu.xp.ascontiguousarray(scaled[:, start : start + _COLUMNS])
                rows = blocks_gpu.product(gpu, *part.edges, diagonal, some, **given)
                out[part.rows, start : start + _COLUMNS] = rows
        return out.reshape(vector.shape)

    def _sparse_parts(
        self, indptr: NDArray[np.int64], support: NDArray[np.int32], strengths: Floats, background: float, theta: Floats
    ) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
        """What a sparse kernel takes for each part."""
        where = self._device("indptr", indptr), self._device("support", support)
        stays = self._gpu.owns(strengths)
        values = strengths if stays else self._gpu.to_device(strengths)
        model = (*where, values, background, self._device("propensity", theta))
        widest = blocks_gpu.widest_support(self._gpu, indptr) if stays else _widest(indptr)
        for part in self._parts():
            how = {"first": part.first, "pieces": part.pieces, "widest": widest}
            yield (self._gpu, *part.edges, *model), how

    def _joined(self, parts: list[DeviceArray], stays: bool) -> Any:
        """The parts after each other, here or there."""
        if stays:
            return parts[0] if len(parts) == 1 else self._gpu.xp.concatenate(parts)
        return self._gpu.to_host(parts[0]) if len(parts) == 1 else np.concatenate(list(map(self._gpu.to_host, parts)))

    def _device(self, name: str, array: Any) -> DeviceArray:
        """The array on the GPU, where it stays until another one of this name is asked for."""
        if self._gpu.owns(array):
            return array
        known = self._sent.get(name)
        if known is None or known[0] is not array:
            self._sent.pop(name, None)
            known = self._sent[name] = (array, self._gpu.to_device(array))
        return known[1]

    def _parts(self) -> Iterator[_Part]:
        """The rows on the GPU, in order: all of them, or one part after the other."""
        if self.n_parts == 1:
            if self._whole is None:
                self._whole = self._part(0, tuple(map(self._gpu.to_device, self._host_part(0, self._borders[-1]))))
            yield self._whole
            return
        batches = (self._host_part(first, last) for first, last in zip(self._borders, self._borders[1:], strict=False))
        for first, arrays in zip(self._borders, self._gpu.stream(batches), strict=False):
            yield self._part(first, arrays)

    def _host_part(self, first: int, last: int) -> tuple[NDArray[Any], ...]:
        rows = self._here
        indptr = rows.indptr[first : last + 1]
        ends = slice(int(indptr[0]), int(indptr[-1]))
        weights = () if rows.weights is None else (rows.weights[ends],)
        return (indptr - indptr[0], rows.neighbours[ends], *weights)

    def _part(self, first: int, arrays: tuple[DeviceArray, ...]) -> _Part:
        last = first + len(arrays[0]) - 1
        indptr = self._here.indptr[first : last + 1]
        edges = (arrays[0], arrays[1], arrays[2] if len(arrays) > 2 else None)
        return _Part(first, edges, cut_long_rows(self._gpu, indptr - indptr[0]))

    def _as_it_fits(self, look: Callable[[], _T]) -> _T:
        """What `look` returns; where memory ends, it looks again without other graphs, then at smaller parts.

        MemoryError: they are small.
        """
        while True:
            is_alone = False
            try:
                return look()
            except MemoryError:
                is_alone = not self._engine.evict(self)
                if is_alone and not self._can_be_cut():
                    raise
            if is_alone:  # here nothing of the attempt is held by its traceback
                self._cut()
            self._gpu.free_unused()

    def _can_be_cut(self) -> bool:
        ends = np.diff(self._here.indptr[self._borders])
        return bool(ends.max(initial=0) > _LEAST_ENDS) and self.n_parts < self._borders[-1]

    def _cut(self) -> None:
        """Twice as many parts, of about as many edges each; three at first: two of them are there at a time."""
        self.release()
        indptr = self._here.indptr
        n_parts = 3 if self.n_parts == 1 else 2 * self.n_parts
        wanted = np.linspace(0, indptr[-1], n_parts + 1)[1:-1]
        inner = np.searchsorted(indptr, wanted)
        self._borders = np.unique([0, *inner, len(indptr) - 1]).tolist()
        if n_parts == 3:
            log.note("the graph does not fit in the memory of the GPU: its edges go there in parts, pass by pass")


def _widest(indptr: NDArray[np.int64]) -> int:
    return int(np.diff(indptr).max(initial=0))
