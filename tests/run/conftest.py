"""One fit of the sample corpus for the tests of what comes after a fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tdtool.config import IngestConfig, TopicsConfig
from tdtool.data.planted import planted_stream, write_lines
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


@pytest.fixture(scope="session")
def planted_source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """1,500 documents of 6 topics, one a line: enough for several partitions."""
    path = tmp_path_factory.mktemp("planted") / "planted.txt"
    with path.open("wb") as file:
        write_lines(planted_stream(1500, 400, 6, mean_length=50.0, seed=1), file)
    return str(path)


@pytest.fixture(scope="session")
def planted_fit(planted_source: str, tmp_path_factory: pytest.TempPathFactory) -> TopicsResult:
    """6 topics of the planted corpus, in a file that no test changes."""
    output = tmp_path_factory.mktemp("planted-fit") / "planted.topics.h5"
    return fit_topics(planted_source, output, ingest=IngestConfig(), topics=TopicsConfig(6), workers=1)
