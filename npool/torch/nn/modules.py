"""torch.nn's own pooling modules: subclasses whose `forward` alone is npool's.

Arguments, attributes, `repr`, ``isinstance`` and state are torch's.
"""

from __future__ import annotations

from typing import Any

import torch

from npool.torch import functional as F

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "FractionalMaxPool2d",
    "FractionalMaxPool3d",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
]


class MaxPool1d(torch.nn.MaxPool1d):  # type: ignore[misc]
    """torch.nn.MaxPool1d: https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxPool1d.html

    >>> from npool.torch import nn
    >>> nn.MaxPool1d(2, ceil_mode=True)
    MaxPool1d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=True)
    """

    def forward(self, input: torch.Tensor) -> Any:
        """:func:`npool.torch.functional.max_pool1d` of `input`."""
        return F.max_pool1d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            ceil_mode=self.ceil_mode,
            return_indices=self.return_indices,
        )


class MaxPool2d(torch.nn.MaxPool2d):  # type: ignore[misc]
    """torch.nn.MaxPool2d: https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxPool2d.html

    >>> from npool.torch import nn
    >>> nn.MaxPool2d(2, ceil_mode=True)
    MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=True)
    """

    def forward(self, input: torch.Tensor) -> Any:
        """:func:`npool.torch.functional.max_pool2d` of `input`."""
        return F.max_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            ceil_mode=self.ceil_mode,
            return_indices=self.return_indices,
        )


class MaxPool3d(torch.nn.MaxPool3d):  # type: ignore[misc]
    """torch.nn.MaxPool3d: https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxPool3d.html

    >>> from npool.torch import nn
    >>> nn.MaxPool3d(2, ceil_mode=True)
    MaxPool3d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=True)
    """

    def forward(self, input: torch.Tensor) -> Any:
        """:func:`npool.torch.functional.max_pool3d` of `input`."""
        return F.max_pool3d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            ceil_mode=self.ceil_mode,
            return_indices=self.return_indices,
        )


class AvgPool1d(torch.nn.AvgPool1d):  # type: ignore[misc]
    """torch.nn.AvgPool1d: https://docs.pytorch.org/docs/stable/generated/torch.nn.AvgPool1d.html

    >>> from npool.torch import nn
    >>> nn.AvgPool1d(2)
    AvgPool1d(kernel_size=(2,), stride=(2,), padding=(0,))
    """

    def forward(self, input: torch.Tensor) -> Any:
        """:func:`npool.torch.functional.avg_pool1d` of `input`."""
        return F.avg_pool1d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
        )


class AvgPool2d(torch.nn.AvgPool2d):  # type: ignore[misc]
    """torch.nn.AvgPool2d: https://docs.pytorch.org/docs/stable/generated/torch.nn.AvgPool2d.html

    >>> from npool.torch import nn
    >>> nn.AvgPool2d(2)
    AvgPool2d(kernel_size=2, stride=2, padding=0)
    """

    def forward(self, input: torch.Tensor) -> Any:
        """:func:`npool.torch.functional.avg_pool2d` of `input`."""
        return F.avg_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )


class AvgPool3d(torch.nn.AvgPool3d):  # type: ignore[misc]
    """torch.nn.AvgPool3d: https://docs.pytorch.org/docs/stable/generated/torch.nn.AvgPool3d.html

    >>> from npool.torch import nn
    >>> nn.AvgPool3d(2)
    AvgPool3d(kernel_size=2, stride=2, padding=0)
    """

    def forward(self, input: torch.Tensor) -> Any:
        """:func:`npool.torch.functional.avg_pool3d` of `input`."""
        return F.avg_pool3d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )


class LPPool1d(torch.nn.LPPool1d):  # type: ignore[misc]
    """torch.nn.LPPool1d: https://docs.pytorch.org/docs/stable/generated/torch.nn.LPPool1d.html

    >>> from npool.torch import nn
    >>> nn.LPPool1d(2, 3)
    LPPool1d(norm_type=2, kernel_size=3, stride=None, ceil_mode=False)
    """

    def forward(self, input: torch.Tensor) -> Any:
        """:func:`npool.torch.functional.lp_pool1d` of `input`."""
        return F.lp_pool1d(
            input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode
        )


