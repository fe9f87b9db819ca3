"""Which images a net is trained on, and which it is scored on while it is trained."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tdtool.errors import InputError
from tdtool.train.draws import keys, uniforms

if TYPE_CHECKING:
    from tdtool.data.image_store import ImageSet

TRAIN, VALIDATION, TEST = 0, 1, 2
_HELD_OUT = 0x48454C44  # a purpose of its own: no draw of the order or of the augmentation


@dataclasses.dataclass(frozen=True)
class Parts:
    """Images by their place in the set, ascending."""

    train: NDArray[np.int64]
    scored: NDArray[np.int64]  # may be empty
    scored_name: str  # "validation" | "test" | "held-out" | "none"


def divide(images: ImageSet, *, holdout: float, seed: int) -> Parts:
    """Training images, and those scored: of validation if there are any, else of test, else a share of training.

    holdout : that share, drawn by a hash of (seed, image); 0: none are scored.
    """
    splits = np.asarray(images.splits)
    train = np.flatnonzero(splits == TRAIN)
    if len(train) == 0:
        hint = "class folders under train/, or without a folder of that sort above them, are for training"
        raise InputError("there are no training images", hint=hint)
    for split, name in ((VALIDATION, "validation"), (TEST, "test")):
        if (scored := np.flatnonzero(splits == split)).size:
            return Parts(train, scored, name)
    held = held_out(train, share=holdout, seed=seed)
    return Parts(train[~held], train[held], "held-out" if held.any() else "none")


def held_out(indices: NDArray[np.int64], *, share: float, seed: int) -> NDArray[np.bool_]:
    """Which images are held out: (n,) bool, the same for an image whatever else is in the set."""
    return uniforms(keys((seed, _HELD_OUT), indices), 1)[:, 0] < share
