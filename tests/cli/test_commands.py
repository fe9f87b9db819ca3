"""What commands print, for a person and for a program."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tdtool.cli.group import LazyGroup
from tdtool.report import tables
from tdtool.store import hdf5, schema
from tests.cli.conftest import Run
from tests.cli.running import environment, tdtool
from tests.store.samples import (
    IDS,
    PLACES,
    TERMS,
    cp_content,
    factors_content,
    names,
    topics_content,
    tucker_content,
    write_corpus,
    write_cp,
    write_documents,
    write_factors,
    write_topics,
    write_tucker,
)


def test_show_a_model(run: Run, tmp_path: Path) -> None:
    ran = run("show", write_topics(tmp_path / "m.h5"), "--top", "4")
    assert (ran.code, ran.err) == (0, "")
    row = topics_content()["topics/topic_word"][1]
    words = [TERMS[i].replace("\x1b", "\\x1b") for i in sorted(range(len(TERMS)), key=lambda i: -row[i])[:4]]
    size, npmi = topics_content()["topics/size"][1], topics_content()["topics/npmi"][1]
    assert re.search(rf"^ +1 +{size:.1%} +{npmi:.3f}  {re.escape(' '.join(words))}$", ran.out, re.MULTILINE)
    assert "Held-out perplexity 80.2 (2 documents)" in ran.out
    assert "NPMI 0.500, diversity 0.750." in ran.out
    assert "command         tdtool topics 'my corpus'" in ran.out
    assert "seed            3" in ran.out
    assert "9 documents read, 7 used, 2 skipped\n  2 skipped: empty document (first: a:1, a:4)" in ran.out
    assert re.search(r"^documents/topic +document 7, topic 3 +float32 +share of the topic", ran.out, re.MULTILINE)
    assert re.search(r"^ *3 +91.5 +0.500 +1.000  taken$", ran.out, re.MULTILINE)


def test_show_the_largest_topics(run: Run, tmp_path: Path) -> None:
    write_topics(tmp_path / "m.h5")
    ran = run("show", "m.h5", "--topics", "2", "--top", "3", "--json")
    shown = json.loads(ran.out)["topics"]
    sizes = topics_content()["topics/size"].tolist()
    assert [topic["topic"] for topic in shown] == sorted(range(3), key=lambda t: -sizes[t])[:2]
    assert [len(topic["words"]) for topic in shown] == [3, 3]
    assert json.loads(run("show", "m.h5", "--topics", "0", "--json").out)["topics"] == []


def test_show_other_files(run: Run, tmp_path: Path) -> None:
    corpus = run("show", write_corpus(tmp_path / "c.h5"))
    assert "Words in most documents: der die das ß" in corpus.out
    assert re.search(r"^counts/indptr +document\+1 4 +int64", corpus.out, re.MULTILINE)
    documents = run("show", write_documents(tmp_path / "d.h5"))
    assert "tdtool.documents version 1" in documents.out


def test_show_components(run: Run, tmp_path: Path) -> None:
    ran = run("show", write_cp(tmp_path / "c.h5"), "--top", "2")
    assert (ran.code, ran.err) == (0, "")
    assert re.search(r"^ +3 +0.25 +- +- +taken$", ran.out, re.MULTILINE), "the rank that the file has"
    factor = cp_content()["factors/mode0"][:, 1]
    strongest = [PLACES[i].replace("\x1b", "\\x1b") for i in np.argsort(-np.abs(factor))[:2]]
    line = next(line for line in ran.out.splitlines() if line.startswith("        1     4.5  20.2%"))
    assert re.fullmatch(rf" +1 +4.5 +20.2%  place  {re.escape(strongest[0])} \S+, {re.escape(strongest[1])} \S+", line)
    shown = json.loads(run("show", "c.h5", "--topics", "1", "--json").out)
    assert [component["weight"] for component in shown["components"]] == [9.0]
    assert shown["facts"]["components"] == 3
    assert shown["selection"][1]["congruence"] is None


def test_show_a_core(run: Run, tmp_path: Path) -> None:
    content = tucker_content(imaginary=True)
    ran = run("show", write_tucker(tmp_path / "t.h5", content), "--top", "1")
    core = content["core/values"] + 1j * content["core/imaginary"]
    place = np.unravel_index(np.argmax(np.abs(core)), core.shape)
    assert "Core 3 x 2 x 4 of a tensor 7 x 2 x 5." in ran.out
    assert re.search(
        rf"^ +{place[0]} +{place[1]} +{place[2]}  {core[place].real:.3g}{core[place].imag:+.3g}i ", ran.out, re.M
    )
    assert re.search(r"^core/imaginary +rank0 3, rank1 2, rank2 4 +float64", ran.out, re.MULTILINE)
    shown = json.loads(run("show", "t.h5", "--json").out)
    assert [len(mode["components"]) for mode in shown["modes"]] == [3, 2, 4]


def test_show_loadings(run: Run, tmp_path: Path) -> None:
    ran = run("show", write_factors(tmp_path / "f.h5"))
    pattern = factors_content()["loadings/pattern"]
    strong = f"{pattern[0, 0]:.2f}" if abs(pattern[0, 0]) >= 0.3 else ""
    assert re.search(rf"^=a +{re.escape(strong)}", ran.out, re.MULTILINE)
    assert "Correlations of the factors\n\n" in ran.out
    assert json.loads(run("show", "f.h5", "--json").out)["loadings"]["columns"] == ["=a", "b", "c", "d", "e"]


def test_show_refuses_what_is_damaged(run: Run, tmp_path: Path) -> None:
    with hdf5.create(tmp_path / "c.h5", schema.CP) as writer:
        for name, values in cp_content().items():
            writer.put(name, values)
        writer.attribute("norm", "large")
    ran = run("show", "c.h5")
    assert (ran.code, ran.out) == (3, "")
    assert "is damaged" in ran.err


def test_show_exports(run: Run, tmp_path: Path) -> None:
    write_topics(tmp_path / "m.h5")
    ran = run("show", "m.h5", "--export", "a.csv", "--export", "a.documents.tsv")
    assert ran.out.endswith("\na.csv\na.documents.tsv\n")
    assert names(tmp_path) == ["a.csv", "a.documents.tsv", "m.h5"]
    assert run("show", "m.h5", "--export", "a.csv").code == 2
    assert run("show", "m.h5", "--export", "a.csv", "--force").code == 0


@pytest.mark.parametrize("command", ["show", "verify", "doctor"])
def test_json_is_one_object(run: Run, tmp_path: Path, command: str) -> None:
    write_topics(tmp_path / "m.h5")
    ran = run(command, *(["m.h5"] if command != "doctor" else []), "--json")
    assert isinstance(json.loads(ran.out), dict)
    assert ran.out.isascii(), "escaped: safe on any terminal"


def test_verify_names_what_is_damaged(run: Run, tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "c.h5")
    good = run("verify", path)
    assert re.fullmatch(r".*c.h5: good \(tdtool.corpus, 9 arrays, content [0-9a-f]{32}\)\n", good.out)
    data = bytearray(path.read_bytes())
    place = data.index(bytes([5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]))
    data[place + 4] ^= 1
    path.write_bytes(data)
    bad = run("verify", path)
    assert bad.code == 3
    assert f"{path}: counts/data: its values are not those that were written" in bad.out
    report = json.loads(run("verify", path, "--json").out)
    assert report["ok"] is False
    assert report["files"][0]["findings"][0]["where"] == "counts/data"


def test_terminal_gets_no_control_characters(tmp_path: Path) -> None:
    """On a terminal, too: nothing but rich's own colours, and no markup from the corpus."""
    content = topics_content()
    content["vocabulary/term"] = ["\x1b]0;owned\x07", "[red]markup[/red]", ":smile:", *content["vocabulary/term"][3:]]
    content["topics/topic_word"] = content["topics/topic_word"][:, ::-1].copy()
    content["topics/topic_word"][:] = 0
    content["topics/topic_word"][:, :3] = 1 / 3
    write_topics(tmp_path / "m.h5", content)
    out = _on_a_terminal("show", str(tmp_path / "m.h5"), width=100)
    assert "\\x1b]0;owned\\x07 [red]markup[/red] :smile:" in out
    assert re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out).replace("\r", "").replace("\n", "").isprintable()


