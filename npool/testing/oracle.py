"""The oracle: pooling done one output at a time, in the plainest way, and exactly.

It imports NumPy, the standard library and its own two tables (`npool.testing.exact`,
`npool.testing.operations`), and shares no code with the library that it judges. Geometry is
Python integers, sums are fractions, and each result is rounded once, when it is stored.

The rules are those of semantics.md, sections 2 and 3. It is slow (about a microsecond a tap):
meant for problems of some hundred elements.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from .exact import is_float, named_dtype, power, scalar, spacing, stored, total
from .operations import OPERATIONS, Operation, Window, accumulator_epsilon, same

Array = np.ndarray[Any, Any]


class Axis(NamedTuple):
    """One pooled axis: everything that decides which positions an output sees."""

    number: int
    length: int
    kernel: int
    stride: int
    before: int
    after: int
    dilation: int
    outputs: int

    def taps(self, output: int) -> list[int]:
        """The positions inside the input that an output sees.

        >>> Axis(0, 5, 3, 2, 1, 1, 1, 3).taps(0)
        [0, 1]
        """
        start = output * self.stride - self.before
        grid = [start + j * self.dilation for j in range(self.kernel)]
        return [position for position in grid if 0 <= position < self.length]

    def counted(self, output: int) -> int:
        """How many taps lie in the input or its padding: those before ``length + after``."""
        start = output * self.stride - self.before
        grid = [start + j * self.dilation for j in range(self.kernel)]
        return sum(position < self.length + self.after for position in grid)


class Bin(Axis):
    """An axis cut into as many bins as there are outputs, as even as they come."""

    def taps(self, output: int) -> list[int]:
        """The positions that an output sees: all that its stretch of the axis touches.

        Examples
        --------
        >>> [Bin(0, 5, 2, 1, 0, 0, 1, 3).taps(output) for output in range(3)]
        [[0, 1], [1, 2, 3], [3, 4]]
        """
        left, right = (Fraction(k * self.length, self.outputs) for k in (output, output + 1))
        return [place for place in range(self.length) if place + 1 > left and place < right]

    def counted(self, output: int) -> int:
        """All of them: there is no padding."""
        return len(self.taps(output))


def _bins(shape: Sequence[int], output_size: Any, axes: Any) -> list[Axis]:
    """The axes of adaptive pooling."""
    if axes is None:
        axes = range(len(shape) - len(output_size), len(shape))
    numbers = [number % len(shape) for number in ([axes] if isinstance(axes, int) else axes)]
    sizes = [output_size] * len(numbers) if isinstance(output_size, int) else output_size
    result: list[Axis] = []
    for number, size in zip(numbers, sizes, strict=True):
        n = int(shape[number])
        result.append(Bin(number, n, 1, 1, 0, 0, 1, n if size is None else int(size)))
    return result


def _each(value: Any, count: int, name: str) -> list[int]:
    """One number for each axis, from a number or a sequence."""
    values = [value] * count if isinstance(value, int | np.integer) else list(value)
    if len(values) != count:
        raise ValueError(f"{name}={value!r} has {len(values)} entries for {count} pooled axes")
    return [int(v) for v in values]


def _pads(padding: Any, index: int, count: int, length: int, stride: int, window: int) -> Any:
    """Padding before and after one axis; semantics.md section 2 on SAME."""
    if isinstance(padding, str):
        if padding == "valid":
            return 0, 0
        missing = max(0, (-(-length // stride) - 1) * stride + window - length)
        small, large = missing // 2, missing - missing // 2
        return {"same": (small, large), "same_lower": (large, small)}[padding]
    if isinstance(padding, int | np.integer):
        return int(padding), int(padding)
    if len(padding) != count:
        raise ValueError(f"padding={padding!r} has {len(padding)} entries for {count} pooled axes")
    one = padding[index]
    return (int(one), int(one)) if isinstance(one, int | np.integer) else (int(one[0]), int(one[1]))


def pooled_axes(
    shape: Sequence[int],
    kernel_size: Any = None,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *,
    axes: Sequence[int] | int | None = None,
    output_size: Any = None,
) -> list[Axis]:
    """The pooled axes of a problem, in the order of ``axes`` (by default the last ones).

    With ``output_size`` those of adaptive pooling, which has no other argument.

    Raises
    ------
    ValueError
        For an output length of 0 or less, and for a pooled axis of length 0.

    Examples
    --------
    >>> [axis.outputs for axis in pooled_axes((7,), (3,), 2, ceil_mode=True)]
    [3]
    """
    if output_size is not None:
        return _bins(shape, output_size, axes)
    if axes is None:
        if isinstance(kernel_size, int | np.integer):
            raise ValueError("an int kernel_size needs axes")
        axes = range(len(shape) - len(kernel_size), len(shape))
    numbers = [axes] if isinstance(axes, int) else list(axes)
    numbers = [number % len(shape) for number in numbers]
    count = len(numbers)
    kernels = _each(kernel_size, count, "kernel_size")
    strides = kernels if stride is None else _each(stride, count, "stride")
    dilations = _each(dilation, count, "dilation")
    result = []
    for i, number in enumerate(numbers):
        n, k, s, d = int(shape[number]), kernels[i], strides[i], dilations[i]
        window = d * (k - 1) + 1
        before, after = _pads(padding, i, count, n, s, window)
        outputs = (n + before + after - window + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (outputs - 1) * s >= n + before:
            outputs -= 1
        if outputs <= 0 or n == 0:
            raise ValueError(
                f"axis {number}: length {n} with padding {before} + {after} holds no window "
                f"of {window}"
            )
        result.append(Axis(number, n, k, s, before, after, d, outputs))
    return result


def output_shape(shape: Sequence[int], *args: Any, **kwargs: Any) -> tuple[int, ...]:
    """The shape of the result; the parameters are those of `pooled_axes`.

    >>> output_shape((2, 7, 9), (3, 3), 2, ceil_mode=True)
    (2, 3, 4)
    """
    result = list(shape)
    for axis in pooled_axes(shape, *args, **kwargs):
        result[axis.number] = axis.outputs
    return tuple(result)


@dataclass(frozen=True)
class Fold:
    """A reduction of one's own, as functions of Python numbers: no engine, one element at a time.

    Parameters
    ----------
    name : str
        As reports show it.
    combine : callable
        Joins two accumulators.
    identity : object
        The accumulator to start from.
    lift : callable, optional
        Makes an accumulator of an element.
    finish : callable, optional
        ``finish(accumulator, count)``: the result, where ``count`` is the number of elements.
    result : str, optional
        The result's dtype; by default the input's.

    Examples
    --------
    >>> volume = Fold("prod_abs", lambda a, b: a * b, 1.0, lift=abs)
    >>> pool(np.array([2.0, -3.0, 4.0]), (2,), 1, reduce=volume)
    array([ 6., 12.])
    """

    name: str
    combine: Callable[[Any, Any], Any]
    identity: Any
    lift: Callable[[Any], Any] | None = None
    finish: Callable[[Any, int], Any] | None = None
    result: str | None = None

    def operation(self) -> Operation:
        """The same as a row of the table of operations."""

        def reduce(window: Window) -> Any:
            accumulator = self.identity
            for value in window.values:
                lifted = value if self.lift is None else self.lift(value)
                accumulator = self.combine(accumulator, lifted)
            if self.finish is None:
                return accumulator
            return self.finish(accumulator, len(window.values))

        def noise(window: Window, unit: float) -> float:
            return unit * abs(float(reduce(window)))

        name = self.result
        result = same if name is None else lambda dtype: named_dtype(name)
        return Operation(self.name, reduce, result, ulps=4, noise=noise)


class Answer(NamedTuple):
    """What must come out: values, positions (for max and min), and the error that is allowed."""

    values: Array
    indices: Array | None
    allowed: Array


def _visits(x: Array, axes: list[Axis]) -> Iterator[tuple[Any, list[Any], list[int], list[Axis]]]:
    """For each output: its index, the indices of its taps, and their flat positions."""
    shape = list(x.shape)
    for axis in axes:
        shape[axis.number] = axis.outputs
    for output in np.ndindex(*shape):
        taps = [axis.taps(output[axis.number]) for axis in axes]
        where, flat = [], []
        for positions in itertools.product(*taps):
            index, place = list(output), 0
            for axis, position in zip(axes, positions, strict=True):
                index[axis.number] = position
                place = place * axis.length + position
            where.append(tuple(index))
            flat.append(place)
        yield output, where, flat, axes


def answer(
    x: Array,
    kernel_size: Any = None,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *,
    reduce: str | Fold = "max",
    axes: Sequence[int] | int | None = None,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    dtype: Any = None,
    rounding: str = "half_even",
    norm_type: float = 2,
    return_indices: bool = False,
    index_dtype: Any = np.int64,
    output_size: Any = None,
) -> Answer:
    """Pool ``x`` and say how far from it another implementation may be.

    The parameters are those of `npool.pool`, with ``norm_type`` for ``reduce="lp"``. Positions
    are flat, row-major in the order of ``axes``; a window without elements has position -1.
    With ``output_size`` the pooling is adaptive.
    """
    row = OPERATIONS[reduce] if isinstance(reduce, str) else reduce.operation()
    pooled = pooled_axes(
        x.shape, kernel_size, stride, padding, dilation, ceil_mode, axes=axes,
        output_size=output_size,
    )  # fmt: skip
    native = x.dtype.newbyteorder("=") if x.dtype.kind in "iufc" else x.dtype
    result = row.result(native) if dtype is None else named_dtype(dtype)
    epsilon = accumulator_epsilon(native, result)
    shape = list(x.shape)
    for axis in pooled:
        shape[axis.number] = axis.outputs
    values = np.zeros(shape, result)
    allowed = np.zeros(shape)
    indices = np.full(shape, -1, index_dtype) if return_indices else None
    for output, where, flat, axes_ in _visits(x, pooled):
        elements = [x[index] for index in where]
        divisor = len(elements)
        if count_include_pad:
            divisor = math.prod(axis.counted(output[axis.number]) for axis in axes_)
        if divisor_override is not None:
            divisor = divisor_override

        def one(part: list[Any], divisor: int = divisor) -> tuple[Any, float]:
            target = np.empty(0, result).real.dtype
            window = Window(part, native, target, divisor, rounding, norm_type)
            value = stored(row.reduce(window), target)
            error = row.ulps * spacing(value, target) if is_float(target) else 0.0
            if row.noise and math.isfinite(value) and target.kind not in "iub":
                error += row.noise(window, len(part) * epsilon)
            return value, error

        if x.dtype.kind == "c":
            parts = [complex(e) for e in elements]
            real, error = one([e.real for e in parts])
            imaginary, other = one([e.imag for e in parts])
            values[output], allowed[output] = complex(real, imaginary), max(error, other)
        else:
            numbers = [scalar(e) for e in elements]
            values[output], allowed[output] = one(numbers)
            if indices is not None and row.position is not None:
                place = row.position(numbers)
                indices[output] = -1 if place is None else flat[place]
    return Answer(values, indices, allowed)


def pool(x: Array, *args: Any, **kwargs: Any) -> Any:
    """The correctly rounded result: values, or ``(values, indices)`` with ``return_indices``.

    Takes the parameters of `answer`.

    >>> pool(np.array([1.0, 5.0, 2.0, 4.0]), (2,), return_indices=True)
    (array([5., 4.]), array([1, 3]))
    """
    result = answer(np.asarray(x), *args, **kwargs)
    return result.values if result.indices is None else (result.values, result.indices)


def has_empty_window(shape: Sequence[int], *args: Any, **kwargs: Any) -> bool:
    """Whether some window lies wholly in the padding; the parameters are `output_shape`'s.

    >>> has_empty_window((1,), (2,), 1, 1, 2)
    True
    """
    pooled = pooled_axes(shape, *args, **kwargs)
    return any(not axis.taps(o) for axis in pooled for o in range(axis.outputs))


def lp_pool_like_torch(
    x: Array, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Array:
    """`torch.nn.functional.lp_pool*`: no absolute value, clipped windows scaled to full ones.

    ``(K * avg(x**p)) ** (1/p)`` with the average over the window clipped at the edge and K the
    full window's tap count; a negative mean has no root unless p is 1: NaN.
    """
    pooled = pooled_axes(x.shape, kernel_size, stride, 0, 1, ceil_mode)
    shape = output_shape(x.shape, kernel_size, stride, 0, 1, ceil_mode)
    result = np.zeros(shape, x.dtype)
    taps = math.prod(axis.kernel for axis in pooled)
    for output, where, _, _ in _visits(x, pooled):
        raised = [float(scalar(x[index])) ** norm_type for index in where]
        if any(isinstance(value, complex) or value != value for value in raised):
            result[output] = math.nan
            continue
        mean = total(raised) * taps / len(raised)
        if norm_type == 1 or (isinstance(mean, float) and not math.isfinite(mean)):
            result[output] = stored(mean, x.dtype)
        else:
            root = power(mean, 1 / norm_type) if mean >= 0 else math.nan
            result[output] = stored(root, x.dtype)
    return result
