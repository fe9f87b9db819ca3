"""The schema is a promise to every file that was ever written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tdtool.store import schema

GOLDEN = Path(__file__).parents[1] / "golden" / "schema.txt"


def test_schema_is_the_one_that_files_were_written_with() -> None:
    """A change needs a new version number; then as_text() goes into the golden file."""
    assert schema.as_text() == GOLDEN.read_text(encoding="utf-8")


def test_axes_have_names_of_their_own() -> None:
    for file_schema in schema.SCHEMAS.values():
        assert not set(file_schema.dims) & set(file_schema.groups), "a dimension scale lies beside the groups"
        paths = [spec.path for spec in file_schema.arrays]
        assert len(set(paths)) == len(paths)
        assert all(path.count("/") == 1 for path in paths)
        assert all(path.count("*") <= 1 and path.endswith("*") == ("*" in path) for path in paths)


def test_star_stands_for_a_mode() -> None:
    spec = schema.CP.array("factors/mode3")
    assert (spec.path, spec.dims) == ("factors/mode3", ("mode3", "component"))
    assert schema.TUCKER.array("factors/mode7").dims == ("mode7", "rank7")
    assert schema.TUCKER.array("core/values").for_order(3).dims == ("rank0", "rank1", "rank2")
    assert schema.CP.in_order(["labels/mode1", "factors/mode6", "factors/mode2", "x", "components/weight"]) == [
        *("components/weight", "factors/mode2", "factors/mode6", "labels/mode1")
    ]


@pytest.mark.parametrize(
    "name", ["mode01", "mode-1", "mode*", "mode", "mode1 ", "mode8", "mode٣", "mode1/x", "mode1\n"]
)
def test_other_names_are_no_modes(name: str) -> None:
    with pytest.raises(KeyError):
        schema.CP.array(f"factors/{name}")
    assert not schema.CP.has_dim(name) or name in ("mode", "mode*")


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"factors/mode0": (2, 3), "factors/mode2": (5, 3)}, "modes 0 to 1 are wanted, there are 0, 2"),
        ({}, r"factors/mode\* is missing"),
        ({"factors/mode0": (2, 3), "labels/mode1": (5,)}, r"labels/mode\*: modes 0 to 0 are wanted, there are 1"),
        ({"factors/mode0": (2, 3), "core/values": (3, 3)}, "has 2 axes, and there are factors of 1 modes"),
    ],
)
def test_modes_are_those_of_one_tensor(shapes: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        schema.check_modes(schema.TUCKER, shapes, {})


def test_modes_that_have_names_are_counted() -> None:
    shapes = {"factors/mode0": (2, 3), "factors/mode1": (5, 3)}
    sizes: dict[str, int] = {}
    schema.check_modes(schema.CP, shapes, sizes)
    assert sizes == {"mode": 2}
    with pytest.raises(ValueError, match="3 modes have a name"):
        schema.check_modes(schema.CP, shapes, {"mode": 3})


def test_axis_with_underscore_is_the_axis_again() -> None:
    spec = schema.FACTORS.array("factors/correlation")
    schema.check_dims(spec, (2, 2), {})
    with pytest.raises(ValueError, match="axis factor_ has length 3"):
        schema.check_dims(spec, (2, 3), {})


def test_array_of_wrong_kind_or_axes_is_refused() -> None:
    spec = schema.TOPICS.array("topics/topic_word")
    schema.check_array(spec, (2, 3), "f")
    with pytest.raises(ValueError, match="topics/topic_word: want"):
        schema.check_array(spec, (2, 3), "i")
    with pytest.raises(ValueError, match="1 axes"):
        schema.check_array(spec, (2,), "f")
    with pytest.raises(KeyError, match="nothing"):
        schema.TOPICS.array("nothing")


@pytest.mark.parametrize(("length", "fits"), [(3, False), (4, True), (5, False)])
def test_axis_with_plus_one_is_one_longer(length: int, fits: bool) -> None:
    sizes = {"document": 3}
    spec = schema.CORPUS.array("counts/indptr")
    if fits:
        schema.check_dims(spec, (length,), sizes)
    else:
        with pytest.raises(ValueError, match=rf"document\+1 has length {length}, other arrays have 4"):
            schema.check_dims(spec, (length,), sizes)


def test_first_use_of_an_axis_sets_its_size() -> None:
    sizes: dict[str, int] = {}
    schema.check_dims(schema.CORPUS.array("counts/indptr"), (8,), sizes)
    assert sizes == {"document": 7}
    with pytest.raises(ValueError, match="length 0"):
        schema.check_dims(schema.CORPUS.array("counts/indptr"), (0,), {})
