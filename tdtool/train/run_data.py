"""The images of a run, as its processes open them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from tdtool.data.image_store import open_images
from tdtool.errors import InputError
from tdtool.train.run_folder import SYNTHETIC, RunSettings
from tdtool.train.synthetic import synthetic_for

if TYPE_CHECKING:
    from tdtool.data.image_store import ImageSet


def images_of_run(run: Path, settings: RunSettings) -> ImageSet:
    """The images that a run is trained on. InputError when they are not those that it was started with."""
    if settings.data == SYNTHETIC:
        return cast("ImageSet", synthetic_for(settings.config))  # it has all that training asks for
    path = Path(settings.data)
    images = open_images(path if path.is_absolute() else Path(run) / path)
    if settings.data_digest and images.digest != settings.data_digest:
        hint = "put the old file back, or train anew with --force"
        raise InputError("is not what the run was started with: its digest differs", path=path, hint=hint)
    return images
