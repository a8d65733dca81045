"""The operators for sliding windows and for bins: max and min, average and sum, and all others."""

from __future__ import annotations

from typing import Any

import torch

import npool
from npool.bins import make_bins_plan
from npool.dtypes import result_dtype
from npool.functional.maximum import put_beginnings
from npool.geometry import make_plan
from npool.torch.arguments import array_arguments, bins_arguments, bins_shape, pooled_shape
from npool.torch.library import Derivative, Saved, define
from npool.torch.numbering import numbering
from npool.torch.pairs import SHAPED, picking, selecting, weighing
from npool.torch.tensors import array_dtype, array_of, empty_for, tensor_dtype, tensor_of

__all__ = ["BINS", "WINDOWS"]

#: The arguments of every operator on windows, and of every operator on bins.
WINDOWS = (
    "SymInt[] kernel_size, SymInt[] stride, SymInt[] padding, SymInt[] dilation, bool ceil_mode, "
    "SymInt[] axes"
)
BINS = "SymInt[] output_size, SymInt[] axes"


def _type_of(reduce: str, x: torch.Tensor, dtype: torch.dtype | None) -> torch.dtype:
    """Type of the result of a reduction by name: `dtype`, or the reducer's own."""
    if dtype is not None:
        return dtype
    return tensor_dtype(result_dtype(npool.REDUCERS[reduce].result, array_dtype(x.dtype)))


def _typed(dtype: torch.dtype | None) -> Any:
    return None if dtype is None else array_dtype(dtype)


# --- max and min ----------------------------------------------------------------------------------

_windows = picking("max_pool", WINDOWS, array_arguments)
_taps = numbering(
    "max_pool", WINDOWS, SHAPED,
    lambda shape, *given: make_plan(shape, **array_arguments(*given)), _windows.picks,
)  # fmt: skip
selecting("max_pool", _windows, WINDOWS, array_arguments, pooled_shape, taps=_taps)
selecting("min_pool", _windows, WINDOWS, array_arguments, pooled_shape, taps=_taps)
_bins = picking("adaptive_max_pool", BINS, bins_arguments)
_bins_taps = numbering(
    "adaptive_max_pool", BINS, SHAPED,
    lambda shape, size, axes: make_bins_plan(shape, tuple(size), tuple(axes)), _bins.picks,
)  # fmt: skip
selecting("adaptive_max_pool", _bins, BINS, bins_arguments, bins_shape, taps=_bins_taps)


def _drawn_arguments(
    samples: torch.Tensor, kernel_size: Any, output_size: Any, axes: Any
) -> dict[str, Any]:
    return {
        "samples": array_of(samples), "kernel_size": tuple(kernel_size),
        "output_size": tuple(output_size), "axes": tuple(axes),
    }  # fmt: skip


selecting(
    "fractional_max_pool",
    picking("fractional_max_pool", "SymInt[] axes", lambda axes: {"axes": tuple(axes)}),
    "SymInt[] kernel_size, SymInt[] output_size, SymInt[] axes",
    _drawn_arguments,
    lambda shape, kernel_size, output_size, axes: bins_shape(shape, output_size, axes),
    tensors=2,
    of_pair=slice(2, None),
)


def _positions_kernel(indices: torch.Tensor, shape: Any, order: Any, *window: Any) -> torch.Tensor:
    plan = make_plan(tuple(shape), **array_arguments(*window))
    if not indices.is_cuda:
        found = array_of(indices).copy(order="K")
        put_beginnings(found, plan)
        return tensor_of(found)
    made = empty_for(indices, indices.shape, indices.dtype).copy_(indices)
    if plan.has_empty:
        begins = indices.new_zeros(())
        for each in plan.windows:  # as put_beginnings says, without a copy from the host
            starts = torch.arange(each.out, dtype=indices.dtype, device=indices.device)
            starts = starts * each.stride - each.before
            missed = torch.div(starts, each.dilation, rounding_mode="floor").neg().clamp(min=0)
            begins = begins[..., None] * each.size + starts + missed * each.dilation
        made.copy_(torch.where(made < 0, begins, made))
    return made


# npool says -1 where a window has no element, torch where the window begins. The gradient needs
# npool's answer, so torch's is made apart, for those who ask for positions.
define(
    f"torch_positions(Tensor indices, {SHAPED}, {WINDOWS}) -> Tensor",
    _positions_kernel,
    lambda indices, *rest: empty_for(indices, indices.shape, indices.dtype),
    shaped=True,
)


