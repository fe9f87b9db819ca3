"""Sources read in parts: the same documents, order, lines, ledger and errors as in one go, wherever the cuts fall."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from tdtool.config import SourceConfig
from tdtool.data.ledger import EXAMPLES_KEPT, Ledger
from tdtool.data.readers import byte_ranges, counts_batches, text_rows
from tdtool.data.readers.byte_ranges import ByteRange, cut_bytes, open_range, whole_lines_of
from tdtool.data.readers.counts_batches import whole_lines
from tdtool.data.readers.splits import count_split, plan_splits, read_split
from tdtool.errors import InputError, UsageError
from tests.data.object_store import BUCKET, object_store
from tests.data.split_reading import in_one_go, in_parts, planned

MARK = b"\xef\xbb\xbf"
SIZES = (1, 3, 20, 64, 1000)
LINES = {
    "plain": b"one line\nanother one\nthe third\n",
    "windows": b"one line\r\n\r\nanother one\r\nthe third",
    "blank": b"\n\n\r\n\nonly this\n\n\n\n",
    "marks": MARK + b"marked\n" + MARK + b"not a mark here\n",
    "only a mark": MARK + b"\n",
    "broken": b"caf\xc3\xa9\n\xff\xfe\xc3\ncut \xf0\x9f\x98\n\x80tail",
    "bare returns": b"old\rmac\rwith\none newline\r",
    "compressed inside": b"first\n\x1f\x8b\x08 no gzip\nBZh91AY&SY\n(\xb5/\xfd\n",
    "long": b"short\n" + b"x" * 300 + b"\nshort again\n",
}


def check(path: Path | str, sizes: tuple[int, ...] = SIZES, **settings: object) -> list[int]:
    """Both ways give the same for every size of a split; returns how many splits there were."""
    expected = in_one_go(path, **settings)
    n_splits = []
    for size in sizes:
        found = in_parts(path, size, **settings)
        n_splits.append(found.pop("n_splits", 0))
        assert found == expected, size
    return [] if "error" in expected else n_splits


@pytest.mark.parametrize("name", LINES)
def test_lines(tmp_path: Path, name: str) -> None:
    path = tmp_path / "docs.txt"
    path.write_bytes(LINES[name])
    n_splits = check(path)
    assert n_splits[0] == len(LINES[name].splitlines(keepends=True)) if b"\r" not in LINES[name] else n_splits[0] > 1
    assert n_splits[-1] == 1


@given(
    st.lists(st.sampled_from([b"a b", b"\n", b"\r\n", b"\r", b"", MARK, b"\xc3", b"\xa9x", b"\0", b'"', b"word" * 9])),
    st.integers(1, 60),
)
@settings(max_examples=100)
def test_any_bytes_cut_anywhere(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], size: int) -> None:
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(b"x" + b"".join(pieces))
    for kind in ("lines", "tsv"):
        check(path, (size,), format=kind)


TABLES = {
    "docs.tsv": b"id\ttext\nk1\tsome words here\nk2\tother words\n\nk3\t\nragged\nk4\ta\ttoo\tmany\nk\tcaf\xc3\xa9 it",
    "docs.csv": b"id,text,n\r\nk1,some words here,1\r\nk2,more of them,2\r\n\r\nk3,,4\r\nragged\r\n,no name,3\r\n",
    "bare.csv": b"some words here;1\nother words here;2\nand some more;3\n;4\n",
    "marked.csv": MARK + b"id,text\nk1,words of text\nk2,more words of it\n",
    "header.csv": b"id,text\n",
    "quoted.csv": b'id,text\nk1,"two\nlines, of text"\nk2,plain one\nk3,"said ""no"""\n',
    "late.csv": b"id,text\n" + b"".join(b"k%d,text number %d\n" % (i, i) for i in range(40)) + b'k,"quo\nted"\n',
    "quoted.tsv": b'id\ttext\nk1\t"two\nlines of text"\nk2\tplain one\n',
    "inches.tsv": b'id\ttext\nk1\ta 3" pipe of it\nk2\t7" singles and 12" ones\n',
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(TABLES[name])
    n_splits = check(path)
    plan = planned(path, 3)
    if name in ("quoted.csv", "late.csv", "quoted.tsv"):
        assert n_splits == [1] * len(SIZES)
        assert plan.note == "there are quotes in it, which may hold line ends: one task reads it"
    else:
        assert (n_splits[0] > 1, plan.note) == (name != "header.csv", "")
    check(path, (5,), column="1")


