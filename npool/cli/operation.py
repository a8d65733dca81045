"""What the user asked to be computed, apart from the file that it is computed on."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

import npool
from npool.cli.refusal import Refusal, one_line
from npool.geometry import Plan, make_plan
from npool.reducers import Reducer, lp

__all__ = ["Operation", "find_reducer", "refuse_in_words"]

T = TypeVar("T")


@dataclass(frozen=True)
class Operation:
    """One pooling call: npool.pool's own arguments, and whether positions are wanted.

    `options` holds only what the user gave (dtype, rounding, count_include_pad,
    divisor_override), so that the library's defaults and its refusals apply.
    """

    reducer: Reducer
    kernel_size: int | tuple[int, ...]
    stride: int | tuple[int, ...] | None
    padding: str | int | tuple[int | tuple[int, int], ...]
    dilation: int | tuple[int, ...]
    ceil_mode: bool
    axes: tuple[int, ...] | None
    options: dict[str, Any]
    positions: bool = False

    def plan(self, shape: tuple[int, ...]) -> Plan:
        """The geometry of this call on an array of `shape`; refused in words."""
        axes = self.axes
        if isinstance(self.kernel_size, int) and axes is None:
            if len(shape) != 1:
                k = self.kernel_size
                raise Refusal(
                    f"--kernel-size {k} does not say which axes of the array of shape {shape} "
                    f"to pool: write {k}x{k} for the last two, {k}x for the last alone, or name "
                    "them, as in --axes 0,1"
                )
            axes = (0,)
        return refuse_in_words(
            lambda: make_plan(
                shape,
                self.kernel_size,
                self.stride,
                self.padding,
                self.dilation,
                self.ceil_mode,
                axes,
            )
        )

    def on_piece(
        self, array: np.ndarray, plan: Plan, padding: tuple[tuple[int, int], ...]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Pool a piece of the array that `plan` was made for: its result and its positions."""
        windows = plan.windows
        found = refuse_in_words(
            lambda: npool.pool(
                array,
                tuple(w.kernel for w in windows),
                tuple(w.stride for w in windows),
                padding,
                tuple(w.dilation for w in windows),
                True,
                axes=plan.axes,
                reduce=self.reducer,
                return_indices=self.positions,
                **self.options,
            )
        )
        return found if self.positions else (found, None)

    def whole(self, array: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Pool an array that is in memory: its result and its positions."""
        plan = self.plan(array.shape)
        found = refuse_in_words(
            lambda: npool.pool(
                array,
                tuple(w.kernel for w in plan.windows),
                tuple(w.stride for w in plan.windows),
                tuple((w.before, w.after) for w in plan.windows),
                tuple(w.dilation for w in plan.windows),
                self.ceil_mode,
                axes=plan.axes,
                reduce=self.reducer,
                return_indices=self.positions,
                **self.options,
            )
        )
        return found if self.positions else (found, None)

    def sample(self, dtype: np.dtype[Any], has_empty: bool) -> np.ndarray:
        """Two results on `dtype`: of one zero, and of a window wholly in the padding.

        They tell the result's dtype and what such windows hold, and refuse whatever the
        library refuses of the options, before anything large is read. Where no window lies
        wholly in the padding (`has_empty` False), the second is of a zero as well.
        """
        only = np.zeros(1 if has_empty else 2, dtype)
        found: np.ndarray = refuse_in_words(
            lambda: npool.pool(
                only,
                (1,),
                1,
                ((0, int(has_empty)),),
                reduce=self.reducer,
                return_indices=self.positions,
                **self.options,
            )
        )
        return found[0] if self.positions else found

    def with_options(self, **changes: Any) -> Operation:
        """This operation with some of its options changed."""
        return replace(self, options={**self.options, **changes})

    def without_dtype(self) -> Operation:
        """This operation with its result in the type that the input and the reducer give."""
        kept = {name: value for name, value in self.options.items() if name != "dtype"}
        return replace(self, options=kept)

    def on_axes(self, axes: tuple[int, ...]) -> Operation:
        """This operation on other axes."""
        return replace(self, axes=axes)


def find_reducer(name: str, norm_type: float | None) -> Reducer:
    """The reducer that the library knows by `name`, whatever it has come to know."""
    known: Iterable[str] = npool.REDUCERS
    if name not in npool.REDUCERS:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise Refusal(f"--reduce {name!r} is not known: {hint}choose from {', '.join(known)}")
    if norm_type is None:
        return npool.REDUCERS[name]
    if name != "lp":
        raise Refusal(f"--norm-type {norm_type:g} goes with --reduce lp, not with {name}")
    return refuse_in_words(lambda: lp(norm_type))


def refuse_in_words(call: Callable[[], T]) -> T:
    """`call()`, with what the library refuses of it as a :class:`Refusal`."""
    try:
        return call()
    except (ValueError, TypeError, MemoryError) as error:
        raise Refusal(one_line(error)) from error
