"""Where an array lies, told by name and protocol, and the way to the engine that reaches it.

No framework is imported, and `npool.cuda` only once an array on a device has come.
"""

from __future__ import annotations

from typing import Any

__all__ = ["device_engine", "on_device"]

#: CUDA memory in DLPack's list of devices: of a device, and managed by the driver.
_CUDA = (2, 13)


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
