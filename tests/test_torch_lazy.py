"""npool knows torch by name alone: it is imported by whoever makes a tensor, never by npool."""

import warnings

import numpy as np
import pytest
from fresh_process import check_runs

import npool
from npool.dispatch import adapter_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")


def test_the_adapter_is_loaded_by_the_first_tensor():
    code = """
        import sys
        import numpy, npool, npool.functional
        npool.max_pool(numpy.zeros(4), (2,))
        assert "torch" not in sys.modules
        import torch
        npool.max_pool(numpy.zeros(4), (2,))
        assert "npool.torch" not in sys.modules
        y = npool.max_pool(torch.arange(4.0), (2,))
        assert "npool.torch" in sys.modules
        kinds = ("npool.cuda", "numba_cuda", "cuda", "cupy")
        assert not [name for name in sys.modules if name.startswith(kinds)]
        print(type(y).__name__, y.tolist())
    """
    assert check_runs(code) == "Tensor [1.0, 3.0]\n"


def test_importing_the_adapter_compiles_no_kernel(tmp_path):
    code = """
        import sys, threading
        import npool.torch
        print("numba" in sys.modules, threading.active_count())
    """
    assert check_runs(code, NPOOL_CACHE_DIR=str(tmp_path / "cache")) == "False 1\n"
    assert not (tmp_path / "cache").exists()


def test_tensors_are_told_from_all_else():
    class Mine(torch.Tensor):
        pass

    assert adapter_of(torch.zeros(1)).__name__ == "npool.torch.faces"
    assert adapter_of(torch.zeros(1).as_subclass(Mine)) is adapter_of(torch.zeros(1))
    assert adapter_of(torch.nn.Parameter(torch.zeros(1))) is adapter_of(torch.zeros(1))
    for other in (np.zeros(1), [1], None, torch.float32, torch.nn.Linear(1, 1), torch.Size([1])):
        assert adapter_of(other) is None
    with pytest.raises(TypeError, match=r"x must be a numpy.ndarray, got builtins.list"):
        npool.max_pool([1, 2], (2,))
