"""Counting which top words of a topic occur together, one pass over the documents."""

from __future__ import annotations

import numpy as np

from tdtool.kernels.backend import jit


@jit
def count_together(indptr, indices, active, slots_start, slots, n_top, together):  # type: ignore[no-untyped-def]
    """together[t, i, j] += documents that hold both top word i and top word j of topic t (i = j: hold the word).

    Word v is a top word in slots[slots_start[v] : slots_start[v + 1]], each slot t * n_top + i. slots_start : (V + 1,)
    int64; together : (T, n_top, n_top) int64. Only i <= j is counted; n_top is at most 64.
    """
    n_topics = together.shape[0]
    present = np.zeros((n_topics, n_top), np.int64)
    filled = np.zeros(n_topics, np.int64)
    touched = np.empty(n_topics, np.int64)
    for d in range(indptr.size - 1):
        if not active[d]:
            continue
        n_touched = 0
        for e in range(indptr[d], indptr[d + 1]):
            word = indices[e]
            for s in range(slots_start[word], slots_start[word + 1]):
                t, i = slots[s] // n_top, slots[s] % n_top
                if filled[t] == 0:
                    touched[n_touched] = t
                    n_touched += 1
                present[t, filled[t]] = i
                filled[t] += 1
        for a in range(n_touched):
            t = touched[a]
            for x in range(filled[t]):
                for y in range(filled[t]):
                    if present[t, x] <= present[t, y]:
                        together[t, present[t, x], present[t, y]] += 1
            filled[t] = 0
