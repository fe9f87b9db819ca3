"""Where results go: a name when the user does not say, and whether a place may be written to."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from tdtool.errors import UsageError
from tdtool.store.atomic import check_output
from tdtool.store.exports import check_export

_KINDS = (
    ".corpus",
    ".topics",
    ".documents",
    ".cp",
    ".tucker",
    ".factors",
    ".communities",
    ".graph",
    ".moments",
    ".images",
)
_PATTERN = re.compile(r"\{[^{}]*\}|[*?\[\]]")
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")


def default_output(source: str, kind: str, directory: Path | None = None) -> Path:
    """DIRECTORY/NAME.KIND.h5, or the first free one of NAME.KIND-2.h5, ...; NAME : the source's, without suffixes."""
    folder = directory if directory is not None else Path()
    name = source_name(source)
    paths = (folder / f"{name}.{kind}{'' if i == 1 else f'-{i}'}.h5" for i in itertools.count(1))
    return next(path for path in paths if not path.exists())


def check_outputs(
    sources: Sequence[Path | str], output: Path, exports: Sequence[Path | str], *, force: bool, graph: bool = False
) -> None:
    """Before any work: UsageError for what could not be written, or would take the place of another file of the run.

    sources : what is read, "-" for standard input; graph : whether the result has a graph, which there are further
    formats for.
    """
    check_output(output, force)
    for export in exports:
        check_export(Path(export), force, graph=graph)
    taken = {Path(source).resolve(): "what is read" for source in sources if source != "-"}
    for path, what in ((output, "the result"), *((Path(export), "an export") for export in exports)):
        if (place := path.resolve()) in taken:
            hint = "choose another name with -o" if path is output else "choose another name for the export"
            raise UsageError(f"{what} would take the place of {taken[place]}", path=path, hint=hint)
        taken[place] = what


def source_name(source: str) -> str:
    """The name of what was read: "docs" for path/docs.tsv.gz and docs.corpus.parquet/, "corpus" for corpus/, "birds"
    for the pattern birds-*.tar, "stdin" for -."""
    if source == "-":
        return "stdin"
    path = Path(source).absolute()
    if path.is_dir() and path.suffix.lower() != ".parquet":
        return path.name or "root"
    name = path.name
    for suffixes in (_COMPRESSED, None, _KINDS):
        stem, dot, suffix = name.rpartition(".")
        if dot and stem and (suffixes is None or dot + suffix.lower() in suffixes):
            name = stem
    bare = _PATTERN.sub("", name)
    return name if bare == name or path.exists() else bare.strip("-_.") or "all"
