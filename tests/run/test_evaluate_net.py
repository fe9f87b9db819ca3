"""A run and its exports score alike, classes are matched by name, and each image is put into the right cell."""

from __future__ import annotations

import dataclasses
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra train: pip install 'tdtool[train]'")

from tdtool.config import NetConfig, OptimiserConfig  # noqa: E402
from tdtool.data.image_store import ImageRecord, open_images, write_images  # noqa: E402
from tdtool.errors import InputError, ResourceError, UsageError  # noqa: E402
from tdtool.run import evaluate_net as module  # noqa: E402
from tdtool.run.evaluate_net import NetScores, choose_images, evaluate_net  # noqa: E402
from tdtool.run.export_net import export_net  # noqa: E402
from tdtool.train.journal import in_force, of_kind, read_journal  # noqa: E402
from tdtool.train.parts import divide  # noqa: E402
from tdtool.train.run_folder import OWN_DATA, read_settings  # noqa: E402
from tdtool.train.worker import work  # noqa: E402
from tests.train.small_runs import CLASSES, SIZE, small_config, small_run  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven steps with averages, which leave it unsure."""
    config = small_config(max_steps=7, optimiser=OptimiserConfig(learning_rate=0.1, ema=0.5))
    place = small_run(tmp_path_factory.mktemp("evaluate") / "small.train", config)
    work(place)
    return place


def test_a_run_scores_as_its_training_said(run: Path) -> None:
    scores = evaluate_net(run, batch=9, threads=1)
    told = of_kind(in_force(read_journal(run)), "evaluation")[-1]
    assert (scores.split, scores.n_images, scores.step, scores.averaged) == ("test", 23, 7, True)
    assert (scores.top1, scores.top5) == (told["top1"], told["top5"])
    assert scores.loss == pytest.approx(told["loss"], rel=1e-5)
    assert 0 < scores.top1 < 1
    assert scores.top1_error == pytest.approx(np.sqrt(scores.top1 * (1 - scores.top1) / 23))


def found(scores: NetScores) -> list[tuple[str, int, float]]:
    return [(row.name, row.n, row.recall) for row in scores.classes]


@pytest.mark.parametrize("kind", ["pt2", "safetensors"])
def test_an_export_scores_as_the_run(run: Path, tmp_path: Path, kind: str) -> None:
    file = export_net(run, kind, tmp_path / f"net.{kind}").path
    mine, theirs = (evaluate_net(model, str(run / OWN_DATA), batch=7, threads=1) for model in (run, file))
    assert (theirs.kind, theirs.precision, theirs.n_images) == (kind, "fp32", 23)
    assert theirs.confusion == mine.confusion
    assert found(theirs) == found(mine)
    assert theirs.loss == pytest.approx(mine.loss, rel=1e-5)


def rewritten(run: Path, path: Path, classes: tuple[str, ...], keep: Any = lambda label: True) -> Path:
    """The images of the run with their classes in another order, and more of them."""
    images = open_images(run / OWN_DATA)
    records = [
        ImageRecord(f"{i}.png", classes.index(images.classes[label]), split, np.array(images.pixels[i]))
        for i, (label, split) in enumerate(zip(images.labels.tolist(), images.splits.tolist(), strict=True))
        if keep(label)
    ]
    write_images(path, records, classes)
    return path


def test_classes_are_matched_by_name(run: Path, tmp_path: Path) -> None:
    plain = evaluate_net(run, threads=1)
    assert len({row.recall for row in plain.classes}) > 1  # so that a wrong order would be seen
    other = rewritten(run, tmp_path / "other.h5", ("blue", "never seen", "red", "green"))
    scores = evaluate_net(run, str(other), threads=1)
    assert (scores.confusion, found(scores)) == (plain.confusion, found(plain))
    two = rewritten(run, tmp_path / "two.h5", ("blue", "red"), keep=lambda label: CLASSES[label] != "green")
    scores = evaluate_net(run, str(two), threads=1)
    assert [row.n for row in scores.classes] == [plain.classes[0].n, 0, plain.classes[2].n]
    assert scores.notes == ("1 of the net's 3 classes are not in the data",)


def test_classes_the_net_does_not_know_are_bad_input(run: Path, tmp_path: Path) -> None:
    images = open_images(run / OWN_DATA)
    records = [ImageRecord(f"{i}", i % 2, 2, np.array(images.pixels[i])) for i in range(5)]
    write_images(tmp_path / "cats.h5", records, ("cat", "red"))
    with pytest.raises(InputError, match="1 of 2 classes of the images are none of the net's: cat") as caught:
        evaluate_net(run, str(tmp_path / "cats.h5"), threads=1)
    assert "red, green, blue" in str(caught.value.hint)


def test_images_that_cannot_be_decoded_are_left_out_and_named(run: Path, tmp_path: Path) -> None:
    from PIL import Image

    images, records = open_images(run / OWN_DATA), []
    for i in range(120):
        Image.fromarray(np.array(images.pixels[i])).resize((40, SIZE)).save(tmp_path / "i.png")
        records.append(ImageRecord(f"{i}.png", i % 3, 0, (tmp_path / "i.png").read_bytes()))
    broken = records[100].image
    assert isinstance(broken, bytes)
    records[100] = records[100]._replace(image=broken[:900] + bytes(400) + broken[1300:])  # its header is whole
    write_images(tmp_path / "files.h5", records, CLASSES)
    scores = evaluate_net(run, str(tmp_path / "files.h5"), threads=1)
    assert (scores.split, scores.n_images, scores.n_bad, scores.bad) == ("all", 119, 1, ("100.png",))
    assert "images were brought to the 32 x 32 pixels that the net sees" in scores.notes


def test_which_images_are_chosen(run: Path) -> None:
    settings = read_settings(run)
    settings = dataclasses.replace(settings, config=dataclasses.replace(settings.config, holdout=0.25))

    def of(*splits: int) -> Any:
        return types.SimpleNamespace(splits=np.array(splits, np.uint8), path="here")

    assert choose_images(of(0, 2, 1, 2), "auto", settings)[0].tolist() == [1, 3]
    assert choose_images(of(0, 2, 1, 2), "training", None)[0].tolist() == [0]
    assert choose_images(of(0, 1, 0), "auto", None)[1] == "validation"
    assert choose_images(of(0, 0, 0), "auto", None)[0].tolist() == [0, 1, 2]
    held, name = choose_images(of(*[0] * 90), "auto", settings)
    assert name == "held-out"
    assert held.tolist() == divide(of(*[0] * 90), holdout=0.25, seed=settings.config.seed).scored.tolist()
    assert 5 < len(held) < 45
    with pytest.raises(InputError, match="there are no validation images") as caught:
        choose_images(of(0, 2), "validation", None)
    assert "training, test" in str(caught.value.hint)
    with pytest.raises(UsageError, match="only a run"):
        choose_images(of(0, 0), "held-out", None)


def test_scores_of_its_training_images_are_said_to_be_that(run: Path) -> None:
    assert evaluate_net(run, split="training", threads=1).notes[0].startswith("the net was trained on these images")
    assert evaluate_net(run, split="test", threads=1).notes == ()


def test_precision_of_the_training_is_kept_and_said(run: Path, tmp_path: Path) -> None:
    import shutil

    from tdtool.train.run_folder import write_settings

    place = tmp_path / "half.train"
    shutil.copytree(run, place)
    settings = read_settings(place)
    device = dataclasses.replace(settings.config.device, precision="bf16")
    write_settings(place, dataclasses.replace(settings, config=dataclasses.replace(settings.config, device=device)))
    plain, half = evaluate_net(run, threads=1), evaluate_net(place, threads=1)
    assert (plain.precision, half.precision) == ("fp32", "bf16")
    assert half.notes == ("computed in bf16, as it was trained; exported files are computed in fp32",)
    assert plain.loss != half.loss == pytest.approx(plain.loss, rel=0.05)


def test_tables_of_a_known_matrix() -> None:
    matrix = np.array([[5, 2, 0], [0, 0, 0], [4, 3, 1]])  # true class by guess; nothing is of the second
    classes = module._classes(matrix, ("a", "b", "c"))
    assert [row.n for row in classes] == [7, 0, 8]
    np.testing.assert_allclose([row.recall for row in classes], [5 / 7, np.nan, 1 / 8])
    np.testing.assert_allclose([row.precision for row in classes], [5 / 9, 0, 1])
    worst = [(row.name, row.taken_for, row.n) for row in module._confusions(matrix, ("a", "b", "c"))]
    assert worst == [("c", "a", 4), ("c", "b", 3), ("a", "b", 2)]
    assert module._confusions(matrix, ("a", "b", "c"))[0].share == 4 / 8


def test_a_net_of_other_kinds(run: Path, tmp_path: Path) -> None:
    (tmp_path / "net.pt2").write_bytes(b"")
    with pytest.raises(UsageError, match="nothing to score it on"):
        evaluate_net(tmp_path / "net.pt2")
    with pytest.raises(InputError, match="there is no such file"):
        evaluate_net(tmp_path / "none.onnx", "x")
    with pytest.raises(InputError, match="is not the directory of a training run"):
        evaluate_net(tmp_path)
    if not torch.cuda.is_available():
        with pytest.raises(ResourceError, match="no GPU found"):
            evaluate_net(run, device="cuda")


def test_synthetic_images_are_those_of_the_run(tmp_path: Path) -> None:
    net = NetConfig(model="vgg11_bn", width=2, n_classes=7, image_size=SIZE)
    place = small_run(tmp_path / "s.train", small_config(net=net), n_train=3)
    settings = read_settings(place)
    from tdtool.train.run_data import images_of_run
    from tdtool.train.run_folder import SYNTHETIC, write_settings

    names = tuple(f"class {number}" for number in range(7))
    settings = dataclasses.replace(settings, data=SYNTHETIC, data_digest="", classes=names)
    write_settings(place, settings)
    with module._images(place, settings, None) as images, module._images(place, settings, SYNTHETIC) as others:
        assert images.digest == others.digest == images_of_run(place, settings).digest
