"""The operators for sliding windows: max and min, average and sum, and their derivatives.

What moves values without weighing them is linear: the gradient of a maximum puts each value
where the maximum was (`max_pool_backward`), and the gradient of that takes them from there
(`pick`). An average's gradient spreads, and the gradient of spreading is an average. So each
pair is the other's derivative, of every order.
"""

from __future__ import annotations

import math
from typing import Any

import torch

import npool
from npool.dtypes import result_dtype
from npool.functional.maximum import put_beginnings
from npool.geometry import make_plan
from npool.torch.arguments import array_arguments, pooled_shape
from npool.torch.library import Derivative, Saved, define
from npool.torch.tensors import (
    array_dtype,
    array_in,
    array_of,
    empty_for,
    empty_in,
    tensor_dtype,
    tensor_of,
)

__all__ = ["NAMES", "WINDOWS", "index_type"]

#: The arguments that every operator on windows ends with, or has in its middle.
WINDOWS = (
    "SymInt[] kernel_size, SymInt[] stride, SymInt[] padding, SymInt[] dilation, bool ceil_mode, "
    "SymInt[] axes"
)
#: The arguments by which a gradient with respect to an input is made in the input's form.
SHAPED = "SymInt[] input_shape, int[] order"
#: How many the former are.
SIX = 6

ops = torch.ops.npool


def index_type(x: torch.Tensor, axes: Any) -> torch.dtype:
    """The narrowest type of positions within the pooled axes: half the memory where it does."""
    plane = math.prod(x.shape[axis] for axis in axes)
    # A symbolic plane is not asked: the answer would hold for some of its lengths only.
    return torch.int32 if type(plane) is int and plane <= 2**31 else torch.int64


# --- max and min ----------------------------------------------------------------------------------


