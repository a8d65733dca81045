"""Tiny gradients that reach every driver and loop of theirs: what `npool.warmup` runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npool.geometry import Plan, make_plan
from npool.gradients import positions, sums
from npool.gradients.taps import pool_with_taps, taps_backward
from npool.layout import order_of

__all__ = ["trials"]

#: Reductions whose gradients go back to the elements that were picked, or to all.
_PICKED, _SPREAD = ("max", "min"), ("avg", "sum", "lp")


def trials(name: str, dtype: np.dtype[Any]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What a call is, in words, and the call: gradients of a reduction of `dtype`, or none.

    Averages and norms of integers have none, nor have types that are not added up.
    """
    kind = "f" if dtype.kind == "V" else dtype.kind
    if name in _PICKED and kind in "fiu":
        yield from _picked(dtype)
        if find_spec("torch") is not None:
            yield from _tapped(name == "min", dtype)
    elif name in _SPREAD and kind in ("fiuc" if name == "sum" else "f" if name == "lp" else "fc"):
        yield from _spread(name, dtype)


def _picked(dtype: np.dtype[Any]) -> Iterator[tuple[str, Callable[[], Any]]]:
    values = np.zeros((2, 3), dtype)
    for index in (np.dtype(np.int64), np.dtype(np.int32)):
        places = np.zeros((2, 3), index)
        for words, n, stride in (("apart", 6, 2), ("overlapping", 4, 1)):
            call = partial(positions.max_pool_backward, values, places, (2, n), (2,), stride)
            yield f"{words}, {index.name}", call
        yield f"taken, {index.name}", partial(positions.take_pooled, values, places, axes=1)


def _tapped(lowest: bool, dtype: np.dtype[Any]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What differentiated tensors are pooled by, in each way that taps are found."""
    together = np.zeros((1, 4, 16), dtype)
    for words, x, window in (
        ("every column", np.zeros((1, 128), dtype), (2,)),
        ("every second column", np.zeros((1, 256), dtype), (2,)),
        ("channels", together.transpose(0, 2, 1), (2,)),
        ("planes", np.zeros((16, 2, 2), dtype), (2, 2)),
    ):
        stride = 1 if words == "every column" else 2
        plan = make_plan(x.shape, window, stride, axes=tuple(range(-len(window), 0)))
        yield f"taps, {words}", partial(_back_by_taps, x, plan, lowest)


def _back_by_taps(x: NDArray[Any], plan: Plan, lowest: bool) -> None:
    if (made := pool_with_taps(x, plan, lowest)) is not None:
        taps_backward(*made, plan, order_of(x))


def _spread(name: str, dtype: np.dtype[Any]) -> Iterator[tuple[str, Callable[[], Any]]]:
    def given(n: int) -> Any:
        return np.zeros((2, n), dtype)

    if name == "lp":
        for p in (2.0, 3.0):
            yield (
                f"p = {p:g}",
                partial(sums.lp_pool_backward, given(3), given(6), given(3), p, (2,)),
            )
        return
    back: Callable[..., Any] = sums.avg_pool_backward if name == "avg" else sums.sum_pool_backward
    yield "windows", partial(back, given(3), (2, 6), (2,))
    yield "strided", partial(back, given(6)[:, ::2], (2, 6), (2,))
    yield "every element", partial(back, given(5), (2, 6), (2,), 1)
    yield "large windows", partial(back, given(6), (2, 40), (30,), 2)
    if name == "avg":
        yield "bins", partial(sums.adaptive_avg_pool_backward, given(2), (2, 5), (2,))
