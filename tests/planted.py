"""A small honest pooling function in plain NumPy, and the bugs that can be planted in it.

It gathers the taps of all windows into one array with a mask, and reduces that: another way than
the oracle's, of which it shares nothing. ``bug=`` names what is to go wrong; `BUGS` lists them.
"""

import itertools
import math
from fractions import Fraction

import numpy as np

BUGS = {
    "last_tie": "of equal elements the last one's position",
    "first_nan": "the first NaN's position",
    "nan_dropped": "NaN ignored by max and min",
    "zero_padding": "padding counts as 0",
    "neg_inf_replaced": "the lowest finite number in the place of -inf",
    "ceil_rule_left_out": "the last window in ceil mode may start past the input",
    "ceil_mode_ignored": "ceil_mode does nothing",
    "divisor_not_clipped": "the divisor is the whole window everywhere",
    "dilation_ignored_by_divisor": "the divisor counts the elements that a window spans",
    "count_include_pad_ignored": "padding always counts",
    "divisor_override_clipped": "divisor_override only where the window is whole",
    "sides_swapped": "leading and trailing padding swapped",
    "right_edge_off_by_one": "the last element is never seen",
    "wrong_plane": "positions count from the start of the array",
    "padded_positions": "positions in the padded array",
    "column_major_positions": "positions in column-major order",
    "narrow_accumulator": "integers summed in their own dtype",
    "half_accumulator": "float16 summed in float16",
    "through_float64": "64-bit integers by way of float64",
    "integer_avg_truncates": "half_even rounds toward zero",
    "running_sum": "averages from a running sum that subtracts",
    "squares": "the variance as a difference of squares",
    "logsumexp_overflows": "exponentials of the numbers themselves",
    "lp_signed": "lp without absolute values",
    "stride_one": "the default stride is 1",
    "same_lower_for_same": "same pads like same_lower",
    "same_ignores_dilation": "same pads for the undilated window",
    "negative_axes_misread": "axis -1 taken for axis 0",
    "axes_sorted": "axes sorted, but not the sizes that go with them",
    "strides_misread": "a strided view read in memory order",
    "byte_order_ignored": "big-endian numbers read as native",
    "result_in_c_order": "the memory order of the input is lost",
    "out_written_early": "out written while the input is still read",
    "written_before_errors": "out cleared before the arguments are looked at",
    "input_modified": "the input used as scratch space",
    "infinite_window_accepted": "a window larger than the input gives an empty result",
    "bins_disjoint": "adaptive bins that end where the next one begins",
    "bins_positions_of_bins": "positions within a bin of adaptive pooling, not within the plane",
}

FLOATS = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}
KNOWN = {
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "complex64", "complex128", *FLOATS,
}  # fmt: skip
ROUNDINGS = {
    "half_even": round,
    "half_up": lambda q: math.floor(q + Fraction(1, 2)),
    "floor": math.floor,
    "trunc": math.trunc,
}


def _sizes(value, count, name, low, high=2**31 - 1):
    values = [value] * count if isinstance(value, int | np.integer) else value
    if isinstance(value, bool | float | str) or value is None:
        raise TypeError(f"{name}={value!r} is no integer and no sequence of integers")
    if len(values) != count:
        raise ValueError(f"{name}={value!r} has {len(values)} entries, there are {count} axes")
    for v in values:
        if isinstance(v, bool) or not isinstance(v, int | np.integer):
            raise TypeError(f"{name}={value!r} must hold integers")
        if not low <= v <= high:
            raise ValueError(f"{name}={value!r} must be between {low} and {high}")
    return [int(v) for v in values]


