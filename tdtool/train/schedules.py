"""The learning rate of each step: a plain function, so that there is no state to keep or to lose."""

from __future__ import annotations

import math

#: Where "step" divides by ten: after 30, 60 and 80 of 90 epochs, as for ImageNet (Goyal et al. 2017, section 5.1).
DROPS = (1 / 3, 2 / 3, 8 / 9)
#: Longest warm-up that is chosen without being asked for, in epochs (Goyal et al. 2017, section 2.2).
LONGEST_WARMUP = 5.0


def learning_rate(step: int, *, base: float, total_steps: int, warmup_steps: int, schedule: str) -> float:
    """The learning rate of the update number `step`, which counts from 0.

    Up to `warmup_steps` it grows linearly to `base` (Goyal et al. 2017, "Accurate, large minibatch SGD"); then schedule
    "cosine" goes down to 0 at `total_steps` (Loshchilov and Hutter 2017, "SGDR", equation 5, one period), "step"
    divides by ten at DROPS of all steps, "constant" stays. ValueError: another schedule.
    """
    if step < warmup_steps:
        return base * (step + 1) / warmup_steps
    if schedule == "constant":
        return base
    if schedule == "cosine":
        share = (step - warmup_steps) / max(1, total_steps - warmup_steps)
        return base * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
    if schedule == "step":
        return base * 0.1 ** sum(step >= drop * total_steps for drop in DROPS)
    raise ValueError(f"no schedule {schedule!r}")


def warmup_steps(warmup: float | None, *, epochs: float, steps_per_epoch: int, max_steps: int | None = None) -> int:
    """Steps of the warm-up, at most half of all. warmup : in epochs; None: a twentieth of all, at most 5 epochs."""
    total = total_steps(epochs=epochs, steps_per_epoch=steps_per_epoch, max_steps=max_steps)
    wanted = min(total / 20, LONGEST_WARMUP * steps_per_epoch) if warmup is None else warmup * steps_per_epoch
    return min(round(wanted), total // 2)


def total_steps(*, epochs: float, steps_per_epoch: int, max_steps: int | None = None) -> int:
    """Steps of the whole run."""
    steps = int(epochs * steps_per_epoch)
    return steps if max_steps is None else min(steps, max_steps)
