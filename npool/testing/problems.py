"""A pooling problem as a value: data, geometry and options, printed as a Python call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from . import oracle
from .exact import named_dtype
from .layouts import LAYOUTS

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Noise:
    """Random numbers of one sign, in (0, 1]: data that is too long to be written out.

    Parameters
    ----------
    seed : int
        The same seed gives the same numbers.

    Examples
    --------
    >>> Noise(0).fill((2,)).round(3)
    array([0.851, 0.637])
    """

    seed: int

    def fill(self, shape: tuple[int, ...]) -> Array:
        """An array of multiples of 2**-24, which float32 holds exactly."""
        steps = np.random.default_rng(self.seed).integers(1, 2**24, shape, endpoint=True)
        return steps / 2.0**24


@dataclass(frozen=True)
class Problem:
    """One call of a pooling function.

    Parameters
    ----------
    op : str
        A name in `npool.testing.OPERATIONS`.
    shape, values, dtype, layout
        The array: ``values`` in row-major order (repeated where the shape holds more), or a
        `Noise`; ``layout`` is a name in `npool.testing.LAYOUTS`.
    kernel_size, stride, padding, dilation, ceil_mode, axes
        As `npool.pool` takes them.
    output_size : int or sequence, optional
        That of adaptive pooling, which takes the place of all of these but ``axes``.
    options : tuple of (str, object)
        The keyword arguments that not every reduction has, such as
        ``("count_include_pad", False)``.

    Examples
    --------
    >>> problem = Problem("max", (4,), (1, 3, 2, 0), kernel_size=(2,), stride=1)
    >>> print(problem)
    max_pool(np.array([1, 3, 2, 0], "float32"), (2,), 1)
    >>> problem.expected().values.tolist()
    [3.0, 3.0, 2.0]
    """

    op: str
    shape: tuple[int, ...]
    values: tuple[Any, ...] | Noise = (0,)
    dtype: str = "float32"
    kernel_size: Any = (1,)
    stride: Any = None
    padding: Any = 0
    dilation: Any = 1
    ceil_mode: bool = False
    axes: Any = None
    options: tuple[tuple[str, Any], ...] = ()
    layout: str = "C"
    output_size: Any = None

    def array(self) -> Array:
        """The input, made anew, in the problem's layout."""
        dtype = named_dtype(self.dtype)
        if isinstance(self.values, Noise):
            return LAYOUTS[self.layout](self.values.fill(self.shape).astype(dtype))
        count = int(np.prod(self.shape, dtype=np.int64))
        repeated = [self.values[i % len(self.values)] for i in range(count)]
        native = dtype
        if dtype.kind not in "biu":
            native = np.dtype(complex if dtype.kind == "c" else float)
        return LAYOUTS[self.layout](np.array(repeated, native).astype(dtype).reshape(self.shape))

    def geometry(self) -> dict[str, Any]:
        """The arguments that decide which elements a window holds."""
        if self.output_size is not None:
            return {"output_size": self.output_size, "axes": self.axes}
        return {
            "kernel_size": self.kernel_size,
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "ceil_mode": self.ceil_mode,
            "axes": self.axes,
        }

    def option(self, name: str, default: Any = None) -> Any:
        """One of the options."""
        return dict(self.options).get(name, default)

    def arguments(self) -> dict[str, Any]:
        """All arguments of the call but the array and the name of the reduction."""
        return {**self.geometry(), **dict(self.options)}

    def expected(self, x: Array | None = None, reduce: Any = None) -> oracle.Answer:
        """What the oracle says."""
        array = self.array() if x is None else x
        return oracle.answer(array, **self.arguments(), reduce=reduce or self.op)

    def with_options(self, **options: Any) -> Problem:
        """A copy with some options set."""
        return replace(self, options=tuple({**dict(self.options), **options}.items()))

    def has_empty_window(self) -> bool:
        """Whether some window lies wholly in the padding."""
        return oracle.has_empty_window(self.shape, **self.geometry())

    def output_shape(self) -> tuple[int, ...]:
        """The shape of the result."""
        return oracle.output_shape(self.shape, **self.geometry())

    def pooled(self) -> int:
        """The number of pooled axes."""
        sizes = self.kernel_size if self.output_size is None else self.output_size
        given = sizes if self.axes is None else self.axes
        return len(given) if isinstance(given, Sequence) else 1

    def __repr__(self) -> str:
        """The constructor's call, without what is at its default."""
        shown = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)
            if getattr(self, field.name) != field.default
        ]
        return f"Problem({', '.join(shown)})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """The same for Hypothesis and IPython, which would show every field."""
        printer.text(repr(self))

    def __str__(self) -> str:
        """The call of the pooling function."""
        return self.call_text()

    def call_text(self, function: str | None = None) -> str:
        """The problem as a call of ``function`` (by default the name of npool's own)."""
        named = {"max": "max_pool", "min": "min_pool", "avg": "avg_pool", "sum": "sum_pool"}
        if self.output_size is not None:
            named = {"max": "adaptive_max_pool", "avg": "adaptive_avg_pool"}
        sizes = self.kernel_size if self.output_size is None else self.output_size
        parts = [self.array_text(), f"{sizes!r}"]
        if self.stride is not None:
            parts.append(f"{self.stride!r}")
        defaults = {"padding": 0, "dilation": 1, "ceil_mode": False, "axes": None}
        for name, default in defaults.items():
            if getattr(self, name) != default:
                parts.append(f"{name}={getattr(self, name)!r}")
        if function is None and self.op not in named:
            parts.append(f"reduce={self.op!r}")
        parts.extend(f"{name}={_text(value)}" for name, value in self.options)
        plain = "pool" if self.output_size is None else "adaptive_pool"
        return f"{function or named.get(self.op, plain)}({', '.join(parts)})"

    def array_text(self) -> str:
        """The input as a Python expression."""
        if isinstance(self.values, Noise):
            text = f"{self.values!r}.fill({self.shape}).astype({self.dtype!r})"
        elif 0 in self.shape:
            text = f'np.zeros({self.shape}, "{self.dtype}")'
        elif np.prod(self.shape) > 200:
            text = f'np.resize({self.values}, {self.shape}).astype("{self.dtype}")'
        else:
            count = int(np.prod(self.shape))
            filled = np.empty(count, object)
            filled[:] = [self.values[i % len(self.values)] for i in range(count)]
            text = f'np.array({nested(filled.reshape(self.shape).tolist())}, "{self.dtype}")'
        return text if self.layout == "C" else f'LAYOUTS["{self.layout}"]({text})'


def _text(value: Any) -> str:
    return value.__name__ if isinstance(value, type) else repr(value)


def nested(values: Any) -> str:
    """Nested lists of numbers on one line, with whole floats as integers where that is shorter.

    >>> nested([[1.0, 2.5], [float("nan"), 0.0]])
    '[[1, 2.5], [nan, 0]]'
    """
    if isinstance(values, list | tuple):
        return f"[{', '.join(nested(v) for v in values)}]"
    if isinstance(values, float) and values.is_integer() and abs(values) < 1e6:
        return str(int(values))
    return str(values)
