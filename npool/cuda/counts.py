"""What the text of a gradient's kernel says of windows: their counts, and what they reach."""

from __future__ import annotations

from npool.cuda.forms import Tap

__all__ = ["bins_of", "count_lines", "reaches"]


def count_lines(name: str, window: str, tap: Tap, suffix: str, include_pad: bool) -> list[str]:
    """The count of a window along an axis, as `npool.geometry.Window.count`."""
    s, d = tap.stride, tap.dilation
    size = f"n{suffix}" if not suffix.startswith("z") else f"n{suffix[1:]}"
    if not tap.kernel:
        outs = f"o{suffix}"
        return [f"{name} = quotient(({window} + 1) * {size} + {outs} - 1, {outs}) - "
                f"quotient({window} * {size}, {outs})"]  # fmt: skip
    lines = [f"from_ = index({window} * {s} - b{suffix})"]
    if include_pad:
        return [
            *lines,
            f"end_ = min(index(from_ + {tap.extent}), a{suffix})",
            f"{name} = index(quotient(index(end_ - from_ + {d - 1}), index({d})))",
        ]
    return [*lines, "low_ = index(0)", "if from_ < 0:",
            f"    low_ = index(quotient(index({d - 1} - from_), index({d})))",
            "high_ = index(0)", f"if from_ < {size}:",
            f"    high_ = min(index({tap.kernel}), index(quotient(index({size} - from_ + "
            f"{d - 1}), index({d}))))",
            f"{name} = index(high_ - low_)"]  # fmt: skip


def bins_of(i: str, size: str, outs: str, low: str, high: str) -> list[str]:
    """The first and the last adaptive bin that holds an element."""
    return [f"{low} = quotient({i} * {outs}, {size})",
            f"{high} = quotient(({i} + 1) * {outs} + {size} - 1, {size}) - 1"]  # fmt: skip


def reaches(tap: Tap, r: int, m: int) -> bool:
    """Whether the window `m` before the last holds element `r` of a tile."""
    t = r + m * tap.stride
    return t < tap.extent and t % tap.dilation == 0
