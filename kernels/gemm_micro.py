"""The innermost steps of a packed matrix product as vector code: a register tile, and a small transposition.

Each is a plain Python function, which runs where compilation is off, with an overload that emits LLVM vector code for
the processor at hand. Numba's own vectoriser does not keep a two-dimensional tile in registers.

Source: Van Zee and van de Geijn 2015, "BLIS: a framework for rapidly instantiating BLAS functionality".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, overload

from tdtool.kernels.vector_size import VECTOR_BYTES

#: Vectors in a column of the register tile, and its columns: 24 accumulators of 32 registers, or 12 of 16.
VECTORS = 3
COLUMNS = 4 if VECTOR_BYTES == 32 else 8
#: Side of the square that `transpose_square` turns.
SQUARE = 8 if VECTOR_BYTES == 64 else 4


def multiply_tile(vectors, depth, packed, left_at, right_at, out, out_at, columns, column_at, n_columns, add):  # type: ignore[no-untyped-def]
    """Set, or with `add` raise, a tile of `out` by the product of two packed panels.

    vectors : 1, 2 or 3, the rows of the tile in vector registers. packed : row i of step p at left_at + p * (rows of
    three vectors) + i, column j of step p at right_at + p * COLUMNS + j.
    out : entry (i, j) at out_at + columns[column_at + j] + i, for the first n_columns columns.
    """
    width = vectors * (VECTOR_BYTES // packed.itemsize)
    height = VECTORS * (VECTOR_BYTES // packed.itemsize)
    a = packed[left_at : left_at + depth * height].reshape(depth, height)[:, :width]
    b = packed[right_at : right_at + depth * COLUMNS].reshape(depth, COLUMNS)
    tile = np.einsum("pi,pj->ij", a, b)
    for j in range(n_columns):
        begin = out_at + columns[column_at + j]
        if add:
            out[begin : begin + width] += tile[:, j]
        else:
            out[begin : begin + width] = tile[:, j]


def transpose_square(source, offsets, offsets_at, shift, target, target_at, step):  # type: ignore[no-untyped-def]
    """target[target_at + j * step + i] = source[offsets[offsets_at + i] + shift + j] for i, j < SQUARE."""
    for i in range(SQUARE):
        begin = offsets[offsets_at + i] + shift
        for j in range(SQUARE):
            target[target_at + j * step + i] = source[begin + j]


def copy_steps(source, source_at, sums, depth, target, target_at, width, offsets, n_panels, count):  # type: ignore[no-untyped-def]
    """target[target_at + (j * depth + p) * width + i] = source[source_at + sums[p] + offsets[j * width] + i].

    For panels j < n_panels, steps p < depth, rows i < count, which is a multiple of SQUARE.
    """
    for p in range(depth):
        for j in range(n_panels):
            begin, to = source_at + sums[p] + offsets[j * width], target_at + (j * depth + p) * width
            target[to : to + count] = source[begin : begin + count]


@overload(multiply_tile, inline="never")
def _multiply_tile(vectors, depth, packed, left_at, right_at, out, out_at, columns, column_at, n_columns, add):  # type: ignore[no-untyped-def]
    def compiled(vectors, depth, packed, left_at, right_at, out, out_at, columns, column_at, n_columns, add):  # type: ignore[no-untyped-def]
        if vectors == 3:
            _tile(3, depth, packed, left_at, right_at, out, out_at, columns, column_at, n_columns, add)
        elif vectors == 2:
            _tile(2, depth, packed, left_at, right_at, out, out_at, columns, column_at, n_columns, add)
        else:
            _tile(1, depth, packed, left_at, right_at, out, out_at, columns, column_at, n_columns, add)

    return compiled


@overload(transpose_square, inline="never")
def _transpose_square(source, offsets, offsets_at, shift, target, target_at, step):  # type: ignore[no-untyped-def]
    def compiled(source, offsets, offsets_at, shift, target, target_at, step):  # type: ignore[no-untyped-def]
        _square(source, offsets, offsets_at, shift, target, target_at, step)

    return compiled


@overload(copy_steps, inline="never")
def _copy_steps(source, source_at, sums, depth, target, target_at, width, offsets, n_panels, count):  # type: ignore[no-untyped-def]
    def compiled(source, source_at, sums, depth, target, target_at, width, offsets, n_panels, count):  # type: ignore[no-untyped-def]
        _steps(source, source_at, sums, depth, target, target_at, width, offsets, n_panels, count)

    return compiled


class _Emitter:
    """What the emitters below share: pointers into array arguments, vector loads and stores of unknown alignment."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        self.context, self.builder, self.signature, self.arguments = context, builder, signature, arguments
        self.index = ir.IntType(64)

    def integer(self, place: int) -> Any:
        """Argument `place` as a 64-bit integer."""
        return self.context.cast(self.builder, self.arguments[place], self.signature.args[place], types.int64)

    def data(self, place: int) -> Any:
        """Pointer to the first element of array argument `place`."""
        array = self.context.make_array(self.signature.args[place])
        return array(self.context, self.builder, self.arguments[place]).data

    def element(self, place: int) -> Any:
        """LLVM type of the elements of array argument `place`."""
        return self.context.get_data_type(self.signature.args[place].dtype)

    def load(self, pointer: Any, kind: Any, size: int) -> Any:
        value = self.builder.load(self.builder.bitcast(pointer, kind.as_pointer()))
        value.align = size
        return value

    def store(self, value: Any, pointer: Any, size: int) -> None:
        self.builder.store(value, self.builder.bitcast(pointer, value.type.as_pointer())).align = size


