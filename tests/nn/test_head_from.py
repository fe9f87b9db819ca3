"""Heads that start from a trained one: exact where they can be, near where they are smaller."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tdtool.nn.head_compression import compressed, moments, ridge
from tdtool.nn.head_from import head_from_fc, linear_layers
from tdtool.nn.head_spec import parse_head
from tdtool.nn.heads import build_head

SHAPE, CLASSES, HIDDEN = (12, 4, 3), 7, (20, 10)


def head_of(word: str, *, hidden: tuple[int, ...] = HIDDEN, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build_head(parse_head(word), SHAPE, CLASSES, hidden=hidden, dropout=0.5).eval()


def activations(n: int = 300, seed: int = 1) -> Tensor:
    """Not negative, of few directions more than others, as behind a net."""
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(12, 12, generator=torch.Generator().manual_seed(5)) * torch.linspace(2, 0.1, 12)
    return torch.einsum("bchw,cd->bdhw", torch.randn(n, *SHAPE, generator=generator), mixed).relu()


def difference(head: nn.Module, trained: nn.Module) -> float:
    """Share of the trained head's variance, over images, that a head gets wrong."""
    a = activations(seed=2)
    with torch.no_grad():
        wanted, found = trained(a), head(a)
    return float((wanted - found).norm() / (wanted - wanted.mean(0)).norm())


@pytest.mark.parametrize("with_features", [False, True])
@pytest.mark.parametrize(
    ("word", "trained", "hidden"),
    [
        ("tcl:12,4,3", "fc", HIDDEN),
        ("tcl:12,-,3", "fc", HIDDEN),
        ("tcl:-,-,-", "fc", HIDDEN),
        ("tcl:12,4,3,fc=31x25", "fc", HIDDEN),  # wider layers say the same
        ("trl:12,4,3", "fc", (20,)),
        ("trl:12,1,1", "gap", ()),
        ("trl:12,4,3,7", "gap", ()),
        ("tcl:12,1,1", "gap", ()),
        ("cp:7", "gap", ()),
    ],
)
def test_full_ranks_say_what_the_trained_head_says(
    word: str, trained: str, hidden: tuple[int, ...], with_features: bool
) -> None:
    teacher = head_of(trained, hidden=hidden)
    if len(hidden) == 1:  # a linear map: all units are on
        teacher[1].bias.data += 100.0
    head = head_of(word, hidden=hidden, seed=3)
    assert difference(head, teacher) > 0.5
    layers = linear_layers([teacher], SHAPE)
    if len(hidden) == 1 and not with_features:  # then half of each unit is taken
        layers = [layers[0], (2 * layers[1][0], layers[1][1])]
    head_from_fc(head, layers, features_BCHW=activations() if with_features else None)
    assert difference(head, teacher) < 1e-3


def test_narrower_layers_keep_the_units_that_matter() -> None:
    teacher = head_of("fc")
    first, second, third = (module for module in teacher if isinstance(module, nn.Linear))
    with torch.no_grad():
        second.weight[:, ::2] *= 1e-4
        third.weight[:, 5:] *= 1e-4
    head = head_of("tcl:12,4,3,fc=10x5", seed=3)
    head_from_fc(head, linear_layers([teacher], SHAPE))
    assert difference(head, teacher) < 1e-2
    kept = [module for module in head if isinstance(module, nn.Linear)]
    torch.testing.assert_close(kept[0].bias, first.bias[1::2])


def planted(n_outputs: int = CLASSES) -> tuple[nn.Module, nn.Linear]:
    """A head of one linear layer whose weight has ranks (3, 2, 2) and some noise."""
    rng = np.random.default_rng(0)
    core = rng.standard_normal((n_outputs, 3, 2, 2))
    factors = [rng.standard_normal(size) for size in ((12, 3), (4, 2), (3, 2))]
    weight = np.einsum("kabc,ia,jb,lc->kijl", core, *factors)
    weight += 0.01 * weight.std() * rng.standard_normal(weight.shape)
    linear = nn.Linear(12 * 4 * 3, n_outputs)
    linear.weight.data = torch.from_numpy(weight.reshape(n_outputs, -1)).float()
    return nn.Sequential(nn.Flatten(1), linear), linear


@pytest.mark.parametrize("word", ["trl:3,2,2", "trl:3,2,2,6", "tcl:3,2,2", "cp:12"])
def test_a_weight_of_low_rank_is_found(word: str) -> None:
    teacher, _ = planted()
    head = head_of(word, hidden=())
    head_from_fc(head, linear_layers([teacher], SHAPE))
    wanted = 0.4 if word.endswith(",6") else 0.03
    assert difference(head, teacher) < wanted


