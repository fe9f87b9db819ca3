"""The options that put a command on a GPU."""

from __future__ import annotations

import functools
from typing import Any, Literal

import click
from click.core import ParameterSource

from tdtool.cli.options import Function, Size, combined, option
from tdtool.config import ComputeConfig
from tdtool.errors import UsageError

_DEFAULT = ComputeConfig()
_options = combined(
    option(
        "--device",
        section="Device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default=_DEFAULT.device,
        help="What does the work; auto takes a GPU where there is one that can be used.",
    ),
    option(
        "--gpu-memory",
        section="Device",
        type=Size(),
        help="Most that arrays on the GPU may take; beyond it data are streamed. [default: what is free]",
    ),
    option(
        "--tf32",
        section="Device",
        is_flag=True,
        help="Let products of float32 on the GPU round to ten bits: faster, less exact.",
    ),
)


def device_options(function: Function) -> Function:
    """The options of ComputeConfig; the command gets `compute`. Below `spark_options`: executors have no GPU."""

    @_options
    @functools.wraps(function)
    def wrapper(
        *args: Any, device: Literal["auto", "cpu", "cuda"], gpu_memory: int | None, tf32: bool, **values: Any
    ) -> Any:
        on_spark = values.get("spark") is not None
        if on_spark and device == "cuda" and _typed("device"):
            hint = "leave out --master, or leave out --device"
            raise UsageError("--device cuda is for this machine, and --master sends the work to others", hint=hint)
        if on_spark or device == "cpu":
            _refuse_typed("--master" if on_spark else "--device cpu")
            return function(*args, compute=ComputeConfig("cpu"), **values)
        return function(*args, compute=ComputeConfig(device, gpu_memory, tf32), **values)

    return wrapper


def _refuse_typed(reason: str) -> None:
    """What the user typed must have an effect; what the environment or a file sets for all commands need not."""
    for name in ("gpu_memory", "tf32"):
        if _typed(name):
            raise UsageError(f"--{name.replace('_', '-')} is for a GPU, and {reason} uses none", hint="leave it out")


def _typed(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE
