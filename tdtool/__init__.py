"""tdtool: hidden structure in text, graphs, tensors and nets, by tensor decomposition."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tdtool.run.community_estimator import TensorCommunities
    from tdtool.run.estimators import SpectralLDA

__version__ = "0.1.0"
__all__ = ["SpectralLDA", "TensorCommunities", "__version__"]

_PUBLIC = {"SpectralLDA": "tdtool.run.estimators", "TensorCommunities": "tdtool.run.community_estimator"}


def __getattr__(name: str) -> Any:
    """The public names, imported when first asked for: `import tdtool` itself loads nothing heavy."""
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'tdtool' has no attribute {name!r}")
