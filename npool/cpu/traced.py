"""A reducer's scalar functions, run once on whole vectors: what they do is written down as IR.

A reducer's functions are a few operators and words of `npool.scalars`, without branches. Called
with `Lanes` in place of scalars, each operator emits the instruction of a vector, and so a loop
can keep vectors in registers and shift them against one another (`npool.cpu.slides`), which LLVM
makes of no loop over scalars. What has no such instruction, or would have another type in Numba,
raises `Untraceable`; such reducers keep to loops of scalars.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir

from npool import scalars
from npool.cpu.quotients import quotients
from npool.cpu.values import spread
from npool.rebinding import rebound

__all__ = [
    "Lanes",
    "Untraceable",
    "absolute",
    "constant",
    "divide",
    "element",
    "isnan",
    "select",
    "split_lanes",
    "sqrt",
    "traced",
]

_I32 = ir.IntType(32)
BOOL = np.dtype(bool)


class Untraceable(Exception):
    """Raised where a function does more than vectors can."""


def element(dtype: np.dtype[Any]) -> Any:
    """LLVM's type of an element."""
    if dtype.kind == "f":
        return {2: ir.HalfType(), 4: ir.FloatType(), 8: ir.DoubleType()}[dtype.itemsize]
    return ir.IntType(1 if dtype == BOOL else 8 * dtype.itemsize)


class Lanes:
    """One value for each of `n` lanes; while `n` is 1, one for all of them.

    `wrapped` marks sums and products of integers, which Numba would widen: they may not be
    compared or converted to more bits.
    """

    __slots__ = ("b", "dtype", "n", "value", "wrapped")
    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self, b: Any, dtype: np.dtype[Any], value: Any, n: int = 1, wrapped: bool = False
    ) -> None:
        self.b, self.dtype, self.value, self.n, self.wrapped = b, np.dtype(dtype), value, n, wrapped

    def spread(self, n: int) -> Any:
        """The value as a vector of `n` lanes."""
        if self.n == n:
            return self.value
        if isinstance(self.value, ir.Constant):
            return ir.Constant(ir.VectorType(self.value.type, n), [self.value] * n)
        return spread(self.b, self.value, n)

    def alike(self, dtype: Any, value: Any, wrapped: bool = False) -> Lanes:
        """Another value in as many lanes."""
        return Lanes(self.b, dtype, value, self.n, wrapped)

    def astype(self, dtype: Any) -> Lanes:
        """The value as another type, converted as Numba does."""
        dtype, has = np.dtype(dtype), self.dtype
        if dtype == has:
            return self
        if dtype == BOOL:
            raise Untraceable("a number as a truth value")
        b = self.b
        kind = element(dtype) if self.n == 1 else ir.VectorType(element(dtype), self.n)
        if self.wrapped and (dtype.kind == "f" or dtype.itemsize > has.itemsize):
            raise Untraceable("a sum of integers that Numba widens")
        if has.kind == "f" and dtype.kind == "f":
            made = (b.fpext if dtype.itemsize > has.itemsize else b.fptrunc)(self.value, kind)
        elif has.kind == "f":
            made = (b.fptosi if dtype.kind == "i" else b.fptoui)(self.value, kind)
        elif dtype.kind == "f":
            made = (b.sitofp if has.kind == "i" else b.uitofp)(self.value, kind)
        elif dtype.itemsize < has.itemsize:
            made = b.trunc(self.value, kind)
        elif dtype.itemsize > has.itemsize or has == BOOL:
            made = (b.sext if has.kind == "i" else b.zext)(self.value, kind)
        else:
            made = self.value
        return self.alike(dtype, made, self.wrapped)

    def _arithmetic(self, other: Any, on_floats: str, on_integers: str | None) -> Lanes:
        x, y, n = _together(self, other, False)
        if x.dtype.kind == "f":
            return Lanes(self.b, x.dtype, getattr(self.b, on_floats)(x.spread(n), y.spread(n)), n)
        if on_integers is None or x.dtype.kind not in "iu":
            raise Untraceable(f"{on_floats} of {x.dtype}")
        return Lanes(self.b, x.dtype, getattr(self.b, on_integers)(x.spread(n), y.spread(n)), n,
                     True)  # fmt: skip

    def _compared(self, other: Any, op: str) -> Lanes:
        x, y, n = _together(self, other, True)
        if x.wrapped or y.wrapped:
            raise Untraceable("comparison of a sum of integers that Numba widens")
        p, q, b = x.spread(n), y.spread(n), self.b
        if x.dtype.kind == "f":
            # Ordered but for !=, of which NaN is.
            made = (b.fcmp_unordered if op == "!=" else b.fcmp_ordered)(op, p, q)
        elif x.dtype.kind == "i":
            made = b.icmp_signed(op, p, q)
        else:
            made = b.icmp_unsigned(op, p, q)
        return Lanes(b, BOOL, made, n)

    def _bitwise(self, other: Any, op: str) -> Lanes:
        # What a number masks has no sign, whichever type of 64 bits Numba makes of the two.
        masks = op == "and_" and type(other) is int and 0 <= other < 1 << 63
        x, y, n = _together(self, other, masks and self.dtype.itemsize == 8)
        if x.dtype.kind not in "biu":
            raise Untraceable(f"{op} of {x.dtype}")
        return Lanes(self.b, x.dtype, getattr(self.b, op)(x.spread(n), y.spread(n)), n)

    def __add__(self, other: Any) -> Lanes:
        return self._arithmetic(other, "fadd", "add")

    def __sub__(self, other: Any) -> Lanes:
        return self._arithmetic(other, "fsub", "sub")

    def __mul__(self, other: Any) -> Lanes:
        return self._arithmetic(other, "fmul", "mul")

    def __truediv__(self, other: Any) -> Lanes:
        return divide(self, other)

    def __neg__(self) -> Lanes:
        if self.dtype.kind != "f":
            raise Untraceable(f"negative of {self.dtype}")
        return self.alike(self.dtype, self.b.fneg(self.value))

    def __and__(self, other: Any) -> Lanes:
        return self._bitwise(other, "and_")

    def __or__(self, other: Any) -> Lanes:
        return self._bitwise(other, "or_")

    def __rshift__(self, other: Any) -> Lanes:
        if self.dtype.kind not in "iu" or self.dtype.itemsize < 8 or self.wrapped:
            raise Untraceable(f"bits of {self.dtype}, which Numba may widen")
        if type(other) is not int or not 0 <= other < 64:
            raise Untraceable(f"a shift by {other!r}")
        by = constant(self.b, self.dtype, other).spread(self.n)
        shift = self.b.ashr if self.dtype.kind == "i" else self.b.lshr
        return self.alike(self.dtype, shift(self.value, by))

    def __lt__(self, other: Any) -> Lanes:
        return self._compared(other, "<")

    def __gt__(self, other: Any) -> Lanes:
        return self._compared(other, ">")

    def __le__(self, other: Any) -> Lanes:
        return self._compared(other, "<=")

    def __ge__(self, other: Any) -> Lanes:
        return self._compared(other, ">=")

    def __eq__(self, other: Any) -> Lanes:  # type: ignore[override]
        return self._compared(other, "==")

    def __ne__(self, other: Any) -> Lanes:  # type: ignore[override]
        return self._compared(other, "!=")

    def __bool__(self) -> bool:
        raise Untraceable("a branch")


