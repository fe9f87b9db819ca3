"""Who is in which community of a planted graph: sizes by a power law, and room for the degree of every member."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tdtool.data.planted_wiring import power_law

_ATTEMPTS = 20
_SPARE_DRAWS = 50


def overlapping_places(
    n_places: NDArray[np.int64],
    needs: NDArray[np.int64],
    sizes: tuple[int, int],
    exponent: float,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Draw communities and put every node into as many different ones as it asks for.

    n_places : (n,) communities of each node; needs : (n,) other members that a community of the node must have at
    least; sizes : smallest and largest community; exponent : of the power law of the sizes. Returns (n, c) int64, c the
    largest of n_places, -1 where a node has fewer. ValueError: the communities cannot hold them.
    """
    for _ in range(_ATTEMPTS):
        members = _draw_sizes(int(n_places.sum()), sizes, exponent, rng)
        if int(n_places.max()) > members.size:
            raise ValueError(f"{members.size} communities are too few for nodes that are in {n_places.max()} of them")
        places = _fill(n_places, needs, members, rng)
        if places is not None:
            return places
    raise ValueError(
        f"communities of {sizes[0]} to {sizes[1]} nodes cannot hold nodes with {needs.max()} neighbours inside one"
    )


def _draw_sizes(n_slots: int, sizes: tuple[int, int], exponent: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Sizes (k,) descending that sum to n_slots; what is too few for another community goes to those drawn."""
    low, high = sizes
    drawn: list[int] = []
    rest = n_slots
    while rest >= low:
        size = min(int(power_law(1, exponent, low, high + 1, rng)[0]), high, rest)
        drawn.append(size)
        rest -= size
    members = np.array(drawn, np.int64)
    while rest > 0:
        roomy = rng.permutation(np.flatnonzero(members < high))[:rest]
        if not roomy.size:
            raise ValueError(f"no communities of {low} to {high} nodes have {n_slots} places together")
        members[roomy] += 1
        rest -= roomy.size
    return np.sort(members)[::-1]


def _fill(
    n_places: NDArray[np.int64], needs: NDArray[np.int64], members: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64] | None:
    """Nodes with the largest needs first, each at a random open place of a community that is large enough.

    A community is open to all once it is open to one, because needs descend. None: a node found no place.
    """
    places = np.full((n_places.size, int(n_places.max())), -1, np.int64)
    open_places: list[int] = []
    n_open_communities = 0
    lots = iter(rng.random(int(1.5 * n_places.sum()) + _SPARE_DRAWS).tolist())
    order = np.argsort(-needs, kind="stable")
    for node, need, wanted in zip(order.tolist(), needs[order].tolist(), n_places[order].tolist(), strict=True):
        while n_open_communities < members.size and members[n_open_communities] > need:
            open_places += [n_open_communities] * int(members[n_open_communities])
            n_open_communities += 1
        mine: list[int] = []
        while len(mine) < wanted and open_places and (lot := next(lots, -1.0)) >= 0:
            place = int(lot * len(open_places))
            if open_places[place] not in mine:
                mine.append(open_places[place])
                open_places[place] = open_places[-1]
                open_places.pop()
        if len(mine) < wanted:
            return None
        places[node, :wanted] = mine
    return places