class LPPool2d(torch.nn.LPPool2d):  # type: ignore[misc]
    """torch.nn.LPPool2d: https://docs.pytorch.org/docs/stable/generated/torch.nn.LPPool2d.html

    >>> from npool.torch import nn
    >>> nn.LPPool2d(2, 3)
    LPPool2d(norm_type=2, kernel_size=3, stride=None, ceil_mode=False)
    """

    def forward(self, input: torch.Tensor) -> Any:
        """:func:`npool.torch.functional.lp_pool2d` of `input`."""
        return F.lp_pool2d(
            input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode
        )


class LPPool3d(torch.nn.LPPool3d):  # type: ignore[misc]
    """torch.nn.LPPool3d: https://docs.pytorch.org/docs/stable/generated/torch.nn.LPPool3d.html

    >>> from npool.torch import nn
    >>> nn.LPPool3d(2, 3)
    LPPool3d(norm_type=2, kernel_size=3, stride=None, ceil_mode=False)
    """

    def forward(self, input: torch.Tensor) -> Any:
        """:func:`npool.torch.functional.lp_pool3d` of `input`."""
        return F.lp_pool3d(
            input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode
        )


class AdaptiveMaxPool1d(torch.nn.AdaptiveMaxPool1d):  # type: ignore[misc]
    """torch.nn.AdaptiveMaxPool1d: https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveMaxPool1d.html

    >>> from npool.torch import nn
    >>> nn.AdaptiveMaxPool1d(5)
    AdaptiveMaxPool1d(output_size=5)
    """

    def forward(self, input: torch.Tensor) -> Any:
        """:func:`npool.torch.functional.adaptive_max_pool1d` of `input`."""
        return F.adaptive_max_pool1d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool2d(torch.nn.AdaptiveMaxPool2d):  # type: ignore[misc]
    """torch.nn.AdaptiveMaxPool2d: https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveMaxPool2d.html

    >>> from npool.torch import nn
    >>> nn.AdaptiveMaxPool2d(5)
    AdaptiveMaxPool2d(output_size=5)
    """

    def forward(self, input: torch.Tensor) -> Any:
        """:func:`npool.torch.functional.adaptive_max_pool2d` of `input`."""
        return F.adaptive_max_pool2d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool3d(torch.nn.AdaptiveMaxPool3d):  # type: ignore[misc]
    """torch.nn.AdaptiveMaxPool3d: https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveMaxPool3d.html

    >>> from npool.torch import nn
    >>> nn.AdaptiveMaxPool3d(5)
    AdaptiveMaxPool3d(output_size=5)
    """

    def forward(self, input: torch.Tensor) -> Any:
        """:func:`npool.torch.functional.adaptive_max_pool3d` of `input`."""
        return F.adaptive_max_pool3d(input, self.output_size, self.return_indices)


class AdaptiveAvgPool1d(torch.nn.AdaptiveAvgPool1d):  # type: ignore[misc]
    """torch.nn.AdaptiveAvgPool1d: https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveAvgPool1d.html

    >>> from npool.torch import nn
    >>> nn.AdaptiveAvgPool1d(5)
    AdaptiveAvgPool1d(output_size=5)
    """

    def forward(self, input: torch.Tensor) -> Any:
        """:func:`npool.torch.functional.adaptive_avg_pool1d` of `input`."""
        return F.adaptive_avg_pool1d(input, self.output_size)


class AdaptiveAvgPool2d(torch.nn.AdaptiveAvgPool2d):  # type: ignore[misc]
    """torch.nn.AdaptiveAvgPool2d: https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveAvgPool2d.html

    >>> from npool.torch import nn
    >>> nn.AdaptiveAvgPool2d(5)
    AdaptiveAvgPool2d(output_size=5)
    """

    def forward(self, input: torch.Tensor) -> Any:
        """:func:`npool.torch.functional.adaptive_avg_pool2d` of `input`."""
        return F.adaptive_avg_pool2d(input, self.output_size)


