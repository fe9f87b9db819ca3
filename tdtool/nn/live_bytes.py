"""Bytes of the tensors alive at any moment: run anything under it, on real, meta or fake tensors."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """`with LiveBytes() as bytes_: ...`, then bytes_.live (now) and bytes_.peak (at most) of storages made inside.

    small : storages below so many bytes are counted in small_at_peak too. What a kernel allocates and gives back within
    one operation is not seen.
    """

    def __init__(self, small: int = 0) -> None:
        super().__init__()
        self.live = self.peak = self.small_at_peak = 0
        self._small, self._live_small = small, 0
        self._known: dict[int, int] = {}

    def forget_peak(self) -> None:
        """From now on `peak` is counted anew."""
        self.peak, self.small_at_peak = self.live, self._live_small

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: tuple[Any, ...] = (), keywords: Mapping[str, Any] | None = None
    ) -> Any:
        for leaf in tree_leaves((arguments, keywords)):
            if isinstance(leaf, torch.Tensor):
                self._add(leaf.untyped_storage(), 0)  # made outside, if it is not known
        result = function(*arguments, **(keywords or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._add(leaf.untyped_storage(), leaf.untyped_storage().nbytes())
        return result

    def _add(self, storage: torch.UntypedStorage, size: int) -> None:
        key = storage._cdata
        if key in self._known:
            return
        self._known[key] = size
        self.live += size
        self._live_small += size if size < self._small else 0
        if self.live > self.peak:
            self.forget_peak()
        weakref.finalize(storage, self._drop, key).atexit = False

    def _drop(self, key: int) -> None:
        size = self._known.pop(key)
        self.live -= size
        self._live_small -= size if size < self._small else 0
