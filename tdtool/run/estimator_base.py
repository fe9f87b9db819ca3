"""What an estimator needs of scikit-learn: taken from it when it is installed, and enough of it when it is not."""

from __future__ import annotations

import importlib.util
import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

_SKLEARN = importlib.util.find_spec("sklearn") is not None

if _SKLEARN:
    from sklearn.utils.validation import check_is_fitted, check_random_state, validate_data

if _SKLEARN and not TYPE_CHECKING:
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin

    class Estimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
        """A scikit-learn transformer of sparse non-negative input."""

        def __sklearn_tags__(self) -> Any:
            tags = super().__sklearn_tags__()
            tags.input_tags.sparse = True
            tags.input_tags.positive_only = True
            tags.transformer_tags.preserves_dtype = ["float64", "float32"]
            return tags

    class GraphClusterer(ClusterMixin, BaseEstimator):
        """A scikit-learn clusterer of a square matrix: which samples are linked with which, how strongly."""

        def __sklearn_tags__(self) -> Any:
            tags = super().__sklearn_tags__()
            tags.input_tags.sparse = True
            tags.input_tags.positive_only = True
            tags.input_tags.pairwise = True
            return tags

else:

    class _Parameters:
        """The constructor's arguments, as scikit-learn gets and sets them."""

        def get_params(self, deep: bool = True) -> dict[str, Any]:
            """The constructor's arguments."""
            names = inspect.signature(type(self).__init__).parameters
            return {name: getattr(self, name) for name in names if name != "self"}

        def set_params(self, **params: Any) -> Any:
            """Change constructor arguments; returns the estimator."""
            unknown = set(params) - set(self.get_params())
            if unknown:
                raise ValueError(f"{type(self).__name__} has no parameters {sorted(unknown)}")
            for name, value in params.items():
                setattr(self, name, value)
            return self

    class GraphClusterer(_Parameters):
        """The part of scikit-learn's interface of clusterers that needs nothing of scikit-learn."""

        def fit_predict(self, X: Any, y: object = None) -> Any:
            """Fit, and give the label of every sample."""
            return self.fit(X, y).labels_  # type: ignore[attr-defined]

    class Estimator(_Parameters):
        """The part of scikit-learn's interface of transformers that needs nothing of scikit-learn."""

        def fit_transform(self, X: Any, y: object = None) -> Any:
            """Fit, then transform the same data."""
            return self.fit(X, y).transform(X)  # type: ignore[attr-defined]

        def get_feature_names_out(self, input_features: object = None) -> Any:
            """Names of the columns of transform: the class name and a number."""
            prefix = type(self).__name__.lower()
            return np.array([f"{prefix}{i}" for i in range(self._n_features_out)], dtype=object)  # type: ignore[attr-defined]


def check_counts(estimator: Any, X: Any, *, reset: bool) -> sp.csr_array:
    """X as a canonical (n_samples, n_features) CSR of finite, non-negative numbers; ValueError when it cannot be."""
    if _SKLEARN:
        kinds = [np.float64, np.float32, np.int64, np.int32]
        X = validate_data(estimator, X, reset=reset, accept_sparse="csr", dtype=kinds, ensure_non_negative=True)
        return sp.csr_array(X)
    matrix = sp.csr_array(X)
    if matrix.dtype.kind not in "fiu":
        matrix = matrix.astype(np.float64)
    if matrix.ndim != 2 or min(matrix.shape) == 0:
        raise ValueError(f"X has shape {matrix.shape}; it needs at least one row and one column")
    if not np.all(np.isfinite(matrix.data)) or np.any(matrix.data < 0):
        raise ValueError("X has negative or non-finite values; counts are needed")
    if reset:
        estimator.n_features_in_ = matrix.shape[1]
    elif matrix.shape[1] != estimator.n_features_in_:
        what = f"X has {matrix.shape[1]} features, but {type(estimator).__name__} is expecting"
        raise ValueError(f"{what} {estimator.n_features_in_} features as input")
    return matrix


def check_fitted(estimator: Any) -> None:
    """Raise scikit-learn's NotFittedError (or a ValueError without it) before fit."""
    if _SKLEARN:
        check_is_fitted(estimator)
    elif not any(name.endswith("_") and not name.startswith("_") for name in vars(estimator)):
        raise ValueError(f"this {type(estimator).__name__} is not fitted yet; call fit first")


def seed_of(random_state: Any) -> int:
    """A seed from scikit-learn's random_state: None, an integer or a RandomState."""
    if isinstance(random_state, (int, np.integer)):
        return int(random_state)
    if _SKLEARN:
        return int(check_random_state(random_state).randint(2**31))
    if random_state is None:
        return int(np.random.default_rng().integers(2**31))
    return int(random_state.randint(2**31))
