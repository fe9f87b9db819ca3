"""Opening images wherever they are: what a source is, and the reader for it."""

from __future__ import annotations

import glob
import itertools
import re

from tdtool.config import ImagesConfig, SourceConfig
from tdtool.data.readers import image_arrays, image_cifar, image_files
from tdtool.data.readers.decompress import SUFFIXES as COMPRESSED
from tdtool.data.readers.image_types import ImageSource, has_image_name
from tdtool.data.readers.npz_arrays import opened_npz
from tdtool.data.readers.places import is_directory, is_file, join, local_path, name_of, walk
from tdtool.data.readers.streams import Input
from tdtool.data.readers.text_batches import printable
from tdtool.errors import InputError, UsageError

#: Every format by the name that --format takes, with what it is.
FORMATS = {
    "folder": "a directory of class folders",
    "tar": "tar archives of class folders, or shards with a label beside each image",
    "zip": "a zip archive of class folders",
    "cifar": "the binary version of CIFAR-10 or CIFAR-100",
    "npz": "an .npz file with arrays of images and labels",
    "idx": "idx files as those of MNIST",
}
_KNOWN = "known are: " + "; ".join(FORMATS.values())
_LOOKED_AT = 500  # files of a directory
_TARS = (".tar", *(f".tar{suffix}" for suffix in COMPRESSED), ".tgz", ".txz", ".tbz2", ".tzst")
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_TAR_BLOCK = 512


def open_source(source: str, config: ImagesConfig) -> ImageSource:
    """The reader of a source: a directory, a file, a pattern of shards (imagenet-{000..146}.tar, *.tar), or "-".

    Raises InputError for what holds no images or is not there, UsageError for a format that there is not.
    """
    if config.format != "auto" and config.format not in FORMATS:
        raise UsageError(f"there is no format {config.format!r}", hint=f"known are auto, {', '.join(FORMATS)}")
    limits = SourceConfig(max_ratio=config.max_ratio, max_bytes=config.max_bytes)
    found = _open(source, limits)
    wanted = "folder" if config.format == "cifar" and found.format != "tar" else config.format
    if wanted not in ("auto", found.format, "cifar"):
        what = f"it is {FORMATS[found.format]}, not {FORMATS[config.format]}"
        raise InputError(what, path=source, hint=f"give --format {found.format}, or auto")
    return found


def looks_like_images(source: str) -> bool:
    """Whether a source holds images, by the names in it; False where it cannot be read."""
    try:
        if shards(source):
            return True
        if source == "-" or local_path(source) is None:
            return False
        if is_directory(source):
            return _names_of_images(_first_names(source))
        if not is_file(source):
            return False
        return _file_of_images(Input(source, SourceConfig()))
    except InputError:
        return False


def shards(source: str) -> list[str]:
    """The tar archives that a pattern stands for, [] when the source is no pattern of tar archives."""
    if not source.lower().endswith(_TARS) or not any(mark in source for mark in "*?[{") or is_file(source):
        return []
    patterns = [source]
    if found := _RANGE.search(source):
        first, last = found[1], found[2]
        numbers = (str(number).zfill(len(first)) for number in range(int(first), int(last) + 1))
        patterns = [source[: found.start()] + number + source[found.end() :] for number in numbers]
    matches = itertools.chain.from_iterable(
        sorted(glob.glob(pattern)) if any(mark in pattern for mark in "*?[") else [pattern]  # noqa: PTH207
        for pattern in patterns
    )
    return list(matches)


def _open(source: str, limits: SourceConfig) -> ImageSource:
    if paths := shards(source):
        return image_files.open_archives(paths, source, "tar", limits)
    if source != "-" and is_directory(source):
        return _open_directory(source, limits)
    return _open_file(Input(source, limits), source, limits)


def _open_directory(source: str, limits: SourceConfig) -> ImageSource:
    names = _first_names(source)
    if not names:
        raise InputError("there is no file in this directory", path=source, hint="hidden files do not count")
    if not any(map(has_image_name, names)):
        if archives := [name for name in _all_names(source) if name.lower().endswith(_TARS)]:
            return image_files.open_archives([join(source, name) for name in archives], source, "tar", limits)
        if arrays := [name for name in names if _is_idx_name(name)]:
            return image_arrays.open_idx([join(source, name) for name in arrays], source, limits)
    return image_files.open_folder(source, limits)


def _open_file(file: Input, source: str, limits: SourceConfig) -> ImageSource:
    head = file.head
    if not head:
        raise InputError("it is empty", path=file.path, hint=_KNOWN)
    if image_arrays.is_idx(file.name, head):
        return image_arrays.open_idx([source], source, limits)
    if head[257:262] == b"ustar" or (file.name.lower().endswith(".tar") and b"\0" in head[:_TAR_BLOCK]):
        return image_files.open_archives([source], file.path, "tar", limits)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        if file.name.lower().endswith(".npz") or _member_is_array(head):
            return image_arrays.open_npz(file)
        return image_files.open_archives([source], file.path, "zip", limits)
    raise InputError(_why_not(file, head), path=file.path, hint=_KNOWN)


def _why_not(file: Input, head: bytes) -> str:
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "it is an HDF5 file, which holds no raw images"
    if has_image_name(file.name):
        return "it is a single image, without a class"
    if image_cifar.is_cifar(file.name):
        return "it is one file of CIFAR; name the directory that it is in"
    return "it is no source of images"


def _file_of_images(file: Input) -> bool:
    if image_arrays.is_idx(file.name, file.head):
        return True
    if file.head[257:262] == b"ustar":
        return _names_of_images(_tar_names(file.head))
    if file.head.startswith(b"PK\x03\x04") and file.name.lower().endswith(".npz"):
        with opened_npz(file) as archive:
            pairs = image_arrays.npz_pairs(list(archive.headers))
            return any(len(archive.headers[images].shape) in (3, 4) for images, *_ in pairs)
    return False


def _tar_names(head: bytes) -> list[str]:
    """Names of the members whose headers lie in the first bytes of an archive."""
    names, place = list[str](), 0
    while place + _TAR_BLOCK <= len(head):
        block = head[place : place + _TAR_BLOCK]
        text = block[124:135].strip(b"\0 ")
        if not text.isdigit():
            break
        if block[156:157] in (b"0", b"\0"):
            names.append(printable(block[:100].rstrip(b"\0")))
        place += _TAR_BLOCK * (1 + -(-int(text, 8) // _TAR_BLOCK)) if set(text) <= set(b"01234567") else len(head)
    return names


def _names_of_images(names: list[str]) -> bool:
    """Whether most files are called as images or their labels are, or some as those of CIFAR or MNIST."""
    n_images = sum(has_image_name(name) or name.lower().endswith(".cls") for name in names)
    some = any(image_cifar.is_cifar(name) or _is_idx_name(name) for name in names)
    return some or 2 * n_images > len(names)


def _first_names(source: str) -> list[str]:
    return [printable(found.name) for found in itertools.islice(walk(source), _LOOKED_AT)]


def _all_names(source: str) -> list[str]:
    return [printable(found.name) for found in walk(source)]


def _is_idx_name(name: str) -> bool:
    base = name_of(name).lower()
    return "images" in base and ("idx3" in base or "idx4" in base)


def _member_is_array(head: bytes) -> bool:
    return head[30 : 30 + int.from_bytes(head[26:28], "little")].endswith(b".npy")
