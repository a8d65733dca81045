"""`npool.scalars` as PTX, and how elements are read and written: what kernels are made of.

Each intrinsic becomes one or a few instructions that keep NaN. No fast-math anywhere.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from npool import scalars
from npool.cuda.toolkit import intrinsic, ir, literal_intrinsic, types

__all__ = [
    "DECODERS", "ENCODERS", "EXTREMES", "VOCABULARY", "absolute", "caster", "decode_bfloat",
    "decode_half", "divide", "encode_bfloat", "encode_half", "isnan", "least", "loader", "maximum",
    "minimum", "most", "power", "quotient", "remainder", "select", "sqrt", "storer",
]  # fmt: skip

_INT = ir.IntType(32)


def _unified(typingctx: Any, a: Any, b: Any) -> Any:
    """As on the CPU: an integer written in a reducer takes the other's type."""
    if isinstance(a, types.Boolean) and isinstance(b, types.Boolean):
        return types.boolean
    if isinstance(a, types.IntegerLiteral) and not isinstance(b, types.Boolean):
        return types.unliteral(b)
    if isinstance(b, types.IntegerLiteral) and not isinstance(a, types.Boolean):
        return types.unliteral(a)
    return typingctx.unify_types(types.unliteral(a), types.unliteral(b))


_LETTERS = {ir.FloatType(): "f", ir.DoubleType(): "d", ir.IntType(16): "h", ir.IntType(32): "r"}


def _assembly(builder: Any, text: str, kind: Any, *values: Any) -> Any:
    """One PTX instruction without side effects."""
    function = ir.FunctionType(kind, [value.type for value in values])
    constraint = ",".join(["=" + _LETTERS[kind], *(_LETTERS[value.type] for value in values)])
    return builder.call(ir.InlineAsm(function, text, constraint, side_effect=False), values)


def _compare(builder: Any, kind: Any, op: str, a: Any, b: Any) -> Any:
    if isinstance(kind, types.Float):
        return builder.fcmp_ordered(op, a, b)
    if getattr(kind, "signed", False):
        return builder.icmp_signed(op, a, b)
    return builder.icmp_unsigned(op, a, b)


def _extreme(op: str) -> Any:
    name = "max" if op == ">" else "min"

    def typed(typingctx: Any, a: Any, b: Any) -> Any:
        kind = _unified(typingctx, a, b)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            x, y = (
                context.cast(builder, v, t, kind) for v, t in zip(args, signature.args, strict=True)
            )
            if kind == types.float32:  # FMNMX.NAN, from sm_80 on
                text = f"{name}.NaN.f32 $0, $1, $2;"
                return _assembly(builder, text, ir.FloatType(), x, y)
            best = builder.select(_compare(builder, kind, op, x, y), x, y)
            if isinstance(kind, types.Float):  # y already where y is NaN
                best = builder.select(builder.fcmp_ordered("ord", x, x), best, x)
            return best

        return kind(a, b), codegen

    return typed


maximum = literal_intrinsic(_extreme(">"))
minimum = literal_intrinsic(_extreme("<"))


@literal_intrinsic
def select(typingctx: Any, condition: Any, a: Any, b: Any) -> Any:
    """`a` if `condition` else `b`, without a branch."""
    kind = _unified(typingctx, a, b)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        test = context.cast(builder, args[0], signature.args[0], types.boolean)
        x = context.cast(builder, args[1], signature.args[1], kind)
        y = context.cast(builder, args[2], signature.args[2], kind)
        return builder.select(builder.trunc(test, ir.IntType(1)) if test.type.width > 1 else test,
                              x, y)  # fmt: skip

    return kind(condition, a, b), codegen


