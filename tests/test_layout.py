"""Memory order in, memory order out; inputs of any strides; `out` of any strides and overlap."""

import itertools
import tracemalloc

import numpy as np
import pytest

import npool
from npool.layout import empty_like_order, memory_order, readable

SHAPE = (2, 5, 6, 7)
ORDERS = list(itertools.permutations(range(4)))


def numbers(shape, dtype=np.float32):
    """Whole numbers in no order, so that a wrong element shows."""
    count = int(np.prod(shape))
    return (np.arange(count) * 7919 % 1009).astype(dtype).reshape(shape)


def in_order(x, order):
    """A copy of `x` whose axes lie in memory in `order`."""
    back = np.argsort(order)
    return np.ascontiguousarray(x.transpose(order)).transpose(back)


# --- the functions of npool.layout ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "strides", "order"),
    [
        ((), (), ()),
        ((5,), (8,), (0,)),
        ((2, 3, 4), (48, 16, 4), (0, 1, 2)),
        ((2, 3, 4), (4, 8, 24), (2, 1, 0)),
        ((2, 3, 4), (4, 32, 8), (1, 2, 0)),
        ((2, 3, 4), (-48, -16, -4), (0, 1, 2)),
        ((2, 3, 4), (-4, 8, -24), (2, 1, 0)),
        ((2, 3, 4), (0, 16, 4), (0, 1, 2)),
        ((2, 3, 4), (16, 4, 0), (2, 0, 1)),  # broadcast axes come first
        ((2, 3, 4), (0, 0, 0), (0, 1, 2)),
        ((2, 3), (8, 8), (0, 1)),  # equal strides: C order
        ((1, 3, 4), (4, 16, 4), (0, 1, 2)),  # the stride of a single element says nothing
        ((3, 1, 4), (16, 999, 4), (0, 1, 2)),
        ((3, 4, 1), (16, 4, 999), (0, 1, 2)),
        ((4, 1, 3), (4, 999, 16), (2, 0, 1)),
        ((1, 1), (4, 4), (0, 1)),
    ],
)
def test_memory_order_by_hand(shape, strides, order):
    assert memory_order(shape, strides) == order


@pytest.mark.parametrize("order", ORDERS)
def test_memory_order_of_dense_arrays(order):
    x = in_order(numbers(SHAPE), order)
    assert memory_order(x.shape, x.strides) == order
    like = empty_like_order((4, 3, 2, 9), order, np.dtype("u1"))
    assert like.shape == (4, 3, 2, 9)
    assert memory_order(like.shape, like.strides) == order
    assert like.transpose(order).flags.c_contiguous


def unaligned(x):
    """A copy of `x` that starts one byte past an element's boundary."""
    raw = np.empty(x.nbytes + 1, np.uint8)
    y = raw[1:].view(x.dtype).reshape(x.shape)
    y[...] = x
    assert x.itemsize == 1 or not y.flags.aligned
    return y


def packed(x):
    """A field of a packed structure: its strides are no multiples of its size."""
    y = np.empty(x.shape, [("pad", "u1"), ("x", x.dtype)])["x"]
    y[...] = x
    return y


def test_what_is_readable_is_not_copied():
    x = numbers((4, 6))
    for y in (x, x.T, x[::2, ::-3], np.broadcast_to(x[0], (3, 6)), x[:0], np.zeros((), "f4")):
        assert readable(y) is y


@pytest.mark.parametrize("change", [unaligned, packed, lambda x: x.astype(">f4")])
def test_what_is_not_readable_is_converted(change):
    x = change(in_order(numbers((4, 6)), (1, 0)))
    y = readable(x)
    assert y.dtype == np.dtype("=f4")
    assert y.dtype.isnative
    assert y.flags.aligned
    assert all(s % 4 == 0 for s in y.strides)
    assert np.array_equal(x, y)


# --- the memory order of results -----------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
def test_results_keep_the_memory_order(order):
    x = in_order(numbers(SHAPE), order)
    plain = numbers(SHAPE)
    for axes in ((2, 3), (1, 2), (0,), (1, 3), (0, 1, 2, 3)):
        wanted = npool.max_pool(plain, 2, 1, axes=axes)
        got = npool.max_pool(x, 2, 1, axes=axes)
        assert np.array_equal(got, wanted)
        assert memory_order(got.shape, got.strides) == memory_order(
            got.shape, empty_like_order(got.shape, order, got.dtype).strides
        )
        assert got.transpose(order).flags.c_contiguous
        values, places = npool.max_pool(x, 2, 1, axes=axes, return_indices=True)
        assert np.array_equal(values, wanted)
        assert np.array_equal(
            places, npool.max_pool(plain, 2, 1, axes=axes, return_indices=True)[1]
        )
        assert values.transpose(order).flags.c_contiguous
        assert places.transpose(order).flags.c_contiguous


