"""The engine of a GPU: its sums are those of threads, whatever memory there is, and nothing it keeps is lost."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tdtool.data.corpus import Corpus, Partials, Rows, State
from tdtool.data.device_rows import DevicePartials, DeviceRows, DeviceState
from tdtool.data.planted import planted_lda
from tdtool.data.steps import step
from tdtool.engine import LocalEngine
from tdtool.engine_gpu import GpuEngine, pieces_of
from tests.emulated_gpu import EmulatedGpu, needs_compiler

pytestmark = needs_compiler

STARTS = np.array([0, 1, 9, 30, 31, 40, 58, 60])


@pytest.fixture
def corpus() -> Corpus:
    """60 documents over 11 words, in 7 uneven partitions."""
    shape = {"alpha0": 0.5, "mean_length": 9, "topic_concentration": 0.2}
    planted = planted_lda(60, 11, 4, **shape, rng=np.random.default_rng(0))
    return dataclasses.replace(Corpus.from_csr(planted.document_term), starts=STARTS)


@dataclasses.dataclass(frozen=True)
class Given:
    """A parameter with an array and a number."""

    weights: NDArray[np.float64]
    power: int


@step(reads=("total", "never"), keeps=("total",))
def running_step(rows: Rows, state: State, given: Given, held_out: NDArray[np.int64]) -> tuple[Partials, State]:
    """Partials: the words' weighted sums, and how many documents; keeps sums of each document over the passes."""
    owner = np.repeat(np.arange(rows.n_documents), np.diff(rows.indptr))
    here = np.bincount(owner, rows.counts * given.weights[rows.indices], minlength=rows.n_documents)
    total = state["total"] + here[:, None] if "total" in state else here[:, None] + 100
    assert "never" not in state
    words = np.bincount(rows.indices, rows.counts * total[owner, 0] ** given.power, minlength=given.weights.size)
    return (words, np.array([rows.n_documents - np.isin(held_out - rows.start, range(rows.n_documents)).sum()])), {
        "total": total
    }


def running_gpu(
    gpu: Any, rows: DeviceRows, state: DeviceState, given: Given, held_out: Any
) -> tuple[DevicePartials, DeviceState]:
    """running_step, with entries by word."""
    xp, words = gpu.xp, rows.by_word
    weights = (
        rows.counts[words.order] * given.weights[xp.searchsorted(words.indptr[1:], xp.arange(rows.n_entries), "right")]
    )
    here = xp.bincount(words.document, weights, minlength=rows.n_documents)[:, None]
    total = state["total"] + here if "total" in state else here + 100
    assert "never" not in state
    powers = rows.counts * total[xp.searchsorted(rows.indptr[1:], xp.arange(rows.n_entries), "right"), 0] ** given.power
    kept = rows.n_documents - xp.sum(rows.contains(held_out))
    total = gpu.to_device(gpu.to_host(total))  # an allocation that can fail
    return (xp.bincount(rows.indices, powers, minlength=given.weights.size), xp.stack([kept])), {"total": total}


@step(reads=("total",), rows=False)
def shares_step(rows: Rows, state: State, n: int) -> tuple[Partials, State]:
    """Without the documents: the sum of what was kept."""
    return (np.array([state["total"].sum()]), np.zeros(n, np.int64)), {}


def shares_gpu(gpu: Any, rows: DeviceRows, state: DeviceState, n: int) -> tuple[DevicePartials, DeviceState]:
    """The sum of what was kept, and which things this piece takes."""
    taken = gpu.zeros(n, np.int64)
    taken[rows.share(n)] += 1
    return (gpu.xp.stack([state["total"].sum()]), taken), {}


@step(reads=("total",))
def each_step(rows: Rows, state: State) -> tuple[Partials, State]:
    """One row per document."""
    return (state["total"], np.diff(rows.indptr)), {}


def each_gpu(gpu: Any, rows: DeviceRows, state: DeviceState) -> tuple[DevicePartials, DeviceState]:
    """each_step."""
    return (state["total"], rows.indptr[1:] - rows.indptr[:-1]), {}


@step(keeps=("total",))
def restart_step(rows: Rows, state: State) -> tuple[Partials, State]:
    """Keeps other sums; has no GPU version."""
    return (np.zeros(1),), {"total": np.full((rows.n_documents, 1), 7.0)}


