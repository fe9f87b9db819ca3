"""The innermost step of a product of a tensor with a narrow matrix: a register tile, fed from where the tensor lies.

A narrow matrix reuses an entry of the tensor so few times that packing the tensor, as a BLAS does, costs as much as the
product. The tile is a plain Python function, which runs where compilation is off, with an overload that emits LLVM
vector code for the processor at hand.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, overload

from tdtool.kernels.vector_size import VECTOR_BYTES

#: The largest tile: 24 sums of 32 registers, or 12 of 16.
MOST_ROWS, MOST_VECTORS = (4 if VECTOR_BYTES == 32 else 8), 3


def add_tile(rows, vectors, depth, scalars, m, p, wide, q, v, out, add):  # type: ignore[no-untyped-def]
    """Set, or with `add` raise, a tile of `out` by a product, one entry of `scalars` with a run of `wide` at a time.

    out[m + i, v + j] = sum over t < depth of scalars[m + i, p + t] wide[q + t, v + j], i < rows, j < vectors registers.
    rows : 8, 4, 2 or 1; vectors : 3, 2 or 1. scalars : (M, P), any strides; wide : (P, W), out : (M, W), rows of
    neighbours in memory; all of one real dtype.
    """
    width = vectors * (VECTOR_BYTES // out.itemsize)
    with np.errstate(invalid="ignore"):
        product = scalars[m : m + rows, p : p + depth] @ wide[q : q + depth, v : v + width]
    if add:
        product = product + out[m : m + rows, v : v + width]
    out[m : m + rows, v : v + width] = product


@overload(add_tile, inline="never")
def _add_tile(rows, vectors, depth, scalars, m, p, wide, q, v, out, add):  # type: ignore[no-untyped-def]
    def compiled(rows, vectors, depth, scalars, m, p, wide, q, v, out, add):  # type: ignore[no-untyped-def]
        if vectors == 3:
            _rows_of_three(rows, depth, scalars, m, p, wide, q, v, out, add)
        elif vectors == 2:
            _rows_of_two(rows, depth, scalars, m, p, wide, q, v, out, add)
        else:
            _rows_of_one(rows, depth, scalars, m, p, wide, q, v, out, add)

    return compiled


def _by_rows(vectors: int) -> Any:
    """A tile of so many registers a row, and of as many rows as it is told."""

    @intrinsic
    def tile(typing, rows, depth, scalars, m, p, wide, q, v, out, add):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            at = _Tile(context, builder, signature, arguments, vectors)
            done = builder.append_basic_block("tile.done")
            choice = builder.switch(context.cast(builder, arguments[0], signature.args[0], types.int64), done)
            for count in (1, 2, 4, 8)[: MOST_ROWS.bit_length()]:
                block = builder.append_basic_block(f"tile.rows{count}")
                choice.add_case(ir.IntType(64)(count), block)
                builder.position_at_end(block)
                at.emit(count)
                builder.branch(done)
            builder.position_at_end(done)
            return context.get_dummy_value()

        return types.void(rows, depth, scalars, m, p, wide, q, v, out, add), emit

    return tile


_rows_of_one, _rows_of_two, _rows_of_three = _by_rows(1), _by_rows(2), _by_rows(3)


class _Tile:
    """Emits the code of one tile; the arguments are those of `tile` above."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any, vectors: int) -> None:
        self.context, self.builder, self.signature, self.arguments = context, builder, signature, arguments
        self.vectors, self.index = vectors, ir.IntType(64)
        self.number = context.get_data_type(signature.args[8].dtype)
        self.size = int(signature.args[8].dtype.bitwidth) // 8
        self.kind = ir.VectorType(self.number, VECTOR_BYTES // self.size)

    def emit(self, rows: int) -> None:
        """out[m.., v..] (+)= scalars[m.., p..] @ wide[q.., v..] for a number of rows."""
        builder = self.builder
        scalar, scalar_row, scalar_step = self.start(2, 3, 4)
        wide, wide_step, _ = self.start(5, 6, 7)
        out, out_row, _ = self.start(8, 3, 7)
        sums = [[cgutils.alloca_once(builder, self.kind) for _ in range(self.vectors)] for _ in range(rows)]
        for total in (total for row in sums for total in row):
            builder.store(ir.Constant(self.kind, [ir.Constant(self.number, 0.0)] * self.kind.count), total)
        with cgutils.for_range(builder, self.integer(1)) as loop:
            self.products(sums, scalar, scalar_row, scalar_step, wide, wide_step, loop.index)
        for i, row in enumerate(sums):
            for j, total in enumerate(row):
                place = self.moved(out, builder.mul(out_row, self.index(i)), j * VECTOR_BYTES)
                self.update(place, builder.load(total))

    def products(
        self, sums: Any, scalar: Any, scalar_row: Any, scalar_step: Any, wide: Any, wide_step: Any, step: Any
    ) -> None:
        builder = self.builder
        name = f"llvm.fmuladd.v{self.kind.count}f{8 * self.size}"
        multiply_add = cgutils.get_or_insert_function(builder.module, ir.FunctionType(self.kind, [self.kind] * 3), name)
        along = builder.mul(wide_step, step)
        loaded = [self.load(self.moved(wide, along, j * VECTOR_BYTES), self.kind) for j in range(self.vectors)]
        undefined = ir.Constant(self.kind, ir.Undefined)
        spread = ir.Constant(ir.VectorType(ir.IntType(32), self.kind.count), [0] * self.kind.count)
        for i, row in enumerate(sums):
            offset = builder.add(builder.mul(scalar_row, self.index(i)), builder.mul(scalar_step, step))
            value = self.load(self.moved(scalar, offset, 0), self.number)
            same = builder.shuffle_vector(
                builder.insert_element(undefined, value, ir.IntType(32)(0)), undefined, spread
            )
            for total, vector in zip(row, loaded, strict=True):
                builder.store(builder.call(multiply_add, [vector, same, builder.load(total)]), total)

    def update(self, place: Any, value: Any) -> None:
        builder = self.builder
        with builder.if_else(self.arguments[9]) as (then, otherwise):
            with then:
                self.store(builder.fadd(self.load(place, self.kind), value), place)
            with otherwise:
                self.store(value, place)

    def start(self, array: int, row: int, column: int) -> tuple[Any, Any, Any]:
        """Address of entry (row, column) of an array argument, and its two strides in bytes."""
        kind = self.signature.args[array]
        made = self.context.make_array(kind)(self.context, self.builder, self.arguments[array])
        strides = cgutils.unpack_tuple(self.builder, made.strides)
        data = self.builder.bitcast(made.data, ir.IntType(8).as_pointer())
        offsets = [self.builder.mul(s, self.integer(at)) for s, at in zip(strides, (row, column), strict=True)]
        return self.moved(data, self.builder.add(*offsets), 0), strides[0], strides[1]

    def integer(self, place: int) -> Any:
        return self.context.cast(self.builder, self.arguments[place], self.signature.args[place], types.int64)

    def moved(self, pointer: Any, offset: Any, constant: int) -> Any:
        return self.builder.gep(pointer, [self.builder.add(offset, self.index(constant))])

    def load(self, pointer: Any, kind: Any) -> Any:
        value = self.builder.load(self.builder.bitcast(pointer, kind.as_pointer()))
        value.align = self.size
        return value

    def store(self, value: Any, pointer: Any) -> None:
        self.builder.store(value, self.builder.bitcast(pointer, value.type.as_pointer())).align = self.size
