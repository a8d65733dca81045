"""Gates on the machine code: what ptxas makes of every kernel, for three architectures.

Static, and no GPU: registers, spills, float64, divisions, widths of loads, instructions a byte.
"""

import json
from dataclasses import dataclass

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs numba-cuda: pip install npool[cuda]")

from cli_process import run
from quick_numba import spared

from npool.bins import make_bins_plan, make_drawn_plan
from npool.cuda import inspect, report, toolkit
from npool.cuda.anywhere import anywhere_program
from npool.cuda.backward import gather_program
from npool.cuda.drawn import drawn_program
from npool.cuda.inspect import examine, read_sass
from npool.cuda.launching import signature
from npool.cuda.program import program
from npool.cuda.takes import take_program
from npool.geometry import make_plan
from npool.operation import bins_operation, operation, planned_operation
from npool.reducers import lp

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(inspect._cuobjdump() is None, reason="cuobjdump is not installed"),
]
ARCHITECTURES = report.ARCHITECTURES


@pytest.fixture(autouse=True)
def quick():
    """Kernels are compiled as quickly as for the other tests."""
    with spared():
        yield


@dataclass(frozen=True)
class Gate:
    """What a kernel may need: registers of a thread, and instructions a byte of the floor.

    `wide` is the width, in bytes, of the loads of its interior; `double` says that it computes in
    float64 by the meaning of its reducer or its type, `divides` that it divides by it.
    """

    name: str
    shape: tuple
    kernel: tuple
    arguments: dict
    reduce: object = "max"
    dtype: str = "float32"
    registers: int = 64
    budget: float | None = 4.0
    wide: int | None = None
    double: bool = False
    divides: bool = False
    count: int = 1


NCHW, NHWC = (8, 64, 112, 112), (8, 112, 112, 64)
HEADLINE = [
    Gate("max 3x3/2 p1", NCHW, (3, 3), {"stride": 2, "padding": 1}, budget=2),
    Gate("max 2x2/2", NCHW, (2, 2), {}, budget=2, wide=16),
    Gate(
        "max 3x3/2, channels last", NHWC, (3, 3), {"stride": 2, "axes": (1, 2)}, budget=2, wide=16
    ),
]
FOLDS = [
    *HEADLINE,
    Gate("min 3x3/2 p1", NCHW, (3, 3), {"stride": 2, "padding": 1}, "min", budget=2),
    Gate("avg 3x3/2 p1", NCHW, (3, 3), {"stride": 2, "padding": 1}, "avg", budget=2, registers=72),
    Gate("avg 2x2/2", NCHW, (2, 2), {}, "avg", budget=2, wide=16),
    Gate("sum 3x3/1 p1", NCHW, (3, 3), {"stride": 1, "padding": 1}, "sum", registers=72),
    Gate("max 3x3/1 p1", NCHW, (3, 3), {"stride": 1, "padding": 1}, registers=72),
    Gate("lp2 2x2/2", NCHW, (2, 2), {}, "lp", budget=None, divides=True,
        registers=72),
    Gate("lp1 2x2/2", NCHW, (2, 2), {}, lp(1), wide=16),
    Gate("max 3x3/2 with positions", NCHW, (3, 3), {"stride": 2, "return_indices": True}),
    Gate("max 2x2/2 with positions", NCHW, (2, 2), {"return_indices": True}),
    Gate("max 3x3/2 of float16", NCHW, (3, 3), {"stride": 2}, dtype="float16"),
    Gate("max 3x3/2 of float16 pairs", NHWC, (3, 3), {"stride": 2, "axes": (1, 2)}, dtype="float16",
         budget=2, wide=16),
    Gate("avg 3x3/2 of bfloat16", NHWC, (3, 3), {"stride": 2, "axes": (1, 2)}, "avg", "bfloat16",
         budget=6, registers=96),
    Gate("max 2x2/2 of uint8", NCHW, (2, 2), {}, dtype="uint8", budget=8),
    Gate("max 2x2/2 of float64", NCHW, (2, 2), {}, dtype="float64", double=True, wide=16),
    Gate("max 5/2, 1-D", (64, 4096), (5,), {"stride": 2, "padding": 2}, budget=4),
    Gate("avg 3x3x3/2 p1", (2, 16, 32, 32, 32), (3, 3, 3), {"stride": 2, "padding": 1}, "avg",
         budget=None, registers=96, divides=True),
    Gate("max 2x2x2/2", (2, 16, 32, 32, 32), (2, 2, 2), {}, budget=None),
    Gate("max 7x7/1 p3, separable", (2, 8, 56, 56), (7, 7), {"stride": 1, "padding": 3}, count=1,
         budget=None, registers=96),
    Gate("avg of a plane", (32, 64, 56, 56), (56, 56), {}, "avg", count=5, budget=None,
         registers=128),
    Gate("max 65/1, built from 8 and 64", (64, 4096), (65,), {"stride": 1, "padding": 32}, count=5,
         budget=None, registers=96),
    Gate("max 100/90, walked", (64, 4096), (100,), {"stride": 90}, count=2, budget=None,
         registers=128),
    Gate("complex avg 3x3/2 p1 of real elements", NCHW, (3, 3),
         {"stride": 2, "padding": 1, "dtype": "complex64"}, "avg", budget=2, registers=96),
    Gate("var 3x3/2", NCHW, (3, 3), {"stride": 2}, "var", budget=None, registers=255, double=True,
         divides=True),
]  # fmt: skip


