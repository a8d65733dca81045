"""Which of torch's own pooling calls npool takes over, and how it answers them.

An answer gets what torch's dispatcher hands to torch's kernel: a dense CPU tensor and arguments
that nobody has checked. It answers in torch's type, memory format and positions, or raises
`Left` with the reason why the call is left to torch: torch does something else there (another
dtype, an error), or torch is as fast (`WORTH`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch

import npool
from npool.torch.functional.forms import on_arrays
from npool.torch.tensors import array_in, array_of, is_plain, order_of, tensor_of

__all__ = ["NEVER", "SERVED", "TINY", "TRACED", "WORTH", "Left", "Served", "Worth"]


NEVER = 1 << 62
#: Elements of an input below which no window makes up for the way to npool's kernel.
TINY = 512


class Worth(NamedTuple):
    """From where on npool's kernel is faster than torch's, measured (docs/torch.md).

    What torch takes grows with the taps that all windows have together, which it reads one by
    one, in vectors where the channels lie together. What npool takes does not, but for a start.
    Where torch has several threads it uses them for small tensors too, and npool has to gain more.

    Attributes
    ----------
    taps : int
        Of a contiguous input, for each of torch's threads.
    last_taps : int
        Of a channels-last input, for each of torch's threads; four times as many where those are
        several.
    last_overlap : int
        How many windows see each of its elements, at least.
    large : int
        Bytes of an input from which on npool is faster whatever its windows: what is written
        past the caches, and to memory that has been used before.
    row : int
        Elements in a row of a contiguous input, at least, where fewer than `OVERLAP` windows see
        each; twice as many for several threads.
    several : int
        How many times `taps` it must have for several threads.
    """

    taps: int
    last_taps: int
    last_overlap: int
    large: int = NEVER
    row: int = 0
    several: int = 1


WORTH = {
    "max": Worth(30_000, 250_000, 6, row=4),
    "max with positions": Worth(40_000, 10_000_000, 100, row=4),
    "avg": Worth(40_000, 700_000, 13, row=14),
    "adaptive max": Worth(100_000, NEVER, 16),
    "adaptive avg": Worth(40_000, NEVER, 6, several=15),
    "adaptive avg backward": Worth(NEVER, NEVER, 6, large=1 << 25),
    "max backward": Worth(NEVER, NEVER, 6, large=1 << 25),
    "avg backward": Worth(80_000, 6_000_000, 6, large=1 << 25, row=28),
}

#: Windows that see an element, from which on rows may be short; elements of a bin, up to which
#: npool finds adaptive maxima sooner.
OVERLAP, BIN = 6, 20
#: Bytes of the channels of a channels-last element, up to which torch's kernels have few vectors
#: to fill (of three floats it took 10 to 180 times as long; of narrower types 16 channels were
#: looked at, no more), and the taps for each thread that make up for npool's start.
CHANNELS, CHANNELS_TAPS = 64, 500_000
_FORWARD = ("max", "max with positions", "avg")

#: The types in which torch adds as npool does; of its averages in 3-D the only ones.
_WIDE = (torch.float32, torch.float64)
#: Why a call goes on to the operator below it.
TRACED = "differentiated or traced"
_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_ALL = (*_FLOATS, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}

Answer = Callable[..., Any]


class Left(Exception):
    """Raised with the reason why a call is left to torch."""


class Served:
    """One of torch's operators, and npool's answer to its calls.

    Parameters
    ----------
    name : str
        In torch's ``aten`` namespace.
    answer : callable
        Takes the operator's arguments; raises `Left` with a reason.
    key : str
        The dispatch key that it is registered for.
    ends : bool
        Whether torch's own kernel does the work itself, and hands it to no other operator that
        is served.
    """

    def __init__(self, name: str, answer: Answer, key: str = "CPU", ends: bool = True) -> None:
        self.name, self.answer, self.key, self.ends = name, answer, key, ends


def _threads() -> AbstractContextManager[None]:
    """No more threads than torch would use: a DataLoader's worker has one."""
    most = torch.get_num_threads()
    return nullcontext() if npool.get_num_threads() <= most else npool.num_threads(most)


def _sizes(value: Any, count: int) -> tuple[int, ...]:
    entries = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return entries * count if len(entries) == 1 else entries


