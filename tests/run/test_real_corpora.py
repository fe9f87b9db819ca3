"""Real text: topics that a person would call good, the same for any number of workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tdtool.config import IngestConfig, TopicsConfig, VocabularyConfig
from tdtool.run.topics import TopicsResult, fit_topics
from tdtool.store import hdf5

pytestmark = pytest.mark.shared_data


def press(source: Path, output: Path, workers: int) -> TopicsResult:
    """50 topics of 2,246 articles of the Associated Press, words in 5 documents to 30 % of them."""
    config = IngestConfig(vocabulary=VocabularyConfig("none", min_df=5, max_df=0.3))
    return fit_topics(str(source), output, ingest=config, topics=TopicsConfig(50), workers=workers)


def test_topics_of_the_associated_press(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "text" / "ap" / "docword.ap.txt.gz"
    one, two = (press(source, tmp_path / f"{workers}.h5", workers) for workers in (1, 2))
    # Gibbs sampling needs 1,000 iterations for perplexity 2335 and NPMI 0.25.
    assert one.scores["perplexity"] < 2300
    assert one.scores["npmi"] > 0.25
    assert one.scores["diversity"] > 0.6
    words = [{word for word, _ in row} for row in one.top_words(12)]
    for theme in ({"police", "killed"}, {"court", "judge"}, {"party", "government"}):
        assert any(theme <= row for row in words)
    digests = set()
    for result in (one, two):
        with hdf5.open(result.path) as reader:
            digests.add(reader.attributes["content_digest"])
    assert len(digests) == 1
