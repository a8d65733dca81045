"""Which differentiated pooling is torch's own operator: what that has done before npool.

Tiny max pooling; and adaptive pooling of shapes that were looked at once.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, is_grad_enabled
from torch.compiler import is_dynamo_compiling

__all__ = ["own", "own_bins", "remember"]

#: Taps of all windows below which torch's own operator, which is compiled with its derivative, is
#: done before a derivative in Python is on its way: of rows that vectors fill, of contiguous
#: short ones, and of channels last. 0 leaves nothing to it.
FEW, FEW_SHORT, FEW_LAST, ROW = 1 << 14, 1 << 16, 1 << 16, 16
_SAME_SUMS = (torch.float32, torch.float64)


def own(
    pool: Any, input: torch.Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
    ceil_mode: bool,
) -> Any:  # fmt: skip
    """The result of torch's own operator, where that does the same and is done before npool's.

    None where it is not, where nothing is differentiated, and where it refuses the call: npool says
    why, in its own words. Where transforms or modes look on, torch's operator serves them as well.
    Nothing that a tensor is asked for here takes longer than 50 ns: torch has pooled a tiny one in
    7 us.
    """
    if type(input) is not Tensor or not input.requires_grad or is_dynamo_compiling():
        return None
    few = input.numel() < FEW
    if (
        (few and (stride is None or stride == kernel_size)) or _is_small(input, kernel_size, stride)
    ) and (
        input.is_cpu
        and input.dtype in _SAME_SUMS
        and (dilation == 1 if type(dilation) is int else _is_one(dilation))
        and is_grad_enabled()
    ):
        try:
            return pool(input, kernel_size, () if stride is None else stride, padding, 1, ceil_mode)
        except (RuntimeError, TypeError, ValueError):
            pass
    return None


def _is_one(dilation: Any) -> bool:
    return type(dilation) in (tuple, list) and all(type(d) is int and d == 1 for d in dilation)


def _is_small(input: torch.Tensor, kernel_size: Any, stride: Any) -> bool:
    """Whether torch's own max pooling has both results before npool's would.

    Without dilation every window holds an element, of which both say the same position: the bits
    are the same, too.
    """
    taps: float = input.numel()
    if taps >= max(FEW, FEW_SHORT, FEW_LAST):
        return False
    if stride is not None and stride != kernel_size:
        if type(kernel_size) is int and type(stride) is int and stride > 0:
            taps *= (kernel_size / stride) ** (input.ndim - 2)
        else:
            try:
                kernels, strides = (
                    [value] * (input.ndim - 2) if isinstance(value, int) else value
                    for value in (kernel_size, stride)
                )
                taps *= math.prod(kernels) / math.prod(strides or kernels)
            except (TypeError, ZeroDivisionError):
                return False
    if taps < FEW:
        return True
    if not input.is_contiguous():
        return taps < FEW_LAST
    return taps < FEW_SHORT and input.shape[-1] < ROW


#: Sizes of results that torch's own operator is asked for, of tensors and sizes as they came.
_known: dict[Any, Any] = {}


def _key(pool: Any, input: torch.Tensor, output_size: Any) -> Any:
    """What decides, in a form that can be looked up; None for sizes that are not plain integers."""
    sizes = output_size if type(output_size) in (tuple, list) else (output_size,)
    if not all(type(size) is int for size in sizes):  # 7.0 and True would be found as 7 and 1
        return None
    return pool, input.shape, input.stride(), input.dtype, *sizes


def remember(pool: Any, input: torch.Tensor, output_size: Any, sizes: Any) -> None:
    """From now on, tensors like `input` are pooled to `output_size` by ``pool(input, sizes)``."""
    key = _key(pool, input, output_size)
    if key is not None and not is_dynamo_compiling():
        if len(_known) >= 1024:
            _known.clear()
        _known[key] = sizes


def own_bins(pool: Any, input: torch.Tensor, output_size: Any) -> Any:
    """The result of torch's own operator, of a tensor like one that was remembered; else None.

    To find it out again takes 0.15 ms where the caches are cold, as they are in a model.
    """
    if type(input) is not Tensor or not input.requires_grad or is_dynamo_compiling():
        return None
    if not (input.is_cpu and is_grad_enabled()):
        return None
    sizes = _known.get(_key(pool, input, output_size))
    return None if sizes is None else pool(input, sizes)
