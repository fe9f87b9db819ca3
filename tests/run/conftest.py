"""One fit of the sample corpus for the tests of what comes after a fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tdtool.config import IngestConfig, TopicsConfig
from tdtool.run.topics import TopicsResult, fit_topics


@pytest.fixture(scope="session")
def sample_corpus(sample_data: Path) -> str:
    """The source of 300 short documents of 8 topics."""
    return str(sample_data / "corpus")


@pytest.fixture(scope="session")
def sample_fit(sample_corpus: str, tmp_path_factory: pytest.TempPathFactory) -> TopicsResult:
    """8 topics of the sample corpus, in a file that no test changes."""
    output = tmp_path_factory.mktemp("sample") / "sample.topics.h5"
    return fit_topics(sample_corpus, output, ingest=IngestConfig(), topics=TopicsConfig(8), workers=2)
