"""Every reducer is known everywhere: to the table of operations, to the tests, to the docs.

`npool.REDUCERS` (npool/reducers.py) and `npool.testing.OPERATIONS` (npool/testing/operations.py)
are the two places that a reducer is written in. CONTRIBUTING.md, 'Add a reducer', has the steps.
"""

import sys
from pathlib import Path

import numpy as np
import pytest

import npool
from npool import testing

ROOT = Path(__file__).resolve().parent.parent
NAMES = sorted({*npool.REDUCERS, *testing.OPERATIONS})


@pytest.fixture(scope="module")
def tables():
    sys.path.insert(0, str(ROOT / "docs" / "generate"))
    try:
        import tables

        yield tables
    finally:
        sys.path.pop(0)


@pytest.mark.parametrize("name", NAMES)
def test_every_reducer_has_an_entry_and_a_row(name):
    assert name in npool.REDUCERS, (
        f"the reducer {name!r} has a row in OPERATIONS (npool/testing/operations.py) but no entry "
        "in REDUCERS (npool/reducers.py): add the entry"
    )
    assert name in testing.OPERATIONS, (
        f"the reducer {name!r} has an entry in REDUCERS (npool/reducers.py) but no row in "
        "OPERATIONS (npool/testing/operations.py): add the row, or nothing tests it"
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_reducer_says_what_it_is(name):
    reducer = npool.REDUCERS[name]
    assert reducer.name == name
    assert reducer.summary, f"the entry of {name!r} has no summary=, which the docs' table shows"
    assert testing.OPERATIONS[name].name == name


@pytest.mark.parametrize("name", NAMES)
def test_every_reducer_has_the_type_of_its_row(name):
    row = testing.OPERATIONS[name]
    for dtype in row.dtypes:
        if dtype == "bfloat16":
            continue
        # Nothing is computed of an empty batch, but the type of it is known.
        found = npool.pool(np.zeros((0, 2), dtype), (2,), reduce=name).dtype
        assert found == row.result(np.dtype(dtype)), f"{name} of {dtype}"


def test_the_docs_table_has_every_reducer(tables):
    table = tables.reducers()
    for name, reducer in npool.REDUCERS.items():
        (line,) = [line for line in table.splitlines() if line.startswith(f"| `{name}` |")]
        assert reducer.summary.replace("|", r"\|") in line


def test_the_reducers_page_holds_the_table(tables):
    page = (ROOT / "docs" / "reducers.md").read_text(encoding="utf-8")
    assert tables.reducers() in tables.filled(page)
    assert "<!-- table" not in tables.filled(page)
