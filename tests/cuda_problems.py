"""Random problems for the GPU kernels, a few window geometries with many shapes each."""

from dataclasses import dataclass

import numpy as np

from npool.testing import oracle


@dataclass(frozen=True)
class Geometry:
    """Windows that are compiled into kernels; shapes and padding are drawn for each problem."""

    kernel: tuple
    stride: tuple
    dilation: tuple
    layout: str = "C"

    @property
    def name(self):
        """As a test's name shows it."""

        def join(values):
            return "x".join(map(str, values))

        return f"{join(self.kernel)}s{join(self.stride)}d{join(self.dilation)}-{self.layout}"


def _geometry(kernel, stride=None, dilation=None, layout="C"):
    count = len(kernel)
    return Geometry(kernel, stride or kernel, dilation or (1,) * count, layout)


GEOMETRIES = [
    _geometry((3, 3), (2, 2)),
    _geometry((2, 2)),
    _geometry((3, 3), (2, 2), layout="last"),
    _geometry((3, 3), (1, 1)),
    _geometry((2, 3), (3, 1), (1, 2)),
    _geometry((2, 2), layout="last"),
    _geometry((5, 1), (2, 1), layout="sliced"),
    _geometry((1, 4)),
    _geometry((3,), (2,)),
    _geometry((4,), layout="last"),
    _geometry((5,), (1,), (2,)),
    _geometry((2,), (3,)),
    _geometry((7,), (2,), layout="sliced"),
    _geometry((3,), (3,), layout="F"),
    _geometry((2, 2, 2)),
    _geometry((3, 2, 2), (2, 1, 2), layout="last"),
    _geometry((2, 3, 3), (1, 2, 2)),
    _geometry((2, 1, 3), (2, 2, 1), (1, 1, 2), layout="F"),
    _geometry((3, 3), (3, 3), layout="F"),
    _geometry((4, 4), (2, 2), layout="last"),
    _geometry((5, 5), (3, 3)),
    _geometry((2, 2), (1, 1), layout="sliced"),
    _geometry((2, 2, 1, 2), (1, 2, 1, 2)),
    _geometry((6, 2), (4, 2)),
]

#: One axis and few taps, so that kernels of many types and reducers are compiled in time.
SMALL = [
    _geometry((k,), (s,), (d,), layout)
    for layout, many in (("C", 7), ("last", 5), ("sliced", 4), ("F", 4))
    for k, s, d in (
        (3, 2, 1), (2, 1, 2), (2, 3, 1), (3, 1, 1), (3, 2, 2), (2, 1, 1), (4, 2, 1))[:many]
]  # fmt: skip


def _many(kernels, layouts):
    return [_geometry(*kernel, layout=layout) for layout in layouts for kernel in kernels]


