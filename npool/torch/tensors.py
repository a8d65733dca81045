"""Tensors and arrays over the same memory, and the names that both have for element types.

A CPU tensor's array is NumPy's. That of a CUDA tensor is what `npool.cuda` knows of it: npool's
array functions take either, and answer in kind.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.autograd import forward_ad

from npool.dispatch import device_engine
from npool.layout import empty_like_order, kept_order, memory_order

__all__ = [
    "array_dtype", "array_for", "array_in", "array_of", "empty_for", "empty_in", "index_type",
    "is_eager", "is_plain", "order_of", "stand_in", "tensor_dtype", "tensor_of",
]  # fmt: skip

Array = NDArray[Any]

#: Every element type that npool pools, by the name that both libraries give it.
_NAMES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16",
    "float32", "float64", "complex64", "complex128",
)  # fmt: skip
_TO_ARRAY: dict[torch.dtype, np.dtype[Any]] = {
    getattr(torch, name): np.dtype(name) for name in _NAMES
}
_TO_TENSOR = {there: here for here, there in _TO_ARRAY.items()}


def _bfloat16() -> np.dtype[Any]:
    try:
        import ml_dtypes
    except ImportError:
        raise TypeError(
            "torch.bfloat16 needs ml_dtypes, which is not installed: pip install 'npool[torch]'"
        ) from None
    named: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return named


def array_dtype(dtype: torch.dtype) -> np.dtype[Any]:
    """NumPy's dtype for torch's.

    Raises
    ------
    TypeError
        For a dtype that npool does not pool, such as a quantized one.
    """
    if dtype is torch.bfloat16:
        return _bfloat16()
    found = _TO_ARRAY.get(dtype)
    if found is None:
        raise TypeError(
            f"the tensor has dtype {dtype}, which is not supported: use one of "
            f"{', '.join(_NAMES)}, bfloat16 (complex: sum and avg only)"
        )
    return found


def tensor_dtype(dtype: Any) -> torch.dtype:
    """torch's dtype for one of NumPy's or torch's own.

    Raises
    ------
    TypeError
        For anything else.
    """
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype is np.int64:  # the default of positions; torch.compile compares no other of NumPy's
        return torch.int64
    if dtype is np.int32:
        return torch.int32
    try:
        named = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"{dtype!r} is not a dtype: use one of torch's, or NumPy's") from None
    if named.name == "bfloat16":
        return torch.bfloat16
    if named not in _TO_TENSOR:
        raise TypeError(f"torch has no dtype for numpy's {named}: use one of {', '.join(_NAMES)}")
    return _TO_TENSOR[named]


def array_of(x: torch.Tensor) -> Array:
    """The elements of a dense tensor as an array, without a copy.

    Raises
    ------
    TypeError
        For a dtype that npool does not pool.
    """
    if x.is_cuda:
        there: Array = device_engine().described(x.detach())
        return there
    if x.dtype is torch.bfloat16:
        # NumPy has no bfloat16 of its own: the bits travel as int16.
        bits: Array = x.detach().view(torch.int16).numpy()
        return bits.view(_bfloat16())
    if x.dtype not in _TO_ARRAY:
        array_dtype(x.dtype)
    array: Array = x.detach().numpy()
    return array


def tensor_of(array: Any) -> torch.Tensor:
    """The elements of an array, or of what came back from a device, as a tensor without a copy."""
    if isinstance(array, torch.Tensor):
        return array
    if array.dtype.kind == "V":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def is_plain(x: torch.Tensor) -> bool:
    """Whether a call on `x` is arithmetic alone: nothing differentiates, traces or transforms it.

    Such a call needs no operator, whose way through torch's dispatcher takes longer than
    pooling a small tensor.
    """
    return is_eager(x) and not (x.requires_grad and torch.is_grad_enabled())


def is_eager(x: torch.Tensor) -> bool:
    """Whether nothing but reverse-mode differentiation looks at what is done with `x`."""
    return (
        not torch.compiler.is_compiling()
        and type(x) in _ORDINARY
        # Quantized ones are refused as arrays, in words.
        and (_dispatch_keys(x).raw_repr() in _PLAIN_KEYS or x.is_quantized)
        and forward_ad._current_level < 0
        and not torch._C._len_torch_dispatch_stack()
        and torch._C._functorch.peek_interpreter_stack() is None
        and torch._C._get_tracing_state() is None
    )


_dispatch_keys = torch._C._dispatch_keys
_ORDINARY = (torch.Tensor, torch.nn.Parameter)


def _plain_keys() -> tuple[int, ...]:
    """What the dispatcher knows of a dense CPU or CUDA tensor: no more than that it is one.

    Conjugate views, batches of `torch.vmap` and of gradients, sparse tensors and those of other
    devices are told by keys of their own. Put together, since there may be no CUDA to ask.
    """
    found = []
    for device in ("CPU", "CUDA"):
        inference = (device, f"Autocast{device}")
        for names in (inference, (*inference, f"Autograd{device}", "ADInplaceOrView")):
            keys = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, names[0]))
            for name in names[1:]:
                keys |= torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, name))
            found.append(keys.raw_repr())
    return tuple(found)


_PLAIN_KEYS = _plain_keys()


def index_type(x: torch.Tensor, axes: Any) -> torch.dtype:
    """The narrowest type of positions within the pooled axes: half the memory where it does."""
    plane = math.prod(x.shape[axis] for axis in axes)
    # A symbolic plane is not asked: the answer would hold for some of its lengths only.
    return torch.int32 if type(plane) is int and plane <= 2**31 else torch.int64


def order_of(x: torch.Tensor) -> tuple[int, ...]:
    """The axes of `x` from the slowest in memory to the fastest, as npool orders them."""
    if x.is_contiguous():  # asked first: symbolic strides are then not compared
        return tuple(range(x.ndim))
    shape = tuple(x.shape)
    if any(type(n) is not int for n in shape):
        return memory_order(shape, tuple(x.stride()))
    return kept_order(shape, x.stride())


def empty_in(x: torch.Tensor, shape: Any, order: Any, dtype: torch.dtype) -> torch.Tensor:
    """An uninitialised tensor on the device of `x` whose axes lie in memory in `order`.

    Written with torch's own functions, so that lengths may be symbolic.
    """
    if tuple(order) == tuple(range(len(order))):
        return x.new_empty(shape, dtype=dtype)
    back = sorted(range(len(order)), key=order.__getitem__)
    return x.new_empty([shape[axis] for axis in order], dtype=dtype).permute(back)


def empty_for(x: torch.Tensor, shape: Any, dtype: torch.dtype) -> torch.Tensor:
    """An uninitialised tensor in the memory order of `x`: a result's form."""
    return empty_in(x, shape, order_of(x), dtype)


def array_in(x: torch.Tensor, shape: Any, order: Any) -> Any:
    """Uninitialised, of the type of `x`, to compute a gradient into: in npool's own memory, or on
    the device of `x` in torch's.
    """
    if x.is_cuda:
        return empty_in(x, tuple(shape), order, x.dtype)
    return empty_like_order(tuple(shape), tuple(order), array_dtype(x.dtype))


def array_for(grad: torch.Tensor, shape: Any, order: Any) -> Any:
    """Where to put a gradient whose axes lie in memory in `order`; None where npool puts it so."""
    return None if order_of(grad) == tuple(order) else array_in(grad, shape, order)


def stand_in(x: torch.Tensor) -> Array:
    """An array of the shape and dtype of a tensor that may hold nothing: enough for all checks."""
    shape = tuple(x.shape)
    return np.ndarray(shape, array_dtype(x.dtype), b"\0" * 16, 0, (0,) * len(shape))
