"""`npool.scalars` as machine instructions, and the storage forms of the half types.

Each intrinsic emits LLVM that vectorises and keeps NaN; what was measured is in
docs/performance.md. No fast-math flag anywhere: it would lose NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import config
from numba.extending import intrinsic

from npool import scalars

__all__ = ["DECODERS", "ENCODERS", "VOCABULARY", "caster", "jit", "select", "view"]


def jit(function: Callable[..., Any], entry: bool = False, inline: bool = False) -> Any:
    """Compile a scalar part or a loop: no GIL, IEEE division, no fast math.

    Only an `entry` is called from Python; the rest need no wrappers for it. What is to `inline` is
    compiled with its caller alone, not by itself as well: a quarter less to compile.
    """
    return numba.njit(
        nogil=True,
        error_model="numpy",
        no_cpython_wrapper=not entry,
        no_cfunc_wrapper=True,
        inline="always" if inline else "never",
    )(function)


def _unified(typingctx: Any, a: Any, b: Any) -> Any:
    if isinstance(a, types.Boolean) and isinstance(b, types.Boolean):
        return types.boolean
    # An integer written in a reducer takes the other's type, if that holds it: uint64 and int64
    # would make float64.
    for one, other in ((a, types.unliteral(b)), (b, types.unliteral(a))):
        if isinstance(one, types.IntegerLiteral) and not isinstance(other, types.Boolean):
            whole = isinstance(other, types.Integer)
            if not whole or other.minval <= one.literal_value <= other.maxval:
                return other
    return typingctx.unify_types(types.unliteral(a), types.unliteral(b))


def _compare(builder: Any, kind: Any, op: str, a: Any, b: Any) -> Any:
    if isinstance(kind, types.Float):
        return builder.fcmp_ordered(op, a, b)
    if getattr(kind, "signed", False):
        return builder.icmp_signed(op, a, b)
    return builder.icmp_unsigned(op, a, b)


def _extreme(op: str) -> Any:
    def typed(typingctx: Any, a: Any, b: Any) -> Any:
        kind = _unified(typingctx, a, b)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            x, y = (
                context.cast(builder, v, t, kind) for v, t in zip(args, signature.args, strict=True)
            )
            # x op y ? x : y is one instruction, and yields y where either is NaN: only a NaN x
            # needs more. Asked as "is x ordered?", that is a mask on the first instruction;
            # asked the other way round, LLVM makes one select of both tests, half as fast.
            best = builder.select(_compare(builder, kind, op, x, y), x, y)
            if isinstance(kind, types.Float):
                best = builder.select(builder.fcmp_ordered("ord", x, x), best, x)
            return best

        return kind(a, b), codegen

    return typed


maximum = intrinsic(prefer_literal=True)(_extreme(">"))
minimum = intrinsic(prefer_literal=True)(_extreme("<"))


@intrinsic(prefer_literal=True)
def select(typingctx: Any, condition: Any, a: Any, b: Any) -> Any:
    """`a` if `condition` else `b`, as one instruction."""
    kind = _unified(typingctx, a, b)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        test = context.cast(builder, args[0], signature.args[0], types.boolean)
        x = context.cast(builder, args[1], signature.args[1], kind)
        y = context.cast(builder, args[2], signature.args[2], kind)
        return builder.select(test, x, y)

    return kind(condition, a, b), codegen


@intrinsic
def isnan(typingctx: Any, a: Any) -> Any:
    """Whether a float is NaN."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if isinstance(signature.args[0], types.Float):
            return builder.fcmp_unordered("uno", args[0], args[0])
        return ir.Constant(ir.IntType(1), 0)

    return types.boolean(a), codegen


def _unary(name: str) -> Any:
    def typed(typingctx: Any, a: Any) -> Any:
        kind = types.unliteral(a)
        kind = kind if isinstance(kind, types.Float) else types.float64

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = context.cast(builder, args[0], signature.args[0], kind)
            function = builder.module.declare_intrinsic(name, [value.type])
            return builder.call(function, [value])

        return kind(a), codegen

    return typed


sqrt = intrinsic(_unary("llvm.sqrt"))


