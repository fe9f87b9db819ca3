"""The document step and the word step of variational LDA, and what is scored with it, on a GPU; as in topic_cpu.

Topics are word-major: word_topic (V, T) float32. Documents are anywhere in a list of entries, so that some of them can
be taken without a copy. Sums have a fixed order: the same bits from run to run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tdtool.kernels.device_gpu import BLOCK, DeviceArray, Gpu
from tdtool.kernels.sparse_gpu import LONGEST, ByWord, add_segments

_FILE = "topic.cu"
#: Kinds of documents: warps that fit one, and bytes of shared memory that they have. A processor of an H100 holds 32
#: warps of each kind but the last (24). A document whose words do not fit in the last is read again and again.
ROOMS = ((1, 6144), (2, 13312), (4, 27648), (8, 56320), (8, 64512))
#: Bytes of shared memory that a block can have (A100: less, 163 KB).
_LARGEST = 232448
#: Floats of shared memory that a document takes besides its topics and words.
_PARTS = 32


@dataclasses.dataclass(frozen=True)
class Documents:
    """D documents: document d has the entries begins[d] ... ends[d]. Arrays of the GPU.

    begins, ends : (D,) int64, contiguous; indices : (nnz,) int32 below V; counts : (nnz,) float32.
    """

    begins: DeviceArray
    ends: DeviceArray
    indices: DeviceArray
    counts: DeviceArray

    @property
    def size(self) -> int:
        """D."""
        return int(self.begins.size)


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What the word step needs of fitted documents: their topics, in lists. Arrays of the GPU.

    places : (D, 2) int64, where a document's list begins, and how many topics it has, 0 where it was not fitted;
    lists : (n, 3) float32: a topic (the bits of an int32), its weight in the last sweep, and what takes own counts out;
    entries : (nnz, 2) float32: count / probability, and how much of the own counts was taken out, -1 for none.
    """

    places: DeviceArray
    lists: DeviceArray
    entries: DeviceArray


def document_step(
    gpu: Gpu,
    documents: Documents,
    active: DeviceArray,
    word_topic: DeviceArray,
    alpha: DeviceArray,
    start: DeviceArray | None,
    own: DeviceArray,
    *,
    max_iters: int,
    tol: float | np.float32,
    keep: bool = True,
    rooms: Sequence[tuple[int, int]] = ROOMS,
) -> tuple[DeviceArray, Fitted]:
    """Expected counts of every active document, (D, T) float32, and what the word step makes stats of.

    active : (D,) bool; word_topic : (V, T), alpha : (T,) float32; own : (2, T) float32 or (0, T), see
    topic_cpu.document_step. start : (D, T) float32, a warm start, or a first column below 0 for a cold one; None: all
    are cold, and documents that are not fitted get -1. keep : False where there is no word step to come; what is
    returned for it is empty. rooms : see ROOMS.

    The host waits for the numbers of documents of each kind. ValueError where T topics do not fit in shared memory.
    """
    n_topics, has_own = int(alpha.size), own.shape[0] > 0
    kinds = _rooms_for(n_topics, rooms, has_own)
    nothing = gpu.empty(1, np.float32)
    warm = nothing if start is None else start, np.int32(start is not None)
    expected = gpu.empty((documents.size, n_topics), np.float32)
    queue, counts, places = _plan(gpu, documents, active, n_topics, warm, has_own, kinds, expected)
    n_entries = int(documents.indices.size) if keep or has_own else 1
    fitted = Fitted(
        places,
        gpu.empty((counts.pop() if keep else 1, 3), np.float32),
        gpu.empty((n_entries, 2), np.float32),
    )
    model = word_topic, np.int32(n_topics), alpha, own if has_own else nothing, np.int32(has_own)
    results = *_arrays(fitted), np.int32(keep), np.int32(max_iters), np.float32(tol)
    first = 0
    for (n_warps, n_floats), last in zip(reversed(kinds), reversed(counts[: len(kinds)]), strict=True):
        entries = documents.begins, documents.ends, documents.indices, documents.counts, queue[first:last]
        given = *entries, *model, *warm, expected, *results, np.int32(n_floats)
        gpu.launch(_FILE, "document_fit", last - first, 32 * n_warps, *given, shared=4 * n_floats)
        first = last
    return expected, fitted


def word_step(gpu: Gpu, fitted: Fitted, by_word: ByWord, word_topic: DeviceArray, own: DeviceArray) -> DeviceArray:
    """(V, T) float32: the expected counts of the words by topic, of the last sweep of the documents' fit.

    by_word : of the entries of the fitted documents. own : what document_step had.
    """
    n_terms, n_topics = word_topic.shape
    xp = gpu.xp
    out = gpu.empty((n_terms, n_topics), np.float32)
    words = xp.arange(n_terms, dtype=np.int64)
    _gather(gpu, fitted, by_word, (by_word.indptr[:-1], by_word.indptr[1:], words), word_topic, own, out)
    long_rows = by_word.long_rows
    if long_rows is not None:
        parts = gpu.empty((long_rows.begins.size, n_topics), np.float32)
        segments = xp.arange(long_rows.begins.size, dtype=np.int64)
        words = long_rows.rows[xp.searchsorted(long_rows.indptr, segments, side="right") - 1]
        _gather(gpu, fitted, by_word, (long_rows.begins, long_rows.ends, words), word_topic, own, parts)
        add_segments(gpu, long_rows, parts, out)
    return out


