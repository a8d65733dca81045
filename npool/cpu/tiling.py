"""How large tiles are: what stays in which cache, and where to cut."""

from __future__ import annotations

from math import prod
from pathlib import Path

from npool.cpu.dimensions import FLAT, FUSED, PLAIN, ROWS, SLID_TAPS, Dim, in_order

__all__ = [
    "CHUNK",
    "LARGEST_CACHE",
    "TALL",
    "fit_planes",
    "fit_slides",
    "fit_strips",
    "fit_tiles",
    "fit_van_herk",
    "fit_wholes",
    "fit_wide",
    "is_direct",
    "is_small",
    "line_bytes",
    "long_name",
    "scratch_size",
    "slid_ahead",
    "slide_name",
    "tall_name",
    "tall_pitch",
    "tall_rows",
]  # fmt: skip

#: Rows folded before a partial result is set apart.
CHUNK = 32
#: Scratch of a tile: what stays in L1, and in half of L2 where tiles overlap.
SMALL_TILE, LARGE_TILE = 1 << 15, 1 << 18
#: Bytes of scratch of a strip, of its row at most, and of all the rows that a task takes.
STRIP_BYTES, ROW_BYTES, TASK_BYTES = 1 << 11, 9 << 10, 1 << 18
#: Where windows slide in registers: rows of a window at most, bytes of a row at a time, of a task,
#: and how far ahead is prefetched.
SLID_ROWS, SLID_BYTES, SLID_TASK, SLID_AHEAD = 9, 1 << 16, 1 << 19, 1 << 12
#: Planes of rows of at most so many elements are folded flat, as many as take so many bytes.
PLANE_ROW, PLANE_BYTES = 64, 1 << 13
#: Where windows are tall: bytes of a row, at least (shorter rows cost more as blocks than in one
#: flat pass: 0.6 to 0.8 of the speed below this), of the rows that are folded along themselves
#: together, and of all suffixes; rows of results a task; and taps of a sum, whose error grows.
TALL_ROW, TALL_RING, TALL_BYTES, TALL_TILE, TALL_SUM = 1 << 9, 3 << 18, 1 << 22, 512, 1024
#: Rows of results that are made of tall windows together.
TALL = 8
#: Bytes of a window of `npool.cpu.wide`, at most.
WIDE_BYTES = 1 << 18
#: Past this a tile shrinks even where its windows overlap more than they advance.
HUGE_TILE = 1 << 22
#: The most that a tile may take at all, in bytes.
MOST_SCRATCH = 1 << 25


def _largest_cache() -> int:
    """Bytes of the last cache before memory."""
    sizes = [1 << 23]
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        try:
            sizes.append(int(path.read_text().strip().rstrip("K")) << 10)
        except (OSError, ValueError):
            continue
    return max(sizes)


#: Where input and result take more, results are written past the caches.
LARGEST_CACHE = _largest_cache()


def scratch_size(dims: list[Dim], inner: int, segment: int) -> int:
    """Elements of a tile in scratch."""
    return prod(dim.extent(dim.tile, segment) for dim in dims) * inner


