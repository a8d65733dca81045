"""Gradients of pooling in the plainest way: one window at a time, in float64.

As the oracle, it shares no code with the library that it judges.

Examples
--------
>>> taps = window_taps((4,), (2,), 1)
>>> sums_backward(np.array([1.0, 10.0, 100.0]), (4,), taps)
array([  1.,  11., 110., 100.])
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import Any

import numpy as np

from .oracle import pooled_axes

Array = np.ndarray[Any, Any]
#: Of each pooled axis, of each output: positions inside the input, and what counts.
Taps = dict[int, list[tuple[list[int], int]]]


def window_taps(
    shape: Sequence[int],
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *,
    axes: Sequence[int] | int | None = None,
    count_include_pad: bool = True,
) -> Taps:
    """The windows of a pooling call, axis by axis.

    >>> window_taps((3,), (2,), 2, ceil_mode=True)
    {0: [([0, 1], 2), ([2], 1)]}
    """
    found: Taps = {}
    for axis in pooled_axes(shape, kernel_size, stride, padding, dilation, ceil_mode, axes=axes):
        found[axis.number] = []
        for output in range(axis.outputs):
            inside = axis.taps(output)
            count = axis.counted(output) if count_include_pad else len(inside)
            found[axis.number].append((inside, count))
    return found


def bin_taps(shape: Sequence[int], output_size: Sequence[int], axes: Sequence[int]) -> Taps:
    """The bins of an adaptive pooling call, axis by axis.

    >>> bin_taps((3,), (2,), (0,))
    {0: [([0, 1], 2), ([1, 2], 2)]}
    """
    found: Taps = {}
    for axis, outputs in zip(axes, output_size, strict=True):
        n = shape[axis]
        found[axis % len(shape)] = [
            (list(range(i * n // outputs, -(-(i + 1) * n // outputs))),
             -(-(i + 1) * n // outputs) - i * n // outputs)
            for i in range(outputs)
        ]  # fmt: skip
    return found


def _windows(gradient: Array, taps: Taps) -> Iterator[tuple[tuple[int, ...], list[Any], int]]:
    """Each output, the elements that it sees, and their count."""
    for output in np.ndindex(*gradient.shape):
        axes = [taps[axis][o] if axis in taps else ([o], 1) for axis, o in enumerate(output)]
        yield output, [positions for positions, _ in axes], prod(count for _, count in axes)


def sums_backward(
    gradient: Array, shape: Sequence[int], taps: Taps, divisor: int | str = 1
) -> Array:
    """The gradient of sums, or of averages: `divisor` is their divisor, or ``"count"``."""
    kind = np.complex128 if gradient.dtype.kind == "c" else np.float64
    result = np.zeros(tuple(shape), kind)
    for output, positions, count in _windows(gradient, taps):
        value = gradient[output].astype(kind)
        for element in product(*positions):
            result[element] += value / (count if divisor == "count" else divisor)
    return result


def lp_backward(gradient: Array, x: Array, p: float, taps: Taps) -> Array:
    """The gradient of ``(sum |x|**p)**(1/p)``; 0 where it has none."""
    result = np.zeros(x.shape)
    for output, positions, _ in _windows(gradient, taps):
        elements = list(product(*positions))
        norm = sum(abs(float(x[e])) ** p for e in elements) ** (1 / p)
        for element in elements:
            value = float(x[element])
            if value:
                share = (abs(value) / norm) ** (p - 1)
                result[element] += float(gradient[output]) * share * (1 if value > 0 else -1)
    return result


def picked_backward(
    gradient: Array, indices: Array, shape: Sequence[int], axes: Sequence[int]
) -> Array:
    """The gradient of picked elements: each where its position says, -1 nowhere."""
    result = np.zeros(tuple(shape))
    for output in np.ndindex(*gradient.shape):
        if indices[output] >= 0:
            result[_element(output, indices[output], shape, axes)] += float(gradient[output])
    return result


def picked(x: Array, indices: Array, axes: Sequence[int]) -> Array:
    """The elements at `indices`, 0 where they are -1."""
    result = np.zeros(indices.shape)
    for output in np.ndindex(*indices.shape):
        if indices[output] >= 0:
            element: Any = _element(output, indices[output], x.shape, axes)
            result[output] = x[element]
    return result


def _element(
    output: Sequence[int], position: Any, shape: Sequence[int], axes: Sequence[int]
) -> tuple[int, ...]:
    """Where in an array the flat `position` of an output is."""
    element = list(output)
    rest = int(position)
    for axis in reversed(list(axes)):
        element[axis] = rest % shape[axis]
        rest //= shape[axis]
    return tuple(element)
