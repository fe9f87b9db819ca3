"""Passes over the splits of a source, and what they send to the driver: a wave of tasks at a time, so that no answer is
larger than Spark allows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from tdtool.jobs.corpus import in_waves, persisted
from tdtool.jobs.documents import Record, word_shares
from tdtool.jobs.progress import carried
from tdtool.jobs.vocabulary import WordCounts, merged

if TYPE_CHECKING:
    from pyspark import RDD, Broadcast, SparkContext

    T = TypeVar("T")

#: Partitions whose answers the driver takes at a time.
_WAVE = 256
#: Splits for each task that merges what splits say, and such tasks at most: each gets a piece from every split.
_SPLITS_A_SHARE, _MOST_SHARES = 16, 256


@dataclasses.dataclass(frozen=True)
class Gathering:
    """What one ingest holds on a cluster; all of it goes with the `with` block."""

    context: SparkContext
    sent: list[Broadcast[Any]] = dataclasses.field(default_factory=list)
    held: list[RDD[Any]] = dataclasses.field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:  # after an error the context goes, and all that it holds
            for rdd in self.held:
                rdd.unpersist()
            for broadcast in self.sent:
                broadcast.destroy()

    def send(self, value: T) -> Broadcast[T]:
        """A value for all tasks; it stays, for tasks that are run again when an executor is lost."""
        self.sent.append(self.context.broadcast(value))
        return self.sent[-1]

    def hold(self, rdd: RDD[T]) -> RDD[T]:
        """Keep an RDD where it is computed."""
        self.held.append(persisted(rdd))
        return rdd

    def release(self, rdd: RDD[Any]) -> None:
        """Keep it no longer."""
        self.held[:] = [other for other in self.held if other is not rdd]
        rdd.unpersist()

    def mapped(self, records: RDD[Any], function: Callable[[Iterable[Any]], Iterator[T]]) -> RDD[T]:
        """A function of all that one split became, on every split."""
        return records.mapPartitions(carried(function), preservesPartitioning=True)

    def collected(self, rdd: RDD[T], about: str) -> list[T]:
        """All elements, in order."""
        return list(in_waves(rdd, about, _WAVE))

    def words(self, records: RDD[Record]) -> WordCounts:
        """All words of the splits with their uses."""
        return merged(self.reduced(records, _word_shares, _merged_share, None, "words"))

    def reduced(
        self,
        records: RDD[Record],
        step: Callable[[Iterable[Record], Any, int], Iterator[tuple[int, Any]]],
        finish: Callable[[Iterable[tuple[int, Any]], Any], Iterator[T]],
        parameter: Any,
        about: str,
    ) -> list[T]:
        """`step(records, parameter, n_shares)` on every split, its (share, value) brought together by share, and
        `finish(pairs, parameter)` on every share."""
        n_shares, sent = share_count(records), self.send(parameter)

        def give(found: Iterable[Record]) -> Iterator[tuple[int, Any]]:
            return step(found, sent.value, n_shares)

        def take(pairs: Iterable[tuple[int, Any]]) -> Iterator[T]:
            return finish(pairs, sent.value)

        given = self.mapped(records, give).partitionBy(n_shares, _itself)
        return self.collected(self.mapped(given, take), about)


def share_count(records: RDD[Any]) -> int:
    """Tasks that bring together what all splits say of a word."""
    return min(-(-records.getNumPartitions() // _SPLITS_A_SHARE), _MOST_SHARES)


def _itself(share: int) -> int:
    return share


def _word_shares(records: Iterable[Record], parameter: None, n_shares: int) -> Iterator[tuple[int, WordCounts]]:
    return word_shares(records, n_shares)


def _merged_share(pairs: Iterable[tuple[int, WordCounts]], parameter: None) -> Iterator[WordCounts]:
    yield merged(words for _, words in pairs)
