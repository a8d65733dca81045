"""What pytest does not look into for doctests: modules whose packages are not installed."""

import importlib.util

collect_ignore_glob = (
    []
    if importlib.util.find_spec("numba_cuda")
    else ["npool/cuda/*.py", "tests/away.py", "tests/cuda_mutants.py"]
)
