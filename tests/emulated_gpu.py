"""A GPU that is not there: the kernels run thread by thread on the CPU, everything else by numpy.

What is wrong in a kernel's arithmetic, indices, barriers or parameters, or in the code that starts it, is wrong here
too. What only hardware shows (speed, the order of atomics, limits of registers) is not.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import itertools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tdtool.kernels import device_gpu
from tdtool.kernels.device_gpu import GemmCall, Gpu, Host, kernel_source

_COMPILER = shutil.which("g++")
needs_compiler = pytest.mark.skipif(_COMPILER is None, reason="g++, which runs kernels on the CPU, is not installed")

_FLAGS = ["-std=c++17", "-O2", "-fno-gnu-unique", "-w", "-fPIC", "-shared", "-ffp-contract=fast", "-x", "c++", "-"]
if os.environ.get("TDTOOL_SANITIZE_KERNELS") == "1":  # with libasan loaded first, see CONTRIBUTING.md
    _FLAGS = ["-g", "-fsanitize=address", *_FLAGS]
_KERNEL = re.compile(r'extern "C" __global__ void(?: __launch_bounds__\([^)]*\))?\s+(\w+)\s*\(([^)]*)\)')
_SHARED = re.compile(r"^( *)__shared__ (?:__align__\(\d+\) )?([^;]+?) (\w+)((?:\[[^\],]+\])*);", re.MULTILINE)
_SCALARS = {
    "int": np.int32,
    "unsigned": np.uint32,
    "unsigned int": np.uint32,
    "long long": np.int64,
    "unsigned long long": np.uint64,
    "float": np.float32,
    "double": np.float64,
}
_POINTERS = {**{name: (np.dtype(kind),) for name, kind in _SCALARS.items()}}
_POINTERS |= {
    "unsigned char": (np.dtype(np.uint8), np.dtype(np.bool_)),
    "float2": (np.dtype(np.complex64), np.dtype(np.float32)),
    "double2": (np.dtype(np.complex128), np.dtype(np.float64)),
}


class EmulatedArray(np.ndarray):
    """An array "on the GPU": mixing it with one of the host is an error, as it is with cupy."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = (), **options: Any) -> Any:
        for value in (*inputs, *out):
            _refuse_host(value)
        plain = _plain(inputs)
        if out:
            options["out"] = _plain(out)
        result = getattr(ufunc, method)(*plain, **options)
        return out[0] if len(out) == 1 else _on_device(result)

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        for value in _leaves((arguments, options)):
            _refuse_host(value)
        return _on_device(function(*_plain(arguments), **_plain(options)))


class _Functions:
    """numpy's functions, their results "on the GPU"; those that cupy has, where cupy is there to tell."""

    ndarray = EmulatedArray

    def __init__(self, module: Any, real: Any) -> None:
        self._module, self._real = module, real

    def __getattr__(self, name: str) -> Any:
        if self._real is not None and not hasattr(self._real, name):
            raise AttributeError(f"cupy has no {self._module.__name__}.{name}")
        found = getattr(self._module, name)
        if type(found).__name__ == "module":
            return _Functions(found, getattr(self._real, name, None))
        if isinstance(found, type) or not callable(found):
            return found

        @functools.wraps(found)
        def call(*arguments: Any, **options: Any) -> Any:
            for value in _leaves((arguments, options)):
                if name not in ("asarray", "array"):
                    _refuse_host(value)
            return _on_device(found(*_plain(arguments), **_plain(options)))

        return call