def constant(b: Any, dtype: Any, value: Any) -> Lanes:
    """One number for all lanes."""
    dtype = np.dtype(dtype)
    number = float(value) if dtype.kind == "f" else int(value)
    return Lanes(b, dtype, ir.Constant(element(dtype), number))


def _holds(x: Lanes, number: int) -> bool:
    if x.dtype.kind == "f":
        return abs(number) <= 1 << 24
    return x.dtype.kind in "iu" and np.iinfo(x.dtype).min <= number <= np.iinfo(x.dtype).max


def _together(a: Any, b: Any, literal: bool) -> tuple[Lanes, Lanes, int]:
    """Both as lanes of one type; `literal` lets a number take the other's."""
    builder = a.b if isinstance(a, Lanes) else b.b

    def lanes(value: Any, other: Any) -> Lanes:
        if isinstance(value, Lanes):
            return value
        if isinstance(value, np.generic):
            return constant(builder, value.dtype, value)
        # Numba's are float64, and make that of integers; of a float32, too, which is refused.
        wide = isinstance(other, Lanes) and (other.dtype.kind in "iu" or other.dtype == np.float64)
        if type(value) is float and wide:
            return constant(builder, np.float64, value)
        if literal and type(value) is int and isinstance(other, Lanes) and _holds(other, value):
            return constant(builder, other.dtype, value)
        raise Untraceable(f"{value!r} among vectors")

    x, y = lanes(a, b), lanes(b, a)
    for one, other in ((x, y), (y, x)):
        if one.dtype == np.float64 and other.dtype.kind in "iu":
            x, y = x.astype(np.float64), y.astype(np.float64)
    if x.dtype != y.dtype:
        raise Untraceable(f"{x.dtype} and {y.dtype}")
    return x, y, max(x.n, y.n)


def _extreme(op: str) -> Callable[..., Lanes]:
    def extreme(a: Any, b: Any) -> Lanes:
        # As `npool.cpu.instructions`: two instructions, and NaN stays.
        x, y, n = _together(a, b, True)
        p, q = x.spread(n), y.spread(n)
        builder = x.b
        best = builder.select(x._compared(y, op).value, p, q)
        if x.dtype.kind == "f":
            best = builder.select(builder.fcmp_ordered("ord", p, p), best, p)
        return Lanes(builder, x.dtype, best, n)

    return extreme


def select(condition: Any, a: Any, b: Any) -> Lanes:
    """`npool.scalars.select`."""
    x, y, n = _together(a, b, True)
    n = max(n, condition.n)
    made = x.b.select(condition.spread(n), x.spread(n), y.spread(n))
    return Lanes(x.b, x.dtype, made, n, x.wrapped or y.wrapped)


def isnan(a: Lanes) -> Lanes:
    """`npool.scalars.isnan`."""
    if a.dtype.kind == "f":
        return a.alike(BOOL, a.b.fcmp_unordered("uno", a.value, a.value))
    return constant(a.b, BOOL, 0)


