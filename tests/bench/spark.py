"""Spark beside threads, MLlib's LDA on the same Spark, and what happens as corpora grow and processes die.

Parts: engines (threads, local[2], executors; the same file?), mllib (online and EM), model (cost of a document, the
bytes that are exchanged, and a prediction that is checked), stream (many documents in little memory), faults (killed
processes). The default is the first three; the others take long.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from tdtool.config import TopicsConfig
from tdtool.data.corpus import Corpus
from tdtool.data.planted_stream import planted_stream, write_lines
from tdtool.engine import LocalEngine
from tdtool.models.coherence import coherence
from tdtool.models.scores import completion_perplexity
from tdtool.run.fit import document_sets
from tests.bench.children import run_child
from tests.bench.measure import hardware, version_of
from tests.bench.results import Result, Row, case_name
from tests.bench.spark_faults import campaign
from tests.bench.spark_runs import Run, counted, digest_of, event_log, run_command, scores_of

QUALITIES = {
    "perplexity": ("perplexity", ".1f"),
    "npmi": ("NPMI", ".3f"),
    "same": ("same file", ".0f"),
    "driver_mb": ("driver MB", ",.0f"),
    "executor_mb": ("executor MB", ",.0f"),
    "us_per_document": ("us/document", ",.0f"),
    "predicted": ("predicted s", ",.1f"),
    "shuffle_bytes_per_document": ("shuffled B/doc", ",.0f"),
}
_MASTERS = ("local[2]", "local-cluster[1,1,1024]", "local-cluster[2,1,1024]")
_EXECUTORS = _MASTERS[-1]
#: MLlib: passes of each optimiser that are looked at. One online iteration sees 5 % of the documents.
_ITERATIONS = {"online": [20, 100], "em": [20]}
#: Documents of the model's corpora, and factors of the last that are predicted from the first two.
_FIRST_SIZE, _TIMES = 12_500, (1, 2, 4, 8)
_PUBMED, _CLUSTERS = 8_200_000, (2, 10, 50)
_MEAN_LENGTH, _SEED = 100.0, 11


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--data", required=True, metavar="FILE", help="any source of documents that tdtool reads")
    parser.add_argument("-k", dest="n_topics", type=int, default=100, metavar="K", help="topics (default 100)")
    parser.add_argument("--parts", default="engines,mllib,model", help=f"of {', '.join(_PARTS)} (default %(default)s)")
    parser.add_argument("--cap", type=float, default=300.0, help="seconds that one run may take (default 300)")
    parser.add_argument("--documents", default="100000,1000000", help="sizes of the stream (default %(default)s)")
    parser.add_argument("--runs", type=int, default=20, help="runs that are disturbed (default 20)")


def run(options: argparse.Namespace) -> Result:
    """Run the parts that were asked for, one after the other."""
    wanted = [name.strip() for name in options.parts.split(",")]
    unknown = [name for name in wanted if name not in _PARTS]
    if unknown:
        raise SystemExit(f"no part is called {', '.join(unknown)}; there are {', '.join(_PARTS)}")
    about = [
        "seconds: whole commands from their start to their end; MLlib: its fitting call alone, on cached vectors",
        "same file: 1 where the content digest is that of the run on threads",
        "MB: sums of what each process held at most: the driver with its JVM; the largest executor with its workers",
    ]
    result = Result("spark", options.threads, hardware(), about)
    with tempfile.TemporaryDirectory(prefix="tdtool-bench-") as folder:
        for name in wanted:
            print(f"{name} ...", file=sys.stderr)
            for row in _PARTS[name](options, Path(folder), result.about):
                print(f"  {row.system}, {row.case}: {row.seconds} s {row.quality} {row.note}", file=sys.stderr)
                result.rows.append(row)
    return result


def _engines(options: argparse.Namespace, folder: Path, about: list[str]) -> Iterator[Row]:
    """Reading and topics on threads, on Spark in one process, and on executors."""
    name, version = case_name(options.data), version_of("tdtool")
    stores: dict[str, Path] = {}
    digests: dict[tuple[str, str], str] = {}
    for step in ("ingest", "topics"):
        for master in (None, *_MASTERS):
            system = "tdtool" if master is None else f"tdtool {master}"
            output = folder / f"{step}-{system.replace(' ', '-').replace('[', '-').replace(']', '')}.h5"
            source = options.data if step == "ingest" else str(stores["ingest"])
            done = run_command(
                _arguments(step, source, output, master, options), threads=options.threads, cap=options.cap
            )
            stores.setdefault(step, output)
            if not done.failed:
                digests[step, system] = digest_of(output)
            quality = _memory(done)
            quality["same"] = float(digests.get((step, system)) == digests.get((step, "tdtool")))
            if step == "topics" and not done.failed:
                quality |= {key: scores_of(output)[key] for key in ("perplexity", "npmi")}
            case = f"{name} ingest" if step == "ingest" else f"{name} k={options.n_topics}"
            yield Row(system, version, case, done.seconds, quality=quality, note=done.failed)


def _arguments(step: str, source: str, output: Path, master: str | None, options: argparse.Namespace) -> list[str]:
    fit = ["-k", str(options.n_topics), "--seed", str(options.seed)] if step == "topics" else []
    where = ["--workers", str(options.threads)] if master is None else ["--master", master]
    return [step, source, *fit, "-o", str(output), "--force", "-q", *where]


def _memory(done: Run) -> dict[str, float]:
    return {"driver_mb": done.driver_mb, "executor_mb": done.executor_mb}


def _mllib(options: argparse.Namespace, folder: Path, about: list[str]) -> Iterator[Row]:
    """MLlib on the documents that tdtool fits, scored on those that it holds out."""
    store = folder / "mllib.corpus.h5"
    run_command(_arguments("ingest", options.data, store, None, options), threads=options.threads, cap=options.cap)
    corpus = Corpus.open(store)
    held_out = document_sets(corpus.n_documents, TopicsConfig(options.n_topics, seed=options.seed)).held_out
    train = folder / "train.npz"
    kept = np.setdiff1d(np.arange(corpus.n_documents), held_out)
    sparse.save_npz(train, corpus.matrix()[kept], compressed=False)
    for method, iterations in _ITERATIONS.items():
        task = {"train": str(train), "fits": str(folder), "method": method, "iterations": iterations}
        task |= {"n_topics": options.n_topics, "seed": options.seed, "threads": options.threads}
        fits: list[dict[str, Any]] = []
        module = "tests.bench.spark_mllib"
        ending = run_child(module, task, threads=options.threads, cap=options.cap, receive=fits.append)
        case = f"{case_name(options.data)} k={options.n_topics}"
        for fit in fits:
            quality = _quality(Path(fit["fit"]), corpus, held_out, options)
            yield Row(fit["system"], version_of("pyspark"), case, fit["seconds"], quality=quality)
        if len(fits) < len(iterations):
            yield Row(f"MLlib {method} {iterations[len(fits)]}", version_of("pyspark"), case, note=ending)


def _quality(fit: Path, corpus: Corpus, held_out: Any, options: argparse.Namespace) -> dict[str, float]:
    with np.load(fit) as arrays:
        word_topic, alpha = np.ascontiguousarray(arrays["topic_word"].T, np.float32), arrays["alpha"]
    with LocalEngine(corpus, workers=options.threads, memory=1 << 30) as engine:
        perplexity, _ = completion_perplexity(engine.map_reduce, word_topic, alpha, held_out, options.seed)
        found = coherence(engine.map_reduce, word_topic, held_out)
    return {"perplexity": perplexity, "npmi": float(found.npmi.mean())}


def _model(options: argparse.Namespace, folder: Path, about: list[str]) -> Iterator[Row]:
    """seconds(n documents) = start + n * rate: from the first two sizes, checked on the others."""
    seconds: dict[int, float] = {}
    work: list[float] = []
    shuffled: list[float] = []
    for times in _TIMES:
        n_documents = _FIRST_SIZE * times
        source, log = _stream(folder, n_documents), folder / f"events-{times}"
        arguments = ["topics", str(source), "-k", str(options.n_topics), "-o", str(folder / f"{times}.h5"), "-q"]
        arguments += ["--master", _EXECUTORS, *event_log(log)]
        done = run_command(arguments, threads=options.threads, cap=options.cap)
        source.unlink()
        quality = _memory(done) | {"us_per_document": done.seconds / n_documents * 1e6}
        if not done.failed:
            seen = counted(log)
            seconds[times] = done.seconds
            work.append(seen.task_seconds / n_documents)
            shuffled.append((seen.shuffle_bytes + seen.result_bytes) / n_documents)
            quality["shuffle_bytes_per_document"] = shuffled[-1]
        if times > 2 and {1, 2} <= seconds.keys():
            quality["predicted"] = _predicted(seconds, times)
        case = f"planted stream {n_documents:,} k={options.n_topics}"
        yield Row(f"tdtool {_EXECUTORS}", version_of("tdtool"), case, done.seconds, quality=quality, note=done.failed)
    if work:
        about += _extrapolated(seconds, work[-1], shuffled[-1])


def _predicted(seconds: dict[int, float], times: float) -> float:
    rate = seconds[2] - seconds[1]
    return seconds[1] - rate + rate * times


def _extrapolated(seconds: dict[int, float], work: float, shuffled: float) -> list[str]:
    """Lines for the table: what the documents of PubMed would take on clusters of several sizes."""
    start = max(seconds[1] - (seconds.get(2, seconds[1]) - seconds[1]), 0.0)
    lines = [f"model: {start:.0f} s to start, {work * 1e6:,.0f} us of one core and {shuffled:,.0f} bytes a document"]
    for cores in _CLUSTERS:
        total = start + _PUBMED * work / cores
        lines.append(f"  {_PUBMED:,} documents on {cores} executors of one such core: {total / 60:,.0f} minutes")
    return lines


def _many(options: argparse.Namespace, folder: Path, about: list[str]) -> Iterator[Row]:
    """Streams of documents, read and modelled on two executors."""
    for n_documents in map(int, options.documents.split(",")):
        source, store = _stream(folder, n_documents), folder / f"{n_documents}.corpus.parquet"
        for step, given, output in (("ingest", source, store), ("topics", store, folder / f"{n_documents}.h5")):
            arguments = _arguments(step, str(given), output, _EXECUTORS, options)
            done = run_command(arguments, threads=options.threads, cap=max(options.cap, 3600.0))
            quality = _memory(done) | {"us_per_document": done.seconds / n_documents * 1e6}
            case = f"planted stream {n_documents:,} {step}"
            yield Row(
                f"tdtool {_EXECUTORS}", version_of("tdtool"), case, done.seconds, quality=quality, note=done.failed
            )
        source.unlink()


def _stream(folder: Path, n_documents: int) -> Path:
    path = folder / f"stream-{n_documents}.txt"
    with path.open("wb") as file:
        write_lines(planted_stream(n_documents, mean_length=_MEAN_LENGTH, seed=_SEED), file)
    return path


def _faults(options: argparse.Namespace, folder: Path, about: list[str]) -> Iterator[Row]:
    """A killed process in each run."""
    store = folder / "faults.corpus.h5"
    run_command(_arguments("ingest", options.data, store, None, options), threads=options.threads, cap=options.cap)
    case = f"{case_name(options.data)} k={options.n_topics}"
    for fault in campaign(store, folder, n_topics=options.n_topics, runs=options.runs, seed=options.seed):
        note = f"killed after {fault.after:.1f} s: {fault.outcome}"
        same = {"same": float(fault.outcome == "same")}
        yield Row(f"tdtool less one {fault.victim}", version_of("tdtool"), case, fault.seconds, quality=same, note=note)


_PARTS: dict[str, Callable[[argparse.Namespace, Path, list[str]], Iterator[Row]]] = {
    "engines": _engines,
    "mllib": _mllib,
    "model": _model,
    "stream": _many,
    "faults": _faults,
}
