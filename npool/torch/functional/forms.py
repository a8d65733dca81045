"""What the functions under torch's names share: autocast, memory formats, the way by arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._prims_common import suggest_memory_format
from torch.compiler import is_compiling

from npool.torch.tensors import array_of, is_eager, is_plain, order_of, tensor_of

__all__ = ["as_torch_lays", "as_torch_reads", "by_arrays", "cast", "on_arrays"]

_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def by_arrays(input: torch.Tensor) -> bool:
    """Whether a call goes to npool's array function under torch's name, past all operators.

    Those on a CUDA device do not: arrays there lack some of what tensors have by the operators.
    """
    return not input.is_cuda and is_plain(input)


def cast(input: torch.Tensor) -> torch.Tensor:
    """`input` in float32 where autocast has torch's function compute in it.

    These are its 3-D, unpooling and fractional ones on the CPU; the others, and all on a CUDA
    device, keep the type of their input.
    """
    halves = (torch.float16, torch.bfloat16)
    if input.dtype in halves and not input.is_cuda and torch.is_autocast_enabled("cpu"):
        return input.float()
    return input


def as_torch_reads(input: torch.Tensor) -> torch.Tensor:
    """`input`, or a contiguous copy where it is differentiated and lies transposed, as torch does.

    Its gradient is then contiguous, as torch's is, and the gradient of the result, which is laid
    out anew, does not meet positions in another order.
    """
    if input.is_contiguous() or _lies_last(input) or is_plain(input) or not is_eager(input):
        return input
    if order_of(input) == tuple(range(input.ndim)):
        return input  # a slice, read where it lies
    if suggest_memory_format(input) is not torch.contiguous_format:
        return input
    return input.contiguous()


def as_torch_lays(result: torch.Tensor, input: torch.Tensor) -> torch.Tensor:
    """`result`, which lies in memory as `input` does, in the memory format that torch gives it.

    That is channels-last for channels-last input and contiguous for all other: a result of a
    transposed tensor is laid out anew.
    """
    if input.is_contiguous() and (input.ndim < 4 or input.stride(1) != 1):
        return result
    if _lies_last(input):
        return result.contiguous(memory_format=_LAST[input.ndim])
    form = suggest_memory_format(input)
    if input.shape[1] == 1 and form is not torch.contiguous_format:
        # Of one channel both forms are the same memory; only strides tell them apart.
        return result.clone(memory_format=form)
    return result.contiguous(memory_format=form)


def _lies_last(input: torch.Tensor) -> bool:
    """Whether `input` is dense with channels last, and no axis of length 1 makes that unclear."""
    form = _LAST.get(input.ndim)
    return (
        form is not None
        and not is_compiling()
        and 1 not in input.shape
        and input.is_contiguous(memory_format=form)
    )


def on_arrays(pool: Callable[..., Any], input: torch.Tensor, *args: Any, **named: Any) -> Any:
    """Call an array function on the memory of a plain tensor."""
    made = pool(array_of(input), *args, **named)
    if isinstance(made, tuple):
        return tuple([as_torch_lays(tensor_of(array), input) for array in made])
    return as_torch_lays(tensor_of(made), input)