def dtype_of(name):
    if name == "bfloat16":
        return np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    return np.dtype(name)


def made(gate):
    """The steps of a gate's call, and its floor of bytes a result."""
    names = {"stride": None, "padding": 0, "dilation": 1, "ceil_mode": False, "axes": None,
                 "reduce": gate.reduce,
                 "dtype": None, "count_include_pad": None, "divisor_override": None,
                 "rounding": "half_even",
                 "return_indices": False, "index_dtype": np.int64}  # fmt: skip
    dtype = dtype_of(gate.dtype)
    seen = report._Seen(gate.shape, report._contiguous(gate.shape, dtype.itemsize), dtype)
    asked = operation(seen, gate.kernel, *{**names, **gate.arguments}.values())
    outs = report._contiguous(asked.plan.out_shape, asked.types.result.itemsize)
    results = np.prod(asked.plan.out_shape)
    written = asked.types.result.itemsize + (asked.index.itemsize if asked.index else 0)
    floor = np.prod(gate.shape) * dtype.itemsize / results + written
    return program(asked, dtype, seen.strides, outs), float(floor)


def assert_held(found, gate, interiors=True):
    """What every row must keep."""
    for row in found:
        where = f"{gate.name}: {row.kernel}, {row.architecture}"
        assert (row.spills, row.stack) == (0, 0), f"{where} spills"
        assert row.registers <= gate.registers, f"{where} takes {row.registers} registers"
        assert gate.double or row.double == 0, f"{where} has {row.double} of float64"
        if row.instructions is None or not interiors:
            continue
        assert gate.divides or row.calls == 0, f"{where} divides or calls {row.calls} times"
        if gate.budget:
            assert row.per_byte <= gate.budget, f"{where} takes {row.per_byte:.2f} a byte"
        if gate.wide:
            assert set(row.loads) == {gate.wide}, f"{where} loads {row.loads}"


@pytest.mark.parametrize("gate", FOLDS, ids=lambda g: g.name)
def test_folds(gate):
    steps, floor = made(gate)
    assert len(steps.steps) == gate.count
    found = report.rows(steps, floor, ARCHITECTURES)
    assert {row.architecture for row in found} == {"sm_80", "sm_90", "sm_100"}
    assert_held(found, gate)


GRADIENTS = [
    Gate("sum 3x3/2 p1", NCHW, (3, 3), {"stride": 2, "padding": 1}, "sum", budget=4),
    Gate("average 3x3/2 p1", NCHW, (3, 3), {"stride": 2, "padding": 1}, "average", budget=8,
         registers=96),
    Gate("average 2x2/2", NCHW, (2, 2), {}, "average", budget=4),
    Gate("add 3x3/2 p1", NCHW, (3, 3), {"stride": 2, "padding": 1}, "add", budget=4, registers=96),
    Gate("add 2x2/2", NCHW, (2, 2), {}, "add", budget=4, registers=72),
    Gate("add 3x3/2, channels last", NHWC, (3, 3), {"stride": 2, "axes": (1, 2)}, "add", budget=4,
         registers=128),
    Gate("add 3x3x3/2", (2, 16, 32, 32, 32), (3, 3, 3), {"stride": 2}, "add", budget=None,
         registers=96),
    Gate("add 13x13/1 p6", (2, 8, 32, 32), (13, 13), {"stride": 1, "padding": 6}, "add",
         budget=None,
         registers=96),
    Gate("last 2x2/2", NCHW, (2, 2), {}, "last", budget=4, registers=72),
]  # fmt: skip


