"""`tdtool export`: a trained net as one file for other programs."""

from __future__ import annotations

import dataclasses
import itertools
import time
from pathlib import Path
from typing import Any

from tdtool import log
from tdtool.errors import UsageError
from tdtool.store.atomic import check_output, replacing
from tdtool.train.run_folder import read_settings

FORMATS = ("pt2", "onnx", "safetensors")


@dataclasses.dataclass(frozen=True)
class ExportResult:
    """What was written.

    difference : the largest between the logits of the file and those of the net, over the largest logit; checked_with :
    numbers of images that were answered together; step : updates that the weights have seen; averaged : whether they
    are averages; n_bytes : of the file.
    """

    path: Path
    format: str
    net: str
    head: str
    n_classes: int
    image_size: int
    n_parameters: int
    step: int
    averaged: bool
    difference: float
    checked_with: tuple[int, ...]
    n_bytes: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """The result as plain JSON values."""
        return {**dataclasses.asdict(self), "path": str(self.path)}


def export_net(run: Path, kind: str | None = None, output: Path | None = None, *, force: bool = False) -> ExportResult:
    """Write the net of a run's newest checkpoint to a file, and check that the file answers as the net does.

    kind : of FORMATS, None: as the suffix of `output` says, else pt2; output : default ./NAME.FORMAT. Raises
    UsageError where they contradict each other or the file exists, InputError for what is no run, TdtoolError where
    the file would answer otherwise: then there is none.
    """
    from tdtool.run.train import check_installed

    read_settings(run)  # what is no run is said before what is not installed
    check_installed("torch", "safetensors")
    kind = _format(kind, output)
    path = output if output is not None else default_export(run, kind)
    check_output(path, force)
    from tdtool.train import export, stored_net

    if kind == "onnx":
        export.check_onnx_packages()
    start = time.perf_counter()
    net, card = stored_net.net_of_run(run)
    with log.task(f"exporting to {path.name}"), replacing(path, force) as part:
        difference = export.export_net(net, card, kind, part)
    return ExportResult(
        path=path,
        format=kind,
        net=card.net.model,
        head=card.net.head,
        n_classes=card.net.n_classes,
        image_size=card.net.image_size,
        n_parameters=sum(parameter.numel() for parameter in net.parameters()),
        step=card.step,
        averaged=card.averaged,
        difference=difference,
        checked_with=export.CHECKED_BATCHES,
        n_bytes=path.stat().st_size,
        seconds=time.perf_counter() - start,
    )


def default_export(run: Path, kind: str) -> Path:
    """./NAME.KIND, or the first of NAME-2.KIND, ... that is free; NAME : the run's, without .train."""
    name = run.absolute().name.removesuffix(".train") or "net"
    paths = (Path(f"{name}{'' if i == 1 else f'-{i}'}.{kind}") for i in itertools.count(1))
    return next(path for path in paths if not path.exists())


def _format(asked: str | None, output: Path | None) -> str:
    suffix = "" if output is None else output.suffix.lower().removeprefix(".")
    if asked is None:
        if output is not None and suffix not in FORMATS:
            raise UsageError("its suffix says no format", path=output, hint=f"--format {', '.join(FORMATS)}")
        return suffix or FORMATS[0]
    if asked not in FORMATS:
        raise UsageError(f"there is no format {asked!r}", hint=f"one of {', '.join(FORMATS)}")
    if output is not None and suffix != asked:
        hint = f"call it {output.with_suffix('.' + asked).name}: whoever opens it goes by its suffix"
        raise UsageError(f"--format {asked} does not fit its suffix", path=output, hint=hint)
    return asked
