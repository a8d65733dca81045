"""`npool.warmup`: what it makes ready, that nothing compiles afterwards, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from fresh_process import check_runs

import npool
from npool import warming
from npool.cpu import engine
from npool.geometry import make_plan
from npool.gradients.taps import pool_with_taps, taps_backward
from npool.layout import empty_like_order
from npool.operation import Operation

#: Seconds that a process may take on a machine that does other things too: it compiles much.
PATIENT = {"timeout": 600}
#: Calls of every kind that `warmup` promises: each driver, layout and rank, on several threads.
CALLS = """
import sys
import numpy as np
import npool
import npool.functional as F
from numba.core import event

def calls():
    npool.set_num_threads(2)
    for dtype in (np.float32, ">f4"):
        x = np.arange(2 * 3 * 40 * 48, dtype=dtype).reshape(2, 3, 40, 48)
        views = (x, x[..., ::2], x[..., ::-1], x.T, np.asfortranarray(x), x[:, :, 1:7, 2:9],
                 np.broadcast_to(x[..., :1], x.shape), np.moveaxis(x, 1, -1))
        for view in views:
            for kernel, stride, padding in (
                (2, 2, 0), (3, 1, 1), (3, 2, 1), (5, 1, 2), ((2, 2), 2, 0), ((3, 3), 1, 1),
                ((3, 3), 2, "same"), ((5, 5), 1, 2),
                (view.shape[-2:], None, 0), ((23, 17), 3, 40),
            ):
                if isinstance(kernel, int):
                    kernel = (kernel,)
                # Windows that slide along other rows than those have loops of their own.
                known = view.flags.c_contiguous or max(kernel) > 9
                if not known:
                    kernel = (1,) * (len(kernel) - 1) + (11,)
                if any(k > n for k, n in zip(kernel, view.shape[-len(kernel):])):
                    if padding == 0 or not known:
                        continue
                window = kernel, stride, padding
                npool.max_pool(view, *window, ceil_mode=True)
                npool.max_pool(view, *window, return_indices=True)
    F.max_pool2d(np.zeros((1, 2, 9, 9), np.float32), 3, 2, 1, return_indices=True)
    big = np.zeros((1, 8, 1024, 1024), np.float32)
    npool.max_pool(big, (2, 2))
    npool.max_pool(big, (3, 3), 1, 1)
    npool.max_pool(big[..., ::5], (3, 3), 1, 1)

def compiled(action):
    with event.install_recorder("numba:compile") as seen:
        result = action()
    return result, len(seen.buffer)
"""
COUNTED = (
    CALLS
    + """
ready, events = compiled(lambda: npool.warmup("float32", (1, 2), reduce="max", return_indices=True))
_, later = compiled(calls)
again = npool.warmup(["float32"], 2, reduce=["max"], return_indices=True)
other, others = compiled(lambda: npool.warmup("float64", reduce="max"))
print(ready, events > 0, later, again, other > 0, others > 0)
"""
)


@pytest.mark.slow
def test_nothing_compiles_after_it_nor_in_the_next_process(tmp_path):
    first = check_runs(COUNTED, NPOOL_CACHE_DIR=str(tmp_path), **PATIENT).split()
    assert int(first[0]) >= 6 + 12 + 1 + 10, "drivers, loops, gather, loops for positions"
    assert first[1:] == ["True", "0", "0", "True", "True"]
    second = check_runs(COUNTED, NPOOL_CACHE_DIR=str(tmp_path), **PATIENT).split()
    assert second == [first[0], "False", "0", "0", "True", "False"]


@pytest.mark.slow
def test_without_it_those_calls_compile(tmp_path):
    # The counterpart: what the test above counts does happen.
    code = CALLS + "print(compiled(lambda: npool.max_pool(np.zeros(4, np.float32), 2, axes=0)))"
    assert not check_runs(code, NPOOL_CACHE_DIR=str(tmp_path), **PATIENT).rstrip().endswith(" 0)")


GRADIENTS = """
def pooled():
    npool.set_num_threads(2)
    for shape in ((1, 2, 40, 48), (64, 64, 7, 7), (3, 9, 60, 61), (2, 64, 100, 90)):
        x = np.ones(shape, np.float32)
        last = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
        for x in (x, np.asfortranarray(x), last):
            for kernel, stride, padding in ((2, 2, 0), (3, 1, 1), (3, 2, 1), (7, 7, 0), (7, 1, 3)):
                if stride == 1 and not x.flags.c_contiguous:
                    continue  # sums that slide along other rows have loops of their own
                window = (kernel, kernel), stride, padding
                yield x, window, *npool.max_pool(x, *window, return_indices=True)

