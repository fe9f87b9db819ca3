"""What happens to a head before training: "auto" becomes ranks, and --head-from a start.

Letters: B images, C channels, H rows, W columns, K classes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from tdtool import log
from tdtool.config import NetConfig, TrainConfig
from tdtool.errors import InputError
from tdtool.nn.head_candidates import candidates
from tdtool.nn.head_from import Layers, head_from_fc, linear_layers
from tdtool.nn.head_spec import parse_head
from tdtool.nn.model_names import is_small
from tdtool.nn.models import build
from tdtool.nn.net import Net
from tdtool.train.agenda import agreed_signal
from tdtool.train.augment import to_input
from tdtool.train.batches import Batches
from tdtool.train.head_choice import Examples, HeadChoice, choose_head
from tdtool.train.interruption import Interruption, error_of
from tdtool.train.optimisers import base_learning_rate, make_optimiser
from tdtool.train.parts import divide, held_out
from tdtool.train.precision import autocast, compute_dtype
from tdtool.train.run_data import images_of_run
from tdtool.train.run_folder import RunSettings, write_settings
from tdtool.train.schedules import learning_rate
from tdtool.train.stored_net import net_of_run
from tdtool.train.world import World

if TYPE_CHECKING:
    from tdtool.data.image_store import ImageSet

#: The fc head that is decomposed is trained for one epoch, and no more steps than these, where there is no trained one.
WARM_UP = 300
#: Share of the training images that decides; features of no more images, nor more bytes, are kept of either part.
_HELD, _MOST_IMAGES, _MOST_BYTES = 0.2, 4096, 512 << 20
_SPLIT = 0x41555448  # held-out images of the choice are others than those of scoring
#: Images that go through the net at a time where nothing is learned.
_AT_ONCE = 64


@dataclasses.dataclass(frozen=True)
class Trainer:
    """What these functions work with. indices : the training images, (n,) int64, of which a part is held out here;
    check : called every few steps, may raise (a signal has arrived)."""

    config: TrainConfig
    images: ImageSet
    indices: NDArray[np.int64]
    device: torch.device
    dtype: torch.dtype
    threads: int = 1
    check: Callable[[], object] = lambda: None


def trainer_of(run: Path, settings: RunSettings, world: World) -> Trainer:
    """For the training images of a run, on this process's device."""
    config, images = settings.config, images_of_run(run, settings)
    train = divide(images, holdout=config.holdout, seed=config.seed).train
    dtype = compute_dtype(config.device.precision, world.device)
    return Trainer(config, images, train, world.device, dtype, world.threads)


def settle(
    run: Path, settings: RunSettings, world: World, interruption: Interruption
) -> tuple[RunSettings, HeadChoice | None]:
    """The settings of a run with ranks in place of "auto", and how they were chosen; None: there was nothing to choose.

    Rank 0 chooses, and writes them to RUN/config.json, so that a run that goes on has the same head. All call it.
    """
    choice = None
    with _alone(world, interruption) as check:
        if world.main and parse_head(settings.config.net.head).kind == "auto":
            head_from = None if settings.head_from is None else Path(settings.head_from)
            trainer = dataclasses.replace(trainer_of(run, settings, world), check=check)
            choice = settled_head(trainer, head_from=head_from, classes=settings.classes)
            settings = _with_head(settings, choice.head)
            write_settings(run, settings)
            best = choice.trials[1]
            log.note(
                f"head {best.head}: {best.share:.1%} of the fc head's parameters, chosen of {len(choice.trials) - 1}"
            )
    return _with_head(settings, world.told(settings.config.net.head)), choice


def settled_head(trainer: Trainer, *, head_from: Path | None, classes: tuple[str, ...]) -> HeadChoice:
    """Which head "auto:SHARE" of trainer.config stands for.

    head_from : a run with a trained fc head of the same net and classes; without one, the net is trained with its own
    head for a moment (WARM_UP). UsageError: no tensor head is so small; InputError: another net, other classes.
    """
    config = dataclasses.replace(trainer.config, net=dataclasses.replace(trainer.config.net, head="fc"))
    held = held_out(trainer.indices, share=_HELD, seed=config.seed ^ _SPLIT)
    fit, kept = trainer.indices[~held], trainer.indices[held]
    if not len(fit) or not len(kept):
        hint = "give the ranks, such as --head trl:48,3,3"
        raise InputError(f"{len(trainer.indices)} training images are too few to choose a head by", hint=hint)
    share = parse_head(trainer.config.net.head).share or 0.0
    own = build(config.net, device="meta")
    specs = candidates(share, own.feature_shape, config.net.n_classes, own.hidden)
    if head_from is not None:
        net, layers = trained_net(head_from, trainer.config, classes)
        net = net.to(trainer.device, memory_format=torch.channels_last)
    else:
        log.note(f"the head is chosen: {config.net.model} is trained with its own head for a moment first")
        net = _warmed_up(dataclasses.replace(trainer, config=config, indices=fit))
        layers = linear_layers(net.head_modules(), net.feature_shape)
    dropout = next((module.p for module in net.modules() if isinstance(module, nn.Dropout)), 0.0)
    return choose_head(
        specs,
        [(weight.to(trainer.device), bias.to(trainer.device)) for weight, bias in layers],
        features(net, dataclasses.replace(trainer, indices=fit)),
        features(net, dataclasses.replace(trainer, indices=kept)),
        hidden=own.hidden,
        dropout=dropout,
        seed=config.seed,
        check=trainer.check,
    )


