"""npool against torch where torch has the operation: npool.functional to the letter, npool.* too.

500 problems altogether in the quick profile, over 5,000 in the thorough one.
"""

import numpy as np
import pytest
from hypothesis import given, settings

import npool
from npool import functional, testing

torch = pytest.importorskip("torch", reason="torch is not installed: nothing to compare with")
theirs = torch.nn.functional

CASES = [(op, n) for op in ("max", "avg", "lp") for n in (1, 2, 3)]
SHARE = settings.default.max_examples * 56 // 100
"""Problems for each function of torch's."""

DTYPES = {
    "max": ("float32", "float64", "int64", "uint8", "float16"),
    "avg": ("float32", "float64", "int64"),
    "lp": ("float32", "float64"),
}
VARY = {
    "max": ("stride", "padding", "dilation", "ceil_mode"),
    "avg": ("stride", "padding", "ceil_mode"),
    "lp": ("stride", "ceil_mode"),
}
peer = testing.descriptor("torch")


def problems_of(op, n):
    """Problems that torch takes: (C, *spatial), (N, C, *spatial), padding up to half a window."""
    options = {
        "count_include_pad": testing.strategies.st.booleans(),
        "divisor_override": testing.strategies.st.sampled_from([None, None, 1, 5]),
        "norm_type": testing.strategies.st.sampled_from([1, 2, 3, 4, 0.5, 2.5]),
    }
    if n == 1:
        del options["divisor_override"]  # avg_pool1d has none
    return testing.problems(
        ops=(op,),
        dtypes=DTYPES[op],
        data=("integers", "ties", "special", "floats"),
        vary=VARY[op],
        limits=testing.Limits((n,), (1, 2), padding_limit=peer.padding_limit),
        layouts=("C", "channels_last", "sliced"),
        options=options,
    ).filter(lambda problem: peer.refuses(problem) is None or op == "max")


def arguments_of(problem):
    """Keyword arguments that both take."""
    arguments = {"ceil_mode": problem.ceil_mode, "stride": problem.stride}
    if problem.op != "lp":
        arguments["padding"] = problem.padding
    if problem.op == "max":
        arguments["dilation"] = problem.dilation
    return arguments


def check_close(problem, got, wanted):
    """Equal for max; for sums, within rounding of what the oracle says is the scale of it."""
    assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype), str(problem)
    if problem.op == "max" or got.dtype.kind in "iu":
        np.testing.assert_array_equal(got, wanted, str(problem))
        return
    x = np.abs(problem.array().astype(float))
    scale = x[np.isfinite(x)].max(initial=1.0) * float(np.prod(problem.kernel_size))
    narrow = {"float16": 2e-3, "float32": 2e-6, "float64": 4e-15}[got.dtype.name]
    np.testing.assert_allclose(got, wanted, narrow, narrow * scale, err_msg=str(problem))


def check_max(problem, n):
    x = problem.array()
    arguments = arguments_of(problem)
    function = getattr(theirs, f"max_pool{n}d")
    # A copy: max_pool3d refuses memory formats other than its own two.
    tensor = torch.from_numpy(np.array(x, order="C"))
    values, positions = function(tensor, problem.kernel_size, **arguments, return_indices=True)
    got = getattr(functional, f"max_pool{n}d")(
        x, problem.kernel_size, **arguments, return_indices=True
    )
    np.testing.assert_array_equal(got[0], values.numpy(), str(problem))
    np.testing.assert_array_equal(got[1], positions.numpy(), str(problem))
    assert got[0].dtype == values.numpy().dtype
    assert got[1].dtype == np.int64
    plain = getattr(functional, f"max_pool{n}d")(x, problem.kernel_size, **arguments)
    np.testing.assert_array_equal(plain, values.numpy(), str(problem))
    ours, where = npool.max_pool(x, problem.kernel_size, **arguments, return_indices=True)
    np.testing.assert_array_equal(ours, values.numpy(), str(problem))
    inside = where >= 0
    np.testing.assert_array_equal(where[inside], positions.numpy()[inside], str(problem))
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    assert (ours[~inside] == lowest).all(), str(problem)


def check_avg(problem, n):
    x = problem.array()
    arguments = {**arguments_of(problem), **dict(problem.options)}
    wanted = getattr(theirs, f"avg_pool{n}d")(
        torch.from_numpy(x), problem.kernel_size, **arguments
    ).numpy()
    got = getattr(functional, f"avg_pool{n}d")(x, problem.kernel_size, **arguments)
    check_close(problem, got, wanted)
    if x.dtype.kind == "f":
        check_close(problem, npool.avg_pool(x, problem.kernel_size, **arguments), wanted)
    else:
        truncated = npool.avg_pool(
            x, problem.kernel_size, **arguments, dtype=x.dtype, rounding="trunc"
        )
        check_close(problem, truncated, wanted)


def check_lp(problem, n):
    x = problem.array()
    kernel = problem.kernel_size[0] if n == 1 else problem.kernel_size
    p = problem.option("norm_type")
    wanted = getattr(theirs, f"lp_pool{n}d")(
        torch.from_numpy(x), p, kernel, **arguments_of(problem)
    ).numpy()
    got = getattr(functional, f"lp_pool{n}d")(x, p, kernel, **arguments_of(problem))
    assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype), str(problem)
    tolerance = 1e-4 if got.dtype == np.float32 else 1e-11
    np.testing.assert_allclose(got, wanted, tolerance, tolerance, err_msg=str(problem))
    if not problem.ceil_mode and not (x < 0).any():
        ours = npool.lp_pool(x, p, problem.kernel_size, problem.stride)
        np.testing.assert_allclose(ours, wanted, tolerance, tolerance, err_msg=str(problem))


CHECKS = {"max": check_max, "avg": check_avg, "lp": check_lp}


@pytest.mark.parametrize(("op", "n"), CASES, ids=[f"{op}_pool{n}d" for op, n in CASES])
def test_npool_agrees_with_torch(op, n):
    tried = 0

    @settings(max_examples=SHARE)
    @given(problems_of(op, n))
    def agrees(problem):
        nonlocal tried
        tried += 1
        CHECKS[op](problem, n)

    agrees()
    assert tried >= SHARE


def test_the_thorough_profile_tries_5000_problems():
    thorough = settings.get_profile("thorough").max_examples * 56 // 100 * len(CASES)
    quick = settings.get_profile("quick").max_examples * 56 // 100 * len(CASES)
    assert thorough >= 5_000
    assert quick >= 500


def test_the_comparison_can_fail():
    problem = testing.Problem("avg", (1, 3), (1, 2, 3), kernel_size=(2,), stride=1)
    right = np.array([[1.5, 2.5]], np.float32)
    check_close(problem, right, right)
    for wrong in (right * np.float32(1.0001), right[:, :1], right.astype(np.float64)):
        with pytest.raises(AssertionError):
            check_close(problem, wrong, right)
