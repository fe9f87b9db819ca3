"""Reading a model back: what was written, or a clear refusal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tdtool.config import IngestConfig
from tdtool.data.ingest import ingest
from tdtool.errors import InputError
from tdtool.run.models import read_model
from tdtool.run.topics import TopicsResult
from tdtool.store import hdf5
from tdtool.store.schema import TOPICS


def test_a_model_comes_back_as_it_was(sample_fit: TopicsResult) -> None:
    stored = read_model(sample_fit.path)
    model = sample_fit.fit.model
    np.testing.assert_array_equal(stored.word_topic, model.word_topic)
    np.testing.assert_array_equal(stored.alpha, model.alpha.astype(np.float32))
    assert (stored.word_topic.dtype, stored.word_topic.flags.c_contiguous) == (np.float32, True)
    assert stored.vocabulary == sample_fit.vocabulary
    assert stored.tokens == IngestConfig().tokens
    assert len(stored.digest) >= 32


@pytest.mark.parametrize("value", [np.nan, -0.5, np.inf])
@pytest.mark.parametrize("name", ["topics/topic_word", "topics/alpha"])
def test_numbers_that_are_no_probabilities_are_refused(
    sample_fit: TopicsResult, tmp_path: Path, name: str, value: float
) -> None:
    """A file that is whole, of the right kind, and wrong."""
    path = tmp_path / "x.h5"
    with hdf5.open(sample_fit.path) as reader, hdf5.create(path, TOPICS) as writer:
        for array in reader.paths():
            values = reader.get(array)
            if array == name:
                values[..., -1] = value
            writer.put(array, values)
    with pytest.raises(InputError, match="not probabilities") as caught:
        read_model(path)
    assert str(path) in str(caught.value)


def test_a_damaged_file_is_refused(sample_fit: TopicsResult, tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    data = bytearray(sample_fit.path.read_bytes())
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError):
        read_model(path)


def test_other_files_are_refused(sample_corpus: str, tmp_path: Path) -> None:
    ingest(sample_corpus, tmp_path / "corpus.h5", IngestConfig(), workers=1)
    (tmp_path / "text.h5").write_text("no HDF5")
    for name in ("corpus.h5", "text.h5", "missing.h5"):
        with pytest.raises(InputError) as caught:
            read_model(tmp_path / name)
        assert caught.value.exit_code == 3