STEPS = {running_step: running_gpu, shares_step: shares_gpu, each_step: each_gpu}
GIVEN = Given(np.arange(1.0, 12.0), 2)
HELD_OUT = np.array([0, 8, 9, 59])


def run(engine: Any) -> list[Any]:
    """Three passes with state, one without documents, and one document by document."""
    found = [engine.map_reduce(running_step, GIVEN, HELD_OUT) for _ in range(3)]
    shares = engine.map_reduce(shares_step, 8)
    each = list(engine.map(each_step))
    assert [index for index, _ in each] == list(range(7))
    assert [array.shape[0] for _, (array, _) in each] == np.diff(STARTS).tolist()
    together = [np.concatenate([partials[i] for _, partials in each]) for i in range(2)]
    return [*(array for pair in found for array in pair), shares[0], *together]


def on_threads(corpus: Corpus) -> list[Any]:
    with LocalEngine(corpus, workers=2, memory=1 << 30) as engine:
        return run(engine)


def on_gpu(
    corpus: Corpus, gpu: EmulatedGpu, *, entries: int = 150, steps: Any = STEPS, call: Callable[[Any], Any] = run
) -> Any:
    with GpuEngine(LocalEngine(corpus, workers=2, memory=1 << 30), gpu, steps, entries=entries) as engine:
        return call(engine)


def check_same(found: list[Any], wanted: list[Any]) -> None:
    for here, there in zip(found, wanted, strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-12)
        assert here.dtype == there.dtype


@pytest.mark.parametrize("entries", [1, 50, 150, 1 << 20])
@pytest.mark.parametrize("limit", [1 << 30, 2000])
def test_the_same_as_on_threads(corpus: Corpus, entries: int, limit: int) -> None:
    check_same(on_gpu(corpus, EmulatedGpu(limit=limit), entries=entries), on_threads(corpus))


def test_the_same_bits_whether_documents_stay_or_stream(corpus: Corpus) -> None:
    resident, streamed = (on_gpu(corpus, EmulatedGpu(limit=limit)) for limit in (1 << 30, 2000))
    assert all(np.array_equal(*pair) for pair in zip(resident, streamed, strict=True))


def test_some_state_stays_and_some_does_not(corpus: Corpus) -> None:
    size = 16 * (corpus.n_entries + corpus.n_documents) + 8 * 12 * len(pieces_of(corpus, 50))
    found = on_gpu(corpus, EmulatedGpu(limit=int(size / 0.6) + 400), entries=50)
    check_same(found, on_threads(corpus))


def test_a_failure_anywhere_changes_nothing(corpus: Corpus) -> None:
    wanted = on_threads(corpus)
    for limit in (1 << 30, 2000):
        counted = EmulatedGpu(limit=limit)
        on_gpu(corpus, counted, entries=50)
        assert counted._allocations > 40
        for place in range(1, counted._allocations + 1):
            check_same(on_gpu(corpus, EmulatedGpu(limit=limit, fail_at=place), entries=50), wanted)


class SmallGpu(EmulatedGpu):
    """Finds no memory for arrays of more than `largest` bytes."""

    def __init__(self, largest: int) -> None:
        super().__init__()
        self.largest = largest

    def to_device(self, array: Any) -> Any:
        if array.nbytes > self.largest:
            raise MemoryError("too large")
        return super().to_device(array)


def test_pieces_are_halved_until_they_fit(corpus: Corpus) -> None:
    check_same(on_gpu(corpus, SmallGpu(160), entries=1 << 20), on_threads(corpus))
    with pytest.raises(MemoryError, match="single document"):
        on_gpu(corpus, SmallGpu(80))


def test_every_thing_is_taken_by_one_piece(corpus: Corpus) -> None:
    def call(engine: GpuEngine) -> Any:
        engine.map_reduce(running_step, GIVEN, HELD_OUT)
        return [engine.map_reduce(shares_step, n)[1] for n in (0, 1, 7, 500)]

    for gpu in (EmulatedGpu(), SmallGpu(160)):
        assert all(np.all(taken == 1) for taken in on_gpu(corpus, gpu, entries=50, call=call))