def _fit(
    x: torch.Tensor, n: int, dtypes: tuple[torch.dtype, ...], kind: str, overlap: float
) -> None:
    """Leave what torch does otherwise, or as fast; `overlap` windows see each element."""
    if x.numel() < TINY:
        raise Left("small")
    worth = WORTH[kind]
    threads = torch.get_num_threads()
    several = min(threads, 2)
    taps = x.numel() * overlap / threads
    if taps < worth.taps * (worth.several if threads > 1 else 1) and x.nbytes < worth.large:
        raise Left("small" if worth.taps < NEVER else "torch is as fast")
    if x.dtype not in dtypes:
        raise Left(f"dtype {str(x.dtype).removeprefix('torch.')}")
    if x.ndim not in (n + 1, n + 2):
        raise Left("refused")
    if x.is_contiguous():
        if x.shape[-1] < worth.row * several and overlap < OVERLAP:
            raise Left("short rows")
        return
    last = _LAST.get(x.ndim)
    if x.ndim != n + 2 or last is None or not x.is_contiguous(memory_format=last):
        raise Left("memory format")
    if n == 3 and kind not in ("max", "max with positions"):
        raise Left("memory format")  # torch's own result is contiguous
    few = x.shape[1] * max(4, x.itemsize) <= CHANNELS
    if few and taps >= CHANNELS_TAPS and kind in _FORWARD:
        return
    least = worth.last_taps * (4 if threads > 1 else 1)
    if kind == "max backward" or (
        x.nbytes < worth.large and (overlap < worth.last_overlap or taps < least)
    ):
        raise Left("channels_last, where torch is as fast")


def _overlap(kernel_size: Any, stride: Any, n: int) -> float:
    kernels = _sizes(kernel_size, n)
    strides = _sizes(stride, n) if stride else kernels
    return math.prod(kernels) / max(1, math.prod(strides))


def _answered(pool: Callable[..., Any], x: torch.Tensor, *args: Any, **named: Any) -> Any:
    try:
        with _threads():
            return on_arrays(pool, x, *args, **named)
    except (ValueError, TypeError):
        raise Left("refused") from None  # torch says why, in its own words


# --- windows --------------------------------------------------------------------------------------


def _max_with_positions(n: int) -> Answer:
    pool = getattr(npool.functional, f"max_pool{n}d_with_indices")

    def answer(
        x: torch.Tensor, kernel_size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1,
        ceil_mode: bool = False,
    ) -> Any:  # fmt: skip
        _fit(x, n, _ALL, "max with positions", _overlap(kernel_size, stride, n))
        return _answered(pool, x, kernel_size, stride, padding, dilation, ceil_mode)

    return answer


def _max(n: int) -> Answer:
    """The operator above that: where nobody asks for positions, none are made."""
    pool = getattr(npool.functional, f"max_pool{n}d")

    def answer(
        x: torch.Tensor, kernel_size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1,
        ceil_mode: bool = False,
    ) -> Any:  # fmt: skip
        # This one stands above torch's kernels, and so in the way of every device's.
        if x.is_cuda or not is_plain(x):
            raise Left(TRACED)
        _fit(x, n, _ALL, "max", _overlap(kernel_size, stride, n))
        return _answered(pool, x, kernel_size, stride, padding, dilation, ceil_mode)

    return answer


def _avg(n: int) -> Answer:
    pool = getattr(npool.functional, f"avg_pool{n}d")

    def answer(
        x: torch.Tensor, kernel_size: Any, stride: Any = (), padding: Any = 0,
        ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: Any = None,
    ) -> Any:  # fmt: skip
        _fit(x, n, _FLOATS if n == 2 else _WIDE, "avg", _overlap(kernel_size, stride, n))
        return _answered(
            pool, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        )

    return answer


def _gradient(
    pool: Callable[..., Any], grad: torch.Tensor, x: torch.Tensor, *args: Any, **named: Any
) -> torch.Tensor:
    """The result of an array function for gradients, in the memory format of `x`."""
    if grad.dtype != x.dtype:
        raise Left("refused")
    values = array_of(grad)
    out = array_in(x, x.shape, order_of(x))
    try:
        with _threads():
            pool(values, *args, out=out, **named)
    except (ValueError, TypeError):
        raise Left("refused") from None
    return tensor_of(out)


def _window(
    kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, n: int
) -> dict[str, Any]:
    kernels = _sizes(kernel_size, n)
    return {
        "kernel_size": kernels,
        "stride": _sizes(stride, n) if stride else kernels,
        "padding": _sizes(padding, n),
        "dilation": _sizes(dilation, n),
        "ceil_mode": ceil_mode,
        "axes": tuple(range(-n, 0)),
    }


