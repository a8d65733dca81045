"""Windows past 50 taps: the PTX of each way to fold them, against windows folded by NumPy."""

import sys

import numpy as np
import pytest

pytest.importorskip(
    "numba_cuda", reason="the CUDA kernels need numba-cuda: pip install npool[cuda]"
)

import cuda_counts
from cuda_problems import LARGE, large_problem, pooled_plainly
from test_cuda_conformance import (
    EXECUTORS,
    GRIDS,
    PROBLEMS,
    assert_close,
    assert_exact,
    counted,  # noqa: F401
    within,
)

import npool

pytestmark = pytest.mark.slow

FOLDS = {
    "max": {"reduce": "max"},
    "max with positions": {"reduce": "max", "return_indices": True},
    "min": {"reduce": "min"},
    "avg": {"reduce": "avg"},
    "sum": {"reduce": "sum"},
}


#: The passes of a sum are those of an average; walks are one kernel each.
CASES = [(family, op) for family in LARGE for op in FOLDS if op != "sum" or family == "walked"]


# All geometries of a case share kernels: a pass knows one axis, and a walk no window at all.
@pytest.mark.parametrize(("family", "op"), CASES, ids=str)
def test_large(family, op):
    rng = np.random.default_rng(len(family) * 7919 + len(op))
    options = FOLDS[op]
    for geometry in LARGE[family]:
        for turn in range(PROBLEMS):
            x, arguments = large_problem(geometry, family, rng)
            values, places = pooled_plainly(x, arguments, options["reduce"])
            for executor, grids in zip(EXECUTORS, GRIDS[turn % 2], strict=True):
                got = within(grids, npool.pool, executor, x, **arguments, **options)
                if "return_indices" in options:
                    assert_exact(got[0], values.astype(np.float32))
                    assert_exact(got[1], places)
                elif options["reduce"] in ("max", "min"):
                    assert_exact(got, values.astype(np.float32))
                else:  # sums of small integers are exact
                    assert_close(got, values, 1)


def test_each_kernel_has_200_problems_of_20_geometries():
    cuda_counts.assert_enough(sys.modules[__name__])
