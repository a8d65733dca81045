"""npool against the oracle, through the public API, one table of operations for all of it.

Each operation gets its share of the profile's problems: 500 altogether in the quick profile, over
5,000 in the thorough one. Values, dtypes, positions, NaN, memory order, shape, and the input.
"""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import npool
from npool import testing
from npool.testing import exact
from npool.testing.judging import Deviation, compare
from npool.testing.layouts import DENSE

OPERATIONS = testing.OPERATIONS
SHARE = settings.default.max_examples * 36 // 100
"""Problems for each operation."""

FACES = {"max": npool.max_pool, "min": npool.min_pool, "avg": npool.avg_pool, "sum": npool.sum_pool}

# A kernel is compiled for each reduction and dtype: the four basic ones get every dtype, the
# others a few, which differ from one to the next so that each dtype meets several of them.
BASIC = ("max", "min", "sum", "avg")
ROTATING = ("bool", "int8", "uint16", "float16", "int64", "bfloat16", "uint8", "int32", "uint64")


def dtypes_of(op):
    if op in BASIC:
        return exact.available(OPERATIONS[op].dtypes)
    start = 2 * list(OPERATIONS).index(op)
    more = [ROTATING[(start + i) % len(ROTATING)] for i in range(3)]
    return exact.available(("float32", "float64", *more))


OPTIONS = {
    "return_indices": st.sampled_from([True, None]),
    "index_dtype": st.sampled_from([None, np.int32, np.int64]),
    "count_include_pad": st.sampled_from([None, True, False]),
    "divisor_override": st.sampled_from([None, None, 1, 3, 7]),
    "norm_type": st.sampled_from([None, 1, 2, 3, 0.5, 2.5]),
}

WIDER = {
    "bool": ("int64", "float64"),
    "int8": ("int8", "int64", "float32"),
    "uint8": ("uint8", "uint64", "float64"),
    "int32": ("int32", "float64"),
    "int64": ("int64", "float64"),
    "float16": ("float16", "float32"),
    "float32": ("float32", "float64"),
    "float64": ("float32", "float64"),
    "complex64": ("complex64", "complex128"),
}
"""Result dtypes to ask for, by input dtype."""


def with_result_dtype(problem):
    """Now and then a result dtype for sum and avg, and for an integer average a rounding."""
    if "dtype" not in OPERATIONS[problem.op].options:
        return st.just(problem)
    asked = st.sampled_from([None, None, *WIDER.get(problem.dtype, ())])
    return asked.flatmap(functools.partial(_with_dtype, problem))


def _with_dtype(problem, dtype):
    if dtype is None:
        return st.just(problem)
    problem = problem.with_options(dtype=dtype)
    if problem.op == "avg" and np.dtype(dtype).kind in "iu":
        roundings = st.sampled_from(["half_even", "half_up", "floor", "trunc"])
        return roundings.map(lambda rounding: problem.with_options(rounding=rounding))
    return st.just(problem)


def problems_of(op):
    return testing.problems(
        ops=(op,),
        dtypes=dtypes_of(op),
        data=("integers", "ties", "special", "wide", "floats", "nan"),
        options=OPTIONS,
        edges=tuple(testing.EDGES),
        empty_batch=False,
    ).flatmap(with_result_dtype)


def call(problem, x, **extra):
    arguments = {**problem.arguments(), **extra}
    if problem.op == "lp" and "norm_type" in arguments:
        return npool.lp_pool(x, arguments.pop("norm_type"), **arguments)
    # The faces and pool are to be the same thing: each gets half of the problems.
    if problem.op in FACES and len(problem.values) % 2:
        return FACES[problem.op](x, **arguments)
    return npool.pool(x, reduce=problem.op, **arguments)


