"""The executor of PTX itself: arithmetic as a GPU's, and planted mistakes that it must catch."""

import math
import re

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs numba-cuda: pip install npool[cuda]")

import cuda_counts
from away import Executor, call
from numba import cuda
from numba.cuda import types
from ptx import Fault, Grid, Kernel
from ptx.parse import Unsupported, parse
from quick_numba import spared

import npool
from npool.cuda import launching, toolkit

ONE = Grid((1, 1, 1), (1, 1, 1))


def compiled(function, *kinds):
    """A kernel made of a Python function."""
    ((text, _),) = toolkit.ptx(function, kinds, (9, 0))
    return Kernel(text)


def address(array):
    return array.__array_interface__["data"][0]


HEAD = """.version 8.0
.target sm_90
.address_size 64
.visible .entry k(.param .u64 a, .param .u64 b, .param .u32 n)
{
.reg .pred %p<9>; .reg .b16 %h<9>; .reg .b32 %r<9>; .reg .f32 %f<9>; .reg .b64 %d<9>;
.reg .f64 %e<9>;
ld.param.u64 %d1, [a];
ld.param.u64 %d2, [b];
"""


def one(body, x, out):
    """Run a few instructions on the first elements of two arrays."""
    Kernel(HEAD + body + "\nret;\n}\n")(ONE, [address(x), address(out), 0], [x], [out], once=False)
    return out


LOADS = {"f4": ("f32", "%f1", "%f2", "%f3"), "u4": ("b32", "%r1", "%r2", "%r3"),
         "u2": ("b16", "%h1", "%h2", "%h3"), "u8": ("b64", "%d3", "%d4", "%d5")}  # fmt: skip


def binary(op, kind, a, b):
    """``op`` of two numbers."""
    name, x, y, z = LOADS[kind]
    pair, out = np.array([a, b], kind), np.zeros(1, kind)
    size = pair.itemsize
    body = (f"ld.global.{name} {x}, [%d1]; ld.global.{name} {y}, [%d1+{size}];\n"
            f"{op} {z}, {x}, {y}; st.global.{name} [%d2], {z};")  # fmt: skip
    return one(body, pair, out)[0]


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("op", "a", "b", "wanted"),
    [
        ("max.NaN.f32", 1, 2, 2), ("max.NaN.f32", NAN, 2, NAN), ("max.NaN.f32", 2, NAN, NAN),
        ("max.f32", NAN, 2, 2), ("max.f32", 2, NAN, 2), ("max.f32", NAN, NAN, NAN),
        ("min.NaN.f32", 1, 2, 1), ("min.NaN.f32", -INF, NAN, NAN), ("min.f32", NAN, 3, 3),
        ("add.f32", 2**24, 1, 2**24), ("add.rn.f32", 0.1, 0.2, np.float32(0.1) + np.float32(0.2)),
        ("sub.f32", INF, INF, NAN), ("div.rn.f32", 1, 3, np.float32(1) / np.float32(3)),
        ("div.rn.f32", 1, 0, INF), ("mul.f32", 1e38, 10, INF),
    ],
)  # fmt: skip
def test_floats(op, a, b, wanted):
    with np.errstate(all="ignore"):
        np.testing.assert_equal(binary(op, "f4", a, b), np.float32(wanted))


