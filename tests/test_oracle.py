"""The oracle against cases worked out by hand, the seed's examples, and torch."""

import ast
import json
import math
import pathlib
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings

from npool import testing
from npool.testing import exact, oracle

nan, inf = math.nan, math.inf
HERE = pathlib.Path(__file__).parent
SEED = json.loads((HERE / "seed_examples.json").read_text())["cases"]


def line(*values, dtype="float64"):
    return np.array(values, dtype)


def pooled(values, kernel, *args, dtype="float64", **options):
    return oracle.pool(line(*values, dtype=dtype), (kernel,), *args, **options).tolist()


def seed_input(case):
    if "x" in case:
        return np.array(case["x"], float)
    shape = case.get("x_arange") or case["x_arange_and_plus_one"]
    x = np.arange(math.prod(shape), dtype=float).reshape(shape)
    return x if "x_arange" in case else np.concatenate([x, x + 1], axis=1)


@pytest.mark.parametrize("case", SEED, ids=[case["name"] for case in SEED])
def test_seed_example(case):
    kernel = case["kernel_size"]
    kernel = [kernel, kernel] if isinstance(kernel, int) else kernel
    y = oracle.pool(seed_input(case), kernel, case["stride"], case["padding"], reduce=case["op"])
    assert y.tolist() == case["y"]


def test_nan_and_positions_of_the_semantics():
    x = line(1, nan, 3, 2)
    values, indices = oracle.pool(x, (2,), 1, return_indices=True)
    np.testing.assert_array_equal(values, [nan, nan, 3])
    assert indices.tolist() == [1, 1, 2]
    values, indices = oracle.pool(line(nan, 5, nan), (3,), return_indices=True)
    assert np.isnan(values).all()
    assert indices.tolist() == [2]
    assert oracle.pool(line(4, 4, 4), (3,), return_indices=True)[1].tolist() == [0]
    assert oracle.pool(line(4, 4, 4), (3,), reduce="min", return_indices=True)[1].tolist() == [0]


def test_dilated_average_of_the_semantics():
    x = (1, 2, 3, 4, 5, 6)
    without = pooled(x, 2, 1, 1, 2, reduce="avg", count_include_pad=False)
    with_padding = pooled(x, 2, 1, 1, 2, reduce="avg", count_include_pad=True)
    assert without == [2, 2, 3, 4, 5, 5]
    assert with_padding == [1, 2, 3, 4, 5, 2.5]


@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "padding", "dilation", "ceil", "wanted"),
    [
        ((7,), (3,), 2, 0, 1, False, (3,)),
        ((8,), (3,), 2, 0, 1, False, (3,)),
        ((8,), (3,), 2, 0, 1, True, (4,)),
        ((3,), (2,), 2, 1, 1, True, (2,)),  # the third window would start in the padding after
        ((3,), (2,), 2, 1, 1, False, (2,)),
        ((2,), (3,), 2, 0, 1, True, (1,)),
        ((10,), (3,), 1, 0, 3, False, (4,)),
        ((5,), (2,), 2, "same", 1, False, (3,)),
        ((5,), (2,), 2, "same_lower", 1, False, (3,)),
        ((5,), (2,), 2, "valid", 1, False, (2,)),
        ((5,), (3,), 1, "same", 4, False, (5,)),
        ((4, 5, 6), (2, 3), None, [(0, 1), (2, 0)], 1, False, (4, 3, 2)),
        ((1,), (2**40,), 2**50, 2**45, 1, False, (1,)),
    ],
)
def test_output_shape(shape, kernel, stride, padding, dilation, ceil, wanted):
    assert oracle.output_shape(shape, kernel, stride, padding, dilation, ceil) == wanted


def test_same_pads_the_odd_element_last_and_same_lower_first():
    same, lower = (
        oracle.pooled_axes((5,), (2,), 2, padding)[0] for padding in ("same", "same_lower")
    )
    assert (same.before, same.after) == (0, 1)
    assert (lower.before, lower.after) == (1, 0)
    assert pooled((1, 2, 3, 4, 5), 2, 2, "same", reduce="sum") == [3, 7, 5]
    assert pooled((1, 2, 3, 4, 5), 2, 2, "same_lower", reduce="sum") == [1, 5, 9]


@pytest.mark.parametrize(
    "arguments", [((3,), (4,)), ((0,), (1,)), ((2, 0), (2,)), ((3,), (2,), 1, 0, 3)]
)
def test_no_window_is_an_error(arguments):
    with pytest.raises(ValueError, match="holds no window"):
        oracle.output_shape(*arguments)


EMPTY = {
    "max": -inf, "min": inf, "sum": 0, "avg": nan, "lp": 0, "any": False, "all": True, "prod": 1,
    "range": 0, "absmax": 0, "rms": nan, "var": nan, "std": nan, "logsumexp": -inf,
}  # fmt: skip


