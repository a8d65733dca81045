"""A hash of a reducer's code, and of all that the code refers to."""

from __future__ import annotations

import hashlib
import types
from typing import Any

import numpy as np

from npool import scalars
from npool.reducers import Reducer

__all__ = ["digest"]


def digest(reducer: Reducer) -> tuple[str, bool]:
    """A name for what a kernel takes from `reducer`, and whether it is complete.

    Complete means that it was made of code, constants, modules, and functions of which the
    same holds; only such kernels may be cached on disk.
    """
    walk = _Walk()
    walk.add((reducer.identity, reducer.selects, len(reducer.params)))
    for function in (reducer.combine, reducer.lift, reducer.finish, reducer.positions):
        walk.add(function)
    name = reducer.name if reducer.name.isidentifier() and reducer.name.isascii() else "fold"
    return f"{name[:40]}-{walk.hash.hexdigest()[:20]}", walk.complete


class _Walk:
    def __init__(self) -> None:
        self.hash = hashlib.sha256()
        self.complete = True
        self.seen: set[int] = set()

    def say(self, text: str) -> None:
        self.hash.update(text.encode() + b"\0")

    def add(self, value: Any) -> None:
        if isinstance(value, types.FunctionType):
            self.say(f"function {value.__module__ == scalars.__name__} {value.__name__}")
            if id(value) in self.seen or value.__module__ == scalars.__name__:
                return
            self.seen.add(id(value))
            self.code(value.__code__, value.__globals__)
            for cell in value.__closure__ or ():
                self.add(cell.cell_contents)
            self.add(value.__defaults__)
            self.add(tuple(sorted((value.__kwdefaults__ or {}).items())))
        elif isinstance(value, types.CodeType):
            self.code(value, {})
        elif isinstance(value, (tuple, frozenset)):
            self.say(f"{type(value).__name__} {len(value)}")
            for entry in value if isinstance(value, tuple) else sorted(value, key=repr):
                self.add(entry)
        elif isinstance(value, types.ModuleType):
            self.say(f"module {value.__name__}")
        elif value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
            self.say(f"{type(value).__name__} {value!r}")
        elif isinstance(value, (np.generic, np.dtype)):
            self.say(f"{type(value).__name__} {value!r}")
        elif isinstance(value, (types.BuiltinFunctionType, type, np.ufunc)):
            self.say(f"{type(value).__name__} {value!r}")
        else:
            self.complete = False
            self.say(f"{type(value).__name__} {id(value)}")

    def code(self, body: types.CodeType, space: dict[str, Any]) -> None:
        self.hash.update(body.co_code)
        self.add(body.co_consts)
        for name in body.co_names:
            self.say(name)
            if name in space:
                self.add(space[name])