def test_words_are_wrapped_and_never_cut(tmp_path: Path) -> None:
    content = topics_content()
    content["vocabulary/term"] = [f"a{'b' * 30}{i}" for i in range(len(TERMS))]
    write_topics(tmp_path / "m.h5", content)
    out = _on_a_terminal("show", str(tmp_path / "m.h5"), "--top", "20", width=80, NO_COLOR="1")
    table = re.sub(r"\x1b\[[0-9;]*m", "", out).replace("\r", "").split("\n\n")[1]
    assert max(map(len, table.split("\n"))) <= 80
    assert "…" not in out
    assert len(set(re.findall(r"ab{30}\d+", out))) >= 20
    plain = tdtool("show", tmp_path / "m.h5", "--top", "20").out
    assert sum("abbb" in line for line in plain.split("\n")) == 3, "one line a topic where no one looks"


def _on_a_terminal(*arguments: str, width: int, **extra: str) -> str:
    main, side = pty.openpty()
    command = [sys.executable, "-m", "tdtool", *arguments]
    env = environment(COLUMNS=str(width), TERM="xterm", **extra)
    child = subprocess.Popen(command, stdout=side, stderr=subprocess.PIPE, env=env)
    os.close(side)
    pieces = []
    while True:
        try:
            piece = os.read(main, 1 << 16)
        except OSError:  # how Linux says that the other end is closed
            break
        if not piece:
            break
        pieces.append(piece)
    os.close(main)
    assert child.communicate()[1] == b""
    return b"".join(pieces).decode()