@pytest.mark.parametrize("gate", GRADIENTS, ids=lambda g: g.name)
def test_gradients(gate):
    plan = make_plan(gate.shape, gate.kernel, **gate.arguments)
    size = 4
    picking = gate.reduce in ("add", "last")
    steps = gather_program(
        gate.reduce, plan, np.dtype("float32"), tuple(range(len(gate.shape))),
        report._contiguous(plan.out_shape, size), report._contiguous(plan.shape, size),
        index=np.dtype("int64") if picking else None,
        include_pad=True if gate.reduce == "average" else None,
    )  # fmt: skip
    share = np.prod(plan.out_shape) / np.prod(plan.shape)
    floor = size + (size + 8 * picking) * float(share)
    assert_held(report.rows(steps, floor, ARCHITECTURES), gate)


#: p, whether all arrays lie alike, and the most registers.
NORMS = [(1, True, 64), (2, True, 80), (3, True, 96), (2, False, 128), (3, False, 128)]


@pytest.mark.parametrize(("norm", "alike", "registers"), NORMS)
def test_gradients_of_norms(norm, alike, registers):
    plan = make_plan(NCHW, (3, 3), 2, 1)
    out, own = (report._contiguous(shape, 4) for shape in (plan.out_shape, plan.shape))
    steps = gather_program(
        "norm", plan, np.dtype("float32"), (0, 1, 2, 3), out if alike else (0, 0, 0, 0), own,
        norm=norm, apart=report._contiguous(plan.out_shape, 1),
        beside=report._contiguous(plan.shape, 1 if alike else 2),
    )  # fmt: skip
    form = steps.steps[0].code.form
    assert (form.beside, form.apart) == (not alike, not alike)
    # Read: elements, gradients and norms; written: a gradient for each element. 3x3/2 shares a
    # window's division among four elements, and powers are many instructions each.
    floor = 8 + (8 if norm > 1 else 4) / 4
    gate = Gate(f"norm {norm}", (), (), {}, registers=registers, divides=norm > 1,
                budget={1: 4, 2: 12}.get(norm))  # fmt: skip
    assert_held(report.rows(steps, floor, ARCHITECTURES), gate)


@pytest.mark.parametrize("axes", [(2, 3), (3, 1, 2)])
def test_gradients_added_anywhere(axes):
    shape = (4, 8, 30, 30)
    result = tuple(12 if a in axes else n for a, n in enumerate(shape))
    strides = tuple(report._contiguous(s, 1) for s in (result, result, shape))
    made = anywhere_program(np.dtype("float32"), shape, axes, result, (0, 1, 2, 3), strides,
                            np.dtype("int64"))  # fmt: skip
    assert len(made.steps) == 2 * len(axes) + 1
    # Positions are taken apart by a division, each once.
    gate = Gate("anywhere", (), (), {}, registers=128, budget=None, divides=True)
    assert_held(report.rows(made, 20.0, ARCHITECTURES), gate)


def test_adaptive_bins():
    seen = report._Seen((4, 8, 30, 30), report._contiguous((4, 8, 30, 30), 4), np.dtype("float32"))
    asked = bins_operation(seen, (7, 7), None, "avg", None, "half_even", False, np.int64)
    outs = report._contiguous(asked.plan.out_shape, 4)
    gate = Gate("adaptive avg", (), (), {}, registers=128, budget=None)
    assert_held(
        report.rows(program(asked, seen.dtype, seen.strides, outs), 8.0, ARCHITECTURES), gate
    )
    plan = make_bins_plan((4, 8, 30, 30), (7, 7), None)
    steps = gather_program("average", plan, np.dtype("float32"), (0, 1, 2, 3), outs, seen.strides,
                           include_pad=False)  # fmt: skip
    assert_held(report.rows(steps, 8.0, ARCHITECTURES), gate, interiors=False)