def gradients():
    for x, window, y, i in given:
        npool.max_pool_backward(y, i, x.shape, *window)
        npool.take_pooled(x, i.astype(np.int32), axes=(2, 3))
        npool.avg_pool_backward(y, x.shape, *window)
        npool.avg_pool_backward(np.broadcast_to(y[:, :1], y.shape), x.shape, *window)
        npool.sum_pool_backward(y, x.shape, *window)
        for size in ((1, 1), (3, 2), (7, 5)):
            z = np.ones((*x.shape[:2], *size), np.float32)
            npool.adaptive_avg_pool_backward(z, x.shape, size)
    big = np.ones((1, 4, 1024, 1024), np.float32)
    npool.avg_pool_backward(np.ones((1, 4, 512, 512), np.float32), big.shape, (2, 2))
    big = big[..., :256]
    npool.avg_pool_backward(np.ones((1, 4, 1017, 118), np.float32), big.shape, (8, 22), (1, 2))

npool.warmup(
    "float32", (1, 2), reduce=("max", "avg", "sum"), return_indices=True, gradients=True
)
given = list(pooled())
_, later = compiled(gradients)
print(later)
"""


@pytest.mark.slow
def test_gradients_compile_nothing_after_it(tmp_path):
    assert check_runs(CALLS + GRADIENTS, NPOOL_CACHE_DIR=str(tmp_path), **PATIENT) == "0\n"


def test_gradients_are_of_those_that_have_them():
    def labels(reduce, dtype):
        found = warming.steps(dtype, 1, reduce, False, True)
        labels = [step.label for step in found if step.label.startswith("gradient")]
        return [label for label in labels if "taps" not in label]

    assert len(labels("max", "int8")) == 6
    assert labels("avg", "int8") == labels("range", "float32") == labels("max", "bool") == []
    assert labels("avg", "float16")[-1] == "gradient of avg of float16, bins"


def test_differentiated_tensors_compile_nothing_after_it():
    pytest.importorskip("torch")
    for step in warming.steps("float32", 1, "max", False, True):
        if "taps" in step.label:
            step.run()
    before, _ = warming.kernels()
    for shape, order, window in (
        ((3, 200), (0, 1), (3,)),
        ((3, 40, 9, 9), (0, 2, 3, 1), (3, 3)),
        ((4, 5, 11, 11), (0, 1, 2, 3), (3, 3)),
    ):
        x = empty_like_order(shape, order, np.dtype(np.float32))
        x[...] = 0
        for stride in (1, 2):
            plan = make_plan(shape, window, stride)
            made = pool_with_taps(x, plan)
            assert made is not None
            taps_backward(*made, plan, order)
    assert warming.kernels()[0] == before


def test_without_a_compiler_there_is_nothing_to_make_ready():
    code = "import npool; print(npool.warmup(reduce='sum'))"
    assert check_runs(code, NUMBA_DISABLE_JIT="1") == "0\n"


#: Calls for a reducer, a dtype and a rank: of values, and as many more with positions.
PLAIN, PLACED = 16, 18


@pytest.mark.parametrize("rank", range(1, warming.MOST_RANKS + 1))
@pytest.mark.parametrize("placed", [False, True])
def test_its_calls_reach_every_driver(rank, placed):
    found = []
    for step in warming.steps("float32", rank, "max", placed):
        step.run()
        x, op = step.x, step.operation
        out = empty_like_order(op.plan.out_shape, op.order, op.types.result)
        laid = engine._prepared(op, x.strides, out.strides, x.dtype, out.dtype).laid
        found.append((laid.driver, laid.loop, laid.strided))
    small = [("pooled", loop, False) for loop in ("pooled", "direct", "wide_pooled", "wide_direct")]
    gathered, bins = ("tiles", "", True), ("bins", "", False)
    many, tall = ("strips", "", False), ("van_herk", "1_long", False)
    long = ("strips", "11_long", False)
    deep = min(rank, 3) - 1
    common = [
        f"{k**deep}_{k}_{s}" if k**deep <= 9 else ""
        for k, s in ((2, 2), (3, 2), (3, 1), (5, 1), (7, 1))
    ]

    def without(part):
        """What of `part` is not of common windows, which slide in registers if they are small."""
        at = 10
        for (driver, loop, _), name in zip(part[at : at + len(common)], common, strict=True):
            assert not name or (driver == "pooled" and name in loop and loop.endswith("_slid"))
        return part[:at] + part[at + len(common) :]

    assert without(found[:PLAIN] if placed else found) == [
        ("planes", "", False), *small, many, long, tall, ("wholes", "", False), gathered, bins
    ]  # fmt: skip
    if placed:
        # Positions are not for "planes" and "wholes", nor for rows where they lie.
        small = [("pooled", f"{wide}ordered_pooled", False) for wide in ("", "wide_")]
        first, *rest = without(found[PLAIN:])
        assert first[0] != "planes"
        tall, gathering = ("van_herk", "", False), ("tiles", "", False)
        assert rest == [
            small[0], small[0], small[1], small[1], many, many, tall, gathering, gathered,
            ("pooled", "pooled", False), ("pooled", "wide_pooled", False), bins
        ]  # fmt: skip
    assert len(found) == (PLAIN + PLACED if placed else PLAIN)


@pytest.mark.parametrize("name", npool.REDUCERS)
def test_every_reducer_and_dtype_can_be_asked_for(name):
    from npool.testing import OPERATIONS

    ml_dtypes = pytest.importorskip("ml_dtypes")
    types = [
        ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype for dtype in OPERATIONS[name].dtypes
    ]
    found = warming.steps(types, (1, 2), name, False)
    assert len(found) == PLAIN * 2 * len(types)
    assert len({step.label for step in found}) == PLAIN * len(types)


def test_reducers_of_ones_own_and_sequences_of_all_kinds():
    mine = npool.Reducer("mine", lambda a, b: a + b, 0)
    found = warming.steps({np.float32}, range(1, 3), (mine, "max"), False)
    wanted = ["mine"] * 2 * PLAIN + ["max"] * 2 * PLAIN
    assert [step.operation.types.reducer.name for step in found] == wanted


def test_positions_are_for_those_that_have_them():
    found = warming.steps("int8", 2, ("avg", "max"), True)
    wanted = [False] * 2 * PLAIN + [True] * PLACED
    assert [step.operation.index is not None for step in found] == wanted


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"dtypes": "float33"}, TypeError, "'float33' is not a dtype"),
        ({"dtypes": None}, TypeError, "dtypes=None is not a dtype"),
        ({"dtypes": ["float32", "U3"]}, TypeError, "not supported: use one of"),
        ({"dtypes": ["float32", object]}, TypeError, "not supported: use one of"),
        ({"dtypes": ()}, ValueError, "dtypes is empty: name at least one"),
        ({"dtypes": "complex64"}, TypeError, "'max' of complex64 is not defined"),
        ({"ranks": 0}, ValueError, "ranks must lie in 1 to 8, got 0"),
        ({"ranks": (1, 9)}, ValueError, "ranks must lie in 1 to 8, got 9"),
        ({"ranks": 2.0}, TypeError, "ranks must be an integer"),
        ({"ranks": True}, TypeError, "ranks must be an integer"),
        ({"ranks": []}, ValueError, "ranks is empty"),
        ({"reduce": "maximum"}, ValueError, "'maximum' is not known: use one of max"),
        ({"reduce": ["max", 3]}, TypeError, "reduce must be a name or an npool.Reducer, got 3"),
        ({"reduce": ()}, ValueError, "reduce is empty"),
        ({"gradients": "yes"}, TypeError, "gradients must be True or False"),
        ({"return_indices": 1}, TypeError, "return_indices must be True or False"),
        ({"reduce": ("avg", "sum"), "return_indices": True}, ValueError, "use 'max' or 'min'"),
    ],
)
def test_what_it_refuses_before_anything_is_compiled(arguments, error, words, monkeypatch):
    monkeypatch.setattr(Operation, "apply", lambda *_: pytest.fail("something was run"))
    with pytest.raises(error) as caught:
        npool.warmup(**arguments)
    assert words in str(caught.value)