#: Windows of more taps than one kernel has written out, by the way that they are folded.
LARGE = {
    # They hardly overlap: a kernel walks along each.
    "walked": [
        _geometry((k,), (-(-k // 8) + 5 * i % k,), (1 + i % 3,),
                  ("C", "last", "sliced", "F")[i % 4])
        for i, k in enumerate(range(33, 253, 11))
    ] + _many([((2, 60), (1, 20))], ("C", "last", "sliced", "F")),
    # They overlap: of windows of 1, 8 and 64 taps, as the digits of the window in base 8 say.
    "built": [
        _geometry((k,), (stride,), layout=layout) for stride, layout in ((1, "C"), (2, "last"))
        for k in (33, 36, 64, 65, 68, 72, 73, 76, 96, 97, 100, 257)
    ],
    # Each axis is few taps, both together are many.
    "separable": _many([
        ((a, b), tuple({7: 1, 8: 2, 9: 1}[k] for k in (a, b)),
         tuple({7: 1, 8: 1, 9: 2}[k] for k in (a, b)))
        for a, b in ((7, 8), (8, 7), (7, 9), (9, 7), (8, 9), (9, 8), (8, 8), (9, 9))
    ], ("C", "last", "F")),
    # One window, of a whole axis and its padding.
    "pieces": [
        *_many([((k,), None, (1,)) for k in (64, 70, 95, 101, 128, 160)], ("C", "last", "F")),
        *_many([((k,), None, (2,)) for k in (60, 75, 96, 99, 130, 155)], ("sliced",)),
    ],
}  # fmt: skip


def large_problem(geometry, family, rng):
    """As `problem`; every window has elements."""
    lead = [2, 3] if geometry.layout == "last" else [3]
    lengths, padding = [], []
    for k, s, d in zip(geometry.kernel, geometry.stride, geometry.dilation, strict=True):
        extent = d * (k - 1) + 1
        most = extent // (5 if family == "pieces" else 3)
        before, after = (int(p) for p in rng.integers(0, most + 1, 2))
        further = {"walked": s * int(rng.integers(1, 4)), "built": s * int(rng.integers(1, 30)),
                   "separable": int(rng.integers(0, 9)), "pieces": 0}[family]  # fmt: skip
        length = extent - before - after + further + int(rng.integers(0, min(s, 9)))
        if family == "pieces":
            # Of 32 taps at a time wide loads take seconds to compile: two windows have them.
            length = -(-length // 4) * 4 if k in (64, 128) else length | 1
        lengths.append(length)
        padding.append((before, after))
    x = laid(array((*lead, *lengths), "float32", rng), geometry.layout, len(lead))
    x[np.isinf(x)] = 7
    return x, {
        "kernel_size": geometry.kernel, "stride": geometry.stride, "padding": tuple(padding),
        "dilation": geometry.dilation,
        "ceil_mode": family != "pieces" and bool(rng.integers(0, 2)),
    }  # fmt: skip


def pooled_plainly(x, arguments, reduce):
    """The last axes pooled by NumPy, a window at a time: values, and positions of max and min.

    Sums and averages are float64's, with padding counted.
    """
    axes = oracle.pooled_axes(x.shape, **arguments)
    lead, lengths = x.shape[: -len(axes)], x.shape[-len(axes) :]
    out = tuple(axis.outputs for axis in axes)
    values, places = np.empty((*lead, *out)), np.full((*lead, *out), -1, np.int64)
    flat = x.reshape(*lead, -1)
    for where in np.ndindex(*out):
        taps = np.ix_(*(axis.taps(i) for axis, i in zip(axes, where, strict=True)))
        at = np.ravel_multi_index(taps, lengths).ravel()
        seen = flat[..., at].astype(float)
        if reduce in ("max", "min"):
            # The last NaN, or else the first of the greatest.
            nan = np.isnan(seen)
            best = np.where(nan.any(-1), at.size - 1 - nan[..., ::-1].argmax(-1),
                            getattr(np, f"arg{reduce}")(seen, -1))  # fmt: skip
            places[(..., *where)] = at[best]
            values[(..., *where)] = np.take_along_axis(seen, best[..., None], -1)[..., 0]
            continue
        count = np.prod([axis.counted(i) for axis, i in zip(axes, where, strict=True)])
        values[(..., *where)] = seen.sum(-1) / (count if reduce == "avg" else 1)
    return values, places


def problem(geometry, rng, dtype="float32", exact=True, pads=True):
    """An array and the arguments of a call: random shape, padding and numbers."""
    n = len(geometry.kernel)
    lead = [int(rng.integers(2, 5))]
    if geometry.layout == "last":
        # Channels that are read four at a time, or one by one.
        lead = [int(rng.integers(1, 3)), (4 if sum(geometry.kernel) % 2 == 0 else 3)]
    elif geometry.layout == "F":
        lead = [(4, 3, 2, 3)[sum(geometry.kernel) % 4]]
    lengths, padding = [], []
    for k, s, d in zip(geometry.kernel, geometry.stride, geometry.dilation, strict=True):
        extent = d * (k - 1) + 1
        before, after = (int(p) for p in rng.integers(0, extent if pads else 1, 2))
        least = max(1, extent - before - after)
        length = int(least + rng.integers(0, 2 * s + (9 if n == 1 else 6 if n == 2 else 3)))
        # Windows that touch are read by wide loads or one by one, and not by all between.
        touching = k == s > 1 and d == 1 and len(lengths) == n - 1 and geometry.layout == "C"
        lengths.append(length if not touching else -(-length // 4) * 4 if before else length | 1)
        padding.append((before, after))
    shape = (*lead, *lengths)
    x = array(shape, dtype, rng, exact)
    x = laid(x, geometry.layout, len(lead))
    arguments = {
        "kernel_size": geometry.kernel,
        "stride": geometry.stride,
        "padding": tuple(padding),
        "dilation": geometry.dilation,
        "ceil_mode": bool(rng.integers(0, 2)),
    }
    return x, arguments


def array(shape, dtype, rng, exact=True):
    """Small integers with ties, now and then NaN and infinities."""
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    low = 0 if kind.kind == "u" else -9
    x = rng.integers(low, 10, shape)
    if kind.kind in "iu":
        return x.astype(kind)
    x = x.astype(np.float64)
    if not exact:
        x = rng.uniform(0.5, 1, shape)
    special = rng.random(shape)
    x[special < 0.03] = np.nan
    x[(special > 0.03) & (special < 0.05)] = np.inf
    x[(special > 0.05) & (special < 0.07)] = -np.inf
    return x.astype(kind)


def laid(x, layout, lead):
    """`x` in another memory order."""
    if layout == "last":
        order = [i for i in range(x.ndim) if i != 1] + [1]
        return np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))
    if layout == "F":
        return np.asfortranarray(x)
    if layout == "sliced":
        base = np.zeros([2 * n + 1 for n in x.shape], x.dtype)
        view = base[tuple(slice(1, 1 + 2 * n, 2) for n in x.shape)]
        view[...] = x
        return view[..., ::-1]
    return x


def counted_gradient(gradient, shape, arguments, include_pad):
    """The gradient of averages, one window at a time; sums where `include_pad` is None.

    Slow and plain, in float64, and nothing of npool's: the oracle of the gradients.
    """
    result = np.zeros(shape)
    for where, places, count in windows(shape, arguments, include_pad):
        for place in places:
            result[(..., *place)] += gradient[(..., *where)] / count
    return result


def counted_bins(gradient, shape, bins):
    """The gradient of averages of bins, one bin at a time, in float64."""
    result = np.zeros(shape)
    lengths = shape[len(shape) - len(bins) :]
    for where in np.ndindex(*bins):
        bin_ = tuple(
            slice(i * n // out, -(-(i + 1) * n // out))
            for i, n, out in zip(where, lengths, bins, strict=True)
        )
        elements = np.prod([s.stop - s.start for s in bin_])
        share = gradient[(..., *where)].astype(float) / elements
        result[(..., *bin_)] += share[(..., *(None,) * len(bins))]
    return result


def picked_gradient(gradient, indices, shape, pooled):
    """The gradient of what picked an element, one result at a time."""
    lead = shape[: len(shape) - pooled]
    result = np.zeros((int(np.prod(lead)), int(np.prod(shape[len(lead) :]))))
    flat, places = (a.reshape(result.shape[0], -1) for a in (gradient, indices))
    for row in range(result.shape[0]):
        for value, place in zip(flat[row], places[row], strict=True):
            if place >= 0:
                result[row, place] += value
    return result.reshape(shape)


def windows(shape, arguments, include_pad):
    """Each output of the last axes, the places that it sees, and what it is divided by."""
    axes = oracle.pooled_axes(shape, **arguments)
    for where in np.ndindex(*(axis.outputs for axis in axes)):
        taps = [axis.taps(i) for axis, i in zip(axes, where, strict=True)]
        count = 1
        for axis, i, inside in zip(axes, where, taps, strict=True):
            count *= 1 if include_pad is None else axis.counted(i) if include_pad else len(inside)
        grid = np.stack(np.meshgrid(*taps, indexing="ij"), -1).reshape(-1, len(axes))
        yield where, [tuple(p) for p in grid.tolist()], count


def drawn_problem(geometry, rng):
    """An array, the length of the result, and samples for fractional pooling."""
    lead = [int(rng.integers(2, 4))]
    if geometry.layout == "last":
        lead = [int(rng.integers(1, 3)), 3]
    outs = [int(rng.integers(1, 5)) for _ in geometry.kernel]
    lengths = [
        o + k - 1 + int(rng.integers(0, 7)) for o, k in zip(outs, geometry.kernel, strict=True)
    ]
    x = laid(array((*lead, *lengths), "float32", rng), geometry.layout, len(lead))
    return x, tuple(outs), rng.random((*lead, len(outs)))


def fractional(x, kernel, outs, samples):
    """Fractional max pooling of the last axes, a window at a time: values and positions."""
    pooled, kind = len(kernel), samples.dtype.type
    lead, lengths = x.shape[: x.ndim - pooled], x.shape[x.ndim - pooled :]
    values = np.empty((*lead, *outs), x.dtype)
    places = np.empty((*lead, *outs), np.int64)
    for plane in np.ndindex(*lead):
        for where in np.ndindex(*outs):
            window = []
            for u, i, n, k, o in zip(samples[plane], where, lengths, kernel, outs, strict=True):
                start = n - k
                if i < o - 1:
                    step = kind(n - k) / kind(o - 1)
                    start = int((kind(i) + u) * step) - int(u * step)
                window.append(slice(start, start + k))
            best = place = None
            for tap in np.ndindex(*kernel):
                at = tuple(w.start + t for w, t in zip(window, tap, strict=True))
                v = x[(*plane, *at)]
                if best is None or v > best or np.isnan(v):
                    best, place = v, np.ravel_multi_index(at, lengths)
            values[(*plane, *where)], places[(*plane, *where)] = best, place
    return values, places


def norm_gradient(gradient, x, norms, p, arguments):
    """The gradient of norms by its formula, one window at a time, in float64."""
    x, norms, gradient = (np.asarray(a, float) for a in (x, norms, gradient))
    shape = x.shape
    result = np.zeros(shape)
    with np.errstate(all="ignore"):
        for where, places, _ in windows(shape, arguments, None):
            share, norm = gradient[(..., *where)], norms[(..., *where)]
            if p != 1:
                share = np.where(norm == 0, 0, share * norm ** (1 - p))
            for place in places:
                result[(..., *place)] += share
        result = result * np.sign(x) * np.abs(x) ** (p - 1)
    return np.where(x == 0, 0, result) if p not in (1, 2) else result