@pytest.mark.parametrize("positions", [False, True])
def test_windows_drawn(positions):
    shape = (4, 8, 30, 30)
    seen = report._Seen(shape, report._contiguous(shape, 4), np.dtype("float32"))
    plan = make_drawn_plan(shape, (2, 2), (12, 12), None, None)
    asked = planned_operation(seen, plan, "max", None, "half_even", positions, np.int64)
    outs = report._contiguous(plan.out_shape, 4)
    made = drawn_program(asked, seen.dtype, seen.strides, outs, np.dtype("float32"), (16, 2, 1))
    gate = Gate("fractional max", (), (), {}, registers=64, budget=None)
    found = report.rows(made, 20.0, ARCHITECTURES)
    assert len(found) == 3
    assert_held(found, gate)
    assert all(row.instructions for row in found)


@pytest.mark.parametrize("axes", [(1, 2), (2, 1)])
def test_elements_at_positions(axes):
    # In memory's order positions are steps; in another they are taken apart by a division.
    shape, result = (8, 30, 30), (8, 12, 12)
    strides = ((900, 30, 1), (144, 12, 1), (144, 12, 1))
    made = take_program(np.dtype("float32"), shape, axes, result, (0, 1, 2), strides,
                        np.dtype("int64"))  # fmt: skip
    gate = Gate("take", (), (), {}, registers=64, budget=None, divides=axes == (2, 1))
    assert_held(report.rows(made, 20.0, ARCHITECTURES), gate)


def test_a_leak_of_float64_is_seen():
    from numba import cuda
    from numba.cuda import types

    def leaky(source, result, n):
        i = cuda.grid(1)
        if i < n:
            total = 0.0
            for j in range(4):
                total += source[4 * i + j]
            result[i] = total

    kinds = (types.CPointer(types.float32), types.CPointer(types.float32), types.int32)
    ((text, _),) = toolkit.ptx(leaky, kinds, (9, 0))
    assert examine(text, (9, 0)).double > 4


def test_the_listing_is_read_as_it_is_written():
    sass = read_sass(
        """
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/                   LDG.E.128 R4, desc[UR4][R2.64] ;
        /*0020*/                   LDG.E.U8 R8, desc[UR4][R2.64] ;
        /*0030*/              @!P0 STL [R1], R8 ;
        /*0040*/                   DADD R4, R4, R6 ;
        /*0050*/                   STG.E.64 desc[UR4][R2.64], R4 ;
        /*0060*/               @P0 BRA 0x10 ;
        /*0070*/                   EXIT ;
        /*0080*/                   BRA 0x80;
        """,
        "Function k:\n REG:17 STACK:8 SHARED:0",
    )
    assert (sass.registers, sass.stack, sass.spilled, sass.double) == (17, 8, 1, 1)
    (loop,) = sass.loops
    assert (loop.instructions, loop.loads, loop.stores) == (6, {16: 1, 1: 1}, {8: 1})
    assert sass.interior.stored == 8


def test_the_command_shows_a_table():
    arguments = ["cuda-report", "--shape", "8x64x112x112", "-k", "3x3", "-s", "2", "-p", "1"]
    status, out, err = run(*arguments, "--arch", "sm_90", "--json")
    assert status == 0, err
    found = json.loads(out)
    (row,) = found["kernels"]
    assert (row["architecture"], row["spills"], row["bound"]) == ("sm_90", 0, "memory")
    assert row["bytes"] == 20.0
    assert row["per_byte"] == pytest.approx(row["instructions"] / 20)
    assert row["per_byte"] <= 2
    assert "No GPU was asked" in found["note"]
    assert "taps 3x3, 2 rows" in run(*arguments, "--arch", "sm_90")[1]
    status, _, err = run(*arguments, "--arch", "sm_1")
    assert status == 2
    assert "--arch 'sm_1' is not known" in err


def test_signatures_name_pointers_and_numbers():
    steps, _ = made(HEADLINE[0])
    code = steps.steps[0].code
    assert len(signature(code)) == len(code.pointers) + len(code.numbers)
