"""The one place where compiled kernels get their settings."""

from __future__ import annotations

from typing import Any

import numba

#: Exact IEEE order of operations: for kernels whose sums must not be reordered, or that meet NaN.
jit: Any = numba.njit(cache=True, fastmath=False, nogil=True)

#: Sums may be reassociated (so that inner products vectorise); NaN and infinities keep their meaning.
#: The order is fixed at compile time: results stay the same from run to run.
jit_sums: Any = numba.njit(cache=True, fastmath={"reassoc", "contract"}, nogil=True)
