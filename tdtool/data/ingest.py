"""From a source of documents to a corpus file."""

from __future__ import annotations

import functools
import hashlib
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tdtool import log
from tdtool.config import IngestConfig, TokenConfig, as_json
from tdtool.data import tokeniser
from tdtool.data.batches import CountBatch, TextBatch
from tdtool.data.corpus import OUT_OF_VOCABULARY, Corpus
from tdtool.data.corpus_writer import Gathered, put_counts, write_corpus
from tdtool.data.document_ids import DocumentIds
from tdtool.data.ledger import Ledger
from tdtool.data.phrases import Stream, find_phrases, known_phrases, totals
from tdtool.data.readers import places
from tdtool.data.readers.source_types import CountSource, TextSource
from tdtool.data.readers.sources import open_source
from tdtool.data.spill import Spill
from tdtool.data.stop_words import NO_STOP_WORDS, StopWords, core_words, in_capitals, of_language, recognise, stop_words
from tdtool.data.term_selection import Selection, check_vocabulary, keep_first, select_terms
from tdtool.data.vocabulary import Vocabulary
from tdtool.errors import InputError, UsageError
from tdtool.store.hdf5 import check_output

_MOST_COUNT = 2**31 - 1

Counted: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]


def ingest(
    path: str,
    output: Path,
    config: IngestConfig,
    *,
    workers: int,
    fixed_vocabulary: list[str] | None = None,
    force: bool = False,
) -> Corpus:
    """Read documents, count their words, write the corpus file `output` and open it.

    path : a file, a directory or "-"; workers : threads, which do not change a bit of the content;
    fixed_vocabulary : keep exactly these words in this order (those outside are counted), filter nothing.
    """
    check_output(Path(output), force)
    tokeniser.check_tokens(config.tokens)
    check_vocabulary(config.vocabulary)
    stop = stop_words(config.vocabulary.stop_words)
    source = open_source(path, config.source)
    log.note(f"{source.path}: {source.description}")
    ledger = Ledger()
    with Spill() as spill:
        gathered = Gathered(start_vocabulary(fixed_vocabulary), [], DocumentIds(spill), spill)
        n_fixed = None if fixed_vocabulary is None else len(fixed_vocabulary)
        if isinstance(source, CountSource):
            stop = _gather_counts(source, config, gathered, ledger, stop, n_fixed)
        else:
            stop = _gather_text(source, config, gathered, ledger, workers, stop, n_fixed)
        gathered.ids.make_unique(strict=config.source.id_column is not None or config.source.id_field is not None)
        selection = select(gathered.vocabulary, config, ledger, stop, n_fixed)
        attributes = {
            "argv": sys.argv,
            "config": as_json(config),
            "source": provenance(source.path, source.size, source.description),
        }
        write_corpus(Path(output), gathered, selection, ledger, attributes, force=force)
    return Corpus.open(output, check=False)


def select(
    vocabulary: Vocabulary, config: IngestConfig, ledger: Ledger, stop: StopWords, n_fixed: int | None
) -> Selection:
    """The words that are kept; what that leaves out goes to the ledger. n_fixed : keep the first so many, or None."""
    if n_fixed is not None:
        ledger.count(OUT_OF_VOCABULARY, int(vocabulary.count[n_fixed : vocabulary.size].sum()))
        return keep_first(vocabulary, n_fixed)
    selection = select_terms(vocabulary, ledger.rows_used, config.vocabulary, stop)
    for reason, amount in selection.removed.items():
        ledger.count(f"distinct words left out: {reason}", amount)
    return selection


def _gather_text(
    source: TextSource,
    config: IngestConfig,
    gathered: Gathered,
    ledger: Ledger,
    workers: int,
    stop: StopWords | None,
    n_fixed: int | None,
) -> StopWords:
    """Tokenise all batches and put their counts aside; returns the stop words to take out."""
    vocabulary, spill = gathered.vocabulary, gathered.spill
    streams = []
    for batch, found, counted in _tokenised(source, config.tokens, ledger, workers):
        gathered.ids.add(batch.ids, batch.lines, batch.path)
        for name, amount in found.tally.items():
            ledger.count(name, amount)
        numbers = vocabulary.merge(found.words)
        if counted is not None:
            _put_counts(numbers, counted, gathered)
        else:
            numbers = np.append(numbers, np.int32(-1))  # -1, no word, stays -1
            streams.append(Stream(spill.put(numbers[found.tokens]), spill.put(found.ends)))
    warn_unspaced(ledger)
    if config.tokens.ngrams == 1:
        return resolve_stop_words(stop, vocabulary, vocabulary.count, config.tokens)
    stop = resolve_stop_words(stop, vocabulary, totals(streams, vocabulary.size, spill), config.tokens)
    if n_fixed is None:
        streams = find_phrases(streams, vocabulary, spill, stop, config.tokens.ngrams)
    else:
        streams = known_phrases(streams, vocabulary, spill, config.tokens.ngrams)
    own = np.arange(vocabulary.size, dtype=np.int32)
    for stream in streams:
        counted = tokeniser.count_documents(spill.get(stream.tokens), spill.get(stream.ends), vocabulary.size)
        _put_counts(own, counted, gathered)
    return stop


