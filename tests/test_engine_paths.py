"""Every way through the CPU engine, by a geometry that is shown to take it.

The reference is NumPy, one axis and one tap at a time; the data are whole numbers, so that sums
are exact in any order, but where rounding itself is the matter.
"""

import math
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import pytest
from numba.core import config

import npool
import npool.operation as operations
from npool.cpu import binding, engine, tiling
from npool.cpu import schedule as laying
from npool.cpu.compiling import forms
from npool.cpu.schedule import CHUNK, CONSTANTS
from npool.layout import empty_like_order
from npool.operation import operation

MODES = ("PLAIN", "FUSED", "ROWS", "FLAT", "SEGMENT")


@dataclass
class Case:
    """A geometry, and what the engine is expected to make of it."""

    shape: tuple[int, ...]
    kernel: int | tuple[int, ...]
    stride: int | tuple[int, ...] | None = None
    padding: object = 0
    dilation: int | tuple[int, ...] = 1
    ceil_mode: bool = False
    axes: tuple[int, ...] | None = None
    #: Axes in memory, slowest first.
    order: tuple[int, ...] | None = None
    #: Slices by which the array is cut out of a larger one.
    cut: tuple[slice, ...] | None = None
    #: The mode of the row, and modes that other dimensions have.
    row: str = "FLAT"
    outer: frozenset[str] = field(default_factory=frozenset)
    inner: int = 1
    strided: bool = False
    #: Dimensions that must be cut into several tiles.
    tiled: int = 0
    several_chunks: bool = False
    #: Which of `npool.cpu.planes`, `npool.cpu.wholes` and `npool.cpu.wide` can serve it.
    planes: bool = False
    wholes: bool = False
    wide: bool = False
    #: Whether `npool.cpu.van_herk` serves it.
    tall: bool = False
    #: Whether an unpooled axis becomes part of a pooled one.
    joined: bool = False
    #: Whether channels are whole vectors, a row of their own where windows slide.
    vectors: bool = False

    @property
    def arguments(self):
        return self.kernel, self.stride, self.padding, self.dilation, self.ceil_mode

    def array(self, values):
        """`values` (of `shape`) laid out as the case says."""
        if self.order is not None:
            back = np.argsort(self.order)
            return np.ascontiguousarray(values.transpose(self.order)).transpose(back)
        if self.cut is None:
            return values.copy()
        large = np.zeros(
            [n * abs(s.step or 1) for n, s in zip(values.shape, self.cut, strict=True)],
            values.dtype,
        )
        view = large[self.cut]
        view[...] = values
        return view


def case(*args, outer=(), **kwargs):
    return Case(*args, outer=frozenset(outer), **kwargs)


#: Elements of a vector of float32, where windows slide in registers.
LANES = forms.VECTOR // 4 if forms else 0
EVERY, BACK, THIRD = slice(None), slice(None, None, -1), slice(None, None, 3)

