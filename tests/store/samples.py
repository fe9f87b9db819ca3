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


SHAPE, RANK, RANKS = (7, 2, 5), 3, (3, 2, 4)
PLACES = ["=now()", "\x1b[1mbold", "三", "four", "5", "-6", "g"]


def cp_content(seed: int = 0) -> dict[str, Any]:
    """Arrays of a CP decomposition by path; only the first mode has labels."""
    rng = np.random.default_rng(seed)
    factors = [rng.normal(size=(size, RANK)) for size in SHAPE]
    return {
        "components/weight": np.array([9.0, 4.5, 0.25]),
        **{f"factors/mode{mode}": values / np.linalg.norm(values, axis=0) for mode, values in enumerate(factors)},
        "modes/name": ["place", "sex", "mode2"],
        "labels/mode0": PLACES,
        "history/error": np.array([0.5, 0.25]),
        "selection/rank": np.array([2, 3]),
        "selection/error": np.array([0.5, 0.25]),
        "selection/core_consistency": np.array([99.5, np.nan]),
        "selection/congruence": np.array([0.75, np.nan]),
    }


def write_cp(path: Path, content: dict[str, Any] | None = None) -> Path:
    """A CP decomposition."""
    with hdf5.create(path, schema.CP) as writer:
        for name, values in (content or cp_content()).items():
            writer.put(name, values)
        writer.attribute("method", "cp")
        writer.attribute("norm", 10.0)
        writer.attribute("relative_error", 0.25)
    return path


def tucker_content(seed: int = 0, *, imaginary: bool = False) -> dict[str, Any]:
    """Arrays of a Tucker decomposition by path."""
    rng = np.random.default_rng(seed)
    part = 1j if imaginary else 0
    core = rng.normal(size=RANKS) + part * rng.normal(size=RANKS)
    pairs = [(rng.normal(size=pair), rng.normal(size=pair)) for pair in zip(SHAPE, RANKS, strict=True)]
    factors = [np.linalg.qr(real + part * other)[0] for real, other in pairs]
    content: dict[str, Any] = {"core/values": core.real.copy(), "modes/name": ["place", "sex", "mode2"]}
    content |= {f"factors/mode{mode}": values.real.copy() for mode, values in enumerate(factors)}
    if imaginary:
        content |= {"core/imaginary": core.imag.copy()}
        content |= {f"imaginary/mode{mode}": values.imag.copy() for mode, values in enumerate(factors)}
    return {**content, "labels/mode0": PLACES, "history/error": np.array([0.125])}


def write_tucker(path: Path, content: dict[str, Any] | None = None) -> Path:
    """A Tucker decomposition."""
    with hdf5.create(path, schema.TUCKER) as writer:
        for name, values in (content or tucker_content()).items():
            writer.put(name, values)
        writer.attribute("method", "tucker")
        writer.attribute("norm", 10.0)
        writer.attribute("relative_error", 0.125)
    return path


def factors_content(seed: int = 0) -> dict[str, Any]:
    """Arrays of a factor analysis of 5 variables and 7 observations by path."""
    rng = np.random.default_rng(seed)
    return {
        "loadings/pattern": rng.normal(size=(5, 2)),
        "loadings/structure": rng.normal(size=(5, 2)),
        "loadings/communality": rng.uniform(size=5),
        "factors/correlation": np.array([[1.0, 0.25], [0.25, 1.0]]),
        "factors/variance": np.array([0.5, 0.125]),
        "scores/value": np.where(np.arange(14) == 3, np.nan, rng.normal(size=14)).reshape(7, 2),
        "scores/id": IDS,
        "variables/name": ["=a", "b", "c", "d", "e"],
        "variables/mean": rng.normal(size=5),
        "variables/scale": rng.uniform(size=5),
        "parallel/eigenvalue": np.array([2.5, 1.5, 0.5]),
        "parallel/threshold": np.array([1.5, 1.25, 1.0]),
        "slices/name": ["written", "oral", "again"],
        "slices/weight": rng.uniform(size=(3, 2)),
    }


def write_factors(path: Path, content: dict[str, Any] | None = None) -> Path:
    """A factor analysis."""
    with hdf5.create(path, schema.FACTORS) as writer:
        for name, values in (content or factors_content()).items():
            writer.put(name, values)
    return path


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir())
