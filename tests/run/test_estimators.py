"""The estimator: scikit-learn's manners, our bits."""

from __future__ import annotations

import doctest
import pickle
import subprocess
import sys
import textwrap
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from tdtool import SpectralLDA
from tdtool.data.planted import PlantedLda, planted_lda
from tdtool.run import estimators
from tests.oracles import matched_total_variation


@parametrize_with_checks([SpectralLDA()])
def test_scikit_learn_s_own_checks(estimator: SpectralLDA, check: Any) -> None:
    check(estimator)


@pytest.fixture(scope="module")
def planted() -> PlantedLda:
    shape = {"alpha0": 0.4, "mean_length": 50, "topic_concentration": 0.1}
    return planted_lda(700, 90, 4, **shape, rng=np.random.default_rng(5))


@pytest.fixture(scope="module")
def counts(planted: PlantedLda) -> sp.csr_array:
    return planted.document_term


@pytest.fixture(scope="module")
def fitted(counts: sp.csr_array) -> SpectralLDA:
    return SpectralLDA(4, random_state=0).fit(counts)


def test_planted_topics_are_found(fitted: SpectralLDA, planted: PlantedLda) -> None:
    assert matched_total_variation(fitted.components_, planted.topic_word).max() < 0.1
    np.testing.assert_allclose(fitted.components_.sum(axis=1), 1, rtol=1e-5)
    assert fitted.components_.dtype == np.float64
    assert fitted.alpha_.shape == fitted.weights_.shape == (4,)
    shares = fitted.transform(planted.document_term)
    own = (fitted.components_ @ planted.topic_word.T).argmax(axis=1)
    assert np.abs(shares - planted.document_topic[:, own]).sum(axis=1).mean() / 2 < 0.1


@pytest.mark.parametrize("n_jobs", [1, 2, 3, -1])
def test_any_number_of_jobs_gives_the_same_bits(counts: sp.csr_array, fitted: SpectralLDA, n_jobs: int) -> None:
    other = SpectralLDA(4, random_state=0, n_jobs=n_jobs).fit(counts)
    assert np.array_equal(other.components_, fitted.components_)
    assert np.array_equal(other.alpha_, fitted.alpha_)
    assert other.perplexity(counts) == fitted.perplexity(counts)


