"""Numba spared its detours, while the tests compile hundreds of kernels.

Its part of the work is most of the tests' time, and some of it grows with the square of a kernel's
length. While `spared` is entered,

- the type of a call is asked for once: for each ``+`` Numba asks some half a dozen templates, and
  reads the answer of those that it has asked before from a table that takes longer than asking;
- a statement is asked once for its names, not anew for each name that is assigned twice;
- the assignments of a block are counted all at once, not anew for each name;
- names are read from a statement's parts by their type, not by asking after each of some twenty.

What is compiled stays the same to the letter, which `test_ptx_executor.py` shows.
"""

import functools
import gc
import operator
from collections import Counter
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from numba.core import types
from numba.core.types.functions import BaseFunction
from numba.cuda.core import analysis, base, ir, ir_utils, ssa
from numba.cuda.extending import _Intrinsic
from numba.cuda.lowering import Lower

# --- types of calls -------------------------------------------------------------------------------

_NAMES = "add sub mul and_ or_ xor lshift rshift neg lt le gt ge eq ne getitem setitem"
_SETTLED = frozenset((bool, *(getattr(operator, name) for name in _NAMES.split())))
_answers = {}


def _get_call_type(function, context, args, kws):
    """`BaseFunction.get_call_type`, kept of what answers the same each time."""
    called = function.typing_key
    if kws or not (called in _SETTLED or isinstance(called, (types.Number, _Intrinsic))):
        return _ask(function, context, args, kws)
    key = called, id(context), args
    found = _answers.get(key)
    if found is None:
        sig = _ask(function, context, args, kws)
        # The context is kept with the answer: no other takes its place.
        found = _answers[key] = sig, function.get_impl_key(sig), context
    # The function that converts to a number is made anew for each call of it.
    function._impl_keys[found[0].args] = found[1]
    return found[0]


_ask = BaseFunction.get_call_type
_has_loc = functools.cache(base._has_loc)

# --- names of statements --------------------------------------------------------------------------

#: What a part of a statement is, where it is no variable and holds none.
_PLAIN = frozenset((str, int, bool, type(None), type(operator.add), type(ir.UNDEFINED), ir.Loc,
                    ir.Scope, ir.Const, ir.Global, ir.FreeVar, ir.Arg))  # fmt: skip
_names = {}


def _rec_list_vars(instruction, part):
    """`ir.Inst._rec_list_vars`: the variables in a part of an instruction."""
    kind = type(part)
    if kind is ir.Var:
        return [part]
    if kind in _PLAIN:
        return []
    if kind is ir.Expr:
        parts = part._kws.values()
    elif kind is dict:
        parts = part.values()
    elif kind is list or kind is tuple:
        parts = part
    else:
        return _any_vars(instruction, part)
    found = []
    for inner in parts:
        kind = type(inner)
        if kind is ir.Var:
            found.append(inner)
        elif kind not in _PLAIN:
            found += _rec_list_vars(instruction, inner)
    return found


_any_vars = ir.Inst._rec_list_vars


def _used(assignment):
    return [v.name for v in _rec_list_vars(assignment, assignment.value)]


def _named(statement):
    """All names in a statement, until the next `_run_ssa`."""
    found = _names.get(id(statement))
    if found is None:
        if isinstance(statement, ir.assign_types):
            names = {statement.target.name, *_used(statement)}
        else:
            names = {v.name for v in statement.list_vars()}
        # The statement is kept with them: no other takes its place.
        found = _names[id(statement)] = names, statement
    return found[0]


def _run_ssa(blocks):
    _names.clear()
    return _ssa(blocks)


_ssa = ssa._run_ssa


def _run_block_rewrite(blocks, states, handler):
    """`ssa._run_block_rewrite`, which is about one name: statements without it stay."""
    name, rewritten = states["varname"], {}
    for label, block in blocks.items():
        states["label"], states["block"] = label, block
        body = []
        for statement in block.body:
            if name not in _named(statement):
                body.append(statement)
            elif isinstance(statement, ir.assign_types):
                body.append(handler.on_assign(states, statement))
            else:
                body.append(handler.on_other(states, statement))
        rewritten[label] = ir.Block(scope=block.scope, loc=block.loc)
        rewritten[label].body = body
    return rewritten


def compute_use_defs(blocks):
    """`analysis.compute_use_defs`: for each block what it assigns, and what it uses before that."""
    uses, defines = {}, {}
    for label, block in blocks.items():
        used, defined = uses[label], defines[label] = set(), set()
        for statement in block.body:
            assert type(statement) not in analysis.ir_extension_usedefs
            if isinstance(statement, ir.assign_types):
                names = _used(statement)
                if statement.target.name not in names:
                    defined.add(statement.target.name)
            else:
                names = [v.name for v in ir_utils.compat_list_vars_stmt(statement)]
            used.update(name for name in names if name not in defined)
    return analysis._use_defs_result(usemap=uses, defmap=defines)


def _find_singly_assigned_variable(lower):
    """`Lower._find_singly_assigned_variable`: of one assignment, and used in its block alone."""
    blocks = lower.func_ir.blocks
    assert not lower.func_ir.func_id.is_generator
    found = compute_use_defs(blocks)
    times = Counter(statement.target.name for block in blocks.values()
                    for statement in block.find_insts(ir.assign_types))  # fmt: skip
    once = {name for name in set().union(*found.defmap.values()) if times[name] == 1}
    lower._singly_assigned_vars = once.difference(
        analysis.must_use_alloca(blocks), *found.usemap.values()
    )
    lower._blk_local_varmap = {}


_STEPS = [
    (BaseFunction, _get_call_type, "get_call_type"), (base, _has_loc, "_has_loc"),
    (ir.Inst, _rec_list_vars, "_rec_list_vars"), (ssa, _run_ssa, "_run_ssa"),
    (ssa, _run_block_rewrite, "_run_block_rewrite"),
    (analysis, compute_use_defs, "compute_use_defs"),
    (Lower, _find_singly_assigned_variable, "_find_singly_assigned_variable"),
]  # fmt: skip


@contextmanager
def spared():
    """While it is entered, Numba takes the quicker steps."""
    with ExitStack() as stack:
        for owner, step, name in _STEPS:
            stack.enter_context(patch.object(owner, name, step))
        stack.enter_context(uncollected())
        yield


@contextmanager
def uncollected():
    """Without a look for garbage: what compilers make lives on, or is dropped all at once."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
