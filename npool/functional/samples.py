"""Samples of fractional pooling as torch takes them, in the order of the axes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npool.arrays import described
from npool.dispatch import device_engine, on_device
from npool.dtypes import is_float
from npool.functional.arguments import ArgumentError

__all__ = ["ordered_samples"]


def ordered_samples(
    n: int, input: NDArray[Any], samples: Any, generator: np.random.Generator | None = None
) -> NDArray[Any]:
    """Samples for each plane, in the order of the axes: those given, or drawn."""
    name = f"fractional_max_pool{n}d"
    about = described(input)
    shape, dtype = about.shape, about.dtype.newbyteorder("=")
    # On a device samples may lie there: their shape, strides and dtype are all that is read.
    away = (
        type(input) is not np.ndarray and samples is not None and on_device(samples)
        and on_device(input)
    )  # fmt: skip
    planes = (shape[0] if len(shape) == n + 2 else 1, shape[-n - 1])
    if samples is None:
        if generator is None:
            generator = np.random.default_rng()
        if not isinstance(generator, np.random.Generator):
            raise TypeError(
                f"{name}(): generator must be a numpy.random.Generator, got "
                f"{type(generator).__name__}"
            )
        drawn: NDArray[Any] = generator.random((*planes, n))
        drawn = drawn.astype(dtype) if is_float(dtype) else drawn
    else:
        if away:
            samples = device_engine().described(samples, "_random_samples")
        elif not isinstance(samples, np.ndarray):
            raise TypeError(
                f"{name}(): _random_samples must be a numpy.ndarray, got {type(samples).__name__}"
            )
        faults = (
            (len(samples.shape) != 3, f"to have 3 dimensions, got {len(samples.shape)}"),
            (is_float(dtype) and samples.dtype.newbyteorder("=") != dtype,
             f"to have the same dtype as input, {dtype}; got {samples.dtype}"),
        )  # fmt: skip
        for wrong, what in faults:
            if wrong:
                raise ArgumentError(f"{name}: Expect _random_samples {what}")
        sizes = (
            (samples.shape[0] < planes[0], f"size(0) no less then input batch size {planes[0]}"),
            (samples.shape[1] != planes[1], f"size(1) equals to input channel size {planes[1]}"),
            (samples.shape[2] != n, f"size(2) equals to {n}"),
        )
        for wrong, what in sizes:
            if wrong:
                raise ArgumentError(
                    f"{name}: Expect _random_samples.{what}; got shape {samples.shape}"
                )
        if away:
            first: NDArray[Any] = device_engine().ordered_samples(
                samples, planes[0] if len(shape) == n + 2 else None, n == 2
            )
            return first
        drawn = samples[: planes[0]]
    if len(shape) == n + 1:
        drawn = drawn[0]
    # torch's samples in 2-D are those of the width first.
    return drawn[..., ::-1] if n == 2 else drawn
