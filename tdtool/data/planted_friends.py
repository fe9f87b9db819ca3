"""A readable planted graph: who of a small town spends time with whom, after eight groups that overlap."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

#: Members of each group. Nobody of the quiz team, the last, knows anybody else.
GROUPS = {
    "choir": 34,
    "running club": 29,
    "climbing wall": 25,
    "drama society": 23,
    "chess club": 21,
    "allotment gardeners": 19,
    "robotics lab": 16,
    "quiz team": 6,
}
# fmt: off
FIRST_NAMES = (
    "Ada Agnes Aisha Alan Amara Anders Anton Aurora Bea Benno Bridget Carlos Carmen Chiara Clara Conrad Cosima Cyril "
    "Dagny Dario Diego Dina Edith Elias Elif Emil Esther Farah Felix Fiona Flora Gavin Greta Gustav Hanna Hector Hugo "
    "Ida Igor Ines Iris Ivo Jamal Joan Jonas José Judith Kai Karim Kira Lars Leila Leo Lotte Luca Mabel Magda Malik "
    "Marta Milo Mina Nadia Nils Nora Olga Omar Oscar Paula Petra Quinn Rafael Rosa Ruben Sami Selma Søren Tara Theo "
    "Uma Vera Viktor Wanda Xenia Yara Yusuf Zoë"
)
SURNAMES = (
    "Abbott Almeida Arnold Baker Barros Becker Bloom Byrne Calder Castro Chandra Cole Crane Dahl Diaz Doyle Duarte "
    "Ekberg Elliott Evans Falk Farrell Fischer Fontaine Frost Garcia Gibbs Grant Haas Hale Hansen Hardy Holm Hughes "
    "Ibsen Imani Jansen Jung Kaplan Keller Khan Klein Kovac Lang Larsen Leroy Lind Lopez Marsh Mbeki Meyer Moreau "
    "Morgan Nagy Nash Novak Nunes O'Brien Okafor Olsen Ortiz Palmer Park Pereira Quist Rahman Reid Ricci Rossi Ryan "
    "Sato Silva Sloan Stone Suzuki Tanaka Torres Ueda Unger Vance Vega Voss Walsh Weber Winter Wolf Yates Young Zhang"
)
# fmt: on
_IN_TWO, _IN_THREE = 24, 3  # people
_STRANGERS = 0.01  # chance that two of different groups meet
_BUSY = 0.85  # how much less often somebody meets a group who has others


def planted_friends(directory: Path, rng: np.random.Generator) -> None:
    """Write directory/graph.edges, the truth beside it, graph.truth.json, and its groups as lines, graph.truth.txt.

    graph.edges : person, person, hours a week, tab-separated; every pair once, no loops, people in order of name.
    graph.truth.txt : a line of tab-separated names for each group. The same bytes for the same seed: only rng.random()
    is drawn from, and only + - * / are used.
    """
    directory.mkdir(parents=True, exist_ok=True)
    member = _members(rng)
    names = _names(len(member), rng)
    hours = _hours(member, rng)
    order = sorted(range(len(names)), key=names.__getitem__)
    lines = [
        f"{names[u]}\t{names[v]}\t{hours[u, v]:g}"
        for place, u in enumerate(order)
        for v in order[place + 1 :]
        if hours[u, v]
    ]
    groups = {group: [names[u] for u in order if member[u, z]] for z, group in enumerate(GROUPS)}
    truth = {
        "communities": groups,
        "people": {names[u]: [group for z, group in enumerate(GROUPS) if member[u, z]] for u in order},
        "chances": {group: _chance(size) for group, size in GROUPS.items()} | {"strangers": _STRANGERS},
    }
    head = ["# Who spends time with whom in a small town, in hours a week.", "# person\tperson\thours"]
    sets = ["# The groups of graph.edges, one a line; some people are in two or three."]
    for group, people in groups.items():
        sets += [f"# {group}", "\t".join(people)]
    _write(directory / "graph.edges", head + lines)
    _write(directory / "graph.truth.txt", sets)
    _write(directory / "graph.truth.json", [json.dumps(truth, indent=1, ensure_ascii=False)])


def _write(path: Path, lines: list[str]) -> None:
    path.write_bytes(("\n".join(lines) + "\n").encode("utf-8"))


def _members(rng: np.random.Generator) -> NDArray[np.bool_]:
    """Who is in which group : (people, groups). The last group shares nobody; others do, never one person twice."""
    sizes = list(GROUPS.values())
    n_people = sum(sizes) - _IN_TWO - 2 * _IN_THREE
    left = np.array(sizes[:-1])
    member = np.zeros((n_people, len(sizes)), np.bool_)
    for person in range(n_people - sizes[-1]):
        n_groups = 3 if person < _IN_THREE else 2 if person < _IN_THREE + _IN_TWO else 1
        for _ in range(n_groups):
            open_places = np.where(member[person, :-1], 0, left)
            group = int(np.searchsorted(np.cumsum(open_places), rng.random() * open_places.sum(), side="right"))
            member[person, group] = True
            left[group] -= 1
    member[n_people - sizes[-1] :, -1] = True
    return member


def _names(number: int, rng: np.random.Generator) -> list[str]:
    """Different names: the two lists are shuffled, and their lengths (86 and 89) have no common factor."""
    first, last = (
        [names[i] for i in np.argsort(rng.random(len(names)), kind="stable")]
        for names in (FIRST_NAMES.split(), SURNAMES.split())
    )
    return [f"{first[i % len(first)]} {last[i % len(last)]}" for i in range(number)]


def _chance(size: int) -> float:
    """That two average members of a group meet: a third of the pairs of a large group, most of a small one."""
    return round(0.28 + 3.6 / size, 4)


def _hours(member: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float64]:
    """Hours a week : (people, people) symmetric; 0 where two do not meet."""
    n_people = len(member)
    sociable = 0.7 + 0.6 * rng.random(n_people)
    sociable[member.sum(axis=1) > 1] *= _BUSY
    hours = np.zeros((n_people, n_people))
    for group, size in enumerate(GROUPS.values()):
        lot, length = rng.random((2, n_people, n_people))
        both = member[:, group, None] & member[None, :, group]
        meet = both & (lot < _chance(size) * sociable[:, None] * sociable[None, :])
        hours += np.where(meet, _half_hours(1.0, 4.0, length), 0.0)
        for person in np.flatnonzero(member[:, group] & ~(np.triu(meet, 1) | np.triu(meet, 1).T).any(axis=1)).tolist():
            others = np.flatnonzero(both[person]).tolist()
            friend = others[(others.index(person) + 1) % len(others)]
            hours[min(person, friend), max(person, friend)] += 1.0  # nobody is without a friend in a group
    lot, length = rng.random((2, n_people, n_people))
    apart = ~(member[:, None, :] & member[None, :, :]).any(axis=2)
    apart &= ~member[:, None, -1] & ~member[None, :, -1]
    hours += np.where(apart & (lot < _STRANGERS), _half_hours(0.5, 1.0, length), 0.0)
    return np.triu(hours, 1) + np.triu(hours, 1).T


def _half_hours(low: float, high: float, share: NDArray[np.float64]) -> NDArray[np.float64]:
    """low, low + .5, ..., high, each as often."""
    return low + 0.5 * np.floor(share * (2 * (high - low) + 1))
