"""What a bad call says: one table of calls, the exception, and what its message must hold.

ValueError for values and shapes, TypeError for types; the value given, the bound it broke, what
to do. Raised before anything is allocated, compiled or written.
"""

import inspect
import operator
import random
import re
import tracemalloc
import warnings
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from fresh_process import check_runs

import npool

X = np.arange(24.0).reshape(4, 6)
HUGE = 2**70
LONG = 10**5000  # Python itself refuses to print it
PAST = r"past the largest allowed, 2147483647"
POOLS = ("max_pool", "min_pool", "avg_pool", "sum_pool", "lp_pool", "pool")
SHAPED = (*POOLS, "output_shape")


@dataclass
class Row:
    """A call that must be refused."""

    functions: tuple[str, ...]
    error: type[Exception]
    arguments: dict[str, object]
    #: Regular expressions, each to be found in the message.
    phrases: tuple[str, ...]


class Broken:
    """Pretends to be an integer and returns a string."""

    def __index__(self):
        return "2"


def rows():
    """The table."""

    def for_all(error, *phrases, **arguments):
        return Row(SHAPED, error, arguments, phrases)

    def for_pools(error, *phrases, **arguments):
        return Row(POOLS, error, arguments, phrases)

    def only(function, error, *phrases, **arguments):
        return Row((function,), error, arguments, phrases)

    V, T = ValueError, TypeError
    integers = (
        "must be an integer|must be a list or tuple of integers|or a sequence|must hold integers"
    )
    table = [
        # kernel_size
        for_all(
            V,
            r"kernel_size=3",
            r"\(4, 6\)",
            r"\(3, 3\)",
            "axes=",
            "npool.functional",
            kernel_size=3,
        ),
        for_all(V, r"kernel_size=\(\)", "at least one", kernel_size=()),
        for_all(V, r"kernel_size=0", "at least 1", kernel_size=0, axes=0),
        for_all(V, r"kernel_size=\(2, 0\)", "at least 1, got 0", kernel_size=(2, 0)),
        for_all(V, r"-3", "at least 1", kernel_size=(-3, 2)),
        for_all(V, r"\(2, 2, 2\)", "last 3 axes", r"\(4, 6\)", "at most 2", kernel_size=(2, 2, 2)),
        for_all(V, r"kernel_size", str(HUGE), PAST, kernel_size=(HUGE, 2)),
        for_all(V, r"kernel_size", str(2**31), PAST, kernel_size=(2**31,)),
        for_all(V, r"kernel_size", PAST, kernel_size=(LONG, 2)),
        for_all(V, r"kernel_size", PAST, kernel_size=(2**40, LONG)),
        for_all(V, r"kernel_size", "integer of 16610 bits", "axes=", kernel_size=LONG),
        for_all(V, r"kernel_size", "at least 1", kernel_size=(-LONG, 2)),
        for_all(V, "1000 entries", "at most 64", kernel_size=[1] * 1000),
        for_all(V, "1000000000000 entries", "at most 64", kernel_size=range(10**12)),
        for_all(V, r"\(2, 2, 2\)", "3 entries for 2", kernel_size=(2, 2, 2), axes=(0, 1)),
        for_all(
            V,
            "axis 0",
            r"\(4, 6\)",
            "length 4",
            r"\(0, 0\)",
            "effective window 5",
            "smaller window",
            kernel_size=(5, 2),
        ),
        for_all(T, "kernel_size", r"2\.0", integers, kernel_size=(2.0, 2)),
        for_all(T, "kernel_size", r"2\.0", integers, kernel_size=2.0, axes=0),
        for_all(T, "kernel_size", "nan", integers, kernel_size=(float("nan"), 2)),
        for_all(T, "kernel_size", "None", integers, kernel_size=None),
        for_all(T, "kernel_size", "None", integers, kernel_size=(None, 2)),
        for_all(T, "kernel_size", "'2x2'", integers, kernel_size="2x2"),
        for_all(T, "kernel_size", r"b'22'", integers, kernel_size=b"22"),
        for_all(T, "kernel_size", "bytearray", integers, kernel_size=bytearray((2, 2))),
        for_all(T, "kernel_size", "True", "write 1 or 0", kernel_size=(True, 2)),
        for_all(T, "kernel_size", "True", "write 1 or 0", kernel_size=(np.True_, 2)),
        for_all(T, "kernel_size", r"\{2, 3\}", integers, kernel_size={2, 3}),
        for_all(T, "kernel_size", "dict", integers, kernel_size={2: 2}),
        for_all(T, "kernel_size", "iterator", integers, kernel_size=iter((2, 2))),
        for_all(T, "kernel_size", "generator", integers, kernel_size=(n for n in (2, 2))),
        for_all(T, "kernel_size", r"\(2, 2\)", integers, kernel_size=((2, 2), 2)),
        for_all(T, "kernel_size", "array", integers, kernel_size=np.array([[2, 2]])),
        for_all(T, "kernel_size", r"2\.5", integers, kernel_size=np.array([2.5, 2])),
        for_all(T, "kernel_size", "Fraction", integers, kernel_size=(Fraction(2), 2)),
        for_all(T, "kernel_size", "Broken", integers, kernel_size=(Broken(), 2)),
        for_all(T, "kernel_size", r"\(2\+0j\)", integers, kernel_size=(2 + 0j, 2)),
        for_all(T, "kernel_size", "slice", integers, kernel_size=slice(2)),
        for_all(T, "kernel_size", "object", integers, kernel_size=object()),
        for_all(T, "kernel_size", "Ellipsis", integers, kernel_size=...),
        # stride
        for_all(V, r"stride=0", "at least 1", stride=0),
        for_all(V, r"stride=\(1, -2\)", "at least 1, got -2", stride=(1, -2)),
        for_all(V, r"stride=\(1, 1, 1\)", "3 entries for 2", stride=(1, 1, 1)),
        for_all(V, r"stride=\(\)", "0 entries for 2", stride=()),
        for_all(V, "stride", str(HUGE), PAST, stride=HUGE),
        for_all(V, "stride", "at least 1", stride=-HUGE),
        for_all(V, "stride", PAST, stride=LONG),
        for_all(T, "stride", r"1\.5", integers, stride=1.5),
        for_all(T, "stride", "'1'", integers, stride="1"),
        for_all(T, "stride", "False", "write 1 or 0", stride=False),
        for_all(T, "stride", r"\[1\]", integers, stride=[[1], [1]]),
        for_all(T, "stride", "None", integers, stride=(None, 1)),
        for_all(T, "stride", r"\{1\}", integers, stride={1}),
        # padding
        for_all(V, r"padding=-1", "0 or more, got -1", padding=-1),
        for_all(
            V, r"padding=\(\(0, -1\), \(0, 0\)\)", "0 or more, got -1", padding=((0, -1), (0, 0))
        ),
        for_all(V, r"padding=\(1, 1, 1\)", "3 entries for 2", "pair an axis", padding=(1, 1, 1)),
        for_all(
            V,
            r"padding=\(1, 1\)",
            "2 entries for 1",
            r"padding=\(\(1, 1\),\)",
            kernel_size=(2,),
            padding=(1, 1),
        ),
        for_all(V, r"\(1, 2, 3\)", r"\(before, after\)", padding=((1, 2, 3), (0, 0))),
        for_all(V, r"\(\)", r"\(before, after\)", padding=((), ())),
        for_all(V, "padding", str(HUGE), PAST, padding=HUGE),
        for_all(V, "padding", PAST, padding=((0, 0), (0, LONG))),
        for_all(V, "padding", "0 or more", padding=((1, -LONG), (0, 0))),
        for_all(V, "'Same'", "'same'", "'valid'", "same_lower", padding="Same"),
        for_all(V, "''", "'valid'", padding=""),
        for_all(V, r"2\*\*62 elements", "less padding", padding=2**31 - 1),
        for_all(T, "padding", "None", "use 0", padding=None),
        for_all(T, "padding", r"0\.5", integers, padding=0.5),
        for_all(T, "padding", r"1\.0", integers, padding=((1.0, 1), (0, 0))),
        for_all(T, "padding", "True", "write 1 or 0", padding=True),
        for_all(T, "padding", "set|{", padding={(1, 1)}),
        for_all(T, "padding", "bytes|b'", padding=b"\1\1"),
        for_all(T, "padding", "'ab'", padding=["ab", 1]),
        # dilation
        for_all(V, r"dilation=0", "at least 1", dilation=0),
        for_all(V, r"dilation=\(1, 2, 3\)", "3 entries for 2", dilation=(1, 2, 3)),
        for_all(
            V,
            "axis 1",
            "effective window 6",
            "dilation 5",
            kernel_size=(2,),
            dilation=5,
            padding=((0, 0),),
            axes=(1,),
            shape_or_x=(4, 5),
        ),
        for_all(V, "dilation", str(2**31), PAST, dilation=2**31),
        for_all(V, "dilation", PAST, dilation=LONG),
        for_all(T, "dilation", r"2\.0", integers, dilation=2.0),
        for_all(T, "dilation", "None", integers, dilation=None),
        for_all(T, "dilation", "'2'", integers, dilation="2"),
        # ceil_mode
        for_all(T, "ceil_mode", "True or False", "got 1", ceil_mode=1),
        for_all(T, "ceil_mode", "True or False", "got None", ceil_mode=None),
        for_all(T, "ceil_mode", "True or False", "'yes'", ceil_mode="yes"),
        for_all(T, "ceil_mode", "True or False", "array", ceil_mode=np.array([True, False])),
        # axes
        for_all(V, "axis 2", r"\(4, 6\)", "-2 to 1", kernel_size=2, axes=(0, 2)),
        for_all(V, "axis -3", "-2 to 1", kernel_size=2, axes=-3),
        for_all(V, r"\(0, 0\)", "twice", kernel_size=2, axes=(0, 0)),
        for_all(V, r"\(1, -1\)", "twice", kernel_size=2, axes=(1, -1)),
        for_all(V, r"axes=\(\)", "at least one", kernel_size=2, axes=()),
        for_all(V, "axis", str(HUGE), "-2 to 1", kernel_size=2, axes=HUGE),
        for_all(V, "axis", "-2 to 1", kernel_size=2, axes=-LONG),
        for_all(V, "axis", "-2 to 1", kernel_size=2, axes=(0, LONG)),
        for_all(V, "no axes", r"\(\)", kernel_size=2, axes=0, shape_or_x=()),
        for_all(V, r"\(2,\)", r"\(\)", "has 0", kernel_size=(2,), shape_or_x=()),
        for_all(
            V,
            "axis 1",
            "length 0",
            r"\(4, 0\)",
            "at least one element",
            kernel_size=(2,),
            padding=4,
            shape_or_x=(4, 0),
        ),
        for_all(T, "axes", "'0'", integers, kernel_size=2, axes="0"),
        for_all(T, "axes", r"1\.0", integers, kernel_size=2, axes=(0, 1.0)),
        for_all(T, "axes", "True", "write 1 or 0", kernel_size=2, axes=(True, False)),
        for_all(T, "axes", r"\(1,\)", integers, kernel_size=2, axes=((1,),)),
        for_all(T, "axes", r"\(1,\)", integers, kernel_size=2, axes=(0, (1,))),
        for_all(T, "axes", r"\{0, 1\}", integers, kernel_size=2, axes={0, 1}),
        # x
        for_pools(T, "list", r"numpy\.asarray", x=[[1.0, 2.0]]),
        for_pools(T, "NoneType", r"numpy\.ndarray", x=None),
        for_pools(T, "float64", r"numpy\.asarray", x=np.float64(3)),
        for_pools(T, "float", r"numpy\.ndarray", x=3.0),
        for_pools(T, "str", r"numpy\.ndarray", x="array"),
        for_pools(T, "memoryview", r"numpy\.asarray", x=memoryview(b"abcd")),
        for_pools(T, "MaskedArray", "mask", r"filled|asarray", x=np.ma.masked_array(X)),
        for_pools(T, "recarray", r"asarray", x=np.rec.array([(1.0,)])),
        for_pools(T, "object", "float32", "complex64", x=X.astype(object)),
        for_pools(T, r"U\d", "float32", x=X.astype(str)),
        for_pools(T, r"S\d", "float32", x=X.astype("S4")),
        for_pools(T, r"datetime64\[s\]", "float32", x=X.astype("M8[s]")),
        for_pools(T, r"timedelta64\[D\]", "float32", x=X.astype("m8[D]")),
        for_pools(T, r"\('a'", "float32", x=np.zeros((4, 6), [("a", "f4")])),
        for_pools(T, r"V5", "float32", x=np.zeros((4, 6), "V5")),
        # out
        for_pools(V, r"\(3, 3\)", r"\(2, 3\)", out=np.zeros((3, 3))),
        for_pools(V, r"\(6,\)", r"\(2, 3\)", out=np.zeros(6)),
        for_pools(T, "float32", "float64", out=np.zeros((2, 3), np.float32)),
        for_pools(T, ">f8", "float64", out=np.zeros((2, 3), ">f8")),
        for_pools(V, "read-only", "writeable", out=np.broadcast_to(np.zeros(3), (2, 3))),
        for_pools(
            V, "stride of 0", out=np.lib.stride_tricks.as_strided(np.zeros(9), (2, 3), (0, 8))
        ),
        for_pools(T, "list", r"numpy\.ndarray", out=[[0.0] * 3] * 2),
        for_pools(T, "tuple", r"numpy\.ndarray", out=(np.zeros((2, 3)),)),
        for_pools(T, "MaskedArray|masked", r"numpy\.ndarray", out=np.ma.zeros((2, 3))),
        for_pools(T, "str", r"numpy\.ndarray", out="result"),
    ]
    for function in ("max_pool", "min_pool", "pool"):
        pair = {"return_indices": True}
        table += [
            only(function, T, "return_indices", "True or False", "got 1", return_indices=1),
            only(function, T, "return_indices", "True or False", "None", return_indices=None),
            only(
                function, T, "index_dtype", "int64", "int32", "int16", index_dtype=np.int16, **pair
            ),
            only(function, T, "index_dtype", "int64", "uint64", index_dtype="uint64", **pair),
            only(function, T, "index_dtype", "int64", "float64", index_dtype=None, **pair),
            only(function, T, "index_dtype", "'int'|'i3'", index_dtype="i3", **pair),
            only(function, T, "index_dtype", ">i8", index_dtype=">i8", **pair),
            only(function, T, "index_dtype", index_dtype=np.int8),
            only(
                function,
                V,
                "4294967295",
                "int32",
                "int64",
                kernel_size=(2, 2),
                index_dtype=np.int32,
                stride=2**15,
                x=np.broadcast_to(np.float32(1), (2**16, 2**16)),
                **pair,
            ),
            only(function, V, "2 arrays", "got 3", out=(None, None, None), **pair),
            only(
                function,
                V,
                r"\(3, 3\)",
                r"\(2, 3\)",
                out=(np.zeros((2, 3)), np.zeros((3, 3), int)),
                **pair,
            ),
            only(
                function,
                T,
                "int32",
                "int64",
                out=(np.zeros((2, 3)), np.zeros((2, 3), np.int32)),
                **pair,
            ),
            only(function, T, "float64", "int64", out=(np.zeros((2, 3)), np.zeros((2, 3))), **pair),
            only(function, T, "int", r"numpy\.ndarray", out=(np.zeros((2, 3)), 3), **pair),
        ]
    both = np.zeros((2, 3))
    table += [
        only("max_pool", V, "share memory", "separate", return_indices=True,
             out=(both, both.view(np.int64))),
        only("max_pool", T, "complex64", "'max'", "sum and avg", x=X.astype("c8")),
        only("min_pool", T, "complex128", "'min'", "sum and avg", x=X.astype("c16")),
        only("lp_pool", T, "complex64", "sum and avg", x=X.astype("c8")),
        *(only("pool", T, "complex64", f"'{name}'", "sum and avg", reduce=name, x=X.astype("c8"))
          for name in ("any", "all", "prod", "range", "absmax", "rms", "var", "std", "logsumexp")),
        # reduce
        only("pool", V, "'Max'", "max, min", "Reducer", reduce="Max"),
        only("pool", V, "''", "max, min", reduce=""),
        only("pool", V, "'median'", "max, min", reduce="median"),
        only("pool", T, "None", "NoneType", "Reducer", reduce=None),
        only("pool", T, "b'max'", "bytes", reduce=b"max"),
        only("pool", T, "list", "Reducer", reduce=["max"]),
        only("pool", T, "function|lambda", "Reducer", reduce=lambda a, b: a),
        only("pool", T, "type", "Reducer", reduce=npool.Reducer),
        only("pool", T, "int", "Reducer", reduce=LONG),
        *(only("pool", V, "return_indices=True", f"'{name}'", "'max' or 'min'", reduce=name,
               return_indices=True) for name in ("sum", "range")),
        # dtype
        only("pool", V, "dtype", "'max'", "float64", "astype", dtype=np.float32),
        only("pool", V, "dtype", "'var'", "astype", reduce="var", dtype="f4"),
        *(only(function, T, *phrases, dtype=dtype, **more)
          for function in ("avg_pool", "sum_pool")
          for dtype, phrases, more in [
              ("nonsense", ("'nonsense'", "float32"), {}),
              ("i3", ("'i3'", "float32"), {}),
              ("a", ("'a'|S", "float32"), {}),
              (LONG, ("dtype", "integer of", "float32"), {}),
              ({"names": ["a"]}, ("names", "float32"), {}),
              (("S", 10**20), ("dtype", "float32"), {}),
              (3 + 0j, ("3", "float32"), {}),
              (object, ("object", "float32"), {}),
              ("f4,f4", ("f4", "float32"), {}),
              ("M8[s]", ("datetime64", "float32"), {}),
              (">f8", (">f8", "native", "float64"), {}),
              (bool, ("bool", "integer or float"), {}),
              (np.int64, ("int64", "float64", "astype"), {}),
              (np.float64, ("float64", "complex64"), {"x": X.astype("c8")}),
              (np.uint8, ("uint8", "float64"), {}),
          ]),
        # averages
        only("avg_pool", T, "count_include_pad", "True or False", "got 1", count_include_pad=1),
        only("avg_pool", T, "count_include_pad", "'no'", count_include_pad="no"),
        only("avg_pool", T, "count_include_pad", "None", count_include_pad=None),
        only("avg_pool", V, "divisor_override=0", "divide by zero", divisor_override=0),
        only("avg_pool", V, str(2**62 + 1), r"2\*\*62", divisor_override=2**62 + 1),
        only("avg_pool", V, str(-HUGE), r"2\*\*62", divisor_override=-HUGE),
        only("avg_pool", V, "divisor_override", "integer of", r"2\*\*62", divisor_override=LONG),
        only("avg_pool", T, "divisor_override", r"2\.0", "integer", divisor_override=2.0),
        only("avg_pool", T, "divisor_override", "True", divisor_override=True),
        only("avg_pool", T, "divisor_override", "'3'", divisor_override="3"),
        only("avg_pool", T, "divisor_override", "array", "integer",
             divisor_override=np.array([1, 2])),
        only("avg_pool", T, "divisor_override", "class 'int'", "integer", divisor_override=int),
        *(only(function, V, "'up'", "half_even", "trunc", rounding="up")
          for function in ("avg_pool", "pool")),
        only("avg_pool", T, "rounding", "None", "half_even", rounding=None),
        only("avg_pool", T, "rounding", "half_even", rounding=np.array(["floor", "trunc"])),
        only("avg_pool", T, "rounding", "half_even", rounding=["floor"]),
        only("avg_pool", T, "rounding", "half_even", rounding=LONG),
        only("avg_pool", V, "padding", "NaN", "int64", "count_include_pad=True", padding=2,
             x=X.astype(int), dtype=int, count_include_pad=False),
        only("pool", V, "averages", "'max'", "leave them out", count_include_pad=True),
        only("pool", V, "averages", "'sum'", "leave them out", reduce="sum", divisor_override=3),
        # norm_type
        *(only("lp_pool", V, "norm_type", "finite number above 0", norm_type=p)
          for p in (0, -1, -0.0, float("nan"), float("-inf"), -HUGE, np.float32(-2),
                    Fraction(-1, 2))),
        only("lp_pool", V, "inf", "absmax", norm_type=float("inf")),
        only("lp_pool", V, "integer of", "finite", "absmax", norm_type=LONG),
        only("lp_pool", V, "integer of", "finite", norm_type=-LONG),
        *(only("lp_pool", T, "norm_type", "must be a number", norm_type=p)
          for p in ("2", b"2", bytearray(b"2"), memoryview(b"2"), None, [2], 2 + 0j, True, np.True_,
                    np.array([2.0]), np.array([2.0, 3.0]), object())),
        # memory
        only("max_pool", V, "GiB", "memory", "less padding", stride=1, out=None,
             padding=((2**31 - 1, 0), (2**20, 0))),
        # shape
        only("output_shape", V, r"\(4, -6\)", "negative", shape=(4, -6)),
        only("output_shape", V, "shape", "negative", shape=(-LONG, 6)),
        only("output_shape", V, r"2\*\*62", str(HUGE), shape=(HUGE, 6)),
        only("output_shape", V, r"2\*\*62", shape=(LONG, 6)),
        only("output_shape", V, "1000 entries", "64", shape=range(1000)),
        only("output_shape", T, "shape", "3", "list or tuple", shape=3),
        only("output_shape", T, "shape", "'46'", "list or tuple", shape="46"),
        only("output_shape", T, "shape", r"4\.0", "integer", shape=(4.0, 6)),
        only("output_shape", T, "shape", "True", "integer", shape=(True, 6)),
        only("output_shape", T, "shape", "None", shape=None),
        only("output_shape", T, "shape", r"\{4, 6\}", shape={4, 6}),
        only("output_shape", T, "shape", "Broken", "integer", shape=(Broken(), 6)),
        only("output_shape", T, "shape", "ndarray|array", shape=np.zeros((4, 6))),
        # threads
        *(only(f, V, "1 to 1024", f"got {n}", n=n)
          for f in ("set_num_threads", "num_threads") for n in (0, -1, 1025, HUGE)),
        *(only(f, V, "1 to 1024", "integer of", n=LONG)
          for f in ("set_num_threads", "num_threads")),
        *(only(f, T, "number of threads", "integer", n=n)
          for f in ("set_num_threads", "num_threads")
          for n in (1.0, "2", None, True, [2], int, np.array([1, 2]), Broken())),
    ]  # fmt: skip
    return table + reducers()