CASES = {
    # one axis, in the row
    "row of small windows": case((9, 300), (3,), 1, 1, outer={"PLAIN"}),
    "row of pairs": case((9, 301), (2,), 2, outer={"PLAIN"}),
    "row where it lies": case((3, 70_003), (5,), 1),
    "row of threes where it lies": case((3, 5003), (3,), 1),
    "row split where it lies": case((2, 5003), (6,), 3),
    "row of three split where it lies": case((7, 1203), (3,), 3, joined=False),
    "row of fours in pieces": case((3, 7013), (4,), 4, joined=False),
    "row with gaps": case((4, 500), (2,), 5, 1),
    "row of wide windows": case((3, 700), (45,), 1, 22),
    "row of wide steps": case((3, 700), (45,), 15, 22),
    "row dilated": case((3, 400), (5,), 2, 9, 7),
    "row of segments": case((5, 1000), (64,), 64, row="SEGMENT", wholes=True),
    "row of overlapping segments": case((5, 1000), (100,), 60, 33, row="SEGMENT"),
    "row of clipped segments": case((2, 1000), (130,), 100, ((120, 129),), 1, True, row="SEGMENT"),
    "row of segments and gaps": case((3, 1000), (17,), 40, 16, row="SEGMENT"),
    "row of long segments": case((2, 9000), (3000,), 2900, 1400, row="SEGMENT"),
    "row of 9,500": case((2, 9500), (9500,), row="SEGMENT", several_chunks=True),
    "row and nothing else": case((1000,), (7,), 3, 3),
    "row in many tiles": case((200_003,), (9,), 1, 4, tiled=1),
    "row in many tiles of wide windows": case((300_007,), (2000,), 300, 999, tiled=1),
    "row of segments in many tiles": case(
        (1_000_037,), (20,), 20, row="SEGMENT", tiled=1, wholes=True
    ),
    # one axis, not in the row
    "column of small windows": case((300, 40), 3, 2, 1, axes=(0,), row="PLAIN", outer={"FUSED"}),
    "column of gaps": case((301, 400), 2, 5, 1, axes=(0,), row="PLAIN", outer={"FUSED"}),
    "column of wide windows": case((700, 41), 45, 1, 22, axes=(0,), row="PLAIN", outer={"FLAT"}),
    "column of wide windows, long rows": case(
        (200, 301), 45, 1, 22, axes=(0,), row="PLAIN", outer={"FLAT"}, tall=True
    ),
    "column of wide steps": case((700, 50), 19, 2, 9, axes=(0,), row="PLAIN", outer={"FLAT"}),
    "column of 100 rows": case(
        (700, 50), 100, 60, 33, axes=(0,), row="PLAIN", outer={"FUSED"}, several_chunks=True
    ),
    "column dilated": case((400, 50), 4, 2, 9, 7, axes=(0,), row="PLAIN", outer={"FUSED"}),
    "column dilated and wide": case((300, 50), 20, 1, 9, 5, axes=(0,), row="PLAIN", outer={"FLAT"}),
    "columns in many tiles": case(
        (3000, 333), 2, 2, 1, axes=(0,), row="PLAIN", outer={"FUSED"}, tiled=1
    ),
    "wide columns in many tiles": case(
        (1501, 703), 31, 1, 15, axes=(0,), row="PLAIN", outer={"FLAT"}, tall=True, tiled=1
    ),
    # planes
    "2 by 2": case((3, 60, 80), (2, 2), outer={"FUSED"}),
    "3 by 3": case((3, 61, 83), (3, 3), 1, 1, outer={"FUSED"}),
    "3 by 3, stride 2": case((3, 61, 83), (3, 3), 2, 1, 1, True, outer={"FUSED"}),
    "5 by 7": case((2, 90, 110), (5, 7), 1, ((2, 1), (0, 6)), outer={"FUSED"}),
    "11 by 7": case((2, 90, 150), (11, 7), 1, ((2, 1), (0, 6)), outer={"FLAT"}, tall=True),
    "31 by 31": case((120, 150), (31, 31), 1, 15, outer={"FLAT"}, tall=True),
    "31 by 5, two rows apart": case((120, 150), (31, 5), (2, 1), outer={"FLAT"}),
    "20 by 3 of 12 rows": case((3, 12, 160), (20, 3), 1, (10, 1), outer={"FLAT"}, tall=True),
    "11 by 2, padded but at the end": case(
        (2, 40, 150), (11, 2), (1, 2), ((10, 0), (1, 0)), outer={"FLAT"}, tall=True
    ),
    "9 by 3 by 3 at outer steps": case((5, 60, 61), (2, 9, 3), (2, 1, 1), outer={"FLAT", "FUSED"}),
    "16 by 16 blocks": case((3, 160, 160), (16, 16), row="SEGMENT", outer={"FUSED"}),
    "16 by 64 blocks": case((163, 1300), (16, 64), row="SEGMENT", outer={"FUSED"}),
    "40 by 300 blocks": case(
        (163, 1300), (40, 300), row="SEGMENT", outer={"FUSED"}, several_chunks=True
    ),
    "short rows": case((50, 20, 20), (3, 3), 1, 1, outer={"FLAT"}, planes=True),
    "short rows, stride 2": case((50, 21, 21), (3, 3), 2, 1, outer={"FUSED"}),
    "rows of one": case((30, 40, 1), (3, 1), 2, 1, outer={"FUSED"}),
    "planes in many tiles": case((700, 2100), (3, 3), 1, 1, outer={"FUSED"}, tiled=1),
    "wide planes in many tiles": case(
        (607, 1301), (41, 37), 1, (20, 18), outer={"FLAT"}, tall=True, tiled=2
    ),
    # volumes
    "2 by 2 by 2": case((30, 31, 32), (2, 2, 2), outer={"FUSED"}),
    "2 by 2 by 2 of long rows": case((6, 7, 131), (2, 2, 2), outer={"FUSED"}),
    "four axes of two": case((3, 4, 4, 5, 80), (2, 2, 2, 2), outer={"FUSED"}),
    "rows folded one by one": case((50, 46, 60), (6, 6, 2), 2, 2, outer={"FUSED", "ROWS"}),
    "wide rows folded one by one": case(
        (90, 130, 50), (9, 90, 1), (3, 30, 1), (4, 40, 0), row="PLAIN", outer={"FUSED", "ROWS"}
    ),
    "rows folded, then flat": case(
        (12, 17, 18, 60), (3, 9, 7, 3), (1, 1, 2, 1), 2, outer={"FUSED", "FLAT", "ROWS"}
    ),
    "volumes flat": case((40, 41, 42), (7, 7, 7), 1, 3, outer={"FLAT"}),
    "64 rows at a time": case((64, 64, 30), (8, 8, 3), outer={"FUSED"}, several_chunks=True),
    "a whole volume": case((9, 10, 11, 12), (10, 11, 12), row="SEGMENT"),
    "the whole array": case((30, 40, 50), (30, 40, 50), row="SEGMENT", several_chunks=True),
    "volumes in many tiles": case((71, 123, 137), (3, 3, 3), 1, 1, outer={"FLAT"}, tiled=2),
    # channels last, and other axes behind the row
    "axes from the last to the first": case(
        (9, 21, 30), (2, 2, 2), 2, 1, axes=(2, 1, 0), outer={"FUSED"}
    ),
    "axes from the last to the first, wide": case(
        (9, 21, 30), (5, 3, 2), 2, 1, axes=(2, 1, 0), outer={"FUSED"}
    ),
    "seven rows at a time": case((300, 70), 7, 1, 3, axes=(0, 1), outer={"FUSED"}),
    "channels last": case((40, 50, 3), 3, 2, 1, axes=(0, 1), inner=3, outer={"FUSED"}),
    "channels last, wide": case(
        (60, 70, 3), 9, 1, 4, axes=(0, 1), inner=3, outer={"FLAT"}, tall=True
    ),
    "channels last, segments": case((9, 640, 5), 60, 50, 7, axes=(1,), inner=5, row="SEGMENT"),
    "channels last, whole": case((9, 640, 5), 640, axes=(1,), inner=5, row="SEGMENT"),
    "32 channels": case(
        (20, 30, 32), 3, 1, 1, axes=(0, 1), inner=32, outer={"FUSED"}, vectors=True
    ),
    # of as many channels as fit into a vector, windows slide
    "4 channels, 2 by 2": case((9, 150, 4), 2, axes=(0, 1), inner=4, outer={"FUSED"}),
    "5 channels, 3 by 3": case((9, 61, 5), 3, 1, 1, axes=(0, 1), inner=5, outer={"FUSED"}),
    "2 channels, dilated": case(
        (12, 99, 2), (2, 3), 2, (1, 2), 2, axes=(0, 1), inner=2, outer={"FUSED"}
    ),
    "3 channels, steps of 3": case(
        (12, 99, 3), (2, 4), 3, 1, axes=(0, 1), inner=3, outer={"FUSED"}
    ),
    "7 channels, steps of 4": case((4, 70, 7), (2, 5), 4, 2, axes=(0, 1), inner=7, outer={"FUSED"}),
    "16 channels, ragged": case(
        (5, 41, 16), 2, ceil_mode=True, axes=(0, 1), inner=16, outer={"FUSED"}, vectors=True
    ),
    "64 channels": case((20, 30, 64), 3, 1, 1, axes=(0, 1), row="PLAIN", outer={"FUSED", "FLAT"}),
    "channels in the middle": case((40, 3, 50), 3, 2, 1, axes=(0, 2), outer={"FUSED", "PLAIN"}),
    "channels in many tiles": case(
        (307, 709, 3), 3, 1, 1, axes=(0, 1), inner=3, outer={"FUSED"}, tiled=1
    ),
    # memory order
    "Fortran order": case((50, 40, 6), (3, 3), 2, 1, axes=(0, 1), order=(2, 1, 0), outer={"FUSED"}),
    "NCHW view of channels last": case(
        (2, 3, 40, 50), (3, 3), 1, 1, order=(0, 2, 3, 1), inner=3, outer={"FUSED"}
    ),
    "axes named backwards": case((40, 50), (3, 5), (2, 1), (1, 2), axes=(1, 0), outer={"FUSED"}),
    # small planes, all of a few at once
    "planes of 7 by 7": case((700, 7, 7), (3, 3), 1, 1, planes=True),
    "planes of lopsided padding": case(
        (40, 9, 11), (4, 6), 1, ((0, 3), (5, 0)), planes=True, dilation=1
    ),
    "planes dilated": case((33, 12, 10), (3, 2), 1, ((2, 2), (3, 0)), (2, 3), planes=True),
    "planes of 8 taps": case((50, 20, 20), (8, 8), 1, ((3, 4), (4, 3)), planes=True),
    "rows of 13": case((900, 13), (5,), 1, 2, planes=True),
    "one short row": case((30,), (3,), 1, 1, planes=True),
    "volumes of 5": case((90, 5, 6, 4), (3, 5, 3), 1, (1, 2, 1), planes=True),
    "one volume of four axes": case((5, 4, 3, 6), (3, 3, 3, 3), 1, 1, planes=True),
    # long stretches of memory, each a window
    "global planes": case((40, 7, 7), (7, 7), row="SEGMENT", wholes=True),
    "one long window": case((700,), (700,), row="SEGMENT", wholes=True),
    "lines of windows": case((6, 500), (33,), 30, row="SEGMENT", wholes=True),
    # tiled by their windows, so that planes are one
    "many planes of pairs": case((300, 8, 8), (2, 2), outer={"FUSED"}, joined=True),
    "rows of pairs": case((300, 12), (2,), joined=True),
    # strided rows
    "every third": case((20, 200), (3,), 1, 1, cut=(EVERY, THIRD), strided=True),
    "backwards": case((20, 200), (3, 4), 2, 1, cut=(EVERY, BACK), strided=True, outer={"FUSED"}),
    "upside down": case((20, 200), (3, 4), 2, 1, cut=(BACK, EVERY), outer={"FUSED"}),
    "segments of every third": case(
        (4, 900), (90,), cut=(EVERY, THIRD), strided=True, row="SEGMENT"
    ),
    "64 strided rows": case(
        (200, 60),
        (64, 2),
        (32, 1),
        cut=(EVERY, THIRD),
        strided=True,
        outer={"FUSED"},
        several_chunks=True,
    ),
    "flat and strided": case(
        (150, 90), (20, 2), 1, 3, cut=(THIRD, BACK), strided=True, outer={"FLAT"}
    ),
    "plain and strided": case(
        (150, 90),
        4,
        3,
        1,
        axes=(0,),
        cut=(EVERY, THIRD),
        strided=True,
        row="PLAIN",
        outer={"FUSED"},
    ),
    "strided channels": case(
        (30, 40, 4),
        3,
        2,
        1,
        axes=(0, 1),
        cut=(EVERY, EVERY, THIRD),
        strided=True,
        inner=4,
        outer={"FUSED"},
    ),
    "strided positions of channels": case(
        (30, 40, 4),
        3,
        2,
        1,
        axes=(0, 1),
        cut=(EVERY, THIRD, EVERY),
        strided=True,
        inner=4,
        outer={"FUSED"},
    ),
    "strided segments of channels": case(
        (3, 700, 4),
        70,
        60,
        5,
        axes=(1,),
        cut=(EVERY, BACK, BACK),
        strided=True,
        inner=4,
        row="SEGMENT",
    ),
    # the rows that are gathered are one element longer than their windows see, to be split
    "strided rows in pairs": case(
        (29, 21, 22),
        (11, 1),
        2,
        ((11, 11), (0, 0)),
        axes=(0, 2),
        cut=(EVERY, EVERY, THIRD),
        strided=True,
        outer={"FUSED"},
    ),
    # windows far wider than what they see
    "far wider than the row": case((5, 30), (9000,), 1, 4510, row="PLAIN", outer={"FUSED"}),
    "far wider than the plane": case((5, 30), (9000, 9001), 3, 4510, row="PLAIN", outer={"FUSED"}),
    "taps far apart": case((6, 30), (3,), 1, 4100, 4099, row="PLAIN", outer={"FUSED"}),
    "padding on all sides": case((3, 4), (2, 3), 1, 40),
    # odds and ends
    "wide in a row": case((3, 2000), (301,), 1, 100, wide=True),
    "wider than parts, a few left": case((2, 900), (131,), 1, 3, wide=True),
    "of whole parts": case((2, 900), (128,), 1, wide=True),
    "wide in many tiles": case((300_000,), (2_500,), 1, 700, wide=True),
    "one element": case((1,), (1,), row="PLAIN"),
    "windows of one": case((4, 50), (1, 1), 3, outer={"FUSED"}),
    "nothing pooled in effect": case((4, 50), (1, 1), 1, row="PLAIN"),
    "four axes of nine": case(
        (2, 1, 5, 2, 6, 1, 5, 2, 7), (2, 3, 2, 2), 1, axes=(2, 4, 6, 8), outer={"FLAT"}
    ),
    "ceil mode on all sides": case((2, 37, 53), (4, 6), (3, 5), ((0, 3), (5, 1)), (2, 1), True),
}


