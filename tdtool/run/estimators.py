"""The estimators of the Python API: scikit-learn's names and manners, without needing scikit-learn to run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from tdtool.config import TopicsConfig
from tdtool.data.corpus import Corpus
from tdtool.engine import Engine
from tdtool.models.inference import document_topic
from tdtool.models.scores import completion_perplexity
from tdtool.run.device import on_device_named
from tdtool.run.engines import local_engine
from tdtool.run.estimator_base import Estimator, check_counts, check_fitted, seed_of
from tdtool.run.fit import TopicFitter
from tdtool.run.machine import available_cores


class SpectralLDA(Estimator):
    """Topics of sparse word counts: spectral LDA, then a variational polish.

    n_components : number of topics; alpha0 : Dirichlet sum that the moments assume; polish : passes, or "auto";
    m3 : how the third moment is used, "auto" | "implicit" | "dense" | "sketch"; n_jobs : threads, None or -1 for all
    cores (any number gives the same bits); random_state : as in scikit-learn; device : "auto" takes a GPU where there
    is one that can be used, "cpu", "cuda" (GpuError says what is missing). A GPU fits the same but for rounding.

    After fit: components_ (n_components, n_features) float64, rows are distributions over words; alpha_
    (n_components,); weights_ (n_components,) spectral weights; n_iter_ sweeps of the power iteration.

    >>> import scipy.sparse as sp
    >>> counts = sp.csr_array([[3, 2, 0, 0], [2, 4, 0, 0], [0, 0, 3, 3], [0, 0, 2, 5]])
    >>> SpectralLDA(n_components=2, random_state=0).fit_transform(counts).argmax(axis=1).tolist() in (
    ...     [0, 0, 1, 1], [1, 1, 0, 0])
    True
    """

    def __init__(
        self,
        n_components: int = 10,
        *,
        alpha0: float = 1.0,
        polish: int | Literal["auto"] = 8,
        m3: Literal["auto", "implicit", "dense", "sketch"] = "auto",
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        device: Literal["auto", "cpu", "cuda"] = "auto",
    ) -> None:
        self.n_components = n_components
        self.alpha0 = alpha0
        self.polish = polish
        self.m3 = m3
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.device = device

    def fit(self, X: ArrayLike | sp.csr_array, y: object = None) -> Self:
        """Fit to X : (n_samples, n_features) non-negative counts (or any non-negative reals), sparse or dense.

        Rows that sum to less than 3 carry no third moment: scale frequencies back to counts, or the start is noise.
        """
        counts = check_counts(self, X, reset=True)
        if self.n_components < 1:
            raise ValueError(f"n_components is {self.n_components}; it must be at least 1")
        config = TopicsConfig(
            self.n_components,
            alpha0=self.alpha0,
            m3=self.m3,
            polish=self.polish,
            held_out=0.0,
            seed=seed_of(self.random_state),
        )
        with self._engine(counts) as engine:
            fitter = TopicFitter(engine, config)
            fitter.prepare(self.n_components)
            fit = fitter.fit(self.n_components, score=False)
        self.components_ = fit.model.topic_word.astype(np.float64)
        self.alpha_ = fit.model.alpha
        self.weights_ = fit.model.weights
        self.n_iter_ = max(fit.sweeps, 1)
        self._n_features_out = self.n_components
        return self

    def transform(self, X: ArrayLike | sp.csr_array) -> NDArray[Any]:
        """Topics of documents, (n_samples, n_components), rows sum to 1; a document's row depends on it alone."""
        check_fitted(self)
        counts = check_counts(self, X, reset=False)
        dtype = counts.dtype if counts.dtype.kind == "f" else np.dtype(np.float64)
        word_topic, alpha = self._word_topic(), self.alpha_.astype(np.float32)
        corpus = Corpus.from_csr(counts)
        parts = [document_topic(corpus.rows(i), word_topic, alpha) for i in range(corpus.n_partitions)]
        return np.concatenate(parts).astype(dtype)

    def perplexity(self, X: ArrayLike | sp.csr_array, y: object = None) -> float:
        """Document-completion perplexity: half of each document's words given the other half (lower is better)."""
        check_fitted(self)
        counts = check_counts(self, X, reset=False)
        with self._engine(counts) as engine:
            everyone = np.arange(counts.shape[0])
            arguments = (self._word_topic(), self.alpha_, everyone, seed_of(self.random_state))
            return completion_perplexity(engine.map_reduce, *arguments)[0]

    def score(self, X: ArrayLike | sp.csr_array, y: object = None) -> float:
        """Mean log likelihood of an unseen word, -log(perplexity(X)): higher is better."""
        return -float(np.log(self.perplexity(X)))

    def top_words(self, n: int = 10, feature_names: Sequence[str] | None = None) -> list[list[str]]:
        """The n most probable words of each topic, by name where names are known."""
        check_fitted(self)
        names = feature_names if feature_names is not None else getattr(self, "feature_names_in_", None)
        best = np.argsort(-self.components_, axis=1, kind="stable")[:, :n]
        return [[str(w) if names is None else str(names[w]) for w in row] for row in best]

    def _word_topic(self) -> NDArray[np.float32]:
        return np.ascontiguousarray(self.components_.T, dtype=np.float32)

    @contextmanager
    def _engine(self, counts: sp.csr_array) -> Iterator[Engine]:
        workers = available_cores() if self.n_jobs in (None, -1) else int(self.n_jobs or 1)
        with (
            on_device_named(self.device) as gpu,
            local_engine(Corpus.from_csr(counts), workers=workers, gpu=gpu) as engine,
        ):
            yield engine
