"""Rows turned into columns, as LLVM IR: planes made channels that lie together, and back.

A short row fills no vector, but sixteen planes do: turned, one vector holds an element of each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils

from npool.cpu.access import ask
from npool.cpu.emit import Emitter, word
from npool.cpu.vector_ir import LANES, Lanes, vector

__all__ = ["turn"]

_I32, _I64 = ir.IntType(32), ir.IntType(64)


def turn(itemsize: int) -> Any:
    """``dst[c * to + r] = src[r * pitch + c]`` for `m` rows of `n` elements of `itemsize` bytes.

    What lies `ahead` bytes behind what is read, and `beyond` behind what is written, is asked for.
    """
    dtype = np.dtype(f"u{itemsize}")
    kind = vector(ir.IntType(8 * itemsize))

    def emit(
        e: Emitter, dst: Any, to: Any, src: Any, pitch: Any, m: Any, n: Any, ahead: Any,
        beyond: Any,
    ) -> None:  # fmt: skip
        v, b = Lanes(e, np.dtype(np.float32)), e.b
        size = _I64(itemsize)

        def place(base: Any, row: Any, step: Any, column: Any) -> Any:
            return b.add(base, b.mul(b.add(b.mul(row, step), column), size))

        def turned(rows: list[Any]) -> list[Any]:
            # Each stage puts halves of two rows side by side: after four, rows are columns.
            half = LANES // 2
            while half:
                made = list(rows)
                for i in range(LANES):
                    if i & half:
                        continue
                    low = [k if not k & half else k - half + LANES for k in range(LANES)]
                    high = [k + half if not k & half else k + LANES for k in range(LANES)]
                    made[i] = v.pick(rows[i], low, rows[i + half])
                    made[i + half] = v.pick(rows[i], high, rows[i + half])
                rows, half = made, half // 2
            return rows

        def whole(r: Any, c: Any) -> None:
            found = []
            for i in range(LANES):
                at = place(src, b.add(r, _I64(i)), pitch, c)
                found.append(v.load(at, kind, dtype))
                ask(b, b.add(at, ahead), _I64(1))
            for i, value in enumerate(turned(found)):
                at = place(dst, b.add(c, _I64(i)), to, r)
                v.store(value, at, dtype)
                ask(b, b.add(at, beyond), _I64(1))

        def part(r: Any, c: Any) -> None:
            rows, columns = v.least(b.sub(m, r), _I64(LANES)), v.least(b.sub(n, c), _I64(LANES))
            mask, span = v.below(_I64(0), columns), (_I64(0), columns)
            last = b.sub(rows, _I64(1))
            found = [
                v.load(place(src, b.add(r, v.least(_I64(i), last)), pitch, c), kind, dtype, mask,
                       span)
                for i in range(LANES)
            ]  # fmt: skip
            mask, span = v.below(_I64(0), rows), (_I64(0), rows)
            for i, value in enumerate(turned(found)):
                with b.if_then(b.icmp_signed("<", _I64(i), columns)):
                    v.store(value, place(dst, b.add(c, _I64(i)), to, r), dtype, mask, span)

        def each(total: Any, body: Any) -> None:
            """`body` of where blocks start: the last overlaps the one before where it must."""
            blocks = b.sdiv(b.add(total, _I64(LANES - 1)), _I64(LANES))

            def block(i: Any) -> None:
                body(v.most(v.least(b.mul(i, _I64(LANES)), b.sub(total, _I64(LANES))), _I64(0)))

            with cgutils.for_range(b, blocks, intp=_I64) as loop:
                block(loop.index)

        full = b.and_(b.icmp_signed(">=", m, _I64(LANES)), b.icmp_signed(">=", n, _I64(LANES)))
        with b.if_else(full) as (yes, no):
            with yes:
                each(m, lambda r: each(n, lambda c: whole(r, c)))
            with no:
                each(m, lambda r: each(n, lambda c: part(r, c)))

    return word(None, "dst to src pitch m n ahead beyond", emit)
