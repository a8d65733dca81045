"""NUMBA_BOUNDSCHECK=1: every element that a loop touches lies in memory of its call.

The loops know memory by address, so Numba's own check sees nothing of them: npool brings one
(`npool.cpu.bounds`). First it must catch accesses outside that are planted in copies of the
package; then the engine's own tests run under it. Both take processes of their own, without a
disk cache: what is compiled is decided when npool is imported.
"""

import re
import subprocess
import sys

import pytest
from fresh_process import ROOT, check_runs, copied, environment

pytestmark = pytest.mark.slow

#: The environment of a checked process; the interpreted loops are another matter.
CHECKED = {"NUMBA_BOUNDSCHECK": "1", "NPOOL_CACHE_DIR": "", "NUMBA_DISABLE_JIT": None}
#: The same, compiled without LLVM's optimiser: in a third of the time, and the addresses that are
#: checked are those that npool's code says either way.
QUICKLY = {**CHECKED, "NUMBA_OPT": "0"}

#: One call of each kind that a planted fault is for, and how to tell which answer is right.
CALLS = """
    import sys, threading
    import numpy as np, npool
    from npool.cpu import bounds, tiling

    row = np.arange(4096, dtype=np.float32)
    planes = np.arange(40 * 49, dtype=np.float32).reshape(40, 7, 7)

    def slid():
        return npool.sum_pool(row, (2,)), row[::2] + row[1::2]

    def sums():
        return npool.sum_pool(row, (2,), 1, 0, 20), row[:-20] + row[20:]

    def odd():
        return npool.sum_pool(row[:4090], (2,)), row[:4090:2] + row[1:4090:2]

    def padded():
        return npool.max_pool(row, (3,), 1, 1), np.append(row[1:], row[-1])

    def dilated():
        return npool.max_pool(row, (3,), 1, 20, 20), np.append(row[20:], row[-20:])

    def slid_places():
        return npool.max_pool(row, (2,), return_indices=True)[1], np.arange(1, 4096, 2)

    def places():
        return npool.max_pool(row, (2,), 1, 0, 20, return_indices=True)[1], np.arange(20, 4096)

    def strided():
        return npool.sum_pool(row[::5], (2,), 1), row[:-5:5] + row[5::5]

    def channels():
        x = planes.ravel()[:480].reshape(48, 10)[:, ::5]
        return npool.max_pool(x, (2,), 2, axes=(0,)), x[1::2]

    def globally():
        return npool.max_pool(row.reshape(64, 64), (64,)), row[63::64, None]

    def masked():
        wanted = planes.copy()
        wanted[:, :-1] = planes[:, 1:]
        wanted[:, :, :-1] = wanted[:, :, 1:]
        return npool.max_pool(planes, (3, 3), 1, 1), wanted

    def numbers():
        wanted = np.cbrt(row[::2].astype(np.float64) ** 3 + row[1::2].astype(np.float64) ** 3)
        return npool.lp_pool(row, 3, (2,)).round(2), wanted.astype(np.float32).round(2)

    def streamed():
        tiling.LARGEST_CACHE = 0  # as if every array were past the caches
        return npool.max_pool(row.reshape(64, 64), (2, 2), 1, 0, 20), row.reshape(64, 64)[20:, 20:]

    def slid_past():
        tiling.LARGEST_CACHE = 0
        return npool.max_pool(row.reshape(2, 2048), (2, 2), 1), row.reshape(2, 2048)[1:, 1:]

    def raised(call):
        try:
            got, wanted = call()
        except IndexError as error:
            print(call.__name__, error, *error.__notes__, sep="; ")
        else:
            same = np.allclose(got, wanted, rtol=1e-4)
            print(call.__name__, "right" if same else "wrong")
"""
NAMES = (
    "slid",
    "sums",
    "odd",
    "padded",
    "dilated",
    "slid_places",
    "places",
    "strided",
    "channels",
    "globally",
    "masked",
    "numbers",
    "streamed",
    "slid_past",
)

