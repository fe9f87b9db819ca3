"""Which matrix products of the GPU's library make a contraction of two tensors, and running them.

A product takes modes of the plan as rows, columns, sums and batch; what is left are loops of the host. A tensor whose
memory the library cannot take that way is copied ("packed") block by block into a bounded workspace. All choices
depend on sizes and strides alone.

Source: Shi, Niranjan, Anandkumar, Cecka 2016, "Tensor contractions with extended BLAS kernels on CPU and GPU".
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator

from tdtool.kernels.device_gpu import DeviceArray, GemmCall, Gpu, MatrixStrides, gemm_call
from tdtool.kernels.pack_gpu import copy_block
from tdtool.kernels.plan import Mode, Plan

#: Bytes that packed blocks may take together, unless an eighth of the largest tensor is more.
WORK_BYTES = 32 << 20
# What the choice reckons with; only their ratios matter. Seconds of a launch, flops and bytes a second.
_LAUNCH, _FLOPS, _BYTES = 5e-6, 4e13, 2e12
_TILE = 32  # rows and columns that a small product pays for anyway
_LARGEST = 2**31 - 1
_MOST_BATCHES = 65535
#: Calls that are kept ready for the next contraction of the same layouts.
_MOST_KEPT = 64
_SIDES = ("left", "right", "out")
#: The two groups of modes of each tensor, rows of its matrix first.
_GROUPS = {"left": ("rows", "sums"), "right": ("sums", "columns"), "out": ("rows", "columns")}
_NAMES = ("rows", "columns", "sums", "batch")

Group = tuple[Mode, ...]
#: One range of one mode: where it begins, how long it is.
Range = tuple[Mode, int, int]
Block = tuple[Range, ...]


@dataclasses.dataclass(frozen=True)
class Product:
    """Modes by their part in the product, each group from its fastest mode on, and `loops` over whole products.

    chunks : entries of the last mode of rows, columns, sums and batch in one product. packed : which of the left, the
    right and the resulting tensor goes through the workspace.
    """

    rows: Group
    columns: Group
    sums: Group
    batch: Group
    loops: Group
    chunks: tuple[int, int, int, int] = (_LARGEST, _LARGEST, _LARGEST, _MOST_BATCHES)
    packed: tuple[bool, bool, bool] = (False, False, False)

    def group(self, name: str) -> Group:
        """The modes of "rows", "columns", "sums" or "batch"."""
        found: Group = getattr(self, name)
        return found


def run_product(gpu: Gpu, plan: Plan, first: DeviceArray, second: DeviceArray, out: DeviceArray) -> None:
    """Write a planned contraction to `out`. first, second : the operands, exchanged where the plan says so."""
    calls = _direct_calls(plan)
    if calls is None:
        product, begin = choose(plan)
        _Run(gpu, product, (first, second, out), begin).run()
        return
    for call, offsets, adds in calls:
        gpu.gemm(first, second, out, call, offsets=offsets, add=adds)


@functools.lru_cache(maxsize=1024)
def choose(plan: Plan) -> tuple[Product, tuple[int, int, int]]:
    """The product that promises to be fastest, and where the tensors begin once modes that run backwards are turned."""
    offsets = [0, 0, 0]
    groups = []
    for group in (plan.rows, plan.columns, plan.sums, plan.batches):
        turned = [_forwards(mode) for mode in group]
        for mode, after in zip(group, turned, strict=True):
            if mode is not after:
                offsets = [at + (mode.size - 1) * getattr(mode, side) for at, side in zip(offsets, _SIDES, strict=True)]
        groups.append(tuple(turned))
    choices = [_with_packing(choice, plan) for choice in _choices(*groups)]
    best = min(choices, key=lambda choice: _seconds(choice, plan))
    return best, (offsets[0], offsets[1], offsets[2])


def _forwards(mode: Mode) -> Mode:
    """The mode from its other end where all its steps go backwards."""
    steps = mode.left, mode.right, mode.out
    if max(steps) > 0 or min(steps) == 0:
        return mode
    return dataclasses.replace(mode, left=-mode.left, right=-mode.right, out=-mode.out)


def _choices(rows: Group, columns: Group, sums: Group, batches: Group) -> Iterator[Product]:
    """Every single row, column and summed mode with every batch mode; and all modes in their group."""
    singles: list[list[Group]] = [[(mode,) for mode in group] or [()] for group in (rows, columns, sums)]
    for row, column, total in itertools.product(*singles):
        chosen = (*row, *column, *total)
        loops = tuple(mode for mode in (*rows, *columns, *batches, *sums) if mode not in chosen)
        alone: list[Group] = [(mode,) for mode in loops if mode not in sums]
        for batch in [(), *alone]:
            yield Product(row, column, total, batch, tuple(mode for mode in loops if mode not in batch))
    yield Product(rows, columns, sums, batches, ())


def _with_packing(product: Product, plan: Plan) -> Product:
    """Say which tensors are packed, and cut the product so that the workspace holds them."""
    packed = tuple(not _is_direct(product, side) for side in _SIDES)
    product = dataclasses.replace(product, packed=(packed[0], packed[1], packed[2]), chunks=_whole(product))
    limit = max(WORK_BYTES, plan.dtype.itemsize * max(_entries(product, side) for side in _SIDES) // 8)
    return _cut(product, limit // plan.dtype.itemsize)


def _whole(product: Product) -> tuple[int, int, int, int]:
    """The last mode of each group uncut, but for sizes that the library does not take."""
    chunks = []
    for name, most in zip(_NAMES, (_LARGEST, _LARGEST, _LARGEST, _MOST_BATCHES), strict=True):
        sizes = [mode.size for mode in product.group(name)] or [1]
        chunks.append(min(sizes[-1], max(1, most // math.prod(sizes[:-1]))))
    return chunks[0], chunks[1], chunks[2], chunks[3]


def _cut(product: Product, limit: int) -> Product:
    """Halve the chunk that is longest until the packed blocks have at most `limit` entries; runs of 32 are kept whole
    as long as possible."""
    chunks = list(product.chunks)
    while _workspace(product, chunks) > limit:
        used = {
            name for side in _packed_sides(product) for name in (*_GROUPS[side], "batch") if _has(product, name, side)
        }
        places = [place for place, name in enumerate(_NAMES) if name in used and chunks[place] > 1]
        if not places:
            return _with_loops(product, used, limit)
        place = max(places, key=lambda place: chunks[place] / (32 if _NAMES[place] == "batch" else 128))
        half = (chunks[place] + 1) // 2
        chunks[place] = -(-half // 32) * 32 if half > 32 else half
    return dataclasses.replace(product, chunks=(chunks[0], chunks[1], chunks[2], chunks[3]))


def _with_loops(product: Product, used: set[str], limit: int) -> Product:
    """The same with the last mode of each used group as a loop: taken one by one, it does not fit either."""
    dropped = [product.group(name)[-1] for name in used if product.group(name)]
    if not dropped:
        return product
    rows, columns, sums, batch = (product.group(name)[: -1 if name in used else None] for name in _NAMES)
    fewer = Product(rows, columns, sums, batch, (*product.loops, *dropped), packed=product.packed)
    return _cut(dataclasses.replace(fewer, chunks=_whole(fewer)), limit)


def _packed_sides(product: Product) -> list[str]:
    return [side for side, packed in zip(_SIDES, product.packed, strict=True) if packed]


def _has(product: Product, name: str, side: str) -> bool:
    """Whether a tensor has any modes of a group: a batch may leave it as it is."""
    return any(getattr(mode, side) for mode in product.group(name)) or name != "batch"


def _workspace(product: Product, chunks: list[int], sides: list[str] | None = None) -> int:
    """Entries of the packed blocks of all packed tensors, or of some."""
    sizes = {
        name: math.prod(mode.size for mode in product.group(name)[:-1]) * chunk
        for name, chunk in zip(_NAMES, chunks, strict=True)
    }
    return sum(
        sizes[_GROUPS[side][0]] * sizes[_GROUPS[side][1]] * (sizes["batch"] if _has(product, "batch", side) else 1)
        for side in (_packed_sides(product) if sides is None else sides)
    )


def _entries(product: Product, side: str) -> int:
    """How many entries a tensor has."""
    modes = (mode for name in (*_GROUPS[side], "batch", "loops") for mode in product.group(name))
    return math.prod(mode.size for mode in modes if getattr(mode, side))


def _is_direct(product: Product, side: str) -> bool:
    """Whether the library takes a tensor as it lies in memory."""
    step, other, batch = (_step(product.group(name), side) for name in (*_GROUPS[side], "batch"))
    if step is None or other is None or batch is None or batch < 0:
        return False
    size, other_size = (math.prod(mode.size for mode in product.group(name)) for name in _GROUPS[side])
    return _leads(step, size, other, other_size) or _leads(other, other_size, step, size)


def _leads(step: int, size: int, other: int, other_size: int) -> bool:
    """Whether a matrix is columns of `size` contiguous entries that do not overlap, at steps that the library takes."""
    return (step == 1 or size == 1) and (size <= other <= _LARGEST or other_size == 1)


def _step(group: Group, side: str) -> int | None:
    """The step of modes that lie one after another as one mode in a tensor; None where they do not. Nothing: 0."""
    steps = [int(getattr(mode, side)) for mode in group]
    for mode, step, outer in zip(group, steps, steps[1:], strict=False):
        if step * mode.size != outer:
            return None
    return steps[0] if steps else 0


def _seconds(product: Product, plan: Plan) -> float:
    """A rough forecast: launches, padded arithmetic, bytes of packing."""
    sizes = [math.prod(mode.size for mode in product.group(name)) for name in _NAMES]
    padded = [-(-sizes[0] // _TILE) * _TILE, -(-sizes[1] // _TILE) * _TILE, -(-sizes[2] // 8) * 8]
    n_loops = math.prod(mode.size for mode in product.loops)
    flops = (8 if plan.dtype.kind == "c" else 2) * math.prod(padded) * sizes[3] * n_loops
    moved = 2 * sum(_entries(product, side) for side in _packed_sides(product)) * plan.dtype.itemsize
    cuts = math.prod(-(-whole // chunk) for whole, chunk in zip(_whole(product), product.chunks, strict=True))
    return n_loops * cuts * (1 + sum(product.packed)) * _LAUNCH + flops / _FLOPS + moved / _BYTES


@functools.lru_cache(maxsize=1024)
def _direct_calls(plan: Plan) -> tuple[tuple[GemmCall, tuple[int, int, int], bool], ...] | None:
    """The library's calls, where each begins and whether it adds; None where tensors are packed or calls are many."""
    product, begin = choose(plan)
    if any(product.packed) or math.prod(mode.size for mode in product.loops) > _MOST_KEPT:
        return None
    calls = []
    for place, part, adds in _blocks(product):
        block = (*place, *part)
        left, right, out = (_offset(begin, side, block) for side in _SIDES)
        calls.append((_call(product, _sizes(product, block)), (left, right, out), adds))
    return tuple(calls)


