"""Passes over the edges of a graph, and over pairs of nodes, that score communities. numba on the CPU.

Letters: n nodes, m edges, k communities, e entries of a cover. A graph is indptr (n + 1,), neighbours (2m,) ascending
within a node and weights (2m,), of no length where every edge counts 1. A cover is first (n + 1,), communities (e,)
ascending within a node and shares (e,). Everything is added in the order of the nodes, by one thread.
"""

from __future__ import annotations

import numpy as np

from tdtool.kernels.backend import jit


@jit
def add_inside(indptr, neighbours, weights, first, communities, shares, weight, count, joint):  # type: ignore[no-untyped-def]
    """Add up what lies inside communities; every edge is met from both ends. Returns the weight inside any of them.

    weight, count, joint : (k,) float64, float64, float64 that are added to: the weight of the edges whose ends are both
    members, their number, and the sum of weight times both shares.
    """
    mark = np.zeros(weight.size)
    covered = 0.0
    for node in range(indptr.size - 1):
        for entry in range(first[node], first[node + 1]):
            mark[communities[entry]] = shares[entry]
        if first[node] == first[node + 1]:
            continue
        for edge in range(indptr[node], indptr[node + 1]):
            other = neighbours[edge]
            value = weights[edge] if weights.size > 0 else 1.0
            together = False
            for entry in range(first[other], first[other + 1]):
                share = mark[communities[entry]]
                if share > 0:
                    together = True
                    weight[communities[entry]] += value
                    count[communities[entry]] += 1.0
                    joint[communities[entry]] += value * share * shares[entry]
            if together:
                covered += value
        for entry in range(first[node], first[node + 1]):
            mark[communities[entry]] = 0.0
    return covered


@jit
def add_links(indptr, neighbours, first, communities, shares, place, links):  # type: ignore[no-untyped-def]
    """links[place[z], place[w]] += sum over ends of edges u, v of share_uz share_vw; every edge is met from both ends.

    place : (k,) int32, where a community's row is, -1 for those left out; links : (k', k') float64.
    """
    seen = np.zeros(links.shape[0])
    touched = np.empty(links.shape[0], np.int64)
    for node in range(indptr.size - 1):
        if first[node] == first[node + 1]:
            continue
        n_touched = 0
        for edge in range(indptr[node], indptr[node + 1]):
            other = neighbours[edge]
            for entry in range(first[other], first[other + 1]):
                column = place[communities[entry]]
                if column >= 0:
                    if seen[column] == 0.0:
                        touched[n_touched] = column
                        n_touched += 1
                    seen[column] += shares[entry]
        for entry in range(first[node], first[node + 1]):
            row = place[communities[entry]]
            if row >= 0:
                for number in range(n_touched):
                    links[row, touched[number]] += shares[entry] * seen[touched[number]]
        for number in range(n_touched):
            seen[touched[number]] = 0.0


@jit
def subtract_same_node(first, communities, shares, place, pairs):  # type: ignore[no-untyped-def]
    """pairs[place[z], place[w]] -= sum_u share_uz share_uw: a node is no pair with itself. pairs : (k', k')."""
    for node in range(first.size - 1):
        for entry in range(first[node], first[node + 1]):
            row = place[communities[entry]]
            if row >= 0:
                for other in range(first[node], first[node + 1]):
                    column = place[communities[other]]
                    if column >= 0:
                        pairs[row, column] -= shares[entry] * shares[other]


@jit
def add_rates(pairs, first, communities, strengths, rates):  # type: ignore[no-untyped-def]
    """rates[i] += sum_z strength_uz strength_vz for u, v = pairs[i]. pairs : (h, 2) int64; rates : (h,) float64."""
    for number in range(pairs.shape[0]):
        left, right = first[pairs[number, 0]], first[pairs[number, 1]]
        left_end, right_end = first[pairs[number, 0] + 1], first[pairs[number, 1] + 1]
        while left < left_end and right < right_end:
            if communities[left] < communities[right]:
                left += 1
            elif communities[left] > communities[right]:
                right += 1
            else:
                rates[number] += strengths[left] * strengths[right]
                left += 1
                right += 1


@jit
def spare_edges(tails, heads, left, wanted, chosen):  # type: ignore[no-untyped-def]
    """Take edges in turn, none that is the last of one of its ends, until `wanted` are taken. Returns how many.

    tails, heads : (m,) in the order in which they are asked; left : (n,) edges of each node, lowered by those taken;
    chosen : (m,) bool, set where an edge is taken.
    """
    n_taken = 0
    for edge in range(tails.size):
        if n_taken == wanted:
            break
        if left[tails[edge]] > 1 and left[heads[edge]] > 1:
            left[tails[edge]] -= 1
            left[heads[edge]] -= 1
            chosen[edge] = True
            n_taken += 1
    return n_taken


@jit
def unrank_non_edges(ranks, before, start, indptr, neighbours, pairs):  # type: ignore[no-untyped-def]
    """The pairs of nodes without an edge that have these numbers, counted node by node.

    ranks : (h,) int64; before : (n + 1,) int64, pairs without an edge of the nodes before; start : (n,) int64, the
    least partner of a node: its pairs are with start, start + 1, ...; pairs : (h, 2) int64, written.
    """
    for number in range(ranks.size):
        low, high = 0, before.size - 1
        while high - low > 1:
            middle = (low + high) // 2
            if before[middle] <= ranks[number]:
                low = middle
            else:
                high = middle
        node, wanted = low, ranks[number] - before[low]
        left, right = indptr[node], indptr[node + 1]
        while left < right:
            middle = (left + right) // 2
            if neighbours[middle] < start[node]:
                left = middle + 1
            else:
                right = middle
        skipped, right = left, indptr[node + 1]
        while skipped < right:
            middle = (skipped + right) // 2
            if neighbours[middle] - start[node] - (middle - left) > wanted:
                right = middle
            else:
                skipped = middle + 1
        pairs[number, 0] = node
        pairs[number, 1] = start[node] + wanted + (skipped - left)


@jit
def best_overlaps(first, members, sizes, other_first, other_communities, other_sizes, best):  # type: ignore[no-untyped-def]
    """best[z] = the largest Jaccard index of community z with any of another cover's.

    first : (k + 1,), members : (e,) nodes by community; sizes : (k,); other_first, other_communities : the other cover
    by node; other_sizes : (k',); best : (k,) float64, written.
    """
    counts = np.zeros(other_sizes.size, np.int64)
    for community in range(first.size - 1):
        most = 0.0
        for member in range(first[community], first[community + 1]):
            node = members[member]
            for entry in range(other_first[node], other_first[node + 1]):
                counts[other_communities[entry]] += 1
        for member in range(first[community], first[community + 1]):
            node = members[member]
            for entry in range(other_first[node], other_first[node + 1]):
                other = other_communities[entry]
                if counts[other] > 0:
                    union = sizes[community] + other_sizes[other] - counts[other]
                    most = max(most, counts[other] / union)
                    counts[other] = 0
        best[community] = most
