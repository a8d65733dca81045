"""Each mutant of the kernels is caught, and by the tier that the table names."""

import collections
from typing import ClassVar

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs numba-cuda: pip install npool[cuda]")

from away import Executor, call, on, send, small_grids
from cuda_mutants import CALLS, MUTANTS, Mutated
from ptx import Fault

from npool.cuda import inspect, report

pytestmark = pytest.mark.slow


class Private(Executor):
    """An executor whose kernels are its own."""

    kernels: ClassVar[dict] = {}


def results(executor, name):
    function, arrays, arguments = CALLS[name]
    got = call(function, executor, *arrays, **arguments)
    return got if isinstance(got, tuple) else (got,)


def verdict(executor, name):
    """By which tier the kernels of a call are found wrong, or None."""
    function, arrays, arguments = CALLS[name]
    wanted = function(*arrays, **arguments)
    try:
        with small_grids():
            got = results(executor, name)
    except Fault:
        return "fault"
    for a, b in zip(got, wanted if isinstance(wanted, tuple) else (wanted,), strict=True):
        if not np.allclose(a, b, rtol=1e-5, atol=1e-5, equal_nan=True):
            return "oracle"
    return "gate" if gated(executor, name) else None


def gated(executor, name):
    """Whether the machine code breaks a rule: float64, a division in the loop, narrow loads."""
    function, arrays, arguments = CALLS[name]
    with on(executor):
        executor.reports.clear()
        function(*(send(a) for a in arrays), **arguments)
        steps = [step for step, _ in executor.reports]
    for step in steps:
        text = executor.compiled(step.code, executor.together)[9, 0][0]
        sass = inspect.examine(text, (9, 0))
        row = report._row(step, (9, 0), sass, 4, 20.0)
        wide = getattr(step.code.form, "load", 1) * 4
        # A norm divides by its meaning, and so does the length of a bin.
        form = step.code.form
        axes = getattr(form, "axes", ())
        uneven = isinstance(axes, tuple) and any(not getattr(tap, "kernel", 1) for tap in axes)
        divides = row.calls and not getattr(form, "power", "") and not uneven
        if sass.double or divides or (wide > 4 and set(row.loads) != {wide}):
            return True
    return False


@pytest.mark.skipif(inspect._cuobjdump() is None, reason="cuobjdump is not installed")
@pytest.mark.parametrize("name", CALLS)
def test_the_kernels_themselves_pass(name):
    assert verdict(Private((9, 0), ((9, 0),)), name) is None


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_a_mutant_is_caught(mutant):
    if mutant.caught == "gate" and inspect._cuobjdump() is None:
        pytest.skip("cuobjdump is not installed")
    executor = Private((9, 0), ((9, 0),))
    with Mutated(mutant, executor) as mutated:
        found = verdict(executor, mutant.call)
        assert mutated.hits, f"{mutant.old!r} is not in the kernel any more"
    assert found == mutant.caught


def test_there_are_enough_of_each():
    tiers = collections.Counter(mutant.caught for mutant in MUTANTS)
    assert len(MUTANTS) >= 20
    assert min(tiers[tier] for tier in ("fault", "oracle", "gate")) >= 3
