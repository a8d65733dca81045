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


def problem(geometry, rng, dtype="float32", exact=True, pads=True):
    """An array and the arguments of a call: random shape, padding and numbers."""
    n = len(geometry.kernel)
    lead = [int(rng.integers(2, 5))]
    if geometry.layout == "last":
        # Channels that are read four at a time, or one by one.
        lead = [int(rng.integers(1, 3)), (4 if sum(geometry.kernel) % 2 == 0 else 3)]
    lengths, padding = [], []
    for k, s, d in zip(geometry.kernel, geometry.stride, geometry.dilation, strict=True):
        extent = d * (k - 1) + 1
        before, after = (int(p) for p in rng.integers(0, extent if pads else 1, 2))
        least = max(1, extent - before - after)
        lengths.append(int(least + rng.integers(0, 2 * s + (9 if n == 1 else 6 if n == 2 else 3))))
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
