"""The operators of power averages: npool's p-norm, and torch's `lp_pool` to its letter.

Both have the derivative ``y**(1 - p) * x**(p - 1)`` for each tap, of |x| or of x. It is written
with sums and averages, which are linear, so that it has derivatives itself. Where all of a window
is 0 the norm has a corner (p = 1) or no derivative, and 0, a subgradient, is taken.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.autograd import forward_ad

import npool
from npool.torch.arguments import array_arguments, pooled_shape
from npool.torch.library import CALLS, Derivative, Saved, define
from npool.torch.operators import WINDOWS
from npool.torch.tensors import (
    array_in,
    array_of,
    empty_for,
    empty_in,
    is_eager,
    order_of,
    tensor_of,
)

__all__ = ["slope"]

ops = CALLS


def slope(x: torch.Tensor, p: float, absolute: bool) -> torch.Tensor:
    """The derivative of ``|x|**p / p``, or of ``x**p / p``; 0 where x is 0 and it has none."""
    if p == 2:
        return x
    if p == 1:
        return x.sign() if absolute else torch.ones_like(x)
    if not absolute and p > 1:
        return x.pow(p - 1)
    # Infinite or with a corner at 0: what is not taken must not be computed there either, or
    # its derivative would be NaN.
    nothing = x == 0
    safe = torch.where(nothing, 1, x)
    raised = safe.abs().pow(p - 1) * safe.sign() if absolute else safe.pow(p - 1)
    return torch.where(nothing, 0, raised)


def _weight(y: torch.Tensor, p: float) -> torch.Tensor:
    """``y**(1 - p)``, and 0 where y is 0."""
    if p == 1:
        return torch.ones_like(y)
    nothing = y == 0
    return torch.where(nothing, 0, torch.where(nothing, 1, y).pow(1 - p))


def _kept(tensors: tuple[Any, ...], made: tuple[Any, ...]) -> tuple[Any, ...]:
    return tensors[0], made[0]


# --- npool's --------------------------------------------------------------------------------------


def _lp_kernel(x: torch.Tensor, p: float, *window: Any) -> torch.Tensor:
    return tensor_of(npool.lp_pool(array_of(x), p, **array_arguments(*window)))


def _lp_fake(x: torch.Tensor, p: float, *window: Any) -> torch.Tensor:
    dtype = x.dtype if x.dtype.is_floating_point else torch.float64
    return empty_for(x, pooled_shape(x.shape, *window), dtype)


def _lp_backward(saved: Saved, grad: torch.Tensor) -> tuple[torch.Tensor]:
    (x, y), (p, *window) = saved.tensors, saved.args
    if not torch.is_grad_enabled() and forward_ad._current_level < 0:
        return (ops.lp_pool_backward(grad, x, y, p, *window),)
    spread = ops.sum_pool_backward(grad * _weight(y, p), saved.shape, saved.order, *window)
    return (spread * slope(x, p, True),)


def _lp_tangent(saved: Saved, tangent: torch.Tensor) -> torch.Tensor:
    (x, y), (p, *window) = saved.tensors, saved.args
    return ops.sum_pool(tangent * slope(x, p, True), *window, None) * _weight(y, p)


def _lp_backward_kernel(
    grad: torch.Tensor, x: torch.Tensor, y: torch.Tensor, p: float, *window: Any
) -> torch.Tensor:
    out = array_in(x, x.shape, order_of(x))
    npool.lp_pool_backward(
        array_of(grad), array_of(x), array_of(y), p, out=out, **array_arguments(*window)
    )
    return tensor_of(out)


def _lp_backward_fake(grad: torch.Tensor, x: torch.Tensor, *rest: Any) -> torch.Tensor:
    return empty_in(x, x.shape, order_of(x), x.dtype)


define(
    f"lp_pool(Tensor x, float norm_type, {WINDOWS}) -> Tensor",
    _lp_kernel,
    _lp_fake,
    Derivative(_lp_backward, _lp_tangent, _kept),
)
# Its own derivative is never asked for: where one could be, `_lp_backward` takes the other way.
define(
    f"lp_pool_backward(Tensor grad, Tensor x, Tensor y, float norm_type, {WINDOWS}) -> Tensor",
    _lp_backward_kernel,
    _lp_backward_fake,
    tensors=3,
)


# --- torch's --------------------------------------------------------------------------------------


def _as_torch_kernel(x: torch.Tensor, p: Any, *window: Any) -> torch.Tensor:
    kernel, stride, _, _, ceil_mode, axes = window
    n = len(axes)
    pool = getattr(npool.functional, f"lp_pool{n}d")
    # More axes in front than torch's function has come from vmap.
    batches = x.shape[: -n - 2]
    flat = x.flatten(0, -n - 2) if batches else x
    made = tensor_of(pool(array_of(flat), p, tuple(kernel), tuple(stride), ceil_mode))
    return made.unflatten(0, (*batches, x.shape[-n - 2])) if batches else made


def _as_torch_fake(x: torch.Tensor, p: Any, *window: Any) -> torch.Tensor:
    dtype = x.dtype if x.dtype.is_floating_point else torch.float32
    return empty_for(x, pooled_shape(x.shape, *window), dtype)


def _as_torch_weight(saved: Saved) -> torch.Tensor:
    y, p = saved.tensors[1], saved.args[0]
    if p == 1:  # torch takes the sum's sign and size apart, and neither has a slope at 0
        return (y != 0).to(y.dtype) * math.prod(saved.args[1])
    return _weight(y, p) * math.prod(saved.args[1])


def _as_torch_backward(saved: Saved, grad: torch.Tensor) -> tuple[torch.Tensor]:
    p, *window = saved.args
    weighed = grad * _as_torch_weight(saved)
    spread = ops.avg_pool_backward(weighed, saved.shape, saved.order, *window, True, None)
    steep = slope(saved.tensors[0], p, False)
    if not torch.is_grad_enabled() and is_eager(spread) and is_eager(steep):
        return (spread.mul_(steep),)  # nobody else has it, and its memory has been used before
    return (spread * steep,)


def _as_torch_tangent(saved: Saved, tangent: torch.Tensor) -> torch.Tensor:
    p, *window = saved.args
    moved = tangent * slope(saved.tensors[0], p, False)
    return ops.avg_pool(moved, *window, True, None, None, "half_even") * _as_torch_weight(saved)


define(
    f"lp_pool_as_torch(Tensor x, Scalar norm_type, {WINDOWS}) -> Tensor",
    _as_torch_kernel,
    _as_torch_fake,
    Derivative(_as_torch_backward, _as_torch_tangent, _kept),
)