class EmulatedGpu(Gpu):
    """reverse : the threads of a block take turns from the last; fail_at : the allocation that finds no memory, from 1.

    launches : the names of the kernels that ran.
    """

    def __init__(
        self, *, limit: int | None = None, tf32: bool = False, reverse: bool = False, fail_at: int | None = None
    ) -> None:
        try:
            import cupy
        except ImportError:
            cupy = None
        self.xp = _Functions(np, cupy)
        self.tf32, self.memory, self.limit = tf32, 1 << 34, limit or 1 << 33
        self.name, self.n_processors = "emulated", 4
        self.launches: list[str] = []
        self._reverse, self._fail_at, self._allocations = reverse, fail_at, 0

    def to_device(self, array: Host) -> Any:
        self._allocate()
        assert not isinstance(array, EmulatedArray), "to_device of what is there already"
        return np.array(array, order="C").view(EmulatedArray)

    def to_host(self, array: Any) -> Host:
        assert isinstance(array, EmulatedArray), "to_host of what is here already"
        return np.array(array.view(np.ndarray))

    def empty(self, shape: tuple[int, ...] | int, dtype: Any) -> Any:
        self._allocate()
        made = np.empty(shape, dtype)
        made.reshape(-1).view(np.uint8)[...] = 0xFF  # NaN: not yet written
        return made.view(EmulatedArray)

    def zeros(self, shape: tuple[int, ...] | int, dtype: Any) -> Any:
        self._allocate()
        return np.zeros(shape, dtype).view(EmulatedArray)

    def owns(self, array: Any) -> bool:
        return isinstance(array, EmulatedArray)

    def launch(
        self,
        file: str,
        kernel: str,
        grid: tuple[int, ...] | int,
        block: tuple[int, ...] | int,
        *arguments: Any,
        shared: int = 0,
    ) -> None:
        library, parameters = _compiled(file)
        self.launches.append(kernel)
        blocks, threads = _three(grid), _three(block)
        n_threads = threads[0] * threads[1] * threads[2]
        assert 1 <= n_threads <= 1024, f"{kernel}: a block of {n_threads} threads"
        assert 0 <= shared <= 227 * 1024, f"{kernel}: {shared} bytes of shared memory"
        assert max(blocks[1:]) < 65536, f"{kernel}: a grid of {tuple(blocks)} blocks"
        wanted = parameters[kernel]
        assert len(arguments) == len(wanted), f"{kernel} takes {len(wanted)} arguments; {len(arguments)} were given"
        kept = [_argument(kernel, value, *what) for value, what in zip(arguments, wanted, strict=True)]
        places = (ctypes.c_void_p * max(len(kept), 1))(*(value.ctypes.data for value in kept))
        if 0 not in tuple(blocks):
            getattr(library, f"run_{kernel}")(blocks, threads, int(self._reverse), places)

    def pointer(self, array: Any) -> int:
        return int(array.ctypes.data)

    def _product(self, call: GemmCall, pointers: tuple[int, int, int], dtype: np.dtype[Any], *, add: bool) -> None:
        n_rows, n_columns, depth = call.sizes
        shapes = [(n_rows, depth), (depth, n_columns), (n_rows, n_columns)]
        matrices = []
        for pointer, shape, turned, lead, step in zip(
            pointers, shapes, (*call.transposed, False), call.leads, call.steps, strict=True
        ):
            stored = shape[::-1] if turned else shape
            assert lead >= max(stored[0], 1), f"leading dimension {lead} below {stored[0]} rows"
            size = (call.batch - 1) * step + (stored[1] - 1) * lead + stored[0] if min(stored) > 0 else 0
            buffer = (ctypes.c_byte * max(size * dtype.itemsize, 0)).from_address(pointer)
            flat = np.frombuffer(buffer, dtype)
            strides = tuple(dtype.itemsize * s for s in ((step, lead, 1) if turned else (step, 1, lead)))
            matrices.append(np.lib.stride_tricks.as_strided(flat, (call.batch, *shape), strides))
        left, right, out = matrices
        product = np.matmul(left, right)
        out[...] = out + product if add else product

    def stream(self, batches: Iterable[tuple[Host, ...]]) -> Iterator[tuple[Any, ...]]:
        last: tuple[Any, ...] = ()
        for batch in batches:
            arrays = tuple(self.to_device(array) for array in batch)
            yield arrays
            for array in last:  # what came before must not be used any more
                array.view(np.ndarray).reshape(-1).view(np.uint8)[...] = 0xFF
            last = arrays

    def synchronize(self) -> None:
        pass

    def used(self) -> int:
        return 0

    def free_unused(self) -> None:
        pass

    def _allocate(self) -> None:
        self._allocations += 1
        if self._allocations == self._fail_at:
            raise MemoryError("the emulated GPU has no memory left")


def _three(size: tuple[int, ...] | int) -> Any:
    sizes = size if isinstance(size, tuple) else (size,)
    return (ctypes.c_uint * 3)(*sizes, *(1,) * (3 - len(sizes)))


