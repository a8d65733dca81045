"""The kernels' text under Numba's CUDA simulator, held to the conformance suite on small shapes.

The simulator must be asked for before Numba is first imported, so it has a process of its own:
the last test starts it, on this same file.
"""

import functools
import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs numba-cuda: pip install npool[cuda]")

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM", "0") == "1"
pytestmark = pytest.mark.slow

if SIMULATED:
    from away import Simulator, call

    import npool
    from npool.testing import RULES, checking, descriptor, from_function

    SIMULATOR = Simulator()

    def away(face):
        """A function of npool's, its array sent away and its results brought home."""

        @functools.wraps(face)
        def run(x, *arguments, **options):
            return call(face, SIMULATOR, x, **_named(face, arguments), **options)

        return run

    def _named(face, arguments):
        import inspect

        names = list(inspect.signature(face).parameters)[1:]
        return dict(zip(names, arguments, strict=False))

    FACES = {"max": npool.max_pool, "min": npool.min_pool, "avg": npool.avg_pool,
             "sum": npool.sum_pool, "lp": npool.lp_pool}  # fmt: skip
    known = descriptor("npool")
    whole = from_function(
        {op: away(FACES.get(op, functools.partial(npool.pool, reduce=op))) if op in FACES else
         away(functools.update_wrapper(functools.partial(npool.pool, reduce=op), npool.pool))
         for op in known.ops},
        name="npool on a simulated device",
        without=["out", "errors", "dtype_errors", "fold", "output_shape"],
    )  # fmt: skip
    DEVICE = replace(
        whole, layouts=("C", "F", "transposed", "channels_last", "sliced", "offset", "reversed"),
    )  # fmt: skip
    CASES = checking.cases(DEVICE, max_examples=40)

    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule.name)
    def test_keeps_the_rule(case):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of threads that divide by zero
            before = SIMULATOR.launches
            case.check()
        # An empty batch is no work.
        assert SIMULATOR.launches > before or case.rule.name == "empty_batch_gives_empty_result"

    @pytest.mark.parametrize("drawn", ["float32", "float16"])
    def test_windows_drawn_at_random(drawn):
        rng = np.random.default_rng(2)
        x = rng.integers(-9, 9, (2, 7, 9)).astype(np.float32)
        samples = rng.random((2, 2)).astype(drawn)
        given = {"kernel_size": (2, 3), "output_size": (3, 4), "samples": samples,
                 "return_indices": True}  # fmt: skip
        for got, wanted in zip(call(npool.fractional_max_pool, SIMULATOR, x, **given),
                               npool.fractional_max_pool(x, **given), strict=True):  # fmt: skip
            np.testing.assert_array_equal(got, wanted)

    @pytest.mark.parametrize("norm", [1, 2, 3])
    def test_gradients_of_norms(norm):
        rng = np.random.default_rng(4)
        x = rng.integers(-3, 4, (2, 5, 6)).astype(np.float32)
        arguments = {"kernel_size": (3, 2), "stride": 2, "padding": 1}
        norms = npool.lp_pool(x, norm, **arguments)
        for gradient in (rng.normal(size=norms.shape).astype(np.float32),
                         np.broadcast_to(np.float32(2), norms.shape)):  # fmt: skip
            wanted = npool.lp_pool_backward(gradient, x, norms, norm, **arguments)
            got = call(npool.lp_pool_backward, SIMULATOR, gradient, x, norms, norm_type=norm,
                       **arguments)  # fmt: skip
            np.testing.assert_allclose(got, wanted, rtol=2e-6, atol=1e-6)

    def test_gradients_anywhere():
        rng = np.random.default_rng(5)
        gradient = rng.integers(-9, 9, (2, 3, 4)).astype(np.float32)
        indices = rng.integers(-1, 42, (2, 3, 4))
        for given in (gradient, np.broadcast_to(np.float32(2), (2, 3, 4))):
            got = call(npool.fractional_max_pool_backward, SIMULATOR, given, indices,
                       input_shape=(2, 6, 7), axes=(1, 2))  # fmt: skip
            wanted = npool.fractional_max_pool_backward(given, indices, (2, 6, 7), axes=(1, 2))
            np.testing.assert_array_equal(got, wanted)

    @pytest.mark.parametrize("dtype", ["float16", "int64", "int8"])
    def test_norms_by_torchs_steps(dtype):
        x = (np.random.default_rng(6).normal(size=(2, 4, 6)) * 4).astype(dtype)
        for norm in (2, 3, np.inf, -np.inf):
            wanted = npool.functional.lp_pool1d(x, norm, 3)
            got = call(npool.functional.lp_pool1d, SIMULATOR, x, norm_type=norm, kernel_size=3)
            assert got.dtype == wanted.dtype
            np.testing.assert_allclose(got.astype(float), wanted.astype(float), rtol=1e-3)

    def test_complex_averages_of_real_elements():
        x = np.random.default_rng(7).normal(size=(2, 4, 6)).astype(np.float32)
        for kernel in ((2, 3), (4, 60)):
            arguments = {"kernel_size": kernel, "padding": (0, kernel[1] // 2), "stride": 1}
            got = call(npool.avg_pool, SIMULATOR, x, dtype=np.complex64, **arguments)
            wanted = npool.avg_pool(x, dtype=np.complex64, **arguments)
            np.testing.assert_allclose(got, wanted, rtol=1e-6)

    def test_enough_rules_apply():
        assert len(CASES) > 20
        assert set(RULES) >= {case.rule.name for case in CASES}

else:

    def test_in_the_simulator():
        root = Path(__file__).resolve().parents[1]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist",
             "-o", "addopts=", "-W", "error", __file__],
            cwd=root, capture_output=True, text=True, check=False, timeout=900,
            env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1",
                 "PYTHONPATH": os.pathsep.join([str(root), str(root / "tests")])},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
        assert " passed" in done.stdout