def check_agreement(problem):
    """One problem: everything that the semantics say of its result."""
    x = problem.array()
    before = x.tobytes()
    try:
        answer = problem.expected(x)
    except ValueError:
        # The one thing that a valid geometry cannot have: the integer average of padding.
        with pytest.raises(ValueError, match=r"\w+ \w+ \w+"):
            call(problem, x)
        return
    result = call(problem, x)
    values, indices = result if isinstance(result, tuple) else (result, None)
    assert (indices is not None) == bool(problem.option("return_indices"))
    compare(problem, answer, values, indices)
    assert x.tobytes() == before, f"the input of {problem} was written to"
    assert npool.output_shape(x.shape, **problem.geometry()) == values.shape
    if problem.layout in DENSE:
        check_memory_order(problem, x, values)


def check_memory_order(problem, x, values):
    axes = [a for a in range(x.ndim) if x.shape[a] > 1 and values.shape[a] > 1]
    axes.sort(key=lambda a: (-x.strides[a], a))
    strides = [values.strides[a] for a in axes]
    assert values.size == 0 or strides == sorted(strides, reverse=True), f"order of {problem}"


@pytest.mark.parametrize("op", OPERATIONS)
def test_npool_agrees_with_the_oracle(op):
    @settings(max_examples=SHARE)
    @given(problems_of(op))
    def agrees(problem):
        check_agreement(problem)

    agrees()
    assert SHARE > 0


@pytest.mark.parametrize("name", testing.EDGES)
def test_edge_shapes(name):
    for op in ("max", "min", "sum", "avg", "var"):
        for options in ({"count_include_pad": True}, {"count_include_pad": False}):
            problem = testing.edge(name, op=op)
            check_agreement(problem.with_options(**options) if op == "avg" else problem)
    positions = testing.edge(name).with_options(return_indices=True)
    check_agreement(positions)
    assert call(positions, positions.array())[1].dtype == np.int64


#: Problems for a fold that is compiled as any other: 500, where the profile has no more for each.
OWN = min(500, 5 * settings.default.max_examples)
PRODUCT = npool.Reducer("prod_abs", lambda a, b: a * b, 1.0, lift=lambda x: abs(x))
REFERENCE = testing.Fold("prod_abs", lambda a, b: a * b, 1.0, lift=abs)


@settings(max_examples=max(settings.default.max_examples, OWN))
@given(
    testing.problems(
        ops=("prod",),
        dtypes=("float32", "float64"),
        data=("integers", "ties", "nan"),
        edges=tuple(testing.EDGES),
    )
)
def test_a_fold_of_one_s_own_agrees_with_the_oracle(problem):
    """The product of absolute values, on 500 problems and more."""
    x = problem.array()
    values = npool.pool(x, **problem.arguments(), reduce=PRODUCT)
    compare(problem, problem.expected(x, REFERENCE), values)
    assert values.dtype == x.dtype.newbyteorder("=")


def test_every_reducer_has_its_row_in_the_table():
    missing = set(npool.REDUCERS) - set(OPERATIONS)
    assert not missing, f"no row in npool.testing.operations.OPERATIONS for {sorted(missing)}"
    gone = set(OPERATIONS) - set(npool.REDUCERS)
    assert not gone, f"rows for reducers that npool.REDUCERS has not: {sorted(gone)}"


def test_the_thorough_profile_tries_5000_problems():
    thorough = settings.get_profile("thorough").max_examples * 36 // 100 * len(OPERATIONS)
    quick = settings.get_profile("quick").max_examples * 36 // 100 * len(OPERATIONS)
    assert thorough >= 5_000
    assert quick >= 500


def test_every_dtype_meets_some_of_the_other_reductions():
    others = [set(dtypes_of(op)) for op in OPERATIONS if op not in BASIC]
    for dtype in exact.available(exact.REALS):
        if dtype in ROTATING:
            assert sum(dtype in dtypes for dtypes in others) >= 2, dtype


def test_the_comparison_can_fail():
    problem = testing.Problem("max", (3,), (1, 2, 3), kernel_size=(2,), stride=1)
    right = npool.max_pool(problem.array(), (2,), 1)
    compare(problem, problem.expected(), right)
    for wrong in (right + 1, right[:1], right.astype(np.float64)):
        with pytest.raises(Deviation):
            compare(problem, problem.expected(), wrong)
