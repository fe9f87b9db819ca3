"""What a run goes on from: folders of safetensors that are there whole or not at all, the newest two of them.

RUN/checkpoints/step-00000120/ holds model.safetensors, optimiser.safetensors, average.safetensors (where weights are
averaged) and state.json; RUN/checkpoints/latest is a text file with the name of the newest folder.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from tdtool import log
from tdtool.errors import InputError, ResourceError
from tdtool.store.atomic import is_full, synchronise
from tdtool.train.run_folder import CHECKPOINTS, write_text

_KEPT = 2
_LATEST, _STATE = "latest", "state.json"
_FOLDER = re.compile(r"step-(\d{8,})")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """All that a run consists of. Tensors are whole ones on the CPU, whatever the run is spread over."""

    step: int
    model: dict[str, torch.Tensor]
    optimiser: dict[str, torch.Tensor]  # by "NAME.KEY", as strategy.full_state gives them
    average: dict[str, torch.Tensor] | None = None
    state: dict[str, Any] = dataclasses.field(default_factory=dict)  # what else the loop remembers; JSON


def save(run: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint, make it the latest, and remove all but the newest two; returns its folder.

    ResourceError when the disk is full; the checkpoints of before stay, and `latest` names one of them.
    """
    folder = Path(run) / CHECKPOINTS / f"step-{checkpoint.step:08d}"
    part = folder.with_name(f".{folder.name}.part")
    try:
        folder.parent.mkdir(exist_ok=True)
        _clear(folder.parent)
        part.mkdir()
        _write_all(part, checkpoint)
        if folder.exists():  # the same step again, after a resume: the same content
            shutil.rmtree(folder)
        part.rename(folder)
        synchronise(folder.parent)
        write_text(folder.parent / _LATEST, folder.name + "\n")
    except (OSError, SafetensorError) as error:
        shutil.rmtree(part, ignore_errors=True)
        if not _is_full(error):
            raise
        hint = "what was saved before is untouched; free some space and run the same command again"
        raise ResourceError("the disk is full", path=folder, hint=hint) from error
    for old in folders(run)[_KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
    return folder


def load(run: Path) -> Checkpoint | None:
    """The newest checkpoint that is whole; None when none was ever written. InputError when none of them is whole."""
    found = folders(run)
    troubles = []
    for folder in found:
        try:
            checkpoint = read(folder)
        except InputError as error:
            troubles.append(error)
            continue
        for trouble in troubles:
            log.warn(f"{trouble.path}: {trouble.what}; step {checkpoint.step:,} is taken instead")
        return checkpoint
    if troubles:
        hint = "restore one from a copy, or train anew with --force"
        raise InputError(f"no checkpoint of the run is whole: {troubles[0].what}", path=troubles[0].path, hint=hint)
    return None


def folders(run: Path) -> list[Path]:
    """The checkpoints of a run: the one that `latest` names, then the others, newest first."""
    place = Path(run) / CHECKPOINTS
    names = [path for path in place.glob("step-*") if _FOLDER.fullmatch(path.name) and path.is_dir()]
    newest = sorted(names, key=lambda path: int(path.name[5:]), reverse=True)
    try:
        latest = (place / _LATEST).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        latest = ""
    return sorted(newest, key=lambda path: path.name != latest)


def read(folder: Path) -> Checkpoint:
    """One checkpoint; InputError unless all of it is there, unchanged."""
    try:
        values = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        files, state = values["files"], values["state"]
        for name, facts in files.items():
            if Path(name).name != name or _digest(folder / name) != facts["blake2b"]:
                raise InputError(f"{name} is damaged or cut short", path=folder)
        return Checkpoint(
            step=int(values["step"]),
            model=load_file(folder / "model.safetensors"),
            optimiser=load_file(folder / "optimiser.safetensors"),
            average=load_file(folder / "average.safetensors") if "average.safetensors" in files else None,
            state=state,
        )
    except OSError as error:
        raise InputError(f"{Path(error.filename or _STATE).name} cannot be read", path=folder) from error
    except (ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise InputError("is damaged", path=folder) from error


def check_fits(saved: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor], where: Path) -> None:
    """InputError, naming the first differences, unless tensors have the names and shapes that a model has."""
    have = {name: tuple(tensor.shape) for name, tensor in saved.items()}
    want = {name: tuple(tensor.shape) for name, tensor in wanted.items()}
    wrong = [
        f"{name} is {have.get(name, 'missing')}, the net has {want.get(name, 'no such tensor')}"
        for name in dict.fromkeys((*want, *sorted(have)))  # in the order of the net
        if have.get(name) != want.get(name)
    ]
    if wrong:
        more = f", and {len(wrong) - 2} more" if len(wrong) > 2 else ""
        hint = "name the run it belongs to, or train anew with --force"
        raise InputError(f"is a checkpoint of another net: {'; '.join(wrong[:2])}{more}", path=where, hint=hint)


def _write_all(folder: Path, checkpoint: Checkpoint) -> None:
    parts = {"model": checkpoint.model, "optimiser": checkpoint.optimiser, "average": checkpoint.average}
    files = {}
    for name, tensors in parts.items():
        if tensors is not None:
            path = folder / f"{name}.safetensors"
            save_file({key: value.detach().contiguous() for key, value in tensors.items()}, path)
            synchronise(path)
            files[path.name] = {"bytes": path.stat().st_size, "blake2b": _digest(path)}
    values = {"step": checkpoint.step, "state": checkpoint.state, "files": files}
    write_text(folder / _STATE, json.dumps(values))
    synchronise(folder)


def _clear(place: Path) -> None:
    """Remove what killed runs left half written."""
    for part in place.glob(".step-*.part"):
        shutil.rmtree(part, ignore_errors=True)


def _is_full(error: BaseException) -> bool:
    # safetensors' own error carries the system's words, but not its number.
    return is_full(error) or "os error 28" in str(error) or "os error 122" in str(error)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
