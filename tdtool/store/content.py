"""What values must be, beyond their types: shares that sum to 1, entries that lie within the vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from tdtool.store.reader import Reader

_SUM_TOLERANCE = 1e-3
_LENGTH_TOLERANCE = {8: 1e-6, 4: 1e-3}  # by the bytes of a number
_BLOCK = 1 << 22
_SIDE_MOST = 1 << 27  # pixels of an image's side
#: No held-out documents; missing values; small components; steps that diverged, norms unknown, nothing that is scored.
_MAY_LACK = (
    *("selection/", "scores/", "embedding/", "steps/loss", "steps/gradient_norm"),
    *("epochs/train_loss", "epochs/loss", "epochs/top"),
)


class Finding(NamedTuple):
    """Something wrong. where : the array, or "file"."""

    where: str
    what: str


def check_content(reader: Reader) -> list[Finding]:
    """Everything wrong with the values, read a block at a time."""
    findings = [finding for path in reader.paths() for finding in _not_finite(reader, path)]
    for check in _CHECKS.get(reader.schema.name, ()):
        findings += check(reader)
    return findings


def check_counts(reader: Reader) -> Iterator[Finding]:
    """A corpus that kernels can walk without leaving their arrays."""
    n_entries, n_terms = reader.shape("counts/indices")[0], reader.shape("vocabulary/term")[0]
    indptr = reader.rows("counts/indptr", 0, reader.shape("counts/indptr")[0])
    starts = reader.rows("partitions/start", 0, reader.shape("partitions/start")[0])
    if not _climbs(indptr, n_entries):
        yield Finding("counts/indptr", f"does not climb from 0 to {n_entries:,}")
    if not _climbs(starts, indptr.size - 1):
        yield Finding("partitions/start", f"does not climb from 0 to {indptr.size - 1:,}")
    for start in range(0, n_entries, _BLOCK):
        stop = min(start + _BLOCK, n_entries)
        indices, counts = reader.rows("counts/indices", start, stop), reader.rows("counts/data", start, stop)
        if indices.min() < 0 or indices.max() >= n_terms:
            yield Finding("counts/indices", f"names terms outside the vocabulary of {n_terms:,}")
            return
        if counts.min() < 1:
            yield Finding("counts/data", "has counts below 1")
            return


def _climbs(values: np.ndarray, end: int) -> bool:
    return values.size > 0 and values[0] == 0 and values[-1] == end and bool(np.all(values[1:] >= values[:-1]))


def _not_finite(reader: Reader, path: str) -> Iterator[Finding]:
    wanted = reader.spec(path).kind == "f" and not path.startswith((*_MAY_LACK, *_unknown(reader)))
    if wanted and not all(np.isfinite(block).all() for _, block in reader.blocks(path)):
        yield Finding(path, "has values that are not finite")


def _unknown(reader: Reader) -> tuple[str, ...]:
    """Arrays of what cannot be known of a result that was made from moments: there were no documents, no edges."""
    if reader.schema.name == "tdtool.topics" and reader.shape("documents/id")[0] == 0:
        return ("topics/npmi", "topics/umass", "topics/cv")
    if reader.schema.name == "tdtool.communities" and "graph/neighbours" not in reader:
        return ("communities/conductance", "communities/density")
    return ()


def _shares(path: str) -> Callable[[Reader], Iterator[Finding]]:
    def check(reader: Reader) -> Iterator[Finding]:
        for start, block in reader.blocks(path):
            wrong = (np.abs(block.sum(axis=1, dtype=np.float64) - 1) > _SUM_TOLERANCE) | (block < 0).any(axis=1)
            if wrong.any():
                yield Finding(path, f"row {start + int(wrong.argmax()):,} is no distribution: it does not sum to 1")
                return

    return check


def check_weights(reader: Reader) -> Iterator[Finding]:
    """Components as they are ordered and scaled: by weight, none negative, columns of length 1 (or 0)."""
    weights = reader.rows("components/weight", 0, reader.shape("components/weight")[0])
    if np.any(weights < 0) or np.any(np.diff(weights) > 0):
        yield Finding("components/weight", "is not descending and at least 0")
    for path in _factors(reader):
        squares = np.zeros(weights.size)
        for _, block in reader.blocks(path):
            squares += np.square(block, dtype=np.float64).sum(axis=0)
        if np.any((np.abs(squares - 1) > _tolerance(reader, path)) & (squares > 0)):
            yield Finding(path, "has columns whose length is not 1")


def check_orthonormal(reader: Reader) -> Iterator[Finding]:
    """Factors of a Tucker decomposition have orthonormal columns."""
    for path in _factors(reader):
        other = path.replace("factors/", "imaginary/")
        gram = np.zeros((reader.shape(path)[1],) * 2, np.complex128)
        for start, real in reader.blocks(path):
            block = real.astype(np.complex128)
            if other in reader:
                block += 1j * reader.rows(other, start, start + len(real))
            gram += block.conj().T @ block
        if np.any(np.abs(gram - np.eye(len(gram))) > _tolerance(reader, path)):
            yield Finding(path, "has columns that are not orthonormal")


def check_correlation(reader: Reader) -> Iterator[Finding]:
    """Correlations of factors: symmetric, 1 with themselves."""
    path = "factors/correlation"
    matrix = reader.rows(path, 0, reader.shape(path)[0])
    if np.any(np.abs(matrix - matrix.T) > _SUM_TOLERANCE) or np.any(np.abs(matrix.diagonal() - 1) > _SUM_TOLERANCE):
        yield Finding(path, "is no matrix of correlations")


def check_graph(reader: Reader) -> Iterator[Finding]:
    """A graph that kernels can walk: neighbours ascend within a node, and every edge is there from both ends."""
    there = [path for path in ("graph/indptr", "graph/neighbours") if path in reader]
    if len(there) == 1:
        yield Finding(there[0], "is half a graph")
    if len(there) < 2:
        return
    path, n_ends = "graph/neighbours", reader.shape("graph/neighbours")[0]
    indptr = reader.rows("graph/indptr", 0, reader.shape("graph/indptr")[0])
    if not _climbs(indptr, n_ends):
        yield Finding("graph/indptr", f"does not climb from 0 to {n_ends:,}")
        return
    n_nodes = indptr.size - 1
    seen = [0, 0]  # sums over all edges, seen from their lower and from their upper ends
    for start, owners, others in _owned(reader, path, indptr):
        if others.min() < 0 or others.max() >= n_nodes or (others == owners).any():
            yield Finding(path, f"names nodes outside the {n_nodes:,}, or a node as its own neighbour")
            return
        if _falls(owners, others):
            yield Finding(path, "does not ascend within a node")
            return
        fresh = slice(1 if start else 0, None)
        owners, others = owners[fresh], others[fresh]
        keys = _mixed(_mixed(np.minimum(owners, others)) + np.maximum(owners, others).astype(np.uint64))
        if "graph/weights" in reader:
            weights = reader.rows("graph/weights", start, start + owners.size).astype(np.float32)
            if not np.all((weights > 0) & np.isfinite(weights)):
                yield Finding("graph/weights", "has weights that are not above 0")
                return
            keys = _mixed(keys + weights.view(np.uint32))
        for end, chosen in enumerate((owners < others, owners > others)):
            seen[end] = (seen[end] + int(keys[chosen].sum(dtype=np.uint64))) % 2**64
    if seen[0] != seen[1]:
        yield Finding(path, "holds edges from one end only, or with another weight at the other")


def check_sides(reader: Reader) -> Iterator[Finding]:
    """Nodes of a bipartite graph: those of the first kind come first, and no edge stays within a kind."""
    wrong = list(check_side_order(reader))
    yield from wrong
    if wrong or "nodes/side" not in reader:
        return
    sides = reader.rows("nodes/side", 0, reader.shape("nodes/side")[0])
    indptr = reader.rows("graph/indptr", 0, sides.size + 1)
    for _, owners, others in _owned(reader, "graph/neighbours", indptr):
        if others.min() < 0 or others.max() >= sides.size:
            return  # check_graph says so
        if np.any(sides[owners] == sides[others]):
            yield Finding("graph/neighbours", "has an edge between nodes of one kind")
            return


def check_side_order(reader: Reader) -> Iterator[Finding]:
    """Nodes of a bipartite graph: those of the first kind come first."""
    if "nodes/side" in reader:
        sides = reader.rows("nodes/side", 0, reader.shape("nodes/side")[0])
        if sides.size and (int(sides.max()) > 1 or np.any(sides[1:] < sides[:-1])):
            yield Finding("nodes/side", "is not first 0 and then 1")


def _mixed(values: np.ndarray) -> np.ndarray:
    """Whole numbers stirred (splitmix64), so that sums over different edges differ : (n,) uint64."""
    values = values.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def check_partitions(reader: Reader) -> Iterator[Finding]:
    """Partitions of a graph store that follow each other."""
    n_nodes = reader.shape("graph/indptr")[0] - 1
    if not _climbs(reader.rows("partitions/start", 0, reader.shape("partitions/start")[0]), n_nodes):
        yield Finding("partitions/start", f"does not climb from 0 to {n_nodes:,}")


def check_memberships(reader: Reader) -> Iterator[Finding]:
    """Shares of each node that sum to 1, in communities that are there and as large as is said."""
    sizes = np.zeros(reader.shape("communities/size")[0], np.int64)
    wrong = list(_check_rows(reader, "membership", "weight", sizes))
    yield from wrong
    stored = reader.rows("communities/size", 0, sizes.size)
    if not wrong and (np.any(stored != sizes) or np.any(np.diff(stored) > 0)):
        yield Finding("communities/size", "is not how many nodes each has, descending")


def check_mixture(reader: Reader) -> Iterator[Finding]:
    """Graded shares of each node, which sum to 1 too."""
    if "mixture/share" in reader:
        yield from _check_rows(reader, "mixture", "share", np.zeros(reader.shape("communities/size")[0], np.int64))


def _check_rows(reader: Reader, group: str, values: str, sizes: np.ndarray) -> Iterator[Finding]:
    """Rows of communities with shares; `sizes` (k,) grows by the entries of each community."""
    path, n_communities = f"{group}/community", sizes.size
    n_entries = reader.shape(path)[0]
    indptr = reader.rows(f"{group}/indptr", 0, reader.shape(f"{group}/indptr")[0])
    if not _climbs(indptr, n_entries):
        yield Finding(f"{group}/indptr", f"does not climb from 0 to {n_entries:,}")
        return
    for start, owners, communities in _owned(reader, path, indptr):
        if communities.min() < 0 or communities.max() >= n_communities:
            yield Finding(path, f"names communities outside the {n_communities:,}")
            return
        if _falls(owners, communities):
            yield Finding(path, "does not ascend within a node")
            return
        sizes += np.bincount(communities[1 if start else 0 :], minlength=n_communities)
    yield from _check_shares(reader, f"{group}/{values}", indptr)


def _check_shares(reader: Reader, path: str, indptr: np.ndarray) -> Iterator[Finding]:
    sums = np.zeros(indptr.size - 1)
    for start, owners, shares in _owned(reader, path, indptr):
        fresh = slice(1 if start else 0, None)
        sums += np.bincount(owners[fresh], shares[fresh].astype(np.float64), minlength=sums.size)
        if shares.min() <= 0:
            yield Finding(path, "has shares that are not above 0")
            return
    if np.any((np.abs(sums - 1) > _SUM_TOLERANCE) & (np.diff(indptr) > 0)):
        yield Finding(path, "has nodes whose shares do not sum to 1")


def check_links(reader: Reader) -> Iterator[Finding]:
    """Chances of a link between communities: symmetric, none below 0."""
    path = "communities/link_probability"
    if path in reader:
        matrix = reader.rows(path, 0, reader.shape(path)[0])
        if np.any(np.abs(matrix - matrix.T) > _SUM_TOLERANCE) or np.any(matrix < 0):
            yield Finding(path, "is not symmetric and at least 0")


def _owned(reader: Reader, path: str, indptr: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(start, rows (b,), values (b,)) a block at a time; all but the first begin with the last value before them."""
    n_entries = reader.shape(path)[0]
    for start in range(0, n_entries, _BLOCK):
        first, stop = max(start - 1, 0), min(start + _BLOCK, n_entries)
        owners = np.searchsorted(indptr, np.arange(first, stop), side="right") - 1
        yield start, owners, reader.rows(path, first, stop)


