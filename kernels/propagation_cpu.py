"""Labels that spread over a graph, each at a price for its size: moves, coarser graphs, votes; numba on the CPU.

A graph is CSR, every edge from both ends: indptr (n + 1,) int64, neighbours (2m,) int32, weights (2m,) float32, or
(0,) where every edge counts 1. labels : (n,) int64, node numbers of the same graph. Coarse graphs have loops: the
weight inside a former label, counted from both ends.
"""

from __future__ import annotations

import numpy as np

from tdtool.kernels.backend import jit

_LOW = 0xFFFFFFFF


def mixed(value):  # type: ignore[no-untyped-def]
    """A hash of 32 bits; arrays or whole numbers below 2^32, one to one.

    Source: Mueller's integer hash, https://stackoverflow.com/a/12996028; no product passes 2^63.
    """
    value = ((value >> 16) ^ value) * 0x45D9F3B & _LOW
    value = ((value >> 16) ^ value) * 0x45D9F3B & _LOW
    return (value >> 16) ^ value


_mixed = jit(mixed)


@jit
def move_nodes(indptr, neighbours, weights, volumes, order, ranks, price, sweeps, least, labels, totals):  # type: ignore[no-untyped-def]
    """Let every node, in the given order, take the label that is worth most to it; changes labels and totals.

    A label z is worth the weight of the node's edges to it less price * volume of the node * volume of z without the
    node: with price resolution / (sum of the volumes) this climbs modularity, with 0 it is plain label propagation.
    The node's own label stays where no other is worth more; of equals the one of the highest rank is taken. From the
    second sweep on, only nodes with a neighbour that went to another label look again.

    volumes : (n,) float64; order : (n,) int64; ranks : (n,) int64 by label; sweeps : at most so many; least : stop
    after a sweep with fewer moves; totals : (n,) float64, volume of each label. Returns how many moves there were.

    Source: Raghavan, Albert, Kumara 2007 (label propagation); Blondel et al. 2008 (local moves of Louvain); Traag,
    Waltman, van Eck 2019 (who looks again).
    """
    found, touched = np.zeros(labels.size), np.empty(labels.size, np.int64)
    waiting, moved = np.ones(labels.size, np.bool_), 0
    for _ in range(sweeps):
        moves = 0
        for u in order:
            if not waiting[u]:
                continue
            waiting[u] = False
            count = _weigh_labels(u, indptr, neighbours, weights, labels, found, touched)
            own, cost = labels[u], price * volumes[u]
            totals[own] -= volumes[u]
            best, most = own, found[own] - cost * totals[own]
            for place in range(count):
                z = touched[place]
                worth = found[z] - cost * totals[z]
                if worth > most or (worth == most and best != own and ranks[z] > ranks[best]):
                    best, most = z, worth
            for place in range(count):
                found[touched[place]] = 0.0
            totals[best] += volumes[u]
            if best != own:
                labels[u] = best
                moves += 1
                for end in range(indptr[u], indptr[u + 1]):
                    waiting[neighbours[end]] |= labels[neighbours[end]] != best
        moved += moves
        if moves < least:
            break
    return moved


@jit
def _weigh_labels(u, indptr, neighbours, weights, labels, found, touched):  # type: ignore[no-untyped-def]
    """Add the weights of a node's edges to `found`, by label; returns how many labels they lead to, put in touched."""
    count = 0
    for end in range(indptr[u], indptr[u + 1]):
        if neighbours[end] == u:
            continue
        z = labels[neighbours[end]]
        if found[z] == 0.0:
            touched[count] = z
            count += 1
        found[z] += weights[end] if weights.size > 0 else 1.0
    return count


@jit
def coarse_graph(indptr, neighbours, weights, labels, members_indptr, members):  # type: ignore[no-untyped-def]
    """The graph whose nodes are the labels 0 ... k - 1, with loops.

    members_indptr (k + 1,), members (n,) : the nodes of each label. Returns indptr (k + 1,) int64, neighbours int32 in
    no order, weights float64.
    """
    k = members_indptr.size - 1
    found, touched = np.zeros(k), np.empty(k, np.int64)
    out_indptr = np.zeros(k + 1, np.int64)
    out_neighbours = np.empty(neighbours.size, np.int32)
    out_weights = np.empty(neighbours.size)
    filled = 0
    for z in range(k):
        count = 0
        for place in range(members_indptr[z], members_indptr[z + 1]):
            u = members[place]
            for end in range(indptr[u], indptr[u + 1]):
                other = labels[neighbours[end]]
                if found[other] == 0.0:
                    touched[count] = other
                    count += 1
                found[other] += weights[end] if weights.size > 0 else 1.0
        for place in range(count):
            other = touched[place]
            out_neighbours[filled] = other
            out_weights[filled] = found[other]
            found[other] = 0.0
            filled += 1
        out_indptr[z + 1] = filled
    return out_indptr, out_neighbours[:filled].copy(), out_weights[:filled].copy()


