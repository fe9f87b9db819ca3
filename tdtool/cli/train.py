"""tdtool train"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tdtool.cli import options
from tdtool.cli.options import Command
from tdtool.cli.output import say, say_json
from tdtool.cli.train_options import train_options

if TYPE_CHECKING:
    from tdtool.run.train_request import TrainRequest


@click.command(
    cls=Command,
    examples=(
        ("tdtool train resnet18 --data photos/", "a folder of images for each class; on a GPU where there is one"),
        ("tdtool train vgg16 --data photos.images.h5 --head trl:48,3,3", "a tensor regression layer as the head"),
        ("tdtool train resnet --gpus 4 --batch 512 -o RUN", "four GPUs; the same command goes on when it was stopped"),
        ("tdtool train vgg16 --head tcl:384,5,5,fc=3072 --dry-run", "what it would take, and what the head saves"),
        (
            "tdtool train vgg16 --data photos/ --sweep head=fc,tcl:64,3,3,trl:48,3,3",
            "accuracy against parameters saved, drawn",
        ),
        ("tdtool train resnet18 --data photos/ --device cpu --gpus 2 --json", "two processes; for a program"),
    ),
)
@click.argument("model", metavar="MODEL")
@train_options
@options.common
def train(
    request: TrainRequest, output: Path | None, sweep: str | None, dry_run: bool, as_json: bool, **_: Any
) -> None:
    """Train a net on images.

    MODEL is resnet18, resnet34, resnet50 (or resnet), resnet101, resnet152, vgg11, vgg16, vgg19 (each also with _bn),
    or alexnet. A run is a directory: it survives any interruption, and the same command with -o RUN goes on with it.
    """
    from tdtool.report import training as report

    if dry_run:
        _plan(request, as_json)
        return
    if sweep is not None:
        _sweep(request, output, sweep, as_json)
        return
    from tdtool.run.train import train as run_train
    from tdtool.run.train_request import speaks

    result = run_train(request, output)
    if not speaks():
        return
    if as_json:
        say_json(result.as_dict())
        return
    report.print_result(result.as_dict())
    say(str(result.path))


def _plan(request: TrainRequest, as_json: bool) -> None:
    from tdtool.report import training as report
    from tdtool.run.train import plan_training

    plan = plan_training(request).as_dict()
    if as_json:
        say_json(plan)
    else:
        report.print_plan(plan)


def _sweep(request: TrainRequest, output: Path | None, sweep: str, as_json: bool) -> None:
    from tdtool.report import training as report
    from tdtool.run.train_sweep import train_heads

    result = train_heads(request, sweep.partition("=")[2], output)
    if as_json:
        say_json(result.as_dict())
        return
    report.print_sweep(result.as_dict())
    say(str(result.path))
