"""tdtool ingest --as images: recognised, told of, refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tdtool.data.image_store import open_images
from tdtool.errors import InputError
from tdtool.run.ingest_images import images_of
from tests.cli.conftest import Run
from tests.data.image_files import shades, write_tar, write_tree

TREE = {**{f"train/cat/{i}.png": i for i in range(5)}, **{f"test/dog/{i}.png": 100 + i for i in range(3)}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "pets", shades(TREE))


def test_recognised_and_told(folder: Path, run: Run, tmp_path: Path) -> None:
    ran = run("ingest", folder)
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[-1] == "pets.images.h5"
    for words in (
        "folder of images, pixels are stored",
        "no training image is of the class dog",
        "5 x 7",
        "8 images read",
    ):
        assert words in ran.out
    shown = run("show", "pets.images.h5")
    assert "training images  5" in shown.out
    assert "8 images read, 8 used, 0 skipped" in shown.out
    assert run("verify", "pets.images.h5").code == 0
    again = run("ingest", "pets.images.h5")
    assert again.code == 2
    assert "the source is an images file already" in again.err


def test_as_json(folder: Path, run: Run) -> None:
    ran = run("ingest", folder, "--json", "--image-size", 4, "-o", "small.h5")
    result = json.loads(ran.out)
    assert (result["n_images"], result["classes"], result["splits"]) == (8, ["cat", "dog"], {"training": 5, "test": 3})
    assert (result["encoding"], result["height"], result["width"]) == ("pixels", 4, 4)
    assert run("ingest", folder, "-o", "small.h5").code == 2
    assert run("ingest", folder, "-o", "small.h5", "--force").code == 0
    assert open_images("small.h5").image_size is None


def test_shards_by_pattern_have_a_name(run: Run, tmp_path: Path) -> None:
    for number in range(2):
        write_tar(tmp_path / f"s-{number}.tar", shades({f"a/{number}.png": number}))
    ran = run("ingest", tmp_path / "s-*.tar")
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[-1] == "s.images.h5"


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--stop-words", "de"], 2, "--stop-words is for documents, and images are made of this source"),
        (["--columns", "1,2"], 2, "--columns is for graphs, and images are made of this source"),
        (["--as", "graph", "--image-size", "4"], 2, "--image-size is for images, and a graph is made of this source"),
        (["--moments"], 2, "--moments are of documents or of a graph"),
        (["-o", "x.parquet"], 2, "images are written as one HDF5 file"),
        (["--format", "jpeg"], 2, "there is no format 'jpeg'"),
        (["--format", "npz"], 3, "it is a directory of class folders, not an .npz file"),
        (["--encoding", "files", "--image-size", "3"], 2, "images of one size are stored as pixels"),
        (["--max-bad", "1.5"], 2, "--max-bad is 1.5"),
    ],
)
def test_what_cannot_be(options: list[str], code: int, message: str, folder: Path, run: Run) -> None:
    ran = run("ingest", folder, *options)
    assert (ran.code, message in ran.err) == (code, True), ran.err


def test_bad_images(folder: Path, run: Run) -> None:
    (folder / "train" / "cat" / "zero.jpg").touch()
    ran = run("ingest", folder)
    assert ran.code == 3
    assert "1 of 9 images cannot be read, more than --max-bad 0.01 allows" in ran.err
    assert "train/cat/zero.jpg" in ran.err
    ran = run("ingest", folder, "--max-bad", "1")
    assert ran.code == 0
    assert "1 skipped: the file is empty" in ran.out


def test_images_of_a_source_are_ingested_once(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "tdtool")
    scratch = tmp_path / "run.images.h5"
    first = images_of(str(folder), scratch)
    assert first.n == 8
    assert "was read into" in caplog.text
    written = scratch.stat().st_mtime_ns
    assert images_of(str(folder), scratch).digest == first.digest
    assert images_of(str(scratch), tmp_path / "none.h5").digest == first.digest
    assert scratch.stat().st_mtime_ns == written
    assert not (tmp_path / "none.h5").exists()
    scratch.write_bytes(scratch.read_bytes()[:300])
    with pytest.raises(InputError, match="damaged or cut short"):
        images_of(str(scratch), tmp_path / "none.h5")
    other = write_tree(tmp_path / "other", shades({"a/1.png": 3}))
    np.testing.assert_array_equal(images_of(str(other), scratch).labels, [0])
