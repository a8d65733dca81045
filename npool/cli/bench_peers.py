"""What `npool bench` times beside npool: each peer, asked as its own users would ask it.

Everything that can be made ready beforehand (tensors, sessions, structuring elements) is made
before the clock runs. A peer that cannot do a call says why, in a few words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from math import prod
from typing import Any

import numpy as np

from npool.geometry import Plan, Window

__all__ = ["PEERS", "Job", "Peer", "Ready", "Unable", "past_end"]

#: Elements that NumPy may be asked to read: some seconds.
MOST_READS = 500_000_000
_FLOATS = ("float32", "float64")


class Unable(Exception):
    """A peer cannot do the call; the text says why."""


@dataclass(frozen=True)
class Job:
    """What is asked of everybody: an array, a plan and a reducer's name."""

    x: np.ndarray
    plan: Plan
    reduce: str
    ceil_mode: bool
    threads: int

    @property
    def dtype(self) -> str:
        """The element type's name."""
        return self.x.dtype.name

    @property
    def others(self) -> tuple[int, ...]:
        """The axes that are not pooled."""
        return tuple(axis for axis in range(self.x.ndim) if axis not in self.plan.axes)

    @property
    def planar(self) -> bool:
        """Whether the pooled axes are the last ones, in order."""
        return (*self.others, *self.plan.axes) == tuple(range(self.x.ndim))

    def each(self, name: str) -> tuple[int, ...]:
        """An attribute of every window."""
        return tuple(getattr(window, name) for window in self.plan.windows)

    def without(self, *names: str) -> None:
        """Refuse what a peer has not got: "dilation", "padding" or "ceil_mode"."""
        has = {
            "dilation": any(d > 1 for d in self.each("dilation")),
            "padding": any((*self.each("before"), *self.each("after"))),
            "ceil_mode": any(past_end(window) > 0 for window in self.plan.windows),
        }
        for name in names:
            if has[name]:
                raise Unable(f"has no {name} for {self.reduce}")


@dataclass(frozen=True)
class Ready:
    """A call to be timed, and what makes an array in npool's axes of what it returns."""

    call: Callable[[], Any]
    array: Callable[[Any], np.ndarray] = np.asarray


@dataclass(frozen=True)
class Peer:
    """A library: the modules it needs, what pip calls it, and how it is asked."""

    name: str
    modules: tuple[str, ...]
    packages: tuple[str, ...]
    prepare: Callable[[Job], Ready]

    def missing(self) -> str | None:
        """The module that is not installed, if one is not."""
        return next((name for name in self.modules if find_spec(name) is None), None)


def past_end(window: Window) -> int:
    """How far the last window reaches past the input and its padding (ceil mode)."""
    return window.start(window.out - 1) + window.extent - window.size - window.after


def _numpy(job: Job) -> Ready:
    functions = {
        "max": np.max, "min": np.min, "avg": np.mean, "sum": np.sum, "prod": np.prod,
        "any": np.any, "all": np.all, "var": np.var, "std": np.std,
    }  # fmt: skip
    if job.reduce not in functions or job.dtype == "bfloat16":
        raise Unable(f"has no {job.reduce} of {job.dtype}")
    function: Any = functions[job.reduce]
    x, plan = job.x, job.plan
    if all(
        w.kernel == w.stride and w.dilation == 1 and not w.before and w.out * w.kernel <= w.size
        for w in plan.windows
    ):
        shape, cut, odd = [], [slice(None)] * x.ndim, []
        for axis, n in enumerate(x.shape):
            if axis not in plan.axes:
                shape.append(n)
                continue
            window = plan.windows[plan.axes.index(axis)]
            shape += [window.out, window.kernel]
            cut[axis] = slice(window.out * window.kernel)
            odd.append(len(shape) - 1)
        return Ready(lambda: function(x[tuple(cut)].reshape(shape), axis=tuple(odd)))
    reads = prod(plan.out_shape) * prod(job.each("kernel"))
    if reads > MOST_READS:
        raise Unable(f"would read {reads:.1g} elements of sliding windows")
    if job.reduce in ("avg", "var", "std"):
        job.without("ceil_mode")
    if job.reduce in ("var", "std"):
        job.without("padding")
    pads, steps = [(0, 0)] * x.ndim, [slice(None)] * x.ndim
    for axis, w in zip(plan.axes, plan.windows, strict=True):
        pads[axis] = (w.before, max(0, past_end(w) + w.after))
        steps[axis] = slice(0, w.stride * (w.out - 1) + 1, w.stride)
    fill = {"max": _least(x.dtype), "min": _largest(x.dtype), "prod": 1, "all": True}
    outside = fill.get(job.reduce, 0)
    taps = tuple(slice(None, None, d) for d in job.each("dilation"))
    reduced = tuple(range(-len(taps), 0))

    def call() -> Any:
        padded = np.pad(x, pads, constant_values=outside) if any(map(any, pads)) else x
        view = np.lib.stride_tricks.sliding_window_view(padded, job.each("extent"), plan.axes)
        return function(view[(*steps, *taps)], axis=reduced)

    return Ready(call)


