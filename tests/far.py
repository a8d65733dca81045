"""Tensors that torch takes for a GPU's, on a torch that knows no GPU.

A `Far` has the device type and the dispatcher's keys of a tensor on a device, so that calls on it
go the way of one: through autograd, `torch.func`'s transforms and the dispatcher to the kernel that
is registered for its device. Its memory is that of a CPU tensor, which runs torch's own operators;
operators of npool's are never run there.

There are two types of devices. ``cuda`` is what it says, to the dispatcher too, but reverse-mode
autograd asks each device type for its guard, which a torch without CUDA lacks. ``far`` is torch's
device type for backends from outside, which has one; npool's kernels are registered for it as
they are for CUDA, the same functions.
"""

import contextlib
import warnings
from types import SimpleNamespace

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from npool.torch.library import KERNELS

#: The stream that is current on device 0; on device 1 it is the next.
STREAM = 0x5EED
#: Each device type's key in the dispatcher.
KEYS = {"cuda": "CUDA", "far": "PrivateUse1"}

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch.utils.backend_registration._setup_privateuseone_for_python_backend("far")
_LIBRARY = torch.library.Library("npool", "IMPL")
for _name, _kernel in KERNELS.items():
    _LIBRARY.impl(_name, _kernel, KEYS["far"])

#: The operators of npool that reached a kernel, in their order.
LAUNCHED = []
#: What would have to wait for the device.
_WAITS = {torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default}


class Far(torch.Tensor):
    """A tensor 'on a device' whose elements are those of the CPU tensor `home`."""

    is_cuda = True  # for npool's Python; the dispatcher goes by the device type

    @staticmethod
    def __new__(cls, home, device):
        return torch.Tensor._make_wrapper_subclass(
            cls, home.shape, strides=home.stride(), storage_offset=home.storage_offset(),
            dtype=home.dtype, device=device,
        )  # fmt: skip

    def __init__(self, home, device):
        self.home = home

    def data_ptr(self):
        return self.home.data_ptr()

    def memory_here(self):
        """The elements as an array of the host, whatever their type."""
        held = self.home.detach()
        if held.dtype is torch.bfloat16:
            held = held.view(torch.int16)
        return np.asarray(held.numpy())

    def numpy(self, *_args, **_kwargs):
        raise AssertionError("a tensor on a device was copied to the host")

    cpu = item = tolist = __array__ = numpy

    def __repr__(self):
        return f"Far({tuple(self.shape)}, {self.dtype}, {self.device})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Far)]
        device = given[0].device
        if func.namespace == "npool":
            LAUNCHED.append(func._opname)
            key = getattr(torch._C.DispatchKey, KEYS[device.type])
            return func.redispatch(torch._C.DispatchKeySet(key), *args, **kwargs)
        assert func not in _WAITS, f"{func} waits for the device"
        if kwargs.get("device") is not None:
            device, kwargs["device"] = torch.device(kwargs["device"]), "cpu"
        made = func(*_homes(args), **_homes(kwargs))
        if func._schema.is_mutable:
            return args[0]
        return tree_map_only(torch.Tensor, lambda x: Far(x, device), made)


def _homes(tree):
    return tree_map_only(Far, lambda x: x.home, tree)


def send(x, device="far:0"):
    """A copy of a CPU tensor 'on a device', in the same memory format; a leaf like `x`."""
    return Far(x.detach().clone(), device).requires_grad_(x.requires_grad)


def home(x):
    """The elements of a tensor that is on a device still."""
    assert type(x) is Far, f"the result is {type(x)}"
    return x.home


class Factories(TorchDispatchMode):
    """Makes there what is made on a device without a tensor of it, as by torch.arange.

    While it is in force no call goes past the dispatcher.
    """

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        device = kwargs.get("device")
        if device is not None and torch.device(device).type in KEYS and not types:
            return Far(func(*args, **{**kwargs, "device": "cpu"}), device)
        return func(*args, **kwargs)


class Cuda:
    """In the place of torch.cuda: which device is current, its stream, and nothing that waits."""

    def __init__(self):
        self.current, self.asked = 0, []

    @contextlib.contextmanager
    def device(self, device):
        before, self.current = self.current, torch.device(device).index
        try:
            yield
        finally:
            self.current = before

    def current_stream(self, device):
        number = torch.device(device).index
        assert number == self.current, "a stream was asked for outside of its device"
        self.asked.append(number)
        return SimpleNamespace(cuda_stream=STREAM + number)


@contextlib.contextmanager
def far_cuda():
    """torch, with a `Cuda` for its torch.cuda."""
    ours = Cuda()
    before = {name: getattr(torch.cuda, name) for name in ("device", "current_stream")}
    LAUNCHED.clear()
    try:
        for name in before:
            setattr(torch.cuda, name, getattr(ours, name))
        yield ours
    finally:
        for name, value in before.items():
            setattr(torch.cuda, name, value)
