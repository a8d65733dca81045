"""The strategies: what they draw is valid, covers what it names, prints as code and shrinks."""

import collections
import math

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from npool import testing
from npool.testing import exact, oracle
from npool.testing.layouts import DENSE

FEW = settings(max_examples=60, database=None)


@pytest.mark.parametrize("name", testing.LAYOUTS)
@given(x=testing.arrays(layouts=("C",)))
@FEW
def test_layout_keeps_the_numbers(name, x):
    y = testing.LAYOUTS[name](x)
    expected = np.broadcast_to(x[:1], x.shape) if name == "broadcast" else x
    assert y.shape == x.shape
    # In float64: NaN of bfloat16 is unequal to itself for assert_array_equal.
    wide = np.float64 if exact.is_float(x.dtype) else x.dtype
    np.testing.assert_array_equal(y.astype(wide), expected.astype(wide))


def test_layouts_are_what_they_are_called():
    x = np.arange(2 * 3 * 4 * 5, dtype=np.int32).reshape(2, 3, 4, 5)
    made = {name: layout(x) for name, layout in testing.LAYOUTS.items()}
    assert made["C"].flags.c_contiguous
    assert made["F"].flags.f_contiguous
    assert made["channels_last"].strides == (240, 4, 60, 12)
    assert made["transposed"].strides == (240, 80, 4, 16)
    assert not made["sliced"].flags.c_contiguous
    assert min(made["reversed"].strides) < 0
    assert made["broadcast"].strides[0] == 0
    assert not made["read_only"].flags.writeable
    assert made["big_endian"].dtype == ">i4"
    assert not made["unaligned"].flags.aligned
    for name in DENSE:
        assert math.prod(made[name].shape) * 4 == made[name].nbytes
        assert sorted(made[name].strides) == [4, *np.sort(made[name].strides)[1:]]


def test_sliced_and_offset_have_other_numbers_around_them():
    for name in ("sliced", "offset"):
        view = testing.LAYOUTS[name](np.zeros((2, 2), np.float32))
        assert view.base is not None
        assert (np.asarray(view.base) != 0).any()


@given(testing.problems(edges=tuple(testing.EDGES)))
@FEW
def test_problem_is_valid_and_small(problem):
    x = problem.array()
    assert x.shape == problem.shape
    assert x.dtype.newbyteorder("=") == exact.named_dtype(problem.dtype)
    answer = problem.expected(x)
    assert answer.values.shape == problem.output_shape()
    assert 1 <= problem.pooled() <= 4
    assert 1 <= x.ndim <= 6
    assert x.size <= 300


@given(testing.problems(edges=tuple(testing.EDGES)))
@FEW
def test_problem_prints_as_code(problem):
    names = {"Problem": testing.Problem, "nan": math.nan, "inf": math.inf, "Noise": testing.Noise}
    again = eval(repr(problem), names)
    assert repr(again) == repr(problem)
    assert str(again) == str(problem)
    called = {}

    def pool(x, kernel_size, stride=None, **arguments):
        called.update(arguments, x=x, kernel_size=kernel_size, stride=stride)

    functions = dict.fromkeys(("pool", "max_pool", "min_pool", "avg_pool", "sum_pool"), pool)
    eval(str(problem), {**names, **functions, "np": _NumpyWithBfloat16, "LAYOUTS": testing.LAYOUTS})
    assert called["x"].tobytes() == problem.array().tobytes()
    for name, value in problem.geometry().items():
        assert called.get(name, {"dilation": 1}.get(name, value)) == value


class _NumpyWithBfloat16:
    """NumPy, where "bfloat16" is a dtype that can be named."""

    zeros = staticmethod(lambda shape, dtype: np.zeros(shape, exact.named_dtype(dtype)))
    array = staticmethod(lambda values, dtype: np.array(values).astype(exact.named_dtype(dtype)))


def test_problems_reach_everything_that_they_name():
    seen = collections.defaultdict(set)

    @settings(max_examples=1500, database=None, derandomize=True)
    @given(testing.problems())
    def collect(problem):
        seen["op"].add(problem.op)
        seen["dtype"].add(problem.dtype)
        seen["layout"].add(problem.layout)
        seen["rank"].add(len(problem.shape))
        seen["pooled"].add(problem.pooled())
        seen["padding"].add(
            problem.padding if isinstance(problem.padding, str) else type(problem.padding).__name__
        )
        seen["ceil_mode"].add(problem.ceil_mode)
        seen["empty"].add(problem.has_empty_window())
        seen["dilated"].add(bool(np.max(problem.dilation) > 1))
        seen["special"].update(str(v) for v in problem.values if not np.isfinite(v))

    collect()
    dtypes = {d for row in testing.OPERATIONS.values() for d in row.dtypes}
    assert seen["op"] == set(testing.OPERATIONS)
    assert seen["dtype"] == set(exact.available(tuple(dtypes)))
    assert seen["layout"] == set(testing.LAYOUTS)
    assert seen["rank"] == {1, 2, 3, 4, 5, 6}
    assert seen["pooled"] == {1, 2, 3, 4}
    assert seen["padding"] >= {"same", "same_lower", "valid", "int", "tuple", "list"}
    assert all(seen[name] == {True, False} for name in ("ceil_mode", "empty", "dilated"))
    assert seen["special"] == {"nan", "inf", "-inf"}


@pytest.mark.parametrize("name", testing.EDGES)
def test_edge_shape_has_an_answer(name):
    problem = testing.edge(name)
    answer = problem.expected()
    assert answer.values.shape == problem.output_shape()
    empty = {"all_padding_window", "some_windows_all_padding", "padding_past_window"}
    if name in empty:
        assert problem.has_empty_window()
    if name.startswith("one_axis_zero"):
        assert answer.values.size == 0


def test_edges_are_what_they_are_called():
    assert testing.edge("window_equals_input").output_shape() == (1,)
    assert testing.edge("stride_past_window").output_shape() == (2,)
    floored = oracle.output_shape((8,), (3,), 3)
    assert testing.edge("ragged_ceil").output_shape() == (floored[0] + 1,)
    assert testing.edge("ceil_drops_last_window").output_shape() == (2,)


def test_problems_shrink_to_something_readable():
    smallest = find(
        testing.problems(ops=("max",), dtypes=("float32",)),
        lambda problem: bool(np.isnan(problem.array()).any()) and problem.output_shape()[0] > 1,
        settings=settings(max_examples=2000, database=None, derandomize=True),
    )
    assert len(str(smallest)) < 80, str(smallest)
    assert math.prod(smallest.shape) <= 2


@given(st.sampled_from(sorted(exact.available(exact.REALS + exact.COMPLEX))), st.data())
@FEW
def test_elements_fit_their_dtype(dtype, data):
    kind = exact.named_dtype(dtype)
    style = data.draw(st.sampled_from(testing.DATA))
    value = data.draw(testing.elements(dtype, style))
    if kind.kind in "biu":
        low, high = exact.bounds(kind)
        assert isinstance(value, int)
        assert low <= value <= high
    else:
        assert isinstance(value, complex if kind.kind == "c" else int | float)


def test_noise_is_the_same_each_time_and_of_one_sign():
    first, again = (testing.Noise(3).fill((50,)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert ((first > 0) & (first <= 1)).all()
    np.testing.assert_array_equal(first.astype(np.float32), first)


def test_problem_with_a_window_too_large_has_no_answer():
    with pytest.raises(ValueError, match="holds no window"):
        testing.Problem("max", (2,), kernel_size=(3,)).expected()