def _least(dtype: np.dtype[Any]) -> Any:
    return -np.inf if dtype.kind in "fV" else False if dtype.kind == "b" else np.iinfo(dtype).min


def _largest(dtype: np.dtype[Any]) -> Any:
    return np.inf if dtype.kind in "fV" else True if dtype.kind == "b" else np.iinfo(dtype).max


def _torch(job: Job) -> Ready:
    import torch

    torch.set_num_threads(job.threads)
    rank, x = len(job.plan.axes), job.x
    if rank > 3:
        raise Unable(f"pools 1 to 3 axes, not {rank}")
    if job.each("before") != job.each("after"):
        raise Unable("pads both sides alike")
    if job.dtype == "bfloat16":
        tensor = torch.from_numpy(x.view(np.int16)).view(torch.bfloat16)
    else:
        tensor = torch.from_numpy(x)
    order = (*job.others, *job.plan.axes)
    tensor = tensor.permute(order)
    tensor = tensor.reshape(-1, *tensor.shape[max(0, len(job.others) - 1) :])
    call = _torch_call(job, tensor, rank)

    def array(y: Any) -> np.ndarray:
        y = y.float() if job.dtype == "bfloat16" else y
        shape = [job.plan.out_shape[axis] for axis in order]
        found: np.ndarray = y.numpy().reshape(shape).transpose(np.argsort(order))
        return found

    return Ready(call, array)


def _torch_call(job: Job, tensor: Any, rank: int) -> Callable[[], Any]:
    import torch.nn.functional as f

    geometry = (job.each("kernel"), job.each("stride"), job.each("before"))
    floating = tensor.dtype.is_floating_point
    largest, mean = getattr(f, f"max_pool{rank}d"), getattr(f, f"avg_pool{rank}d")
    if job.reduce == "max":
        return lambda: largest(tensor, *geometry, job.each("dilation"), job.ceil_mode)
    if job.reduce == "min" and floating:
        return lambda: -largest(-tensor, *geometry, job.each("dilation"), job.ceil_mode)
    if not floating or job.reduce not in ("avg", "sum", "lp"):
        raise Unable(f"has no {job.reduce} of {job.dtype}")
    job.without("dilation")
    if job.reduce == "avg":
        return lambda: mean(tensor, *geometry, job.ceil_mode)
    if job.reduce == "lp":
        job.without("padding", "ceil_mode")
        norm = getattr(f, f"lp_pool{rank}d")
        kernel: Any = geometry[0] if rank > 1 else geometry[0][0]
        return lambda: norm(tensor, 2.0, kernel, geometry[1])
    if rank == 1:
        raise Unable("has no sum along one axis")
    return lambda: mean(tensor, *geometry, job.ceil_mode, divisor_override=1)