@intrinsic(prefer_literal=False)
def divide(typingctx: Any, a: Any, n: Any) -> Any:
    """``a / n``; of float32, by a reciprocal in float64.

    Vectors are divided lane by lane (16 cycles for 16 lanes, docs/performance.md). A quotient
    of a float32 and an integer below 2**24 lies further from the middle of two neighbours than
    the two roundings in float64 move it, so rounding it to float32 gives what division gives.
    """
    kind = typingctx.unify_types(types.unliteral(a), types.unliteral(n))
    kind = kind if isinstance(kind, types.Float) else types.float64

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, y = (
            context.cast(builder, v, t, kind) for v, t in zip(args, signature.args, strict=True)
        )
        if kind != types.float32:
            return builder.fdiv(x, y)
        double = ir.DoubleType()
        one = ir.Constant(double, 1.0)
        inverse = builder.fdiv(one, builder.fpext(y, double))
        return builder.fptrunc(builder.fmul(builder.fpext(x, double), inverse), ir.FloatType())

    return kind(a, n), codegen


@intrinsic
def absolute(typingctx: Any, a: Any) -> Any:
    """``|a|`` in the type of `a`, as one instruction."""
    kind = types.unliteral(a)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = args[0]
        if isinstance(kind, types.Float):
            return builder.call(
                builder.module.declare_intrinsic("llvm.fabs", [value.type]), [value]
            )
        if not getattr(kind, "signed", False):
            return value
        # The type's minimum stays what it is in two's complement, which read as unsigned is
        # its absolute value.
        negative = builder.icmp_signed("<", value, ir.Constant(value.type, 0))
        return builder.select(negative, builder.neg(value), value)

    return kind(a), codegen


