"""Read every byte of a file and say what is wrong with it: python -m tdtool.store.probe FILE, a process of its own."""

from __future__ import annotations

import dataclasses
import json
import resource
import sys
from pathlib import Path

from tdtool.errors import InputError
from tdtool.store import hdf5
from tdtool.store.content import Finding, check_content
from tdtool.store.digest import RunningDigest, content_digest
from tdtool.store.reader import Reader
from tdtool.store.seal import check_seal

_MEMORY = 4 << 30


@dataclasses.dataclass(frozen=True)
class Probe:
    """What a full reading found. schema, content_digest : "" when the file could not be opened."""

    schema: str
    content_digest: str
    n_arrays: int
    findings: list[Finding]


def probe(path: Path) -> Probe:
    """Hold a file against its seal, its digests, its schema and what its values must be."""
    try:
        with hdf5.open(path) as reader:
            findings = _check_digests(reader) or check_content(reader)
            schema, digest = reader.schema.name, str(reader.attributes.get("content_digest", ""))
            n_arrays = len(reader.paths())
    except InputError as error:
        findings, schema, digest, n_arrays = [Finding("file", error.what)], "", "", 0
    broken = check_seal(path)
    return Probe(schema, digest, n_arrays, [*findings, *([Finding("file", broken)] if broken else [])])


def limit_memory() -> None:
    """A file that claims to be huge ends this process, not the machine; and it leaves no core dump."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _check_digests(reader: Reader) -> list[Finding]:
    findings, digests = [], {}
    for path in reader.paths():
        try:
            digests[path] = _digest(reader, path)
        except InputError as error:
            findings.append(Finding(path, error.what))
            continue
        if digests[path] != reader.digest(path):
            findings.append(Finding(path, "its values are not those that were written (digest)"))
    whole = content_digest(reader.schema.name, reader.schema.version, digests)
    if not findings and whole != reader.attributes.get("content_digest"):
        findings.append(Finding("file", "the content digest is not that of the arrays"))
    return findings


def _digest(reader: Reader, path: str) -> str:
    running = RunningDigest(path, reader.dtype(path), reader.shape(path))
    for _, block in reader.blocks(path):
        running.update(block)
    return running.hexdigest()


if __name__ == "__main__":
    limit_memory()
    print(json.dumps(dataclasses.asdict(probe(Path(sys.argv[1])))))
