"""The GPU benchmark, tiny and on an emulated GPU: every part finds what it should, and its command says why not."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tdtool.kernels import device_gpu
from tests.bench import gpu as bench
from tests.bench import gpu_checks, gpu_contract, gpu_part
from tests.bench.__main__ import main
from tests.bench.gpu_part import part as part_of
from tests.bench.gpu_work import ON_CPU, OURS, TOY, Found, Work
from tests.bench.results import Result, Row
from tests.emulated_gpu import EmulatedGpu, gpu, needs_compiler

__all__ = ["gpu"]
pytestmark = needs_compiler


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """A toy's worth."""
    return Work(TOY, tmp_path / "nowhere", tmp_path, threads=1, seed=0)


@pytest.fixture
def opened(gpu: EmulatedGpu) -> EmulatedGpu:
    """The emulated GPU as the one that arrays are looked up on."""
    assert device_gpu.open_gpu() is gpu
    return gpu


def rows(part: str, gpu: EmulatedGpu, work: Work) -> dict[tuple[str, str], Found]:
    found = {(row.system, row.case): row for row in part_of(part)(gpu, work)}
    wrong = {key: row.note for key, row in found.items() if row.note}
    assert not wrong
    return found


def test_rates(opened: EmulatedGpu, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdtool.run.bench_machine._SECONDS", 0.0001)
    monkeypatch.setattr("tdtool.run.bench_machine._GPU_BYTES", 1 << 16)
    assert len(rows("rates", opened, work)) == 5


def test_contractions_are_checked_and_timed(opened: EmulatedGpu, work: Work) -> None:
    found = rows("contract", opened, work)
    ours = [row for (system, _), row in found.items() if system == OURS]
    assert len(ours) == (36 + 1) * 2
    for row in ours:
        assert row.seconds is not None
        assert row.quality["same"] == 1
        assert row.quality["error"] <= gpu_contract.TOLERANCE[row.case.split()[-1]]
    assert {system for system, _ in found} >= {OURS, "cupy", "matmul"}


def test_a_wrong_contraction_is_not_timed(opened: EmulatedGpu, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(equation: str, *operands: Any) -> Any:
        return opened.xp.einsum(equation, *operands) * np.float32(1.001)

    monkeypatch.setattr(gpu_contract, "contract", wrong)
    ours = [row for row in part_of("contract")(opened, work) if row.system == OURS]
    assert all(row.seconds is None and row.note.startswith("wrong: 1.0e-03 cold") for row in ours)


@pytest.mark.study
def test_single_steps_are_those_of_the_cpu(opened: EmulatedGpu, work: Work) -> None:
    found = rows("kernels", opened, work)
    assert len(found) == 2 * (9 + 1 + 2) + 3 + 2
    assert all(row.quality["same"] == 1 for row in found.values())


@pytest.mark.slow
@pytest.mark.parametrize("part", ["tensors", "sketch", "topics", "communities"])
def test_ours_on_both_find_the_same(part: str, opened: EmulatedGpu, work: Work) -> None:
    found = rows(part, opened, work)
    cases = {case for _, case in found}
    assert {system for system, _ in found} == {OURS, ON_CPU}
    for case in cases:
        ours, cpu = found[OURS, case], found[ON_CPU, case]
        assert ours.quality["same"] == 1
        for name in ("residual", "perplexity"):
            assert ours.quality.get(name, 0) == pytest.approx(cpu.quality.get(name, 0), rel=2e-3)
        assert cpu.quality.get("onmi", 1.0) == pytest.approx(1.0)


def test_a_pass_of_the_polish(opened: EmulatedGpu, work: Work) -> None:
    (row,) = rows("polish", opened, work).values()
    assert row.seconds is not None
    assert row.quality["floor"] > 0


def test_what_is_missing_is_said(opened: EmulatedGpu, work: Work) -> None:
    sizes = {"topics": (("ap", (3,)),), "graphs": ("dblp",)}
    bare = Work(TOY.__class__(**{**TOY.__dict__, **sizes}), work.data, work.folder, 1, 0)
    for part in ("topics", "communities"):
        (row,) = part_of(part)(opened, bare)
        assert row.note.startswith(("no corpus: FileNotFoundError", "no graph: FileNotFoundError"))


def test_checks_run_the_tests_of_kernels(
    opened: EmulatedGpu, work: Work, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = tmp_path / "test_made_gpu.py"
    made.write_text(
        "from tests.emulated_gpu import EmulatedGpu, gpu, needs_compiler\n"
        "pytestmark = needs_compiler\n"
        "def test_right(gpu, rng):\n    assert rng.random() < 1 and isinstance(gpu, EmulatedGpu)\n"
        "def test_wrong(gpu):\n    assert gpu is None, 'no such luck'\n"
    )
    monkeypatch.setattr(gpu_checks, "files", lambda: [made])
    monkeypatch.setattr(gpu_checks, "RealGpu", EmulatedGpu)
    monkeypatch.setattr(gpu_checks, "compile_file", lambda *_: None)
    found = {row.case: row for row in gpu_checks.checks(opened, work)}
    row = found[made.name]
    assert (row.quality["passed"], row.quality["failed"]) == (1, 1)
    assert "test_wrong" in row.note
    assert "compiling topic.cu" in found


def test_the_files_of_tests_are_found() -> None:
    names = {path.name for path in gpu_checks.files()}
    assert "test_contract_gpu.py" in names
    assert not names & {"test_emulated_gpu.py", "test_gpu_bench.py"}


def test_without_a_gpu_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fail(**_: Any) -> Any:
        raise RuntimeError("none here")

    monkeypatch.setattr(device_gpu, "_open", fail)
    monkeypatch.setattr("tdtool.run.device.read_driver", lambda: None)
    monkeypatch.setattr(bench, "run_child", lambda *_, receive, **__: receive(gpu_part.probe()) or "")
    assert main(["gpu", "--results", str(tmp_path)]) == 4
    assert "this benchmark needs a GPU: there is no NVIDIA driver" in capsys.readouterr().err
    monkeypatch.setattr(bench, "run_child", lambda *_, **__: "failed: no such module")
    assert main(["gpu", "--results", str(tmp_path)]) == 4
    assert list(tmp_path.iterdir()) == []


def options(tmp_path: Path, parts: str, cap: float = 100.0) -> argparse.Namespace:
    return argparse.Namespace(
        parts=parts, quick=True, cap=cap, data="", results=str(tmp_path), folder=None, threads=1, seed=0
    )


def test_one_part_that_fails_does_not_cost_the_others(
    gpu: EmulatedGpu, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def child(module: str, task: dict[str, Any], *, threads: int, cap: float, receive: Any) -> str:
        if task["part"] == "probe":
            receive(gpu_part.probe())
        seconds = {"matmul n=8 float32": 1.0, "1.3 n=8 float32": 2.0}
        for case, value in seconds.items() if task["part"] == "contract" else ():
            system = "matmul" if case.startswith("matmul") else OURS
            message = {"version": "1", "quality": {}, "note": "", "peak_rss_mb": 1.0}
            receive({"system": system, "case": case, "seconds": value, **message})
        return "" if task["part"] in ("contract", "probe") else "failed: no such luck"

    monkeypatch.setattr(bench, "run_child", child)
    result = bench.run(options(tmp_path, "rates,contract"))
    assert [(row.case, row.note) for row in result.rows if row.note] == [("rates", "failed: no such luck")]
    assert result.hardware.startswith("emulated, 16 GiB, driver")
    (written,) = tmp_path.glob("*.json")
    assert len(json.loads(written.read_text())["rows"]) == 3
    assert result.rows[-1].quality["of_matmul"] == 0.5
    table = next(tmp_path.glob("*.txt")).read_text()
    assert "batched n=8 float32" in table
    assert "1.3 n=8" not in table
    assert bench.run(options(tmp_path, "rates", cap=0.0)).rows[0].note == "not run: the cap was reached"
    with pytest.raises(SystemExit, match="no part is called speed"):
        bench.run(options(tmp_path, "speed"))


def test_ratios_and_means() -> None:
    made = [Row(OURS, "", "cp n=9", 2.0), Row(ON_CPU, "", "cp n=9", 30.0)]
    made += [Row("matmul", "", "matmul n=9 f", 1.0), Row(OURS, "", "1.1 n=9 f", 2.0), Row(OURS, "", "1.5 n=9 f", 8.0)]
    bench.set_ratios(made)
    assert made[0].quality == {"speedup": 15.0}
    means = {row.case: row for row in bench.class_means(made)}
    assert means["flat n=9 f"].seconds == pytest.approx(4.0)
    assert means["flat n=9 f"].quality["of_matmul"] == pytest.approx(0.25)
    assert Result("gpu", 1, "", [], made).as_json()["rows"]