@pytest.mark.parametrize(
    ("op", "kind", "a", "b", "wanted"),
    [
        ("add.s32", "u4", 2**32 - 1, 2, 1), ("mul.lo.s32", "u4", 2**16, 2**16, 0),
        ("mul.hi.u32", "u4", 2**31, 6, 3), ("mul.hi.s32", "u4", 2**32 - 1, 2, 2**32 - 1),
        ("div.s32", "u4", 2**32 - 7, 2, 2**32 - 3), ("div.u32", "u4", 7, 2, 3),
        ("rem.u32", "u4", 7, 4, 3), ("max.s32", "u4", 2**32 - 1, 1, 1),
        ("max.u32", "u4", 2**32 - 1, 1, 2**32 - 1), ("shl.b32", "u4", 1, 32, 0),
        ("shr.u32", "u4", 2**31, 31, 1), ("shr.s32", "u4", 2**31, 40, 2**32 - 1),
        ("and.b32", "u4", 6, 3, 2), ("xor.b32", "u4", 6, 3, 5), ("add.s64", "u8", 2**63, 2**63, 0),
        ("max.NaN.f16", "u2", 0x3C00, 0x7E00, 0x7FFF),
        ("max.NaN.f16", "u2", 0xBC00, 0x3C00, 0x3C00),
        ("max.NaN.bf16", "u2", 0xBF80, 0x3F80, 0x3F80), ("min.NaN.f16", "u2", 0x8000, 0, 0x8000),
        ("max.NaN.f16x2", "u4", 0x3C00BC00, 0xBC003C00, 0x3C003C00),
    ],
)  # fmt: skip
def test_bits(op, kind, a, b, wanted):
    assert int(binary(op, kind, a, b)) == wanted


def test_conversions_round_as_they_say():
    x, out = np.array([2.5, -1.5, 1e10, NAN], np.float32), np.zeros(4, np.int32)
    for i, wanted in enumerate((2, -2, 2**31 - 1, 0)):
        body = (f"ld.global.f32 %f1, [%d1+{4 * i}]; cvt.rni.s32.f32 %r1, %f1;"
                f"st.global.b32 [%d2+{4 * i}], %r1;")  # fmt: skip
        assert one(body, x, out)[i] == wanted
    halves = np.zeros(1, np.float16)
    one("ld.global.f32 %f1, [%d1]; cvt.rn.f16.f32 %h1, %f1; st.global.b16 [%d2], %h1;",
        np.array([1 + 2**-11], np.float32), halves)  # fmt: skip
    assert halves[0] == np.float16(1)  # half way: to even


def test_fma_rounds_once():
    x, out = np.array([1 + 2**-12, 1 + 2**-12, -1], np.float32), np.zeros(1, np.float32)
    one("ld.global.f32 %f1, [%d1]; ld.global.f32 %f2, [%d1+8];"
        "fma.rn.f32 %f3, %f1, %f1, %f2; st.global.f32 [%d2], %f3;", x, out)  # fmt: skip
    assert out[0] == 2.0**-11 + 2.0**-24


def test_vectors_guards_and_selections():
    x, out = np.arange(4, dtype=np.float32), np.zeros(4, np.float32)
    one("ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%d1];\n"
        "setp.lt.f32 %p1, %f1, %f2; selp.f32 %f5, %f4, %f3, %p1;\n"
        "@!%p1 mov.f32 %f5, %f1; st.global.v2.f32 [%d2], {%f5, %f1};", x, out)  # fmt: skip
    assert out.tolist() == [3, 0, 0, 0]


def double(source, result, n):
    i = cuda.grid(1)
    if i < n:
        result[i] = source[i] * np.float32(2)


PAIR = (types.CPointer(types.float32), types.CPointer(types.float32), types.int32)


def test_a_grid_counts_what_it_does():
    x, out = np.arange(1000, dtype=np.float32), np.zeros(1000, np.float32)
    kernel = compiled(double, *PAIR)
    report = kernel(Grid((8, 1, 1), (128, 1, 1)), [address(x), address(out), 1000], [x], [out])
    np.testing.assert_array_equal(out, 2 * x)
    assert (report.threads, report.loaded, report.stored) == (1024, 4000, 4000)
    assert report.loads == {1: 0, 2: 0, 4: 1000, 8: 0, 16: 0}
    assert 1000 * 10 < report.instructions < 1024 * 40


# --- planted mistakes -----------------------------------------------------------------------------


