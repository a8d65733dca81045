"""The verbs of `npool`, for arrays on a device: checked as on the CPU, launched on their stream."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from npool.bins import Drawn
from npool.cuda.backward import gather_program
from npool.cuda.holders import Held, aligned_to, held
from npool.cuda.launching import driver, launch
from npool.cuda.program import INPUT, POSITIONS, RESULT, Program, program
from npool.dtypes import is_integer
from npool.geometry import Plan, Window
from npool.layout import memory_order
from npool.operation import Operation, bins_operation, operation
from npool.unpool import unpooled_shape
from npool.values import is_sequence

__all__ = ["adaptive_pool", "gathered", "pool", "unpool"]

_INDEX_DTYPES = (np.dtype(np.int64), np.dtype(np.int32))


def pool(x: Any, out: Any, *call: Any) -> Any:
    """`npool.pool` for an array on a device; `call` is what `npool.operation.operation` takes."""
    source = held(x)
    described: Any = source
    return _pooled(source, operation(described, *call), out)


def adaptive_pool(x: Any, out: Any, *call: Any) -> Any:
    """`npool.adaptive_pool`; `call` is what `npool.operation.bins_operation` takes."""
    source = held(x)
    described: Any = source
    return _pooled(source, bins_operation(described, *call), out)


def _pooled(source: Held, asked: Operation, out: Any) -> Any:
    plan, result = asked.plan, asked.types.result
    if any(isinstance(window, Drawn) for window in plan.windows):
        raise TypeError("fractional pooling has no kernel for CUDA devices yet: pool on the CPU")
    if result.kind == "c" and source.dtype.kind != "c":
        raise TypeError(
            f"dtype={result} of real elements has no kernel for CUDA devices: convert the result"
        )
    kinds = (result,) if asked.index is None else (result, asked.index)
    results = _results(source, plan.out_shape, asked.order, kinds, out)
    values = results[0]
    if values.size:
        if any(d.strides != _scaled(values, d) for d in results[1:]):
            raise ValueError(
                "out=(values, indices) have different strides in elements: give two arrays laid "
                "out alike"
            )
        aligned = (aligned_to([source.address]), aligned_to([d.address for d in results]))
        made = _program(asked, source.dtype, source.strides, values.strides, aligned)
        positions = results[1].address if len(results) == 2 else 0
        _run(made, source, {RESULT: values.address, POSITIONS: positions})
    return _delivered(results)


def _scaled(values: Held, other: Held) -> tuple[int, ...]:
    return tuple(s // values.dtype.itemsize * other.dtype.itemsize for s in values.strides)


@lru_cache(maxsize=4096)
def _program(
    asked: Operation,
    dtype: np.dtype[Any],
    in_strides: tuple[int, ...],
    out_strides: tuple[int, ...],
    aligned: tuple[int, int],
) -> Program:
    return program(asked, dtype, in_strides, out_strides, aligned)


@lru_cache(maxsize=4096)
def _gradient_program(*key: Any) -> Program:
    kind, plan, dtype, order, in_strides, out_strides, index, include_pad, divisor, aligned = key
    return gather_program(
        kind, plan, dtype, order, in_strides, out_strides, index=index, include_pad=include_pad,
        divisor=divisor, aligned=aligned,
    )  # fmt: skip


def gathered(
    kind: str,
    gradient: Any,
    plan: Plan,
    out: Any,
    indices: Any = None,
    include_pad: bool | None = None,
    divisor: int = 0,
    name: str = "grad_output",
) -> Any:
    """Gradients of `plan`, or what was pooled put back: as `npool.cuda.gathers.Gather.kind` says.

    Positions are not read on the host: one that does not lie in its own window counts nowhere.

    Raises
    ------
    ValueError, TypeError
        For shapes and types.
    """
    source = held(gradient, name)
    if source.shape != plan.out_shape:
        raise ValueError(
            f"{name} has shape {source.shape}, but pooling gives {plan.out_shape}: give that of "
            "what was returned, and the arguments that it was pooled with"
        )
    if kind == "average" and is_integer(source.dtype):
        raise TypeError(f"{name} has dtype {source.dtype}: averages have gradients of floats")
    places = None
    if kind in ("add", "last"):
        places = _placed(indices, source)
    order = memory_order(source.shape, source.strides)
    results = _results(source, plan.shape, order, (source.dtype,), out, places)
    target = results[0]
    if target.size and not source.size:
        raise ValueError(f"{name} of shape {source.shape} holds nothing: there is no window")
    if target.size:
        aligned = (aligned_to([d.address for d in (source, places) if d]),
                   aligned_to([target.address]))  # fmt: skip
        made = _gradient_program(
            kind, plan, source.dtype, order, source.strides, target.strides,
            places.dtype if places else None, include_pad, divisor, aligned,
        )  # fmt: skip
        _run(made, source, {RESULT: target.address, POSITIONS: places.address if places else 0})
    return _delivered(results)


def unpool(
    x: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    output_size: Any,
    axes: Any,
    out: Any,
) -> Any:
    """`npool.max_unpool`: each element of the result asks the windows that it lies in.

    A position outside its own window of `kernel_size` elements counts nowhere, as -1 does.
    """
    shape = tuple(x.shape)
    picked, result = unpooled_shape(shape, kernel_size, stride, padding, output_size, axes)
    kernels, pads = _one_each(kernel_size, len(picked)), _one_each(padding, len(picked))
    strides = kernels if stride is None else _one_each(stride, len(picked))
    windows = tuple(
        Window(result[axis], k, s, 1, p, max(0, (shape[axis] - 1) * s + k - p - result[axis]),
               shape[axis])
        for axis, k, s, p in zip(picked, kernels, strides, pads, strict=True)
    )  # fmt: skip
    return gathered("last", x, Plan(result, picked, windows, shape), out, indices, name="x")


def _one_each(value: Any, count: int) -> tuple[int, ...]:
    """One number for each axis, of what `npool.unpool` has checked."""
    return (int(value),) * count if not is_sequence(value) else tuple(int(v) for v in value)


def _placed(indices: Any, source: Held) -> Held:
    """The positions that go with a gradient."""
    places = held(indices, "indices")
    if places.dtype not in _INDEX_DTYPES:
        raise TypeError(
            f"indices must be of type int64 or int32, got {places.dtype}: give the positions that "
            "npool.max_pool returns"
        )
    if places.shape != source.shape:
        raise ValueError(f"indices have shape {places.shape}, and the gradient {source.shape}")
    _same_device(places, source, "indices")
    alike = tuple(s // source.dtype.itemsize * places.dtype.itemsize for s in source.strides)
    moves = [n > 1 for n in source.shape]
    if any(m and s != t for m, s, t in zip(moves, places.strides, alike, strict=True)):
        raise ValueError(
            f"indices have strides {places.strides} in bytes where the gradient's ask for {alike}: "
            "give two arrays laid out alike, such as contiguous ones"
        )
    return places


def _same_device(array: Held, source: Held, name: str) -> None:
    if array.device != source.device:
        raise ValueError(
            f"{name} lies on device {array.device}, and x on device {source.device}: give arrays "
            "of one device"
        )


def _results(
    source: Held,
    shape: tuple[int, ...],
    order: Sequence[int],
    dtypes: Sequence[np.dtype[Any]],
    out: Any,
    also: Held | None = None,
) -> list[Held]:
    """New arrays in the memory order of the source, or those that the caller gave."""
    given = out if isinstance(out, (tuple, list)) and len(dtypes) > 1 else (out,)
    if len(given) > len(dtypes):
        raise ValueError(f"out must hold {len(dtypes)} arrays (values, indices), got {len(given)}")
    found = []
    for i, dtype in enumerate(dtypes):
        array = given[i] if i < len(given) else None
        if array is None:
            array = source.empty(shape, _strides_in(shape, order), dtype)
            found.append(held(array, "out"))
            continue
        target = held(array, "out")
        if target.shape != shape or target.dtype != dtype:
            raise (ValueError if target.shape != shape else TypeError)(
                f"out has shape {target.shape} and dtype {target.dtype}, but the result has shape "
                f"{shape} and dtype {dtype}"
            )
        _same_device(target, source, "out")
        for other in (source, also, *found):
            if other is not None and _overlap(target, other):
                raise ValueError(
                    "out shares memory with another array of the call: on a device give one apart"
                )
        if any(s == 0 for n, s in zip(target.shape, target.strides, strict=True) if n > 1):
            raise ValueError("out has a stride of 0: several results would share an element")
        found.append(target)
    return found


def _overlap(a: Held, b: Held) -> bool:
    (first, last), (start, stop) = a.extent, b.extent
    return first < stop and start < last


def _strides_in(shape: tuple[int, ...], order: Sequence[int]) -> tuple[int, ...]:
    """Strides, in elements, of a dense array whose axes lie in memory in `order`."""
    strides, step = [0] * len(shape), 1
    for axis in reversed(order):
        strides[axis] = step
        step *= max(1, shape[axis])
    return tuple(strides)


def _run(made: Program, source: Held, addresses: dict[int, int]) -> None:
    """The launches of a program, one after another on the source's stream."""
    driver()
    addresses = {INPUT: source.address, **addresses}
    own = [source.empty((size,), (1,), np.dtype(np.uint8)) for size in made.own]
    for i, buffer in enumerate(own):
        addresses[POSITIONS + 1 + i] = held(buffer, "a buffer").address
    for step in made.steps:
        at = [addresses[buffer] + offset for buffer, offset in step.pointers]
        launch(step, at, source.device, source.stream)


def _delivered(results: Sequence[Held]) -> Any:
    arrays = tuple(result.array for result in results)
    return arrays[0] if len(arrays) == 1 else arrays
