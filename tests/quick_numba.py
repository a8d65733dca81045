"""Numba's answers about arithmetic, remembered while the tests compile hundreds of kernels.

For each ``+`` of two integers Numba asks some half a dozen templates, and reads the answer of
those that it has asked before from a table that takes longer than asking. Operators on numbers have
one answer each; `remembered` keeps it. What is compiled stays the same to the letter, which
`test_ptx_executor.py` shows.
"""

import operator
from contextlib import contextmanager

from numba.core import types
from numba.core.types.functions import BaseFunction

_NAMES = "add sub mul and_ or_ xor lshift rshift neg lt le gt ge eq ne"
_OPERATORS = frozenset(getattr(operator, name) for name in _NAMES.split())
_answers = {}


def _asked(function, context, args, kws):
    if kws or function.typing_key not in _OPERATORS:
        return _ask(function, context, args, kws)
    if not all(isinstance(types.unliteral(a), (types.Number, types.Boolean)) for a in args):
        return _ask(function, context, args, kws)
    # The function and the context are kept with the answer: no other takes their place.
    key = id(function), id(context), args
    found = _answers.get(key)
    if found is None:
        found = _answers[key] = _ask(function, context, args, kws), function, context
    return found[0]


_ask = BaseFunction.get_call_type


@contextmanager
def remembered():
    """While it is entered, an operator's type is asked for once."""
    BaseFunction.get_call_type = _asked
    try:
        yield
    finally:
        BaseFunction.get_call_type = _ask
