"""npool's time beside NumPy's and torch's, on one photograph."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

import npool

__all__ = ["Race", "race"]

#: Timed calls of each, after the first.
REPEATS = 9
#: Seconds after which a slow one is not repeated further.
PATIENCE = 1.0


@dataclass(frozen=True)
class Race:
    """Milliseconds of one operation, and whether all came to the same result."""

    name: str
    first: float
    npool: float
    numpy: float
    torch: float | None
    same: bool


def race(photo: np.ndarray) -> list[Race]:
    """Time a few poolings of `photo` (rows, columns, channels), as planes of float32."""
    planes = np.ascontiguousarray(photo.transpose(2, 0, 1), dtype=np.float32)
    return [
        _one(planes, "max", 2, 2),
        _one(planes, "max", 8, 8),
        _one(planes, "avg", 8, 8),
        _one(planes, "max", 9, 1),
    ]


def _one(planes: np.ndarray, reduce: str, kernel: int, stride: int) -> Race:
    name = f"{reduce} {kernel}×{kernel}" + ("" if stride == kernel else f", stride {stride}")

    def ours() -> np.ndarray:
        found: np.ndarray = npool.pool(planes, (kernel, kernel), stride, reduce=reduce)
        return found

    def numpys() -> np.ndarray:
        return _with_numpy(planes, reduce, kernel, stride)

    first, npool_time, result = _clock(ours)
    _, numpy_time, expected = _clock(numpys)
    same = _agree(result, expected)
    torch_time = None
    theirs = _with_torch(planes, reduce, kernel, stride)
    if theirs is not None:
        _, torch_time, tensor = _clock(theirs)
        same = same and _agree(result, tensor.numpy())
    return Race(name, first, npool_time, numpy_time, torch_time, same)


def _clock(call: Callable[[], Any]) -> tuple[float, float, Any]:
    """Milliseconds of the first call and the median of later ones, and the result."""
    began = time.perf_counter()
    result = call()
    first = time.perf_counter() - began
    times: list[float] = []
    while len(times) < REPEATS and (not times or sum(times) < PATIENCE):
        began = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - began)
    return 1e3 * first, 1e3 * statistics.median(times), result


def _with_numpy(planes: np.ndarray, reduce: str, kernel: int, stride: int) -> np.ndarray:
    """What a NumPy user would write."""
    channels, rows, columns = planes.shape
    if stride == kernel:
        o, p = rows // kernel, columns // kernel
        cut = planes[:, : o * kernel, : p * kernel]
        blocks = cut.reshape(channels, o, kernel, p, kernel)
        taken = (2, 4)
    else:
        view = np.lib.stride_tricks.sliding_window_view(planes, (kernel, kernel), axis=(1, 2))
        blocks = view[:, ::stride, ::stride]
        taken = (3, 4)
    found: np.ndarray = blocks.max(axis=taken) if reduce == "max" else blocks.mean(axis=taken)
    return found


def _with_torch(
    planes: np.ndarray, reduce: str, kernel: int, stride: int
) -> Callable[[], Any] | None:
    if find_spec("torch") is None:
        return None
    try:
        import torch
    except (ImportError, OSError):  # there, but broken: as good as absent
        return None
    tensor = torch.from_numpy(planes)[None]
    pooling = torch.nn.functional
    function = pooling.max_pool2d if reduce == "max" else pooling.avg_pool2d
    return lambda: function(tensor, kernel, stride)[0]


def _agree(found: np.ndarray, expected: np.ndarray) -> bool:
    """Whether two results are the same to the rounding of float32 sums."""
    return found.shape == expected.shape and bool(np.allclose(found, expected, rtol=1e-5))
