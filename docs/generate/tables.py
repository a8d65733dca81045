"""The tables of the documentation, made from what they are about. No MkDocs in here."""

from __future__ import annotations

import ast
import re
import runpy
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import npool
from npool.geometry import make_plan
from npool.layout import memory_order

ROOT = Path(__file__).resolve().parent.parent.parent


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [list(heads), ["---"] * len(heads), *(list(row) for row in rows)]
    escaped = [[cell.replace("|", r"\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


#: What a type becomes, asked of the library itself.
SHOWN = ("uint8", "int32", "float32")


def reducers() -> str:
    """Every reducer of `npool.REDUCERS`: what it gives, of what type, and for no element."""
    rows = []
    for name, reducer in npool.REDUCERS.items():
        types = {dtype: _pooled(name, dtype).dtype.name for dtype in SHOWN}
        empty = npool.pool(np.ones(1, np.float32), (1,), 1, ((1, 0),), reduce=name)[0]
        rows.append(
            [f"`{name}`", reducer.summary, *(f"`{types[dtype]}`" for dtype in SHOWN), _plain(empty)]
        )
    heads = ["Name", "Gives", *(f"of {dtype}" for dtype in SHOWN), "no element"]
    return table(heads, rows)


def _pooled(name: str, dtype: str) -> Any:
    # Of an empty batch: the type is known, and nothing has to be compiled to compute it.
    return npool.pool(np.ones((0, 1), dtype), (1,), reduce=name)


def _plain(value: Any) -> str:
    if isinstance(value, np.bool_):
        return str(bool(value))
    words = {np.inf: "∞", -np.inf: "−∞"}
    if value != value:
        return "NaN"
    return words.get(float(value), f"{float(value):g}")


def command_options(name: str) -> str:
    """The options of one of the commands, as the program itself knows them."""
    import typer

    from npool.cli.app import app

    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    rows = []
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            rows.append([f"`{parameter.metavar}`", getattr(parameter, "help", None) or ""])
            continue
        names = [*parameter.opts, *parameter.secondary_opts]
        value = f" {parameter.metavar}" if parameter.metavar else ""
        rows.append([", ".join(f"`{one}{value}`" for one in names), parameter.help or ""])
    return table(["Argument or option", "What it does"], rows) if rows else "It has no options."


def commands() -> str:
    """Every command with its first sentence."""
    import typer

    from npool.cli.app import app

    found = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    rows = [
        [f"`npool {name}`", " ".join((command.help or "").split("\n\n")[0].split())]
        for name, command in found.items()
    ]
    return table(["Command", "What it does"], rows)


def rules() -> str:
    """Every rule of the conformance suite, in the order of the semantics."""
    from npool.testing import RULES

    rows = []
    for rule in RULES.values():
        statement = rule.statement.split(": ", 1)[1]
        if statement.split()[0].isalpha():  # not the name of a function
            statement = statement[0].upper() + statement[1:]
        rows.append([rule.section, f"`{rule.name}`", statement])
    return table(["§", "Rule", "What it says"], rows)


#: Calls whose layout is shown: the shape in memory, the call, and whether the fold is idempotent.
LAID = (
    ("max, 2×2, channels first", (8, 64, 112, 112), (2, 2), 2, 0, None, True),
    ("max, 3×3/2, padding 1", (8, 64, 112, 112), (3, 3), 2, 1, None, True),
    ("the same, channels last", (8, 112, 112, 64), (3, 3), 2, 1, (1, 2), True),
    ("max, 31×31/1, padding 15", (2048, 2048), (31, 31), 1, 15, None, True),
    ("sum, 7×7 of 7×7: global", (32, 2048, 7, 7), (7, 7), None, 0, None, False),
    ("sum, 4096/4096, one row", (1 << 22,), (4096,), None, 0, None, False),
)


def schedules() -> str:
    """How `npool.cpu.schedule` lays out some calls on float32: modes and tiles, in memory order."""
    from npool.cpu import dimensions
    from npool.cpu import schedule as laid

    modes = {
        getattr(dimensions, name): name for name in ("PLAIN", "FUSED", "ROWS", "FLAT", "SEGMENT")
    }
    rows = []
    for words, shape, kernel, stride, padding, axes, idempotent in LAID:
        plan = make_plan(shape, kernel, stride, padding, 1, False, axes)
        x = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), shape, _strides(shape))
        order = memory_order(x.shape, x.strides)
        found = laid.schedule(
            plan, order,
            tuple(s // 4 for s in _strides(shape)), tuple(s // 4 for s in _strides(plan.out_shape)),
            1, idempotent, 4, 4, 4, 4, False, False, 0, False, True, True, 16,
        )  # fmt: skip
        dims = laid.describe(found.dims)
        inner = int(found.head[laid.CONSTANTS["INNER"]])
        cell = " · ".join(f"{modes[dim['MODE']]} {dim['TILE']} of {dim['OUT']}" for dim in dims)
        if inner > 1:
            cell += f" · (inner {inner})"
        rows.append([words, f"`{shape}`", found.driver, cell, str(found.tasks)])
    headings = ["Call", "Shape", "Driver", "Dimensions: mode, tile of outputs", "Tiles"]
    return table(headings, rows)


def mutants() -> str:
    """Every mutant of the GPU kernels, read from the tests' table, which needs CUDA to import."""
    tree = ast.parse((ROOT / "tests" / "cuda_mutants.py").read_text())
    listed = next(
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MUTANTS"
    )
    assert isinstance(listed, ast.List)
    rows = []
    for call in listed.elts:
        assert isinstance(call, ast.Call)
        name, kernel, _, _, caught = (ast.literal_eval(argument) for argument in call.args)
        rows.append([name, kernel, caught])
    return table(["Mistake", "In the kernel of", "Caught by"], rows)


def problems() -> str:
    """How many problems each kernel's PTX goes through, by the table that tests are held to."""
    space = runpy.run_path(str(ROOT / "tests" / "cuda_counts.py"))
    rows: dict[tuple[str, str], list[str]] = {}
    for proof in space["PROOFS"]:
        family, _, what = proof.kernel.partition(": ")
        counts = f"{proof.geometries} × {proof.problems} = {proof.geometries * proof.problems}"
        test = f"`{proof.test}`"
        rows.setdefault((family, f"{test}|{counts}"), []).append(what)
    shown = [
        [family, ", ".join(filter(None, kinds)), key.split("|")[1], key.split("|")[0]]
        for (family, key), kinds in rows.items()
    ]
    return table(["Kernel", "Each of", "Geometries × problems", "Test"], shown)


def _strides(shape: Sequence[int]) -> tuple[int, ...]:
    strides, step = [], 4
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


def contributing(section: str = "") -> str:
    """CONTRIBUTING.md, or one section of it, with its links as the site needs them."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    if section:
        start = re.search(rf"^(#+) {re.escape(section)}$", text, re.MULTILINE)
        if start is None:
            raise ValueError(f"CONTRIBUTING.md has no section {section!r}")
        rest = text[start.end() :]
        end = re.search(rf"^#{{1,{len(start[1])}}} ", rest, re.MULTILINE)
        text = rest[: end.start()] if end else rest
    return re.sub(r"\]\(docs/", "](", text)


TABLES = {
    "reducers": reducers,
    "commands": commands,
    "command": command_options,
    "rules": rules,
    "schedules": schedules,
    "mutants": mutants,
    "problems": problems,
    "contributing": contributing,
}


def filled(markdown: str) -> str:
    """A page, with every ``<!-- table: name -->`` (or ``… name argument -->``) filled in."""

    def fill(found: re.Match[str]) -> str:
        return TABLES[found["name"]](*filter(None, [found["argument"]]))  # type: ignore[operator]

    return re.sub(r"<!-- table: (?P<name>\w+)(?: (?P<argument>[^>]+?))? -->", fill, markdown)


if __name__ == "__main__":
    print(reducers())
