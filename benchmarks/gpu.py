"""The GPU board: ``make bench-gpu``. Says why, and stops, where there is no CUDA device.

Each row is a call on arrays that lie on the device: the median of many launches between two
events, and the share of the memory's floor (input once, output once) that it reaches.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import npool

#: Name, shape, dtype, and the call: what the design's floor is stated for, and large windows.
ROWS: tuple[tuple[str, tuple[int, ...], str, dict[str, Any]], ...] = (
    ("max 3x3/2 p1", (32, 64, 112, 112), "float32",
     {"kernel_size": (3, 3), "stride": 2, "padding": 1}),
    ("max 2x2/2", (32, 64, 112, 112), "float32", {"kernel_size": (2, 2)}),
    ("max 3x3/2, channels last", (32, 112, 112, 64), "float32",
     {"kernel_size": 3, "stride": 2, "axes": (1, 2)}),
    ("max 3x3/2 half, channels last", (32, 112, 112, 64), "float16",
     {"kernel_size": 3, "stride": 2, "axes": (1, 2)}),
    ("max 65x65/1", (4, 16, 256, 256), "float32",
     {"kernel_size": (65, 65), "stride": 1, "padding": 32}),
    ("mean of a plane", (64, 256, 56, 56), "float32", {"kernel_size": (56, 56), "reduce": "avg"}),
)  # fmt: skip


def missing() -> str | None:
    """Why nothing can be timed here."""
    try:
        from npool.cuda.launching import Driver

        Driver().architecture(0)
    except (ImportError, RuntimeError) as error:
        return str(error)
    return None


def timed(call: Callable[[], Any], times: int = 50) -> float:
    """The median time of a launch, in milliseconds, after a few that are not counted."""
    from numba import cuda

    for _ in range(5):
        call()
    cuda.synchronize()
    found = []
    for _ in range(times):
        start, stop = cuda.event(), cuda.event()
        start.record()
        call()
        stop.record()
        stop.synchronize()
        found.append(float(cuda.event_elapsed_time(start, stop)))
    return statistics.median(found)


def main() -> int:
    """Time every row, or say why not."""
    reason = missing()
    if reason is not None:
        print(f"GPU rows skipped: {reason}")
        return 0
    from numba import cuda

    print(f"{'call':34} {'ms':>9} {'GB/s of the floor':>18}")
    for name, shape, dtype, arguments in ROWS:
        x = cuda.to_device(np.random.default_rng(0).random(shape).astype(dtype))
        result = npool.pool(x, **arguments)
        moved = x.nbytes + result.nbytes
        ms = timed(lambda x=x, arguments=arguments: npool.pool(x, **arguments))
        print(f"{name:34} {ms:9.4f} {moved / ms / 1e6:18.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
