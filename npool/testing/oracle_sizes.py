"""The oracle of fractional pooling and of unpooling, one element at a time.

Like `npool.testing.oracle`, it shares no code with the library that it judges.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .exact import scalar
from .operations import OPERATIONS

Array = np.ndarray[Any, Any]


def steps(length: int, kernel: int, outputs: int, sample: Any) -> list[int]:
    """Where the windows of fractional pooling begin along an axis, for one sample.

    The numbers are of the sample's own type, and so is the rounding of every step.

    >>> steps(7, 2, 3, np.float64(0.0))
    [0, 2, 5]
    """
    kind = type(sample)
    begun = []
    for output in range(outputs - 1):
        step = kind(kind(length - kernel) / kind(outputs - 1))
        moved = kind(kind(kind(output) + sample) * step)
        begun.append(min(int(moved) - int(kind(sample * step)), length - kernel))
    return [*begun, length - kernel][: max(outputs, 0)]


def fractional_max_pool(
    x: Array,
    kernel_size: Sequence[int],
    output_size: Sequence[int],
    samples: Array,
    axes: Sequence[int],
) -> tuple[Array, Array]:
    """Maxima and positions; ``samples`` has one number for each plane and pooled axis."""
    axes = [axis % x.ndim for axis in axes]
    shape = list(x.shape)
    for axis, outputs in zip(axes, output_size, strict=True):
        shape[axis] = outputs
    values, indices = np.zeros(shape, x.dtype), np.zeros(shape, np.int64)
    position = OPERATIONS["max"].position
    assert position is not None
    for output in np.ndindex(*shape):
        plane = tuple(at for axis, at in enumerate(output) if axis not in axes)
        taps = []
        for i, (axis, kernel, outputs) in enumerate(
            zip(axes, kernel_size, output_size, strict=True)
        ):
            start = steps(x.shape[axis], kernel, outputs, samples[(*plane, i)])[output[axis]]
            taps.append(range(start, start + kernel))
        window, flat = [], []
        for places in itertools.product(*taps):
            where, at = list(output), 0
            for axis, place in zip(axes, places, strict=True):
                where[axis], at = place, at * x.shape[axis] + place
            window.append(x[tuple(where)])
            flat.append(at)
        best = position([scalar(element) for element in window])
        assert best is not None
        values[output], indices[output] = window[best], flat[best]
    return values, indices


def max_unpool(x: Array, indices: Array, lengths: Sequence[int], axes: Sequence[int]) -> Array:
    """Elements where positions say in axes of the given lengths: the last of several counts.

    >>> max_unpool(np.array([5, 7]), np.array([2, 2]), (4,), (0,))
    array([0, 0, 7, 0])
    """
    axes = [axis % x.ndim for axis in axes]
    shape = list(x.shape)
    for axis, length in zip(axes, lengths, strict=True):
        shape[axis] = length
    result = np.zeros(shape, x.dtype)
    apart = [axis for axis in range(x.ndim) if axis not in axes]
    # Pooled axes vary fastest, in the order in which they are named.
    order = [*apart, *axes]
    for place in np.ndindex(*(x.shape[axis] for axis in order)):
        where = dict(zip(order, place, strict=True))
        source = tuple(where[axis] for axis in range(x.ndim))
        at = int(indices[source])
        if not 0 <= at < math.prod(lengths):
            continue
        for axis, length in reversed(list(zip(axes, lengths, strict=True))):
            where[axis], at = at % length, at // length
        result[tuple(where[axis] for axis in range(x.ndim))] = x[source]
    return result
