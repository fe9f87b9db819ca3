"""`python -m tests.bench NAME [--json]`: measure tdtool and its peers side by side."""

from __future__ import annotations

import argparse
import importlib
import json
import signal
import sys

from tdtool.errors import TdtoolError

BENCHMARKS = {
    "topics": "fit a topic model: tdtool, tomotopy, scikit-learn and gensim on one corpus, one split, one evaluator",
    "ingest": "read and count raw text: tdtool, CountVectorizer, gensim and polars on one file",
    "tucker": "Tucker decomposition: tdtool, pyttb and tensorly on planted tensors, one stopping rule",
    "communities": "find communities: tdtool and eight detectors on graphs whose communities are known, one evaluator",
    "spark": "topics on Spark: threads, executors and MLlib on one corpus; growth, memory, and killed processes",
    "cp": "CP decomposition: tdtool, pyttb and tensorly on planted, real and sparse tensors, one stopping rule",
    "contract": "contract a matrix and a tensor over one index: 36 layouts, and chains; seven peers, checked results",
    "train": "train a net: tdtool, a plain torch loop, DataLoader and Lightning on the same pixels; reading images",
    "layers": "tensor layers: tdtool and tltorch with the same weights; flops, seconds and equality",
    "recompute": "activations computed again: bytes saved and time paid against depth, gradients compared",
    "heads": "tensor heads against fc: accuracy over paired seeds against parameters saved",
    "gpu": "everything on a GPU, from one command: compiled, checked against the CPU, timed beside it and beside peers",
    "sketch": "sketched against exact decompositions: planted tensors, and topics of a corpus beside Gibbs sampling",
}


def main(arguments: list[str] | None = None) -> int:
    """Run one benchmark and print its table, or one JSON object; without a name, list what there is."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments:
        print("python -m tests.bench NAME [--json] [--help]\n")
        for name, about in BENCHMARKS.items():
            print(f"  {name:<11} {about}")
        return 0
    options = _parse(arguments)
    benchmark = importlib.import_module(f"tests.bench.{options.name}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the process under measurement ends too
    try:
        result = benchmark.run(options)
    except TdtoolError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    if options.json:
        print(json.dumps(result.as_json(), indent=1, allow_nan=False))
    else:
        result.print_table(benchmark.QUALITIES)
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure tdtool and its peers.")
    names = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    for name, about in BENCHMARKS.items():
        command = names.add_parser(name, help=about, description=about)
        if name == arguments[0]:  # the others' modules need not be imported
            importlib.import_module(f"tests.bench.{name}").add_arguments(command)
        command.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
        command.add_argument("--threads", type=int, default=2, help="for every system alike (default 2)")
        command.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
