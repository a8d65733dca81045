"""Pairs of operators that are each other's derivative, of every order.

What a maximum picks is linear in the input, its positions once known: the gradient puts each
value back where it was picked (`<name>_backward`), and the gradient of putting picks
(`<name>_pick`). An average weighs: its gradient spreads (`<name>_backward`), and the gradient of
spreading is the average.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

import npool
from npool.torch.library import CALLS, KERNELS, OPERATORS, Derivative, Saved, define
from npool.torch.numbering import Numbering
from npool.torch.tensors import (
    array_dtype,
    array_for,
    array_of,
    empty_for,
    empty_in,
    index_type,
    tensor_of,
)

__all__ = ["SHAPED", "Picking", "picking", "selecting", "weighing"]

#: The arguments by which a gradient with respect to an input is made in the input's form.
SHAPED = "SymInt[] input_shape, int[] order"

ops = CALLS


def _empty_gradient(grad: torch.Tensor, *rest: Any, tensors: int) -> torch.Tensor:
    shape, order = rest[tensors - 1 : tensors + 1]
    return empty_in(grad, shape, order, grad.dtype)


class Picking(NamedTuple):
    """The pair of operators of one family of reductions that select.

    Attributes
    ----------
    puts, picks : operator
        Each the derivative of the other.
    """

    puts: Any
    picks: Any


def picking(family: str, schema: str, keywords: Callable[..., dict[str, Any]]) -> Picking:
    """Define ``<family>_backward`` and ``<family>_pick``.

    Parameters
    ----------
    family : str
        npool has the former's array function under the same name.
    schema : str
        The arguments after the tensors, and the shape and order of what is put into.
    keywords : callable
        Turns them into the array function's keywords, ``axes`` among them.
    """
    put = getattr(npool, f"{family}_backward")

    def put_kernel(grad: torch.Tensor, indices: torch.Tensor, *rest: Any) -> torch.Tensor:
        into, order, *given = rest
        out, places = array_for(grad, into, order), array_of(indices)
        made = put(array_of(grad), places, tuple(into), out=out, **keywords(*given))
        return tensor_of(made)

    def pick_kernel(x: torch.Tensor, indices: torch.Tensor, *given: Any) -> torch.Tensor:
        axes = keywords(*given)["axes"]
        return tensor_of(npool.max_unpool_backward(array_of(x), array_of(indices), axes=axes))

    def second(tensors: tuple[Any, ...], made: tuple[Any, ...]) -> tuple[Any, ...]:
        return (tensors[1],)

    puts = define(
        f"{family}_backward(Tensor grad, Tensor indices, {SHAPED}, {schema}) -> Tensor",
        put_kernel,
        lambda grad, *rest: _empty_gradient(grad, *rest, tensors=2),
        Derivative(
            lambda saved, grad: (picks(grad, saved.tensors[0], *saved.args[2:]), None),
            lambda saved, tangent, _: puts(tangent, saved.tensors[0], *saved.args),
            second,
        ),
        tensors=2,
        shaped=True,
    )
    picks = define(
        f"{family}_pick(Tensor x, Tensor indices, {schema}) -> Tensor",
        pick_kernel,
        lambda x, indices, *given: empty_for(x, indices.shape, x.dtype),
        Derivative(
            lambda saved, grad: (
                puts(grad, saved.tensors[0], saved.shape, saved.order, *saved.args),
                None,
            ),
            lambda saved, tangent, _: picks(tangent, saved.tensors[0], *saved.args),
            second,
        ),
        tensors=2,
    )
    return Picking(puts, picks)


def selecting(
    name: str,
    pair: Picking,
    schema: str,
    keywords: Callable[..., dict[str, Any]],
    shape: Callable[..., Any],
    *,
    tensors: int = 1,
    of_pair: slice = slice(None),
    taps: Numbering | None = None,
) -> None:
    """Define a reduction that selects, ``<name>_with_indices`` and ``<name>``.

    Parameters
    ----------
    name : str
        npool's array function of that name.
    pair : Picking
        Its derivatives.
    schema : str
        The arguments after the tensors; the last are the pooled axes.
    keywords : callable
        Turns the arguments after the first tensor into the array function's keywords.
    shape : callable
        ``shape(x.shape, *arguments)``: the result's, for symbolic lengths too.
    tensors : int
        How many tensors there are: those after the first have no gradient.
    of_pair : slice
        Which of the arguments after the tensors `pair` takes.
    taps : Numbering, optional
        Its derivative by taps, for a call that nothing but reverse mode looks at.
    """
    pool = getattr(npool, name)
    count = schema.count(",") + 1
    given_tensors = "".join(f", Tensor t{i}" for i in range(1, tensors))
    nothing = (None,) * (tensors - 1)

    def values_kernel(x: torch.Tensor, *given: Any) -> torch.Tensor:
        return tensor_of(pool(array_of(x), **keywords(*given)))

    def both_kernel(x: torch.Tensor, *rest: Any) -> tuple[torch.Tensor, torch.Tensor]:
        *given, index = rest
        values, indices = pool(
            array_of(x), return_indices=True, index_dtype=array_dtype(index), **keywords(*given)
        )
        return tensor_of(values), tensor_of(indices)

    def values_fake(x: torch.Tensor, *given: Any) -> torch.Tensor:
        return empty_for(x, shape(x.shape, *given[tensors - 1 :]), x.dtype)

    def both_fake(x: torch.Tensor, *rest: Any) -> tuple[torch.Tensor, torch.Tensor]:
        *given, index = rest
        made = shape(x.shape, *given[tensors - 1 :])
        return empty_for(x, made, x.dtype), empty_for(x, made, index)

    def through(keyset: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        if keyset is None and taps is not None:
            made = taps.pooled(args[0], name == "min_pool", *args[1:])
            if made is not None:
                return made
        given = (*args, index_type(args[0], args[-1]))
        return kernel(*given) if keyset is None else tuple(operator.redispatch(keyset, *given))

    def backward(saved: Saved, grad: torch.Tensor) -> tuple[Any, ...]:
        given, kept = saved.args[:count][of_pair], saved.tensors[0]
        puts = taps.puts if taps is not None and kept.dtype is torch.uint8 else pair.puts
        into = puts(grad, kept, saved.shape, saved.order, *given)
        return (into, *nothing)

    def tangent(saved: Saved, moved: torch.Tensor, *_: Any) -> Any:
        return pair.picks(moved, saved.tensors[0], *saved.args[:count][of_pair])

    def indices_of(tensors: tuple[Any, ...], made: tuple[Any, ...]) -> tuple[Any, ...]:
        return (made[1],)

    define(
        f"{name}_with_indices(Tensor x{given_tensors}, {schema}, ScalarType index_dtype)"
        " -> (Tensor, Tensor)",
        both_kernel,
        both_fake,
        Derivative(backward, tangent, indices_of),
        tensors=tensors,
    )
    operator, kernel = OPERATORS[f"{name}_with_indices"], KERNELS[f"{name}_with_indices"]
    define(
        f"{name}(Tensor x{given_tensors}, {schema}) -> Tensor",
        values_kernel,
        values_fake,
        Derivative(backward, tangent, indices_of, through),
        tensors=tensors,
    )


def weighing(
    name: str,
    schema: str,
    more: str,
    cpu: Callable[..., Any],
    fake: Callable[..., Any],
    keywords: Callable[..., dict[str, Any]],
    plain: tuple[Any, ...],
) -> None:
    """Define a reduction that is linear, and ``<name>_backward``.

    Parameters
    ----------
    name : str
        The operator, named as npool's array function; npool has ``<name>_backward`` too.
    schema, more : str
        The arguments after the tensor; those of the operator alone.
    cpu, fake : callable
        Its kernel and shape function.
    keywords : callable
        Turns the arguments of both into the array function's keywords.
    plain : tuple
        The arguments of the operator alone for which it is the derivative of spreading.
    """
    spread = getattr(npool, f"{name}_backward")
    count = schema.count(",") + 1

    def spread_kernel(grad: torch.Tensor, *rest: Any) -> torch.Tensor:
        into, order, *given = rest
        out, values = array_for(grad, into, order), array_of(grad)
        return tensor_of(spread(values, tuple(into), out=out, **keywords(*given)))

    pools = define(
        f"{name}(Tensor x, {schema}, {more}) -> Tensor",
        cpu,
        fake,
        Derivative(
            lambda saved, grad: (spreads(grad, saved.shape, saved.order, *saved.args[:count]),),
            lambda saved, tangent: pools(tangent, *saved.args),
        ),
    )
    spreads = define(
        f"{name}_backward(Tensor grad, {SHAPED}, {schema}) -> Tensor",
        spread_kernel,
        lambda grad, *rest: _empty_gradient(grad, *rest, tensors=1),
        Derivative(
            lambda saved, grad: (pools(grad, *saved.args[2:], *plain),),
            lambda saved, tangent: spreads(tangent, *saved.args),
        ),
        shaped=True,
    )