def reducers():
    """Reducers that are refused when they are made."""

    def made(error, *phrases, **arguments):
        return Row(("Reducer",), error, arguments, phrases)

    V, T = ValueError, TypeError
    four = "1 to 4"
    return [
        made(T, "name", "None", "non-empty string", name=None),
        made(T, "name", "''", "non-empty string", name=""),
        made(T, "combine", "'mine'", "function", "None", combine=None),
        made(T, "combine", "'mine'", "function", "3", combine=3),
        made(T, "lift", "'mine'", "function", "'x'", lift="x"),
        made(T, "finish", "'mine'", "function", r"\[\]", finish=[]),
        made(V, "identity", "0 parts", four, identity=()),
        made(V, "identity", "5 parts", four, identity=(0,) * 5, finish=lambda a, n: a[0]),
        made(V, "2 parts", "finish=", identity=(0, 0)),
        made(T, "identity", "None", "lowest", identity=None),
        made(T, "identity", "'least'", "lowest", identity="least"),
        made(T, "identity", r"1j", "number", identity=1j),
        made(T, "identity", r"\[0\]", "number", identity=[0]),
        made(T, "identity", "True", "number", identity=True),
        made(T, "params", "5", "tuple of numbers", params=5),
        made(T, "params", r"\[5\]", "tuple of numbers", params=[5]),
        made(T, "params", "'a'", "tuple of numbers", params=("a",)),
        made(T, "params", "True", "tuple of numbers", params=(True,)),
        made(V, "params", "at most 2", "got 3", params=(1, 2, 3)),
        made(T, "accumulator", "None", "wide", accumulator=None),
        made(T, "accumulator", "'foo'", "float32", accumulator="foo"),
        made(T, "accumulator", "complex64", "real", accumulator="complex64"),
        made(T, "accumulator", "float16", "32 bits", accumulator="float16"),
        made(T, "accumulator", ">f4", accumulator=">f4"),
        made(T, "accumulator", "object", accumulator="object"),
        made(T, "accumulator", "5", accumulator=5),
        made(T, "result", r"\[\]", "sum", result=[]),
        made(T, "result", "datetime64", result="M8[s]"),
        made(T, "idempotent", "'no'", "True or False", idempotent="no"),
        made(T, "idempotent", "1", "True or False", idempotent=1),
    ]


