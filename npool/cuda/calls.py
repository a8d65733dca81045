"""What every call on a device does: results of the caller's kind, and launches on its stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from npool.cuda.holders import Held, held
from npool.cuda.launching import driver, launch
from npool.cuda.program import INPUT, OWN, Program

__all__ = ["delivered", "driver", "held", "results", "run", "same_device", "strides_in", "upload"]


def same_device(array: Held, source: Held, name: str) -> None:
    """Refuse an array of another device than `source`'s."""
    if array.device != source.device:
        raise ValueError(
            f"{name} lies on device {array.device}, and x on device {source.device}: give arrays "
            "of one device"
        )


def results(
    source: Held,
    shape: tuple[int, ...],
    order: Sequence[int],
    dtypes: Sequence[np.dtype[Any]],
    out: Any,
    *also: Held | None,
) -> list[Held]:
    """New arrays in the memory order of the source, or those that the caller gave."""
    given = out if isinstance(out, (tuple, list)) and len(dtypes) > 1 else (out,)
    if len(given) > len(dtypes):
        raise ValueError(f"out must hold {len(dtypes)} arrays (values, indices), got {len(given)}")
    found = []
    for i, dtype in enumerate(dtypes):
        array = given[i] if i < len(given) else None
        if array is None:
            driver()  # before anything is asked of the framework
            array = source.empty(shape, strides_in(shape, order), dtype)
            found.append(held(array, "out"))
            continue
        target = held(array, "out")
        if target.shape != shape or target.dtype != dtype:
            raise (ValueError if target.shape != shape else TypeError)(
                f"out has shape {target.shape} and dtype {target.dtype}, but the result has shape "
                f"{shape} and dtype {dtype}"
            )
        same_device(target, source, "out")
        if target.readonly:
            raise ValueError("out is read-only: give an array that may be written to")
        for other in (source, *also, *found):
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


def strides_in(shape: tuple[int, ...], order: Sequence[int]) -> tuple[int, ...]:
    """Strides, in elements, of a dense array whose axes lie in memory in `order`."""
    strides, step = [0] * len(shape), 1
    for axis in reversed(order):
        strides[axis] = step
        step *= max(1, shape[axis])
    return tuple(strides)


def run(made: Program, source: Held, addresses: dict[int, int]) -> None:
    """The launches of a program, one after another on the source's stream.

    Buffers are given back to the array's allocator at the end, which keeps to the stream's order.
    """
    driver()
    addresses = {INPUT: source.address, **addresses}
    own = [_buffer(source, size, np.dtype(np.uint8)) for size in made.own]
    for i, buffer in enumerate(own):
        addresses[OWN + i] = buffer.address
    for step in made.steps:
        at = [addresses[buffer] + offset for buffer, offset in step.pointers]
        launch(step, at, source.device, source.stream)


def delivered(targets: Sequence[Held]) -> Any:
    """What the caller gets: one array, or a tuple."""
    arrays = tuple(
        target.array if target.deliver is None else target.deliver(target.array)
        for target in targets
    )
    return arrays[0] if len(arrays) == 1 else arrays


def _buffer(source: Held, size: int, dtype: np.dtype[Any]) -> Held:
    make = source.scratch or source.empty
    return held(make((size,), (1,), dtype), "a buffer")


def upload(array: np.ndarray[Any, Any], source: Held) -> Held:
    """A small array of the host, beside `source`: copied in the order of its stream."""
    made = _buffer(source, max(1, array.size), array.dtype)
    if array.size:
        driver().upload(made.address, np.ascontiguousarray(array), source.device, source.stream)
    return made
