"""What the tests of the readers share: compress, read to the end, expect an error."""

from __future__ import annotations

import bz2
import gzip
import lzma
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tdtool.config import SourceConfig
from tdtool.data.ledger import Ledger
from tdtool.data.readers.source_types import CountSource, TextSource
from tdtool.data.readers.sources import open_source
from tdtool.errors import InputError


def zstd(data: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(data, asbytes=True))


COMPRESSIONS = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lambda data: lzma.compress(data, preset=0),
    ".zst": zstd,
}


def open_text(path: Path | str, **settings: object) -> TextSource:
    source = open_source(str(path), SourceConfig(**settings))  # type: ignore[arg-type]
    assert isinstance(source, TextSource)
    return source


def open_counts(path: Path | str, **settings: object) -> CountSource:
    source = open_source(str(path), SourceConfig(**settings))  # type: ignore[arg-type]
    assert isinstance(source, CountSource)
    return source


def documents(source: TextSource, ledger: Ledger | None = None) -> list[tuple[str, bytes, int]]:
    """(id, text, line) of every document."""
    found = []
    for batch in source.batches(ledger if ledger is not None else Ledger()):
        assert batch.text.dtype == np.uint8
        assert batch.offsets.dtype == np.int64
        assert batch.offsets[0] == 0
        assert batch.offsets[-1] == batch.text.size
        for i, (name, line) in enumerate(zip(batch.ids, batch.lines.tolist(), strict=True)):
            found.append((name, batch.text[batch.offsets[i] : batch.offsets[i + 1]].tobytes(), line))
    return found


def counts(source: CountSource, ledger: Ledger | None = None) -> list[tuple[str, dict[int, int], int]]:
    """(id, {term: count}, line) of every document; checks that batches are canonical."""
    found = []
    for batch in source.batches(ledger if ledger is not None else Ledger()):
        assert (batch.indptr.dtype, batch.indices.dtype, batch.counts.dtype) == (np.int64, np.int32, np.int64)
        for i, (name, line) in enumerate(zip(batch.ids, batch.lines.tolist(), strict=True)):
            part = slice(batch.indptr[i], batch.indptr[i + 1])
            indices, values = batch.indices[part].tolist(), batch.counts[part].tolist()
            assert indices == sorted(set(indices))
            assert indices
            assert min(indices) >= 0
            assert max(indices) < source.n_terms
            assert min(values) > 0
            found.append((name, dict(zip(indices, values, strict=True)), line))
    return found


def refused(path: Path | str, **settings: object) -> InputError:
    """The InputError that opening or reading ends in; str() of it must name the file."""
    with pytest.raises(InputError) as caught:
        for _ in open_source(str(path), SourceConfig(**settings)).batches(Ledger()):  # type: ignore[arg-type]
            pass
    assert str(path) in str(caught.value)
    return caught.value
