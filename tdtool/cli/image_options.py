"""Options that say how images become a store, and `tdtool ingest --as images`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from tdtool.cli.options import combined, option
from tdtool.cli.output import say, say_json
from tdtool.config import ImagesConfig, SparkConfig
from tdtool.errors import UsageError

if TYPE_CHECKING:
    from tdtool.run.ingest_images import ImageIngestResult

Function = Callable[..., Any]
_DEFAULT = ImagesConfig()
#: Parameters of the options besides the format.
IMAGE_CHOICES = ("size", "encoding", "max_bad")

_choices = combined(
    option(
        "--image-size",
        "size",
        section="Images",
        type=click.IntRange(1, 4096),
        metavar="N",
        help="Bring images to N x N pixels: the shorter side to N, then the middle. [default: as they are]",
    ),
    option(
        "--encoding",
        section="Images",
        type=click.Choice(["auto", "pixels", "files"]),
        default=_DEFAULT.encoding,
        help="Store pixels or the encoded files; auto: pixels where all images are of one size up to 96.",
    ),
    option(
        "--max-bad",
        section="Images",
        type=click.FloatRange(0),
        metavar="F",
        default=_DEFAULT.max_bad,
        help="Images that may be unreadable; below 1 a share of all, else how many.",
    ),
)


def image_choices(function: Function) -> Function:
    """The options of ImagesConfig but for its format; the command gets `images_config`."""

    @_choices
    @functools.wraps(function)
    def wrapper(*args: Any, **values: Any) -> Any:
        config = dataclasses.replace(_DEFAULT, **{name: values.pop(name) for name in IMAGE_CHOICES})
        return function(*args, images_config=config, **values)

    return wrapper


def ingest_images(
    source: str,
    output: str | None,
    config: ImagesConfig,
    *,
    workers: int | None,
    spark: SparkConfig | None,
    force: bool,
    as_json: bool,
) -> None:
    """Read images into a file, and say what was found."""
    from tdtool.run import ingest_images as run
    from tdtool.run.outputs import default_output
    from tdtool.run.stores import check_store, is_parquet_name, store_kind

    if spark is not None:
        raise UsageError("images are read on this machine, not by a cluster", hint="leave out --master")
    if store_kind(source) == "images":
        raise UsageError("the source is an images file already", path=source, hint="copy it: cp")
    path = output or str(default_output(source, "images"))
    if is_parquet_name(path):
        raise UsageError("images are written as one HDF5 file", path=path, hint="name a .h5")
    check_store(source, path, force=force)
    result = run.ingest_images(source, path, config, workers=workers, force=force)
    if as_json:
        say_json(result.as_dict())
    else:
        _print_result(result)


def _print_result(result: ImageIngestResult) -> None:
    from tdtool.report import tables

    say(result.description)
    for note in result.notes:
        say(note)
    size = "various" if result.height is None or result.width is None else f"{result.height} x {result.width}"
    facts: dict[str, Any] = {"images": result.n_images, "classes": len(result.classes)}
    facts |= {f"{split} images": number for split, number in result.splits.items()}
    say(tables.facts_text(facts | {"pixels": size}))
    say(f"{result.ledger.text('images')}\nread in {result.seconds:.1f} s")
    say(str(result.path))
