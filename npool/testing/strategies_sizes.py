"""Hypothesis strategies for problems of a given size of the result: adaptive pooling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from .exact import available
from .layouts import LAYOUTS
from .operations import OPERATIONS
from .problems import Problem
from .strategies import elements


@st.composite
def size_problems(
    draw: st.DrawFn,
    *,
    ops: Sequence[str] = tuple(OPERATIONS),
    dtypes: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    data: Sequence[str] = ("integers", "ties", "special"),
    pooled: Sequence[int] = (1, 2, 3),
    batch: Sequence[int] = (0, 1, 2),
    layouts: Sequence[str] = tuple(LAYOUTS),
    options: Mapping[str, st.SearchStrategy[Any]] | None = None,
    named_axes: bool = True,
    long: bool = True,
) -> Problem:
    """Adaptive pooling problems: fewer bins than elements, as many, or more.

    Parameters
    ----------
    ops, dtypes, data, layouts, options
        As for `npool.testing.problems`.
    pooled, batch : sequence of int
        How many axes are pooled, and how many others there are.
    named_axes : bool
        Whether ``axes`` may be named, and in any order.
    long : bool
        Whether one axis may be of up to 200 elements, so that bins are long.

    Returns
    -------
    SearchStrategy of Problem

    Raises
    ------
    KeyError
        When an example is drawn, for an operation or a layout that is not known.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(size_problems(ops=["max"]), lambda problem: problem.output_size == (2,)).shape
    (1,)
    """
    op = draw(st.sampled_from(list(ops)))
    allowed = OPERATIONS[op].dtypes
    wanted = dtypes[op] if isinstance(dtypes, Mapping) else dtypes or allowed
    dtype = draw(st.sampled_from(available(tuple(d for d in wanted if d in allowed))))
    count = draw(st.sampled_from(list(pooled)))
    longest = {1: 12, 2: 7, 3: 4}.get(count, 3)
    lengths = [draw(st.integers(1, longest)) for _ in range(count)]
    if long and draw(st.integers(0, 7)) == 7:
        lengths[draw(st.integers(0, count - 1))] = draw(st.integers(30, 200))
    sizes: list[int | None] = [
        draw(st.integers(1, min(n, 8)) | st.integers(1, 8) | st.none()) for n in lengths
    ]
    lead = [draw(st.integers(1, 3)) for _ in range(draw(st.sampled_from(list(batch))))]
    shape, axes = [*lead, *lengths], None
    if named_axes and draw(st.booleans()):
        order = draw(st.permutations(range(len(shape))))
        moved = [0] * len(shape)
        for source, target in enumerate(order):
            moved[target] = shape[source]
        shape, axes = moved, tuple(order[len(lead) :])
    has = OPERATIONS[op].options
    chosen = {name: draw(s) for name, s in (options or {}).items() if name in has}
    numbers = st.lists(elements(dtype, draw(st.sampled_from(list(data)))), min_size=1, max_size=30)
    return Problem(
        op=op,
        shape=tuple(shape),
        values=tuple(draw(numbers)),
        dtype=dtype,
        axes=axes,
        options=tuple((name, value) for name, value in chosen.items() if value is not None),
        layout=draw(st.sampled_from(list(layouts))),
        output_size=tuple(sizes),
    )
