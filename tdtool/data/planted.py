"""Corpora whose topics are known because we drew them: for tests, for benchmarks and for `sample_data/`.

`python -m tdtool.data.planted sample_data --seed 0` writes the readable sample corpus and its truth;
with `--documents N` it writes a bag of words of N documents instead (PubMed has 8,200,000).
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import numpy as np

from tdtool.data.planted_corpus import planted_corpus
from tdtool.data.planted_lda import PlantedLda, planted_lda
from tdtool.data.planted_stream import PlantedStream, planted_stream, planted_vocabulary, write_lines, write_uci

__all__ = [
    "PlantedLda",
    "PlantedStream",
    "planted_corpus",
    "planted_lda",
    "planted_stream",
    "planted_vocabulary",
    "write_lines",
    "write_uci",
]


def main(arguments: list[str] | None = None) -> None:
    """Write a planted corpus into a directory, the same bytes for the same seed."""
    parser = argparse.ArgumentParser(
        prog="python -m tdtool.data.planted", description="Write a corpus of known topics."
    )
    parser.add_argument("directory", type=Path, help="where to: corpus/ and corpus.truth.json are made in it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--documents", type=int, help="write this many documents as docword and vocab files instead")
    options = parser.parse_args(arguments)
    if options.documents is None:
        planted_corpus(options.directory, np.random.default_rng(options.seed))
    else:
        _write_bag_of_words(options.directory, planted_stream(options.documents, seed=options.seed))


def _write_bag_of_words(directory: Path, stream: PlantedStream) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    vocabulary = "".join(f"{word}\n" for word in planted_vocabulary(stream.n_terms))
    (directory / "vocab.planted.txt").write_text(vocabulary, encoding="ascii")
    with (
        (directory / "docword.planted.txt.gz").open("wb") as plain,
        gzip.GzipFile(filename="", fileobj=plain, mode="wb", compresslevel=1, mtime=0) as file,
    ):
        write_uci(stream, file)


if __name__ == "__main__":
    main()
