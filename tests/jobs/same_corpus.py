"""What tests of ingest on Spark share: sources of every format, and the comparison with ingest on one machine."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tdtool.config import IngestConfig, VocabularyConfig
from tdtool.data.corpus import Corpus
from tdtool.data.ingest import ingest
from tdtool.jobs.corpus import SparkCorpus
from tdtool.jobs.ingest import ingest_text

PLAIN = IngestConfig(vocabulary=VocabularyConfig(stop_words="none", min_df=1, max_df=1.0))
WORDS = [f"{a}{b}{c}" for a in "bdfgk" for b in "aeiou" for c in "lmnrst"]
#: Lines that are no documents, or lose all their words.
STRANGE = ["", "1 2 3", "x", "été 漢字仮名 12", "lone"]


def some_documents(n_documents: int, seed: int = 0) -> list[str]:
    """Documents of words drawn by Zipf's law, of very different lengths, with planted phrases and strange ones."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, len(WORDS) + 1)
    documents = []
    for number in range(n_documents):
        words = [WORDS[w] for w in rng.choice(len(WORDS), rng.integers(3, 40), p=share / share.sum())]
        words[2:2] = [[], ["New", "York", "City"], ["machine", "learning"]][number % 3]
        documents.append(" ".join(words) + " the of the")
    for place, text in zip(rng.permutation(n_documents)[: len(STRANGE)], STRANGE, strict=True):
        documents[place] = text
    return documents


def write_source(kind: str, documents: list[str], folder: Path) -> Path:
    """The documents as one source. kind : a format."""
    path = folder / f"source.{kind}"
    if kind == "directory":
        for number, text in enumerate(documents):
            place = path / f"part{number % 3}" / f"{number:04}.txt"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8")
    elif kind == "txt":
        path.write_text("\n".join(documents), encoding="utf-8")
    elif kind == "jsonl":
        rows = [{"text": text, "id": f"n{number % 50}"} for number, text in enumerate(documents)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif kind in ("csv", "tsv"):
        file = io.StringIO(newline="")
        writer = csv.writer(file, delimiter="," if kind == "csv" else "\t", lineterminator="\r\n")
        writer.writerows([("id", "text"), *((f"n{n % 50}", text) for n, text in enumerate(documents))])
        path.write_text(file.getvalue(), encoding="utf-8", newline="")
    elif kind == "parquet":
        names = [f"n{number % 50}" for number in range(len(documents))]
        pq.write_table(pa.table({"id": names, "text": documents}), path, row_group_size=29)
    else:
        raise ValueError(kind)
    return path


def write_counts(kind: str, folder: Path, seed: int = 0) -> Path:
    """Counts of 60 documents over 40 words, one of which nobody uses. kind : a format."""
    matrix = np.random.default_rng(seed).poisson(0.4, (60, 40))
    matrix[:, 7] = 0
    matrix[11] = 0
    path = folder / {"uci": "docword.x.txt", "svmlight": "x.svmlight", "lda-c": "x.dat"}[kind]
    terms = [*WORDS[:38], "the", "New_York"]
    (folder / {"uci": "vocab.x.txt"}.get(kind, "x.vocab")).write_text("\n".join(terms) + "\n")
    rows = [[(int(t), int(row[t])) for t in np.flatnonzero(row)] for row in matrix]
    if kind == "uci":
        lines = [f"{d + 1} {t + 1} {n}" for d, row in enumerate(rows) for t, n in row]
        path.write_text("\n".join(["60", "40", str(len(lines)), *lines]) + "\n")
    elif kind == "svmlight":
        path.write_text("".join("0 " + " ".join(f"{t + 1}:{n}" for t, n in row) + "\n" for row in rows))
    else:
        path.write_text("".join(f"{len(row)} " + " ".join(f"{t}:{n}" for t, n in row) + "\n" for row in rows))
    return path


def assert_same(found: SparkCorpus, expected: Corpus) -> None:
    """The corpus on executors is the one on this machine, bit for bit."""
    assert found.vocabulary == expected.vocabulary
    assert found.ledger == expected.ledger
    assert found.starts.tolist() == expected.starts.tolist()
    assert found.starts.dtype == np.int64
    assert (found.n_documents, found.n_entries) == (expected.n_documents, expected.n_entries)
    rows: list[Any] = found.rows.collect()
    assert [index for index, _ in rows] == list(range(expected.n_partitions))
    for index, part in rows:
        own = expected.rows(index)
        assert (part.index, part.start) == (index, own.start)
        for name in ("indptr", "indices", "counts"):
            assert getattr(part, name).dtype == getattr(own, name).dtype
            assert getattr(part, name).tolist() == getattr(own, name).tolist()
    assert [name for _, names in found.id_blocks() for name in names] == expected.document_ids
    for name in ("config", "source"):
        assert found.attributes[name] == expected.attributes[name]


def compare(
    context: Any, source: Path, config: IngestConfig, folder: Path, *, fixed: list[str] | None = None
) -> Corpus:
    """Ingest both ways; the same must come out."""
    expected = ingest(str(source), folder / "expected.h5", config, workers=1, fixed_vocabulary=fixed, force=True)
    with ingest_text(context, str(source), config, fixed_vocabulary=fixed) as found:
        assert_same(found, expected)
    return expected
