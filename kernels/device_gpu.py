"""One GPU: its arrays, launches of our kernels, and the matrix products of its library. Only this file imports cupy.

Everything else that runs on a GPU is written against the class `Gpu`, whose `xp` has the array functions.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: An array in the memory of the GPU.
DeviceArray = Any
Host = NDArray[Any]

_FOLDER = Path(__file__).parent
_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"$', re.MULTILINE)
#: Threads of a block of a kernel that works on one entry a thread.
BLOCK = 256


@dataclasses.dataclass(frozen=True)
class GemmCall:
    """A strided batched matrix product as cuBLAS takes it: matrices by columns, places and steps in entries.

    swapped : the library's first matrix is our second one (it computes the transpose of what we want).
    """

    swapped: bool
    transposed: tuple[bool, bool]
    sizes: tuple[int, int, int]
    leads: tuple[int, int, int]
    steps: tuple[int, int, int]
    batch: int


#: Strides of one matrix in entries: to the next row, to the next column, to the next matrix of the batch.
MatrixStrides = tuple[int, int, int]


def gemm_call(
    n_rows: int, n_columns: int, depth: int, left: MatrixStrides, right: MatrixStrides, out: MatrixStrides, batch: int
) -> GemmCall:
    """How cuBLAS makes out = left right, (n_rows, depth) by (depth, n_columns), without copying.

    Each matrix needs rows or columns of stride 1 that do not overlap. ValueError where one has neither.
    """
    if not _is_by_columns(out, n_rows, n_columns):
        if not _is_by_columns(_turned(out), n_columns, n_rows):
            raise ValueError(f"the result of strides {out[:2]} has no contiguous rows or columns")
        call = gemm_call(n_columns, n_rows, depth, _turned(right), _turned(left), _turned(out), batch)
        return dataclasses.replace(call, swapped=True)
    sizes = (n_rows, depth), (depth, n_columns)
    transposed, leads = [], []
    for strides, shape in zip((left, right), sizes, strict=True):
        by_columns = _is_by_columns(strides, *shape)
        if not by_columns and not _is_by_columns(_turned(strides), *shape[::-1]):
            raise ValueError(f"a matrix of strides {strides[:2]} has no contiguous rows or columns")
        transposed.append(not by_columns)
        leads.append(_lead(strides, *shape) if by_columns else _lead(_turned(strides), *shape[::-1]))
    return GemmCall(
        swapped=False,
        transposed=(transposed[0], transposed[1]),
        sizes=(n_rows, n_columns, depth),
        leads=(leads[0], leads[1], _lead(out, n_rows, n_columns)),
        steps=(left[2], right[2], out[2]),
        batch=batch,
    )


def _turned(strides: MatrixStrides) -> MatrixStrides:
    return strides[1], strides[0], strides[2]


def _is_by_columns(strides: MatrixStrides, n_rows: int, n_columns: int) -> bool:
    """Whether the matrix is columns of contiguous entries."""
    return (strides[0] == 1 or n_rows == 1) and (strides[1] >= n_rows or n_columns == 1)


def _lead(strides: MatrixStrides, n_rows: int, n_columns: int) -> int:
    return max(strides[1] if n_columns > 1 else n_rows, n_rows, 1)


@functools.cache
def kernel_source(file: str) -> str:
    """The text of a .cu file of this folder, with the headers of ours that it includes."""
    text = (_FOLDER / file).read_text(encoding="utf-8")
    return _INCLUDE.sub(lambda found: (_FOLDER / found[1]).read_text(encoding="utf-8"), text)


class Gpu:
    """The current GPU. limit : bytes that its arrays may take together, None for what is free.

    Arrays that are made here hold no values yet unless it says so. Memory that is not there is a MemoryError.
    tf32 : single-precision products may round their factors to ten bits.
    """

    def __init__(self, *, limit: int | None = None, tf32: bool = False) -> None:
        import cupy

        self.xp: Any = cupy
        self.tf32 = tf32
        cupy.get_default_memory_pool().set_limit(size=limit or 0)
        free, self.memory = cupy.cuda.runtime.memGetInfo()
        #: Bytes that may be used.
        self.limit: int = min(limit or free, free)
        properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
        self.name: str = properties["name"].decode()
        self.n_processors: int = properties["multiProcessorCount"]
        self._functions: dict[tuple[str, str], Any] = {}

    def to_device(self, array: Host) -> DeviceArray:
        """A copy in the GPU's memory, C-ordered."""
        return self.xp.asarray(np.ascontiguousarray(array))

    def to_host(self, array: DeviceArray) -> Host:
        """A copy in this process's memory."""
        return np.asarray(self.xp.asnumpy(array))

    def empty(self, shape: tuple[int, ...] | int, dtype: Any) -> DeviceArray:
        """An array of any content."""
        return self.xp.empty(shape, dtype)

    def zeros(self, shape: tuple[int, ...] | int, dtype: Any) -> DeviceArray:
        """An array of zeros."""
        return self.xp.zeros(shape, dtype)

    def owns(self, array: Any) -> bool:
        """Whether an array is one of this GPU's."""
        return isinstance(array, self.xp.ndarray)

    def launch(
        self,
        file: str,
        kernel: str,
        grid: tuple[int, ...] | int,
        block: tuple[int, ...] | int,
        *arguments: Any,
        shared: int = 0,
    ) -> None:
        """Start a kernel of a .cu file; it runs in the order in which everything here is started.

        grid, block : numbers of blocks, and of threads in each. arguments : arrays of the GPU, and numpy scalars of the
        very types of the kernel's parameters. shared : bytes of dynamic shared memory.
        """
        function = self._functions.get((file, kernel))
        if function is None:
            module = self.xp.RawModule(code=kernel_source(file), options=("-std=c++17",))
            function = self._functions[file, kernel] = module.get_function(kernel)
        if shared > function.max_dynamic_shared_size_bytes:
            function.max_dynamic_shared_size_bytes = shared
        sizes = [(size,) if isinstance(size, int) else size for size in (grid, block)]
        if 0 not in sizes[0]:
            function(*sizes, arguments, shared_mem=shared)

    def gemm(
        self,
        left: DeviceArray,
        right: DeviceArray,
        out: DeviceArray,
        call: GemmCall,
        *,
        offsets: tuple[int, int, int] = (0, 0, 0),
        add: bool = False,
    ) -> None:
        """Run a call that `gemm_call` has made on three arrays of one dtype; offsets : entries from where each begins.

        add : to what `out` holds.
        """
        if 0 in call.sizes[:2] or call.batch == 0:
            return
        arrays = zip((left, right, out), offsets, strict=True)
        pointers = [self.pointer(array) + offset * array.itemsize for array, offset in arrays]
        if call.swapped:
            pointers[:2] = pointers[1::-1]
        self._product(call, (pointers[0], pointers[1], pointers[2]), out.dtype, add=add)

    def pointer(self, array: DeviceArray) -> int:
        """The address of the first entry."""
        return int(array.data.ptr)

    def _product(self, call: GemmCall, pointers: tuple[int, int, int], dtype: np.dtype[Any], *, add: bool) -> None:
        from cupy.cuda.device import get_cublas_handle
        from cupy_backends.cuda.libs import cublas

        kind = _CUDA_TYPES[dtype.char]
        compute = cublas.CUBLAS_COMPUTE_64F if dtype.char in "dD" else cublas.CUBLAS_COMPUTE_32F
        if self.tf32 and dtype.char in "fF":
            compute = cublas.CUBLAS_COMPUTE_32F_FAST_TF32
        one, beta = np.ones(1, dtype), np.full(1, add, dtype)
        (a, b, c), (lead_a, lead_b, lead_c), (step_a, step_b, step_c) = pointers, call.leads, call.steps
        transposed = [cublas.CUBLAS_OP_T if turned else cublas.CUBLAS_OP_N for turned in call.transposed]
        cublas.gemmStridedBatchedEx(
            get_cublas_handle(),
            *transposed,
            *call.sizes,
            one.ctypes.data,
            *(a, kind, lead_a, step_a),
            *(b, kind, lead_b, step_b),
            beta.ctypes.data,
            *(c, kind, lead_c, step_c),
            call.batch,
            compute,
            cublas.CUBLAS_GEMM_DEFAULT,
        )

    def stream(self, batches: Iterable[tuple[Host, ...]]) -> Iterator[tuple[DeviceArray, ...]]:
        """Arrays of the GPU for each tuple of arrays, the next one on its way while the last one is worked on.

        Two pinned buffers take turns, so that the memory is that of two tuples, here and on the GPU. What came before
        must no longer be used once the next but one is asked for.
        """
        copies = self.xp.cuda.Stream(non_blocking=True)
        buffers = [_Staging(self.xp), _Staging(self.xp)]
        work = self.xp.cuda.get_current_stream()
        waiting: _Staging | None = None
        for place, batch in enumerate(batches):
            buffer = buffers[place % 2]
            buffer.fill(batch, copies, work)
            if waiting is not None:
                yield waiting.take(work)
            waiting = buffer
        if waiting is not None:
            yield waiting.take(work)

    def synchronize(self) -> None:
        """Wait until all that was started is done."""
        self.xp.cuda.get_current_stream().synchronize()

    def used(self) -> int:
        """Bytes that arrays take now."""
        return int(self.xp.get_default_memory_pool().used_bytes())

    def free_unused(self) -> None:
        """Give back memory that is kept for later arrays."""
        self.xp.get_default_memory_pool().free_all_blocks()