def _bytes_of(array: Any) -> int:
    return int(array.dtype.bitwidth) // 8


@intrinsic(prefer_literal=True)
def _tile(typing, vectors, depth, packed, left_at, right_at, out, out_at, columns, column_at, n_columns, add):  # type: ignore[no-untyped-def]
    size = _bytes_of(packed)
    n_vectors = vectors.literal_value
    lanes = VECTOR_BYTES // size

    def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        at = _Emitter(context, builder, signature, arguments)
        kind = ir.VectorType(at.element(2), lanes)
        sums = [cgutils.alloca_once(builder, kind) for _ in range(n_vectors * COLUMNS)]
        for value in sums:
            builder.store(ir.Constant(kind, [ir.Constant(at.element(2), 0.0)] * lanes), value)
        _emit_products(at, kind, sums, n_vectors, size)
        _emit_update(at, kind, sums, n_vectors, size)
        return context.get_dummy_value()

    signature = types.void(vectors, depth, packed, left_at, right_at, out, out_at, columns, column_at, n_columns, add)
    return signature, emit


def _emit_products(at: _Emitter, kind: Any, sums: list[Any], n_vectors: int, size: int) -> None:
    """The loop over the summed index: n_vectors loads, COLUMNS broadcasts and their products."""
    builder, lanes = at.builder, kind.count
    name = f"llvm.fmuladd.v{lanes}f{8 * size}"
    multiply_add = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
    left = builder.gep(at.data(2), [at.integer(3)])
    right = builder.gep(at.data(2), [at.integer(4)])
    undefined = ir.Constant(kind, ir.Undefined)
    spread = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    with cgutils.for_range(builder, at.integer(1)) as loop:
        row = builder.gep(left, [builder.mul(loop.index, at.index(VECTORS * lanes))])
        column = builder.gep(right, [builder.mul(loop.index, at.index(COLUMNS))])
        loaded = [at.load(builder.gep(row, [at.index(v * lanes)]), kind, size) for v in range(n_vectors)]
        for j in range(COLUMNS):
            value = builder.load(builder.gep(column, [at.index(j)]))
            single = builder.insert_element(undefined, value, ir.IntType(32)(0))
            same = builder.shuffle_vector(single, undefined, spread)
            for v, vector in enumerate(loaded):
                total = sums[j * n_vectors + v]
                builder.store(builder.call(multiply_add, [vector, same, builder.load(total)]), total)


