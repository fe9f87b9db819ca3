"""What goes along to a cluster: an archive of the Python environment that runs here, or tdtool alone as a zip."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import tdtool
from tdtool import log
from tdtool.errors import ClusterError

SUFFIX = ".tar.gz"
_PACKER = "venv-pack==0.2.0"
#: In the package's folder kernels it says that compiled code is kept there: see kernels/backend.py.
_KEEP_HERE = "keep-compiled-here"
_LINES_SHOWN = 6
Command = tuple[str, ...]


def default_archive() -> Path:
    """Where the archive of this environment is kept; another version of a package, or of a source, is another name."""
    return _kept(SUFFIX)


def default_zip() -> Path:
    """Where the zip of tdtool alone is kept. Numba keeps compiled kernels by the name of the zip: it must tell."""
    return _kept(".zip")


def _kept(suffix: str) -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    kind = f"{tdtool.__version__}-py{sys.version_info.major}{sys.version_info.minor}-{platform.machine()}"
    return home / "tdtool" / "environments" / f"tdtool-{kind}-{_digest()}{suffix}"


def steps(goal: Path, folder: Path) -> tuple[Command, ...]:
    """The commands that make an archive or a zip. folder : a new one that they may use and remove."""
    make = _zip_steps if goal.suffix == ".zip" else _archive_steps
    return (("mkdir", "-p", str(goal.parent)), *make(goal, folder))


def _zip_steps(goal: Path, folder: Path) -> tuple[Command, ...]:
    part = f"{goal}.part"
    return (
        (sys.executable, "-m", "zipfile", "-c", part, str(Path(tdtool.__file__).parent)),
        ("mv", part, str(goal)),
    )


def _archive_steps(goal: Path, folder: Path) -> tuple[Command, ...]:
    """Packages of exactly the versions that are here, so that both sides compute the same bits.

    Spark and Java are left out: a cluster has its own. tdtool is copied from where it is imported, since venv-pack
    refuses an editable installation, and since nothing else is sure to be the same code. Finding topics in its sources
    compiles the kernels; a processor of another kind compiles them once more.
    """
    site = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    python, part = f"{folder}/bin/python", f"{goal}.part{SUFFIX}"  # venv-pack goes by the suffix
    compiling = ("bin/python", "-m", "tdtool", "topics", f"{site}/tdtool", "-k", "4", "--quiet", "-o", "compiled.h5")
    return (
        (sys.executable, "-m", "venv", "--clear", str(folder)),
        (python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", *pins(), _PACKER),
        ("cp", "-RL", str(Path(tdtool.__file__).parent), f"{folder}/{site}"),
        ("touch", f"{folder}/{site}/tdtool/kernels/{_KEEP_HERE}"),
        ("env", "-i", f"--chdir={folder}", *compiling),
        ("rm", f"{folder}/compiled.h5"),
        (f"{folder}/bin/venv-pack", "--quiet", "--force", "--prefix", str(folder), "--output", part),
        ("mv", part, str(goal)),
        ("rm", "-rf", str(folder)),
    )


def make(goal: Path) -> None:
    """Make an archive, which takes a minute and the network, or a zip; ClusterError with what the failing step said."""
    log.note(f"making {goal}, once for each version of what is in it")
    with tempfile.TemporaryDirectory(prefix="tdtool-environment-") as scratch, log.task("packing the environment"):
        for step in steps(goal, Path(scratch) / "environment"):
            log.detail(" ".join(step[:4]))
            _run(step)


def pins() -> list[str]:
    """ "name==version" of every package that tdtool needs, directly or not, without its extras."""
    found: dict[str, str] = {}
    waiting = ["tdtool"]
    while waiting:
        for requirement in metadata.requires(waiting.pop()) or ():
            name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
            if "extra ==" in requirement or name.lower() in found:
                continue
            try:
                found[name.lower()] = f"{name}=={metadata.version(name)}"
            except metadata.PackageNotFoundError:
                continue  # needed on other systems only
            waiting.append(name)
    return sorted(found.values(), key=str.lower)


def _digest() -> str:
    """Eight hexadecimal digits that change with the packages, with Python and with any source."""
    digest = hashlib.blake2b(" ".join([*pins(), platform.python_version(), platform.machine()]).encode(), digest_size=4)
    package = Path(tdtool.__file__).parent
    folders = (package, *(path for path in sorted(package.iterdir()) if path.is_symlink()))
    for source in (path for folder in folders for path in sorted(folder.rglob("*"))):
        if source.is_file() and "__pycache__" not in source.parts:
            digest.update(source.relative_to(package).as_posix().encode() + b"\0")
            digest.update(source.read_bytes())
    return digest.hexdigest()


def _run(step: Command) -> None:
    program = shutil.which(step[0]) or step[0]
    try:
        done = subprocess.run([program, *step[1:]], capture_output=True, text=True, check=False)  # noqa: S603 -- ours
    except OSError as error:
        raise _failed(step, error.strerror or str(error)) from error
    if done.returncode:
        raise _failed(step, "\n  ".join((done.stderr or done.stdout).strip().splitlines()[-_LINES_SHOWN:]))


def _failed(step: Command, said: str) -> ClusterError:
    command = " ".join(step[: 4 if "pip" in step else None])
    return ClusterError(
        f"the environment could not be packed: {command} failed\n  {said}",
        hint="name an archive made elsewhere with --environment, or a Python that all machines have with --python",
    )
