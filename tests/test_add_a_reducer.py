"""CONTRIBUTING.md's 'Add a reducer', followed to the letter in a copy of the repository.

The blocks with a title are what a contributor types: an entry, a row, and commands to look with.
Nothing else may be needed, and leaving one out must be noticed by name.
"""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
NAME = "count_nonzero"
BLOCK = re.compile(
    r'^```(?P<kind>\w+) title="(?P<title>[^"]+)"\n(?P<body>.*?)^```$', re.MULTILINE | re.DOTALL
)
ENTRY = "npool/reducers.py: REDUCERS"
ROW = "npool/testing/operations.py: OPERATIONS"
COMMANDS = "look"


def blocks():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = re.search(r"^## Add a reducer$(.*?)^## ", text, re.MULTILINE | re.DOTALL)[1]
    return {found["title"]: found["body"] for found in BLOCK.finditer(section)}


def added(source, table, text):
    """`source` with `text` as the last entry of the tuple that `table` is made of."""
    (value,) = [
        node.value
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and table in {getattr(target, "id", "") for target in _targets(node)}
    ]
    entries = next(node for node in ast.walk(value) if isinstance(node, ast.Tuple | ast.List))
    last = entries.elts[-1]
    lines = source.encode().splitlines(keepends=True)
    at = sum(map(len, lines[: last.end_lineno - 1])) + last.end_col_offset
    before, after = source.encode()[:at].decode(), source.encode()[at:].decode()
    after = after.removeprefix(",")
    return f"{before},\n{textwrap.indent(text.rstrip(), ' ' * last.col_offset)},{after}"


def _targets(node):
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def copied(folder, *steps):
    """A copy of the repository in which the steps of these titles were taken."""
    keep = ("npool", "tests", "docs", "CONTRIBUTING.md", "CHANGELOG.md", "README.md", "LICENSE",
            "pyproject.toml", "mkdocs.yml", "Makefile", "conftest.py")  # fmt: skip
    for name in keep:
        place = ROOT / name
        if place.is_dir():
            leftovers = shutil.ignore_patterns("__pycache__", ".hypothesis")
            shutil.copytree(place, folder / name, ignore=leftovers)
        elif place.is_file():
            shutil.copy(place, folder / name)
    for title in steps:
        name, table = title.split(": ")
        path = folder / name
        changed = added(path.read_text(encoding="utf-8"), table, blocks()[title])
        path.write_text(changed, encoding="utf-8")
    return folder


def run(folder, command):
    """A command line of the page, in the copy; what came out, and how it ended."""
    words = [sys.executable if word == "python" else word for word in shlex.split(command)]
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder),
        "NPOOL_CACHE_DIR": str(folder / ".cache"),
        # That the tests see the new reducer is the matter: the others are tested thoroughly, and
        # what they compile with LLVM's optimiser.
        "NPOOL_HYPOTHESIS": "brief",
        "NUMBA_OPT": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_ADDOPTS": "-p no:cacheprovider -rA --no-header",
        "COLUMNS": "200",
    }
    for name in [name for name in environment if name.startswith("PYTEST_XDIST")]:
        del environment[name]
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, check=False,
        timeout=1500,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_the_page_has_one_entry_one_row_and_commands():
    found = blocks()
    assert list(found) == [ENTRY, ROW, COMMANDS]
    for title, call in ((ENTRY, "Reducer"), (ROW, "Operation")):
        (statement,) = ast.parse(found[title]).body
        assert statement.value.func.id == call
        assert statement.value.args[0].value == NAME


def test_an_entry_goes_to_the_end_of_its_table():
    before = (
        "A = 1\nT: dict = {\n    r: r\n    for r in (\n        f('é', 1),\n        f(2)\n    )\n}\n"
    )
    after = added(before, "T", "g(\n    3,\n)\n")
    assert after == before.replace("f(2)\n", "f(2),\n        g(\n            3,\n        ),\n")
    assert added(before.replace("f(2)", "f(2),"), "T", "g(\n    3,\n)\n") == after


@pytest.mark.slow
def test_one_entry_and_one_row_and_everything_knows_it(tmp_path):
    folder = copied(tmp_path, ENTRY, ROW)
    said = {}
    for line in blocks()[COMMANDS].splitlines():
        status, said[line] = run(folder, line.removeprefix("$ "))
        assert status == 0, f"{line}\n{said[line]}"
    tests, _, pooled, usage, table = said.values()
    # The tests' tables have it: npool against the oracle, its types, the command line.
    for test in (
        "tests/test_property_oracle.py::test_npool_agrees_with_the_oracle",
        "tests/test_docs_reducers.py::test_every_reducer_has_an_entry_and_a_row",
        "tests/test_docs_reducers.py::test_every_reducer_has_the_type_of_its_row",
        "tests/test_cli_pool.py::test_every_reducer_of_the_table_is_known",
    ):
        assert f"PASSED {test}[{NAME}]" in tests, tests
    # The command line pools with it and offers it.
    result = np.load(folder / "y.npy")
    assert result.dtype == np.int64, pooled
    np.testing.assert_array_equal(result, [[2, 0], [0, 2]])
    assert re.search(rf"--reduce\b.*\b{NAME}\b", " ".join(usage.split()))
    # The documentation's table has its line.
    assert f"| `{NAME}` | how many elements are nonzero (NaN is) |" in table
    # And so have the errors, for somebody who is looking for a name.
    script = "import numpy, npool; npool.pool(numpy.zeros(2), (2,), reduce='count')"
    status, error = run(folder, f'python -c "{script}"')
    assert status == 1
    assert re.search(rf"ValueError: reduce='count' is not known.*{NAME}", error)


NOTICED = "tests/test_docs_reducers.py::test_every_reducer_has_an_entry_and_a_row"


@pytest.mark.parametrize(
    ("step", "complaint"),
    [
        (ENTRY, f"the reducer '{NAME}' has an entry in REDUCERS (npool/reducers.py) but no row in "
         "OPERATIONS (npool/testing/operations.py): add the row"),
        (ROW, f"the reducer '{NAME}' has a row in OPERATIONS (npool/testing/operations.py) but no "
         "entry in REDUCERS (npool/reducers.py): add the entry"),
    ],
    ids=["no row", "no entry"],
)  # fmt: skip
def test_what_is_forgotten_is_named(tmp_path, step, complaint):
    folder = copied(tmp_path, step)
    status, said = run(folder, f"python -m pytest -W error {NOTICED}")
    assert status == 1, said
    assert f"FAILED {NOTICED}[{NAME}]" in said
    assert complaint in said
    # Only the one that is missing: all others are as they were.
    assert said.count("FAILED ") == 1
