"""Variational inference for the mixed membership block model from random starts: what moments are compared with.

The assortative model of Gopalan and Blei (PNAS 110, 14534, 2013; first of Airoldi et al., JMLR 2008): pi_u ~ Dirichlet,
each end of a pair draws a community, and a link comes with probability beta_z where both drew z, else with epsilon.
Links are all used in every iteration, non-links by a fresh sample of every node. Of a pair the joint distribution of
the two draws is kept, which is exact given the rest and costs no more than two independent ones.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma

from tdtool.kernels.backend import jit, jit_sums

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

_TINY = 1e-300
_WINDOW = 5  # iterations over which the evidence is averaged: the sample of non-links makes it noisy
_BURN_IN = 30
_AVERAGED = 12  # iterations with falling steps at the end
_SMALLEST_LOG = -600.0  # with very many communities exp would be 0
_FRESH = 0.3  # Dirichlet parameter of the random memberships of a start
_LEAST_EPSILON = 0.02  # times the density: with less, a stray link ties communities together
#: A community without links explains non-links for nothing and would swallow all shares in one iteration.
_LARGEST_GROWTH = 0.7


@jit_sums
def _expect(starts, others, shares, odds, drawn, same):  # type: ignore[no-untyped-def]
    """One pass over the pairs (a, others[p]), starts[a] <= p < starts[a + 1]: sums over the two ends' communities.

    shares : (n, k) exp(E log pi), rows scaled to 1; odds : (k,) probability of what was seen if both drew z, over that
    if they differ. drawn (n, k) becomes the expected draws of a, same (k,) the expected pairs that drew z both. Returns
    the sum of the log of the pairs' evidence over that of differing draws, and the expected pairs that differ.
    """
    n, k = shares.shape
    drawn[:] = 0.0
    same[:] = 0.0
    evidence = 0.0
    apart = 0.0
    for a in range(n):
        for p in range(starts[a], starts[a + 1]):
            b = others[p]
            total = 1.0
            for z in range(k):
                total += (odds[z] - 1.0) * shares[a, z] * shares[b, z]
            evidence += np.log(total)
            scale = 1.0 / total
            together = 0.0
            for z in range(k):
                drawn[a, z] += shares[a, z] * (1.0 + (odds[z] - 1.0) * shares[b, z]) * scale
                both = odds[z] * shares[a, z] * shares[b, z] * scale
                same[z] += both
                together += both
            apart += 1.0 - together
    return evidence, apart


@jit
def _balance(evidence, returned, shares):  # type: ignore[no-untyped-def]
    """shares[u, z] = evidence[u, z] / (G_u - returned[u, z]), where G_u makes the row sum to 1.

    Newton's method for 1 / sum, which rises and is concave: from the left every step stays on the left.
    """
    n, k = shares.shape
    for u in range(n):
        level = 0.0
        for z in range(k):
            level = max(level, evidence[u, z] + returned[u, z])
        for _ in range(100):
            total = 0.0
            slope = 0.0
            for z in range(k):
                part = evidence[u, z] / (level - returned[u, z])
                total += part
                slope += part / (level - returned[u, z])
            if total < 1.0 + 1e-12:
                break
            level += (total - 1.0) * total / slope
        for z in range(k):
            shares[u, z] = evidence[u, z] / (level - returned[u, z]) / total


@jit
def _keep_strangers(starts, neighbours, drawn, kept_starts, kept):  # type: ignore[no-untyped-def]
    """Of the nodes drawn[u] those that are neither u nor its neighbours: kept[kept_starts[u] : kept_starts[u + 1]]."""
    place = 0
    for u in range(drawn.shape[0]):
        mine = neighbours[starts[u] : starts[u + 1]]
        for v in drawn[u]:
            found = np.searchsorted(mine, v)
            if v != u and (found == mine.size or mine[found] != v):
                kept[place] = v
                place += 1
        kept_starts[u + 1] = place


@dataclasses.dataclass
class _Network:
    """Every link from both ends: neighbours of u, ascending, at starts[u] ... starts[u + 1]."""

    starts: Whole
    neighbours: Whole
    degrees: Floats
    non_links: Floats  # (n,) of each node
    density: float

    @classmethod
    def of(cls, edges: NDArray[np.integer], n_nodes: int) -> _Network:
        both = np.concatenate((edges, edges[:, ::-1])).astype(np.int64)
        both = both[np.lexsort((both[:, 1], both[:, 0]))]
        starts = np.searchsorted(both[:, 0], np.arange(n_nodes + 1))
        degrees = np.diff(starts).astype(np.float64)
        density = degrees.sum() / (n_nodes * (n_nodes - 1))
        return cls(starts, both[:, 1].copy(), degrees, n_nodes - 1 - degrees, float(density))

    def strangers(self, number: int, rng: np.random.Generator) -> tuple[Whole, Whole]:
        """At most `number` random non-links of every node."""
        n_nodes = self.degrees.size
        kept_starts, kept = np.zeros(n_nodes + 1, np.int64), np.empty(n_nodes * number, np.int64)
        drawn = rng.integers(n_nodes, size=(n_nodes, number))
        _keep_strangers(self.starts, self.neighbours, drawn, kept_starts, kept)
        return kept_starts, kept


@dataclasses.dataclass
class _Posterior:
    """Dirichlet memberships, Beta link probabilities and a point estimate of epsilon."""

    shares: Floats  # (n, k) means of the memberships
    linked: Floats  # (k,) parameters of Beta(linked, apart)
    apart: Floats
    epsilon: float
    evidence: list[float] = dataclasses.field(default_factory=list)

    @classmethod
    def random(cls, network: _Network, k: int, rng: np.random.Generator) -> _Posterior:
        inside = min(network.density * k / 2, 0.5)
        shares = rng.dirichlet(np.full(k, _FRESH), size=network.degrees.size)
        return cls(shares, np.full(k, inside * 1e6), np.full(k, (1 - inside) * 1e6), network.density / 2)

    def recent(self) -> float:
        return float(np.mean(self.evidence[-_WINDOW:]))

    def settled(self, tol: float) -> bool:
        before = float(np.mean(self.evidence[-2 * _WINDOW : -_WINDOW]))
        return len(self.evidence) >= _BURN_IN and self.recent() - before < tol * abs(before)


def fit_mmsb(
    edges: NDArray[np.integer],
    n_nodes: int,
    k: int,
    *,
    seed: int = 0,
    max_iters: int = 300,
    tol: float = 1e-4,
    n_starts: int = 3,
) -> Floats:
    """Mean memberships (n, k) float64, rows sum to 1.

    edges : (m, 2) every link once, no loops, m > 0. Prior: Dirichlet(1 / k), Beta(1, 1). n_starts random starts are
    followed for 30 iterations, the one of the largest evidence until that rises by less than tol from one five
    iterations to the next, or max_iters; then twelve more with falling steps take the noise of the samples away.
    ValueError: no edges or no communities.
    """
    if len(edges) == 0 or k < 1:
        raise ValueError(f"{len(edges)} edges and {k} communities: at least one of each is needed")
    network, rng = _Network.of(edges, n_nodes), np.random.default_rng(seed)
    starts = [_Posterior.random(network, k, rng) for _ in range(n_starts)]
    for posterior in starts:
        for _ in range(min(_BURN_IN, max_iters)):
            _iterate(network, posterior, 1.0, rng)
    best = max(starts, key=_Posterior.recent)
    while len(best.evidence) < max_iters and not best.settled(tol):
        _iterate(network, best, 1.0, rng)
    for step in range(_AVERAGED):
        _iterate(network, best, 1 / (step + 2), rng)
    return best.shares


def _iterate(network: _Network, posterior: _Posterior, step: float, rng: np.random.Generator) -> None:
    """One step of size `step` towards the expectations under a fresh sample of non-links."""
    n, k = posterior.shares.shape
    alpha = 1 / k
    totals = (1.0 + network.degrees + network.non_links)[:, None]
    logs = digamma(alpha + posterior.shares * (totals - 1.0))
    shares = np.exp(np.maximum(logs - logs.max(axis=1, keepdims=True), _SMALLEST_LOG))
    shares /= shares.sum(axis=1, keepdims=True)
    beta, epsilon = digamma(posterior.linked + posterior.apart), posterior.epsilon
    if_linked = np.exp(digamma(posterior.linked) - beta) / epsilon
    if_not = np.exp(digamma(posterior.apart) - beta) / (1.0 - epsilon)
    linked, strange = np.empty((n, k)), np.empty((n, k))
    same_linked, same_strange = np.empty(k), np.empty(k)
    by_links, apart_linked = _expect(network.starts, network.neighbours, shares, if_linked, linked, same_linked)
    number = int(np.clip(2 * network.degrees.mean(), 10, max(n - 1, 1)))
    sample = network.strangers(number, rng)
    by_strangers, apart_strange = _expect(*sample, shares, if_not, strange, same_strange)
    scale = network.non_links.sum() / max(sample[1][: sample[0][-1]].size, 1)
    # What a non-link says is mostly the share itself, times a ratio near 1: iterated, memberships would move by
    # degree / n a time. So the ratio is held and the shares are solved for.
    counts = np.maximum(np.diff(sample[0]), 1)[:, None]
    bound = 1.0 + _LARGEST_GROWTH * network.degrees / np.maximum(network.non_links, 1.0)
    ratio = np.minimum(strange / counts / shares, bound[:, None])
    solved = np.empty((n, k))
    _balance(alpha + linked, network.non_links[:, None] * ratio, solved)
    posterior.shares += step * (solved - posterior.shares)
    posterior.linked += step * (1.0 + same_linked / 2 - posterior.linked)
    posterior.apart += step * (1.0 + scale * same_strange / 2 - posterior.apart)
    fresh = apart_linked / max(apart_linked + scale * apart_strange, _TINY)
    posterior.epsilon += step * (float(np.clip(fresh, _LEAST_EPSILON * network.density, 0.5)) - epsilon)
    posterior.evidence.append(
        by_links
        + scale * by_strangers
        + network.degrees.sum() * float(np.log(epsilon))
        + network.non_links.sum() * float(np.log1p(-epsilon))
    )
