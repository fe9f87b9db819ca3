"""What a file of `tdtool communities` says of the communities in it, for `tdtool show`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tdtool.errors import InputError
from tdtool.models.cover import Cover
from tdtool.run.community_facts import CommunityFacts
from tdtool.store import hdf5
from tdtool.store.content import check_memberships
from tdtool.store.export_communities import edges_of

_BRIDGES = 20


def describe_communities(reader: hdf5.Reader, n_communities: int | None, n_top: int) -> dict[str, Any]:
    """communities, bridges and ties as of `CommunityFacts`, its counts, n_edges, n_components, largest_component.

    n_communities : the largest, None for all; n_top : members of each.
    """
    facts = read_facts(reader)
    sizes = np.bincount(reader.get("nodes/component"), minlength=1)
    return {
        **facts.counts(),
        "n_edges": edges_of(reader),
        "n_components": int(sizes.size),
        "largest_component": int(sizes[0]),
        "communities": facts.communities(n_top, n_communities),
        "bridges": facts.bridges(_BRIDGES),
        "ties": facts.ties(),
    }


def read_facts(reader: hdf5.Reader) -> CommunityFacts:
    """The communities in a file. InputError when its memberships cannot be."""
    for finding in check_memberships(reader):
        what = f"{finding.where} {finding.what}"
        raise InputError(what, path=reader.path, hint="run `tdtool verify` on it; make it again")
    names = reader.get("nodes/name")
    parts = (reader.get(f"membership/{name}") for name in ("indptr", "community", "weight"))
    indptr, communities, weights = parts
    cover = Cover(indptr, communities, weights.astype(np.float64), reader.shape("communities/size")[0])
    return CommunityFacts(
        cover=cover,
        strengths=reader.get("membership/strength").astype(np.float64),
        degrees=reader.get("nodes/degree").astype(np.float64),
        density=reader.get("communities/density"),
        conductance=reader.get("communities/conductance"),
        lambdas=reader.get("communities/lambda"),
        stability=_optional(reader, "communities/stability"),
        link_probability=_optional(reader, "communities/link_probability"),
        name=names.__getitem__,
        n_left=int(np.count_nonzero(reader.get("nodes/side") == 0)) if "nodes/side" in reader else None,
    )


def _optional(reader: hdf5.Reader, path: str) -> Any:
    return reader.get(path) if path in reader else None