def log_likelihood(gpu: Gpu, documents: Documents, word_topic: DeviceArray, theta: DeviceArray) -> DeviceArray:
    """(D, 2) float64: a document's sums of counts log(theta' word_topic_w) and of counts.

    theta : (D, T) float32, rows sum to 1.
    """
    out = gpu.empty((documents.size, 2), np.float64)
    entries = documents.begins, documents.ends, documents.indices, documents.counts
    model = word_topic, np.int32(word_topic.shape[1]), theta
    gpu.launch(_FILE, "log_likelihood", documents.size, 128, *entries, *model, out)
    return out


def split_counts(gpu: Gpu, documents: Documents, keys: DeviceArray) -> DeviceArray:
    """The seen half of the documents' counts, (nnz,) float32, as inference.split_counts; 0 in entries of no document.

    keys : (D,) uint64.
    """
    seen = gpu.zeros(documents.counts.size, np.float32)
    grid = -(-documents.size // BLOCK)
    entries = documents.begins, documents.ends, documents.counts
    gpu.launch(_FILE, "split_counts", grid, BLOCK, *entries, keys, np.int32(documents.size), seen)
    return seen


def _arrays(fitted: Fitted) -> tuple[DeviceArray, ...]:
    return tuple(getattr(fitted, field.name) for field in dataclasses.fields(fitted))


def _rooms_for(n_topics: int, rooms: Sequence[tuple[int, int]], has_own: bool) -> list[tuple[int, int]]:
    """(warps, floats) of the rooms, the last one such that a document of all topics has place there."""
    n_warps, n_bytes = rooms[-1]
    slots = -(-n_topics // 4) * 4

    def needed(n_warps: int) -> int:
        return _PARTS + slots * (3 + has_own + n_warps)

    while n_warps > 1 and 4 * needed(n_warps) > n_bytes:
        n_warps //= 2
    if 4 * needed(n_warps) > _LARGEST:
        raise ValueError(f"{n_topics} topics do not fit in the shared memory of a GPU")
    return [*((warps, size // 4) for warps, size in rooms[:-1]), (n_warps, max(n_bytes // 4, needed(n_warps)))]


def _plan(
    gpu: Gpu,
    documents: Documents,
    active: DeviceArray,
    n_topics: int,
    warm: tuple[DeviceArray, np.int32],
    has_own: bool,
    rooms: list[tuple[int, int]],
    expected: DeviceArray,
) -> tuple[DeviceArray, list[int], DeviceArray]:
    """Documents in the order in which to fit them; how many are of each kind or a later one, and all their topics.

    At last Fitted.places. Those that take the most room come first: no long one is left at the end.
    Writes the expected counts of those that are not fitted.
    """
    xp = gpu.xp
    sizes, keys = gpu.empty(documents.size, np.int32), gpu.empty(documents.size, np.int64)
    table = gpu.to_device(np.array([*rooms], np.int32).reshape(-1))
    given = documents.begins, documents.ends, active, np.int32(documents.size), np.int32(n_topics), *warm
    kinds = np.int32(has_own), table, np.int32(len(rooms))
    grid = -(-documents.size * 32 // BLOCK)
    gpu.launch(_FILE, "document_sizes", grid, BLOCK, *given, *kinds, expected, sizes, keys)
    if documents.size == 0:
        return sizes, [0] * (len(rooms) + 1), gpu.empty((0, 2), np.int64)
    queue = xp.argsort(keys, kind="stable")
    limits = gpu.to_device(-(np.arange(len(rooms), dtype=np.int64) << 40))
    at_least = xp.searchsorted(keys[queue], limits)
    n_members = sizes.astype(np.int64)
    ends = xp.cumsum(n_members)
    counts = gpu.to_host(xp.concatenate([at_least.astype(np.int64), ends[-1:]])).tolist()
    return queue.astype(np.int32), counts, xp.stack([ends - n_members, n_members], axis=1)


def _gather(
    gpu: Gpu,
    fitted: Fitted,
    by_word: ByWord,
    places: tuple[DeviceArray, DeviceArray, DeviceArray],
    word_topic: DeviceArray,
    own: DeviceArray,
    out: DeviceArray,
) -> None:
    """Rows of `out`: the sums over some entries of a word each. places : begins, ends, words, of each row."""
    n_topics = int(word_topic.shape[1])
    n_warps = next(n for n in (4, 2, 1) if 4 * n * n_topics <= ROOMS[-1][1] or n == 1)
    n_rows = int(out.shape[0])
    lists = np.int64(n_rows), np.int64(LONGEST), by_word.order, by_word.document, *_arrays(fitted)
    model = word_topic, np.int32(n_topics), own if own.shape[0] > 0 else fitted.lists
    grid, shared = -(-n_rows // n_warps), 4 * n_warps * n_topics
    gpu.launch(_FILE, "word_gather", grid, 32 * n_warps, *places, *lists, *model, out, shared=shared)
