"""How a result came about: see data/provenance.py, which the training of nets needs, too."""

from __future__ import annotations

from tdtool.data.provenance import record_provenance

__all__ = ["record_provenance"]
