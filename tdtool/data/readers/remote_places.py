"""Files that are not on this machine, through pyarrow's file systems; what those raise, in the user's words."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, Literal

from tdtool.errors import ClusterError, InputError, TdtoolError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import fs

#: What Hadoop and others call the same store.
_SAME = {"s3a": "s3", "s3n": "s3", "gcs": "gs"}
_KNOWN = ("s3", "hdfs", "viewfs", "gs", "abfs", "abfss")
_REQUEST = 1 << 20
_NO_ACCESS = re.compile(
    r"ACCESS_DENIED|403|Permission denied|INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|credential"
)
_NO_BUCKET = re.compile(r"NO_SUCH_BUCKET|Bucket '.*' not found|bucket does not exist|ContainerNotFound")
_NO_FILE = re.compile(r"NO_SUCH_KEY|RESOURCE_NOT_FOUND|Path does not exist|does not exist|No such file|404")
_NO_NETWORK = re.compile(r"NETWORK_CONNECTION|curlCode|Could not resolve|Connection refused|ConnectException|timed out")


class Remote:
    """One place in a file system of pyarrow's. place : as the user wrote it; path : as the file system wants it."""

    def __init__(self, place: str, system: fs.FileSystem, path: str) -> None:
        self._place, self._system, self._path = place, system, path

    def kind(self) -> Literal["file", "directory"] | None:
        """What is there."""
        from pyarrow import fs

        with worded(self._place):
            found = self._system.get_file_info(self._path.rstrip("/"))
        if found.type == fs.FileType.Directory:
            return "directory"
        return None if found.type == fs.FileType.NotFound else "file"

    def size(self) -> int:
        """Bytes of a file."""
        with worded(self._place):
            found = self._system.get_file_info(self._path)
        if not found.is_file:
            what = "it is a directory, not a file" if self.kind() else "there is no such file or directory"
            raise InputError(what, path=self._place)
        return int(found.size)

    def open(self) -> BinaryIO:
        """A file one can jump about in. Each request takes as long as a megabyte, so less is not asked for."""
        with worded(self._place):
            return io.BufferedReader(_Worded(self._system.open_input_file(self._path), self._place), _REQUEST)

    def walk(self) -> Iterator[tuple[bytes, int]]:
        """(path from here, bytes) of the files below but hidden ones, in the order of the bytes of their paths."""
        from pyarrow import fs

        root = self._path.rstrip("/") + "/"
        with worded(self._place):
            infos = self._system.get_file_info(fs.FileSelector(root.rstrip("/"), recursive=True))
        files = [(info.path.removeprefix(root).encode("utf-8"), int(info.size)) for info in infos if info.is_file]
        yield from sorted(file for file in files if not re.search(rb"(^|/)\.", file[0]))

    def make_directory(self) -> None:
        """Make a directory; in an object store there is none to make."""
        if self._system.type_name not in ("s3", "gcs"):
            with worded(self._place, "written"):
                self._system.create_dir(self._path, recursive=True)

    def write(self, data: bytes, *, atomic: bool) -> None:
        """Write a file. An object appears when it is complete; other file systems need a rename."""
        rename = atomic and self._system.type_name not in ("s3", "gcs", "abfs")
        target = f"{self._path}.{uuid.uuid4().hex}.part" if rename else self._path
        with worded(self._place, "written"):
            with self._system.open_output_stream(target, compression=None) as file:
                file.write(data)
            if rename:
                self._system.move(target, self._path)

    def remove(self) -> None:
        """Remove a file, or a directory and all in it."""
        kind = self.kind()
        with worded(self._place, "removed"):
            if kind == "directory":
                self._system.delete_dir(self._path.rstrip("/"))
            elif kind == "file":
                self._system.delete_file(self._path)


class _Worded(io.RawIOBase):
    """An open file of pyarrow's as Python's own; errors in words of ours."""

    def __init__(self, file: pa.NativeFile, place: str) -> None:
        self._file, self._place = file, place

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, position: int, whence: int = os.SEEK_SET, /) -> int:
        with worded(self._place):
            return int(self._file.seek(position, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def readinto(self, view: memoryview) -> int:  # type: ignore[override]
        with worded(self._place):
            return int(self._file.readinto(view))

    def close(self) -> None:
        self._file.close()
        super().close()


def remote(place: str) -> Remote:
    """The place behind a URI. Raises InputError for a kind of URI that is not read."""
    scheme, _, rest = place.partition("://")
    kind = _SAME.get(scheme.lower(), scheme.lower())
    authority, _, path = rest.partition("/")
    if kind not in _KNOWN:
        hint = f"known are paths and URIs with file, s3, s3a, {', '.join(_KNOWN[1:])}; download it first"
        raise InputError(f"{scheme} addresses are not read", path=place, hint=hint)
    if not authority and kind not in ("hdfs", "viewfs"):
        raise InputError("the URI names no bucket", path=place, hint=f"write {scheme}://BUCKET/PATH")
    with worded(place):
        system = _bucket(authority, *_s3_settings()) if kind == "s3" else _file_system(f"{kind}://{authority}/")
    base = authority if kind in ("s3", "gs") else authority.partition("@")[0] if kind.startswith("abfs") else ""
    return Remote(place, system, f"{base}/{path.rstrip('/')}" if path or not base else base)


def _s3_settings() -> tuple[str | None, str | None]:
    """Region and endpoint, as the AWS tools take them from the environment."""
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return region, os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


@functools.lru_cache(maxsize=16)
def _bucket(bucket: str, region: str | None, endpoint: str | None) -> fs.FileSystem:
    from pyarrow import fs

    if region is None and endpoint is None:
        region = fs.resolve_s3_region(bucket)
    return fs.S3FileSystem(region=region or "us-east-1", endpoint_override=endpoint)


@functools.lru_cache(maxsize=16)
def _file_system(uri: str) -> fs.FileSystem:
    from pyarrow import fs

    return fs.FileSystem.from_uri(uri)[0]


@contextlib.contextmanager
def worded(place: str, done: str = "read") -> Iterator[None]:
    """What pyarrow raises, as an InputError with the place. done : what was tried, as in "cannot be read"."""
    import pyarrow as pa

    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise _in_words(place, str(error).strip(), error, done) from error


def _in_words(place: str, said: str, error: Exception, done: str) -> TdtoolError:
    first = said.splitlines()[0] if said else type(error).__name__
    if re.search(r"libhdfs|libjvm|JAVA_HOME|CLASSPATH", said):
        hint = "set JAVA_HOME, HADOOP_HOME and CLASSPATH (hadoop classpath --glob), or copy the data to a local path"
        return ClusterError(f"the file system hdfs is not available here ({first})", path=place, hint=hint)
    if "Unrecognized filesystem" in said or ("without" in said and "support" in said):
        return ClusterError(f"this pyarrow cannot open such a place ({first})", path=place)
    if _NO_BUCKET.search(said):
        return InputError("there is no such bucket", path=place)
    if isinstance(error, PermissionError) or _NO_ACCESS.search(said):
        hint = "check the credentials (AWS_PROFILE, AWS_ACCESS_KEY_ID, the machine's role ...) and the bucket's policy"
        return InputError(f"it may not be {done} ({first})", path=place, hint=hint)
    if _NO_NETWORK.search(said):
        return ClusterError(f"its store cannot be reached ({first})", path=place, hint="check the name and the network")
    if isinstance(error, FileNotFoundError) or _NO_FILE.search(said):
        return InputError("there is no such file or directory", path=place)
    return InputError(f"it cannot be {done}: {first}", path=place)