def _onnxruntime(job: Job) -> Ready:
    import onnxruntime
    from onnx import helper

    operator = {"max": "MaxPool", "avg": "AveragePool", "lp": "LpPool"}.get(job.reduce)
    rank, x = len(job.plan.axes), job.x
    if operator is None or job.dtype == "bfloat16":
        raise Unable(f"has no {job.reduce} of {job.dtype}")
    if rank > 3:
        raise Unable(f"pools 1 to 3 axes, not {rank}")
    if not job.planar:
        raise Unable("pools the last axes only")
    images = x.reshape(1, -1, *x.shape[x.ndim - rank :])
    given: dict[str, Any] = {
        "kernel_shape": job.each("kernel"), "strides": job.each("stride"),
        "dilations": job.each("dilation"), "pads": (*job.each("before"), *job.each("after")),
        "ceil_mode": int(job.ceil_mode),
    }  # fmt: skip
    given |= {"avg": {"count_include_pad": 1}, "lp": {"p": 2}}.get(job.reduce, {})
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    graph = helper.make_graph(
        [helper.make_node(operator, ["x"], ["y"], **given)],
        "pool",
        [helper.make_tensor_value_info("x", kind, images.shape)],
        [helper.make_tensor_value_info("y", kind, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception:  # this build has no kernel for it
        raise Unable(f"has no kernel for {operator} of {job.dtype}") from None
    inputs = {"x": images}
    return Ready(
        lambda: session.run(None, inputs)[0], lambda y: np.asarray(y).reshape(job.plan.out_shape)
    )


def _samples(job: Job) -> tuple[slice, ...]:
    """Where windows are centred in the result of a filter as large as the input."""
    where = [slice(None)] * job.x.ndim
    for axis, w in zip(job.plan.axes, job.plan.windows, strict=True):
        start = w.extent // 2 - w.before
        last = start + (w.out - 1) * w.stride
        if start < 0 or last >= w.size:
            raise Unable("centres windows on elements only")
        where[axis] = slice(start, last + 1, w.stride)
    return tuple(where)


def _opencv(job: Job) -> Ready:
    import cv2

    cv2.setNumThreads(job.threads)
    if len(job.plan.axes) != 2 or not job.planar:
        raise Unable("pools rows and columns, the last axes")
    kinds = ("uint8", "uint16", "int16", *_FLOATS) if job.reduce in ("max", "min") else _FLOATS
    if job.reduce not in ("max", "min", "avg", "sum") or job.dtype not in kinds:
        raise Unable(f"has no {job.reduce} of {job.dtype}")
    planes = job.x.reshape(-1, *job.x.shape[-2:])
    rows, columns = job.plan.windows
    tiled = [w.kernel == w.stride and w.out * w.kernel == w.size for w in (rows, columns)]
    if job.reduce == "avg" and all(tiled):
        job.without("padding", "dilation")
        apply = partial(cv2.resize, dsize=(columns.out, rows.out), interpolation=cv2.INTER_AREA)
        where: Any = ...
    elif job.reduce in ("avg", "sum"):
        job.without("dilation", "ceil_mode")
        kernel, where = (columns.kernel, rows.kernel), _samples(job)[-2:]
        apply = partial(
            cv2.boxFilter, ddepth=-1, ksize=kernel, normalize=job.reduce == "avg",
            borderType=cv2.BORDER_CONSTANT,
        )  # fmt: skip
    else:
        where, element = _samples(job)[-2:], np.zeros((rows.extent, columns.extent), np.uint8)
        element[:: rows.dilation, :: columns.dilation] = 1
        apply = partial(cv2.dilate if job.reduce == "max" else cv2.erode, kernel=element)
    return Ready(
        lambda: [apply(plane)[where] for plane in planes],
        lambda ys: np.stack(ys).reshape(job.plan.out_shape),
    )


def _scipy(job: Job) -> Ready:
    from scipy import ndimage

    filters = {
        "max": (ndimage.maximum_filter, _least), "min": (ndimage.minimum_filter, _largest),
        "avg": (ndimage.uniform_filter, lambda dtype: 0),
    }  # fmt: skip
    x = job.x
    known = x.dtype.kind in "iuf" and job.dtype not in ("float16", "bfloat16")
    if job.reduce not in filters or not known or (job.reduce == "avg" and x.dtype.kind != "f"):
        raise Unable(f"has no {job.reduce} of {job.dtype}")
    job.without("dilation")
    if job.reduce == "avg":
        job.without("ceil_mode")
    apply, outside = filters[job.reduce]
    size = [1] * x.ndim
    for axis, w in zip(job.plan.axes, job.plan.windows, strict=True):
        size[axis] = w.kernel
    where, value = _samples(job), outside(x.dtype)
    return Ready(lambda: apply(x, size, mode="constant", cval=value)[where])


PEERS: tuple[Peer, ...] = (
    Peer("NumPy", ("numpy",), ("numpy",), _numpy),
    Peer("torch", ("torch",), ("torch",), _torch),
    Peer("ONNX Runtime", ("onnxruntime", "onnx"), ("onnxruntime", "onnxruntime-gpu"), _onnxruntime),
    Peer(
        "OpenCV",
        ("cv2",),
        ("opencv-python-headless", "opencv-python", "opencv-contrib-python"),
        _opencv,
    ),
    Peer("scipy", ("scipy",), ("scipy",), _scipy),
)