@pytest.mark.parametrize("op", EMPTY)
def test_window_in_the_padding(op):
    options = {"count_include_pad": False} if op == "avg" else {}
    got = pooled([7], 1, 1, 1, reduce=op, **options)
    assert len(got) == 3
    assert got[0] == pytest.approx(EMPTY[op], nan_ok=True)
    assert got[2] == pytest.approx(EMPTY[op], nan_ok=True)


@pytest.mark.parametrize(
    ("dtype", "low", "high"), [("int8", -128, 127), ("uint16", 0, 65535), ("bool", False, True)]
)
def test_padding_of_integers_is_the_end_of_the_type(dtype, low, high):
    assert pooled([1], 1, 1, 1, dtype=dtype) == [low, 1, low]
    assert pooled([0], 1, 1, 1, dtype=dtype, reduce="min") == [high, 0, high]


def test_average_of_padding_counts_or_not_and_has_no_integer():
    assert pooled([7], 1, 1, 1, reduce="avg") == [0, 7, 0]
    x = line(7, dtype="int8")
    with pytest.raises(ValueError, match="no average as an integer"):
        oracle.pool(x, (1,), 1, 1, reduce="avg", count_include_pad=False, dtype="int8")


@pytest.mark.parametrize(
    ("op", "values", "wanted"),
    [
        ("sum", (1e17, 1, -1e17), 1.0),
        ("avg", (1e308, 1e308), 1e308),
        ("lp", (3, -4), 5.0),
        ("any", (0, nan), True),
        ("all", (1, nan), True),
        ("all", (1, 0), False),
        ("prod", (2, -3, 0.5), -3.0),
        ("prod", (inf, 0), nan),
        ("range", (-1, 4, 2), 5.0),
        ("range", (1, nan), nan),
        ("absmax", (-7, 3), 7.0),
        ("rms", (1, 7), 5.0),
        ("var", (1, 3), 1.0),
        ("std", (2, 8), 3.0),
        ("var", (1, inf), nan),
        ("logsumexp", (0, 0), math.log(2)),
        ("logsumexp", (1000, 1000), 1000.6931471805599),
        ("logsumexp", (-inf, -inf), -inf),
        ("logsumexp", (inf, 1), inf),
        ("logsumexp", (inf, nan), nan),
    ],
)
def test_one_window(op, values, wanted):
    (got,) = pooled(values, len(values), reduce=op)
    assert got == wanted or (math.isnan(got) and math.isnan(wanted))


@pytest.mark.parametrize(("p", "wanted"), [(1, 7.0), (3, 91 ** (1 / 3)), (0.5, 7 + 4 * 3**0.5)])
def test_lp_of_any_power(p, wanted):
    (got,) = pooled((-3, 4), 2, reduce="lp", norm_type=p)
    assert got == pytest.approx(wanted, rel=1e-15)


@pytest.mark.parametrize(
    ("op", "dtype", "wanted"),
    [
        ("max", "int8", "int8"), ("sum", "int8", "int64"), ("sum", "bool", "int64"),
        ("prod", "uint8", "uint64"), ("avg", "uint8", "float64"), ("avg", "float16", "float16"),
        ("range", "int8", "uint8"), ("absmax", "int64", "uint64"), ("range", "bool", "bool"),
        ("any", "float32", "bool"), ("lp", "int32", "float64"), ("std", "float32", "float32"),
        ("avg", "complex64", "complex64"), ("logsumexp", "bool", "float64"),
    ],
)  # fmt: skip
def test_result_dtype(op, dtype, wanted):
    assert oracle.pool(np.ones(2, dtype), (2,), reduce=op).dtype == wanted


def test_integers_are_exact_to_their_bounds():
    assert pooled((-128, 127), 2, dtype="int8", reduce="range") == [255]
    assert pooled((-128, 5), 2, dtype="int8", reduce="absmax") == [128]
    assert pooled((100, 100), 2, dtype="int8", reduce="sum") == [200]
    assert pooled((2**62, 2**62 + 1), 2, dtype="int64") == [2**62 + 1]
    big = 2**63 - 1
    assert pooled((big, 1), 2, dtype="int64", reduce="sum") == [-(2**63)]
    assert np.add.reduce(line(big, 1, dtype="int64")) == -(2**63)


@pytest.mark.parametrize(
    ("rounding", "wanted"),
    [
        ("half_even", [0, 2, 0, -2]),
        ("half_up", [1, 2, 0, -1]),
        ("floor", [0, 1, -1, -2]),
        ("trunc", [0, 1, 0, -1]),
    ],
)
def test_integer_average_rounds(rounding, wanted):
    x = line(0, 1, 1, 2, -1, 0, -2, -1, dtype="int32")
    y = oracle.pool(x, (2,), reduce="avg", dtype="int32", rounding=rounding)
    assert y.dtype == np.int32
    assert y.tolist() == wanted


def test_integer_average_stays_within_its_type():
    x = line(100, 100, dtype="int8")
    got = oracle.pool(x, (2,), reduce="avg", dtype="int8", divisor_override=1)
    assert got.tolist() == [127]


