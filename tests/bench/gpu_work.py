"""What the parts of the GPU benchmark share: their sizes, what they report, and how a call on a GPU is timed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
#: Ours on the GPU, and ours on the CPU of the same machine in the same process.
OURS, ON_CPU = "tdtool", "tdtool cpu"
_ROUNDS = 5
_LONG = 120.0


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What is measured. contract, tensors : sizes n; batch : matrices and n of batched products; rank : of Tucker in
    each mode; components : of CP; sketch : n, hash length, sketches; topics : corpus -> numbers of topics, "planted" of
    `documents` documents; cells : documents times topics up to which the CPU is timed too; graphs : names of
    community_cases; seconds : of timing for a short call; polish : passes of the shorter and the longer run."""

    contract: tuple[int, ...] = (16, 32, 64, 128, 256, 512)
    batch: tuple[tuple[int, int], ...] = ((16384, 16), (4096, 32), (512, 128), (32, 512))
    dtypes: tuple[str, ...] = ("float32", "float64")
    tensors: tuple[int, ...] = (100, 200, 400)
    rank: int = 20
    components: int = 10
    sketch: tuple[int, int, int] = (800, 1 << 13, 20)
    topics: tuple[tuple[str, tuple[int, ...]], ...] = (
        ("ap", (100,)),
        ("20news", (100,)),
        ("papers", (100, 1000)),
        ("planted", (100, 1000)),
    )
    documents: int = 1_000_000
    terms: int = 50_000
    cells: float = 1.2e8
    polish: tuple[int, int] = (2, 10)
    graphs: tuple[str, ...] = ("dblp", "mmsb m=1e7")
    communities: int = 50
    rates: int = 0
    seconds: float = 0.2


QUICK = Sizes(
    contract=(16, 64, 256),
    batch=((4096, 32),),
    tensors=(100, 200),
    sketch=(200, 1 << 12, 10),
    topics=(("ap", (100,)), ("20news", (100,))),
    documents=100_000,
    graphs=("mmsb m=1e5", "mmsb m=1e6"),
    seconds=0.05,
)
#: For tests, on an emulated GPU.
TOY = Sizes(
    contract=(3,),
    batch=((2, 3),),
    tensors=(6,),
    rank=2,
    components=2,
    sketch=(8, 64, 2),
    topics=(("planted", (3,)),),
    documents=30,
    terms=24,
    polish=(1, 2),
    graphs=("toy",),
    communities=2,
    rates=16,
    seconds=0.0,
)


@dataclasses.dataclass(frozen=True)
class Work:
    """One part's work. data : folder with text/ and graphs/; folder : for files of its own; threads : of the CPU."""

    sizes: Sizes
    data: Path
    folder: Path
    threads: int
    seed: int


@dataclasses.dataclass
class Found:
    """One figure: a system on a case. seconds is None where there is none; the note says why."""

    system: str
    case: str
    seconds: float | None = None
    quality: dict[str, float] = dataclasses.field(default_factory=dict)
    note: str = ""
    version: str = ""


#: A part: yields what it found as it goes.
Part = Callable[[Any, Work], Iterator[Found]]


def timed(call: Callable[[], Any], wait: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of one call until the GPU has done it, and what it returned."""
    wait()
    start = time.perf_counter()
    result = call()
    wait()
    return time.perf_counter() - start, result


def settled(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of one call on the CPU, and what it returned; the second one's, since loops may be compiled in the first,
    unless the first is long enough for that not to matter."""
    seconds, result = timed(call, lambda: None)
    return timed(call, lambda: None) if seconds < _LONG else (seconds, result)


def best_seconds(call: Callable[[], Any], wait: Callable[[], Any], seconds: float) -> float:
    """The least seconds of a call in any of several rounds of many calls, each round waited for once."""
    once = max(timed(call, wait)[0], 1e-6)
    repeats = max(1, int(seconds / _ROUNDS / once))

    def many() -> None:
        for _ in range(repeats):
            call()

    return min(timed(many, wait)[0] for _ in range(_ROUNDS if seconds else 1)) / repeats


def failed(system: str, case: str, error: Exception) -> Found:
    """A row that says what went wrong; the work goes on with the next."""
    text = " ".join(str(error).split())
    return Found(system, case, note=f"failed: {type(error).__name__}: {text[:200]}")


def attempts(system: str, case: str, measure: Callable[[], Found]) -> Found:
    """What `measure` finds, or a row with its error."""
    try:
        return measure()
    except Exception as error:
        return failed(system, case, error)


def largest_difference(found: Array, expected: Array) -> float:
    """max |found - expected| / max |expected|, 0 for nothing."""
    if expected.size == 0:
        return 0.0
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), np.finfo(float).tiny))
