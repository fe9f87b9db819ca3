"""A corpus whose partitions are reached by executors: read where they are stored, or made by an ingest job."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tdtool.data.corpus import OUT_OF_VOCABULARY, Corpus, Rows, term_map, translated
from tdtool.data.corpus_parquet import ParquetCorpus
from tdtool.data.ledger import Ledger
from tdtool.data.readers import places
from tdtool.errors import InputError
from tdtool.jobs.groups import group_count, group_size, members
from tdtool.jobs.progress import carried, run_job

if TYPE_CHECKING:
    from pyspark import RDD, SparkContext

_HINT = "put it where every executor can read it, or ingest it to a shared place: tdtool ingest ... -o s3a://..."


@dataclasses.dataclass(frozen=True)
class SparkCorpus:
    """D documents over V words on a cluster; see data.corpus.Corpus.

    rows : (index, Rows) of every canonical partition, Spark's partition j holds those of group j in ascending order
    (groups.py); ids : (index, names of its documents), shared out in the same way; anchors : the indices alone, cached
    where `rows` are computed, so that later tasks find there what earlier ones left.
    """

    context: SparkContext
    starts: NDArray[np.int64]
    n_entries: int
    vocabulary: list[str]
    ledger: Ledger
    attributes: dict[str, Any]
    rows: RDD[tuple[int, Rows]]
    ids: RDD[tuple[int, list[str]]]
    anchors: RDD[int]
    group: int

    @property
    def n_documents(self) -> int:
        """D."""
        return int(self.starts[-1])

    @property
    def n_terms(self) -> int:
        """V."""
        return len(self.vocabulary)

    @property
    def n_partitions(self) -> int:
        """P."""
        return self.starts.size - 1

    def id_blocks(self) -> Iterator[tuple[int, list[str]]]:
        """(first document, names) of all documents, a partition at a time."""
        for index, names in in_waves(self.ids, "names", 1):
            yield int(self.starts[index]), names

    def named(self) -> RDD[tuple[int, Rows, list[str]]]:
        """(index, Rows, names of its documents) of every partition."""
        return self.rows.zip(self.ids).map(_named)

    @classmethod
    def from_hdf5(cls, context: SparkContext, path: str | Path) -> SparkCorpus:
        """A corpus file that every executor can open under the same name; its partitions are memory-mapped there."""
        place = str(Path(path).resolve())
        corpus = Corpus.open(place)  # looks at every entry, once and for all
        read = functools.partial(_stored_rows, place)
        names = functools.partial(_stored_names, place)
        return _read_by_executors(context, corpus, corpus.starts, read, names)

    @classmethod
    def from_parquet(cls, context: SparkContext, place: str) -> SparkCorpus:
        """A corpus store of Parquet parts, at a path or URI that every executor can read."""
        store = ParquetCorpus.open(places.absolute(place), check=False)  # a part is looked at by whoever reads it
        read, names = functools.partial(_part_rows, store), functools.partial(_part_names, store)
        found = _read_by_executors(context, store, store.starts, read, names)
        return dataclasses.replace(found, rows=persisted(found.rows))  # not decoded anew for every step

    def seen_through(self, vocabulary: list[str]) -> SparkCorpus:
        """The same documents in the words of another vocabulary; words it lacks disappear, and are counted."""
        sent = self.context.broadcast(term_map(self.vocabulary, vocabulary))

        def see(element: tuple[int, Rows]) -> tuple[int, Rows]:
            return element[0], translated(element[1], sent.value)

        def lost(element: tuple[int, Rows]) -> int:
            known = sent.value[element[1].indices] >= 0
            return int(element[1].counts[~known].sum())

        missed = run_job(self.context, "vocabulary", lambda: self.rows.map(carried(lost)).sum())
        ledger = Ledger.from_dict(self.ledger.as_dict())
        ledger.count(OUT_OF_VOCABULARY, int(missed))
        rows = self.rows.map(carried(see))
        return dataclasses.replace(self, vocabulary=vocabulary, rows=rows, ledger=ledger)


def in_waves(rdd: RDD[Any], about: str, wave: int) -> Iterator[Any]:
    """All elements in order; the driver holds those of `wave` of Spark's partitions at a time."""
    context, count = rdd.context, rdd.getNumPartitions()
    for first in range(0, count, wave):
        job = functools.partial(context.runJob, rdd, list, list(range(first, min(first + wave, count))))
        yield from run_job(context, about, job)


def persisted(rdd: RDD[Any]) -> RDD[Any]:
    """Keep an RDD on the executors' disks: the system caches it in memory that is free, and Java's heap stays small."""
    from pyspark import StorageLevel

    return rdd.persist(StorageLevel.DISK_ONLY)


def grouped_indices(context: SparkContext, n_partitions: int, size: int) -> RDD[int]:
    """The indices of all canonical partitions, group by group, cached where they are first used."""
    count = group_count(n_partitions, size)
    found = functools.partial(members, size=size, n_partitions=n_partitions)
    return persisted(context.parallelize(range(count), count).flatMap(found))


def _read_by_executors(
    context: SparkContext,
    facts: Any,
    starts: NDArray[np.int64],
    read: Callable[[int], Rows],
    names: Callable[[int], list[str]],
) -> SparkCorpus:
    size = group_size(starts.size - 1, facts.n_entries, context.defaultParallelism)
    indices = grouped_indices(context, starts.size - 1, size)

    def with_index(make: Callable[[int], Any]) -> Callable[[Iterable[int]], Iterator[tuple[int, Any]]]:
        return lambda found: ((index, make(index)) for index in found)

    return SparkCorpus(
        context=context,
        starts=starts,
        n_entries=facts.n_entries,
        vocabulary=facts.vocabulary,
        ledger=facts.ledger,
        attributes=facts.attributes,
        rows=indices.mapPartitions(carried(with_index(read))),
        ids=indices.mapPartitions(carried(with_index(names))),
        anchors=indices,
        group=size,
    )


def _named(pair: tuple[tuple[int, Rows], tuple[int, list[str]]]) -> tuple[int, Rows, list[str]]:
    (index, rows), (other, names) = pair
    if index != other:
        raise RuntimeError(f"partition {index} met the names of partition {other}")
    return index, rows, names


def _stored_rows(place: str, index: int) -> Rows:
    return _opened(place, _stamp(place)).rows(index)


def _stored_names(place: str, index: int) -> list[str]:
    corpus = _opened(place, _stamp(place))
    return corpus.names(int(corpus.starts[index]), int(corpus.starts[index + 1]))


def _stamp(place: str) -> int:
    try:
        return Path(place).stat().st_mtime_ns
    except OSError as error:
        raise InputError("an executor cannot see this file", path=place, hint=_HINT) from error


@functools.lru_cache(maxsize=2)
def _opened(place: str, stamp: int) -> Corpus:
    """A corpus file as a worker process sees it. stamp : its time, so that a new file is opened anew."""
    return Corpus.open(place, check=False)


def _part_rows(store: ParquetCorpus, index: int) -> Rows:
    return store.part(index)[0]


def _part_names(store: ParquetCorpus, index: int) -> list[str]:
    return store.part(index)[1]