def test_channels_last_stays_channels_last():
    x = numbers((2, 9, 8, 3)).transpose(0, 3, 1, 2)
    y = npool.avg_pool(x, (3, 3), 2, 1)
    assert y.shape == (2, 3, 5, 4)
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous


def test_an_empty_result_keeps_shape_and_type():
    y = npool.sum_pool(np.zeros((0, 4, 6), np.int8), (2, 3))
    assert (y.shape, y.dtype) == ((0, 2, 2), np.int64)
    values, places = npool.max_pool(np.zeros((3, 0, 6), "f4"), (2,), return_indices=True)
    assert (values.shape, places.shape, places.dtype) == ((3, 0, 3), (3, 0, 3), np.int64)


# --- inputs of any strides -----------------------------------------------------------------------


def spread(x, steps, back):
    """A view equal to `x`: every `steps`-th element of a larger array, reversed where `back`."""
    shape = [n * abs(s) for n, s in zip(x.shape, steps, strict=True)]
    cut = tuple(
        slice(None, None, -s) if b else slice(None, None, s)
        for s, b in zip(steps, back, strict=True)
    )
    large = np.full(shape, 77, x.dtype)
    view = large[cut]
    view[...] = x
    return view


LAYOUTS = {
    "C": lambda x: x.copy(),
    "F": np.asfortranarray,
    "channels last": lambda x: in_order(x, (0, 2, 3, 1)),
    "steps": lambda x: spread(x, (1, 2, 3, 2), (0, 0, 0, 0)),
    "row of steps": lambda x: spread(x, (1, 1, 1, 3), (0, 0, 0, 0)),
    "rows of steps": lambda x: spread(x, (1, 1, 3, 1), (0, 0, 0, 0)),
    "reversed": lambda x: spread(x, (1, 1, 1, 1), (1, 1, 1, 1)),
    "row reversed": lambda x: spread(x, (1, 1, 1, 1), (0, 0, 0, 1)),
    "some reversed": lambda x: spread(x, (2, 1, 2, 1), (1, 0, 1, 0)),
    "transposed steps": lambda x: spread(x.T, (2, 1, 3, 1), (0, 1, 0, 1)).T,
    "unaligned": unaligned,
    "packed": packed,
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "big-endian steps": lambda x: spread(x, (1, 1, 2, 2), (0, 1, 0, 1)).astype(
        x.dtype.newbyteorder(">")
    ),
}
CALLS = {
    "max": lambda x: npool.max_pool(x, (2, 3), (1, 2), ((1, 0), (0, 2)), return_indices=True),
    "avg": lambda x: npool.avg_pool(x, (3, 2), 2, 1, count_include_pad=False),
    "sum of channels": lambda x: npool.sum_pool(x, 2, 1, axes=(1, 2)),
    "range of all": lambda x: npool.pool(x, (2, 2, 3, 2), reduce="range"),
    "one window": lambda x: npool.sum_pool(x, x.shape),
}


# Elements of 1, 2, 4 and 8 bytes are gathered by loops of their own.
@pytest.mark.parametrize(
    ("call", "dtype"),
    [*((call, "float32") for call in CALLS), *(("max", d) for d in ("uint8", "int16", "float64"))],
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_gives_the_same_and_is_only_read(layout, call, dtype):
    plain = numbers(SHAPE, dtype)
    wanted = CALLS[call](plain)
    x = LAYOUTS[layout](plain)
    assert np.array_equal(x, plain)
    base = x if x.base is None else x.base
    before = base.tobytes()
    x.flags.writeable = False
    got = CALLS[call](x)
    for a, b in zip(
        got if call == "max" else [got], wanted if call == "max" else [wanted], strict=True
    ):
        assert np.array_equal(a, b)
        assert a.dtype == b.dtype
        assert a.dtype.isnative
    assert base.tobytes() == before


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2), (1, 2)])
def test_broadcast_axes(axes):
    x = np.broadcast_to(numbers((6, 1)), (4, 6, 5))
    wanted = npool.sum_pool(x.copy(), 3, 2, 1, axes=axes)
    assert np.array_equal(npool.sum_pool(x, 3, 2, 1, axes=axes), wanted)
    everywhere = np.broadcast_to(np.float64(3), (4, 6, 5))
    assert (npool.sum_pool(everywhere, 2, axes=axes) == 3 * 2 ** len(axes)).all()


def test_memory_maps(tmp_path):
    x = numbers((4, 9))
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    y = npool.max_pool(mapped, (2, 2))
    assert type(y) is np.ndarray
    assert np.array_equal(y, npool.max_pool(x, (2, 2)))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1)])