def _bitcast(source: Any, target: Any) -> Any:
    def typed(typingctx: Any, a: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.bitcast(args[0], context.get_value_type(target))

        return target(source), codegen

    return typed


def caster(dtype: np.dtype[Any]) -> Any:
    """What makes a scalar one of `dtype`."""
    return getattr(numba, dtype.name)


@intrinsic
def _pointer(typingctx: Any, a: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), codegen


@jit
def view(at, n, dtype):  # type: ignore[no-untyped-def]
    """The `n` elements of `dtype` at the address `at`, as an array."""
    return numba.carray(_pointer(at), (n,), dtype)


float_of_bits = intrinsic(_bitcast(types.uint32, types.float32))
bits_of_float = intrinsic(_bitcast(types.float32, types.uint32))


@jit
def exp(a):  # type: ignore[no-untyped-def]
    """``e**a``, by the C library."""
    return math.exp(a)


@jit
def log(a):  # type: ignore[no-untyped-def]
    """Natural logarithm, by the C library."""
    return math.log(a)


@jit
def power(a, b):  # type: ignore[no-untyped-def]
    """``a**b``, by the C library."""
    return math.pow(a, b)


#: What each word of `npool.scalars` is compiled to.
VOCABULARY: dict[Any, Any] = {
    scalars.maximum: maximum,
    scalars.minimum: minimum,
    scalars.select: select,
    scalars.isnan: isnan,
    scalars.absolute: absolute,
    scalars.divide: divide,
    scalars.sqrt: sqrt,
    scalars.exp: exp,
    scalars.log: log,
    scalars.power: power,
}


# float16 in and out of float32. x86-64 before 2012 lacks the conversion instructions, and
# LLVM would call a runtime routine that no process has: there, integer arithmetic.
# Where the user names another target for Numba, the host's features say nothing.
HAS_HALF = not (config.CPU_NAME or config.CPU_FEATURES) and llvm.get_host_cpu_features().get(
    "f16c", True
)


@intrinsic
def _half_instruction(typingctx: Any, a: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fpext(builder.bitcast(args[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.uint16), codegen


@intrinsic
def _to_half_instruction(typingctx: Any, a: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        half = builder.fptrunc(args[0], ir.HalfType())
        return builder.bitcast(half, ir.IntType(16))

    return types.uint16(types.float32), codegen


@jit
def half_by_bits(h):  # type: ignore[no-untyped-def]
    """float16 bits to float32, by rebiasing the exponent with one exact multiplication."""
    bits = np.uint32(h)
    sign = np.uint32((bits & np.uint32(0x8000)) << np.uint32(16))
    rest = np.uint32((bits & np.uint32(0x7FFF)) << np.uint32(13))
    # 2**112: subnormal halves come out as normal floats by themselves.
    scaled = bits_of_float(float_of_bits(rest) * np.float32(5.192296858534828e33))
    special = np.uint32(rest | np.uint32(0x7F800000))
    magnitude = select(rest >= np.uint32(0x0F800000), special, scaled)
    return float_of_bits(np.uint32(magnitude | sign))


@jit
def half_to_bits(f):  # type: ignore[no-untyped-def]
    """float32 to float16 bits, rounding half to even."""
    bits = bits_of_float(f)
    sign = np.uint32((bits >> np.uint32(16)) & np.uint32(0x8000))
    rest = np.uint32(bits & np.uint32(0x7FFFFFFF))
    # Normal results: rebias, then round at bit 13.
    odd = np.uint32((rest >> np.uint32(13)) & np.uint32(1))
    normal = np.uint32((rest - np.uint32(0x38000000) + np.uint32(0xFFF) + odd) >> np.uint32(13))
    # Subnormal results: adding 0.5 lets the adder align and round the mantissa.
    small = np.uint32(bits_of_float(float_of_bits(rest) + np.float32(0.5)) - np.uint32(0x3F000000))
    value = select(rest < np.uint32(0x38800000), small, normal)
    value = select(rest >= np.uint32(0x477FF000), np.uint32(0x7C00), value)
    value = select(rest > np.uint32(0x7F800000), np.uint32(0x7E00), value)
    return np.uint16(value | sign)


@jit
def decode_half(h):  # type: ignore[no-untyped-def]
    """float16 bits to float32, by one instruction."""
    return _half_instruction(h)


@jit
def encode_half(f):  # type: ignore[no-untyped-def]
    """float32 to float16 bits, rounding half to even, by one instruction."""
    return _to_half_instruction(np.float32(f))


@jit
def encode_half_by_bits(f):  # type: ignore[no-untyped-def]
    """float32 to float16 bits by `half_to_bits`."""
    return half_to_bits(np.float32(f))


_decode_half = decode_half if HAS_HALF else half_by_bits
_encode_half = encode_half if HAS_HALF else encode_half_by_bits


@jit
def decode_bfloat(h):  # type: ignore[no-untyped-def]
    """bfloat16 bits to float32: its upper half."""
    return float_of_bits(np.uint32(np.uint32(h) << np.uint32(16)))


@jit
def encode_bfloat(f):  # type: ignore[no-untyped-def]
    """float32 to bfloat16 bits, rounding half to even."""
    f = np.float32(f)
    bits = bits_of_float(f)
    odd = np.uint32((bits >> np.uint32(16)) & np.uint32(1))
    rounded = np.uint32((bits + np.uint32(0x7FFF) + odd) >> np.uint32(16))
    quiet = np.uint32((bits >> np.uint32(16)) | np.uint32(0x40))
    return np.uint16(select(f != f, quiet, rounded))


@jit
def round_bfloat16(a):  # type: ignore[no-untyped-def]
    """To bfloat16 and back."""
    return decode_bfloat(encode_bfloat(a))


@jit
def round_float16(a):  # type: ignore[no-untyped-def]
    """To float16 and back."""
    return _decode_half(_encode_half(a))


VOCABULARY |= {scalars.round_bfloat16: round_bfloat16, scalars.round_float16: round_float16}


# A half type's order as an int16: sign-magnitude bits become two's complement, so that max
# and min are one integer instruction. NaN of either sign becomes the end that wins.
def _key(infinity: int, nan: int) -> Any:
    @jit
    def decode(h):  # type: ignore[no-untyped-def]
        bits = np.int16(h)
        key = np.int16(bits ^ ((bits >> np.int16(15)) & np.int16(0x7FFF)))
        is_nan = np.int16(bits & np.int16(0x7FFF)) > np.int16(infinity)
        return select(is_nan, np.int16(nan), key)

    return decode


@jit
def encode_key(key):  # type: ignore[no-untyped-def]
    """An order key back to a half type's bits."""
    return np.uint16(np.int16(key ^ ((key >> np.int16(15)) & np.int16(0x7FFF))))


#: Storage form to accumulator form: (dtype name, form) to a compiled function. The forms:
#: "value", and "highest" and "lowest", the order keys in which NaN wins a max or a min.
DECODERS: dict[tuple[str, str], Any] = {
    ("float16", "value"): _decode_half,
    ("float16", "highest"): _key(0x7C00, 0x7FFF),
    ("float16", "lowest"): _key(0x7C00, -0x8000),
    ("bfloat16", "value"): decode_bfloat,
    ("bfloat16", "highest"): _key(0x7F80, 0x7FFF),
    ("bfloat16", "lowest"): _key(0x7F80, -0x8000),
}
ENCODERS: dict[tuple[str, str], Any] = {
    ("float16", "value"): _encode_half,
    ("bfloat16", "value"): encode_bfloat,
    ("float16", "highest"): encode_key,
    ("float16", "lowest"): encode_key,
    ("bfloat16", "highest"): encode_key,
    ("bfloat16", "lowest"): encode_key,
}