# --- average and sum ------------------------------------------------------------------------------


def _divided(*given: Any) -> dict[str, Any]:
    *window, include, divisor = given
    return {
        "count_include_pad": include, "divisor_override": divisor, **array_arguments(*window),
    }  # fmt: skip


def _avg_kernel(x: torch.Tensor, *rest: Any) -> torch.Tensor:
    *given, dtype, rounding = rest
    pooled = npool.avg_pool(array_of(x), dtype=_typed(dtype), rounding=rounding, **_divided(*given))
    return tensor_of(pooled)


def _avg_fake(x: torch.Tensor, *rest: Any) -> torch.Tensor:
    *window, _, _, dtype, _ = rest
    return empty_for(x, pooled_shape(x.shape, *window), _type_of("avg", x, dtype))


def _sum_kernel(x: torch.Tensor, *rest: Any) -> torch.Tensor:
    *window, dtype = rest
    return tensor_of(npool.sum_pool(array_of(x), dtype=_typed(dtype), **array_arguments(*window)))


def _sum_fake(x: torch.Tensor, *rest: Any) -> torch.Tensor:
    *window, dtype = rest
    return empty_for(x, pooled_shape(x.shape, *window), _type_of("sum", x, dtype))


def _bins_avg_kernel(x: torch.Tensor, *rest: Any) -> torch.Tensor:
    *bins, dtype, rounding = rest
    pooled = npool.adaptive_avg_pool(
        array_of(x), dtype=_typed(dtype), rounding=rounding, **bins_arguments(*bins)
    )
    return tensor_of(pooled)


def _bins_avg_fake(x: torch.Tensor, *rest: Any) -> torch.Tensor:
    *bins, dtype, _ = rest
    return empty_for(x, bins_shape(x.shape, *bins), _type_of("avg", x, dtype))


weighing(
    "avg_pool",
    f"{WINDOWS}, bool count_include_pad, int? divisor_override",
    "ScalarType? dtype, str rounding",
    _avg_kernel,
    _avg_fake,
    _divided,
    (None, "half_even"),
)
weighing("sum_pool", WINDOWS, "ScalarType? dtype", _sum_kernel, _sum_fake, array_arguments, (None,))
weighing(
    "adaptive_avg_pool",
    BINS,
    "ScalarType? dtype, str rounding",
    _bins_avg_kernel,
    _bins_avg_fake,
    bins_arguments,
    (None, "half_even"),
)


# --- any other reduction that has a name ----------------------------------------------------------


def _no_derivative(saved: Saved, *grads: Any) -> Any:
    raise RuntimeError(
        f"reduce={saved.args[0]!r} has no gradient here: max, min, avg, sum and lp have; call it "
        "on x.detach()"
    )


def _reduce_kernel(x: torch.Tensor, reduce: str, *rest: Any) -> torch.Tensor:
    *window, dtype = rest
    pooled = npool.pool(array_of(x), reduce=reduce, dtype=_typed(dtype), **array_arguments(*window))
    return tensor_of(pooled)


def _reduce_fake(x: torch.Tensor, reduce: str, *rest: Any) -> torch.Tensor:
    *window, dtype = rest
    return empty_for(x, pooled_shape(x.shape, *window), _type_of(reduce, x, dtype))


def _bins_reduce_kernel(x: torch.Tensor, reduce: str, *rest: Any) -> torch.Tensor:
    *bins, dtype = rest
    pooled = npool.adaptive_pool(
        array_of(x), reduce=reduce, dtype=_typed(dtype), **bins_arguments(*bins)
    )
    return tensor_of(pooled)


def _bins_reduce_fake(x: torch.Tensor, reduce: str, *rest: Any) -> torch.Tensor:
    *bins, dtype = rest
    return empty_for(x, bins_shape(x.shape, *bins), _type_of(reduce, x, dtype))


define(
    f"reduce_pool(Tensor x, str reduce, {WINDOWS}, ScalarType? dtype) -> Tensor",
    _reduce_kernel,
    _reduce_fake,
    Derivative(_no_derivative, _no_derivative),
)
define(
    f"adaptive_reduce_pool(Tensor x, str reduce, {BINS}, ScalarType? dtype) -> Tensor",
    _bins_reduce_kernel,
    _bins_reduce_fake,
    Derivative(_no_derivative, _no_derivative),
)
