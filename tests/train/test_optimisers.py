"""Optimisers against their formulas, and the average of weights."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from tdtool.config import OptimiserConfig
from tdtool.train.averaging import UPDATES, Average
from tdtool.train.optimisers import LARS, base_learning_rate, make_optimiser, weight_decay


def net() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 5, 2), nn.BatchNorm2d(5), nn.Flatten(), nn.Linear(20, 7))


def backward(model: nn.Module, seed: int = 0) -> None:
    x_BCHW = torch.randn(6, 3, 3, 3, generator=torch.Generator().manual_seed(seed))
    model.zero_grad()
    model(x_BCHW).square().mean().backward()


@pytest.mark.parametrize("name", ["sgd", "adamw", "lars"])
def test_biases_and_norms_do_not_decay(name: str) -> None:
    config = OptimiserConfig(name=name, learning_rate=0.1, momentum=0.0, weight_decay=0.5)  # type: ignore[arg-type]
    model = net()
    optimiser = make_optimiser(model, config, batch=8, small_images=True)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    nn.init.ones_(model[0].bias)
    before = copy.deepcopy(model.state_dict())
    optimiser.step()
    for key, now in model.state_dict().items():
        if now.ndim > 1:
            torch.testing.assert_close(now, before[key] * (1 - 0.1 * 0.5))
        else:
            assert torch.equal(now, before[key]), key


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_torch_updates_by_one_kernel(name: str) -> None:
    optimiser = make_optimiser(net(), OptimiserConfig(name=name), batch=8, small_images=True)  # type: ignore[arg-type]
    assert optimiser.defaults["fused"] is True
    assert len(optimiser.param_groups) == 2


def test_defaults_are_scaled_to_the_batch() -> None:
    assert base_learning_rate(OptimiserConfig(), 256) == 0.1
    assert base_learning_rate(OptimiserConfig(), 1024) == pytest.approx(0.4)
    assert base_learning_rate(OptimiserConfig(name="lars"), 4096) == pytest.approx(9.6)
    assert base_learning_rate(OptimiserConfig(name="adamw"), 128) == pytest.approx(5e-4)
    assert base_learning_rate(OptimiserConfig(learning_rate=0.03), 1024) == 0.03
    assert [weight_decay(OptimiserConfig(), small) for small in (True, False)] == [5e-4, 1e-4]
    assert weight_decay(OptimiserConfig(name="adamw"), True) == 0.05
    assert weight_decay(OptimiserConfig(name="adamw", weight_decay=0.0), True) == 0


def test_sgd_follows_its_formula() -> None:
    config = OptimiserConfig(learning_rate=0.2, momentum=0.7, weight_decay=0.01)
    model = nn.Linear(4, 3)
    optimiser = make_optimiser(model, config, batch=8, small_images=True)
    w, v = model.weight.detach().double().clone(), torch.zeros(3, 4, dtype=torch.float64)
    for step in range(4):
        model.weight.grad = torch.full((3, 4), 0.3 * (step - 1))
        model.bias.grad = torch.zeros(3)
        optimiser.step()
        v = 0.7 * v + 0.3 * (step - 1) + 0.01 * w
        w = w - 0.2 * v
    torch.testing.assert_close(model.weight.detach().double(), w, rtol=1e-6, atol=1e-7)


def test_lars_follows_its_algorithm(rng: np.random.Generator) -> None:
    """Algorithm 1 of You et al. 2017, written down once more in float64."""
    rates, trust, momentum, decay = (0.5, 0.3, 0.3, 0.9), 0.02, 0.8, 0.1
    start, bias = rng.standard_normal((4, 3)), rng.standard_normal(3)
    parameters = [nn.Parameter(torch.tensor(values)) for values in (start, bias)]
    groups = [{"params": parameters[:1], "weight_decay": decay}, {"params": parameters[1:], "weight_decay": 0.0}]
    optimiser = LARS(groups, lr=0.0, momentum=momentum, trust=trust)
    w, b, v, u = start.copy(), bias.copy(), np.zeros((4, 3)), np.zeros(3)
    for rate in rates:
        gradients = rng.standard_normal((4, 3)), rng.standard_normal(3)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = torch.tensor(gradient)
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.step()
        local = trust * np.linalg.norm(w) / (np.linalg.norm(gradients[0]) + decay * np.linalg.norm(w))
        v = momentum * v + rate * local * (gradients[0] + decay * w)
        u = momentum * u + rate * gradients[1]
        w, b = w - v, b - u
        np.testing.assert_allclose(parameters[0].detach(), w, rtol=1e-12)
        np.testing.assert_allclose(parameters[1].detach(), b, rtol=1e-12)


def test_lars_moves_weights_that_are_zero() -> None:
    weight = nn.Parameter(torch.zeros(2, 3))
    optimiser = LARS([weight], lr=0.5, weight_decay=0.1)

    def loss() -> torch.Tensor:
        weight.grad = torch.ones(2, 3)
        return torch.tensor(4.0)

    assert optimiser.step(loss) == 4.0
    assert torch.equal(weight.detach(), torch.full((2, 3), -0.5))


def test_lars_leaves_weights_without_a_gradient() -> None:
    weights = [nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(3))]
    LARS([{"params": weights[:1]}, {"params": weights[1:]}], lr=0.5, weight_decay=0.1).step()
    assert all(bool((weight == 1).all()) for weight in weights)


@pytest.mark.parametrize("name", ["sgd", "adamw", "lars"])
def test_an_optimiser_goes_on_from_its_state(name: str) -> None:
    config = OptimiserConfig(name=name, learning_rate=0.05)  # type: ignore[arg-type]
    model, other = net(), net()
    first = make_optimiser(model, config, batch=8, small_images=True)
    for step in range(3):
        backward(model, step)
        first.step()
    other.load_state_dict(model.state_dict())
    second = make_optimiser(other, config, batch=8, small_images=True)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for update, trained in ((first, model), (second, other)):
        backward(trained, 9)
        update.step()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_average_follows_its_formula_and_forgets_the_start() -> None:
    model = net()
    average = Average(model, 0.4)
    expected = {name: value.double().clone() for name, value in model.state_dict().items()}
    for step in range(8):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(step + 1)
        model(torch.randn(4, 3, 3, 3))  # moves the statistics
        average.update(model)
        decay = min(0.4, (2 + step) / (11 + step))
        for name, value in model.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * value.double()
    state = average.state()
    assert state.pop(UPDATES) == 8
    assert set(state) == set(model.state_dict())
    assert state.pop("1.num_batches_tracked") == 8  # a count is copied
    for name, value in state.items():
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-6)


def test_swapping_gives_the_own_weights_back_to_the_bit() -> None:
    model = net()
    average = Average(model, 0.9)
    backward(model)
    make_optimiser(model, OptimiserConfig(), batch=256, small_images=True).step()
    average.update(model)
    own, kept = copy.deepcopy(model.state_dict()), average.state()

    def inside() -> None:
        with average.swapped(model):
            assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        inside()
    assert not torch.equal(own["3.weight"], kept["3.weight"])
    assert all(torch.equal(value, own[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(value, kept[name]) for name, value in average.state().items())


def test_average_goes_on_from_its_state_also_where_the_net_is_wrapped() -> None:
    model = net()
    first = Average(model, 0.9)
    for _ in range(3):
        backward(model)
        make_optimiser(model, OptimiserConfig(), batch=256, small_images=True).step()
        first.update(model)
    wrapped = nn.Module()
    wrapped.module = model
    second = Average(wrapped, 0.9)
    second.load_state(first.state())
    for average, trained in ((first, model), (second, wrapped)):
        average.update(trained)
    assert all(torch.equal(value, second.state()[name]) for name, value in first.state().items())


def test_an_average_of_another_net_is_refused() -> None:
    average = Average(net(), 0.9)
    with pytest.raises(ValueError, match=r"not the average of this net: .*0\.weight"):
        average.load_state({"weight": torch.ones(2), UPDATES: torch.tensor(1)})
    with pytest.raises(ValueError, match="a decay of 1"):
        Average(net(), 1.0)
