"""The options of `tdtool train`, and what they make: a request."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import click

from tdtool.cli import options
from tdtool.cli.options import FILE, Function, NumberOrAuto, combined, option
from tdtool.config import AugmentConfig, DeviceConfig, NetConfig, OptimiserConfig, TrainConfig
from tdtool.errors import UsageError

if TYPE_CHECKING:
    from tdtool.run.train_request import TrainRequest

_NET, _AUGMENT, _OPTIMISER, _DEVICE, _TRAIN = (
    NetConfig(),
    AugmentConfig(),
    OptimiserConfig(),
    DeviceConfig(),
    TrainConfig(),
)
_SHARE = click.FloatRange(0, 1, max_open=True)


class Heads(click.ParamType):
    """head=LIST: the heads of a sweep, one after the other."""

    name = "head=LIST"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """LIST as it was typed."""
        name, equals, heads = str(value).partition("=")
        if not equals or name.strip() != "head" or not heads.strip():
            self.fail(f"{value!r} is no sweep; write head=fc,tcl:64,3,3,trl:48,3,3.", param, ctx)
        return f"head={heads.strip()}"


_net_options = combined(
    option(
        "--head",
        section="Net",
        metavar="HEAD",
        default=_NET.head,
        help="What maps the last activation to the classes: fc (the model's own), gap, tcl:C,H,W[,fc=WIDTH] (ranks of "
        "channels, rows, columns; - leaves one alone), trl:C,H,W[,OUT], cp:RANK, or auto:SHARE of fc's parameters.",
    ),
    option(
        "--head-from",
        section="Net",
        type=FILE,
        metavar="RUN",
        help="Start the head from the trained fc head of another run, decomposed.",
    ),
    option(
        "--weights",
        section="Net",
        type=FILE,
        metavar="FILE",
        help="Start from trained weights, named as torchvision's.",
    ),
    option(
        "--width",
        section="Net",
        type=click.IntRange(1, 4096),
        metavar="N",
        default=_NET.width,
        help="Channels of the first stage; the others grow with it.",
    ),
    option(
        "--dropout", section="Net", type=_SHARE, metavar="F", help="Dropout in the head. [default: as the model has it]"
    ),
    option(
        "--image-size",
        section="Net",
        type=click.IntRange(8, 4096),
        metavar="N",
        help="Rows and columns that the net sees. [default: those of the images, at most 224]",
    ),
    option(
        "--classes",
        "n_classes",
        section="Net",
        type=click.IntRange(2),
        metavar="N",
        help="Classes, where no data says how many: --dry-run, --data synthetic. [default: 1000]",
    ),
)
_training_options = combined(
    option(
        "--data",
        section="Training",
        metavar="DATA",
        help="A store of images, a folder or archive of them, or synthetic. [default: ./data]",
    ),
    option(
        "--epochs",
        section="Training",
        type=click.IntRange(1),
        metavar="N",
        default=_TRAIN.epochs,
        help="Passes over the images.",
    ),
    option("--max-steps", section="Training", type=click.IntRange(1), metavar="N", help="End after N updates."),
    option(
        "--batch",
        section="Training",
        type=NumberOrAuto(1),
        metavar="N|auto",
        default=str(_TRAIN.batch),
        help="Images of an update, over all processes; auto: as many as memory allows.",
    ),
    option(
        "--accumulate",
        section="Training",
        type=click.IntRange(1),
        metavar="N",
        default=_TRAIN.accumulate,
        help="Parts of a batch that a process takes one after the other, which saves memory.",
    ),
    option(
        "--optimiser",
        section="Training",
        type=click.Choice(["sgd", "adamw", "lars"]),
        default=_OPTIMISER.name,
        help="How weights are updated.",
    ),
    option(
        "--lr",
        section="Training",
        type=click.FloatRange(0, min_open=True),
        metavar="F",
        help="Learning rate. [default: the optimiser's usual one, in proportion to the batch]",
    ),
    option(
        "--momentum", section="Training", type=_SHARE, metavar="F", default=_OPTIMISER.momentum, help="Of sgd and lars."
    ),
    option(
        "--weight-decay",
        section="Training",
        type=click.FloatRange(0),
        metavar="F",
        help="Of all weights but biases and norms. [default: 5e-4 for small images, 1e-4 for others, 0.05 for adamw]",
    ),
    option(
        "--schedule",
        section="Training",
        type=click.Choice(["cosine", "step", "constant"]),
        default=_OPTIMISER.schedule,
        help="How the learning rate goes down.",
    ),
    option(
        "--warmup",
        section="Training",
        type=click.FloatRange(0),
        metavar="F",
        help="Epochs in which it goes up first. [default: a twentieth of all, at most 5]",
    ),
    option(
        "--label-smoothing",
        section="Training",
        type=_SHARE,
        metavar="F",
        default=_OPTIMISER.label_smoothing,
        help="Share of a label that is spread over all classes.",
    ),
    option(
        "--clip",
        section="Training",
        type=click.FloatRange(0, min_open=True),
        metavar="F",
        help="Largest norm of a gradient. [default: any]",
    ),
    option(
        "--ema",
        section="Training",
        type=_SHARE,
        metavar="F",
        default=_OPTIMISER.ema,
        help="Decay of averaged weights, such as 0.999, which are then scored and exported; 0: none.",
    ),
    option(
        "--no-crop", section="Training", is_flag=True, help="Do not shift small images or cut parts from large ones."
    ),
    option("--no-flip", section="Training", is_flag=True, help="Do not mirror images."),
    option(
        "--colour",
        section="Training",
        type=click.FloatRange(0, 1),
        metavar="F",
        default=_AUGMENT.colour,
        help="How much brightness, contrast and saturation vary.",
    ),
    option(
        "--mixup",
        section="Training",
        type=click.FloatRange(0),
        metavar="F",
        default=_AUGMENT.mixup,
        help="Mix pairs of images, with shares from Beta(F, F); 0: do not.",
    ),
    option(
        "--holdout",
        section="Training",
        type=_SHARE,
        metavar="F",
        default=_TRAIN.holdout,
        help="Share of the training images that is scored instead, where the data has no validation or test part.",
    ),
    option(
        "--max-bad",
        section="Training",
        type=click.FloatRange(0),
        metavar="F",
        default=_TRAIN.max_bad,
        help="Images that may be unreadable; below 1 a share of all, else how many.",
    ),
)
_device_options = combined(
    option(
        "--device",
        section="Device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default=_DEVICE.device,
        help="What to train on; auto takes a GPU where there is one.",
    ),
    option(
        "--gpus",
        section="Device",
        type=int,
        metavar="N",
        default=_DEVICE.gpus,
        help="Processes on this machine, one a GPU; with --device cpu they share the cores.",
    ),
    option(
        "--nodes",
        section="Device",
        type=click.IntRange(1),
        metavar="N",
        default=_DEVICE.nodes,
        help="Machines; the same command is started on each of them.",
    ),
    option("--rdzv", section="Device", metavar="HOST:PORT", help="Where machines meet: the address of one of them."),
    option(
        "--strategy",
        section="Device",
        type=click.Choice(["ddp", "fsdp"]),
        default=_DEVICE.strategy,
        help="Each process holds the whole net (ddp), or a part of it (fsdp).",
    ),
    option(
        "--compress",
        section="Device",
        type=click.Choice(["none", "fp16", "bf16", "powersgd"]),
        default=_DEVICE.compress,
        help="How gradients travel between processes.",
    ),
    option(
        "--precision",
        section="Device",
        type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
        default=_DEVICE.precision,
        help="Numbers to compute in; auto takes bf16 where the device is fast in it.",
    ),
    option("--compile", section="Device", is_flag=True, help="Compile the net first, which takes minutes."),
    option(
        "--recompute",
        section="Device",
        type=click.Choice(["none", "sqrt", "block", "recursive", "auto"]),
        default=_DEVICE.recompute,
        help="Activations that are computed again instead of kept, to save memory.",
    ),
    option(
        "--max-restarts",
        section="Device",
        type=click.IntRange(0),
        metavar="N",
        default=_DEVICE.max_restarts,
        help="How often all processes start again, from the last checkpoint, when one dies.",
    ),
)
_output_options = combined(
    option(
        "-o",
        "--output",
        section="Output",
        type=FILE,
        metavar="RUN",
        help="Directory of the run; a run that is there goes on. [default: MODEL-DATA.train]",
    ),
    option(
        "--resume/--no-resume",
        section="Output",
        default=True,
        show_default=False,
        help="Go on with a run that exists, or refuse to. [default: resume]",
    ),
    option(
        "--save-every",
        section="Output",
        type=click.FloatRange(0, min_open=True),
        metavar="F",
        default=_TRAIN.save_every,
        help="Minutes between checkpoints; each epoch ends with one, too.",
    ),
    option(
        "--log",
        "track",
        section="Output",
        type=click.Choice(["none", "tensorboard", "wandb"]),
        default=_TRAIN.track,
        help="Who else is told how the training goes.",
    ),
    option(
        "--sweep",
        section="Output",
        type=Heads(),
        metavar="head=LIST",
        help="Train with each of several heads, head=fc,tcl:64,3,3,trl:48,3,3, and draw accuracy against parameters "
        "saved.",
    ),
    option("--dry-run", section="Output", is_flag=True, help="Say what a run would take, and stop."),
    options.as_json,
    option("--force", section="Output", is_flag=True, help="Start a run that exists anew."),
)


def train_options(function: Function) -> Function:
    """The options of TrainRequest; the command gets `request`, and the rest by name."""

    @_net_options
    @_training_options
    @_device_options
    @_output_options
    @options.seed
    @options.workers
    @functools.wraps(function)
    def wrapper(*args: Any, **values: Any) -> Any:
        request = _request(values)
        return function(*args, request=request, **values)

    return wrapper


def _request(values: dict[str, Any]) -> TrainRequest:
    """What is asked for; takes what it needs out of `values`."""
    from tdtool.run.train_request import TrainRequest

    config = _config(values)
    batch, weights, head_from = (values.pop(name) for name in ("batch", "weights", "head_from"))
    return TrainRequest(
        config=config,
        batch=None if batch == "auto" else int(batch),
        weights=None if weights is None else str(weights),
        head_from=None if head_from is None else str(head_from),
        **{name: values.pop(name) for name in ("data", "n_classes", "image_size", "resume", "force")},
    )


def _config(values: dict[str, Any]) -> TrainConfig:
    def taken(*names: str) -> dict[str, Any]:
        return {name: values.pop(name) for name in names}

    batch = values["batch"]
    if values["gpus"] < 1:
        hint = "--device cpu trains without a GPU; --gpus N takes N of them"
        raise UsageError(f"--gpus is {values['gpus']}, which leaves nothing to train on", hint=hint)
    return TrainConfig(
        net=NetConfig(model=values.pop("model"), **taken("width", "head", "dropout")),
        augment=AugmentConfig(not values.pop("no_crop"), not values.pop("no_flip"), **taken("colour", "mixup")),
        optimiser=OptimiserConfig(
            name=values.pop("optimiser"),
            learning_rate=values.pop("lr"),
            **taken("momentum", "weight_decay", "schedule", "warmup", "label_smoothing", "clip", "ema"),
        ),
        device=DeviceConfig(
            rendezvous=values.pop("rdzv"),
            threads=values.pop("workers"),
            **taken("device", "gpus", "nodes", "strategy", "compress", "precision", "compile", "recompute"),
            **taken("max_restarts"),
        ),
        batch=_TRAIN.batch if batch == "auto" else int(batch),
        **taken("epochs", "max_steps", "accumulate", "holdout", "max_bad", "save_every", "track", "seed"),
    )
