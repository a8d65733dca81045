"""The rows of the board: what is pooled, and how."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import npool

__all__ = ["WORKLOADS", "Workload"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Workload:
    """One row: a reduction of an array of some shape, dtype and layout."""

    name: str
    reduce: str
    shape: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dtype: str = "float32"
    dilation: int = 1
    ceil_mode: bool = False
    axes: tuple[int, ...] | None = None
    layout: str = "C"
    indices: bool = False
    #: Result type of an average of integers.
    result: str | None = None

    @property
    def pooled(self) -> tuple[int, ...]:
        """The pooled axes, from the front."""
        ndim = len(self.shape)
        axes = self.axes or tuple(range(ndim - len(self.kernel), ndim))
        return tuple(axis % ndim for axis in axes)

    def array(self) -> Array:
        """The input: random, no NaN, the same every time."""
        rng = np.random.default_rng(0)
        dtype: Any = self.dtype
        if self.dtype == "bfloat16":
            import ml_dtypes

            dtype = ml_dtypes.bfloat16
        if np.dtype(dtype).kind in "iu":
            info = np.iinfo(dtype)
            low, high = max(int(info.min), -1000), min(int(info.max), 1000)
            x = rng.integers(low, high, self.shape, dtype, endpoint=True)
        else:
            x = rng.random(self.shape, np.float32).astype(dtype)
        return self.laid_out(x)

    def laid_out(self, x: Array) -> Array:
        """`x` in this row's memory layout."""
        if self.layout == "F":
            return np.asfortranarray(x)
        if self.layout == "transposed":
            return np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2)
        if self.layout == "sliced":
            big = np.zeros((*x.shape[:-2], x.shape[-2] + 2, 2 * x.shape[-1]), x.dtype)
            view = big[..., 1:-1, ::2]
            view[...] = x
            return view
        if self.layout == "reversed":
            return np.ascontiguousarray(x[..., ::-1, ::-1])[..., ::-1, ::-1]
        return x

    def run(self, x: Array, out: Any = None) -> Any:
        """npool's answer."""
        options: dict[str, Any] = {"axes": self.axes, "out": out}
        if self.indices:
            options["return_indices"] = True
        if self.result:
            options["dtype"] = self.result
        return npool.pool(
            x, self.kernel, self.stride, self.padding, self.dilation, self.ceil_mode,
            reduce=self.reduce, **options,
        )  # fmt: skip

    def small(self) -> Workload:
        """The same on an array that a plain reference can follow."""
        pooled = self.pooled
        kernel = tuple(min(k, 13) for k in self.kernel)
        stride = tuple(min(s, k) for s, k in zip(self.stride, kernel, strict=True))
        padding = tuple(min(p, k // 2) for p, k in zip(self.padding, kernel, strict=True))
        shape = tuple(
            min(n, 2 * kernel[pooled.index(i)] + 5 if i in pooled else 3)
            for i, n in enumerate(self.shape)
        )
        return replace(self, shape=shape, kernel=kernel, stride=stride, padding=padding)


def _row(
    name: str, reduce: str, shape: tuple[int, ...], kernel: int | tuple[int, ...],
    stride: int, padding: int = 0, spatial: int = 2, **more: Any,
) -> Workload:  # fmt: skip
    kernels = kernel if isinstance(kernel, tuple) else (kernel,) * spatial
    count = len(kernels)
    return Workload(name, reduce, shape, kernels, (stride,) * count, (padding,) * count, **more)


_MAPS = (4, 96, 192, 192)
_STEM = (8, 64, 112, 112)
_PLANE = (2048, 2048)

WORKLOADS: tuple[Workload, ...] = (
    _row("max 2x2/2", "max", _MAPS, 2, 2),
    _row("max 3x3/2 p1", "max", _STEM, 3, 2, 1),
    _row("max 3x3/1 p1, large plane", "max", _PLANE, 3, 1, 1),
    _row("max 3x3/1 p1, 32 columns", "max", (8, 256, 32, 32), 3, 1, 1),
    _row("max 3x3/1 p1, 28 columns", "max", (8, 256, 28, 28), 3, 1, 1),
    _row("max 3x3/1 p1, 14 columns", "max", (8, 512, 14, 14), 3, 1, 1),
    _row("max 3x3/1 p1, 7 columns", "max", (8, 1024, 7, 7), 3, 1, 1),
    _row("max 5x5/1 p2", "max", _PLANE, 5, 1, 2),
    _row("max 7x7/1 p3", "max", _PLANE, 7, 1, 3),
    _row("max 13x13/1 p6, 20 columns", "max", (8, 256, 20, 20), 13, 1, 6),
    _row("max 31x31/1 p15", "max", _PLANE, 31, 1, 15),
    _row("max global", "max", (32, 2048, 7, 7), 7, 7),
    _row("avg 2x2/2", "avg", _MAPS, 2, 2),
    _row("avg 3x3/1 p1", "avg", _PLANE, 3, 1, 1),
    _row("avg 31x31/1", "avg", _PLANE, 31, 1),
    _row("avg global", "avg", (32, 2048, 7, 7), 7, 7),
    _row("min 3x3/1 p1", "min", _PLANE, 3, 1, 1),
    _row("sum 3x3/1 p1", "sum", _PLANE, 3, 1, 1),
    _row("lp 2x2/2 (p = 2)", "lp", _MAPS, 2, 2),
    _row("max 2x2/2 with indices", "max", _MAPS, 2, 2, indices=True),
    _row("max 3x3/2 p1 with indices", "max", _STEM, 3, 2, 1, indices=True),
    _row("max 2x2/2 uint8", "max", (4096, 4096), 2, 2, dtype="uint8"),
    _row("max 3x3/1 p1 uint8", "max", (4096, 4096), 3, 1, 1, dtype="uint8"),
    _row("avg 2x2/2 uint8", "avg", (4096, 4096), 2, 2, dtype="uint8", result="uint8"),
    _row("max 2x2/2 int16", "max", (4096, 4096), 2, 2, dtype="int16"),
    _row("max 2x2/2 int32", "max", (4096, 4096), 2, 2, dtype="int32"),
    _row("max 2x2/2 float64", "max", (4, 48, 192, 192), 2, 2, dtype="float64"),
    _row("max 2x2/2 float16", "max", _MAPS, 2, 2, dtype="float16"),
    _row("max 2x2/2 bfloat16", "max", _MAPS, 2, 2, dtype="bfloat16"),
    _row("avg 2x2/2 float16", "avg", _MAPS, 2, 2, dtype="float16"),
    _row("max 1-D 4/4", "max", (1 << 24,), 4, 4, spatial=1),
    _row("max 1-D 3/1", "max", (1 << 22,), 3, 1, spatial=1),
    _row("max 1-D 10001/1", "max", (1 << 22,), 10001, 1, spatial=1),
    _row("avg 1-D 10001/1", "avg", (1 << 22,), 10001, 1, spatial=1),
    _row("max 3-D 2/2", "max", (8, 128, 128, 128), 2, 2, spatial=3),
    _row("max 3-D 3/1 p1", "max", (1, 128, 128, 128), 3, 1, 1, spatial=3),
    _row("max 4 axes 2/2", "max", (32, 32, 64, 64), 2, 2, spatial=4),
    _row("channels-last 1", "max", (8, 224, 224, 1), 3, 2, 1, axes=(1, 2)),
    _row("channels-last 3", "max", (8, 512, 512, 3), 3, 2, 1, axes=(1, 2)),
    _row("channels-last 4", "max", (8, 512, 512, 4), 2, 2, axes=(1, 2)),
    _row("channels-last 17", "max", (8, 112, 112, 17), 3, 2, 1, axes=(1, 2)),
    _row("channels-last 64", "max", (8, 112, 112, 64), 3, 2, 1, axes=(1, 2)),
    _row("Fortran order", "max", _PLANE, 3, 1, 1, layout="F"),
    _row("transposed view", "max", (8, 1024, 1024), 2, 2, layout="transposed"),
    _row("sliced view", "max", (8, 1024, 1024), 2, 2, layout="sliced"),
    _row("reversed view", "max", (8, 1024, 1024), 2, 2, layout="reversed"),
    _row("1x3x32x32", "max", (1, 3, 32, 32), 2, 2),
    _row("max 2x2/2, 4096 plane", "max", (4096, 4096), 2, 2),
    _row("512 small planes", "max", (512, 8, 8), 2, 2),
    _row("dilation 2", "max", _PLANE, 3, 1, 2, dilation=2),
    _row("ragged, ceil mode", "max", (8, 64, 113, 113), 2, 2, ceil_mode=True),
)
