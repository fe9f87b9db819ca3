"""The order of contraction: cheapest where that can be counted by hand or by trying all."""

from __future__ import annotations

import math

import opt_einsum
import pytest

from tdtool.nn.contraction_order import BATCH, CLASS, RANK, contraction_plan, cp_flops, regression_plan

#: Activations and ranks that were measured beforehand, and heads of ImageNet: shape, ranks, outputs.
REGRESSIONS = [
    ((512, 7, 7), (48, 3, 3), 1000),
    ((2048, 7, 7), (48, 3, 3), 1000),
    ((512, 7, 7), (128, 5, 5), 1000),
    ((256, 6, 6), (48, 3, 3), 1000),
    ((512, 4, 4), (48, 3, 3), 100),
    ((512, 4, 4), (48, 3, 3), 10),
    ((256, 4, 4), (48, 3, 3), 10),
    ((128, 8, 8), (48, 3, 3), 10),
    ((512, 2, 2), (48, 2, 2), 10),
]
CONTRACTIONS = [
    ((512, 7, 7), (384, 5, 5)),
    ((512, 7, 7), (64, 7, 7)),
    ((256, 6, 6), (168, 5, 5)),
    ((512, 4, 4), (64, 3, 3)),
    ((128, 4, 4), (64, 3, 3)),
    ((512, 2, 2), (64, 2, 2)),
    ((96, 5, 3), (7, None, 2)),
]


def one_by_one(shape: tuple[int, ...], ranks: tuple[int | None, ...]) -> int:
    """Operations for an image where the first mode is contracted first, as TensorLy-Torch does."""
    sizes, total = list(shape), 0
    for mode, rank in enumerate(ranks):
        if rank is not None:
            total += 2 * math.prod(sizes) * rank
            sizes[mode] = rank
    return total


def rebuilt(shape: tuple[int, ...], ranks: tuple[int, ...], n_outputs: int, batch: int) -> int:
    """Operations where the full weight is built mode by mode, as TensorLy-Torch does."""
    sizes, total = [*ranks, n_outputs], 0
    for mode, size in enumerate(shape):
        total += 2 * math.prod(sizes) * size
        sizes[mode] = size
    return total + 2 * batch * math.prod(shape) * n_outputs


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("shape", "ranks"), CONTRACTIONS)
def test_contraction_needs_no_more_than_mode_by_mode(
    shape: tuple[int, ...], ranks: tuple[int | None, ...], channels_last: bool
) -> None:
    plan = contraction_plan(shape, ranks, channels_last=channels_last)
    for batch in (1, 2, BATCH, 1000):
        assert plan.flops(batch) <= batch * one_by_one(shape, ranks)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("shape", "ranks", "n_outputs"), REGRESSIONS)
def test_regression_needs_no_more_than_the_full_weight(
    shape: tuple[int, ...], ranks: tuple[int, ...], n_outputs: int, channels_last: bool
) -> None:
    plan = regression_plan(shape, ranks, n_outputs, channels_last=channels_last)
    for batch in (1, 32, BATCH, 128, 4096):
        assert plan.flops(batch) <= rebuilt(shape, ranks, n_outputs, batch)


def test_channels_first_where_that_is_cheapest() -> None:
    plan = contraction_plan((512, 7, 7), (8, 7, 7))
    assert plan.steps[0].contracted == (0,)
    assert contraction_plan((512, 7, 7), (384, 2, 2)).steps[-1].contracted == (0,)


def test_small_neighbours_are_contracted_together() -> None:
    first = regression_plan((512, 7, 7), (48, 3, 3), 1000).steps[0]
    assert first.contracted == (1, 2)
    assert first.new == (RANK + 1, RANK + 2)


def test_the_full_weight_is_not_built_for_many_outputs() -> None:
    tempting = ((256, 4, 4), (200, 4, 4), BATCH + 6)
    assert rebuilt(*tempting, 10**6) < 10**6 * one_by_one(*tempting[:2])
    for shape, ranks, n_outputs in (*REGRESSIONS, tempting):
        if n_outputs > BATCH:
            plan = regression_plan(shape, ranks, n_outputs)
            assert len(plan.steps) > 1
            assert all(set(step.weight) != {0, 1, 2, CLASS} for step in plan.steps)
            assert CLASS in plan.result


@pytest.mark.parametrize(
    ("shape", "ranks", "n_outputs", "rank_out"),
    [((512, 7, 7), (48, 3, 3), 1000, None), ((400, 5, 3), (300, 2, 3), 90, 7), ((900, 8, 7), (50, 3, 4), 200, 50)],
)
def test_operations_are_near_the_least_of_all_orders(
    shape: tuple[int, ...], ranks: tuple[int, ...], n_outputs: int, rank_out: int | None
) -> None:
    """opt_einsum tries all orders for the operations alone; ours may take some more to save small products."""
    letters = "bcd"[: len(shape)]
    last = "z" if rank_out is None else "y"
    terms = ["a" + letters, "bB", "cC", "dD", "BCD" + last] + ([] if rank_out is None else ["zy"])
    arrays = [(BATCH, *shape), *zip(shape, ranks, strict=True), (*ranks, rank_out or n_outputs)]
    arrays += [] if rank_out is None else [(n_outputs, rank_out)]
    _, info = opt_einsum.contract_path(",".join(terms) + "->az", *arrays, shapes=True, optimize="optimal")
    plan = regression_plan(shape, ranks, n_outputs, rank_out)
    assert float(info.opt_cost) <= plan.flops(BATCH) * 1.001
    assert plan.flops(BATCH) <= 1.5 * float(info.opt_cost)


def test_operations_of_a_plan_by_hand() -> None:
    plan = contraction_plan((6, 5), (2, None))
    assert (plan.fixed, plan.per_image) == (0, 2 * 6 * 5 * 2)
    assert plan.flops(7) == 7 * 120
    plan = regression_plan((6,), (2,), 100)
    assert plan.flops(7) == 7 * 2 * (6 * 2 + 2 * 100)
    assert cp_flops((6, 2, 5), 3, 7, 11) == 2 * 11 * 3 * (60 + 10 + 7) + 3 * 10


def test_plans_are_made_once() -> None:
    assert contraction_plan((17, 3, 2), (5, 2, 2)) is contraction_plan((17, 3, 2), (5, 2, 2))
