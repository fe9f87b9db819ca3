"""Exported nets answer as the net does, say what they are, and files that could run code are never let near torch."""

from __future__ import annotations

import dataclasses
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tdtool.config import OptimiserConfig
from tdtool.errors import InputError, TdtoolError, UsageError
from tdtool.run.export_net import export_net
from tdtool.train import artefact, checkpoint, export, stored_net
from tdtool.train.artefact import open_artefact
from tdtool.train.augment import to_input
from tdtool.train.checkpoint import Checkpoint
from tdtool.train.net_card import KEY, parse_card
from tests.train.small_runs import CLASSES, SIZE, small_config, small_run

FORMATS = ["pt2", "onnx", "safetensors"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a checkpoint whose last weights and averages are drawn anew, so that all of them differ."""
    net = dataclasses.replace(small_config().net, head="trl:5,2,1")
    config = small_config(net=net, optimiser=OptimiserConfig(ema=0.9))
    place = small_run(tmp_path_factory.mktemp("export") / "small.train", config, n_train=30)
    weights = stored_net.build(config.net, seed=1).state_dict()
    average = stored_net.build(config.net, seed=2).state_dict()
    for tensor in (value for name, value in average.items() if name.endswith("running_var")):
        tensor.mul_(2)
    checkpoint.save(place, Checkpoint(17, weights, {}, {**average, "average/updates": torch.tensor(17)}))
    return place


@pytest.fixture(scope="module")
def files(run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The run in every format."""
    folder = tmp_path_factory.mktemp("files")
    return {kind: export_net(run, None, folder / f"net.{kind}").path for kind in FORMATS}


def pixels(n: int) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(n))


def eager(run: Path, batch: torch.Tensor) -> torch.Tensor:
    """The averaged net on pixels that were normalised as for training."""
    net, _ = stored_net.net_of_run(run)
    with torch.inference_mode():
        return net(to_input(batch.permute(0, 2, 3, 1), torch.float32, "cpu").contiguous())


@pytest.mark.parametrize("kind", FORMATS)
def test_files_answer_as_the_averaged_net_on_any_number_of_images(
    run: Path, files: dict[str, Path], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = {n: eager(run, pixels(n)) for n in (1, 4, 9)}
    assert expected[4].std(0).min() > 1e-4  # answers depend on the image
    if kind != "safetensors":  # no code of ours builds the net
        monkeypatch.delattr(stored_net, "build")
    opened = open_artefact(files[kind])
    assert (opened.kind, opened.card.classes, opened.card.step, opened.card.averaged) == (kind, CLASSES, 17, True)
    for n, logits_BK in expected.items():
        torch.testing.assert_close(opened.logits(pixels(n)), logits_BK, rtol=1e-5, atol=1e-5)


def test_a_plain_torch_opens_the_graph(run: Path, files: dict[str, Path]) -> None:
    extra = {KEY: ""}
    program = torch.export.load(files["pt2"], extra_files=extra)
    torch.testing.assert_close(program.module()(pixels(6)), eager(run, pixels(6)), rtol=1e-5, atol=1e-5)
    card = json.loads(extra[KEY])
    assert card["input"] == {"name": "pixels", "type": "uint8", "shape": ["batch", 3, 32, 32], "channels": "RGB"}
    assert card["output"]["shape"] == ["batch", 3]


def test_onnx_has_names_and_a_free_number_of_images(files: dict[str, Path]) -> None:
    import onnx

    model = onnx.load(files["onnx"])
    onnx.checker.check_model(model, full_check=True)
    (given,), (taken,) = model.graph.input, model.graph.output
    shapes = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in (given, taken)]
    assert (given.name, taken.name) == ("pixels", "logits")
    assert shapes == [["batch", 3, SIZE, SIZE], ["batch", len(CLASSES)]]


@pytest.mark.parametrize("kind", FORMATS)
def test_no_place_on_this_machine_is_told(files: dict[str, Path], kind: str) -> None:
    data = files[kind].read_bytes()
    assert str(Path.home()).encode() not in data
    assert b".py" not in data


def test_safetensors_has_the_names_of_the_net(run: Path, files: dict[str, Path]) -> None:
    net, card = stored_net.net_of_run(run)
    loaded = load_file(files["safetensors"])
    assert loaded.keys() == net.state_dict().keys()
    assert not any(tensor.is_meta for tensor in (*net.parameters(), *net.buffers()))
    assert open_artefact(files["safetensors"]).card == card


