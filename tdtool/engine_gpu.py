"""Maps a step over the documents of a corpus on a GPU; steps without a GPU version run on threads, as ever.

The corpus is cut into pieces of whole partitions by its entries alone, so that sums have the same bits on every GPU
that has the memory for them. Documents, and what steps keep of them, stay on the GPU where they all fit; otherwise
pieces come and go, the next one on its way while one is worked on, and what is kept lies in this process. Memory that
runs out all the same is no end either: what stays on the GPU leaves it, and then pieces are halved.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from tdtool import log
from tdtool.data.corpus import Corpus, Partials, Rows
from tdtool.data.device_rows import DevicePartials, DeviceRows, DeviceState, GpuSteps
from tdtool.data.steps import Needs, needs_of
from tdtool.engine import LocalEngine, Step, check_kept
from tdtool.kernels.device_gpu import DeviceArray, Gpu
from tdtool.kernels.sparse_gpu import segments

#: Entries and documents of a piece, unless one partition has more; the share of the memory for what stays on the GPU.
_ENTRIES, _DOCUMENTS, _SHARE = 1 << 25, 1 << 18, 0.6
_NOTE = "the GPU's memory is short: documents come to it in pieces, which takes longer (--gpu-memory is the limit)"

Result = TypeVar("Result")


@dataclasses.dataclass
class _Piece:
    """Documents start ... stop - 1; rows, state : what of them is on the GPU."""

    start: int
    stop: int
    rows: DeviceRows | None = None
    state: DeviceState = dataclasses.field(default_factory=dict)


class GpuEngine:
    """A GPU, and the engine of this process for what it does not do. steps : step of the CPU -> step of the GPU."""

    def __init__(self, local: LocalEngine, gpu: Gpu, steps: GpuSteps, *, entries: int = _ENTRIES) -> None:
        self.gpu, self.workers = gpu, local.workers
        self._local, self._steps = local, steps
        self._pieces = [_Piece(*ends) for ends in pieces_of(local.corpus, entries)]
        self._rows_bytes = _bytes_of_rows(local.corpus, len(self._pieces))
        self._resident = self._rows_bytes <= _SHARE * gpu.limit
        self._uploaded: dict[int, tuple[Any, Any]] = {}

    @property
    def corpus(self) -> Corpus:
        """The documents."""
        return self._local.corpus

    def __enter__(self) -> Self:
        self._local.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pieces.clear()
        self._uploaded.clear()
        try:
            self.gpu.free_unused()
        finally:
            self._local.__exit__(kind, error, trace)

    def map_reduce(self, step: Step, *parameters: Any, about: str = "") -> Partials:
        """Run the step on every piece; return the sum of its partials, and keep the state it returns."""
        if step not in self._steps:
            self._bring_back(needs_of(step).reads)
            found = self._local.map_reduce(step, *parameters, about=about)
            self._forget(needs_of(step).keeps)
            return found
        return tuple(self.gpu.to_host(array) for array in self.map_reduce_there(step, *parameters, about=about))

    def map_reduce_there(self, step: Step, *parameters: Any, about: str = "") -> DevicePartials:
        """The same for a step with a GPU version, the sum left on the GPU; parameters may lie there too."""
        total: DevicePartials = ()

        def add(partials: DevicePartials) -> None:
            nonlocal total
            if not total:
                total = partials
                return
            for here, more in zip(total, partials, strict=True):
                here += more

        for _ in self._run(step, parameters, about, add):
            pass
        return total

    def map(self, step: Step, *parameters: Any, about: str = "") -> Iterator[tuple[int, Partials]]:
        """(partition, partials) in the order of the partitions; keeps the state steps return.

        The partials of a GPU step that is mapped have one row per document.
        """
        if step not in self._steps:
            self._bring_back(needs_of(step).reads)
            yield from self._local.map(step, *parameters, about=about)
            self._forget(needs_of(step).keeps)
            return
        starts, index = self.corpus.starts, 0
        left: Partials = ()
        for piece, found in self._run(step, parameters, about, self._to_host):
            left = tuple(np.concatenate(pair) for pair in zip(left, found, strict=True)) if left else found
            while index < starts.size - 1 and starts[index + 1] <= piece.stop:
                size = starts[index + 1] - starts[index]
                yield index, tuple(array[:size] for array in left)
                index, left = index + 1, tuple(array[size:] for array in left)

    def states(self, name: str) -> Iterator[tuple[Rows, NDArray[Any]]]:
        """Each partition with one of its kept arrays, in order."""
        self._bring_back((name,))
        yield from self._local.states(name)

    def drop(self, *names: str) -> None:
        """Forget arrays that steps kept."""
        self._forget(names)
        self._local.drop(*names)

    def evict(self) -> None:
        """Take everything off the GPU; from now on pieces come and go."""
        if self._resident:
            log.note(_NOTE)
        self._bring_back({name for piece in self._pieces for name in piece.state})
        for piece in self._pieces:
            piece.rows, piece.state = None, {}
        self._resident = False
        self._uploaded.clear()
        self.gpu.free_unused()

    def _run(
        self, step: Step, parameters: tuple[Any, ...], about: str, treat: Callable[[DevicePartials], Result]
    ) -> Iterator[tuple[_Piece, Result]]:
        """(piece, what `treat` makes of its partials), piece by piece; where memory runs out, there is made some."""
        done, reads = 0, self._kept_names(needs_of(step).reads)
        with log.task(about or step.__name__, total=self.corpus.n_documents) as bar:
            while done < len(self._pieces):
                for piece, result in self._until_full(done, step, parameters, treat, reads):
                    done += 1
                    yield piece, result
                    bar.advance(piece.stop - piece.start)
                if done < len(self._pieces):
                    self._make_room(done)

    def _until_full(
        self,
        done: int,
        step: Step,
        parameters: tuple[Any, ...],
        treat: Callable[[DevicePartials], Result],
        reads: list[str],
    ) -> Iterator[tuple[_Piece, Result]]:
        """The same for the pieces from number `done` on, until memory does not do for one. reads : what is kept."""
        needs, gpu_step = needs_of(step), self._steps[step]
        try:
            given = self._upload(parameters)
            load = self._resident_pieces if self._resident else self._streamed_pieces
            for piece, rows, state in load(done, needs, reads):
                partials, kept = gpu_step(self.gpu, rows, state, *given)
                check_kept(kept, needs, step)
                self._keep(piece, kept)
                result = treat(partials)
                del partials, kept, rows, state
                yield piece, result
        except MemoryError:
            return

    def _resident_pieces(
        self, done: int, needs: Needs, reads: list[str]
    ) -> Iterator[tuple[_Piece, DeviceRows, DeviceState]]:
        for piece in self._pieces[done:]:
            if needs.rows and piece.rows is None:
                host = self.corpus.between(piece.start, piece.stop)
                arrays = [self.gpu.to_device(array) for array in (host.indptr, host.indices, host.counts)]
                piece.rows = self._rows(piece, host.indptr, *arrays)
            state = {name: piece.state.get(name) for name in reads}
            for name in reads:
                if state[name] is None:
                    state[name] = self.gpu.to_device(self._local.kept_rows(name, piece.start, piece.stop))
            yield piece, piece.rows or self._no_rows(piece), state

    def _streamed_pieces(
        self, done: int, needs: Needs, reads: list[str]
    ) -> Iterator[tuple[_Piece, DeviceRows, DeviceState]]:
        waiting: list[NDArray[np.int64]] = []

        def batches() -> Iterator[tuple[NDArray[Any], ...]]:
            for piece in self._pieces[done:]:
                kept = tuple(self._local.kept_rows(name, piece.start, piece.stop) for name in reads)
                if needs.rows:
                    host = self.corpus.between(piece.start, piece.stop)
                    waiting.append(host.indptr)
                    kept = (host.indptr, host.indices, host.counts, *kept)
                yield kept

        for piece, arrays in zip(self._pieces[done:], self.gpu.stream(batches()), strict=True):
            rows = self._rows(piece, waiting.pop(0), *arrays[:3]) if needs.rows else self._no_rows(piece)
            yield piece, rows, dict(zip(reads, arrays[3 if needs.rows else 0 :], strict=True))

    def _rows(
        self, piece: _Piece, host: NDArray[np.int64], indptr: DeviceArray, indices: DeviceArray, counts: DeviceArray
    ) -> DeviceRows:
        """The documents of a piece from their arrays on the GPU. host : indptr."""
        whole = np.issubdtype(counts.dtype, np.integer)
        long_rows = segments(self.gpu, host)
        return DeviceRows(
            *(self.gpu, piece.start, piece.stop - piece.start, self.corpus.n_terms, self.corpus.n_documents),
            *(indptr, indices, counts.astype(np.float32, copy=False), whole, long_rows),
        )

    def _no_rows(self, piece: _Piece) -> DeviceRows:
        nothing = np.zeros(1, np.int64)
        arrays = (self.gpu.zeros(size, kind) for size, kind in ((1, np.int64), (0, np.int32), (0, np.float32)))
        return self._rows(piece, nothing, *arrays)

    def _upload(self, parameters: tuple[Any, ...]) -> tuple[Any, ...]:
        """The parameters with their arrays on the GPU. Dataclasses stay there while every step gets the same one."""
        known = {id(value): self._uploaded.get(id(value)) for value in parameters}
        self._uploaded = {key: pair for key, pair in known.items() if pair is not None}
        return tuple(self._uploaded_one(value) for value in parameters)

    def _uploaded_one(self, value: Any) -> Any:
        if isinstance(value, np.ndarray) and not self.gpu.owns(value):
            return self.gpu.to_device(value)
        if not dataclasses.is_dataclass(value) or isinstance(value, type):
            return value
        if id(value) not in self._uploaded:
            fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
            arrays = {
                name: self.gpu.to_device(array) for name, array in fields.items() if isinstance(array, np.ndarray)
            }
            self._uploaded[id(value)] = value, dataclasses.replace(value, **arrays)
        return self._uploaded[id(value)][1]

    def _keep(self, piece: _Piece, state: DeviceState) -> None:
        """Keep what a step has left for a piece: on the GPU while there is room, else in this process."""
        held = self._rows_bytes + sum(array.nbytes for other in self._pieces for array in other.state.values())
        for name, array in state.items():
            old = piece.state.pop(name, None)
            held += array.nbytes - (0 if old is None else old.nbytes)
            if self._resident and held <= _SHARE * self.gpu.limit:
                piece.state[name] = array
            else:
                held -= array.nbytes
                self._local.keep_rows(name, piece.start, self.gpu.to_host(array))

    def _kept_names(self, names: tuple[str, ...]) -> list[str]:
        """Those that steps have kept of all documents, wherever they are."""
        keeps = self._local.keeps
        return [
            name
            for name in names
            if all(name in piece.state or keeps(name, piece.start, piece.stop) for piece in self._pieces)
        ]

    def _bring_back(self, names: Any) -> None:
        """Let this process have what steps kept on the GPU."""
        for piece in self._pieces:
            for name in piece.state.keys() & set(names):
                self._local.keep_rows(name, piece.start, self.gpu.to_host(piece.state[name]))

    def _forget(self, names: tuple[str, ...]) -> None:
        for piece, name in itertools.product(self._pieces, names):
            piece.state.pop(name, None)

    def _to_host(self, partials: DevicePartials) -> Partials:
        return tuple(self.gpu.to_host(array) for array in partials)

    def _make_room(self, done: int) -> None:
        """After a failure at piece number `done`: clear the GPU, or else halve this piece and all later ones."""
        if self._resident:
            self.evict()
            return
        self._uploaded.clear()
        self.gpu.free_unused()
        waiting = self._pieces[done:]
        if all(piece.stop - piece.start < 2 for piece in waiting):
            raise MemoryError("the GPU's memory does not do for a single document")
        halves = [half for piece in waiting for half in _halves(piece)]
        log.detail(f"GPU: {len(halves)} pieces in place of {len(waiting)}")
        self._pieces[done:] = halves


def pieces_of(corpus: Corpus, entries: int) -> list[tuple[int, int]]:
    """(first document, end) of pieces: as many whole partitions as have at most `entries` entries, at least one."""
    starts = [int(start) for start in corpus.starts]
    pieces, first = [], 0
    for index in range(1, len(starts)):
        after = starts[min(index + 1, len(starts) - 1)]
        too_many = corpus.indptr[after] - corpus.indptr[first] > entries or after - first > _DOCUMENTS
        if index == len(starts) - 1 or too_many:
            pieces.append((first, starts[index]))
            first = starts[index]
    return pieces


def _halves(piece: _Piece) -> list[_Piece]:
    middle = (piece.start + piece.stop) // 2
    ends = [(piece.start, middle), (middle, piece.stop)]
    return [_Piece(*pair) for pair in ends if pair[0] < pair[1]]


def _bytes_of_rows(corpus: Corpus, n_pieces: int) -> int:
    """Bytes of all documents on a GPU, with their entries by word."""
    return 16 * (corpus.n_entries + corpus.n_documents) + 8 * n_pieces * (corpus.n_terms + 1)
