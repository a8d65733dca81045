"""`npool.warmup`: tiny calls that reach every driver and loop, so that no later call compiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from npool.arrays import check_flag
from npool.dtypes import check_dtype, named_dtype
from npool.gradients.trials import trials
from npool.operation import Operation, bins_operation, operation
from npool.reducers import Reducer
from npool.values import integer, is_sequence, shown

__all__ = ["Gradient", "Step", "kernels", "steps", "warmup"]

#: Pooled axes that a trial call may have. Kernels know no rank, so more would find nothing new.
MOST_RANKS = 8
#: Windows, and their steps, that most calls have.
COMMON = ((2, 2), (3, 2), (3, 1), (5, 1), (7, 1))


class Step(NamedTuple):
    """One tiny call: what it is, in words, and all that it needs."""

    label: str
    x: NDArray[Any]
    operation: Operation

    def run(self) -> None:
        """Make the kernels ready that such calls need."""
        self.operation.apply(self.x, None)


class Gradient(NamedTuple):
    """One tiny call of a gradient."""

    label: str
    call: Callable[[], Any]

    def run(self) -> None:
        """Make the kernels ready that such calls need."""
        self.call()


def warmup(
    dtypes: DTypeLike | Iterable[DTypeLike] = ("float32",),
    ranks: int | Iterable[int] = (1, 2, 3),
    *,
    reduce: str | Reducer | Iterable[str | Reducer] = ("max", "avg"),
    return_indices: bool = False,
    gradients: bool = False,
) -> int:
    """Compile, or load from the disk cache, all that later calls need: none of them compiles.

    A server calls it when it starts, an image is built with it (``npool warmup`` is the same as
    a command). Nothing is timed or chosen by it, and results do not change.

    Parameters
    ----------
    dtypes : dtype or sequence of dtype
        Element types of the arrays to be pooled.
    ranks : int or sequence of int
        How many axes will be pooled, from 1 to 8. Kernels serve every number of axes, so this
        only says which calls are tried.
    reduce : str, Reducer, or sequence of them
        Names in ``npool.REDUCERS``, or reducers of your own.
    return_indices : bool
        Also for calls with ``return_indices=True``, of those reducers that have positions.
    gradients : bool
        Also for the gradients of those reductions that have them: max, min, avg, sum and lp.
        Where torch is installed, those of maxima and minima of tensors are among them.

    Returns
    -------
    int
        How many kernels were made ready: compiled or loaded now, and not there before. 0 when
        all of them were, and under ``NUMBA_DISABLE_JIT=1``, where there are none.

    Raises
    ------
    ValueError, TypeError
        As :func:`npool.pool` would, before anything is compiled: for a dtype that is not
        supported, a rank out of bounds, a reducer that is not known or not defined for one of
        the dtypes, or positions of reducers that have none.

    Notes
    -----
    Every size, stride, padding, dilation, memory layout and number of threads is served, but for
    windows of up to eight elements along a row in steps of up to four, of 9 to 64 in steps of one,
    and of more than eight rows: each of these has a loop of its own, of which those of 2 and 3
    every 2, and of 3, 5, 7 and 11 every 1 are made ready; another takes some 0.3 s once. What a
    later call may still compile, too, is what has types of its own: ``dtype=`` of sums and
    averages, ``index_dtype=numpy.int32``, positions in 2**31 elements or more, another power than 2
    of :func:`npool.lp_pool` (give ``npool.reducers.lp(p)`` as `reduce`), and
    :func:`npool.max_unpool`.

    Examples
    --------
    >>> import numpy as np, npool
    >>> ready = npool.warmup("float32", reduce="max")
    >>> npool.warmup("float32", reduce="max")
    0
    """
    planned = steps(dtypes, ranks, reduce, return_indices, gradients)
    before, _ = kernels()
    for step in planned:
        step.run()
    return kernels()[0] - before


def kernels() -> tuple[int, int]:
    """How many kernels this process has ready, and how many of them it compiled itself."""
    from npool.cpu import compiling

    return compiling.kernels()


def steps(
    dtypes: Any, ranks: Any, reduce: Any, return_indices: Any, gradients: Any = False
) -> list[Step | Gradient]:
    """The calls that :func:`warmup` makes of its arguments; what it refuses is refused here."""
    kinds = [_dtype(one) for one in _each(dtypes, "dtypes")]
    sizes = [_rank(one) for one in _each(ranks, "ranks")]
    reducers = _each(reduce, "reduce")
    placed = check_flag("return_indices", return_indices)
    back = check_flag("gradients", gradients)
    made: list[Step | Gradient] = []
    selecting = False
    for reducer, kind in product(reducers, kinds):
        for rank in sizes:
            found = _trials(reducer, kind, rank, False)
            selects = found[0].operation.types.reducer.positions is not None
            if placed and selects:
                found += _trials(reducer, kind, rank, True)
            selecting = selecting or selects
            made += found
        if back:
            name = reducer if isinstance(reducer, str) else reducer.name
            label = f"gradient of {_words(reducer, kind, False)}"
            made += [Gradient(f"{label}, {words}", call) for words, call in trials(name, kind)]
    if placed and not selecting:
        _trials(reducers[0], kinds[0], sizes[0], True)  # which refuses it, in words
    return made


def _trials(reducer: Any, dtype: np.dtype[Any], rank: int, placed: bool) -> list[Step]:
    """Calls that `npool.cpu.schedule` sends to one driver each, whatever the rank."""
    small = np.zeros((2,) * rank + (2,), dtype)
    long = np.zeros((2,) * rank + (512,), dtype)
    #: So far apart that they do not slide in registers (`npool.cpu.slides`).
    far = (1,) * (rank - 1) + (100,)
    pairs, fives, elevens, lines = ((1,) * (rank - 1) + (n,) for n in (2, 5, 11, 16))
    padded = (0,) * (rank - 1) + (1,)
    trials: list[Any] = [
        # Planes whose result has their shape: the driver "planes" and its masked loop, for what
        # it serves.
        ("small planes", small, (3,) * rank, 1, 1, 1),
        # Rows that lie together: "pooled", of up to four taps and of up to eight, from scratch and
        # where they lie.
        ("rows", long, pairs, pairs, padded, far),
        ("rows in place", long, pairs, 1, 0, far),
        ("rows of five", long, fives, 1, padded, far),
        ("rows of five in place", long, fives, 1, 0, far),
        # More taps: "strips", by passes over scratch and in registers.
        ("rows of eleven apart", long, elevens, 1, padded, 2),
        ("rows of eleven", long, elevens, 1, padded, 1),
        # Tall ones, of rows: "van_herk".
        ("tall windows", np.zeros((16, 1024), dtype), (11,), 1, 0, 1, (0,)),
        # Windows that are stretches of memory: "wholes", where vectors can be combined.
        ("long windows", long, lines, lines, 0, 1),
        # Elements apart along such a row: "tiles", and the loop that gathers them.
        ("strided rows", long[..., ::2], lines, lines, 0, 1),
    ]
    # Windows that slide in registers have a loop for each window and stride: the common ones.
    deep = min(rank, 3)
    room = np.zeros((2,) * (rank - deep + 1) + (7,) * (deep - 1) + (200,), dtype)
    for k, s in COMMON:
        sizes = tuple((1,) * (rank - deep) + (n,) * deep for n in (k, s, k // 2 if k % 2 else 0))
        trials.append((f"{k} every {s}", room, *sizes, 1))
    if placed:
        # Axes whose positions are not in the order of memory: the loops for that.
        turned = np.zeros((2, 3, 512), dtype)
        trials += [("turned", turned, (2, 2, 2), 1, 0, (1, 1, 100), (1, 0, 2))]
        trials += [("turned, of six", turned, (3, 2, 2), 1, 0, (1, 1, 100), (1, 0, 2))]
    made = []
    for layout, x, kernel, stride, padding, dilation, *axes in trials:
        call = operation(
            x, kernel, stride, padding, dilation, False, axes[0] if axes else None, reducer, None,
            None, None, "half_even", placed, np.int64,
        )  # fmt: skip
        made.append(Step(f"{_words(reducer, dtype, placed)}, {layout}", x, call))
    # Windows that differ from one another: "bins".
    uneven = np.zeros((2,) * (rank - 1) + (5,), dtype)
    call = bins_operation(
        uneven, (1,) * (rank - 1) + (2,), None, reducer, None, "half_even", placed, np.int64
    )
    made.append(Step(f"{_words(reducer, dtype, placed)}, bins", uneven, call))
    return made


def _words(reducer: Any, dtype: np.dtype[Any], placed: bool) -> str:
    name = reducer if isinstance(reducer, str) else reducer.name
    return f"{name} of {dtype.name}{' with positions' if placed else ''}"


def _each(value: Any, name: str) -> list[Any]:
    """The entries of a sequence, or the one value given in its place."""
    if is_sequence(value) or isinstance(value, (set, frozenset, dict)):
        found = list(value)
        if not found:
            raise ValueError(f"{name} is empty: name at least one")
        return found
    return [value]


def _dtype(value: Any) -> np.dtype[Any]:
    if value is None:  # which NumPy reads as float64
        raise TypeError("dtypes=None is not a dtype: write, for example, 'float32'")
    dtype = named_dtype(value, "dtypes")
    check_dtype(dtype, "an entry of dtypes")
    return dtype


def _rank(value: Any) -> int:
    rank = integer(value, "ranks")
    if not 1 <= rank <= MOST_RANKS:
        raise ValueError(f"ranks must lie in 1 to {MOST_RANKS}, got {shown(value)}")
    return rank