def _argument(kernel: str, value: Any, name: str, kind: str) -> Host:
    """One entry that holds a kernel's argument: a number, or the address of an array. Its type must be the declared."""
    if not kind.endswith("*"):
        assert isinstance(value, np.generic), f"{kernel}: {name} is no numpy scalar"
        assert value.dtype == _SCALARS[kind], f"{kernel}: {name} is {value.dtype}, not {kind}"
        return np.array(value)
    assert isinstance(value, EmulatedArray), f"{kernel}: {name} is not an array of the GPU"
    fits = _POINTERS[kind.removesuffix("*").strip()]
    assert value.dtype in fits, f"{kernel}: {name} is {value.dtype}, not {kind}"
    return np.array(value.ctypes.data, np.uint64)


def kernels_of(file: str) -> dict[str, list[tuple[str, str]]]:
    """name -> (parameter, its type without const) for the kernels of a .cu file."""
    return {name: [_parameter(text) for text in inside.split(",")] for name, inside in _KERNEL.findall(_expanded(file))}


def _expanded(file: str) -> str:
    """The source after the preprocessor, so that kernels which macros make are found too."""
    assert _COMPILER is not None
    command = [_COMPILER, "-E", "-P", "-x", "c++", "-"]
    done = subprocess.run(command, input=kernel_source(file), capture_output=True, text=True, check=True)
    return re.sub(r"\s+", " ", done.stdout)


def _parameter(text: str) -> tuple[str, str]:
    words = re.sub(r"\b(const|__restrict__)\b", " ", text).replace("*", " * ").split()
    name = words.pop()
    return name, " ".join(words).replace(" *", "*")


@functools.cache
def _compiled(file: str) -> tuple[ctypes.CDLL, dict[str, list[tuple[str, str]]]]:
    """The kernels of a file as functions of the CPU, and their parameters."""
    parameters = kernels_of(file)
    header = Path(__file__).with_name("emulate_cuda.h")
    runs = "".join(
        f'extern "C" void run_{name}(const unsigned* g, const unsigned* b, int r, void** a) '
        f"{{ emulated::launch({name}, g, b, r, a); }}\n"
        for name in parameters
    )
    source = f'#include "{header}"\n{_with_shared_arrays(kernel_source(file))}\n{runs}'
    key = hashlib.blake2b((source + header.read_text() + str(_FLAGS)).encode(), digest_size=8).hexdigest()
    folder = Path(tempfile.gettempdir()) / f"tdtool-emulated-{key}"
    target = folder / f"{file}.so"
    if not target.exists():
        folder.mkdir(mode=0o700, exist_ok=True)
        made = folder / f"{file}.{id(source)}.so"
        command = [str(_COMPILER), *_FLAGS, "-o", str(made)]
        subprocess.run(command, input=source, text=True, check=True)
        made.replace(target)
    return ctypes.CDLL(str(target)), parameters


def _with_shared_arrays(text: str) -> str:
    """The source with its arrays in shared memory known to the emulator, so that they begin as NaN in every block."""
    numbers = itertools.count()

    def known(found: re.Match[str]) -> str:
        space, kind, name, sizes = found.groups()
        return f"{space}auto& {name} = emulated::shared<{kind}{sizes}, {next(numbers)}>();"

    return _SHARED.sub(known, text)


def _refuse_host(value: Any) -> None:
    if isinstance(value, np.ndarray) and not isinstance(value, EmulatedArray):
        raise TypeError("an array of the host among arrays of the GPU")


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, (tuple, list)):
        for part in value:
            yield from _leaves(part)
    else:
        yield value


def _plain(value: Any) -> Any:
    if isinstance(value, EmulatedArray):
        return value.view(np.ndarray)
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, (tuple, list)) and type(value) in (tuple, list):
        return type(value)(_plain(part) for part in value)
    return value


def _on_device(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.view(EmulatedArray)
    if isinstance(value, np.generic):
        return np.array(value).view(EmulatedArray)  # cupy's sums are arrays of no dimension
    if isinstance(value, (tuple, list)):
        parts = [_on_device(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> EmulatedGpu:
    """An emulated GPU, which every command that asks for a GPU gets too."""
    found = EmulatedGpu()
    monkeypatch.setattr(device_gpu, "_open", lambda **options: found)
    return found
