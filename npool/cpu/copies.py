"""Loops that only move elements: rows split by their stride or put together, and gathered."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils

from npool.cpu.emit import Emitter, word
from npool.cpu.parts import Words

__all__ = ["gather_row", "interleave_row", "repeat_row", "split_row"]

_I64 = ir.IntType(64)


def split_row(words: Words) -> Any:
    """``d[t * each + i] = s[ways * i + t]`` for each t below `ways`, which is 2 to 4."""

    def emit(e: Emitter, dst: Any, cap: Any, each: Any, src: Any, n: Any, ways: Any) -> None:
        base = e.parts(src, cap, _I64(0))
        phases = [e.parts(dst, cap, e.b.mul(each, _I64(t))) for t in range(4)]

        def rows(ways: int) -> None:
            def body(i: Any) -> None:
                first = e.b.mul(i, _I64(ways), flags=("nuw", "nsw"))
                # All are read before any is written: LLVM then loads whole vectors.
                taken = [
                    e.take(base, e.b.add(first, _I64(t), flags=("nuw", "nsw"))) for t in range(ways)
                ]
                for t, value in enumerate(taken):
                    e.put(phases[t], i, value)

            e.loop(n, body)

        e.choose(ways, rows)

    return word(words, "dst cap each src n ways", emit)


def gather_row(dtype: np.dtype[Any]) -> Any:
    """``line[i] = s[i * stride]``: backwards, and of every 2nd to 4th, in vectors."""
    words = Words((dtype,), dtype, (), 0, None, None, None, (), dtype, False)
    steps = (-1, 2, 3, 4)

    def emit(e: Emitter, line: Any, src: Any, stride: Any, n: Any) -> None:
        b = e.b
        end = b.append_basic_block("gathered")
        blocks = [b.append_basic_block(f"by{step}") for step in steps]
        other = b.append_basic_block("other")
        switch = b.switch(stride, other)
        for step, block in zip(steps, blocks, strict=True):
            switch.add_case(_I64(step), block)

        def copied(i: Any, step: Any) -> None:
            at = b.mul(i, step, flags=("nsw",))
            e.store(line, i, dtype, e.load(src, at, dtype))

        for step, block in zip(steps, blocks, strict=True):
            b.position_at_end(block)
            e.loop(n, partial(copied, step=_I64(step)))
            b.branch(end)
        b.position_at_end(other)
        e.loop(n, lambda i: copied(i, stride), vector=False)
        b.branch(end)
        b.position_at_end(end)

    return word(words, "line src stride n", emit)


def interleave_row(dtype: np.dtype[Any]) -> Any:
    """``d[at + step * i + t] = s[o_t + i]`` for each t below `ways`, which is 1 to 4.

    Where `step` is `ways` as well, the row is written in whole vectors.
    """
    words = Words((dtype,), dtype, (), 0, None, None, None, (), dtype, False)
    size = dtype.itemsize

    def emit(
        e: Emitter, dst: Any, at: Any, step: Any, src: Any, o0: Any, o1: Any, o2: Any, o3: Any,
        ways: Any, n: Any,
    ) -> None:  # fmt: skip
        b = e.b
        bases = [b.add(src, b.mul(o, _I64(size))) for o in (o0, o1, o2, o3)]
        into = b.add(dst, b.mul(at, _I64(size)))

        def rows(count: int) -> None:
            def body(i: Any, apart: Any) -> None:
                first = b.mul(i, apart, flags=("nuw", "nsw"))
                # All are read before any is written: LLVM then stores whole vectors.
                taken = [e.load(base, i, dtype) for base in bases[:count]]
                for t, value in enumerate(taken):
                    e.store(into, b.add(first, _I64(t), flags=("nuw", "nsw")), dtype, value)

            with b.if_else(b.icmp_signed("==", step, _I64(count))) as (together, apart):
                with together:
                    e.loop(n, partial(body, apart=_I64(count)))
                with apart:
                    e.loop(n, partial(body, apart=step), vector=False)

        e.choose(ways, rows)

    return word(words, "dst at step src o0 o1 o2 o3 ways n", emit)


def repeat_row(dtype: np.dtype[Any]) -> Any:
    """``d[at + step * i + t] = s[o + i]`` for each t below `times`.

    In vectors of 32 bytes, the last of which overlaps the one before: `times` is too small for
    loops with remainders (docs/performance.md).
    """
    words = Words((dtype,), dtype, (), 0, None, None, None, (), dtype, False)
    size = dtype.itemsize
    lanes = 32 // size

    def emit(
        e: Emitter, dst: Any, at: Any, step: Any, src: Any, o: Any, times: Any, n: Any
    ) -> None:
        b = e.b
        base = b.add(src, b.mul(o, _I64(size)))
        into = b.add(dst, b.mul(at, _I64(size)))
        kind = ir.VectorType(ir.IntType(8 * size), lanes)
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)

        def put(first: Any, t: Any, vector: Any) -> None:
            e.check(first, t, dtype, _I64(lanes))
            place = b.add(first, b.mul(t, _I64(size)))
            b.store(vector, b.inttoptr(place, kind.as_pointer()), align=size)

        with cgutils.for_range(b, n) as outer:
            value = e.load(base, outer.index, dtype)
            first = b.add(into, b.mul(b.mul(outer.index, step), _I64(size)))
            with b.if_else(b.icmp_signed(">=", times, _I64(lanes))) as (wide, narrow):
                with wide:
                    one = b.insert_element(
                        ir.Constant(kind, ir.Undefined), value, ir.IntType(32)(0)
                    )
                    vector = b.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)
                    end = b.sub(times, _I64(lanes))
                    with cgutils.for_range_slice(b, _I64(0), end, _I64(lanes), _I64) as (t, _):
                        put(first, t, vector)
                    put(first, end, vector)
                with narrow, cgutils.for_range(b, times) as inner:
                    e.store(first, inner.index, dtype, value)

    return word(words, "dst at step src o times n", emit)