class _Run:
    """A contraction in blocks on its way: the workspace of the packed tensors, and which block each of them holds."""

    def __init__(
        self,
        gpu: Gpu,
        product: Product,
        arrays: tuple[DeviceArray, DeviceArray, DeviceArray],
        begin: tuple[int, int, int],
    ) -> None:
        self._gpu, self._product, self._begin = gpu, product, begin
        self._arrays = dict(zip(_SIDES, arrays, strict=True))
        self._packed = _packed_sides(product)
        self._buffers: dict[str, DeviceArray] = {}
        for side in self._packed:
            self._buffers[side] = gpu.empty(_workspace(product, list(product.chunks), [side]), arrays[2].dtype)
        self._held: dict[str, object] = {}

    def run(self) -> None:
        """All blocks of the output, each with all parts of its sum."""
        calls: dict[tuple[int, ...], GemmCall] = {}
        last: Block = ()
        for place, part, adds in _blocks(self._product):
            if not adds and last:
                self._write(last)
            last, block = place, (*place, *part)
            key = tuple(length for _, _, length in block)
            call = calls.get(key)
            if call is None:
                call = calls[key] = _call(self._product, _sizes(self._product, block))
            self._multiply(call, block, add=adds)
        self._write(last)

    def _multiply(self, call: GemmCall, block: Block, *, add: bool) -> None:
        for side in self._packed:
            own = tuple(part for part in block if getattr(part[0], side) or self._is_in_matrix(part[0], side))
            if side != "out" and self._held.get(side) != own:
                self._copy(side, own)
                self._held[side] = own
        left, right, out = (self._buffers.get(side, self._arrays[side]) for side in _SIDES)
        at, begin, to = (0 if side in self._packed else _offset(self._begin, side, block) for side in _SIDES)
        self._gpu.gemm(left, right, out, call, offsets=(at, begin, to), add=add)

    def _is_in_matrix(self, mode: Mode, side: str) -> bool:
        return any(mode in self._product.group(name) for name in _GROUPS[side])

    def _write(self, place: Block) -> None:
        """A block of the result is complete."""
        if "out" in self._packed:
            self._copy("out", place)

    def _copy(self, side: str, block: Block) -> None:
        """Bring a block of a tensor into its workspace, or one of the result out of it."""
        sizes, modes, step = _sizes(self._product, block), [], 1
        names = (*_order(self._product, side), *(["batch"] if _has(self._product, "batch", side) else []))
        for name in names:
            for mode in sizes[name]:
                modes.append((mode.size, int(getattr(mode, side)), step))
                step *= mode.size
        begin, array, buffer = _offset(self._begin, side, block), self._arrays[side], self._buffers[side]
        if side == "out":
            back = tuple((size, there, here) for size, here, there in modes)
            copy_block(self._gpu, buffer, array, back, (0, begin))
        else:
            copy_block(self._gpu, array, buffer, tuple(modes), (begin, 0))