def _falls(owners: np.ndarray, values: np.ndarray) -> bool:
    """Whether `values` do not ascend somewhere within one owner."""
    return bool(np.any((np.diff(values) <= 0) & (np.diff(owners) == 0)))


def _tolerance(reader: Reader, path: str) -> float:
    return _LENGTH_TOLERANCE.get(np.dtype(reader.dtype(path)).itemsize, 1e-1)


def _factors(reader: Reader) -> list[str]:
    return [path for path in reader.paths() if path.startswith("factors/")]


def check_moments(reader: Reader) -> Iterator[Finding]:
    """Moments of a corpus: frequencies, a whitening and the way back, a symmetric tensor or a sketch."""
    frequencies = reader.rows("first/moment", 0, reader.shape("first/moment")[0])
    if np.any(frequencies < 0) or abs(frequencies.sum() - 1) > _SUM_TOLERANCE:
        yield Finding("first/moment", "is no distribution: it does not sum to 1")
    n_directions = reader.shape("first/whitened")[0]
    eigenvalues = reader.rows("second/eigenvalue", 0, reader.shape("second/eigenvalue")[0])
    if np.any(np.diff(eigenvalues) > 0) or eigenvalues.size < n_directions or np.any(eigenvalues[:n_directions] <= 0):
        yield Finding("second/eigenvalue", "is not descending and above 0 for each direction")
    product = np.zeros((n_directions,) * 2)
    for start, block in reader.blocks("second/whitening"):
        product += reader.rows("second/unwhitening", start, start + len(block)).T @ block.astype(np.float64)
    if np.any(np.abs(product - np.eye(n_directions)) > _SUM_TOLERANCE):
        yield Finding("second/unwhitening", "is not the way back from second/whitening")
    yield from _check_third(reader)


