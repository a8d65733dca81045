"""Rules of semantics.md section 2 on results of a given size: adaptive pooling."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from .exact import FLOATS, available
from .implementations import Implementation
from .judging import agree
from .problems import Problem
from .rules import PLAIN, Source, rule
from .strategies_sizes import size_problems


def _drawn(ops: tuple[str, ...], data: tuple[str, ...], **options: Any) -> Source:
    """Problems of those operations and numbers of axes that an implementation has."""

    def source(implementation: Implementation) -> st.SearchStrategy[Problem] | None:
        known = available(PLAIN)
        dtypes = {
            op: tuple(
                d
                for d in implementation.ops.get(op, ())
                # What integers become is the matter of other rules.
                if d in known and (op in ("max", "min") or d in FLOATS)
            )
            for op in ops
        }
        dtypes = {op: names for op, names in dtypes.items() if names}
        pooled = tuple(n for n in (1, 2, 3) if n in implementation.pooled)
        batch = tuple(n for n in (0, 1, 2) if n in implementation.batch)
        if not (dtypes and pooled and batch):
            return None
        return size_problems(
            ops=tuple(dtypes), dtypes=dtypes, data=data, pooled=pooled, batch=batch,
            layouts=("C",), options=options, named_axes="axes" in implementation.parameters,
            long=False,
        )  # fmt: skip

    return source


_CUT = Problem("max", (1, 5), (3, 1, 2, 9, 4), output_size=(3,))


@rule(
    ("max", "min", "avg", "sum"),
    needs=("adaptive",),
    source=_drawn(("max", "min", "avg", "sum"), ("integers",)),
    examples=(_CUT,),
)
def bins_hold_all_that_they_touch(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 2: bin i of an adaptive pooling spans floor(i·n/o) to ceil((i+1)·n/o)."""
    agree(implementation, problem)


@rule(
    ("max",),
    needs=("adaptive", "return_indices"),
    source=_drawn(("max",), ("ties", "nan"), return_indices=st.just(True)),
    examples=(_CUT.with_options(return_indices=True),),
)
def bins_have_positions(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 2: adaptive maxima have the positions of all maxima: per plane, first tie."""
    agree(implementation, problem)
