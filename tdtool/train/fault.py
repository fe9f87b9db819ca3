"""Why several processes that trained together ended: which of them was the first, and what was wrong there."""

from __future__ import annotations

import dataclasses
import signal
from typing import Any

from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from tdtool.config import DeviceConfig
from tdtool.errors import ClusterError, TerminatedError
from tdtool.train.rank_process import BUG, DESERTED, INTERRUPTED, OURS, REPORT, SIGNALLED, error_again

#: Kinds of processes that left no report: they died, or were ended by SIGTERM.
DIED, ENDED = "died", "ended"
_GOES_ON = "the same command goes on from the last checkpoint; --max-restarts N does so by itself"
_KILLED = "the system ends processes so when memory is full: a smaller --batch, or --recompute sqrt; " + _GOES_ON


@dataclasses.dataclass(frozen=True)
class Fault:
    """What ended one process, the cause of all that followed.

    kind : as in rank_process, "died" or "ended" (by SIGTERM); exit_code : negative, the signal that ended it; text,
    callstack : what it said of it, "" for nothing; report : of an error of ours.
    """

    rank_id: int
    kind: str
    exit_code: int
    text: str
    callstack: str
    report: dict[str, Any]

    @property
    def final(self) -> bool:
        """Whether it would happen again, or is what the user wants: nothing is started again."""
        return self.kind in (OURS, SIGNALLED)

    def __str__(self) -> str:
        if self.exit_code < 0:
            return f"process {self.rank_id} was ended by {_signal_name(-self.exit_code)}"
        if self.kind == DESERTED:
            return f"process {self.rank_id} lost its connection to another, which has ended or hangs"
        said = f"failed: {self.text}" if self.text else f"ended with exit code {self.exit_code}"
        return f"process {self.rank_id} {said}"

    def error(self, config: DeviceConfig) -> BaseException:
        """What the launcher raises."""
        if self.kind == OURS:
            return error_again(self.report)
        if self.kind == SIGNALLED:
            return KeyboardInterrupt() if self.exit_code == INTERRUPTED else TerminatedError()
        hint = _KILLED if self.exit_code == -signal.SIGKILL else _GOES_ON
        if self.kind == DESERTED and config.nodes > 1:
            hint = "what was wrong is said on another machine; " + _GOES_ON
        error = ClusterError(f"{self}; the others of {config.gpus * config.nodes} were ended", hint=hint)
        error.__cause__ = RuntimeError(f"in that process:\n{self.callstack}") if self.callstack else None
        return error


def first_fault(failures: dict[int, ProcessFailure]) -> Fault:
    """The cause among all processes that ended badly: {rank_id: failure}, at least one.

    An error of ours and a bug say themselves what they are; a process that died says nothing; one that misses another,
    or was told to end, is a consequence. Of several of one kind the earliest, then the lowest rank, counts.
    """
    order = {OURS: 0, BUG: 1, DIED: 2, DESERTED: 3, SIGNALLED: 4, ENDED: 5}
    faults = [(failure.timestamp, _fault(rank_id, failure)) for rank_id, failure in failures.items()]
    return min(faults, key=lambda pair: (order[pair[1].kind], pair[0], pair[1].rank_id))[1]


def _fault(rank_id: int, failure: ProcessFailure) -> Fault:
    report = failure.error_file_data.get(REPORT)
    if report is None:
        kind = ENDED if failure.exitcode == -signal.SIGTERM else DIED
        return Fault(rank_id, kind, failure.exitcode, "", "", {})
    said = failure.error_file_data["message"]
    return Fault(rank_id, report["kind"], failure.exitcode, said["message"], said["extraInfo"]["py_callstack"], report)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