def _geometry(shape, kernel_size, stride, padding, dilation, ceil_mode, axes, bug):
    """For each pooled axis: its number, positions (outputs × taps), and the counted taps."""
    if axes is None:
        if isinstance(kernel_size, int):
            raise ValueError(f"an int kernel_size={kernel_size} needs axes=")
        if not isinstance(kernel_size, tuple | list):
            raise TypeError(f"kernel_size={kernel_size!r} is no sequence of integers")
        axes = range(len(shape) - len(kernel_size), len(shape))
        if not kernel_size or len(kernel_size) > len(shape):
            raise ValueError(f"kernel_size={kernel_size!r} does not fit {len(shape)} axes")
    axes = list(axes)
    if not axes:
        raise ValueError("axes=() names nothing to pool")
    for axis in axes:
        if isinstance(axis, bool) or not isinstance(axis, int | np.integer):
            raise TypeError(f"axes={axes} must hold integers")
        if not -len(shape) <= axis < len(shape):
            raise ValueError(f"axis {axis} is not one of the {len(shape)} axes")
    if bug == "negative_axes_misread":
        numbers = [abs(axis) - 1 if axis < 0 else axis for axis in axes]
    else:
        numbers = [axis % len(shape) for axis in axes]
    if bug == "axes_sorted":
        numbers = sorted(numbers)
    if len({axis % len(shape) for axis in axes}) != len(axes):
        raise ValueError(f"axes={axes} names one axis twice")
    count = len(axes)
    kernels = _sizes(kernel_size, count, "kernel_size", 1)
    strides = kernels if stride is None else _sizes(stride, count, "stride", 1)
    if stride is None and bug == "stride_one":
        strides = [1] * count
    dilations = _sizes(dilation, count, "dilation", 1)
    if isinstance(padding, str):
        if padding not in ("valid", "same", "same_lower"):
            raise ValueError(f"padding={padding!r}: known are 'valid', 'same' and 'same_lower'")
        pads = [None] * count
    elif isinstance(padding, list | tuple) and any(isinstance(p, list | tuple) for p in padding):
        if len(padding) != count:
            raise ValueError(f"padding={padding!r} is not one pair for each of {count} axes")
        pads = [_sizes(p, 2, "padding", 0) for p in padding]
    else:
        pads = [[p, p] for p in _sizes(padding, count, "padding", 0)]
    result = []
    for number, k, s, d, pad in zip(numbers, kernels, strides, dilations, pads, strict=True):
        n, window = shape[number], d * (k - 1) + 1
        if pad is None:
            span = k if bug == "same_ignores_dilation" else window
            missing = max(0, (-(-n // s) - 1) * s + span - n) if padding != "valid" else 0
            pad = [missing // 2, missing - missing // 2]
            if (padding == "same_lower") != (bug == "same_lower_for_same" and padding == "same"):
                pad.reverse()
        before, after = pad[::-1] if bug == "sides_swapped" else pad
        ceil = ceil_mode and bug != "ceil_mode_ignored"
        outputs = (n + before + after - window + (s - 1 if ceil else 0)) // s + 1
        if ceil and (outputs - 1) * s >= n + before and bug != "ceil_rule_left_out":
            outputs -= 1
        if bug == "infinite_window_accepted" and n > 0:
            outputs = max(0, outputs)
        elif n == 0 or outputs <= 0:
            raise ValueError(
                f"axis {number}: length {n}, padding {before} and {after}: no room for {window}"
            )
        starts = np.arange(outputs) * s - before
        grid = starts[:, None] + np.arange(k) * d
        counted = (grid < n + after).sum(axis=1)
        if bug == "dilation_ignored_by_divisor":
            counted = np.minimum(starts + window, n + after) - starts
        if bug == "divisor_not_clipped":
            counted = np.full(outputs, k)
        last = n - 1 if bug == "right_edge_off_by_one" and n > 1 else n
        result.append(
            (number, grid, (grid >= 0) & (grid < last), counted, before, n + before + after)
        )
    return result


def _gather(x, geometry):
    """Taps of all windows: an array (*outputs, taps), and which of them are in the input."""
    for number, grid, *_ in geometry:
        x = np.take(x, np.clip(grid, 0, x.shape[number] - 1), axis=number)
        x = np.moveaxis(x, number + 1, -1)
    dims = x.ndim - len(geometry)
    taps = [grid.shape[1] for _, grid, *_ in geometry]
    mask = np.ones([1] * dims + taps, bool)
    for i, (number, _, inside, *_) in enumerate(geometry):
        shape = [1] * (dims + len(taps))
        shape[number], shape[dims + i] = inside.shape
        mask = mask & inside.reshape(shape)
    mask = np.broadcast_to(mask, x.shape)
    flat = (*x.shape[:dims], -1) if x.size else (*x.shape[:dims], math.prod(taps))
    return np.reshape(x, flat), np.reshape(mask, flat)


def _divisor(geometry, dims):
    total = np.ones([1] * dims, np.int64)
    for number, _, _, counted, *_ in geometry:
        shape = [1] * dims
        shape[number] = len(counted)
        total = total * counted.reshape(shape)
    return total


def _result_dtype(reduce, dtype):
    if reduce in ("sum", "prod"):
        return {"b": np.dtype("i8"), "i": np.dtype("i8"), "u": np.dtype("u8")}.get(
            dtype.kind, dtype
        )
    if reduce in ("any", "all"):
        return np.dtype(bool)
    if reduce in ("range", "absmax"):
        return np.dtype(f"u{dtype.itemsize}") if dtype.kind == "i" else dtype
    if reduce in ("max", "min"):
        return dtype
    return np.dtype("f8") if dtype.kind in "biu" else dtype


def _ends(dtype):
    if dtype.kind == "b":
        return False, True
    if dtype.kind in "iu":
        return np.iinfo(dtype).min, np.iinfo(dtype).max
    return -math.inf, math.inf


def _order(reduce, taps, mask, dtype, bug):
    """Max and min, with the position (among the taps) of each."""
    low, high = _ends(dtype)
    if bug == "neg_inf_replaced" and dtype.kind == "f":
        low, high = np.finfo(dtype).min, np.finfo(dtype).max
    fill = low if reduce == "max" else high
    if bug == "zero_padding":
        fill = 0
    filled = np.where(mask, taps, np.asarray(fill, taps.dtype))
    floating = dtype.name in FLOATS
    nan = np.isnan(filled.astype(float)) if floating else np.zeros(filled.shape, bool)
    if bug == "nan_dropped":
        filled = np.where(nan, np.asarray(fill, taps.dtype), filled)
        nan = np.zeros_like(nan)
    if bug == "through_float64" and dtype.itemsize == 8 and dtype.kind in "iu":
        filled = filled.astype(float).clip(low, float(high) * (1 - 2**-53))
    extreme = filled.max if reduce == "max" else filled.min
    values = extreme(axis=-1, initial=np.asarray(fill, filled.dtype)[()])
    best = (filled == values[..., None]) & mask
    some_nan, taps_at = nan.any(axis=-1), np.arange(taps.shape[-1])
    last_nan = np.where(nan, taps_at, -1).max(axis=-1, initial=-1)
    first, last = best.argmax(axis=-1), np.where(best, taps_at, -1).max(axis=-1, initial=-1)
    if bug == "first_nan":
        last_nan = nan.argmax(axis=-1)
    where = np.where(some_nan, last_nan, last if bug == "last_tie" else first)
    return values, np.where(mask.any(axis=-1), where, -1)


def _total(taps, mask, result, bug):
    """The sum: in float64 for floats, in the widest integers for integers."""
    if bug == "half_accumulator" and taps.dtype.name == "float16":
        total = np.zeros(taps.shape[:-1], np.float16)
        for i in range(taps.shape[-1]):
            total = total + np.where(mask[..., i], taps[..., i], np.float16(0))
        return total
    if result.kind in "iu":
        kept = taps.dtype if bug == "narrow_accumulator" and taps.dtype.kind != "b" else result
    else:
        kept = np.result_type(np.float64, np.complex128 if taps.dtype.kind == "c" else np.float64)
        if taps.dtype.kind in "biu":
            kept = np.dtype(object)
            taps = (
                taps.astype(object) if taps.dtype.kind != "b" else taps.astype(int).astype(object)
            )
    return np.where(mask, taps, np.zeros((), taps.dtype)).astype(kept).sum(axis=-1, dtype=kept)


def _average(x, taps, mask, geometry, result, options, bug):
    divisor = mask.sum(axis=-1)
    if options["count_include_pad"] or bug == "count_include_pad_ignored":
        divisor = np.broadcast_to(_divisor(geometry, taps.ndim - 1), divisor.shape)
    override = options["divisor_override"]
    if override is not None:
        whole = mask.all(axis=-1)
        divisor = np.where(whole | (bug != "divisor_override_clipped"), override, divisor)
    total = _total(taps, mask, result if result.kind in "iu" else np.dtype(float), bug)
    if bug == "running_sum" and len(geometry) == 1 and taps.dtype.kind == "f":
        number, grid, *_ = geometry[0]
        sums = np.concatenate([[0.0], np.cumsum(np.moveaxis(x, number, 0).reshape(-1))])
        if x.ndim == 1:
            n = x.shape[0]
            if np.all(np.diff(grid, axis=1) == 1):
                total = sums[np.clip(grid[:, -1] + 1, 0, n)] - sums[np.clip(grid[:, 0], 0, n)]
    if result.kind not in "iu":
        return np.divide(np.asarray(total, complex if taps.dtype.kind == "c" else float), divisor)
    if not np.all(divisor):
        raise ValueError("an integer average of nothing: count the padding, or ask for a float")
    rounding = "trunc" if bug == "integer_avg_truncates" else options["rounding"]
    low, high = _ends(result)
    values = np.empty(total.shape, object)
    for index in np.ndindex(total.shape):
        exact = Fraction(int(total[index]), int(divisor[index]))
        values[index] = min(max(ROUNDINGS[rounding](exact), low), high)
    return values


def _fold(reduce, x, taps, mask, geometry, result, options, bug):
    """Every reduction but max and min, as an array that is then cast to the result's dtype."""
    dtype = taps.dtype
    if reduce == "sum":
        return _total(taps, mask, result, bug)
    if reduce == "avg":
        return _average(x, taps, mask, geometry, result, options, bug)
    if reduce in ("any", "all"):
        kept = (taps != 0) & mask if reduce == "any" else (taps != 0) | ~mask
        return kept.any(axis=-1) if reduce == "any" else kept.all(axis=-1)
    if reduce == "prod":
        kept = result if result.kind in "iu" else np.dtype(float)
        return np.where(mask, taps, np.ones((), dtype)).astype(kept).prod(axis=-1, dtype=kept)
    if reduce == "range" and dtype.kind in "biu":
        low, high = _ends(dtype)
        most = np.where(mask, taps, low).max(axis=-1, initial=low).astype(object)
        least = np.where(mask, taps, high).min(axis=-1, initial=high).astype(object)
        return np.where(mask.any(axis=-1), most.astype(object) - least, 0)
    if reduce == "absmax" and dtype.kind in "biu":
        return np.abs(np.where(mask, taps, 0).astype(object)).max(axis=-1, initial=0)
    wide = np.where(mask, taps, np.zeros((), dtype)).astype(float)
    count = mask.sum(axis=-1)
    if reduce == "range":
        most = np.where(mask, wide, -math.inf).max(axis=-1, initial=-math.inf)
        least = np.where(mask, wide, math.inf).min(axis=-1, initial=math.inf)
        return np.where(count > 0, most - least, 0)
    if reduce == "absmax":
        return np.abs(wide).max(axis=-1, initial=0)
    if reduce == "lp":
        p = options["norm_type"]
        powers = wide**p if bug == "lp_signed" else np.abs(wide) ** p
        return powers.sum(axis=-1) ** (1 / p)
    if reduce == "rms":
        return np.sqrt((wide**2).sum(axis=-1) / count)
    if reduce in ("var", "std"):
        mean = wide.sum(axis=-1) / count
        if bug == "squares":
            narrow = np.float32 if dtype.itemsize <= 4 else np.float64
            squares = (wide.astype(narrow) ** 2).mean(axis=-1, where=mask)
            variance = squares - mean.astype(narrow) ** 2
        else:
            variance = (np.where(mask, wide - mean[..., None], 0) ** 2).sum(axis=-1) / count
        return variance if reduce == "var" else np.sqrt(variance)
    assert reduce == "logsumexp"
    wide = np.where(mask, wide, -math.inf)
    top = wide.max(axis=-1, initial=-math.inf)
    shift = np.where(np.isfinite(top) & (bug != "logsumexp_overflows"), top, 0)
    return shift + np.log(np.exp(wide - shift[..., None]).sum(axis=-1))


def _positions(where, geometry, shape, bug):
    """Flat positions in the pooled axes, from positions among the taps."""
    dims = where.ndim
    taps = np.unravel_index(np.maximum(where, 0), [g[1].shape[1] for g in geometry])
    order = list(range(len(geometry)))
    if bug == "column_major_positions":
        order.reverse()
    flat = np.zeros(where.shape, np.int64)
    for i in order:
        number, grid, _, _, before, padded = geometry[i]
        outputs = np.arange(grid.shape[0]).reshape([-1 if a == number else 1 for a in range(dims)])
        position = grid[np.broadcast_to(outputs, where.shape), taps[i]]
        if bug == "padded_positions":
            flat = flat * padded + position + before
        else:
            flat = flat * shape[number] + position
    if bug == "wrong_plane":
        pooled = [g[0] for g in geometry]
        lead = [a for a in range(dims) if a not in pooled]
        plane = np.zeros(where.shape, np.int64)
        for a in lead:
            index = np.arange(where.shape[a]).reshape([-1 if b == a else 1 for b in range(dims)])
            plane = plane * where.shape[a] + index
        flat = flat + plane * math.prod(shape[a] for a in pooled)
    return np.where(where < 0, -1, flat)


def _compute(x, geometry, reduce, result, options, bug):
    taps, mask = _gather(x, geometry)
    with np.errstate(all="ignore"):
        if reduce in ("max", "min"):
            values, where = _order(reduce, taps, mask, x.dtype, bug)
            return values.astype(result), _positions(where, geometry, x.shape, bug)
        values = _fold(reduce, x, taps, mask, geometry, result, options, bug)
        if result.kind == "c" or values.dtype != object:
            return values.astype(result), None
        return np.array(values.tolist(), object).reshape(values.shape).astype(result), None


def _like(values, x, bug):
    """The values in the memory order of the input."""
    if bug == "result_in_c_order" or x.ndim == 0:
        return values
    order = sorted(range(x.ndim), key=lambda axis: (-abs(x.strides[axis]), axis))
    return np.ascontiguousarray(values.transpose(order)).transpose(np.argsort(order))


def _checked_input(x, reduce, bug):
    if isinstance(x, np.ma.MaskedArray) or not isinstance(x, np.ndarray):
        raise TypeError(f"x is a {type(x).__name__}: plain arrays only")
    native = x.dtype.newbyteorder("=") if x.dtype.kind in "iufc" else x.dtype
    if native.name not in KNOWN or native.char in "gG":
        raise TypeError(f"x is an array of {x.dtype}; supported are {sorted(KNOWN)}")
    if native.kind == "c" and reduce not in ("avg", "sum"):
        raise TypeError(f"{reduce} of {native} is not defined: complex numbers can be averaged")
    if bug == "byte_order_ignored" and x.dtype != native:
        return x.view(native)
    if bug == "strides_misread":
        return x.ravel(order="K").reshape(x.shape)
    return x.astype(native, copy=False)


def pool(
    x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, *,
    reduce="max", axes=None, count_include_pad=True, divisor_override=None, dtype=None,
    rounding="half_even", norm_type=2, return_indices=False, index_dtype=np.int64, out=None,
    bug=None,
):  # fmt: skip
    """Pool as npool.pool does, but for the planted bug."""
    if bug == "written_before_errors" and out is not None:
        out[...] = 0
    given, x = x, _checked_input(x, reduce, bug)
    geometry = _geometry(x.shape, kernel_size, stride, padding, dilation, ceil_mode, axes, bug)
    if divisor_override == 0:
        raise ValueError("divisor_override=0 divides by zero: give another divisor or None")
    result = _result_dtype(reduce, x.dtype) if dtype is None else np.dtype(dtype)
    shape = list(x.shape)
    for number, grid, *_ in geometry:
        shape[number] = grid.shape[0]
    if out is not None:
        if out.shape != tuple(shape) or out.dtype != result:
            raise ValueError(f"out is {out.dtype} {out.shape}, not {result} {tuple(shape)}")
        zero_stride = any(n > 1 and s == 0 for n, s in zip(out.shape, out.strides, strict=True))
        if not out.flags.writeable or zero_stride:
            raise ValueError("out cannot be written to: give an array of its own")
    options = {
        "count_include_pad": count_include_pad,
        "divisor_override": divisor_override,
        "rounding": rounding,
        "norm_type": norm_type,
    }
    values, positions = _compute(x, geometry, reduce, result, options, bug)
    if bug == "input_modified" and given.flags.writeable and given.size and values.size:
        given[(0,) * given.ndim] = given.flat[-1]
    if out is not None and bug == "out_written_early":
        for index in itertools.product(*(range(n) for n in shape)):
            out[index] = _compute(x, geometry, reduce, result, options, bug)[0][index]
        return out
    if out is not None:
        out[...] = values
        values = out
    else:
        values = _like(values, given, bug)
    return (values, positions.astype(index_dtype)) if return_indices else values


def adaptive_pool(x, output_size, *, axes=None, reduce="max", return_indices=False, bug=None):
    """Pool to a given size as npool.adaptive_pool does, but for the planted bug."""
    axes = range(x.ndim - len(output_size), x.ndim) if axes is None else axes
    geometry = []
    for axis, size in zip(axes, output_size, strict=True):
        n = x.shape[axis]
        size = n if size is None else size
        i = np.arange(size)
        starts, stops = i * n // size, -(-(i + 1) * n // size)
        if bug == "bins_disjoint":
            stops = np.maximum((i + 1) * n // size, starts + 1)
        grid = starts[:, None] + np.arange((stops - starts).max())
        geometry.append((axis % x.ndim, grid, grid < stops[:, None], stops - starts, 0, n))
    options = {"count_include_pad": True, "divisor_override": None, "rounding": "half_even"}
    result = _result_dtype(reduce, x.dtype)
    values, positions = _compute(x, geometry, reduce, result, options, bug)
    if bug == "bins_positions_of_bins":
        (number, grid, *_), others = geometry[-1], [1] * x.ndim
        others[number] = -1
        positions = positions - grid[:, 0].reshape(others)
    return (values, positions) if return_indices else values
