"""tdtool verify"""

from __future__ import annotations

import click

from tdtool.cli import options
from tdtool.cli.options import Command
from tdtool.cli.output import say, say_json
from tdtool.errors import InputError


@click.command(
    cls=Command,
    examples=(
        ("tdtool verify news.topics.h5", "nothing wrong: exit code 0; damaged: 3, and the array is named"),
        ("tdtool verify *.h5 -q && echo good", "several files"),
    ),
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@options.as_json
@options.common
def verify(files: tuple[str, ...], as_json: bool) -> None:
    """Check that a file is as it was written.

    Every byte is read, in a process of its own, so that a damaged or hostile FILE does no harm: the digest of each
    array, the schema, and what values must be (shares that sum to 1, entries within the vocabulary). FILE may be a
    store of Parquet files: each of them is read, and those that are damaged are named.
    """
    from tdtool.run.verify import verify_file

    results = [verify_file(path) for path in files]
    if as_json:
        say_json({"ok": all(result.ok for result in results), "files": [result.as_dict() for result in results]})
    for result in results if not as_json else []:
        for finding in result.findings:
            say(f"{result.path}: {finding.where}: {finding.what}")
        if result.ok:
            say(f"{result.path}: good ({result.schema}, {result.n_arrays} arrays, content {result.content_digest})")
    damaged = [result.path for result in results if not result.ok]
    if damaged:
        raise InputError(
            f"{len(damaged)} of {len(results)} files damaged", hint="restore it from a copy, or make it again"
        )