def _gather_counts(
    source: CountSource,
    config: IngestConfig,
    gathered: Gathered,
    ledger: Ledger,
    stop: StopWords | None,
    n_fixed: int | None,
) -> StopWords:
    """Put the counts of all batches aside; returns the stop words to take out."""
    if config.tokens.ngrams > 1 and n_fixed is None:
        raise UsageError("phrases need text in reading order; this source has counts only", path=source.path)
    numbers = gathered.vocabulary.add(source.vocabulary)
    with log.task("reading", total=source.size) as bar:
        for batch in source.batches(ledger, bar.advance):
            gathered.ids.add(batch.ids, batch.lines, batch.path)
            check_counts(batch)
            _put_counts(numbers, (batch.indptr, batch.indices, batch.counts.astype(np.int32)), gathered)
    return resolve_stop_words(stop, gathered.vocabulary, gathered.vocabulary.count, config.tokens)


def _put_counts(numbers: NDArray[np.int32], counted: Counted, gathered: Gathered) -> None:
    """Put sparse counts aside and add them to the vocabulary's. numbers : number in the vocabulary of each term."""
    indptr, indices, counts = counted
    indices = numbers[indices]
    gathered.vocabulary.observe(indices, counts)
    gathered.batches.append(put_counts(gathered.spill, indptr, indices, counts))


def check_counts(batch: CountBatch) -> None:
    """InputError for a count that no corpus holds."""
    if batch.counts.size and int(batch.counts.max()) > _MOST_COUNT:
        document = int(np.searchsorted(batch.indptr, int(batch.counts.argmax()), side="right")) - 1
        raise InputError(
            f"a count of {int(batch.counts.max())} is too large", path=batch.path, line=int(batch.lines[document])
        )


def warn_unspaced(ledger: Ledger) -> None:
    """Say when words were not found because nothing separates them."""
    if ledger.counters.get(tokeniser.UNSPACED):
        log.warn(
            f"{ledger.counters[tokeniser.UNSPACED]:,} {tokeniser.UNSPACED}: spaces do not separate words there; "
            "segment such text first (put a space between words), or whole phrases count as words"
        )


def provenance(path: str, size: int | None, description: str) -> dict[str, Any]:
    """What was read: its name, bytes and, for a plain file, BLAKE2b-128 of them."""
    name, digest, local = Path(path).name or path, None, places.local_path(path)
    if size is not None and local is not None and Path(local).is_file():
        with Path(local).open("rb") as file:
            digest = hashlib.file_digest(file, functools.partial(hashlib.blake2b, digest_size=16)).hexdigest()
    return {"path": name, "description": description, "bytes": size, "blake2b": digest}


def start_vocabulary(fixed_vocabulary: list[str] | None) -> Vocabulary:
    """A vocabulary that begins with the words of a fixed one."""
    vocabulary = Vocabulary()
    if fixed_vocabulary is not None:
        numbers = vocabulary.add(fixed_vocabulary)
        if not np.array_equal(numbers, np.arange(len(fixed_vocabulary))):
            raise InputError("the fixed vocabulary has a word twice, or an empty one")
    return vocabulary


def resolve_stop_words(
    stop: StopWords | None, vocabulary: Vocabulary, count: NDArray[np.int64], config: TokenConfig
) -> StopWords:
    """The stop words; when they are to be found out, of the language whose core words are used. count : (V,) int64."""
    if stop is None:
        numbers = vocabulary.find(core_words())
        counts = {word: int(count[n]) for word, n in zip(core_words(), numbers, strict=True) if n >= 0}
        code = recognise(counts, int(count.sum()))
        log.note(f"stop words: {code} (recognised)" if code else "stop words: none (no language recognised)")
        stop = StopWords(code, of_language(code)) if code else NO_STOP_WORDS
    return stop if config.lowercase else in_capitals(stop)


def _tokenised(
    source: TextSource, config: TokenConfig, ledger: Ledger, workers: int
) -> Iterator[tuple[TextBatch, tokeniser.TokenBatch, Counted | None]]:
    """Batches with their words (and counts, unless phrases come first), in order; only a few are held."""
    waiting: deque[tuple[TextBatch, Future[tuple[tokeniser.TokenBatch, Counted | None]]]] = deque()
    with log.task("reading", total=source.size) as bar, ThreadPoolExecutor(workers) as pool:
        try:
            for batch in source.batches(ledger, bar.advance):
                waiting.append((batch, pool.submit(_words_of, batch, config)))
                del batch
                while len(waiting) > workers:
                    yield _next(waiting)
            while waiting:
                yield _next(waiting)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _words_of(batch: TextBatch, config: TokenConfig) -> tuple[tokeniser.TokenBatch, Counted | None]:
    found = tokeniser.tokenise(batch, config)
    return found, found.counts() if config.ngrams == 1 else None


def _next(waiting: deque[Any]) -> tuple[TextBatch, tokeniser.TokenBatch, Counted | None]:
    batch, future = waiting.popleft()
    return batch, *future.result()
