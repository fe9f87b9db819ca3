"""What somebody asks of `tdtool train`, before the data has filled in the rest."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

from tdtool.config import TrainConfig, as_json
from tdtool.train.run_folder import SYNTHETIC


@dataclasses.dataclass(frozen=True)
class TrainRequest:
    """Settings, and what is to be found out.

    config : as asked; its classes, image size and batch hold only where the three below say so. data : a store, a
    source of images or "synthetic"; None: the run's own, else ./data. batch, n_classes, image_size : None: by what
    fits memory, by the data. weights : a file of trained weights; head_from : a run whose head the new one starts
    from. resume : go on with a run that exists; force : start it anew.
    """

    config: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    data: str | None = None
    batch: int | None = 128
    n_classes: int | None = None
    image_size: int | None = None
    weights: str | None = None
    head_from: str | None = None
    resume: bool = True
    force: bool = False

    def asked(self) -> dict[str, Any]:
        """What tells this run from others, as plain JSON values: a run that goes on has to be asked for the same."""
        return {
            "config": as_json(self.config),
            "data": None if self.data is None else asked_data(self.data),
            "batch": self.batch,
            "weights": _absolute(self.weights),
            "head_from": _absolute(self.head_from),
        }

    def with_head(self, head: str) -> TrainRequest:
        """The same with another head."""
        net = dataclasses.replace(self.config.net, head=head)
        return dataclasses.replace(self, config=dataclasses.replace(self.config, net=net))


def placed(request: TrainRequest) -> TrainRequest:
    """The request, with the processes that torchrun has started where it has started this one."""
    if not under_torchrun():
        return request
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    device = dataclasses.replace(
        request.config.device,
        gpus=local,
        nodes=max(1, int(os.environ["WORLD_SIZE"]) // local),
        rendezvous=f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}",
    )
    return dataclasses.replace(request, config=dataclasses.replace(request.config, device=device))


def world_size(request: TrainRequest) -> int:
    """Processes that train together."""
    return request.config.device.gpus * request.config.device.nodes


def under_torchrun() -> bool:
    """Whether torchrun started this process as one of several."""
    return all(name in os.environ for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"))


def speaks() -> bool:
    """Whether this process tells the user what happens: one of those that torchrun has started does."""
    return not under_torchrun() or os.environ["RANK"] == "0"


def shares_its_run(request: TrainRequest) -> bool:
    """Whether other processes that nobody here started train the same run."""
    return under_torchrun() or request.config.device.nodes > 1


def asked_data(data: str) -> str:
    """What --data says, wherever it is said."""
    return data if data == SYNTHETIC else str(Path(data).resolve())


def _absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).resolve())
