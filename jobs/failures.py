"""What went wrong in Spark, in our words: its messages are Java's, and hold the reason somewhere inside."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from tdtool.errors import ClusterError, ResourceError, TdtoolError, UsageError

if TYPE_CHECKING:
    from pyspark import SparkConf

_DYING_SECONDS = 5  # that a JVM takes from its last error to its end
_LONGEST = 300  # characters quoted from Spark
_JAVA_ERROR = re.compile(r"^(?:Caused by: |: )?((?:[\w$]+\.)+[\w$]*(?:Exception|Error)): ?(.*)$", re.MULTILINE)
_PYTHON_TRACEBACK = re.compile(r"PythonException: .*?Traceback \(most recent call last\):\n(.*)", re.DOTALL)
_JAVA_LINES = re.compile(r"^\s*at [\w.$/]+\(|^Caused by: |^Driver stacktrace", re.MULTILINE)
_ROUTINE = re.compile(r"WARNING: |\s+at |Setting |Using Spark's default|To adjust logging|[\d/:. ]+(INFO|WARN) ")
_CUT_OFF = re.compile(
    r"SparkContext was shut down|stopped SparkContext|Answer from Java side is empty|Connection refused|Py4JNetwork"
)
_USER_ERRORS = re.compile(r"IllegalArgumentException|NumberFormatException|SparkIllegalArgument")
_PYTHON_HINT = "PYSPARK_PYTHON or --spark-conf spark.pyspark.python=PROGRAM says which Python the executors run"
_SUBMIT = "`tdtool submit` sends it along"


class TaskError(RuntimeError):
    """An exception in a task that is none of ours; the message ends with it."""


class _Trouble(NamedTuple):
    """A known trouble: what its text holds, and what we say; {0} is the pattern's first group."""

    pattern: str
    error: type[TdtoolError]
    what: str
    hint: str


_TROUBLES = (
    _Trouble(
        r"different version: (\S+) than that in driver: \d",
        ClusterError,
        "the executors' Python is {0}, not that of this process",
        _PYTHON_HINT,
    ),
    _Trouble(r'Cannot run program "([^"]+)"', ClusterError, "the executors have no program {0}", _PYTHON_HINT),
    _Trouble(r"No module named '([\w.]+)'", ClusterError, "the executors' Python has no module {0}", _SUBMIT),
    _Trouble(
        r"(?s)Error from python worker:.*?\n\s*((?:\w+\.)*\w*Error: [^\n]*)",
        ClusterError,
        "the executors' Python cannot run tdtool: {0}",
        _PYTHON_HINT,
    ),
    _Trouble(
        r"No space left on device|Disk quota exceeded",
        ResourceError,
        "the disk that Spark writes to is full",
        "free some space, or choose another place by TMPDIR or --spark-conf spark.local.dir=FOLDER",
    ),
    _Trouble(
        r"bigger than (?:local )?(?:spark\.driver\.)?maxResultSize",
        ResourceError,
        "the results are more than spark.driver.maxResultSize allows",
        "add --spark-conf spark.driver.maxResultSize=4g --spark-conf spark.driver.memory=6g",
    ),
    _Trouble(
        r"\bMemoryError\b",
        ResourceError,
        "a Python process of the executors ran out of memory",
        "fewer topics or components take less, and so do fewer cores an executor: --spark-conf spark.executor.cores=1",
    ),
    _Trouble(
        r"OutOfMemoryError|OOMKilled|exit(?:ed)? with code 52|code:? 137\b|exceeding \w+ memory",
        ResourceError,
        "the executors ran out of memory",
        "--executor-memory gives Java more (spark.executor.memory), --spark-conf spark.executor.memoryOverhead=2g the "
        "Python processes beside it",
    ),
    _Trouble(
        r"InvalidClassException|serialVersionUID|local class incompatible",
        ClusterError,
        "the cluster runs another version of Spark than pyspark here",
        "install the cluster's: pip install pyspark==VERSION",
    ),
    _Trouble(
        r"Python worker exited unexpectedly",
        ClusterError,
        "a Python process of the executors crashed, again and again",
        "out of memory? --spark-conf spark.executor.memoryOverhead=2g gives it more",
    ),
    _Trouble(
        r"ExecutorLostFailure|Master removed our application|FetchFailed",
        ClusterError,
        "executors were lost, again and again",
        "the cluster's logs say why; out of memory? --executor-memory gives them more",
    ),
    _Trouble(
        r"SparkContext was shut down|stopped SparkContext|All masters are unresponsive",
        ClusterError,
        "the cluster has ended our application",
        "its logs say why",
    ),
)


