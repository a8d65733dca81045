"""The verbs of `npool`, for arrays on a device: checked as on the CPU, launched on their stream."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from npool.cuda import calls
from npool.cuda.anywhere import anywhere_program
from npool.cuda.backward import backwards, gather_program
from npool.cuda.drawn import drawn_program
from npool.cuda.holders import Held, aligned_to
from npool.cuda.program import ELEMENTS, INPUT, POSITIONS, RESULT, SAMPLES, Program, program
from npool.cuda.takes import take_program
from npool.dtypes import is_float, is_integer
from npool.fractional import checked_samples
from npool.geometry import Plan, Window
from npool.layout import memory_order
from npool.operation import Operation, bins_operation, operation, planned_operation
from npool.unpool import unpooled_shape
from npool.values import is_sequence

__all__ = [
    "adaptive_pool",
    "added",
    "described",
    "fractional_max_pool",
    "gathered",
    "normed",
    "ordered_samples",
    "pool",
    "taken",
    "unpool",
]

_INDEX_DTYPES = (np.dtype(np.int64), np.dtype(np.int32))


def described(x: Any, name: str = "x") -> Held:
    """The shape, strides and dtype of an array on a device."""
    return calls.held(x, name)


def ordered_samples(samples: Held, planes: int | None, backwards: bool) -> Held:
    """The first samples, of one plane less an axis where `planes` is None; the last axis first."""
    address, shape, strides = samples.address, samples.shape, samples.strides
    if planes is None:
        shape, strides = shape[1:], strides[1:]
    else:
        shape = (planes, *shape[1:])
    if backwards:
        address += (shape[-1] - 1) * strides[-1]
        strides = (*strides[:-1], -strides[-1])
    return replace(samples, address=address, shape=shape, strides=strides)


def pool(x: Any, out: Any, *call: Any) -> Any:
    """`npool.pool` for an array on a device; `call` is what `npool.operation.operation` takes."""
    source = calls.held(x)
    described: Any = source
    return _pooled(source, operation(described, *call), out)


def adaptive_pool(x: Any, out: Any, *call: Any) -> Any:
    """`npool.adaptive_pool`; `call` is what `npool.operation.bins_operation` takes."""
    source = calls.held(x)
    described: Any = source
    return _pooled(source, bins_operation(described, *call), out)


def fractional_max_pool(x: Any, out: Any, samples: Any, plan: Plan, *call: Any) -> Any:
    """`npool.fractional_max_pool`; `call` is what `npool.operation.planned_operation` takes.

    Samples on the device are read where they lie, by the kernel, which takes one that does not lie
    between 0 and 1 for the nearest that does; a generator's, and those of an array of NumPy's, are
    copied there first.
    """
    source = calls.held(x)
    described: Any = source
    asked = planned_operation(described, plan, "max", None, "half_even", *call)
    apart = tuple(n for axis, n in enumerate(plan.shape) if axis not in plan.axes)
    drawn, strides = _drawn(samples, (*apart, len(plan.axes)), source)
    return _pooled(source, asked, out, (drawn, strides))


def _drawn(samples: Any, shape: tuple[int, ...], source: Held) -> tuple[Held, tuple[int, ...]]:
    """Samples on the device, and their strides in elements once they are broadcast to `shape`."""
    if isinstance(samples, (np.ndarray, np.random.Generator)):
        whole = np.ascontiguousarray(checked_samples(samples, shape))
        return calls.upload(whole.reshape(-1), source), calls.strides_in(shape, range(len(shape)))
    found = samples if isinstance(samples, Held) else calls.held(samples, "samples")
    calls.same_device(found, source, "samples")
    if not is_float(found.dtype):
        raise TypeError(f"samples must be floats, got {found.dtype}: convert them with astype")
    given = (1,) * (len(shape) - len(found.shape)) + found.shape
    if len(given) != len(shape) or any(n not in (1, m) for n, m in zip(given, shape, strict=True)):
        raise ValueError(
            f"samples has shape {found.shape}, which does not broadcast to {shape}: one for each "
            "index of the axes that are not pooled, and in the last axis one for each pooled axis"
        )
    steps = (0,) * (len(shape) - len(found.shape)) + found.strides
    return found, tuple(
        0 if n == 1 else s // found.dtype.itemsize for n, s in zip(given, steps, strict=True)
    )


def _pooled(
    source: Held, asked: Operation, out: Any, drawn: tuple[Held, tuple[int, ...]] | None = None
) -> Any:
    plan, result = asked.plan, asked.types.result
    kinds = (result,) if asked.index is None else (result, asked.index)
    results = calls.results(source, plan.out_shape, asked.order, kinds, out)
    values = results[0]
    if values.size:
        if any(d.strides != _scaled(values, d) for d in results[1:]):
            raise ValueError(
                "out=(values, indices) have different strides in elements: give two arrays laid "
                "out alike"
            )
        aligned = (aligned_to([source.address]), aligned_to([d.address for d in results]))
        positions = results[1].address if len(results) == 2 else 0
        addresses = {RESULT: values.address, POSITIONS: positions}
        if drawn is None:
            made = _program(asked, source.dtype, source.strides, values.strides, aligned)
        else:
            samples, steps = drawn
            addresses[SAMPLES] = samples.address
            made = _drawn_program(asked, source.dtype, source.strides, values.strides,
                                  samples.dtype, steps, aligned)  # fmt: skip
        calls.run(made, source, addresses)
    return calls.delivered(results)


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
def _drawn_program(*key: Any) -> Program:
    return drawn_program(*key)


@lru_cache(maxsize=4096)
def _gradient_program(*key: Any, **more: Any) -> Program:
    return gather_program(*key, **more)


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
    source = calls.held(gradient, name)
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
    results = calls.results(source, plan.shape, order, (source.dtype,), out, places)
    target = results[0]
    if target.size and not source.size:
        raise ValueError(f"{name} of shape {source.shape} holds nothing: there is no window")
    if target.size:
        made = None
        if kind in ("sum", "average") and not is_integer(source.dtype):
            made = _backwards_program(plan, source, target, include_pad, divisor)
        aligned = (aligned_to([d.address for d in (source, places) if d]),
                   aligned_to([target.address]))  # fmt: skip
        made = made or _gradient_program(
            kind, plan, source.dtype, order, source.strides, target.strides,
            index=places.dtype if places else None, include_pad=include_pad, divisor=divisor,
            aligned=aligned, apart=_elements(places) if places else None,
        )  # fmt: skip
        calls.run(
            made, source, {RESULT: target.address, POSITIONS: places.address if places else 0}
        )
    return calls.delivered(results)


def _backwards_program(
    plan: Plan, source: Held, target: Held, include_pad: bool | None, divisor: int
) -> Program | None:
    """Gradients as pooling of gradients, where that is what they are and costs less."""
    found = backwards(plan, include_pad, divisor)
    if found is None:
        return None
    described: Any = source
    asked = operation(
        described, found.kernels, 1, found.pads, found.dilations, False, plan.axes,
        "avg" if found.divisor else "sum", None, None, found.divisor or None, "half_even", False,
        np.int64,
    )  # fmt: skip
    aligned = aligned_to([source.address]), aligned_to([target.address])
    return _program(asked, source.dtype, source.strides, target.strides, aligned)


def added(gradient: Any, indices: Any, shape: tuple[int, ...], axes: tuple[int, ...],
          out: Any) -> Any:  # fmt: skip
    """`npool.fractional_max_pool_backward`: a position that the axes do not have counts nowhere.

    Raises
    ------
    ValueError, TypeError
        For shapes and types.
    """
    source = calls.held(gradient, "grad_output")
    if source.dtype.kind in "bc":
        raise TypeError(
            f"grad_output has dtype {source.dtype}, of which there is no such gradient: use "
            "floats and integers"
        )
    places = _placed(indices, source)
    order = memory_order(source.shape, source.strides)
    results = calls.results(source, shape, order, (source.dtype,), out, places)
    target = results[0]
    if target.size:
        strides = tuple(_elements(held) for held in (source, places, target))
        made = _anywhere_program(source.dtype, shape, axes, source.shape, order, strides,
                                 places.dtype)  # fmt: skip
        # Of nothing nothing is read.
        lying = (source, places) if source.size else (target, target)
        calls.run(made, source, {INPUT: lying[0].address, POSITIONS: lying[1].address,
                                 RESULT: target.address})  # fmt: skip
    return calls.delivered(results)


@lru_cache(maxsize=4096)
def _anywhere_program(*key: Any) -> Program:
    return anywhere_program(*key)


def normed(gradient: Any, x: Any, output: Any, p: float, plan: Plan, out: Any) -> Any:
    """`npool.lp_pool_backward`, for a norm `p` and a plan that have been checked.

    Raises
    ------
    ValueError, TypeError
        For shapes and types.
    """
    source, elements = calls.held(gradient, "grad_output"), calls.held(x, "x")
    norms = calls.held(output, "output")
    for name, array in (("grad_output", source), ("x", elements), ("output", norms)):
        if not is_float(array.dtype):
            raise TypeError(
                f"{name} has dtype {array.dtype}, of which there is no such gradient: use floats"
            )
        if array.dtype != source.dtype:
            raise TypeError(f"{name} has dtype {array.dtype}, but grad_output has {source.dtype}")
        calls.same_device(array, source, name)
        if array is not elements and array.shape != plan.out_shape:
            raise ValueError(
                f"{name} has shape {array.shape}, but pooling gives {plan.out_shape}: give that "
                "of what was returned, and the arguments that it was pooled with"
            )
    order = memory_order(source.shape, source.strides)
    results = calls.results(source, plan.shape, order, (source.dtype,), out, norms, elements)
    target = results[0]
    if target.size:
        aligned = (aligned_to([d.address for d in (source, norms, elements)]),
                   aligned_to([target.address]))  # fmt: skip
        made = _gradient_program(
            "norm", plan, source.dtype, order, source.strides, target.strides, aligned=aligned,
            norm=p, apart=_elements(norms), beside=_elements(elements),
        )  # fmt: skip
        calls.run(made, source, {RESULT: target.address, POSITIONS: norms.address,
                                 ELEMENTS: elements.address})  # fmt: skip
    return calls.delivered(results)


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
    source = calls.held(x)
    shape = source.shape
    picked, result = unpooled_shape(shape, kernel_size, stride, padding, output_size, axes)
    kernels, pads = _one_each(kernel_size, len(picked)), _one_each(padding, len(picked))
    strides = kernels if stride is None else _one_each(stride, len(picked))
    windows = tuple(
        Window(result[axis], k, s, 1, p, max(0, (shape[axis] - 1) * s + k - p - result[axis]),
               shape[axis])
        for axis, k, s, p in zip(picked, kernels, strides, pads, strict=True)
    )  # fmt: skip
    return gathered("last", source, Plan(result, picked, windows, shape), out, indices, name="x")


def taken(x: Any, indices: Any, axes: tuple[int, ...], out: Any, name: str) -> Any:
    """`npool.take_pooled`: a position that the axes do not have gives 0, as -1 does."""
    source, places = calls.held(x, name), calls.held(indices, "indices")
    calls.same_device(places, source, "indices")
    if places.dtype not in _INDEX_DTYPES:
        raise TypeError(f"indices must be of type int64 or int32, got {places.dtype}")
    if source.dtype.kind == "c":
        raise TypeError(f"{name} has dtype {source.dtype}: use a real one")
    pooled, shape = places.shape, source.shape
    if len(pooled) != len(shape) or any(
        n != m for a, (n, m) in enumerate(zip(pooled, shape, strict=True)) if a not in axes
    ):
        raise ValueError(
            f"indices has shape {pooled} and {name} is {shape}: they may differ only along "
            f"axes={axes}"
        )
    if places.size and not source.size:
        raise ValueError(f"{name} of shape {shape} holds nothing to be taken")
    order = memory_order(shape, source.strides)
    results = calls.results(source, pooled, order, (source.dtype,), out, places)
    target = results[0]
    if target.size:
        strides = tuple(_elements(held) for held in (source, places, target))
        made = _take_program(source.dtype, shape, axes, pooled, order, strides, places.dtype)
        calls.run(made, source, {RESULT: target.address, POSITIONS: places.address})
    return calls.delivered(results)


@lru_cache(maxsize=4096)
def _take_program(*key: Any) -> Program:
    return take_program(*key)


def _one_each(value: Any, count: int) -> tuple[int, ...]:
    """One number for each axis, of what `npool.unpool` has checked."""
    return (int(value),) * count if not is_sequence(value) else tuple(int(v) for v in value)


def _placed(indices: Any, source: Held) -> Held:
    """The positions that go with a gradient."""
    places = calls.held(indices, "indices")
    if places.dtype not in _INDEX_DTYPES:
        raise TypeError(
            f"indices must be of type int64 or int32, got {places.dtype}: give the positions that "
            "npool.max_pool returns"
        )
    if places.shape != source.shape:
        raise ValueError(f"indices have shape {places.shape}, and the gradient {source.shape}")
    calls.same_device(places, source, "indices")
    return places


def _elements(array: Held) -> tuple[int, ...]:
    """Strides in elements."""
    return tuple(s // array.dtype.itemsize for s in array.strides)
