"""The whitened third moment, applied to all directions at once or formed when it is small: steps over partitions.

With v_i row i of W, y_d = W' c_d, s_d = w_d / (l (l - 1) (l - 2)), z_i = sum_d s_d c_di y_d, n_i = sum_d s_d c_di and
m = W' M1 (notation of pairs.py):

    M3w = sum_d s_d y_d^(x)3 - sym3(sum_i v_i (x) v_i (x) z_i) + 2 sum_i n_i v_i^(x)3
          - alpha0 / (alpha0 + 2) sym3(I (x) m) - alpha0^2 / ((alpha0 + 1) (alpha0 + 2)) m^(x)3

where sym3(a (x) a (x) b) adds the three places that b can take. The terms in v, z, n take out what a word token has in
common with itself; they are sums over words, and each partition takes its share of the words along with its documents.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tdtool.data.corpus import MapReduce, Partials, Rows, State
from tdtool.data.steps import step
from tdtool.kernels import sparse_cpu
from tdtool.moments.pairs import FirstMoment, lengths_in_moments
from tdtool.moments.whitening import Whitening

Apply = Callable[[NDArray[np.float64]], NDArray[np.float64]]
#: Sweeps that a power iteration is expected to take, for the planner.
_EXPECTED_SWEEPS = 25
_ROWS_AT_ONCE = 256


@dataclasses.dataclass(frozen=True)
class ThirdMoment:
    """What is needed, beside the whitened rows that the engine keeps, to apply the whitened M3.

    whitening W, z : (V, k) float32; n : (V,) float32, z and n divided by the length of all, L; mean m : (k,) float64.
    n_partitions : how many ways the words are shared out. Everything is nested: `first` keeps the leading topics.
    """

    whitening: NDArray[np.float32]
    z: NDArray[np.float32]
    n: NDArray[np.float32]
    mean: NDArray[np.float64]
    length: float
    n_documents: int
    alpha0: float
    n_partitions: int

    def first(self, n_topics: int) -> ThirdMoment:
        """The same for fewer topics."""
        cut = np.ascontiguousarray(self.whitening[:, :n_topics]), np.ascontiguousarray(self.z[:, :n_topics])
        return dataclasses.replace(self, whitening=cut[0], z=cut[1], mean=self.mean[:n_topics])

    @property
    def n_topics(self) -> int:
        """k."""
        return self.mean.size

    def words(self, index: int) -> slice:
        """The share of the words that partition `index` takes."""
        n_terms = self.n.size
        return slice(n_terms * index // self.n_partitions, n_terms * (index + 1) // self.n_partitions)


@step(keeps=("whitened", "triple_scale"))
def whitened_rows_step(
    rows: Rows, state: State, held_out: NDArray[np.int64], whitening: NDArray[np.float32], keep: bool
) -> tuple[Partials, State]:
    """With `keep`, keeps y_d = W' c_d as "whitened" (D_p, k) and L s_d as "triple_scale" (D_p,), both float32.

    Partials: L z (V, k) float32 and L n (V,) float64.
    """
    lengths = lengths_in_moments(rows, held_out)
    scale = np.divide(1.0, (lengths - 1) * (lengths - 2), out=np.zeros_like(lengths), where=lengths > 0)
    whitened = np.empty((rows.n_documents, whitening.shape[1]), np.float32)
    sparse_cpu.csr_dot(rows.indptr, rows.indices, rows.counts, whitening, whitened)
    z, n = np.zeros_like(whitening), np.zeros(whitening.shape[0])
    sparse_cpu.csr_transpose_dot(rows.indptr, rows.indices, rows.counts, scale, whitened, z)
    sparse_cpu.weighted_column_sums(rows.indptr, rows.indices, rows.counts, scale, n)
    return (z, n), {"whitened": whitened, "triple_scale": scale.astype(np.float32)} if keep else {}


def third_moment(
    map_reduce: MapReduce,
    first: FirstMoment,
    whitening: Whitening,
    held_out: NDArray[np.int64],
    *,
    alpha0: float,
    n_partitions: int,
    keep_rows: bool = True,
) -> ThirdMoment:
    """Whiten the documents and collect the diagonal terms: one pass over the corpus.

    keep_rows : the engine keeps the whitened rows (D, k), which every form but the sketch needs.
    """
    z, n = map_reduce(whitened_rows_step, held_out, whitening.whitening, keep_rows, about="third moment")
    z /= np.float32(first.length)
    return ThirdMoment(
        whitening=whitening.whitening,
        z=z,
        n=(n / first.length).astype(np.float32),
        mean=whitening.whitening.T.astype(np.float64) @ first.moment1,
        length=first.length,
        n_documents=first.n_documents,
        alpha0=alpha0,
        n_partitions=n_partitions,
    )


def choose_form(moment: ThirdMoment) -> Literal["implicit", "dense"]:
    """The cheaper exact way to use the moment, by operations over a whole power iteration (sizes only).

    Never the sketch: it is the cheapest only where it is the worst (see sketched_triples.py).
    """
    implicit, dense = exact_operations(moment)
    return "dense" if dense < implicit else "implicit"


def exact_operations(moment: ThirdMoment) -> tuple[float, float]:
    """Floating-point operations of a whole power iteration with the implicit form, and with the dense one."""
    k, documents, words = moment.n_topics, moment.n_documents, moment.n.size
    implicit = _EXPECTED_SWEEPS * (4 * documents + 8 * words) * k**2
    dense = (2 * documents + 4 * words) * k**3 + _EXPECTED_SWEEPS * 2 * k**4
    return float(implicit), float(dense)


def implicit_apply(map_reduce: MapReduce, moment: ThirdMoment) -> Apply:
    """directions (k, k) with unit columns u_j -> G (k, k), column j = M3w(I, u_j, u_j), without forming M3w."""

    def apply(directions: NDArray[np.float64]) -> NDArray[np.float64]:
        (total,) = map_reduce(implicit_step, moment, directions.astype(np.float32), about="tensor power")
        return total + _alpha_terms(moment, directions)

    return apply


@step(reads=("whitened", "triple_scale"), rows=False, sum_bytes=lambda moment, directions: directions.nbytes)
def implicit_step(
    rows: Rows, state: State, moment: ThirdMoment, directions: NDArray[np.float32]
) -> tuple[Partials, State]:
    """Partial (k, k) float64 of the documents' and the words' terms of M3w(I, u_j, u_j)."""
    whitened, scale = state["whitened"][:, : moment.n_topics], state["triple_scale"]
    squares = whitened @ directions
    np.multiply(squares, squares, out=squares)
    squares *= scale[:, None]
    total = (whitened.T @ squares).astype(np.float64) / moment.length
    words = moment.words(rows.index)
    v, z = moment.whitening[words], moment.z[words]
    along_v = v @ directions
    mixed = z @ directions
    mixed *= along_v
    np.multiply(along_v, along_v, out=along_v)
    total -= z.T @ along_v
    along_v *= moment.n[words, None]
    along_v -= mixed
    return (total + 2 * (v.T @ along_v),), {}


def dense_apply(map_reduce: MapReduce, moment: ThirdMoment) -> Apply:
    """The same map as implicit_apply, from the k x k x k tensor, which is formed once."""
    k = moment.n_topics
    ((tensor),) = map_reduce(dense_step, moment, about="third moment tensor")
    unfolded = _symmetrised_words(tensor).reshape(k * k, k)

    def apply(directions: NDArray[np.float64]) -> NDArray[np.float64]:
        once = (unfolded @ directions).reshape(k, k, k)
        return np.einsum("abj,bj->aj", once, directions) + _alpha_terms(moment, directions)

    return apply


@step(reads=("whitened", "triple_scale"), rows=False, sum_bytes=lambda moment: 16 * moment.n_topics**3)
def dense_step(rows: Rows, state: State, moment: ThirdMoment) -> tuple[Partials, State]:
    """Partial (2, k, k, k) float64: the symmetric terms (documents, 2 n v v v), and sum_i v v z, to be symmetrised."""
    k = moment.n_topics
    tensor = np.zeros((2, k, k * k))
    whitened, scale = state["whitened"][:, :k], state["triple_scale"] / np.float32(moment.length)
    _add_outer(tensor[0], whitened, scale[:, None] * whitened, whitened)
    words = moment.words(rows.index)
    v, z, n = moment.whitening[words], moment.z[words], moment.n[words]
    _add_outer(tensor[0], v, 2 * n[:, None] * v, v)
    _add_outer(tensor[1], v, v, z)
    return (tensor.reshape(2, k, k, k),), {}


def _add_outer(
    out: NDArray[np.float64], a: NDArray[np.float32], b: NDArray[np.floating], c: NDArray[np.float32]
) -> None:
    """Add sum_r a_r (x) b_r (x) c_r to out (k, k * k); a, b, c : (n, k), a few rows at a time."""
    for start in range(0, a.shape[0], _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        pairs = (b[part, :, None] * c[part, None, :]).reshape(-1, out.shape[1])
        out += a[part].T @ pairs


def _symmetrised_words(tensor: NDArray[np.float64]) -> NDArray[np.float64]:
    """The symmetric part minus sym3 of the word term; (2, k, k, k) -> (k, k, k)."""
    term = tensor[1]
    return tensor[0] - term - term.transpose(0, 2, 1) - term.transpose(2, 1, 0)


def _alpha_terms(moment: ThirdMoment, directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """The terms in alpha0, for directions (k, k) of unit columns or not."""
    alpha0, mean = moment.alpha0, moment.mean
    along = mean @ directions
    squares = np.sum(directions * directions, axis=0)
    pair = 2 * directions * along + np.outer(mean, squares)
    return -alpha0 / (alpha0 + 2) * pair - alpha0**2 / ((alpha0 + 1) * (alpha0 + 2)) * np.outer(mean, along**2)
