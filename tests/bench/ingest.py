"""Reading and counting raw text side by side: one file of one document a line, the same rule of what a word is."""

from __future__ import annotations

import argparse
import importlib.util
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tdtool.config import SourceConfig
from tdtool.data.ledger import Ledger
from tdtool.data.planted import planted_stream, write_lines
from tdtool.data.readers.source_types import TextSource
from tdtool.data.readers.sources import open_source
from tests.bench.children import run_child, shared_caps
from tests.bench.ingest_peers import MAX_DF, MIN_DF
from tests.bench.measure import hardware, version_of
from tests.bench.results import Result, Row, case_name

QUALITIES = {
    "mb_per_second": ("MB/s", ",.1f"),
    "mb_per_cpu_second": ("MB/CPU s", ",.1f"),
    "accuracy": ("same words", ".2%"),
}

#: Peers: name -> (module to import, package to ask for its version).
PEERS = {
    "CountVectorizer": ("sklearn", "scikit-learn"),
    "gensim": ("gensim", "gensim"),
    "polars": ("polars", "polars"),
}
#: Bytes of a planted document, about; and documents of a block of it.
_PLANTED_BYTES, _PLANTED_BLOCK = 514, 5000
_ASCII_WORD = re.compile("[a-z]{2,40}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--data", metavar="FILE", help="any source of text that tdtool reads (default: planted text)")
    parser.add_argument("--mb", type=float, default=200.0, help="MB of text, at most (default 200)")
    parser.add_argument("--times", type=int, default=10, help="memory: tdtool on so many copies too (default 10)")
    parser.add_argument("--peers", default=",".join(PEERS), help="comma between, or none (default %(default)s)")
    parser.add_argument("--cap", type=float, default=300.0, help="seconds a system may take (default 300)")
    parser.add_argument("--full", action="store_true", help="give every system its whole cap, however long it takes")


def run(options: argparse.Namespace) -> Result:
    """Every system on the same text, then tdtool on many copies of it, for its memory."""
    peers = [name.strip() for name in options.peers.split(",") if name.strip() not in ("", "none")]
    if set(peers) - set(PEERS):
        raise SystemExit(f"no peer is called {', '.join(set(peers) - set(PEERS))}; there are {', '.join(PEERS)}")
    with tempfile.TemporaryDirectory(prefix="tdtool-bench-") as name:
        folder = Path(name)
        text = folder / "text.txt"
        _write_text(text, options)
        result = Result("ingest", options.threads, hardware(), _about(options))
        systems = ["tdtool", *peers] + (["tdtool"] if options.times > 1 else [])
        for place, (system, cap) in enumerate(shared_caps(systems, options.cap, options.full)):
            if place > len(peers):
                text = _copies(text, options.times)
            print(f"{system}: {text.stat().st_size / 1e6:.0f} MB, at most {cap:.0f} s", file=sys.stderr)
            result.rows.append(_measured(system, text, cap, options, folder))
            if place == len(peers):
                _compare_vocabularies(result.rows, folder)
        _compare_memory(result, options.times)
    return result


def _about(options: argparse.Namespace) -> list[str]:
    source = options.data or f"planted, seed {options.seed}: no function words, so harder than prose (--data FILE)"
    return [
        f"text: {source}; one document a line, plain UTF-8 on disk",
        f"work: from file to sparse counts of the words in {MIN_DF} to {MAX_DF:.0%} of the documents, no stop words",
        "tdtool: also writes its corpus file; its kernels are compiled beforehand, by the first MB alone",
        "CountVectorizer, gensim: have no threads; gensim takes letters only, and cuts words at digits",
        "same words: |A and B| / |A or B| of the ASCII words in the vocabulary and in tdtool's",
    ]


def _write_text(path: Path, options: argparse.Namespace) -> None:
    """At most --mb of text, one document a line."""
    limit = int(options.mb * 1e6)
    with path.open("wb") as file:
        if options.data is None:
            n_documents = max(limit // _PLANTED_BYTES, 1)
            write_lines(planted_stream(n_documents, seed=options.seed, block_size=_PLANTED_BLOCK), file)
            return
        for line in _lines_of(options.data):
            if file.tell() + len(line) >= limit:
                return
            file.write(line + b"\n")


def _lines_of(data: str) -> Iterator[bytes]:
    source = open_source(data, SourceConfig())
    if not isinstance(source, TextSource):
        raise SystemExit(f"{data} holds counts, not text ({source.description})")
    for batch in source.batches(Ledger()):
        text = np.asarray(batch.text).tobytes()
        for start, end in zip(batch.offsets[:-1].tolist(), batch.offsets[1:].tolist(), strict=True):
            yield re.sub(rb"[\r\n]", b" ", text[start:end])


def _copies(text: Path, times: int) -> Path:
    """The same text many times over, in one file."""
    path = text.with_name("copies.txt")
    with path.open("wb") as file:
        for _ in range(times):
            _append(text, file)
    return path


def _append(text: Path, file: BinaryIO) -> None:
    with text.open("rb") as part:
        shutil.copyfileobj(part, file, 1 << 20)


def _measured(system: str, text: Path, cap: float, options: argparse.Namespace, folder: Path) -> Row:
    size = text.stat().st_size / 1e6
    name = case_name(options.data) if options.data else "planted"
    module, package = PEERS.get(system, ("tdtool", "tdtool"))
    row = Row(system, version_of(package), f"{name} {size:.0f} MB")
    if importlib.util.find_spec(module) is None:
        row.note = "not installed: pip install 'tdtool[bench]'"
        return row
    task = {"system": system, "text": str(text), "vocabulary": str(_vocabulary(folder, system))}
    task |= {"scratch": str(folder), "threads": options.threads}
    found: dict[str, Any] = {}
    row.note = run_child("tests.bench.ingest_peers", task, threads=options.threads, cap=cap, receive=found.update)
    if found:
        row.seconds, row.cpu_seconds, row.peak_rss_mb = (
            found[key] for key in ("seconds", "cpu_seconds", "peak_rss_mb")
        )
        row.quality = {"mb_per_second": size / found["seconds"], "mb_per_cpu_second": size / found["cpu_seconds"]}
    return row


def _vocabulary(folder: Path, system: str) -> Path:
    return folder / f"{system}.vocabulary.txt"


def _compare_vocabularies(rows: list[Row], folder: Path) -> None:
    """Set accuracy of the peers' rows: how far they agree with tdtool on the ASCII words."""
    words = {
        row.system: set(filter(_ASCII_WORD.fullmatch, _vocabulary(folder, row.system).read_text("utf-8").split("\n")))
        for row in rows
        if row.seconds is not None
    }
    ours = words.pop("tdtool", set())
    for row in rows:
        if row.system in words and ours | words[row.system]:
            row.quality["accuracy"] = len(ours & words[row.system]) / len(ours | words[row.system])


def _compare_memory(result: Result, times: int) -> None:
    peaks = [row.peak_rss_mb for row in result.rows if row.system == "tdtool" and row.peak_rss_mb is not None]
    if len(peaks) == 2:
        result.about.append(
            f"memory: tdtool's peak at {times} times the text is {peaks[1] / peaks[0]:.2f} of its peak at once"
        )