def numbers(shape, seed=0):
    """Whole numbers as float32; sums of a million of them are exact."""
    return np.random.default_rng(seed).integers(-9, 10, shape).astype(np.float32)


#: Every case in three ways: sliding in registers where it can, from scratch in strips, and by the
#: general driver.
WAYS = ("slides", "strips", "tiles")


def take(way, patch):
    """Have the engine go this way."""
    fewer = (lambda *of: binding.loops(*of)._replace(lanes=0)) if way != "slides" else binding.loops
    patch.setattr(engine, "loops", fewer)
    for fit in ("fit_strips", "fit_planes", "fit_wholes", "fit_wide", "fit_van_herk"):
        never = (lambda *_: 0) if way == "tiles" else getattr(tiling, fit)
        patch.setattr(laying, fit, never)
    forget()


# `make check` goes the way that calls go anyhow, which is each of the three for some cases.
@pytest.fixture(
    autouse=True, params=[WAYS[0], *(pytest.param(way, marks=pytest.mark.slow) for way in WAYS[1:])]
)
def driver(request, monkeypatch):
    take(request.param, monkeypatch)
    yield request.param
    forget()


def forget():
    """What is kept of calls holds the driver that was chosen for them."""
    for cached in (laying.schedule, engine._prepared):
        cached.cache_clear()
    operations._operations.clear()


