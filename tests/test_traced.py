"""What vectors make of a reducer's functions is what Numba makes of them, number by number."""

import numpy as np
import pytest
from numba.core import config

import npool
from npool.reducers import REDUCERS
from npool.scalars import maximum

if not config.DISABLE_JIT:
    from npool.cpu.binding import loops

pytestmark = pytest.mark.skipif(config.DISABLE_JIT, reason="vectors are compiled")


def total(lift, accumulator="int64", combine=lambda a, b: a + b):
    return npool.Reducer("own", combine, 0, lift=lift, accumulator=accumulator)


def lanes(reducer, dtype, accumulator="int64", result="int64"):
    kinds = [np.dtype(one) for one in (dtype, accumulator, result)]
    return loops(reducer, *kinds, None, None).lanes


def pooled(reducer, x):
    """Sums of four, by npool and element by element."""
    return npool.pool(x, (4,), reduce=reducer).tolist()


BYTES = np.arange(256, dtype=np.uint8)
WIDE = np.random.default_rng(0).integers(-(2**62), 2**62, 64)


def test_truth_values_count_as_numbers():
    big = total(lambda x: x > 100)
    assert lanes(big, np.uint8) > 0
    wanted = (BYTES.reshape(-1, 4) > 100).sum(1).tolist()
    assert pooled(big, BYTES) == wanted
    seen = total(lambda x: x, "bool", lambda a, b: a | b)
    assert lanes(seen, np.uint8, "bool", "bool") > 0
    # 256 is a truth value whose last byte is 0.
    x = np.array([256, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4], np.int64)
    assert npool.pool(x, (4,), reduce="any").tolist() == [True, False, True]
    assert lanes(seen, np.int64, "bool", "bool") > 0
    assert pooled(seen, x) == [True, False, True]
    whether = npool.Reducer("own", lambda a, b: a + b, 0, accumulator="int64", result="bool")
    assert lanes(whether, np.int64, "int64", "bool") > 0
    assert pooled(whether, x) == [True, False, True]
    assert npool.pool(x, (4,), reduce="all").tolist() == [False, False, True]


def test_any_byte_but_0_is_true():
    masks = np.array([0, 255, 0, 0, 0, 0, 0, 0, 7, 1, 255, 2], np.uint8).view(bool)
    for reduce, wanted in (
        ("max", [1, 0, 1]), ("min", [0, 0, 1]), ("any", [1, 0, 1]), ("all", [0, 0, 1]),
        ("sum", [1, 0, 4]), ("avg", [0.25, 0, 1]),
    ):  # fmt: skip
        got = npool.pool(masks, (4,), reduce=reduce)
        assert got.tolist() == wanted
        if got.dtype == bool:
            assert set(got.view(np.uint8).tolist()) <= {0, 1}
    values, places = npool.max_pool(masks, (4,), return_indices=True)
    assert values.view(np.uint8).tolist() == [1, 0, 1]
    assert places.tolist() == [1, 4, 8]


@pytest.mark.parametrize("number", [300, -5, 255, 0])
def test_a_number_that_the_type_does_not_hold_is_no_other(number):
    above = total(lambda x: x > number)
    assert pooled(above, BYTES) == (BYTES.reshape(-1, 4).astype(int) > number).sum(1).tolist()


@pytest.mark.parametrize(("number", "wanted"), [(300, [300] * 64), (-5, list(range(3, 256, 4)))])
def test_nor_is_it_in_what_numba_compiles(number, wanted):
    larger = npool.Reducer(
        "own", maximum, 0, lift=lambda x: maximum(x, number), accumulator="int64"
    )
    assert pooled(larger, BYTES) == wanted


def test_bits_of_wide_integers():
    for x in (WIDE, WIDE.view(np.uint64)):
        high = total(lambda x: x >> 40)
        assert lanes(high, x.dtype) > 0
        assert pooled(high, x) == (x >> 40).reshape(-1, 4).sum(1, dtype=np.int64).tolist()
        low = total(lambda x: x & 0xFFFF)
        assert lanes(low, x.dtype) > 0
        assert pooled(low, x) == (x & 0xFFFF).reshape(-1, 4).sum(1, dtype=np.int64).tolist()


def test_narrow_integers_shift_as_wide_ones():
    x = BYTES.view(np.int8)
    assert pooled(total(lambda x: x >> 1), x) == (x >> 1).reshape(-1, 4).sum(1, dtype=int).tolist()


def test_integers_meet_reals_as_float64():
    half = total(lambda x: x * 0.5, "float64")
    assert lanes(half, np.int64, "float64", "float64") > 0
    x = np.arange(64)
    assert pooled(half, x) == (x * 0.5).reshape(-1, 4).sum(1).tolist()


def test_numbers_in_accumulators():
    for reduce in ("var", "std"):
        assert lanes(REDUCERS[reduce], np.float32, "float64", "float32") > 0
