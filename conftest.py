"""What pytest leaves out: the doctests of npool.torch, where torch is not installed."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("torch") else ["npool/torch/*"]
