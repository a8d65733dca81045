"""`check`, `cases` and descriptors: what people who write their own pooling use."""

import functools
import inspect
import subprocess
import sys

import numpy as np
import planted
import pytest

from npool import testing
from npool.testing.rules import rule

view = np.lib.stride_tricks.sliding_window_view


def row_max(x, kernel_size, stride=None):
    """A maximum along the last axis, written in two lines."""
    (k,), (s,) = kernel_size, stride or kernel_size
    return view(x, k, axis=-1)[..., ::s, :].max(axis=-1)


ABOUT = {
    "ops": "max",
    "dtypes": ["float32", "int64"],
    "pooled": 1,
    "without": ["one_int", "layouts", "errors", "dtype_errors"],
}


def test_a_small_function_is_judged_by_what_it_has():
    outcomes = testing.check(row_max, max_examples=30, **ABOUT)
    status = {outcome.rule: outcome.status for outcome in outcomes}
    assert list(status) == list(testing.RULES)
    assert status["nan_propagates"] == status["stride_default_is_kernel"] == "pass"
    assert status["padding_never_wins"] == status["out_is_filled_and_returned"] == "not applicable"
    reasons = {outcome.rule: outcome.reason for outcome in outcomes}
    assert reasons["padding_never_wins"] == "has no padding"
    assert reasons["avg_divisor_dilated"] == "has no padding"
    assert reasons["lp_uses_absolute_values"] == "has none of lp"


def test_deviation_says_rule_call_expected_and_got():
    def dropped(x, kernel_size, stride=None):
        return row_max(np.nan_to_num(x, nan=-1.0), kernel_size, stride)

    with pytest.raises(testing.Deviation) as found:
        testing.check(dropped, rules=["nan_propagates"], **ABOUT)
    assert str(found.value) == (
        "dropped breaks nan_propagates\n"
        '  call:     max_pool(np.array([nan], "float32"), (1,))\n'
        "  expected: [nan] float32\n"
        "  got:      [-1] float32\n"
        "  rule:     semantics.md 3: NaN propagates: a window with a NaN anywhere in it gives NaN."
    )
    assert isinstance(found.value, AssertionError)
    assert found.value.problem == testing.Problem("max", (1,), found.value.problem.values)


def test_an_exception_is_a_deviation():
    def broken(x, kernel_size):
        raise IndexError("out of range")

    with pytest.raises(testing.Deviation, match=r"got:      raised IndexError: out of range"):
        testing.check(broken, ops="max", dtypes="float32", max_examples=5)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda y: y.astype(np.float64), "float64"),
        (lambda y: y[None], "shape"),
        (lambda y: y + 1, "expected"),
    ],
    ids=["dtype", "shape", "value"],
)
def test_dtype_shape_and_value_are_compared(wrong, text):
    def off(x, kernel_size):
        return wrong(row_max(x, kernel_size))

    with pytest.raises(testing.Deviation, match=text):
        testing.check(off, ops="max", dtypes="float32", pooled=1, max_examples=20)


@pytest.mark.parametrize("case", testing.cases(row_max, max_examples=20, **ABOUT))
def test_as_the_documentation_of_cases_shows(case):
    case.check()
    assert case.rule.not_applicable(case.implementation) is None


def test_cases_are_named_after_their_rules_and_raise():
    bad = functools.partial(planted.pool, bug="last_tie")
    cases = {case.__name__: case for case in testing.cases(bad, name="bad", max_examples=60)}
    assert set(cases) <= set(testing.RULES)
    assert len(cases) > 50
    with pytest.raises(testing.Deviation, match="bad breaks tie_first_position"):
        cases["tie_first_position"].check()


def test_the_same_outcome_each_time():
    bad = testing.from_function(functools.partial(planted.pool, bug="sides_swapped"), name="bad")
    named = testing.RULES["everything_together"]
    first, again = (testing.examine(named, bad, 60) for _ in range(2))
    assert first.status == "deviates"
    assert str(first.deviation) == str(again.deviation)
    assert first.examples == again.examples


def test_sizes_come_as_one_int_or_always_as_tuples():
    given = {"one_int": set(), "tuples": set()}

    def noting(key):
        def function(x, kernel_size, stride=None, padding=0, dilation=1):
            given[key] |= {type(size) for size in (stride, padding, dilation)}
            return planted.pool(x, kernel_size, stride, padding, dilation)

        return function

    for key, without in (("one_int", []), ("tuples", ["one_int", "same", "asymmetric_padding"])):
        testing.check(noting(key), ops="max", rules="everything_together", without=without)
    assert given == {"one_int": {int, tuple, list, str, type(None)}, "tuples": {tuple, type(None)}}


def test_a_function_for_each_operation():
    def mean(x, kernel_size):
        return view(x, kernel_size[0], axis=-1)[..., :: kernel_size[0], :].mean(axis=-1)

    outcomes = testing.check(
        {"max": row_max, "avg": mean},
        dtypes="float64",
        pooled=1,
        rules="a_window_holds_its_own_elements",
    )
    assert [outcome.status for outcome in outcomes] == ["pass"]


