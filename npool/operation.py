"""One call's meaning: its plan, types, divisor and layout, checked once and kept.

Everything that can be refused is refused here, before anything is allocated or written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from npool import arrays
from npool.averages import ROUNDINGS, average
from npool.bins import Targets, make_bins_plan
from npool.dtypes import (
    accumulator_dtype,
    check_dtype,
    is_half,
    is_integer,
    named_dtype,
    result_dtype,
)
from npool.geometry import Padding, Plan, Sizes, make_plan, plain
from npool.layout import memory_order, readable
from npool.reducers import REDUCERS, Reducer
from npool.values import integer, shown

__all__ = [
    "Operation",
    "Types",
    "bins_operation",
    "checked_divisor",
    "operation",
    "planned_operation",
]

Array = NDArray[Any]
_INDEX_DTYPES = (np.dtype(np.int64), np.dtype(np.int32))


class Types(NamedTuple):
    """What a reducer does to an element type."""

    reducer: Reducer
    accumulator: np.dtype[Any]
    result: np.dtype[Any]


@dataclass(eq=False)
class Operation:
    """A checked call, ready for any array of one shape, dtype and strides."""

    plan: Plan
    types: Types
    include_pad: bool
    divisor: int
    index: np.dtype[Any] | None
    order: tuple[int, ...]
    #: The engine's short way for small calls; False before the first call, None if there is none.
    quick: Any = field(default=False, init=False)

    def apply(self, x: Array, out: Any, starts: tuple[Array, ...] | None = None) -> Any:
        """Pool `x` into `out`, or into a new array in the memory order of `x`.

        `starts` says where windows drawn at random begin (`npool.cpu.engine.fold`).
        """
        if out is None and self.quick:
            result = self.quick(x)
            if result is not None:
                return result
        results = arrays.results(
            x, self.plan.out_shape, self.order, self.types.result, self.index, out
        )
        targets = results.targets
        if targets[0].size:
            source = readable(x)
            if self.types.result.kind == "c" and source.dtype.kind != "c":
                targets[0].imag = 0
                targets = (targets[0].real, *targets[1:])
            _engine().fold(source, targets, self, starts)
            if self.quick is False and starts is None:
                self.quick = _engine().quick(self, x)
        return results.delivered()


_loaded: Any = None


def _engine() -> Any:
    """The CPU engine, and with it Numba: imported at the first call, and kept.

    A call while the interpreter shuts down can no longer import what it has.
    """
    global _loaded
    if _loaded is None:
        from npool.cpu import engine

        _loaded = engine
    return _loaded


_operations: dict[Any, Operation] = {}


def operation(
    x: Array,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Padding,
    dilation: Sizes,
    ceil_mode: bool,
    axes: Sizes | None,
    reduce: str | Reducer,
    dtype: DTypeLike | None,
    count_include_pad: bool | None,
    divisor_override: int | None,
    rounding: str,
    return_indices: bool,
    index_dtype: DTypeLike,
) -> Operation:
    """Check a call of :func:`npool.pool` and return what it means.

    Raises
    ------
    ValueError, TypeError
        For whatever the semantics refuse, in words.
    """
    # Equal keys must mean equal calls, and 2 == 2.0 == True: only plain values are looked up.
    key = None
    if (
        plain(kernel_size) and plain(stride) and plain(padding) and plain(dilation)
        and plain(axes) and type(ceil_mode) is bool and type(return_indices) is bool
        and (count_include_pad is None or type(count_include_pad) is bool)
        and (divisor_override is None or type(divisor_override) is int)
        and type(rounding) is str and (dtype is None or isinstance(dtype, (type, np.dtype)))
        and isinstance(index_dtype, (type, np.dtype))
    ):  # fmt: skip
        key = (x.shape, x.strides, x.dtype, kernel_size, stride, padding, dilation, ceil_mode,
               axes, reduce, dtype, count_include_pad, divisor_override, rounding,
               return_indices, index_dtype)  # fmt: skip
        try:
            found = _operations.get(key)
        except TypeError:  # an unhashable `reduce`, refused below
            key, found = None, None
        if found is not None:
            return found
    made = _checked(
        x, make_plan(x.shape, kernel_size, stride, padding, dilation, ceil_mode, axes), reduce,
        dtype, count_include_pad, divisor_override, rounding, return_indices, index_dtype,
    )  # fmt: skip
    return _kept(key, made)


def bins_operation(
    x: Array,
    output_size: Targets,
    axes: Sizes | None,
    reduce: str | Reducer,
    dtype: DTypeLike | None,
    rounding: str,
    return_indices: bool,
    index_dtype: DTypeLike,
) -> Operation:
    """Check a call of :func:`npool.adaptive_pool` and return what it means.

    Raises
    ------
    ValueError, TypeError
        For whatever the semantics refuse, in words.
    """
    # The plan is cached under what was asked for, and is the same object for the same call.
    plan = make_bins_plan(x.shape, output_size, axes)
    return planned_operation(x, plan, reduce, dtype, rounding, return_indices, index_dtype)


def planned_operation(
    x: Array,
    plan: Plan,
    reduce: str | Reducer,
    dtype: DTypeLike | None,
    rounding: str,
    return_indices: bool,
    index_dtype: DTypeLike,
) -> Operation:
    """What a call whose windows lie inside the input means, given its plan."""
    key = None
    if (
        type(return_indices) is bool and type(rounding) is str
        and (dtype is None or isinstance(dtype, (type, np.dtype)))
        and isinstance(index_dtype, (type, np.dtype))
    ):  # fmt: skip
        key = (plan, x.strides, x.dtype, reduce, dtype, rounding, return_indices, index_dtype)
        try:
            found = _operations.get(key)
        except TypeError:  # an unhashable `reduce`, refused below
            key, found = None, None
        if found is not None:
            return found
    made = _checked(x, plan, reduce, dtype, None, None, rounding, return_indices, index_dtype)
    return _kept(key, made)


def _kept(key: Any, made: Operation) -> Operation:
    if key is not None:
        if len(_operations) >= 4096:
            _operations.clear()
        _operations[key] = made
    return made


def _checked(
    x: Array,
    plan: Plan,
    reduce: str | Reducer,
    dtype: DTypeLike | None,
    count_include_pad: bool | None,
    divisor_override: int | None,
    rounding: str,
    return_indices: bool,
    index_dtype: DTypeLike,
) -> Operation:
    reducer = _named(reduce)
    if arrays.check_flag("return_indices", return_indices) and reducer.positions is None:
        raise ValueError(
            f"return_indices=True needs a reduction that picks an element, got "
            f"{reducer.name!r}: use 'max' or 'min'"
        )
    native = x.dtype if x.dtype.isnative else x.dtype.newbyteorder("=")
    include_pad, divisor = _divisor(reducer, count_include_pad, divisor_override)
    taps = prod(window.kernel for window in plan.windows)
    types = _types(reducer, native, dtype, rounding, taps, divisor)
    _check_empty_windows(plan, types, include_pad, divisor)
    index = _index_dtype(plan, index_dtype, bool(return_indices))
    order = memory_order(x.shape, x.strides)
    return Operation(plan, types, include_pad, divisor, index, order)


def _named(reduce: str | Reducer) -> Reducer:
    if isinstance(reduce, Reducer):
        return reduce
    if not isinstance(reduce, str):
        raise TypeError(
            f"reduce must be a name or an npool.Reducer, got {shown(reduce)} of type "
            f"{type(reduce).__name__}"
        )
    found = REDUCERS.get(reduce)
    if found is None:
        raise ValueError(
            f"reduce={shown(reduce)} is not known: use one of {', '.join(REDUCERS)}, or a Reducer"
        )
    return found


def _types(
    reducer: Reducer, dtype: np.dtype[Any], wanted: DTypeLike | None, rounding: str, taps: int,
    divisor: int,
) -> Types:  # fmt: skip
    averages = reducer is REDUCERS["avg"]
    if not isinstance(rounding, str):
        raise TypeError(f"rounding must be one of {', '.join(ROUNDINGS)}, got {shown(rounding)}")
    if rounding not in ROUNDINGS:
        raise ValueError(
            f"rounding={shown(rounding)} is not known: use one of {', '.join(ROUNDINGS)}"
        )
    if dtype.kind == "c" and not reducer.complex_parts:
        raise TypeError(
            f"{reducer.name!r} of {dtype} is not defined: complex arrays have sum and avg; pool "
            "x.real and x.imag, or numpy.abs(x)"
        )
    result = result_dtype(reducer.result, dtype)
    accumulator = accumulator_dtype(reducer.accumulator, dtype)
    if wanted is not None:
        if not averages and reducer.result != "sum":
            raise ValueError(
                f"dtype={shown(wanted)} is for sums and averages; {reducer.name!r} of {dtype} "
                f"gives {result}: convert the result with astype"
            )
        result = _wanted(wanted, dtype)
        accumulator = _wider(accumulator, result)
    if averages:
        reducer = average(dtype, result, rounding, taps, divisor)
        if reducer is not REDUCERS["avg"]:
            accumulator = accumulator_dtype(reducer.accumulator, dtype)
    if accumulator.kind == "c":
        accumulator = np.dtype(f"f{accumulator.itemsize // 2}")
    return Types(reducer, accumulator, result)


def _wanted(wanted: DTypeLike, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The caller's ``dtype=``, if it can hold a sum of `dtype`."""
    result = named_dtype(wanted, "dtype")
    check_dtype(result, "dtype=")
    if not result.isnative:
        raise TypeError(
            f"dtype={result} is not in native byte order: use {result.newbyteorder('=')}"
        )
    if result.kind == "b":
        raise TypeError("dtype=bool cannot hold a sum or an average: use an integer or float type")
    rank = {"b": 0, "i": 0, "u": 0, "f": 1, "V": 1, "c": 2}
    if rank[result.kind] < rank[dtype.kind]:
        raise TypeError(
            f"dtype={result} cannot hold a sum or an average of {dtype}: use one of the same kind, "
            "or convert the result with astype"
        )
    return result


