"""A function of a reducer with the functions that it calls exchanged for an engine's own."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

__all__ = ["rebound"]


def rebound(
    function: types.FunctionType, part: Callable[[Any], Any], module: str | None = None
) -> types.FunctionType:
    """A copy of `function` that calls ``part(f)`` wherever it calls a function `f`.

    `module` is the name that the copy's globals give themselves, where another than its own.
    """
    code = function.__code__
    space = dict(function.__globals__)
    if module is not None:
        space["__name__"] = module
    for name in code.co_names:
        if isinstance(space.get(name), types.FunctionType):
            space[name] = part(space[name])
    cells = []
    for cell in function.__closure__ or ():
        value = cell.cell_contents
        cells.append(
            types.CellType(part(value) if isinstance(value, types.FunctionType) else value)
        )
    copy = types.FunctionType(code, space, function.__name__, function.__defaults__, tuple(cells))
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy
