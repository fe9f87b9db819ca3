"""`find_communities` with a GPU, an emulated one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tdtool.config import CommunitiesConfig
from tdtool.data.planted_graph import planted_disjoint
from tdtool.kernels.device_gpu import open_gpu
from tdtool.models.cover_scores import onmi_max
from tdtool.run.communities import find_communities
from tests.emulated_gpu import EmulatedGpu, gpu, needs_compiler

pytestmark = [needs_compiler, pytest.mark.usefixtures("gpu")]
__all__ = ["gpu"]


def test_the_communities_of_the_cpu(tmp_path: Path, gpu: EmulatedGpu) -> None:
    """Also of the graphs that are made from it: without held-out edges, and in another order."""
    edges = planted_disjoint([12, 15, 18], mean_degree=8, mixing=0.05, rng=np.random.default_rng(2)).edges
    source = tmp_path / "g.txt"
    source.write_text("".join(f"{a} {b}\n" for a, b in edges), encoding="utf-8")
    config = CommunitiesConfig(n_communities=3, polish=4, holdout=0.05, stability=1)
    here = find_communities(str(source), tmp_path / "a.h5", communities=config, workers=1)
    assert not gpu.launches
    there = find_communities(str(source), tmp_path / "b.h5", communities=config, workers=1, gpu=open_gpu())
    assert gpu.launches.count("sparse_rows") > 3 * 4
    assert onmi_max(there.fit.cover, here.fit.cover) == 1
    for name in ("auc", "bits", "modularity", "stability"):
        assert there.scores[name] == pytest.approx(here.scores[name], rel=1e-3)
