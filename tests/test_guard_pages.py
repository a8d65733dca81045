"""Arrays that end at, or start right after, a page that may not be touched.

A kernel that reads or writes one element too far dies of SIGSEGV, in a process of its own.
"""

import ctypes
import mmap
import signal
import sys

import numpy as np
import pytest
from fresh_process import copied, run

import npool

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith(("linux", "darwin")), reason="mprotect is POSIX's"
)
PAGE = mmap.PAGESIZE


class Guarded:
    """Memory between two pages that may not be read or written."""

    def __init__(self, nbytes):
        self.size = -(-max(nbytes, 1) // PAGE) * PAGE
        self.map = mmap.mmap(-1, self.size + 2 * PAGE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        libc = ctypes.CDLL(None, use_errno=True)
        for page in (start, start + PAGE + self.size):
            if libc.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(PAGE), 0):
                raise OSError(ctypes.get_errno(), "mprotect")

    def bytes(self, nbytes, at_end):
        """`nbytes` that end at the last page, or start behind the first."""
        offset = PAGE + (self.size - nbytes if at_end else 0)
        return np.frombuffer(self.map, np.uint8, nbytes, offset)


_kept = []  # views do not keep a Guarded alive


def guarded(x, at_end, order=None, steps=None):
    """A copy of `x` whose outermost bytes lie at a guard page.

    `order` puts the axes in memory in that order; `steps` spaces elements along each axis,
    negative ones backwards, with nothing after the last element.
    """
    order = tuple(range(x.ndim)) if order is None else order
    steps = (1,) * x.ndim if steps is None else steps
    strides, reach = [0] * x.ndim, x.itemsize
    for axis in reversed(order):
        strides[axis] = reach * abs(steps[axis])
        reach = strides[axis] * (x.shape[axis] - 1) + reach
    memory = Guarded(reach)
    _kept.append(memory)
    if len(_kept) > 200:
        _kept.pop(0)
    base = memory.bytes(reach, at_end)
    first = sum((n - 1) * s for n, s, step in zip(x.shape, strides, steps, strict=True) if step < 0)
    signed = [-s if step < 0 else s for s, step in zip(strides, steps, strict=True)]
    view = np.ndarray(x.shape, x.dtype, base, first, signed)
    view[...] = x
    return view


GEOMETRIES = [
    # shape, kernel, stride, padding, dilation, ceil mode, axes
    ((3, 37), (3,), 1, 1, 1, False, None),
    ((3, 37), (2,), 2, 0, 1, True, None),
    ((3, 38), (2,), 3, 1, 2, True, None),
    ((3, 150), (3,), 1, 0, 1, False, None),
    ((7, 150), (4,), 4, 0, 1, False, None),
    ((6, 8, 12), (2, 2), 2, 0, 1, False, None),
    ((60, 7, 7), (3, 3), 1, 1, 1, False, None),
    ((2, 130), (33,), 1, 16, 1, False, None),
    ((2, 135), (65,), 7, 20, 1, True, None),
    ((2, 700), (64,), 64, 0, 1, False, None),
    ((2, 703), (64,), 60, 33, 1, True, None),
    ((5, 9000), (9000,), 1, 0, 1, False, None),
    ((41, 12), 3, 2, 1, 1, True, (0,)),
    ((41, 12), 17, 1, 8, 1, False, (0,)),
    ((140, 12), 70, 30, 5, 1, True, (0,)),
    ((2, 21, 33), (2, 2), 2, 0, 1, True, None),
    ((2, 21, 33), (3, 3), 1, 1, 1, False, None),
    ((2, 21, 33), (3, 3), 2, 1, 1, True, None),
    ((2, 40, 64), (7, 5), (1, 2), ((0, 6), (4, 0)), 1, True, None),
    ((2, 40, 64), (16, 16), 16, 8, 1, True, None),
    ((2, 21, 33), (2, 3), 1, 2, (3, 2), True, None),
    ((14, 16, 20), (6, 6, 2), 2, 2, 1, True, None),
    ((9, 10, 11), (3, 3, 3), 1, 1, 1, False, None),
    ((9, 10, 3), 3, 2, 1, 1, True, (0, 1)),
    ((4, 300, 3), 64, 50, 7, 1, True, (1,)),
    ((4, 30, 3), (4500,), 1, 2250, 1, False, (1,)),
    ((2, 260, 270), (3, 3), 1, 1, 1, False, None),
    ((300, 401), (2, 2), 2, 1, 1, True, None),
    ((64, 1100), (9, 9), 1, 4, 1, False, None),
    ((90, 300), (40, 20), 1, (20, 9), 1, False, None),
    ((2, 1700), (700,), 1, 100, 1, False, None),
    ((1, 1), (1, 1), 1, 0, 1, False, None),
    ((7, 1), (3, 1), 2, 1, 1, True, None),
]


class Size(tuple):
    """The size of the result, in the place of a kernel: adaptive pooling."""


GEOMETRIES += [
    # shape, size of the result, axes
    ((40, 13, 13), Size((6, 6)), None),
    ((31, 45), Size((7, 11)), None),
    ((3, 700), Size((501,)), None),
    ((3, 700), Size((9,)), None),
    ((4, 20, 170), Size((3, 4)), None),
    ((9, 10, 3), Size((4, 7)), (0, 1)),
    ((41, 12), Size((7,)), (0,)),
]
# Channels that slide, in groups and as rows of their own.
GEOMETRIES += [
    ((9, 70, 3), 2, 2, 0, 1, False, (0, 1)),
    ((9, 71, 5), 3, 1, 1, 1, False, (0, 1)),
    ((9, 70, 4), 2, 2, 0, 1, False, (0, 1)),
    ((9, 10, 32), 2, 2, 0, 1, False, (0, 1)),
]
REDUCTIONS = [
    ("max", "float32"), ("positions", "float32"), ("sum", "float32"), ("avg", "float32"),
    ("range", "float32"), ("var", "float32"), ("min", "uint8"), ("sum", "complex64"),
    ("max", "float16"), ("avg", "float16"),
]  # fmt: skip


def layouts(ndim):
    """Keyword arguments of `guarded` by name."""
    yield "C", {}
    yield "backwards", {"steps": (-1,) * ndim}
    yield "steps", {"steps": (1,) * (ndim - 1) + (3,)}
    yield "steps back", {"steps": (2,) + (1,) * (ndim - 2) + (-2,)}
    if ndim > 1:
        yield "Fortran", {"order": tuple(range(ndim))[::-1]}
        yield "rolled", {"order": (*range(1, ndim), 0)}


def call(x, reduce, geometry, out=None):
    _, *arguments, axes = geometry
    if isinstance(arguments[0], Size):
        chosen = {"reduce": "max", "return_indices": True} if reduce == "positions" else {
            "reduce": reduce
        }  # fmt: skip
        return npool.adaptive_pool(x, arguments[0], axes=axes, out=out, **chosen)
    if reduce == "positions":
        return npool.pool(x, *arguments, axes=axes, return_indices=True, out=out)
    return npool.pool(x, *arguments, axes=axes, reduce=reduce, out=out)


def check_guarded(reduce, dtype):
    """Every geometry and layout, at both ends: the answer of an ordinary array, and no crash."""
    checked = 0
    for number, geometry in enumerate(GEOMETRIES):
        rng = np.random.default_rng(number)
        plain = rng.integers(0, 60, geometry[0]).astype(dtype)
        wanted = call(plain, reduce, geometry)
        pair = wanted if reduce == "positions" else (wanted,)
        for name, options in layouts(plain.ndim):
            for at_end in (True, False):
                print(f"{reduce} {dtype} {geometry} {name} at_end={at_end}", flush=True)
                x = guarded(plain, at_end, **options)
                got = call(x, reduce, geometry)
                for a, b in zip(got if len(pair) > 1 else (got,), pair, strict=True):
                    assert np.array_equal(a, b, equal_nan=True)
                # and the results at a guard page, too, in the order of x and in any other
                for form in ({}, options):
                    outs = tuple(guarded(np.zeros_like(p), at_end, **form) for p in pair)
                    call(x, reduce, geometry, outs if len(pair) > 1 else outs[0])
                    for a, b in zip(outs, pair, strict=True):
                        assert np.array_equal(a, b, equal_nan=True)
                    checked += 1
    assert checked > 500
    print("whole")


RUN = """
    import sys
    from npool.cpu import schedule, tiling
    from test_guard_pages import check_guarded
    if sys.argv[3] == "large":  # as if every array were past the caches
        tiling.LARGEST_CACHE = schedule.PREFETCHED = 0
    check_guarded(sys.argv[1], sys.argv[2])
"""
SIZES = [
    *[(*reduction, "small") for reduction in REDUCTIONS],
    *[(reduce, "float32", "large") for reduce in ("max", "positions", "avg")],
    ("min", "uint8", "large"),
    ("max", "float16", "large"),
]


def check_guarded_sizes():
    """Fractional pooling and unpooling with each of their arrays at a guard page."""
    rng = np.random.default_rng(0)
    for shape, axes in (((4, 9, 10), (1, 2)), ((5, 37), (1,)), ((8, 9, 3), (0, 1))):
        plain = rng.integers(1, 60, shape).astype(np.float32)
        sizes, kernel = tuple(shape[a] // 2 for a in axes), (2,) * len(axes)
        samples = rng.random((*(n for a, n in enumerate(shape) if a not in axes), len(axes)))
        values, places = npool.fractional_max_pool(
            plain, kernel, sizes, samples=samples, axes=axes, return_indices=True
        )
        lengths = tuple(shape[a] for a in axes)
        back = npool.max_unpool(values, places, kernel, output_size=lengths, axes=axes)
        for name, options in layouts(plain.ndim):
            for at_end in (True, False):
                print(f"{shape} {axes} {name} at_end={at_end}", flush=True)
                x = guarded(plain, at_end, **options)
                pair = tuple(guarded(np.zeros_like(p), at_end, **options) for p in (values, places))
                npool.fractional_max_pool(
                    x, kernel, sizes, samples=guarded(samples, at_end), axes=axes,
                    return_indices=True, out=pair,
                )  # fmt: skip
                assert np.array_equal(pair[0], values)
                assert np.array_equal(pair[1], places)
                for form in ({}, options):
                    out = guarded(np.zeros_like(back), at_end, **form)
                    npool.max_unpool(*pair, kernel, output_size=lengths, axes=axes, out=out)
                    assert np.array_equal(out, back)
    print("whole")


def test_nothing_beyond_an_array_is_touched_by_windows_drawn_and_unpooling():
    code = """
        from test_guard_pages import check_guarded_sizes
        check_guarded_sizes()
    """
    status, out, err = run(code, timeout=300)
    last = out.splitlines()[-1] if out else ""
    assert (status, last, err) == (0, "whole", ""), f"exit status {status} after: {last}\n{err}"


#: What `make check` looks at.
CHECKED = [(reduce, "float32", "small") for reduce in ("max", "positions", "avg")]
#: What the quick profile does, too.
QUICK = [("max", "float16", "small"), ("min", "uint8", "small"), ("avg", "float32", "large")]


def marks_of(kind):
    if kind in CHECKED:
        return ()
    return pytest.mark.slow if kind in QUICK else (pytest.mark.slow, pytest.mark.thorough)


@pytest.mark.parametrize(
    ("reduce", "dtype", "size"), [pytest.param(*of, marks=marks_of(of)) for of in SIZES]
)
def test_nothing_beyond_an_array_is_touched(reduce, dtype, size):
    status, out, err = run(RUN, reduce, dtype, size, timeout=300)
    last = out.splitlines()[-1] if out else ""
    assert (status, last, err) == (0, "whole", ""), f"exit status {status} after: {last}\n{err}"


# --- the guard itself ----------------------------------------------------------------------------


def check_dies(code, *arguments, **options):
    """The process dies of the page that it touched; what it printed last."""
    status, out, err = run(code, *arguments, **options)
    assert -status in (signal.SIGSEGV, signal.SIGBUS), f"exit status {status}\n{out}\n{err}"
    return out


@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("access", ["read", "write"])
def test_the_guard_catches_one_byte_too_far(access, at_end):
    code = """
        import ctypes, sys
        import numpy as np
        from test_guard_pages import guarded
        at_end, access = sys.argv[1] == "True", sys.argv[2]
        x = guarded(np.arange(10, dtype=np.uint8), at_end)
        assert x.sum() == 45
        x[0] = x[-1] = 1
        print("before", flush=True)
        address = x.ctypes.data + (10 if at_end else -1)
        if access == "read":
            ctypes.string_at(address, 1)
        else:
            ctypes.memset(address, 0, 1)
        print("after", flush=True)
    """
    assert check_dies(code, at_end, access) == "before\n"


SHIFTS = {"one element too far": 1, "one element too soon": -1}


@pytest.mark.parametrize("name", SHIFTS)
def test_the_guard_catches_a_planted_overread(name, tmp_path):
    old = 'b.mul(r, given["stride"]))'
    new = f'b.add(b.mul(r, given["stride"]), _I64({SHIFTS[name]})))'
    root = copied(tmp_path, ("cpu/slide_memory.py", old, new))
    code = """
        import numpy as np, npool, sys
        from test_guard_pages import guarded
        print(npool.__file__, flush=True)
        x = np.arange(4096.0, dtype=np.float32)
        for at_end in (True, False):
            npool.sum_pool(guarded(x, at_end), (3,), 1, 1)
    """
    out = check_dies(code, root=root, NPOOL_CACHE_DIR="")
    assert out == f"{root / 'npool' / '__init__.py'}\n"
