"""Learning rates step by step."""

from __future__ import annotations

import math

import pytest

from tdtool.train.schedules import learning_rate, total_steps, warmup_steps


def rates(schedule: str, total: int = 90, warmup: int = 9) -> list[float]:
    return [
        learning_rate(step, base=0.4, total_steps=total, warmup_steps=warmup, schedule=schedule)
        for step in range(total)
    ]


@pytest.mark.parametrize("schedule", ["cosine", "step", "constant"])
def test_warm_up_is_linear_and_ends_at_the_base(schedule: str) -> None:
    assert rates(schedule)[:9] == pytest.approx([0.4 * (step + 1) / 9 for step in range(9)])
    assert rates(schedule, warmup=0)[0] == 0.4


def test_cosine_goes_down_to_nothing() -> None:
    down = rates("cosine")[9:]
    assert down == sorted(down, reverse=True)
    assert down[27] == pytest.approx(0.2 * (1 + math.cos(math.pi / 3)))
    assert learning_rate(90, base=0.4, total_steps=90, warmup_steps=9, schedule="cosine") == 0
    assert learning_rate(99, base=0.4, total_steps=90, warmup_steps=9, schedule="cosine") == 0


def test_step_divides_by_ten_three_times() -> None:
    found = rates("step")
    assert [found[place] for place in (29, 30, 59, 60, 79, 80, 89)] == pytest.approx(
        [0.4, 0.04, 0.04, 0.004, 0.004, 0.0004, 0.0004]
    )


def test_constant_stays() -> None:
    assert set(rates("constant")[8:]) == {0.4}


def test_unknown_schedule() -> None:
    with pytest.raises(ValueError, match="no schedule 'linear'"):
        rates("linear")


@pytest.mark.parametrize(
    ("warmup", "epochs", "max_steps", "expected"),
    [
        (None, 40, None, 200),  # a twentieth of 4,000
        (None, 400, None, 500),  # five epochs
        (None, 40, 60, 3),
        (2.5, 40, None, 250),
        (0.0, 40, None, 0),
        (30.0, 40, None, 2000),  # half of all
        (None, 1, 1, 0),
    ],
)
def test_warm_up_is_a_share_of_all_steps(
    warmup: float | None, epochs: int, max_steps: int | None, expected: int
) -> None:
    assert warmup_steps(warmup, epochs=epochs, steps_per_epoch=100, max_steps=max_steps) == expected


def test_total_is_what_comes_first() -> None:
    assert total_steps(epochs=3, steps_per_epoch=7) == 21
    assert total_steps(epochs=3, steps_per_epoch=7, max_steps=20) == 20
    assert total_steps(epochs=3, steps_per_epoch=7, max_steps=22) == 21
