"""Mutants of the kernels: one mistake each, in the text that is compiled or in the PTX.

`caught` says by what: "fault" is the executor's check of every access (bounds, alignment, written
once), "oracle" a wrong result, "gate" the machine code, where results stay right.
"""

from dataclasses import dataclass

import numpy as np

import npool
from npool.cuda import anywhere, binding, device, toolkit

PLANES = np.random.default_rng(5).integers(-9, 10, (3, 13, 13)).astype(np.float32)
PLANES[0, 4, 5] = PLANES[2, 0, 0] = np.nan
CLIPPED, FLAT = np.nan_to_num(PLANES[:, :, :12]), PLANES[:, :11]
TALL = np.ascontiguousarray(PLANES[:, :, :12])
EVEN = np.random.default_rng(6).integers(-9, 10, (3, 12, 16)).astype(np.float32)
PIXELS = np.random.default_rng(7).integers(-9, 10, (2, 9, 10, 8)).astype(np.float32)
VOLUME = np.random.default_rng(8).integers(-9, 10, (2, 5, 6, 7)).astype(np.float32)
LINE = np.random.default_rng(9).integers(-9, 10, (3, 300)).astype(np.float32)
GRADIENT = np.random.default_rng(10).integers(1, 10, (3, 7, 6)).astype(np.float32)
DROPPED = np.random.default_rng(11).integers(1, 10, (2, 3, 4)).astype(np.float32)
POSITIONS = npool.max_pool(TALL, (3, 3), 2, 1, return_indices=True)[1]
EXPANDED = np.broadcast_to(np.float32(3), GRADIENT.shape)
NORMED = np.nan_to_num(TALL)
NORMS = npool.lp_pool(NORMED, 2, (3, 3), 2, 1)
ELSEWHERE = npool.fractional_max_pool(TALL, (2, 3), (7, 6), samples=np.random.default_rng(12),
                                      return_indices=True)[1]  # fmt: skip
ROW = np.ascontiguousarray(LINE[:, :40])
PLANE = np.ascontiguousarray(LINE[:, :63].reshape(3, 7, 9))
BINNED = np.random.default_rng(13).integers(1, 10, (3, 3, 4)).astype(np.float32)
BINNED_AT = npool.adaptive_max_pool(PLANE, (3, 4), axes=(1, 2), return_indices=True)[1]
#: Positions that windows share, of other values: the last one stays.
SHARED = npool.max_pool(ROW, (4,), 2, return_indices=True)[1]
PUT = np.random.default_rng(14).integers(1, 99, SHARED.shape).astype(np.float32)
FAR_SHARED = npool.max_pool(ROW, (13,), 3, return_indices=True)[1]
FAR_PUT = np.random.default_rng(15).integers(1, 99, FAR_SHARED.shape).astype(np.float32)

