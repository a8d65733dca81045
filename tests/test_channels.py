"""Windows that slide over channels that come last, in groups: what the cases of the engine lack."""

import pytest
from fresh_process import check_runs

#: Long rows of results past the caches, which begin anywhere on a line of the cache: only what is
#: whole groups may be written before the first whole vector.
CODE = """
    import numpy as np, npool
    from npool.cpu import tiling

    tiling.LARGEST_CACHE = 0  # as if every array were past the caches
    rng = np.random.default_rng(0)
    for channels in (2, 3, 4, 8):
        x = rng.random((6, 1200, channels), np.float32)
        wanted = x.reshape(3, 2, 600, 2, channels).max((1, 3))
        for begin in range(16):
            room = np.zeros(wanted.size + 16, np.float32)
            out = room[begin : begin + wanted.size].reshape(wanted.shape)
            npool.max_pool(x, (2, 2), axes=(0, 1), out=out)
            assert np.array_equal(out, wanted), (channels, begin)
            assert not room[:begin].any() and not room[begin + wanted.size :].any()
    print("whole")
"""


@pytest.mark.slow
def test_long_rows_past_the_caches_begin_anywhere():
    assert check_runs(CODE) == "whole\n"
