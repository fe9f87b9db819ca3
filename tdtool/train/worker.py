"""One process of a training run: `python -m tdtool.train.worker RUN`, or `work(RUN)` where there is only one."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

from tdtool import log
from tdtool.config import TrainConfig
from tdtool.errors import TdtoolError
from tdtool.nn.model_names import is_small
from tdtool.nn.models import build
from tdtool.nn.net import Net
from tdtool.nn.recompute import recompute
from tdtool.nn.state_dicts import load_weights
from tdtool.train import checkpoint, strategy
from tdtool.train.averaging import Average
from tdtool.train.batches import Batches
from tdtool.train.head_start import settle, start_from_run, trainer_of
from tdtool.train.interruption import Interruption, error_of
from tdtool.train.loop import Loop
from tdtool.train.memory import free_on_gpu, oom_answered
from tdtool.train.optimisers import make_optimiser
from tdtool.train.outcome import Outcome, outcome_of
from tdtool.train.parts import divide
from tdtool.train.precision import compute_dtype
from tdtool.train.records import Records
from tdtool.train.run_data import images_of_run
from tdtool.train.run_folder import RunSettings, read_settings
from tdtool.train.step import Updater
from tdtool.train.world import World, open_world


def work(run: Path) -> Outcome:
    """Train the run in the directory `run`, from its newest checkpoint, to its end.

    After SIGTERM, SIGINT or SIGUSR1 everything is saved, and TerminatedError or KeyboardInterrupt is raised. Other
    errors: InputError for data or checkpoints that do not belong to the run, ResourceError for a full disk or memory,
    TdtoolError when the loss is no number any more.
    """
    run = Path(run)
    settings = read_settings(run)
    ended = outcome_of(run)
    if ended is not None and ended.finished:
        return ended
    with open_world(settings.config.device) as world, _own_randomness(world.device):
        with Interruption() as interruption:
            settings, choice = settle(run, settings, world, interruption)
            with Records(run, settings, world) as records:
                if choice is not None:
                    records.head(choice.head, choice.table())
                loop = _prepared(run, settings, world, records, interruption)
                with _answered(settings.config, world.device):
                    loop.restore()
                    outcome = loop.go()
        if loop.signal:
            raise error_of(loop.signal)
    return outcome


def main(arguments: Sequence[str]) -> int:
    """The process of one rank; returns its exit code."""
    try:
        work(Path(arguments[0]))
    except TdtoolError as error:
        sys.stderr.write(f"Error: {error}\n")
        return error.exit_code
    return 0


def _prepared(run: Path, settings: RunSettings, world: World, records: Records, interruption: Interruption) -> Loop:
    """Everything that is trained, on its device, as it is before the first step."""
    config, images = settings.config, images_of_run(run, settings)
    parts = divide(images, holdout=config.holdout, seed=config.seed)
    shares: dict[str, Any] = {"rank_id": world.rank_id, "world_size": world.world_size}
    shares |= {"threads": world.threads, "max_bad": config.max_bad}
    batches = Batches(images, parts.train, config, training=True, **shares)
    scored = Batches(images, parts.scored, config, training=False, **shares) if len(parts.scored) else None
    dtype = compute_dtype(config.device.precision, world.device)
    net = build(config.net, seed=config.seed)
    if not checkpoint.folders(run):
        _start(net, run, settings, world, interruption)
    updater = _updater(net, config, world, dtype)
    return Loop(
        run, config, updater, batches, scored, world=world, dtype=dtype, records=records, interruption=interruption
    )


def _updater(net: Net, config: TrainConfig, world: World, dtype: torch.dtype) -> Updater:
    """What updates the net, on its device, by all processes."""
    net = net.to(world.device, memory_format=torch.channels_last)
    recompute(net, config.device.recompute)
    model = strategy.distribute(net, config.device, world)
    if config.device.compile:
        model.compile()
    optimiser = make_optimiser(
        model, config.optimiser, batch=config.batch, small_images=is_small(config.net.image_size)
    )
    average = Average(model, config.optimiser.ema) if config.optimiser.ema else None
    return Updater(
        model,
        optimiser,
        config.optimiser,
        device=world.device,
        dtype=dtype,
        seed=config.seed,
        rank_id=world.rank_id,
        average=average,
    )


def _start(net: Net, run: Path, settings: RunSettings, world: World, interruption: Interruption) -> None:
    """Weights that somebody has trained, in place of those that were drawn, where the run was started with some."""
    if settings.weights is not None:
        left_out = load_weights(net, Path(settings.weights))
        if left_out and world.main:
            log.note(f"{settings.weights}: {', '.join(left_out)} not taken, being of another head or other classes")
    if settings.head_from is not None:
        trainer = trainer_of(run, settings, world)
        start_from_run(net, Path(settings.head_from), trainer, settings.classes, world, interruption)


def _answered(config: TrainConfig, device: torch.device) -> AbstractContextManager[None]:
    """Who is out of memory is told which batch fits. On the CPU the system's own answer mostly comes first: SIGKILL."""
    if device.type == "cuda":
        return oom_answered(config, free_on_gpu(), device.type)
    pages = next(name for name in ("SC_AVPHYS_PAGES", "SC_PHYS_PAGES") if name in os.sysconf_names)
    return oom_answered(config, os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE"), device.type)


def _own_randomness(device: torch.device) -> torch.random.fork_rng:
    """The caller's random state is as before after the block."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