SOURCE = (
    "cpu/slide_memory.py",
    'b.mul(r, given["stride"]))',
    'b.add(b.mul(r, given["stride"]), _I64({})))',
)
RESULT = (
    "cpu/emit.py",
    "b.mul(to, _I64(dtype.itemsize))",
    "b.mul(b.add(to, _I64({})), _I64(dtype.itemsize))",
)
SCRATCH = (
    "cpu/emit.py",
    "self.b.mul(o, _I64(part.itemsize))",
    "self.b.mul(self.b.add(o, _I64({})), _I64(part.itemsize))",
)
GATHER = ("cpu/lanes.py", "src + begin * ITEM", "src + (begin + {}) * ITEM")
#: What is planted, the call that meets it, and what the error says: where, and in what.
PLANTED = {
    "a read one element behind the input": (SOURCE, 1, "padded", "+16384 in input of 16384"),
    "a read one element before the input": (SOURCE, -1, "padded", "-4 in input of 16384"),
    "a result one element too far": (RESULT, 1, "sums", "+16304 in results of 16304"),
    "a position one element too far": (
        ("cpu/emit.py", "for base, dtype in zip((out, positions), words.results",
         "for base, dtype in zip((out, b.add(positions, _I64({}))), words.results"),
        8, "places", "in positions of 32608",
    ),
    "scratch far behind its end": (SCRATCH, 1 << 20, "dilated", "in scratch of"),
    "scratch before its start": (SCRATCH, -(1 << 10), "dilated", "in scratch of"),
    "a strided read one element too far": (GATHER, 1, "strided", "+16384 in input of 16384"),
    "a strided read of channels one element too far": (
        ("cpu/lanes.py", "(begin + i * stride", "({} + begin + i * stride"),
        1, "channels", "in input of",
    ),
    "a window of one element too many": (
        ("cpu/lanes.py", "whole_rows(dst, cap, src, o, stride, n, m)",
         "whole_rows(dst, cap, src, o, stride, n + {}, m)"),
        1, "globally", "in input of 16384",
    ),
    "the masks of an axis that is not there": (
        ("cpu/planes.py", "get(head, MASKS) + (i - 1)", "get(head, MASKS) + (i + {})"),
        0, "masked", "in masks of",
    ),
    "a parameter too many": (
        ("cpu/emit.py", "self.load(at, _I64(k), double)", "self.load(at, _I64(k + {}), double)"),
        1, "numbers", "+8 in params of 8",
    ),
    "a copy past the caches of one element too many": (
        ("cpu/lanes.py", "stream(out, line, m * width)", "stream(out, line, (m + {}) * width)"),
        1, "streamed", "in results of 7744",
    ),
    "a vector one element too far": (
        ("cpu/slides.py", "b.add(c, _I64(k * self.each))", "b.add(c, _I64(k * self.each + {}))"),
        1, "slid", "+16324 in input of 16384",
    ),
    "a mask of one element too many": (
        ("cpu/slides.py", 'self.mask(at, self.given["body"])',
         'self.mask(at, b.add(self.given["body"], _I64({})))'),
        1, "padded", "in input of 16384",
    ),
    "a mask of one result too many": (
        ("cpu/slides.py", "self.mask(x, stop)", "self.mask(x, b.add(stop, _I64({})))"),
        1, "odd", "in results of 8180",
    ),
    "a vector of results one too far": (
        ("cpu/slide_memory.py", "to = b.add(self.to,", "to = b.add(b.add(self.to, _I64({})),"),
        8, "slid", "in results of 8192",
    ),
    "vectors of positions one too far": (
        ("cpu/slide_memory.py", '(given["out"], given["positions"]), e.words.results',
         '(given["out"], b.add(given["positions"], _I64({}))), e.words.results'),
        8, "slid_places", "in positions of 16384",
    ),
}  # fmt: skip


