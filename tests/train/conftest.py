"""Nets in tests run on one thread: the tests share the cores with each other."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train: pip install 'tdtool[train]'")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
