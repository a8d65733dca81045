"""How an operator enters torch: its kernel, its shape, its derivatives, and its batches.

Each operator is linear or has a rule of its own, in both directions: reverse mode asks for
`backward`, forward mode for `tangent`. Both are written with the operators themselves, so that
derivatives have derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd import forward_ad
from torch.autograd.function import _SingleLevelFunction

from npool.torch.tensors import is_eager, order_of

__all__ = ["CALLS", "DEVICES", "KERNELS", "LIBRARY", "OPERATORS", "Derivative", "Saved", "define"]

#: Operators live as ``torch.ops.npool.*`` while this object does.
LIBRARY = torch.library.Library("npool", "DEF")
#: The devices, by the dispatcher's names, on which npool has kernels.
DEVICES = ("CPU", "CUDA")
#: Each operator by its name, and what the dispatcher ends in on any of `DEVICES`.
OPERATORS: dict[str, Any] = {}
KERNELS: dict[str, Callable[..., Any]] = {}
#: The same, each by the shortest way: past the dispatcher where nothing traces or transforms. A
#: small tensor takes longer on its way through that than to be pooled.
CALLS: Any = SimpleNamespace()


@dataclass(frozen=True, slots=True)
class Saved:
    """What the forward call leaves for derivatives.

    Attributes
    ----------
    tensors : tuple of torch.Tensor
        Those that `Derivative.save` named.
    args : tuple
        The operator's arguments after its tensors.
    shape, order : tuple of int
        Of the first tensor: its lengths, and its axes from the slowest in memory.
    needs : tuple of bool
        Which tensors' gradients are asked for.
    """

    tensors: tuple[torch.Tensor, ...]
    args: tuple[Any, ...]
    shape: Any
    order: tuple[int, ...]
    needs: tuple[bool, ...]


@dataclass(frozen=True)
class Derivative:
    """The derivatives of one operator.

    Parameters
    ----------
    backward : callable
        ``backward(saved, grad)``: one gradient for each tensor, or None.
    tangent : callable
        ``tangent(saved, *tangents)``: the tangent of the first output.
    save : callable
        ``save(tensors, outputs)``: what `saved.tensors` holds.
    through : callable, optional
        ``through(keyset, args)``: outputs, where a derivative needs more of them than the
        operator gives. Only the first is given on. `keyset` is None past the dispatcher.
    """

    backward: Callable[..., Any]
    tangent: Callable[..., Any]
    save: Callable[[tuple[Any, ...], tuple[Any, ...]], tuple[Any, ...]] = lambda given, made: ()
    through: Callable[[Any, tuple[Any, ...]], tuple[Any, ...]] | None = None


def define(
    schema: str,
    kernel: Callable[..., Any],
    fake: Callable[..., Any],
    derivative: Derivative | None = None,
    *,
    tensors: int = 1,
    shaped: bool = False,
) -> Any:
    """Define ``torch.ops.npool.<name>`` and return it, as it is in `CALLS`.

    Parameters
    ----------
    schema : str
        Name, arguments without defaults (tensors first), and results.
    kernel : callable
        Computes the results of dense tensors of one device, by npool's array functions.
    fake : callable
        Makes empty results of the right form, for symbolic shapes too.
    derivative : Derivative, optional
        None: not differentiable.
    tensors : int
        How many tensors come first.
    shaped : bool
        Whether the arguments after the tensors are a shape and a memory order, to which a batch
        adds an axis.
    """
    name = schema.partition("(")[0]
    LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    op = getattr(torch.ops.npool, name).default
    run = KERNELS[name] = _placed(kernel, name, tensors)
    for device in DEVICES:
        LIBRARY.impl(name, run, device)
    torch.library.register_fake(f"npool::{name}", fake, lib=LIBRARY)
    node = None
    if derivative is not None:
        node = _node(op, run, derivative, tensors)
        LIBRARY.impl(name, _autograd_kernel(op, node, tensors), "Autograd", with_keyset=True)
    torch.library.register_vmap(f"npool::{name}", _batched(op, tensors, shaped), lib=LIBRARY)
    OPERATORS[name] = op
    call = _call(op, run, node, tensors)
    setattr(CALLS, name, call)
    return call


def _placed(kernel: Callable[..., Any], name: str, count: int) -> Callable[..., Any]:
    """A kernel with the CUDA device of its tensors current, whose memory and stream it then takes.

    torch's own kernels are called so, and Python's are not.
    """

    def run(x: torch.Tensor, *rest: Any) -> Any:
        for other in rest[: count - 1]:
            if other.device != x.device:
                raise ValueError(
                    f"{name}: tensors lie on {x.device} and {other.device}: move one by its to()"
                )
        if not x.is_cuda:
            return kernel(x, *rest)
        with torch.cuda.device(x.device):
            return kernel(x, *rest)

    return run


def _call(op: Any, kernel: Callable[..., Any], node: Any, count: int) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        if not all(map(is_eager, args[:count])):
            return op(*args)
        if torch.is_grad_enabled() and torch._C._any_requires_grad(*args[:count]):
            return op(*args) if node is None else node.apply(None, *args)
        return kernel(*args)

    return call


def _node(op: Any, kernel: Callable[..., Any], rule: Derivative, count: int) -> Any:
    """The function of torch's autograd for an operator; its first argument is a keyset, or None
    past the dispatcher.
    """
    after = torch._C._after_autograd_keyset
    single = len(op._schema.returns) == 1

    def below(keyset: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        if rule.through is not None:
            return rule.through(keyset, args)
        result = kernel(*args) if keyset is None else op.redispatch(keyset, *args)
        return (result,) if single else tuple(result)

    def forward(ctx: Any, keyset: Any, *args: Any) -> Any:
        if keyset is None:
            made = below(None, args)
        else:
            with torch._C._AutoDispatchBelowAutograd(), _for_other_levels():
                made = below(keyset & after, args)
        kept = rule.save(args[:count], made)
        ctx.save_for_backward(*kept)
        if keyset is not None:
            ctx.save_for_forward(*kept)
        ctx.rest, ctx.shape, ctx.order = args[count:], args[0].shape, order_of(args[0])
        ctx.set_materialize_grads(False)
        if single:
            return made[0]
        ctx.mark_non_differentiable(*made[1:])
        return made

    def backward(ctx: Any, *grads: Any) -> Any:
        nothing = (None,) * (len(ctx.needs_input_grad) - 1 - count)
        if grads[0] is None:
            return (None,) * len(ctx.needs_input_grad)
        needs = ctx.needs_input_grad[1 : count + 1]
        return None, *rule.backward(_saved(ctx, needs), grads[0]), *nothing

    def jvp(ctx: Any, *tangents: Any) -> Any:
        given = tangents[1 : count + 1]
        needs = tuple(tangent is not None for tangent in given)
        first = rule.tangent(_saved(ctx, needs), *given) if any(needs) else None
        return first if single else (first, *(None,) * (len(op._schema.returns) - 1))

    # Of one level: functorch's transforms have been through the dispatcher before this runs, and
    # the plain Function would go through them again. Made by name, which `grad_fn` shows.
    return type(_SingleLevelFunction)(
        f"npool_{op._opname}",
        (_SingleLevelFunction,),
        {"forward": staticmethod(forward), "backward": staticmethod(backward),
         "jvp": staticmethod(jvp)},
    )  # fmt: skip


def _autograd_kernel(op: Any, node: Any, count: int) -> Callable[..., Any]:
    after = torch._C._after_autograd_keyset

    def kernel(keyset: Any, *args: Any) -> Any:
        reverse = torch.is_grad_enabled() and torch._C._any_requires_grad(*args[:count])
        if reverse or forward_ad._current_level >= 0:
            if torch._C._functorch.peek_interpreter_stack() is None:
                return node.apply(keyset, *args)
            with enable_single_level_autograd_function():
                return node.apply(keyset, *args)
        with torch._C._AutoDispatchBelowAutograd():
            return op.redispatch(keyset & after, *args)

    return kernel


def _for_other_levels() -> AbstractContextManager[Any]:
    """A node's forward runs without gradients, which levels of functorch below it still need."""
    if torch._C._functorch.peek_interpreter_stack() is None:
        return nullcontext()
    both = ExitStack()
    both.enter_context(torch.enable_grad())
    both.enter_context(forward_ad._set_fwd_grad_enabled(True))
    return both


def _saved(ctx: Any, needs: tuple[bool, ...]) -> Saved:
    return Saved(ctx.saved_tensors, ctx.rest, ctx.shape, ctx.order, needs)


def _batched(op: Any, count: int, shaped: bool) -> Callable[..., Any]:
    """A batch is an axis in front: pooled axes are counted from the end, so all else stays."""

    def rule(info: Any, in_dims: Sequence[Any], *args: Any) -> Any:
        tensors = [
            x.expand(info.batch_size, *x.shape) if dim is None else x.movedim(dim, 0)
            for x, dim in zip(args[:count], in_dims[:count], strict=True)
        ]
        rest = list(args[count:])
        if shaped:
            rest[0] = [info.batch_size, *rest[0]]
            rest[1] = [0, *(axis + 1 for axis in rest[1])]
        made = op(*tensors, *rest)
        return made, (0,) * len(made) if isinstance(made, tuple) else 0

    return rule
