"""Names of results, when the user gives none; and no result in the place of what is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tdtool.run.outputs import default_output, source_name
from tests.cli.conftest import Run


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("data/docs.tsv.gz", "docs"),
        ("docs.jsonl", "docs"),
        ("docword.nips.txt.gz", "docword.nips"),
        ("news.corpus.h5", "news"),
        ("news.corpus-2.h5", "news.corpus-2"),
        ("archive.tar.xz", "archive"),
        (".hidden", ".hidden"),
        ("plain", "plain"),
        ("-", "stdin"),
        ("/", "root"),
    ],
)
def test_name_of_a_source(source: str, name: str) -> None:
    assert source_name(source) == name


def test_name_of_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "my.corpus"
    folder.mkdir()
    assert source_name(f"{folder}/") == "my.corpus"
    monkeypatch.chdir(folder)
    assert source_name(".") == "my.corpus"


def test_first_free_name(tmp_path: Path) -> None:
    assert default_output("x/a.txt", "topics", tmp_path) == tmp_path / "a.topics.h5"
    (tmp_path / "a.topics.h5").touch()
    (tmp_path / "a.topics-2.h5").touch()
    assert default_output("x/a.txt", "topics", tmp_path) == tmp_path / "a.topics-3.h5"
    assert default_output("x/a.txt", "corpus", tmp_path) == tmp_path / "a.corpus.h5"
    assert default_output("a.txt", "topics").parent == Path()


@pytest.mark.parametrize("command", ["topics", "communities", "decompose", "factors", "ingest", "infer m.h5"])
def test_the_input_is_never_replaced(run: Run, command: str) -> None:
    text = "a,b\n1,2\n3,4\n"
    Path("in.csv").write_text(text)
    ran = run(*command.split(), "in.csv", "-o", "./in.csv", "--force")
    assert ran.code == 2
    assert "would take the place of what is read" in ran.err
    assert Path("in.csv").read_text() == text
