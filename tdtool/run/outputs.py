"""Where a result goes when the user does not say."""

from __future__ import annotations

import itertools
from pathlib import Path

_KINDS = (".corpus", ".topics", ".documents", ".cp", ".tucker", ".factors", ".communities", ".graph")
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")


def default_output(source: str, kind: str, directory: Path | None = None) -> Path:
    """DIRECTORY/NAME.KIND.h5, or the first free one of NAME.KIND-2.h5, ...; NAME : the source's, without suffixes."""
    folder = directory if directory is not None else Path()
    name = source_name(source)
    paths = (folder / f"{name}.{kind}{'' if i == 1 else f'-{i}'}.h5" for i in itertools.count(1))
    return next(path for path in paths if not path.exists())


def source_name(source: str) -> str:
    """The name of what was read: "docs" for path/docs.tsv.gz, "corpus" for corpus/, "stdin" for -."""
    if source == "-":
        return "stdin"
    path = Path(source).absolute()
    if path.is_dir():
        return path.name or "root"
    name = path.name
    for suffixes in (_COMPRESSED, None, _KINDS):
        stem, dot, suffix = name.rpartition(".")
        if dot and stem and (suffixes is None or dot + suffix.lower() in suffixes):
            name = stem
    return name
