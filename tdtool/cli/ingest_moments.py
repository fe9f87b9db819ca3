"""tdtool ingest --moments"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tdtool.cli.output import say, say_json
from tdtool.config import GraphConfig, IngestConfig, MomentsConfig, SparkConfig
from tdtool.errors import UsageError

if TYPE_CHECKING:
    from tdtool.run.graph_moments import GraphMomentsResult
    from tdtool.run.moments import MomentsResult


def ingest_moments(
    source: str,
    kind: str,
    output: str | None,
    config: MomentsConfig,
    *,
    ingest: IngestConfig,
    graph: GraphConfig,
    workers: int | None,
    spark: SparkConfig | None = None,
    force: bool,
    as_json: bool,
) -> None:
    """Collect the moments of documents or a graph (`kind`), and say what was found."""
    from tdtool.run import graph_moments, moments
    from tdtool.run.outputs import default_output
    from tdtool.run.stores import is_parquet_name

    if output is not None and is_parquet_name(output):
        raise UsageError("moments are written as one HDF5 file", path=output, hint="name a .h5")
    path = default_output(source, "moments") if output is None else Path(output)
    settings: dict[str, Any] = {"moments": config, "workers": workers, "spark": spark, "force": force}
    result: MomentsResult | GraphMomentsResult
    if kind == "graph":
        result = graph_moments.ingest_graph_moments(source, path, graph=graph, **settings)
    else:
        result = moments.ingest_moments(source, path, ingest=ingest, **settings)
    if as_json:
        say_json(result.as_dict())
    else:
        _print_result(result)


def _print_result(result: MomentsResult | GraphMomentsResult) -> None:
    from tdtool.report import tables
    from tdtool.run.moments import MomentsResult

    if result.description:
        say(result.description)
    facts: dict[str, Any]
    if isinstance(result, MomentsResult):
        facts = {"documents": result.n_documents, "vocabulary": result.n_terms, "topics at most": result.rank}
        facts["third moment"] = result.form
        rows = "documents"
    else:
        facts = {"nodes": result.n_nodes, "edges": result.n_edges, "communities at most": result.rank}
        rows = "edges"
    say(tables.facts_text(facts))
    say(f"{result.ledger.text(rows)}\nmoments in {result.seconds:.1f} s")
    say(str(result.path))
