"""Tests of the tests: an honest implementation passes the suite, every planted bug is found."""

import functools

import numpy as np
import planted
import pytest

from npool import testing

FOUND_BY = {
    "last_tie": "tie_first_position",
    "first_nan": "nan_last_position",
    "nan_dropped": "nan_propagates",
    "zero_padding": "padding_never_wins",
    "neg_inf_replaced": "all_padding_identity",
    "ceil_rule_left_out": "ceil_last_window_starts_inside",
    "ceil_mode_ignored": "ceil_mode_keeps_the_ragged_end",
    "divisor_not_clipped": "avg_divisor_clipped",
    "dilation_ignored_by_divisor": "avg_divisor_dilated",
    "count_include_pad_ignored": "avg_may_leave_out_padding",
    "divisor_override_clipped": "divisor_override_ignores_clipping",
    "sides_swapped": "asymmetric_padding",
    "right_edge_off_by_one": "a_window_holds_its_own_elements",
    "wrong_plane": "index_per_plane",
    "padded_positions": "index_row_major",
    "column_major_positions": "index_row_major",
    "narrow_accumulator": "integer_sum_width",
    "half_accumulator": "halves_accumulate_in_float32",
    "through_float64": "wide_integers_stay_exact",
    "integer_avg_truncates": "integer_avg_rounding",
    "running_sum": "nan_does_not_spread",
    "squares": "variance_survives_a_large_mean",
    "logsumexp_overflows": "logsumexp_never_overflows",
    "lp_signed": "lp_uses_absolute_values",
    "stride_one": "stride_default_is_kernel",
    "same_lower_for_same": "same_upper",
    "same_ignores_dilation": "same_counts_the_dilation",
    "negative_axes_misread": "named_axes",
    "axes_sorted": "named_axes",
    "strides_misread": "any_strides",
    "byte_order_ignored": "byte_order_and_alignment",
    "result_in_c_order": "memory_order_kept",
    "out_written_early": "out_may_overlap_the_input",
    "written_before_errors": "errors_come_before_writing",
    "input_modified": "input_unchanged",
    "infinite_window_accepted": "window_past_the_input_is_refused",
    "bins_disjoint": "bins_hold_all_that_they_touch",
    "bins_positions_of_bins": "bins_have_positions",
}
"""Each planted bug, and the rule that is there to find it."""


def with_bug(bug):
    adaptive = functools.partial(planted.adaptive_pool, bug=bug)
    pool = functools.partial(planted.pool, bug=bug)
    return testing.from_function(pool, name=bug or "planted", adaptive=adaptive)


@pytest.mark.parametrize("case", testing.cases(with_bug(None), max_examples=60))
def test_the_honest_implementation_passes(case):
    outcome = testing.examine(case.rule, case.implementation, case.max_examples)
    assert outcome.deviation is None, str(outcome.deviation)
    assert outcome.examples > 0


@pytest.mark.parametrize("bug", planted.BUGS)
def test_planted_bug_is_found(bug):
    rule = FOUND_BY[bug]
    with pytest.raises(AssertionError) as found:
        testing.check(with_bug(bug), rules=rule, max_examples=100)
    text = str(found.value)
    assert text.startswith(f"{bug} breaks {rule}\n")
    assert found.value.statement in text
    assert found.value.call in text
    assert found.value.expected != found.value.got


@pytest.mark.parametrize("bug", ["nan_dropped", "narrow_accumulator", "written_before_errors"])
def test_planted_bug_is_found_by_the_whole_suite(bug):
    with pytest.raises(testing.Deviation, match=f"{bug} breaks "):
        testing.check(with_bug(bug), max_examples=20)


def test_every_planted_bug_has_its_rule():
    assert set(FOUND_BY) == set(planted.BUGS)
    assert set(FOUND_BY.values()) <= set(testing.RULES)
    assert len(planted.BUGS) >= 18


def test_the_bugs_are_bugs_and_the_switch_turns_them_off():
    x = np.array([[3.0, np.nan], [3.0, 1.0]])
    honest = planted.pool(x, (2, 2), return_indices=True)
    wrong = planted.pool(x, (2, 2), return_indices=True, bug="nan_dropped")
    assert np.isnan(honest[0]).all()
    assert honest[1].tolist() == [[1]]
    assert wrong[0].tolist() == [[3.0]]
    assert wrong[1].tolist() == [[0]]
