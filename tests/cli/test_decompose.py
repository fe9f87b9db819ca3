"""`tdtool decompose` as a person types it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Run
from tests.cli.running import environment, tdtool
from tests.store.samples import names

FRUIT = ["apple", "banana", "cherry", "date", "elder", "fig", "grape"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tensor of two components with noise, its first mode labelled, in a folder of its own."""
    rng = np.random.default_rng(3)
    factors = [rng.gamma(1.0, size=(size, 2)) for size in (7, 8, 9)]
    tensor = np.einsum("iz,jz,kz->ijk", *factors)
    tensor += 0.003 * np.linalg.norm(tensor) * rng.standard_normal(tensor.shape) / np.sqrt(tensor.size)
    tensor = np.abs(tensor)
    folder = tmp_path / "data"
    folder.mkdir()
    np.savez(folder / "fruit.npz", X=tensor, labels0=np.array(FRUIT))
    np.save(folder / "plain.npy", tensor)
    return folder / "fruit.npz"


def test_shortest_command_chooses_and_explains(run: Run, source: Path, tmp_path: Path) -> None:
    ran = run("decompose", source, "--max-rank", "3")
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0].split() == ["rank", "relative", "error", "core", "consistency", "split-half", "congruence"]
    assert re.fullmatch(r" *2 +0\.0\d+ +\d+% +[01]\.\d{3}  taken", lines[2])
    assert re.search(r"^\n?.*2.*\n\ncomponent +weight +share  mode +strongest$", ran.out, re.MULTILINE), (
        "reason, then table"
    )
    assert re.search(rf"^ +0 +\d.* mode0  ({'|'.join(FRUIT)}) \d\S+, ", ran.out, re.MULTILINE)
    assert re.search(r"^ +mode1  \[\d\] \d\S+, ", ran.out, re.MULTILINE)
    assert re.search(r"^Relative error 0\.00\d+, fit 0\.99\d+\.$", ran.out, re.MULTILINE)
    assert "Components: unique up to order and scale by Kruskal's condition" in ran.out
    assert re.search(r"^\d+ sweeps, settled; \d+\.\d s$", ran.out, re.MULTILINE)
    assert lines[-1] == "fruit.cp.h5", "the path comes last"
    assert "npz, array X of 7 x 8 x 9 float64; labels for mode0" in ran.err
    again = run("decompose", source, "--rank", "2", "-q")
    assert again.out.endswith("\nfruit.cp-2.h5\n")
    assert again.err == ""
    assert names(tmp_path) == ["data", "fruit.cp-2.h5", "fruit.cp.h5"]
    assert run("verify", "fruit.cp.h5").code == 0


def test_tucker_tells_core_and_modes(run: Run, source: Path) -> None:
    ran = run("decompose", source, "--method", "tucker", "--ranks", "2,2,2", "-o", "t.h5", "--top", "2")
    assert ran.code == 0, ran.err
    assert re.search(r"^mode0 +0 +\d+\.\d%  \w+ -?\d\S*, \w+ -?\S+$", ran.out, re.MULTILINE)
    assert "Core 2 x 2 x 2 of a tensor 7 x 8 x 9. Relative error of each mode alone: mode0 0.00" in ran.out
    assert re.search(r"^mode0  mode1  mode2 +core  share$", ran.out, re.MULTILINE)
    assert re.search(r"^ +0 +0 +0 +\d\S* +\d+\.\d%$", ran.out, re.MULTILINE)
    assert ran.out.endswith("\nt.h5\n")
    auto = json.loads(run("decompose", source, "--method", "hosvd", "--max-error", "0.02", "--json").out)
    assert (auto["path"], auto["ranks"]) == ("fruit.tucker.h5", [2, 2, 2])


def test_long_results_are_cut_where_show_is_not(run: Run, source: Path) -> None:
    ran = run("decompose", source, "--rank", "30", "--max-iters", "2", "--restarts", "1", "-o", "c.h5")
    assert ran.code == 0, ran.err
    assert re.search(r"^ +and 5 more components$", ran.out, re.MULTILINE)
    assert "stopped at --max-iters" in ran.out
    assert "Warning: 2 sweeps were not enough to settle: raise --max-iters" in ran.out
    shown = run("show", "c.h5").out
    assert "more components" not in shown
    assert len(re.findall(r"^ +\d+ +\d\S* +\d+\.\d%  mode0 ", shown, re.MULTILINE)) == 30


def test_json_is_everything_in_one_object(run: Run, source: Path, tmp_path: Path) -> None:
    ran = run("decompose", source, "--method", "cp-nonneg", "--rank", "2", "--json", "--export", "f.csv", "--top", "3")
    result = json.loads(ran.out)
    assert (result["path"], result["method"], result["rank"], result["shape"]) == (
        "fruit.cp.h5",
        "cp-nonneg",
        2,
        [7, 8, 9],
    )
    assert len(result["components"]) == 2
    assert [len(mode["top"]) for mode in result["components"][0]["modes"]] == [3, 3, 3]
    assert result["fit"] == 1 - result["relative_error"]
    assert result["stopped"] in ("tol", "max_iters")
    assert result["sweeps"] == len(result["errors"])
    assert set(result["seconds"]) == {"read", "fit", "total"}
    assert result["selection"] == []
    assert result["reason"] is None
    assert len((tmp_path / "f.csv").read_text().splitlines()) == 1 + (7 + 8 + 9) * 2