class AdaptiveAvgPool3d(torch.nn.AdaptiveAvgPool3d):  # type: ignore[misc]
    """torch.nn.AdaptiveAvgPool3d: https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveAvgPool3d.html

    >>> from npool.torch import nn
    >>> nn.AdaptiveAvgPool3d(5)
    AdaptiveAvgPool3d(output_size=5)
    """

    def forward(self, input: torch.Tensor) -> Any:
        """:func:`npool.torch.functional.adaptive_avg_pool3d` of `input`."""
        return F.adaptive_avg_pool3d(input, self.output_size)


class MaxUnpool1d(torch.nn.MaxUnpool1d):  # type: ignore[misc]
    """torch.nn.MaxUnpool1d: https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxUnpool1d.html

    >>> from npool.torch import nn
    >>> nn.MaxUnpool1d(2)
    MaxUnpool1d(kernel_size=(2,), stride=(2,), padding=(0,))
    """

    def forward(self, input: torch.Tensor, indices: torch.Tensor, output_size: Any = None) -> Any:
        """:func:`npool.torch.functional.max_unpool1d` of `input`."""
        return F.max_unpool1d(
            input, indices, self.kernel_size, self.stride, self.padding, output_size
        )


class MaxUnpool2d(torch.nn.MaxUnpool2d):  # type: ignore[misc]
    """torch.nn.MaxUnpool2d: https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxUnpool2d.html

    >>> from npool.torch import nn
    >>> nn.MaxUnpool2d(2)
    MaxUnpool2d(kernel_size=(2, 2), stride=(2, 2), padding=(0, 0))
    """

    def forward(self, input: torch.Tensor, indices: torch.Tensor, output_size: Any = None) -> Any:
        """:func:`npool.torch.functional.max_unpool2d` of `input`."""
        return F.max_unpool2d(
            input, indices, self.kernel_size, self.stride, self.padding, output_size
        )


class MaxUnpool3d(torch.nn.MaxUnpool3d):  # type: ignore[misc]
    """torch.nn.MaxUnpool3d: https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxUnpool3d.html

    >>> from npool.torch import nn
    >>> nn.MaxUnpool3d(2)
    MaxUnpool3d(kernel_size=(2, 2, 2), stride=(2, 2, 2), padding=(0, 0, 0))
    """

    def forward(self, input: torch.Tensor, indices: torch.Tensor, output_size: Any = None) -> Any:
        """:func:`npool.torch.functional.max_unpool3d` of `input`."""
        return F.max_unpool3d(
            input, indices, self.kernel_size, self.stride, self.padding, output_size
        )


class FractionalMaxPool2d(torch.nn.FractionalMaxPool2d):  # type: ignore[misc]
    """torch.nn.FractionalMaxPool2d: https://docs.pytorch.org/docs/stable/generated/torch.nn.FractionalMaxPool2d.html

    >>> from npool.torch import nn
    >>> nn.FractionalMaxPool2d(2, output_size=3)
    FractionalMaxPool2d()
    """

    def forward(self, input: torch.Tensor) -> Any:
        """:func:`npool.torch.functional.fractional_max_pool2d` of `input`."""
        return F.fractional_max_pool2d(
            input,
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            self.return_indices,
            _random_samples=self._random_samples,
        )


class FractionalMaxPool3d(torch.nn.FractionalMaxPool3d):  # type: ignore[misc]
    """torch.nn.FractionalMaxPool3d: https://docs.pytorch.org/docs/stable/generated/torch.nn.FractionalMaxPool3d.html

    >>> from npool.torch import nn
    >>> nn.FractionalMaxPool3d(2, output_size=3)
    FractionalMaxPool3d()
    """

    def forward(self, input: torch.Tensor) -> Any:
        """:func:`npool.torch.functional.fractional_max_pool3d` of `input`."""
        return F.fractional_max_pool3d(
            input,
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            self.return_indices,
            _random_samples=self._random_samples,
        )
