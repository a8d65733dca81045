"""Vectors of float32 by one number, rounded as division rounds, without dividing lane by lane.

A division takes 16 cycles for 16 lanes, the reciprocal in float64 10, two fused multiply-adds and a
look at what they made 5 (docs/performance.md).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from npool.cpu.emit import HAS_CLASSES, HAS_FMA
from npool.cpu.values import either, spread

__all__ = ["quotients"]

_I32, _F32, _F64 = ir.IntType(32), ir.FloatType(), ir.DoubleType()


def quotients(b: Any, x: Any, n: Any) -> Any:
    """``x / n``, of a vector and a number of float32."""
    bits = b.bitcast(n, _I32)
    fraction = b.and_(bits, _I32(0x7FFFFF))
    exponent = b.and_(bits, _I32(0x7F800000))
    # By a power of two, of which the reciprocal is exact: that of 2**-126 is 2**126; of larger
    # powers than 2**126 it is subnormal.
    exact = b.and_(
        b.icmp_unsigned("==", fraction, _I32(0)),
        b.icmp_unsigned("<", b.sub(exponent, _I32(1 << 23)), _I32(253 << 23)),
    )
    inverse = b.fdiv(_F32(1.0), n)
    near = b.fmul(x, spread(b, inverse, x.type.count))

    def other() -> Any:
        return _corrected(b, x, n, inverse, near) if HAS_FMA else _by_float64(b, x, n)

    return either(b, exact, lambda: near, other)


def _corrected(b: Any, x: Any, n: Any, inverse: Any, near: Any) -> Any:
    """The same from `near`, which is ``x * inverse``, by two fused multiply-adds.

    `near` is off by two units of its last place at most, its remainder is exact, and the product of
    that and `inverse` is off by 2**-23 of a unit: less than a quotient by an integer below 2**22
    lies from the middle of two neighbours, so the last rounding is that of division (P. Markstein,
    IBM Journal of Research and Development 34, 1990). Subnormal quotients may lie in that middle,
    and of infinity this makes NaN: those, and quotients by other numbers, are made in float64.
    """
    lanes = x.type.count
    kind = ir.FunctionType(x.type, [x.type] * 3)
    fma = cgutils.get_or_insert_function(b.module, kind, f"llvm.fma.v{lanes}f32")
    # Signs are such that of -0 comes -0.
    remainder = b.call(fma, [near, spread(b, n, lanes), b.fneg(x)])
    made = b.call(fma, [b.fneg(remainder), spread(b, inverse, lanes), near])

    mask = ir.IntType(lanes)
    odd = b.bitcast(_subnormal_or_nan(b, made), mask)
    # 2**31 and more, and NaN, become integers that are not below 2**22.
    count = b.fptosi(n, _I32)
    fine = b.and_(
        b.icmp_unsigned("<", count, _I32(1 << 22)), b.fcmp_ordered("==", b.sitofp(count, _F32), n)
    )
    fine = b.and_(fine, b.icmp_unsigned("==", odd, mask(0)))
    return either(b, fine, lambda: made, lambda: _by_float64(b, x, n))


def _subnormal_or_nan(b: Any, x: Any) -> Any:
    lanes = x.type.count
    if HAS_CLASSES and lanes == 16:
        kind = ir.FunctionType(ir.VectorType(ir.IntType(1), lanes), [x.type, _I32])
        classes = cgutils.get_or_insert_function(b.module, kind, "llvm.x86.avx512.fpclass.ps.512")
        return b.call(classes, [x, _I32(0x81 | 0x20)])  # both kinds of NaN; subnormal

    def whole(value: int) -> Any:
        return ir.Constant(ir.VectorType(_I32, lanes), [value] * lanes)

    bits = b.bitcast(x, ir.VectorType(_I32, lanes))
    less = b.sub(b.add(bits, bits), whole(1))  # without the sign; of 0 this is more than any
    return b.or_(b.icmp_unsigned("<", less, whole((1 << 24) - 1)), b.fcmp_unordered("uno", x, x))


def _by_float64(b: Any, x: Any, n: Any) -> Any:
    """The same by the reciprocal in float64: see `npool.cpu.instructions.divide`."""
    lanes = x.type.count
    inverse = spread(b, b.fdiv(_F64(1.0), b.fpext(n, _F64)), lanes)
    return b.fptrunc(b.fmul(b.fpext(x, ir.VectorType(_F64, lanes)), inverse), x.type)
