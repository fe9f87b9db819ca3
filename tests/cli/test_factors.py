"""`tdtool factors` as it is typed: what it prints, where it writes, how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Run
from tests.cli.running import tdtool
from tests.oracles_factors import planted_loadings, planted_table


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """tests.csv: 150 rows, 7 columns of 2 factors, and a column of towns."""
    draw = np.random.default_rng(9)
    values = planted_table(planted_loadings((3, 4), 0.7, 0.9, draw), 150, draw, 0.3)[0]
    lines = ["id," + ",".join(f"t{i}" for i in range(1, 8)) + ",town"]
    lines += [f"p{i}," + ",".join(f"{x:.3f}" for x in row) + f",{'ab'[i % 2]}" for i, row in enumerate(values)]
    path = tmp_path / "tests.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_what_a_person_reads(run: Run, planted: Path) -> None:
    ran = run("factors", planted, "--export", "l.csv")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0] == "CSV, 150 rows, 9 columns, rows named by id"
    assert "  left out: town: text ('a' in line 2)" in lines
    assert "Parallel analysis keeps 2" in ran.out
    assert "     2" in ran.out
    table = lines[next(i for i, line in enumerate(lines) if line.startswith("column")) + 1 :][:7]
    first, second = ([row.split() for row in part] for part in (table[:4], table[4:]))
    assert {row[0] for row in first} == {"t4", "t5", "t6", "t7"}
    assert {row[0] for row in second} == {"t1", "t2", "t3"}
    assert all(len(row) == 3 for row in (*first, *second)), "loadings below 0.3 are blank"
    assert any(line.startswith("F1 (") and "t4" in line and "t1" not in line for line in lines)
    assert "RMSEA" in ran.out
    assert "KMO 0." in ran.out
    assert lines[-2].startswith("150 rows read, 150 used; 2 factors in ")
    assert lines[-1] == "tests.factors.h5"
    assert Path("tests.factors.h5").is_file()
    assert run("factors", planted).out.splitlines()[-1] == "tests.factors-2.h5"
    assert run("verify", "tests.factors.h5").code == 0


def test_json_is_one_object(run: Run, planted: Path) -> None:
    told = json.loads(run("factors", planted, "--json", "-k", "2", "--rotation", "varimax", "-o", "f.h5").out)
    assert told["path"] == "f.h5"
    assert told["columns"] == [f"t{i}" for i in range(1, 8)]
    assert told["rotation"] == "varimax"
    assert [sorted(factor["columns"]) for factor in told["factors"]] == [["t4", "t5", "t6", "t7"], ["t1", "t2", "t3"]]
    assert set(told["fit"]) == {"chi_square", "df", "p_value", "rmsea", "tli", "srmr"}


def test_a_stack_says_so(run: Run, sample_data: Path) -> None:
    ran = run("factors", sample_data / "students.csv")
    assert ran.code == 0
    assert "columns end in _written, _oral: taken as a stack of 2 tables (--stack none: one table)" in ran.out
    assert "stack of 200 rows x 8 columns x 2 slices (written, oral)" in ran.out
    assert "\nslice" in ran.out
    assert "Weights of the slices" in ran.out


def test_standard_input(planted: Path, tmp_path: Path) -> None:
    ran = tdtool("factors", "-", "-q", cwd=tmp_path, stdin=planted.read_text(encoding="utf-8"))
    assert (ran.code, ran.out.splitlines()[-1]) == (0, "stdin.factors.h5")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nothing.csv"], 3, "no such file"),
        (["tests.csv", "--columns", "x1"], 2, "there is no column 'x1'; did you mean t1?"),
        (["tests.csv", "-k", "0"], 2, "0 is less than 1"),
        (["tests.csv", "-k", "5"], 3, "7 columns determine 3 at most"),
        (["tests.csv", "--rotation", "spin"], 2, "'spin' is not one of"),
        (["tests.csv", "--export", "a.xlsx"], 2, "no format has the suffix"),
        (["tests.csv", "-o", "tests.csv"], 2, "--force"),
        (["tests.csv", "--columns", "t1,t2,town"], 3, "text ('a' in line 2)"),
        (["bad.csv"], 3, "bad.csv:3: this row has 2 cells, the header 3"),
    ],
)
def test_exit_codes(run: Run, planted: Path, arguments: list[str], code: int, words: str) -> None:
    Path("bad.csv").write_text("a,b,c\n1,2,3\n1,2\n", encoding="utf-8")
    ran = run("factors", *arguments)
    assert ran.code == code
    assert words in ran.err
    assert ran.out == ""
    assert not list(planted.parent.glob("*.h5"))