def test_dense_arrays_are_not_copied(order):
    x = in_order(np.zeros((40, 400, 120), np.float32), order)
    npool.max_pool(x, 4, axes=(0, 1))  # which compiles what it needs
    tracemalloc.start()
    try:
        y = npool.max_pool(x, 4, axes=(0, 1))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < y.nbytes + x.nbytes // 10


def test_strided_arrays_are_read_piece_by_piece():
    # 32 GiB, were it copied
    x = np.broadcast_to(np.arange(65536, dtype=np.float64), (65536, 65536))
    y = npool.max_pool(x, (2, 2), 8192)
    assert np.array_equal(y, np.tile(np.arange(8) * 8192 + 1.0, (8, 1)))


# --- out -----------------------------------------------------------------------------------------


def outs(shape, dtype):
    """Arrays of every kind that `out` may be."""
    yield "C", np.zeros(shape, dtype)
    yield "F", np.zeros(shape, dtype, order="F")
    yield "middle", np.zeros((shape[0] + 2, shape[1] + 3), dtype)[1:-1, 1:-2]
    yield "steps", np.zeros((2 * shape[0], 3 * shape[1]), dtype)[::2, ::3]
    yield "reversed", np.zeros(shape, dtype)[::-1, ::-1]
    yield "transposed steps", np.zeros((2 * shape[1], shape[0]), dtype)[::-2].T
    yield "unaligned", unaligned(np.zeros(shape, dtype))
    yield "packed", packed(np.zeros(shape, dtype))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_out_of_any_strides(order):
    x = in_order(numbers((7, 12)), order)
    wanted = npool.max_pool(x, (2, 3), 1, 1)
    _, places = npool.max_pool(x, (2, 3), 1, 1, return_indices=True)
    kinds = 0
    marker = np.frombuffer(b"\7\7\7\7", np.float32)[0]
    for name, out in outs(wanted.shape, np.float32):
        base = out if out.base is None else out.base
        base.ravel(order="K").view(np.uint8).fill(7)
        assert npool.max_pool(x, (2, 3), 1, 1, out=out) is out, name
        assert np.array_equal(out, wanted), name
        out[...] = marker
        assert (base.ravel(order="K").view(np.uint8) == 7).all(), f"{name}: written to beside out"
        kinds += 1
    assert kinds == 8
    for (name, values), (_, spots) in itertools.product(
        outs(wanted.shape, np.float32), outs(wanted.shape, np.int64)
    ):
        got = npool.max_pool(x, (2, 3), 1, 1, return_indices=True, out=(values, spots))
        assert got[0] is values, name
        assert got[1] is spots, name
        assert np.array_equal(values, wanted), name
        assert np.array_equal(spots, places), name


@pytest.mark.parametrize(
    ("shape", "kernel", "axes"),
    [
        ((2, 30, 3), 30, (1,)),  # one result in the row, with channels behind it
        ((2, 30, 3), 10, (1,)),
        ((4, 6, 5, 3), (6, 5), (1, 2)),
        ((4, 6, 5, 3), (2, 5), (1, 2)),
        ((30, 3), 30, (0,)),
        ((2, 30), 30, (1,)),
        ((3, 4, 5), (3, 4, 5), (0, 1, 2)),
        ((6, 3, 4), (3, 3), (0, 1)),
    ],
)
@pytest.mark.parametrize("step", [2, -1, -3])
def test_strided_out_of_few_results(shape, kernel, axes, step):
    x = numbers(shape)
    wanted = npool.max_pool(x, kernel, axes=axes)
    for steps in itertools.product((1, step), repeat=len(shape)):
        base = np.full([n * abs(s) for n, s in zip(wanted.shape, steps, strict=True)], 7, "f4")
        out = base[tuple(slice(None, None, s) for s in steps)]
        npool.max_pool(x, kernel, axes=axes, out=out)
        assert np.array_equal(out, wanted), steps
        out[...] = 7
        assert (base == 7).all(), f"{steps}: written to beside out"


def test_one_of_a_pair_of_outs():
    x = numbers((6, 8))
    wanted = npool.max_pool(x, (2, 2), return_indices=True)
    values, places = np.zeros((3, 4), "f4"), np.zeros((3, 4), np.int64)
    for out in ((values, None), (None, places), (None, None), [values, places], (values,), values):
        values[...] = places[...] = 0
        got = npool.max_pool(x, (2, 2), return_indices=True, out=out)
        assert np.array_equal(got[0], wanted[0])
        assert np.array_equal(got[1], wanted[1])
        given = out if isinstance(out, (tuple, list)) else (out,)
        assert (got[0] is values) == any(a is values for a in given)
        assert (got[1] is places) == any(a is places for a in given)


