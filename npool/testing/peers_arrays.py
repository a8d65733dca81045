"""Descriptors of scipy.ndimage, scikit-image, OpenCV, tinybrain and plain NumPy."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable
from typing import Any

import numpy as np

from .exact import bounds
from .implementations import Implementation
from .oracle import Axis, pooled_axes
from .problems import Problem

_SIZES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


def _centred(kernel: int, dilation: int) -> int:
    """The most that a filter centred on a sample can see past the edges."""
    return dilation * (kernel - 1) // 2


def _geometry(x: Any, problem: Problem) -> list[Axis]:
    return pooled_axes(x.shape, **problem.geometry())


def _samples(axes: list[Axis], dims: int) -> tuple[slice, ...]:
    """Where windows are centred in the result of a filter as large as the input."""
    where = [slice(None)] * dims
    for axis in axes:
        start = (axis.dilation * (axis.kernel - 1) + 1) // 2 - axis.before
        last = start + (axis.outputs - 1) * axis.stride
        if start < 0 or last >= axis.length:
            raise ValueError("a filter is centred on elements: it has no window further out")
        where[axis.number] = slice(start, last + 1, axis.stride)
    return tuple(where)


def describe_scipy() -> Implementation:
    """scipy.ndimage's maximum_filter, minimum_filter and uniform_filter, sampled."""
    scipy = importlib.import_module("scipy")
    ndimage = importlib.import_module("scipy.ndimage")
    filters = {
        "max": ndimage.maximum_filter,
        "min": ndimage.minimum_filter,
        "avg": ndimage.uniform_filter,
    }

    def call(x: Any, problem: Problem) -> Any:
        axes = _geometry(x, problem)
        low, high = bounds(x.dtype)
        outside = {"max": low, "min": high, "avg": 0}[problem.op]
        size = [1] * x.ndim
        for axis in axes:
            size[axis.number] = axis.kernel
        window: dict[str, Any] = {"size": size}
        if any(axis.dilation > 1 for axis in axes):
            holes = np.zeros([1] * x.ndim, bool) | True
            for axis in axes:
                length = axis.dilation * (axis.kernel - 1) + 1
                taps = np.arange(length) % axis.dilation == 0
                holes = holes & taps.reshape([-1 if i == axis.number else 1 for i in range(x.ndim)])
            window = {"footprint": holes}
        result = filters[problem.op](x, mode="constant", cval=outside, **window)
        return result[_samples(axes, x.ndim)]

    return Implementation(
        name="scipy",
        version=scipy.__version__,
        call=call,
        ops=dict.fromkeys(filters, (*_SIZES, "float32", "float64")),
        parameters=frozenset({"stride", "padding", "dilation", "axes"}),
        ceil_modes=(False,),
        padding_limit=_centred,
        takes=lambda p: 0 not in p.shape and (p.op != "avg" or int(np.max(p.dilation)) == 1),
    )


def describe_skimage() -> Implementation:
    """skimage.measure.block_reduce: windows side by side, ragged ones filled up with 0."""
    skimage = importlib.import_module("skimage")
    measure = importlib.import_module("skimage.measure")
    functions = {
        "max": np.max,
        "min": np.min,
        "avg": np.mean,
        "sum": np.sum,
        "prod": np.prod,
        "any": np.any,
        "all": np.all,
        "var": np.var,
        "std": np.std,
    }

    def call(x: Any, problem: Problem) -> Any:
        block = [1] * x.ndim
        for axis in _geometry(x, problem):
            block[axis.number] = axis.kernel
        return measure.block_reduce(x, tuple(block), functions[problem.op])

    return Implementation(
        name="skimage",
        version=skimage.__version__,
        call=call,
        ops=dict.fromkeys(functions, ("bool", *_SIZES, "float16", "float32", "float64")),
        parameters=frozenset({"ceil_mode", "axes"}),
        ceil_modes=(True,),
        takes=lambda problem: 0 not in problem.shape,
    )


def describe_opencv() -> Implementation:
    """OpenCV's dilate, erode and boxFilter on matrices, sampled."""
    cv2 = importlib.import_module("cv2")

    def call(x: Any, problem: Problem) -> Any:
        axes = _geometry(x, problem)
        rows, columns = axes
        if problem.op in ("max", "min"):
            shape = [axis.dilation * (axis.kernel - 1) + 1 for axis in axes]
            element = np.zeros(shape, np.uint8)
            element[:: rows.dilation, :: columns.dilation] = 1
            filtered = (cv2.dilate if problem.op == "max" else cv2.erode)(x, element)
        else:
            filtered = cv2.boxFilter(
                x,
                -1,
                (columns.kernel, rows.kernel),
                normalize=problem.op == "avg",
                borderType=cv2.BORDER_CONSTANT,
            )
        return filtered[_samples(axes, 2)]

    def takes(problem: Problem) -> bool:
        undilated = int(np.max(problem.dilation)) == 1
        return 0 not in problem.shape and (problem.op in ("max", "min") or undilated)

    depths = ("uint8", "uint16", "int16", "float32", "float64")
    return Implementation(
        name="opencv",
        version=cv2.__version__,
        call=call,
        ops=dict.fromkeys(("max", "min", "avg", "sum"), depths),
        parameters=frozenset({"stride", "padding", "dilation"}),
        pooled=(2,),
        batch=(0,),
        ceil_modes=(False,),
        padding_limit=_centred,
        takes=takes,
    )


def describe_tinybrain() -> Implementation:
    """tinybrain's 2×2 averages, one level."""
    tinybrain = importlib.import_module("tinybrain")

    def call(x: Any, problem: Problem) -> Any:
        return tinybrain.downsample_with_averaging(x, tuple(problem.kernel_size))[0]

    return Implementation(
        name="tinybrain",
        version=importlib.metadata.version("tinybrain"),
        call=call,
        ops={"avg": ("uint8", "uint16", "float32", "float64")},
        parameters=frozenset({"ceil_mode"}),
        pooled=(2,),
        batch=(0,),
        ceil_modes=(True,),
        kernel_sizes=(2,),
        takes=lambda problem: min(problem.shape) > 1,
    )


def describe_numpy() -> Implementation:
    """NumPy's reductions over sliding_window_view: what one writes without a library."""
    view = np.lib.stride_tricks.sliding_window_view
    functions: dict[str, Callable[..., Any]] = {
        "max": np.max,
        "min": np.min,
        "avg": np.mean,
        "sum": np.sum,
        "prod": np.prod,
        "any": np.any,
        "all": np.all,
        "var": np.var,
        "std": np.std,
    }

    def call(x: Any, problem: Problem) -> Any:
        axes = _geometry(x, problem)
        spans = tuple(axis.dilation * (axis.kernel - 1) + 1 for axis in axes)
        windows = view(x, spans, tuple(axis.number for axis in axes))
        where = [slice(None)] * x.ndim
        for axis in axes:
            where[axis.number] = slice(None, None, axis.stride)
        taps = [slice(None, None, axis.dilation) for axis in axes]
        reduced = tuple(range(x.ndim, windows.ndim))
        return functions[problem.op](windows[(*where, *taps)], axis=reduced)

    return Implementation(
        name="numpy",
        version=np.__version__,
        call=call,
        ops=dict.fromkeys(
            functions, ("bool", *_SIZES, "float16", "float32", "float64", "complex64", "complex128")
        ),
        parameters=frozenset({"stride", "dilation", "axes", "layouts"}),
        layouts=("C", "F", "transposed", "channels_last", "sliced", "reversed", "read_only"),
        ceil_modes=(False,),
    )