def test_what_is_asked_for_must_make_sense():
    with pytest.raises(ValueError, match="there is no rule 'nan_propagate'; there are: "):
        testing.check(row_max, rules="nan_propagate", **ABOUT)
    with pytest.raises(ValueError, match="there is no rule 'x'"):
        testing.check(row_max, exclude="x", **ABOUT)
    with pytest.raises(ValueError, match="say which reduction the function does"):
        testing.check(row_max)
    with pytest.raises(ValueError, match="no rule applies to row_max: it has no padding"):
        testing.check(row_max, rules="padding_never_wins", **ABOUT)
    with pytest.raises(ValueError, match=r"unknown operations \['median'\]"):
        testing.check(row_max, ops="median")
    with pytest.raises(ValueError, match=r"unknown dtypes \['float'\]; known: bool, int8"):
        testing.check(row_max, ops="max", dtypes="float")
    with pytest.raises(ValueError, match=r"unknown parameters \['strides'\]"):
        testing.check(row_max, ops="max", without=["strides"])
    with pytest.raises(ValueError, match=r"unknown parameters \['pads'\]"):
        testing.Implementation("x", row_max, {"max": ("float32",)}, frozenset({"pads"}))
    with pytest.raises(TypeError, match="says ops itself"):
        testing.check(testing.from_function(planted.pool), ops="max")


def test_exclude_leaves_rules_out():
    outcomes = testing.check(row_max, exclude="nan_propagates", max_examples=2, **ABOUT)
    assert "nan_propagates" not in {outcome.rule for outcome in outcomes}


def test_every_rule_cites_its_section():
    for name, one in testing.RULES.items():
        assert one.statement.startswith(f"semantics.md {one.section}: "), name
        assert one.section in {"1", "2", "3", "4", "5"}
        assert one.statement.endswith(".")
    sections = [one.section for one in testing.RULES.values()]
    assert sections == sorted(sections)
    assert len(sections) >= 60
    with pytest.raises(ValueError, match="must begin with its section"):
        rule(("max",))(lambda implementation, problem: None)


def test_every_rule_can_fail():
    """No rule passes whatever comes: a function that gives nonsense breaks each that applies."""

    def nonsense(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, *,
                 reduce="max", axes=None, count_include_pad=True, divisor_override=None,
                 dtype=None, rounding="half_even", norm_type=2, return_indices=False,
                 index_dtype=np.int64, out=None):  # fmt: skip
        if isinstance(x, np.ndarray) and x.flags.writeable and x.dtype.kind in "iufc" and x.size:
            x[...] = x[...] + 1
        if out is not None and out.flags.writeable:
            out[...] = np.random.default_rng().integers(3, 90)
        noise = np.random.default_rng().normal(size=(1, 1, 1, 1, 1, 1, 7))
        return (noise, noise) if return_indices else noise

    def sized(x, output_size, return_indices=False):
        return nonsense(np.zeros(0), (1,), return_indices=return_indices)

    implementation = testing.from_function(
        nonsense, fold=lambda fold: fold, output_shape=lambda shape, **geometry: (17,),
        adaptive=sized,
    )  # fmt: skip
    passed = [
        name
        for name, one in testing.RULES.items()
        if testing.examine(one, implementation, 25).status != "deviates"
    ]
    assert passed == []


def test_descriptor_says_why_it_refuses_a_problem():
    peer = testing.Implementation(
        "peer", row_max, {"max": ("float32",)}, frozenset({"stride"}), pooled=(1,), batch=(1,),
        ceil_modes=(False,),
    )  # fmt: skip
    good = testing.edge("batch_of_rows")
    assert peer.refuses(good) is None
    lacks = {
        "has no min": testing.edge("batch_of_rows", op="min"),
        "has no max of float64": testing.edge("batch_of_rows", dtype="float64"),
        "does not pool 2 axes": testing.edge("one_row"),
        "does not take 1 axes": testing.edge("long_line", padding=0),
        "has no dilation": testing.edge("batch_of_rows", dilation=2),
        "has no padding": testing.edge("batch_of_rows", padding=1),
        "has no same": testing.edge("batch_of_rows", padding="same"),
        "has no adaptive": testing.Problem("max", (1, 4), output_size=(2,)),
        "has no ceil_mode=True": testing.edge("batch_of_rows", ceil_mode=True),
        "does not take the layout F": testing.edge("batch_of_rows", layout="F"),
    }
    for reason, problem in lacks.items():
        assert peer.refuses(problem) == reason
    line = testing.edge("window_of_two_overlapping")
    assert peer.adapted(line).shape == (1, 4)
    assert peer.refuses(peer.adapted(line)) is None


def test_importing_the_suite_imports_no_framework():
    code = (
        "import sys, npool.testing\n"
        "heavy = {'torch', 'onnxruntime', 'onnx', 'jax', 'scipy', 'skimage', 'cv2', 'tinybrain',"
        " 'numba', 'ml_dtypes'}\n"
        "print(sorted(heavy & set(sys.modules)), 'hypothesis' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] True"


def test_all_names_are_there_and_documented():
    for name in testing.__all__:
        value = getattr(testing, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), name