#: Caught in code as it is otherwise compiled, too: a scalar read and a vector.
OPTIMISED = ("a read one element behind the input", "a vector one element too far")


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_access_outside_is_caught(name, tmp_path):
    (file, old, new), number, call, where = PLANTED[name]
    root = copied(tmp_path, (file, old, new.format(number)))
    code = (
        CALLS
        + f"""
    print(npool.__file__)
    raised({call})
    """
    )
    how = CHECKED if name in OPTIMISED else QUICKLY
    loaded, said = check_runs(code, root=root, **how).splitlines()
    assert loaded == str(root / "npool" / "__init__.py")
    assert said.startswith(f"{call}; a loop of npool reached outside the memory of its call; ")
    assert where in said


def test_nothing_is_raised_where_nothing_is_planted():
    # And the table is one call's at a time: threads wait for one another.
    code = (
        CALLS
        + f"""
    assert bounds.CHECKED
    calls = [{", ".join(NAMES)}]
    for call in calls:
        raised(call)

    def again():
        try:
            for _ in range(20):
                for call in calls[:4]:
                    assert np.array_equal(*call())
        except BaseException as error:
            failed.append(error)

    failed = []
    threads = [threading.Thread(target=again) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(failed)
    """
    )
    lines = check_runs(code, **CHECKED).splitlines()
    assert lines == [f"{name} right" for name in NAMES] + ["[]"]


def test_checked_kernels_are_not_kept_on_disk(tmp_path):
    code = (
        CALLS
        + """
    raised(sums)
    """
    )
    told = check_runs(code, **{**CHECKED, "NPOOL_CACHE_DIR": str(tmp_path / "cache")})
    assert told == "sums right\n"
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("value", [None, "0"])
def test_otherwise_nothing_is_checked(value):
    code = (
        CALLS
        + """
    assert not bounds.CHECKED
    raised(sums)
    print("npool.cpu.checked" in sys.modules)
    """
    )
    assert check_runs(code, **{**CHECKED, "NUMBA_BOUNDSCHECK": value}) == "sums right\nFalse\n"


def passed_under_the_check(file, chosen="", *options):
    """How many tests of a file, those that `-k` chooses, pass in a process of their own."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider",
         f"tests/{file}", "-k", chosen],
        cwd=ROOT,
        env=environment(**QUICKLY, PYTEST_ADDOPTS=None),
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    passed = re.search(r"^(\d+) passed", done.stdout, re.MULTILINE)
    assert passed, done.stdout[-5000:]
    return int(passed[1])


#: The tests of the engine that pool, by the reducers that are compiled for them, and how many of
#: them there are at least. Not among them: those of threads, of which there is one in this mode;
#: of rounding and of NaN, which take no way through the engine that the others do not; and of
#: schedules, which touch nothing.
ENGINE = {
    "maximum_and_its_positions or other_widths": 200,
    "sum_and_average or pairs_of_reals": 300,
    "two_and_three_parts": 150,
    "windows_of_1_to or rows_of_every_length": 200,
}


@pytest.mark.thorough
@pytest.mark.parametrize("chosen", ENGINE)
def test_the_tests_of_the_engine_pass_under_the_check(chosen):
    assert passed_under_the_check("test_engine_paths.py", chosen) >= ENGINE[chosen]


def test_every_test_of_the_engine_that_pools_is_among_them():
    source = (ROOT / "tests/test_engine_paths.py").read_text("utf-8")
    defined = re.findall(r"^def test_(\w+)", source, re.MULTILINE)
    words = " or ".join(ENGINE).split(" or ")
    assert [name for name in defined if not any(word in name for word in words)] == [
        "the_case_takes_the_path_it_is_there_for",
        "the_cases_cover_the_engine",
        "the_cases_cover_the_loops_of_small_windows",
        "the_same_bits_on_any_number_of_threads",
        "sums_and_averages_lie_within_8_ulp",
        "the_measure_would_see_a_plain_loop",
        "nan_and_infinity_touch_no_other_window",
    ]


@pytest.mark.thorough
def test_bins_and_unpooling_pass_under_the_check():
    assert passed_under_the_check("test_engine_bins.py") > 50
