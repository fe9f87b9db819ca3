"""All that a run consists of, into a checkpoint and out of one, on however many processes."""

from __future__ import annotations

from pathlib import Path

import torch

from tdtool.config import TrainConfig, as_json
from tdtool.errors import InputError
from tdtool.train import checkpoint as checkpoints
from tdtool.train import strategy
from tdtool.train.checkpoint import Checkpoint
from tdtool.train.losses import Losses
from tdtool.train.run_folder import CHECKPOINTS
from tdtool.train.step import Updater
from tdtool.train.world import World


class Keeper:
    """Saves and restores a run. saved_step : of the last checkpoint that is on disk, -1: none."""

    def __init__(self, run: Path, config: TrainConfig, updater: Updater, losses: Losses, world: World) -> None:
        self._run, self._config, self._world = Path(run), config, world
        self._updater, self._losses = updater, losses
        self.saved_step = -1

    def save(self, step: int) -> bool:
        """Write a checkpoint, unless there is one of this step; all processes call it.

        Returns False, and writes nothing, when a weight is no number. ResourceError: the disk is full.
        """
        if step == self.saved_step:
            return True
        model, optimiser = strategy.full_state(self._updater.model, self._updater.optimiser)
        average = None if self._updater.average is None else self._updater.average.state()
        if self._world.any_of(self._world.main and not all(map(_is_finite, model.values()))):
            return False
        if self._world.main:
            state = {
                "losses": self._losses.state(),
                "updater": self._updater.state(),
                "net": as_json(self._config.net),
                "world_size": self._world.world_size,
            }
            checkpoints.save(self._run, Checkpoint(step, model, optimiser, average, state))
        self.saved_step = step
        return True

    def restore(self) -> int:
        """Put back the newest checkpoint; returns its step, 0 when there is none. All processes call it.

        InputError: none is whole, they are of another net, or the processes do not see the same ones.
        """
        found = checkpoints.load(self._run)
        step = 0 if found is None else found.step
        self._check_all_see(step)
        if found is not None:
            self._put_back(found)
            self.saved_step = step
        return step

    def _put_back(self, found: Checkpoint) -> None:
        where = self._run / CHECKPOINTS / f"step-{found.step:08d}"
        updater = self._updater
        checkpoints.check_fits(found.model, strategy.plain(updater.model).state_dict(), where)
        if updater.average is not None and found.average is None:
            raise InputError("holds no averaged weights, and the run averages them", path=where)
        try:
            strategy.load_full_state(updater.model, updater.optimiser, found.model, found.optimiser)
            if updater.average is not None and found.average is not None:
                updater.average.load_state(found.average)
            updater.load_state(found.state["updater"])
            self._losses.load_state(found.state["losses"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"does not belong to this run: {error}", path=where) from error

    def _check_all_see(self, step: int) -> None:
        total = int(self._world.summed(torch.tensor(step)))
        if self._world.any_of(total != step * self._world.world_size):
            hint = "with several nodes the directory of the run has to be on a file system that all of them see"
            raise InputError("the processes see different checkpoints", path=self._run / CHECKPOINTS, hint=hint)


def _is_finite(tensor: torch.Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())