def told(laid):
    """All that decides what a call does: of two that are told alike, one is enough."""
    tables = [None if t is None else t.tobytes() for t in (laid.dims, laid.spans, laid.masks)]
    head = laid.head.copy()
    head[CONSTANTS["MASKS"]] = 0  # an address
    return (
        *tables,
        head.tobytes(),
        laid.tasks,
        laid.scratch,
        laid.strided,
        laid.driver,
        laid.loop,
        laid.tall,
        laid.wide,
    )


def goes_as_before(way, c, x, reduce="max", return_indices=False):
    """Whether the engine's schedule of a call is, to the last integer, one of an earlier way."""
    laid = []
    for earlier in WAYS[: WAYS.index(way) + 1]:
        with pytest.MonkeyPatch.context() as patch:
            take(earlier, patch)
            # The schedule alone: nothing is compiled for it.
            patch.setattr(engine, "loops_of", lambda laid: {})
            patch.setattr(engine, "driver", lambda name: None)
            laid.append(told(scheduled(c, x, reduce, return_indices)[1]))
    forget()
    return laid.pop() in laid


def skip_as_before(way, c, x, *calls):
    """Skip a test whose calls (a reducer, and whether it is asked for positions) all do what they
    do in an earlier way, where the same test has seen them.
    """
    if all(goes_as_before(way, c, x, *call) for call in calls):
        pytest.skip("scheduled as in an earlier way")


def scheduled(c, x, reduce="max", return_indices=False):
    """The engine's own plan of the call."""
    op = operation(
        x, *c.arguments, c.axes, reduce, None, None, None, "half_even", return_indices, np.int64
    )
    out = empty_like_order(op.plan.out_shape, op.order, op.types.result)
    return op.plan, engine._prepared(op, x.strides, out.strides, x.dtype, out.dtype)[0]


def head_of(laid, name):
    return int(laid.head[CONSTANTS[name]])


def column_of(laid, name):
    return [int(v) for v in laid.dims[:, CONSTANTS[name]]]


def modes_of(laid):
    return [MODES[mode] for mode in column_of(laid, "MODE")]


