"""Which processes are there, what they were started with, and where they listen: from Linux's /proc."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import time
from collections.abc import Callable
from pathlib import Path

_PROC = Path("/proc")
_LISTENING = "0A"


def descendants(pid: int) -> set[int]:
    """A process and all that it and its children started."""
    children: dict[int, list[int]] = {}
    for process in _processes():
        with contextlib.suppress(OSError):
            parent = int((_PROC / str(process) / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(process)
    found, waiting = set(), [pid]
    while waiting:
        found.add(waiting[-1])
        waiting += children.get(waiting.pop(), [])
    return found


def marked(mark: str) -> set[int]:
    """The processes that have a text in their environment, which they inherit."""
    found = set()
    for process in _processes():
        with contextlib.suppress(OSError):
            if mark.encode() in (_PROC / str(process) / "environ").read_bytes():
                found.add(process)
    return found


def command_line(pid: int) -> str:
    """What every user of the machine can read."""
    with contextlib.suppress(OSError):
        return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def listeners(pids: set[int]) -> dict[str, set[int]]:
    """Addresses on which TCP ports are open, with the ports, of some processes."""
    inodes = {inode for pid in pids for inode in _sockets(pid)}
    found: dict[str, set[int]] = {}
    for table in ("tcp", "tcp6"):
        for line in (_PROC / "net" / table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENING and fields[9] in inodes:
                address, _, port = fields[1].partition(":")
                found.setdefault(_address(address), set()).add(int(port, 16))
    return found


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach it."""
    parsed = ipaddress.ip_address(address)
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether it came true in time."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def _processes() -> list[int]:
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]


def _sockets(pid: int) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):
        for link in (_PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                found.update(re.findall(r"socket:\[(\d+)\]", str(link.readlink())))
    return found


def _address(text: str) -> str:
    """Linux writes each 32 bits in the machine's order."""
    words = [
        int.from_bytes(bytes.fromhex(text[i : i + 8]), "little").to_bytes(4, "big") for i in range(0, len(text), 8)
    ]
    return str(ipaddress.ip_address(b"".join(words)))
