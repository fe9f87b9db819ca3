"""From the names of all parts of a graph to its nodes: canonical order, and which node a name is."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray

from tdtool.data.graph_build import Names, kinds_of, places_of
from tdtool.data.name_tables import HEAD, TAIL, NameTable, hashes_of
from tdtool.data.readers.graph_names import names_of
from tdtool.data.vocabulary import WordTable
from tdtool.errors import InputError


@dataclasses.dataclass(frozen=True)
class Numbering:
    """Which node a name is. names : all of them; tails, heads : (names,) int32, the node that each is as the tail and
    as the head of an edge."""

    names: NameTable
    tails: NDArray[np.int32]
    heads: NDArray[np.int32]

    def find(self, table: NameTable) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The nodes of a table's names as tails and as heads, both (n,) int32. InputError for one that is not here."""
        wanted, lookup = table, self._lookup
        if isinstance(lookup, WordTable):
            wanted = table.as_text()
            places = np.empty(wanted.size, np.int32)
            lookup.add_bytes(wanted.text, wanted.bounds, hashes_of(wanted), places, enter=False)
            known = places >= 0
        else:
            numbers = np.zeros(0, np.int64) if wanted.numbers is None else wanted.numbers
            places = np.minimum(np.searchsorted(lookup, numbers), max(lookup.size - 1, 0))
            known = lookup[places] == numbers
        if not bool(known.all()):
            raise InputError("the edges have changed while they were read", hint="read a copy that nobody writes to")
        return self.tails[places], self.heads[places]

    @functools.cached_property
    def _lookup(self) -> WordTable | NDArray[np.int64]:
        """Made where it is used: it would take longer to send."""
        if self.names.numbers is not None:
            return self.names.numbers
        words = WordTable(self.names.size, max(self.names.text.size, 1))
        codes = np.empty(self.names.size, np.int32)
        words.add_bytes(self.names.text, self.names.bounds, hashes_of(self.names), codes)
        return words


def number_nodes(table: NameTable, path: str, *, bipartite: bool) -> tuple[Numbering, Names, int | None]:
    """Which node each name is, the names in canonical order, and how many of them are of the first kind (or None).

    table : all names, each once. Raises InputError for more nodes than 32 bits can number.
    """
    if table.numbers is not None:
        table = table.chosen(np.argsort(table.numbers))
    names: Names = names_of(table.text, table.bounds) if table.numbers is None else table.numbers
    kinds = kinds_of((table.roles & TAIL) > 0, (table.roles & HEAD) > 0) if bipartite else None
    places = places_of(names, kinds, path)
    return Numbering(table, places.tails, places.heads), places.names, places.n_left