@pytest.mark.parametrize("name", CASES)
def test_the_case_takes_the_path_it_is_there_for(name, driver):
    c = CASES[name]
    _, laid = scheduled(c, c.array(numbers(c.shape)))
    assert laid.driver == "tiles" or driver != "tiles"
    special = "planes" if c.planes else "wholes" if c.wholes else None
    if c.wide and driver == "slides":
        special = "wide"
    if driver != "tiles" and special:
        assert laid.driver == special
        return
    assert laid.driver in ("pooled", "strips", "van_herk", "tiles")
    assert (laid.driver == "van_herk") == (c.tall and driver != "tiles")
    *outer, row = modes_of(laid)
    as_row = c.vectors and driver == "slides" and 0 < LANES < c.inner
    assert row == ("PLAIN" if as_row else c.row)
    # Where windows slide, more rows are read as often as windows see them.
    assert c.outer <= set(outer) or driver == "slides"
    if c.joined:
        assert max(column_of(laid, "LENGTH")) >= c.shape[0] * c.shape[1]
    assert head_of(laid, "INNER") == (1 if as_row else c.inner)
    # Rows that slide are read along with what lies between.
    strided = c.strided and not laid.loop.endswith("slid")
    assert bool(head_of(laid, "STRIDED")) == laid.strided == strided
    cut = [grid > 1 for grid in column_of(laid, "GRID")]
    assert sum(cut) >= c.tiled or driver != "tiles"
    if c.tiled and driver == "tiles":  # and the last tile is a smaller one
        ragged = zip(column_of(laid, "OUT"), column_of(laid, "TILE"), strict=True)
        assert any(n % tile for n, tile in ragged)
    taps = math.prod(
        kernel for kernel, mode in zip(column_of(laid, "KERNEL"), modes_of(laid), strict=True)
        if mode == "FUSED"
    )  # fmt: skip
    if row == "SEGMENT":
        taps *= -(-column_of(laid, "KERNEL")[-1] // head_of(laid, "SEGMENT_LENGTH"))
    if c.row == "SEGMENT" or c.several_chunks:
        assert (taps > CHUNK) == c.several_chunks


def test_the_cases_cover_the_engine(driver):
    rows, outers, strided, inner, reached = set(), set(), set(), set(), set()
    in_strips, tall = set(), set()
    for c in CASES.values():
        _, laid = scheduled(c, c.array(numbers(c.shape)))
        if laid.driver in ("planes", "wholes", "wide"):
            continue
        *outer, row = modes_of(laid)
        rows.add(row)
        outers |= set(outer)
        in_strips |= {(outer[-1], row)} if laid.driver in ("pooled", "strips") else set()
        tall |= {(outer[-1], row)} if laid.driver == "van_herk" else set()
        if laid.strided:
            strided.add((row, head_of(laid, "INNER") > 1))
        if head_of(laid, "INNER") > 1:
            inner.add(row)
        if sum(grid > 1 for grid in column_of(laid, "GRID")) > 1:
            reached.add("tiles of a tile")
    assert rows == {"PLAIN", "FLAT", "SEGMENT"}
    assert outers == {"PLAIN", "FUSED", "ROWS", "FLAT"}
    assert inner == {"FLAT", "SEGMENT"}
    assert strided == {
        ("PLAIN", False), ("FLAT", False), ("SEGMENT", False), ("FLAT", True), ("SEGMENT", True),
    }  # fmt: skip
    assert reached == {"tiles of a tile"} or driver != "tiles"
    columns = ("PLAIN", "FUSED", "FLAT")
    wanted = {(column, row) for column in columns for row in ("PLAIN", "FLAT")}
    assert in_strips == (wanted if driver != "tiles" else set())
    assert tall == ({("FLAT", "PLAIN"), ("FLAT", "FLAT")} if driver != "tiles" else set())


def test_the_cases_cover_the_loops_of_small_windows(driver):
    reached, paired = set(), set()
    for c in CASES.values():
        for placed in (False, True):
            _, laid = scheduled(c, c.array(numbers(c.shape)), "max", placed)
            reached |= {(laid.loop, placed)}
            paired |= {laid.loop} if head_of(laid, "PAIRED") else set()
    wanted = {("", False), ("", True)}
    if driver == "slides" and not config.DISABLE_JIT:
        slid = {(loop, placed) for loop, placed in reached if loop.endswith("slid")}
        long = {int(loop.split("_")[0]) for loop, placed in reached if loop.endswith("long")}
        # Windows along the row, after tall ones: of an element to more than two vectors.
        assert min(long) < 4
        assert max(long) > 32
        reached = {(loop, placed) for loop, placed in reached if not loop.endswith("long")}
        # What is not slid has rows dilated or far apart, many channels, or many rows.
        assert reached - slid <= wanted | {
            (f"{wide}{order}{loop}", placed)
            for wide in ("", "wide_")
            for order in ("", "ordered_")
            for loop in ("pooled", "direct")
            for placed in (False, True)
        }
        assert {placed for _, placed in slid} == {False, True}
        assert {loop.startswith("ordered") for loop, placed in slid if placed} == {False, True}
        parts = [tuple(map(int, loop.split("_")[-9:-1])) for loop, _ in slid]
        assert {stride for _, _, stride, *_ in parts} == {1, 2, 3, 4}
        assert max(dilation for _, _, _, dilation, *_ in parts) > 1
        assert {paired for *_, paired, _, _ in parts} == {0, 1}
        assert {backwards for *_, backwards, _ in parts} == {0, 1}
        groups = {c.inner for name, c in CASES.items() if "channels, " in name and c.inner <= LANES}
        assert {group for *_, group in parts} >= groups | {1}
        assert {(stride > 1, group > 1) for _, _, stride, *_, group in parts} == {
            (steps, channels) for steps in (False, True) for channels in (False, True)
        }
        assert {taps > stride for _, taps, stride, *_ in parts} == {False, True}
        assert {rows for rows, *_ in parts} >= {1, 2, 3, 4, 8, 9}
        return
    if driver == "strips" or (driver == "slides" and config.DISABLE_JIT):
        for wide in ("", "wide_"):
            wanted |= {(wide + loop, False) for loop in ("pooled", "direct")}
            wanted |= {(wide + loop, True) for loop in ("pooled", "ordered_pooled")}
    assert reached == wanted
    assert paired == ({"pooled", "wide_pooled"} if driver == "strips" else set())


# --- a reference, one tap at a time --------------------------------------------------------------


def folded(x, plan, identity, combine):
    """Fold `x` (an array, or a tuple of them) over the windows of `plan`, axis by axis."""
    parts = x if isinstance(x, tuple) else (x,)
    fills = identity if isinstance(identity, tuple) else (identity,)
    for axis, w in zip(plan.axes, plan.windows, strict=True):
        result = None
        for j in range(w.kernel):
            at = np.arange(w.out) * w.stride - w.before + j * w.dilation
            inside = (at >= 0) & (at < w.size)
            if w.kernel > 1000 and not inside.any():
                continue
            shape = [-1 if a == axis else 1 for a in range(parts[0].ndim)]
            seen = tuple(
                np.where(inside.reshape(shape), np.take(p, at.clip(0, w.size - 1), axis), fill)
                for p, fill in zip(parts, fills, strict=True)
            )
            result = seen if result is None else combine(result, seen)
        parts = result
    return parts if isinstance(x, tuple) else parts[0]


def elementwise(function):
    return lambda a, b: tuple(function(p, q) for p, q in zip(a, b, strict=True))


def sums(x, plan):
    return folded(x.astype(np.complex128 if x.dtype.kind == "c" else np.float64), plan, 0.0,
                  elementwise(np.add))  # fmt: skip


def maxima(x, plan):
    return folded(x, plan, -np.inf, elementwise(np.maximum))


def counts(x, plan):
    return sums(np.ones(x.shape), plan)


def first_maxima(x, plan):
    """(values, flat positions within the pooled axes): the first of equals, the last NaN."""
    places = np.zeros(x.shape, np.int64)
    weight = 1
    for axis, w in reversed(list(zip(plan.axes, plan.windows, strict=True))):
        shape = [-1 if a == axis else 1 for a in range(x.ndim)]
        places = places + np.arange(w.size).reshape(shape) * weight
        weight *= w.size
    nowhere = 2**62

    def combine(a, b):
        (v, p), (w, q) = a, b
        nan = np.isnan(w) & (~np.isnan(v) | (q > p))
        take = (w > v) | ((w == v) & (q < p)) | nan
        take &= ~np.isnan(v) | nan
        return np.where(take, w, v), np.where(take, q, p)

    values, places = folded((x, places), plan, (-np.inf, nowhere), combine)
    return values, np.where(places == nowhere, -1, places)


def pooled(c, x, reduce, **options):
    return npool.pool(x, *c.arguments, reduce=reduce, axes=c.axes, **options)


every_case = pytest.mark.parametrize("name", CASES)


@every_case
def test_maximum_and_its_positions(name, driver):
    c = CASES[name]
    plain = numbers(c.shape)
    if plain.size > 50:
        plain.ravel()[:: plain.size // 40] = np.nan
    x = c.array(plain)
    skip_as_before(driver, c, x, ("max",), ("max", True))
    plan, _ = scheduled(c, x)
    wanted, places = first_maxima(plain, plan)
    assert np.array_equal(pooled(c, x, "max"), wanted, equal_nan=True)
    values, got = pooled(c, x, "max", return_indices=True)
    assert np.array_equal(values, wanted, equal_nan=True)
    assert np.array_equal(got, places)


@every_case
def test_sum_and_average(name, driver):
    c = CASES[name]
    plain = numbers(c.shape, 1)
    x = c.array(plain)
    skip_as_before(driver, c, x, ("sum",), ("avg",))
    plan, _ = scheduled(c, x, "sum")
    total = sums(plain, plan)
    assert np.array_equal(pooled(c, x, "sum"), total)
    n = counts(plain, plan)
    average = pooled(c, x, "avg", count_include_pad=False)
    with np.errstate(invalid="ignore"):
        wanted = total.astype(np.float32) / n.astype(np.float32)
    assert np.array_equal(average, wanted, equal_nan=True)
    assert np.array_equal(pooled(c, x, "avg", divisor_override=-4), total.astype("f4") / -4)


@every_case
def test_accumulators_of_two_and_three_parts(name, driver):
    c = CASES[name]
    plain = numbers(c.shape, 2)
    x = c.array(plain)
    skip_as_before(driver, c, x, ("range",), ("var",))
    plan, _ = scheduled(c, x, "range")
    n = counts(plain, plan)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.where(n > 0, maxima(plain, plan) + maxima(-plain, plan), 0)
        total, squares = sums(plain, plan), sums(plain * plain, plan)
        variance = np.where(n > 0, (n * squares - total**2) / n**2, np.nan)
    assert np.array_equal(pooled(c, x, "range"), spread)
    got = pooled(c, x, "var")
    assert np.allclose(got, variance, rtol=1e-6, atol=1e-9, equal_nan=True)


@every_case
def test_pairs_of_reals(name, driver):
    c = CASES[name]
    plain = numbers(c.shape, 3) + 1j * numbers(c.shape, 4)
    plain = plain.astype(np.complex64)
    x = c.array(plain)
    skip_as_before(driver, c, x, ("sum",))
    plan, laid = scheduled(c, x, "sum")
    assert laid.dims[-1, CONSTANTS["IN_STRIDE"]] == 1 or head_of(laid, "INNER") > 1 or c.strided
    assert np.array_equal(pooled(c, x, "sum"), sums(plain, plan))


@pytest.mark.parametrize("name", ["3 by 3", "5 by 7", "row of segments", "channels last, wide",
                                  "every third", "rows folded one by one"])  # fmt: skip
@pytest.mark.parametrize("dtype", ["uint8", "bool"])
def test_other_widths_of_element(name, dtype):
    c = CASES[name]
    plain = np.random.default_rng(5).integers(0, 256, c.shape).astype(dtype)
    x = c.array(plain)
    plan, _ = scheduled(c, x, "min")
    wanted = 255 - maxima(255 - plain.astype(np.float64), plan)
    if dtype == "bool":
        wanted = 1 - maxima(1.0 - plain, plan)
    got = pooled(c, x, "min")
    assert got.dtype == plain.dtype
    full = {"uint8": 255, "bool": 1}[dtype]
    assert np.array_equal(got, np.where(np.isinf(wanted), full, wanted))


# --- every window size ---------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [1, 2, 3, 40])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("reduce", ["max", "sum", "positions"])
def test_windows_of_1_to_70(reduce, axis, stride, driver):
    # 70 = 4 ** 3 + 6: every base-4 digit in every place, and what overlaps
    shape = (11, 150) if axis else (150, 11)
    plain = numbers(shape, 6)
    for k in range(1, 71):
        c = Case(shape, k, stride, (k // 2 if k % 3 else 0), axes=(axis,))
        call = ("max", True) if reduce == "positions" else (reduce,)
        if goes_as_before(driver, c, plain, *call):
            continue
        plan, _ = scheduled(c, plain, *call)
        if reduce == "positions":
            wanted = first_maxima(plain, plan)
            got = pooled(c, plain, "max", return_indices=True)
            assert np.array_equal(got[0], wanted[0]), k
            assert np.array_equal(got[1], wanted[1]), k
        else:
            wanted = {"max": maxima, "sum": sums}[reduce](plain, plan)
            assert np.array_equal(pooled(c, plain, reduce), wanted), k


@pytest.mark.parametrize("dilation", [2, 3])
def test_dilated_windows_of_1_to_40(dilation, driver):
    plain = numbers((130, 21), 7)
    for k in range(1, 41):
        for axes in ((0,), (1,)):
            x = plain.T.copy() if axes == (1,) else plain
            c = Case(x.shape, k, 1, k, dilation, axes=axes)
            for reduce, wanted in (("max", maxima), ("sum", sums)):
                if not goes_as_before(driver, c, x, reduce):
                    plan, _ = scheduled(c, x, reduce)
                    assert np.array_equal(pooled(c, x, reduce), wanted(x, plan)), k


@pytest.mark.parametrize("width", [*range(1, 40), 63, 64, 65, 127, 129])
def test_rows_of_every_length(width, driver):
    plain = numbers((30, width), 8)
    for k, s in (((3, 3), 1), ((2, 2), 2), ((3, 2), (2, 1)), ((5, 1), 1), ((4, 4), 3)):
        c = Case(plain.shape, k, s, 2)
        for reduce, wanted in (("max", maxima), ("sum", sums)):
            if not goes_as_before(driver, c, plain, reduce):
                plan, _ = scheduled(c, plain, reduce)
                assert np.array_equal(pooled(c, plain, reduce), wanted(plain, plan)), k
        if not goes_as_before(driver, c, plain, "max", True):
            plan, _ = scheduled(c, plain, "max", True)
            got = pooled(c, plain, "max", return_indices=True)[1]
            assert np.array_equal(got, first_maxima(plain, plan)[1]), k


# --- the same bits on any number of threads ------------------------------------------------------

THREADED = {
    "3 by 3": Case((3, 1500, 1700), (3, 3), 1, 1),
    "31 by 31": Case((700, 900), (31, 31), 1, 15),
    "columns": Case((1200, 900), 40, 1, 20, axes=(0,)),
    "rows folded": Case((120, 130, 140), (6, 6, 2), 2, 2),
    "segments": Case((600, 3000), (50,), 50),
    "one window a row": Case((900, 3000), (3000,)),
    "channels last": Case((1200, 700, 3), 7, 2, 3, axes=(0, 1)),
    "every third": Case((900, 1200), (5, 4), 2, 1, cut=(EVERY, THIRD)),
    "blocks": Case((1600, 1600), (40, 40)),
}


@pytest.mark.parametrize("name", THREADED)
@pytest.mark.parametrize("reduce", ["sum", "avg", "var", "max"])
def test_the_same_bits_on_any_number_of_threads(name, reduce, driver):
    c = THREADED[name]
    x = c.array(np.random.default_rng(9).standard_normal(c.shape, np.float32))
    skip_as_before(driver, c, x, (reduce,))
    _, laid = scheduled(c, x, reduce)
    assert laid.tasks > 3
    assert laid.tasks * laid.task_work >= engine.SERIAL_WORK
    results = set()
    for threads in (1, 2, 3, 7, 16):
        with npool.num_threads(threads):
            results |= {pooled(c, x, reduce).tobytes() for _ in range(2)}
    assert len(results) == 1


# --- rounding ------------------------------------------------------------------------------------

ROUNDED = {
    "1,024 in a row, stride 1": Case((2, 3000), (1024,), 1, 100),
    "1,024 in a row, stride 512": Case((2, 9000), (1024,), 512, 100),
    "1,024 in a row, stride 1,024": Case((4, 9000), (1024,)),
    "1,023 in a row, stride 1": Case((2, 3000), (1023,), 1),
    "1,024 in a strided row": Case((4, 9000), (1024,), 700, cut=(EVERY, THIRD)),
    "1,024 in a column, stride 1": Case((3000, 5), 1024, 1, axes=(0,)),
    "1,024 in a column, stride 300": Case((3000, 70), 1024, 300, axes=(0,)),
    "1,024 in a column, stride 1,024": Case((3072, 70), 1024, axes=(0,)),
    "32 by 32, stride 1": Case((100, 120), (32, 32), 1, 8),
    "32 by 32, stride 3": Case((100, 120), (32, 32), 3, 8),
    "32 by 32, stride 20": Case((300, 320), (32, 32), 20),
    "32 by 32 blocks": Case((160, 320), (32, 32)),
    "8 by 128 blocks": Case((160, 640), (8, 128)),
    "128 by 8 blocks": Case((640, 160), (128, 8)),
    "4 by 256, stride 1": Case((40, 640), (4, 256), 1),
    "256 by 4, stride 1": Case((640, 40), (256, 4), 1),
    "10 by 10 by 10": Case((40, 41, 42), (10, 10, 10), 1),
    "10 by 10 by 10 blocks": Case((40, 41, 42), (10, 10, 10)),
    "rows folded one by one": Case((64, 128, 40), (32, 32, 1), (8, 8, 1)),
    "a few of each": Case((30, 31, 32, 33), (5, 6, 5, 6), (2, 3, 2, 3), 1, axes=(0, 1, 2, 3)),
    "channels last, 32 by 32": Case((100, 120, 3), 32, 1, axes=(0, 1)),
    "channels last, 32 by 32 blocks": Case((160, 320, 3), 32, axes=(0, 1)),
    "channels last, 1,024": Case((2, 3000, 3), 1024, 900, axes=(1,)),
    "64 channels": Case((70, 80, 64), 32, 8, axes=(0, 1)),
    "dilated": Case((150, 160), (32, 32), 1, 0, 3),
    "Fortran order": Case((160, 320), (32, 32), 16, order=(1, 0)),
    "the whole": Case((32, 32), (32, 32)),
    "1,000 in a row, ceil mode": Case((2, 9100), (1000,), 1000, 0, 1, True),
}


def ulps_off(got, exact):
    """How far float32 `got` lies from the fraction `exact`, in units of its last place."""
    near = np.float32(float(exact))
    return abs(Fraction(float(got)) - exact) / Fraction(float(np.spacing(np.abs(near))))


@pytest.mark.parametrize("name", ROUNDED)
def test_sums_and_averages_lie_within_8_ulp(name, driver):
    c = ROUNDED[name]
    rng = np.random.default_rng(10)
    plain = rng.random(c.shape, np.float32)
    # Ends of windows are where small numbers meet large sums.
    plain[rng.random(c.shape) < 0.02] *= 1000
    x = c.array(plain)
    skip_as_before(driver, c, x, ("sum",), ("avg",))
    plan, _ = scheduled(c, x, "sum")
    assert 900 <= math.prod(w.kernel for w in plan.windows) <= 1024
    total = pooled(c, x, "sum")
    average = pooled(c, x, "avg", count_include_pad=False)
    negative = pooled(c, -x, "sum")
    worst = 0
    for _ in range(60):
        at = tuple(int(rng.integers(n)) for n in plan.out_shape)
        window = [slice(i, i + 1) for i in at]
        for axis, w in zip(plan.axes, plan.windows, strict=True):
            first, stop = w.taps(at[axis])
            begin = w.start(at[axis])
            window[axis] = slice(begin + first * w.dilation, begin + (stop - 1) * w.dilation + 1,
                                 w.dilation)  # fmt: skip
        seen = plain[tuple(window)].ravel().tolist()
        exact = Fraction(math.fsum(seen))
        worst = max(worst, ulps_off(total[at], exact), ulps_off(-negative[at], exact),
                    ulps_off(average[at], exact / len(seen)))  # fmt: skip
    assert worst <= 8


def test_the_measure_would_see_a_plain_loop():
    # Adding 1,024 numbers one after another is further off: the measure can fail.
    rng = np.random.default_rng(10)
    worst = 0
    for _ in range(50):
        values = rng.random(1024, np.float32)
        total = np.float32(0)
        for v in values:
            total += v
        worst = max(worst, ulps_off(total, Fraction(math.fsum(values.tolist()))))
    assert worst > 8


# --- NaN and infinity stay where they are --------------------------------------------------------


@pytest.mark.parametrize("reduce", ["sum", "avg", "max", "var", "range", "logsumexp"])
@pytest.mark.parametrize(
    "name",
    ["row of wide windows", "row of overlapping segments", "column of wide windows", "31 by 31",
     "40 by 300 blocks", "rows folded one by one", "volumes flat", "channels last, wide",
     "channels last, segments", "every third", "64 strided rows", "short rows",
     "row of clipped segments"],
)  # fmt: skip
def test_nan_and_infinity_touch_no_other_window(name, reduce, driver):
    c = CASES[name]
    rng = np.random.default_rng(11)
    clean = rng.standard_normal(c.shape, np.float32)
    spoilt = clean.copy()
    odd = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, np.nan], np.float32)
    for value in odd:
        spoilt[tuple(int(rng.integers(n)) for n in c.shape)] = value
    x, y = c.array(clean), c.array(spoilt)
    skip_as_before(driver, c, x, (reduce,))
    plan, _ = scheduled(c, x, reduce)
    touched = maxima((clean != spoilt).astype(np.float32), plan) == 1
    assert touched.any()
    assert not touched.all()
    before, after = pooled(c, x, reduce), pooled(c, y, reduce)
    assert before[~touched].tobytes() == after[~touched].tobytes()
    if reduce == "max":
        assert np.isnan(after).any()
