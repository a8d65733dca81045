"""The implementations on the board: what each can do of a workload, and how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

import npool
from benchmarks.workloads import Workload

__all__ = ["PEERS", "Peer", "installed", "torch_call", "torch_tensor"]

Array = NDArray[Any]
Call = Callable[[], Any]


@dataclass(frozen=True)
class Peer:
    """An implementation: `prepare` returns a call that pools, or None where it cannot."""

    name: str
    package: str
    prepare: Callable[[Workload, Array], Call | None]
    set_threads: Callable[[int], None] | None = None

    @property
    def version(self) -> str:
        """Of the package."""
        for name in (self.package, f"{self.package}-headless"):
            try:
                return version(name)
            except PackageNotFoundError:
                continue
        return "?"


def _npool(w: Workload, x: Array) -> Call | None:
    return lambda: w.run(x)


def _planar(w: Workload) -> bool:
    """Whether the pooled axes are the last ones."""
    ndim = len(w.shape)
    return w.pooled == tuple(range(ndim - len(w.kernel), ndim))


def torch_call(w: Workload, tensor: Any, functions: Any = None) -> Call | None:
    """A call of one of torch's functions, or of others under their names, on a tensor."""
    import torch

    f = functions or torch.nn.functional
    rank = len(w.kernel)
    if rank > 3 or w.result or (w.indices and w.reduce != "max"):
        return None
    if any(2 * p > k for p, k in zip(w.padding, w.kernel, strict=True)):
        return None
    last = "123"[rank - 1]
    args = (w.kernel, w.stride, w.padding)
    if w.reduce == "max" and w.dtype not in ("int16", "int32"):
        pool = getattr(f, f"max_pool{last}d")
        return lambda: pool(tensor, *args, w.dilation, w.ceil_mode, w.indices)
    if w.reduce == "min":
        pool = getattr(f, f"max_pool{last}d")
        return lambda: pool(tensor.neg(), *args, w.dilation, w.ceil_mode).neg()
    if w.dilation > 1 or tensor.dtype in (torch.uint8,):
        return None
    average = getattr(f, f"avg_pool{last}d")
    if w.reduce == "avg":
        return lambda: average(tensor, *args, w.ceil_mode)
    if w.reduce == "sum" and rank > 1:
        return lambda: average(tensor, *args, w.ceil_mode, divisor_override=1)
    if w.reduce == "lp" and not any(w.padding):
        norm = getattr(f, f"lp_pool{last}d")
        return lambda: norm(tensor, 2.0, w.kernel, w.stride, w.ceil_mode)
    return None


def _elements(w: Workload, x: Array) -> Any:
    import torch

    if w.dtype == "bfloat16":
        return torch.from_numpy(x.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(x)


def torch_tensor(w: Workload, x: Array) -> Any:
    """The array as a tensor over the same memory, of a form that torch pools, or None."""
    if any(s < 0 for s in x.strides):
        return None
    rank = len(w.kernel)
    tensor = _elements(w, x)
    if not _planar(w):
        if w.pooled != tuple(range(1, 1 + rank)) or x.ndim != rank + 2:
            return None
        tensor = tensor.movedim(-1, 1)
    while tensor.dim() < rank + 1:
        tensor = tensor[None]
    while tensor.dim() > rank + 2:
        tensor = tensor.flatten(0, 1)
    return tensor


def _torch(w: Workload, x: Array) -> Call | None:
    tensor = torch_tensor(w, x)
    return None if tensor is None else torch_call(w, tensor)


def _torch_channels_last(w: Workload, x: Array) -> Call | None:
    """Torch, given the same images already in channels_last order."""
    import torch

    if len(w.kernel) != 2 or not _planar(w) or x.ndim != 4:
        return None
    tensor = _elements(w, x).contiguous(memory_format=torch.channels_last)
    return torch_call(w, tensor)


def _torch_threads(n: int) -> None:
    import torch

    torch.set_num_threads(n)


_onnx_threads = 1


def _set_onnx_threads(n: int) -> None:
    global _onnx_threads
    _onnx_threads = n


def _onnxruntime(w: Workload, x: Array) -> Call | None:
    import onnxruntime as ort
    from onnx import TensorProto, helper

    kinds = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8}
    op = {"max": "MaxPool", "avg": "AveragePool", "lp": "LpPool"}.get(w.reduce)
    rank = len(w.kernel)
    if op is None or w.dtype not in kinds or rank > 3 or not _planar(w) or w.result:
        return None
    if w.dtype == "uint8" and op != "MaxPool":
        return None
    data = np.ascontiguousarray(x)
    while data.ndim < rank + 2:
        data = data[None]
    data = data.reshape(-1, data.shape[-rank - 1], *data.shape[-rank:])
    attributes: dict[str, Any] = {
        "kernel_shape": list(w.kernel), "strides": list(w.stride),
        "pads": [*w.padding, *w.padding], "ceil_mode": int(w.ceil_mode),
    }  # fmt: skip
    if op != "LpPool":
        attributes["dilations"] = [w.dilation] * rank
    if op == "AveragePool":
        attributes["count_include_pad"] = 1
    if op == "LpPool":
        attributes["p"] = 2
    outputs = ["y", "i"] if w.indices else ["y"]
    node = helper.make_node(op, ["x"], outputs, **attributes)
    graph = helper.make_graph(
        [node], "pool",
        [helper.make_tensor_value_info("x", kinds[w.dtype], data.shape)],
        [helper.make_tensor_value_info("y", kinds[w.dtype], None)]
        + ([helper.make_tensor_value_info("i", TensorProto.INT64, None)] if w.indices else []),
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)])
    model.ir_version = 9
    options = ort.SessionOptions()
    options.intra_op_num_threads = _onnx_threads
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception:  # this build has no kernel for it
        return None
    return lambda: session.run(None, {"x": data})[0]


