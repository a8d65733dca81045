"""`accelerate`: npool under torch's own CPU pooling operators, for a while."""

from __future__ import annotations

import os
import threading
import warnings
from collections import Counter
from typing import Any, NamedTuple

import torch

from npool.torch.serving import SERVED, TINY, TRACED, Left, Served

__all__ = ["Acceleration", "Call", "accelerate"]


class Call(NamedTuple):
    """One kind of call in a report.

    Attributes
    ----------
    operator : str
        torch's name of it, such as ``"max_pool2d_with_indices"``.
    dtype : str
        Of the input.
    shape : tuple of int
        Of the input.
    reason : str
        Why torch ran it itself; empty where npool did.
    """

    operator: str
    dtype: str
    shape: tuple[int, ...]
    reason: str


class Acceleration:
    """What :func:`accelerate` returns: undo it by :meth:`undo`, or by leaving its ``with`` block.

    Attributes
    ----------
    calls : collections.Counter
        How often each :class:`Call` was seen, with ``report=True``; else empty.
    """

    def __init__(self, report: bool) -> None:
        self.calls: Counter[Call] = Counter()
        self._reports = report
        self._active = True
        _install(self if report else None)

    def undo(self) -> None:
        """Let torch's own kernels run again, unless another acceleration is still in force."""
        with _lock:
            active, self._active = self._active, False
        if active:
            _uninstall(self if self._reports else None)

    def __enter__(self) -> Acceleration:
        return self

    def __exit__(self, *_: object) -> None:
        self.undo()

    def __str__(self) -> str:
        if not self._reports:
            return "nothing was counted: call accelerate(report=True)"
        rows = [("calls", "operator", "dtype", "shape", "ran by")]
        for call, times in self.calls.most_common():
            shape = "x".join(map(str, call.shape))
            ran = f"torch: {call.reason}" if call.reason else "npool"
            rows.append((str(times), call.operator, call.dtype, shape, ran))
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        return "\n".join(
            "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[4]])
            for row in rows
        )


_lock = threading.Lock()
_count = 0
_library: Any = None
#: Accelerations that count calls. Replaced, never changed: kernels read it without the lock.
_reports: tuple[Acceleration, ...] = ()


def _renew_lock() -> None:
    # A fork may have happened while another thread held it.
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def accelerate(*, report: bool = False) -> Acceleration:
    """Put npool under torch's own CPU pooling operators, so that any model is faster unchanged.

    From the call on, or within a ``with`` block, ``torch.nn.MaxPool2d``,
    ``torch.nn.functional.avg_pool3d`` and all that ends in the same operators run npool's
    kernels, forward and backward, in every thread of the process and in DataLoader workers that
    it forks. Calls in which torch does something else, or is as fast, are left to it: small
    tensors, dtypes that torch lacks, channels-last tensors with few taps. So are all calls on
    tensors of other devices: it acts on the CPU alone. Results have the same
    shape, dtype, memory format and positions; averages may differ in the last digits.

    Parameters
    ----------
    report : bool
        Count which calls npool ran and which torch, and why: ``print(acceleration)``.

    Returns
    -------
    Acceleration
        A context manager; its ``undo()`` does the same as leaving the block. Accelerations may
        be nested: torch's own kernels are back when the last one is undone.

    Raises
    ------
    TypeError
        If `report` is not a bool.

    Examples
    --------
    >>> import torch
    >>> from npool.torch import accelerate
    >>> x = torch.rand(8, 64, 64, 64)
    >>> with accelerate(report=True) as acceleration, torch.no_grad():
    ...     y = torch.nn.MaxPool2d(2)(x)
    >>> print(acceleration)
    calls  operator    dtype    shape        ran by
    1      max_pool2d  float32  8x64x64x64  npool
    """
    if not isinstance(report, bool):
        raise TypeError(f"report must be True or False, got {report!r}")
    return Acceleration(report)


def _install(report: Acceleration | None) -> None:
    global _count, _library, _reports
    with _lock:
        if report is not None:
            _reports = (*_reports, report)
        _count += 1
        if _count > 1:
            return
        library = torch.library.Library("aten", "IMPL")
        try:
            with warnings.catch_warnings():
                # torch says once that an operator is overridden, which is what is asked for.
                warnings.simplefilter("ignore")
                for served in SERVED:
                    kernel = _kernel(
                        served, torch.library.get_kernel(f"aten::{served.name}", "CPU")
                    )
                    library.impl(
                        served.name, kernel, served.key, with_keyset=True, allow_override=True
                    )
        except BaseException:
            library._destroy()
            _count -= 1
            _reports = tuple(one for one in _reports if one is not report)
            raise
        _library = library


def _uninstall(report: Acceleration | None) -> None:
    global _count, _library, _reports
    with _lock:
        _reports = tuple(one for one in _reports if one is not report)
        _count -= 1
        if not _count:
            _library._destroy()
            _library = None


def _kernel(served: Served, original: Any) -> Any:
    answer, name = served.answer, served.name

    def kernel(keyset: Any, x: torch.Tensor, *args: Any, **named: Any) -> Any:
        # A tiny tensor is not looked at any further: torch needs 2 microseconds for it.
        reason = "small" if x.numel() < TINY else ""
        if not reason:
            try:
                made = answer(x, *args, **named)
            except Left as left:
                reason = str(left)
        if not reason:
            if _reports:
                _note(name, x, "")
            return made
        # What torch hands on is counted by the operator that it is handed to.
        if _reports and served.ends and reason != TRACED:
            _note(name, x, reason)
        return original.call_boxed(keyset, x, *args, **named)

    return kernel


def _note(name: str, x: torch.Tensor, reason: str) -> None:
    call = Call(name, str(x.dtype).removeprefix("torch."), tuple(x.shape), reason)
    with _lock:
        for report in _reports:
            report.calls[call] += 1
