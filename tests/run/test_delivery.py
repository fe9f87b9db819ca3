"""Results at URIs arrive whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tdtool.cli.group import cli
from tdtool.errors import UsageError
from tdtool.run.delivery import delivered
from tests.data.object_store import BUCKET, ObjectStore, object_store


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    with object_store(monkeypatch) as server:
        yield server


def test_a_result_is_sent_when_it_is_whole(store: ObjectStore) -> None:
    with delivered(f"s3a://{BUCKET}/a/run.topics.h5", "docs.txt", "topics", force=False) as to:
        to.path.write_bytes(b"whole")
        assert not store.objects
    assert to.path.name == "run.topics.h5"
    assert list(store.objects.values()) == [b"whole"]
    assert not to.path.exists()


def test_what_fails_sends_nothing(store: ObjectStore) -> None:
    def fail() -> None:
        with delivered(f"s3://{BUCKET}/x.h5", "docs.txt", "topics", force=False) as to:
            to.path.write_bytes(b"half")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail()
    assert not store.objects


def test_what_is_there_stays_without_force(store: ObjectStore) -> None:
    store.objects["x.h5"] = b"mine"
    place = f"s3://{BUCKET}/x.h5"
    with pytest.raises(UsageError, match="exists"), delivered(place, "docs.txt", "topics", force=False):
        pass
    with delivered(place, "docs.txt", "topics", force=True) as to:
        to.path.write_bytes(b"yours")
    assert store.objects == {"x.h5": b"yours"}


def test_paths_are_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with delivered(f"file://{tmp_path}/a.h5", "docs.txt", "topics", force=False) as to:
        assert to.path == tmp_path / "a.h5"
    with delivered(None, "docs.txt", "topics", force=False) as to:
        assert (to.path, to.place) == (Path("docs.topics.h5"), "docs.topics.h5")


def test_the_command_line_writes_to_a_bucket(store: ObjectStore, sample_data: Path) -> None:
    place = f"s3://{BUCKET}/sample.topics.h5"
    done = CliRunner().invoke(cli, ["topics", str(sample_data / "corpus"), "-k", "3", "-o", place])
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == place
    assert store.objects["sample.topics.h5"].startswith(b"\x89HDF")
