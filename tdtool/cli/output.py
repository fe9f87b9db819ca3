"""What commands print: one JSON object, or tables and sentences for a person."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import click

from tdtool.log import printable


def say(text: str) -> None:
    """Lines for a person, on stdout; what files brought along cannot steer the terminal."""
    click.echo(printable(text, keep="\n"))


def say_json(values: Any) -> None:
    """Exactly one JSON object on stdout."""
    click.echo(json.dumps(_plain(values), indent=2, allow_nan=False))


def _plain(value: Any) -> Any:
    """JSON has no NaN, no numpy and no paths."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
