"""Topics of moments on an emulated GPU are those of the CPU, but for rounding; communities of moments stay here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tdtool.cli import entry
from tdtool.config import IngestConfig, MomentsConfig
from tdtool.kernels import device_gpu
from tdtool.run.moments import ingest_moments
from tdtool.run.topics_of_moments import topics_of_moments
from tests.emulated_gpu import EmulatedGpu, gpu, needs_compiler
from tests.store.samples_moments import write_graph_moments

__all__ = ["gpu"]
pytestmark = needs_compiler


@pytest.mark.parametrize("settings", [{}, {"m3": "sketch", "hash_length": 256, "sketches": 2}])
def test_topics_are_those_of_the_cpu(
    settings: dict[str, Any], planted_source: str, tmp_path: Path, gpu: EmulatedGpu
) -> None:
    moments = tmp_path / "planted.moments.h5"
    ingest_moments(planted_source, moments, ingest=IngestConfig(), moments=MomentsConfig(6, **settings), workers=1)
    assert device_gpu.open_gpu() is gpu
    for k in (6, 4):
        here = topics_of_moments(moments, tmp_path / f"here{k}.h5", n_topics=k)
        there = topics_of_moments(moments, tmp_path / f"there{k}.h5", n_topics=k, gpu=gpu)
        np.testing.assert_allclose(there.fit.model.word_topic, here.fit.model.word_topic, rtol=1e-4, atol=1e-8)
        assert there.fit.sweeps == here.fit.sweeps


def test_the_command_says_where(
    gpu: EmulatedGpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_graph_moments(tmp_path / "g.moments.h5")
    assert entry.run(["communities", "g.moments.h5", "--device", "cuda", "--json"]) == 0
    ran = capsys.readouterr()
    assert "moments are small: the CPU finds communities in them" in ran.err
    assert json.loads(ran.out)["communities"]
