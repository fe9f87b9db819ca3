"""The directory of one training run: what lies where in it, and what it says about the run."""

from __future__ import annotations

import dataclasses
import json
import os
import typing
from pathlib import Path
from typing import Any

from tdtool import __version__
from tdtool.config import TrainConfig, as_json
from tdtool.errors import InputError
from tdtool.store.atomic import synchronise

FORMAT = 1
SETTINGS, JOURNAL, RESULT, CHECKPOINTS, OWN_DATA = (
    "config.json",
    "journal.jsonl",
    "run.h5",
    "checkpoints",
    "data.images.h5",
)
SYNTHETIC = "synthetic"


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """What a run was started with; enough to go on with it or to use its net."""

    config: TrainConfig
    data: str  # path of the store, or SYNTHETIC
    data_digest: str
    classes: tuple[str, ...]
    feature_shape: tuple[int, ...] = ()  # (C, H, W) of the activation that the head sees
    weights: str | None = None  # file of trained weights that the net starts from
    head_from: str | None = None  # run whose trained fc head the head starts from
    asked: dict[str, Any] = dataclasses.field(default_factory=dict)  # by the user: a run that goes on is asked the same


def is_run(path: Path) -> bool:
    """Whether `path` is a directory that a training run was started in."""
    return (Path(path) / SETTINGS).is_file()


def write_settings(run: Path, settings: RunSettings) -> None:
    """Write RUN/config.json, whole or not at all. The directory is there already."""
    values = {
        "format": FORMAT,
        "config": as_json(settings.config),
        "data": settings.data,
        "data_digest": settings.data_digest,
        "classes": list(settings.classes),
        "feature_shape": list(settings.feature_shape),
        "weights": settings.weights,
        "head_from": settings.head_from,
        "asked": settings.asked,
        "tdtool_version": __version__,
    }
    write_text(run / SETTINGS, json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def read_settings(run: Path) -> RunSettings:
    """Read RUN/config.json; InputError when it is not there, damaged, or of another version of the format."""
    path = Path(run) / SETTINGS
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError("is not the directory of a training run", path=run, hint="it has no config.json") from error
    except (OSError, ValueError) as error:
        raise InputError("cannot be read", path=path, hint="restore it from a copy, or train anew") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        found = values.get("format") if isinstance(values, dict) else None
        raise InputError(f"has format {found!r}; this tdtool reads {FORMAT}", path=path)
    try:
        return RunSettings(
            config=config_from_json(TrainConfig, values["config"]),
            data=str(values["data"]),
            data_digest=str(values["data_digest"]),
            classes=tuple(map(str, values["classes"])),
            feature_shape=tuple(map(int, values["feature_shape"])),
            weights=values.get("weights"),
            head_from=values.get("head_from"),
            asked=dict(values.get("asked", {})),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"does not say what a run needs ({error})", path=path) from error


def config_from_json(kind: type, values: Any) -> Any:
    """A configuration dataclass from what `as_json` made of it; settings that are missing have their defaults."""
    if not isinstance(values, dict):
        raise TypeError(f"{kind.__name__} is no object")
    hints = typing.get_type_hints(kind)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise ValueError(f"unknown setting {unknown[0]}")
    nested = {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}
    filled = {
        name: config_from_json(typing.cast("type", nested[name]), value) if name in nested else value
        for name, value in values.items()
    }
    return kind(**filled)


def write_text(path: Path, text: str) -> None:
    """Replace a small file so that it is there whole, old or new, whatever happens meanwhile."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    synchronise(path.parent)
