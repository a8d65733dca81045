"""Hypothesis strategies for arrays and for pooling problems.

They shrink to something readable: few axes, small windows, zeros and ones. Data are small
integers unless asked otherwise, so that float answers are exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

try:
    from hypothesis import assume
    from hypothesis import strategies as st
except ImportError as error:  # pragma: no cover - the extra is there wherever tests run
    raise ImportError("npool.testing needs hypothesis: pip install 'npool[test]'") from error

from .edges import EDGES
from .exact import FLOATS, INTEGERS, available, bounds, is_float, named_dtype
from .layouts import LAYOUTS
from .operations import OPERATIONS
from .problems import Noise, Problem

FEATURES = ("stride", "padding", "asymmetric_padding", "same", "dilation", "ceil_mode", "axes")
"""What a problem may vary in its geometry, by name."""

DATA = (
    "integers",
    "ties",
    "negative",
    "nan",
    "special",
    "spike",
    "offset",
    "wide",
    "floats",
    "one_sign",
)
"""Styles of data, by name; see `elements`."""

_KERNEL_UP_TO = {1: 5, 2: 3, 3: 3, 4: 2}
_SPECIAL = (0, 1, -1, 2, math.nan, math.inf, -math.inf, 3)


def elements(dtype: str, data: str = "integers") -> st.SearchStrategy[Any]:
    """Single numbers of a dtype in one of the styles of `DATA`.

    ``integers`` small ones; ``ties`` 0 to 2; ``negative`` below 0; ``nan`` small integers and
    NaN; ``special`` NaN and both infinities too; ``spike`` zeros, with now and then a NaN, an
    infinity or 1e17; ``offset`` small integers on top of 4096; ``wide`` the bounds of an integer
    dtype and their neighbours; ``floats`` eighths up to 1000; ``one_sign`` positive numbers up to
    1. A style that a dtype cannot hold gives small integers.

    Parameters
    ----------
    dtype, data : str

    Returns
    -------
    SearchStrategy of int, float or complex

    Raises
    ------
    TypeError
        For a dtype that NumPy does not know.

    Examples
    --------
    >>> elements("bool")
    integers(min_value=0, max_value=1)
    """
    kind = named_dtype(dtype).kind
    floating = is_float(named_dtype(dtype))
    if kind == "b":
        return st.integers(0, 1)
    if kind == "c":
        return st.builds(complex, st.integers(-9, 9), st.integers(-9, 9))
    if data == "ties":
        return st.integers(0, 2)
    if data == "negative" and kind != "u":
        return st.integers(-9, -1)
    if data == "wide" and kind in "iu":
        return st.sampled_from(_wide(dtype))
    if floating and data == "nan":
        return st.sampled_from((0, 1, 2, -1, 3, -2, math.nan, 4, 5, -3))
    if floating and data == "special":
        return st.sampled_from(_SPECIAL)
    if floating and data == "spike":
        large = 1e4 if dtype == "float16" else 1e17
        return st.sampled_from((0, 1, 2, 3, 1, 0, 2, math.nan, math.inf, -math.inf, large))
    if floating and data == "offset":
        return st.integers(4096, 4105)
    if floating and data == "floats":
        return st.integers(-8000, 8000).map(lambda eighths: eighths / 8)
    if floating and data == "one_sign":
        return st.integers(1, 2**24).map(lambda steps: steps / 2**24)
    return st.integers(0, 9) if kind == "u" else st.integers(-9, 9)


def _wide(dtype: str) -> tuple[int, ...]:
    low, high = (int(b) for b in bounds(named_dtype(dtype)))
    near = {0, 1, low, low + 1, high, high - 1, high // 2, low // 2}
    if high > 2**53:
        near |= {2**53, 2**53 + 1, high - 1024, 2**62 + 1}
    return tuple(sorted(near, key=lambda v: (abs(v), v)))


@st.composite
def arrays(
    draw: st.DrawFn,
    *,
    dtypes: Sequence[str] = (*INTEGERS, *FLOATS),
    dims: tuple[int, int] = (1, 4),
    data: Sequence[str] = ("integers", "ties", "special", "floats"),
    layouts: Sequence[str] = tuple(LAYOUTS),
    size: int = 60,
) -> np.ndarray[Any, Any]:
    """Arrays of up to ``size`` elements, in every layout.

    Parameters
    ----------
    dtypes, data, layouts : sequence of str
        What to draw from: dtypes, names in `DATA` and names in `LAYOUTS`.
    dims, size
        The lowest and the highest number of axes; the most elements.

    Returns
    -------
    SearchStrategy of numpy.ndarray

    Raises
    ------
    TypeError, KeyError
        When an example is drawn, for a dtype or a layout that is not known.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(arrays(dtypes=["int8"], dims=(2, 2)), lambda x: x.size > 0)
    array([[0]], dtype=int8)
    """
    dtype = draw(st.sampled_from(available(tuple(dtypes))))
    shape: list[int] = []
    for _ in range(draw(st.integers(*dims))):
        shape.append(draw(st.integers(1, max(1, min(6, size // max(1, math.prod(shape)))))))
    style, layout = draw(st.sampled_from(data)), draw(st.sampled_from(layouts))
    values = _values(draw, dtype, style, tuple(shape))
    return Problem("max", tuple(shape), values, dtype, layout=layout).array()


def _values(draw: st.DrawFn, dtype: str, data: str, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """As many numbers as the shape holds, or fewer to be repeated: those shrink to less."""
    if 0 in shape:
        return (0,)
    count = draw(st.integers(1, math.prod(shape)))
    return tuple(draw(st.lists(elements(dtype, data), min_size=count, max_size=count)))


@dataclass(frozen=True)
class Limits:
    """What a geometry may be drawn from; see `problems`.

    Parameters
    ----------
    pooled, batch : sequence of int
        How many axes are pooled, and how many others there are.
    ceil_modes, kernel_sizes, padding_limit
        The only ones (no ``kernel_sizes``: 1 to 5); the most padding a side, of kernel, dilation.
    size, longest_batch : int
        About how many elements there may be; the most along an axis that is not pooled.

    Examples
    --------
    >>> planes = problems(ops=["max"], limits=Limits(pooled=[2], batch=[1]))
    """

    pooled: Sequence[int] = (1, 2, 3, 4)
    batch: Sequence[int] = (0, 1, 2)
    ceil_modes: Sequence[bool] = (False, True)
    kernel_sizes: Sequence[int] | None = None
    padding_limit: Callable[[int, int], int] | None = None
    size: int = 60
    longest_batch: int = 3


@dataclass
class _Axes:
    """What is drawn axis by axis, and how many elements the rest may share."""

    room: int
    lengths: list[int] = field(default_factory=list)
    kernels: list[int] = field(default_factory=list)
    strides: list[int] = field(default_factory=list)
    pads: list[tuple[int, int]] = field(default_factory=list)
    dilations: list[int] = field(default_factory=list)


@st.composite
def problems(
    draw: st.DrawFn,
    *,
    ops: Sequence[str] = tuple(OPERATIONS),
    dtypes: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    data: Sequence[str] = ("integers", "ties", "special"),
    vary: Sequence[str] = FEATURES,
    require: Sequence[str] = (),
    limits: Limits | None = None,
    layouts: Sequence[str] = tuple(LAYOUTS),
    options: Mapping[str, st.SearchStrategy[Any]] | None = None,
    edges: Sequence[str] = (),
    empty_windows: bool = True,
    empty_batch: bool = False,
) -> Problem:
    """Pooling problems; everything that may vary can be narrowed.

    Parameters
    ----------
    ops, dtypes, data, layouts
        What to draw from; ``dtypes=None``: all that the operation has; a mapping: those of each.
    vary, require
        Names in `FEATURES`: which may be drawn, and which always are.
    limits : Limits, optional
    options
        Strategies of keyword arguments, such as ``{"count_include_pad": st.booleans()}``; those
        that the operation lacks are left out, and so is one whose draw is None.
    edges
        Names in `EDGES`: now and then one takes the place of the drawn geometry.
    empty_windows, empty_batch
        Whether a window may lie wholly in the padding; whether the first axis has length 0.

    Returns
    -------
    SearchStrategy of Problem

    Raises
    ------
    KeyError
        When an example is drawn, for an operation, an edge or a layout that is not known.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(problems(ops=["max"], dtypes=["int8"]), lambda problem: problem.stride == 2).op
    'max'
    """
    op = draw(st.sampled_from(list(ops)))
    allowed = OPERATIONS[op].dtypes
    wanted = dtypes[op] if isinstance(dtypes, Mapping) else dtypes or allowed
    dtype = draw(st.sampled_from(available(tuple(d for d in wanted if d in allowed))))
    named = draw(st.sampled_from([None, None, None, *edges])) if edges else None
    if named is not None:
        arguments = {"axes": None, **EDGES[named]}
    else:
        features = {f for f in vary if f in require or draw(st.booleans())} | set(require)
        arguments = _geometry(draw, features, limits or Limits())
    if empty_batch and len(arguments["shape"]) > 1 and arguments["axes"] is None:
        arguments["shape"] = (0, *arguments["shape"][1:])
    has = OPERATIONS[op].options
    chosen = {name: draw(s) for name, s in (options or {}).items() if name in has}
    problem = Problem(
        op=op,
        dtype=dtype,
        layout=draw(st.sampled_from(list(layouts))),
        values=_values(draw, dtype, draw(st.sampled_from(list(data))), arguments["shape"]),
        options=tuple((name, value) for name, value in chosen.items() if value is not None),
        **arguments,
    )
    assume(empty_windows or not problem.has_empty_window())
    return problem


def _geometry(draw: st.DrawFn, features: set[str], limits: Limits) -> dict[str, Any]:
    """The arguments that say which elements a window holds."""
    count = draw(st.sampled_from(list(limits.pooled)))
    modes = list(limits.ceil_modes)
    ceil_mode = draw(st.sampled_from(modes)) if "ceil_mode" in features else modes[0]
    named = draw(st.sampled_from(["same", "same_lower", "valid"])) if "same" in features else None
    if named is not None:
        features = features - {"padding", "asymmetric_padding"}
    if named == "valid":
        features = features - {"same"}
    drawn = _Axes(limits.size)
    for i in range(count):
        _axis(draw, drawn, features, count - i, ceil_mode, limits)
    lead: list[int] = []
    for _ in range(draw(st.sampled_from(list(limits.batch)))):
        lead.append(draw(st.integers(1, max(1, min(limits.longest_batch, drawn.room)))))
        drawn.room //= lead[-1]
    arguments: dict[str, Any] = {
        "shape": (*lead, *drawn.lengths),
        "kernel_size": tuple(drawn.kernels),
        "stride": _form(draw, drawn.strides) if "stride" in features else None,
        "dilation": _form(draw, drawn.dilations),
        "padding": named or _padding_form(draw, drawn.pads, "asymmetric_padding" in features),
        "ceil_mode": ceil_mode,
        "axes": None,
    }
    if "axes" in features:
        _name_axes(draw, arguments, count)
    return arguments


def _axis(
    draw: st.DrawFn, drawn: _Axes, features: set[str], left: int, ceil_mode: bool, limits: Limits
) -> None:
    """Draw one pooled axis, of ``left`` that are still to be drawn."""
    top = _KERNEL_UP_TO[min(4, left + len(drawn.lengths))]
    sizes = limits.kernel_sizes
    kernel = draw(st.sampled_from(list(sizes)) if sizes else st.integers(1, top))
    dilation = draw(st.integers(1, 3)) if "dilation" in features else 1
    stride = draw(st.integers(1, kernel + 2)) if "stride" in features else kernel
    window = dilation * (kernel - 1) + 1
    limit = min(window + 1, 4)
    if limits.padding_limit is not None:
        limit = max(0, limits.padding_limit(kernel, dilation))
    before = after = 0
    if {"padding", "asymmetric_padding"} & features:
        before = after = draw(st.integers(0, limit))
        if "asymmetric_padding" in features:
            after = draw(st.integers(0, limit))
    shortest = max(1, window - before - after - (stride - 1 if ceil_mode else 0))
    if "same" in features:
        shortest = 1
    longest = max(shortest, min(shortest + 5, int(drawn.room ** (1 / left))))
    length = draw(st.integers(shortest, longest))
    drawn.lengths.append(length)
    drawn.kernels.append(kernel)
    drawn.strides.append(stride)
    drawn.pads.append((before, after))
    drawn.dilations.append(dilation)
    drawn.room = max(1, drawn.room // length)


def _form(draw: st.DrawFn, values: list[int]) -> Any:
    """One int where all axes agree and chance says so, else one for each axis."""
    equal = len(set(values)) == 1
    return values[0] if equal and not draw(st.booleans()) else tuple(values)


def _padding_form(draw: st.DrawFn, pads: list[tuple[int, int]], pairs: bool) -> Any:
    """An int, one int an axis, or pairs: the shortest that says it, or now and then pairs."""
    if any(a != b for a, b in pads) or (pairs and draw(st.integers(0, 3)) == 3):
        return list(pads)
    return _form(draw, [a for a, _ in pads])


def _name_axes(draw: st.DrawFn, arguments: dict[str, Any], count: int) -> None:
    """Move the pooled axes to drawn places and name them, some from the end."""
    shape = list(arguments["shape"])
    dims = len(shape)
    order = draw(st.permutations(range(dims)))
    axes = order[dims - count :]
    moved = [0] * dims
    for source, target in enumerate(order):
        moved[target] = shape[source]
    arguments["shape"] = tuple(moved)
    arguments["axes"] = tuple(a - dims if draw(st.booleans()) else a for a in axes)
    kernels = arguments["kernel_size"]
    if len(set(kernels)) == 1 and draw(st.booleans()):
        arguments["kernel_size"] = kernels[0]


def noise_problems(
    ops: Sequence[str], dtypes: Sequence[str], taps: tuple[int, int] = (200, 1024)
) -> st.SearchStrategy[Problem]:
    """One long line of random numbers of one sign, in windows of up to 1,024 taps.

    Parameters
    ----------
    ops, dtypes, taps
        What to draw from; the least and the most elements of a window.

    Returns
    -------
    SearchStrategy of Problem

    Raises
    ------
    hypothesis.errors.InvalidArgument
        When an example is drawn, for nothing to draw from.

    Examples
    --------
    >>> lines = noise_problems(["sum"], ["float32"], taps=(200, 300))
    """
    return st.builds(
        lambda op, dtype, kernel, more, seed: Problem(
            op, (kernel + more,), Noise(seed), dtype, kernel_size=(kernel,), stride=1
        ),
        st.sampled_from(list(ops)),
        st.sampled_from(list(dtypes)),
        st.integers(*taps),
        st.integers(0, 2),
        st.integers(0, 999),
    )
