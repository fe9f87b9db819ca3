"""Known communities in JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from tdtool.data.readers.cover_types import CoverBuilder, FoundCover
from tdtool.errors import InputError

_HINT = 'write [["Ann", "Ben"], ...] or {"first": ["Ann", "Ben"], ...}'


def parse_cover(text: str, path: str) -> FoundCover:
    """Communities from JSON.

    A list of communities or an object of them by name, itself or in the field "communities". A community is a list of
    nodes, an object {node: weight}, or an object with a list in its field "members" or "nodes" and perhaps "name". A
    node is a text, a whole number, or an object with "node" and perhaps "weight". Raises InputError for anything else.
    """
    values = _parsed(text, path)
    if isinstance(values, dict) and isinstance(values.get("communities"), (list, dict)):
        values = values["communities"]
    builder, names = CoverBuilder(), []
    weighted: bool | None = None
    for name, members in _communities(values, path):
        nodes, weights = _members(members, name, path)
        if not nodes:
            builder.ledger.skip("community without members", f"{path}: {name}")
            continue
        if weighted is not None and weighted != (weights is not None):
            raise InputError(f"some communities have weights, and community {name!r} differs", path=path, hint=_HINT)
        weighted = weights is not None
        builder.add_community(nodes, weights)
        builder.ledger.use()
        names.append(name)
    return builder.finished("JSON" + (" with weights" if weighted else ""), names)


def _parsed(text: str, path: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"it is not valid JSON: {error.msg} at column {error.colno}", path=path, line=error.lineno
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError("its JSON is too deep or holds a number that is too long", path=path) from error


def _communities(values: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Name and members of each."""
    if isinstance(values, dict):
        yield from values.items()
        return
    if not isinstance(values, list):
        raise InputError("it is JSON, but neither a list nor an object of communities", path=path, hint=_HINT)
    for number, members in enumerate(values):
        named = isinstance(members, dict) and ("members" in members or "nodes" in members)
        yield str(members.get("name", members.get("community", number)) if named else number), members


def _members(members: Any, name: str, path: str) -> tuple[list[str], list[float] | None]:
    """The nodes of a community, and their weights where they have some; those of weight 0 are left out."""
    if isinstance(members, dict):
        for field in ("members", "nodes"):
            if isinstance(members.get(field), (list, dict)):
                return _members(members[field], name, path)
        members = [{"node": node, "weight": weight} for node, weight in members.items()]
    if not isinstance(members, list):
        raise InputError(f"community {name!r} is no list of nodes", path=path, hint=_HINT)
    pairs = [_member(member, name, path) for member in members]
    if all(weight is None for _, weight in pairs):
        return [node for node, _ in pairs], None
    if any(weight is None for _, weight in pairs):
        raise InputError(f"some members of community {name!r} have a weight, and some have not", path=path)
    kept = [(node, weight) for node, weight in pairs if weight]
    return [node for node, _ in kept], [weight for _, weight in kept]


def _member(member: Any, name: str, path: str) -> tuple[str, float | None]:
    weight = None
    if isinstance(member, dict):
        member, weight = member.get("node"), member.get("weight")
        right = isinstance(weight, (int, float)) and math.isfinite(weight) and weight >= 0
        if weight is not None and (isinstance(weight, bool) or not right):
            raise InputError(f"a weight in community {name!r} is no number of at least 0", path=path)
    if isinstance(member, bool) or not isinstance(member, (str, int)):
        raise InputError(f"a member of community {name!r} is neither a text nor a whole number", path=path, hint=_HINT)
    return str(member), None if weight is None else float(weight)
