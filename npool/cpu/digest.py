"""A hash of a reducer's code, and of all that the code refers to."""

from __future__ import annotations

import hashlib
import secrets
import types
from typing import Any

import numpy as np

from npool import scalars
from npool.reducers import Reducer

__all__ = ["PROCESS", "digest", "mark"]

#: Tells this process from any other, for what has no complete digest.
PROCESS = secrets.token_hex(8)

#: Modules whose functions and types are taken at their name.
_CONSTANT = (
    types.NoneType, bool, int, float, complex, str, bytes, np.generic, np.dtype, np.ufunc,
    types.BuiltinFunctionType,
)  # fmt: skip
_FIXED = frozenset({"builtins", "math", "cmath", "numpy", scalars.__name__})


def digest(reducer: Reducer) -> tuple[str, bool]:
    """A name for what a kernel takes from `reducer`, and whether it is complete.

    Complete means that it was made of code, constants, modules, and functions of which the
    same holds; only such kernels may be cached on disk.
    """
    walk = _Walk()
    walk.add((reducer.identity, reducer.selects, len(reducer.params)))
    functions = (reducer.combine, reducer.lift, reducer.finish, reducer.positions, reducer.in_order)
    for function in functions:
        walk.add(function)
    name = reducer.name if reducer.name.isidentifier() and reducer.name.isascii() else "fold"
    return f"{name[:40]}-{walk.hash.hexdigest()[:20]}", walk.complete


def mark(function: types.FunctionType) -> str:
    """A name for one function of a reducer, that no other code has in any process."""
    walk = _Walk()
    walk.add(function)
    return walk.hash.hexdigest()[:20] + ("" if walk.complete else f"-{PROCESS}")


class _Walk:
    def __init__(self) -> None:
        self.hash = hashlib.sha256()
        self.complete = True
        self.seen: set[int] = set()
        self.space: dict[str, Any] = {}

    def say(self, text: str) -> None:
        self.hash.update(text.encode() + b"\0")

    def add(self, value: Any) -> None:
        if isinstance(value, types.FunctionType):
            self.say(f"function {value.__module__ == scalars.__name__} {value.__name__}")
            if id(value) in self.seen or value.__module__ == scalars.__name__:
                return
            self.seen.add(id(value))
            outer, self.space = self.space, value.__globals__
            self.code(value.__code__, self.space)
            self.space = outer
            for cell in value.__closure__ or ():
                self.add(cell.cell_contents)
            self.add(value.__defaults__)
            self.add(tuple(sorted((value.__kwdefaults__ or {}).items())))
        elif isinstance(value, types.CodeType):
            self.code(value, self.space)
        elif isinstance(value, (tuple, frozenset)):
            self.say(f"{type(value).__name__} {len(value)}")
            for entry in value if isinstance(value, tuple) else sorted(value, key=repr):
                self.add(entry)
        elif isinstance(value, types.ModuleType):
            # Only what these hold is known not to change.
            self.complete &= value.__name__ in _FIXED
            self.say(f"module {value.__name__} {value.__name__ in _FIXED or id(value)}")
        elif isinstance(value, _CONSTANT) or (
            isinstance(value, type) and value.__module__ in _FIXED
        ):
            self.say(f"{type(value).__name__} {value!r}")
        else:
            self.complete = False
            self.say(f"{type(value).__name__} {id(value)}")

    def code(self, body: types.CodeType, space: dict[str, Any]) -> None:
        self.hash.update(body.co_code)
        self.say(f"{body.co_flags} {body.co_argcount} {body.co_kwonlyargcount}")
        self.add((body.co_varnames, body.co_freevars, body.co_cellvars))
        self.add(body.co_consts)
        for name in body.co_names:
            self.say(name)
            if name in space:
                self.add(space[name])
