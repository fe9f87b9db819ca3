"""Files of images and of trainings that cannot be are found; good ones are not, nor what may be unknown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tdtool.data.image_store import SPLITS, open_images
from tdtool.errors import InputError
from tdtool.run.show import describe
from tdtool.store import hdf5
from tdtool.store.content import check_content
from tdtool.store.verify import verify
from tests.store.samples_nets import (
    FILES,
    N_IMAGES,
    images_content,
    training_content,
    write_images_file,
    write_training,
)

IMAGES = {
    "a class too many": ("images/label", 2, 3),
    "no class": ("images/label", 0, -1),
    "a fourth split": ("images/split", 1, 3),
    "no rows": ("images/height", 0, 0),
    "other rows than the pixels": ("images/height", 4, 2),
    "other columns than the pixels": ("images/width", 4, 6),
    "not to the end": ("partitions/start", 2, 6),
}
TRAINING = {
    "steps fall": ("steps/step", 1, 3),
    "before the start": ("steps/step", 0, -5),
    "epochs fall": ("epochs/epoch", 1, 0),
    "more than all": ("epochs/top1", 0, 1.5),
    "less than none": ("epochs/top5", 1, -0.5),
    "not finite": ("steps/learning_rate", 1, np.inf),
    "a core that is no number": ("head/core", (0, 0, 1, 1), np.nan),
}


def findings(path: Path) -> set[str]:
    with hdf5.open(path) as reader:
        return {finding.where for finding in check_content(reader)}


def changed(content: dict[str, Any], path: str, place: Any, value: Any) -> dict[str, Any]:
    content[path] = np.array(content[path])
    content[path][place] = value
    return content


@pytest.mark.parametrize("case", IMAGES)
def test_images_that_cannot_be(case: str, tmp_path: Path) -> None:
    path = write_images_file(tmp_path / "x.h5", changed(images_content(), *IMAGES[case]))
    assert findings(path) == {IMAGES[case][0]}
    with pytest.raises(InputError, match=IMAGES[case][0]):
        open_images(path)


@pytest.mark.parametrize("case", TRAINING)
def test_trainings_that_cannot_be(case: str, tmp_path: Path) -> None:
    assert findings(write_training(tmp_path / "x.h5", changed(training_content(), *TRAINING[case]))) == {
        TRAINING[case][0]
    }


def test_good_files_are_good(tmp_path: Path) -> None:
    for name, content in (("pixels", images_content()), ("files", images_content(files=True))):
        path = write_images_file(tmp_path / f"{name}.h5", content)
        assert findings(path) == set()
        assert open_images(path).n == N_IMAGES
    path = write_training(tmp_path / "t.h5")
    assert findings(path) == set()
    assert verify(path) == []


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"encoded/start": np.array([0, 1, 2, 3, 4, 5, 6, 9])}, "encoded/start"),
        ({"encoded/start": np.array([0, 9, 2, 3, 4, 5, 6, sum(map(len, FILES))])}, "encoded/start"),
        ({"encoded/data": np.zeros(sum(map(len, FILES)), np.uint16)}, "encoded/data"),
        ({"encoded/start": None}, "pixels/value"),
        ({"encoded/start": None, "encoded/data": None}, "pixels/value"),
        ({"pixels/value": images_content()["pixels/value"]}, "pixels/value"),
    ],
)
def test_half_and_double_images(change: dict[str, Any], where: str, tmp_path: Path) -> None:
    content = {name: values for name, values in (images_content(files=True) | change).items() if values is not None}
    assert findings(write_images_file(tmp_path / "x.h5", content)) == {where}


@pytest.mark.parametrize("dtype", [np.uint16, np.uint8])
def test_pixels_of_other_kinds(dtype: type, tmp_path: Path) -> None:
    values = images_content()["pixels/value"].astype(dtype)
    values = values if dtype is np.uint16 else values[..., :2]
    path = write_images_file(tmp_path / "x.h5", images_content() | {"pixels/value": values})
    assert findings(path) == {"pixels/value"}


def test_show_tells_what_is_in_them(tmp_path: Path) -> None:
    facts = describe(write_images_file(tmp_path / "x.h5", images_content(files=True))).facts
    assert (facts["images"], facts["classes"]) == (7, 3)
    assert [facts[f"{name} images"] for name in SPLITS] == [4, 1, 2]
    assert facts["rows, columns"] == "3 x 5"
    assert facts["stored as"] == "encoded files"
    facts = describe(write_training(tmp_path / "t.h5")).facts
    assert (facts["steps"], facts["epochs"], facts["stopped"]) == (20, 2, "done")
    assert facts["top-1"] == "0.5000 last, 0.6250 best (epoch 1)"
    assert facts["head"] == "trl:2,1,3"
    nothing = {
        name: values[:0] if name[:6] in ("steps/", "epochs") else values for name, values in training_content().items()
    }
    facts = describe(write_training(tmp_path / "n.h5", nothing)).facts
    assert (facts["steps"], facts["epochs"]) == (0, 0)
    assert "top-1" not in facts
