"""Results that belong at a URI: written to a scratch file here first, and sent when they are whole."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tdtool import log
from tdtool.data.readers import places
from tdtool.errors import UsageError
from tdtool.run.outputs import default_output


class Delivery(NamedTuple):
    """path : where the result is written on this machine; place : what the user calls it, the same or a URI."""

    path: Path
    place: str


@contextlib.contextmanager
def delivered(output: str | None, source: str, kind: str, *, force: bool) -> Iterator[Delivery]:
    """Where a result goes: `output`, a path or URI, or a new file named after the source (see default_output).

    A URI is written to when the block ends well, whole or not at all. UsageError: something is there, without `force`.
    """
    if output is None or places.local_path(output) is not None:
        path = default_output(source, kind) if output is None else Path(str(places.local_path(output)))
        yield Delivery(path, str(path))
        return
    if not force and places.exists(output):
        raise UsageError("it exists already", path=output, hint="choose another name with -o, or replace it: --force")
    with tempfile.TemporaryDirectory(prefix="tdtool-") as scratch:
        path = Path(scratch) / (places.name_of(output) or f"result.{kind}.h5")
        yield Delivery(path, output)
        if path.exists():
            with log.task(f"sending to {output}"):
                places.write_bytes(output, path.read_bytes())