@pytest.mark.parametrize("word", ["trl:5,2,2", "cp:6", "tcl:5,2,2,fc=-"])
def test_features_make_a_small_head_better(word: str) -> None:
    teacher = head_of("fc", seed=4)
    with torch.no_grad():
        for module in teacher:
            if isinstance(module, nn.Linear):
                module.weight *= 3
    layers = linear_layers([teacher], SHAPE)
    plain, fitted = head_of(word, seed=3), head_of(word, seed=3)
    head_from_fc(plain, layers)
    head_from_fc(fitted, layers, features_BCHW=activations(1000))
    assert difference(fitted, teacher) < 0.9 * difference(plain, teacher)


def test_what_does_not_belong_together_is_refused() -> None:
    layers = linear_layers([head_of("fc")], SHAPE)
    with pytest.raises(ValueError, match="no factors"):
        head_from_fc(head_of("gap"), layers)
    other = build_head(parse_head("trl:2,2,2"), (12, 3, 4), CLASSES, hidden=(), dropout=0.0)
    with pytest.raises(ValueError, match="reads activations of"):
        head_from_fc(other, layers)
    for word in ("trl:2,2,2", "tcl:2,2,2"):
        other = build_head(parse_head(word), SHAPE, CLASSES + 1, hidden=HIDDEN, dropout=0.0)
        with pytest.raises(ValueError, match="has 8 outputs, the trained one 7"):
            head_from_fc(other, layers)
    with pytest.raises(ValueError, match="no fully connected layer"):
        linear_layers([head_of("trl:2,2,2")], SHAPE)
    with pytest.raises(ValueError, match="reads 144 values"):
        linear_layers([head_of("fc")], (12, 4, 4))


def test_compression_leaves_an_error_no_larger_than_the_tails() -> None:
    weight = np.random.default_rng(0).standard_normal((7, 12, 4, 3))
    core, factors = compressed(weight, {1: 9, 3: 2}, {})
    assert core.shape == (7, 9, 4, 2)
    model = np.einsum("kahc,ia,lc->kihl", core, factors[1], factors[3])
    tails = 0.0
    for mode, rank in ((1, 9), (3, 2)):
        unfolded = np.moveaxis(weight, mode, 0).reshape(weight.shape[mode], -1)
        tails += float((np.linalg.svd(unfolded, compute_uv=False)[rank:] ** 2).sum())
        np.testing.assert_allclose(factors[mode].T @ factors[mode], np.eye(rank), atol=1e-10)
    assert np.linalg.norm(weight - model) ** 2 <= tails


def test_the_metric_weighs_what_features_have() -> None:
    """With all ranks but one kept, the direction that is left out is the one that features do not have."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((7, 5, 4))
    features = rng.standard_normal((400, 5, 4)) * np.array([1, 1, 1e-3, 1, 1])[:, None]
    core, factors = compressed(weight, {1: 4}, {1: moments(features, 1), 2: moments(features, 2)})
    model = np.einsum("kah,ia->kih", core, factors[1])
    wrong = np.einsum("bih,kih->bk", features, weight - model)
    assert np.linalg.norm(wrong) < 1e-2 * np.linalg.norm(np.einsum("bih,kih->bk", features, weight))
    plain, factors = compressed(weight, {1: 4}, {})
    model = np.einsum("kah,ia->kih", plain, factors[1])
    assert np.linalg.norm(np.einsum("bih,kih->bk", features, weight - model)) > 3 * np.linalg.norm(wrong)


def test_ranks_beyond_what_the_other_modes_support_are_filled_up() -> None:
    weight = np.random.default_rng(0).standard_normal((2, 12, 2))
    core, factors = compressed(weight, {1: 9}, {})
    np.testing.assert_allclose(np.einsum("kah,ia->kih", core, factors[1]), weight, atol=1e-12)
    np.testing.assert_allclose(factors[1].T @ factors[1], np.eye(9), atol=1e-10)


def test_ridge_finds_a_map_and_keeps_the_guess_where_inputs_say_nothing() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 6))
    x[:, 5] = 0.0
    truth, offset = rng.standard_normal((6, 3)), np.array([1.0, -2.0, 3.0])
    guess = rng.standard_normal((6, 3))
    weight, found = ridge(x + 2.0, (x + 2.0) @ truth + offset, guess)
    np.testing.assert_allclose(weight[:5], truth[:5], atol=1e-2)
    np.testing.assert_allclose(weight[5], guess[5])
    np.testing.assert_allclose((x + 2.0) @ weight + found, (x + 2.0) @ truth + offset, atol=0.05)
