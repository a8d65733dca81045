"""Averages of integers by a power of two, which slide in registers and are shifts there."""

import numpy as np
import pytest

import npool
from npool.averages import ROUNDINGS
from npool.testing import oracle


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16"])
@pytest.mark.parametrize(("window", "divisor"), [(2, None), (4, None), (4, 8), (3, 2), (3, -2)])
def test_they_are_the_oracles(dtype, rounding, window, divisor):
    info = np.iinfo(dtype)
    x = np.random.default_rng(0).integers(info.min, info.max, 600, dtype, endpoint=True)
    x[:40], x[40:80] = info.max, info.min
    options = {"rounding": rounding, "dtype": dtype, "divisor_override": divisor}
    wanted = oracle.pool(x, (window,), window, 0, 1, False, reduce="avg", **options)
    assert np.array_equal(npool.avg_pool(x, (window,), window, **options), wanted)