@jit
def reordered(indptr, neighbours, weights, order):  # type: ignore[no-untyped-def]
    """The same graph with node order[i] as node i, so that nodes that are read together lie together.

    order : (n,) int64, every node once. Returns indptr, neighbours (not sorted within a node), weights.
    """
    n = indptr.size - 1
    place, out_indptr = np.empty(n, np.int32), np.zeros(n + 1, np.int64)
    for i in range(n):
        place[order[i]] = i
        out_indptr[i + 1] = out_indptr[i] + indptr[order[i] + 1] - indptr[order[i]]
    out, out_weights = np.empty_like(neighbours), np.empty_like(weights)
    for i in range(n):
        first = indptr[order[i]] - out_indptr[i]
        for end in range(out_indptr[i], out_indptr[i + 1]):
            out[end] = place[neighbours[first + end]]
            if weights.size > 0:
                out_weights[end] = weights[first + end]
    return out_indptr, out, out_weights


@jit
def hold_out(indptr, neighbours, weights, seed, limit):  # type: ignore[no-untyped-def]
    """Split a graph by a hash of the seed and the two ends of an edge: those with a hash below the limit are held out.

    Returns the CSR of the others (indptr, neighbours, weights), and the held-out edges (h, 2) int64, u < v, in order.
    """
    n = indptr.size - 1
    kept = np.empty(neighbours.size, np.bool_)
    out_indptr = np.zeros(n + 1, np.int64)
    held = 0
    for u in range(n):
        for end in range(indptr[u], indptr[u + 1]):
            v = neighbours[end]
            low, high = np.int64(min(u, v)), np.int64(max(u, v))
            kept[end] = _mixed(_mixed(low ^ seed) ^ high) >= limit
            held += not kept[end] and u < v
            out_indptr[u + 1] += kept[end]
        out_indptr[u + 1] += out_indptr[u]
    out, edges, place = np.empty(out_indptr[n], np.int32), np.empty((held, 2), np.int64), 0
    out_weights = np.empty(out_indptr[n] if weights.size > 0 else 0, weights.dtype)
    for u in range(n):
        filled = out_indptr[u]
        for end in range(indptr[u], indptr[u + 1]):
            if kept[end]:
                out[filled] = neighbours[end]
                if weights.size > 0:
                    out_weights[filled] = weights[end]
                filled += 1
            elif u < neighbours[end]:
                edges[place, 0], edges[place, 1] = u, neighbours[end]
                place += 1
    return out_indptr, out, out_weights, edges


@jit
def expected_links(indptr, neighbours, weights, labels, totals, edges):  # type: ignore[no-untyped-def]
    """What the labels of their neighbours say about pairs of nodes: sum_z w_uz w_vz / totals_z, (h,) float64.

    w_uz : weight of u's edges to nodes of label z; totals : (n,) float64, by label; edges : (h, 2) int64. With the
    volumes of the labels as totals, these are rates of a graph with the same number of edges.
    """
    out, found = np.zeros(edges.shape[0]), np.zeros(totals.size)
    for pair in range(edges.shape[0]):
        u, v = edges[pair]
        for end in range(indptr[u], indptr[u + 1]):
            found[labels[neighbours[end]]] += weights[end] if weights.size > 0 else 1.0
        for end in range(indptr[v], indptr[v + 1]):
            z = labels[neighbours[end]]
            out[pair] += found[z] / totals[z] * (weights[end] if weights.size > 0 else 1.0)
        for end in range(indptr[u], indptr[u + 1]):
            found[labels[neighbours[end]]] = 0.0
    return out


@jit
def neighbour_labels(indptr, neighbours, weights, labels, k, most):  # type: ignore[no-untyped-def]
    """The labels 0 ... k - 1 that a node's neighbours have, at most `most` of them, the heaviest (ties: the lower).

    Returns indptr (n + 1,) int64, communities int32 ascending within a node, the weight of the edges to each float64.
    """
    n, room = indptr.size - 1, 0
    for u in range(n):
        room += min(indptr[u + 1] - indptr[u], most)
    out_indptr, out, amounts = np.zeros(n + 1, np.int64), np.empty(room, np.int32), np.empty(room)
    found, touched, filled = np.zeros(k), np.empty(k, np.int64), 0
    for u in range(n):
        count = _weigh_labels(u, indptr, neighbours, weights, labels, found, touched)
        _heaviest_first(touched, count, most, found)
        for z in np.sort(touched[: min(count, most)]):
            out[filled], amounts[filled] = z, found[z]
            filled += 1
        for place in range(count):
            found[touched[place]] = 0.0
        out_indptr[u + 1] = filled
    return out_indptr, out[:filled].copy(), amounts[:filled].copy()


@jit
def _heaviest_first(touched, count, most, found):  # type: ignore[no-untyped-def]
    """Bring the heaviest `most` labels to the front, where there are more."""
    for place in range(most if count > most else 0):
        best = place
        for other in range(place + 1, count):
            more = found[touched[other]] - found[touched[best]]
            if more > 0.0 or (more == 0.0 and touched[other] < touched[best]):
                best = other
        touched[place], touched[best] = touched[best], touched[place]
