"""The one door to documents: open_source looks at what it is given and hands out the reader that fits."""

from __future__ import annotations

from tdtool.config import SourceConfig
from tdtool.data.readers.formats import FORMATS, check_given, sniff
from tdtool.data.readers.places import is_directory
from tdtool.data.readers.source_types import CountSource, TextSource
from tdtool.data.readers.streams import Input
from tdtool.errors import InputError, UsageError


def open_source(path: str, config: SourceConfig, *, place: str | None = None) -> TextSource | CountSource:
    """Open documents: a directory, a file (compressed or not; each a path or a URI) or "-" for standard input.

    place : where the input is, when `path` is only what messages and the ledger call it. The format is recognised by
    content and name unless the configuration says it. Raises InputError when the input is not there, is empty, or is
    not what it should be.
    """
    found = look_at(path, config, place=place)
    if isinstance(found, str):
        from tdtool.data.readers.text_files import open_directory

        return open_directory(path, config, place=found)
    return _open_file(*found)


def look_at(path: str, config: SourceConfig, *, place: str | None = None) -> str | tuple[Input, str]:
    """What an input is: the place of a directory, or a file that was begun to be read and the name of its format."""
    if config.format != "auto" and config.format not in FORMATS:
        raise UsageError(f"there is no format {config.format!r}", hint=f"known are auto, {', '.join(FORMATS)}")
    if path != "-" and is_directory(place or path):
        if config.format not in ("auto", "directory"):
            raise InputError(
                f"it is a directory; the format {config.format} is that of a file",
                path=path,
                hint="name the file in it",
            )
        return place or path
    if config.format == "directory":
        raise InputError("it is a file, not a directory", path=path, hint="leave out --format directory")
    source = Input(path, config, place=place)
    if not source.head:
        raise InputError("it is empty", path=source.path)
    if config.format == "auto":
        return source, sniff(source.head, source.name, source.path)
    check_given(config.format, source.head, source.path)
    return source, config.format


def _open_file(source: Input, found: str) -> TextSource | CountSource:
    """The reader of a format; each is imported when it is used."""
    if found == "lines":
        from tdtool.data.readers.text_lines import open_lines

        return open_lines(source)
    if found in ("csv", "tsv"):
        from tdtool.data.readers.table_text import open_table

        return open_table(source, found)
    if found == "jsonl":
        from tdtool.data.readers.text_json import open_json_lines

        return open_json_lines(source)
    if found == "parquet":
        from tdtool.data.readers.table_parquet import open_parquet

        return open_parquet(source)
    if found in ("tar", "zip"):
        from tdtool.data.readers.text_archives import open_archive

        return open_archive(source, found)
    return _open_counts(source, found)


def _open_counts(source: Input, found: str) -> CountSource:
    if found == "uci":
        from tdtool.data.readers.counts_uci import open_uci

        return open_uci(source)
    if found == "matrix-market":
        from tdtool.data.readers.counts_matrix import open_matrix_market

        return open_matrix_market(source)
    if found == "npz":
        from tdtool.data.readers.counts_npz import open_npz

        return open_npz(source)
    from tdtool.data.readers.counts_pairs import open_pairs

    return open_pairs(source, found)
