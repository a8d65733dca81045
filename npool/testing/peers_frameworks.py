"""Descriptors of PyTorch, ONNX Runtime and JAX."""

from __future__ import annotations

import functools
import importlib
import itertools
import math
from typing import Any

import numpy as np

from .exact import bounds, named_dtype
from .implementations import Implementation
from .problems import Problem

_PER_AXIS = (int, np.integer)


def each(value: Any, count: int) -> tuple[Any, ...]:
    """One value for each axis."""
    return (value,) * count if isinstance(value, _PER_AXIS) else tuple(value)


def pairs(padding: Any, count: int) -> list[tuple[int, int]]:
    """Padding before and after each axis."""
    return [(p, p) if isinstance(p, _PER_AXIS) else tuple(p) for p in each(padding, count)]


def describe_torch() -> Implementation:
    """torch.nn.functional's max_pool, avg_pool and lp_pool on CPU tensors."""
    torch = importlib.import_module("torch")
    functional = torch.nn.functional

    def call(x: Any, problem: Problem) -> Any:
        n = problem.pooled()
        function = getattr(functional, f"{problem.op}_pool{n}d")
        bfloat = x.dtype.name == "bfloat16"
        tensor = torch.from_numpy(x.view(np.uint16)).view(torch.bfloat16) if bfloat else (
            torch.from_numpy(x)
        )  # fmt: skip
        options = dict(problem.options)
        kernel = problem.kernel_size
        if problem.output_size is not None:
            function = getattr(functional, f"adaptive_{problem.op}_pool{n}d")
            return arrays_of(function(tensor, problem.output_size, **options))
        arguments: dict[str, Any] = {"ceil_mode": problem.ceil_mode}
        if problem.stride is not None:
            arguments["stride"] = problem.stride
        if problem.op == "lp":
            arguments["norm_type"] = options.pop("norm_type", 2)
            kernel = kernel[0] if n == 1 else kernel
        else:
            arguments["padding"] = problem.padding
        if problem.op == "max":
            arguments["dilation"] = problem.dilation
        return arrays_of(function(tensor, kernel_size=kernel, **arguments, **options))

    def arrays_of(result: Any) -> Any:
        values, *positions = result if isinstance(result, tuple) else (result,)
        if values.dtype == torch.bfloat16:
            values = values.view(torch.uint16).numpy().view(named_dtype("bfloat16"))
        else:
            values = values.numpy()
        return (values, positions[0].numpy()) if positions else values

    def takes(problem: Problem) -> bool:
        if problem.output_size is not None:
            named = problem.pooled() > 1 or None not in problem.output_size
            return named and problem.op != "lp" and "float" in problem.dtype
        if problem.op != "max" and np.max(problem.dilation) > 1:
            return False
        if problem.op == "lp" and problem.padding != 0:
            return False
        if problem.option("divisor_override") is not None and problem.pooled() == 1:
            return False
        if problem.op != "max" and problem.pooled() == 3:
            # avg_pool3d (and lp_pool3d, which calls it) wants an input as large as the window.
            large = all(
                n >= k for n, k in zip(problem.shape[-3:], problem.kernel_size, strict=True)
            )
            return large and problem.dtype not in ("float16", "bfloat16")
        needs_positions = problem.op == "max" and problem.pooled() == 1
        integer = "int" in problem.dtype
        return not (needs_positions and integer) or bool(problem.option("return_indices"))

    return Implementation(
        name="torch",
        version=torch.__version__.split("+")[0],
        call=call,
        ops={
            "max": (
                "uint8",
                "int8",
                "int16",
                "int32",
                "int64",
                "float16",
                "bfloat16",
                "float32",
                "float64",
            ),
            "avg": ("int64", "float16", "bfloat16", "float32", "float64"),
            "lp": ("float32", "float64"),
        },
        parameters=frozenset(
            [
                "stride",
                "padding",
                "dilation",
                "ceil_mode",
                "return_indices",
                "count_include_pad",
                "divisor_override",
                "norm_type",
                "layouts",
                "adaptive",
            ]
        ),
        pooled=(1, 2, 3),
        batch=(1, 2),
        layouts=("C", "F", "transposed", "channels_last", "sliced", "offset"),
        padding_limit=lambda kernel, dilation: kernel // 2,
        takes=takes,
    )


