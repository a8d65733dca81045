"""Maxima whose gradient goes by the numbers of taps, where nobody asks for positions.

What an ordinary tensor's node keeps is one byte a result (`npool.gradients.taps`). Under a
transform or a trace, which see what is kept, positions are kept instead; further derivatives make
positions of taps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from npool.geometry import Plan
from npool.gradients.taps import pool_with_taps, positions_of_taps, taps_backward
from npool.torch.library import Derivative, define
from npool.torch.tensors import array_of, empty_for, empty_in, tensor_of

__all__ = ["Numbering", "numbering"]

#: Elements of an input from which on the way to these loops pays.
LEAST = 1 << 12


class Numbering(NamedTuple):
    """A family of reductions that select, by taps.

    Attributes
    ----------
    pooled : callable
        ``pooled(x, lowest, *arguments)``: maxima and taps, or None where positions do as well.
    puts : operator
        The gradient.
    """

    pooled: Callable[..., tuple[torch.Tensor, torch.Tensor] | None]
    puts: Any


def numbering(
    family: str, schema: str, shaped: str, plan_of: Callable[..., Plan], picks: Any
) -> Numbering:
    """Define ``<family>_taps_backward`` and ``<family>_positions``.

    Parameters
    ----------
    family, schema : str
        As for :func:`npool.torch.pairs.picking`.
    shaped : str
        The shape and order of what is put into.
    plan_of : callable
        ``plan_of(shape, *arguments)``.
    picks : operator
        Takes elements at positions.
    """

    def pooled(x: torch.Tensor, lowest: bool, *given: Any) -> Any:
        if x.numel() < LEAST or x.device.type != "cpu":
            return None
        made = pool_with_taps(array_of(x), plan_of(tuple(x.shape), *given), lowest)
        return made and (tensor_of(made[0]), tensor_of(made[1]))

    def put_cpu(grad: torch.Tensor, taps: torch.Tensor, *rest: Any) -> torch.Tensor:
        into, order, *given = rest
        plan = plan_of(tuple(into), *given)
        return tensor_of(taps_backward(array_of(grad), array_of(taps), plan, tuple(order)))

    def positions_cpu(taps: torch.Tensor, *rest: Any) -> torch.Tensor:
        into, _, *given = rest
        return tensor_of(positions_of_taps(array_of(taps), plan_of(tuple(into), *given)))

    positions = define(
        f"{family}_positions(Tensor taps, {shaped}, {schema}) -> Tensor",
        positions_cpu,
        lambda taps, *rest: empty_for(taps, taps.shape, torch.int64),
        shaped=True,
    )
    puts = define(
        f"{family}_taps_backward(Tensor grad, Tensor taps, {shaped}, {schema}) -> Tensor",
        put_cpu,
        lambda grad, taps, into, order, *given: empty_in(grad, into, order, grad.dtype),
        Derivative(
            lambda saved, grad: (
                picks(grad, positions(saved.tensors[0], *saved.args), *saved.args[2:]),
                None,
            ),
            lambda saved, tangent, _: puts(tangent, saved.tensors[0], *saved.args),
            lambda tensors, made: (tensors[1],),
        ),
        tensors=2,
        shaped=True,
    )
    return Numbering(pooled, puts)