def _wider(accumulator: np.dtype[Any], result: np.dtype[Any]) -> np.dtype[Any]:
    """The accumulator for a result asked for by ``dtype=``."""
    if is_integer(result):
        return np.dtype(np.uint64 if result.kind == "u" else np.int64)
    if is_integer(accumulator):
        return np.dtype(np.float64)
    single = np.dtype(np.float32)
    needed = single if is_half(result) else result
    return np.result_type(accumulator, needed)


def _divisor(
    reducer: Reducer, count_include_pad: bool | None, divisor_override: int | None
) -> tuple[bool, int]:
    """``(include_pad, divisor)``, the divisor 0 where the taps are counted."""
    if not reducer.divides and not (count_include_pad is None and divisor_override is None):
        raise ValueError(
            f"count_include_pad and divisor_override are for averages; {reducer.name!r} has no "
            "divisor to change: leave them out"
        )
    if count_include_pad is None:
        include_pad = reducer.counts_padding
    else:
        include_pad = arrays.check_flag("count_include_pad", count_include_pad)
    return include_pad, _override(divisor_override)


def checked_divisor(count_include_pad: Any, divisor_override: Any) -> tuple[bool, int]:
    """What an average divides by: whether padding counts, and the caller's own divisor or 0."""
    return arrays.check_flag("count_include_pad", count_include_pad), _override(divisor_override)