ROWS = rows()
CALLS = [(row, function) for row in ROWS for function in row.functions]
DEFAULTS = {
    **{name: {"x": X, "kernel_size": (2, 2)} for name in POOLS},
    "lp_pool": {"x": X, "norm_type": 2, "kernel_size": (2, 2)},
    "output_shape": {"shape": (4, 6), "kernel_size": (2, 2)},
    "set_num_threads": {},
    "num_threads": {},
    "Reducer": {"name": "mine", "combine": lambda a, b: a + b, "identity": 0.0},
}


def call_of(row, function, out=None):
    """The row's call of one function, without arguments."""
    arguments = {**DEFAULTS[function], **row.arguments}
    if "shape_or_x" in arguments:
        shape = arguments.pop("shape_or_x")
        arguments |= {"shape": shape} if function == "output_shape" else {"x": np.zeros(shape)}
    if out is not None and function in POOLS:
        arguments.setdefault("out", out)
    called = getattr(npool, function)
    if function == "num_threads":
        return lambda: called(**arguments).__enter__()
    return lambda: called(**arguments)


def arrays_of(row):
    """What the row's own `out` could have been written to."""
    out = row.arguments.get("out")
    return [a for a in (out if isinstance(out, tuple) else (out,)) if isinstance(a, np.ndarray)]