def _blocks(product: Product) -> Iterator[tuple[Block, Block, bool]]:
    """(block of the output, part of its sum, whether it is added) in turn; the parts of a block follow each other."""
    chunked = [
        (product.group(name)[-1], chunk)
        for name, chunk in zip(_NAMES, product.chunks, strict=True)
        if product.group(name)
    ]
    chunked += [(mode, 1) for mode in product.loops]
    free = [_ranges(mode, chunk) for mode, chunk in chunked if mode.out]
    sums = [_ranges(mode, chunk) for mode, chunk in chunked if not mode.out]
    for place in itertools.product(*free):
        for turn, part in enumerate(itertools.product(*sums)):
            yield place, part, turn > 0


def _ranges(mode: Mode, chunk: int) -> list[Range]:
    return [(mode, begin, min(chunk, mode.size - begin)) for begin in range(0, mode.size, chunk)]


def _offset(begin: tuple[int, int, int], side: str, block: Block) -> int:
    return begin[_SIDES.index(side)] + sum(at * int(getattr(mode, side)) for mode, at, _ in block)


def _sizes(product: Product, block: Block) -> dict[str, Group]:
    """The groups as they are in a block: the last mode of each is cut."""
    lengths = {mode: length for mode, _, length in block}
    return {
        name: tuple(dataclasses.replace(mode, size=lengths.get(mode, mode.size)) for mode in product.group(name))
        for name in _NAMES
    }


