"""Which formats a tensor can have, and how one is recognised from the first bytes and the name of a file."""

from __future__ import annotations

import re

from tdtool.data.readers.formats import refuse
from tdtool.errors import InputError

#: Every format by the name that --format takes, with what it is.
FORMATS = {
    "npy": "a numpy array (.npy)",
    "npz": "numpy arrays (.npz), or a scipy.sparse matrix",
    "hdf5": "HDF5",
    "mat": "a MATLAB file (.mat), version 5 or 7.3",
    "tns": "a sparse tensor (.tns): indices from 1 on and a value a line",
    "csv": "comma-separated values: a row for each value, or a table with names",
    "tsv": "tab-separated values: a row for each value, or a table with names",
}

_SUFFIXES = {".tns": "tns", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv"}
#: How HDF5 begins.
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
#: HDF5 may begin behind a block of the user's, of one of these sizes.
_USER_BLOCKS = (0, 512, 1024, 2048)
_MAT_HEADER = 128
_NUMBERS = re.compile(rb"[ \t]*[-+.\dnaifNAIF][-+.\w]*([ \t]+[-+.\w]+)*[ \t\r]*$")
_LINES_LOOKED_AT = 50


def sniff(head: bytes, name: str, path: str) -> str:
    """The format of an input. head : its first bytes, decompressed; name : file name without a compression suffix.

    Raises InputError for what is recognised and cannot be read.
    """
    suffix = f".{name.lower().rpartition('.')[2]}" if "." in name else ""
    found = _by_magic(head, suffix, path)
    if found:
        return found
    _refuse_rest(head, suffix, path)
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    return _by_content(head)


def check_given(given: str, head: bytes, path: str) -> None:
    """Raise InputError when the first bytes are plainly of another format than the one the user gave."""
    found = _by_magic(head, f".{given}" if given in ("npz", "mat") else "", path)
    if found is None:
        _refuse_rest(head, "", path)
    text = ("tns", "csv", "tsv")
    if found != given and not (found is None and given in text) and (found, given) != ("mat", "hdf5"):
        what = f"it is {FORMATS[found]}, not" if found else "it is not"
        raise InputError(f"{what} {FORMATS[given]}", path=path, hint="leave the format out: it is recognised")


def complete_lines(head: bytes) -> list[bytes]:
    """The first lines that say something (no comments), each whole; a cut last one only when there is no other."""
    lines = head.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    spoken = [line for line in lines if line.strip() and not line.lstrip().startswith((b"#", b"%"))]
    if len(spoken) > 1 and spoken[-1] is lines[-1]:
        del spoken[-1]
    return spoken[:_LINES_LOOKED_AT]


def _by_magic(head: bytes, suffix: str, path: str) -> str | None:
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        member = head[30 : 30 + int.from_bytes(head[26:28], "little")]
        if suffix == ".npz" or member.endswith(b".npy"):
            return "npz"
        raise InputError("it is a zip archive without arrays in it", path=path, hint="unpack it and name the file")
    if head.startswith(b"MATLAB ") or head[124:128] in (b"\x00\x01IM", b"\x01\x00MI"):
        return "mat"
    if any(head[size:].startswith(HDF5_MAGIC) for size in _USER_BLOCKS):
        return "hdf5"
    if suffix == ".mat" and b"\0" in head[:_MAT_HEADER]:
        raise InputError(
            "it is a MATLAB file older than version 5, or none", path=path, hint="save it in MATLAB with -v7 or -v7.3"
        )
    return None


def _refuse_rest(head: bytes, suffix: str, path: str) -> None:
    """InputError for what cannot be a table of numbers."""
    if suffix in (".pkl", ".pickle", ".joblib"):
        raise InputError(
            "pickled data is refused: reading it could run code", path=path, hint="save it with numpy.save or savez"
        )
    if head.startswith(b"PAR1"):
        raise InputError("it is a Parquet file", path=path, hint="write it as CSV: a row for each value, or .npy")
    if b"\0" in head[:8192] and not head.startswith((b"\xff\xfe", b"\xfe\xff", b"ARROW1")):
        hint = f"known are {', '.join(FORMATS)}; a tensor can be saved with numpy.save"
        raise InputError("it is a binary file of no known format", path=path, hint=hint)
    refuse(head, "", path)


def _by_content(head: bytes) -> str:
    lines = complete_lines(head)
    if lines and (
        lines[0].split()[0].lower() in (b"sptensor", b"tensor") or all(_NUMBERS.match(line) for line in lines)
    ):
        fields = {len(line.split()) for line in lines[4:] or lines[-1:]}
        if not (len(fields) == 1 and fields <= {1}):
            return "tns"
    tabs = {line.count(b"\t") for line in lines}
    return "tsv" if len(tabs) == 1 and tabs != {0} else "csv"