def check_graph_moments(reader: Reader) -> Iterator[Finding]:
    """Moments of a graph: weights of the nodes whose coordinates are known, a symmetric tensor."""
    weights = reader.rows("embedding/weight", 0, reader.shape("embedding/weight")[0])
    n_directions = reader.shape("embedding/eigenvalue")[0]
    if not (np.all(weights >= 0) and abs(weights.sum() - min(n_directions, 1)) <= _SUM_TOLERANCE):
        yield Finding("embedding/weight", "does not sum to 1")
    for start, block in reader.blocks("embedding/point") if n_directions else ():
        if not np.array_equal(np.isfinite(block).all(axis=1), weights[start : start + len(block)] > 0):
            yield Finding("embedding/point", "has coordinates of other nodes than those of embedding/weight")
            break
    eigenvalues = reader.rows("embedding/eigenvalue", 0, reader.shape("embedding/eigenvalue")[0])
    if not np.all(eigenvalues[1:] <= eigenvalues[:-1]):
        yield Finding("embedding/eigenvalue", "is not descending")
    for path, most in (("nodes/degree", np.inf), ("nodes/propensity", np.inf), ("nodes/component", weights.size - 1)):
        values = reader.rows(path, 0, weights.size)
        if not np.all((values >= 0) & (values <= most)):
            yield Finding(path, "has values that cannot be")
    yield from check_side_order(reader)
    if "third/tensor" in reader:
        yield from _check_symmetric(reader, "third/tensor")