def _override(divisor_override: Any) -> int:
    if divisor_override is None:
        return 0
    divisor = integer(divisor_override, "divisor_override")
    if divisor == 0:
        raise ValueError("divisor_override=0 would divide by zero: use another integer, or None")
    if abs(divisor) > 2**62:
        raise ValueError(f"divisor_override={shown(divisor)} is past the largest allowed, 2**62")
    return divisor


def _check_empty_windows(plan: Plan, types: Types, include_pad: bool, divisor: int) -> None:
    if (
        types.reducer.counts_padding
        and is_integer(types.result)
        and not include_pad
        and not divisor
        and plan.has_empty
    ):
        raise ValueError(
            f"some window lies wholly in the padding, and its average is NaN, which {types.result} "
            "cannot hold: use less padding, count_include_pad=True, or a float dtype"
        )


def _index_dtype(plan: Plan, index_dtype: DTypeLike, wanted: bool) -> np.dtype[Any] | None:
    index = named_dtype(index_dtype, "index_dtype")
    if index not in _INDEX_DTYPES:
        raise TypeError(f"index_dtype must be numpy.int64 or numpy.int32, got {index}")
    if not wanted:
        return None
    positions = 1
    for window in plan.windows:
        positions *= window.size
    if positions - 1 > np.iinfo(index).max:
        raise ValueError(
            f"positions up to {positions - 1} do not fit index_dtype={index}: use numpy.int64"
        )
    return index
