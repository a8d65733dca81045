"""Averages of float32 are divided as division rounds, to the last bit, though not by dividing."""

import pytest
from fresh_process import check_runs

pytestmark = pytest.mark.slow

#: Those whose reciprocal is off by most and by least, powers of two, and those of which a quotient
#: may lie too near the middle of two neighbours.
DIVISORS = (
    1, 3, 5, 7, 9, 10, 13, 25, 49, 961, 3969, 4095, 4096, 10_001, (1 << 22) - 1, 1 << 22,
    (1 << 22) + 1, (1 << 24) - 1,
)  # fmt: skip

CODE = """
    import sys
    import numpy as np
    import npool.cpu.emit
    npool.cpu.emit.HAS_CLASSES &= sys.argv[1] == "1"
    npool.cpu.emit.HAS_FMA &= sys.argv[1] != "none"
    import npool

    rng = np.random.default_rng(5)
    special = np.array([0.0, np.inf, np.nan, 1e-45, 3.4e38, 2.0**-126, 2.0**-125], np.float32)

    def numbers(divisor):
        bits = rng.integers(0, 1 << 32, 20_000, np.uint32)
        small = rng.integers(0, 1 << 25, 20_000, np.uint32)
        # Whose quotient is next to the middle of two floats, subnormal ones as well.
        halves = (rng.integers(1 << 23, 1 << 24, 20_000) + 0.5) * divisor
        near = np.ldexp(halves, rng.integers(-172, 90, 20_000)).astype(np.float32)
        ties = np.ldexp((rng.integers(0, 1 << 12, 5_000) + 0.5) * divisor, -149)
        subnormal = np.ldexp((rng.integers(1, 1 << 23, 5_000) - 0.5) * divisor, -149)
        found = [np.zeros(64, np.float32), special, bits.view(np.float32), small.view(np.float32),
                 near, np.nextafter(near, np.float32(0)), np.nextafter(near, np.float32(1)),
                 ties.astype(np.float32), subnormal.astype(np.float32)]
        x = np.concatenate(found)
        return np.concatenate([x, -x])

    np.seterr(all="ignore")
    for divisor in map(int, sys.argv[2:]):
        x = numbers(divisor)
        wanted = x / np.float32(divisor)
        # A second row of the negative zero, which leaves everything as it is.
        rows = np.stack([x, np.full_like(x, -0.0)])
        got = npool.avg_pool(rows, (2, 1), 1, divisor_override=divisor)[0]
        both = np.isnan(got) & np.isnan(wanted)
        wrong = (got.view(np.uint32) != wanted.view(np.uint32)) & ~both
        assert not wrong.any(), (divisor, x[wrong][:5], got[wrong][:5], wanted[wrong][:5])
    print("right")
"""


@pytest.mark.parametrize("way", ["1", "0", "none"])
def test_quotients_are_those_of_division(way):
    # "1": as this machine does it; "0": without an instruction that knows subnormal numbers;
    # "none": without fused multiply-adds.
    said = check_runs(CODE, way, *map(str, DIVISORS), NPOOL_CACHE_DIR="")
    assert said == "right\n"
