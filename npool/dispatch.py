"""Arrays of other frameworks: found by the name of their type, importing nothing of theirs.

A tensor is told by the package that its class, or a class it derives from, comes from. Its
framework is imported already, or there would be no tensor; npool's adapter of it is imported
when the first one arrives.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["ADAPTERS", "adapter_of"]

#: The package that a class comes from, and the module of npool that knows it.
ADAPTERS = {"torch": "npool.torch.faces"}

_adapters: dict[type, Any] = {}


def adapter_of(x: Any) -> Any:
    """The adapter module of `x`, or None if `x` is of no framework that npool knows.

    Examples
    --------
    >>> from npool.dispatch import adapter_of
    >>> print(adapter_of([1, 2, 3]))
    None
    """
    kind = type(x)
    if kind in _adapters:
        return _adapters[kind]
    for base in kind.__mro__:
        package = base.__module__.partition(".")[0]
        if package in ADAPTERS and hasattr(base, "shape"):
            if len(_adapters) > 256:  # classes made on the fly must not pile up
                _adapters.clear()
            _adapters[kind] = importlib.import_module(ADAPTERS[package])
            return _adapters[kind]
    return None