@given(st.lists(st.sampled_from([b"k,a few words", b"x", b"a,b,c", b"", b"\r", b",", b"n,\xff"])), st.integers(1, 40))
@settings(max_examples=70)
def test_any_table_cut_anywhere(tmp_path_factory: pytest.TempPathFactory, rows: list[bytes], size: int) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(b"id,text\n" + b"\n".join([b"k1,words of text", b"k2,more of it", *rows]))
    check(path, (size,))


@pytest.mark.parametrize("good", [0, 700, 1400, 2000, 30_000])
def test_ragged_tables_are_refused_in_the_same_words(tmp_path: Path, good: int) -> None:
    path = tmp_path / "docs.csv"
    rows = [b"%d,a text of words\n" % i for i in range(good)] + [
        b"%d" % i + b",x" * (i % 7 + 2) + b"\n" for i in range(1800)
    ]
    path.write_bytes(b"".join(rows))
    check(path, (9_000, 20_000))
    assert ("error" in in_one_go(path)) == (good < 1800)


def test_the_first_rows_decide_early(tmp_path: Path) -> None:
    path = tmp_path / "docs.csv"
    ragged = b"".join(b"%d" % i + b",x" * (i % 7 + 2) + b"\n" for i in range(1001))
    path.write_bytes(ragged + b"".join(b"%d,a text of words\n" % i for i in range(40_000)))
    expected = in_one_go(path)
    assert "of 1,000 rows do not have" in expected["error"]
    check(path, (5_000,))


JSON = [
    b'{"body": {"text": "one \\u00e9"}, "key": 7}',
    b"",
    b'{"body": {"text": ["two", "parts"]}, "key": "k,2"}\r',
    b'{"body": {"text": null}, "key": 8}',
    b'{"key": "long", "body": {"text": "' + b"word " * 60 + b'"}}',
    b'{"key": "", "body": {"text": ""}}',
    b'{"key": "last", "body": {"text": "\xff"}}',
]


@pytest.mark.parametrize("wrong", [None, b"[1]", b"{", b'{"key": 1}', b'{"body": {"text": 3}, "key": 1}'])
def test_json_lines(tmp_path: Path, wrong: bytes | None) -> None:
    path = tmp_path / "docs.jsonl"
    path.write_bytes(b"\n".join([*JSON, *([] if wrong is None else [wrong]), *JSON]))
    n_splits = check(path, field="body.text", id_field="key")
    assert (n_splits == []) == (wrong is not None)
    if wrong is not None:
        assert f"{path}:8: " in in_parts(path, 10, field="body.text", id_field="key")["error"]
    path.write_bytes(b"\n [1]\n" * 9)
    check(path)


def test_directories(tmp_path: Path) -> None:
    rng, root = np.random.default_rng(5), tmp_path / "docs"
    (root / "a" / "b").mkdir(parents=True)
    for i in range(23):
        folder = (root, root / "a", root / "a" / "b")[i % 3]
        (folder / f"n{i}.txt").write_bytes(bytes(rng.integers(97, 123, int(rng.integers(0, 40_000)), np.uint8)))
    (root / "image").write_bytes(b"\x89PNG\0")
    (root / "a" / "packed.gz").write_bytes(gzip.compress(b"packed words"))
    (root / os.fsdecode(b"n\xffme")).write_bytes(b"oddly named")
    (root / "out").symlink_to(tmp_path)
    (root / "in").symlink_to(root / "a" / "n1.txt")
    os.mkfifo(root / "pipe")
    n_splits = check(root, (1, 20_000, 50_000, 100_000, 1 << 30))
    assert n_splits[0] == 29
    assert 1 == n_splits[-1] < n_splits[2] < n_splits[1]
    check(str(root) + "/", (50_000,))


def test_directories_without_text(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"{i}.bin").write_bytes(b"\0")
    check(tmp_path, (1, 1000))
    assert "none of its files is text (3 binary file)" in in_parts(tmp_path, 1)["error"]
    (tmp_path / "empty").mkdir()
    check(tmp_path / "empty")
    check(tmp_path, format="lines")


def test_a_directory_found_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs").mkdir()
    for name in ("a.txt", "b.txt"):
        (tmp_path / "docs" / name).write_bytes(b"words of " + name.encode())
    (tmp_path / "x.csv").write_bytes(TABLES["docs.csv"])
    (tmp_path / "docword.x.txt").write_bytes(b"2\n2\n2\n1 1 1\n2 2 1\n")
    (tmp_path / "docword.x.txt.gz").write_bytes(gzip.compress(b"2\n2\n2\n1 1 1\n2 2 1\n"))
    (tmp_path / "words").write_bytes(b"red\nblue\n")
    monkeypatch.chdir(tmp_path)
    wanted = {name: in_one_go(name, **more) for name, more in _elsewhere().items()}
    plans = {name: planned(name, 8, **more) for name, more in _elsewhere().items()}
    monkeypatch.chdir("/")
    for name, plan in plans.items():
        ids = [
            name for split in plan.splits for batch in read_split(plan.alone(), split, Ledger()) for name in batch.ids
        ]
        assert ids == [found[0] for found in wanted[name]["documents"]], name
        assert {batch.path for split in plan.splits for batch in read_split(plan, split, Ledger())} == {name}