def _check_third(reader: Reader) -> Iterator[Finding]:
    """A symmetric tensor, or a sketch with its hashes."""
    sketch = [f"third/{name}" for name in ("sketch", "pairs", "hash", "sign")]
    there = [path for path in sketch if path in reader]
    if "third/tensor" in reader:
        yield from _check_symmetric(reader, "third/tensor")
    if there != (sketch if there else []) or bool(there) == ("third/tensor" in reader):
        yield Finding("third", "is neither a tensor nor a whole sketch")
    elif there:
        n_repeats, length = reader.shape("third/sketch")
        places, signs = (reader.rows(path, 0, n_repeats) for path in ("third/hash", "third/sign"))
        if length == 0 or places.min(initial=0) < 0 or places.max(initial=0) >= length:
            yield Finding("third/hash", f"leads out of the {length:,} places")
        if np.any(np.abs(signs) != 1):
            yield Finding("third/sign", "is not -1 or 1")


def _check_symmetric(reader: Reader, path: str) -> Iterator[Finding]:
    """T_abc = T_acb, and T r, for one r of all signs, is symmetric: then T is, short of a coincidence."""
    size = reader.shape(path)[0]
    along = np.cos(np.arange(size) ** 2)
    seen, largest, apart = np.zeros((size, size)), 0.0, 0.0
    for start, block in reader.blocks(path):
        seen[start : start + len(block)] = block @ along
        largest = max(largest, float(np.abs(block).max(initial=0.0)))
        apart = max(apart, float(np.abs(block - block.transpose(0, 2, 1)).max(initial=0.0)))
    if max(apart, float(np.abs(seen - seen.T).max(initial=0.0))) > _SUM_TOLERANCE * largest:
        yield Finding(path, "is not symmetric")


