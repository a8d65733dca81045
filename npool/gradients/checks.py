"""What gradients are refused for, in words."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npool import arrays
from npool.geometry import Sizes, frozen, pick_axes
from npool.values import shown

__all__ = ["check_positions", "checked_gradient", "picked_axes"]

Array = NDArray[Any]


def checked_gradient(
    gradient: Any, shape: tuple[int, ...] | None, kinds: str = "fiu", name: str = "grad_output"
) -> Array:
    """`gradient` if it is an array of a kind that can be added up, of `shape`.

    `kinds` are those of NumPy's dtypes (and with ``"f"`` bfloat16).
    """
    array = arrays.checked_input(gradient, name)
    kind = "f" if array.dtype.kind == "V" else array.dtype.kind
    if kind not in kinds:
        words = {"f": "floats", "iu": "integers", "c": "complex"}
        allowed = " and ".join(word for key, word in words.items() if key[0] in kinds)
        raise TypeError(
            f"{name} has dtype {array.dtype}, of which there is no such gradient: use {allowed}"
        )
    if shape is not None and array.shape != shape:
        raise ValueError(
            f"{name} has shape {array.shape}, but pooling gives {shape}: give the gradient of what "
            "was returned, and the arguments that it was pooled with"
        )
    return array


def check_positions(indices: Array, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    """Refuse positions that `axes` of an array of `shape` do not have; -1 is none."""
    lengths = tuple(shape[axis] for axis in axes)
    size = prod(lengths)
    if not indices.size or (indices.min() >= -1 and indices.max() < size):
        return
    where = np.argwhere((indices < -1) | (indices >= size))[0].tolist()
    raise ValueError(
        f"indices{where} is {indices[tuple(where)]}, but positions in {lengths} go from 0 to "
        f"{size - 1}: give those that npool.max_pool returned for this shape and these axes"
    )


def picked_axes(shape: tuple[int, ...], axes: Sizes) -> tuple[int, ...]:
    """`axes` of an array of `shape`, from 0 on."""
    if axes is None:
        raise TypeError(f"axes must be an integer or a sequence of integers, got {shown(axes)}")
    named = frozen(axes, "axes")
    return pick_axes(shape, 1, named, "axes", "max_unpool2d")
