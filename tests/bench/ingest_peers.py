"""Counts the words of one text file in a process of its own: `python -m tests.bench.ingest_peers TASK`.

Timed is everything from opening the file, one document a line, to sparse counts of the words in 5 documents to 30 %.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.children import reports
from tests.bench.measure import Stopwatch, peak_rss_mb

MIN_DF, MAX_DF = 5, 0.3
_MIN_LENGTH, _MAX_LENGTH = 2, 40
_WARM_UP_BYTES = 1_000_000


@dataclasses.dataclass(frozen=True)
class Task:
    """What to count. text : path of the file; vocabulary : path for the words kept, one a line; scratch : a folder."""

    system: str
    text: str
    vocabulary: str
    scratch: str
    threads: int


def read_tdtool(task: Task, start: Callable[[], None]) -> tuple[Stopwatch, list[str]]:
    """tdtool ingest into a corpus file, after the first MB alone, which compiles the kernels or loads them."""
    from tdtool.config import IngestConfig, SourceConfig, VocabularyConfig
    from tdtool.data.ingest import ingest

    vocabulary = VocabularyConfig(stop_words="none", min_df=MIN_DF, max_df=MAX_DF)
    config = IngestConfig(source=SourceConfig(format="lines"), vocabulary=vocabulary)
    beginning = Path(task.scratch) / "beginning.txt"
    with Path(task.text).open("rb") as file:
        beginning.write_bytes(b"".join(file.readlines(_WARM_UP_BYTES)))
    ingest(str(beginning), Path(task.scratch) / "beginning.h5", config, workers=task.threads, force=True)
    start()
    with Stopwatch() as watch:
        corpus = ingest(task.text, Path(task.scratch) / "corpus.h5", config, workers=task.threads, force=True)
    return watch, corpus.vocabulary


def read_sklearn(task: Task, start: Callable[[], None]) -> tuple[Stopwatch, list[str]]:
    """CountVectorizer over the open file; it has no threads."""
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(token_pattern=rf"[^\W_]{{{_MIN_LENGTH},}}", min_df=MIN_DF, max_df=MAX_DF)
    start()
    with Stopwatch() as watch, Path(task.text).open(encoding="utf-8", errors="replace") as lines:
        counter.fit_transform(lines)
    return watch, list(counter.vocabulary_)


def read_gensim(task: Task, start: Callable[[], None]) -> tuple[Stopwatch, list[str]]:
    """simple_preprocess into a Dictionary, counts into flat arrays; it has no threads."""
    from gensim.corpora import Dictionary
    from gensim.utils import simple_preprocess

    start()
    dictionary, terms, counts = Dictionary(), array("i"), array("i")
    with Stopwatch() as watch, Path(task.text).open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            tokens = simple_preprocess(line, min_len=_MIN_LENGTH, max_len=_MAX_LENGTH)
            for term, count in dictionary.doc2bow(tokens, allow_update=True):
                terms.append(term)
                counts.append(count)
        dictionary.filter_extremes(no_below=MIN_DF, no_above=MAX_DF, keep_n=None)
    return watch, list(dictionary.token2id)


def read_polars(task: Task, start: Callable[[], None]) -> tuple[Stopwatch, list[str]]:
    """Lower case, words by regular expression, explode, group by document and word; on all threads."""
    import polars

    words = polars.col("line").str.to_lowercase().str.extract_all(rf"[\p{{L}}\p{{M}}\p{{N}}]{{{_MIN_LENGTH},}}")
    start()
    with Stopwatch() as watch:
        lines = polars.scan_lines(task.text, name="line", row_index_name="document")
        counts = (
            lines.select("document", words.alias("word"))
            .explode("word")
            .drop_nulls("word")
            .group_by("document", "word")
            .len()
            .collect()
        )
        frequency = counts.group_by("word").len()
        most = MAX_DF * lines.select(polars.len()).collect().item()
        kept = frequency.filter(polars.col("len").is_between(MIN_DF, most)).sort("word").with_row_index("term")
        counts.join(kept.select("word", "term"), on="word").select("document", "term", "len").sort("document", "term")
    return watch, kept["word"].to_list()


READERS: dict[str, Callable[[Task, Callable[[], None]], tuple[Stopwatch, list[str]]]] = {
    "tdtool": read_tdtool,
    "CountVectorizer": read_sklearn,
    "gensim": read_gensim,
    "polars": read_polars,
}


def main(task: Task, send: Callable[..., Any]) -> None:
    """Count, write the vocabulary, say how long it took."""
    watch, words = READERS[task.system](task, lambda: send(started=True))
    peak = peak_rss_mb()
    Path(task.vocabulary).write_text("\n".join(words), encoding="utf-8")
    send(seconds=watch.seconds, cpu_seconds=watch.cpu_seconds, peak_rss_mb=peak)


if __name__ == "__main__":
    with reports() as channel:
        main(Task(**json.loads(sys.argv[1])), channel)
