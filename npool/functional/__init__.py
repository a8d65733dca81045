"""torch.nn.functional's pooling functions on plain arrays: its names, order, defaults, errors.

Input is channels-first, (N, C, *spatial) or (C, *spatial). Code that calls
``torch.nn.functional`` moves over by changing an import:

>>> import numpy as np
>>> from npool import functional as F
>>> F.max_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), kernel_size=3, stride=2, padding=1)
array([[[[ 5.,  7.],
         [13., 15.]]]])

What torch refuses is refused here too; :mod:`npool`'s own functions take any axes, any padding
and any rank.
"""

from __future__ import annotations

from npool.functional.adaptive_average import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
)
from npool.functional.adaptive_maximum import (
    adaptive_max_pool1d,
    adaptive_max_pool1d_with_indices,
    adaptive_max_pool2d,
    adaptive_max_pool2d_with_indices,
    adaptive_max_pool3d,
    adaptive_max_pool3d_with_indices,
)
from npool.functional.arguments import ArgumentError
from npool.functional.average import avg_pool1d, avg_pool2d, avg_pool3d
from npool.functional.fractional import (
    fractional_max_pool2d,
    fractional_max_pool2d_with_indices,
    fractional_max_pool3d,
    fractional_max_pool3d_with_indices,
)
from npool.functional.maximum import (
    max_pool1d,
    max_pool1d_with_indices,
    max_pool2d,
    max_pool2d_with_indices,
    max_pool3d,
    max_pool3d_with_indices,
)
from npool.functional.norm import lp_pool1d, lp_pool2d, lp_pool3d
from npool.functional.unpool import max_unpool1d, max_unpool2d, max_unpool3d

__all__ = [
    "ArgumentError",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool1d_with_indices",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_with_indices",
    "adaptive_max_pool3d",
    "adaptive_max_pool3d_with_indices",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "fractional_max_pool2d",
    "fractional_max_pool2d_with_indices",
    "fractional_max_pool3d",
    "fractional_max_pool3d_with_indices",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool1d",
    "max_pool1d_with_indices",
    "max_pool2d",
    "max_pool2d_with_indices",
    "max_pool3d",
    "max_pool3d_with_indices",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
]