def test_colours_only_on_a_terminal_that_wants_them(tmp_path: Path) -> None:
    write_topics(tmp_path / "m.h5", topics_content())
    assert "\x1b[" not in tdtool("show", tmp_path / "m.h5").out
    assert "\x1b[1m" in _on_a_terminal("show", str(tmp_path / "m.h5"), width=100)
    assert not re.search(r"\x1b\[3[0-9]", _on_a_terminal("show", str(tmp_path / "m.h5"), width=100, NO_COLOR="1"))


def test_scores_in_words() -> None:
    scores = {"perplexity": 1432.04, "held_out_documents": 5000, "words_scored": 81234, "npmi": 0.25, "diversity": 0.5}
    assert tables.scores_text(scores) == (
        "Held-out perplexity 1,432.0 (5,000 documents, 81,234 words scored), by document completion. "
        "Coherence NPMI 0.250, diversity 0.500."
    )
    assert tables.scores_text({}) == ""


def test_doctor_knows_the_machine(run: Run) -> None:
    report = json.loads(run("doctor", "--json").out)
    assert report["System"]["Python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}")
    assert set(report["Packages"]) >= {"numpy", "scipy", "numba", "h5py", "pyarrow", "click", "rich"}
    assert "missing" not in report["Packages"].values()
    assert report["Optional extras"]["gpu"].startswith(("cupy", "pip install 'tdtool[gpu]'"))
    assert any("openblas" in str(value).lower() or "mkl" in str(value).lower() for value in report["Threads"].values())
    assert "Optional extras\n" in run("doctor").out


@pytest.mark.slow
def test_doctor_measures(run: Run) -> None:
    measured = json.loads(run("doctor", "--bench", "--json").out)["Measured"]
    assert len(measured) == 5
    assert all(float(text.split()[0]) > 0 for text in measured.values())


