"""`conform`: the matrix, its two forms, and that it finds by itself what is known of others."""

import importlib.util
import json
import math
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import settings

import npool
from npool import testing
from npool.testing import peers

#: Problems for each rule that npool is to keep: 40, in the quick profile 15.
EXAMPLES = min(40, settings.default.max_examples * 15 // 100)


def needs(name):
    installed = testing.INSTALLED[name].is_installed()
    return pytest.mark.skipif(not installed, reason=f"{name} is not installed")


def deviation(name, rule, examples=60):
    outcome = testing.examine(testing.RULES[rule], testing.descriptor(name), examples)
    assert outcome.status == "deviates", f"{name} is said to break {rule}, but {outcome}"
    return outcome.deviation


def judged(name, problem):
    """What an implementation gives for a problem, and what it must give."""
    peer = testing.descriptor(name)
    result = peer.call(problem.array(), problem)
    values = result[0] if isinstance(result, tuple) else result
    return np.asarray(values), problem.expected().values


KNOWN = [
    ("onnxruntime", "nan_propagates"),
    ("onnxruntime", "all_padding_identity"),
    ("onnxruntime", "true_infinity_kept"),
    ("onnxruntime", "stride_default_is_kernel"),
    ("onnxruntime", "index_per_plane"),
    ("onnxruntime", "any_padding_is_allowed"),
    ("onnxruntime", "same_counts_the_dilation"),
    ("torch", "integer_avg_is_float64"),
    ("torch", "lp_clipped_windows_are_not_scaled"),
    ("torch", "lp_uses_absolute_values"),
    ("torch", "any_padding_is_allowed"),
    ("jax", "integer_sum_width"),
    ("scipy", "nan_does_not_spread"),
    ("scipy", "nan_propagates"),
    ("scipy", "integer_avg_is_float64"),
    ("skimage", "ceil_mode_keeps_the_ragged_end"),
    ("opencv", "nan_propagates"),
    ("opencv", "integer_avg_is_float64"),
    ("tinybrain", "ceil_mode_keeps_the_ragged_end"),
    ("tinybrain", "integer_avg_is_float64"),
]
"""Section 6 of the semantics: who breaks which rule."""


@pytest.mark.parametrize(
    ("name", "rule"), [pytest.param(*pair, marks=needs(pair[0])) for pair in KNOWN]
)
def test_known_deviation_is_found(name, rule):
    found = deviation(name, rule)
    assert found.implementation == name
    assert found.rule == rule
    assert found.expected != found.got


@needs("onnxruntime")
def test_nan_and_padding_of_onnx_runtime():
    problem = testing.Problem("max", (1, 1, 4), (1, math.nan, 3, 2), kernel_size=(2,), stride=1)
    got, wanted = judged("onnxruntime", problem)
    assert got.tolist() == [[[1, 3, 3]]]
    np.testing.assert_array_equal(wanted, [[[math.nan, math.nan, 3]]])
    smallest = np.finfo(np.float32).min
    padded = testing.edge("all_padding_window", shape=(1, 1, 1))
    assert judged("onnxruntime", padded)[0].tolist() == [[[smallest]]]
    assert deviation("onnxruntime", "all_padding_identity").expected == "[[[-inf]]] float32"


@needs("scipy")
def test_nan_in_scipy_s_running_sum():
    problem = testing.Problem("avg", (5,), (math.nan, 1, 2, 3, 4), kernel_size=(2,), stride=1)
    got, wanted = judged("scipy", problem)
    assert np.isnan(got).all()
    assert wanted[1:].tolist() == [1.5, 2.5, 3.5]
    assert "nan" in deviation("scipy", "nan_does_not_spread").got


@needs("torch")
@pytest.mark.parametrize(
    "rule",
    [
        "nan_propagates",
        "all_padding_identity",
        "true_infinity_kept",
        "tie_first_position",
        "nan_last_position",
        "index_row_major",
        "index_per_plane",
        "stride_default_is_kernel",
        "ceil_last_window_starts_inside",
        "avg_divisor_clipped",
        "avg_may_leave_out_padding",
        "bins_hold_all_that_they_touch",
        "bins_have_positions",
    ],
)
def test_torch_keeps_the_rules_that_come_from_it(rule):
    outcome = testing.examine(testing.RULES[rule], testing.descriptor("torch"), 60)
    assert outcome.status == "pass", str(outcome.deviation or outcome.reason)


@pytest.mark.parametrize("name", peers.found())
def test_descriptor_is_true(name):
    peer = testing.descriptor(name)
    assert peer.name == name
    assert peer.version[0].isdigit()
    outcome = testing.examine(testing.RULES["a_window_holds_its_own_elements"], peer, 30)
    assert outcome.status == "pass", str(outcome.deviation or outcome.reason)


@pytest.mark.parametrize("rule", testing.RULES)
def test_npool_keeps_the_rule(rule):
    outcome = testing.examine(testing.RULES[rule], testing.descriptor("npool"), EXAMPLES)
    assert outcome.status == "pass", str(outcome.deviation or outcome.reason)


@pytest.fixture(scope="module")
def report():
    return testing.conform(["numpy"], max_examples=6)


def test_report_holds_every_cell(report):
    assert [outcome.rule for outcome in report.outcomes] == list(testing.RULES)
    counts = report.counts("numpy")
    assert sum(counts.values()) == len(testing.RULES)
    assert counts["pass"] > 15
    assert report.outcome("nan_propagates", "numpy").examples >= 6
    with pytest.raises(KeyError, match="no outcome of 'x' for 'numpy'"):
        report.outcome("x", "numpy")


def test_json_says_what_the_report_says(report):
    read = json.loads(report.to_json())
    assert read["implementations"][0]["name"] == "numpy"
    assert read["implementations"][0]["version"] == np.__version__
    assert [row["rule"] for row in read["rows"]] == [row["name"] for row in read["rules"]]
    for row, outcome in zip(read["rows"], report.outcomes, strict=True):
        assert row["status"] == outcome.status
        assert ("counterexample" in row) == (outcome.deviation is not None)
        assert ("reason" in row) == (outcome.status == "not applicable")


def test_markdown_is_one_table_and_the_deviations(monkeypatch):
    def broken():
        about = {"ops": "max", "dtypes": "float32", "pooled": 1, "name": "numpy"}
        return testing.from_function(lambda x, kernel_size: x * 0, **about)

    numpy = testing.INSTALLED["numpy"]
    monkeypatch.setitem(
        testing.INSTALLED, "numpy", type(numpy)(numpy.modules, numpy.distribution, broken)
    )
    report = testing.conform(["numpy"], max_examples=5)
    text = report.to_markdown()
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == len(testing.RULES) + 2
    assert all(row.count("|") == 4 for row in rows)
    assert "## Where numpy deviates" in text
    found = report.deviations("numpy")
    assert found
    assert f"call      {found[0].deviation.call}" in text
    assert "| 1 | `a_window_holds_its_own_elements` | ✗ |" in text


def test_progress_counts_to_the_end():
    heard = []
    testing.conform(["numpy"], max_examples=1, progress=lambda *said: heard.append(said))
    total = len(testing.RULES)
    assert [done for done, _, _ in heard] == list(range(total + 1))
    assert {of for _, of, _ in heard} == {total}
    assert heard[0][2] == f"numpy: {next(iter(testing.RULES))}"
    assert heard[-1][2] == "done"


def test_nothing_is_left_in_the_working_directory(tmp_path):
    code = "from npool import testing; testing.conform(['numpy'], max_examples=2)"
    root = pathlib.Path(npool.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    environment.pop("HYPOTHESIS_STORAGE_DIRECTORY", None)
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment)
    assert list(tmp_path.iterdir()) == []


def test_names_and_examples_are_checked(monkeypatch):
    with pytest.raises(
        ValueError, match="unknown implementation 'tensorflow'; known: npool, torch"
    ):
        testing.conform(["tensorflow"])
    with pytest.raises(ValueError, match="max_examples=0 is below 1"):
        testing.conform(["numpy"], max_examples=0)
    with pytest.raises(TypeError, match=r"max_examples=2\.0 is no int"):
        testing.conform(["numpy"], max_examples=2.0)
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "jax" else real(name)
    )
    with pytest.raises(ValueError, match=r"jax is not installed: pip install jax \(found: npool"):
        testing.conform(["jax"])
    assert "jax" not in testing.found()
    assert testing.found()[0] == "npool"


def test_npool_is_described_with_all_that_it_has():
    ours = testing.descriptor("npool")
    assert set(ours.ops) == set(npool.REDUCERS)
    assert ours.parameters == set(testing.PARAMETERS)
    assert ours.version == npool.__version__
    assert not any(rule.not_applicable(ours) for rule in testing.RULES.values())
