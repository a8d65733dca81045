"""Gradients of pooling, as kernels on plain arrays."""

from npool.gradients.positions import (
    adaptive_max_pool_backward,
    fractional_max_pool_backward,
    max_pool_backward,
    max_unpool_backward,
    min_pool_backward,
    take_pooled,
)
from npool.gradients.sums import (
    adaptive_avg_pool_backward,
    avg_pool_backward,
    lp_pool_backward,
    sum_pool_backward,
)

__all__ = [
    "adaptive_avg_pool_backward",
    "adaptive_max_pool_backward",
    "avg_pool_backward",
    "fractional_max_pool_backward",
    "lp_pool_backward",
    "max_pool_backward",
    "max_unpool_backward",
    "min_pool_backward",
    "sum_pool_backward",
    "take_pooled",
]
