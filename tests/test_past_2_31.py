"""Arrays of 2**31 + 2**20 elements: right, positions too, and hardly any memory but the result's.

Each runs in a process of its own, whose high-water mark is that of its one call. The elements are
a block of random bytes again and again; its length is prime, so that an index that lost its upper
bits would find other ones.
"""

import sys
from pathlib import Path
from textwrap import dedent

import pytest
from fresh_process import check_runs

#: Bytes of memory: input, result, and what the tests themselves need.
NEEDED = 6 << 30


def memory():
    """Bytes of memory that are free to be used, as Linux says."""
    words = Path("/proc/meminfo").read_text().split()
    return 1024 * int(words[words.index("MemAvailable:") + 1])


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status"),
]

SETUP = """
    import numpy as np, npool

    SIZE, BLOCK = 2**31 + 2**20, 1_000_003

    def status(name):
        with open("/proc/self/status") as lines:
            (line,) = [line for line in lines if line.startswith(name)]
        return 1024 * int(line.split()[1])

    def measured(call, x):
        \"\"\"A call's results, whose memory is all that it may need but 100 MiB.\"\"\"
        before = status("VmRSS")
        results = call(x)
        peak = status("VmHWM")
        held = sum(r.nbytes for r in (results if isinstance(results, tuple) else (results,)))
        assert before > x.nbytes
        assert abs(peak - before - held) < 100 * 2**20, (peak, before, held)
        return results

    def elements(call):
        \"\"\"The array, after everything was compiled that it takes.\"\"\"
        call(np.zeros(1 << 22, np.uint8))
        block = np.random.default_rng(0).integers(0, 256, BLOCK, np.uint8)
        x = np.empty(SIZE, np.uint8)
        for at in range(0, SIZE, BLOCK):
            x[at : at + BLOCK] = block[: SIZE - at]
        assert not np.array_equal(x[2**31 :], x[: 2**20])
        return x
"""

CALLS = {
    "a plane": """
        def call(x):
            return npool.max_pool(x.reshape(1, 1, -1, 65536 if x.size == SIZE else 1024), (2, 2))

        x = elements(call)
        y = measured(call, x)
        assert y.shape == (1, 1, 16392, 32768)
        rows, y = x.reshape(-1, 2, 65536), y[0, 0]
        for at in range(0, len(y), 256):
            tall = rows[at : at + 256].max(1)
            assert np.array_equal(y[at : at + 256], np.maximum(tall[:, ::2], tall[:, 1::2])), at
    """,
    "a row": """
        def call(x):
            return npool.max_pool(x, (3,), 1, 1)

        x = elements(call)
        y = measured(call, x)
        assert y.shape == x.shape
        assert (y[0], y[-1]) == (x[:2].max(), x[-2:].max())
        for at in range(0, SIZE - 2, 1 << 22):
            seen = x[at : at + (1 << 22) + 2]
            wanted = np.maximum(np.maximum(seen[:-2], seen[1:-1]), seen[2:])
            assert np.array_equal(y[at + 1 : at + 1 + len(wanted)], wanted), at
    """,
    "positions": """
        def call(x):
            return npool.max_pool(x, (300,), 4099, return_indices=True)

        x = elements(call)
        x[-400:] = 0  # the last window's greatest is its very last element
        last = (SIZE - 300) // 4099 * 4099
        x[last : last + 300] = np.arange(300) // 2
        y, places = measured(call, x)
        windows = np.lib.stride_tricks.sliding_window_view(x, 300)[::4099]
        within = windows.argmax(1)
        assert places.dtype == np.int64
        assert np.array_equal(places, np.arange(len(windows)) * 4099 + within)
        assert np.array_equal(y, np.take_along_axis(windows, within[:, None], 1)[:, 0])
        assert places.max() == last + 298 > 2**31
        assert np.array_equal(npool.take_pooled(x, places, axes=(0,)), y)
    """,
}


@pytest.mark.parametrize("name", CALLS)
def test_more_than_2_31_elements(name):
    if memory() < NEEDED:
        pytest.skip(f"needs {NEEDED >> 30} GiB of memory that is free")
    check_runs(dedent(SETUP) + dedent(CALLS[name]), timeout=300)
