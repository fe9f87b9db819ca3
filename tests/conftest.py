"""Shared fixtures."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import settings

if TYPE_CHECKING:
    from tdtool.data.corpus import Corpus

REPOSITORY = Path(__file__).parents[1]

# The same examples in every run (`--hypothesis-profile explore` draws new ones); compiling may take any example long.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile("repeatable")


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator that starts the same for every test."""
    return np.random.default_rng(20_250_101)


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """The folder of the sample corpus and its truth."""
    return REPOSITORY / "sample_data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real corpora beside the checkout; tests that need it are skipped where there is none."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the real corpora in ../shared/data beside the checkout")
    return folder


@pytest.fixture
def tiny_corpus() -> Corpus:
    """23 documents over 7 words in 5 uneven partitions; some are empty, or too short for a third moment."""
    from tdtool.data.corpus import Corpus  # imports numba, which few tests need

    draw = np.random.default_rng(7)
    counts = draw.poisson(draw.gamma(0.7, 1.5, (23, 7)))
    counts[3] = 0
    counts[8] = [0, 1, 0, 0, 0, 0, 0]
    counts[9] = [0, 1, 0, 0, 1, 0, 0]
    counts[22] = [0, 0, 0, 5, 0, 0, 0]
    corpus = Corpus.from_csr(sp.csr_array(counts), list("abcdefg"))
    return dataclasses.replace(corpus, starts=np.array([0, 2, 3, 9, 20, 23]))
