"""Which of torch's own pooling calls npool takes over, and how it answers them.

A kernel here gets what torch's dispatcher hands to its own: a dense CPU tensor and arguments that
nobody has checked. It answers in torch's type, memory format and positions, or says in a few
words why it leaves the call to torch: because torch does something else there (another dtype, an
error), or because torch is as fast (`SMALLEST`, `OVERLAP`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

import npool
from npool.torch.functional.forms import on_arrays
from npool.torch.tensors import array_in, array_of, is_plain, tensor_of

__all__ = ["OVERLAP", "SERVED", "SMALLEST", "Served"]

#: Elements of an input below which torch's own kernel is done before npool's is reached
#: (docs/torch.md has the measurement).
SMALLEST = 4096
#: Taps for each element of a channels-last input, from which on npool is faster than torch, which
#: reads a whole window for each result but does so in vectors there.
OVERLAP = {"max with positions": 4.0, "max": 0.0, "avg": 4.0, "backward": 4.0}

_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_WHOLES = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


class Left(Exception):  # noqa: N818  (no error: an answer)
    """Raised with the reason why a call is left to torch."""


class Served:
    """One of torch's operators, and npool's answer to its calls.

    Parameters
    ----------
    name : str
        In torch's ``aten`` namespace.
    key : str
        The dispatch key that it is registered for.
    answer : callable
        Takes the operator's arguments; raises `Left` with a reason.
    """

    def __init__(self, name: str, key: str, answer: Callable[..., Any]) -> None:
        self.name, self.key, self.answer = name, key, answer


def _threads() -> AbstractContextManager[None]:
    """No more threads than torch would use: a DataLoader's worker has one."""
    most = torch.get_num_threads()
    return nullcontext() if npool.get_num_threads() <= most else npool.num_threads(most)


def _sizes(value: Any, count: int) -> tuple[int, ...]:
    entries = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return entries * count if len(entries) == 1 else entries


def _fit(
    x: torch.Tensor, n: int, dtypes: tuple[torch.dtype, ...], kind: str, kernel: Any, stride: Any
) -> None:
    """Leave what torch does otherwise, or as fast."""
    size = x.numel()
    if size < SMALLEST:
        raise Left("small")
    if x.dtype not in dtypes:
        raise Left(f"dtype {str(x.dtype).removeprefix('torch.')}")
    if x.is_contiguous():
        return
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.ndim)
    if x.ndim != n + 2 or last is None or not x.is_contiguous(memory_format=last):
        raise Left("memory format")
    if n == 3 and kind == "avg":
        raise Left("memory format")  # torch's result is contiguous
    kernels = _sizes(kernel, n)
    strides = _sizes(stride, n) if stride not in (None, [], ()) else kernels
    if min(strides) < 1 or math.prod(kernels) / math.prod(strides) < OVERLAP[kind]:
        raise Left("channels_last, few taps")


def _answered(pool: Callable[..., Any], x: torch.Tensor, *args: Any) -> Any:
    try:
        with _threads():
            return on_arrays(pool, x, *args)
    except (ValueError, TypeError):
        raise Left("refused") from None  # torch says why, in its own words


def _max_with_positions(n: int) -> Callable[..., Any]:
    pool = getattr(npool.functional, f"max_pool{n}d_with_indices")

    def answer(
        x: torch.Tensor, kernel_size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1,
        ceil_mode: bool = False,
    ) -> Any:  # fmt: skip
        _fit(x, n, _FLOATS + _WHOLES, "max with positions", kernel_size, stride)
        return _answered(pool, x, kernel_size, stride, padding, dilation, ceil_mode)

    return answer


def _max(n: int) -> Callable[..., Any]:
    """The operator above the one with positions: where nobody asks for them, none are made."""
    pool = getattr(npool.functional, f"max_pool{n}d")

    def answer(
        x: torch.Tensor, kernel_size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1,
        ceil_mode: bool = False,
    ) -> Any:  # fmt: skip
        if not is_plain(x):
            raise Left("differentiated or traced")
        _fit(x, n, _FLOATS + _WHOLES, "max", kernel_size, stride)
        return _answered(pool, x, kernel_size, stride, padding, dilation, ceil_mode)

    return answer


def _avg(n: int) -> Callable[..., Any]:
    pool = getattr(npool.functional, f"avg_pool{n}d")

    def answer(
        x: torch.Tensor, kernel_size: Any, stride: Any = (), padding: Any = 0,
        ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: Any = None,
    ) -> Any:  # fmt: skip
        _fit(x, n, _FLOATS, "avg", kernel_size, stride)
        return _answered(
            pool, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        )

    return answer


SERVED: tuple[Served, ...] = (
    *(Served(f"max_pool{n}d_with_indices", "CPU", _max_with_positions(n)) for n in (2, 3)),
    *(Served(f"max_pool{n}d", "CompositeImplicitAutograd", _max(n)) for n in (1, 2, 3)),
    *(Served(f"avg_pool{n}d", "CPU", _avg(n)) for n in (2, 3)),
)