def test_topics_end_to_end(sample_data: Path, tmp_path: Path) -> None:
    """The real command on the sample corpus; everything else follows from its file."""
    corpus = sample_data / "corpus"
    first = tdtool("topics", corpus, "-k", "8", "--top", "5", cwd=tmp_path)
    assert first.code == 0, first.err
    assert first.out.endswith("\ncorpus.topics.h5\n"), "the path comes last"
    assert len(re.findall(r"^ *\d  +\d+\.\d%  +\d\.\d{3}(  | )(\w+ ?){5}$", first.out, re.MULTILINE)) == 8
    again = tdtool("topics", corpus, "-k", "8", "--json", "-q", "--export", "t.csv", cwd=tmp_path)
    assert again.err == ""
    result = json.loads(again.out)
    assert result["path"] == "corpus.topics-2.h5", "the next free name"
    assert (result["n_topics"], result["n_documents"]) == (8, 300)
    assert tdtool("verify", "corpus.topics.h5", "corpus.topics-2.h5", cwd=tmp_path).code == 0
    shown = [
        json.loads(tdtool("show", name, "--json", cwd=tmp_path).out) for name in names(tmp_path) if name[-2:] == "h5"
    ]
    assert shown[0]["facts"]["content digest"] == shown[1]["facts"]["content digest"], "same seed, same content"
    inferred = tdtool("infer", "corpus.topics.h5", corpus, "-o", "d.h5", "--export", "d.csv", "--json", cwd=tmp_path)
    assert json.loads(inferred.out)["n_documents"] == 300
    evaluated = tdtool("evaluate", "corpus.topics.h5", corpus, "--json", cwd=tmp_path)
    assert 1 < json.loads(evaluated.out)["scores"]["perplexity"] < 344
    assert names(tmp_path) == ["corpus.topics-2.h5", "corpus.topics.h5", "d.csv", "d.h5", "t.csv"]


def test_ingest_then_topics(sample_data: Path, tmp_path: Path) -> None:
    ingested = tdtool("ingest", sample_data / "corpus", "--json", cwd=tmp_path)
    result = json.loads(ingested.out)
    assert (result["path"], result["n_documents"]) == ("corpus.corpus.h5", 300)
    assert result["ledger"]["rows_used"] == 300
    ran = tdtool("topics", "corpus.corpus.h5", "-k", "8", "-q", cwd=tmp_path)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.endswith("\ncorpus.topics.h5\n")


def test_standard_input(sample_data: Path, tmp_path: Path) -> None:
    lines = [path.read_text().replace("\n", " ") for path in sorted((sample_data / "corpus").iterdir())]
    ran = tdtool("topics", "-", "-k", "5", "--json", "-q", cwd=tmp_path, stdin="\n".join(lines))
    assert ran.code == 0, ran.err
    result = json.loads(ran.out)
    assert (result["path"], result["n_documents"]) == ("stdin.topics.h5", 300)


def test_dry_run_writes_nothing(sample_data: Path, tmp_path: Path) -> None:
    ran = tdtool("topics", sample_data / "corpus", "--dry-run", "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    plan = json.loads(ran.out)
    assert plan["documents"] == 300
    assert plan["vocabulary"] > 100
    assert names(tmp_path) == []


def test_dry_run_counts_the_sketches(sample_data: Path, tmp_path: Path) -> None:
    def planned(*options: str) -> dict[str, float]:
        arguments = ("topics", sample_data / "corpus", "-k", "8", "--dry-run", "--json")
        return json.loads(tdtool(*arguments, *options, cwd=tmp_path).out)

    exact = planned("--m3", "implicit")
    short, long = (planned("--m3", "sketch", "--hash-length", str(length)) for length in (1 << 10, 1 << 20))
    assert long["memory_bytes"] - short["memory_bytes"] > 8 * ((1 << 20) - (1 << 10))
    assert long["seconds"] > short["seconds"] > 0
    assert short["memory_bytes"] > exact["memory_bytes"]


def test_factors_of_a_table(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((60, 2))
    table = np.repeat(hidden, 3, axis=1) + 0.5 * rng.standard_normal((60, 6))
    lines = ["a1,a2,a3,b1,b2,b3", *(",".join(f"{value:.4f}" for value in row) for row in table)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    ran = tdtool("factors", "t.csv", "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["path"] == "t.factors.h5"
    assert tdtool("verify", "t.factors.h5", cwd=tmp_path).code == 0
    assert "a1" in tdtool("show", "t.factors.h5", cwd=tmp_path).out


def test_every_command_is_tried_here() -> None:
    names = ("commands", "decompose", "communities", "submit", "export", "train")
    text = "".join(Path(__file__).with_name(f"test_{name}.py").read_text(encoding="utf-8") for name in names)
    assert all(f'"{name}"' in text for name in LazyGroup.summaries)
    assert IDS
