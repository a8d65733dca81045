"""Hypothesis profiles: how many problems the property tests try.

``quick`` is the default. ``NPOOL_HYPOTHESIS=thorough`` (or ``--hypothesis-profile=thorough``) is
what continuous integration runs, ``exhaustive`` is for a night and ``brief`` for `make check`.
What is marked ``thorough`` runs in the second and third alone. No deadline: the first problem of a
kind compiles a kernel.
"""

import os
import signal
import sys

import pytest
from hypothesis import HealthCheck, settings

# A shell that starts pytest in the background has it ignore Ctrl-C, and with it every process that
# a test starts and then interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

_COMMON = {
    "deadline": None,
    "print_blob": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much],
}

settings.register_profile(
    "quick", max_examples=100, derandomize=bool(os.environ.get("CI")), **_COMMON
)
settings.register_profile("brief", max_examples=20, derandomize=True, **_COMMON)
settings.register_profile("thorough", max_examples=1_000, derandomize=True, **_COMMON)
settings.register_profile("exhaustive", max_examples=20_000, derandomize=False, **_COMMON)
settings.load_profile(os.environ.get("NPOOL_HYPOTHESIS", "quick"))


def pytest_collection_modifyitems(items):
    """The quick profile leaves out what is marked `thorough`."""
    few = settings.default.max_examples < settings.get_profile("thorough").max_examples
    for item in items:
        if item.get_closest_marker("thorough"):
            item.add_marker(pytest.mark.skipif(few, reason="for the thorough profile"))


def pytest_runtest_setup(item):
    """Small tensors that are differentiated are npool's here, not torch's, so that it is tested."""
    if (small := sys.modules.get("npool.torch.functional.small")) is not None:
        small.FEW = small.FEW_SHORT = small.FEW_LAST = 0