#: A call, the function that does it on the CPU, and its arguments.
CALLS = {
    "flat": (npool.max_pool, (FLAT,), {"kernel_size": (3, 3), "stride": 2, "padding": 1}),
    "max": (npool.max_pool, (PLANES,), {"kernel_size": (3, 3), "stride": 2, "padding": 1}),
    "positions": (npool.max_pool, (PLANES,),
                  {"kernel_size": (3, 3), "stride": 2, "padding": 1, "return_indices": True}),
    "sum": (npool.sum_pool, (np.nan_to_num(PLANES),),
            {"kernel_size": (3, 3), "stride": 2, "padding": 1}),
    "avg": (npool.avg_pool, (CLIPPED,),
            {"kernel_size": (3, 3), "stride": 2, "padding": 1, "ceil_mode": True}),
    "vectors": (npool.max_pool, (EVEN,), {"kernel_size": (2, 2)}),
    "pixels": (npool.max_pool, (PIXELS,), {"kernel_size": 3, "stride": 2, "axes": (1, 2)}),
    "volume": (npool.sum_pool, (VOLUME,), {"kernel_size": (2, 2, 2), "stride": 1, "padding": 1}),
    "walk": (npool.sum_pool, (LINE,), {"kernel_size": (143,), "stride": 100, "padding": 20}),
    "levels": (npool.sum_pool, (LINE,), {"kernel_size": (70,), "stride": 1, "padding": 20}),
    "bins": (npool.adaptive_avg_pool, (LINE,), {"output_size": (7,)}),
    "bins averaged": (npool.adaptive_avg_pool_backward, (BINNED,),
                      {"input_shape": PLANE.shape, "output_size": (3, 4), "axes": (1, 2)}),
    "bins picked": (npool.adaptive_max_pool_backward, (BINNED, BINNED_AT),
                    {"input_shape": PLANE.shape, "output_size": (3, 4), "axes": (1, 2)}),
    "put": (npool.max_unpool, (PUT, SHARED),
            {"kernel_size": (4,), "stride": 2, "output_size": (40,)}),
    "put far": (npool.max_unpool, (FAR_PUT, FAR_SHARED),
                {"kernel_size": (13,), "stride": 3, "output_size": (40,)}),
    "drawn": (npool.fractional_max_pool, (PLANES,),
              {"kernel_size": (2, 3), "output_size": (5, 4), "axes": (1, 2),
               "samples": np.linspace(0.1, 0.9, 6, dtype=np.float32).reshape(3, 2)}),
    "add": (npool.max_pool_backward, (GRADIENT, POSITIONS),
            {"input_shape": TALL.shape, "kernel_size": (3, 3), "stride": 2, "padding": 1}),
    "apart": (npool.max_pool_backward, (EXPANDED, POSITIONS),
              {"input_shape": TALL.shape, "kernel_size": (3, 3), "stride": 2, "padding": 1}),
    "norm": (npool.lp_pool_backward, (GRADIENT, NORMED, NORMS),
             {"norm_type": 2, "kernel_size": (3, 3), "stride": 2, "padding": 1}),
    "power": (npool.lp_pool_backward, (EXPANDED, np.asfortranarray(NORMED), NORMS),
              {"norm_type": 3, "kernel_size": (3, 3), "stride": 2, "padding": 1}),
    "anywhere": (npool.fractional_max_pool_backward, (GRADIENT, ELSEWHERE),
                 {"input_shape": TALL.shape, "axes": (1, 2)}),
    "complex": (npool.avg_pool, (CLIPPED,),
                {"kernel_size": (3, 3), "stride": 2, "padding": 1, "dtype": np.complex64}),
    "remainder": (npool.sum_pool_backward, (DROPPED,),
                  {"input_shape": (2, 8, 10), "kernel_size": (3, 3), "stride": 2}),
    "average": (npool.avg_pool_backward, (GRADIENT,),
                {"input_shape": TALL.shape, "kernel_size": (3, 3), "stride": 2, "padding": 1,
                     "count_include_pad": False}),
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """`old` becomes `new` in the kernel of a call."""

    name: str
    call: str
    old: str
    new: str
    caught: str
    ptx: bool = False


MUTANTS = [
    Mutant("one lane too many", "max", "if lane >= lanes:", "if lane > lanes:", "fault"),
    Mutant("one line too many", "flat", "if y >= oy:", "if y > oy:", "fault"),
    Mutant("interior too wide on the left", "sum", "if wx >= 0 and", "if wx >= -1 and", "oracle"),
    Mutant("interior too wide on the right", "sum", "<= nx and", "<= nx + 1 and", "oracle"),
    Mutant("interior too high", "max", "wy >= 0 and", "wy >= -1 and", "fault"),
    Mutant("a tap past the end counts", "sum", "(q < nx)", "(q <= nx)", "oracle"),
    Mutant("a tap before the start counts", "sum", "(q >= 0)", "(q >= -1)", "oracle"),
    Mutant("clamped one too low", "max", "max(q, index(0))", "max(q, index(-1))", "fault"),
    Mutant("clamped one too high", "max", "index(nx - 1)", "index(nx)", "fault"),
    Mutant("a row of results too many", "max", "if y + 1 < oy:", "if y + 1 <= oy:", "fault"),
    Mutant("every other plane left out", "max", "i0 = index(i0 + step0)",
           "i0 = index(i0 + step0 + step0)", "fault"),
    Mutant("planes a step too near", "sum", "long(i0) * si0", "long(i0) * (si0 - 1)", "oracle"),
    Mutant("NaN loses", "max", "max.NaN.f32", "max.f32", "oracle", ptx=True),
    Mutant("the least for the greatest", "max", "max.NaN.f32", "min.NaN.f32", "oracle", ptx=True),
    Mutant("the other of two places", "positions", "which == SECOND", "which == FIRST", "oracle"),
    Mutant("rows forgotten in a position", "positions", "+ long(wy) * py", "", "oracle"),
    Mutant("a field of a place too narrow", "positions", "& 32767", "& 1", "oracle"),
    Mutant("no place is place 0", "positions", "NO_PLACE, NOWHERE,", "FIRST, NOWHERE,", "oracle"),
    Mutant("padding counted to its end and one more", "avg", "< ax)", "<= ax)", "oracle"),
    Mutant("divided by columns alone", "avg", "cntx0 * cnty0", "cntx0 * cntx0", "oracle"),
    Mutant("a vector one element off", "vectors", "load4(s0, r1 + 0)",
           "load4(s0, r1 + 1)", "fault"),
    Mutant("channels that overlap", "pixels", "* channels) * 4", "* channels) * 2", "fault"),
    Mutant("a slab before the first", "volume", ">= 0) & (z", ">= -1) & (z", "fault"),
    Mutant("planes carried too late", "volume", "if i1 >= n1:", "if i1 > n1:", "fault"),
    Mutant("a tree past the last tap", "walk", "while j + 16 <= stop:", "while j + 15 <= stop:",
           "oracle"),
    Mutant("a run dropped", "walk", "total_0 = keep0(combine(total_0, run_0))",
           "total_0 = keep0(run_0)", "oracle"),
    Mutant("a window cut short", "walk", "last = min(kernel,", "last = min(kernel - 1,", "oracle"),
    Mutant("bins one too short", "bins", "+ ox - 1, ox)", ", ox)", "oracle"),
    Mutant("a bin past the last", "bins averaged", "+ nx - 1, nx) - 1", "+ nx - 1, nx)", "fault"),
    Mutant("a bin that ends in an element left out", "bins averaged", "+ nx - 1, nx) - 1",
           ", nx) - 1", "oracle"),
    Mutant("the first bin of an element left out", "bins averaged", "lx = quotient(ux * ox, nx)",
           "lx = quotient(ux * ox, nx) + 1", "oracle"),
    Mutant("bins counted one too short", "bins averaged", "+ ox - 1, ox)", ", ox)", "oracle"),
    Mutant("rows' bins by the columns' length", "bins averaged", "quotient(uy * oy, ny)",
           "quotient(uy * oy, nx)", "oracle"),
    Mutant("bins picked a row too near", "bins picked", "long(iy_) * py", "long(iy_) * px",
           "oracle"),
    Mutant("the last bin not asked", "bins picked", "while kx <= hx:", "while kx < hx:", "oracle"),
    # Windows are asked from the last to the first, where the last result has to stay.
    Mutant("the first of two results stays", "put", "index(hx - ", "index(hx - 1 + ", "oracle"),
    Mutant("results that share an element added", "put far", "x_4, g0_0_0", "x_4 + g0_0_0, g0_0_0",
           "oracle"),
    Mutant("put one element on", "put", "== mine", "== mine + 1", "oracle"),
    Mutant("an overlapping result left out", "put far", "while kx <= hx:", "while kx < hx:",
           "oracle"),
    Mutant("a window too many asked", "put far", "index(ox - 1)", "index(ox)", "fault"),
    Mutant("a window too many", "remainder", "hx < ox", "hx <= ox", "fault"),
    Mutant("a sample of the other axis", "drawn", "su[u + u1]", "su[u + u0]", "oracle"),
    Mutant("a tap past a drawn window", "drawn", "2 * m1", "3 * m1", "fault"),
    Mutant("neighbours share a position", "add", "== mine + 1 * px", "== mine", "oracle"),
    Mutant("an element past the row", "add", "ix_ + 1 < nx", "ix_ + 1 <= nx", "fault"),
    Mutant("a tile one off", "average", "- bx)", ")", "oracle"),
    Mutant("padding counted where it should not", "average", "if from_ < 0:", "if from_ < -9:",
           "oracle"),
    Mutant("positions where the gradients are", "apart", "* ry", "* sy", "oracle"),
    Mutant("an element past the last", "norm", "index(nx - 1)) - ix_", "index(nx)) - ix_", "fault"),
    Mutant("the other neighbour's share", "norm", "fx0", "fx1", "oracle"),
    Mutant("elements where their gradients are not", "power", "+ long(i0) * ei0", "",
           "oracle"),
    Mutant("a power of the norm alone", "power", "less)", "less + less)", "oracle"),
    Mutant("the last result left out", "anywhere", "while j1 <= h1:", "while j1 < h1:", "oracle"),
    Mutant("bounds of another axis", "anywhere", "* ps1", "* ps0", "oracle"),
    Mutant("a bound too low", "anywhere", "(c > high), c, high)", "(c > high), c - 1, high)",
           "oracle"),
    Mutant("a table past its end", "anywhere", "while o < o1:", "while o <= o1 + 9999:", "fault"),
    Mutant("an imaginary part on the next result", "complex", "+ 1] = ZERO", "+ 2] = ZERO",
           "fault"),
    Mutant("no imaginary part", "complex", "d0[t + 1] = ZERO", "pass", "fault"),
    Mutant("float64 in a sum", "volume", "_0_0_0_0 = IDENTITY0", "_0_0_0_0 = 0.0", "gate"),
    Mutant("a division in the loop", "max", "b = at + long(i0) * si0",
           "b = at + long(i0) * si0 + long(quotient(ox, index(i0 + ox + 1)))", "gate"),
    Mutant("float64 in an offset", "max", "wx = index(x * 2 - bx)",
           "wx = index(x * 2.0 - bx)", "gate"),
]  # fmt: skip


class Mutated:
    """While it is entered, kernels are compiled with the mistake; `hits` counts them."""

    def __init__(self, mutant, executor):
        self.mutant, self.executor, self.hits = mutant, executor, 0

    def _changed(self, text):
        if self.mutant.old not in text:
            return text
        self.hits += 1
        return text.replace(self.mutant.old, self.mutant.new)

    def __enter__(self):
        self.before = {name: getattr(binding, name)
                       for name in ("kernel_source", "gather_source", "walk_source",
                                    "drawn_source")}  # fmt: skip
        self.ptx, self.anywhere = toolkit.ptx, anywhere.Anywhere.source
        # Kernels are known by their text, which a mistake in the PTX leaves as it is.
        self.kernels = type(self.executor).kernels
        if self.mutant.ptx:
            type(self.executor).kernels = {}
            toolkit.ptx = lambda *a: [(self._changed(t), n) for t, n in self.ptx(*a)]
        else:
            for name, make in self.before.items():
                setattr(binding, name, lambda form, make=make: self._changed(make(form)))
            anywhere.Anywhere.source = lambda form: self._changed(self.anywhere(form))
        self._forget()
        return self

    def __exit__(self, *_):
        toolkit.ptx, anywhere.Anywhere.source = self.ptx, self.anywhere
        for name, make in self.before.items():
            setattr(binding, name, make)
        type(self.executor).kernels = self.kernels
        self._forget()

    def _forget(self):
        binding._codes.clear()
        device._program.cache_clear()
        device._drawn_program.cache_clear()
        device._gradient_program.cache_clear()
        device._anywhere_program.cache_clear()
