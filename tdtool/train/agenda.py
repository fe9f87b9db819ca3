"""When training pauses to record, to save and to end: at the same steps in all processes."""

from __future__ import annotations

import dataclasses
import time

import torch

from tdtool.train.interruption import WATCHED, Interruption
from tdtool.train.world import World

RECORD_STEPS, RECORD_SECONDS = 50, 10.0
_BETWEEN_TALKS = 1.0  # seconds: processes talk about what to do next about so often


@dataclasses.dataclass(frozen=True)
class Duty:
    """What is to be done after a step. signal : that has arrived in any process, 0: none."""

    record: bool = False
    save: bool = False
    signal: int = 0


class Agenda:
    """Asked after every step. Alone, it only looks at the clock; several processes talk about once a second."""

    def __init__(self, world: World, interruption: Interruption, *, save_seconds: float) -> None:
        self._world, self._interruption, self._save_seconds = world, interruption, save_seconds
        self._recorded = self._saved = self._talked = time.monotonic()
        self._steps = self._steps_talked = 0
        self._interval = 1

    def after_step(self) -> Duty:
        """What to do now, the same in all processes."""
        self._steps += 1
        if self._world.world_size == 1:
            return self._own()
        self._steps_talked += 1
        if self._steps_talked < self._interval:
            return Duty()
        return self._agreed(self._own())

    def recorded(self) -> None:
        """The steps so far are in the journal."""
        self._recorded, self._steps = time.monotonic(), 0

    def saved(self) -> None:
        """There is a checkpoint of this step."""
        self._saved = time.monotonic()

    def _own(self) -> Duty:
        now, signal = time.monotonic(), self._interruption.number
        save = bool(signal) or now - self._saved >= self._save_seconds
        due = self._steps >= RECORD_STEPS or now - self._recorded >= RECORD_SECONDS
        return Duty(record=save or due, save=save, signal=signal)

    def _agreed(self, own: Duty) -> Duty:
        """Rank 0 decides what is done and when they talk again; a signal in any process counts for all."""
        seconds = max(time.monotonic() - self._talked, 1e-9)
        wanted = int(_BETWEEN_TALKS * self._steps_talked / seconds)
        interval = max(1, min(wanted, 2 * self._interval))
        mine = [own.record, own.save, interval] if self._world.main else [0, 0, 0]
        record, save, self._interval = map(int, self._world.summed(torch.tensor(mine, dtype=torch.int64)).tolist())
        self._talked, self._steps_talked = time.monotonic(), 0
        signal = agreed_signal(self._world, self._interruption)
        return Duty(record=bool(record or signal), save=bool(save or signal), signal=signal)


def agreed_signal(world: World, interruption: Interruption) -> int:
    """The signal that has arrived in any process, the same in all of them; 0: none. All processes call it."""
    if world.world_size == 1:
        return interruption.number
    arrived = torch.tensor([int(interruption.number == number) for number in WATCHED])
    return next((int(number) for number, n in zip(WATCHED, world.summed(arrived).tolist(), strict=True) if n), 0)
