"""The processes that train together, and this one's place among them."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import datetime
import os
import socket
from collections.abc import Iterator

import torch
import torch.distributed as dist

from tdtool.config import DeviceConfig
from tdtool.errors import TerminatedError
from tdtool.train.devices import check_devices, started_as_rank

#: How long one process waits for the others. A dead one is noticed at once, by its closed connections and by whoever
#: started it; this is for those that hang, and longer than any of them may compile or save.
PATIENCE = datetime.timedelta(minutes=10)
LOOPBACK = "127.0.0.1"


@dataclasses.dataclass(frozen=True)
class World:
    """This process among those that train together: rank_id of world_size, local_rank of local_size on this node.

    device : what this process computes on; threads : its share of the cores, which torch uses while the world is open.
    """

    rank_id: int
    world_size: int
    local_rank: int
    device: torch.device
    local_size: int = 1
    threads: int = 1

    @property
    def main(self) -> bool:
        """Whether this process writes and speaks for all."""
        return self.rank_id == 0

    def any_of(self, flag: bool) -> bool:
        """Whether any process says so. All call it; does not wait for a GPU."""
        if self.world_size == 1:
            return flag
        said = torch.tensor([int(flag)])
        dist.all_reduce(said, op=dist.ReduceOp.MAX)
        return bool(said.item())

    def summed(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum of the tensors of all processes, in place. All call it, with equal shapes."""
        if self.world_size > 1:
            dist.all_reduce(tensor)
        return tensor

    def barrier(self) -> None:
        """Wait until all processes are here."""
        self.any_of(False)

    def told(self, text: str) -> str:
        """The text that rank 0 gives, on every rank. All call it."""
        if self.world_size == 1:
            return text
        encoded = text.encode() if self.main else b""
        length = torch.tensor([len(encoded)])
        dist.broadcast(length, src=0)
        letters = torch.zeros(int(length.item()), dtype=torch.uint8)
        if self.main:
            letters[:] = torch.tensor(list(encoded), dtype=torch.uint8)
        dist.broadcast(letters, src=0)
        return bytes(letters.tolist()).decode()


_open: list[World] = []


@contextlib.contextmanager
def open_world(config: DeviceConfig) -> Iterator[World]:
    """This process among those that torchrun or our launcher started, alone otherwise; a world inside another is that.

    At the end of the block, after a signal too, the processes wait for each other, so that none is ended for being the
    last. Raises what `check_devices` raises.
    """
    if _open:
        yield _open[-1]
        return
    world = _placed(config, check_devices(config))
    before = torch.get_num_threads()
    torch.set_num_threads(world.threads)
    try:
        with _joined(world):
            _open.append(world)
            try:
                yield world
            finally:
                _open.pop()
    finally:
        torch.set_num_threads(before)


def _placed(config: DeviceConfig, kind: str) -> World:
    rank_id, world_size, local_rank, local_size = 0, 1, 0, 1
    if started_as_rank():
        rank_id, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        local_rank = int(os.environ.get("LOCAL_RANK", rank_id))
        local_size = int(os.environ.get("LOCAL_WORLD_SIZE", world_size))
    device = torch.device("cuda", local_rank) if kind == "cuda" else torch.device("cpu")
    threads = config.threads or _cores()
    return World(rank_id, world_size, local_rank, device, local_size, max(1, threads // local_size))


@contextlib.contextmanager
def _joined(world: World) -> Iterator[None]:
    """The process group of the world, for as long as the block runs."""
    if world.device.type == "cuda":
        torch.cuda.set_device(world.device)
    if world.world_size == 1:
        yield
        return
    _keep_to_this_machine(world)
    # Flags and counts are summed on the CPU: whoever asks for them does not wait for the GPU.
    backend = "cpu:gloo,cuda:nccl" if world.device.type == "cuda" else "gloo"
    own = _own_store(world)
    place = {} if own is None else {"store": own, "rank": world.rank_id, "world_size": world.world_size}
    dist.init_process_group(backend, timeout=PATIENCE, **place)
    _keep_for_good(dist.group.WORLD)
    try:
        try:
            yield
        except (KeyboardInterrupt, TerminatedError):
            world.barrier()  # all were told to stop and have saved
            raise
        world.barrier()
    finally:
        dist.destroy_process_group()


def _keep_for_good(group: object) -> None:
    """Let nothing free a process group: it ends with the process.

    The last to let go of it is DDP, whose destructor holds the interpreter's lock while it waits for gloo's threads;
    one of these may be waiting for that lock, to let go of its last tensor, and then neither goes on.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(group))


def _keep_to_this_machine(world: World) -> None:
    """Where all processes are on one machine, nothing of them listens to the network."""
    names = {name for _, name in socket.if_nameindex()}
    loopback = next((name for name in ("lo", "lo0") if name in names), None)
    if world.local_size == world.world_size and loopback is not None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)
        os.environ.setdefault("NCCL_SOCKET_IFNAME", loopback)


def _own_store(world: World) -> dist.Store | None:
    """The place where the processes meet; None: as the environment says.

    torch's own listens on all interfaces, so that rank 0 opens the socket itself where all are on one machine. The one
    that torchrun's agent keeps remembers addresses of processes of before a restart: each start has names of its own.
    """
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        store = dist.TCPStore(address, port, world.world_size, timeout=PATIENCE)
        return dist.PrefixStore(f"tdtool/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    if address != LOOPBACK:
        return None
    if not world.main:
        return dist.TCPStore(LOOPBACK, port, world.world_size, timeout=PATIENCE)
    listening = socket.create_server((LOOPBACK, port), backlog=world.world_size)
    return dist.TCPStore(
        LOOPBACK, port, world.world_size, is_master=True, timeout=PATIENCE, master_listen_fd=listening.detach()
    )


def _cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
