"""Whole commands on an emulated GPU: kernels ran, and what is found is what the CPU finds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tdtool.store import hdf5
from tests.cli.conftest import Run
from tests.emulated_gpu import EmulatedGpu, gpu, needs_compiler

__all__ = ["gpu"]
pytestmark = [needs_compiler, pytest.mark.slow]


def on_both(run: Run, gpu: EmulatedGpu, *arguments: object) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a command prints with and without a GPU; the files are here.h5 and there.h5."""
    results = []
    for device, name in (("cpu", "here.h5"), ("cuda", "there.h5")):
        before = len(gpu.launches)
        ran = run(*arguments, "--device", device, "-o", name, "--json")
        assert ran.code == 0, ran.err
        assert (len(gpu.launches) > before) == (device == "cuda"), "kernels run on the GPU, and only where asked for"
        with hdf5.open(Path(name)) as reader:
            told = reader.attributes["config"].get("gpu")
        assert told == ({"name": "emulated", "tf32": False} if device == "cuda" else None), "the file says what made it"
        results.append(json.loads(ran.out))
    return results[0], results[1]


def arrays(name: str) -> list[Any]:
    """An array of both files."""
    found = []
    for path in ("here.h5", "there.h5"):
        with hdf5.open(Path(path)) as reader:
            found.append(reader.get(name))
    return found


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """24 short documents of three topics."""
    draw = np.random.default_rng(3)
    words = [[f"{topic}{chr(97 + i)}{chr(110 + i)}" for i in range(8)] for topic in ("sea", "law", "art")]
    lines = [" ".join(draw.choice(words[d % 3] + words[(d + 1) % 3][:2], 8)) for d in range(24)]
    target = tmp_path / "documents.txt"
    target.write_text("\n".join(lines) + "\n")
    return target


def test_topics_and_infer(run: Run, gpu: EmulatedGpu, documents: Path) -> None:
    here, there = on_both(run, gpu, "topics", documents, "-k", 3, "--stop-words", "none", "--polish", 2)
    assert there["scores"]["perplexity"] == pytest.approx(here["scores"]["perplexity"], rel=2e-3)
    one, two = arrays("topics/topic_word")
    np.testing.assert_allclose(one, two, atol=2e-3)
    Path("there.h5").unlink()
    Path("here.h5").rename("model.h5")
    on_both(run, gpu, "infer", "model.h5", documents)
    one, two = arrays("documents/topic")
    np.testing.assert_allclose(one, two, atol=1e-3)


def test_communities(run: Run, gpu: EmulatedGpu, tmp_path: Path) -> None:
    starts, ends = (0, 9, 20), (10, 21, 34)  # cliques of 10, 12 and 14; neighbours share a node
    pairs = {
        (i, j) for start, end in zip(starts, ends, strict=True) for i in range(start, end) for j in range(start, i)
    }
    (tmp_path / "edges.txt").write_text("".join(f"{i} {j}\n" for i, j in sorted(pairs)))
    here, there = on_both(run, gpu, "communities", "edges.txt", "-k", 3)
    assert [each["size"] for each in there["communities"]] == [each["size"] for each in here["communities"]]
    one, two = arrays("membership/community")
    np.testing.assert_array_equal(one, two)
    one, two = arrays("membership/weight")
    np.testing.assert_allclose(one, two, atol=1e-5)


@pytest.mark.parametrize("method", [("cp", "--rank", 2), ("tucker", "--ranks", "2,2,2")])
def test_decompose(run: Run, gpu: EmulatedGpu, tmp_path: Path, method: tuple[object, ...]) -> None:
    draw = np.random.default_rng(5)
    factors = [draw.standard_normal((n, 2)) for n in (9, 8, 7)]
    np.save(tmp_path / "tensor.npy", np.einsum("ir,jr,kr->ijk", *factors) + 0.01 * draw.standard_normal((9, 8, 7)))
    here, there = on_both(run, gpu, "decompose", "tensor.npy", "--method", *method)
    assert there["relative_error"] == pytest.approx(here["relative_error"], rel=1e-6)
    one, two = arrays("factors/mode0")
    np.testing.assert_allclose(one, two, atol=1e-6)
