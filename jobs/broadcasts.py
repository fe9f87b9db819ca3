"""Large parameters of steps on their way to the executors: each is sent once, however many steps take it."""

from __future__ import annotations

import dataclasses
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pyspark import Broadcast, SparkContext

#: Bytes from which a parameter is broadcast; smaller ones travel with each task.
_LARGE = 1 << 16
#: Broadcasts that no kept state depends on are forgotten when so many steps have not used them.
_UNUSED = 3


@dataclasses.dataclass(frozen=True)
class Parameters:
    """What a step is given, as tasks carry it. sent : places of those that were broadcast."""

    plain: tuple[Any, ...]
    sent: tuple[bool, ...]

    def values(self) -> tuple[Any, ...]:
        """The parameters themselves, on an executor."""
        pairs = zip(self.plain, self.sent, strict=True)
        return tuple(value.value if is_sent else value for value, is_sent in pairs)


@dataclasses.dataclass
class _Sent:
    """lasting : kept state would be computed again from it, so it stays until the end."""

    broadcast: Broadcast[Any]
    original: weakref.ref[Any]
    used: int
    lasting: bool


class Broadcasts:
    """Remembers by identity what was broadcast, and forgets what is not needed any more."""

    def __init__(self, context: SparkContext) -> None:
        self._context = context
        self._sent: list[_Sent] = []
        self._step = 0

    def send(self, parameters: tuple[Any, ...], *, lasting: bool) -> Parameters:
        """Parameters for the tasks of one step. lasting : the step keeps state."""
        self._step += 1
        is_large = tuple(size_of(value) >= _LARGE for value in parameters)
        pairs = zip(parameters, is_large, strict=True)
        return Parameters(
            tuple(self._broadcast(value, lasting) if large else value for value, large in pairs), is_large
        )

    def forget(self) -> None:
        """Take back what nothing depends on and no recent step has used."""
        old = [sent for sent in self._sent if not sent.lasting and self._step - sent.used >= _UNUSED]
        self._sent = [sent for sent in self._sent if not any(sent is gone for gone in old)]
        for sent in old:
            sent.broadcast.destroy()

    def close(self) -> None:
        """Take everything back."""
        for sent in self._sent:
            sent.broadcast.destroy()
        self._sent = []

    def _broadcast(self, value: Any, lasting: bool) -> Broadcast[Any]:
        sent = next((sent for sent in self._sent if sent.original() is value), None)
        if sent is None:
            sent = _Sent(self._context.broadcast(value), weakref.ref(value), self._step, lasting)
            self._sent.append(sent)
        sent.used, sent.lasting = self._step, sent.lasting or lasting
        return sent.broadcast


def size_of(value: Any) -> int:
    """Bytes of the arrays in a parameter."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return sum(size_of(getattr(value, field.name)) for field in dataclasses.fields(value))
    return 0