@pytest.mark.parametrize("strides", [(0, 4), (4, 0), (0, 0)], ids=["rows", "columns", "everywhere"])
def test_out_with_a_stride_of_zero_is_refused(strides):
    out = np.lib.stride_tricks.as_strided(np.zeros(64, "f4"), (3, 4), strides)
    with pytest.raises(ValueError, match="stride of 0"):
        npool.max_pool(numbers((6, 8)), (2, 2), out=out)
    assert not out.any()


def test_an_axis_of_one_element_may_have_any_stride():
    out = np.lib.stride_tricks.as_strided(np.zeros(64, "f4"), (1, 4), (0, 4))
    x = numbers((2, 8))
    assert np.array_equal(npool.max_pool(x, (2, 2), out=out), npool.max_pool(x, (2, 2)))


def test_out_whose_elements_overlap_one_another_is_filled_as_numpy_would():
    x = numbers((6, 8))
    out = np.lib.stride_tricks.as_strided(np.zeros(64, "f4"), (3, 4), (8, 4))
    like = np.lib.stride_tricks.as_strided(np.zeros(64, "f4"), (3, 4), (8, 4))
    like[...] = npool.max_pool(x, (2, 2))
    npool.max_pool(x, (2, 2), out=out)
    assert np.array_equal(out, like)


# --- out that overlaps the input -----------------------------------------------------------------


def overlaps():
    """(x, out) of one buffer of float32, for a pool of 3 by 3 at stride 1 with padding 1."""
    n = 9
    for shift in (0, 1, 8, 9, 10, 40, 80):
        buffer = numbers((2 * n * n + 200,))
        first, second = buffer[: n * n], buffer[shift : shift + n * n]
        yield f"x, then out by {shift}", buffer, first.reshape(n, n), second.reshape(n, n)
        yield f"out, then x by {shift}", buffer, second.reshape(n, n), first.reshape(n, n)
        yield f"transposed by {shift}", buffer, first.reshape(n, n), second.reshape(n, n).T
        yield f"reversed by {shift}", buffer, first.reshape(n, n), second.reshape(n, n)[::-1, ::-1]
    buffer = numbers((n, 2 * n))
    yield "interleaved columns", buffer, buffer[:, ::2], buffer[:, 1::2]
    yield "the same columns", buffer, buffer[:, ::2], buffer[:, ::2]
    buffer = numbers((2 * n, n))
    yield "interleaved rows", buffer, buffer[::2], buffer[1::2]


@pytest.mark.parametrize("op", ["max", "sum"])
def test_out_may_overlap_the_input_in_any_way(op):
    pool = {"max": npool.max_pool, "sum": npool.sum_pool}[op]
    seen = 0
    for name, buffer, x, out in overlaps():
        spare = buffer.copy()
        wanted = pool(x.copy(), (3, 3), 1, 1)
        expected = spare.copy()
        offset = (out.ctypes.data - buffer.ctypes.data) // 4
        flat = expected.reshape(-1)
        at = offset + np.add.outer(
            np.arange(9) * (out.strides[0] // 4), np.arange(9) * (out.strides[1] // 4)
        )
        flat[at] = wanted
        got = pool(x, (3, 3), 1, 1, out=out)
        assert got is out, name
        assert np.array_equal(buffer, expected), name
        seen += 1
    assert seen == 31


def test_indices_may_overlap_the_input():
    buffer = np.zeros(64, np.int64)
    buffer[:36] = np.arange(36) * 17 % 41
    x, places = buffer[:36].reshape(6, 6), buffer[3:39].reshape(6, 6)
    wanted = npool.max_pool(x.copy(), (3, 3), 1, 1, return_indices=True)
    values = np.zeros((6, 6), np.int64)
    npool.max_pool(x, (3, 3), 1, 1, return_indices=True, out=(values, places))
    assert np.array_equal(values, wanted[0])
    assert np.array_equal(places, wanted[1])


def test_out_may_be_the_input_reversed_in_place():
    x = numbers((50,))
    wanted = npool.max_pool(x[::-1].copy(), (2,), 1, ((1, 0),))
    npool.max_pool(x[::-1], (2,), 1, ((1, 0),), out=x)
    assert np.array_equal(x, wanted)


def test_the_pair_may_not_share_memory():
    both = np.zeros((3, 4), np.int64)
    with pytest.raises(ValueError, match="share memory"):
        npool.max_pool(
            numbers((6, 8), np.int64), (2, 2), return_indices=True, out=(both, both[::-1])
        )
    assert not both.any()
