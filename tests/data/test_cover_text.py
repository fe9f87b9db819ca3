"""Files of known communities."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tdtool.data.readers.cover_text import read_cover
from tdtool.data.readers.cover_types import FoundCover
from tdtool.errors import InputError, TdtoolError, UsageError
from tdtool.store.exports import export_all
from tests.data.source_reading import COMPRESSIONS
from tests.store.samples_communities import communities_content, write_communities

MEMBERS = {"0": {"7": 1.0, "12": 1.0, "Ann": 1.0}, "1": {"12": 1.0, "007": 1.0}, "2": {"二": 1.0}}


def memberships(found: FoundCover) -> dict[str, dict[str, float]]:
    """Node and weight of each community, by name or number."""
    weights = np.ones(found.places.size) if found.weights is None else found.weights
    result: dict[str, dict[str, float]] = {}
    for place, community, weight in zip(found.places.tolist(), found.communities.tolist(), weights, strict=True):
        name = str(community) if found.names is None else found.names[community]
        result.setdefault(name, {})[found.nodes[place]] = float(weight)
    return result


def read(tmp_path: Path, text: str | bytes, **settings: Any) -> FoundCover:
    path = tmp_path / "truth"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_cover(str(path), **settings)


def refused(tmp_path: Path, text: str | bytes, **settings: Any) -> TdtoolError:
    with pytest.raises(TdtoolError) as caught:
        read(tmp_path, text, **settings)
    return caught.value


LINES = {
    "spaces": "7 12 Ann\n12 007\n二\n",
    "tabs": "7\t12\tAnn\n12\t007\n二\n",
    "commas": "7, 12,Ann\n12,007\n二\n",
    "quotes": '"7","12","Ann"\n12,"007"\n二\n',
    "Windows": "7 12 Ann\r\n12 007\r\n二\r\n",
    "byte order mark": "\ufeff7 12 Ann\n12 007\n二",
    "comments": "# circles\n7 12 Ann\n\n% one\n12   007 \n// two\n  二\n",
}


@pytest.mark.parametrize("case", LINES)
def test_a_community_a_line(tmp_path: Path, case: str) -> None:
    found = read(tmp_path, LINES[case])
    assert memberships(found) == MEMBERS
    assert (found.description, found.n_communities, found.weights) == ("a community a line", 3, None)
    assert (found.ledger.rows_in, found.ledger.rows_used) == (3, 3)
    assert found.nodes == ["7", "12", "Ann", "007", "二"]


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_compressed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"truth.txt{suffix}"
    path.write_bytes(COMPRESSIONS[suffix](LINES["spaces"].encode()))
    assert memberships(read_cover(str(path))) == MEMBERS


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", type("In", (), {"buffer": io.BytesIO(LINES["tabs"].encode())}))
    assert memberships(read_cover("-")) == MEMBERS


def test_names_with_spaces_between_tabs(tmp_path: Path) -> None:
    found = read(tmp_path, "Ann Lee\tBen, Jr\tCy\nCy \t Dora  May\n")
    assert memberships(found) == {"0": {"Ann Lee": 1, "Ben, Jr": 1, "Cy": 1}, "1": {"Cy": 1, "Dora  May": 1}}


def test_quotes_between_tabs(tmp_path: Path) -> None:
    found = read(tmp_path, '"Ann ""A"" Lee"\t"Ben" Jr\tCy\n"Cy"\t"Dora\n')
    assert memberships(found) == {"0": {'Ann "A" Lee': 1, '"Ben" Jr': 1, "Cy": 1}, "1": {"Cy": 1, '"Dora': 1}}


def test_a_name_twice_in_a_line_is_counted(tmp_path: Path) -> None:
    found = read(tmp_path, "a b a\nb c d\n")
    assert found.ledger.counters == {"members named twice in a community": 1}


TABLE = {"red": {"1": 1.0, "Ann": 1.0}, "blue": {"Ann": 1.0, "3": 1.0}}
WEIGHTED = {"red": {"1": 1.0, "Ann": 0.25}, "blue": {"Ann": 0.75, "3": 0.5}}
TABLES = {
    "two columns": ("1\tred\nAnn\tred\nAnn\tblue\n3\tblue\n", TABLE),
    "two columns, spaces": ("1 red\nAnn red\nAnn blue\n3 blue\n", TABLE),
    "header": ("node\tcommunity\n1\tred\nAnn\tred\nAnn\tblue\n3\tblue\n", TABLE),
    "two rows and a header": ("node community\n1 red\nAnn red\n", {"red": {"1": 1.0, "Ann": 1.0}}),
    "another word": ("id,department\n1,red\nAnn,red\nAnn,blue\n3,blue\n", TABLE),
    "weights": ("1\tred\t1.0\nAnn\tred\t0.25\nAnn\tblue\t0.75\n3\tblue\t.5\n", WEIGHTED),
    "weights and header": ("node,community,weight\n1,red,1\nAnn,red,0.25\nAnn,blue,0.75\n3,blue,0.5\n", WEIGHTED),
    "tabs in names": ('node,community\n"1",red\n"A\tb",red\n', {"red": {"1": 1.0, "A\tb": 1.0}}),
    "tabs in names between tabs": ('node\tcommunity\n"1"\tred\n"A\tb"\tred\n', {"red": {"1": 1.0, "A\tb": 1.0}}),
    "columns in another order": (
        "Node\tweight\tdegree\tcommunity\n1\t1\t9\tred\nAnn\t.25\t9\tred\nAnn\t.75\t9\tblue\n3\t.5\t9\tblue\n",
        WEIGHTED,
    ),
}


@pytest.mark.parametrize("case", TABLES)
def test_tables(tmp_path: Path, case: str) -> None:
    text, expected = TABLES[case]
    found = read(tmp_path, text)
    assert memberships(found) == expected
    assert found.description.startswith("a table of nodes and communities")
    assert found.ledger.rows_used == sum(map(len, expected.values()))


LOOKS_LIKE_NO_TABLE = {
    "two pairs": "1 red\nAnn blue\n",
    "words of headers among names": "user group tall small wide\nuser Ann\n",
    "triangles": "1 2 3\n3 4 5\n5 6 7\n",
    "ragged": "1 2\n2 3\n3 4 5\n4 5\n",
}


@pytest.mark.parametrize("case", LOOKS_LIKE_NO_TABLE)
def test_what_looks_like_no_table_is_communities(tmp_path: Path, case: str) -> None:
    lines = LOOKS_LIKE_NO_TABLE[case].splitlines()
    found = memberships(read(tmp_path, LOOKS_LIKE_NO_TABLE[case]))
    assert [set(nodes) for nodes in found.values()] == [set(line.split()) for line in lines]


def test_the_format_that_is_given_holds(tmp_path: Path) -> None:
    pairs = "1 2\n2 3\n4 5\n"
    assert memberships(read(tmp_path, pairs)) == {"2": {"1": 1}, "3": {"2": 1}, "5": {"4": 1}}
    assert [set(nodes) for nodes in memberships(read(tmp_path, pairs, format="lines")).values()] == [
        {"1", "2"},
        {"2", "3"},
        {"4", "5"},
    ]
    assert memberships(read(tmp_path, "1 2\n", format="table")) == {"2": {"1": 1}}


def test_rows_of_weight_0_are_left_out(tmp_path: Path) -> None:
    found = read(tmp_path, "node community weight\na x 0\na y 1\nb x 1\n")
    assert memberships(found) == {"y": {"a": 1}, "x": {"b": 1}}
    (skip,) = found.ledger.skips.items()
    assert skip[0] == "weight of 0"
    assert skip[1].examples == [f"{tmp_path / 'truth'}:2"]


JSONS = {
    "lists": ([["7", 12, "Ann"], [12, "007"], ["二"]], MEMBERS),
    "object": ({"a": [7, "b"], "c": ["b"]}, {"a": {"7": 1, "b": 1}, "c": {"b": 1}}),
    "weights": ({"a": {"x": 0.5, "y": 1}, "b": {"x": 0.5, "z": 0}}, {"a": {"x": 0.5, "y": 1}, "b": {"x": 0.5}}),
    "objects in a list": (
        {
            "communities": [
                {"community": 3, "members": [{"node": 1, "weight": 0.5}]},
                {"nodes": [{"node": 1, "weight": 1}]},
            ]
        },
        {"3": {"1": 0.5}, "1": {"1": 1}},
    ),
}


@pytest.mark.parametrize("case", JSONS)
def test_json(tmp_path: Path, case: str) -> None:
    values, expected = JSONS[case]
    found = read(tmp_path, "\n" + json.dumps(values))
    assert memberships(found) == expected
    assert found.n_communities == len(expected)


def test_json_without_members(tmp_path: Path) -> None:
    found = read(tmp_path, '{"empty": [], "a": ["x"]}')
    assert memberships(found) == {"a": {"x": 1}}
    assert found.ledger.rows_skipped == 1


def test_a_result_of_ours(tmp_path: Path) -> None:
    content = communities_content()
    found = read_cover(str(write_communities(tmp_path / "a.h5")))
    expected: dict[str, dict[str, float]] = {}
    for node, name in enumerate(content["nodes/name"]):
        for entry in range(*content["membership/indptr"][node : node + 2]):
            community = str(content["membership/community"][entry])
            expected.setdefault(community, {})[name] = content["membership/weight"][entry]
    assert memberships(found) == expected
    assert found.ledger.rows_used == found.n_communities == len(expected)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "json"])
def test_what_tdtool_exports(tmp_path: Path, suffix: str) -> None:
    """Names are as they were, =now() too, which spreadsheets must not take for a formula."""
    path = write_communities(tmp_path / "a.h5")
    export_all(path, [tmp_path / f"a.{suffix}"])
    found, expected = (read_cover(str(tmp_path / name)) for name in (f"a.{suffix}", "a.h5"))
    assert memberships(found) == memberships(expected)


WRONG: dict[str, tuple[str | bytes, dict[str, Any], str]] = {
    "empty": ("", {}, "it is empty"),
    "blank": (" \n\n ", {}, "it is empty"),
    "comments only": ("# nothing\n% here\n", {}, "nothing in it but comments"),
    "one column": ("a\nb\nc\n", {}, "truth:1: every line has one name only"),
    "binary": (bytes(range(256)), {}, "it is a binary file"),
    "UTF-16": ("a b\n".encode("utf-16"), {}, "it is UTF-16 text"),
    "compressed twice": (COMPRESSIONS[".gz"](COMPRESSIONS[".gz"](b"a b")), {}, "compressed twice"),
    "HDF5 given as lines": (b"\x89HDF\r\n\x1a\n\0\0", {"format": "lines"}, "it is HDF5, not text"),
    "text given as HDF5": ("a b", {"format": "hdf5"}, "it is not HDF5"),
    "compressed HDF5": (COMPRESSIONS[".gz"](b"\x89HDF\r\n\x1a\n\0\0"), {}, "from a plain file only"),
    "damaged HDF5": (b"\x89HDF\r\n\x1a\n\0\0", {}, "damaged"),
    "ragged table": ("node\tgroup\na\tx\nb\n", {"format": "table"}, "truth:3: the row has 1 cells, the first has 2"),
    "a row cut short": ("node,community\na,x\nb\n", {}, "truth:3: the row has 1 cells, the first has 2"),
    "table of one column": ("a\nb\n", {"format": "table"}, "truth:1: the row has one cell"),
    "no community column": ("id\tlabel\tage\n1\ta\t7\n", {}, "which one says the community is not clear"),
    "negative weight": ("node group weight\na x 1\nb x -1\n", {}, "truth:3: the weight '-1'"),
    "NaN": ("node group weight\na x nan\n", {}, "truth:2: the weight 'nan'"),
    "text for a weight": ("node group weight\na x much\n", {}, "truth:2: the weight 'much'"),
    "no weight above 0": ("node group weight\na x 0\nb x 0\n", {}, "there are no communities"),
    "broken JSON": ('[["a",\n', {}, "truth:2: it is not valid JSON"),
    "deep JSON": ("[" * 100_000, {}, "JSON"),
    "text as JSON": ("a b", {"format": "json"}, "truth:1: it is not valid JSON"),
    "JSON number": ("3", {"format": "json"}, "neither a list nor an object"),
    "no list": ('{"a": 3}', {}, "community 'a' is no list"),
    "no name": ("[[1.5]]", {}, "a member of community '0'"),
    "true": ("[[true]]", {}, "a member of community '0'"),
    "some weights": ('[[{"node": 1, "weight": 1}, 2]]', {}, "some members of community '0' have a weight"),
    "weights in some": ('{"a": {"x": 1}, "b": ["x"]}', {}, "community 'b' differs"),
    "JSON weight": ('{"a": {"x": -1}}', {}, "a weight in community 'a'"),
    "JSON without communities": ("{}", {}, "there are no communities"),
}


@pytest.mark.parametrize("case", WRONG)
def test_refused(tmp_path: Path, case: str) -> None:
    text, settings, message = WRONG[case]
    error = refused(tmp_path, text, **settings)
    assert isinstance(error, InputError)
    assert str(tmp_path / "truth") in str(error)
    assert message in str(error)


def test_unknown_format(tmp_path: Path) -> None:
    assert isinstance(refused(tmp_path, "a b", format="xml"), UsageError)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_cover(str(tmp_path / "nothing"))


@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "n_nodes", "n_communities"), [("email_eu_core", 1005, 42), ("fb_1912", 710, 46)])
def test_real_files(shared_data: Path, name: str, n_nodes: int, n_communities: int) -> None:
    found = read_cover(str(shared_data / "graphs" / name / "communities.txt.gz"))
    assert (len(found.nodes), found.n_communities) == (n_nodes, n_communities)
    assert found.description == "a community a line"


@pytest.mark.shared_data
def test_a_real_table_says_what_the_lines_say(shared_data: Path) -> None:
    folder = shared_data / "graphs" / "email_eu_core"
    lines, table = (read_cover(str(folder / name)) for name in ("communities.txt.gz", "nodes.tsv.gz"))
    assert table.description == "a table of nodes and communities"
    groups = [{frozenset(group) for group in memberships(found).values()} for found in (lines, table)]
    assert groups[0] == groups[1]