def _intrinsic(name: str, a: Lanes) -> Lanes:
    letter = {4: "f32", 8: "f64"}[a.dtype.itemsize]
    full = f"{name}.{letter}" if a.n == 1 else f"{name}.v{a.n}{letter}"
    kind = ir.FunctionType(a.value.type, [a.value.type])
    module = a.b.module
    function = module.globals.get(full) or ir.Function(module, kind, full)
    return a.alike(a.dtype, a.b.call(function, [a.value]))


def absolute(a: Lanes) -> Lanes:
    """`npool.scalars.absolute`."""
    if a.wrapped:
        raise Untraceable("absolute value of a sum of integers that Numba widens")
    if a.dtype.kind == "f":
        return _intrinsic("llvm.fabs", a)
    if a.dtype.kind == "u":
        return a
    negative = (a < 0).value
    return a.alike(a.dtype, a.b.select(negative, a.b.neg(a.value), a.value))


def divide(a: Any, n: Any) -> Lanes:
    """`npool.scalars.divide`."""
    x, y, lanes = _together(a, n, False)
    if x.dtype.kind != "f":
        raise Untraceable(f"division of {x.dtype}")
    b = x.b
    if x.dtype.itemsize == 8 or y.n > 1 or lanes == 1:
        return Lanes(b, x.dtype, b.fdiv(x.spread(lanes), y.spread(lanes)), lanes)
    return Lanes(b, x.dtype, quotients(b, x.spread(lanes), y.value), lanes)


def sqrt(a: Lanes) -> Lanes:
    """`npool.scalars.sqrt`."""
    if a.dtype.kind != "f":
        raise Untraceable(f"root of {a.dtype}")
    return _intrinsic("llvm.sqrt", a)


def _refused(*values: Any) -> Lanes:
    raise Untraceable("a function of the C library")


_VOCABULARY: dict[Any, Callable[..., Any]] = {
    scalars.maximum: _extreme(">"),
    scalars.minimum: _extreme("<"),
    scalars.select: select,
    scalars.isnan: isnan,
    scalars.absolute: absolute,
    scalars.divide: divide,
    scalars.sqrt: sqrt,
    scalars.exp: _refused,
    scalars.log: _refused,
    scalars.power: _refused,
}
#: Types that a function may call to convert.
_CASTS: dict[Any, Callable[[Lanes], Lanes]] = {
    np.float32: lambda a: a.astype(np.float32),
    np.float64: lambda a: a.astype(np.float64),
}


#: Functions whose own functions are being traced.
_beginning: set[Any] = set()


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, to be called with lanes; what goes wrong in it is `Untraceable`."""
    word = _VOCABULARY.get(function)
    if word is not None:
        return word
    if not isinstance(function, types.FunctionType):
        raise Untraceable(f"{function!r} is no function of Python's")
    if function in _beginning:
        raise Untraceable(f"{function.__name__} calls itself")
    _beginning.add(function)
    try:
        copy = rebound(function, traced)
    finally:
        _beginning.discard(function)
    cells = tuple(
        types.CellType(_CASTS.get(value, value) if isinstance(value, type) else value)
        for value in (cell.cell_contents for cell in copy.__closure__ or ())
    )
    copy = types.FunctionType(
        copy.__code__, copy.__globals__, copy.__name__, copy.__defaults__, cells
    )

    def called(*values: Any) -> Any:
        try:
            return copy(*values)
        except Untraceable:
            raise
        except Exception as error:  # of a function that is meant for numbers
            raise Untraceable(str(error)) from error

    return called


def split_lanes(b: Any, vectors: list[Any], ways: int, n: int, group: int = 1) -> list[Any]:
    """Of `ways` vectors of `n` lanes, one after another: the lanes ``ways * i + p``, for each p.

    With a `group` of more lanes than one, groups of lanes, as many as are whole in a vector; those
    that are over in the results hold anything.
    """
    if ways == 1:
        return vectors
    if ways % 2 == 0 and group == 1:
        # Even and odd lanes, and of both the same again.
        halves: tuple[list[Any], list[Any]] = ([], [])
        for k in range(0, ways, 2):
            for odd, half in enumerate(halves):
                picked = ir.Constant(ir.VectorType(_I32, n), [2 * i + odd for i in range(n)])
                half.append(b.shuffle_vector(vectors[k], vectors[k + 1], picked))
        split = [split_lanes(b, half, ways // 2, n) for half in halves]
        return [phase for pair in zip(*split, strict=True) for phase in pair]
    phases, each = [], n // group * group
    for p in range(ways):
        places = [(ways * (i // group) + p) * group + i % group for i in range(each)]
        places += [0] * (n - each)
        found = vectors[0]
        for k in range(1, ways):
            picked = ir.Constant(
                ir.VectorType(_I32, n),
                [
                    n + place - k * each
                    if place // each == k
                    else (i if k > 1 else min(place, n - 1))
                    for i, place in enumerate(places)
                ],
            )
            found = b.shuffle_vector(found, vectors[k], picked)
        phases.append(found)
    return phases
