"""The columns of the integer tables that the drivers read, by name."""

from __future__ import annotations

from npool.cpu.dimensions import FLAT, FUSED, PLAIN, ROWS, SEGMENT
from npool.cpu.tiling import CHUNK, TALL

__all__ = ["CHUNK", "COLUMNS", "CONSTANTS", "DIMS_WIDTH", "ENV", "HEAD", "SPANS", "THREAD_ROWS"]

COLUMNS = (
    "LENGTH", "OUT", "KERNEL", "STRIDE", "DILATION", "BEFORE", "IN_STRIDE", "OUT_STRIDE",
    "PLACE", "MODE", "TILE", "GRID", "RUNS", "RUNS_END",
)  # fmt: skip
HEAD = (
    "INNER", "IN_WITHIN", "OUT_WITHIN", "SEGMENT_LENGTH", "CAP", "ITEM_BYTES", "BUFFERS",
    "LINE_BYTES", "SIZE_COLS", "STRIDED", "COUNTED", "DIVISOR", "IDEMPOTENT", "SPLIT_ROW",
    "BLOCK", "REFILL", "ROUND", "DEPTH", "FIRST_BYTES", "AHEAD", "STREAM_BYTES", "DIRECT",
    "SOURCE_BYTES", "ROW_BUFFERS", "PLACE_BYTES", "PAIRED", "PLANE", "MASKS", "MASKS_EACH", "DRAWN",
    "PAST", "RESULT_BYTES", "PITCH",
)  # fmt: skip
#: Addresses: of the arrays and compiled loops of a call, and of a thread's scratch; what it is to
#: prefetch while it folds rows, and how many bytes those lie apart.
ENV = (
    "X", "VALUES", "POSITIONS", "PARAMS", "SOURCE_ROWS", "SCRATCH_ROWS", "FILL", "STORE", "SPLIT",
    "GATHER", "STOP", "MASKED", "WHOLE", "POOLED", "PICKS", "DIVIDED", "TALL_FOLD", "WIDE_FOLD",
    "LONG", "DIMS_AT", "HEAD_AT", "SPANS_AT", "A", "B", "C", "LINE", "COLS", "ROW_A", "ROW_B",
    "ROW_C", "SOON", "LEAP",
)  # fmt: skip
SPANS = ("STOPS", "DIVISORS", "BASE", "INSIDE")
#: What the driver notes of the tile at hand, by dimension: at most 8.
WORK = ("START", "SIZE", "EXTENT", "STEP", "INDEX", "TAP", "TAPS")

#: Rows of 8 entries of a thread's own: one more than dimensions in `work`, and nine `lists`.
THREAD_ROWS = 1 + 9 * CHUNK // 8
#: Entries of a row of `dims`.
DIMS_WIDTH = 16
#: What the templates know by name.
CONSTANTS: dict[str, int] = {
    **{name: i for i, name in enumerate(COLUMNS)},
    **{name: i for i, name in enumerate(HEAD)},
    **{name: i for i, name in enumerate(ENV)},
    **{name: i for i, name in enumerate(SPANS)},
    **{name: i for i, name in enumerate(WORK)},
    "ENV_SIZE": len(ENV),
    "WORK_SIZE": 8,
    "SPANS_WIDTH": len(SPANS),
    "THREAD_ROWS": THREAD_ROWS,
    "MANY": 16,
    "TALL": TALL,
    "CHUNK": CHUNK, "PLAIN": PLAIN, "FUSED": FUSED, "ROWS": ROWS, "FLAT": FLAT,
    "SEGMENT": SEGMENT,
}  # fmt: skip
