"""What pytest does not look into for doctests: modules whose packages are not installed."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("torch") else ["npool/torch/*"]
if not find_spec("numba_cuda"):
    collect_ignore_glob += [
        "npool/cuda/*.py",
        "tests/away.py",
        "tests/cuda_mutants.py",
        "tests/far.py",
        "tests/quick_numba.py",
    ]
