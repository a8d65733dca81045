"""The one place that knows which package compiles for CUDA: numba-cuda, and cuda.core beside it.

Compiling needs no driver and no GPU; launching does.
"""

from __future__ import annotations

import os
from typing import Any

# Our grids are sized on purpose; the warning is for those who forgot theirs.
os.environ.setdefault("NUMBA_CUDA_LOW_OCCUPANCY_WARNINGS", "0")

try:
    import numba_cuda
    from numba import cuda
except ImportError as error:  # pragma: no cover - a machine without the extra
    raise ImportError(
        "pooling on a GPU needs numba-cuda: pip install 'npool[cuda]' (CUDA 13), or "
        "'numba-cuda[cu12]' for CUDA 12"
    ) from error

#: Whether kernels run as Python (NUMBA_ENABLE_CUDASIM=1), for a look at every line.
SIMULATED: bool = os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")

if not SIMULATED:
    from llvmlite import ir
    from numba.cuda import types
    from numba.cuda.compiler import _compile_pyfunc_with_fixup, compile_cuda
    from numba.cuda.dispatcher import CUDADispatcher
    from numba.cuda.extending import _intrinsic, intrinsic

    #: An intrinsic that is told which integers are written in the source.
    literal_intrinsic: Any = _intrinsic(target="cuda", prefer_literal=True)

__all__ = [
    "SIMULATED", "Part", "cuda", "intrinsic", "ir", "literal_intrinsic", "ptx", "types", "versions",
]  # fmt: skip

if not SIMULATED:

    class Part(CUDADispatcher):  # type: ignore[misc]
        """A device function compiled for a stated architecture.

        Numba's own asks the driver for the current device, which a machine without a GPU has
        not, and which need not be the one that is compiled for.
        """

        def __init__(self, function: Any, cc: tuple[int, int]) -> None:
            options = {"debug": False, "lineinfo": False, "link": (), "opt": True,
                       "fastmath": False, "device": True, "inline": "never",
                       "forceinline": True, "extensions": []}  # fmt: skip
            super().__init__(function, targetoptions=options)
            self.cc = cc

        def compile_device(self, args: Any, return_type: Any = None) -> Any:
            """The function compiled for argument types, once."""
            found = self.overloads.get(args)
            if found is None:
                found = compile_cuda(
                    self.py_func, return_type, args, forceinline=True, cc=self.cc,
                    nvvm_options={"opt": 3, "fastmath": False},
                )  # fmt: skip
                self.overloads[args] = found
                found.target_context.insert_user_function(
                    found.entry_point, found.fndesc, [found.library]
                )
            return found

else:
    ir = types = intrinsic = literal_intrinsic = None

    def Part(  # type: ignore[no-redef]
        function: Any, cc: tuple[int, int]
    ) -> Any:
        """The function itself: the simulator runs Python."""
        return function


def ptx(
    function: Any, signature: tuple[Any, ...], *architectures: tuple[int, int]
) -> list[tuple[str, str]]:
    """A kernel's PTX for each of some architectures, and its name there.

    Numba's part of the work, most of it, is done once.
    """
    library, _ = _compile_pyfunc_with_fixup(
        function, signature, device=False, abi="numba", cc=architectures[0], opt=True
    )
    found = []
    for cc in architectures:
        (text,) = library.get_asm_strs(cc=cc)
        text = text.decode() if isinstance(text, bytes) else text
        start = text.index(".entry") + len(".entry")
        found.append((text, text[start : text.index("(", start)].strip()))
    return found


def versions() -> dict[str, str]:
    """What compiles here, by name and version."""
    from importlib import metadata

    names = ("numba-cuda", "numba", "llvmlite", "cuda-core", "nvidia-nvvm", "nvidia-nvjitlink")
    found = {"numba-cuda": numba_cuda.__version__}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