def check_message(error, phrases):
    message = str(error)
    for phrase in phrases:
        assert re.search(phrase, message), f"{phrase!r} is not in: {message}"
    assert "\n" not in message
    assert len(message) < 800
    for foreign in ("Exceeds the limit", "truth value", "not supported between", "numba.",
                    "integer scalar arrays", "descriptor"):  # fmt: skip
        assert foreign not in message


@pytest.mark.parametrize(
    ("row", "function"),
    CALLS,
    ids=[f"{function}-{'-'.join(row.arguments)}" for row, function in CALLS],
)
def test_bad_calls_say_what_is_wrong(row, function):
    out = np.full((2, 3), 7.0)
    before = [a.tobytes() for a in arrays_of(row)]
    for given in (None, out):
        with pytest.raises((TypeError, ValueError)) as caught:
            call_of(row, function, given)()
        assert type(caught.value) is row.error, caught.value
        check_message(caught.value, row.phrases)
        assert (out == 7).all()
        assert [a.tobytes() for a in arrays_of(row)] == before


def test_the_table_is_long_and_its_defaults_are_good():
    assert len(ROWS) >= 120
    assert {function for row in ROWS for function in row.functions} == set(DEFAULTS)
    for function, arguments in DEFAULTS.items():
        if arguments:
            assert getattr(npool, function)(**arguments) is not None


def test_every_parameter_has_a_row():
    for function in DEFAULTS:
        wanted = set(inspect.signature(getattr(npool, function)).parameters)
        if function == "Reducer":  # the rest says what the engine may do, for npool's own
            wanted -= {
                "summary",
                "selects",
                "positions",
                "in_order",
                "counts_padding",
                "divides",
                "complex_parts",
            }
        seen = set()
        for row in ROWS:
            if function in row.functions:
                seen |= set(row.arguments)
        seen |= {"shape", "x"} if "shape_or_x" in seen else set()
        assert wanted <= seen, f"{function}: {wanted - seen}"


def test_nothing_is_allocated():
    calls = [call_of(row, function) for row, function in CALLS]
    for call in calls:  # what is loaded or cached once
        refused(call)
    tracemalloc.start()
    try:
        for call in calls:
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            refused(call)
            assert tracemalloc.get_traced_memory()[1] - before < 100_000
    finally:
        tracemalloc.stop()


def refused(call):
    """The exception of a call, which must be refused in words."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            call()
    except (ValueError, TypeError) as error:
        return error
    raise AssertionError("accepted")


def test_nothing_is_compiled():
    code = """
        import sys
        import test_errors
        for row, function in test_errors.CALLS:
            test_errors.refused(test_errors.call_of(row, function))
        print(len(test_errors.CALLS) > 500, "numba" in sys.modules)
    """
    assert check_runs(code) == "True False\n"


# --- reducers whose functions do not compile -----------------------------------------------------


def _too_many(a, b):
    return a[0], b[1], a[1]


def _recursive(a, b):
    return _recursive(b, a) if a > b else a


async def _coroutine(a, b):
    return a


UNCOMPILED = {
    "combine of one argument": ({"combine": lambda a: a}, "combine|argument"),
    "lift of none": ({"lift": lambda: 1.0}, "argument"),
    "finish of one": ({"finish": lambda a: a}, "argument"),
    "returns a string": ({"combine": lambda a, b: "s"}, ""),
    "returns nothing": ({"combine": lambda a, b: None}, ""),
    "returns a tuple": ({"combine": lambda a, b: (a, b)}, ""),
    "takes parts, gives one": (
        {"combine": lambda a, b: a[0], "identity": (0.0, 0.0), "lift": lambda x: (x, x),
         "finish": lambda a, n: a[0]}, ""),
    "three parts for two": (
        {"combine": _too_many, "identity": (0.0, 0.0), "lift": lambda x: (x, x),
         "finish": lambda a, n: a[0]}, ""),
    "tuples without lift": (
        {"combine": lambda a, b: a, "identity": (0.0, 0.0), "finish": lambda a, n: a[0]}, ""),
    "an unknown name": ({"combine": lambda a, b: unknown_name(a)}, "unknown_name"),  # noqa: F821
    "an unknown attribute": ({"combine": lambda a, b: np.nonsense(a)}, "nonsense"),
    "reads from the keyboard": ({"combine": lambda a, b: input(a)}, "input"),
    "a class": (
        {"combine": type("Callable", (), {"__call__": lambda self, a, b: a})()}, "Callable"),
    "len": ({"combine": len}, ""),
    "print of strings": ({"finish": lambda a, n: f"{a}"}, ""),
    "itself": ({"combine": _recursive}, "_recursive"),
    "a dictionary": ({"lift": lambda x: {"x": x}["x"]["y"]}, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", UNCOMPILED)
def test_reducers_that_do_not_compile_say_so_in_a_line(name):
    parts, phrase = UNCOMPILED[name]
    reducer = npool.Reducer(**{**DEFAULTS["Reducer"], **parts})
    out = np.full((2, 3), 7.0)
    for _ in range(2):
        with pytest.raises((TypeError, ValueError)) as caught:
            npool.pool(X, (2, 2), reduce=reducer, out=out)
        check_message(caught.value, ("'mine'", "float64", phrase))
    assert (out == 7).all()
    good = npool.pool(X, (2, 2), reduce=npool.Reducer(**DEFAULTS["Reducer"]))
    assert np.array_equal(good, npool.sum_pool(X, (2, 2)))


@pytest.mark.parametrize(
    ("identity", "dtype"),
    [(0.5, "int64"), (-1, "uint8"), (2**70, "int64"), (float("nan"), "int8"),
     (float("inf"), "bool"), (1e300, "float32"), (300, "uint8")],
)  # fmt: skip
def test_identities_that_do_not_fit(identity, dtype):
    reducer = npool.Reducer("mine", lambda a, b: a + b, identity, accumulator="same", result="same")
    with pytest.raises(ValueError) as caught:
        npool.pool(X.astype(dtype), (2, 2), reduce=reducer)
    check_message(caught.value, ("identity", re.escape(repr(identity)), "'mine'", "accumulator"))


# --- junk ----------------------------------------------------------------------------------------


class OwnError(Exception):
    """What an object of the caller's raises is the caller's to see."""


class Raises:
    """Whose every conversion fails."""

    def __index__(self):
        raise OwnError

    __float__ = __iter__ = __len__ = __index__

    @property
    def dtype(self):
        raise OwnError


def junk(rng):
    """Something that a tired user or a broken pipeline may pass."""
    simple = [
        None, True, False, 0, 1, 2, 3, -1, HUGE, -HUGE, 2**31, 2**31 - 1, 2**63, LONG, 0.0, 1.0,
        2.5, float("nan"), float("inf"), 1e300, 2j, "", "2", "same", "valid", "max", "float32",
        "floor",
        b"", b"2", bytearray(b"22"), object(), int, float, np.float32, np.dtype("i8"), lambda: 2,
        Broken(), Raises(), Fraction(1, 2), np.True_, np.int8(2), np.uint64(3), np.float64(2),
        np.array(2), np.array(2.0), np.array([]), np.array([1, 2]), np.array([1.5, 2.0]),
        np.array([[1, 2], [0, 1]]), np.array(["a"]), np.array(None), np.zeros((2, 3)),
        np.ma.zeros(2),
        np.datetime64("2020"), {}, {1: 2}, {2}, set(), frozenset({1}), range(3), range(10**12),
        slice(None), ..., NotImplemented, npool, X, [], (), [[]], ((),), memoryview(b"ab"),
    ]  # fmt: skip
    kind = rng.random()
    if kind < 0.6:
        return rng.choice(simple)
    if kind < 0.7:
        return iter([rng.choice(simple)])
    entries = [rng.choice(simple) for _ in range(rng.randint(1, 3))]
    if kind < 0.8:
        return [tuple(entries), rng.choice(simple)]
    return tuple(entries) if kind < 0.9 else entries


def canonical(value):
    """`value` in plain integers and tuples, if that is what it means; None stands for itself."""
    if value is None or isinstance(value, str):
        return value
    if type(value).__name__ in ("bool", "bool_", "Broken", "Raises"):
        raise TypeError
    if isinstance(value, (list, tuple, range, memoryview)) or (
        isinstance(value, np.ndarray) and value.ndim
    ):
        return tuple(canonical(entry) for entry in value)
    return operator.index(value)


SIZES = ("kernel_size", "stride", "padding", "dilation", "axes")
JUNKED = [
    *(("max_pool", name) for name in (*SIZES, "x", "ceil_mode", "out")),
    *(("max_pool", name) for name in ("return_indices", "index_dtype")),
    *(("avg_pool", name) for name in ("count_include_pad", "divisor_override")),
    *(("avg_pool", name) for name in ("dtype", "rounding")),
    *(("pool", name) for name in ("reduce", "dtype", "out")),
    ("lp_pool", "norm_type"),
    *(("output_shape", name) for name in ("shape", *SIZES)),
    ("set_num_threads", "n"),
    ("num_threads", "n"),
    *(("Reducer", name) for name in ("name", "combine", "identity", "lift", "finish", "accumulator",
                                     "result", "idempotent", "params")),
]  # fmt: skip


@pytest.mark.parametrize(("function", "parameter"), JUNKED)
def test_junk_is_refused_in_words_or_means_what_it_says(function, parameter):
    rng = random.Random(f"{function} {parameter}")
    refusals = 0
    threads = npool.get_num_threads()
    for _ in range(400):
        given = junk(rng)
        row = Row((function,), Exception, {parameter: given}, ())
        if parameter == "axes":
            row.arguments["kernel_size"] = 2
        try:
            got = call_of(row, function)()
        except (ValueError, TypeError) as error:
            check_message(error, ())
            refusals += 1
            continue
        except OwnError:
            continue
        if parameter in SIZES or parameter in ("divisor_override", "shape"):
            plain = canonical(given)
            row.arguments[parameter] = plain
            assert np.array_equal(got, call_of(row, function)())
        elif parameter == "norm_type":
            assert isinstance(given, (int, float, np.number, Fraction))
            assert not isinstance(given, bool)
        elif parameter in ("ceil_mode", "return_indices", "count_include_pad", "idempotent"):
            assert isinstance(given, (bool, np.bool_))
        elif parameter == "x":
            assert type(given) is np.ndarray
            assert given.dtype.kind in "biufc"
        elif parameter == "n":
            assert 1 <= given.__index__() <= 1024
    npool.set_num_threads(threads)
    assert refusals > 100


def test_junk_in_everything_at_once():
    rng = random.Random(5)
    signature = ["kernel_size", "stride", "padding", "dilation", "ceil_mode", "axes", "dtype",
                 "count_include_pad", "divisor_override", "rounding", "return_indices",
                 "index_dtype", "reduce", "out"]  # fmt: skip
    refusals = 0
    for _ in range(3000):
        chosen = rng.sample(signature, rng.randint(2, 6))
        row = Row(("pool",), Exception, {name: junk(rng) for name in chosen}, ())
        try:
            call_of(row, "pool")()
        except (ValueError, TypeError) as error:
            check_message(error, ())
            refusals += 1
        except OwnError:
            pass
    assert refusals > 2500
