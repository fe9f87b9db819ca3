"""`tdtool communities` of a file of moments: the spectral step alone, without the edges."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tdtool import log
from tdtool.config import CommunitiesConfig, as_json
from tdtool.data.provenance import record_provenance
from tdtool.errors import InputError, UsageError
from tdtool.models.communities import CommunityFit
from tdtool.models.graph_parts import UnsuitedError
from tdtool.models.moment_communities import communities_of_moments
from tdtool.run.communities import CommunitiesResult, in_words, write_cover, write_embedding
from tdtool.run.community_facts import CommunityFacts
from tdtool.run.community_fit import FoundCommunities
from tdtool.run.graph_moments import StoredGraphMoments, read_graph_moments
from tdtool.run.graphs import check_options
from tdtool.run.outputs import check_outputs
from tdtool.run.threads import limited
from tdtool.store import hdf5, schema
from tdtool.store.exports import export_all

_NOTE = "moments hold no edges: the communities are not polished, and have no scores of edges"


def find_communities_of_moments(
    source: Path,
    output: Path,
    *,
    n_communities: int | None = None,
    alpha0: float = 0.0,
    seed: int = 0,
    workers: int | None = None,
    force: bool = False,
    exports: Sequence[str] = (),
) -> CommunitiesResult:
    """Find communities from the moments in `source` and write them to `output` (and to `exports`, format by suffix).

    n_communities : None for as many as the moments were collected for; alpha0 : as of CommunitiesConfig. They are those
    of `find_communities` without a polish, but for rounding. UsageError: more than that, or an export of the graph.
    """
    started = time.perf_counter()
    config = CommunitiesConfig(n_communities, alpha0=alpha0, polish=0, seed=seed)
    check_options(config)
    check_outputs([source], output, exports, force=force)
    stored = read_graph_moments(source)
    known = stored.moments.most_communities
    k = n_communities or min(stored.rank, known)
    if k > known:
        hint = f"ask for at most {known:,}, or collect moments of more: tdtool ingest --moments -k {k}"
        raise UsageError(f"-k is {k:,}, and the moments tell {known:,} communities apart", path=source, hint=hint)
    log.note(_NOTE)
    read = time.perf_counter()
    with in_words(str(source)), limited(workers), log.task("finding communities"):
        try:
            fit = communities_of_moments(stored.moments, k, alpha0=alpha0)
        except UnsuitedError as error:
            raise InputError(str(error), path=source) from error
    found = _without_edges(fit)
    seconds = {"read": read - started, "fit": time.perf_counter() - read}
    warnings = (*stored.warnings, *found.warnings)
    with log.task("writing"), hdf5.create(output, schema.COMMUNITIES, force=force) as writer:
        _write(writer, stored, found, warnings, source)
        record_provenance(
            writer,
            config={**_kept(stored), "communities": as_json(config)},
            seed=seed,
            ledger=stored.ledger,
            source=stored.attributes.get("source", {}),
            seconds=seconds,
        )
    export_all(output, list(exports), force=force)
    return CommunitiesResult(
        path=output,
        found=found,
        facts=_facts(stored, found),
        components=stored.moments.components,
        n_edges=stored.n_edges,
        n_isolated=int(np.count_nonzero(stored.degrees == 0)),
        description=stored.description,
        warnings=warnings,
        ledger=stored.ledger,
        seconds={**seconds, "total": time.perf_counter() - started},
    )


def _without_edges(fit: CommunityFit) -> FoundCommunities:
    """What can be said of communities where the edges are not known."""
    unknown = np.full(fit.cover.n_communities, np.nan)
    covered = float(np.count_nonzero(fit.cover.n_memberships) / max(1, fit.cover.n_nodes))
    return FoundCommunities(fit, unknown, unknown, None, None, {"covered_nodes": covered}, fit.warnings)


def _kept(stored: StoredGraphMoments) -> dict[str, object]:
    config = stored.attributes.get("config")
    return config if isinstance(config, dict) else {}


def _facts(stored: StoredGraphMoments, found: FoundCommunities) -> CommunityFacts:
    return CommunityFacts(
        cover=found.fit.cover,
        strengths=found.fit.strengths,
        degrees=stored.degrees,
        density=found.density,
        conductance=found.conductance,
        lambdas=found.fit.lambdas,
        stability=None,
        link_probability=None,
        name=stored.names.__getitem__,
        n_left=stored.moments.nodes.n_left,
    )


def _write(
    writer: hdf5.Writer, stored: StoredGraphMoments, found: FoundCommunities, warnings: tuple[str, ...], source: Path
) -> None:
    fit, left = found.fit, stored.moments.nodes.n_left
    write_cover(writer, fit)
    writer.put("communities/conductance", found.conductance)
    writer.put("communities/density", found.density)
    writer.put("nodes/name", stored.names)
    writer.put("nodes/degree", stored.degrees)
    writer.put("nodes/propensity", fit.propensity)
    writer.put("nodes/component", stored.moments.components.labels)
    if left is not None:
        writer.put("nodes/side", (np.arange(stored.degrees.size) >= left).astype(np.uint8))
    write_embedding(writer, fit)
    facts = {
        "graph": stored.description,
        "n_edges": stored.n_edges,
        "mode": fit.mode,
        "background": fit.background,
        "reason": fit.reason,
        "scores": found.scores,
        "warnings": list(warnings),
        "moments": {"path": source.name, "content_digest": stored.attributes.get("content_digest", "")},
    }
    for name, value in facts.items():
        writer.attribute(name, value)
