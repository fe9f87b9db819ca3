"""What is in a file, and how it was made."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tdtool.data.ledger import Ledger
from tdtool.errors import InputError, UsageError
from tdtool.kernels.ranking import largest
from tdtool.run.corpora import is_parquet
from tdtool.run.show_components import describe_components, describe_loadings, describe_selection
from tdtool.run.show_nets import net_facts
from tdtool.store import hdf5
from tdtool.store.exports import check_export, export_all
from tdtool.store.schema import base_axis

_WORDS_OF_A_CORPUS = 20
_COUNTED = (
    "document",
    "topic",
    "term",
    "component",
    "observation",
    "variable",
    "factor",
    "node",
    "community",
    "direction",
    "image",
    "class",
)
_WORDED = ("tdtool.corpus", "tdtool.moments")
_TOLD = {
    "tensor": "tensor",
    "graph": "graph",
    "method": "method",
    "mode": "mode",
    "rotation": "rotation",
    "relative_error": "relative error",
    "n_documents": "documents",
    "n_documents_used": "documents in the moments",
    "alpha0": "alpha0",
    "form": "third moment",
}


@dataclasses.dataclass(frozen=True)
class Description:
    """A file as a person wants to see it.

    facts : how it was made, by name; sizes : length of each axis; arrays : path, dims, shape, dtype, about and unit;
    topics : topic, size, npmi, alpha, words [(term, probability)] of each shown; words : the most frequent of a corpus;
    components, modes, core : of a decomposed tensor, as `run.components` says; loadings : of a factor analysis;
    communities : of a graph, as `run.show_communities` says.
    """

    path: Path | str
    schema: str
    version: int
    about: str
    facts: dict[str, Any]
    sizes: dict[str, int]
    arrays: list[dict[str, Any]]
    topics: list[dict[str, Any]]
    scores: dict[str, Any]
    selection: list[dict[str, Any]]
    words: list[str]
    components: list[dict[str, Any]]
    modes: list[dict[str, Any]]
    core: list[dict[str, Any]]
    loadings: dict[str, Any]
    communities: dict[str, Any]
    ledger: Ledger | None
    attributes: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**values, "path": str(self.path), "ledger": self.ledger.as_dict() if self.ledger else None}


def describe(path: Path | str, *, n_topics: int | None = None, n_words: int = 10) -> Description:
    """Look into a file, or a store of Parquet files.

    n_topics : show the largest (topics, components, communities), None for all; n_words : words or members of each.
    """
    if is_parquet(str(path)):
        return _describe_parquet(str(path))
    path = Path(path)
    with hdf5.open(path) as reader:
        arrays = [_array(reader, name) for name in reader.paths()]
        is_model, is_corpus = reader.schema.name == "tdtool.topics", reader.schema.name in _WORDED
        return Description(
            path=path,
            schema=reader.schema.name,
            version=reader.attributes["schema_version"],
            about=reader.schema.about,
            facts=_facts(reader.attributes, arrays, net_facts(reader)),
            sizes=_sizes(arrays),
            arrays=arrays,
            topics=_topics(reader, n_topics, n_words) if is_model else [],
            scores=_mapping(reader.attributes, "scores"),
            selection=_selection(reader),
            words=reader.rows("vocabulary/term", 0, min(_WORDS_OF_A_CORPUS, _sizes(arrays)["term"]))
            if is_corpus
            else [],
            **describe_components(reader, n_topics, n_words),
            loadings=describe_loadings(reader),
            communities=_communities(reader, n_topics, n_words),
            ledger=_ledger(reader.attributes, path),
            attributes=reader.attributes,
        )


def _describe_parquet(place: str) -> Description:
    from tdtool.run.show_parquet import look_into  # loads Arrow, which other files need not

    found = look_into(place)
    return Description(
        path=place,
        schema=found.schema.name,
        version=found.attributes["schema_version"],
        about=found.about,
        facts=_facts(found.attributes, found.arrays),
        sizes=_sizes(found.arrays),
        arrays=found.arrays,
        topics=[],
        scores={},
        selection=[],
        words=found.words[:_WORDS_OF_A_CORPUS],
        components=[],
        modes=[],
        core=[],
        loadings={},
        communities={},
        ledger=_ledger(found.attributes, place),
        attributes=found.attributes,
    )


def export(path: Path | str, outputs: Sequence[Path], *, force: bool = False) -> None:
    """Write a result in other formats; nothing is written unless all can be."""
    for output in outputs:
        check_export(output, force, graph=True)  # what the file holds is not looked at yet
    if outputs:
        if is_parquet(str(path)):
            raise UsageError("a store is not exported", path=path, hint="its files are Parquet, which others read")
        with hdf5.open(Path(path)) as reader:
            has_graph = "graph/neighbours" in reader
        for output in outputs:
            check_export(output, force, graph=has_graph)
    export_all(Path(path), outputs, force=force)


def _array(reader: hdf5.Reader, path: str) -> dict[str, Any]:
    spec, dtype = reader.spec(path), reader.dtype(path)
    return {
        "path": path,
        "dims": spec.dims,
        "shape": reader.shape(path),
        "dtype": "text" if dtype is str else str(dtype),
        "about": spec.about,
        "unit": spec.unit,
    }


def _sizes(arrays: list[dict[str, Any]]) -> dict[str, int]:
    pairs = [(dim, length) for array in arrays for dim, length in zip(array["dims"], array["shape"], strict=True)]
    bases = [(*base_axis(dim), length) for dim, length in pairs]
    return {base: length - longer for base, longer, length in bases}


def _topics(reader: hdf5.Reader, n_topics: int | None, n_words: int) -> list[dict[str, Any]]:
    terms, sizes = reader.get("vocabulary/term"), reader.get("topics/size")
    order = np.argsort(-sizes, kind="stable")
    shown = order if n_topics is None else order[:n_topics]
    values = {name: reader.get(f"topics/{name}") for name in ("alpha", "npmi", "umass", "cv")}
    topics = []
    for topic in np.sort(shown) if n_topics is None else shown:
        row = reader.rows("topics/topic_word", int(topic), int(topic) + 1)[0]
        words = [(terms[i], float(row[i])) for i in largest(row, n_words)]
        known = {name: float(array[topic]) for name, array in values.items()}
        topics.append({"topic": int(topic), "size": float(sizes[topic]), **known, "words": words})
    return topics


def _communities(reader: hdf5.Reader, n_communities: int | None, n_top: int) -> dict[str, Any]:
    """What is known of the communities of a graph, {} for other files."""
    if reader.schema.name != "tdtool.communities":
        return {}
    from tdtool.run.show_communities import describe_communities  # loads compiled code, which other files need not

    return describe_communities(reader, n_communities, n_top)


def _selection(reader: hdf5.Reader) -> list[dict[str, Any]]:
    if reader.schema.name == "tdtool.cp":
        return describe_selection(reader)
    names = [path.partition("/")[2] for path in reader.paths() if path.startswith("selection/")]
    columns = [reader.get(f"selection/{name}").tolist() for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _facts(
    attributes: dict[str, Any], arrays: list[dict[str, Any]], more: dict[str, Any] | None = None
) -> dict[str, Any]:
    argv, config, source = attributes.get("argv"), _mapping(attributes, "config"), _mapping(attributes, "source")
    facts: dict[str, Any] = {_plural(dim): length for dim, length in _sizes(arrays).items() if dim in _COUNTED}
    ends = [array["shape"][0] for array in arrays if array["path"] == "graph/neighbours"]
    if ends or "n_edges" in attributes:
        facts["edges"] = ends[0] // 2 if ends else attributes["n_edges"]
    facts |= {name: attributes[key] for key, name in _TOLD.items() if key in attributes}
    facts |= more or {}
    facts["made by"] = f"tdtool {attributes.get('tdtool_version', '?')}"
    if isinstance(argv, list) and argv:
        facts["command"] = shlex.join([Path(str(argv[0])).name, *map(str, argv[1:])])
    for name in ("path", "bytes"):
        if name in source:
            facts[f"source {name}"] = source[name]
    seed = attributes.get("seed", config.get("seed", _mapping(attributes, "config", "topics").get("seed")))
    if seed is not None:
        facts["seed"] = seed
    facts["content digest"] = attributes.get("content_digest", "-")
    return facts


def _plural(dim: str) -> str:
    return {"community": "communities", "class": "classes"}.get(dim, f"{dim}s")


def _mapping(attributes: dict[str, Any], *names: str) -> dict[str, Any]:
    """A JSON object among the attributes, {} when there is none."""
    value: Any = attributes
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _ledger(attributes: dict[str, Any], path: Path | str) -> Ledger | None:
    if "ledger" not in attributes:
        return None
    try:
        return Ledger.from_dict(attributes["ledger"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError("the ledger in it is damaged", path=path) from error
