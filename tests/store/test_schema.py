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