def test_dry_run_predicts_and_writes_nothing(run: Run, source: Path, tmp_path: Path) -> None:
    ran = run("decompose", source, "--dry-run")
    assert ran.code == 0, ran.err
    for line in (
        r"shape +7 x 8 x 9",
        r"values +504",
        r"ranks +1, 2, 3, .*10",
        r"memory +about \d+ MB, of which 0.0 MB ",
    ):
        assert re.search(f"^{line}", ran.out, re.MULTILINE), line
    plan = json.loads(run("decompose", source, "--rank", "2", "--dry-run", "--json").out)
    assert plan["ranks"] == [2]
    assert plan["seconds"] > 0
    assert names(tmp_path) == ["data"]


USAGE = {
    "rank 0": (["--rank", "0"], "0 is less than 1"),
    "rank in words": (["--rank", "many"], "neither a whole number nor auto"),
    "ranks in words": (["--method", "tucker", "--ranks", "2,x"], "no list of whole numbers"),
    "a rank of 0 among ranks": (["--method", "tucker", "--ranks", "2,0,2"], "0 is less than 1"),
    "rank with tucker": (["--method", "tucker", "--rank", "2"], "--rank is for CP"),
    "ranks with cp": (["--ranks", "2,2,2"], "--ranks is for tucker"),
    "too few ranks": (["--method", "tucker", "--ranks", "2,2"], "--ranks has 2 numbers, and the tensor has 3 modes"),
    "no such method": (["--method", "svd"], "'svd' is not one of"),
    "no such format": (["--format", "xlsx"], "no format 'xlsx'"),
    "sketch without rank": (["--method", "sketch"], "needs a --rank"),
    "export": (["--rank", "1", "--export", "x.docx"], "no format has the suffix"),
}


@pytest.mark.parametrize("case", USAGE)
def test_wrong_usage(run: Run, source: Path, tmp_path: Path, case: str) -> None:
    arguments, message = USAGE[case]
    ran = run("decompose", source, *arguments)
    assert (ran.code, ran.out) == (2, ""), ran.err
    assert message in ran.err
    assert "Traceback" not in ran.err
    assert names(tmp_path) == ["data"]


def test_other_troubles_have_their_codes(run: Run, source: Path) -> None:
    above = run("decompose", source, "--method", "tucker", "--ranks", "8,2,4")
    assert above.code == 3
    assert "rank 8 of mode mode0 is more than the size 7 of that mode\n  the tensor is 7 x 8 x 9" in above.err
    assert run("decompose", "nowhere.npz", "--rank", "2").code == 3
    (source.parent / "fruit.cp.h5").write_bytes(b"")
    np.save(source.parent / "big.npy", np.ones((64, 64, 64)))
    short = run("decompose", source.parent / "big.npy", "--rank", "50", "--memory", "4M")
    assert short.code == 4
    assert "--memory" in short.err


def test_standard_input_and_settings(source: Path, tmp_path: Path) -> None:
    (tmp_path / "tdtool.toml").write_text('[decompose]\nmethod = "tucker"\nranks = "1,2,2"\n')
    with (source.parent / "plain.npy").open("rb") as file:
        command = [sys.executable, "-m", "tdtool", "decompose", "-", "--json", "--ranks", "2,2,1"]
        done = subprocess.run(command, stdin=file, capture_output=True, cwd=tmp_path, env=environment(), check=True)
    result = json.loads(done.stdout)
    assert (result["path"], result["ranks"]) == ("stdin.tucker.h5", [2, 2, 1]), "flags win"


def test_interrupted_fit_leaves_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "noise.npy", rng.standard_normal((60, 70, 80)))
    command = [sys.executable, "-m", "tdtool", "decompose", "noise.npy", "--rank", "40", "--tol", "0"]
    command += ["--max-iters", "1000000"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        assert "60 x 70 x 80" in child.stderr.readline()
        time.sleep(1.0)
        child.send_signal(signal.SIGINT)
        rest = child.stderr.read()
    assert (child.returncode, rest.strip().splitlines()[-1]) == (130, "Interrupted.")
    assert names(tmp_path) == ["noise.npy"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from /proc")
@pytest.mark.parametrize(
    ("share_missing", "settings"),
    [(0.1, ["--rank", "5"]), (0.0, ["--method", "hosvd", "--ranks", "60,80,90"])],
)
def test_memory_is_predicted(tmp_path: Path, share_missing: float, settings: list[str]) -> None:
    """The peak of a process, within a factor of 1.5 of what --dry-run says."""
    rng = np.random.default_rng(0)
    tensor = rng.standard_normal((120, 160, 200))
    tensor[rng.random(tensor.shape) < share_missing] = np.nan
    np.save(tmp_path / "t.npy", tensor)
    arguments = ["decompose", "t.npy", *settings, "--max-iters", "3", "--restarts", "1"]
    plan = json.loads(tdtool(*arguments, "--dry-run", "--json", cwd=tmp_path).out)
    script = (  # getrusage would hand down the peak of this process
        "import pathlib, sys; from tdtool.cli.entry import run; code = run(sys.argv[1:]);"
        "print(pathlib.Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0], file=sys.stderr);"
        "sys.exit(code)"
    )
    command = [sys.executable, "-c", script, *arguments, "-q"]
    for _ in range(2):  # the first may compile kernels, which takes memory of its own
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment(), check=True)
    measured = int(done.stderr.splitlines()[-1]) * 1024
    assert measured > plan["tensor_bytes"]
    assert 1 / 1.5 < plan["memory_bytes"] / measured < 1.5
