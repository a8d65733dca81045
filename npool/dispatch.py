"""Arrays that are not NumPy's: whose they are, and where they lie, by name and protocol.

A tensor is told by the package that its class, or a class it derives from, comes from. Its
framework is imported already, or there would be no tensor; npool's adapter of it is imported
when the first one arrives, and `npool.cuda` once an array on a device has come.
"""

from __future__ import annotations

from typing import Any

__all__ = ["ADAPTERS", "adapter_of", "device_engine", "on_device"]

#: The packages whose classes npool has an adapter for: `npool.torch.faces`.
ADAPTERS = ("torch",)
#: CUDA memory in DLPack's list of devices: of a device, and managed by the driver.
_CUDA = (2, 13)


def adapter_of(x: Any) -> Any:
    """The adapter module of `x`, or None if `x` is of no framework that npool knows.

    Examples
    --------
    >>> from npool.dispatch import adapter_of
    >>> print(adapter_of([1, 2, 3]))
    None
    """
    for base in type(x).__mro__:
        if base.__module__.partition(".")[0] in ADAPTERS and hasattr(base, "shape"):
            # Written out: torch.compile follows an import statement, and no other. Nothing is
            # kept: what a first call changed would have it compile the second anew.
            from npool.torch import faces

            return faces
    return None


def on_device(x: Any) -> bool:
    """Whether `x` is an array in the memory of a CUDA device.

    Asked by DLPack where the array knows that, else by ``__cuda_array_interface__``.

    Examples
    --------
    >>> import numpy as np
    >>> on_device(np.zeros(3))
    False
    """
    ask = getattr(x, "__dlpack_device__", None)
    if ask is not None:
        try:
            return int(ask()[0]) in _CUDA
        except (TypeError, ValueError, RuntimeError, BufferError, NotImplementedError):
            pass
    try:
        return getattr(x, "__cuda_array_interface__", None) is not None
    except (RuntimeError, TypeError):  # torch, for what it cannot describe
        return False


def device_engine() -> Any:
    """`npool.cuda.device`, the verbs for arrays on a device."""
    from npool.cuda import device

    return device