def test_reading_past_the_end_is_caught():
    x, out = np.zeros(999, np.float32), np.zeros(1000, np.float32)
    with pytest.raises(Fault, match=r"load of 4 bytes.*3996 bytes into allocation"):
        compiled(double, *PAIR)(
            Grid((8, 1, 1), (128, 1, 1)), [address(x), address(out), 1000], [x], [out])  # fmt: skip


def test_reading_before_the_start_is_caught():
    base, out = np.zeros(64, np.float32), np.zeros(8, np.float32)
    x = base[8:16]
    with pytest.raises(Fault, match="-4 bytes into allocation"):
        compiled(double, *PAIR)(
            Grid((1, 1, 1), (8, 1, 1)), [address(x) - 4, address(out), 8], [x], [out])  # fmt: skip


def test_writing_where_only_reading_is_allowed_is_caught():
    x, out = np.zeros(8, np.float32), np.zeros(8, np.float32)
    with pytest.raises(Fault, match=r"store.*without the right to it"):
        compiled(double, *PAIR)(
            Grid((1, 1, 1), (8, 1, 1)), [address(out), address(x), 8], [x, out], [])  # fmt: skip


def test_reading_what_is_only_to_be_written_is_caught():
    x = np.zeros(8, np.float32)
    with pytest.raises(Fault, match=r"load.*without the right to it"):
        compiled(double, *PAIR)(Grid((1, 1, 1), (8, 1, 1)), [address(x), address(x), 8], [], [x])


def test_a_misaligned_vector_is_caught():
    from npool.cuda import words

    load = words.loader(4)

    def quad(source, result, n):
        i = np.int64(cuda.grid(1))
        if i < n:
            a, b, c, d = load(source, i * 4)
            result[i] = a + b + c + d

    kernel = compiled(quad, *PAIR)
    base, out = np.zeros(80, np.float32), np.zeros(8, np.float32)
    x = base[-address(base) % 16 // 4 :][:40]
    kernel(Grid((1, 1, 1), (8, 1, 1)), [address(x), address(out), 8], [x], [out])
    with pytest.raises(Fault, match="not aligned to 16"):
        kernel(Grid((1, 1, 1), (8, 1, 1)), [address(x) + 4, address(out), 8], [x], [out])


@pytest.mark.parametrize(("n", "words"), [(7, "4 bytes of a result are never written"),
                                          (8, "more than once")])  # fmt: skip
def test_a_result_that_is_not_written_exactly_once_is_caught(n, words):
    def twice(source, result, n):
        i = cuda.grid(1)
        if i < n:
            result[i] = source[i]
        if n == 8 and i == 3:
            result[i - 1] = source[i]

    x, out = np.zeros(8, np.float32), np.zeros(8, np.float32)
    with pytest.raises(Fault, match=words):
        compiled(twice, *PAIR)(
            Grid((1, 1, 1), (8, 1, 1)), [address(x), address(out), n], [x], [out])  # fmt: skip


def reversed_with(barrier):
    """A block that turns its numbers round by way of shared memory."""

    def turn(source, result, n):
        shared = cuda.shared.array(64, types.float32)
        i = cuda.threadIdx.x
        shared[i] = source[i]
        if barrier == "all" or (barrier == "some" and i < 32):
            cuda.syncthreads()
        result[i] = shared[n - 1 - i]

    if barrier == "none":

        def turn(source, result, n):
            shared = cuda.shared.array(64, types.float32)
            i = cuda.threadIdx.x
            shared[i] = source[i]
            result[i] = shared[n - 1 - i]

    return turn


def _turn(barrier, order=1):
    x, out = np.arange(64, dtype=np.float32), np.zeros(64, np.float32)
    kernel = compiled(reversed_with(barrier), *PAIR)
    kernel(Grid((1, 1, 1), (64, 1, 1)), [address(x), address(out), 64], [x], [out], order=order)
    return x, out


def test_threads_wait_for_one_another():
    for order in (1, -1):
        x, out = _turn("all", order)
        np.testing.assert_array_equal(out, x[::-1])


def test_a_barrier_that_some_threads_miss_is_caught():
    with pytest.raises(Fault, match="32 of 64 threads of a block wait at a barrier"):
        _turn("some")


def test_a_missing_barrier_shows():
    # Without a barrier each thread runs to its end before the next: what it reads is not there.
    x, out = _turn("none")
    assert not np.array_equal(out, x[::-1])


def test_wrong_arithmetic_shows():
    text = toolkit.ptx(double, PAIR, (9, 0))[0][0]
    assert "add.f32" in text or "add.rn.f32" in text
    x, out = np.arange(8, dtype=np.float32), np.zeros(8, np.float32)
    for good, bad in (("add.f32", "sub.f32"), ("add.rn.f32", "sub.rn.f32")):
        wrong = Kernel(text.replace(good, bad))
        wrong(Grid((1, 1, 1), (8, 1, 1)), [address(x), address(out), 8], [x], [out])
        if good in text:
            assert not np.array_equal(out, 2 * x)


@pytest.mark.parametrize(
    "body",
    ["shfl.sync.up.b32 %r1|%p1, %r2, 1, 0, -1;", "atom.global.add.u32 %r1, [%d1], 1;",
     "fma.rn.ftz.f32 %f1, %f1, %f1, %f1;", "ld.local.b32 %r1, [%d1];",
     "tex.1d.v4.f32.s32 %f1, %r1;"],
)  # fmt: skip
def test_what_it_does_not_know_is_an_error(body):
    with pytest.raises(Unsupported):
        Kernel(HEAD + body + "\nret;\n}\n")


def test_what_it_reads():
    entry = parse(HEAD + "L: @!%p1 bra L;\nret;\n}\n")
    assert (entry.name, entry.target, list(entry.parameters)) == ("k", "sm_90", ["a", "b", "n"])
    assert entry.body[-3:-1][0] == "L"
    assert entry.body[-2].guard == "%p1"
    assert entry.body[-2].negated


# --- what the tests of many problems stand on -----------------------------------------------------


def test_what_numba_is_spared_changes_no_kernel():
    executor = Executor()
    x = np.zeros((2, 7, 9), np.float32)
    call(npool.max_pool, executor, x, kernel_size=(3, 2), padding=1, return_indices=True)
    call(npool.avg_pool, executor, x, kernel_size=(70,), stride=(20,), padding=35, axes=2)
    call(npool.adaptive_avg_pool_backward, executor, x, input_shape=(2, 9, 9), axes=1,
         output_size=7)  # fmt: skip
    norms = npool.lp_pool(x, 3, (1, 2))
    call(npool.lp_pool_backward, executor, norms, x, norms, norm_type=3, kernel_size=(1, 2))
    call(npool.pool, executor, x.astype(np.float16), kernel_size=(2, 2), reduce="var")
    for step, _ in executor.reports:
        texts = []
        for quickly in (False, True):
            function, kinds = step.code.function((9, 0)), launching.signature(step.code)
            if quickly:
                with spared():
                    made = toolkit.ptx(function, kinds, (9, 0), (10, 0))
            else:
                made = toolkit.ptx(function, kinds, (9, 0), (10, 0))
            # A kernel's name has a number that counts what Numba compiled before.
            texts.append([text.replace(name, "kernel") for text, name in made])
        plain, quick = ([re.sub(r"\b_ZN\w+", "part", t) for t in both] for both in texts)
        assert plain == quick


def test_a_kernel_that_is_run_too_seldom_is_missed():
    cuda_counts.forget()
    with pytest.raises(AssertionError, match=r"written out: max: 0 problems for \(9, 0\)"):
        cuda_counts.check("test_folds", "3x3s2x2d1x1-C")
    cuda_counts.check("test_floats", "")
