"""The corpus that tests of the third moment share."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tdtool.data.corpus import Corpus
from tdtool.data.planted import planted_lda

N_TERMS, N_TOPICS, N_DOCUMENTS = 11, 4, 60


@pytest.fixture
def corpus(rng: np.random.Generator) -> Corpus:
    """60 documents of 0 to 25 words over 11, of 4 topics, in 7 uneven partitions."""
    shape = {"alpha0": 0.5, "mean_length": 9, "topic_concentration": 0.2}
    planted = planted_lda(N_DOCUMENTS, N_TERMS, N_TOPICS, **shape, rng=rng)
    corpus = Corpus.from_csr(planted.document_term)
    return dataclasses.replace(corpus, starts=np.array([0, 1, 9, 30, 31, 40, 58, N_DOCUMENTS]))
