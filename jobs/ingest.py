"""From a source of documents to a corpus on executors, the same as data.ingest makes, word for word.

Splits are read and tokenised side by side, each batch under words of its own. The words are merged by shares on the
executors, and the driver chooses among them; executors then renumber, and send every document to its canonical
partition. The driver holds the words, and a few numbers for each document.

The passes are mapPartitions over batches of arrays: documents are ragged, so that as Arrow tables they would be copied
twice on their way to the kernels, for columns that nothing in Spark looks at.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tdtool import log
from tdtool.config import IngestConfig, SourceConfig, as_json
from tdtool.data import tokeniser
from tdtool.data.corpus import partition_starts
from tdtool.data.corpus_writer import check_any_left
from tdtool.data.document_ids import announce, new_names, repeated, repeats_among
from tdtool.data.ingest import provenance, resolve_stop_words, select, start_vocabulary, warn_unspaced
from tdtool.data.ledger import Ledger
from tdtool.data.phrases import known_ways
from tdtool.data.readers.split_types import SplitPlan
from tdtool.data.readers.splits import count_split, finish, plan_splits
from tdtool.data.stop_words import StopWords, stop_words
from tdtool.data.term_selection import check_vocabulary
from tdtool.data.vocabulary import Vocabulary
from tdtool.errors import UsageError
from tdtool.jobs.corpus import SparkCorpus
from tdtool.jobs.documents import Record, Suspect, read_documents, split_facts, suspects_in
from tdtool.jobs.gathering import Gathering, share_count
from tdtool.jobs.groups import group_count, group_size
from tdtool.jobs.layout import Layout, partition_ids, partition_rows, split_lengths, split_pieces
from tdtool.jobs.phrases import Ways, counted_records, find_phrases
from tdtool.jobs.progress import carried, run_job
from tdtool.jobs.vocabulary import PackedWords, WordCounts, add_words, merged

if TYPE_CHECKING:
    from pyspark import RDD, SparkContext

#: Bytes of a split: small sources still spread over the cores, of large ones a task holds little.
_SMALLEST_SPLIT, _LARGEST_SPLIT = 1 << 20, 1 << 25
_SPLITS_A_SLOT = 3


@contextlib.contextmanager
def ingest_text(
    context: SparkContext, source: str, config: IngestConfig, *, fixed_vocabulary: list[str] | None = None
) -> Iterator[SparkCorpus]:
    """Read documents and count their words on executors, which hold the corpus for the life of the block.

    source : a path or URI that every executor can read; fixed_vocabulary : as of data.ingest.ingest.
    """
    tokeniser.check_tokens(config.tokens)
    check_vocabulary(config.vocabulary)
    stop = stop_words(config.vocabulary.stop_words)
    plan = _planned(context, source, config.source)
    log.note(f"{plan.path}: {plan.description}")
    if plan.note:
        log.note(f"{plan.path}: {plan.note}")
    if plan.is_counts and config.tokens.ngrams > 1 and fixed_vocabulary is None:
        raise UsageError("phrases need text in reading order; this source has counts only", path=plan.path)
    with Gathering(context) as gathering:
        yield _Ingest(gathering, plan, config, fixed_vocabulary).corpus(stop)


def _planned(context: SparkContext, source: str, config: SourceConfig) -> SplitPlan:
    """Cut the source: few parts for each core, of a size that a task can hold."""
    wanted = _SPLITS_A_SLOT * context.defaultParallelism

    def split_bytes(size: int) -> int:
        return min(max(size // wanted, _SMALLEST_SPLIT), _LARGEST_SPLIT)

    plan = plan_splits(source, config, split_bytes=split_bytes)
    if not plan.needs_facts:
        return plan
    sent = context.broadcast(plan.alone())
    counted = context.parallelize(plan.splits, len(plan.splits)).map(
        carried(lambda split: count_split(sent.value, split))
    )
    plan = plan.with_facts(run_job(context, "counting lines", counted.collect))
    sent.destroy()
    return plan


@dataclasses.dataclass(frozen=True)
class _Ingest:
    """One source on its way to a corpus."""

    gathering: Gathering
    plan: SplitPlan
    config: IngestConfig
    fixed: list[str] | None

    def corpus(self, stop: StopWords | None) -> SparkCorpus:
        """The corpus. stop : the stop words, None for those of the language that is recognised."""
        records = self._read()
        few = share_count(records) == 1
        facts = self._collected(records, functools.partial(split_facts, with_words=few), "reading")
        ledger = _added(fact.ledger for fact in facts)
        finish(self.plan, ledger)
        warn_unspaced(ledger)
        keys = [fact.keys for fact in facts]
        sizes = [fact.keys.size for fact in facts]
        words = merged(fact.words for fact in facts if fact.words) if few else self.gathering.words(records)
        del facts
        records, words, stop = self._with_phrases(records, words, stop)
        renamed = self._renamed(records, keys)
        del keys
        vocabulary = self._vocabulary(words)
        selection = select(vocabulary, self.config, ledger, stop, None if self.fixed is None else len(self.fixed))
        terms = vocabulary.words(selection.order)
        del words, vocabulary, selection
        kept = self.gathering.send(PackedWords.of(terms))
        found = self._collected(records, lambda items: split_lengths(items, kept.value), "words kept")
        for part in found:
            ledger.merge(part.ledger)
        check_any_left(ledger)
        layout, n_entries = self._layout([part.lengths for part in found], sizes, renamed)
        del found
        rows, ids, anchors = self._shared_out(records, kept, layout)
        return SparkCorpus(
            context=self.gathering.context,
            starts=layout.starts,
            n_entries=n_entries,
            vocabulary=terms,
            ledger=ledger,
            attributes=self._attributes(),
            rows=rows,
            ids=ids,
            anchors=anchors,
            group=layout.group,
        )

    def _read(self) -> RDD[Record]:
        splits, gathering = self.plan.splits, self.gathering
        plan = gathering.send(self.plan.alone())
        terms = gathering.send(PackedWords.of(self.plan.vocabulary or []))
        tokens = self.config.tokens
        given = gathering.context.parallelize(splits, max(len(splits), 1))
        return gathering.hold(
            gathering.mapped(given, lambda items: read_documents(items, plan.value, terms.value, tokens))
        )

    def _collected(self, records: RDD[Record], step: Any, about: str) -> list[Any]:
        return self.gathering.collected(self.gathering.mapped(records, step), about)

    def _with_phrases(
        self, records: RDD[Record], words: WordCounts, stop: StopWords | None
    ) -> tuple[RDD[Record], WordCounts, StopWords]:
        """Counted documents, their words, and the stop words that were to be found out."""
        ngrams = self.config.tokens.ngrams
        vocabulary = self._vocabulary(words)
        stop = resolve_stop_words(stop, vocabulary, vocabulary.count, self.config.tokens)
        if ngrams == 1 or self.plan.is_counts:
            return records, words, stop
        if self.fixed is None:
            rounds = find_phrases(self.gathering, records, words, stop, ngrams)
        else:
            rounds = [Ways.of(ways) for ways in known_ways(self.fixed, ngrams)]
        sent = self.gathering.send(rounds)
        counted = self.gathering.hold(self.gathering.mapped(records, lambda items: counted_records(items, sent.value)))
        words = self.gathering.words(counted)
        self.gathering.release(records)
        return counted, words, stop

    def _vocabulary(self, words: WordCounts) -> Vocabulary:
        vocabulary = start_vocabulary(self.fixed)
        add_words(vocabulary, words)
        return vocabulary

    def _renamed(self, records: RDD[Record], keys: list[NDArray[np.uint64]]) -> dict[int, str]:
        """New names of documents that repeat one, as DocumentIds.make_unique gives them. keys : of each split."""
        everyone = np.concatenate([np.empty(0, np.uint64), *keys])
        wanted = repeated(everyone)
        if not wanted.size:
            return {}
        sent = self.gathering.send(wanted)
        numbered = records.mapPartitionsWithIndex(
            carried(lambda split, items: ((split, suspect) for suspect in suspects_in(items, sent.value))), True
        )
        found: list[tuple[int, Suspect]] = self.gathering.collected(numbered, "documents with the same id")
        first = _firsts([own.size for own in keys])
        documents = np.array([first[split] + suspect.document for split, suspect in found], np.int64)
        repeats = repeats_among(documents, [suspect.name for _, suspect in found])
        if not repeats:
            return {}
        places = [found[int(np.searchsorted(documents, document))][1].place for document in repeats[0][1:]]
        source = self.config.source
        announce(repeats, places, strict=source.id_column is not None or source.id_field is not None)
        return new_names(repeats, everyone)

    def _layout(
        self, lengths: list[NDArray[np.int32]], sizes: list[int], renamed: dict[int, str]
    ) -> tuple[Layout, int]:
        """Where every document goes, and the entries of all. lengths : kept, of each split; sizes : documents read."""
        kept = [part[part > 0] for part in lengths]
        indptr = np.concatenate([[0], np.cumsum(np.concatenate(kept), dtype=np.int64)])
        starts = partition_starts(indptr)
        n_entries = int(indptr[-1])
        group = group_size(starts.size - 1, n_entries, self.gathering.context.defaultParallelism)
        first_kept = _firsts([part.size for part in kept])
        return Layout(starts, _firsts(sizes), first_kept, renamed, group), n_entries

    def _shared_out(self, records: RDD[Record], kept: Any, layout: Layout) -> tuple[RDD[Any], RDD[Any], RDD[int]]:
        """The rows, names and indices of the canonical partitions; rows are there when this returns."""
        gathering, sent = self.gathering, self.gathering.send(layout)

        def give(split: int, items: Iterable[Record]) -> Iterator[Any]:
            return split_pieces(split, items, kept.value, sent.value)

        def rows_of(group: int, pieces: Iterable[Any]) -> Iterator[Any]:
            return partition_rows(group, pieces, sent.value)

        def ids_of(group: int, pieces: Iterable[Any]) -> Iterator[Any]:
            return partition_ids(group, pieces, sent.value)

        count = group_count(layout.n_partitions, layout.group)
        pieces = records.mapPartitionsWithIndex(carried(give)).partitionBy(
            count, functools.partial(_group_of, layout.group)
        )
        rows = gathering.hold(pieces.mapPartitionsWithIndex(carried(rows_of), True))
        anchors = gathering.hold(rows.map(_index_of))
        run_job(gathering.context, "sharing out", anchors.count)
        gathering.release(records)
        return rows, pieces.mapPartitionsWithIndex(carried(ids_of), True), anchors

    def _attributes(self) -> dict[str, Any]:
        source = provenance(self.plan.path, self.plan.size, self.plan.description)
        return {"argv": sys.argv, "config": as_json(self.config), "source": source}


def _added(ledgers: Iterable[Ledger]) -> Ledger:
    whole = Ledger()
    for ledger in ledgers:
        whole.merge(ledger)
    return whole


def _firsts(sizes: Sequence[int]) -> NDArray[np.int64]:
    """The number of the first of each split's: (splits,) int64."""
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])[:-1].astype(np.int64)


def _index_of(element: tuple[int, Any]) -> int:
    return element[0]


def _group_of(group: int, index: int) -> int:
    return index // group
