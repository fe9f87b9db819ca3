"""Small files of every schema, sizes all different, written by the store itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tdtool.store import hdf5, schema

N_TOPICS, N_TERMS, N_DOCUMENTS = 3, 29, 7
TERMS = [*(f"wörd{i}" for i in range(N_TERMS - 3)), "=cmd()", "\x1b[31mred", "二字"]
IDS = ["=1+1", "-5", "a,b", 'c"d', "e\nf", "@home", "plain"]


def topics_content(seed: int = 0) -> dict[str, Any]:
    """Arrays of a topic model by path."""
    rng = np.random.default_rng(seed)
    per_topic = {f"topics/{name}": rng.normal(size=N_TOPICS) for name in ("weight", "npmi", "umass", "cv")}
    return {
        "topics/topic_word": rng.dirichlet(np.full(N_TERMS, 0.3), N_TOPICS).astype(np.float32),
        "topics/alpha": rng.gamma(1.0, size=N_TOPICS),
        "topics/size": rng.dirichlet(np.ones(N_TOPICS)),
        **per_topic,
        "vocabulary/term": TERMS,
        "vocabulary/document_frequency": np.arange(N_TERMS, 0, -1),
        "vocabulary/count": np.arange(N_TERMS, 0, -1) * 2,
        "documents/id": IDS,
        "documents/topic": rng.dirichlet(np.ones(N_TOPICS), N_DOCUMENTS).astype(np.float32),
        "documents/held_out": np.array([0, 1, 0, 0, 0, 1, 0], np.uint8),
        "documents/length": np.arange(N_DOCUMENTS),
        "selection/n_topics": np.array([3, 5]),
        "selection/perplexity": np.array([91.5, 80.25]),
        "selection/npmi": np.array([0.5, 0.25]),
        "selection/diversity": np.array([1.0, 0.75]),
    }


def write_topics(path: Path, content: dict[str, Any] | None = None, *, force: bool = False) -> Path:
    """A topic model."""
    with hdf5.create(path, schema.TOPICS, force=force) as writer:
        for name, values in (content or topics_content()).items():
            writer.put(name, values)
        writer.attribute("scores", {"perplexity": 80.25, "held_out_documents": 2, "npmi": 0.5, "diversity": 0.75})
        writer.attribute("argv", ["tdtool", "topics", "my corpus"])
        writer.attribute("seed", 3)
        ledger = {"rows_in": 9, "rows_used": 7, "skips": {"empty document": {"count": 2, "examples": ["a:1", "a:4"]}}}
        writer.attribute("ledger", {**ledger, "counters": {}})
    return path


def corpus_content() -> dict[str, Any]:
    """Arrays of a corpus of 3 documents over 4 terms by path."""
    return {
        "counts/indptr": np.array([0, 2, 3, 6]),
        "counts/indices": np.array([0, 3, 1, 0, 1, 2], np.int32),
        "counts/data": np.array([5, 1, 2, 1, 1, 9], np.int32),
        "vocabulary/term": ["der", "die", "das", "ß"],
        "vocabulary/document_frequency": np.array([2, 2, 1, 1]),
        "vocabulary/count": np.array([6, 3, 9, 1]),
        "documents/id": ["x", "y", "z"],
        "partitions/start": np.array([0, 2, 3]),
        "partitions/digest": np.array(["a" * 32, "b" * 32], "S32"),
    }


def write_corpus(path: Path, content: dict[str, Any] | None = None) -> Path:
    """A corpus."""
    with hdf5.create(path, schema.CORPUS) as writer:
        for name, values in (content or corpus_content()).items():
            writer.put(name, values)
        writer.attribute("ledger", {"rows_in": 3, "rows_used": 3, "skips": {}, "counters": {}})
    return path


def write_documents(path: Path) -> Path:
    """The topics of new documents."""
    content = topics_content(5)
    with hdf5.create(path, schema.DOCUMENTS) as writer:
        for name in ("documents/id", "documents/topic", "documents/length"):
            writer.put(name, content[name])
    return path


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir())