def job_error(error: BaseException, about: str, last_words: Callable[[float], str | None]) -> BaseException:
    """The error to raise for one that a job raised.

    last_words : given seconds to wait, what Spark's Java process printed last when it is gone by then, else None.
    """
    if not _is_sparks(error):
        return error
    text = str(error)
    said = last_words(_DYING_SECONDS if _CUT_OFF.search(text) or isinstance(error, OSError | EOFError) else 0)
    if said is not None:
        return _gone(about, said)
    known = _known(text)
    if known is not None:
        return known.error(f"{about}: {_filled(known, text)}", hint=known.hint)
    traceback = _PYTHON_TRACEBACK.search(text)
    if traceback:
        return TaskError(f"{about}: {_python_reason(traceback[1])}")
    return ClusterError(f"{about}: {java_reason(text)}")


def start_error(error: Exception, master: str, said: str) -> Exception:
    """The error to raise when no context came to be. said : what the Java process has printed."""
    text = f"{error}\n{said}"
    if _USER_ERRORS.search(str(error)):
        return UsageError(f"Spark refuses a setting: {java_reason(str(error))}")
    known = _known(text)
    if known is not None:
        return known.error(f"{master}: {_filled(known, text)}", hint=known.hint)
    return ClusterError(f"{master}: Spark did not start: {java_reason(str(error))}")


def no_executors(master: object, conf: SparkConf, seconds: float) -> ClusterError:
    """A cluster that took us in, and gives us nobody to work."""
    asked = f"{conf.get('spark.executor.memory', '1g')} and {conf.get('spark.executor.cores', 'all')} cores"
    return ClusterError(
        f"{master} gave us no executor within {seconds:.0f} s; we asked for some with {asked}",
        hint="has it workers with so much free? --executor-memory and --spark-conf spark.executor.cores=N ask for less",
    )


def other_version(what: str) -> ClusterError:
    """Another Spark than pyspark's."""
    import pyspark

    version = pyspark.__version__
    return ClusterError(f"{what}, and pyspark is {version}", hint="pip install pyspark==VERSION with Spark's version")


def java_reason(text: str) -> str:
    """The innermost Java exception's words, else the first line."""
    found = [(name, words) for name, words in _JAVA_ERROR.findall(text) if words.strip()]
    reason = found[-1][1] if found else next((line for line in text.splitlines() if line.strip()), "no reason given")
    return reason.strip()[:_LONGEST]


def _is_sparks(error: BaseException) -> bool:
    from py4j.protocol import Py4JError  # type: ignore[import-untyped]
    from pyspark.errors import PySparkException

    return isinstance(error, (Py4JError, PySparkException, EOFError, ConnectionError))


def _known(text: str) -> _Trouble | None:
    return next((trouble for trouble in _TROUBLES if re.search(trouble.pattern, text)), None)


def _filled(trouble: _Trouble, text: str) -> str:
    found = re.search(trouble.pattern, text)
    return trouble.what.format(*(found.groups() if found else ()))


def _python_reason(traceback: str) -> str:
    """The exception at the end of a traceback that Java's own lines follow."""
    lines = [
        line for line in _JAVA_LINES.split(traceback, maxsplit=1)[0].splitlines() if line and not line[0].isspace()
    ]
    return (lines[-1] if lines else "an error without words")[:_LONGEST]


def _gone(about: str, said: str) -> TdtoolError:
    if "OutOfMemoryError" in said or "insufficient memory" in said:
        what = f"{about}: Spark's Java process ran out of memory"
        return ResourceError(what, hint="--spark-conf spark.driver.memory=4g gives it more")
    what = f"{about}: Spark's Java process has ended: {words_of(said) or 'somebody killed it'}"
    return ClusterError(what, hint="the system kills processes when memory runs out")


def words_of(said: str) -> str:
    """The first lines of what a Java process printed that are neither routine nor where in its code it was."""
    lines = [line.strip() for line in said.splitlines() if line.strip() and not _ROUTINE.match(line)]
    return "; ".join(lines[:3])[:_LONGEST]
