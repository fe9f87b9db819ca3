"""Nets are torchvision's in names and numbers, small images have nets of their own, and weights come from files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tdtool.config import NetConfig
from tdtool.errors import InputError, UsageError
from tdtool.nn.model_names import MODEL_SUMMARIES, full_name
from tdtool.nn.models import MODELS, build
from tdtool.nn.state_dicts import load_weights

#: Parameters of torchvision's nets, from its documentation.
TORCHVISION = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "vgg11": 132_863_336,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "vgg11_bn": 132_868_840,
    "vgg16_bn": 138_365_992,
    "vgg19_bn": 143_678_248,
    "alexnet": 61_100_840,
}
NARROW = NetConfig(model="resnet18", width=2, n_classes=5, image_size=24)


def meta(**settings: object) -> torch.nn.Module:
    return build(NetConfig(**settings), device="meta")


@pytest.mark.parametrize("name", TORCHVISION)
def test_parameters_are_torchvisions(name: str) -> None:
    assert sum(parameter.numel() for parameter in meta(model=name).parameters()) == TORCHVISION[name]


def test_every_listed_net_can_be_built() -> None:
    assert {full_name(name) for name in MODEL_SUMMARIES} == set(MODELS) == set(TORCHVISION)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet50", {"conv1.weight": (64, 3, 7, 7), "layer4.2.conv3.weight": (2048, 512, 1, 1), "fc.bias": (1000,)}),
        ("resnet18", {"layer2.0.downsample.1.running_var": (128,), "layer3.1.conv2.weight": (256, 256, 3, 3)}),
        ("vgg16", {"features.28.weight": (512, 512, 3, 3), "classifier.6.weight": (1000, 4096)}),
        ("vgg11_bn", {"features.26.running_mean": (512,), "classifier.0.weight": (4096, 25088)}),
        ("alexnet", {"features.10.weight": (256, 256, 3, 3), "classifier.1.weight": (4096, 9216)}),
    ],
)
def test_names_are_torchvisions(name: str, expected: dict[str, tuple[int, ...]]) -> None:
    own = meta(model=name).state_dict()
    assert {key: tuple(own[key].shape) for key in expected} == expected


@pytest.mark.parametrize("name", ["resnet34", "vgg11", "vgg19_bn", "alexnet"])
@pytest.mark.parametrize("size", [8, 24, 28, 33, 48, 64, 65, 97, 128, 224, 299])
def test_the_map_has_the_shape_that_is_promised(name: str, size: int) -> None:
    net = meta(model=name, width=3, image_size=size, n_classes=7)
    a_BCHW = net.forward_features(torch.empty(2, 3, size, size, device="meta"))
    assert a_BCHW.shape == (2, *net.feature_shape)
    assert net.forward_head(a_BCHW).shape == (2, 7)


@pytest.mark.parametrize("name", ["resnet18", "vgg16", "alexnet"])
def test_small_images_end_in_a_map_of_four_by_four(name: str) -> None:
    assert meta(model=name, image_size=32).feature_shape[1:] == (4, 4)


def test_a_layer_of_stride_one_does_not_halve_small_images() -> None:
    assert meta(model="resnet18", image_size=32).conv1.stride == (1, 1)
    assert meta(model="resnet18", image_size=96).conv1.stride == (2, 2)


@pytest.mark.parametrize("name", ["resnet18", "vgg11", "alexnet"])
def test_another_head_takes_the_place_of_the_own_one(name: str) -> None:
    own, other = (meta(model=name, width=8, image_size=32, head=head, n_classes=3) for head in ("fc", "trl:5,2,3"))
    features = sum(parameter.numel() for module in own.blocks() for parameter in module.parameters())
    assert sum(p.numel() for p in own.parameters()) == features + own.head_parameters()
    assert sum(p.numel() for p in other.parameters()) == features + other.head_parameters()
    assert {key.split(".")[0] for key in other.state_dict()} & {"fc", "classifier", "head"} == {"head"}
    assert other(torch.empty(2, 3, 32, 32, device="meta")).shape == (2, 3)


def test_weights_depend_on_the_seed_alone() -> None:
    state = torch.get_rng_state()
    first = build(NARROW, seed=4).state_dict()
    torch.rand(3)
    second, third = build(NARROW, seed=4).state_dict(), build(NARROW, seed=5).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], third["conv1.weight"])
    torch.set_rng_state(state)
    build(NARROW, seed=6)
    assert torch.equal(torch.get_rng_state(), state)


def test_convolutions_begin_as_he_has_it() -> None:
    weight = build(NetConfig(model="vgg11", width=16, image_size=32)).features[8].weight  # 64 -> 64 channels
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)


def test_dropout_is_the_models_own_unless_given() -> None:
    def shares(**settings: object) -> list[float]:
        net = meta(image_size=32, **settings)
        return [module.p for module in net.modules() if isinstance(module, torch.nn.Dropout)]

    assert shares(model="vgg11") == shares(model="alexnet") == [0.5, 0.5]
    assert shares(model="vgg11", dropout=0.25) == [0.25, 0.25]
    assert shares(model="resnet18", dropout=0.0) == [0.0]
    assert shares(model="resnet18", dropout=0.25) == [0.25]


@pytest.mark.parametrize(
    "settings", [{"model": "resnet19"}, {"width": 0}, {"image_size": 7}, {"n_classes": 0}, {"head": "auto:0.35"}]
)
def test_what_cannot_be_built_is_said(settings: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        build(NetConfig(**settings), device="meta")


@pytest.fixture
def trained() -> torch.nn.Module:
    return build(NARROW, seed=1)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", "wrapped.pt"])
def test_weights_come_back(tmp_path: Path, trained: torch.nn.Module, suffix: str) -> None:
    path, state = tmp_path / f"weights{suffix}", trained.state_dict()
    if suffix == ".safetensors":
        save_file(state, path)
    elif suffix == ".pt":
        torch.save(state, path)
    else:
        torch.save({"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}}, path)
    net = build(NARROW, seed=2)
    assert load_weights(net, path) == []
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())


def test_a_head_of_other_classes_keeps_its_start(tmp_path: Path, trained: torch.nn.Module) -> None:
    save_file(trained.state_dict(), tmp_path / "weights.safetensors")
    config = NetConfig(model="resnet18", width=2, n_classes=6, image_size=24)
    net, start = build(config, seed=2), build(config, seed=2)
    assert load_weights(net, tmp_path / "weights.safetensors") == ["fc.bias", "fc.weight"]
    assert torch.equal(net.fc.weight, start.fc.weight)
    assert torch.equal(net.layer4[1].conv2.weight, trained.layer4[1].conv2.weight)


def test_a_head_of_another_kind_keeps_its_start(tmp_path: Path, trained: torch.nn.Module) -> None:
    save_file(trained.state_dict(), tmp_path / "weights.safetensors")
    net = build(NetConfig(model="resnet18", width=2, n_classes=5, image_size=24, head="trl:3,2,2"), seed=2)
    left_out = load_weights(net, tmp_path / "weights.safetensors")
    assert {name.split(".")[0] for name in left_out} == {"fc", "head"}
    assert torch.equal(net.conv1.weight, trained.conv1.weight)


def test_weights_of_another_net_are_refused_by_name(tmp_path: Path, trained: torch.nn.Module) -> None:
    save_file(trained.state_dict(), tmp_path / "weights.safetensors")
    net = build(NetConfig(model="resnet18", width=3, n_classes=5, image_size=24), seed=2)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(InputError, match=r"conv1.weight is 2 x 3 x 3 x 3, not 3 x 3 x 3 x 3.*more"):
        load_weights(net, tmp_path / "weights.safetensors")
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_tensor_too_few_or_too_many_is_refused(tmp_path: Path, trained: torch.nn.Module) -> None:
    state = trained.state_dict()
    stem = state.pop("conv1.weight")
    save_file({**state, "conv9.weight": stem}, tmp_path / "weights.safetensors")
    with pytest.raises(InputError, match=r"conv1.weight is missing; conv9.weight is not in the net"):
        load_weights(trained, tmp_path / "weights.safetensors")


@pytest.mark.parametrize(
    "name", ["absent.pt", "text.pt", "text.safetensors", "empty.pt", "code.pt", "list.pt", "cut.pt"]
)
def test_files_that_are_no_weights_are_refused(tmp_path: Path, trained: torch.nn.Module, name: str) -> None:
    path = tmp_path / name
    if name.startswith(("text", "empty")):
        path.write_bytes(b"" if name.startswith("empty") else b"no weights")
    elif name in ("code.pt", "list.pt"):
        torch.save({"conv1.weight": Path("/")} if name == "code.pt" else [torch.zeros(2)], path)
    elif name == "cut.pt":
        torch.save(trained.state_dict(), path)
        path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError) as caught:
        load_weights(trained, path)
    assert caught.value.path == path
    assert "weights_only" not in str(caught.value)  # nobody is told to switch the check off