def test_a_file_that_answers_otherwise_is_not_kept(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def a_little_off(model: Any, card: Any, path: Path) -> None:
        tensors = {name: tensor * 1.001 for name, tensor in model.net.state_dict().items()}
        save_file(tensors, path, metadata={KEY: card.to_json()})

    monkeypatch.setattr(export, "_write_safetensors", a_little_off)
    with pytest.raises(TdtoolError, match="differs from the net by"):
        export_net(run, "safetensors", tmp_path / "net.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_where_the_file_goes(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [export_net(run, "safetensors").path.name for _ in range(2)] == ["small.safetensors", "small-2.safetensors"]
    for kind, output, message in (
        ("pt2", "a.onnx", "--format pt2 does not fit its suffix"),
        (None, "a.bin", "its suffix says no format"),
        (None, "small.safetensors", "exists already"),
    ):
        with pytest.raises(UsageError, match=message):
            export_net(run, kind, Path(output))
    assert export_net(run, None, Path("small.safetensors"), force=True).n_parameters > 0


@pytest.mark.parametrize("damage", ["diverged", "another net", "no checkpoint", "no run"])
def test_runs_without_a_net(run: Path, tmp_path: Path, damage: str) -> None:
    place = small_run(tmp_path / "r", dataclasses.replace(small_config(), optimiser=OptimiserConfig()), n_train=30)
    net = stored_net.build(small_config().net)
    if damage == "no run":
        (place / "config.json").unlink()
    elif damage == "diverged":
        net.classifier[0].weight.data[1, 2] = torch.nan
        checkpoint.save(place, Checkpoint(1, net.state_dict(), {}))
    elif damage == "another net":
        checkpoint.save(place, checkpoint.load(run))
    messages = {
        "diverged": "diverged",
        "another net": "a checkpoint of another net: ",
        "no checkpoint": "has no checkpoint yet",
        "no run": "is not the directory of a training run",
    }
    with pytest.raises(InputError, match=messages[damage]):
        export_net(place, "pt2", tmp_path / "x.pt2")
    assert not (tmp_path / "x.pt2").exists()


# ---- files from elsewhere


class Canary:
    """A pickle that writes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._path,)


def rewritten(source: Path, target: Path, change: Callable[[dict[str, bytes]], None], **how: Any) -> Path:
    """A copy of an archive with other records."""
    with zipfile.ZipFile(source) as archive:
        records = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    change(records)
    with zipfile.ZipFile(target, "w", **how) as archive:
        for name, data in records.items():
            archive.writestr(f"any/{name}", data)
    return target


def in_json(record: str, change: Callable[[Any], None]) -> Callable[[dict[str, bytes]], None]:
    def apply(records: dict[str, bytes]) -> None:
        value = json.loads(records[record])
        change(value)
        records[record] = json.dumps(value).encode()

    return apply


GRAPH, WEIGHTS = "models/model.json", "data/weights/model_weights_config.json"
CALL = "__import__('os').system('true')"


def first_node(graph: Any) -> Any:
    return graph["graph_module"]["graph"]["nodes"][0]


def first_weight(config: Any) -> Any:
    return next(iter(config["config"].values()))


HOSTILE: dict[str, Callable[[dict[str, bytes]], None]] = {
    "a function of torch": in_json(GRAPH, lambda g: first_node(g).update(target="torch.os.system")),
    "an operator that reads files": in_json(GRAPH, lambda g: first_node(g).update(target="torch.ops.aten.from_file.d")),
    "an operator of another library": in_json(GRAPH, lambda g: first_node(g).update(target="torch.ops.x.y.default")),
    "a size that is code": in_json(
        GRAPH, lambda g: g["graph_module"]["graph"].update(sym_int_values={"s": {"as_expr": {"expr_str": CALL}}})
    ),
    "a size with a word of its own": in_json(
        GRAPH, lambda g: g["graph_module"]["graph"].update(sym_int_values={"s": {"as_expr": {"expr_str": "exit(1)"}}})
    ),
    "a name that is code": in_json(GRAPH, lambda g: first_node(g).update(name="x=1;exit()")),
    "a key that is code": in_json(GRAPH, lambda g: g["range_constraints"].update({"exit()": {}})),
    "conditions": in_json(GRAPH, lambda g: g.update(guards_code=["exit"])),
    "an import by its arguments": in_json(
        GRAPH,
        lambda g: g["graph_module"]["module_call_graph"][0]["signature"].update(
            in_spec=json.dumps([1, {"type": "builtins.dict", "context": '{"__enum__": true, "fqn": "antigravity:x"}'}])
        ),
    ),
    "pickled weights": in_json(WEIGHTS, lambda c: first_weight(c).update(use_pickle=True)),
    "weights elsewhere": in_json(WEIGHTS, lambda c: first_weight(c).update(path_name="../../etc/passwd")),
    "weights of nothing": lambda records: records.update({"data/weights/weight_0": b""}),
    "weights of an old kind": lambda records: records.update({"data/weights/model.pt": b"x"}),
    "a compiled library": lambda records: records.update({"data/aotinductor/model/x.so": b"\x7fELF"}),
    "an object": lambda records: records.update({"data/constants/opaque_obj_0": b"x"}),
    "a graph that is none": lambda records: records.update({GRAPH: b"[" * 100_000}),
    "a deep graph": lambda records: records.update({GRAPH: b'{"a":' * 300 + b"1" + b"}" * 300}),
    "no graph": lambda records: records.__delitem__(GRAPH),
    "no card": lambda records: records.__delitem__(f"extra/{KEY}"),
    "a card that is none": lambda records: records.update({f"extra/{KEY}": b"{}"}),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_torch_is_not_given_what_could_run_code(
    files: dict[str, Path], tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artefact.torch.export, "load", lambda *_: pytest.fail("torch was given the file"))
    bad = rewritten(files["pt2"], tmp_path / "bad.pt2", HOSTILE[case])
    with pytest.raises(InputError, match=r"it holds |its card|says nothing|its graph"):
        open_artefact(bad)


def test_sample_inputs_are_not_unpickled(files: dict[str, Path], tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    canary = pickle.dumps(Canary(touched))
    bad = rewritten(files["pt2"], tmp_path / "bad.pt2", lambda r: r.update({"data/sample_inputs/model.pt": canary}))
    with pytest.raises(InputError, match="sample inputs"):
        open_artefact(bad)
    assert not touched.exists()


def test_archives_that_are_not_as_torch_writes_them(files: dict[str, Path], tmp_path: Path) -> None:
    packed = rewritten(files["pt2"], tmp_path / "packed.pt2", lambda _: None, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="compressed"):
        open_artefact(packed)
    twice = rewritten(files["pt2"], tmp_path / "twice.pt2", lambda _: None)
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(twice, "a") as archive:
        archive.writestr("any/byteorder", b"little")
    with pytest.raises(InputError, match="two of one name"):
        open_artefact(twice)
    good = rewritten(files["pt2"], tmp_path / "good.pt2", lambda _: None)
    assert open_artefact(good).card.step == 17


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("content", ["empty", "noise", "half", "another kind"])
def test_damaged_files_are_bad_input(files: dict[str, Path], tmp_path: Path, kind: str, content: str) -> None:
    whole = files[kind].read_bytes()
    data = {
        "empty": b"",
        "noise": bytes(range(256)) * 9,
        "half": whole[: len(whole) // 2],
        "another kind": files[FORMATS[FORMATS.index(kind) - 1]].read_bytes(),
    }[content]
    bad = tmp_path / f"bad.{kind}"
    bad.write_bytes(data)
    with pytest.raises(InputError) as caught:
        open_artefact(bad)
    assert caught.value.path == bad


def test_onnx_reads_no_other_file(files: dict[str, Path], tmp_path: Path) -> None:
    import onnx

    model = onnx.load(files["onnx"])
    (tmp_path / "secret").write_bytes(bytes(4 * 5 * 16))
    weight = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="secret")
    (tmp_path / "bad.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="damaged"):
        open_artefact(tmp_path / "bad.onnx")


def test_safetensors_of_another_net_names_the_difference(files: dict[str, Path], tmp_path: Path) -> None:
    tensors = load_file(files["safetensors"])
    data = files["safetensors"].read_bytes()
    header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    metadata = header["__metadata__"]
    name = next(name for name in tensors if name.startswith("head"))
    changed = {**tensors, name: tensors[name][:1].clone()}
    save_file(changed, tmp_path / "bad.safetensors", metadata=metadata)
    with pytest.raises(InputError, match=name):
        open_artefact(tmp_path / "bad.safetensors")
    save_file(tensors, tmp_path / "plain.safetensors")
    with pytest.raises(InputError, match="says nothing of its classes"):
        open_artefact(tmp_path / "plain.safetensors")


CARDS: dict[str, dict[str, Any]] = {
    "too few classes": {"classes": ["red", "green"]},
    "one class twice": {"classes": ["red", "green", "red"]},
    "a class that is a number": {"classes": ["red", "green", 3]},
    "another format": {"format": 2},
    "no net": {"net": None},
    "a setting nobody knows": {"net": {"colour": 1}},
    "a width that is text": {"net": {"width": "2", "n_classes": 3}},
    "images of no size": {"net": {"image_size": -1, "n_classes": 3}},
    "huge images": {"net": {"image_size": 1 << 20, "n_classes": 3}},
    "no deviation": {"std": [0.1, 0.0, 0.1]},
    "two means": {"mean": [0.1, 0.2]},
    "a mean that is no number": {"mean": [0.1, 0.2, float("nan")]},
    "a step that is text": {"step": "3"},
}


@pytest.mark.parametrize("case", CARDS)
def test_cards_that_nobody_of_us_wrote(run: Path, case: str) -> None:
    _, card = stored_net.net_of_run(run)
    assert parse_card(card.to_json(), "here") == card
    with pytest.raises(InputError, match="its card"):
        parse_card(json.dumps({**json.loads(card.to_json()), **CARDS[case]}), "here")