def describe_onnxruntime() -> Implementation:
    """The ONNX operators MaxPool, AveragePool and LpPool (opset 22) on the CPU."""
    onnx = importlib.import_module("onnx")
    runtime = importlib.import_module("onnxruntime")
    runtime.set_default_logger_severity(4)
    operators = {"max": "MaxPool", "avg": "AveragePool", "lp": "LpPool"}

    @functools.lru_cache(maxsize=64)
    def session(op: str, shape: tuple[int, ...], dtype: str, attributes: Any) -> Any:
        helper, tensor = onnx.helper, onnx.TensorProto
        given = {name: list(v) if isinstance(v, tuple) else v for name, v in attributes}
        positions = given.pop("return_indices", False)
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        outputs = [helper.make_tensor_value_info("y", kind, None)]
        if positions:
            outputs.append(helper.make_tensor_value_info("i", tensor.INT64, None))
        names = ["y", "i"][: len(outputs)]
        node = helper.make_node(operators[op], ["x"], names, **given)
        inputs = [helper.make_tensor_value_info("x", kind, shape)]
        graph = helper.make_graph([node], "pool", inputs, outputs)
        opset = helper.make_opsetid("", 22)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        content = model.SerializeToString()
        return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def call(x: Any, problem: Problem) -> Any:
        n = problem.pooled()
        attributes: dict[str, Any] = {"kernel_shape": each(problem.kernel_size, n)}
        if problem.stride is not None:
            attributes["strides"] = each(problem.stride, n)
        if isinstance(problem.padding, str):
            names = {"same": "SAME_UPPER", "same_lower": "SAME_LOWER", "valid": "VALID"}
            attributes["auto_pad"] = names[problem.padding]
        else:
            sides = pairs(problem.padding, n)
            attributes["pads"] = (*(a for a, _ in sides), *(b for _, b in sides))
        attributes["dilations"] = each(problem.dilation, n)
        attributes["ceil_mode"] = int(problem.ceil_mode)
        if problem.op == "avg":
            attributes["count_include_pad"] = int(problem.option("count_include_pad", True))
        if problem.op == "lp":
            attributes["p"] = problem.option("norm_type", 2)
        if problem.option("return_indices"):
            attributes["return_indices"] = True
        ready = session(problem.op, x.shape, x.dtype.name, tuple(attributes.items()))
        result = ready.run(None, {"x": x})
        return tuple(result) if len(result) > 1 else result[0]

    return Implementation(
        name="onnxruntime",
        version=runtime.__version__,
        call=call,
        ops={
            "max": ("int8", "uint8", "float16", "float32", "float64"),
            "avg": ("float16", "float32"),
            "lp": ("float16", "float32"),
        },
        parameters=frozenset(
            [
                "stride",
                "padding",
                "asymmetric_padding",
                "same",
                "dilation",
                "ceil_mode",
                "return_indices",
                "count_include_pad",
                "norm_type",
            ]
        ),
        pooled=(1, 2, 3),
        batch=(2,),
        padding_limit=lambda kernel, dilation: kernel - 1,
        other_default_stride=True,
    )


def describe_jax() -> Implementation:
    """jax.lax.reduce_window, which asks for the stride and for the identity."""
    jax = importlib.import_module("jax")
    lax = jax.lax
    computations = {"max": lax.max, "min": lax.min, "sum": lax.add, "prod": lax.mul}
    calls = itertools.count(1)

    def call(x: Any, problem: Problem) -> Any:
        if next(calls) % 100 == 0:
            jax.clear_caches()  # a program for each shape, and more than a megabyte each
        axes = problem.axes
        if axes is None:
            axes = tuple(range(x.ndim - problem.pooled(), x.ndim))
        axes = tuple(axis % x.ndim for axis in axes)
        count = len(axes)
        kernel = each(problem.kernel_size, count)
        strides = kernel if problem.stride is None else each(problem.stride, count)

        def spread(values: Any, other: Any) -> list[Any]:
            result = [other] * x.ndim
            for axis, value in zip(axes, values, strict=True):
                result[axis] = value
            return result

        padding: Any = str(problem.padding).upper()
        if not isinstance(problem.padding, str):
            padding = spread(pairs(problem.padding, count), (0, 0))
        low, high = bounds(x.dtype)
        identity = {"max": low, "min": high, "sum": 0, "prod": 1}[problem.op]
        result = lax.reduce_window(
            jax.numpy.asarray(x),
            np.asarray(identity, x.dtype),
            computations[problem.op],
            spread(kernel, 1),
            spread(strides, 1),
            padding,
            window_dilation=spread(each(problem.dilation, count), 1),
        )
        return np.asarray(result)

    narrow = (
        "int8", "int16", "int32", "uint8", "uint16", "uint32", "float16", "bfloat16", "float32",
    )  # fmt: skip
    return Implementation(
        name="jax",
        version=jax.__version__,
        call=call,
        ops=dict.fromkeys(("max", "min", "sum", "prod"), narrow),
        parameters=frozenset(
            ["stride", "padding", "asymmetric_padding", "same", "dilation", "axes"]
        ),
        ceil_modes=(False,),
        max_examples=15,
        takes=lambda problem: math.prod(problem.shape) > 0,
    )
