"""npool: pooling on plain arrays.

Max, average and other reductions over sliding windows with stride, padding and dilation, on
NumPy arrays of any shape, layout and dtype. Importing it loads neither Numba nor any framework.
"""

__version__ = "0.1.0"

from npool import functional
from npool.adaptive import adaptive_avg_pool, adaptive_max_pool, adaptive_pool
from npool.api import output_shape, pool
from npool.faces import avg_pool, lp_pool, max_pool, min_pool, sum_pool
from npool.fractional import fractional_max_pool
from npool.gradients import (
    adaptive_avg_pool_backward,
    adaptive_max_pool_backward,
    avg_pool_backward,
    fractional_max_pool_backward,
    lp_pool_backward,
    max_pool_backward,
    max_unpool_backward,
    min_pool_backward,
    sum_pool_backward,
    take_pooled,
)
from npool.reducers import REDUCERS, Reducer
from npool.threads import get_num_threads, num_threads, set_num_threads
from npool.unpool import max_unpool
from npool.warming import warmup

__all__ = [
    "REDUCERS",
    "Reducer",
    "__version__",
    "adaptive_avg_pool",
    "adaptive_avg_pool_backward",
    "adaptive_max_pool",
    "adaptive_max_pool_backward",
    "adaptive_pool",
    "avg_pool",
    "avg_pool_backward",
    "fractional_max_pool",
    "fractional_max_pool_backward",
    "functional",
    "get_num_threads",
    "lp_pool",
    "lp_pool_backward",
    "max_pool",
    "max_pool_backward",
    "max_unpool",
    "max_unpool_backward",
    "min_pool",
    "min_pool_backward",
    "num_threads",
    "output_shape",
    "pool",
    "set_num_threads",
    "sum_pool",
    "sum_pool_backward",
    "take_pooled",
    "warmup",
]