def test_complex_parts_are_pooled_apart():
    y = oracle.pool(line(1 + 2j, 3 - 4j, dtype="complex64"), (2,), reduce="avg")
    assert y.tolist() == [2 - 1j]
    assert y.dtype == np.complex64


def test_axes_in_any_order_number_positions_in_that_order():
    x = np.array([[1, 9], [2, 3], [4, 5]])
    assert oracle.pool(x, (3, 2), axes=(0, 1), return_indices=True)[1].tolist() == [[1]]
    assert oracle.pool(x, (2, 3), axes=(1, 0), return_indices=True)[1].tolist() == [[3]]
    assert oracle.pool(x, 2, 1, axes=(-2,)).tolist() == [[2, 9], [4, 5]]


def test_torch_scales_the_norm_of_a_clipped_window():
    y = oracle.lp_pool_like_torch(line(3, 4, 1), 2, (2,), ceil_mode=True)
    assert y.tolist() == [5, pytest.approx(math.sqrt(2))]
    assert oracle.lp_pool_like_torch(line(-1, -1), 1, (2,)).tolist() == [-2]
    assert np.isnan(oracle.lp_pool_like_torch(line(-1, -1), 3, (2,))).all()


def test_fold_of_one_s_own_counts_and_finishes():
    mean_square = testing.Fold(
        "mean_square",
        lambda a, b: (a[0] + b[0], a[1]),
        (0.0, 0.0),
        lift=lambda v: (v * v, 0.0),
        finish=lambda total, count: total[0] / count if count else math.nan,
    )
    y = oracle.pool(line(1, 3, 5), (2,), 2, ceil_mode=True, reduce=mean_square)
    assert y.tolist() == [5, 25]


@pytest.mark.parametrize("dtype", exact.available(exact.FLOATS))
def test_rounding_once_is_numpy_s_own(dtype):
    kind = exact.named_dtype(dtype)
    rng = np.random.default_rng(5)
    for value in (rng.normal(size=300) * 10.0 ** rng.integers(-12, 5, 300)).tolist():
        assert exact.nearest(value, kind) == float(np.float64(value).astype(kind))
    # Halfway between two numbers: to the even one, even where a float64 is too coarse to say so.
    one_up = 1 + Fraction(exact.spacing(1, kind))
    halfway = (1 + one_up) / 2
    assert exact.nearest(halfway, kind) == 1
    assert exact.nearest(halfway + Fraction(1, 10**40), kind) == float(one_up)


def test_overflow_and_the_smallest_numbers():
    half = np.dtype("float16")
    assert exact.nearest(65519, half) == 65504
    assert exact.nearest(65520, half) == inf
    assert exact.nearest(-(10**6), half) == -inf
    assert exact.nearest(Fraction(1, 2**25), half) == 0
    assert exact.nearest(Fraction(3, 2**25), half) == 2 * 2.0**-24


def test_oracle_imports_only_numpy_and_the_standard_library():
    package = pathlib.Path(oracle.__file__).parent
    allowed = {
        "__future__", "collections.abc", "dataclasses", "decimal", "fractions", "importlib",
        "importlib.util", "itertools", "math", "typing", "numpy", "exact", "operations",
    }  # fmt: skip
    for name in ("oracle.py", "operations.py", "exact.py"):
        for node in ast.walk(ast.parse((package / name).read_text())):
            if isinstance(node, ast.Import):
                assert {alias.name for alias in node.names} <= allowed, name
            if isinstance(node, ast.ImportFrom):
                assert node.module in allowed
                assert node.level == (node.module in ("exact", "operations"))


TORCH = {
    "ops": ("max", "avg"),
    "dtypes": ("float32", "float64"),
    "data": ("integers", "ties", "special"),
    "vary": ("stride", "padding", "dilation", "ceil_mode"),
    "layouts": ("C",),
}


def test_oracle_agrees_with_torch():
    pytest.importorskip("torch", reason="torch is not installed")
    peer = testing.descriptor("torch")
    limits = testing.Limits((1, 2, 3), (1, 2), padding_limit=peer.padding_limit)
    tried = 0

    @settings(max_examples=300, database=None)
    @given(testing.problems(**TORCH, limits=limits))
    def agrees(problem):
        nonlocal tried
        if peer.refuses(problem) is not None:
            return
        tried += 1
        if problem.op == "max" and not problem.has_empty_window():
            problem = problem.with_options(return_indices=True)
        result = peer.call(problem.array(), problem)
        values, indices = result if isinstance(result, tuple) else (result, None)
        answer = problem.expected()
        assert values.shape == answer.values.shape
        assert values.dtype == answer.values.dtype
        close = np.abs(values - answer.values) <= answer.allowed
        same = (values == answer.values) | (np.isnan(values) & np.isnan(answer.values))
        assert (same | close).all(), problem
        if indices is not None:
            np.testing.assert_array_equal(indices, answer.indices, str(problem))

    with np.errstate(invalid="ignore"):
        agrees()
    assert tried >= 150
