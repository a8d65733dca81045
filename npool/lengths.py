"""The arithmetic of one axis: how long a result is, and what SAME pads.

Only ``+ - * //`` and comparisons, so that a framework's symbolic lengths, which stand for any
number, go through it as integers do.
"""

from __future__ import annotations

from typing import Any

__all__ = ["output_length", "same_padding"]


def output_length(
    n: Any, kernel: Any, stride: Any, dilation: Any, before: Any, after: Any, ceil_mode: bool
) -> Any:
    """Number of windows along an axis of length `n`; not positive where none fits."""
    extent = dilation * (kernel - 1) + 1
    out = (n + before + after - extent + (stride - 1 if ceil_mode else 0)) // stride + 1
    # The last window must start inside the input or the leading padding (torch's rule).
    if ceil_mode and (out - 1) * stride >= n + before:
        out -= 1
    return out


def same_padding(n: Any, kernel: Any, stride: Any, dilation: Any, lower: bool) -> tuple[Any, Any]:
    """``(before, after)`` of ONNX's SAME_UPPER, or SAME_LOWER, with the dilated window."""
    total = (-(-n // stride) - 1) * stride + dilation * (kernel - 1) + 1 - n
    if total < 0:
        total = 0
    small = total // 2
    large = total - small
    return (large, small) if lower else (small, large)