def _max_backward(n: int) -> Answer:
    def answer(
        grad: torch.Tensor, x: torch.Tensor, kernel_size: Any, stride: Any, padding: Any,
        dilation: Any, ceil_mode: bool, indices: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        overlap = _overlap(kernel_size, stride, n)
        # torch adds gradients in the half types themselves: npool's sums would be others.
        _fit(x, n, _FLOATS if overlap <= 1 else _WIDE, "max backward", overlap)
        window = _window(kernel_size, stride, padding, dilation, ceil_mode, n)
        shape = tuple(x.shape)
        return _gradient(npool.max_pool_backward, grad, x, array_of(indices), shape, **window)

    return answer


def _avg_backward(n: int) -> Answer:
    def answer(
        grad: torch.Tensor, x: torch.Tensor, kernel_size: Any, stride: Any, padding: Any,
        ceil_mode: bool, count_include_pad: bool, divisor_override: Any,
    ) -> torch.Tensor:  # fmt: skip
        _fit(x, n, _FLOATS if n == 2 else _WIDE, "avg backward", _overlap(kernel_size, stride, n))
        window = _window(kernel_size, stride, padding, 1, ceil_mode, n)
        return _gradient(
            npool.avg_pool_backward, grad, x, tuple(x.shape), count_include_pad=count_include_pad,
            divisor_override=divisor_override, **window,
        )  # fmt: skip

    return answer


# --- bins -----------------------------------------------------------------------------------------


def _bins(n: int, kind: str, x: torch.Tensor, output_size: Any) -> dict[str, Any]:
    if n == 3 and not x.is_contiguous():
        raise Left("memory format")  # torch's own result is contiguous
    _fit(x, n, _FLOATS, kind, 1.0)
    sizes = _sizes(output_size, n)
    if len(sizes) != n or min(sizes) < 1 or 0 in x.shape[-n - 1 :]:
        raise Left("refused")
    return {"output_size": sizes, "axes": tuple(range(-n, 0))}


def _adaptive_max(n: int) -> Answer:
    def answer(x: torch.Tensor, output_size: Any) -> Any:
        cut = _bins(n, "adaptive max", x, output_size)
        if math.prod(x.shape[-n:]) > BIN * math.prod(cut["output_size"]):
            raise Left("torch is as fast")
        return _answered(npool.adaptive_max_pool, x, return_indices=True, **cut)

    return answer


def _adaptive_avg(n: int) -> Answer:
    def answer(x: torch.Tensor, output_size: Any) -> Any:
        return _answered(npool.adaptive_avg_pool, x, **_bins(n, "adaptive avg", x, output_size))

    return answer


def _adaptive_max_backward(n: int) -> Answer:
    def answer(grad: torch.Tensor, x: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        if x.dtype not in _WIDE:
            raise Left("rounded by torch")  # as above: neighbouring bins share elements
        cut = _bins(n, "max backward", x, tuple(grad.shape[-n:]))
        shape = tuple(x.shape)
        return _gradient(npool.adaptive_max_pool_backward, grad, x, array_of(indices), shape, **cut)

    return answer


def _adaptive_avg_backward(n: int) -> Answer:
    def answer(grad: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        cut = _bins(n, "adaptive avg backward", x, tuple(grad.shape[-n:]))
        return _gradient(npool.adaptive_avg_pool_backward, grad, x, tuple(x.shape), **cut)

    return answer


# --- into the caller's tensors --------------------------------------------------------------------


def _into(answer: Answer) -> Answer:
    """The variant of an operator that writes to tensors of the caller."""

    def answer_into(*args: Any, **given: torch.Tensor) -> Any:
        made = answer(*args)
        results = made if isinstance(made, tuple) else (made,)
        targets = tuple(given.values())
        for result, target in zip(results, targets, strict=True):
            if target.shape != result.shape or target.dtype != result.dtype:
                raise Left("out= of another shape or dtype")  # torch resizes it, or refuses
        for result, target in zip(results, targets, strict=True):
            target.copy_(result)
        return targets if isinstance(made, tuple) else targets[0]

    return answer_into


def _table() -> tuple[Served, ...]:
    """Every operator that torch has a CPU kernel of its own for, and npool an answer."""
    rows = [
        Served(f"max_pool{n}d", _max(n), "CompositeImplicitAutograd", ends=n == 1)
        for n in (1, 2, 3)
    ]
    for n in (2, 3):
        for name, out, answer in (
            (f"max_pool{n}d_with_indices", ".out", _max_with_positions(n)),
            (f"max_pool{n}d_with_indices_backward", ".grad_input", _max_backward(n)),
            (f"avg_pool{n}d", ".out", _avg(n)),
            (f"avg_pool{n}d_backward", ".grad_input", _avg_backward(n)),
            (f"adaptive_max_pool{n}d", ".out", _adaptive_max(n)),
            (f"adaptive_max_pool{n}d_backward", ".grad_input", _adaptive_max_backward(n)),
        ):
            rows += [Served(name, answer), Served(f"{name}{out}", _into(answer))]
        rows += [
            Served(f"_adaptive_avg_pool{n}d", _adaptive_avg(n)),
            Served(f"adaptive_avg_pool{n}d.out", _into(_adaptive_avg(n))),
            Served(f"_adaptive_avg_pool{n}d_backward", _adaptive_avg_backward(n)),
        ]
    return tuple(rows)


SERVED = _table()
