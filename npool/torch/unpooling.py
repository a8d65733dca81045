"""The operator that puts elements back where max pooling found them, and its derivatives."""

from __future__ import annotations

from typing import Any

import torch

import npool
from npool.torch.arguments import bins_shape
from npool.torch.library import CALLS, Derivative, Saved, define
from npool.torch.pairs import SHAPED
from npool.torch.tensors import array_for, array_of, empty_for, empty_in, tensor_of

__all__: list[str] = []

ops = CALLS


def _unpool_kernel(
    x: torch.Tensor, indices: torch.Tensor, kernel_size: Any, stride: Any, padding: Any,
    output_size: Any, axes: Any,
) -> torch.Tensor:  # fmt: skip
    return tensor_of(
        npool.max_unpool(
            array_of(x), array_of(indices), tuple(kernel_size), tuple(stride), tuple(padding),
            tuple(output_size), axes=tuple(axes),
        )
    )  # fmt: skip


def _unpool_fake(x: torch.Tensor, indices: torch.Tensor, *given: Any) -> torch.Tensor:
    *_, output_size, axes = given
    return empty_for(x, bins_shape(x.shape, output_size, axes), x.dtype)


def _take_kernel(
    grad: torch.Tensor, indices: torch.Tensor, shape: Any, order: Any, axes: Any
) -> torch.Tensor:
    out, places = array_for(grad, shape, order), array_of(indices)
    return tensor_of(npool.max_unpool_backward(array_of(grad), places, axes=tuple(axes), out=out))


def _add_back(saved: Saved, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
    """The gradient of taking: what was taken twice is added twice, in torch's own words.

    `max_pool_backward` would not do: it asks that positions lie in their windows, which those of
    an unpooling may not.
    """
    (indices,), axes = saved.tensors, list(saved.args[2])
    last = list(range(-len(axes), 0))
    values, places = grad.movedim(axes, last), indices.movedim(axes, last)
    apart, few = list(values.shape[: -len(axes)]), _product(values.shape[-len(axes) :])
    places = places.reshape([*apart, few]).long()
    kept = torch.where(places < 0, 0, values.reshape([*apart, few]))
    lengths = [saved.shape[axis] for axis in axes]
    into = kept.new_zeros([*apart, _product(lengths)])
    into = into.scatter_add(-1, places.clamp(min=0), kept)
    return into.reshape([*apart, *lengths]).movedim(last, axes), None


def _product(lengths: Any) -> Any:
    total = 1
    for length in lengths:
        total = total * length
    return total


def _second(tensors: tuple[Any, ...], made: tuple[Any, ...]) -> tuple[Any, ...]:
    return (tensors[1],)


define(
    "max_unpool(Tensor x, Tensor indices, SymInt[] kernel_size, SymInt[] stride, "
    "SymInt[] padding, SymInt[] output_size, SymInt[] axes) -> Tensor",
    _unpool_kernel,
    _unpool_fake,
    Derivative(
        lambda saved, grad: (
            ops.max_unpool_backward(
                grad, saved.tensors[0], saved.shape, saved.order, saved.args[-1]
            ),
            None,
        ),
        lambda saved, tangent, _: ops.max_unpool(tangent, saved.tensors[0], *saved.args),
        _second,
    ),
    tensors=2,
)
define(
    f"max_unpool_backward(Tensor grad, Tensor indices, {SHAPED}, SymInt[] axes) -> Tensor",
    _take_kernel,
    lambda grad, indices, shape, order, axes: empty_in(grad, shape, order, grad.dtype),
    Derivative(
        _add_back,
        lambda saved, tangent, _: ops.max_unpool_backward(tangent, saved.tensors[0], *saved.args),
        _second,
    ),
    tensors=2,
    shaped=True,
)
