"""How long the vector registers of this processor are."""

from __future__ import annotations

import llvmlite.binding


def _vector_bytes() -> int:
    features = llvmlite.binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 64
    return 32 if features.get("avx2") else 16


#: Bytes of a vector register; numba keeps compiled code apart by processor and features.
VECTOR_BYTES = _vector_bytes()