def _emit_update(at: _Emitter, kind: Any, sums: list[Any], n_vectors: int, size: int) -> None:
    """Write the sums to the columns of the output that exist, or add them to what is there."""
    builder = at.builder
    out = builder.gep(at.data(5), [at.integer(6)])
    offsets = builder.gep(at.data(7), [at.integer(8)])
    count = at.integer(9)
    for j in range(COLUMNS):
        with builder.if_then(builder.icmp_signed("<", at.index(j), count)):
            column = builder.gep(out, [builder.load(builder.gep(offsets, [at.index(j)]))])
            places = [builder.gep(column, [at.index(v * kind.count)]) for v in range(n_vectors)]
            with builder.if_else(at.arguments[10]) as (then, otherwise):
                with then:
                    for v, place in enumerate(places):
                        old = at.load(place, kind, size)
                        at.store(builder.fadd(old, builder.load(sums[j * n_vectors + v])), place, size)
                with otherwise:
                    for v, place in enumerate(places):
                        at.store(builder.load(sums[j * n_vectors + v]), place, size)


@intrinsic
def _square(typing, source, offsets, offsets_at, shift, target, target_at, step):  # type: ignore[no-untyped-def]
    size = _bytes_of(source)

    def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        at = _Emitter(context, builder, signature, arguments)
        kind = ir.VectorType(at.element(0), SQUARE)
        begins = builder.gep(at.data(1), [at.integer(2)])
        first = builder.gep(at.data(0), [at.integer(3)])
        rows = [
            at.load(builder.gep(first, [builder.load(builder.gep(begins, [at.index(i)]))]), kind, size)
            for i in range(SQUARE)
        ]
        target = builder.gep(at.data(4), [at.integer(5)])
        for j, column in enumerate(_turned(builder, rows)):
            at.store(column, builder.gep(target, [builder.mul(at.integer(6), at.index(j))]), size)
        return context.get_dummy_value()

    return types.void(source, offsets, offsets_at, shift, target, target_at, step), emit


def _turned(builder: Any, rows: list[Any]) -> list[Any]:
    """The columns of a square of vectors, in log2(SQUARE) rounds that swap blocks of 1, 2, 4 ... lanes."""
    width = 1
    while width < SQUARE:
        turned = list(rows)
        for i in range(SQUARE):
            if i & width:
                continue
            low = [lane if not lane & width else SQUARE + lane - width for lane in range(SQUARE)]
            high = [lane + width if not lane & width else SQUARE + lane for lane in range(SQUARE)]
            for place, lanes in ((i, low), (i + width, high)):
                mask = ir.Constant(ir.VectorType(ir.IntType(32), SQUARE), lanes)
                turned[place] = builder.shuffle_vector(rows[i], rows[i + width], mask)
        rows, width = turned, 2 * width
    return rows


@intrinsic
def _steps(typing, source, source_at, sums, depth, target, target_at, width, offsets, n_panels, count):  # type: ignore[no-untyped-def]
    size = _bytes_of(source)

    def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        at = _Emitter(context, builder, signature, arguments)
        kind = ir.VectorType(at.element(0), SQUARE)
        first, target = builder.gep(at.data(0), [at.integer(1)]), builder.gep(at.data(4), [at.integer(5)])
        sums, offsets, depth, width = at.data(2), at.data(7), at.integer(3), at.integer(6)
        chunks = builder.lshr(at.integer(9), at.index(SQUARE.bit_length() - 1))
        with cgutils.for_range(builder, depth) as step:
            begin = builder.gep(first, [builder.load(builder.gep(sums, [step.index]))])
            with cgutils.for_range(builder, at.integer(8)) as panel:
                offset = builder.load(builder.gep(offsets, [builder.mul(panel.index, width)]))
                row = builder.add(builder.mul(panel.index, depth), step.index)
                run, to = builder.gep(begin, [offset]), builder.gep(target, [builder.mul(row, width)])
                with cgutils.for_range(builder, chunks) as chunk:
                    place = builder.mul(chunk.index, at.index(SQUARE))
                    at.store(at.load(builder.gep(run, [place]), kind, size), builder.gep(to, [place]), size)
        return context.get_dummy_value()

    return types.void(source, source_at, sums, depth, target, target_at, width, offsets, n_panels, count), emit
