"""Real tensors whose components are known from chemistry, decomposed as the command line does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tdtool.config import DecomposeConfig, TensorConfig
from tdtool.decompose.results import CPFit
from tdtool.run.decompose import decompose


@pytest.mark.shared_data
def test_amino_acids_are_told_apart(shared_data: Path, tmp_path: Path) -> None:
    """Fluorescence of five mixtures: each component's first mode is the concentration of one acid."""
    path = shared_data / "tensors" / "amino.npz"
    config = DecomposeConfig(rank=3)
    result = decompose(str(path), tmp_path / "a.h5", tensor=TensorConfig(key="X"), decompose=config, workers=1)
    with np.load(path) as arrays:
        concentrations = arrays["Y"]
    assert isinstance(result.fit, CPFit)
    assert result.fit.relative_error == pytest.approx(0.02505, abs=1e-4)
    correlations = np.abs(np.corrcoef(result.fit.factors[0], concentrations, rowvar=False)[:3, 3:])
    assert correlations.max(axis=0).min() >= 0.998
    assert "unique up to order and scale" in result.decomposition.uniqueness


@pytest.mark.shared_data
def test_missing_values_of_a_reaction(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "tensors" / "kinetic_fluorescence.npz"
    source = TensorConfig(key="X", mask="mask")
    config = DecomposeConfig(rank=4, restarts=1)
    result = decompose(str(path), tmp_path / "k.h5", tensor=source, decompose=config, workers=1)
    assert result.n_missing == 1754
    assert result.fit.relative_error < 0.03
