"""Edge shapes by name: geometries that have broken a pooling library before, or nearly."""

from __future__ import annotations

from typing import Any

from .problems import Problem

EDGES: dict[str, dict[str, Any]] = {
    "single_element": {"shape": (1,), "kernel_size": (1,)},
    "window_equals_input": {"shape": (5,), "kernel_size": (5,)},
    "window_of_one": {"shape": (4,), "kernel_size": (1,), "stride": 1},
    "window_of_one_with_stride": {"shape": (7,), "kernel_size": (1,), "stride": 3},
    "window_of_two_overlapping": {"shape": (4,), "kernel_size": (2,), "stride": 1},
    "stride_past_window": {"shape": (9,), "kernel_size": (2,), "stride": 4},
    "stride_past_input": {"shape": (3,), "kernel_size": (2,), "stride": 100},
    "floor_drops_the_end": {"shape": (8,), "kernel_size": (3,), "stride": 2},
    "ragged_ceil": {"shape": (8,), "kernel_size": (3,), "stride": 3, "ceil_mode": True},
    "ragged_ceil_of_one": {"shape": (7,), "kernel_size": (3,), "stride": 3, "ceil_mode": True},
    "ceil_window_past_input": {"shape": (2,), "kernel_size": (3,), "stride": 2, "ceil_mode": True},
    "ceil_drops_last_window": {
        "shape": (3,), "kernel_size": (2,), "stride": 2, "padding": 1, "ceil_mode": True,
    },
    "ceil_stride_past_window": {
        "shape": (5,), "kernel_size": (1,), "stride": 3, "ceil_mode": True,
    },
    "ceil_uneven": {
        "shape": (6,), "kernel_size": (3,), "stride": 2, "padding": [(0, 1)], "ceil_mode": True,
    },
    "same_odd": {"shape": (5,), "kernel_size": (2,), "stride": 2, "padding": "same"},
    "same_lower_odd": {"shape": (5,), "kernel_size": (2,), "stride": 2, "padding": "same_lower"},
    "same_dilated": {
        "shape": (5,), "kernel_size": (2,), "stride": 1, "padding": "same", "dilation": 3,
    },
    "same_stride_past_window": {
        "shape": (5,), "kernel_size": (1,), "stride": 3, "padding": "same",
    },
    "only_pad_left": {"shape": (4,), "kernel_size": (3,), "stride": 1, "padding": [(2, 0)]},
    "only_pad_right": {"shape": (4,), "kernel_size": (3,), "stride": 1, "padding": [(0, 2)]},
    "padding_half_of_window": {"shape": (4,), "kernel_size": (4,), "stride": 1, "padding": 2},
    "padding_past_window": {"shape": (2,), "kernel_size": (2,), "stride": 1, "padding": 3},
    "right_padding_past_window": {
        "shape": (2,), "kernel_size": (2,), "stride": 2, "padding": [(0, 5)],
    },
    "window_past_input": {"shape": (2,), "kernel_size": (5,), "stride": 1, "padding": 2},
    "all_padding_window": {"shape": (1,), "kernel_size": (2,), "padding": 1, "dilation": 2},
    "some_windows_all_padding": {"shape": (3,), "kernel_size": (2,), "stride": 1, "padding": 2},
    "dilated": {"shape": (7,), "kernel_size": (3,), "stride": 1, "dilation": 2},
    "dilated_past_both_edges": {
        "shape": (3,), "kernel_size": (3,), "stride": 1, "padding": 2, "dilation": 3,
    },
    "dilated_ceil": {
        "shape": (9,), "kernel_size": (2,), "stride": 3, "dilation": 3, "ceil_mode": True,
    },
    "dilation_of_a_window_of_one": {"shape": (3,), "kernel_size": (1,), "dilation": 100},
    "batch_of_rows": {"shape": (2, 5), "kernel_size": (3,), "stride": 2},
    "pooled_axis_is_not_the_last": {
        "shape": (4, 3), "kernel_size": (2,), "stride": 1, "axes": (0,),
    },
    "negative_axes_out_of_order": {
        "shape": (4, 2, 3), "kernel_size": (2, 3), "stride": 1, "axes": (-1, -3),
        "padding": [(1, 1), (0, 1)],
    },
    "one_int_for_all_axes": {"shape": (4, 5), "kernel_size": 2, "stride": 1, "axes": (0, 1)},
    "one_wide_window": {"shape": (3, 4), "kernel_size": (1, 3), "stride": (1, 2)},
    "one_tall_window": {"shape": (4, 3), "kernel_size": (3, 1), "stride": (2, 1)},
    "one_column": {"shape": (5, 1), "kernel_size": (2, 1), "stride": 1},
    "one_row": {"shape": (1, 5), "kernel_size": (1, 2), "stride": 1},
    "uneven_planes": {
        "shape": (5, 4), "kernel_size": (2, 3), "stride": (2, 1), "padding": [(1, 0), (0, 2)],
    },
    "channels_last_by_axes": {"shape": (2, 4, 5, 3), "kernel_size": (2, 2), "axes": (1, 2)},
    "one_axis_zero_batch": {"shape": (0, 4), "kernel_size": (2,)},
    "one_axis_zero_in_the_middle": {"shape": (2, 0, 4), "kernel_size": (2,)},
    "long_line": {"shape": (70,), "kernel_size": (40,), "stride": 7, "padding": 3},
    "long_row_of_small_windows": {"shape": (1, 133), "kernel_size": (1, 2), "stride": (1, 2)},
    "four_pooled_of_six": {
        "shape": (2, 2, 2, 3, 2, 2), "kernel_size": (2, 2, 1, 2), "stride": 1,
        "axes": (0, 3, 1, 5), "padding": (1, 0, 0, 1),
    },
}  # fmt: skip
"""Geometry of each edge case: the keyword arguments of a `Problem`, without data."""


def edge(name: str, op: str = "max", values: Any = None, **more: Any) -> Problem:
    """The problem of a named edge shape, on the numbers 1, 2, 3, … unless others are given.

    Parameters
    ----------
    name : str
        A name in `EDGES`.
    op : str
        A name in `npool.testing.OPERATIONS`.
    values : tuple of numbers or Noise, optional
        The data, as `Problem` takes them.
    **more
        Further fields of the `Problem`; they take the place of those of the edge shape.

    Returns
    -------
    Problem
        The edge's geometry with these data.

    Raises
    ------
    KeyError
        For a name that no edge shape has.
    TypeError
        For a field that a `Problem` does not have.

    Examples
    --------
    >>> print(edge("only_pad_left"))
    max_pool(np.array([1, 2, 3, 4], "float32"), (3,), 1, padding=[(2, 0)])
    """
    return Problem(op=op, values=values or tuple(range(1, 10)), **{**EDGES[name], **more})