def check_images(reader: Reader) -> Iterator[Finding]:
    """Images whose labels are classes and whose places are in the file, as pixels of 8 bits or as files, not both."""
    n_classes, n_images = reader.shape("classes/name")[0], reader.shape("images/label")[0]
    limits = {"label": n_classes - 1, "split": 2, "height": _SIDE_MOST, "width": _SIDE_MOST}
    for name, most in limits.items():
        values = reader.rows(f"images/{name}", 0, n_images)
        if values.size and (int(values.min()) < int(name in ("height", "width")) or int(values.max()) > most):
            yield Finding(f"images/{name}", "has values that cannot be")
    if not _climbs(reader.rows("partitions/start", 0, reader.shape("partitions/start")[0]), n_images):
        yield Finding("partitions/start", f"does not climb from 0 to {n_images:,}")
    has_files = [path in reader for path in ("encoded/start", "encoded/data")]
    if has_files != [("pixels/value" not in reader)] * 2:
        yield Finding("pixels/value", "is there beside encoded files, or there is neither")
    elif all(has_files):
        if not _climbs(reader.rows("encoded/start", 0, n_images + 1), reader.shape("encoded/data")[0]):
            yield Finding("encoded/start", "does not climb from 0 to the end of encoded/data")
        elif reader.dtype("encoded/data") != np.uint8:
            yield Finding("encoded/data", "is not of bytes")
    else:
        yield from _check_pixels(reader, n_images)


def _check_pixels(reader: Reader, n_images: int) -> Iterator[Finding]:
    _, height, width, n_channels = reader.shape("pixels/value")
    if reader.dtype("pixels/value") != np.uint8 or n_channels != 3:
        yield Finding("pixels/value", "is not red, green, blue of 8 bits")
    for name, size in (("height", height), ("width", width)):
        if np.any(reader.rows(f"images/{name}", 0, n_images) != size):
            yield Finding(f"images/{name}", "is not that of the pixels")


def check_training(reader: Reader) -> Iterator[Finding]:
    """Records of a training in the order in which they were made, scores that are shares."""
    n_records, n_evaluations = reader.shape("steps/step")[0], reader.shape("epochs/epoch")[0]
    for path, length in (("steps/step", n_records), ("epochs/epoch", n_evaluations), ("epochs/step", n_evaluations)):
        values = reader.rows(path, 0, length)
        if np.any(values < 0) or np.any(values[1:] < values[:-1]):
            yield Finding(path, "is not ascending from 0 on")
    for name in ("top1", "top5"):
        shares = reader.rows(f"epochs/{name}", 0, n_evaluations)
        if np.any((shares < 0) | (shares > 1)):  # NaN where nothing is scored
            yield Finding(f"epochs/{name}", "is no share")


_CHECKS: dict[str, tuple[Callable[[Reader], Iterator[Finding]], ...]] = {
    "tdtool.corpus": (check_counts,),
    "tdtool.topics": (_shares("topics/topic_word"), _shares("documents/topic")),
    "tdtool.documents": (_shares("documents/topic"),),
    "tdtool.cp": (check_weights,),
    "tdtool.tucker": (check_orthonormal,),
    "tdtool.factors": (check_correlation,),
    "tdtool.graph": (check_graph, check_sides, check_partitions),
    "tdtool.communities": (check_graph, check_memberships, check_mixture, check_links),
    "tdtool.moments": (check_moments,),
    "tdtool.graph_moments": (check_graph_moments,),
    "tdtool.images": (check_images,),
    "tdtool.training": (check_training,),
}
