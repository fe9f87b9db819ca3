"""Data whose structure is known because we drew it: for tests, for benchmarks and for `sample_data/`.

`python -m tdtool.data.planted sample_data --seed 0` writes the readable samples, each with its truth: a corpus, a
tensor of sales (shops x products x weeks), a table of marks (students x tests), a graph of friends and images of
shapes; with `--documents N` it writes a bag of words of N documents instead (PubMed has 8,200,000).
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import numpy as np

from tdtool.data.planted_corpus import planted_corpus
from tdtool.data.planted_friends import planted_friends
from tdtool.data.planted_graph import PlantedGraph, planted_disjoint, planted_lfr, planted_mmsb
from tdtool.data.planted_lda import PlantedLda, planted_lda
from tdtool.data.planted_sales import planted_sales
from tdtool.data.planted_shapes import planted_shapes
from tdtool.data.planted_stream import PlantedStream, planted_stream, planted_vocabulary, write_lines, write_uci
from tdtool.data.planted_students import planted_students
from tdtool.data.planted_tensor import PlantedTensor, planted_symmetric, planted_tensor

__all__ = [
    "PlantedGraph",
    "PlantedLda",
    "PlantedStream",
    "PlantedTensor",
    "planted_corpus",
    "planted_disjoint",
    "planted_friends",
    "planted_lda",
    "planted_lfr",
    "planted_mmsb",
    "planted_sales",
    "planted_shapes",
    "planted_stream",
    "planted_students",
    "planted_symmetric",
    "planted_tensor",
    "planted_vocabulary",
    "write_lines",
    "write_uci",
]


def main(arguments: list[str] | None = None) -> None:
    """Write planted data into a directory, the same bytes for the same seed."""
    parser = argparse.ArgumentParser(prog="python -m tdtool.data.planted", description="Write data of known structure.")
    parser.add_argument(
        "directory", type=Path, help="where to: corpus/, tensor.npz, students.csv, graph.edges, images/, *.truth.*"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--documents", type=int, help="write this many documents as docword and vocab files instead")
    options = parser.parse_args(arguments)
    if options.documents is None:
        for planted in (planted_corpus, planted_sales, planted_students, planted_friends, planted_shapes):
            planted(options.directory, np.random.default_rng(options.seed))
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
