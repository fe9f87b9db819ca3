"""Topic models side by side: one corpus, one split, one evaluator, the same threads, each system alone in a process."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tdtool.config import IngestConfig, SourceConfig, VocabularyConfig
from tdtool.data.corpus import Corpus
from tdtool.data.ingest import ingest
from tdtool.engine import LocalEngine
from tdtool.models.coherence import coherence, diversity
from tdtool.models.held_out import held_out_documents
from tdtool.models.scores import completion_perplexity
from tests.bench.children import SHARED_SECONDS, run_child, shared_caps
from tests.bench.measure import Stopwatch, hardware, version_of
from tests.bench.results import Result, Row, case_name

QUALITIES = {"perplexity": ("perplexity", ".1f"), "npmi": ("NPMI", ".3f"), "diversity": ("diversity", ".2f")}

OURS = ("tdtool", "tdtool spectral")
#: Peers by the package that holds them; and the module it is imported as, where that is another name.
PEERS = {"tomotopy": "tomotopy", "scikit-learn": "sklearn", "gensim": "gensim"}
#: Iterations of Gibbs sampling to look at.
CHECKPOINTS = (50, 200, 500, 1000)

_MIN_DF, _MAX_DF, _MIN_TOKENS = 5, 0.3, 5
_HELD_OUT, _MOST_HELD_OUT, _MOST_SCORED = 0.1, 5000, 2000
#: The evaluator keeps nothing about documents.
_SCRATCH_BYTES = 1 << 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--data", required=True, metavar="FILE", help="any source that tdtool reads")
    parser.add_argument("-k", dest="n_topics", type=int, required=True, metavar="K", help="number of topics")
    parser.add_argument("--peers", default=",".join(PEERS), help="comma between, or none (default %(default)s)")
    parser.add_argument("--cap", type=float, default=300.0, help="seconds of fitting a system may take (default 300)")
    parser.add_argument("--full", action="store_true", help="give every system its whole cap, however long it takes")
    stop_words = VocabularyConfig().stop_words
    parser.add_argument("--stop-words", default=stop_words, help="as in tdtool topics (default %(default)s)")
    parser.add_argument("--tomotopy-eta", type=float, default=0.01, help="its topic-word prior (default: its default)")
    parser.add_argument("--column", help="text column of a table, where the guess is wrong")


def run(options: argparse.Namespace) -> Result:
    """Fit and score every system; one that is missing or too slow is a row that says so."""
    systems = [*OURS, *_peers(options.peers)]
    with tempfile.TemporaryDirectory(prefix="tdtool-bench-") as folder:
        corpus_seconds, corpus = _ingest(options, Path(folder))
        split = _split(corpus, options.seed)
        result = Result("topics", options.threads, hardware(), _about(options, split, corpus_seconds))
        for system, cap in shared_caps(systems, options.cap, options.full):
            print(f"{system}: at most {cap:.0f} s", file=sys.stderr)
            result.rows += _measured(system, cap, split, options, Path(folder))
    return result


@dataclasses.dataclass(frozen=True)
class Split:
    """A corpus of D documents and which of them are for what.

    train : (D - H, V) counts of the documents to fit; held_out : (H,) int64, the others; scored : (S,) int64 of those.
    """

    corpus: Corpus
    train: sparse.csr_array
    held_out: NDArray[np.int64]
    scored: NDArray[np.int64]


def _peers(wanted: str) -> list[str]:
    names = [name.strip() for name in wanted.split(",") if name.strip() not in ("", "none")]
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        raise SystemExit(f"no peer is called {', '.join(unknown)}; there are {', '.join(PEERS)}")
    return names


def _ingest(options: argparse.Namespace, folder: Path) -> tuple[float, sparse.csr_array]:
    """Seconds of wall clock, and the corpus (D, V) without documents of fewer than 5 tokens."""
    config = IngestConfig(
        source=SourceConfig(column=options.column),
        vocabulary=VocabularyConfig(stop_words=options.stop_words, min_df=_MIN_DF, max_df=_MAX_DF),
    )
    with Stopwatch() as watch:
        corpus = ingest(options.data, folder / "corpus.h5", config, workers=options.threads)
    counts = corpus.matrix()
    return watch.seconds, counts[np.asarray(counts.sum(axis=1)) >= _MIN_TOKENS]


def _split(counts: sparse.csr_array, seed: int) -> Split:
    held_out = held_out_documents(counts.shape[0], _HELD_OUT, _MOST_HELD_OUT, seed)
    n_scored = min(held_out.size, _MOST_SCORED)
    scored = held_out[np.arange(n_scored) * held_out.size // max(n_scored, 1)]  # evenly spread over the corpus
    train = np.setdiff1d(np.arange(counts.shape[0]), held_out)
    return Split(Corpus.from_csr(counts), counts[train], held_out, scored)


def _about(options: argparse.Namespace, split: Split, corpus_seconds: float) -> list[str]:
    n_train, n_terms = split.train.shape
    shared = "" if options.full else f"; together {SHARED_SECONDS:.0f} s (--full: each its cap)"
    return [
        f"words: {_MIN_DF} to {_MAX_DF:.0%} of the documents, stop words {options.stop_words!r}; V = {n_terms:,}",
        f"documents: of at least {_MIN_TOKENS} words; {n_train:,} to fit, {split.held_out.size:,} held out by hash",
        f"scores, one evaluator for all: perplexity by completion of {split.scored.size:,} held-out documents;",
        "  NPMI of the top 10 words in the documents fitted; diversity of the top 25 words",
        "seconds: the fitting call alone, on data in the system's own form, each system in a fresh process",
        f"  not counted: tdtool's ingest, {corpus_seconds:.1f} s (with compiling, where numba's cache was cold)",
        "tdtool: defaults; kernels are compiled by a small fit beforehand; 'spectral' is the same without the polish",
        f"tomotopy: one run, learns alpha every 10 iterations, eta {options.tomotopy_eta}",
        "scikit-learn: online, batches of 20, 10 passes; cannot learn alpha",
        "gensim: LdaMulticore, 10 passes; cannot learn alpha, which is 'asymmetric'; peak MB of its main process",
        f"caps: {options.cap:.0f} s of fitting each{shared}",
    ]


def _measured(system: str, cap: float, split: Split, options: argparse.Namespace, folder: Path) -> list[Row]:
    """The rows of one system: one for each of its checkpoints, or one."""
    case = f"{case_name(options.data)} k={options.n_topics}"
    package = "tdtool" if system in OURS else system
    names = [f"tomotopy {iterations}" for iterations in CHECKPOINTS] if system == "tomotopy" else [system]
    if package in PEERS and importlib.util.find_spec(PEERS[package]) is None:
        return [Row(name, "", case, note="not installed: pip install 'tdtool[bench]'") for name in names]
    train = folder / "train.npz"
    if not train.exists():
        sparse.save_npz(train, split.train, compressed=False)
    task = {"system": system, "train": str(train), "fits": str(folder), "checkpoints": CHECKPOINTS}
    task |= {
        "eta": options.tomotopy_eta,
        "n_topics": options.n_topics,
        "seed": options.seed,
        "threads": options.threads,
    }
    fits: dict[str, dict[str, Any]] = {}
    ending = run_child(
        "tests.bench.peers",
        task,
        threads=options.threads,
        cap=cap,
        receive=lambda fit: fits.update({fit["system"]: fit}),
    )
    rows = []
    for name in names:
        row = Row(name, version_of(package), case, note="" if name in fits else ending)
        if name in fits:
            row.seconds, row.cpu_seconds = fits[name]["seconds"], fits[name]["cpu_seconds"]
            row.peak_rss_mb, row.quality = fits[name]["peak_rss_mb"], _quality(Path(fits[name]["fit"]), split, options)
        rows.append(row)
    return rows


def _quality(fit: Path, split: Split, options: argparse.Namespace) -> dict[str, float]:
    """Scores of a fit stored as topic_word (T, V) and alpha (T,)."""
    with np.load(fit) as arrays:
        word_topic, alpha = np.ascontiguousarray(arrays["topic_word"].T, np.float32), arrays["alpha"]
    with LocalEngine(split.corpus, workers=options.threads, memory=_SCRATCH_BYTES) as engine:
        perplexity, _ = completion_perplexity(engine.map_reduce, word_topic, alpha, split.scored, options.seed)
        coherent = coherence(engine.map_reduce, word_topic, split.held_out)
    return {
        "perplexity": perplexity,
        "npmi": float(coherent.npmi.mean()),
        "diversity": diversity(word_topic),
    }
