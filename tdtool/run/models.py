"""Reading a topic model back from its file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tdtool.config import TokenConfig
from tdtool.errors import InputError
from tdtool.store import hdf5


@dataclasses.dataclass(frozen=True)
class StoredModel:
    """What inference needs of a topics file. word_topic : (V, T), alpha : (T,), float32; digest : of the content."""

    path: Path
    word_topic: NDArray[np.float32]
    alpha: NDArray[np.float32]
    vocabulary: list[str]
    tokens: TokenConfig
    digest: str


def read_model(path: Path) -> StoredModel:
    """The model in a file of `tdtool topics`. InputError when it is another file or holds no probabilities."""
    with hdf5.open(path) as reader:
        reader.require("tdtool.topics")
        topic_word = reader.get("topics/topic_word")
        alpha = reader.get("topics/alpha")
        vocabulary = reader.get("vocabulary/term")
        attributes = reader.attributes
    if not (np.all(np.isfinite(topic_word)) and np.all(topic_word >= 0) and np.all(np.isfinite(alpha) & (alpha > 0))):
        raise InputError("its topics are not probabilities: the file is damaged", path=path, hint="run: tdtool verify")
    return StoredModel(
        path=path,
        word_topic=np.ascontiguousarray(topic_word.T, dtype=np.float32),
        alpha=alpha.astype(np.float32),
        vocabulary=vocabulary,
        tokens=_tokens(attributes.get("tokens", {}), path),
        digest=attributes.get("content_digest", ""),
    )


def _tokens(values: dict[str, object], path: Path) -> TokenConfig:
    known = {field.name for field in dataclasses.fields(TokenConfig)}
    if not isinstance(values, dict) or not set(values) <= known:
        raise InputError("it says how its words were made in a way this version does not know", path=path)
    return TokenConfig(**values)  # type: ignore[arg-type]
