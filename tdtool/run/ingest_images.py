"""From a source of images to an images file."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from tdtool import log
from tdtool.config import ImagesConfig
from tdtool.data.image_ingest import StoredImages, ingest
from tdtool.data.image_store import ImageSet, is_images, open_images
from tdtool.run.corpora import is_store
from tdtool.run.machine import available_cores


@dataclasses.dataclass(frozen=True)
class ImageIngestResult(StoredImages):
    """What was written, and in how many seconds."""

    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**dataclasses.asdict(self), "path": str(self.path)}


def ingest_images(
    source: str, output: Path | str, config: ImagesConfig, *, workers: int | None = None, force: bool = False
) -> ImageIngestResult:
    """Read labelled images into an images file. workers : threads, None for the cores this process may use.

    Raises InputError for what holds no labelled images, is damaged, or has more bad images than the configuration
    allows; UsageError for settings that contradict each other.
    """
    start = time.perf_counter()
    stored = ingest(source, Path(output), config, workers=workers or available_cores(), force=force)
    return ImageIngestResult(**vars(stored), seconds=time.perf_counter() - start)


def images_of(source: str, scratch: Path, *, config: ImagesConfig | None = None) -> ImageSet:
    """The images of a source: a store is opened; anything else is first ingested into the file `scratch`, once.

    scratch : a path ending with .h5, on a disk with room for the images; a store that is there already, made of the
    same source by an earlier call, is opened as it is, any other is replaced. Raises as `ingest_images` and
    `open_images`.
    """
    if is_store(source):
        return open_images(source)
    scratch = Path(scratch)
    if is_images(scratch):
        images = open_images(scratch)
        if images.attributes.get("source", {}).get("path") == source:
            return images
    result = ingest_images(source, scratch, config or ImagesConfig(), force=True)
    log.note(
        f"{source} was read into {scratch} ({result.n_images:,} images, {result.seconds:.0f} s); "
        f"tdtool ingest --as images does that once for many runs"
    )
    for note in result.notes:
        log.note(note)
    return open_images(scratch, check=False)