def fit_planes(dims: list[Dim], width: int, lanes: int) -> bool:
    """Tile `dims` for `npool.cpu.planes`, if it can serve them, and as well as `slid` would."""
    if dims[0].pooled:
        dims = [Dim(1, 1), *dims]
    size, most = 1, 0
    for dim in reversed(dims[1:]):
        most = max(most, dim.before * size, (dim.span - 1 - dim.before) * size)
        if not (
            dim.pooled and dim.stride == 1 and dim.out == dim.length and 1 < dim.kernel <= 8
            and dim.in_stride == dim.out_stride == size and len(dim.runs) <= 1
            and dim.before >= 0
        ):  # fmt: skip
            return False
        size *= dim.length
    first = dims[0]
    if (
        len(dims) == 1
        or dims[-1].length > PLANE_ROW
        or (lanes and dims[-1].length >= 3 * lanes)
        or (first.length > 1 and not first.in_stride == first.out_stride == size)
        or max(size, most) * width > 4 * PLANE_BYTES
    ):
        return False
    first.tile = min(first.out, max(1, PLANE_BYTES // (size * width)))
    return True


def fit_wide(dims: list[Dim], lanes: int, width: int, idempotent: bool) -> int:
    """Elements of the windows that `npool.cpu.wide` puts others together of; 0: it cannot."""
    row = dims[-1]
    outer = dims[0] if len(dims) == 2 else Dim(1, 1)
    # Of maxima 128 elements were slower than 64, of sums faster: 0.96 and 1.16 of the speed.
    most = min(4 * lanes, 64) if idempotent else min(8 * lanes, 128)
    if (
        len(dims) > 2
        or outer.pooled
        or not row.pooled
        or row.stride != 1
        or row.dilation != 1
        or row.out_stride != 1
        or len(row.runs) > 1
        or row.kernel <= most
        or row.kernel * width > WIDE_BYTES
        or row.out < row.kernel
        or not most
    ):
        return 0
    # As few elements as possible to be left, each a fold more.
    parts = range(most, most if idempotent else most // 2, -1)
    return min(parts, key=lambda part: row.kernel % part, default=most)


def fit_wholes(dims: list[Dim]) -> bool:
    """Whether `npool.cpu.wholes` can serve `dims`."""
    row = dims[-1]
    outer = dims[0] if len(dims) == 2 else Dim(1, 1)
    return (
        len(dims) <= 2
        and not outer.pooled
        and row.pooled
        and row.dilation == 1
        and row.before == 0
        and 16 <= row.kernel <= 1024
        and row.overlap < 2
        and len(row.runs) <= 1
        and (row.out - 1) * row.stride + row.kernel <= row.length
        and (row.out == 1 or row.out >= 8)
    )


def tall_rows(kernel: int) -> int:
    """Rows of scratch of `npool.cpu.van_herk`: a ring, blocks, a prefix and rows folded ahead."""
    middle = (kernel - 1) // TALL - 1
    return (middle + 3) * TALL + middle + 2


def tall_name(kernel: int) -> str:
    """The loop of `npool.cpu.lanes.tall` for windows of `kernel` rows."""
    return f"{(kernel - 1) % TALL}_{int(kernel > 2 * TALL)}_tall"


def tall_pitch(row_length: int, first_bytes: int) -> int:
    """How far apart rows of scratch lie: whole lines of the cache, an odd number of them."""
    lines = -(-row_length * first_bytes // 64)
    return (lines | 1) * 64 // first_bytes


def fit_van_herk(dims: list[Dim], inner: int, width: int, idempotent: bool) -> bool:
    """Tile `dims` for `npool.cpu.van_herk`, if it can serve them, tiled for strips before."""
    row, column = dims[-1], dims[-2]
    if (
        column.mode != FLAT
        or column.stride != 1
        or column.dilation != 1
        or column.kernel <= TALL
        or row.extent(row.tile, 0) * inner * width < TALL_ROW
        or (column.kernel > TALL_SUM and not idempotent)
        or any(dim.mode == FUSED and dim.kernel > 1 for dim in dims[:-2])
        or tall_rows(column.kernel) * row.extent(row.tile, 0) * inner * width > TALL_BYTES
    ):
        return False
    row.tile, rows = row.out, tall_rows(column.kernel)
    while row.extent(row.tile, 0) * inner * width * rows > TALL_RING and (
        row.tile * row.stride > 4 * row.halo
    ):
        row.tile = -(-row.tile // 2)
    # Rows that tiles share are fetched for each: as few tiles as leave something to each thread,
    # fewer still where that is a quarter of all; of equal heights.
    tiles = max(4, min(8, column.out // (8 * column.kernel)))
    height = -(-column.out // tiles // TALL) * TALL
    column.tile = min(column.out, max(TALL_TILE // 4, min(TALL_TILE, height)))
    return True


def fit_slides(dims: list[Dim], inner: int, lanes: int, itemsize: int) -> bool:
    """Tile `dims` for `npool.cpu.lanes.slid`, if windows can slide along the row in registers."""
    row, column = dims[-1], dims[-2]
    if (
        not lanes
        or inner > lanes
        or column.mode == FLAT
        or prod(dim.kernel for dim in dims[:-1] if dim.mode == FUSED) > SLID_ROWS
        or row.out_stride != inner
        or row.mode not in (PLAIN, FLAT)
        or (row.mode == FLAT and (row.kernel > SLID_TAPS or row.stride > 4))
        or (row.mode == FLAT and (row.span - 1) // row.stride > lanes // inner)
    ):
        return False
    row.tile = min(row.out, max(1, SLID_BYTES // (row.stride * itemsize * inner)))
    row_bytes = row.extent(row.tile, 0) * column.stride * itemsize * inner
    column.tile = min(column.out, max(1, SLID_TASK // row_bytes))
    return True


def slide_name(dims: list[Dim], inner: int, placed: bool) -> str:
    """The loop of `npool.cpu.lanes.slid` for dimensions that it serves."""
    row, column = dims[-1], dims[-2]
    # Rows are numbered as `npool.cpu.pooled` does, the column's within those of the axes before.
    outer = [True]
    for dim in reversed(dims[:-2]):
        if dim.mode == FUSED:
            outer = [
                one and t >= dim.kernel - dim.stride for t in range(dim.kernel) for one in outer
            ]
    columns = column.kernel if column.mode == FUSED else 1
    fresh = [one and t >= columns - column.stride for one in outer for t in range(columns)]
    paired = not placed and columns > 1 == len(outer) and column.stride == column.dilation == 1
    taps, stride, dilation = (
        (row.kernel, row.stride, row.dilation if row.kernel > 1 else 1) if row.pooled else (1, 1, 1)
    )
    bits = sum(one << k for k, one in enumerate(fresh))
    backwards = row.in_stride < 0 and row.length > 1
    order = "ordered_" if placed and in_order(dims) else ""
    flags = f"{bits}_{int(paired)}_{int(backwards)}_{inner}"
    return f"{order}{len(fresh)}_{taps}_{stride}_{dilation}_{flags}_slid"


def slid_ahead(column: Dim, itemsize: int, loop: str) -> int:
    """How many bytes behind what is read the loop of that name prefetches."""
    # What the same rows of windows some rows on see, so that all of it is asked for once; along
    # rows that are long.
    paired, backwards = (flag == "1" for flag in loop.split("_")[-4:-2])
    step = column.stride * abs(column.in_stride) * itemsize * (2 if paired else 1)
    ahead = SLID_AHEAD
    if 0 < step <= SLID_BYTES // 2:
        ahead = step * -(-SLID_AHEAD // step)
    return -ahead if backwards else ahead


def long_name(row: Dim, lanes: int) -> str:
    """The loop of `npool.cpu.lanes.long` that folds rows of scratch along themselves, or none."""
    fits = (
        lanes > 0
        and row.mode in (PLAIN, FLAT)
        and row.stride == row.dilation == row.out_stride == 1
        and row.kernel <= 4 * lanes
        and len(row.runs) <= 1
    )
    return f"{row.kernel}_long" if fits else ""


def is_small(dims: list[Dim], inner: int) -> bool:
    """Whether windows are small enough for `npool.cpu.pooled`: eight rows, eight taps of a row."""
    row, column = dims[-1], dims[-2]
    return (
        column.mode != FLAT
        and prod(dim.kernel for dim in dims[:-1] if dim.mode == FUSED) <= 8
        and (row.mode == PLAIN or (row.kernel <= 8 and (row.stride <= 4 or inner > 1)))
    )


def is_direct(dims: list[Dim], ways: int) -> bool:
    """Whether rows can be folded where they lie: one tap a row, no padding, one pass."""
    row = dims[-1]
    return (
        row.mode == FLAT
        and row.kernel <= 8
        and (not ways or row.span % ways == 0)
        and all(map(_inside, dims))
        and all(dim.mode in (PLAIN, FUSED) and dim.kernel == 1 for dim in dims[:-1])
    )


def _inside(dim: Dim) -> bool:
    """Whether all windows lie inside the input."""
    return dim.before == 0 and (dim.out - 1) * dim.stride + dim.span <= dim.length


def fit_tiles(dims: list[Dim], inner: int, segment: int, width: int) -> None:
    """Choose tiles for `npool.cpu.tiles`; the order of the dimensions may change."""
    row = dims[-1]
    # An axis folded to one result while fetching may lie anywhere: rows are taken in blocks
    # along the last dimension, which had better be a long one.
    outer = sorted(dims[:-1], key=lambda dim: dim.mode != FUSED or dim.out != 1)
    dims[:-1] = outer
    while True:
        _choose_tiles(dims, inner, segment, width)
        row = dims[-1]
        # Windows so wide along several axes that no tile holds their padding: fold the widest
        # while fetching, tap by tap.
        wide = [dim for dim in dims if dim.mode in (ROWS, FLAT)]
        widest = max(wide, key=lambda dim: dim.span / dim.length, default=row)
        most = HUGE_TILE if widest.span > 2 * widest.length else MOST_SCRATCH
        if not wide or scratch_size(dims, inner, segment) * width <= most:
            break
        widest.mode = FUSED
        if widest is row:
            dims.append(Dim(1, 1, in_stride=1, out_stride=1))


def _choose_tiles(dims: list[Dim], inner: int, segment: int, width: int) -> None:
    """Halve the tile where that costs least until it fits its cache."""
    for dim in dims:
        dim.tile = dim.out
    budget = (
        LARGE_TILE if any(d.halo >= 4 for d in dims[:-1]) or dims[-1].halo >= 64 else SMALL_TILE
    )

    def size() -> int:
        return scratch_size(dims, inner, segment) * width

    while size() > budget:
        best, best_ratio = None, 0.0
        for i, dim in enumerate(dims):
            if dim.tile == 1:
                continue
            advance = dim.tile * dim.stride
            if advance < dim.halo and size() <= HUGE_TILE:
                continue
            # What a cut costs is the halo read twice. Long rows stream best: they count less.
            ratio = advance / dim.halo if dim.halo else float("inf")
            if i == len(dims) - 1:
                ratio = ratio / 16 if dim.halo else 1e9
            if ratio > best_ratio:
                best, best_ratio = dim, ratio
        if best is None:
            break
        best.tile = -(-best.tile // 2)


def line_bytes(dims: list[Dim], inner: int, block: int, itemsize: int) -> int:
    """Bytes of the strided rows that a strip of `block` rows sees, side by side."""
    row, column, outer = dims[-1], dims[-2], dims[:-2]
    height = (block - 1) * column.stride + column.span
    taps = prod(dim.kernel for dim in outer if dim.mode == FUSED)
    # A row that will be split, in up to four, is made a multiple of so many positions.
    length = min(row.length, row.extent(row.tile, 0) + 3)
    return taps * height * length * inner * itemsize


def fit_strips(dims: list[Dim], inner: int, width: int, strided: int) -> int:
    """Tile `dims` for `npool.cpu.strips`: rows a strip, or 0 if it cannot serve them.

    `strided` is the bytes of an element where rows are strided and gathered first, else 0.
    """
    row = dims[-1]
    if len(dims) == 1:
        dims.insert(0, Dim(1, 1))
    column, outer = dims[-2], dims[:-2]
    taps = prod(dim.kernel for dim in dims[:-1] if dim.mode == FUSED)
    if (
        row.mode not in (PLAIN, FLAT)
        or column.mode not in (PLAIN, FUSED, FLAT)
        or any(dim.mode not in (PLAIN, FUSED) for dim in outer)
        or taps > CHUNK
        or any(dim.is_far_wider for dim in dims)
        or (strided and column.mode == FLAT)
    ):
        if column.length == column.out == 1 and len(dims) == 2:
            del dims[0]
        return 0
    for dim in dims:
        dim.tile = dim.out
    for dim in outer:
        dim.tile = 1
    row_bytes = inner * width
    # A row's scratch and its halves stay in L1.
    while row.extent(row.tile, 0) * row_bytes > ROW_BYTES and row.tile > 1:
        if row.tile * row.stride < 2 * row.halo:
            break
        row.tile = -(-row.tile // 2)
    row_bytes *= row.extent(row.tile, 0)
    if column.mode != FLAT:
        column.tile = min(column.out, max(1, TASK_BYTES // row_bytes))
        block = min(column.tile, max(1, STRIP_BYTES // row_bytes))
        if strided:
            # Rows that strips share are gathered for each: the more rows a strip, the fewer.
            while block < column.tile and line_bytes(dims, inner, 2 * block, strided) < SMALL_TILE:
                block *= 2
            block = min(block, column.tile)
            if line_bytes(dims, inner, block, strided) > LARGE_TILE:
                if column.length == column.out == 1 and len(dims) == 2:
                    del dims[0]
                return 0
        return block
    while column.extent(column.tile, 0) * row_bytes > LARGE_TILE and column.tile > 1:
        if column.tile * column.stride < 2 * column.halo and (
            column.extent(column.tile, 0) * row_bytes <= HUGE_TILE
        ):
            break
        column.tile = -(-column.tile // 2)
    return min(column.tile, max(1, 2 * STRIP_BYTES // row_bytes))
