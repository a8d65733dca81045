"""A module for all that npool pools and torch does not."""

from __future__ import annotations

from typing import Any

import torch

import npool

__all__ = ["Pool"]


class Pool(torch.nn.Module):  # type: ignore[misc]
    """Any of npool's reductions, over any axes: :func:`npool.pool` as a module.

    Parameters
    ----------
    kernel_size : int or sequence of int
        As for :func:`npool.pool`.
    stride, padding, dilation, ceil_mode, reduce, axes
        As for :func:`npool.pool`: padding may be asymmetric or ``"same"``, and dilation serves
        averages too.
    **options
        More of its keywords, such as `count_include_pad`, `return_indices`, `index_dtype`.

    Raises
    ------
    ValueError, TypeError
        As :func:`npool.pool`, when called.

    Notes
    -----
    Its formula is that of :func:`npool.pool`.

    Examples
    --------
    >>> import torch
    >>> from npool.torch import nn
    >>> pool = nn.Pool(2, 1, "same", 2, reduce="avg", axes=(1, 2))
    >>> pool
    Pool(reduce='avg', kernel_size=2, stride=1, padding='same', dilation=2, axes=(1, 2))
    >>> pool(torch.ones(1, 6, 6, 3)).shape
    torch.Size([1, 6, 6, 3])
    """

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        *,
        reduce: Any = "max",
        axes: Any = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.dilation, self.ceil_mode = dilation, ceil_mode
        self.reduce, self.axes, self.options = reduce, axes, options

    def forward(self, input: torch.Tensor) -> Any:
        """:func:`npool.pool` of `input`."""
        return npool.pool(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode,
            reduce=self.reduce, axes=self.axes, **self.options,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """The arguments, for `repr`."""
        reduce = getattr(self.reduce, "name", self.reduce)
        shown = {
            "reduce": reduce, "kernel_size": self.kernel_size, "stride": self.stride,
            "padding": self.padding, "dilation": self.dilation,
        }  # fmt: skip
        if self.ceil_mode:
            shown["ceil_mode"] = True
        if self.axes is not None:
            shown["axes"] = self.axes
        return ", ".join(f"{name}={value!r}" for name, value in {**shown, **self.options}.items())