FORMS = {
    "dense": lambda m: m.toarray(),
    "list": lambda m: m.toarray().tolist(),
    "csc": sp.csc_array,
    "coo": sp.coo_array,
    "csr_matrix": sp.csr_matrix,
    "float64": lambda m: m.astype(np.float64),
    "int64": lambda m: m.astype(np.int64),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_counts_in_any_form_give_the_same_bits(counts: sp.csr_array, fitted: SpectralLDA, form: str) -> None:
    convert = FORMS[form]
    other = SpectralLDA(4, random_state=0).fit(convert(counts))
    assert np.array_equal(other.components_, fitted.components_)
    np.testing.assert_array_equal(other.transform(convert(counts)), fitted.transform(counts))
    assert other.perplexity(convert(counts)) == fitted.perplexity(counts)


def test_counts_are_not_changed() -> None:
    unsorted = sp.csr_array((np.array([1, 2, 0, 1]), np.array([2, 0, 1, 1]), np.array([0, 3, 4])), shape=(2, 3))
    before = [array.copy() for array in (unsorted.data, unsorted.indices, unsorted.indptr)]
    SpectralLDA(1, random_state=0).fit_transform(unsorted)
    for array, old in zip((unsorted.data, unsorted.indices, unsorted.indptr), before, strict=True):
        np.testing.assert_array_equal(array, old)


def test_transform_gives_each_document_what_depends_on_it_alone(fitted: SpectralLDA, counts: sp.csr_array) -> None:
    together = fitted.transform(counts)
    np.testing.assert_array_equal(fitted.transform(counts[13:29]), together[13:29])
    np.testing.assert_allclose(together.sum(axis=1), 1, rtol=1e-6)
    assert together.dtype == np.float64
    assert fitted.transform(counts.astype(np.float32)).dtype == np.float32
    same = SpectralLDA(4, random_state=0).fit_transform(counts)
    np.testing.assert_array_equal(same, together)


def test_score_is_the_log_of_perplexity(fitted: SpectralLDA, counts: sp.csr_array) -> None:
    assert fitted.score(counts) == pytest.approx(-np.log(fitted.perplexity(counts)))
    assert 1 < fitted.perplexity(counts) < 90
    worse = SpectralLDA(1, random_state=0).fit(counts)
    assert worse.score(counts) < fitted.score(counts)


def test_seeds(counts: sp.csr_array, fitted: SpectralLDA) -> None:
    state = np.random.RandomState(3)
    one = SpectralLDA(4, random_state=state).fit(counts)
    two = SpectralLDA(4, random_state=np.random.RandomState(3)).fit(counts)
    assert np.array_equal(one.components_, two.components_)
    assert not np.array_equal(one.components_, fitted.components_)


def test_real_numbers_are_accepted(counts: sp.csr_array, planted: PlantedLda) -> None:
    model = SpectralLDA(4, random_state=0).fit(counts * 0.7)
    assert matched_total_variation(model.components_, planted.topic_word).max() < 0.15
    assert np.isfinite(model.perplexity(counts * 0.7))


@pytest.mark.parametrize("m3", ["implicit", "dense", "sketch"])
@pytest.mark.parametrize("polish", [0, 3, "auto"])
def test_settings_reach_the_fit(counts: sp.csr_array, m3: Any, polish: Any) -> None:
    model = SpectralLDA(4, alpha0=0.5, polish=polish, m3=m3, random_state=0).fit(counts)
    assert np.isfinite(model.components_).all()
    if polish == 0:
        assert model.alpha_.sum() == pytest.approx(0.5)


def test_pandas_names_go_in_and_out(counts: sp.csr_array) -> None:
    frame = pd.DataFrame(counts.toarray(), columns=[f"word{i}" for i in range(90)])
    model = SpectralLDA(4, random_state=0).fit(frame)
    assert model.feature_names_in_.tolist() == list(frame.columns)
    assert model.get_feature_names_out().tolist() == [f"spectrallda{i}" for i in range(4)]
    assert all(word.startswith("word") for row in model.top_words(3) for word in row)
    shares = model.set_output(transform="pandas").transform(frame)
    assert list(shares.columns) == [f"spectrallda{i}" for i in range(4)]
    with pytest.raises(ValueError, match="feature names"):
        model.transform(frame[frame.columns[::-1]])


def test_top_words(fitted: SpectralLDA) -> None:
    best = fitted.components_.argmax(axis=1)
    assert [row[0] for row in fitted.top_words(2)] == [str(i) for i in best]
    names = [f"w{i}" for i in range(90)]
    assert [row[0] for row in fitted.top_words(2, names)] == [f"w{i}" for i in best]
    assert {len(row) for row in fitted.top_words(1000)} == {90}


def test_clone_pickle_and_parameters(fitted: SpectralLDA, counts: sp.csr_array) -> None:
    assert clone(fitted).get_params() == fitted.get_params()
    assert "n_components" in fitted.get_params()
    again = pickle.loads(pickle.dumps(fitted))  # noqa: S301 -- our own
    np.testing.assert_array_equal(again.transform(counts), fitted.transform(counts))


def test_in_a_pipeline() -> None:
    texts = ["apple pear plum apple", "pear plum apple", "boat sail mast boat", "mast boat sail"] * 5
    pipeline = make_pipeline(CountVectorizer(), SpectralLDA(2, random_state=0))
    shares = pipeline.fit_transform(texts)
    assert len(set(shares[::4].argmax(axis=1)) | set(shares[1::4].argmax(axis=1))) == 1
    assert shares[0].argmax() != shares[2].argmax()


@pytest.mark.parametrize("bad", [{"n_components": 0}, {"n_components": -3}])
def test_impossible_settings(counts: sp.csr_array, bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="n_components"):
        SpectralLDA(**bad).fit(counts)


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_impossible_counts(counts: sp.csr_array, fitted: SpectralLDA, bad: float) -> None:
    wrong = counts.astype(float)
    wrong.data[7] = bad
    for use in (SpectralLDA(2).fit, fitted.transform, fitted.perplexity):
        with pytest.raises(ValueError, match=r"(?i)negative|nan|infinity"):
            use(wrong)


def test_not_fitted(counts: sp.csr_array) -> None:
    for use in (SpectralLDA().transform, SpectralLDA().perplexity, SpectralLDA().score):
        with pytest.raises(NotFittedError):
            use(counts)


def test_the_examples_in_the_documentation() -> None:
    results = doctest.testmod(estimators)
    assert results.attempted >= 3
    assert results.failed == 0


WITHOUT_SKLEARN = """
    import sys

    sys.modules |= {"sklearn": None, "pandas": None}  # as if they were not installed
    import numpy as np
    import scipy.sparse as sp
    from tdtool import SpectralLDA

    counts = sp.csr_array(np.load(sys.argv[1]))
    model = SpectralLDA(n_components=4)
    try:
        model.transform(counts)
    except ValueError as error:
        assert "not fitted" in str(error), error
    assert model.set_params(random_state=0) is model
    assert model.get_params()["n_components"] == 4
    try:
        model.set_params(colour="red")
    except ValueError as error:
        assert "colour" in str(error), error
    shares = model.fit_transform(counts)
    assert model.get_feature_names_out().tolist() == ["spectrallda0", "spectrallda1", "spectrallda2", "spectrallda3"]
    for wrong in (-counts, counts * np.nan, counts[:, :3], np.zeros((0, 90))):
        try:
            model.transform(wrong)
        except ValueError:
            continue
        raise AssertionError("accepted")
    assert not any(name.startswith("sklearn.") for name in sys.modules)
    np.savez(sys.argv[2], shares=shares, components=model.components_, score=model.score(counts))
"""


def test_it_works_without_scikit_learn(counts: sp.csr_array, fitted: SpectralLDA, tmp_path: Any) -> None:
    np.save(tmp_path / "counts.npy", counts.toarray())
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(WITHOUT_SKLEARN)]
    done = subprocess.run(
        [*command, tmp_path / "counts.npy", tmp_path / "x.npz"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "x.npz") as found:
        np.testing.assert_array_equal(found["components"], fitted.components_)
        np.testing.assert_array_equal(found["shares"], fitted.transform(counts))
        assert found["score"] == fitted.score(counts)