def _opencv(w: Workload, x: Array) -> Call | None:
    import cv2

    if len(w.kernel) != 2 or x.ndim != 2 or w.indices or w.dilation > 1 or not x.flags.c_contiguous:
        return None
    (kh, kw), (ph, pw) = w.kernel, w.padding
    if w.reduce in ("max", "min") and w.stride == (1, 1) and (2 * ph, 2 * pw) == (kh - 1, kw - 1):
        if w.dtype not in ("float32", "float64", "uint8", "int16"):
            return None
        shape = cv2.getStructuringElement(cv2.MORPH_RECT, (kw, kh))
        apply = cv2.dilate if w.reduce == "max" else cv2.erode
        return lambda: apply(x, shape)
    if w.reduce in ("avg", "sum") and w.stride == (1, 1) and w.dtype in ("float32", "float64"):
        if (2 * ph, 2 * pw) == (kh - 1, kw - 1):
            return lambda: cv2.boxFilter(
                x, -1, (kw, kh), normalize=w.reduce == "avg", borderType=cv2.BORDER_CONSTANT
            )
        if ph == pw == 0 and kh % 2 == kw % 2 == 1:

            def cropped() -> Any:
                full = cv2.boxFilter(x, -1, (kw, kh), normalize=w.reduce == "avg")
                return full[kh // 2 : -(kh // 2), kw // 2 : -(kw // 2)]

            return cropped
    whole = all(n % k == 0 for n, k in zip(x.shape, w.kernel, strict=True))
    if w.reduce == "avg" and w.kernel == w.stride and not any(w.padding) and whole:
        size = (x.shape[1] // kw, x.shape[0] // kh)
        return lambda: cv2.resize(x, size, interpolation=cv2.INTER_AREA)
    return None


def _opencv_threads(n: int) -> None:
    import cv2

    cv2.setNumThreads(n)


def _scipy(w: Workload, x: Array) -> Call | None:
    from scipy import ndimage

    if w.indices or w.dilation > 1 or w.dtype in ("float16", "bfloat16"):
        return None
    if any(s != 1 for s in w.stride) or any(2 * p != k - 1 for p, k in zip(
        w.padding, w.kernel, strict=True)):  # fmt: skip
        return None
    size = [1] * x.ndim
    for axis, k in zip(w.pooled, w.kernel, strict=True):
        size[axis] = k
    if w.reduce == "max":
        return lambda: ndimage.maximum_filter(x, size, mode="constant", cval=-np.inf)
    if w.reduce == "min":
        return lambda: ndimage.minimum_filter(x, size, mode="constant", cval=np.inf)
    if w.reduce == "avg":
        return lambda: ndimage.uniform_filter(x, size, mode="constant")
    return None


def _blocks(w: Workload, x: Array) -> list[int] | None:
    """The block of each axis, where windows tile the input exactly."""
    if w.kernel != w.stride or any(w.padding) or w.dilation > 1 or w.indices or w.result:
        return None
    size = [1] * x.ndim
    for axis, k in zip(w.pooled, w.kernel, strict=True):
        if x.shape[axis] % k:
            return None
        size[axis] = k
    return size


def _skimage(w: Workload, x: Array) -> Call | None:
    from skimage.measure import block_reduce

    size = _blocks(w, x)
    name = {"max": np.max, "min": np.min, "avg": np.mean, "sum": np.sum}.get(w.reduce)
    if size is None or name is None or w.dtype == "bfloat16":
        return None
    return lambda: block_reduce(x, tuple(size), name)


def _numpy(w: Workload, x: Array) -> Call | None:
    reduce = {"max": np.max, "min": np.min, "avg": np.mean, "sum": np.sum}.get(w.reduce)
    if reduce is None or w.indices or w.result or w.dtype == "bfloat16":
        return None
    size = _blocks(w, x)
    if size is not None:
        shape = [m for n, k in zip(x.shape, size, strict=True) for m in (n // k, k)]
        odd = tuple(range(1, 2 * x.ndim, 2))
        return lambda: reduce(x.reshape(shape), axis=odd)
    # Sliding windows cost their taps: not past 49 of them, nor where the output is ragged.
    if w.ceil_mode or np.prod(w.kernel) > 49:
        return None
    info = np.finfo if x.dtype.kind == "f" else np.iinfo
    fill = {"max": info(x.dtype).min, "min": info(x.dtype).max}.get(w.reduce, 0)
    pads = [(0, 0)] * x.ndim
    steps = [slice(None)] * x.ndim
    for axis, p, s in zip(w.pooled, w.padding, w.stride, strict=True):
        pads[axis], steps[axis] = (p, p), slice(None, None, s)
    extent = [w.dilation * (k - 1) + 1 for k in w.kernel]
    taps = (slice(None, None, w.dilation),) * len(w.kernel)
    axes = tuple(range(-len(w.kernel), 0))

    def call() -> Any:
        padded = np.pad(x, pads, constant_values=fill) if any(w.padding) else x
        windows = sliding_window_view(padded, extent, w.pooled)[tuple(steps)][(..., *taps)]
        return reduce(windows, axis=axes)

    return call


def _jax(w: Workload, x: Array) -> Call | None:
    import jax
    from jax import lax

    if w.indices or w.ceil_mode or w.result or w.dtype in ("float64", "bfloat16", "float16"):
        return None
    if w.reduce not in ("max", "min", "sum", "avg"):
        return None
    if x.dtype.kind in "iu" and w.reduce not in ("max", "min"):
        return None
    info = np.iinfo(x.dtype) if x.dtype.kind in "iu" else None
    start = {
        "max": info.min if info else -np.inf, "min": info.max if info else np.inf
    }.get(w.reduce, 0)  # fmt: skip
    fold = {"max": lax.max, "min": lax.min}.get(w.reduce, lax.add)
    one = [1] * x.ndim
    kernel, stride, dilation, pads = list(one), list(one), list(one), [(0, 0)] * x.ndim
    for axis, k, s, p in zip(w.pooled, w.kernel, w.stride, w.padding, strict=True):
        kernel[axis], stride[axis], dilation[axis], pads[axis] = k, s, w.dilation, (p, p)
    taps = int(np.prod(w.kernel))

    @jax.jit
    def pool(a: Any) -> Any:
        y = lax.reduce_window(
            a, np.array(start, x.dtype), fold, kernel, stride, pads, window_dilation=dilation
        )
        return y / taps if w.reduce == "avg" else y

    data = jax.numpy.asarray(x)
    return lambda: pool(data).block_until_ready()


def _tinybrain(w: Workload, x: Array) -> Call | None:
    import tinybrain

    if w.reduce != "avg" or w.kernel != (2, 2) or w.stride != (2, 2) or x.ndim != 2:
        return None
    if w.dtype not in ("uint8", "uint16", "float32") or any(n % 2 for n in x.shape):
        return None
    data = np.asfortranarray(x)
    return lambda: tinybrain.downsample_with_averaging(data, (2, 2), num_mips=1)[0]


PEERS: tuple[Peer, ...] = (
    Peer("npool", "npool", _npool, npool.set_num_threads),
    Peer("torch", "torch", _torch, _torch_threads),
    Peer("torch, channels_last", "torch", _torch_channels_last, _torch_threads),
    Peer("ONNX Runtime", "onnxruntime", _onnxruntime, _set_onnx_threads),
    Peer("OpenCV", "opencv-python", _opencv, _opencv_threads),
    Peer("scipy", "scipy", _scipy),
    Peer("scikit-image", "scikit-image", _skimage),
    Peer("JAX", "jax", _jax),
    Peer("tinybrain", "tinybrain", _tinybrain),
    Peer("NumPy", "numpy", _numpy),
)
_MODULES = {"opencv-python": "cv2", "scikit-image": "skimage"}


def installed() -> list[Peer]:
    """The peers that can be imported here; npool is the first."""
    return [p for p in PEERS if find_spec(_MODULES.get(p.package, p.package)) is not None]