@pytest.mark.parametrize("limit", [1 << 30, 2000])
@pytest.mark.parametrize("missing", [running_step, shares_step, each_step])
def test_steps_without_a_gpu_version_share_what_is_kept(corpus: Corpus, limit: int, missing: Any) -> None:
    steps = {here: there for here, there in STEPS.items() if here is not missing}
    check_same(on_gpu(corpus, EmulatedGpu(limit=limit), steps=steps), on_threads(corpus))


@pytest.mark.parametrize("limit", [1 << 30, 2000])
def test_what_threads_keep_replaces_what_the_gpu_kept(corpus: Corpus, limit: int) -> None:
    def call(engine: Any) -> Any:
        found = []
        for restart in (engine.map_reduce, lambda step: list(engine.map(step))):
            engine.map_reduce(running_step, GIVEN, HELD_OUT)
            restart(restart_step)
            found += [*engine.map_reduce(shares_step, 8)[:1], *engine.map_reduce(running_step, GIVEN, HELD_OUT)]
        return found

    with LocalEngine(corpus, workers=1, memory=1 << 30) as engine:
        check_same(on_gpu(corpus, EmulatedGpu(limit=limit), call=call), call(engine))


@pytest.mark.parametrize("limit", [1 << 30, 2000])
def test_what_is_dropped_is_forgotten(corpus: Corpus, limit: int) -> None:
    def call(engine: GpuEngine) -> Any:
        first = engine.map_reduce(running_step, GIVEN, HELD_OUT)[0]
        engine.map_reduce(running_step, GIVEN, HELD_OUT)
        kept = np.concatenate([array for _, array in engine.states("total")])
        engine.drop("total")
        return first, engine.map_reduce(running_step, GIVEN, HELD_OUT)[0], kept

    first, again, kept = on_gpu(corpus, EmulatedGpu(limit=limit), call=call)
    assert np.array_equal(first, again)
    counts = corpus.matrix().toarray()
    np.testing.assert_allclose(kept[:, 0], 100 + 2 * counts @ GIVEN.weights, rtol=1e-12)


def test_dataclasses_are_uploaded_once_while_they_come_again(corpus: Corpus) -> None:
    gpu = EmulatedGpu()

    def call(engine: GpuEngine) -> Any:
        engine.map_reduce(running_step, GIVEN, HELD_OUT)
        sizes = []
        for given in (GIVEN, GIVEN, dataclasses.replace(GIVEN), GIVEN):
            before = gpu._allocations
            engine.map_reduce(running_step, given, HELD_OUT)
            sizes.append(gpu._allocations - before)
        return sizes

    same, again, other, back = on_gpu(corpus, gpu, call=call)
    assert (same, other) == (again, back)
    assert other == same + 1


def test_parameters_and_sums_may_lie_on_the_gpu(corpus: Corpus) -> None:
    gpu = EmulatedGpu()

    def call(engine: GpuEngine) -> Any:
        return engine.map_reduce_there(running_step, GIVEN, gpu.to_device(HELD_OUT))

    words, number = on_gpu(corpus, gpu, call=call)
    assert gpu.owns(words)
    check_same([gpu.to_host(words), gpu.to_host(number)], on_threads(corpus)[:2])


def test_a_step_keeps_what_it_has_declared(corpus: Corpus) -> None:
    def wrong(gpu: Any, rows: DeviceRows, state: DeviceState) -> tuple[DevicePartials, DeviceState]:
        return (gpu.zeros(1, np.float64),), {"other": gpu.zeros(rows.n_documents, np.float64)}

    with pytest.raises(ValueError, match="keeps other"):
        on_gpu(corpus, EmulatedGpu(), steps={each_step: wrong}, call=lambda engine: engine.map_reduce(each_step))


@pytest.mark.parametrize("entries", [1, 60, 100, 1 << 20])
def test_pieces_are_whole_partitions(corpus: Corpus, entries: int) -> None:
    pieces = pieces_of(corpus, entries)
    assert [first for first, _ in pieces] == [0, *(last for _, last in pieces[:-1])]
    assert pieces[-1][1] == 60
    for first, last in pieces:
        assert {first, last} <= set(STARTS.tolist())
        inside = sum(first < start < last for start in STARTS)
        assert inside == 0 or corpus.indptr[last] - corpus.indptr[first] <= entries
    assert len(pieces) == {1: 7, 1 << 20: 1}.get(entries, len(pieces))
