"""PyTorch's own tests of pooling under `accelerate`: each passes or fails as without.

The file is PyTorch's ``test/nn/test_pooling.py`` and is not kept here: name a copy of it, of the
version of torch that is installed, in NPOOL_TORCH_POOLING_TESTS. Every call that npool can answer
is then given to it, small ones too.
"""

import json
import os
import warnings

import pytest
from fresh_process import check_runs

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("torch")

FILE = os.environ.get("NPOOL_TORCH_POOLING_TESTS", "")

RUN = """
    import importlib.util, json, sys, unittest, warnings
    warnings.simplefilter("ignore")
    path, accelerated = sys.argv[1], sys.argv[2] == "True"
    sys.argv = sys.argv[:1]
    import torch
    import npool.torch
    from npool.torch import acceleration, serving

    torch.set_num_threads(1)
    spec = importlib.util.spec_from_file_location("test_pooling", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["test_pooling"] = module
    spec.loader.exec_module(module)
    if accelerated:
        serving.TINY = acceleration.TINY = 0
        serving.BIN = serving.NEVER
        for kind in serving.WORTH:
            serving.WORTH[kind] = serving.Worth(0, 0, 0)
        report = npool.torch.accelerate(report=True)

    class Outcomes(unittest.TestResult):
        def __init__(self):
            super().__init__()
            self.seen = {}

        def stopTest(self, test):
            self.seen.setdefault(test.id(), "passed")

        def addFailure(self, test, error):
            self.seen[test.id()] = f"failed: {error[1]}"[:300]

        addError = addFailure

        def addSkip(self, test, reason):
            self.seen[test.id()] = "skipped"

    outcomes = Outcomes()
    unittest.defaultTestLoader.loadTestsFromModule(module).run(outcomes)
    served = sum(n for call, n in report.calls.items() if not call.reason) if accelerated else 0
    print(json.dumps([outcomes.seen, served]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not FILE, reason="NPOOL_TORCH_POOLING_TESTS names no copy of torch's tests")
def test_torchs_own_tests():
    (plain, _), (accelerated, served) = (
        json.loads(check_runs(RUN, FILE, flag, warnings="ignore", timeout=900).splitlines()[-1])
        for flag in (False, True)
    )
    assert list(plain.values()).count("passed") > 50, plain
    different = {name: (plain[name][:60], got) for name, got in accelerated.items()
                 if got[:6] != plain[name][:6]}  # fmt: skip
    assert not different
    assert served > 500
