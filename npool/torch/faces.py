"""npool's any-axes functions on tensors: what `npool.pool` and its kin call when one arrives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import npool
from npool.operation import bins_operation, operation
from npool.reducers import REDUCERS, Reducer, lp
from npool.torch import norms, operators, unpooling  # noqa: F401  (they define what is called here)
from npool.torch.arguments import bins, drawn, planned, symbolic, unpooled, windows
from npool.torch.library import CALLS
from npool.torch.tensors import array_dtype, array_of, is_plain, stand_in, tensor_dtype, tensor_of

__all__ = ["adaptive_pool", "fractional_max_pool", "lp_pool", "max_unpool", "pool"]

ops = CALLS


def pool(
    x: torch.Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *,
    reduce: str | Reducer = "max",
    axes: Any = None,
    dtype: Any = None,
    count_include_pad: bool | None = None,
    divisor_override: int | None = None,
    rounding: str = "half_even",
    return_indices: bool = False,
    index_dtype: Any = np.int64,
    out: Any = None,
) -> Any:
    """:func:`npool.pool` of a tensor: the same, and differentiable for max, min, avg, sum and lp.

    Parameters
    ----------
    x : torch.Tensor
        On the CPU or a CUDA device, or traced; any shape, strides and supported dtype.
    kernel_size, stride, padding, dilation, ceil_mode, reduce, axes, count_include_pad,
    divisor_override, rounding, return_indices
        As for :func:`npool.pool`.
    dtype, index_dtype : torch.dtype or dtype, optional
        As for :func:`npool.pool`, by torch's name or NumPy's.
    out : torch.Tensor, or a pair of them with `return_indices`, optional
        Where to put the result; then nothing is differentiated.

    Returns
    -------
    torch.Tensor, or a pair of them with `return_indices`

    Raises
    ------
    ValueError, TypeError
        As :func:`npool.pool`.
    RuntimeError
        For a gradient of a reduction that has none here, or of a call with `out`.
    """
    dtype = None if dtype is None else tensor_dtype(dtype)
    index = tensor_dtype(index_dtype)
    if is_plain(x) or out is not None:
        return _on_arrays(
            npool.pool, x, out, kernel_size, stride, padding, dilation, ceil_mode, reduce=reduce,
            axes=axes, dtype=dtype, count_include_pad=count_include_pad,
            divisor_override=divisor_override, rounding=rounding, return_indices=return_indices,
            index_dtype=index,
        )  # fmt: skip
    if symbolic(x.shape):
        window = windows(x, kernel_size, stride, padding, dilation, ceil_mode, axes)
    else:
        meant = operation(
            stand_in(x), kernel_size, stride, padding, dilation, ceil_mode, axes, reduce,
            None if dtype is None else array_dtype(dtype), count_include_pad, divisor_override,
            rounding, return_indices, array_dtype(index),
        )  # fmt: skip
        window = planned(meant.plan, bool(ceil_mode))
    name = reduce if isinstance(reduce, str) else _name(reduce)
    if name == "max" and not return_indices:
        return ops.max_pool(x, *window)
    if name == "max":
        return ops.max_pool_with_indices(x, *window, index)
    if name == "min" and not return_indices:
        return ops.min_pool(x, *window)
    if name == "min":
        return ops.min_pool_with_indices(x, *window, index)
    if name == "avg":
        include = True if count_include_pad is None else bool(count_include_pad)
        return ops.avg_pool(x, *window, include, divisor_override, dtype, rounding)
    if name == "sum":
        return ops.sum_pool(x, *window, dtype)
    if name == "lp":
        return ops.lp_pool(x, 2.0 if isinstance(reduce, str) else _power(reduce), *window)
    return ops.reduce_pool(x, name, *window, dtype)


def lp_pool(
    x: torch.Tensor,
    norm_type: float,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *,
    axes: Any = None,
    out: Any = None,
) -> Any:
    """:func:`npool.lp_pool` of a tensor.

    Parameters
    ----------
    x : torch.Tensor
        On the CPU or a CUDA device, or traced; any shape, strides and real dtype.
    norm_type, kernel_size, stride, padding, dilation, ceil_mode, axes, out
        As for :func:`npool.lp_pool`.

    Returns
    -------
    torch.Tensor

    Raises
    ------
    ValueError, TypeError, RuntimeError
        As :func:`pool`.
    """
    if torch.compiler.is_compiling():  # which would trace the making of a reducer
        window = windows(x, kernel_size, stride, padding, dilation, ceil_mode, axes)
        return ops.lp_pool(x, norm_type, *window)
    return pool(
        x, kernel_size, stride, padding, dilation, ceil_mode, reduce=lp(norm_type), axes=axes,
        out=out,
    )  # fmt: skip


def adaptive_pool(
    x: torch.Tensor,
    output_size: Any,
    *,
    reduce: str | Reducer = "max",
    axes: Any = None,
    dtype: Any = None,
    rounding: str = "half_even",
    return_indices: bool = False,
    index_dtype: Any = np.int64,
    out: Any = None,
) -> Any:
    """:func:`npool.adaptive_pool` of a tensor, differentiable for max and avg.

    Parameters
    ----------
    x : torch.Tensor
        On the CPU or a CUDA device, or traced; any shape, strides and supported dtype.
    output_size, reduce, axes, rounding, return_indices
        As for :func:`npool.adaptive_pool`.
    dtype, index_dtype, out
        As for :func:`pool`.

    Returns
    -------
    torch.Tensor, or a pair of them with `return_indices`

    Raises
    ------
    ValueError, TypeError, RuntimeError
        As :func:`pool`.
    """
    dtype = None if dtype is None else tensor_dtype(dtype)
    index = tensor_dtype(index_dtype)
    if is_plain(x) or out is not None:
        return _on_arrays(
            npool.adaptive_pool, x, out, output_size, reduce=reduce, axes=axes, dtype=dtype,
            rounding=rounding, return_indices=return_indices, index_dtype=index,
        )  # fmt: skip
    if not symbolic(x.shape):
        bins_operation(
            stand_in(x), output_size, axes, reduce, None if dtype is None else array_dtype(dtype),
            rounding, return_indices, array_dtype(index),
        )  # fmt: skip
    cut = bins(x, output_size, axes)
    name = reduce if isinstance(reduce, str) else _name(reduce)
    if name == "max" and return_indices:
        return ops.adaptive_max_pool_with_indices(x, *cut, index)
    if name == "max":
        return ops.adaptive_max_pool(x, *cut)
    if name == "avg":
        return ops.adaptive_avg_pool(x, *cut, dtype, rounding)
    if return_indices:
        raise RuntimeError(
            f"positions of adaptive {name!r} are not differentiated or traced: call it on "
            "x.detach(), outside torch.compile"
        )
    return ops.adaptive_reduce_pool(x, name, *cut, dtype)


def max_unpool(
    x: torch.Tensor,
    indices: torch.Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
    *,
    axes: Any = None,
    out: Any = None,
) -> torch.Tensor:
    """:func:`npool.max_unpool` of tensors, differentiable.

    Parameters
    ----------
    x, indices : torch.Tensor
        On the CPU or a CUDA device, or traced.
    kernel_size, stride, padding, output_size, axes
        As for :func:`npool.max_unpool`.
    out : torch.Tensor, optional
        As for :func:`pool`.

    Returns
    -------
    torch.Tensor

    Raises
    ------
    ValueError, TypeError, RuntimeError
        As :func:`npool.max_unpool`, and :func:`pool`.
    """
    if not isinstance(indices, torch.Tensor):
        raise TypeError(f"indices must be a torch.Tensor, got {type(indices).__name__}")
    plain = is_plain(x) and is_plain(indices) and not x.is_cuda
    if plain or out is not None:
        return _on_arrays(
            npool.max_unpool, x, out, array_of(indices), kernel_size, stride, padding, output_size,
            axes=axes,
        )  # fmt: skip
    window = unpooled(x, kernel_size, stride, padding, output_size, axes)
    return ops.max_unpool(x, indices, *window)


def fractional_max_pool(
    x: torch.Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    *,
    samples: Any,
    axes: Any = None,
    return_indices: bool = False,
    index_dtype: Any = np.int64,
    out: Any = None,
) -> Any:
    """:func:`npool.fractional_max_pool` of a tensor, differentiable.

    Parameters
    ----------
    x : torch.Tensor
        On the CPU or a CUDA device, or traced.
    kernel_size, output_size, output_ratio, axes, return_indices
        As for :func:`npool.fractional_max_pool`.
    samples : torch.Tensor or torch.Generator
        As there; a generator draws float64.
    index_dtype, out
        As for :func:`pool`.

    Returns
    -------
    torch.Tensor, or a pair of them with `return_indices`

    Raises
    ------
    ValueError, TypeError, RuntimeError
        As :func:`npool.fractional_max_pool`, and :func:`pool`.
    """
    index = tensor_dtype(index_dtype)
    window = drawn(x, kernel_size, output_size, output_ratio, axes)
    if isinstance(samples, torch.Generator):
        apart = [n for axis, n in enumerate(x.shape) if axis - x.ndim not in window[2]]
        samples = torch.rand(
            *apart, len(window[2]), dtype=torch.float64, generator=samples, device=x.device
        )
    if not isinstance(samples, torch.Tensor):
        raise TypeError(
            f"samples must be a torch.Tensor or a torch.Generator, got {type(samples).__name__}"
        )
    if (is_plain(x) and is_plain(samples)) or out is not None:
        return _on_arrays(
            npool.fractional_max_pool, x, out, kernel_size, output_size, output_ratio,
            samples=array_of(samples), axes=axes, return_indices=return_indices, index_dtype=index,
        )  # fmt: skip
    if return_indices:
        return ops.fractional_max_pool_with_indices(x, samples, *window, index)
    return ops.fractional_max_pool(x, samples, *window)


def _name(reducer: Any) -> str:
    """The name under which operators know a reducer."""
    name = str(getattr(reducer, "name", ""))
    if REDUCERS.get(name) is reducer or (name == "lp" and _power(reducer)):
        return name
    raise RuntimeError(
        f"a reducer of your own ({name!r}) has no gradient and no trace: call it under "
        "torch.no_grad() or on x.detach(), outside torch.compile"
    )


def _power(reducer: Reducer) -> float | None:
    """p of a reducer that :func:`npool.reducers.lp` made."""
    powers = reducer.params or (1.0, 2.0)
    return next((p for p in powers if lp(p) is reducer), None)


def _on_arrays(
    pool: Callable[..., Any], x: torch.Tensor, out: Any, *args: Any, dtype: Any = None,
    index_dtype: Any = None, **named: Any,
) -> Any:  # fmt: skip
    """Call an array function on the memory of tensors, `out` among them."""
    given = out if isinstance(out, (tuple, list)) else (out,)
    if out is not None:
        for tensor in (x, *given):
            if torch.is_grad_enabled() and tensor is not None and tensor.requires_grad:
                raise RuntimeError(
                    "out= does not support automatic differentiation, but one of the tensors "
                    "requires grad: leave out= away, or call it under torch.no_grad()"
                )
    arrays = tuple([None if tensor is None else array_of(tensor) for tensor in given])
    if dtype is not None:
        named["dtype"] = array_dtype(dtype)
    if index_dtype is not None:
        named["index_dtype"] = array_dtype(index_dtype)
    made = pool(array_of(x), *args, out=arrays if len(arrays) > 1 else arrays[0], **named)
    results = made if isinstance(made, tuple) else (made,)
    tensors = tuple(
        [
            tensor if tensor is not None else tensor_of(result)
            for tensor, result in zip((*given, None)[: len(results)], results, strict=True)
        ]
    )
    return tensors if isinstance(made, tuple) else tensors[0]
