"""torch.nn.functional's pooling functions on npool's engine: an import is all that changes.

>>> import torch
>>> from npool.torch import functional as F
>>> x = torch.arange(16.0).reshape(1, 1, 4, 4).requires_grad_()
>>> F.max_pool2d(x, kernel_size=3, stride=2, padding=1)
tensor([[[[ 5.,  7.],
          [13., 15.]]]], grad_fn=<npool_max_poolBackward>)

Names, arguments, defaults, results, memory formats and errors are torch's.
:func:`npool.max_pool` and its kin take any axes, any padding and any rank of a tensor.
"""

from __future__ import annotations

from npool.functional.arguments import ArgumentError
from npool.torch.functional.adaptive_average import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
)
from npool.torch.functional.adaptive_maximum import (
    adaptive_max_pool1d,
    adaptive_max_pool1d_with_indices,
    adaptive_max_pool2d,
    adaptive_max_pool2d_with_indices,
    adaptive_max_pool3d,
    adaptive_max_pool3d_with_indices,
)
from npool.torch.functional.average import avg_pool1d, avg_pool2d, avg_pool3d
from npool.torch.functional.fractional import (
    fractional_max_pool2d,
    fractional_max_pool2d_with_indices,
    fractional_max_pool3d,
    fractional_max_pool3d_with_indices,
)
from npool.torch.functional.maximum import (
    max_pool1d,
    max_pool1d_with_indices,
    max_pool2d,
    max_pool2d_with_indices,
    max_pool3d,
    max_pool3d_with_indices,
)
from npool.torch.functional.norm import lp_pool1d, lp_pool2d, lp_pool3d
from npool.torch.functional.unpool import max_unpool1d, max_unpool2d, max_unpool3d

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