def _elsewhere() -> dict[str, dict[str, str]]:
    named = {"vocabulary": "words"}
    return {"docs": {}, "x.csv": {}, "docword.x.txt": named, "docword.x.txt.gz": named}


@pytest.mark.parametrize("group", [1, 3, 50])
def test_parquet(tmp_path: Path, group: int) -> None:
    path = tmp_path / "docs.parquet"
    texts = ["some words" * (i % 5) if i % 4 else None for i in range(41)]
    table = pa.table({"name": [f"k{i}" for i in range(41)], "text": texts, "n": list(range(41))})
    pq.write_table(table, path, row_group_size=group)
    n_splits = check(path, (1, 300, 900, 1 << 20))
    assert n_splits[0] == -(-41 // group)
    assert n_splits[-1] == 1
    assert planned(path, 1).note == ("it is one row group: one task reads it" if group == 50 else "")


PAIRS: dict[str, tuple[str, bytes]] = {
    "x.ldac": ("lda-c", b"2 0:1 4:2\n1 2:5\n\n0\n3 1:1 2:1 3:1\n1 4:0\n2 0:7 1:7"),
    "x.svm": ("svmlight", b"1 3:1 1:2 # note\n-1 qid:3 2:5 2:1\r\n\n0\n2 4:1.0 7:2e0\n"),
    "zero.svm": ("svmlight", b"1 3:2\n1 0:1 2:5\n1 4:1\n"),
    "bad.svm": ("svmlight", b"1 1:1\n1 2:5\n1 3:1\n1 2:0.5\n1 1:1\n"),
    "none.ldac": ("lda-c", b"0\n0\n0\n"),
    "short.ldac": ("lda-c", b"1 0:1\n1 1:1\n3 1:1\n"),
}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("terms", [0, 4, 20])
def test_pairs(tmp_path: Path, name: str, terms: int) -> None:
    path = tmp_path / name
    path.write_bytes(PAIRS[name][1])
    if terms:
        (tmp_path / "vocab.txt").write_text("".join(f"w{i}\n" for i in range(terms)))
    n_splits = check(path, format=PAIRS[name][0])
    assert (n_splits == []) == (name in ("bad.svm", "none.ldac", "short.ldac"))
    assert n_splits == [] or n_splits[0] > 1


def _uci(n_documents: int, rows: list[str], n_terms: int = 5, n_entries: int | None = None) -> bytes:
    return "".join([f"{n_documents}\n{n_terms}\n{len(rows) if n_entries is None else n_entries}\n", *rows]).encode()


ORDERED = ["1 1 1\n", "1 3 2\n", "1 2 2\n", "3 5 1\n", "4 1 0\n", "4 2 0\n", "6 1 4\n", "6 1 5\n", "6 2 1\n", "6 4 1\n"]
TRIPLES = {
    "ordered": _uci(9, ORDERED),
    "one document": _uci(1, [f"1 {i} 2\n" for i in range(1, 6)]),
    "nothing": _uci(3, []),
    "no newline at the end": _uci(6, ORDERED).rstrip(b"\n"),
    "blank end": _uci(6, ORDERED) + b"\n\n",
    "by term": _uci(9, sorted(ORDERED, key=lambda row: row.split()[1])),
    "disorder at the end": _uci(9, [*ORDERED, "2 1 1\n"]),
    "blank inside": _uci(9, [*ORDERED[:5], "\n", *ORDERED[5:]], n_entries=10),
    "blank between": _uci(9, [*ORDERED[:3], "\n", *ORDERED[3:]], n_entries=10),
    "too few": _uci(9, ORDERED, n_entries=11),
    "too many": _uci(9, ORDERED, n_entries=8),
    "fraction": _uci(9, [*ORDERED[:6], "5 1 0.5\n", *ORDERED[6:]]),
    "term outside": _uci(9, [*ORDERED[:6], "5 6 1\n", *ORDERED[6:]]),
    "document outside": _uci(5, ORDERED),
    "void": _uci(2_000_000, ORDERED),
}


@pytest.mark.parametrize("name", TRIPLES)
def test_uci(tmp_path: Path, name: str) -> None:
    path = tmp_path / "docword.x.txt"
    path.write_bytes(TRIPLES[name])
    n_splits = check(path)
    assert (n_splits == []) == (name in list(TRIPLES)[7:])
    if name == "ordered":
        assert n_splits[0] == 4  # one for each document
    if name in ("by term", "disorder at the end"):
        assert planned(path, 2).note == "its documents are not in order: one task reads it"


@pytest.mark.parametrize(
    "name", ["x.ldac", "x.svm", "ordered", "blank end", "blank inside", "blank between", "by term"]
)
def test_counts_in_small_blocks(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of many blocks: what is known of a part comes together from them."""
    monkeypatch.setattr(counts_batches, "_BLOCK", 14)
    path = tmp_path / (name if name in PAIRS else "docword.x.txt")
    path.write_bytes(PAIRS[name][1] if name in PAIRS else TRIPLES[name])
    check(path, (10, 13, 19, 26, 30, 33, 45))


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(0, 3))), st.integers(1, 40), st.booleans())
@settings(max_examples=70)
def test_any_triples_cut_anywhere(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[int, int, int]], size: int, ordered: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.mtx"
    entries = sorted(entries, key=lambda entry: entry[0]) if ordered else entries
    rows = "".join("{} {} {}\n".format(*entry) for entry in entries)
    path.write_text(f"%%MatrixMarket matrix coordinate integer general\n% note\n7 5 {len(entries)}\n{rows}")
    check(path, (size,))


def _tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        for name in ("b.txt", "a.txt"):
            info = tarfile.TarInfo(name)
            info.size = 9
            archive.addfile(info, io.BytesIO(b"some text"))


STREAMED: dict[str, tuple[Callable[[Path], object], str]] = {
    "docs.txt.gz": (lambda path: path.write_bytes(gzip.compress(LINES["plain"])), "it is compressed (gzip)"),
    "docs.tar": (_tar, "the format tar cannot be read in parts"),
    "x.npz": (lambda path: sparse.save_npz(path, sparse.csr_array(np.eye(3, 4, dtype=int))), "the format npz"),
    "x.ldac.gz": (lambda path: path.write_bytes(gzip.compress(PAIRS["x.ldac"][1])), "it is compressed (gzip)"),
}


@pytest.mark.parametrize("name", STREAMED)
def test_what_is_read_by_one(tmp_path: Path, name: str) -> None:
    path, (write, reason) = tmp_path / name, STREAMED[name]
    write(path)
    assert check(path, (1, 10)) == [1, 1]
    plan = planned(path, 1)
    assert plan.note.startswith(reason)
    assert plan.note.endswith(": one task reads it")
    assert planned(path, 1 << 20).note == ""


def test_what_executors_cannot_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="standard input cannot be read by executors"):
        plan_splits("-", SourceConfig(), split_bytes=9)
    check(tmp_path / "none.txt")
    (tmp_path / "empty.txt").write_bytes(b"")
    check(tmp_path / "empty.txt")
    check(tmp_path, format="xml")


def test_a_plan_without_facts_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "docs.txt"
    path.write_bytes(LINES["plain"])
    plan = plan_splits(str(path), SourceConfig(), split_bytes=4)
    with pytest.raises(ValueError, match="needs facts"):
        read_split(plan, plan.splits[0], Ledger())


def test_a_file_that_shrinks_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "docs.txt"
    path.write_bytes(LINES["plain"] * 9)
    plan = planned(path, 50)
    path.write_bytes(LINES["plain"] * 5)
    with pytest.raises(InputError, match="shorter while it was read"):
        [list(read_split(plan, split, Ledger())) for split in plan.splits]


def test_an_executor_that_does_not_see_the_source(tmp_path: Path) -> None:
    path = tmp_path / "docs.txt"
    path.write_bytes(LINES["plain"])
    unread = plan_splits(str(path), SourceConfig(), split_bytes=9)
    plans = [planned(path, 9), planned(path, 1 << 20)]
    path.unlink()
    for trial in (
        lambda: count_split(unread, unread.splits[0]),
        *(lambda p=p: read_split(p, p.splits[0], Ledger()) for p in plans),
    ):
        with pytest.raises(InputError, match="no such file or directory on ") as caught:
            trial()
        assert "s3a://" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["docs.tsv", "docs.txt", "docword.x.txt", "docs.parquet"])
def test_splits_of_an_object_store(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = {"docs.tsv": TABLES["docs.tsv"], "docs.txt": LINES["long"], "docword.x.txt": TRIPLES["ordered"]}.get(name)
    if content is None:
        pq.write_table(pa.table({"text": ["one two", "three four", "five"]}), tmp_path / name, row_group_size=2)
        content = (tmp_path / name).read_bytes()
    with object_store(monkeypatch) as store:
        store.objects[f"in/{name}"] = content
        assert check(f"s3a://{BUCKET}/in/{name}", (40,))[0] > 1
        if name == "docs.tsv":
            assert check(f"s3a://{BUCKET}/in", (40,)) == [1]


@given(st.binary(max_size=60), st.integers(1, 70))
def test_ranges_of_lines_hold_every_line_once(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, size: int
) -> None:
    content = content.replace(b"\x07", b"\n").replace(b"\x01", b"\n")
    path = str(tmp_path_factory.getbasetemp() / "ranges")
    Path(path).write_bytes(content)
    ranges = cut_bytes(len(content), size)
    assert (ranges[0].start, ranges[-1].stop) == (0, len(content))
    assert all(part.stop - part.start <= size for part in ranges)
    exact = [whole_lines_of(path, part) for part in ranges]
    assert b"".join(content[part.start : part.stop] for part in exact) == content
    assert all(part.stop in (0, len(content)) or content[part.stop - 1] == 10 for part in exact)
    assert exact == [whole_lines_of(path, part) for part in exact]
    assert b"".join(_blocks(path, ranges)) == content + (b"\n" if content and not content.endswith(b"\n") else b"")


def _blocks(path: str, ranges: list[ByteRange]) -> Iterator[bytes]:
    for part in ranges:
        with open_range(path, part, SourceConfig()) as stream:
            yield from (block.tobytes() for block, _ in whole_lines(stream, path, 1))


def test_lines_beyond_a_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines longer than what is looked at for their end, than a block, and than any document may be."""
    monkeypatch.setattr(byte_ranges, "_LOOK", 16)
    for name, amount in (("BATCH_BYTES", 64), ("BATCH_DOCUMENTS", 3), ("LONGEST_DOCUMENT", 256)):
        monkeypatch.setattr(text_rows, name, amount)
    path = tmp_path / "docs.txt"
    path.write_bytes(b"\n".join([b"a", b"b" * 100, b"c" * 255, b"d" * 256, b"e" * 700, b"", b"f", b"g" * 300]))
    check(path, (1, 50, 99, 257, 400))
    assert in_parts(path, 50)["ledger"]["skips"][0][1]["examples"] == [f"{path}:4", f"{path}:5", f"{path}:8"]


def test_ledgers_add_up() -> None:
    whole, merged, rng = Ledger(), Ledger(), np.random.default_rng(3)
    for part in range(7):
        ledger = Ledger()
        for _ in range(int(rng.integers(0, 9))):
            reason, line = ("first", "second")[int(rng.integers(2))], int(rng.integers(1, 99))
            for account in (ledger, whole):
                account.use(2)
                account.skip(reason, f"file{part}", line)
                account.drop("third", "place")
                account.count("seen", line)
        merged.merge(ledger)
    assert merged == whole
    assert list(merged.skips) == list(whole.skips)
    assert [len(skip.examples) for skip in merged.skips.values()] == [EXAMPLES_KEPT] * 3
    first = Ledger()
    first.skip("first", "a")
    copy = Ledger.from_dict(first.as_dict())
    copy.merge(whole)
    assert (first.skips["first"].count, len(whole.skips["first"].examples)) == (1, EXAMPLES_KEPT)


def test_the_size_decides_how_to_cut(tmp_path: Path) -> None:
    asked: list[int] = []

    def tenth(size: int) -> int:
        asked.append(size)
        return size // 10

    (tmp_path / "docs").mkdir()
    for i in range(3):
        (tmp_path / "docs" / f"{i}.txt").write_bytes(b"word " * 10_000)
    (tmp_path / "docs.txt").write_bytes(LINES["plain"])
    for name, n_splits in (("docs", 3), ("docs.txt", 11)):
        assert len(plan_splits(str(tmp_path / name), SourceConfig(), split_bytes=tenth).splits) == n_splits
    assert asked == [150_000, len(LINES["plain"])]


def test_plans_are_small(tmp_path: Path) -> None:
    path = tmp_path / "docword.x.txt"
    path.write_bytes(_uci(900, [f"{i} 1 1\n" for i in range(1, 901)]))
    plan = planned(path, 10)
    assert len(plan.splits) > 300
    assert len(json.dumps(str(plan.alone()))) < 2000