def start_from_run(
    net: Net, head_from: Path, trainer: Trainer, classes: tuple[str, ...], world: World, interruption: Interruption
) -> None:
    """Fill a net with a tensor head from a run with a trained fc head: features as they are there, head decomposed.

    All processes call it and end with equal weights. InputError: another net, other classes, no fc head.
    """
    trained, layers = trained_net(head_from, trainer.config, classes)
    heads = tuple(f"{name}." for name, module in trained.named_children() if module in trained.head_modules())
    body = {name: tensor for name, tensor in trained.state_dict().items() if not name.startswith(heads)}
    net.load_state_dict(body, strict=False)
    with _alone(world, interruption) as check:
        if world.main:
            trained = trained.to(trainer.device, memory_format=torch.channels_last)
            examples = features(trained, dataclasses.replace(trainer, check=check))
            head_from_fc(net.get_submodule("head"), layers, features_BCHW=examples.a_BCHW)
    if world.world_size > 1:
        for parameter in net.get_submodule("head").parameters():
            dist.broadcast(parameter.data, src=0)


def trained_net(run: Path, config: TrainConfig, classes: tuple[str, ...]) -> tuple[Net, Layers]:
    """The net of a run, and its fully connected layers; InputError unless it is the net of `config` with a fc head."""
    net, card = net_of_run(run)
    for name, ours, theirs in (
        ("model", config.net.model, card.net.model),
        ("width", config.net.width, card.net.width),
        ("map of features", build(_with_own_head(config), device="meta").feature_shape, net.feature_shape),
    ):
        if ours != theirs:
            raise InputError(f"--head-from: {name} of that run is {_words(theirs)}, not {_words(ours)}", path=run)
    if tuple(card.classes) != tuple(classes):
        hint = "its head tells other classes apart; choose a run on the same classes"
        raise InputError(f"--head-from: that run has {len(card.classes)} other classes", path=run, hint=hint)
    if parse_head(card.net.head).kind not in ("fc", "gap"):
        hint = "train one with --head fc"
        raise InputError(f"--head-from: the head of that run is {card.net.head}, not fc", path=run, hint=hint)
    return net, linear_layers(net.head_modules(), net.feature_shape)


def features(net: Net, trainer: Trainer) -> Examples:
    """Activations in front of the head, of a share of the images that fits memory; drawn evenly, unvaried."""
    size = 4 * math.prod(net.feature_shape)
    n = max(1, min(len(trainer.indices), _MOST_IMAGES, _MOST_BYTES // size))
    chosen = trainer.indices[np.linspace(0, len(trainer.indices) - 1, n).round().astype(np.int64)]
    config = dataclasses.replace(trainer.config, batch=_AT_ONCE, accumulate=1)
    batches = Batches(trainer.images, chosen, config, training=False, threads=trainer.threads, max_bad=config.max_bad)
    net.eval()
    a_parts: list[Tensor] = []
    y_parts: list[Tensor] = []
    with torch.no_grad():
        for (batch,) in batches.epoch():
            trainer.check()
            x_BCHW = to_input(batch.x_BHWC, torch.float32, trainer.device)
            with autocast(trainer.device, trainer.dtype):
                a_parts.append(net.forward_features(x_BCHW).float())
            y_parts.append(batch.y_B.to(trainer.device))
    return Examples(torch.cat(a_parts), torch.cat(y_parts))


@contextlib.contextmanager
def _alone(world: World, interruption: Interruption) -> Iterator[Callable[[], object]]:
    """Inside, rank 0 works alone, for as long as it takes, and calls what it is given now and then; the others stay in
    touch. A signal that any of them has ends the work of all: it is raised."""

    def working(still: bool) -> bool:
        if still := world.any_of(still):
            number = agreed_signal(world, interruption)
            if number:
                raise error_of(number)
        return still

    if world.main:
        yield lambda: working(True)
        working(False)
    else:
        while working(False):
            pass
        yield lambda: None


def _warmed_up(trainer: Trainer) -> Net:
    """The net with its own head, after a short training on trainer.indices."""
    batch = min(trainer.config.batch // trainer.config.accumulate, len(trainer.indices))
    plain = dataclasses.replace(trainer.config.augment, mixup=0.0)
    config = dataclasses.replace(trainer.config, batch=max(1, batch), accumulate=1, augment=plain)
    batches = Batches(
        trainer.images, trainer.indices, config, training=True, threads=trainer.threads, max_bad=config.max_bad
    )
    net = build(config.net, seed=config.seed).to(trainer.device, memory_format=torch.channels_last)
    optimiser = make_optimiser(net, config.optimiser, batch=config.batch, small_images=is_small(config.net.image_size))
    steps = min(WARM_UP, batches.steps_per_epoch)
    base = base_learning_rate(config.optimiser, config.batch)
    scaler = torch.amp.GradScaler(trainer.device.type, enabled=trainer.dtype == torch.float16)
    with log.task("training the fc head", total=steps) as bar, torch.random.fork_rng(_cuda(trainer.device)):
        torch.manual_seed(config.seed)
        for step, (part,) in zip(range(steps), batches.epoch(), strict=False):
            trainer.check()
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(
                    step, base=base, total_steps=steps, warmup_steps=steps // 5, schedule="cosine"
                )
            x_BCHW = to_input(part.x_BHWC, torch.float32, trainer.device)
            with autocast(trainer.device, trainer.dtype):
                loss = nn.functional.cross_entropy(net(x_BCHW), part.y_B.to(trainer.device))
            optimiser.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimiser)
            scaler.update()
            bar.advance()
    return net


def _with_head(settings: RunSettings, head: str) -> RunSettings:
    net = dataclasses.replace(settings.config.net, head=head)
    return dataclasses.replace(settings, config=dataclasses.replace(settings.config, net=net))


def _with_own_head(config: TrainConfig) -> NetConfig:
    return dataclasses.replace(config.net, head="fc")


def _words(value: object) -> str:
    return " x ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _cuda(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []
