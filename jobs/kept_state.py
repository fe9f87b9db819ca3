"""What steps leave behind for a partition, on the executors' disks: memory-mapped, and made again where it is lost."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
from threadpoolctl import ThreadpoolController

from tdtool.data.corpus import Partials, Rows, State
from tdtool.data.steps import needs_of
from tdtool.engine import Step, check_kept
from tdtool.jobs.broadcasts import Parameters


@dataclasses.dataclass(frozen=True)
class Version:
    """A step that kept state, with all that it takes to run it again. reads : the versions that it read, by name."""

    number: int
    step: Step
    given: Parameters
    reads: dict[str, Version]


class StateFolder:
    """State of partitions on one executor: folder/PARTITION/VERSION/NAME.npy. A version is there as a whole or not."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def of_run(cls, run: str) -> StateFolder:
        """Beside the executor's own blocks, on the disks that Spark was given; Spark removes it with them."""
        disk = os.environ.get("SPARK_LOCAL_DIRS", "").split(",")[0] or tempfile.gettempdir()
        return cls(Path(disk) / f"tdtool-{run}")

    def load(self, index: int, number: int) -> State | None:
        """Arrays of a version, copied where they are written to; None where they are not here."""
        try:
            paths = sorted((self._folder / str(index) / str(number)).iterdir())
            return {path.stem: np.load(path, mmap_mode="c") for path in paths}
        except FileNotFoundError:
            return None

    def save(self, index: int, number: int, state: State) -> None:
        """Write a version. Another attempt of the same task may have done it already, with the same bits."""
        place = self._folder / str(index)
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = Path(tempfile.mkdtemp(dir=place, prefix="part-"))
        for name, array in state.items():
            np.save(part / f"{name}.npy", array)
        try:
            part.rename(place / str(number))
        except OSError:
            shutil.rmtree(part)
            if not (place / str(number)).is_dir():
                raise

    def forget(self, index: int, live: frozenset[int]) -> None:
        """Remove the versions of a partition that nothing reads any more. What is mapped stays readable."""
        with contextlib.suppress(FileNotFoundError):
            for path in (self._folder / str(index)).iterdir():
                if path.name.isdigit() and int(path.name) not in live:
                    shutil.rmtree(path, ignore_errors=True)


def state_of(version: Version, rows: Rows, folder: StateFolder, *, again: bool) -> State | None:
    """What a version left for a partition. again : make it anew where it is not here, for which `rows` must be whole.

    Steps are pure, so that what is made anew has the same bits as what was lost.
    """
    found = folder.load(rows.index, version.number)
    if found is not None or not again:
        return found
    state = read_state(version.reads, rows, folder, again=True)
    return run_step(version.step, version.given, rows, state or {}, folder, keep_as=version.number)[1]


def read_state(reads: dict[str, Version], rows: Rows, folder: StateFolder, *, again: bool) -> State | None:
    """The arrays that a step reads; None where one is lost and not to be made again."""
    given: State = {}
    for name, version in reads.items():
        state = state_of(version, rows, folder, again=again)
        if state is None:
            return None
        if name in state:
            given[name] = state[name]
    return given


def run_step(
    step: Step, given: Parameters, rows: Rows, state: State, folder: StateFolder, *, keep_as: int | None
) -> tuple[Partials, State]:
    """One step on one partition with one thread of linear algebra; what it keeps is written under `keep_as`."""
    with _libraries().limit(limits=1):
        partials, new = step(rows, state, *given.values())
    check_kept(new, needs_of(step), step)
    if keep_as is not None:
        folder.save(rows.index, keep_as, new)
    return partials, new


@functools.cache
def _libraries() -> ThreadpoolController:
    """The BLAS libraries of this worker process."""
    import scipy.linalg  # noqa: F401 -- its BLAS is another library than numpy's, and must be loaded to be limited

    return ThreadpoolController()
