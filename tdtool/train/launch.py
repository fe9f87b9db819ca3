"""Several processes on this machine, started and watched by torch's elastic agent."""

from __future__ import annotations

from pathlib import Path

from tdtool.config import DeviceConfig


def launch(run: Path, config: DeviceConfig, *, verbosity: int = 0, module: str = "tdtool.train.worker") -> int:
    """Train the run in the folder `run` in config.gpus processes `python -m module RUN`; returns 0 when all is done.

    Raises what a process raised of our own errors, ClusterError that names the one that died otherwise, TerminatedError
    or KeyboardInterrupt when signalled, after the processes have saved.
    """
    raise NotImplementedError