def _call(product: Product, sizes: dict[str, Group]) -> GemmCall:
    n_rows, n_columns, depth, batch = (math.prod(mode.size for mode in sizes[name]) for name in _NAMES)
    left, right, out = (_strides(product, side, sizes) for side in _SIDES)
    return gemm_call(n_rows, n_columns, depth, left, right, out, batch)


def _strides(product: Product, side: str, sizes: dict[str, Group]) -> MatrixStrides:
    """From row to row, column to column, and matrix to matrix of a tensor or its packed block."""
    if side not in _packed_sides(product):
        row, column, batch = (_step(product.group(name), side) for name in (*_GROUPS[side], "batch"))
        return row or 0, column or 0, batch or 0
    inner, outer = _order(product, side)
    steps = {inner: 1, outer: math.prod(mode.size for mode in sizes[inner])}
    matrix = steps[outer] * math.prod(mode.size for mode in sizes[outer])
    row, column = (steps[name] for name in _GROUPS[side])
    return row, column, matrix if _has(product, "batch", side) else 0


def _order(product: Product, side: str) -> tuple[str, str]:
    """The groups of a packed block, the inner one first: what is fastest in the tensor stays so where it can."""

    def fastest(name: str) -> int:
        return min((abs(getattr(mode, side)) for mode in product.group(name) if mode.size > 1), default=_LARGEST)

    one, two = _GROUPS[side]
    return (one, two) if fastest(one) <= fastest(two) else (two, one)
