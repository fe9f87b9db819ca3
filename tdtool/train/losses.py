"""Mean training losses: since the last record, and since the epoch began."""

from __future__ import annotations

import math
import time

from tdtool.train.step import Updater
from tdtool.train.world import World


class Losses:
    """Counts updates, and adds up their losses on the device until somebody wants to know."""

    def __init__(self, updater: Updater, world: World) -> None:
        self._updater, self._world = updater, world
        self._steps, self._since = 0, time.perf_counter()
        self._epoch_sum, self._epoch_steps = 0.0, 0
        self.seconds = 0.0  # spent on updates up to the last `take`

    @property
    def steps(self) -> int:
        """Updates since the last `take`."""
        return self._steps

    def count(self) -> None:
        """One more update was done."""
        self._steps += 1

    def take(self) -> tuple[float, float]:
        """Mean loss of the updates since the last time, over all processes, and updates a second. Waits for the device.

        All processes call it, after at least one update.
        """
        total = float(self._world.summed(self._updater.loss_sum.cpu())) / self._world.world_size
        self._updater.loss_sum.zero_()
        seconds = time.perf_counter() - self._since
        mean, rate = total / self._steps, self._steps / max(seconds, 1e-9)
        self._epoch_sum += total
        self._epoch_steps += self._steps
        self.seconds += seconds
        self._steps = 0
        self.restart_clock()
        return mean, rate

    def restart_clock(self) -> None:
        """What was done since the last `take` was no training."""
        self._since = time.perf_counter()

    def end_epoch(self) -> float:
        """Mean loss of the epoch, all of it taken; the next one begins. NaN: it had no steps."""
        mean = self._epoch_sum / self._epoch_steps if self._epoch_steps else math.nan
        self._epoch_sum, self._epoch_steps = 0.0, 0
        return mean

    def state(self) -> dict[str, float]:
        """What has to be kept, as JSON values."""
        return {"sum": self._epoch_sum, "steps": self._epoch_steps}

    def load_state(self, state: dict[str, float]) -> None:
        """Go on from what `state` gave."""
        self._epoch_sum, self._epoch_steps = float(state["sum"]), int(state["steps"])
