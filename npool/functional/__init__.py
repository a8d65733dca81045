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

from npool.functional.arguments import ArgumentError
from npool.functional.average import avg_pool1d, avg_pool2d, avg_pool3d
from npool.functional.maximum import (
    max_pool1d,
    max_pool1d_with_indices,
    max_pool2d,
    max_pool2d_with_indices,
    max_pool3d,
    max_pool3d_with_indices,
)
from npool.functional.norm import lp_pool1d, lp_pool2d, lp_pool3d

__all__ = [
    "ArgumentError",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool1d",
    "max_pool1d_with_indices",
    "max_pool2d",
    "max_pool2d_with_indices",
    "max_pool3d",
    "max_pool3d_with_indices",
]