class _Staging:
    """One of two buffers: pinned memory here, arrays of the same sizes on the GPU."""

    def __init__(self, xp: Any) -> None:
        self._xp = xp
        self._pinned: Any = None
        self._arrays: tuple[DeviceArray, ...] = ()
        self._copied = xp.cuda.Event(disable_timing=True)
        self._used = xp.cuda.Event(disable_timing=True)
        self._was_taken = False

    def fill(self, batch: tuple[Host, ...], copies: Any, work: Any) -> None:
        """Begin to copy; waits for the last copy out of the pinned memory, and for the work on the last arrays."""
        self._copied.synchronize()
        n_bytes = max(sum(_whole_pages(array.nbytes) for array in batch), _PAGE)
        if self._pinned is None or self._pinned.mem.size < n_bytes:
            self._pinned = self._xp.cuda.alloc_pinned_memory(n_bytes)
        if self._was_taken:
            self._used.record(work)
            copies.wait_event(self._used)
        self._arrays = ()  # their memory first: both would not fit
        arrays, at = [], 0
        with copies:
            for array in batch:
                staged = np.frombuffer(self._pinned, array.dtype, array.size, at).reshape(array.shape)
                staged[...] = array
                target = self._xp.empty(array.shape, array.dtype)
                if array.nbytes:
                    target.data.copy_from_host_async(staged.ctypes.data, array.nbytes, copies)
                arrays.append(target)
                at += _whole_pages(array.nbytes)
        self._copied.record(copies)
        self._arrays = tuple(arrays)

    def take(self, work: Any) -> tuple[DeviceArray, ...]:
        """The arrays; work that is started from now on waits for their copies."""
        work.wait_event(self._copied)
        self._was_taken = True
        return self._arrays


#: Arrays begin at multiples of so many bytes in a pinned buffer.
_PAGE = 512


def _whole_pages(n_bytes: int) -> int:
    return -(-n_bytes // _PAGE) * _PAGE


#: cudaDataType of numpy's type characters.
_CUDA_TYPES = {"f": 0, "d": 1, "F": 4, "D": 5}

_open: Callable[..., Gpu] = Gpu
_current: Gpu | None = None


def open_gpu(*, limit: int | None = None, tf32: bool = False) -> Gpu:
    """The current GPU. ImportError without cupy; an error of cupy's where there is no GPU that it can use."""
    global _current
    _current = _open(limit=limit, tf32=tf32)
    return _current


def owner(array: Any) -> Gpu | None:
    """The GPU that an array lies on; None for arrays of the host."""
    if type(array) is np.ndarray or _current is None:
        return None
    return _current if _current.owns(array) else None