def _pick_values(reduce: str) -> tuple[Any, Any, Any]:
    """The kernel of a reduction that selects, with and without positions, and the derivative."""
    pool = getattr(npool, reduce)

    def values(x: torch.Tensor, *window: Any) -> torch.Tensor:
        return tensor_of(pool(array_of(x), **array_arguments(*window)))

    def both(x: torch.Tensor, *rest: Any) -> tuple[torch.Tensor, torch.Tensor]:
        *window, index = rest
        found, indices = pool(
            array_of(x), return_indices=True, index_dtype=array_dtype(index),
            **array_arguments(*window),
        )  # fmt: skip
        return tensor_of(found), tensor_of(indices)

    def through(keyset: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        op = getattr(ops, f"{reduce}_with_indices").default
        made = op.redispatch(keyset, *args, index_type(args[0], args[SIX]))
        return tuple(made)

    return values, both, through


def _fake_values(x: torch.Tensor, *window: Any) -> torch.Tensor:
    return empty_for(x, pooled_shape(x.shape, *window), x.dtype)


def _fake_both(x: torch.Tensor, *rest: Any) -> tuple[torch.Tensor, torch.Tensor]:
    *window, index = rest
    shape = pooled_shape(x.shape, *window)
    return empty_for(x, shape, x.dtype), empty_for(x, shape, index)


def _indices(tensors: tuple[Any, ...], made: tuple[Any, ...]) -> tuple[Any, ...]:
    return (made[1],)


def _put(saved: Saved, grad: torch.Tensor) -> tuple[torch.Tensor]:
    window = saved.args[:SIX]
    return (ops.max_pool_backward(grad, saved.tensors[0], saved.shape, saved.order, *window),)


def _taken(saved: Saved, tangent: torch.Tensor) -> torch.Tensor:
    return ops.pick(tangent, saved.tensors[0], *saved.args[:SIX])


for _reduce in ("max_pool", "min_pool"):
    _values, _both, _through = _pick_values(_reduce)
    define(
        f"{_reduce}_with_indices(Tensor x, {WINDOWS}, ScalarType index_dtype) -> (Tensor, Tensor)",
        _both,
        _fake_both,
        Derivative(_put, _taken, _indices),
    )
    define(
        f"{_reduce}(Tensor x, {WINDOWS}) -> Tensor",
        _values,
        _fake_values,
        Derivative(_put, _taken, _indices, _through),
    )


def _put_cpu(
    grad: torch.Tensor, indices: torch.Tensor, shape: Any, order: Any, *window: Any
) -> torch.Tensor:
    values = array_of(grad)
    out = array_in(shape, order, values)
    npool.max_pool_backward(
        values, array_of(indices), out.shape, out=out, **array_arguments(*window)
    )
    return tensor_of(out)


def _put_fake(
    grad: torch.Tensor, indices: torch.Tensor, shape: Any, order: Any, *window: Any
) -> torch.Tensor:
    return empty_in(grad, shape, order, grad.dtype)


def _pick_cpu(x: torch.Tensor, indices: torch.Tensor, *window: Any) -> torch.Tensor:
    axes = array_arguments(*window)["axes"]
    return tensor_of(npool.max_unpool_backward(array_of(x), array_of(indices), axes=axes))


def _pick_fake(x: torch.Tensor, indices: torch.Tensor, *window: Any) -> torch.Tensor:
    return empty_for(x, indices.shape, x.dtype)


def _second(tensors: tuple[Any, ...], made: tuple[Any, ...]) -> tuple[Any, ...]:
    return (tensors[1],)


define(
    f"max_pool_backward(Tensor grad, Tensor indices, {SHAPED}, {WINDOWS}) -> Tensor",
    _put_cpu,
    _put_fake,
    Derivative(
        lambda saved, grad: (ops.pick(grad, saved.tensors[0], *saved.args[2:]), None),
        lambda saved, tangent, _: ops.max_pool_backward(tangent, saved.tensors[0], *saved.args),
        _second,
    ),
    tensors=2,
    shaped=True,
)
define(
    f"pick(Tensor x, Tensor indices, {WINDOWS}) -> Tensor",
    _pick_cpu,
    _pick_fake,
    Derivative(
        lambda saved, grad: (
            ops.max_pool_backward(grad, saved.tensors[0], saved.shape, saved.order, *saved.args),
            None,
        ),
        lambda saved, tangent, _: ops.pick(tangent, saved.tensors[0], *saved.args),
        _second,
    ),
    tensors=2,
)


def _positions_cpu(indices: torch.Tensor, shape: Any, order: Any, *window: Any) -> torch.Tensor:
    found = array_of(indices).copy(order="K")
    put_beginnings(found, make_plan(tuple(shape), **array_arguments(*window)))
    return tensor_of(found)


# npool says -1 where a window has no element, torch where the window begins. The gradient needs
# npool's answer, so torch's is made apart, for those who ask for positions.
define(
    f"torch_positions(Tensor indices, {SHAPED}, {WINDOWS}) -> Tensor",
    _positions_cpu,
    lambda indices, *rest: empty_for(indices, indices.shape, indices.dtype),
    shaped=True,
)


# --- average and sum ------------------------------------------------------------------------------

_DIVISOR = "bool count_include_pad, int? divisor_override"


def _avg_cpu(x: torch.Tensor, *rest: Any) -> torch.Tensor:
    *window, include, divisor, dtype, rounding = rest
    return tensor_of(
        npool.avg_pool(
            array_of(x), count_include_pad=include, divisor_override=divisor,
            dtype=None if dtype is None else array_dtype(dtype), rounding=rounding,
            **array_arguments(*window),
        )
    )  # fmt: skip


def _sum_cpu(x: torch.Tensor, *rest: Any) -> torch.Tensor:
    *window, dtype = rest
    return tensor_of(
        npool.sum_pool(
            array_of(x),
            dtype=None if dtype is None else array_dtype(dtype),
            **array_arguments(*window),
        )
    )


def _avg_fake(x: torch.Tensor, *rest: Any) -> torch.Tensor:
    return _fake_result(x, "avg", rest[:SIX], rest[SIX + 2])


def _sum_fake(x: torch.Tensor, *rest: Any) -> torch.Tensor:
    return _fake_result(x, "sum", rest[:SIX], rest[SIX])


def _fake_result(x: torch.Tensor, reduce: str, window: Any, dtype: Any) -> torch.Tensor:
    """An empty result of a reduction by name: in `dtype`, or in the reducer's own type."""
    if dtype is None:
        dtype = tensor_dtype(result_dtype(npool.REDUCERS[reduce].result, array_dtype(x.dtype)))
    return empty_for(x, pooled_shape(x.shape, *window), dtype)


def _spread_cpu(grad: torch.Tensor, shape: Any, order: Any, *rest: Any) -> torch.Tensor:
    *window, include, divisor = rest
    values = array_of(grad)
    out = array_in(shape, order, values)
    npool.avg_pool_backward(
        values, out.shape, count_include_pad=include, divisor_override=divisor, out=out,
        **array_arguments(*window),
    )  # fmt: skip
    return tensor_of(out)


def _spread_sum_cpu(grad: torch.Tensor, shape: Any, order: Any, *window: Any) -> torch.Tensor:
    values = array_of(grad)
    out = array_in(shape, order, values)
    npool.sum_pool_backward(values, out.shape, out=out, **array_arguments(*window))
    return tensor_of(out)


def _spread_fake(grad: torch.Tensor, shape: Any, order: Any, *rest: Any) -> torch.Tensor:
    return empty_in(grad, shape, order, grad.dtype)


define(
    f"avg_pool(Tensor x, {WINDOWS}, {_DIVISOR}, ScalarType? dtype, str rounding) -> Tensor",
    _avg_cpu,
    _avg_fake,
    Derivative(
        lambda saved, grad: (
            ops.avg_pool_backward(grad, saved.shape, saved.order, *saved.args[: SIX + 2]),
        ),
        lambda saved, tangent: ops.avg_pool(tangent, *saved.args),
    ),
)
define(
    f"avg_pool_backward(Tensor grad, {SHAPED}, {WINDOWS}, {_DIVISOR}) -> Tensor",
    _spread_cpu,
    _spread_fake,
    Derivative(
        lambda saved, grad: (ops.avg_pool(grad, *saved.args[2:], None, "half_even"),),
        lambda saved, tangent: ops.avg_pool_backward(tangent, *saved.args),
    ),
    shaped=True,
)
define(
    f"sum_pool(Tensor x, {WINDOWS}, ScalarType? dtype) -> Tensor",
    _sum_cpu,
    _sum_fake,
    Derivative(
        lambda saved, grad: (
            ops.sum_pool_backward(grad, saved.shape, saved.order, *saved.args[:SIX]),
        ),
        lambda saved, tangent: ops.sum_pool(tangent, *saved.args),
    ),
)
define(
    f"sum_pool_backward(Tensor grad, {SHAPED}, {WINDOWS}) -> Tensor",
    _spread_sum_cpu,
    _spread_fake,
    Derivative(
        lambda saved, grad: (ops.sum_pool(grad, *saved.args[2:], None),),
        lambda saved, tangent: ops.sum_pool_backward(tangent, *saved.args),
    ),
    shaped=True,
)


# --- any other reduction that has a name ----------------------------------------------------------


def _reduce_cpu(x: torch.Tensor, reduce: str, *rest: Any) -> torch.Tensor:
    *window, dtype = rest
    return tensor_of(
        npool.pool(
            array_of(x), reduce=reduce, dtype=None if dtype is None else array_dtype(dtype),
            **array_arguments(*window),
        )
    )  # fmt: skip


def _reduce_fake(x: torch.Tensor, reduce: str, *rest: Any) -> torch.Tensor:
    return _fake_result(x, reduce, rest[:SIX], rest[SIX])


def _no_derivative(saved: Saved, *grads: Any) -> Any:
    raise RuntimeError(
        f"reduce={saved.args[0]!r} has no gradient here: max, min, avg, sum and lp have; call it "
        "on x.detach()"
    )


define(
    f"reduce_pool(Tensor x, str reduce, {WINDOWS}, ScalarType? dtype) -> Tensor",
    _reduce_cpu,
    _reduce_fake,
    Derivative(_no_derivative, _no_derivative),
)