@intrinsic
def isnan(typingctx: Any, a: Any) -> Any:
    """Whether a float is NaN."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if isinstance(signature.args[0], types.Float):
            return builder.fcmp_unordered("uno", args[0], args[0])
        return ir.Constant(ir.IntType(1), 0)

    return types.boolean(a), codegen


@intrinsic
def absolute(typingctx: Any, a: Any) -> Any:
    """``|a|`` in the type of `a`; the least integer stays, to be read as unsigned."""
    kind = types.unliteral(a)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = args[0]
        if isinstance(kind, types.Float):
            name = "f32" if kind == types.float32 else "f64"
            return _assembly(builder, f"abs.{name} $0, $1;", value.type, value)
        if not getattr(kind, "signed", False):
            return value
        negative = builder.icmp_signed("<", value, ir.Constant(value.type, 0))
        return builder.select(negative, builder.neg(value), value)

    return kind(a), codegen


@intrinsic
def divide(typingctx: Any, a: Any, n: Any) -> Any:
    """``a / n``, rounded correctly, for a whole number `n` that many quotients share.

    The reciprocal, which the compiler takes out of the loop, then one correction by what is left
    over (Markstein 1990, 'Computation of elementary functions on the IBM RISC System/6000
    processor', theorem 8.4): four instructions where a division is a call. A quotient below the
    least normal number may be off by one in the last place.
    """
    kind = typingctx.unify_types(types.unliteral(a), types.unliteral(n))
    kind = kind if isinstance(kind, types.Float) else types.float64

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, y = (
            context.cast(builder, v, t, kind) for v, t in zip(args, signature.args, strict=True)
        )
        fma = builder.module.declare_intrinsic(
            "llvm.fma", [x.type], ir.FunctionType(x.type, [x.type] * 3)
        )
        inverse = builder.fdiv(ir.Constant(x.type, 1.0), y)
        rough = builder.fmul(x, inverse)
        rest = builder.call(fma, [builder.fsub(ir.Constant(x.type, -0.0), rough), y, x])
        better = builder.call(fma, [rest, inverse, rough])
        # Infinity less infinity: the first quotient was right.
        return builder.select(builder.fcmp_ordered("ord", better, better), better, rough)

    return kind(a, n), codegen


@intrinsic
def sqrt(typingctx: Any, a: Any) -> Any:
    """Square root, correctly rounded; NaN below zero."""
    kind = types.unliteral(a)
    kind = kind if isinstance(kind, types.Float) else types.float64

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = context.cast(builder, args[0], signature.args[0], kind)
        name = "f32" if kind == types.float32 else "f64"
        return _assembly(builder, f"sqrt.rn.{name} $0, $1;", value.type, value)

    return kind(a), codegen


@intrinsic
def power(typingctx: Any, a: Any, b: Any) -> Any:
    """``a**b`` by CUDA's libdevice, in the type of `a`: a float32 stays one."""
    kind = a if isinstance(a, types.Float) else types.float64

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values = [
            context.cast(builder, v, t, kind) for v, t in zip(args, signature.args, strict=True)
        ]
        return context.get_function(math.pow, kind(kind, kind))(builder, values)

    return kind(a, b), codegen


#: What each word of `npool.scalars` is compiled to.
VOCABULARY: dict[Any, Any] = {
    scalars.maximum: maximum,
    scalars.minimum: minimum,
    scalars.select: select,
    scalars.isnan: isnan,
    scalars.absolute: absolute,
    scalars.divide: divide,
    scalars.sqrt: sqrt,
    scalars.exp: math.exp,
    scalars.log: math.log,
    scalars.power: power,
}


def caster(dtype: np.dtype[Any]) -> Any:
    """What makes a scalar one of `dtype`."""
    return dtype.type


# --- half types: bits in memory, float32 in registers ---------------------------------------------


def _from_half(convert: Any) -> Any:
    def typed(typingctx: Any, a: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return convert(builder, args[0])

        return types.float32(types.uint16), codegen

    return intrinsic(typed)


def _to_half(text: str) -> Any:
    def typed(typingctx: Any, a: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = context.cast(builder, args[0], signature.args[0], types.float32)
            kind = ir.FunctionType(ir.IntType(16), [value.type])
            return builder.call(ir.InlineAsm(kind, text, "=h,f", side_effect=False), [value])

        return types.uint16(a), codegen

    return intrinsic(typed)


def _half_value(builder: Any, h: Any) -> Any:
    return _assembly(builder, "cvt.f32.f16 $0, $1;", ir.FloatType(), h)


def _bfloat_value(builder: Any, h: Any) -> Any:
    return builder.bitcast(
        builder.shl(builder.zext(h, _INT), ir.Constant(_INT, 16)), ir.FloatType()
    )


def _rounded(text: str, convert: Any) -> Any:
    """To a half type and back."""

    def typed(typingctx: Any, a: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = context.cast(builder, args[0], signature.args[0], types.float32)
            return convert(builder, _assembly(builder, text, ir.IntType(16), value))

        return types.float32(a), codegen

    return intrinsic(typed)


_TO_HALF, _TO_BFLOAT = "cvt.rn.f16.f32 $0, $1;", "cvt.rn.bf16.f32 $0, $1;"
decode_half, decode_bfloat = _from_half(_half_value), _from_half(_bfloat_value)
encode_half, encode_bfloat = _to_half(_TO_HALF), _to_half(_TO_BFLOAT)
VOCABULARY |= {
    scalars.round_float16: _rounded(_TO_HALF, _half_value),
    scalars.round_bfloat16: _rounded(_TO_BFLOAT, _bfloat_value),
}

DECODERS: dict[str, Any] = {"float16": decode_half, "bfloat16": decode_bfloat}
ENCODERS: dict[str, Any] = {"float16": encode_half, "bfloat16": encode_bfloat}


def _native(name: str, kind: str, width: int) -> Any:
    """Max or min of half types as they are stored, one or a packed pair: one instruction."""
    whole = types.uint16 if width == 16 else types.uint32

    def typed(typingctx: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            text = f"{name}.NaN.{kind} $0, $1, $2;"
            return _assembly(builder, text, ir.IntType(width), *args)

        return whole(whole, whole), codegen

    return intrinsic(typed)


#: Max and min of half types as stored: (identity, dtype name, elements) to an instruction.
EXTREMES: dict[tuple[str, str, int], Any] = {
    (end, dtype, lanes): _native(name, short + ("x2" if lanes == 2 else ""), 16 * lanes)
    for end, name in (("lowest", "max"), ("highest", "min"))
    for dtype, short in (("float16", "f16"), ("bfloat16", "bf16"))
    for lanes in (1, 2)
}


# --- vectors ------------------------------------------------------------------------------------


def _whole_words(kind: Any, size: int) -> Any:
    """The vector of 32-bit words that a vector of smaller elements is moved as.

    NVVM would split one of eight halves in two.
    """
    if size <= 4 or getattr(kind.element, "width", 32) >= 32:
        return kind
    return ir.VectorType(_INT, size // 4)


def loader(lanes: int) -> Any:
    """``load(p, i)``: `lanes` elements from the i-th on, by one instruction."""

    def typed(typingctx: Any, p: Any, i: Any) -> Any:
        element = p.dtype

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            at = builder.gep(args[0], [args[1]])
            kind = ir.VectorType(at.type.pointee, lanes)
            size = lanes * (element.bitwidth // 8)
            whole = _whole_words(kind, size)
            vector = builder.load(builder.bitcast(at, whole.as_pointer()), align=size)
            vector = builder.bitcast(vector, kind)
            tuples = context.get_constant_undef(signature.return_type)
            for k in range(lanes):
                value = builder.extract_element(vector, ir.Constant(_INT, k))
                tuples = builder.insert_value(tuples, value, k)
            return tuples

        return types.UniTuple(element, lanes)(p, types.int64), codegen

    return intrinsic(typed)


def storer(lanes: int) -> Any:
    """``store(p, i, values)``: the counterpart."""

    def typed(typingctx: Any, p: Any, i: Any, values: Any) -> Any:
        element = p.dtype

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            at = builder.gep(args[0], [args[1]])
            kind = ir.VectorType(at.type.pointee, lanes)
            vector = ir.Constant(kind, ir.Undefined)
            for k in range(lanes):
                value = builder.extract_value(args[2], k)
                value = context.cast(builder, value, signature.args[2][k], element)
                vector = builder.insert_element(vector, value, ir.Constant(_INT, k))
            size = lanes * (element.bitwidth // 8)
            whole = _whole_words(kind, size)
            vector = builder.bitcast(vector, whole)
            builder.store(vector, builder.bitcast(at, whole.as_pointer()), align=size)
            return context.get_dummy_value()

        return types.void(p, types.int64, values), codegen

    return intrinsic(typed)


def _bound(op: str) -> Any:
    """The lesser or greater of two integers of one type, which stays their type."""

    def typed(typingctx: Any, a: Any, b: Any) -> Any:
        kind = types.unliteral(a)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.select(builder.icmp_signed(op, *args), *args)

        return kind(kind, kind), codegen

    return intrinsic(typed)


least, most = _bound("<"), _bound(">")


def _whole(op: str) -> Any:
    def typed(typingctx: Any, a: Any, b: Any) -> Any:
        kind = types.unliteral(a)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, op)(*args)

        return kind(kind, kind), codegen

    return intrinsic(typed)


#: Quotient and remainder of two counts of one type, in their type: Numba's would have 64 bits.
quotient, remainder = _whole("udiv"), _whole("urem")
