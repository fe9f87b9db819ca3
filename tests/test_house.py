"""What holds for the whole house: imports, links, sizes, words that must not occur, and what CI runs."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

import tdtool

REPOSITORY = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
SHIPPED = ("tdtool", "kernels", "jobs")
LONGEST_FILE, LONGEST_BODY = 500, 60
HEAVY = {"numpy", "scipy", "numba", "pyarrow", "h5py", "rich", "threadpoolctl", "sklearn", "pyspark", "torch", "cupy"}
#: What no code that is shipped may contain, and why.
FORBIDDEN = {
    r"\bpickle\.loads?\b|\ballow_pickle=True": "pickled data runs code",
    r"(?<![\w.])(eval|exec)\(": "text from a file would become code",
    r"\bshell=True|\bos\.(system|popen)\b": "text from a file would reach a shell",
    r"\b(TODO|FIXME|XXX)\b": "unfinished",
    r"# pragma: no cover": "every line is for a test to reach",
    r"^\s*except( Exception)?:\s*(pass)?$": "a swallowed exception",
    r"^\s*(import|from) (kernels|jobs)\b": "it is tdtool.kernels and tdtool.jobs",
}


def sources(*folders: str) -> list[Path]:
    """Python files below folders of the repository, each once, whatever links lead to it."""
    found = [path for folder in folders for path in (REPOSITORY / folder).rglob("*.py")]
    return sorted({path.resolve() for path in found})


def bodies(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Name and length in lines of every function, the docstring not counted."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1] if ast.get_docstring(node) is not None and len(node.body) > 1 else node.body[0]
            yield node.name, (node.end_lineno or 0) - first.lineno + 1


def run(*command: str, folder: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    """A program of this environment."""
    program = shutil.which(command[0], path=str(Path(sys.executable).parent)) or command[0]
    return subprocess.run([program, *command[1:]], cwd=folder, capture_output=True, text=True, check=False)


def test_import_contract() -> None:
    done = run("lint-imports", "--no-cache")
    assert done.returncode == 0, done.stdout


def test_contract_names_every_package() -> None:
    layers = " ".join(PROJECT["tool"]["importlinter"]["contracts"][0]["layers"])
    folder = REPOSITORY / "tdtool"
    ours = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    assert set(re.findall(r"tdtool\.(\w+)", layers)) | {"__init__", "__main__", "kernels"} >= ours


@pytest.mark.parametrize("name", ["kernels", "jobs"])
def test_links_are_links(name: str) -> None:
    if (REPOSITORY / "PKG-INFO").exists():
        pytest.skip("a source distribution holds the files in place of the links")
    link = REPOSITORY / "tdtool" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..") / name


@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_forbidden_words(pattern: str) -> None:
    for path in sources(*SHIPPED):
        found = re.search(pattern, path.read_text(encoding="utf-8"), re.MULTILINE)
        assert found is None, f"{path}: {found[0]!r}: {FORBIDDEN[pattern]}"


def test_files_and_functions_fit_in_one_reading() -> None:
    for path in sources(*SHIPPED, "tests"):
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= LONGEST_FILE, path
        assert path.stem not in ("utils", "helpers", "misc", "common"), path
        for name, length in bodies(ast.parse(text)):
            assert length <= LONGEST_BODY, f"{path}: {name} has {length} lines"


def test_one_version() -> None:
    assert PROJECT["project"]["version"] == tdtool.__version__
    newest = re.search(r"^## (\S+)", (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == tdtool.__version__


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["topics", "--help"], ["verify", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys, tdtool; from tdtool.cli.entry import run; code = run(sys.argv[1:]);"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr); sys.exit(code)"
    )
    done = run(sys.executable, "-c", script, *arguments)
    assert done.returncode == 0, done.stderr
    assert not HEAVY & set(done.stderr.split())
    assert "tdtool" in done.stdout


def test_public_names_wait_until_they_are_asked_for() -> None:
    script = (
        "import sys, tdtool; before = set(sys.modules); tdtool.SpectralLDA;"
        "print(*({name.partition('.')[0] for name in sys.modules} - {name.partition('.')[0] for name in before}))"
    )
    assert "numpy" in run(sys.executable, "-c", script).stdout.split()


def test_ci_runs_what_is_promised() -> None:
    script = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
    assert os.access(REPOSITORY / ".ci" / "run", os.X_OK)
    assert run("bash", "-n", ".ci/run").returncode == 0
    steps = [line.removeprefix("step ") for line in script.splitlines() if line.startswith("step ")]
    readme = re.findall(r"^```sh\n(.*?)\n```$", (REPOSITORY / "README.md").read_text(encoding="utf-8"), re.M | re.S)[1]
    assert readme.split(" && ")[2:] == [steps[1], steps[-1]]
    contributing = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8").split("```sh\n")[1].split("\n```")[0]
    promised = [command for line in contributing.splitlines() for command in line.split(" && ")]
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    checks = re.findall(r"^check: ([\w ]+)", makefile, re.MULTILINE)[0].split()
    recipes = [re.findall(rf"^{target}:\n((?:\t.*\n)+)", makefile, re.MULTILINE)[0] for target in checks]
    assert promised == [step for step in steps[1:] if "JIT" not in step]
    assert promised[1:] == [line.strip() for recipe in recipes for line in recipe.splitlines()]


def test_constraints_pin_what_is_needed() -> None:
    lines = (REPOSITORY / ".ci" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {pin.name.lower(): pin for pin in map(Requirement, (line for line in lines if line and line[0] != "#"))}
    extras = PROJECT["project"]["optional-dependencies"]
    for line in [*PROJECT["project"]["dependencies"], *extras["dev"]]:
        needed = Requirement(line)
        (pin,) = pins[needed.name.lower()].specifier
        assert pin.operator == "==", line
        assert pin.version in needed.specifier, line
        assert not any(part.operator == "==" for part in needed.specifier), line


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what an installation is built from, links and all."""
    pytest.importorskip("setuptools", minversion="77", reason="building here needs setuptools 77 or later")
    copy = tmp_path / "checkout"
    copy.mkdir()
    for name in SHIPPED:
        shutil.copytree(REPOSITORY / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(REPOSITORY / name, copy)
    return copy


def build(checkout: Path, kind: str) -> set[str]:
    """The files of a wheel. kind : "wheel" or "editable"."""
    script = f"from setuptools.build_meta import build_{kind} as build; build('dist')"
    done = run(sys.executable, "-c", script, folder=checkout)
    assert done.returncode == 0, done.stderr
    (wheel,) = (checkout / "dist").glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_wheel_holds_the_kernels_and_no_package_of_general_name(checkout: Path) -> None:
    names = build(checkout, "wheel")
    assert {name.partition("/")[0] for name in names} == {"tdtool", f"tdtool-{tdtool.__version__}.dist-info"}
    folder = REPOSITORY / "kernels"
    kernels = [path for path in folder.iterdir() if path.suffix in (".py", ".cu", ".cuh")]
    files = {f"tdtool/kernels/{path.name}" for path in kernels}
    assert any(path.suffix == ".cuh" for path in kernels)
    assert files | {"tdtool/jobs/__init__.py", "tdtool/py.typed", "tdtool/cli/topics.py"} <= names


def test_editable_install_is_a_path(checkout: Path) -> None:
    """An import hook would come after what an ordinary install leaves behind: a folder tdtool with compiled kernels."""
    code = {name for name in build(checkout, "editable") if ".dist-info/" not in name}
    assert [Path(name).suffix for name in code] == [".pth"]
