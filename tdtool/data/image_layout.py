"""Which class and which split an image is of: what the folders of its path say, or the number that came with it."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tdtool.data.readers.image_types import SPLIT_NAMES

NO_CLASS = "not in a class folder"
NO_SPLIT = "in none of the folders for training, validation and test"
NO_LABEL = "without a label, where others have one"
_SHOWN = 8  # names in a note


@dataclasses.dataclass(frozen=True)
class Layout:
    """n images sorted out. names : n, without what all begin with; classes : K names; labels : (n,) int64, -1 for
    those that are of no class; splits : (n,) uint8; reasons : for each of no class, why; notes : worth knowing."""

    names: list[str]
    classes: list[str]
    labels: NDArray[np.int64]
    splits: NDArray[np.uint8]
    reasons: dict[int, str]
    notes: list[str]


def arrange(
    names: Sequence[str], labels: Sequence[int | None], splits: Sequence[int | None], class_names: Sequence[str] = ()
) -> Layout:
    """Classes and splits of images. names : their paths; labels, splits : given numbers, None where the path says it.

    Folders are CLASS/..., or SPLIT/CLASS/... where a folder is called train, val, valid, validation or test; folders
    that all images share are passed over. class_names : what given labels mean.
    """
    if any(label is not None for label in labels):
        return _by_number(names, labels, splits, class_names)
    return _by_folder(names, splits)


def stored_order(names: Sequence[str]) -> NDArray[np.int64]:
    """The order in which images are stored : (n,), by a hash of their names.

    Classes and splits are mixed, so that a run of neighbours is as good as a random draw; and it is the same however
    the images were packed.
    """
    keys = np.array(
        [
            int.from_bytes(hashlib.blake2b(name.encode("utf-8", "backslashreplace"), digest_size=8).digest())
            for name in names
        ],
        np.uint64,
    )
    return np.argsort(keys, kind="stable")


def _by_folder(names: Sequence[str], given: Sequence[int | None]) -> Layout:
    n_shared = _shared(names)
    names = [name if "/" not in name else name.split("/", n_shared)[-1] for name in names]
    depth = 1 if _has_splits(names) else 0
    found, splits = list[str | None](), np.zeros(len(names), np.uint8)
    reasons = dict[int, str]()
    for index, name in enumerate(names):
        path = name.split("/", depth + 1)
        split = SPLIT_NAMES.get(path[0].lower()) if depth else given[index] or 0
        if len(path) == depth + 2 and split is not None:
            found.append(sys.intern(path[depth]))
            splits[index] = split
        else:
            found.append(None)
            reasons[index] = NO_CLASS if split is not None or len(path) == 1 else NO_SPLIT
    classes = sorted({name for name in found if name is not None})
    numbers = {name: number for number, name in enumerate(classes)}
    labels = np.array([-1 if name is None else numbers[name] for name in found], np.int64)
    return Layout(list(names), classes, labels, splits, reasons, _notes(classes, labels, splits))


def _by_number(
    names: Sequence[str], labels: Sequence[int | None], splits: Sequence[int | None], class_names: Sequence[str]
) -> Layout:
    reasons = {index: NO_LABEL for index, label in enumerate(labels) if label is None}
    values = sorted({label for label in labels if label is not None})
    numbers = {value: number for number, value in enumerate(values)}
    named = bool(values) and values[0] >= 0 and values[-1] < len(class_names)
    classes = [class_names[value] if named else str(value) for value in values]
    found = np.array([-1 if label is None else numbers[label] for label in labels], np.int64)
    parts = np.array([split or 0 for split in splits], np.uint8)
    notes = []
    gaps = sorted(set(range(values[-1] + 1)) - set(values)) if values[0] >= 0 and values[-1] < 1 << 20 else []
    if gaps and gaps != [0]:
        missing = [class_names[value] if named else str(value) for value in gaps]
        notes.append(
            f"no image has the label {_listed(missing)}; only the {len(values):,} labels that occur are classes"
        )
    return Layout(list(names), classes, found, parts, reasons, notes + _notes(classes, found, parts))


def _shared(names: Sequence[str]) -> int:
    """How many folders the paths begin with that all share and that are neither split nor class."""
    shared: list[str] | None = None
    for name in names:
        folders = name.split("/")[:-1]
        if not folders:
            continue
        shared = folders[:-1] if shared is None else shared
        n_same = next((i for i, (a, b) in enumerate(zip(shared, folders[:-1], strict=False)) if a != b), None)
        shared = shared[: min(len(folders) - 1, len(shared)) if n_same is None else n_same]
        if not shared:
            return 0
    names_of_splits = [i for i, folder in enumerate(shared or ()) if folder.lower() in SPLIT_NAMES]
    return names_of_splits[0] if names_of_splits else len(shared or ())


def _has_splits(names: Sequence[str]) -> bool:
    """Whether the first folders are splits: those so called have class folders in them, and hold most images."""
    n_inside = n_deep = 0
    for name in names:
        path = name.split("/", 2)
        inside = len(path) > 1 and path[0].lower() in SPLIT_NAMES
        n_inside += inside
        n_deep += inside and len(path) > 2
    return 2 * n_deep > n_inside and 2 * n_inside >= len(names)


def _notes(classes: list[str], labels: NDArray[np.int64], splits: NDArray[np.uint8]) -> list[str]:
    notes = []
    if len(classes) == 1:
        notes.append(f"all images are of one class, {classes[0]}: there is nothing to tell apart")
    trained = np.unique(labels[(splits == 0) & (labels >= 0)])
    if 0 < len(trained) < len(classes):
        unseen = [name for number, name in enumerate(classes) if number not in set(trained.tolist())]
        notes.append(f"no training image is of the class {_listed(unseen)}")
    return notes


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else "")
